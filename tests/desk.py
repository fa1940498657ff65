"""A desk for tests of single rules: small venues, books made by hand, one engine to ask."""

from collections.abc import Sequence

import msgspec
import numpy as np

from tidegate.domain.book import ACCOUNTS, EXTERNAL, FIRST_USER, Book, Health, move
from tidegate.domain.events import (
    BookImported,
    ClockTicked,
    DepthObserved,
    OrdersFilled,
    PriceObserved,
    Traded,
)
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import AnyInstrument, Inverse, Linear, Spot
from tidegate.domain.units import I64, SECOND, pack, unpack
from tidegate.domain.venue import Limits, Venue
from tidegate.engine.state import State
from tidegate.engine.step import decide, step
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.stack import SafeguardStack, Stack


U = FIRST_USER
LIMITS = Limits(accounts_max=48, positions_max=96, orders_max=32, balance_max=2**50)


def perp(symbol: str = "PERP", **changes) -> Linear:
    """Return a linear perpetual: a tick of one lot is 1,000 Money, unless said otherwise."""
    facts = {"price_max": 10**6, "lots_max": 10**6, "tick_value": 1_000} | changes
    return Linear(symbol=symbol, tick_size="0.01", lot_size="0.1", **facts)


def coin(symbol: str = "COIN", **changes) -> Spot:
    """Return an asset of a hundred smallest units: a tick of a whole one is 10,000 Money."""
    facts = {"price_max": 10**6, "lots_max": 10**7, "tick_value": 10_000, "units": 100} | changes
    return Spot(symbol=symbol, tick_size="0.01", lot_size="0.01", **facts)


def inverse(symbol: str = "INV", **changes) -> Inverse:
    """Return an inverse perpetual of one unit a lot, paid in COIN."""
    facts = {"price_max": 10**6, "lots_max": 10**5, "contract": 10_000, "face": 10**6} | changes
    return Inverse(symbol=symbol, tick_size="0.01", lot_size="1", coin="COIN", **facts)


def venue_of(*instruments: AnyInstrument, **changes) -> Venue:
    return Venue(name="desk", instruments=instruments, **({"limits": LIMITS} | changes))


def flat(initial: int = 100_000, maintenance: int = 50_000, **changes) -> Requirement:
    """Return one tier for every size."""
    return Requirement(tiers=(Tier(initial=initial, maintenance=maintenance),), **changes)


def rules(default: Requirement | None = None, /, **by_symbol: Requirement) -> MarginModel:
    instruments = by_symbol | ({"*": default} if default else {})
    return MarginModel(instruments=instruments)


def stack_of(venue: Venue, **policies) -> Stack:
    return Stack.bind(SafeguardStack(name="desk", **policies), venue)


def facts_of(venue: Venue, margin: MarginModel | None = None) -> Facts:
    return (margin or MarginModel()).columns(venue)


def column(*values: int) -> I64:
    return np.array(values, np.int64)


def book_of(venue: Venue, cash: Sequence[int], positions: Sequence[tuple[int, int, int, int]]):
    """Return a book of users 0, 1 ... with cash, and (user, instrument, lots, cost) positions."""
    book = Book.empty(venue.limits, len(venue.instruments))
    book.counts[ACCOUNTS] = U + len(cash)
    book.cash[U : U + len(cash)] = cash
    for user, i, lots, cost in positions:
        move(book, U + user, i, lots, cost)
        move(book, EXTERNAL, i, -lots, -cost)
    return book


def health_of(*users: tuple[int, int]) -> Health:
    """Return (equity, required) of users, the system's accounts before them being empty."""
    equity, required = np.zeros(U + len(users), np.int64), np.zeros(U + len(users), np.int64)
    for n, (have, need) in enumerate(users):
        equity[U + n], required[U + n] = have, need
    return Health(equity=equity, required=required, best=equity - required)


def marks_of(*prices: int) -> tuple[I64, I64, I64]:
    """Return mark, low and high columns without any doubt."""
    return column(*prices), column(*prices), column(*prices)


class Desk:
    """One engine with its clock; every method returns the effects of one event."""

    def __init__(self, venue: Venue, **policies) -> None:
        self.venue, self.stack = venue, stack_of(venue, **policies)
        self.state = State.genesis(self.stack)
        self.now = 1_000 * SECOND

    def of(self, kind: type, effects: Sequence[object]) -> list:
        return [e for e in effects if isinstance(e, kind)]

    def send(self, event) -> list:
        return step(self.state, event, self.stack)

    def ask(self, event) -> list:
        """Return what an event would do, without doing it."""
        return decide(self.state, event, self.stack)

    def users(self, cash: Sequence[int], positions: Sequence[tuple[int, int, int, int]] = ()):
        """Open users with cash and (user, instrument, lots, entry) positions."""
        user, i, lots, entry = np.array(positions, np.int64).reshape(-1, 4).T
        return self.send(
            BookImported(
                ts=self.now,
                names=tuple(f"user {n}" for n in range(len(cash))),
                owner=pack(np.arange(len(cash))),
                cash=pack(column(*cash)),
                account=pack(user),
                instrument=pack(i),
                lots=pack(lots),
                entry=pack(entry),
            )
        )

    def later(self, seconds: float) -> "Desk":
        self.now += int(seconds * SECOND)
        return self

    def price(self, price: int, i: int = 0, **changes) -> list:
        return self.send(self.priced(price, i, **changes))

    def priced(self, price: int, i: int = 0, **changes) -> PriceObserved:
        facts = {"ts": self.now, "published": self.now, "source": 0} | changes
        return PriceObserved(instrument=i, price=price, **facts)

    def tick(self, seconds: float = 0) -> list:
        self.later(seconds)
        return self.send(ClockTicked(ts=self.now))

    def depth(self, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]] = (), i=0):
        bid, ask = (np.array(side, np.int64).reshape(-1, 2) for side in (bids, asks))
        return self.send(
            DepthObserved(
                ts=self.now,
                instrument=i,
                bid_price=pack(bid[:, 0]),
                bid_lots=pack(bid[:, 1]),
                ask_price=pack(ask[:, 0]),
                ask_lots=pack(ask[:, 1]),
            )
        )

    def trade(self, user: int, lots: int, price: int, i: int = 0, **changes) -> Traded:
        facts = {"maker": EXTERNAL, "ts": self.now} | changes
        return Traded(instrument=i, taker=U + user, lots=lots, price=price, **facts)

    def fill(self, order: int, lots: int, price: int) -> list:
        columns = (pack(column(n)) for n in (order, lots, price))
        order_column, lots_column, price_column = columns
        return self.send(
            OrdersFilled(ts=self.now, order=order_column, lots=lots_column, price=price_column)
        )


def replaced(struct, **changes):
    """Return a frozen struct with some fields changed, validated anew."""
    return type(struct)(**(msgspec.structs.asdict(struct) | changes))


def rows_of(effect, *names: str) -> list[tuple[int, ...]]:
    """Return columns of a batch effect as rows of numbers."""
    return list(zip(*(unpack(getattr(effect, n)).tolist() for n in names), strict=True))
