"""Safe headers on every answer: what a browser may do with it, and nothing about the server."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send


# The API answers data: nothing in it may run, load, or be framed. A page brings its own policy.
API_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HSTS: Final = b"max-age=31536000; includeSubDomains"

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),  # for browsers older than frame-ancestors
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)
_UNLESS_SET: Final = (
    (b"content-security-policy", API_POLICY),
    (b"cache-control", b"no-store"),
)
_NEVER: Final = (b"server", b"x-powered-by")


class SafeHeaders:
    """The outermost layer: it also covers what the layers below refuse.

    A header that the application has set stays: a page sets its policy (`PAGE_POLICY`) and assets
    may be cached. uvicorn adds its banner below us; start it with ``server_header=False``.

    Parameters
    ----------
    tls
        Say HSTS also where this process does not see TLS itself: a proxy in front ends it and
        forwards no scheme. Where it forwards one (``X-Forwarded-Proto``) this is not needed.
    """

    def __init__(self, app: ASGIApp, *, tls: bool = False) -> None:
        self._app, self._tls = app, tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        secure = self._tls or scope.get("scheme") in ("https", "wss")

        async def sending(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message = {**message, "headers": safe(message.get("headers", ()), secure=secure)}
            await send(message)

        await self._app(scope, receive, sending)


def safe(headers: list[tuple[bytes, bytes]], *, secure: bool) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with ours."""
    always = (*_ALWAYS, (b"strict-transport-security", HSTS)) if secure else _ALWAYS
    ours = {name for name, _ in always} | set(_NEVER)
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    there = {name.lower() for name, _ in kept}
    return [*kept, *(pair for pair in _UNLESS_SET if pair[0] not in there), *always]
