"""The gate: every request needs a key, unless its path is open to everybody."""

import time
from collections.abc import Callable, Collection
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.service.asgi import (
    IDENTITY,
    MUTED,
    POLICY,
    TRY_LATER,
    Refusal,
    address,
    header,
    neighbourhood,
    refuse,
)
from tidegate.service.auth import Identity, KeyRing
from tidegate.service.limits import FAILURES, Rate
from tidegate.service.tickets import Tickets


CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="tidegate"'),)
TOKEN_MAX: Final = 256  # bytes of an Authorization header that are worth looking at
_ENDED: Final = "the key is no longer good"
QUERY_MAX: Final = 4096
AGAIN_S: Final = 1.0  # how often an open WebSocket asks whether its key is still good


class Guard:
    """Find out who is asking, and keep everybody else out; roles are the routes' own affair.

    The identity is put into the scope under `asgi.IDENTITY`. A WebSocket may show a ticket
    (``?ticket=``) instead of a header, and is closed when its key stops being good.

    Somebody who fails too often is told 429 instead of 401. A good token is always let in, also
    from the same address: otherwise any neighbour could lock a feed out.

    Parameters
    ----------
    open_paths
        What is served without a key. Paths that end in "/" stand for all below them.
    anonymous
        Who a request without any key is; for a demonstration, never beside a venue. None: nobody.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ring: KeyRing | None,
        tickets: Tickets,
        open_paths: Collection[str] = (),
        anonymous: Identity | None = None,
        failures: str = FAILURES,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        assert ring is not None or anonymous is not None, "then nobody could ever come in"
        self._app, self._ring, self._tickets = app, ring, tickets
        self._open = frozenset(p for p in open_paths if not p.endswith("/") or p == "/")
        self._below = tuple(p for p in open_paths if p.endswith("/") and p != "/")
        self._anonymous, self._steady = anonymous, steady
        self._failures = Rate(failures, steady=steady)
        self._missing = Rate(failures, steady=steady)  # only how often it is written down

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        shown, identity = self._identify(scope)
        if identity is None and not shown:
            if self._is_open(scope):
                await self._app(scope, receive, send)
                return
            identity = self._anonymous
        if identity is None:
            await refuse(self._no(scope, shown=shown), scope, receive, send)
            return
        scope[IDENTITY] = identity
        ring = self._ring
        if scope["type"] == "websocket" and ring is not None and identity is not self._anonymous:
            watched = _Watched(ring, identity, self._steady, receive, send)
            await self._app(scope, watched.receive, watched.send)
        else:
            await self._app(scope, receive, send)

    def _identify(self, scope: Scope) -> tuple[bool, Identity | None]:
        """Return whether anything was shown, and whose it is."""
        given = header(scope, b"authorization")
        if given is not None:
            scheme, _, token = given[:TOKEN_MAX].decode("latin-1").partition(" ")
            good = scheme.lower() == "bearer" and len(given) < TOKEN_MAX
            ring = self._ring
            return True, ring.identify(token.strip()) if good and ring is not None else None
        if scope["type"] == "websocket":
            query: bytes = scope.get("query_string", b"")
            for part in query[:QUERY_MAX].decode("latin-1").split("&"):
                if part.startswith("ticket="):
                    return True, self._tickets.redeem(part.removeprefix("ticket="))
        return False, None

    def _is_open(self, scope: Scope) -> bool:
        path: str = scope["path"]
        reading = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        return reading and (path in self._open or path.startswith(self._below))

    def _no(self, scope: Scope, *, shown: bool) -> Refusal:
        ip = neighbourhood(address(scope))
        if not shown:
            scope[MUTED] = self._missing.wait(ip) > 0
            detail = "a key is needed"
            hint = "send the header Authorization: Bearer TOKEN"
            return Refusal(401, "key_missing", detail, hint, headers=CHALLENGE, close=POLICY)
        wait = self._failures.wait(ip)
        if wait:
            scope[MUTED] = True
            detail = "too many failed logins from this address"
            return Refusal(429, "too_many_failures", detail, retry_after_s=wait, close=TRY_LATER)
        # What exactly is wrong with it is nobody's business but the operator's.
        detail = "the key is wrong, expired or revoked"
        hint = "a ticket is good once, for half a minute" if scope["type"] == "websocket" else ""
        return Refusal(401, "key_refused", detail, hint, headers=CHALLENGE, close=POLICY)


class _Watched:
    """A WebSocket that ends once its key is no longer good, whoever speaks next."""

    def __init__(
        self,
        ring: KeyRing,
        identity: Identity,
        steady: Callable[[], float],
        receive: Receive,
        send: Send,
    ) -> None:
        self._ring, self._id, self._steady = ring, identity.id, steady
        self._receive, self._send = receive, send
        self._looked, self._ended = steady(), False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.receive" and not await self._good():
            return {"type": "websocket.disconnect", "code": POLICY, "reason": _ENDED}
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.send" and not await self._good():
            return
        if not self._ended:  # nothing may follow a close
            await self._send(message)

    async def _good(self) -> bool:
        now = self._steady()
        if not self._ended and now - self._looked >= AGAIN_S:
            self._looked = now
            if self._ring.live(self._id) is None:
                self._ended = True
                await self._send({"type": "websocket.close", "code": POLICY, "reason": _ENDED})
        return not self._ended
