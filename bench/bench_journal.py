"""Append and read rates of the SQLite journal: `python bench/bench_journal.py [FOLDER]`.

Records are what a price usually causes: an observation, a mark, volatility, a profile, health.
Appending includes encoding, the hash chain and one fsync a batch. FOLDER names the disk.
"""

import platform
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.effects import (
    HealthMoved,
    MarkMoved,
    ObservationKept,
    ProfileMoved,
    VolatilityMoved,
)
from tidegate.domain.events import PriceObserved
from tidegate.ports import Record


EVENTS = 60_000
BUCKETS = bytes(8 * 40)


def record(seq: int) -> Record:
    ts, price = 1_700_000_000_000_000_000 + seq, 1_000_000 + seq % 977
    event = PriceObserved(ts=ts, instrument=0, source=0, price=price, published=ts)
    effects = (
        ObservationKept(instrument=0, source=0, price=price, confidence=9, published=ts),
        MarkMoved(
            instrument=0,
            price=price,
            low=price - 9,
            high=price + 9,
            index=price,
            basis=seq % 64,
            pending=0,
            pending_at=0,
            quality=0,
            at=ts,
        ),
        VolatilityMoved(
            instrument=0, variance=seq, anchor=price, anchored_at=ts, deviations=seq % 10**6
        ),
        ProfileMoved(instrument=0, down=BUCKETS, up=BUCKETS, near=seq % 10**6),
        HealthMoved(liquidatable=3, bankrupt=0, required=10**12, distressed=10**9, deficit=0),
    )
    return Record(seq, event, effects)


def main() -> None:
    records = [record(seq) for seq in range(EVENTS)]
    print(
        f"{platform.machine()}, Python {platform.python_version()}, {EVENTS:,} events of 5 effects"
    )
    for size in (1, 10, 100, 1_000, 10_000):
        n = min(EVENTS, size * 2_000)
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
            path = Path(folder) / "journal"
            with closing(SqliteJournal(path)) as journal:
                begin = time.perf_counter()
                for at in range(0, n, size):
                    journal.append(records[at : at + size])
                wrote = time.perf_counter() - begin
                begin = time.perf_counter()
                assert sum(1 for _ in journal.read()) == n
                read = time.perf_counter() - begin
                begin = time.perf_counter()
                assert sum(1 for _ in journal.read(after=n)) == 0
                verified = time.perf_counter() - begin
            bytes_each = path.stat().st_size / n
        print(
            f"batch {size:>6,}: append {n / wrote:>8,.0f}/s ({wrote / n * size * 1e3:.2f} ms), "
            f"read {n / read:>9,.0f}/s, verify {n / verified:>9,.0f}/s, {bytes_each:,.0f} B/event"
        )


if __name__ == "__main__":
    main()
