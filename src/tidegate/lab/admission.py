"""Admission of the path kernels: the true engine on the same path, and where the two part.

The engine gets a venue that answers as the kernel's does: every order whole, at once, at one price
a batch, by the declared law. It is written in Python's integers, apart from the kernel's.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import isqrt

import numpy as np

from tidegate.domain.book import FIRST_USER, FUND, TREASURY
from tidegate.domain.effects import (
    Decision,
    DeficitFound,
    Deleveraged,
    MarkMoved,
    OrdersPlaced,
    PositionsMoved,
    PostedBatch,
    Rejected,
)
from tidegate.domain.events import Input, OrdersFilled, PriceObserved
from tidegate.domain.units import I64, PPM, SECOND, Nanos, Ticks, pack, unpack
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk
from tidegate.lab.path_model import Law, PathModel
from tidegate.lab.paths import trail_of
from tidegate.safeguards.stack import Stack


Row = tuple[int, ...]


@dataclass(slots=True)
class WholeFills:
    """The declared venue: what our orders do to prices, and what they are filled at."""

    laws: Sequence[Law]
    price_max: list[int]
    outside: list[int]
    shift: list[int]
    moved: set[int] = field(default_factory=set[int])

    def next_step(self) -> None:
        """Let every displacement shrink towards nothing."""
        for i, law in enumerate(self.laws):
            left = abs(self.shift[i]) * law.keep // PPM
            self.shift[i] = left if self.shift[i] > 0 else -left

    def quote(self, i: int) -> int:
        """Return the price of ``i`` with our displacement in it."""
        self.moved.discard(i)
        return min(self.price_max[i], max(1, self.outside[i] + self.shift[i]))

    def fill(self, orders: OrdersPlaced, mark: I64, now: int) -> OrdersFilled:
        """Return the fills of a batch, and remember what it does to the next prices."""
        lots, instrument = unpack(orders.lots), unpack(orders.instrument)
        net: dict[int, int] = defaultdict(int)
        for i, n in zip(instrument.tolist(), lots.tolist(), strict=True):
            net[i] += n
        price = {i: self._traded(i, n, int(mark[i])) for i, n in net.items()}
        return OrdersFilled(
            ts=Nanos(now),
            order=pack(orders.first + np.arange(lots.size)),
            lots=orders.lots,
            price=pack(np.array([price[i] for i in instrument.tolist()])),
        )

    def _traded(self, i: int, lots: int, mark: int) -> int:
        law, size = self.laws[i], abs(lots)
        ppm = law.move * size // law.depth
        if law.law == "square_root":
            ppm = isqrt(law.move * law.move * size // law.depth)
        ticks = mark * min(law.most, ppm) // PPM
        side = 1 if lots > 0 else -1
        if ticks:
            self.shift[i] += side * ticks
            self.moved.add(i)
        return min(self.price_max[i], max(1, mark + side * ((ticks + 1) // 2)))


def engine_trail(
    state: State, stack: Stack, laws: Sequence[Law], price: I64, *, step_ns: int = SECOND
) -> tuple[list[Row], State]:
    """Return the trail of the true engine along one path, and the state it ended in.

    ``state`` is left as it was.
    """
    state, rows, begin = deepcopy(state), list[Row](), state.now
    limit = state.facts.price_max.tolist()
    venue = WholeFills(laws, limit, state.mark.tolist(), [0] * len(laws))
    for t in range(price.shape[0]):
        now = begin + (t + 1) * step_ns
        venue.next_step()
        for i in range(price.shape[1]):
            venue.outside[i] = int(price[t, i])
            j: int | None = i
            while j is not None:
                rows += _observed(state, stack, venue, j, now)
                j = min(venue.moved, default=None)
    return rows, state


def _observed(state: State, stack: Stack, venue: WholeFills, i: int, now: int) -> Iterator[Row]:
    """Let the engine see one price, and what its orders become; yield what a kernel would note."""
    quote = Ticks(venue.quote(i))
    seen = PriceObserved(ts=Nanos(now), instrument=i, source=0, price=quote, published=Nanos(now))
    effects = _taken(state, seen, stack)
    if not any(isinstance(e, MarkMoved) for e in effects):
        return
    yield from _decided(effects)
    for orders in [e for e in effects if isinstance(e, OrdersPlaced)]:
        mark = state.mark.copy()
        fills = venue.fill(orders, mark, now)
        yield from _filled(orders, fills, _taken(state, fills, stack))
    fund = int(stack.declaration.waterfall.fund(state.book))
    yield (c.TICK, i, int(quote), state.rung, fund, int(state.book.cash[TREASURY]))


def _taken(state: State, event: Input, stack: Stack) -> list[Decision]:
    effects = step(state, event, stack)
    refused = [e for e in effects if isinstance(e, Rejected)]
    assert not refused, refused
    return effects


def _decided(effects: list[Decision]) -> Iterator[Row]:
    for e in effects:
        if isinstance(e, DeficitFound):
            yield (c.DEFICIT, e.account, e.amount, e.fund, e.socialised, 0)
        elif isinstance(e, Deleveraged):
            for account, lots in _zip(e.bankrupt, e.closed):
                yield (c.CLOSED, account, e.instrument, lots, 0, 0)
            for account, lots, forgone in _zip(e.account, e.lots, e.forgone):
                yield (c.WINNER, account, e.instrument, lots, forgone, 0)
        elif isinstance(e, PositionsMoved) and e.reason == "netted":
            for account, i, lots in _zip(e.account, e.instrument, e.lots):
                yield (c.NET, account, i, lots, 0, 0)
        elif isinstance(e, OrdersPlaced):
            for account, i, lots in _zip(e.account, e.instrument, e.lots):
                yield (c.ORDER, account, i, lots, 0, 0)


def _filled(orders: OrdersPlaced, fills: OrdersFilled, effects: list[Decision]) -> Iterator[Row]:
    paid: dict[int, list[int]] = defaultdict(list)  # penalties of each account, in order
    for e in effects:
        if isinstance(e, PostedBatch) and e.reason == "penalty":
            for account, amount in _zip(e.account, e.amount):
                paid[account].append(-amount)
    told = _zip(orders.account, orders.instrument, orders.lots, fills.price)
    for account, i, lots, price in told:
        yield (c.FILL, account, i, lots, price, 0)
    # One row an account: a fill without a penalty is not told of by the engine.
    for account in sorted(paid):
        yield (c.FILL, account, -1, 0, 0, sum(paid[account]))


def _zip(*columns: bytes) -> Iterator[Row]:
    yield from zip(*(unpack(column).tolist() for column in columns), strict=True)


def kernel_rows(trail: I64) -> list[Row]:
    """Return a kernel's trail with the penalties of one batch summed by account, as above."""
    rows, paid = list[Row](), dict[int, int]()
    for row in trail.tolist():
        if row[0] == c.FILL:
            rows.append((*row[:5], 0))
            if row[5]:
                paid[row[1]] = paid.get(row[1], 0) + row[5]
        else:
            if row[0] == c.TICK:
                rows += [(c.FILL, a, -1, 0, 0, paid[a]) for a in sorted(paid)]
                paid = {}
            rows.append(tuple(row))
    return rows


