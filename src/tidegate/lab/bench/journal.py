"""Input events a second that become durable, encoding and hash chain included, commit by commit."""

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from tidegate.adapters.codec import ORIGIN, encode_batch
from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.effects import HealthMoved, MarkMoved, ObservationKept, ProfileMoved
from tidegate.domain.events import PriceObserved
from tidegate.domain.units import Money, Nanos, Ppm, Ticks
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import RUNS_MIN
from tidegate.ports import Record


NAMES: Final = ("journal",)
GROUP: Final = 2_000  # events a commit
COMMITS: Final = 50  # of one run
BUCKETS: Final = bytes(8 * 40)  # of a cascade profile, one side


class Appended(NamedTuple):
    """What one run of commits took: seconds of all and of each, bytes of an event on disk."""

    seconds: float
    commits: list[float]
    size: float


def measure(scale: float = 1.0) -> list[Result]:
    """Time group commits of input events; beside them the same with effects, and plainer writers.

    Each run is read back and its chain verified before its time counts. ``fsync`` is what the disk
    itself takes of a commit: it varies, and bounds the latency.
    """
    commits = max(5, round(COMMITS * scale))
    n = GROUP * commits
    inputs = [Record(seq, _price(seq), ()) for seq in range(n)]
    priced = [Record(seq, _price(seq), _effects(seq)) for seq in range(n)]
    runs = [(_ours(inputs), _ours(priced), _raw(inputs), _rows(inputs)) for _ in range(RUNS_MIN)]
    ours, with_effects, raw, rows = zip(*runs, strict=True)
    latencies = sorted(t for run in ours for t in run.commits)
    seconds = statistics.median(run.seconds for run in ours)
    also = {
        "p50_commit_ms": 1e3 * latencies[len(latencies) // 2],
        "p99_commit_ms": 1e3 * latencies[len(latencies) * 99 // 100],
        "bytes_an_event": ours[0].size,
        "with_effects_per_second": n / statistics.median(run.seconds for run in with_effects),
        "with_effects_bytes_an_event": with_effects[0].size,
        "encoding_alone_per_second": n / statistics.median(_encoding(inputs) for _ in ours),
        "fsync_ms": 1e3 * statistics.median(_fsync() for _ in range(21)),
    }
    conditions = (
        f"{commits} commits of {GROUP:,} price observations a run, SQLite WAL, synchronous=FULL; "
        "read back and verified. Also: with what a price usually causes (four effects, a cascade "
        "profile among them). Beside: the same frames appended to a file with fdatasync, which "
        "keeps no index and takes no other writer's lock, and one SQLite row an event; work is "
        "an event"
    )
    yardsticks = {
        "file and fdatasync": statistics.median(raw),
        "SQLite, a row an event": statistics.median(rows),
    }
    beside = ("file and fdatasync",)
    return [
        found(
            "journal",
            seconds,
            work=n,
            conditions=conditions,
            yardsticks=yardsticks,
            beside=beside,
            also=also,
        )
    ]


def _price(seq: int) -> PriceObserved:
    at, price = Nanos(1_700_000_000_000_000_000 + seq), Ticks(1_000_000 + seq % 977)
    return PriceObserved(ts=at, instrument=seq % 50, source=0, price=price, published=at)


def _effects(seq: int) -> tuple[ObservationKept | MarkMoved | ProfileMoved | HealthMoved, ...]:
    """Return what the engine decides on such a price."""
    i, at, price = seq % 50, Nanos(1_700_000_000_000_000_000 + seq), Ticks(1_000_000 + seq % 977)
    near = Ppm(seq % 10**6)
    return (
        ObservationKept(instrument=i, source=0, price=price, confidence=Ticks(9), published=at),
        MarkMoved(
            instrument=i,
            price=price,
            low=Ticks(price - 9),
            high=Ticks(price + 9),
            index=price,
            basis=seq % 64,
            pending=Ticks(0),
            pending_at=Nanos(0),
            quality=0,
            at=at,
        ),
        ProfileMoved(instrument=i, down=BUCKETS, up=BUCKETS, near=near),
        HealthMoved(
            liquidatable=3,
            bankrupt=0,
            required=Money(10**12),
            distressed=Money(10**9),
            deficit=Money(0),
        ),
    )


def _groups(records: Sequence[Record]) -> list[Sequence[Record]]:
    return [records[at : at + GROUP] for at in range(0, len(records), GROUP)]


def _ours(records: Sequence[Record]) -> Appended:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        with closing(SqliteJournal(path)) as journal:
            taken: list[float] = []
            begun = time.perf_counter()
            for group in _groups(records):
                before = time.perf_counter()
                journal.append(group)
                taken.append(time.perf_counter() - before)
            seconds = time.perf_counter() - begun
            assert sum(1 for _ in journal.read()) == len(records), "records are missing"
        return Appended(seconds, taken, path.stat().st_size / len(records))


def _raw(records: Sequence[Record]) -> float:
    """Return the seconds of appending our frames to a file, each with an fdatasync."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.open(Path(folder) / "log", os.O_WRONLY | os.O_CREAT)
        begun, link = time.perf_counter(), ORIGIN
        for group in _groups(records):
            frame, link = encode_batch(group, link)
            os.write(file, frame)
            os.fdatasync(file)
        seconds = time.perf_counter() - begun
        os.close(file)
    return seconds


def _rows(records: Sequence[Record]) -> float:
    """Return the seconds of the same with SQLite and a row an event, chained and encoded alike."""
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "rows", isolation_level=None)
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, frame BLOB NOT NULL)")
        begun, link = time.perf_counter(), ORIGIN
        for group in _groups(records):
            db.execute("BEGIN")
            for record in group:
                frame, link = encode_batch((record,), link)
                db.execute("INSERT INTO events VALUES (?, ?)", (record.seq, frame))
            db.execute("COMMIT")
        seconds = time.perf_counter() - begun
        (kept,) = db.execute("SELECT count(*) FROM events").fetchone()
        assert kept == len(records), "rows are missing"
        db.close()
    return seconds


def _encoding(records: Sequence[Record]) -> float:
    begun, link = time.perf_counter(), ORIGIN
    for group in _groups(records):
        _, link = encode_batch(group, link)
    return time.perf_counter() - begun


def _fsync() -> float:
    """Return the seconds that one page takes to become durable."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(8192))
        file.flush()
        begun = time.perf_counter()
        os.fdatasync(file.fileno())
        return time.perf_counter() - begun
