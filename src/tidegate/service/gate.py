"""The application's gate behind `layers`: who was let in is known, what it costs is counted."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from tidegate.service.auth import Identity, KeyRing
from tidegate.service.calls import Caller, Route
from tidegate.service.limits import Rate


WORK: Final = "600/10 second"  # what dear calls of one key may cost


class KeyGate:
    """Roles by key, for routes; see `app.Gate`.

    `layers` has counted the call, keeps the audit log, and has turned away who fails too often.
    Here the same header is read once more, because a route must never depend on what stands in
    front of it; and calls that cost more than others are counted by their cost.
    """

    def __init__(
        self,
        ring: KeyRing | None,
        *,
        anonymous: Identity | None = None,
        work: str = WORK,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ring, self._anonymous = ring, anonymous
        self._work = Rate(work, steady=steady)

    def known(self, authorization: str, client: str) -> Caller | None:
        """Return who presents this header; None when nobody known does."""
        del client
        if not authorization:
            return caller_of(self._anonymous) if self._anonymous is not None else None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or self._ring is None:
            return None
        identity = self._ring.identify(token.strip())
        return caller_of(identity) if identity is not None else None

    def throttled(self, caller: Caller, client: str, cost: int) -> float:
        """Return the seconds to wait, for a call that costs more than the request itself."""
        return self._work.wait(caller.key or client, cost - 1) if cost > 1 else 0.0

    def note(self, call: str, caller: Caller, client: str, status: int, detail: str) -> None:
        """Keep nothing: the layer `audit` sees every call, this one too."""
        del call, caller, client, status, detail


def caller_of(identity: Identity) -> Caller:
    """Return an identity as routes know it."""
    return Caller(identity.id, identity.name, frozenset(identity.roles), identity.account)


def open_paths(routes: Iterable[Route]) -> list[str]:
    """Return the paths that need no key."""
    return [route.path for route in routes if route.role is None]
