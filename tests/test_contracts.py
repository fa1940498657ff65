"""One contract, every journal; one contract, every venue."""

import pytest

from exchange import FileVenue
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.memory import MemoryJournal
from tidegate.testing import DurableJournalContract, JournalContract


class TestMemoryJournal(JournalContract):
    def make(self):
        return MemoryJournal()


class TestSqliteJournal(DurableJournalContract):
    @pytest.fixture(autouse=True)
    def _somewhere(self, tmp_path):
        self.folder, self.made = tmp_path, 0

    def make(self):
        self.made += 1
        return SqliteJournal(self.folder / f"{self.made}.journal")

    def reopen(self, journal):
        return SqliteJournal(journal.path)
