"""`tidegate journal`: a backup is a journal, a restore is a proof, an export is a table."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tidegate.adapters.backup import backup
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.journals import open_journal
from tidegate.cli.journal import journal as command
from tidegate.domain.errors import ConfigInvalid, JournalCorrupt
from tidegate.ports import Receipt, Snapshot
from tidegate.testing import history


RECEIPTS = [Receipt("feed", f"key {k}", 3 * k, 3 * k + 2, "ask") for k in range(10)]


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    """Yield the address of a journal of 30 records, with its receipts and two snapshots."""
    where, schema = str(tmp_path / "live"), f"cli_{os.getpid()}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        where = f"{url}{'&' if '?' in url else '?'}schema={schema}"
    with closing(open_journal(where)) as journal:
        journal.claim("owner")
        for k, receipt in enumerate(RECEIPTS):
            journal.append(history(3, first=3 * k), [receipt])
        for seq in (10, 20):
            journal.save(Snapshot(seq, f"digest {seq}", b"state"))
    yield where
    if request.param == "postgresql":
        with psycopg.connect(url) as db:
            db.execute(f"DROP SCHEMA {schema} CASCADE")


def told(*words, error=None):
    found = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if error is None:
        assert found.exception is None, found.exception
        return found.output
    assert isinstance(found.exception, error), found.exception
    return str(found.exception)


def alike(one, two):
    """Assert that two journals hold the same, byte by byte."""
    assert list(one.frames()) == list(two.frames())
    assert list(one.receipts()) == list(two.receipts())
    assert one.end == two.end
    assert [one.snapshot(s) for s in one.snapshots()] == [two.snapshot(s) for s in two.snapshots()]


def test_check_says_what_was_found_whole(address):
    said = told("check", address)
    assert "format 2, epoch 1; 30 records from record 0, 10 receipts, 2 snapshots" in said


def test_a_backup_is_taken_beside_the_writer_and_restored(address, tmp_path):
    copy, again = tmp_path / "copy", tmp_path / "again"
    with closing(open_journal(address)) as journal:
        assert "30 records, 10 receipts, verified" in told("backup", address, copy)
        journal.append(history(1, first=30))
        with closing(SqliteJournal(copy, readonly=True)) as kept:
            assert kept.epoch == journal.epoch
    assert "could be restored: 30 records" in told("restore", copy, "--drill")
    assert "restored: 30 records, 10 receipts" in told("restore", copy, again)
    with closing(SqliteJournal(copy, readonly=True)) as one, closing(SqliteJournal(again)) as two:
        alike(one, two)
        assert list(two.read()) == history(30)
        assert two.epoch == one.epoch + 1
        assert two.place("feed") == "key 9"
        two.append(history(1, first=30))


def test_a_journal_moves_to_a_server_and_back(postgres_url, tmp_path):
    schema = f"moved_{os.getpid()}"
    there = f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema={schema}"
    with closing(SqliteJournal(tmp_path / "file")) as journal:
        journal.append(history(30), RECEIPTS)
        journal.save(Snapshot(7, "digest", b"state"))
    told("restore", tmp_path / "file", there)
    told("backup", there, tmp_path / "back")
    with (
        closing(SqliteJournal(tmp_path / "file", readonly=True)) as one,
        closing(SqliteJournal(tmp_path / "back", readonly=True)) as two,
    ):
        alike(one, two)
    assert "must be empty" in told("restore", tmp_path / "file", there, error=ConfigInvalid)
    with psycopg.connect(postgres_url) as db:
        db.execute(f"DROP SCHEMA {schema} CASCADE")


def test_nothing_is_written_over(address, tmp_path):
    told("backup", address, tmp_path / "copy")
    before = (tmp_path / "copy").read_bytes()
    assert "never written over" in told("backup", address, tmp_path / "copy", error=ConfigInvalid)
    assert "must be empty" in told("restore", tmp_path / "copy", address, error=ConfigInvalid)
    assert (tmp_path / "copy").read_bytes() == before
    told("export", address, tmp_path / "t.parquet")
    assert "must be a new file" in told(
        "export", address, tmp_path / "t.parquet", error=ConfigInvalid
    )


def test_a_damaged_journal_makes_no_backup(tmp_path):
    with closing(SqliteJournal(tmp_path / "j")) as journal:
        for first in (0, 3, 6):
            journal.append(history(3, first=first))
        journal._run("DELETE FROM batches WHERE first = 3")
    with (
        closing(SqliteJournal(tmp_path / "j", readonly=True)) as journal,
        pytest.raises(JournalCorrupt, match="record 3"),
    ):
        backup(journal, tmp_path / "copy")
    assert not list(tmp_path.glob("copy*"))
    assert "record 3" in told("check", tmp_path / "j", error=JournalCorrupt)


def test_a_damaged_backup_restores_nothing(tmp_path):
    with closing(SqliteJournal(tmp_path / "copy")) as journal:
        for first in (0, 3, 6):
            journal.append(history(3, first=first))
        journal._run("UPDATE batches SET frame = zeroblob(90) WHERE first = 3")
    for words in (["--drill"], [tmp_path / "new"]):
        assert "record 3" in told("restore", tmp_path / "copy", *words, error=JournalCorrupt)
    assert not list(tmp_path.glob("new*"))


def test_an_export_is_one_row_a_record(address, tmp_path):
    told("export", address, tmp_path / "all.parquet")
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    assert [row["seq"] for row in rows] == list(range(30))
    assert {row["kind"] for row in rows} == {"ClockTicked"}
    assert [row["effects"] for row in rows] == [k % 4 for k in range(30)]
    payload = json.loads(rows[7]["payload"])
    assert payload["event"] == {"type": "ClockTicked", "ts": 1_007}
    assert payload["effects"][1]["detail"] == "of record 7"
    told("export", address, tmp_path / "tail.parquet", "--last", "4", "--after", "20")
    tail = pq.read_table(tmp_path / "tail.parquet")
    assert tail["seq"].to_pylist() == [26, 27, 28, 29]


def test_an_old_journal_is_upgraded(tmp_path):
    for file in (Path(__file__).parent / "journals").iterdir():
        shutil.copy(file, tmp_path)
    path = tmp_path / "format-1.journal"
    assert "format 1" in told("check", path)
    told("backup", path, tmp_path / "copy")  # a backup is always of the newest format
    assert "upgraded" in told("upgrade", path)
    assert "format 2, epoch 0; 40 records" in told("check", path)
    with (
        closing(SqliteJournal(path, readonly=True)) as one,
        closing(SqliteJournal(tmp_path / "copy", readonly=True)) as two,
    ):
        alike(one, two)


def test_a_restore_wants_one_of_two(tmp_path):
    from click import UsageError  # noqa: PLC0415 - only here

    SqliteJournal(tmp_path / "j").close()
    told("restore", tmp_path / "j", error=UsageError)
    told("restore", tmp_path / "j", tmp_path / "k", "--drill", error=UsageError)


def test_memory_is_no_journal_to_keep():
    assert "must be a journal that is kept" in told("check", "memory:", error=ConfigInvalid)
