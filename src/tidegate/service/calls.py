"""One call of the API: who calls, what was asked, and the row that declares how it is answered."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tidegate.domain.errors import TidegateError
from tidegate.service.auth import Identity, Role


if TYPE_CHECKING:
    from tidegate.service.service import Service


class NotFound(TidegateError):
    """There is nothing of that name."""


class Forbidden(TidegateError):
    """The caller is known and may not do this."""


class Unavailable(TidegateError):
    """It cannot be answered now: later, or by another process."""


NOBODY: Final = Identity("", "nobody", ())


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way to a handler; ``body`` and ``query`` are of the route's types."""

    service: "Service"
    caller: Identity
    path: dict[str, str]
    query: Any
    body: Any
    idempotency: str = ""
    client: str = ""  # address of the caller


Handler: TypeAlias = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the API: the document, the checks and the endpoint are all made from it.

    ``ask`` is the type of the body, ``query`` a struct of the query's fields, ``answer`` the type
    that is answered; None is no body. A handler may also answer a Starlette response of its own
    making, whose ``media`` the document then names. ``role`` None: anybody may. ``bound``: a keeper
    who is bound to one account may, too, which is to see the market and itself and nobody else.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    role: Role | None = "viewer"
    ask: Any = None
    query: Any = None
    answer: Any = None
    status: int = 200
    media: str = "application/json"
    idempotent: bool = False  # takes the header Idempotency-Key
    tag: str = ""
    bound: bool = False
