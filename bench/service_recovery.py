"""How long a cold start takes: 10,000,000 events in the journal, a snapshot, and the tail after it.

`python bench/service_recovery.py [FOLDER]` makes the journal, starts a new process on it as after a
crash, and prints what each part took. `--events`, `--accounts` and `--tail` change the sizes. The
events before the snapshot are prices without effects: a start from a snapshot does not look at
them, and the full check hashes them as it would any others. The tail is decided by the engine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.events import PriceObserved
from tidegate.drivers.live import Crank, Rebuilt, identity, restored
from tidegate.drivers.streams import Streams
from tidegate.engine.state import State
from tidegate.engine.step import apply
from tidegate.lab.bench.world import HELD, PRICE, world
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack


BATCH = 5_000
EVERY = 500_000  # nanoseconds between two events: 2,000 a second


class Silent:
    """A venue that takes orders and never answers."""

    def submit(self, now, orders):
        del now, orders

    def poll(self, now):
        del now
        return ()


def price(seq: int, ticks: int) -> PriceObserved:
    ts = seq * EVERY
    return PriceObserved(ts=ts, instrument=seq % HELD, source=0, price=ticks, published=ts)


def make(path: Path, events: int, tail: int, accounts: int) -> None:
    """Write a journal of ``events`` with a snapshot ``tail`` events before its end."""
    state, stack = world(accounts)
    with closing(SqliteJournal(path)) as journal:
        journal.claim(identity(stack))
        for first in range(0, events - tail, BATCH):
            last = min(first + BATCH, events - tail)
            journal.append([Record(k, price(k, PRICE), ()) for k in range(first, last)])
        state.seq, state.now = events - tail, journal.head * EVERY
        crank = Crank(journal, stack, Silent(), snapshot_every=10 * events)
        crank.start(warm=Rebuilt(state, journal.head, journal.link))
        crank._kept = -1  # noqa: SLF001 - the snapshot that a start from nothing would have had
        crank.snapshot()
        draw = Streams(7, 0)["recovery"]
        moves = draw.integers(-20, 21, tail)
        crank.feed(price(events - tail + k, PRICE + int(m)) for k, m in enumerate(moves))
        assert journal.head == events - 1


def start(path: Path, accounts: int) -> dict[str, float]:
    """Start on the journal as after a crash; return the seconds of each part."""
    _, stack = world(accounts)  # declares the stack, and has the kernels compiled or loaded
    took, begun = {}, time.perf_counter()
    journal = SqliteJournal(path)
    took["open and verify the end"] = time.perf_counter() - begun
    begun = time.perf_counter()
    found = restored(journal, stack)
    took["load the snapshot"] = time.perf_counter() - begun
    begun = time.perf_counter()
    took["apply the tail"] = _applied(journal, found) and time.perf_counter() - begun
    journal.close()
    whole = _whole(path, stack)
    with closing(SqliteJournal(path, readonly=True)) as journal:
        begun = time.perf_counter()
        journal.check()
        checked = time.perf_counter() - begun
    return took | {"cold start, all of it": whole, "full check, for comparison": checked}


def _applied(journal: SqliteJournal, found: Rebuilt) -> int:
    state: State = found.state
    for record in journal.read(found.seq, found.link):
        apply(state, record.event, record.effects)
    assert state.seq == journal.head + 1
    return journal.head - found.seq


def _whole(path: Path, stack: Stack) -> float:
    begun = time.perf_counter()
    crank = Crank(SqliteJournal(path), stack, Silent())
    found = crank.start()
    taken = time.perf_counter() - begun
    assert found.snapshot >= 0
    crank.close()
    return taken


def main() -> None:
    """Make, start, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--tail", type=int, default=10_000)
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as other:
        path = (asked.folder or Path(other)) / "journal"
        if asked.start:
            print(json.dumps(start(path, asked.accounts)))
            return
        begun = time.perf_counter()
        make(path, asked.events, asked.tail, asked.accounts)
        print(
            f"{asked.events:,} events, {asked.accounts:,} accounts, {path.stat().st_size / 1e9:.2f}"
            f" GB, made in {time.perf_counter() - begun:.0f} s; the tail has {asked.tail:,} events"
        )
        words = ["--start", "--accounts", str(asked.accounts), str(path.parent)]
        child = subprocess.run(  # noqa: S603 - our own interpreter and script
            [sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True
        )
        for part, seconds in json.loads(child.stdout).items():
            print(f"{part:28} {seconds:9.3f} s")


if __name__ == "__main__":
    main()
