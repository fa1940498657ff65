"""The layer that gives each request its id, measures it, and opens its trace."""

import re
import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.service.asgi import header


REQUEST_ID: Final = b"x-request-id"
ROUTE_NONE: Final = "none"  # no route: what strangers ask for is no label
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

Answered = Callable[[str, str, int, float], None]  # method, route, status, seconds


class Traced(Protocol):
    """A trace of one request; see `tracing.Tracing`."""

    def ended(self, name: str, status: int) -> None:
        """Close it; ``name`` is that of the route."""
        ...


class Timing:
    """The outermost layer but safe headers: it also measures what the gate refuses.

    Parameters
    ----------
    answered
        Told of every HTTP request: `Metrics.answered`.
    trace
        Opens a trace for one; None: none is kept.
    """

    def __init__(
        self, app: ASGIApp, *, answered: Answered, trace: Callable[[], Traced] | None = None
    ) -> None:
        self._app, self._answered, self._trace = app, answered, trace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = request_id(scope)
        # A task of its own serves each request: what is bound here ends with it.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500
        trace = self._trace() if self._trace is not None else None

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (REQUEST_ID, request.encode("ascii"))]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = route_of(scope)
            self._answered(method, route, status, time.perf_counter() - begun)
            if trace is not None:
                trace.ended(f"{method} {route}", status)


def request_id(scope: Scope) -> str:
    """Return the id that the caller or its proxy gave, where it is a plain one; else a new one."""
    given = header(scope, REQUEST_ID)
    if given is not None and _ID.fullmatch(given):
        return given.decode("ascii")
    return secrets.token_hex(8)


def route_of(scope: Scope) -> str:
    """Return the path of the route that answered, with names in place of what they stood for."""
    return str(getattr(scope.get("route"), "path", ROUTE_NONE))
