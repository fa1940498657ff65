"""What the layers around the application share: who asked, from where, and how a refusal looks."""

import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from starlette.types import Receive, Scope, Send

from tidegate.api.answers import Problem


IDENTITY: Final = "tidegate.identity"  # key of the scope: who is asking, an `auth.Identity`
MUTED: Final = "tidegate.muted"  # key of the scope: a refusal that was told often enough already

TITLES: Final[Mapping[int, str]] = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    408: "Too slow",
    413: "Too large",
    429: "Too many requests",
    503: "Not available",
}

# Why a WebSocket was closed, RFC 6455: section 7.4.1.
POLICY, TOO_BIG, TRY_LATER = 1008, 1009, 1013


class Refusal(NamedTuple):
    """One answer that says no; for a WebSocket, ``close`` is the code it is closed with."""

    status: int
    code: str
    detail: str
    hint: str = ""
    retry_after_s: float | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: int = POLICY

    def problem(self) -> bytes:
        """Return the body of the answer, application/problem+json."""
        title = TITLES.get(self.status, "Refused")
        return msgspec.json.encode(
            Problem(
                type="about:blank",
                title=title,
                status=self.status,
                detail=self.detail,
                code=self.code,
                hint=self.hint,
            )
        )


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a refusal: a problem for HTTP, a rejected handshake for a WebSocket."""
    headers = [(b"content-type", b"application/problem+json"), *refusal.headers]
    if refusal.retry_after_s is not None:
        # Whole seconds, rounded up: who comes back earlier is refused again.
        headers.append((b"retry-after", b"%d" % max(1, -int(-refusal.retry_after_s // 1))))
    body = refusal.problem()
    headers.append((b"content-length", b"%d" % len(body)))
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await receive()  # the connect message, which has to be taken before it is denied
            await send({"type": "websocket.close", "code": refusal.close})
            return
        kind = "websocket.http.response"
    else:
        kind = "http.response"
    start = {"type": f"{kind}.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": f"{kind}.body", "body": body})


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return one header of a request, None when it is not there; ``name`` in lower case."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), None)


def address(scope: Scope) -> str:
    """Return where a request comes from.

    Behind a reverse proxy this is the caller only if the server was told to trust the proxy
    (`FORWARDED_ALLOW_IPS`); a header that anybody can write is never read here.
    """
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""


def neighbourhood(ip: str) -> str:
    """Return whom a limit by address counts together: one IPv4 address, or an IPv6 /64.

    Whoever has one IPv6 address has 2**64 of them.
    """
    try:
        found = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if found.version == 4:
        return ip
    return str(ipaddress.ip_network((int(found), 64), strict=False))
