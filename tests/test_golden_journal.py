"""The golden journal: one whole small crash under the shipped stacks, every effect as text.

Integers only, from the first price to the last cent, so that any machine writes the same lines. A
change of behaviour changes these files: `make bless` accepts it, the changelog says why.
"""

from collections.abc import Iterator
from importlib.resources import as_file, files

import msgspec
import pytest

from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import (
    BookImported,
    ClockTicked,
    DepthObserved,
    FundingPaid,
    Input,
    OrdersExpired,
    OrdersFilled,
    PriceObserved,
    Traded,
)
from tidegate.domain.instrument import Linear
from tidegate.domain.units import SECOND, pack, unpack
from tidegate.domain.venue import Limits, Venue
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.safeguards.stack import SafeguardStack, Stack


PEOPLE = 24
PATH = (
    100_000, 99_000, 98_500, 97_000, 95_500, 95_000, 93_000, 92_500, 90_000, 88_000,
    89_000, 91_000, 92_000,
)  # fmt: skip
VENUE = Venue(
    name="golden",
    instruments=tuple(
        Linear(
            symbol=symbol,
            tick_size="1",
            lot_size="0.001",
            price_max=10**6,
            lots_max=10**8,
            open_interest_max=10**9,
            tick_value=1_000,
        )
        for symbol in ("BTC", "ALT")
    ),
    sources=("index", "venue"),
    limits=Limits(accounts_max=64, positions_max=128, orders_max=128),
    scale=1,  # a stack's fund becomes 400 USD: small enough to be used up
)


def book() -> BookImported:
    """Twelve longs at 8 to 30 times, and as many shorts with more behind them; some hold both."""
    lots, cash, rows = [], [], []
    for k in range(PEOPLE):
        side = 1 if k < PEOPLE // 2 else -1
        size = 1_000 * (1 + k % 5)
        rows.append((k, 0, side * size, 100_000))
        if k % 4 == 0:
            rows.append((k, 1, -side * size // 2, 100_000))
        leverage = 8 + 2 * (k % 12) if side > 0 else 3
        lots.append(side * size)
        cash.append(size * 100_000 * 1_000 // leverage)
    return BookImported(
        ts=0,
        names=tuple(f"account-{k}" for k in range(PEOPLE)),
        owner=pack(list(range(PEOPLE))),
        cash=pack(cash),
        account=pack([a for a, _, _, _ in rows]),
        instrument=pack([i for _, i, _, _ in rows]),
        lots=pack([n for _, _, n, _ in rows]),
        entry=pack([p for _, _, _, p in rows]),
    )


def weather() -> Iterator[Input]:
    """The book, then two prices, a depth and a tick every five seconds; funding and a trade."""
    yield book()
    for n, price in enumerate(PATH):
        now = (1 + 5 * n) * SECOND
        for i, ticks in ((0, price), (1, 2 * price - 100_000)):
            for source, say in ((0, ticks), (1, ticks - 10 * n)):
                yield PriceObserved(
                    ts=now, instrument=i, source=source, price=say, published=now, confidence=20
                )
            levels = range(1, 6)
            yield DepthObserved(
                ts=now,
                instrument=i,
                bid_price=pack([ticks - 200 * k for k in levels]),
                bid_lots=pack([900 - 60 * n for _ in levels]),
                ask_price=pack([ticks + 200 * k for k in levels]),
                ask_lots=pack([900 for _ in levels]),
            )
        if n == 3:
            yield FundingPaid(ts=now, instrument=0, rate=125_001)
        if n == 5:
            yield Traded(ts=now, instrument=0, taker=12 + 20, maker=0, lots=500, price=price)
        yield ClockTicked(ts=now + 2 * SECOND)


def answers(orders: OrdersPlaced, ts: int) -> Iterator[Input]:
    """Two thirds of every order are filled at its limit, the rest expires."""
    ids = [orders.first + k for k in range(len(orders.lots) // 8)]
    lots = unpack(orders.lots).tolist()
    part = [n - n // 3 if n > 0 else -(-n - -n // 3) for n in lots]
    yield OrdersFilled(ts=ts, order=pack(ids), lots=pack(part), price=orders.limit)
    left = [o for o, n, p in zip(ids, lots, part, strict=True) if n != p]
    if left:
        yield OrdersExpired(ts=ts, order=pack(left), reason="timeout")


def told(effect: msgspec.Struct) -> str:
    """Return one effect as a line: its name, then every field, columns as numbers."""
    fields = []
    for name in effect.__struct_fields__:
        value = getattr(effect, name)
        shown = unpack(value).tolist() if isinstance(value, bytes) else value
        if isinstance(shown, list) and len(shown) > 12 and not any(shown[8:]):
            shown = [*shown[:8], f"... {len(shown)}"]
        fields.append(f"{name}={shown}")
    return f"  {type(effect).__name__} " + " ".join(fields)


@pytest.mark.parametrize("name", ["neutral", "bare", "guarded"])
def test_a_whole_crash_is_the_same_to_the_last_unit(name, golden):
    with as_file(files("tidegate.stacks") / f"{name}.toml") as path:
        stack = Stack.bind(SafeguardStack.load(path), VENUE)
    state = State.genesis(stack)
    lines: list[str] = []
    queue: list[Input] = []
    for event in weather():
        queue.append(event)
        while queue:
            now = queue.pop(0)
            lines.append(f"{state.seq} {type(now).__name__} at {now.ts / SECOND:g} s")
            effects = step(state, now, stack)
            lines += [told(e) for e in effects]
            for effect in effects:
                if isinstance(effect, OrdersPlaced):
                    queue += answers(effect, now.ts)
    audit(state)
    lines.append(f"cash of the system and of everybody: {state.book.cash[:36].tolist()}")
    golden(f"crash_{name}", lines)
