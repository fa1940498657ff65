"""Everything that may be read, over HTTP: the rows, and what answers each of them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta
from starlette.responses import Response, StreamingResponse
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from tidegate.api.answers import (
    AccountColumns,
    AccountNow,
    AuctionNow,
    Explained,
    Flow,
    FundHistory,
    InstrumentNow,
    LiquidationMap,
    Logged,
    OrderNow,
    Profile,
    ProfileHistory,
    Receipt,
    RungMoved,
    VenueNow,
)
from tidegate.engine.explain import END
from tidegate.ports import Record
from tidegate.service import keeper_routes
from tidegate.service.bidding import Bidding
from tidegate.service.calls import Call, Forbidden, NotFound, Route, Unavailable
from tidegate.service.explaining import explained
from tidegate.service.export import (
    MEDIA,
    account_rows,
    accounts_of,
    position_rows,
    positions_of,
    record_rows,
    written,
)
from tidegate.service.one_thread import in_one_thread
from tidegate.service.projections import Kept, Projections
from tidegate.service.reading import Reading
from tidegate.service.service import Service
from tidegate.service.streams import Hub, Past, Settings
from tidegate.service.streams_socket import stream
from tidegate.service.views import (
    instrument_now,
    instruments_now,
    liquidation_map,
    profile_now,
    venue_now,
)
from tidegate.service.views_accounts import account_columns, account_now
from tidegate.service.views_desk import auctions_now, orders_now
from tidegate.service.views_health import edge_now
from tidegate.service.views_words import account_row


T = TypeVar("T")

FRESH_S: Final = 0.25  # what needs a sweep of all accounts is found at most so often
LONG_MAX: Final = 2  # exports and explanations at a time
LATEST: Final = 2**62

_ENCODER: Final = msgspec.json.Encoder()

Time = Annotated[int, Meta(ge=0, le=LATEST)]
Seq = Annotated[int, Meta(ge=-1, le=LATEST)]


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every query: unknown fields are refused."""


class Accounts(Query, frozen=True, kw_only=True):
    """A page of accounts."""

    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1_000


class Since(Query, frozen=True, kw_only=True):
    """What came after a time."""

    since: Time = 0


class History(Query, frozen=True, kw_only=True):
    """What came after a time, in at most so many rows."""

    since: Time = 0
    rows: Annotated[int, Meta(ge=1, le=10_000)] = 600


class Page(Query, frozen=True, kw_only=True):
    """What came before a record, newest first."""

    before: Time = LATEST
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class Orders(Query, frozen=True, kw_only=True):
    """How many orders to list."""

    limit: Annotated[int, Meta(ge=1, le=100_000)] = 10_000


class At(Query, frozen=True, kw_only=True):
    """Up to which record to look; left out, the last."""

    seq: Time = LATEST


class Export(Query, frozen=True, kw_only=True):
    """What to take away, and in which form."""

    what: Literal["accounts", "positions", "records"]
    format: Literal["csv", "parquet", "json"] = "csv"
    after: Seq = -1  # records only
    limit: Annotated[int, Meta(ge=1, le=10_000_000)] = 1_000_000  # records only


@dataclass(slots=True)
class Reads:
    """What handlers share: answers that are fresh enough for everybody, and room for long work."""

    fresh: dict[object, tuple[float, "asyncio.Task[Any]"]] = field(
        default_factory=dict[object, tuple[float, "asyncio.Task[Any]"]]
    )
    long: int = 0

    async def once(self, key: object, make: Callable[[], Awaitable[T]]) -> T:
        """Return what ``make`` finds, or what it found for somebody else a moment ago."""
        now = time.monotonic()
        at, task = self.fresh.get(key, (0.0, None))
        if task is None or now - at > FRESH_S or (task.done() and not _good(task)):
            task = asyncio.ensure_future(make())
            self.fresh[key] = (now, task)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def patient(self) -> AsyncGenerator[None]:
        """Hold one of the places for long work; raise Unavailable when all are taken."""
        if self.long >= LONG_MAX:
            msg = f"{LONG_MAX} exports or explanations are under way; try again later"
            raise Unavailable(msg)
        self.long += 1
        try:
            yield
        finally:
            self.long -= 1


def _good(task: "asyncio.Task[Any]") -> bool:
    return not task.cancelled() and task.exception() is None


def equip(
    service: Service,
    past: Past | None = None,
    *,
    kept: Kept | None = None,
    settings: Settings | None = None,
) -> Hub:
    """Give a service the memory and the hub that reads need; before its engine starts.

    ``past`` yields the records after one, opening the journal for reading in the calling thread.
    The hub is to be closed before its event loop ends.
    """
    projections = service.add(Projections(service.engine.stack, kept or Kept()))
    hub = service.add(Hub(past, settings))
    service.add(Reads())
    bidding = service.add(Bidding(service.engine.stack))
    service.engine.listen(projections.listen)
    service.engine.listen(bidding.listen)
    service.engine.listen(hub.listen)
    return hub


