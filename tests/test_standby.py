"""A leader dies, or only seems to: whoever stood by goes on without a lost or a doubled effect."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest

from crash_world import feed, stack_of
from exchange import FileVenue, accepted
from kill_child import BLOCK, DRAINED, LATENCY
from tidegate.adapters.journals import open_journal
from tidegate.adapters.memory import MemoryJournal
from tidegate.domain.errors import ConfigInvalid, JournalGone
from tidegate.drivers.live import Crank
from tidegate.drivers.standby import Standby
from tidegate.testing import history


CHILD = Path(__file__).with_name("standby_child.py")
N = 480
FEED = feed(N, seed=5)
STACK = stack_of()
PATIENCE = 60.0


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    """Yield the address of a new journal in either store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'journal'}"
        return
    url = request.getfixturevalue("postgres_url")
    schema = f"standby_{os.getpid()}_{abs(hash(request.node.name)) % 10**9}"
    yield f"{url}{'&' if '?' in url else '?'}schema={schema}"
    with psycopg.connect(url) as db:
        db.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def made(folder: Path, journal) -> Crank:
    return Crank(journal, STACK, FileVenue(folder / "orders"), batch_max=8, snapshot_every=90)


def lived(crank: Crank, begin: int, end: int) -> None:
    for at in range(begin, end, 8):
        if at % BLOCK == 0:
            crank.pump(FEED[at].ts)
        crank.feed(FEED[at : at + 8])


