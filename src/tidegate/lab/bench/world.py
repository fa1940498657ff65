"""A venue for benchmarks: cross-margin accounts with three positions each, a few in distress."""

from importlib.resources import as_file, files

import numpy as np

from tidegate.domain.events import BookImported, DepthObserved, PriceObserved
from tidegate.domain.instrument import Linear
from tidegate.domain.units import Lots, Money, Nanos, Ticks, pack
from tidegate.domain.venue import Limits, Venue
from tidegate.drivers.streams import Streams
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.safeguards.stack import SafeguardStack, Stack


PRICE = Ticks(500_000)
NOW = Nanos(0)
SYMBOLS = ("BTC", "ETH", "SOL")
HELD = len(SYMBOLS)  # positions of an account: one in every instrument
LEVELS = 20


def shipped(name: str) -> SafeguardStack:
    """Return a stack that comes with the package."""
    with as_file(files("tidegate.stacks") / f"{name}.toml") as file:
        return SafeguardStack.load(file)


def world(accounts: int, stack_name: str = "guarded") -> tuple[State, Stack]:
    """Return a venue in its first second: prices, depth and a book, the same for a size always."""
    stack = Stack.bind(shipped(stack_name), _venue(accounts))
    state = State.genesis(stack)
    for i in range(HELD):
        price = PriceObserved(ts=NOW, instrument=i, source=0, price=PRICE, published=NOW)
        step(state, price, stack)
        away = 400 * np.arange(1, LEVELS + 1)
        lots = pack(np.full(LEVELS, accounts * 2))
        depth = DepthObserved(
            ts=NOW,
            instrument=i,
            bid_price=pack(PRICE - away),
            bid_lots=lots,
            ask_price=pack(PRICE + away),
            ask_lots=lots,
        )
        step(state, depth, stack)
    step(state, _book(accounts), stack)
    return state, stack


def _venue(accounts: int) -> Venue:
    instruments = tuple(
        Linear(
            symbol=symbol,
            tick_size="0.1",
            lot_size="0.001",
            price_max=Ticks(10**7),
            lots_max=Lots(10**7),
            open_interest_max=Lots(10**10 // 4),
            tick_value=Money(100),
        )
        for symbol in SYMBOLS
    )
    limits = Limits(
        accounts_max=accounts + 64, positions_max=HELD * accounts + 64, orders_max=65_536
    )
    return Venue(name="bench", instruments=instruments, sources=("index", "venue"), limits=limits)


def _book(accounts: int) -> BookImported:
    draw = Streams(7, 0)["bench book"]
    lots = draw.integers(-1_000, 1_001, accounts * HELD)
    size = np.abs(lots).reshape(accounts, HELD).sum(1) * PRICE * 100
    cash = (size * draw.uniform(0.035, 0.6, accounts)).astype(np.int64)
    return BookImported(
        ts=NOW,
        names=tuple(map(str, range(accounts))),
        owner=pack(np.arange(accounts)),
        cash=pack(cash),
        account=pack(np.repeat(np.arange(accounts), HELD)),
        instrument=pack(np.tile(np.arange(HELD), accounts)),
        lots=pack(lots),
        entry=pack(np.full(accounts * HELD, PRICE)),
    )
