"""Talk to an ASGI application as a server would, message by message, without a network."""

import asyncio
import json
from typing import NamedTuple


class Answered(NamedTuple):
    """What came back; for a WebSocket, everything that was sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: list[dict]

    def problem(self) -> dict:
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


def scope_of(kind, path, *, method="GET", headers=(), query=b"", client="10.0.0.1", scheme=None):
    scheme = scheme or ("ws" if kind == "websocket" else "http")
    scope = {
        "type": kind,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers],
        "client": (client, 1234),
        "server": ("127.0.0.1", 80),
        "scheme": scheme,
        "root_path": "",
        "extensions": {"websocket.http.response": {}} if kind == "websocket" else {},
        "subprotocols": [],
    }
    if kind == "http":
        scope["method"] = method
    return scope


async def request(app, method, path, *, token=None, chunks=(b"",), wait=0.0, headers=(), **more):
    """Send one request, its body in chunks, ``wait`` seconds before each; return the answer."""
    given = list(headers)
    if token is not None:
        given.append(("Authorization", f"Bearer {token}"))
    left = list(chunks)
    sent = []

    async def receive():
        if not left:
            return {"type": "http.disconnect"}
        await asyncio.sleep(wait)
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    await app(scope_of("http", path, method=method, headers=given, **more), receive, send)
    return _answered(sent)


async def socket(app, path, *, token=None, messages=(), headers=(), **more):
    """Open one WebSocket and say ``messages`` (text, bytes, or a function to call); then go."""
    given = list(headers)
    if token is not None:
        given.append(("Authorization", f"Bearer {token}"))
    left = list(messages)
    sent = []
    connected = closed = False

    async def receive():
        nonlocal connected
        if not connected:
            connected = True
            return {"type": "websocket.connect"}
        while left and callable(left[0]):
            left.pop(0)()
        if closed or not left:
            return {"type": "websocket.disconnect", "code": 1000}
        said = left.pop(0)
        kind = "text" if isinstance(said, str) else "bytes"
        return {"type": "websocket.receive", kind: said}

    async def send(message):
        nonlocal closed
        assert not closed, f"nothing follows a close: {message}"
        closed = message["type"] == "websocket.close"
        sent.append(message)

    await app(scope_of("websocket", path, headers=given, **more), receive, send)
    return _answered(sent)


def _answered(sent):
    start = next((m for m in sent if m["type"].endswith("response.start")), {})
    body = b"".join(m.get("body", b"") for m in sent if m["type"].endswith("response.body"))
    headers = {k.decode().lower(): v.decode() for k, v in start.get("headers", [])}
    return Answered(start.get("status", 0), headers, body, sent)