def drained(crank: Crank) -> None:
    for k in range(DRAINED):
        crank.pump(FEED[-1].ts + k * LATENCY)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the records, the orders and the final state of one day under one leader."""
    folder, journal = tmp_path_factory.mktemp("undisturbed"), MemoryJournal()
    crank = made(folder, journal)
    crank.start()
    lived(crank, 0, N)
    drained(crank)
    crank._venue.close()
    return list(journal.read()), accepted(folder / "orders"), crank.state.digest()


def same(address: str, folder: Path, undisturbed) -> None:
    """Assert that nothing was lost and nothing doubled: not a record, not an order."""
    records, orders, _ = undisturbed
    with contextlib.closing(open_journal(address, readonly=True)) as journal:
        assert list(journal.read()) == records
        assert journal.check().records == len(records)
    assert accepted(folder / "orders") == orders


# ---------------------------------------------------------------- in one process


def test_a_standby_is_warm_and_goes_on_where_the_leader_ended(address, tmp_path, undisturbed):
    opens = partial(open_journal, address)
    standby = Standby(opens, STACK)
    assert standby.follow() == 0  # nobody has begun it yet
    leader = made(tmp_path, opens())
    leader.start()
    lived(leader, 0, 120)
    standby.follow()
    assert standby.head == leader.head
    assert standby.state.digest() == leader.state.digest()
    assert standby.lead(partial(made, tmp_path)) is None
    lived(leader, 120, 240)
    head, flying = leader.head, int((leader.state.orders.key >= 0).sum())
    leader.close()
    leader._venue.close()
    led = standby.lead(partial(made, tmp_path))
    assert led.journal.epoch == 2
    assert led.recovered == (head, 240, head, 0, flying)
    lived(led.crank, 240, N)
    drained(led.crank)
    assert led.crank.state.digest() == undisturbed[2]
    led.crank.close()
    led.crank._venue.close()
    same(address, tmp_path, undisturbed)


def test_a_standby_hears_every_record_once(address, tmp_path):
    opens, heard = partial(open_journal, address), []
    leader = made(tmp_path, opens())
    leader.start()
    standby = Standby(opens, STACK, hear=lambda record, state: heard.append((record, state.seq)))
    for at in range(0, 64, 8):
        lived(leader, at, at + 8)
        standby.follow()
    leader.close()
    with contextlib.closing(open_journal(address, readonly=True)) as journal:
        records = list(journal.read())
    assert heard == [(record, record.seq + 1) for record in records]
    standby.close()
    leader._venue.close()


def test_a_standby_under_another_stack_is_refused(address):
    opens = partial(open_journal, address)
    with contextlib.closing(opens()) as journal:
        journal.claim("somebody else's")
        journal.append(history(1))
        with (
            contextlib.closing(Standby(opens, STACK)) as standby,
            pytest.raises(ConfigInvalid, match="another stack needs a new journal"),
        ):
            standby.follow()


def test_a_standby_outlives_a_server_that_is_away(tmp_path):
    """It asks again after each pause, and ends when it is told to."""
    asked = []

    def opens(*, readonly):
        asked.append(readonly)
        raise JournalGone("away")  # noqa: EM101 - as a journal says it

    standby = Standby(opens, STACK)
    assert standby.wait(partial(made, tmp_path), lambda _: len(asked) >= 3) is None
    assert asked == [True] * 3


# ---------------------------------------------------------------- two processes


class Process:
    """A child whose lines are read as they come."""

    def __init__(self, address: str, folder: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, CHILD, address, folder], stdout=subprocess.PIPE, text=True
        )
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.acks = [-1]
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        for line in self.child.stdout:
            self.lines.put(line.strip())
        self.lines.put("ended")

    def until(self, *words: str) -> str:
        """Return the first line that begins with one of ``words``."""
        end = time.monotonic() + PATIENCE
        while (left := end - time.monotonic()) > 0:
            line = self.lines.get(timeout=left)
            if line.startswith("ack "):
                self.acks.append(int(line.split()[1]))
            if line.startswith(words):
                return line
            assert line != "ended", f"it ended before it said {words}"
        pytest.fail(f"nothing of {words} within {PATIENCE:g} s")

    def acknowledged(self, records: int) -> None:
        while self.acks[-1] < records:
            self.until("ack ")

    def rest(self) -> None:
        """Read what it still said before it was killed: it had been acknowledged."""
        while (line := self.lines.get(timeout=PATIENCE)) != "ended":
            if line.startswith("ack "):
                self.acks.append(int(line.split()[1]))

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.kill()
        self.child.wait(PATIENCE)
        self.child.stdout.close()


@pytest.fixture
def processes(address, tmp_path):
    (tmp_path / "feed").write_bytes(msgspec.msgpack.encode(FEED))
    allowed(tmp_path, 0)
    begun: list[Process] = []

    def begin() -> Process:
        begun.append(Process(address, tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        process.close()


def allowed(folder: Path, events: int) -> None:
    new = folder / "limit-new"
    new.write_text(str(events))
    new.replace(folder / "limit")


def test_one_leader_falls_asleep_the_next_is_killed_and_the_third_finishes(
    processes, address, tmp_path, undisturbed, record_property
):
    """The first stands still under load, is taken for dead and wakes up beside the second.

    The second is killed under load while the first still tries, and the third has stood by.
    """
    first = processes()
    first.until("leads from -1 at 1")
    second = processes()
    second.until("standing by")
    allowed(tmp_path, N // 2)
    first.acknowledged(60)
    if address.startswith("sqlite"):
        # A process that stands still inside a commit keeps SQLite's own lock: nobody can take over
        # before it is killed. A server drops the transaction together with the connection.
        first.until("waits")
    first.child.send_signal(signal.SIGSTOP)
    depose(address, tmp_path)
    assert " at 2 in " in second.until("leads from")
    third = processes()
    third.until("standing by")

    allowed(tmp_path, N)
    first.child.send_signal(signal.SIGCONT)
    expected = "LeaderLost" if address.startswith("sqlite") else "JournalGone"
    assert first.until("fenced") == f"fenced {expected}"
    second.acknowledged(320)
    second.child.kill()
    killed = time.perf_counter()
    line = third.until("leads from")
    seconds = time.perf_counter() - killed
    second.rest()
    head = int(line.split()[2])
    assert head >= second.acks[-1] >= first.acks[-1], "an acknowledged record was lost"
    assert head < undisturbed[0][-1].seq, "it had finished before it was killed"
    assert " at 3 in " in line
    assert third.until("done").split()[1] == undisturbed[2]
    same(address, tmp_path, undisturbed)
    record_property("seconds_to_recover", seconds)


def depose(address: str, folder: Path) -> None:
    """Take the lock from whoever holds it, as an operator does with a leader that hangs."""
    if address.startswith("sqlite"):
        (folder / "journal-writer").unlink()
        return
    base, _, schema = address.rpartition("schema=")
    del schema
    with psycopg.connect(base.rstrip("?&"), autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )
