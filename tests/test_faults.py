"""What the whole process does when something fails: see docs/concepts/when-things-fail.md."""

import asyncio
import contextlib
import signal
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import msgspec
import nats
import pytest
import uvicorn
from websockets.sync.client import connect

from processes import PATIENCE, Load, deposit, imported, kept, price, records, until
from servers import private_nats, private_postgres
from service_world import KEYS
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.api import asks
from tidegate.api.answers import ClockNow, FeedNow
from tidegate.cli.stacks import bind_stack, load_venue_file
from tidegate.client import Client, Refused, Unreachable
from tidegate.domain.events import ClockTicked, Deposited
from tidegate.domain.units import SECOND
from tidegate.drivers.live import Crank
from tidegate.service import site
from tidegate.service.clock import GuardedClock
from tidegate.service.settings import Places, Tuning


def refused(taken) -> list[str]:
    """Return the codes with which the engine rejected what was taken."""
    return [code for outcome in taken.outcomes for code in outcome.refused]


def open_alerts(process) -> set[str]:
    with process.client("viewer") as client:
        return {alert.code for alert in client.alerts()}


# ---------------------------------------------------------------- the journal


def test_a_full_disk_stops_it_and_an_emptied_one_lets_it_go_on(nursery, tmp_path):
    import resource  # noqa: PLC0415 (of Unix alone)

    journal = tmp_path / "journal.db"
    full = nursery.begin(journal, name="full").leads()
    url = full.url
    with Load(url) as load:
        load.reaches(5)
        used = max(file.stat().st_size for file in tmp_path.iterdir())
        resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (used, used))
        assert full.wait() == 2
        acknowledged = len(load.acked)
        assert "the disk does not take what is written" in full.said()
        # It cannot even become the leader there: nothing is promised that could not be kept.
        again = nursery.begin(journal, "--listen", url[7:], name="full", limit=used)
        assert again.wait() == 2
        assert '"event":"not started"' in again.said()
        room = nursery.begin(journal, "--listen", url[7:], name="full")
        load.reaches(acknowledged + 3)
    assert room.stop() == 0
    kept(load, records(journal))


def test_a_database_that_goes_away_ends_the_leader_and_whoever_stands_by_goes_on(nursery):
    server = private_postgres()
    try:
        address = f"{server.url}&schema=faults"
        leader = nursery.begin(address, "--standby", name="pg-1").leads()
        standby = nursery.begin(address, "--standby", name="pg-2").waits()
        with Load(f"{leader.url},{standby.url}") as load:
            load.reaches(5)
            server.stop()
            assert leader.wait() == 2
            assert "the server cannot be used" in leader.said()
            before = len(load.acked)
            time.sleep(0.5)
            assert len(load.acked) <= before, "nothing is acknowledged without a journal"
            assert standby.ended() is None
            assert standby.get("/healthz").status_code == 200
            server.start()
            standby.leads()
            load.reaches(before + 5)
        assert standby.stop() == 0
        kept(load, records(address))
    finally:
        server.close()


def test_a_full_table_ends_the_crank_and_a_larger_one_goes_on(nursery, tmp_path):
    """A failure of the crank: the process ends, and the journal knows how far it was."""
    journal = tmp_path / "journal.db"
    tight = nursery.begin(journal, venue="tight.toml", name="tight").leads()
    people = [asks.Account(name=n) for n in ("a", "b", "c", "d")]
    pairs = [("a", "b"), ("c", "d"), ("a", "c")]
    trades = [
        asks.Trade(instrument=i, taker=t, maker=m, quantity="1", price="100")
        for i, (t, m) in zip(("BTC-PERP", "BTC-PERP", "ETH-PERP"), pairs, strict=True)
    ]
    with tight.client(patience=0) as client:
        marks = [price(100), price(100, "ETH-PERP")]
        assert not refused(client.tell(*marks, *people, *trades[:2], key="fits"))
        with pytest.raises((Refused, Unreachable)):
            client.tell(deposit_to("a"), trades[2], key="does not")
    assert tight.wait() == 2
    assert "raise limits.positions_max and restart" in tight.said()
    assert len([r for r in records(journal) if isinstance(r.event, Deposited)]) == 0, "half taken"
    wide = nursery.begin(journal, name="tight").leads()
    with wide.client() as client:
        assert client.tell(*marks, *people, *trades[:2], key="fits").again
        assert not refused(client.tell(deposit_to("a"), trades[2], key="does not"))
        assert len(client.account("a").positions) == 2
    assert wide.stop() == 0


def deposit_to(name, amount="1000"):
    return asks.Deposit(account=name, amount=amount)


def test_more_accounts_than_fit_are_refused_and_nothing_else_is(nursery, tmp_path):
    process = nursery.begin(tmp_path / "journal.db", name="crowd").leads()
    with process.client(patience=0) as client:
        crowd = [asks.Account(name=f"n{k}") for k in range(200)]
        with pytest.raises(Refused, match="accounts_max = 128") as found:
            client.tell(*crowd)
        assert found.value.problem.status == 409
        assert not refused(client.tell(asks.Account(name="one"), deposit_to("one")))
    assert process.stop() == 0


# ---------------------------------------------------------------- load


def test_a_full_queue_says_so_and_takes_nothing_in_half(nursery, tmp_path):
    """While the disk is slow, what does not fit is told to come back; it comes once."""
    journal = tmp_path / "journal.db"
    settings = ["--settings", nursery.folder / "short.toml"]
    process = nursery.begin(journal, *settings, name="queue").leads()
    with process.client() as client:
        client.tell(imported(), price(100_000), price(100_000, "ETH-PERP"))
    loads = {k: [deposit(30 * k + n) for n in range(30)] for k in range(4)}

    def told(k):
        body = msgspec.json.encode(asks.Events(events=loads[k]))
        headers = {
            "Authorization": f"Bearer {KEYS['feed']}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"load-{k}",
        }
        return httpx.post(f"{process.url}/v1/events", content=body, headers=headers, timeout=30)

    with contextlib.closing(sqlite3.connect(journal, isolation_level=None)) as slow:
        slow.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(len(loads)) as pool:
            asked = [pool.submit(told, k) for k in loads]
            busy = until(lambda: [f.result() for f in asked if f.done()])
            slow.execute("ROLLBACK")
            answers = [f.result() for f in asked]
    for answer in busy:
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["code"] == "busy"
    assert {200} < {answer.status_code for answer in answers}
    with process.client() as client:
        again = [client.tell(*loads[k], key=f"load-{k}").again for k in loads]
    assert again == [answer.status_code == 200 for answer in answers]
    amounts = [r.event.amount for r in records(journal) if isinstance(r.event, Deposited)]
    assert sorted(amounts) == list(range(1, 121))
    for k in loads:
        at = amounts.index(30 * k + 1)
        assert amounts[at : at + 30] == list(range(30 * k + 1, 30 * k + 31))
    assert process.stop() == 0


# ---------------------------------------------------------------- prices


def pair(client, instrument, taker, maker, cash):
    """Open two accounts that trade 0.1 with each other at 100,000."""
    client.tell(
        asks.Account(name=taker),
        asks.Account(name=maker),
        deposit_to(taker, cash),
        deposit_to(maker, "100000"),
        asks.Trade(instrument=instrument, taker=taker, maker=maker, quantity="0.1", price="100000"),
    )


class Fresh(threading.Thread):
    """Keeps one instrument fresh while the other one is silent."""

    def __init__(self, client) -> None:
        super().__init__(daemon=True)
        self._client, self.ending = client, threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.2):
            self._client.tell(price(100_000, "ETH-PERP"))


