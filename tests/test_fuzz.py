"""The API under nonsense: made from its own document, and worse; never a 500, never a trace."""

import json
import socket
import time
from contextlib import ExitStack

import pytest
import schemathesis
import websockets
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from websockets.sync.client import connect

from service_world import KEYS, engine_of, house, served, service_of, warm
from tidegate.service.clock import GuardedClock
from tidegate.service.feed_routes import Feeds
from tidegate.service.feed_routes import routes as feed_routes
from tidegate.service.feed_socket import feed_socket
from tidegate.service.layers import UVICORN, Limits


EXAMPLES = 25  # of each operation with a body, in each mode: 100 in all
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
WIDE = Limits(reads="1000000/second", writes="1000000/second", failures="1000000/second",
              body_max=65_536, message_max=65_536, body_within_s=0.5)  # fmt: skip
ROLE = {"/v1/events": "feed", "/v1/bids": "keeper"}


class Told:
    """Alerts that nobody hears."""

    def raised(self, code, detail):
        """Hear nothing."""


class Served:
    """A service with everything on it, on a real server."""

    def __init__(self, client):
        self.client = client
        self.host, self.port = client.base_url.host, client.base_url.port

    def raw(self, *parts, pause=0.0, within=5.0):
        """Send bytes as they are; return what came back until the server closed or was silent."""
        with socket.create_connection((self.host, self.port), timeout=within) as line:
            heard = b""
            try:
                for part in parts:
                    line.sendall(part)
                    time.sleep(pause)
                while chunk := line.recv(65_536):
                    heard += chunk
            except (TimeoutError, ConnectionError):
                pass
            return heard

    def alive(self):
        head = {"Authorization": f"Bearer {KEYS['viewer']}"}
        assert self.client.get("/v1/feeds", headers=head).status_code == 200

    def socket(self):
        head = {"Authorization": f"Bearer {KEYS['feed']}"}
        url = f"ws://{self.host}:{self.port}/v1/feed"
        return connect(url, additional_headers=head, close_timeout=1, max_size=None)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    warm()


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    with ExitStack() as stack:
        engine = stack.enter_context(engine_of())
        service = service_of(engine)
        service.add(GuardedClock(Told()))
        service.add(Feeds([]))
        app = stack.enter_context(
            house(
                service,
                tmp_path_factory.mktemp("fuzz"),
                rows=feed_routes,
                more=[feed_socket(service)],
                bounds=WIDE,
            )
        )
        options = {**UVICORN, "ws_max_size": WIDE.message_max}
        client = stack.enter_context(served(app, **options))
        yield Served(client)
        assert engine.failed is None, "nothing from outside may stop the crank"


def document(everything):
    return everything.client.get("/openapi.json").json()


def told(text, headers):
    """Prove that an answer gives nothing away."""
    for leak in ("Traceback", 'File "', ".py", "site-packages", "msgspec.", "Error("):
        assert leak not in text, text[:2000]
    assert "server" not in headers
    assert headers["x-content-type-options"] == "nosniff"


def test_the_document_is_open_and_whole(everything):
    said = document(everything)
    assert said["openapi"].startswith("3.1")
    assert {"/v1/events", "/v1/bids", "/v1/feeds", "/v1/tickets"} <= set(said["paths"])


@pytest.mark.parametrize("positive", [True, False])
def test_whatever_the_document_allows_or_forbids_is_answered_properly(everything, positive):
    mode = "positive" if positive else "negative"
    config = schemathesis.GenerationMode(mode)
    schema = schemathesis.openapi.from_dict(document(everything))
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        strategy = operation.as_strategy(generation_mode=config)
        asked += _asked(everything, operation, strategy)
    assert asked > 60
    everything.alive()


def _asked(everything, operation, strategy):
    role = ROLE.get(operation.path, "operator")
    asked = 0

    @settings(
        max_examples=EXAMPLES if operation.body else 5,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case):
        nonlocal asked
        asked += 1
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {KEYS[role]}"}
        response = case.call(base_url=str(everything.client.base_url).rstrip("/"))
        case.validate_response(response, checks=CHECKS)
        told(response.text, {name: values[0] for name, values in response.headers.items()})

    ask()
    return asked


HEAD = b"Host: x\r\nAuthorization: Bearer " + KEYS["feed"].encode() + b"\r\n"
JSON = b"Content-Type: application/json\r\n"
RAW = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,  # TLS
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%00%ff%zz HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v1/feeds?" + b"&" * 5_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\n" + HEAD + JSON + b"Content-Length: -1\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\n" + HEAD + JSON + b"Content-Length: 99999999999\r\n\r\n{",
    b"POST /v1/events HTTP/1.1\r\n" + HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/events HTTP/1.1\r\n" + HEAD + JSON
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\n" + HEAD + b"Idempotency-Key: \xff\xfe\r\n" + JSON
    + b"Content-Length: 2\r\n\r\n{}",
    b"POST /v1/events HTTP/1.1\r\n" + HEAD + JSON + b"Content-Encoding: gzip\r\n"
    + b"Content-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
    b"POST /v1/events HTTP/1.1\r\n" + HEAD + JSON + b"Content-Length: 100000\r\n\r\n"
    + b"[" * 60_000,
    b"POST /v1/feeds/%2e%2e%2f%2e%2e/accept HTTP/1.1\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
    b"DELETE /v1/events HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("request_", RAW, ids=range(len(RAW)))
