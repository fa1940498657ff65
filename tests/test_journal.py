"""What the journal's file says is believed only while every byte of it is as it was written."""

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tidegate.adapters.chain import Head
from tidegate.adapters.chain import checksum as _checksum
from tidegate.adapters.codec import ORIGIN, decode, encode_batch, link_of, open_batch
from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.errors import (
    CapacityExceeded,
    ConfigInvalid,
    JournalCorrupt,
    TidegateError,
)
from tidegate.domain.events import ClockTicked
from tidegate.ports import Receipt, Record, Snapshot
from tidegate.testing import history


N = 40
RECORDS = history(N)
BATCHES = [(0, 1), (1, 13), (13, 14), (14, 30), (30, N)]
RECEIPTS = [Receipt("feed", f"key {begin}", begin, end - 1, "asked") for begin, end in BATCHES]


def written(path: Path) -> Path:
    with closing(SqliteJournal(path)) as journal:
        for (begin, end), receipt in zip(BATCHES, RECEIPTS, strict=True):
            journal.append(RECORDS[begin:end], [receipt])
        journal.save(Snapshot(20, "digest", b"state" * 100))
    return path


def everything(path: Path, *, readonly: bool = False) -> list[Record]:
    with closing(SqliteJournal(path, readonly=readonly)) as journal:
        journal.latest()
        return list(journal.read())


def whole(path: Path, *, readonly: bool = False) -> tuple[list[Record], list[Receipt]]:
    with closing(SqliteJournal(path, readonly=readonly)) as journal:
        journal.check()
        return list(journal.read()), list(journal.receipts())


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    return written(tmp_path_factory.mktemp("journal") / "master.journal")


@pytest.fixture
def path(master, tmp_path):
    """Return a private copy of a good journal, its witness included."""
    for file in master.parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / master.name


def doctor(path: Path, *statements: tuple) -> None:
    """Change the file behind the journal's back."""
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(*statement)


def reseal(path: Path, **changes) -> None:
    """Change the head row and give it a checksum that fits."""
    with closing(sqlite3.connect(path)) as db, db:
        row = db.execute("SELECT format, seq, taken, identity, link FROM head").fetchone()
        keys = ("format", "seq", "taken", "identity", "link")
        new = dict(zip(keys, row, strict=True)) | changes
        db.execute(
            "UPDATE head SET format = ?, seq = ?, taken = ?, identity = ?, link = ?, checksum = ?",
            (*new.values(), _checksum(*new.values())),
        )


def refusal(path: Path, error=JournalCorrupt) -> str:
    with pytest.raises(error) as caught:
        everything(path)
    return str(caught.value)


def test_a_good_journal_is_read(path):
    assert everything(path) == RECORDS


# ---------------------------------------------------------------- the frame, bit by bit


def test_any_flipped_bit_of_a_frame_names_its_record():
    """Every bit of a batch: header, length, link and payload all name the record they belong to.

    A wrong count is noticed where the counting goes wrong: at the first one left over or missing.
    """
    records = RECORDS[14:19]
    frame, link = encode_batch(records, ORIGIN)
    ends = [40]  # the header belongs to the first record
    for record in records:
        ends.append(ends[-1] + 20 + len(encode_batch([record], ORIGIN)[0]) - 60)
    assert ends[-1] == len(frame)
    for at in range(len(frame)):
        owner = 14 + max(0, sum(end <= at for end in ends) - 1)
        for bit in range(8):
            bad = bytearray(frame)
            bad[at] ^= 1 << bit
            with pytest.raises(JournalCorrupt) as caught:
                list(open_batch(bytes(bad), 14, ORIGIN))
            count = 5 ^ (1 << (bit + 8 * (at - 12))) if 12 <= at < 16 else None
            named = owner if not count else 14 + min(count, 5)
            assert f"record {named}:" in str(caught.value), (at, bit)
    good = list(open_batch(frame, 14, ORIGIN))
    assert [decode(s) for s in good] == records
    assert good[-1].link == link


def test_a_truncated_or_prolonged_frame_is_refused():
    frame, _ = encode_batch(RECORDS[:5], ORIGIN)
    for length in range(len(frame)):
        with pytest.raises(JournalCorrupt, match=r"record 0:"):
            list(open_batch(frame[:length], 0, ORIGIN))
    with pytest.raises(JournalCorrupt, match=r"record 0:"):
        list(open_batch(frame + b"\0", 0, ORIGIN))