def test_a_silent_source_liquidates_nobody_and_risk_may_still_be_reduced(nursery, tmp_path):
    settings = ["--settings", nursery.folder / "short.toml", "--armed"]
    journal = tmp_path / "journal.db"
    process = nursery.begin(journal, *settings, stack="guarded.toml", name="silent").leads()
    with process.client() as client, process.client() as other:
        client.tell(price(100_000), price(100_000, "ETH-PERP"))
        pair(client, "BTC-PERP", "long", "short", "1000")
        pair(client, "ETH-PERP", "ann", "bob", "1500")
        keeping = Fresh(other)
        keeping.start()
        until(lambda: client.instrument("BTC-PERP").quality == "stale")
        # The long owes 600 of its 1,000 and needs 500: at a mark that nobody confirms.
        client.tell(asks.Funding(instrument="BTC-PERP", rate=60_000_000))
        assert float(client.account("long").equity) == pytest.approx(400)
        time.sleep(0.7)  # three intervals of the planner, and some ticks
        assert client.orders() == [], "nobody is liquidated on a stale mark"

        opening = asks.Trade(
            instrument="BTC-PERP",
            taker="long",
            maker="short",
            quantity="0.01",
            price="100000",
            settled=False,
        )
        closing = msgspec.structs.replace(opening, quantity="-0.01")
        take = partial(asks.Withdrawal, account="short")
        assert refused(client.tell(opening)) == ["price_not_good_enough"]
        assert refused(client.tell(take(amount="1"))) == ["price_not_good_enough"]
        assert not refused(client.tell(take(amount="1", settled=True))), "the venue has paid it"
        assert not refused(client.tell(deposit_to("long", "1")))
        assert not refused(client.tell(closing))
        # Who holds nothing in the silent market withdraws as ever: down to initial margin.
        assert refused(client.tell(asks.Withdrawal(account="ann", amount="501"))) != []
        assert not refused(client.tell(asks.Withdrawal(account="ann", amount="500")))

        assert "feed_silent" in until(lambda: open_alerts(process) & {"feed_silent"})
        ready = process.get("/readyz")
        assert ready.status_code == 503
        assert "feed_silent" in ready.json()["reasons"]
        assert client.orders() == []
        client.tell(price(100_000))  # the source speaks again, and confirms it
        assert [order.account for order in until(client.orders)] == ["long"]
        keeping.ending.set()
        keeping.join(PATIENCE)
    assert process.stop() == 0


# ---------------------------------------------------------------- a feed over NATS


async def published(url, *texts, **config):
    client = await nats.connect(url)
    try:
        js = client.jetstream()
        if config:
            await js.add_stream(name="venue", subjects=["venue.*"], **config)
        for text in texts:
            await js.publish("venue.events", text)
    finally:
        await client.close()


def events(*numbers):
    return [msgspec.json.encode(asks.Events(events=[deposit(n)])) for n in numbers]


def test_a_feed_that_goes_away_comes_back_and_one_with_a_gap_stops(nursery, tmp_path):
    server, journal = private_nats(), tmp_path / "journal.db"
    try:
        asyncio.run(published(server.url, max_msgs=3))
        words = ["--nats", server.url, "--nats-stream", "venue"]
        process = nursery.begin(journal, *words, name="nats").leads()
        with process.client() as client:
            client.tell(imported())
            asyncio.run(published(server.url, *events(0, 1)))
            until(lambda: feed_of(client).place == "2")
            server.stop(signal.SIGKILL)
            until(lambda: feed_of(client).state == "away")
            assert not refused(client.tell(deposit(100))), "other ways in are open"
            server.start()
            asyncio.run(published(server.url, *events(2)))
            until(lambda: feed_of(client).place == "3")
            assert feed_of(client).state == "running"
        assert process.stop() == 0

        asyncio.run(published(server.url, *events(3, 4, 5, 6, 7)))  # three of them are kept
        process = nursery.begin(journal, *words, name="nats").leads()
        with process.client() as client, process.client("operator") as operator:
            until(lambda: feed_of(client).state == "stopped")
            assert "must still have messages 4..5, found they are gone" in feed_of(client).trouble
            assert "feed_stopped" in until(lambda: open_alerts(process) & {"feed_stopped"})
            assert "feed_stopped" in process.get("/readyz").json()["reasons"]
            assert not refused(client.tell(deposit(101)))
            operator.post("/v1/feeds/nats:venue/accept", {}, FeedNow)
            until(lambda: feed_of(client).place == "8")
        assert process.stop() == 0
    finally:
        server.close()
    amounts = [r.event.amount - 1 for r in records(journal) if isinstance(r.event, Deposited)]
    assert amounts == [0, 1, 100, 2, 101, 5, 6, 7]


def feed_of(client):
    (now,) = client.get("/v1/feeds", list[FeedNow])
    return now


# ---------------------------------------------------------------- time


