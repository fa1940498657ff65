"""The replay room over HTTP: what may be replayed, replays, and their rows page by page."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.api.asks import Name
from tidegate.api.replaying import Frames, ReplayAsk, ReplayBegun, ReplayNow, Shelf
from tidegate.service.calls import Call, Forbidden, Route
from tidegate.service.replays import Replays


ROWS_MAX = 5_000


class Rows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows: of which stack, and how many are held already."""

    stack: Name
    after: Annotated[int, Meta(ge=0, le=2**31)] = 0
    limit: Annotated[int, Meta(ge=1, le=ROWS_MAX)] = 1_000


def routes() -> list[Route]:
    """Return the rows of the replay room."""
    return [
        Route(
            "GET", "/v1/recordings", shelf, "Recordings and stacks to replay.",
            answer=Shelf, tag="replays",
        ),
        Route(
            "GET", "/v1/replays", every, "Replays, newest first.",
            answer=list[ReplayNow], tag="replays",
        ),
        Route(
            "POST", "/v1/replays", begin, "Replay a recording; needs the role operator.",
            ask=ReplayAsk, answer=ReplayBegun, status=202, tag="replays",
        ),
        Route(
            "GET", "/v1/replays/{id}", one, "How far a replay is, and its verdict.",
            answer=ReplayNow, tag="replays",
        ),
        Route(
            "DELETE", "/v1/replays/{id}", remove, "End a replay, or throw it away.",
            role="operator", answer=ReplayNow, tag="replays",
        ),
        Route(
            "GET", "/v1/replays/{id}/frames", frames, "Rows of one stack, oldest first.",
            query=Rows, answer=Frames, tag="replays",
        ),
    ]  # fmt: skip


async def shelf(call: Call) -> Shelf:
    """Answer what may be replayed."""
    return await asyncio.to_thread(call.service.part(Replays).shelf)


async def every(call: Call) -> list[ReplayNow]:
    """Answer every replay."""
    return await asyncio.to_thread(call.service.part(Replays).all)


async def begin(call: Call) -> ReplayBegun:
    """Begin a replay; operators may, and in a demonstration anybody."""
    room = call.service.part(Replays)
    if not (room.anybody or call.caller.may("operator")):
        msg = "this needs the role operator"
        raise Forbidden(msg)
    now = await asyncio.to_thread(room.ask, call.body)
    return ReplayBegun(id=now.id)


async def one(call: Call) -> ReplayNow:
    """Answer one replay."""
    return await asyncio.to_thread(call.service.part(Replays).get, call.path["id"])


async def remove(call: Call) -> ReplayNow:
    """End a replay."""
    return await asyncio.to_thread(call.service.part(Replays).remove, call.path["id"])


async def frames(call: Call) -> Frames:
    """Answer rows of a replay."""
    asked: Rows = call.query
    room = call.service.part(Replays)
    return await asyncio.to_thread(
        room.frames, call.path["id"], asked.stack, asked.after, asked.limit
    )
