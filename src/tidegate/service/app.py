"""The application: rows become endpoints, failures become problems, nothing leaks."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.routing import Route as Path

from tidegate.api.answers import Problem
from tidegate.domain.errors import (
    AskInvalid,
    ConfigInvalid,
    JournalGone,
    LeaderLost,
    TidegateError,
)
from tidegate.service.asgi import IDENTITY
from tidegate.service.auth import Identity
from tidegate.service.calls import (
    NOBODY,
    Call,
    Forbidden,
    NotFound,
    Route,
    Unavailable,
)
from tidegate.service.openapi import document
from tidegate.service.runner import Busy, Conflict, Stopped
from tidegate.service.service import Service


KEY_MAX: Final = 128  # characters of an Idempotency-Key
RETRY_AFTER: Final = "1"
ACCOUNT_LAST: Final = re.compile(r"(?<=/accounts/|./explain/){(name|account)}$")

_ENCODER: Final = msgspec.json.Encoder()


class Refusal(Exception):
    """A call that ends here with a problem."""

    def __init__(self, status: int, title: str, detail: str = "", **more: str) -> None:
        self.status, self.headers = status, dict[str, str]()
        if "retry" in more:
            self.headers["Retry-After"] = more.pop("retry")
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"
        self.problem = Problem(
            type="about:blank", title=title, status=status, detail=detail, **more
        )
        super().__init__(title)


def problem_response(error: Refusal) -> Response:
    """Return a refusal as application/problem+json."""
    return Response(
        _ENCODER.encode(error.problem),
        status_code=error.status,
        media_type="application/problem+json",
        headers=error.headers,
    )


def build(
    service: Service,
    routes: Sequence[Route],
    *,
    more: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
    lifespan: Callable[[Starlette], Any] | None = None,
) -> Starlette:
    """Return the application of ``routes``, with ``more`` that are not part of the document."""
    said = _ENCODER.encode(document(routes, title=f"Tidegate: {service.engine.stack.venue.name}"))

    async def openapi(request: Request) -> Response:
        del request
        return Response(said, media_type="application/json")

    paths: list[BaseRoute] = [
        # The name of an account may hold slashes: where it ends a path, it is all that is left.
        Path(ACCOUNT_LAST.sub(r"{\1:path}", r.path), _endpoint(service, r), methods=[r.method])
        for r in routes
    ]
    app = Starlette(
        routes=[Path("/openapi.json", openapi, methods=["GET"]), *paths, *more],
        middleware=list(middleware),
        lifespan=lifespan,
        exception_handlers={HTTPException: _plain, Exception: _unforeseen},
    )
    app.state.service = service
    return app


def _endpoint(service: Service, route: Route) -> Callable[[Request], Any]:
    decoder = msgspec.json.Decoder(route.ask) if route.ask is not None else None

    async def endpoint(request: Request) -> Response:
        try:
            caller = _admitted(request, route)
            call = await _call(request, service, route, caller, decoder)
            answered = await route.handler(call)
        except Refusal as refusal:
            return problem_response(refusal)
        except (TidegateError, msgspec.MsgspecError, UnicodeError) as error:
            return problem_response(refusal_of(error))
        if isinstance(answered, Response):
            return answered
        body = _ENCODER.encode(answered)
        return Response(body, status_code=route.status, media_type=route.media)

    return endpoint


def _admitted(request: Request, route: Route) -> Identity:
    """Return who calls, as the gate found; refuse who may not call this."""
    caller: Identity | None = request.scope.get(IDENTITY)
    if route.role is None:
        return caller or NOBODY
    if caller is None:
        raise Refusal(401, "A key is needed", "send Authorization: Bearer KEY")
    if not caller.may(route.role):
        raise Refusal(403, "Not allowed", f"this needs the role {route.role}")
    if caller.bound and not route.bound:
        raise Refusal(
            403,
            "Not allowed",
            f"this key sees the market and {caller.account} alone",
            hint="a key that has the role viewer, too, sees the rest",
        )
    return caller


async def _call(
    request: Request,
    service: Service,
    route: Route,
    caller: Identity,
    decoder: "msgspec.json.Decoder[Any] | None",
) -> Call:
    query, body = None, None
    if route.query is not None:
        query = msgspec.convert(dict(request.query_params), type=route.query, strict=False)
    key = request.headers.get("idempotency-key", "") if route.idempotent else ""
    if len(key) > KEY_MAX or not key.isascii() or not (key.isprintable() or not key):
        raise Refusal(422, "Unusable Idempotency-Key", f"at most {KEY_MAX} printable characters")
    if decoder is not None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(415, "JSON is needed", "send Content-Type: application/json")
        raw = await request.body()
        try:
            body = decoder.decode(raw)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refusal(400, "The body is not JSON", str(error)) from error
    return Call(
        service=service,
        caller=caller,
        path=dict(request.path_params),
        query=query,
        body=body,
        idempotency=key,
        client=request.client.host if request.client else "",
    )


def refusal_of(error: Exception) -> Refusal:
    """Return how a failure is told to a caller."""
    match error:
        case Conflict():
            return _asked(409, "It contradicts what was taken before", error)
        case AskInvalid() | ConfigInvalid():
            return _asked(422, "It cannot be taken", error)
        case msgspec.MsgspecError():
            return Refusal(422, "It is not what the document says", str(error))
        case UnicodeError():
            return Refusal(422, "It is not UTF-8")
        case NotFound():
            return Refusal(404, "Not found", str(error))
        case Forbidden():
            return Refusal(403, "Not allowed", str(error))
        case Busy():
            return Refusal(503, "Busy", str(error), retry=RETRY_AFTER, code="busy")
        case Stopped() | JournalGone() | LeaderLost() | Unavailable():
            return Refusal(503, "Not now", str(error), retry=RETRY_AFTER, code="unavailable")
        case _:
            return Refusal(422, "It cannot be done", str(error))


def _asked(status: int, title: str, error: AskInvalid | ConfigInvalid) -> Refusal:
    return Refusal(
        status,
        title,
        f"{error.what}, found {error.found}",
        where=error.where,
        hint=error.hint or "",
        code=str(getattr(error, "code", "")),
    )


async def _plain(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return problem_response(Refusal(error.status_code, error.detail))


async def _unforeseen(request: Request, error: Exception) -> Response:
    # The server logs what happened; a caller learns nothing from it.
    del request, error
    return problem_response(Refusal(500, "An error of ours", "it was logged"))
