"""`tidegate serve` as it runs: real processes and ports, a leader that dies, a standby."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from processes import PATIENCE, Load, imported, kept, price, records, until
from servers import free_port
from service_world import KEYS
from tidegate.api import asks
from tidegate.client import Client, Refused, Unreachable, follow
from tidegate.domain.effects import OrdersPlaced, Rejected
from tidegate.domain.events import OrdersFilled
from tidegate.domain.units import unpack


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    """Yield the address of a new journal in either store."""
    if request.param == "sqlite":
        yield str(tmp_path / "journal.db")
        return
    url = request.getfixturevalue("postgres_url")
    schema = f"serve_{os.getpid()}_{abs(hash(request.node.name)) % 10**9}"
    yield f"{url}{'&' if '?' in url else '?'}schema={schema}"
    with psycopg.connect(url) as db:
        db.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


# ---------------------------------------------------------------- one process


def test_the_command_ends_when_told_and_goes_on_where_it_was(nursery, tmp_path):
    """Begun as people do, with options in the environment, and ended in the middle of its work."""
    journal, port = tmp_path / "new" / "journal.db", free_port()
    said = {
        "TIDEGATE_STACK": nursery.folder / "stack.toml",
        "TIDEGATE_KEYS": nursery.folder / "keys.json",
        "TIDEGATE_JOURNAL": journal,
        "TIDEGATE_STATE": tmp_path / "state",
        "TIDEGATE_LISTEN": f"127.0.0.1:{port}",
    }
    environment = {**os.environ, **{name: str(value) for name, value in said.items()}}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    child = subprocess.Popen(
        [sys.executable, "-m", "tidegate.cli", "serve", nursery.folder / "venue.toml"],
        env=environment,
        stderr=subprocess.PIPE,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        with Client(url, KEYS["feed"], patience=PATIENCE) as client:
            opening = [imported(), price(100_000), price(100_000, "ETH-PERP")]
            first = client.tell(*opening, key="book")
            assert httpx.get(url + "/readyz").json() == {"ok": True, "reasons": []}
            assert httpx.get(url + "/healthz").status_code == 200
        child.send_signal(signal.SIGHUP)  # the key file is read again, and nothing ends
        with Load(url) as load:
            load.reaches(20)
            child.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            said = child.communicate(timeout=PATIENCE)[1].decode()
            assert time.monotonic() - begun < 20, "it ends within seconds"
            assert child.returncode == 0, said
            # What is told meanwhile waits for the next one.
            again = nursery.begin(journal, "--listen", f"127.0.0.1:{port}")
            load.reaches(len(load.acked) + 5)
        found = records(journal)
        kept(load, found)
        with Client(url, KEYS["feed"]) as client:
            once_more = client.tell(*opening, key="book")
            assert (once_more.first, once_more.again) == (first.first, True)
            assert len(client.accounts(limit=100).account) == 60
        assert again.stop() == 0
    finally:
        child.kill()
        child.wait()
    assert "Traceback" not in said + again.said()


@pytest.fixture(scope="module")
def running(nursery):
    """Return a process that leads, and the journal that it writes."""
    journal = nursery.folder / "running.db"
    return nursery.begin(journal, name="running").leads(), journal


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--keys", "KEYS"], "No such file|does not exist"),
        (["--keys", "open.json"], "must be readable by its owner alone"),
        (["--stack", "guarded.toml"], "another stack needs a new journal"),
        (["--stack", "nothing"], "must be a file or one of"),
        (["--listen", "RUNNING"], "must be a free address of this machine"),
        (["--listen", "8700"], "must be HOST:PORT"),
        (["--state", "/proc/nowhere"], "/proc/nowhere"),
        (["--journal", "mysql://somewhere/x"], "must be a path, sqlite:///PATH, postgresql"),
        (["--journal", "postgresql://localhost:1/x"], "the server cannot be used"),
        ([], "only one process may write a journal"),
    ],
)
def test_what_cannot_start_says_why_and_ends_with_2(nursery, running, more, words):
    leader, journal = running
    (nursery.folder / "open.json").write_text("{}")
    (nursery.folder / "open.json").chmod(0o644)
    places = {"RUNNING": leader.url.removeprefix("http://"), "KEYS": str(nursery.folder / "none")}
    if "guarded.toml" in more:
        journal = nursery.folder / "other.db"
        assert nursery.begin(journal, name="other").leads().stop() == 0
    elif more:
        journal = nursery.folder / "new.db"
    here = {p.name: str(p) for p in nursery.folder.glob("*.*")}
    more = [places.get(word, here.get(word, word)) for word in more]
    refused = nursery.begin(journal, *more, name="refused")
    assert refused.wait() == 2
    said = refused.said()
    assert any(one in said for one in words.split("|")), said
    assert "Traceback" not in said
    assert leader.ended() is None


def test_without_keys_or_with_an_unreadable_venue_nothing_starts(nursery, tmp_path):
    (tmp_path / "venue.toml").write_text("name = ")
    wanted = nursery.begin(tmp_path / "j", venue=tmp_path / "venue.toml")
    assert wanted.wait() == 2
    assert "must be valid TOML" in wanted.said()
    log = tmp_path / "log"
    words = ["serve", str(nursery.folder / "venue.toml"), "--listen", "127.0.0.1:1"]
    pid = nursery.asked({"words": words, "log": str(log)})
    assert until(lambda: nursery.asked({"ended": pid})) == 2
    assert "tidegate keys add" in log.read_text()


def test_a_port_is_open_before_anybody_leads(nursery, running):
    """A doorman answers for a standby: alive, not ready, and come back later."""
    leader, journal = running
    standby = nursery.begin(journal, "--standby", name="waiting").waits()
    until(lambda: standby.get("/healthz"))
    assert standby.get("/healthz").status_code == 200
    assert standby.get("/readyz").status_code == 503
    with pytest.raises(Refused, match="another process leads"), standby.client(patience=0) as c:
        c.venue()
    assert standby.stop() == 0
    assert leader.ended() is None


def test_a_standby_finds_out_at_once_that_it_could_not_lead(nursery, running):
    """And not on the night on which it is needed."""
    (nursery.folder / "open.json").write_text("{}")
    (nursery.folder / "open.json").chmod(0o644)
    words = ["--standby", "--keys", nursery.folder / "open.json"]
    assert nursery.begin(running[1], *words, name="unfit").wait() == 2


def test_who_follows_a_stream_is_told_where_to_go_on(nursery, tmp_path):
    process = nursery.begin(tmp_path / "journal.db", name="following").leads()
    with process.client() as client:
        client.tell(price(100_000))
    stream = connect(
        process.url.replace("http", "ws") + "/v1/stream?topics=events&after=-1",
        additional_headers={"Authorization": f"Bearer {KEYS['viewer']}"},
    )
    with stream as followed:
        followed.recv()
        process.send(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            list(iter(partial(followed.recv, timeout=PATIENCE), None))
    assert closed.value.rcvd.code == 1012
    assert closed.value.rcvd.reason.startswith("the service stops; after=")
    assert process.wait() == 0


# ---------------------------------------------------------------- two processes


class Follower(threading.Thread):
    """Follows the stream of records through every change of leader."""

    def __init__(self, address) -> None:
        super().__init__(daemon=True)
        self.seen: list[int] = []
        self._address, self._loop = address, asyncio.new_event_loop()
        self._task: asyncio.Task | None = None

    def run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._follow())
        self._loop.close()

    async def _follow(self) -> None:
        self._task = asyncio.current_task()
        async for frame in follow(self._address, KEYS["viewer"], ["events"], after=-1):
            self.seen.append(frame.seq)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self.join(PATIENCE)


class Executor(threading.Thread):
    """Fetches orders and fills each of them once, whoever leads."""

    def __init__(self, address) -> None:
        super().__init__(daemon=True)
        self.filled: list[int] = []
        self.failed: BaseException | None = None
        self._address, self._ending = address, threading.Event()

    def run(self) -> None:
        try:
            with Client(self._address, KEYS["feed"], patience=PATIENCE) as client:
                while not self._ending.wait(0.05):
                    for order in client.orders():
                        if order.order not in self.filled:
                            self._fill(client, order)
        except (Unreachable, Refused) as error:
            self.failed = error

    def _fill(self, client, order) -> None:
        fill = asks.Fill(order=order.order, quantity=order.quantity, price=order.limit, left="0")
        client.tell(asks.Fills(fills=[fill]), key=f"fill-{order.order}")
        self.filled.append(order.order)

    def end(self) -> None:
        self._ending.set()
        self.join(PATIENCE)


def depose(address: str) -> None:
    """End the lock of a leader that stands still, as the pages for operators say."""
    if address.startswith("postgresql"):
        with psycopg.connect(address.partition("schema=")[0].rstrip("?&")) as db:
            db.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a"
                " USING (pid) WHERE locktype = 'advisory' AND application_name = 'tidegate'"
                " AND l.pid <> pg_backend_pid()"
            )
    else:
        Path(f"{address}-writer").unlink()


def test_a_leader_that_dies_or_freezes_loses_and_doubles_nothing(nursery, address, tmp_path):
    """Three leaders under load: the first is killed, the second wakes up beside the third."""
    armed = ["--armed", "--standby"]
    one = nursery.begin(address, *armed, name=f"{tmp_path.name}-1").leads()
    two = nursery.begin(address, *armed, name=f"{tmp_path.name}-2").waits()
    both = f"{one.url},{two.url}"
    with Client(one.url, KEYS["feed"]) as client:
        client.tell(imported(), price(100_000), price(100_000, "ETH-PERP"), key="book")
    executor, follower = Executor(both), Follower(both)
    with Load(both) as load:
        executor.start()
        follower.start()
        load.reaches(100)
        one.send(signal.SIGKILL)
        killed = time.monotonic()
        assert one.wait() == -signal.SIGKILL
        in_doubt = load.tried
        load.reaches(in_doubt + 40)
        took = load.acked[in_doubt + 1] - killed  # tried when the first one was dead
        said = f"{took:.3f} s from SIGKILL to the first event acknowledged by the new leader"
        sys.stdout.write(f"\n{said}\n")
    executor.end()
    assert executor.failed is None
    two.leads()

    three = nursery.begin(address, *armed, name=f"{tmp_path.name}-3").waits()
    frozen(two, three, address)
    with Load(three.url, first=load.tried + 1) as after:
        after.reaches(10)
        two.send(signal.SIGCONT)
        code = two.wait()
        after.reaches(len(after.acked) + 5)
    # SQLite's fence tells it; a server has ended its connection.
    assert code == (2 if address.startswith("postgresql") else 75), two.said()
    assert three.stop() == 0
    until(lambda: follower.seen)
    follower.end()

    found = records(address)
    load.acked |= after.acked
    load.tried = after.tried
    kept(load, found)
    once(found, executor.filled)
    # It followed the first two: a stream without a gap and without a double.
    assert follower.seen == list(range(len(follower.seen)))
    assert follower.seen[-1] > 2 * 130, "it went on beside the second leader"


def frozen(leader, standby, address) -> None:
    """Freeze a leader outside of a commit, end its lock, and wait for the other one."""
    leader.send(signal.SIGSTOP)
    depose(address)
    until(
        lambda: '"event":"leading"' in standby.said() or standby.ended() is not None,
        within=PATIENCE,
    )
    assert standby.code is None, standby.said()


def once(found, filled) -> None:
    """Assert that every order was placed once, filled once, and by the executor."""
    placed, answered = Counter(), Counter()
    for record in found:
        for effect in record.effects:
            if isinstance(effect, OrdersPlaced):
                placed.update(range(effect.first, effect.first + len(effect.lots) // 8))
        if isinstance(record.event, OrdersFilled):
            answered.update(unpack(record.event.order).tolist())
            assert not any(isinstance(e, Rejected) for e in record.effects)
    assert filled, "somebody was liquidated"
    assert set(placed.values()) == {1}
    assert answered == Counter(filled)
    assert answered.keys() <= placed.keys()


def test_an_address_that_is_taken_stays_with_whoever_has_it(nursery, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        journal = tmp_path / "journal.db"
        refused = nursery.begin(journal, "--listen", f"127.0.0.1:{port}")
        assert refused.wait() == 2
    assert not journal.exists(), "nothing was opened"
