"""What the venue answered: fills become trades and penalties, expiries free what was in flight."""

import numpy as np

from tidegate.domain.book import FUND
from tidegate.domain.effects import Decision, OrdersReduced, PostedBatch, Rejected
from tidegate.domain.events import OrdersExpired, OrdersFilled
from tidegate.domain.instrument import CASH
from tidegate.domain.orders import order_slot
from tidegate.domain.units import I64, PPM, is_column, pack, unpack
from tidegate.engine.booking import book_trades, trades_at
from tidegate.engine.state import State
from tidegate.kernels.penalty import penalties
from tidegate.safeguards.stack import Stack


def on_fills(state: State, event: OrdersFilled, stack: Stack) -> list[Decision]:
    """Book executions of our orders; what is unknown, doubled or too much is refused by row."""
    sizes = (len(event.order), len(event.lots), len(event.price))
    if len(set(sizes)) > 1 or not is_column(event.order):
        return [Rejected(code="columns_differ", detail=f"columns of {sizes} bytes")]
    order, lots, price = unpack(event.order), unpack(event.lots), unpack(event.price)
    slot = np.array([order_slot(state.orders, int(o)) for o in order], np.int64)
    row = state.orders.row[np.maximum(slot, 0)]
    instrument = state.book.instrument[row].astype(np.int64)
    good = _known_and_within(state, slot, lots)
    good &= price >= stack.facts.price_min[instrument]
    good &= price <= stack.facts.price_max[instrument]
    effects: list[Decision] = []
    if not good.all():
        bad = np.flatnonzero(~good)
        first = int(bad[0])
        effects.append(
            Rejected(
                code="order_is_unknown",
                detail=f"{bad.size} of {order.size} fills, the first of order {int(order[first])}",
            )
        )
    if not good.any():
        return effects
    order, lots, price, slot, instrument = (
        order[good],
        lots[good],
        price[good],
        slot[good],
        instrument[good],
    )
    account = state.book.account[row[good]].astype(np.int64)
    trades = trades_at(state, account, instrument, lots, price)
    effects += book_trades(state, trades, "fill")
    effects += penalised(state, stack, account, instrument, lots, trades.paid)
    left = state.orders.lots[slot].copy()
    closed = np.zeros(order.size, np.int64)
    for k in range(order.size):  # several fills of one order close it once, with the last
        left[slot == slot[k]] -= lots[k]
        closed[k] = left[k] == 0
    effects.append(OrdersReduced(order=pack(order), lots=pack(lots), closed=pack(closed)))
    return effects


def _known_and_within(state: State, slot: I64, lots: I64) -> I64:
    """Return which fills belong to a live order and do not exceed what is left of it."""
    good = (slot >= 0) & (lots != 0)
    left: dict[int, int] = {}
    for k in np.flatnonzero(good).tolist():
        rest = left.setdefault(int(slot[k]), int(state.orders.lots[slot[k]]))
        if rest * int(lots[k]) <= 0 or abs(int(lots[k])) > abs(rest):
            good[k] = False
        else:
            left[int(slot[k])] = rest - int(lots[k])
    return good


def penalised(
    state: State, stack: Stack, account: I64, instrument: I64, lots: I64, paid: I64
) -> list[Decision]:
    """Return the penalties: into the first tranche, never more than the account still has."""
    amount = np.zeros(account.size, np.int64)
    penalties(state.book, state.facts, state.mark, account, instrument, lots, paid, amount)
    share = stack.declaration.waterfall.penalty_share
    amount = np.array([a * share // PPM for a in amount.tolist()], np.int64)
    if not amount.any() or not stack.declaration.waterfall.tranches:
        return []
    owed = amount > 0
    return [
        PostedBatch(
            counter=FUND,
            asset=CASH,
            account=pack(account[owed]),
            amount=pack(-amount[owed]),
            reason="penalty",
        )
    ]


def on_expiry(state: State, event: OrdersExpired, stack: Stack) -> list[Decision]:
    """Free what is left of these orders; unknown ones (already closed) are refused together."""
    del stack
    if not is_column(event.order):
        return [Rejected(code="columns_differ", detail=f"a column of {len(event.order)} bytes")]
    order = unpack(event.order)
    slot = np.array([order_slot(state.orders, int(o)) for o in order], np.int64)
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