def socket_routes(service: Service) -> list[WebSocketRoute]:
    """Return the WebSocket of the stream; who may connect is the gate's affair."""

    async def connected(websocket: WebSocket) -> None:
        await stream(websocket, service.part(Hub))

    return [WebSocketRoute("/v1/stream", connected)]


def routes() -> list[Route]:
    """Return the rows of everything that may be read."""
    one = "/v1/instruments/{symbol}"
    return [
        _get("/v1/venue", get_venue, "The whole venue.", VenueNow, bound=True),
        _get(
            "/v1/instruments",
            get_instruments,
            "Every instrument.",
            list[InstrumentNow],
            bound=True,
        ),
        _get(one, get_instrument, "One instrument.", InstrumentNow, bound=True),
        _get(f"{one}/profile", get_profile, "Its cascade profile now.", Profile),
        _get(
            f"{one}/profile/history",
            get_profiles,
            "Its cascade profile over time, the worst of each stretch.",
            ProfileHistory,
            History,
        ),
        _get(f"{one}/liquidations", get_map, "Where liquidations wait.", LiquidationMap),
        _get(f"{one}/flow", get_flow, "Forced flow against the throttle.", Flow, Since),
        _get(
            "/v1/accounts",
            get_accounts,
            "Accounts that hold positions, nearest to liquidation first.",
            AccountColumns,
            Accounts,
        ),
        _get("/v1/accounts/{name}", get_account, "One account.", AccountNow, bound=True),
        _get("/v1/orders", get_orders, "Orders in flight.", list[OrderNow], Orders),
        _get("/v1/auctions", get_auctions, "Open auctions.", list[AuctionNow], bound=True),
        _get(
            "/v1/rungs",
            get_rungs,
            "Moves of the ladder, newest first.",
            list[RungMoved],
            Page,
            bound=True,
        ),
        _get("/v1/fund", get_fund, "The insurance fund over time.", FundHistory, Since),
        _get(
            "/v1/deleveragings",
            get_receipts,
            "Receipts of deleveragings, newest first.",
            list[Receipt],
            Page,
        ),
        _get("/v1/events", get_events, "The log, newest first.", list[Logged], Page),
        _get(
            "/v1/explain/{account}",
            get_explained,
            "Why an account was touched, from the journal.",
            Explained,
            At,
        ),
        Route(
            "GET",
            "/v1/export",
            get_export,
            "Accounts, positions or records as a file, streamed.",
            query=Export,
            media=MEDIA["csv"],
        ),
        *keeper_routes.routes(),
    ]


def _get(
    path: str,
    handler: Callable[[Call], Awaitable[Any]],
    summary: str,
    answer: Any,  # noqa: ANN401 - any type of answer
    query: type[Query] | None = None,
    *,
    bound: bool = False,
) -> Route:
    return Route("GET", path, handler, summary, query=query, answer=answer, bound=bound)


async def get_venue(call: Call) -> VenueNow:
    """Answer the whole venue."""
    told = call.service.part(Projections)

    def read(now: Reading) -> VenueNow:
        return venue_now(now, told.health, told.rung, told.rung_since)

    return await call.service.engine.ask(read)


async def get_instruments(call: Call) -> list[InstrumentNow]:
    """Answer every instrument."""
    return await call.service.engine.ask(instruments_now)


async def get_instrument(call: Call) -> InstrumentNow:
    """Answer one instrument."""
    i, told = _instrument(call), call.service.part(Projections)

    def read(now: Reading) -> InstrumentNow:
        return instrument_now(now, i, told.health.deficit if told.health else 0)

    return await call.service.engine.ask(read)


async def get_profile(call: Call) -> Profile:
    """Answer the cascade profile of one instrument."""
    i = _instrument(call)
    read = partial(call.service.engine.ask, lambda now: profile_now(now, i))
    return await call.service.part(Reads).once(("profile", i), read)


async def get_map(call: Call) -> LiquidationMap:
    """Answer where liquidations wait."""
    i = _instrument(call)
    read = partial(call.service.engine.ask, lambda now: liquidation_map(now, i))
    return await call.service.part(Reads).once(("map", i), read)


async def get_profiles(call: Call) -> ProfileHistory:
    """Answer the cascade profile over time."""
    i, query, told = _instrument(call), call.query, call.service.part(Projections)
    return await call.service.engine.ask(lambda _: told.profile(i, query.since, query.rows))


async def get_flow(call: Call) -> Flow:
    """Answer the forced flow of one instrument."""
    i, query, told = _instrument(call), call.query, call.service.part(Projections)
    return await call.service.engine.ask(lambda _: told.flow(i, query.since))


