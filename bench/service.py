"""What the live engine does beside a large venue: latency, throughput and memory, in real time.

`python bench/service.py engine` imports a book of a million accounts into a crank with a SQLite
journal, sends observations at a steady rate, and prints how long each took from its arrival to the
durable decision. Who falls behind is shown as falling behind. Nothing else should run meanwhile:
the last lines say whether anything did.
"""

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec
import numpy as np

from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.effects import HealthMoved, OrdersPlaced
from tidegate.domain.events import BookImported, ClockTicked, DepthObserved, Input, PriceObserved
from tidegate.domain.instrument import Linear
from tidegate.domain.units import SECOND, Lots, Money, Nanos, Ticks, pack
from tidegate.domain.venue import Limits, Venue
from tidegate.drivers.live import Crank
from tidegate.drivers.threads import Threads
from tidegate.engine.lens import Lens
from tidegate.engine.step import decide
from tidegate.lab.bench.timing import Load
from tidegate.lab.bench.world import shipped
from tidegate.ports import Receipt, Record
from tidegate.safeguards.cadence import Cadence
from tidegate.safeguards.stack import Stack


MARKETS, HELD, LEVELS = 50, 3, 20
BEGIN = Nanos(1_700_000_000 * SECOND)
BATCH_MAX = 1_000
VOLATILITY = 142e-6  # of a second: 80 % a year


class Silent:
    """A venue that takes orders and never answers: what is measured is the engine."""

    def submit(self, now: Nanos, orders: OrdersPlaced) -> None:
        """Take orders."""

    def poll(self, now: Nanos) -> list[Input]:
        """Have no news."""
        del now
        return []


@dataclass(frozen=True, slots=True)
class Plain:
    """A batch without receipts: `drivers.live.Intake`."""

    batch: list[Input]

    def events(self) -> Iterator[Input]:
        """Yield what is to be taken."""
        return iter(self.batch)

    def whole(self, records: int) -> int:
        """Return how many records may be kept: every event stands alone."""
        return records

    def receipts(self, records: Sequence[Record]) -> Sequence[Receipt]:
        """Return no receipts."""
        del records
        return ()