def test_records_of_two_batches_cannot_be_exchanged():
    first, link = encode_batch(RECORDS[:2], ORIGIN)
    again, _ = encode_batch(RECORDS[:2], link)
    with pytest.raises(JournalCorrupt, match=r"record 0: it does not continue"):
        list(open_batch(again, 0, ORIGIN))
    assert [s.seq for s in open_batch(first, 0, None)] == [0, 1]


def test_an_intact_payload_of_another_version_is_refused_by_number():
    event = b"\x92\x82\xa4type\xa6Future\xa2ts\x01\x90"
    link = link_of(ORIGIN, 0, event)
    frame = (
        b"TGJ1"
        + (0).to_bytes(8, "little")
        + (1).to_bytes(4, "little")
        + (20 + len(event)).to_bytes(8, "little")
        + ORIGIN
        + len(event).to_bytes(4, "little")
        + link
        + event
    )
    (sealed,) = open_batch(frame, 0, ORIGIN)
    with pytest.raises(JournalCorrupt, match=r"record 0: it is intact .* 'Future'"):
        decode(sealed)


def test_a_link_ties_a_payload_to_its_number_and_its_past():
    links = {link_of(before, seq, b"x") for before in (ORIGIN, b"\1" * 16) for seq in (0, 1)}
    assert len(links) == 4


def test_equal_records_make_equal_bytes():
    assert encode_batch(RECORDS, ORIGIN) == encode_batch(history(N), ORIGIN)


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(("gone", "named"), [(0, 0), (1, 1), (13, 13), (14, 14), (30, 30)])
def test_a_missing_batch_is_named(path, gone, named):
    doctor(path, ("DELETE FROM batches WHERE first = ?", (gone,)))
    assert f"record {named}:" in refusal(path)


def test_a_missing_tail_is_noticed_even_when_the_head_row_agrees(path):
    """Whoever shortens journal and head row together still has the witness against him."""
    with closing(SqliteJournal(path)) as journal:
        link = list(journal._sealed(journal._head))[29].link
    doctor(path, ("DELETE FROM batches WHERE first = 30",))
    reseal(path, seq=29, link=link)
    message = refusal(path)
    assert "record 30: it is missing, and so is every record up to 39" in message
    path.with_name(f"{path.name}-head").unlink()
    assert everything(path) == RECORDS[:30]


def test_another_journal_of_the_same_length_is_noticed(path, tmp_path):
    with closing(SqliteJournal(tmp_path / "other")) as other:
        other.append([Record(k, ClockTicked(ts=k), ()) for k in range(N)])
    (tmp_path / "other").replace(path)
    assert "record 39: it is not the one" in refusal(path)


def test_batches_that_changed_places_are_noticed(path):
    doctor(
        path,
        ("UPDATE batches SET first = -1 WHERE first = 0",),
        ("UPDATE batches SET first = 0 WHERE first = 13",),
        ("UPDATE batches SET first = 13 WHERE first = -1",),
    )
    assert "record 0:" in refusal(path)


@pytest.mark.parametrize("value", [None, "text", 7, 0.5, b""])
def test_a_frame_of_another_kind_is_refused(path, value):
    doctor(path, ("PRAGMA ignore_check_constraints = 1",))
    with closing(sqlite3.connect(path)) as db, db:
        if value is None:
            db.execute("UPDATE batches SET frame = zeroblob(3) WHERE first = 13")
        else:
            db.execute("UPDATE batches SET frame = ? WHERE first = 13", (value,))
    assert "record 13:" in refusal(path)


@pytest.mark.parametrize("column", ["seq", "taken", "identity", "link", "checksum", "format"])
def test_a_changed_head_row_is_refused(path, column):
    doctor(path, (f"UPDATE head SET {column} = 38",))
    assert "says where the journal ends" in refusal(path)


@pytest.mark.parametrize("seq", [-1, 29, 38, 40])
def test_a_head_row_that_says_another_end_is_refused(path, seq):
    reseal(path, seq=seq)
    assert f"record {min(seq, 39) + 1}:" in refusal(path)


def test_a_head_row_with_another_link_is_refused(path):
    reseal(path, link=bytes(16))
    assert "record 39:" in refusal(path)


