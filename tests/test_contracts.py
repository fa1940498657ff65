"""One contract, every journal; one contract, every venue."""

import hashlib
import os

import numpy as np
import psycopg
import pytest

from exchange import FileVenue
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.postgres import PostgresJournal
from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import PriceObserved
from tidegate.domain.instrument import Linear
from tidegate.domain.units import pack
from tidegate.domain.venue import Market, Venue, VenueModel
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.testing import (
    DurableJournalContract,
    DurableVenueContract,
    JournalContract,
    VenueContract,
)


class TestMemoryJournal(JournalContract):
    def make(self):
        return MemoryJournal()


class TestSqliteJournal(DurableJournalContract):
    @pytest.fixture(autouse=True)
    def _somewhere(self, tmp_path):
        self.folder, self.made = tmp_path, 0

    def make(self, receipts_kept=1_000):
        self.made += 1
        path = self.folder / f"{self.made}.journal"
        return SqliteJournal(path, receipts_kept=receipts_kept)

    def reopen(self, journal):
        return SqliteJournal(journal.path)

    def beside(self, journal):
        return SqliteJournal(journal.path, readonly=True)

    def usurp(self, journal):
        """Somebody removes the file whose lock says that there is a writer."""
        journal.path.with_name(f"{journal.path.name}-writer").unlink()
        return SqliteJournal(journal.path)


class TestPostgresJournal(DurableJournalContract):
    @pytest.fixture(autouse=True)
    def _somewhere(self, postgres_url, request):
        digest = hashlib.blake2b(f"{request.node.nodeid} {os.getpid()}".encode(), digest_size=6)
        self.url, self.made, self.run = postgres_url, [], digest.hexdigest()
        yield
        with psycopg.connect(postgres_url) as db:
            for schema in self.made:
                db.execute(f"DROP SCHEMA {schema} CASCADE")

    def make(self, receipts_kept=1_000):
        self.made.append(f"contract_{self.run}_{len(self.made)}")
        url = f"{self.url}{'&' if '?' in self.url else '?'}schema={self.made[-1]}"
        return PostgresJournal(url, receipts_kept=receipts_kept)

    def reopen(self, journal):
        return PostgresJournal(journal.url)

    def beside(self, journal):
        return PostgresJournal(journal.url, readonly=True)

    def usurp(self, journal):
        """The lock is lost and the connection is not, as behind a pool of connections."""
        journal._run("SELECT pg_advisory_unlock_all()")
        return PostgresJournal(journal.url)


PRICE = 500_000


def placed(first, lots):
    lots = np.array(lots)
    return OrdersPlaced(
        first=first,
        route="book",
        account=pack(np.arange(lots.size) + 12),
        instrument=pack(np.zeros(lots.size)),
        lots=pack(lots),
        limit=pack(np.where(lots > 0, PRICE * 102 // 100, PRICE * 98 // 100)),
        share=pack(np.zeros(lots.size)),
        at=VenueContract.begin,
    )


class TestFileVenue(DurableVenueContract):
    """The exchange that the kill test holds the crank against keeps the contract itself."""

    @pytest.fixture(autouse=True)
    def _somewhere(self, tmp_path):
        self.folder, self.made = tmp_path, []
        yield
        for venue in self.made:
            venue.close()

    def make(self):
        self.made.append(FileVenue(self.folder / f"{len(self.made)}.orders"))
        return self.made[-1]

    def reconnect(self, venue):
        self.made.append(FileVenue(venue.path))
        return self.made[-1]

    def orders(self, first):
        return placed(first, [5, -8, 1, 120, -1, 77, 6, 9, -14])


class TestSimVenue(VenueContract):
    """On a calm day: nothing is dropped, doubled or late."""

    model = VenueModel()

    def make(self):
        linear = Linear(
            symbol="BTC",
            tick_size="0.1",
            lot_size="0.001",
            price_max=10**7,
            lots_max=10**6,
            tick_value=100,
        )
        market = Market(symbol="BTC", depth=10**13, daily_volume=10**15)
        venue = Venue(name="sim", instruments=(linear,), markets=(market,), model=self.model)
        sim = SimVenue(venue, Streams(7, 0))
        sim.displace(
            PriceObserved(ts=self.begin, instrument=0, source=0, price=PRICE, published=self.begin)
        )
        return sim

    def orders(self, first):
        return placed(first, [5_000, -8_000, 1, 120_000, -999_999, 77])


class TestSimVenueThatDropsAndDelays(TestSimVenue):
    """Faults make answers late and orders vanish; they break no promise."""

    model = VenueModel(drop=300_000, delay=300_000, delay_ns=3_000_000_000)