async def get_accounts(call: Call) -> Response:
    """Answer a page of accounts. All pages of a moment are of the same order."""
    engine, query = call.service.engine, call.query
    edge, names = await call.service.part(Reads).once(
        "edge",
        lambda: engine.ask(lambda now: (edge_now(now.state, now.stack), now.names)),
    )

    def said() -> bytes:
        return _ENCODER.encode(account_columns(edge, query.offset, query.limit, names.name))

    return Response(await asyncio.to_thread(said), media_type="application/json")


async def get_account(call: Call) -> AccountNow:
    """Answer one account, the venue's own included."""
    name = call.path["name"]
    if call.caller.bound and name != call.caller.account:
        msg = f"this key sees {call.caller.account} alone"
        raise Forbidden(msg)

    def read(now: Reading) -> AccountNow:
        return account_now(now, _account(now, name))

    return await call.service.engine.ask(read)


async def get_orders(call: Call) -> list[OrderNow]:
    """Answer the orders in flight."""
    return await call.service.engine.ask(partial(orders_now, limit=call.query.limit))


async def get_auctions(call: Call) -> list[AuctionNow]:
    """Answer the open auctions."""
    return await call.service.engine.ask(auctions_now)


async def get_rungs(call: Call) -> list[RungMoved]:
    """Answer the moves of the ladder."""
    query, told = call.query, call.service.part(Projections)

    def read(_now: Reading) -> list[RungMoved]:
        return [one for one in reversed(told.rungs) if one.seq < query.before][: query.limit]

    return await call.service.engine.ask(read)


async def get_fund(call: Call) -> FundHistory:
    """Answer the fund over time."""
    query, told = call.query, call.service.part(Projections)
    return await call.service.engine.ask(lambda now: told.fund(now, query.since))


async def get_receipts(call: Call) -> list[Receipt]:
    """Answer receipts of deleveragings."""
    query, told = call.query, call.service.part(Projections)
    return await call.service.engine.ask(lambda _: told.receipts_before(query.before, query.limit))


async def get_events(call: Call) -> list[Logged]:
    """Answer the log."""
    query, told = call.query, call.service.part(Projections)
    return await call.service.engine.ask(lambda now: told.log(now, query.before, query.limit))


async def get_explained(call: Call) -> Explained:
    """Answer why an account was touched."""
    name, past = call.path["account"], _past(call)
    seq = END if call.query.seq == LATEST else call.query.seq

    def read(now: Reading) -> tuple[int, int, list[str]]:
        return _account(now, name), now.head, now.names.all

    async with call.service.part(Reads).patient():
        row, head, names = await call.service.engine.ask(read)
        stack = call.service.engine.stack
        lines = await asyncio.to_thread(explained, past, row, seq, head, stack, names)
    return Explained(account=name, seq=min(seq, head), lines=lines)


async def get_export(call: Call) -> Response:
    """Answer a file, streamed while it is made; its place is held before the book is copied."""
    query = call.query
    async with AsyncExitStack() as held:
        await held.enter_async_context(call.service.part(Reads).patient())
        make = partial(written, query.what, query.format, await _rows_of(call))
        place = held.pop_all()
    name = f"{query.what}.{'ndjson' if query.format == 'json' else query.format}"
    return _Holding(
        place,
        in_one_thread(make, "export"),
        media_type=MEDIA[query.format],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _rows_of(call: Call) -> Callable[[], Iterator[list[tuple[Any, ...]]]]:
    """Return what makes the rows of an export, of a copy of the book or from the journal."""
    query, engine = call.query, call.service.engine
    if query.what == "records":
        past = _past(call)
        return lambda: record_rows(past(query.after), query.limit)
    if query.what == "accounts":
        copy, names = await engine.ask(lambda now: (accounts_of(now), now.names))
        return partial(account_rows, copy, names, engine.stack)
    held, names = await engine.ask(lambda now: (positions_of(now), now.names))
    return partial(position_rows, held, names, engine.stack)


class _Holding(StreamingResponse):
    """An answer that lets go of something once it was sent, or nobody wants it any more."""

    def __init__(self, held: AsyncExitStack, *args: Any, **more: Any) -> None:  # noqa: ANN401 - of the library
        super().__init__(*args, **more)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


def _instrument(call: Call) -> int:
    """Return the column of the instrument that the path names."""
    symbol = call.path["symbol"]
    try:
        return call.service.engine.stack.venue.index(symbol)
    except KeyError:
        msg = f"no instrument is named {symbol[:128]!r}"
        raise NotFound(msg) from None


def _account(now: Reading, name: str) -> int:
    row = account_row(now.names, name, now.stack)
    if row < 0:
        msg = f"no account is named {name[:128]!r}"
        raise NotFound(msg)
    return row


def _past(call: Call) -> Callable[[int], Iterator[Record]]:
    past = call.service.part(Hub).past
    if past is None:
        msg = "this service keeps no journal that could be read back"
        raise Unavailable(msg)
    return past