def test_an_unknown_format_is_refused_with_a_way_out(path):
    reseal(path, format=3)
    message = refusal(path, ConfigInvalid)
    assert "format must be 2, found 3" in message
    assert "the version that wrote it" in message


def test_the_head_row_is_covered_field_by_field():
    """No two heads share a checksum because their fields run together."""
    heads = [Head(1, 23, "", b"x"), Head(12, 3, "", b"x"), Head(1, 23, "x", b"")]
    assert len({head.checksum for head in heads}) == 3


# ---------------------------------------------------------------- the file, bit by bit


def flipped_everywhere(path: Path, file: Path, flips: int, seed: int) -> int:
    """Flip one bit at a time in ``file``; return how many were refused, the rest did no harm."""
    draw, good = random.Random(seed), file.read_bytes()
    expected = RECORDS, RECEIPTS
    refused = 0
    around = {f: f.read_bytes() for f in path.parent.iterdir() if f != file and f.is_file()}
    for n in range(flips):
        at, bit = draw.randrange(len(good)), draw.randrange(8)
        bad = bytearray(good)
        bad[at] ^= 1 << bit
        for other in path.parent.iterdir():
            other.unlink()
        for other, data in around.items():
            other.write_bytes(data)
        file.write_bytes(bytes(bad))
        try:
            same = whole(path, readonly=n % 8 > 0) == expected
        except TidegateError:
            refused += 1
        else:
            assert same, f"reproduce: bit {bit} of byte {at} of {file.name}"
    return refused


def test_a_flipped_bit_of_the_file_is_refused_or_harmless(path):
    """Bits in free space and in unused page fields harm nobody; no other is overlooked."""
    assert flipped_everywhere(path, path, 1_000, seed=11) > 100


def test_a_flipped_bit_of_the_log_is_refused_or_harmless(tmp_path):
    """SQLite takes a damaged page of its write-ahead log for the log's end; the witness does not.

    The files are copied while the journal is open, as a crash leaves them.
    """
    live, dead = tmp_path / "live", tmp_path / "dead"
    live.mkdir()
    dead.mkdir()
    with closing(SqliteJournal(live / "j")) as journal:
        for (begin, end), receipt in zip(BATCHES, RECEIPTS, strict=True):
            journal.append(RECORDS[begin:end], [receipt])
        for file in live.iterdir():
            shutil.copy(file, dead)
    assert flipped_everywhere(dead / "j", dead / "j-wal", 500, seed=12) > 350


def test_a_log_that_was_not_copied_is_missed(tmp_path):
    (tmp_path / "copy").mkdir()
    with closing(SqliteJournal(tmp_path / "j")) as journal:
        journal.append(RECORDS)
        shutil.copy(tmp_path / "j", tmp_path / "copy")
        shutil.copy(tmp_path / "j-head", tmp_path / "copy")
    assert "record 0: it is missing, and so is every record up to 39" in refusal(
        tmp_path / "copy/j"
    )


def test_a_truncated_file_is_refused(path):
    good = path.read_bytes()
    for length in [0, 1, 100, 4096, *range(8192, len(good), 4096), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(JournalCorrupt):
            whole(path)


def test_a_journal_that_vanished_is_not_begun_anew(path):
    path.unlink()
    assert "record 0: it is missing" in refusal(path)


def test_a_last_batch_that_is_exchanged_under_a_reader_is_noticed(path):
    """Its chain is sound and its numbers are right; only the head that was opened knows better."""
    with closing(SqliteJournal(path)) as journal:
        before = list(journal._sealed(journal._head))[29].link
        forged, _ = encode_batch([r._replace(effects=()) for r in RECORDS[30:]], before)
        doctor(path, ("UPDATE batches SET frame = ? WHERE first = 30", (forged,)))
        with pytest.raises(JournalCorrupt, match="record 39: the journal does not end with it"):
            list(journal.read())


@pytest.mark.parametrize("text", [b"", b"39 00\n", b"x" * 64, b"39 zz".ljust(63) + b"\n"])
def test_a_damaged_witness_is_refused(path, text):
    path.with_name(f"{path.name}-head").write_bytes(text)
    assert "must hold the last record number" in refusal(path)


def test_something_else_is_not_a_journal(tmp_path):
    (tmp_path / "j").write_text("hello")
    refusal(tmp_path / "j")
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.execute("CREATE TABLE head (id)")
    refusal(tmp_path / "db")


def test_a_start_that_was_interrupted_is_no_journal_yet(tmp_path):
    """An empty journal appears at once or not at all."""
    (tmp_path / "j-new").write_bytes(b"half of a database")
    assert everything(tmp_path / "j") == []
    assert not (tmp_path / "j-new").exists()


# ---------------------------------------------------------------- snapshots


def test_the_three_newest_snapshots_are_kept(path):
    with closing(SqliteJournal(path)) as journal:
        for seq in (21, 22, 23, 24):
            journal.save(Snapshot(seq, "d", b"s"))
        assert journal.latest()._replace(link=b"") == Snapshot(24, "d", b"s")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT seq FROM snapshots ORDER BY seq").fetchall() == [
            (22,),
            (23,),
            (24,),
        ]


