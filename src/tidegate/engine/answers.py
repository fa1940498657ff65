"""What the venue answered: fills become trades and penalties, expiries free what was in flight."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.effects import Decision, OrdersReduced, Rejected
from tidegate.domain.events import OrdersExpired, OrdersFilled
from tidegate.domain.orders import order_slots
from tidegate.domain.units import I64, is_column, pack, unpack
from tidegate.engine.booking import book_trades, trades_at
from tidegate.engine.penalties import penalised
from tidegate.engine.state import State
from tidegate.kernels.fills import count_fills
from tidegate.safeguards.stack import Stack


def on_fills(state: State, event: OrdersFilled, stack: Stack) -> list[Decision]:
    """Book executions of our orders; what is unknown, doubled or too much is refused by row."""
    sizes = (len(event.order), len(event.lots), len(event.price))
    told = len(event.left) if event.left else sizes[0]
    if len({*sizes, told}) > 1 or not is_column(event.order):
        return [Rejected(code="columns_differ", detail=f"columns of {(*sizes, told)} bytes")]
    order, lots, price = unpack(event.order), unpack(event.lots), unpack(event.price)
    slot = order_slots(state.orders, order)
    row = state.orders.row[np.maximum(slot, 0)]
    instrument = state.book.instrument[row].astype(np.int64)
    priced = price >= stack.facts.price_min[instrument]
    priced &= price <= stack.facts.price_max[instrument]
    after = unpack(event.left) if event.left else None
    found = sorted_out(state, slot, lots, after, priced)
    effects = _refused(order, found)
    good = found.gone != 0
    if not good.any():
        return effects
    order, lots, price = order[good], lots[good], price[good]
    instrument, gone, closed = instrument[good], found.gone[good], found.closed[good]
    account = state.book.account[row[good]].astype(np.int64)
    trades = trades_at(state, account, instrument, lots, price)
    effects += book_trades(state, trades, "fill")
    effects += penalised(state, stack, account, instrument, lots, trades.paid)
    effects.append(OrdersReduced(order=pack(order), lots=pack(gone), closed=pack(closed)))
    return effects


class Sorted(NamedTuple):
    """What each fill is: by how many lots its order shrinks (0: refused), and what is odd."""

    gone: I64  # [fills] signed as ordered
    twice: NDArray[np.bool_]  # [fills] what it tells has been counted already
    missing: I64  # [fills] lots that were filled before it and never told
    closed: I64  # [fills] 1 where it leaves nothing: of several of one order, the last does


def sorted_out(
    state: State, slot: I64, lots: I64, after: I64 | None, priced: NDArray[np.bool_]
) -> Sorted:
    """Return which fills are booked: those of a live order that do not exceed what is left of it.

    Where the venue says what an order has left after a fill, that number tells the fill apart: one
    that leaves no less than what we know to be left has been counted, or was overtaken by a later
    one that was; one that leaves less than it explains shows that a report is missing: what it
    tells is booked, and the lots in between are no longer open.
    """
    none = np.zeros_like(lots)
    out = Sorted(none, np.zeros(lots.size, np.bool_), none.copy(), none.copy())
    told = int(after is not None)
    count_fills(state.orders.lots, slot, lots, lots if after is None else after, told, priced, *out)
    return out


def _refused(order: I64, found: Sorted) -> list[Decision]:
    """Return one refusal for each kind of odd fill, which speaks for all of its kind."""
    effects: list[Decision] = []
    unknown = (found.gone == 0) & ~found.twice
    if unknown.any():
        effects.append(Rejected(code="order_is_unknown", detail=_of(order, unknown)))
    if found.twice.any():
        effects.append(Rejected(code="fill_is_a_duplicate", detail=_of(order, found.twice)))
    missing = found.missing != 0
    if missing.any():
        effects.append(Rejected(code="fills_are_missing", detail=_of(order, missing)))
    return effects


def _of(order: I64, rows: NDArray[np.bool_]) -> str:
    first = int(order[int(np.argmax(rows))])
    return f"{int(rows.sum())} of {order.size} fills, the first of order {first}"


def on_expiry(state: State, event: OrdersExpired, stack: Stack) -> list[Decision]:
    """Free what is left of these orders; unknown ones (already closed) are refused together."""
    del stack
    if not is_column(event.order):
        return [Rejected(code="columns_differ", detail=f"a column of {len(event.order)} bytes")]
    order = unpack(event.order)
    slot = order_slots(state.orders, order)
    _, first = np.unique(order, return_index=True)
    known = np.zeros(order.size, np.bool_)
    known[first] = slot[first] >= 0
    effects: list[Decision] = []
    if not known.all():
        detail = f"{int((~known).sum())} of {order.size} expiries ({event.reason})"
        effects.append(Rejected(code="order_is_unknown", detail=detail))
    if known.any():
        left = state.orders.lots[slot[known]]
        effects.append(
            OrdersReduced(
                order=pack(order[known]), lots=pack(left), closed=pack(np.ones(left.size))
            )
        )
    return effects
