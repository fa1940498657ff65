"""Ingestion over a WebSocket, feeds and clock over HTTP, through all layers and a real server."""

import asyncio
import contextlib
import json
import threading

import msgspec
import pytest
import websockets
from websockets.sync.client import connect

from crash_world import BEGIN
from service_world import KEYS, SetClock, engine_of, house, served, service_of, warm
from tidegate.adapters.memory import MemoryJournal
from tidegate.api import asks
from tidegate.domain.errors import FeedBroken, JournalGone
from tidegate.domain.events import PriceObserved
from tidegate.service.clock import GuardedClock
from tidegate.service.feed_routes import Feeds, routes
from tidegate.service.feed_socket import feed_socket
from tidegate.service.feeds import Feed, Offer


class Told:
    def __init__(self):
        self.said = []

    def raised(self, code, detail):
        self.said.append((code, detail))


class Gated(MemoryJournal):
    """A journal that commits when it is let."""

    def __init__(self):
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.broken = False

    def append(self, records, receipts=()):
        self.open.wait(10)
        if self.broken:
            msg = "the disk has gone"
            raise JournalGone(msg)
        super().append(records, receipts)


class Rig:
    def __init__(self, engine, client, journal):
        self.engine, self.client, self.journal = engine, client, journal
        self.url = str(client.base_url).replace("http", "ws").rstrip("/")

    def socket(self, path="/v1/feed", role="feed"):
        headers = {"Authorization": f"Bearer {KEYS[role]}"} if role else {}
        return connect(f"{self.url}{path}", additional_headers=headers, close_timeout=0.2)

    def ask(self, method, path, role="viewer", **more):
        headers = {"Authorization": f"Bearer {KEYS[role]}"}
        return self.client.request(method, path, headers=headers, **more)

    def told(self, events, key):
        headers = {
            "Authorization": f"Bearer {KEYS['feed']}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        body = json.dumps({"events": events}, indent=1)  # spelt otherwise, too
        return self.client.post("/v1/events", content=body, headers=headers)

    def published(self):
        events = [r.event for r in self.journal.read()]
        return [e.published - BEGIN for e in events if isinstance(e, PriceObserved)]


@pytest.fixture(scope="module", autouse=True)
def compiled():
    warm()


@pytest.fixture
def rig(tmp_path):
    journal = Gated()
    with engine_of(journal, queue_max=8, batch_max=4) as engine:
        service = service_of(engine)
        more = [feed_socket(service, window=4)]
        with house(service, tmp_path, more=more) as app, served(app) as client:
            yield Rig(engine, client, journal)


def message(k, n=1, key=None):
    one = {"type": "price", "instrument": "BTC-PERP", "source": "index", "price": "100000.0"}
    events = [{**one, "published": BEGIN + 100 * k + i} for i in range(n)]
    return json.dumps({"key": f"k{k}" if key is None else key, "events": events})


def test_each_message_is_answered_in_order_once_it_is_durable(rig):
    with rig.socket() as socket:
        for k in range(20):
            socket.send(message(k, n=2) if k % 2 else message(k, n=2).encode())
        heard = [json.loads(socket.recv(10)) for _ in range(20)]
    assert [h["key"] for h in heard] == [f"k{k}" for k in range(20)]
    assert [(h["first"], h["last"]) for h in heard] == [(2 * k, 2 * k + 1) for k in range(20)]
    assert rig.published() == [100 * k + i for k in range(20) for i in range(2)]


def test_a_message_that_is_sent_again_is_answered_again_and_not_taken_again(rig):
    with rig.socket() as socket:
        for _ in range(2):
            socket.send(message(1))
        first, again = (json.loads(socket.recv(10)) for _ in range(2))
        assert again == {**first, "again": True}
        socket.send(message(2, key="k1"))
        assert json.loads(socket.recv(10))["problem"]["status"] == 409
    assert rig.published() == [100]


def test_a_message_that_is_sent_again_over_http_is_not_taken_again(rig):
    """Whoever lost its socket and told it again another way must not be told that it conflicts."""
    with rig.socket() as socket:
        socket.send(message(1))
        first = json.loads(socket.recv(10))
    said = json.loads(message(1))
    again = rig.told(said["events"], "k1")
    assert (again.status_code, again.json()["again"]) == (200, True)
    assert again.json()["first"] == first["first"]
    assert rig.told(json.loads(message(2))["events"], "k1").status_code == 409
    assert rig.published() == [100]


def test_nothing_is_answered_before_it_is_durable_and_nothing_more_is_read_than_fits(rig):
    rig.journal.open.clear()
    with rig.socket() as socket:
        for k in range(40):
            socket.send(message(k))
        with pytest.raises(TimeoutError):
            socket.recv(0.3)
        assert rig.engine.waiting <= 8
        rig.journal.open.set()
        heard = [json.loads(socket.recv(10)) for _ in range(40)]
    assert [h["key"] for h in heard] == [f"k{k}" for k in range(40)]
    assert rig.published() == [100 * k for k in range(40)]


BAD = [
    "",
    "{",
    "[]",
    "null",
    "\x00\x01",
    '{"key": 7, "events": []}',
    '{"key": "", "events": []}',
    '{"key": "k", "events": []}',
    '{"key": "k\\n", "events": [{"type": "clock"}]}',
    '{"key": "k", "events": [{"type": "price"}], "more": 1}',
    message(1).replace("BTC-PERP", "NO-PERP"),
    message(1).replace("100000.0", "0.01"),
    message(1).replace("100000.0", "1e9"),
    message(1).replace(str(BEGIN + 100), "-1"),
    b"\xff\xfe\x00",
    bytes(range(256)),
    b"[" * 10_000,
]


def test_what_is_wrong_is_answered_with_its_problem_and_the_socket_stays_open(rig):
    with rig.socket() as socket:
        for bad in BAD:
            socket.send(bad)
            heard = json.loads(socket.recv(10))
            assert heard["problem"]["status"] in (400, 422), bad
            assert "Traceback" not in json.dumps(heard)
        socket.send(message(1).replace("100000.0", "0.01"))
        assert json.loads(socket.recv(10))["key"] == "k1", "its sender knows it again"
        socket.send(message(1))
        assert json.loads(socket.recv(10))["first"] == 0
    assert rig.published() == [100]


def test_what_the_engine_rejects_is_durable_and_says_so(rig):
    event = {"type": "deposit", "account": "nobody", "amount": "1"}
    with rig.socket() as socket:
        socket.send(json.dumps({"key": "k", "events": [event]}))
        heard = json.loads(socket.recv(10))
    assert heard["outcomes"][0]["refused"] == ["account_unknown"]
    assert heard["first"] == heard["last"] == 0


@pytest.mark.parametrize("role", ["viewer", "keeper", "operator", "governor", None])
def test_only_a_feed_may_feed(rig, role):
    with pytest.raises(websockets.InvalidStatus) as refused, rig.socket(role=role):
        pass
    assert refused.value.response.status_code == (403 if role else 401)


def test_a_socket_whose_owner_goes_leaves_what_was_taken(rig):
    rig.journal.open.clear()
    with rig.socket() as socket:
        for k in range(6):
            socket.send(message(k))
    rig.journal.open.set()
    with rig.socket() as again:
        for k in range(6):
            again.send(message(k))
        heard = [json.loads(again.recv(10)) for _ in range(6)]
    assert [h["key"] for h in heard] == [f"k{k}" for k in range(6)]
    assert rig.published() == [100 * k for k in range(6)]


def test_a_socket_ends_when_the_engine_does(tmp_path):
    journal = Gated()
    with engine_of(journal) as engine:
        service = service_of(engine)
        more = [feed_socket(service)]
        with house(service, tmp_path, more=more) as app, served(app) as client:
            rig = Rig(engine, client, journal)
            with rig.socket() as socket:
                journal.broken = True
                socket.send(message(1))
                heard = json.loads(socket.recv(10))
                assert heard["problem"]["status"] == 503
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    socket.recv(10)
            assert closed.value.rcvd.code == 1001


# Routes.


class Broken:
    """A source that has a gap after its first message."""

    name, trouble, behind = "nats:events", "", 3

    def __init__(self, offer):
        self.offer, self.gap = offer, True

    async def begin(self, place, proof):
        del proof
        self.place = place

    async def offers(self):
        if self.place is None:
            yield Offer("1", [self.offer])
            self.place = "1"
        if self.gap:
            raise FeedBroken(where="nats", what="must have 2", found="nothing", hint="accept")
        await asyncio.Event().wait()

    async def taken(self, place):
        self.place = place

    def skip(self):
        self.gap = False
        return "2"


def test_operators_see_a_stopped_feed_and_accept_its_gap(tmp_path):
    journal, told = MemoryJournal(), Told()
    with engine_of(journal) as engine:
        service = service_of(engine)
        ask = msgspec.convert(json.loads(message(1))["events"][0], asks.AnyAsk)
        feeds = service.add(Feeds([Feed(Broken(service.door.prepare(ask)), engine, told)]))

        @contextlib.asynccontextmanager
        async def lifespan(_app):
            task = asyncio.create_task(feeds.run())
            yield
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        with (
            house(service, tmp_path, routes=routes(service), lifespan=lifespan) as app,
            served(app, lifespan="on") as client,
        ):
            rig = Rig(engine, client, journal)

            def becomes(state):
                for _ in range(500):
                    (now,) = rig.ask("GET", "/v1/feeds").json()
                    if now["state"] == state:
                        return now
                pytest.fail(f"the feed is {now}")

            now = becomes("stopped")
            assert (now["place"], now["behind"]) == ("1", 3)
            path = "/v1/feeds/nats:events"
            assert rig.ask("POST", f"{path}/accept").status_code == 403
            assert rig.ask("POST", "/v1/feeds/other/accept", role="operator").status_code == 404
            assert rig.ask("POST", f"{path}/resume", role="operator").status_code == 200
            becomes("stopped")
            done = rig.ask("POST", f"{path}/accept", role="operator")
            assert done.status_code == 200, done.text
            assert done.json()["place"] == "2"
            becomes("running")
            assert rig.ask("POST", f"{path}/accept", role="operator").status_code == 422
        assert journal.place("nats:events") == "2"


def test_what_a_service_does_not_have_is_no_route(rig):
    assert routes(service_of(rig.engine)) == []
    assert rig.ask("GET", "/v1/clock").status_code == 404


def test_a_clock_that_jumped_is_confirmed_by_an_operator(tmp_path):
    wall = [BEGIN]
    with engine_of(clock=SetClock()) as engine:
        service = service_of(engine)
        service.add(GuardedClock(Told(), wall=lambda: wall[0], steady=lambda: 0))
        with house(service, tmp_path, routes=routes(service)) as app, served(app) as client:
            rig = Rig(engine, client, None)
            wall[0] += 3600 * 10**9
            assert rig.ask("GET", "/v1/clock").json() == {
                "now": BEGIN, "jump_ns": 3600 * 10**9,
            }  # fmt: skip
            assert rig.ask("POST", "/v1/clock/confirm").status_code == 403
            done = rig.ask("POST", "/v1/clock/confirm", role="operator").json()
            assert done == {"now": wall[0], "jump_ns": 0}


def test_a_ticket_opens_one_socket_for_whoever_asked(tmp_path):
    with engine_of() as engine:
        service = service_of(engine)
        more = [feed_socket(service)]
        with (
            house(service, tmp_path, more=more, rows=routes) as app,
            served(app) as client,
        ):
            rig = Rig(engine, client, None)
            issued = rig.ask("POST", "/v1/tickets", role="feed").json()
            assert issued["seconds"] == 30
            path = f"/v1/feed?ticket={issued['ticket']}"
            with rig.socket(path, role=None) as socket:
                socket.send(message(1))
                assert json.loads(socket.recv(10))["first"] == 0
            with pytest.raises(websockets.InvalidStatus), rig.socket(path, role=None):
                pass
            assert client.post("/v1/tickets").status_code == 401
