"""What stands between the application and the network: gate, rates, sizes, headers, audit log."""

import asyncio
import contextlib
import errno
import json
import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from asgi import request, scope_of, socket
from tidegate.service import auth
from tidegate.service.asgi import IDENTITY, neighbourhood
from tidegate.service.audit import Audit, AuditLog
from tidegate.service.auth import Identity, KeyRing, Keys, new_key, read_keys, write_keys
from tidegate.service.guard import Guard
from tidegate.service.headers import API_POLICY, PAGE_POLICY, SafeHeaders
from tidegate.service.layers import Limits, layered
from tidegate.service.limits import CALLERS_MAX, Rate, RateLimits, SizeLimits, Steady
from tidegate.service.tickets import Tickets


class Hands:
    """A clock that is set by hand."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


async def echo(request_):
    body = await request_.body()
    who = request_.scope.get(IDENTITY)
    return JSONResponse({"name": who.name if who else None, "size": len(body)})


async def page(_request):
    headers = {"Content-Security-Policy": PAGE_POLICY, "Server": "x", "Cache-Control": "max-age=9"}
    return Response("<p>", media_type="text/html", headers=headers)


async def talk(ws):
    await ws.accept()
    with contextlib.suppress(Exception):
        while True:
            message = await ws.receive()
            if message["type"] == "websocket.disconnect":
                break
            await ws.send_text(str(len(message.get("text") or message.get("bytes") or b"")))


APP = Starlette(
    routes=[
        Route("/v1/echo", echo, methods=["GET", "POST"]),
        Route("/healthz", echo),
        Route("/", page),
        WebSocketRoute("/v1/talk", talk),
    ]
)


class House:
    """The application behind all layers, with two keys."""

    def __init__(self, tmp_path, **bounds):
        pairs = [new_key(name, [name], now=1.0) for name in ("feed", "viewer")]
        self.path = tmp_path / "keys.json"
        write_keys(self.path, Keys(keys=tuple(k for k, _ in pairs)))
        self.feed, self.viewer = (t.reveal() for _, t in pairs)
        self.ring = KeyRing(self.path)
        self.tickets = Tickets(self.ring)
        self.file = tmp_path / "audit.jsonl"
        self.log = AuditLog(self.file)
        self.app = layered(
            APP,
            ring=self.ring,
            tickets=self.tickets,
            log=self.log,
            open_paths=("/healthz", "/"),
            bounds=Limits(**bounds),
        )

    def get(self, path="/v1/echo", **more):
        return asyncio.run(request(self.app, "GET", path, **more))

    def post(self, path="/v1/echo", **more):
        return asyncio.run(request(self.app, "POST", path, **more))

    def talk(self, *messages, **more):
        return asyncio.run(socket(self.app, "/v1/talk", messages=messages, **more))

    def lines(self):
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def build(tmp_path):
    """Return a function that builds a house with bounds of its own; its log is closed."""
    houses = []

    def building(**bounds):
        houses.append(House(tmp_path, **bounds))
        return houses[-1]

    yield building
    for one in houses:
        one.log.close()


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens an audit log which is closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(
            contextlib.closing(AuditLog(tmp_path / "audit.jsonl", **more))
        )


@pytest.fixture
def house(build):
    return build()


def test_a_key_is_needed_everywhere_but_where_it_is_not(house):
    assert house.get(token=house.feed).status == 200
    assert house.get("/healthz").status == 200
    assert house.get("/").status == 200
    for path in ("/v1/echo", "/nowhere", "/healthz/", "//healthz"):
        no = house.get(path)
        assert no.status == 401
        assert no.problem()["code"] == "key_missing"
        assert no.headers["www-authenticate"].startswith("Bearer")
    assert house.post("/healthz").status == 401, "what is open is open for reading"


@pytest.mark.parametrize(
    "given", ["Basic eDp5", "Bearer", "Bearer ", "bearer x", "Bearer " + "x" * 999]
)
def test_what_is_no_key_is_refused_the_same_way(house, given):
    no = house.get(headers=[("Authorization", given)])
    assert (no.status, no.problem()["code"]) == (401, "key_refused")


def test_who_fails_too_often_is_told_to_wait_and_a_good_key_is_not(build):
    house = build(failures="3/minute")
    codes = [house.get(token="tg_wrong").status for _ in range(5)]
    assert codes == [401, 401, 401, 429, 429]
    no = house.get(token="tg_wrong")
    assert 1 <= int(no.headers["retry-after"]) <= 60
    assert house.get(token="tg_wrong", client="10.0.0.2").status == 401, "another address"
    assert house.get(token=house.feed).status == 200, "from the same address"


@pytest.mark.parametrize(
    ("ip", "whom"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_addresses_that_one_person_has_count_together(ip, whom):
    assert neighbourhood(ip) == whom


def test_rates_by_key(build):
    house = build(reads="2/minute", writes="1/minute")
    assert [house.get(token=house.feed).status for _ in range(3)] == [200, 200, 429]
    no = house.get(token=house.feed)
    assert no.problem()["code"] == "too_many_requests"
    assert 58 <= int(no.headers["retry-after"]) <= 60
    assert [house.post(token=house.feed).status for _ in range(2)] == [200, 429], "of their own"
    assert house.get(token=house.viewer).status == 200, "another key"


def test_a_window_moves_and_the_clock_of_the_wall_does_not_move_it():
    clock = Hands(100.0)
    rate = Rate("2/10 second", steady=clock)
    assert rate.wait("a") == 0
    clock.at += 4
    assert rate.wait("a") == 0
    assert rate.due("a") == 6
    assert rate.wait("a") == 6, "a refusal is not counted"
    clock.at += 6
    assert rate.due("a") == 0
    assert rate.wait("a") == 0
    assert rate.wait("a") == 4


def test_callers_that_are_not_heard_of_again_are_forgotten():
    store = Steady(Hands())
    for n in range(CALLERS_MAX + 50):
        assert store.acquire_entry(str(n), 1, 60)
    assert store.reset() == CALLERS_MAX
    assert store.check()


def test_a_body_has_a_size_announced_or_not(build):
    house = build(body_max=100)
    assert house.post(token=house.feed, chunks=[b"x" * 60, b"x" * 40]).body == (
        b'{"name":"feed","size":100}'
    )
    for more in [
        {"chunks": [b"x" * 60, b"x" * 41, b"never read"]},
        {"chunks": [b""], "headers": [("Content-Length", "101")]},
        {"chunks": [b""], "headers": [("Content-Length", "9" * 400)]},
        {"chunks": [b""], "headers": [("Content-Length", "-1")]},
    ]:
        no = house.post(token=house.feed, **more)
        assert (no.status, no.problem()["code"]) == (413, "too_large")
        assert no.headers["connection"] == "close"


def test_a_body_of_nobody_is_not_even_read(house):
    left = [b"x"]

    async def receive():
        left.pop()
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def ask():
        sent = []

        async def send(message):
            sent.append(message)

        await house.app(scope_of("http", "/v1/echo", method="POST"), receive, send)
        return sent[0]["status"]

    assert asyncio.run(ask()) == 401
    assert left == [b"x"]


def test_a_body_has_to_be_there_in_time(build):
    house = build(body_within_s=0.05)
    no = house.post(token=house.feed, chunks=[b"x"] * 100, wait=0.01)
    assert (no.status, no.problem()["code"]) == (408, "too_slow")


def test_a_path_may_take_more():
    app = SizeLimits(APP, body_max=10, larger={"/v1/echo": 20})
    assert asyncio.run(request(app, "POST", "/v1/echo", chunks=[b"x" * 20])).status == 200
    assert asyncio.run(request(app, "POST", "/v1/echo", chunks=[b"x" * 21])).status == 413
    assert asyncio.run(request(app, "POST", "/v1/other", chunks=[b"x" * 11])).status == 413


@pytest.mark.parametrize("large", ["x" * 101, b"x" * 101, "\u00e9" * 51, "\ud800" * 101])
def test_a_message_too_large_ends_the_socket(build, large):
    house = build(message_max=100)
    heard = house.talk("x" * 100, "\u00e9" * 50, large, "not heard", token=house.feed)
    assert [m.get("text") for m in heard.sent[1:3]] == ["100", "50"]
    assert heard.sent[3]["type"] == "websocket.close"
    assert heard.sent[3]["code"] == 1009
    assert len(heard.sent) == 4


def test_messages_too_many_wait(build):
    house = build(writes="2/second")
    loop_time = []

    async def ask():
        loop = asyncio.get_running_loop()
        begun = loop.time()
        heard = await socket(house.app, "/v1/talk", token=house.feed, messages=["x"] * 3)
        loop_time.append(loop.time() - begun)
        return heard

    heard = asyncio.run(ask())
    assert len(heard.sent) == 1 + 3, "none is lost"
    assert 0.9 < loop_time[0] < 3


def test_a_key_has_so_many_sockets_open():
    async def ask():
        hold = asyncio.Event()

        async def waiting(_scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            await hold.wait()

        who = Identity("id", "feed", ("feed",))
        limited = RateLimits(waiting, sockets_max=1)

        async def knowing(scope, receive, send):
            scope[IDENTITY] = who
            await limited(scope, receive, send)

        first = asyncio.create_task(socket(knowing, "/"))
        await asyncio.sleep(0)
        second = await socket(knowing, "/")
        hold.set()
        await first
        third = await socket(knowing, "/")
        return second, third

    second, third = asyncio.run(ask())
    assert second.status == 429
    assert third.sent[0]["type"] == "websocket.accept"


def test_a_socket_opens_with_a_token_or_a_ticket(house):
    assert house.talk("x", token=house.feed).sent[0]["type"] == "websocket.accept"
    assert house.talk("x").status == 401
    ticket = house.tickets.issue(house.ring.identify(house.viewer))
    query = f"topics=a&ticket={ticket}".encode()
    assert house.talk("x", query=query).sent[0]["type"] == "websocket.accept"
    assert house.talk("x", query=query).status == 401, "used"
    assert house.get(query=query).status == 401, "tickets are for WebSockets"
    for odd in [b"ticket=", b"ticket", b"ticket=%00%ff", b"&" * 5000, b"\xff\xfe"]:
        assert house.talk("x", query=odd).status == 401


def test_a_guest_gets_a_ticket_that_is_good_once(house):
    """In a demonstration there are keys, and somebody who has none that could stop being good."""
    guest = auth.Identity("guest", "guest", ("viewer",))
    tickets = Tickets(house.ring, anonymous=guest)
    ticket = tickets.issue(guest)
    assert tickets.redeem(ticket) is guest
    assert tickets.redeem(ticket) is None
    impostor = auth.Identity("guest", "guest", ("viewer", "operator"))
    assert tickets.redeem(tickets.issue(impostor)) is None


def test_a_socket_is_denied_also_where_the_server_cannot_answer_with_a_body(house):
    async def ask():
        sent = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        scope = scope_of("websocket", "/v1/talk")
        scope["extensions"] = {}
        await house.app(scope, receive, send)
        return sent

    assert asyncio.run(ask()) == [{"type": "websocket.close", "code": 1008}]


def test_a_socket_ends_when_its_key_does(house):
    clock = Hands()
    app = Guard(APP, ring=house.ring, tickets=house.tickets, steady=clock)

    def revoke():
        write_keys(house.path, auth.revoked(read_keys(house.path), "feed", now=2.0)[0])
        house.ring.reload()
        clock.at += 1.0

    messages = ["x", revoke, "never taken"]
    heard = asyncio.run(socket(app, "/v1/talk", token=house.feed, messages=messages))
    assert [m["type"] for m in heard.sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert heard.sent[-1]["code"] == 1008


def test_nobody_may_be_somebody_for_a_demonstration(opened):
    log = opened()
    guest = Identity("guest", "guest", ("viewer",))
    app = layered(APP, ring=None, tickets=Tickets(None), log=log, anonymous=guest)
    assert asyncio.run(request(app, "GET", "/v1/echo")).body == b'{"name":"guest","size":0}'
    assert asyncio.run(request(app, "GET", "/v1/echo", token="tg_x")).status == 401
    with pytest.raises(AssertionError, match="nobody could"):
        layered(APP, ring=None, tickets=Tickets(None), log=log)


def test_every_answer_has_safe_headers(house):
    for answer in [house.get(token=house.feed), house.get(), house.get("/nowhere", token="x")]:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == API_POLICY.decode()
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers
    found = house.get("/").headers
    assert found["content-security-policy"] == PAGE_POLICY, "a page says its own"
    assert found["cache-control"] == "max-age=9"
    assert "server" not in found
    assert "max-age=" in house.get(scheme="https").headers["strict-transport-security"]
    behind = SafeHeaders(APP, tls=True)
    assert "strict-transport-security" in asyncio.run(request(behind, "GET", "/")).headers


def test_the_audit_log_has_every_change_and_every_refusal(build):
    house = build(body_max=10)
    house.get(token=house.feed)  # reading is not of interest
    house.post(token=house.feed, headers=[("Idempotency-Key", "k1")], chunks=[b"x"])
    house.post(token=house.feed, chunks=[b"x" * 11])
    house.get()
    house.talk("x", "y", token=house.feed)
    house.talk("x")
    wanted = [
        ("request", "POST", "feed", 200, "done"),
        ("request", "POST", "feed", 413, "refused"),
        ("request", "GET", None, 401, "refused"),
        ("socket_opened", "WS", "feed", None, None),
        ("socket_closed", "WS", "feed", None, None),
        ("socket_refused", "WS", None, None, None),
    ]
    lines = house.lines()
    assert [
        (x["event"], x["method"], x["name"], x.get("status"), x.get("outcome")) for x in lines
    ] == wanted
    assert lines[0]["from"] == "10.0.0.1"
    assert lines[0]["path"] == "/v1/echo"
    assert lines[0]["idempotency_key"] == "k1"
    assert lines[4]["messages"] == 2
    assert lines[5]["code"] == 401
    assert all(line["at"].endswith("Z") for line in lines)
    assert house.file.stat().st_mode & 0o077 == 0


def test_a_flood_of_refusals_does_not_fill_the_log(build):
    house = build(failures="3/minute")
    for _ in range(50):
        house.get(token="tg_wrong")
        house.get()
    assert len(house.lines()) == 3 + 3


def test_what_breaks_below_is_written_down(tmp_path, opened):
    log = opened()

    async def broken(_scope, _receive, _send):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(request(Audit(broken, log=log), "POST", "/x"))
    line = json.loads((tmp_path / "audit.jsonl").read_text(encoding="utf-8"))
    assert (line["status"], line["outcome"]) == (500, "failed")


def test_the_audit_log_rotates(tmp_path, opened):
    log = opened(file_max=500, files_max=2)
    for n in range(50):
        log.write("x", n=n, pad="p" * 40)
    log.close()
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(p.stat().st_size <= 500 for p in tmp_path.iterdir())
    assert all(p.stat().st_mode & 0o077 == 0 for p in tmp_path.iterdir())
    last = (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last)["n"] == 49


def test_a_log_that_cannot_be_written_stops_nobody_and_tells_once(tmp_path, opened, monkeypatch):
    heard = []
    log = opened(troubled=heard.append)
    full = OSError(errno.ENOSPC, "No space left on device")

    def no_room(*_args):
        raise full

    with monkeypatch.context() as patched:
        patched.setattr(logging.StreamHandler, "emit", no_room)
        log.write("lost")
        log.write("lost too")
    assert len(heard) == 1
    log.write("kept")
    assert [json.loads(x)["event"] for x in log_lines(tmp_path)] == ["kept"]


def log_lines(tmp_path):
    return (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()


def test_no_secret_is_anywhere(build, caplog, capfd):
    """A token given in every place where it can be given is in no log, answer, error or repr."""
    caplog.set_level(0)
    house = build(body_max=100)
    key, token = new_key("gone", ["feed"], now=0.0, expires=1.0)
    write_keys(house.path, Keys(keys=(*read_keys(house.path).keys, key)))
    house.ring.reload()
    ticket = house.tickets.issue(house.ring.identify(house.feed))
    said, secrets = [], [ticket]
    for shown in (house.feed, token.reveal(), "tg_" + "0" * 12 + "_" + "s" * 43):
        secrets.append(shown.split("_", 2)[2])
        for more in [
            {"token": shown},
            {"headers": [("Authorization", f"Basic {shown}")]},
            {"headers": [("Authorization", shown)]},
            {"token": shown, "headers": [("Idempotency-Key", shown)]},
            {"query": f"token={shown}".encode()},
            {"token": shown, "chunks": [shown.encode()] * 9},
        ]:
            said += [house.post(**more), house.post(f"/v1/{shown}", **more)]
        said.append(house.talk(shown, token=shown))
        said.append(house.talk("x", query=f"ticket={shown}".encode()))
    said.append(house.talk("x", query=f"ticket={ticket}".encode()))
    house.log.write("x", deep={"a": [house.feed, house.feed.encode(), (house.feed,)]}, n=1)
    said += [house.ring, house.tickets, house.log, house.app, list(house.ring.all), token, key]
    everything = "".join(
        [repr(said), caplog.text, *capfd.readouterr(), house.file.read_text(encoding="utf-8")]
    )
    assert "feed" in everything
    for secret in secrets:
        assert secret not in everything