def venue_of(accounts: int) -> Venue:
    """Return fifty linear markets with room for so many accounts."""
    instruments = tuple(
        Linear(
            symbol=f"M{n:02d}",
            tick_size="0.1",
            lot_size="0.001",
            price_max=Ticks(10**7),
            lots_max=Lots(10**7),
            open_interest_max=Lots(10**10 // 4),
            tick_value=Money(100),
        )
        for n in range(MARKETS)
    )
    limits = Limits(
        accounts_max=accounts + 64, positions_max=HELD * accounts + 4_096, orders_max=65_536
    )
    return Venue(name="large", instruments=instruments, sources=("index",), limits=limits)


def opening(accounts: int, prices: np.ndarray, draw: np.random.Generator) -> Iterator[Input]:
    """Yield the first second: prices, depth, and a book of three positions an account."""
    for i, price in enumerate(prices.tolist()):
        yield PriceObserved(ts=BEGIN, instrument=i, source=0, price=price, published=BEGIN)
        away = price * np.arange(1, LEVELS + 1) // 1_000
        lots = pack(np.full(LEVELS, max(1, accounts // 10)))
        yield DepthObserved(
            ts=BEGIN,
            instrument=i,
            bid_price=pack(price - away),
            bid_lots=lots,
            ask_price=pack(price + away),
            ask_lots=lots,
        )
    market = (draw.integers(0, MARKETS, accounts)[:, None] + np.array([0, 7, 21])) % MARKETS
    lots = draw.integers(1, 1_001, market.shape) * draw.choice([-1, 1], market.shape)
    worth = (np.abs(lots) * prices[market] * 100).sum(1)
    yield BookImported(
        ts=BEGIN,
        names=tuple(map(str, range(accounts))),
        owner=pack(np.arange(accounts)),
        cash=pack((worth * draw.uniform(0.06, 0.6, accounts)).astype(np.int64)),
        account=pack(np.repeat(np.arange(accounts), HELD)),
        instrument=pack(market.reshape(-1)),
        lots=pack(lots.reshape(-1)),
        entry=pack(prices[market].reshape(-1)),
    )


def observations(prices: np.ndarray, rate: int, draw: np.random.Generator) -> Iterator[Input]:
    """Yield prices that walk, ``rate`` a second over all markets in turn, and a tick a second."""
    now, price = prices.astype(float), float(VOLATILITY * np.sqrt(MARKETS / rate))
    n = 0
    while True:
        n += 1
        ts, i = Nanos(BEGIN + n * SECOND // rate), n % MARKETS
        if n % rate == 0:
            yield ClockTicked(ts=ts)
            continue
        now[i] *= np.exp(draw.normal(0, price))
        yield PriceObserved(
            ts=ts, instrument=i, source=0, price=max(1, round(now[i])), published=ts
        )


@dataclass
class Found:
    """What one run measured."""

    late: list[float] = field(default_factory=list)  # seconds from arrival to durable
    batches: int = 0
    judged: int = 0
    sent: int = 0  # that arrived within the time
    seconds: float = 0.0
    cpu: float = 0.0


def paced(crank: Crank, feed: Iterator[Input], rate: int, seconds: float) -> Found:
    """Send observations as they become due; stop after ``seconds``, taken or not."""
    found, begun, cpu = Found(), time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - begun) < seconds:
        due = min(int(passed * rate), found.sent + BATCH_MAX)
        if due == found.sent:
            time.sleep(max(0.0, (found.sent + 1) / rate - passed))
            continue
        batch = [next(feed) for _ in range(due - found.sent)]
        records = crank.take(Plain(batch))
        done = time.perf_counter() - begun
        found.late += [done - (n + 1) / rate for n in range(found.sent, due)]
        found.sent, found.batches = due, found.batches + 1
        found.judged += sum(isinstance(e, HealthMoved) for r in records for e in r.effects)
    found.seconds = time.perf_counter() - begun
    found.cpu = time.process_time() - cpu
    return found


def hurried(crank: Crank, feed: Iterator[Input], seconds: float) -> float:
    """Return how many observations a second are made durable, in full batches, without a pause."""
    begun, taken = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        crank.take(Plain([next(feed) for _ in range(BATCH_MAX)]))
        taken += BATCH_MAX
    return taken / (time.perf_counter() - begun)


def costs(crank: Crank, stack: Stack, lens: Lens | None, runs: int = 15) -> list[str]:
    """Return what one decision takes: a judgement with every profile, and a price that waits."""
    state, said = crank.state, list[str]()
    tick = ClockTicked(ts=Nanos(state.now))
    price = int(state.mark[0])
    waits = PriceObserved(ts=tick.ts, instrument=0, source=0, price=price, published=tick.ts)
    for name, event in (("a judgement", tick), ("a price", waits)):
        taken = []
        for _ in range(runs):
            begun, cpu = time.perf_counter(), time.process_time()
            decide(state, event, stack, lens)
            taken.append((time.perf_counter() - begun, time.process_time() - cpu))
        wall, cpu = np.array(taken).T * 1e3
        said.append(
            f"{name} decided in {np.median(wall):.3f} ms, fastest {wall.min():.3f}; "
            f"processor {np.median(cpu):.3f}"
        )
    return said


def resident() -> int:
    """Return the bytes of memory that this process has now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1_024 * next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmRSS"))


@click.group()
def main() -> None:
    """Measure the live service."""


@main.command()
@click.option("--accounts", default=1_000_000, show_default=True)
@click.option("--rate", default=2_000, show_default=True, help="Observations a second.")
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--judge-every-ms", default=100, show_default=True, help="0: at every price.")
@click.option("--judge-move", default=1_000, show_default=True, help="ppm")
@click.option("--lens/--no-lens", default=True, show_default=True)
@click.option("--threads", default=2, show_default=True)
def engine(
    accounts: int,
    rate: int,
    seconds: float,
    judge_every_ms: int,
    judge_move: int,
    lens: bool,  # noqa: FBT001 (a flag of the command line)
    threads: int,
) -> None:
    """One crank with a SQLite journal, in this process."""
    draw = np.random.default_rng(7)
    prices = draw.integers(100_000, 900_000, MARKETS)
    every = Nanos(judge_every_ms * 1_000_000)
    cadence = Cadence(judge_every_ns=every, judge_move=judge_move) if every else Cadence()
    stack = Stack.bind(
        msgspec.structs.replace(shipped("guarded"), cadence=cadence), venue_of(accounts)
    )
    before = resident()
    with tempfile.TemporaryDirectory() as folder, Threads(threads) as share, Load() as load:
        journal = SqliteJournal(Path(folder) / "journal")
        looking = Lens(share) if lens else None
        crank = Crank(
            journal, stack, Silent(), batch_max=BATCH_MAX, snapshot_every=10**9, lens=looking
        )
        crank.start()
        crank.feed(opening(accounts, prices, draw))
        gc.collect()
        feed = observations(prices, rate, draw)
        for _ in range(3):  # compile, pack
            crank.take(Plain([next(feed) for _ in range(rate // 4 + 1)][-2:]))
        memory = (resident() - before) / accounts
        found = paced(crank, feed, rate, seconds)
        fast = hurried(crank, feed, min(seconds, 5.0))
        took = costs(crank, stack, looking)
        kept = (Path(folder) / "journal").stat().st_size
        crank.close()
    said(found, rate, fast)
    click.echo("\n".join(took))
    words = f"every {judge_every_ms} ms or {judge_move} ppm" if cadence.active else "at every price"
    click.echo(f"judged {words}, {f'lens on {threads} threads' if lens else 'no lens'}")
    click.echo(f"memory {memory:,.0f} bytes an account; journal {kept / 2**20:,.0f} MiB")
    click.echo(f"{accounts:,} accounts, {HELD * accounts:,} positions, {MARKETS} markets; guarded")
    click.echo(load.words)


def said(found: Found, rate: int, fast: float) -> None:
    """Print one run."""
    behind = max(0, int(found.seconds * rate) - found.sent)
    late = np.array(found.late) * 1e3
    p50, p99 = np.percentile(late, [50, 99]) if late.size else (np.nan, np.nan)
    click.echo(
        f"{found.sent:,} of {found.sent + behind:,} observations taken in {found.seconds:.1f} s, "
        f"{found.batches:,} durable batches, {found.judged:,} judgements"
    )
    click.echo(f"arrival to durable decision: p50 {p50:.2f} ms, p99 {p99:.2f} ms", nl=False)
    click.echo(f", worst {late.max(initial=0):.1f} ms; {found.cpu / found.seconds:.2f} cores busy")
    click.echo(f"sustained without a pause: {fast:,.0f} observations/s, durable")


if __name__ == "__main__":
    main()
