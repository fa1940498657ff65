"""A journal that the first format's own code wrote is read as it is, and upgraded once."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tidegate.adapters.chain import FORMAT
from tidegate.adapters.journal import SqliteJournal, lock
from tidegate.adapters.upgrade import upgrade
from tidegate.domain.errors import ConfigInvalid, JournalCorrupt
from tidegate.ports import Receipt
from tidegate.testing import history


OLD = Path(__file__).parent / "journals"  # written before format 2 existed
RECORDS = history(40)


@pytest.fixture
def path(tmp_path):
    for file in OLD.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / "format-1.journal"


def test_it_is_read_as_it_is(path):
    before = path.read_bytes()
    with closing(SqliteJournal(path, readonly=True)) as journal:
        assert (journal.format, journal.head, journal.taken, journal.epoch) == (1, 39, 40, 0)
        assert list(journal.read()) == RECORDS
        assert journal.receipt("feed", "a") is None
        assert journal.place("feed") is None
        assert journal.latest() == (29, "digest 29", b"later" * 100, b"")
        assert journal.check() == (40, 0, 2)
    assert path.read_bytes() == before


def test_it_is_not_written_before_it_is_upgraded(path):
    with pytest.raises(ConfigInvalid, match=r"(?s)must be 2, found 1.*tidegate journal upgrade"):
        SqliteJournal(path)


def test_an_upgrade_keeps_everything_and_what_was_before(path):
    kept = upgrade(path)
    assert kept == path.with_name("format-1.journal-format1")
    with closing(SqliteJournal(path)) as journal:
        assert (journal.format, journal.epoch, journal.taken) == (FORMAT, 1, 40)
        assert list(journal.read()) == RECORDS
        found = journal.latest()
        assert found[:3] == (29, "digest 29", b"later" * 100)
        assert list(journal.read(found.seq, found.link)) == RECORDS[30:]
        journal.append(history(2, first=40), [Receipt("feed", "a", 40, 41)])
        assert journal.check() == (42, 1, 2)
    # The way back: the copy is the journal as it was.
    with closing(SqliteJournal(kept, readonly=True)) as journal:
        assert (journal.format, list(journal.read())) == (1, RECORDS)
        assert journal.latest() == (29, "digest 29", b"later" * 100, b"")


def test_an_upgraded_journal_has_the_tables_of_a_new_one(path, tmp_path):
    upgrade(path)
    SqliteJournal(tmp_path / "new").close()

    def tables(file):
        with closing(sqlite3.connect(file)) as db:
            return {
                name: [row[1:] for row in db.execute(f"PRAGMA table_info({name})")]
                for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }

    assert tables(path) == tables(tmp_path / "new")


def test_an_upgrade_happens_once(path):
    upgrade(path)
    with pytest.raises(ConfigInvalid, match="only a journal of format 1 is upgraded, found 2"):
        upgrade(path)


def test_a_copy_that_is_there_already_is_not_written_over(path):
    kept = path.with_name("format-1.journal-format1")
    kept.write_text("mine")
    with pytest.raises(ConfigInvalid, match="the journal as it was is kept under this name"):
        upgrade(path)
    assert kept.read_text() == "mine"
    with closing(SqliteJournal(path, readonly=True)) as journal:
        assert journal.format == 1


def test_a_damaged_journal_is_not_upgraded(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM batches WHERE first = 13")
    before = path.read_bytes()
    with pytest.raises(JournalCorrupt, match="record 13:"):
        upgrade(path)
    assert path.read_bytes() == before


def test_a_journal_in_use_is_not_upgraded(path):
    with closing(lock(path)), pytest.raises(ConfigInvalid, match="only one process may write"):
        upgrade(path)