@dataclass(frozen=True, slots=True)
class Admission:
    """What a comparison found: how much was compared, and the first difference if there is one."""

    events: int  # rows of the trail, equal ones
    ticks: int  # prices among them
    kinds: dict[int, int]  # rows of each kind
    difference: str  # empty: none

    @property
    def admitted(self) -> bool:
        """Whether the two agreed in every row, and in every account's lots, cost and cash."""
        return not self.difference


def admit(
    state: State, stack: Stack, laws: Sequence[Law], price: I64, *, step_ns: int = SECOND
) -> Admission:
    """Run the engine and the kernel along one path and compare them event for event."""
    model = PathModel.of(state, stack, laws)
    expected, after = engine_trail(state, stack, laws, price, step_ns=step_ns)
    trail, desk = trail_of(model, price, step_ns=step_ns)
    found = kernel_rows(trail)
    kinds = {k: sum(row[0] == k for row in expected) for k in range(c.FILL + 1)}
    difference = ""
    for n, (one, two) in enumerate(zip(expected, found, strict=False)):
        if one != two:
            difference = f"row {n}: the engine says {one}, the kernel {two}"
            break
    else:
        if len(expected) != len(found):
            difference = f"the engine has {len(expected)} rows, the kernel {len(found)}"
    difference = difference or _books_differ(after, desk)
    return Admission(len(expected), kinds[c.TICK], kinds, difference)


def _books_differ(state: State, desk: Desk) -> str:
    """Return where the two books differ in the end; empty where they do not."""
    book, n = state.book, state.book.accounts
    rows = np.arange(FIRST_USER, n)
    cash = np.flatnonzero(book.cash[rows] != desk.people[rows, c.CASH])
    if cash.size:
        a = int(rows[cash[0]])
        return f"account {a} has {book.cash[a]} in the engine, {desk.people[a, c.CASH]} here"
    tranches = slice(FUND, FIRST_USER)
    if (book.cash[tranches] != desk.people[tranches, c.CASH]).any():
        return "the tranches differ"
    # A row that the engine gave back may hold something of the world outside by now.
    mine = desk.fixed[:, c.ACCOUNT] >= FIRST_USER
    theirs = np.zeros((desk.row.shape[0], 2), np.int64)
    for row in range(desk.row.shape[0]):
        if book.account[row] == desk.fixed[row, c.ACCOUNT]:
            theirs[row] = book.lots[row], book.cost[row]
    different = mine & (theirs != desk.row[:, [c.LOTS, c.COST]]).any(axis=1)
    if different.any():
        row = int(np.argmax(different))
        return f"position {row} is {theirs[row].tolist()} in the engine, not {desk.row[row, :2]}"
    return ""
