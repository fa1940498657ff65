"""The desk of a keeper over HTTP: what is for sale and how, its own bids, and its receipts."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tidegate.api.answers import BidNow, KeeperNow, Settlement
from tidegate.api.asks import Name
from tidegate.domain.book import EXTERNAL
from tidegate.service.bidding import Bidding
from tidegate.service.calls import Call, Forbidden, NotFound, Route
from tidegate.service.reading import Reading
from tidegate.service.views_desk import auctions_now, grid_of, sale_now


LATEST: Final = 2**62


class Whose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom: left out, the account of the key, and the world outside where it has none."""

    bidder: Name | None = None


class Mine(Whose, frozen=True, kw_only=True):
    """What came before a record, newest first."""

    before: Annotated[int, Meta(ge=0, le=LATEST)] = LATEST
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


def routes() -> list[Route]:
    """Return the rows of the keeper desk; `intake_routes` takes its bids."""
    return [
        Route(
            "GET",
            "/v1/keeper",
            get_keeper,
            "What a keeper needs to begin with: auctions, how they go, and its number in seals.",
            query=Whose,
            answer=KeeperNow,
            bound=True,
        ),
        Route(
            "GET",
            "/v1/bids",
            get_bids,
            "What became of a keeper's bids, newest first.",
            query=Mine,
            answer=list[BidNow],
            bound=True,
        ),
        Route(
            "GET",
            "/v1/settlements",
            get_settlements,
            "A keeper's receipts, newest first.",
            query=Mine,
            answer=list[Settlement],
            bound=True,
        ),
    ]


async def get_keeper(call: Call) -> KeeperNow:
    """Answer the desk as it stands."""
    name, clock = _whose(call), call.service.engine.clock

    return await call.service.engine.ask(lambda now: keeper_now(now, name, clock.now()))


def keeper_now(now: Reading, name: str | None, clock: int) -> KeeperNow:
    """Return the desk of a keeper; raise NotFound for an account that there is not."""
    return KeeperNow(
        seq=now.head,
        ts=now.state.now,
        clock=clock,
        account=name,
        row=_row(now, name),
        sale=sale_now(now.stack),
        instruments=grid_of(now),
        auctions=auctions_now(now),
    )


async def get_bids(call: Call) -> list[BidNow]:
    """Answer what became of a keeper's bids."""
    name, query, told = _whose(call), call.query, call.service.part(Bidding)
    return await call.service.engine.ask(
        lambda now: told.bids(_row(now, name), query.before, query.limit)
    )


async def get_settlements(call: Call) -> list[Settlement]:
    """Answer a keeper's receipts."""
    name, query, told = _whose(call), call.query, call.service.part(Bidding)
    return await call.service.engine.ask(
        lambda now: told.settlements(_row(now, name), query.before, query.limit)
    )


def _whose(call: Call) -> str | None:
    """Return the account that is asked about; a key bound to one asks about no other."""
    mine, asked = call.caller.account, call.query.bidder
    if call.caller.bound and asked not in (None, mine):
        msg = f"this key bids for {mine} only"
        raise Forbidden(msg)
    return asked if asked is not None else mine


def _row(now: Reading, name: str | None) -> int:
    if name is None:
        return EXTERNAL
    row = now.names.row(name)
    if row < 0:
        msg = f"no account is named {name[:128]!r}"
        raise NotFound(msg)
    return row
