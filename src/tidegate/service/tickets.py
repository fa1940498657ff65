"""Tickets for WebSockets: a browser cannot set headers there, and a token must not be in a URL.

A ticket is good once, for half a minute, and for the key that asked for it. It may appear in the
access log of a proxy: by then it is spent.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Final

from tidegate.service.auth import Identity, KeyRing


TTL_S: Final = 30.0
OPEN_MAX: Final = 64  # tickets of one key that are neither used nor expired


class Tickets:
    """The tickets that are open; they die with the process, as the WebSockets they are for do."""

    def __init__(
        self,
        ring: KeyRing | None,
        *,
        anonymous: Identity | None = None,
        ttl_s: float = TTL_S,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ring, self._ttl, self._steady = ring, ttl_s, steady
        self._anonymous = anonymous  # has no key that could stop being good
        self._open: dict[bytes, tuple[Identity, float]] = {}  # oldest first

    def __repr__(self) -> str:
        return f"Tickets({len(self._open)} open)"

    def issue(self, identity: Identity) -> str:
        """Return a new ticket. Of a key with too many open ones the oldest is forgotten."""
        self._forget()
        mine = [t for t, (whose, _) in self._open.items() if whose.id == identity.id]
        for ticket in mine[: max(0, len(mine) - OPEN_MAX + 1)]:
            del self._open[ticket]
        ticket = secrets.token_urlsafe(32)
        self._open[_sealed(ticket)] = (identity, self._steady() + self._ttl)
        return ticket

    def redeem(self, ticket: str) -> Identity | None:
        """Return whose ticket this is, once; None for one that is wrong, used or too old.

        The key is looked at again: one that was revoked since takes its tickets with it.
        """
        self._forget()
        identity, _ = self._open.pop(_sealed(ticket), (None, 0.0))
        if identity is None or self._ring is None or identity is self._anonymous:
            return identity
        return self._ring.live(identity.id)

    def _forget(self) -> None:
        now = self._steady()
        for ticket, (_, until) in list(self._open.items()):
            if until > now:
                break
            del self._open[ticket]


def _sealed(ticket: str) -> bytes:
    # Looked up by its hash: how long a comparison takes says nothing about what is in the table.
    return hashlib.sha256(ticket.encode("utf-8", "replace")).digest()
