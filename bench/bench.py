"""What a step costs, beside NumPy doing the same sum in the same run.

`make bench` prints medians of at least 21 runs with their conditions. Nothing here asserts a time:
machines differ, ratios in one run hold.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import BookImported, DepthObserved, PriceObserved
from tidegate.domain.instrument import Linear
from tidegate.domain.units import pack
from tidegate.domain.venue import Limits, Venue
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.kernels.margin import sweep
from tidegate.kernels.profile import forced_buckets
from tidegate.ports import Record
from tidegate.safeguards.stack import SafeguardStack, Stack


PRICE, INSTRUMENTS, HELD = 500_000, 3, 3


def world(accounts: int, stack_name: str = "guarded") -> tuple[State, Stack]:
    """Return a book of cross-margin accounts, three positions each, a few per mille in distress."""
    instruments = tuple(
        Linear(
            symbol=symbol,
            tick_size="0.1",
            lot_size="0.001",
            price_max=10**7,
            lots_max=10**7,
            open_interest_max=10**10 // 4,
            tick_value=100,
        )
        for symbol in ("BTC", "ETH", "SOL")
    )
    venue = Venue(
        name="bench",
        instruments=instruments,
        sources=("index", "venue"),
        limits=Limits(
            accounts_max=accounts + 64, positions_max=HELD * accounts + 64, orders_max=65_536
        ),
    )
    folder = Path(__file__).parent.parent / "src/tidegate/stacks"
    stack = Stack.bind(SafeguardStack.load(folder / f"{stack_name}.toml"), venue)
    state, rng = State.genesis(stack), np.random.default_rng(7)
    for i in range(INSTRUMENTS):
        price = PriceObserved(ts=0, instrument=i, source=0, price=PRICE, published=0)
        step(state, price, stack)
        levels = np.arange(1, 21)
        depth = DepthObserved(
            ts=0,
            instrument=i,
            bid_price=pack(PRICE - 400 * levels),
            bid_lots=pack(np.full(20, accounts * 2)),
            ask_price=pack(PRICE + 400 * levels),
            ask_lots=pack(np.full(20, accounts * 2)),
        )
        step(state, depth, stack)
    lots = rng.integers(-1_000, 1_001, accounts * HELD)
    size = np.abs(lots).reshape(accounts, HELD).sum(1) * PRICE * 100
    cash = (size * rng.uniform(0.035, 0.6, accounts)).astype(np.int64)
    step(
        state,
        BookImported(
            ts=0,
            names=tuple(map(str, range(accounts))),
            owner=pack(np.arange(accounts)),
            cash=pack(cash),
            account=pack(np.repeat(np.arange(accounts), HELD)),
            instrument=pack(np.tile(np.arange(INSTRUMENTS), accounts)),
            lots=pack(lots),
            entry=pack(np.full(accounts * HELD, PRICE)),
        ),
        stack,
    )
    return state, stack


def median(work: Callable[[], object], runs: int = 21) -> float:
    """Return the median seconds of ``work`` after one run that does not count."""
    work()
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def numpy_sweep(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Return equity and maintenance as NumPy would add them up: two tiers, whole columns."""
    book, facts, mark = state.book, state.facts, state.mark
    high, n = book.high, book.accounts
    account, i = book.account[:high], book.instrument[:high]
    value = book.lots[:high] * mark[i] * facts.tick_value[i]
    size, start = np.abs(value), facts.tier_start[i]
    more = np.minimum(start + 1, facts.tier_start[i + 1] - 1)
    tier = np.where(size >= facts.tier_floor[more], more, start)
    due = -(-size * facts.tier_maintenance[tier] // 1_000_000) - facts.tier_maintenance_cum[tier]
    equity, required = book.cash[:n].copy(), np.zeros(n, np.int64)
    np.add.at(equity, account, value - book.cost[:high])
    np.add.at(required, account, due)
    return equity, required


def bench_step(accounts: int) -> dict[str, object]:
    """Time a whole step on a price: guard, sweep, profile, breaker, waterfall, planner, checks."""
    state, stack = world(accounts)
    clock = iter(range(1, 10**9))

    def one() -> None:
        n = next(clock)
        price = PRICE - n % 50
        ts = n * 1_000_000_000
        event = PriceObserved(ts=ts, instrument=n % 3, source=0, price=price, published=ts)
        step(state, event, stack)

    return row(f"step_{accounts}", median(one, 101), conditions=f"{HELD * accounts:,} positions")


def bench_sweep(accounts: int) -> dict[str, object]:
    """Time the sweep alone, against NumPy, after proving that both say the same."""
    state, stack = world(accounts)
    n = state.book.accounts
    out = [np.zeros(n, np.int64) for _ in range(3)]
    mark = state.mark

    def ours() -> None:
        sweep(state.book, stack.facts, mark, mark, mark, *out)

    ours()
    equity, required = numpy_sweep(state)
    assert (out[0][FIRST_USER:] == equity[FIRST_USER:]).all()
    assert (out[1][FIRST_USER:] == required[FIRST_USER:]).all()
    theirs = median(lambda: numpy_sweep(state), 7)
    return row(
        f"sweep_{accounts}",
        median(ours),
        yardsticks={"numpy": theirs},
        conditions=f"{HELD * accounts:,} positions, one thread, results equal",
    )


def bench_profile(accounts: int) -> dict[str, object]:
    """Time the forced side of the cascade profile of one instrument."""
    state, stack = world(accounts)
    health = stack.declaration.margin.assess(
        state.book, stack.facts, mark=state.mark, low=state.mark, high=state.mark
    )
    down, up = np.zeros(40, np.int64), np.zeros(40, np.int64)

    def one() -> None:
        forced_buckets(state.book, stack.facts, state.mark, health.best, 0, 5_000, down, up)

    return row(f"profile_{accounts}", median(one), conditions="one instrument, 40 buckets a side")


def bench_journal() -> dict[str, object]:
    """Time durable group commits of 1,000 price events, encoding included."""
    batch = 1_000
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "bench.db")
        event = PriceObserved(ts=1, instrument=0, source=0, price=PRICE, published=1)

        def one() -> None:
            first = journal.head + 1
            journal.append([Record(first + k, event, ()) for k in range(batch)])

        seconds = median(one)
        journal.close()
    done = row("journal", seconds, conditions=f"{batch:,} events a commit, synchronous=FULL")
    return done | {"per_second": batch / seconds}


def row(
    name: str, seconds: float, *, yardsticks: dict[str, float] | None = None, conditions: str = ""
) -> dict[str, object]:
    """Return one line of the table."""
    best = min(yardsticks.values()) if yardsticks else None
    return {
        "name": name,
        "seconds": seconds,
        "per_second": 1 / seconds,
        "yardsticks": yardsticks or {},
        "ratio": best / seconds if best else None,
        "conditions": conditions,
    }


def main() -> None:
    """Print the table, or one JSON object with --json."""
    results = [
        bench_step(10_000),
        bench_step(100_000),
        bench_sweep(10_000),
        bench_sweep(100_000),
        bench_sweep(1_000_000),
        bench_profile(100_000),
        bench_journal(),
    ]
    if "--json" in sys.argv:
        print(json.dumps({"results": results}))
        return
    for r in results:
        ratio = f"{r['ratio']:.1f} times faster than {min(r['yardsticks'])}" if r["ratio"] else ""
        print(f"{r['name']:<16}{1e3 * r['seconds']:>10.3f} ms   {ratio:<32}{r['conditions']}")


if __name__ == "__main__":
    main()
