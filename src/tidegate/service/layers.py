"""All the layers around the application, in the one order in which they make sense.

Safe headers, audit log, gate, rates, sizes: whatever refuses is seen by the audit log and gets safe
headers; nobody's body is read before the gate knows whose it is.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp

from tidegate.service import limits
from tidegate.service.audit import Audit, AuditLog
from tidegate.service.auth import Identity, KeyRing
from tidegate.service.calls import Route
from tidegate.service.guard import Guard
from tidegate.service.headers import SafeHeaders
from tidegate.service.limits import RateLimits, SizeLimits
from tidegate.service.tickets import Tickets


# What uvicorn must be told for the layers to hold: no banner of its own, no message beyond ours,
# no log of its own that would show the query of a WebSocket, and an end to idle connections.
UVICORN: Final[Mapping[str, Any]] = {
    "server_header": False,
    "access_log": False,
    "ws_max_size": limits.MESSAGE_MAX,
    "timeout_keep_alive": 15,
    "h11_max_incomplete_event_size": 16_384,
}


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one caller may ask, as the settings have it."""

    reads: str = limits.READS  # requests of one key
    writes: str = limits.WRITES  # requests of one key, and messages of its WebSockets
    failures: str = limits.FAILURES  # failed logins from one address
    sockets_max: int = limits.SOCKETS_MAX  # open WebSockets of one key
    body_max: int = limits.BODY_MAX  # bytes
    body_within_s: float = limits.BODY_WITHIN_S
    message_max: int = limits.MESSAGE_MAX  # bytes of one WebSocket message


def layered(
    app: ASGIApp,
    *,
    ring: KeyRing | None,
    tickets: Tickets,
    log: AuditLog,
    open_paths: Collection[str] = (),
    anonymous: Identity | None = None,
    bounds: Limits | None = None,
    larger: dict[str, int] | None = None,
    tls: bool = False,
) -> ASGIApp:
    """Return ``app`` behind everything that stands between it and the network."""
    bounds = bounds or Limits()
    inner: ASGIApp = SizeLimits(
        app,
        body_max=bounds.body_max,
        message_max=bounds.message_max,
        within_s=bounds.body_within_s,
        larger=larger,
    )
    inner = RateLimits(
        inner, reads=bounds.reads, writes=bounds.writes, sockets_max=bounds.sockets_max
    )
    inner = Guard(
        inner,
        ring=ring,
        tickets=tickets,
        open_paths=open_paths,
        anonymous=anonymous,
        failures=bounds.failures,
    )
    return SafeHeaders(Audit(inner, log=log), tls=tls)


def open_paths(routes: Iterable[Route]) -> list[str]:
    """Return the paths of routes that need no key."""
    return [route.path for route in routes if route.role is None]
