"""Whether what was decided fits: position rows, balances, positions and open interest.

The range proof at configuration says how large things may get; this is where nothing gets larger.
It is asked once a step, after deciding and before anything is journalled or applied.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import FIRST_USER, rows_of
from tidegate.domain.effects import Decision, PositionsMoved, Posted, PostedBatch
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import I64, MONEY_MAX, unpack
from tidegate.engine.state import State
from tidegate.kernels.order import distinct
from tidegate.kernels.room import DOUBTED, rows_needed
from tidegate.safeguards.stack import Stack


WHOLE_BOOK = 32  # fewer changes than one in so many rows of the book are sorted instead


class Room(NamedTuple):
    """What a step asks for: the range it would leave (empty: none), and rows it would open."""

    beyond: str
    rows: int


class Change(NamedTuple):
    """Amounts or lots that accounts gain; instrument `CASH` is cash."""

    account: I64
    instrument: I64
    amount: I64
    cost: I64


def room_for(state: State, effects: Sequence[Decision], stack: Stack) -> Room:
    """Return what ``effects`` need. Rows that they give back are not counted as free.

    Of many changes a kernel answers where everything surely fits; it writes columns as long as the
    book. Else sums are exact: in int64 where even their
    absolute values could not wrap, else in Python's unbounded integers, so that a sum that wraps
    cannot hide.
    """
    changes = list(_changes(effects))
    if not changes:
        return Room("", 0)
    change = Change(*(np.concatenate(column) for column in zip(*changes, strict=True)))
    if change.account.size < (state.book.high + state.book.accounts) // WHOLE_BOOK:
        return _exact(state, change, stack)
    most_open = np.array([i.lots_open_max() for i in stack.venue.instruments], np.int64)
    needed = int(rows_needed(state.book, *change, *stack.held_max, most_open))
    return Room("", needed) if needed != DOUBTED else _exact(state, change, stack)


def _exact(state: State, change: Change, stack: Stack) -> Room:
    """Return what the changes need where they may go beyond a limit, and which one they pass."""
    columns = stack.facts.kind.size + 1  # cash is the first
    key, place = distinct(change.account * columns + change.instrument + 1)
    account, instrument = key // columns, key % columns - 1
    row = rows_of(state.book, account, instrument)
    held = np.where(row >= 0, state.book.lots[row], 0)
    held[instrument == CASH] = state.book.cash[account[instrument == CASH]]
    paid = np.where(row >= 0, state.book.cost[row], 0)
    after, cost = _summed(held, place, change.amount), _summed(paid, place, change.cost)
    fresh = int(((row < 0) & (instrument != CASH)).sum())
    beyond = _balance_beyond(account, instrument, after, cost, stack)
    return Room(beyond or _interest_beyond(state, account, instrument, held, after, stack), fresh)


def _changes(effects: Sequence[Decision]) -> Iterator[Change]:
    for effect in effects:
        match effect:
            case Posted(debit=debit, credit=credit, asset=asset, amount=amount):
                both = np.array([debit, credit], np.int64)
                sides = np.array([-amount, amount], np.int64)
                yield Change(both, np.full(2, asset, np.int64), sides, np.zeros(2, np.int64))
            case PostedBatch(counter=counter, asset=asset):
                account, amount = unpack(effect.account), unpack(effect.amount)
                assets, none = np.full(account.size, asset), np.zeros(account.size, np.int64)
                yield Change(account, assets, amount, none)
                yield Change(np.full(account.size, counter), assets, -amount, none)
            case PositionsMoved():
                yield Change(
                    unpack(effect.account),
                    unpack(effect.instrument),
                    unpack(effect.lots),
                    unpack(effect.cost),
                )
            case _:
                pass


def _summed(base: I64, place: I64, change: I64) -> NDArray[Any]:
    """Return ``base`` plus all changes of each place: int64 where none can wrap, else objects."""
    spread = np.abs(change.astype(np.float64)).sum() + np.abs(base.astype(np.float64)).max()
    out = base.astype(np.int64 if spread < MONEY_MAX else object)
    np.add.at(out, place, change.astype(out.dtype))
    return out


def _balance_beyond(
    account: I64, instrument: I64, after: NDArray[Any], cost: NDArray[Any], stack: Stack
) -> str:
    kinds = stack.venue.instruments
    most, dear = (column[instrument] for column in stack.held_max)  # CASH is the last cell
    user = account >= FIRST_USER
    over = np.abs(after) > np.where(user, most, MONEY_MAX)
    over |= np.abs(cost) > np.where(user, dear, MONEY_MAX)
    if not over.any():
        return ""
    k = int(np.flatnonzero(over)[0])
    what = "cash" if instrument[k] == CASH else f"lots of {kinds[int(instrument[k])].symbol}"
    return f"account {account[k]} would hold {int(after[k]):_} {what} for {int(cost[k]):_}"


def _interest_beyond(
    state: State, account: I64, instrument: I64, held: I64, after: NDArray[Any], stack: Stack
) -> str:
    """Return which open interest would grow beyond what the range proof allows for."""
    user = (account >= FIRST_USER) & (instrument != CASH)
    before, later, of = held[user], after[user], instrument[user]
    sizes = (before, later, state.book.long_open, state.book.short_open)
    spread = sum(np.abs(column.astype(np.float64)).sum() for column in sizes)
    kind = np.int64 if spread < MONEY_MAX else object
    before, later = before.astype(kind), later.astype(kind)
    for sign, open_lots in ((1, state.book.long_open), (-1, state.book.short_open)):
        grown = open_lots.astype(kind)
        np.add.at(grown, of, np.maximum(sign * later, 0) - np.maximum(sign * before, 0))
        for i in np.flatnonzero(grown > open_lots).tolist():
            of_it, size = stack.venue.instruments[i], int(grown[i])
            # What inverse contracts bring in is a fact: coins may go as far as sums are exact.
            fits = stack.facts.kind[i] == Kind.SPOT and of_it.value_max(size) <= MONEY_MAX
            if size > of_it.lots_open_max() and not fits:
                side = "long" if sign > 0 else "short"
                return f"users would hold {size:_} lots of {of_it.symbol} {side}"
    return ""
