"""How much one caller may ask: requests by key, failed logins by address, bytes by body.

Rates are moving windows of the library `limits`. Its own memory store reads the wall clock and
starts timer threads; a clock set back by an hour would shut the price feed out for an hour.
`Steady` keeps the same windows by the monotonic clock, in the caller's thread.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from limits import RateLimitItem, parse
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.service.asgi import (
    IDENTITY,
    TOO_BIG,
    TRY_LATER,
    Refusal,
    header,
    refuse,
)
from tidegate.service.auth import Identity


BODY_MAX: Final = 16 * 2**20
BODY_WITHIN_S: Final = 30.0
MESSAGE_MAX: Final = 2**20
CALLERS_MAX: Final = 10_000  # windows that are kept; the one used longest ago goes first

READS: Final = "600/10 second"
WRITES: Final = "20000/10 second"
FAILURES: Final = "10/minute"
SOCKETS_MAX: Final = 32  # open WebSockets of one key


class Steady(Storage, MovingWindowSupport):
    """Moving windows in memory, by a clock that never jumps; for one thread."""

    STORAGE_SCHEME = None  # not by URL

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._steady = steady
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """No store, no errors of its own."""
        return ValueError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` hits if they fit; what is refused is not counted."""
        hits = self._window(key, expiry)
        if len(hits) + amount > limit:
            return False
        hits.extend([self._steady()] * amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the window began, and how many hits are in it."""
        del limit
        hits = self._window(key, expiry)
        return (hits[0] if hits else self._steady(), len(hits))

    def _window(self, key: str, expiry: int) -> deque[float]:
        hits = self._hits.setdefault(key, deque())
        self._hits.move_to_end(key)
        begins = self._steady() - expiry
        while hits and hits[0] <= begins:
            hits.popleft()
        if len(self._hits) > CALLERS_MAX:
            self._hits.popitem(last=False)
        return hits

    # What other strategies would want. None of them is used.
    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Not a counter."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Not a counter."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Not a counter."""
        raise NotImplementedError

    def check(self) -> bool:
        """Memory is there."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        n = len(self._hits)
        self._hits.clear()
        return n

    def clear(self, key: str) -> None:
        """Forget one window."""
        self._hits.pop(key, None)


class Rate:
    """One limit over many callers, such as ``"600/10 second"``; nothing in it is never reached."""

    def __init__(self, text: str, *, steady: Callable[[], float] = time.monotonic) -> None:
        self._item: RateLimitItem = parse(text)
        self._steady = steady
        self._limiter = MovingWindowRateLimiter(Steady(steady))

    def __repr__(self) -> str:
        return f"Rate({self._item})"

    def wait(self, who: str, cost: int = 1) -> float:
        """Count a request of ``who``; return 0, or the seconds after which to try again.

        What costs more than the whole window holds is counted as all of it.
        """
        cost = min(cost, self._item.amount)
        if self._limiter.hit(self._item, who, cost=cost):
            return 0.0
        return self.due(who, cost)

    def due(self, who: str, cost: int = 1) -> float:
        """Return the seconds until ``who`` may try again, without counting; 0: now."""
        if self._limiter.test(self._item, who, cost=cost):
            return 0.0
        reset = self._limiter.get_window_stats(self._item, who).reset_time
        return max(0.001, reset - self._steady())


class RateLimits:
    """Requests by key: reads and writes have windows of their own, so that neither starves.

    A WebSocket counts as one read when it opens, and each of its messages as one write. A message
    too many is not refused but left lying, until TCP tells the sender to slow down.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        reads: str = READS,
        writes: str = WRITES,
        sockets_max: int = SOCKETS_MAX,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._reads, self._writes = Rate(reads, steady=steady), Rate(writes, steady=steady)
        self._sockets_max = sockets_max
        self._sockets: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        identity: Identity | None = scope.get(IDENTITY)
        if scope["type"] not in ("http", "websocket") or identity is None:
            await self._app(scope, receive, send)
            return
        reading = scope["type"] == "websocket" or scope["method"] in ("GET", "HEAD")
        wait = (self._reads if reading else self._writes).wait(identity.id)
        if wait:
            detail = f"{identity.name} has asked too often"
            no = Refusal(429, "too_many_requests", detail, retry_after_s=wait, close=TRY_LATER)
            await refuse(no, scope, receive, send)
        elif scope["type"] == "http":
            await self._app(scope, receive, send)
        else:
            await self._socket(identity, scope, receive, send)

    async def _socket(self, who: Identity, scope: Scope, receive: Receive, send: Send) -> None:
        n = self._sockets.get(who.id, 0)
        if n >= self._sockets_max:
            detail = f"{who.name} has {n} WebSockets open, which is the most"
            no = Refusal(429, "too_many_sockets", detail, retry_after_s=1.0, close=TRY_LATER)
            await refuse(no, scope, receive, send)
            return

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                wait = self._writes.wait(who.id)
                while wait:
                    await asyncio.sleep(wait)
                    wait = self._writes.wait(who.id)
            return message

        self._sockets[who.id] = n + 1
        try:
            await self._app(scope, receiving, send)
        finally:
            left = self._sockets[who.id] - 1
            if left:
                self._sockets[who.id] = left
            else:
                del self._sockets[who.id]


class SizeLimits:
    """Bodies and messages up to a size, within a time; the layers below get a body at once, whole.

    A body without Content-Length is counted as it arrives. Reading it here means that a slow sender
    holds a few bytes of memory and no handler, and that a refusal is always an answer.

    Parameters
    ----------
    body_max, message_max
        Bytes of an HTTP body, and of one WebSocket message (UTF-8).
    within_s
        Seconds in which a body has to be there.
    larger
        Paths that take more: the import of a whole book.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_max: int = BODY_MAX,
        message_max: int = MESSAGE_MAX,
        within_s: float = BODY_WITHIN_S,
        larger: dict[str, int] | None = None,
    ) -> None:
        self._app, self._body_max, self._message_max = app, body_max, message_max
        self._within, self._larger = within_s, larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._larger.get(scope["path"], self._body_max)
        announced = header(scope, b"content-length")
        if announced is not None and (not announced.isdigit() or int(announced[:19]) > most):
            await refuse(_too_large(most), scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._within):
                body = await _whole(receive, most)
        except TimeoutError:
            detail = f"the body was not there within {self._within:g} s"
            no = Refusal(408, "too_slow", detail, headers=((b"connection", b"close"),))
            await refuse(no, scope, receive, send)
            return
        if body is None:
            await refuse(_too_large(most), scope, receive, send)
            return
        handed = False

        async def receiving() -> Message:
            nonlocal handed
            if not handed:
                handed = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self._app(scope, receiving, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        most, closed = self._message_max, False

        async def receiving() -> Message:
            nonlocal closed
            message = await receive()
            if message["type"] == "websocket.receive" and _size(message, most) > most:
                closed = True
                reason = f"a message has at most {most} bytes"
                await send({"type": "websocket.close", "code": TOO_BIG, "reason": reason})
                return {"type": "websocket.disconnect", "code": TOO_BIG, "reason": reason}
            return message

        async def sending(message: Message) -> None:
            if not closed:  # nothing may follow a close
                await send(message)

        await self._app(scope, receiving, sending)


def _too_large(most: int) -> Refusal:
    # The rest of the body is not read: the connection cannot be used again.
    closing = ((b"connection", b"close"),)
    hint = "send it in parts"
    return Refusal(413, "too_large", f"a body has at most {most} bytes", hint, headers=closing)


async def _whole(receive: Receive, most: int) -> bytes | None:
    """Return the whole body, None as soon as it is larger than ``most``."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)  # gone; the layers below will hear so when they ask again
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _size(message: Message, most: int) -> int:
    text: str | None = message.get("text")
    if text is None:
        return len(message.get("bytes") or b"")
    # A character has at most four bytes: most messages need not be encoded to be measured.
    return len(text) if len(text) * 4 <= most else len(text.encode("utf-8", "replace"))
