"""One call of the API: who calls, what was asked, and the row that declares how it is answered."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tidegate.domain.errors import TidegateError


if TYPE_CHECKING:
    from tidegate.service.service import Service


VIEWER, KEEPER, FEED, OPERATOR, GOVERNOR = "viewer", "keeper", "feed", "operator", "governor"
ROLES: Final = (VIEWER, KEEPER, FEED, OPERATOR, GOVERNOR)


class NotFound(TidegateError):
    """There is nothing of that name."""


class Forbidden(TidegateError):
    """The caller is known and may not do this."""


class Unavailable(TidegateError):
    """It cannot be answered now: later, or by another process."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the id of the key, its name, and what it may do. Never the key itself."""

    key: str
    name: str
    roles: frozenset[str]
    account: str | None = None  # a keeper that bids for one account only

    def may(self, role: str) -> bool:
        """Return whether the caller has ``role``; whoever has any role may also view."""
        return role in self.roles or (role == VIEWER and bool(self.roles))


NOBODY: Final = Caller("", "nobody", frozenset())


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way to a handler; ``body`` and ``query`` are of the route's types."""

    service: "Service"
    caller: Caller
    path: dict[str, str]
    query: Any
    body: Any
    idempotency: str = ""
    digest: str = ""  # of the body's bytes
    client: str = ""  # address of the caller


Handler: TypeAlias = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the API: the document, the checks and the endpoint are all made from it.

    ``ask`` is the type of the body, ``query`` a struct of the query's fields, ``answer`` the type
    that is answered; None is no body. A handler may also answer a Starlette response of its own
    making, whose ``media`` the document then names. ``role`` None: anybody may.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    role: str | None = VIEWER
    ask: Any = None
    query: Any = None
    answer: Any = None
    status: int = 200
    media: str = "application/json"
    idempotent: bool = False  # takes the header Idempotency-Key
    tag: str = ""
    cost: int = 1  # in the rate limit
    mutating: bool = False  # kept in the audit log