@pytest.mark.parametrize("column", ["digest", "state", "checksum"])
def test_a_changed_snapshot_is_refused(path, column):
    doctor(path, (f"UPDATE snapshots SET {column} = 'x'",))
    assert "record 20: the snapshot taken after it" in refusal(path)


# ---------------------------------------------------------------- writers, readers, failures


WRITER = """
import sys
from tidegate.adapters.journal import SqliteJournal
journal = SqliteJournal(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_writer_in_another_process_is_refused_until_it_dies(path):
    other = subprocess.Popen(
        [sys.executable, "-c", WRITER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "open\n"
        message = refusal(path, ConfigInvalid)
        assert "only one process may write a journal" in message
        with closing(SqliteJournal(path, readonly=True)) as reader:
            assert list(reader.read()) == RECORDS
        other.kill()
    assert everything(path) == RECORDS


def test_readers_see_what_was_durable_when_they_came(path):
    with closing(SqliteJournal(path)) as journal:
        with closing(SqliteJournal(path, readonly=True)) as reader:
            journal.append(history(5, first=N))
            assert list(reader.read()) == RECORDS
            with pytest.raises(TidegateError, match="reading only"):
                reader.append(history(1, first=N))
        with closing(SqliteJournal(path, readonly=True)) as reader:
            assert list(reader.read()) == history(N + 5)


def test_a_reader_creates_nothing(tmp_path):
    with pytest.raises(ConfigInvalid, match="no such file"):
        SqliteJournal(tmp_path / "j", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reading_ends_where_the_journal_ended_when_it_began(path):
    with closing(SqliteJournal(path)) as journal:
        reading = journal.read()
        first = next(reading)
        journal.append(history(5, first=N))
        assert [first, *reading] == RECORDS
        assert list(journal.read()) == history(N + 5)


def test_a_full_disk_keeps_nothing_and_stops_the_journal(path):
    with closing(SqliteJournal(path)) as journal:
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(CapacityExceeded, match="the disk is full"):
            journal.append(history(5_000, first=N))
        assert journal.head == N - 1
        with pytest.raises(TidegateError, match="an append has failed"):
            journal.append(history(1, first=N))
    assert everything(path) == RECORDS


LIMITED = """
import resource, sys
from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.errors import JournalGone, TidegateError
from tidegate.testing import history
journal = SqliteJournal(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
kept = journal.head + 1
try:
    while True:
        journal.append(history(500, first=journal.head + 1))
        kept = journal.head + 1
except JournalGone:
    pass
try:
    journal.append(history(1, first=kept))
except TidegateError:
    print(kept)
"""


def test_a_disk_that_takes_no_more_loses_nothing(path):
    """The system refuses to let the log grow: what was acknowledged is there, whole."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True
    )
    kept = int(done.stdout)
    assert kept >= N
    with closing(SqliteJournal(path)) as journal:
        found = list(journal.read())
        assert found == history(len(found))
        assert len(found) in {kept, kept + 500}  # the batch in doubt is there whole or not at all
        journal.append(history(1, first=len(found)))


def test_a_writer_that_ignored_the_lock_is_noticed(path):
    with closing(SqliteJournal(path)) as journal:
        doctor(path, ("UPDATE head SET seq = 50",))
        with pytest.raises(JournalCorrupt, match="record 40: somebody else has written"):
            journal.append(history(1, first=N))


def test_every_append_waits_for_the_disk(path):
    """`synchronous` FULL (2) in WAL mode: each commit is an fsync of the log."""
    with closing(SqliteJournal(path)) as journal:
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