def test_a_journal_ahead_of_the_clock_lets_time_stand_still(nursery, tmp_path):
    """The clock was an hour fast in the last life: what comes is taken, nothing is refused."""
    journal, later = tmp_path / "journal.db", time.time_ns() + 3_600 * SECOND
    stack = bind_stack(
        str(nursery.folder / "stack.toml"), load_venue_file(nursery.folder / "venue.toml")
    )
    crank = Crank(SqliteJournal(journal), stack, Outbox())
    crank.start()
    crank.feed([ClockTicked(ts=later)])
    crank.close()
    process = nursery.begin(journal, name="ahead").leads()
    with process.client() as client:
        assert not refused(client.tell(imported(), price(100_000), price(100_000, "ETH-PERP")))
        assert "clock_jumped" in until(lambda: open_alerts(process) & {"clock_jumped"})
        assert not refused(client.tell(deposit(1)))
        assert client.venue().ts == later
    assert process.ended() is None
    assert process.stop() == 0
    assert "Traceback" not in process.said()


class Wall:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.off = 0

    def __call__(self) -> int:
        return time.time_ns() + self.off


@contextlib.contextmanager
def inside(nursery, folder, **options):
    """Yield the address of a whole site that runs in a thread of this process."""
    stack = bind_stack(
        str(nursery.folder / "guarded.toml"), load_venue_file(nursery.folder / "venue.toml")
    )
    places = Places(journal="memory:", state=folder, keys=nursery.folder / "keys.json")
    made = site.Site(stack, MemoryJournal(), places, Tuning(), **options)
    made.start()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(made.app, lifespan="off", log_level="critical"))

    async def live():
        running = asyncio.create_task(made.run())
        await server.serve(sockets=[listening])
        running.cancel()

    thread = threading.Thread(target=asyncio.run, args=(live(),), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        made.stop()


def test_a_clock_that_jumps_is_not_followed_and_prices_keep_their_age(
    nursery, tmp_path, monkeypatch
):
    wall = Wall()
    monkeypatch.setattr(site, "GuardedClock", partial(GuardedClock, wall=wall))
    with inside(nursery, tmp_path) as url, Client(url, KEYS["feed"]) as client:
        client.tell(price(100_000))
        for off in (3_600 * SECOND, -3_600 * SECOND):
            wall.off = off
            client.tell(price(100_000))
            now = client.instrument("BTC-PERP")
            assert now.quality == "good"
            assert abs(now.marked_at - time.time_ns()) < 30 * SECOND
            told = client.get("/v1/clock", ClockNow)
            assert told.jump_ns == pytest.approx(off, abs=SECOND)
        until(lambda: "clock_jumped" in {alert.code for alert in client.alerts()})
        # An hour ahead a fresh price would have been refused; by our clock it still is.
        with pytest.raises(Refused, match="ahead of this clock"):
            client.tell(price(100_000, ts=time.time_ns() + 3_600 * SECOND))
        until(lambda: client.instrument("BTC-PERP").quality == "stale")  # time goes on
        wall.off = 0
        assert client.get("/v1/clock", ClockNow).jump_ns == 0


# ---------------------------------------------------------------- who looks on


def test_a_client_that_does_not_read_is_cut_off_and_holds_nobody_up(nursery, tmp_path):
    settings = ["--settings", nursery.folder / "hasty.toml"]
    process = nursery.begin(tmp_path / "journal.db", *settings, name="slow").leads()
    long = "n" * 120
    with socket.socket() as small, process.client() as client:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        small.connect(("127.0.0.1", int(process.url.rpartition(":")[2])))
        stream = connect(
            process.url.replace("http", "ws") + "/v1/stream?topics=events",
            sock=small,
            additional_headers={"Authorization": f"Bearer {KEYS['viewer']}"},
            max_queue=1,
            close_timeout=0.1,
        )
        client.tell(asks.Account(name=long))
        slowest, n = 0.0, 0
        with stream:
            while "tidegate_stream_cut_total 1.0" not in process.get("/metrics").text:
                begun = time.monotonic()
                client.tell(*[deposit_to(long, f"0.{n + k:06d}") for k in range(1, 401)])
                slowest, n = max(slowest, time.monotonic() - begun), n + 400
                assert n < 100_000, "it was never cut off"
        assert slowest < 5, "nobody else waits for it"
    assert process.stop() == 0