def test_bytes_that_are_no_request(everything, request_):
    heard = everything.raw(request_, within=0.2)
    assert b"HTTP/1.1 5" not in heard
    assert b"Traceback" not in heard
    everything.alive()


DEEP = "[" * 50_000 + "]" * 50_000
BODIES = [b"", b"null", b"{}", b"\xff", DEEP.encode(), b'{"events": ' + b"[" * 20_000,
          b'{"events": [{"type": "price", "ts": ' + b"9" * 400 + b"}]}",
          b'{"events": [{"type": "price", "ts": 1e400}]}',
          b'{"events": [{"type": "\\ud800"}]}']  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_bodies_that_are_no_events(everything, body):
    headers = {"Authorization": f"Bearer {KEYS['feed']}", "Content-Type": "application/json"}
    answer = everything.client.post("/v1/events", content=body, headers=headers)
    assert answer.status_code in (400, 413, 422)
    told(answer.text, answer.headers)


def test_a_body_without_a_length_is_bounded_too(everything):
    headers = {"Authorization": f"Bearer {KEYS['feed']}", "Content-Type": "application/json"}
    parts = (b" " * 10_000 for _ in range(8))
    answer = everything.client.post("/v1/events", content=parts, headers=headers)
    assert answer.status_code == 413
    told(answer.text, answer.headers)


def test_slow_senders_hold_up_nobody_and_are_let_go(everything):
    post = b"POST /v1/events HTTP/1.1\r\n" + HEAD + JSON + b"Content-Length: 1000\r\n\r\n"
    lines = []
    for _ in range(50):
        line = socket.create_connection((everything.host, everything.port), timeout=5)
        line.sendall(post + b"{")
        lines.append(line)
    begun = time.monotonic()
    everything.alive()
    assert time.monotonic() - begun < 0.4
    for line in lines:
        heard = line.recv(65_536)
        assert heard.startswith(b"HTTP/1.1 408")
        line.close()
    everything.alive()


SHAKE = (
    b"GET /v1/feed HTTP/1.1\r\n" + HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode, payload, *, fin=True, mask=True, length=None):
    """Return one frame as RFC 6455 has it, or as it should never be."""
    n = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | opcode])
    masked = 0x80 if mask else 0
    if n < 126:
        head += bytes([masked | n])
    elif n < 65_536:
        head += bytes([masked | 126]) + n.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + n.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if mask else b"") + payload


FRAMES = {
    "garbage": bytes(range(256)) * 4,
    "no mask": frame(1, b"{}", mask=False),
    "invalid UTF-8": frame(1, b"\xff\xfe\xfd"),
    "reserved opcode": frame(3, b"x"),
    "reserved bits": bytes([0xF1, 0x80, 0, 0, 0, 0]),
    "a huge length": frame(2, b"x", length=2**62),
    "more than may be": frame(2, b"x" * 70_000),
    "a long ping": frame(9, b"x" * 200),
    "a split ping": frame(9, b"x", fin=False),
    "a rest of nothing": frame(0, b"x"),
    "a bad close": frame(8, b"\x00"),
    "a close of its own kind": frame(8, (65535).to_bytes(2, "big")),
    "parts for ever": frame(1, b"{", fin=False) + frame(0, b" " * 60_000, fin=False) * 2,
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_are_none_end_their_own_socket_and_no_other(everything, name):
    with everything.socket() as good:
        heard = everything.raw(SHAKE, FRAMES[name], pause=0.02, within=0.5)
        assert heard.startswith(b"HTTP/1.1 101")
        assert b"Traceback" not in heard
        close = heard.rfind(b"\x88")
        assert close > 0, "it is closed with a code"
        code = int.from_bytes(heard[close + 2 : close + 4], "big")
        assert code in (1000, 1002, 1007, 1009), code
        good.send("{}")
        assert json.loads(good.recv(5))["problem"]["status"] == 422


def test_a_socket_that_never_finishes_its_message_holds_up_nobody(everything):
    lines = []
    for _ in range(20):
        line = socket.create_connection((everything.host, everything.port), timeout=5)
        line.sendall(SHAKE)
        line.sendall(frame(1, b"{", fin=False))
        lines.append(line)
    with everything.socket() as good:
        good.send("{}")
        assert json.loads(good.recv(2))["problem"]["status"] == 422
    everything.alive()
    for line in lines:
        line.close()


@pytest.mark.parametrize(
    "shake",
    [
        SHAKE.replace(b"Version: 13", b"Version: 99"),
        SHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
        SHAKE.replace(b"/v1/feed", b"/v1/nowhere"),
        SHAKE.replace(HEAD, b"Host: x\r\n"),
        SHAKE.replace(HEAD, b"Host: x\r\nAuthorization: Bearer tg_wrong\r\n"),
        SHAKE.replace(b"/v1/feed", b"/v1/feed?ticket=" + b"x" * 3000),
    ],
    ids=range(6),
)
def test_handshakes_that_are_none(everything, shake):
    heard = everything.raw(shake, within=0.2)
    assert b" 101 " not in heard[:20] or b"ticket=" in shake
    assert b"HTTP/1.1 5" not in heard
    assert b"Traceback" not in heard
    everything.alive()


def test_a_socket_is_refused_without_a_word_too_much(everything):
    url = f"ws://{everything.host}:{everything.port}/v1/feed"
    with pytest.raises(websockets.InvalidStatus) as refused, connect(url):
        pass
    answer = refused.value.response
    assert answer.status_code == 401
    assert json.loads(answer.body)["code"] == "key_missing"
    assert answer.headers["x-content-type-options"] == "nosniff"
