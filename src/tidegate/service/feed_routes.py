"""What operators see and say of feeds and of the clock; and tickets for WebSockets."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tidegate.api.answers import ClockNow, FeedNow, Ticket
from tidegate.service.calls import Call, NotFound, Route
from tidegate.service.clock import GuardedClock
from tidegate.service.feeds import Feed
from tidegate.service.service import Service
from tidegate.service.tickets import TTL_S, Tickets


class Feeds:
    """The feeds that this process fetches itself, by name."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = {feed.name: feed for feed in feeds}

    async def run(self) -> None:
        """Run them all for as long as this process leads; raise what ended the first."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self._feeds.values():
                tasks.create_task(feed.run(), name=feed.name)

    def now(self) -> list[FeedNow]:
        """Return how each of them is."""
        return [feed.now for feed in self._feeds.values()]

    def named(self, name: str) -> Feed:
        """Return one; raise NotFound."""
        if name not in self._feeds:
            msg = f"no feed {name[:64]!r}; there are {', '.join(self._feeds) or 'none'}"
            raise NotFound(msg)
        return self._feeds[name]


def routes(service: Service) -> list[Route]:
    """Return the rows for what this service has: tickets, feeds, a guarded clock."""
    rows: list[Route] = []
    if service.has(Tickets):
        said = "A ticket to open a WebSocket with."
        rows.append(Route("POST", "/v1/tickets", ticket, said, answer=Ticket, bound=True))
    if service.has(Feeds):
        rows += _FEEDS
    if service.has(GuardedClock):
        rows += _CLOCK
    return rows


async def ticket(call: Call) -> Ticket:
    """Issue a ticket for whoever asks."""
    issued = call.service.part(Tickets).issue(call.caller)
    return Ticket(ticket=issued, seconds=TTL_S)


async def feeds(call: Call) -> list[FeedNow]:
    """Tell how the feeds are."""
    return call.service.part(Feeds).now()


async def accept(call: Call) -> FeedNow:
    """Accept a gap in the name of the key."""
    feed = call.service.part(Feeds).named(call.path["name"])
    await feed.accept(call.caller.name)
    return feed.now


async def resume(call: Call) -> FeedNow:
    """Let a feed try again."""
    feed = call.service.part(Feeds).named(call.path["name"])
    feed.resume()
    return feed.now


async def clock(call: Call) -> ClockNow:
    """Tell how the clock is."""
    guarded = call.service.part(GuardedClock)
    return ClockNow(now=int(guarded.now()), jump_ns=guarded.jump)


async def confirm(call: Call) -> ClockNow:
    """Confirm a jump of the clock."""
    guarded = call.service.part(GuardedClock)
    guarded.confirm()
    return ClockNow(now=int(guarded.now()), jump_ns=guarded.jump)


_FEEDS: Final = (
    Route("GET", "/v1/feeds", feeds, "How the feeds are.", answer=list[FeedNow]),
    Route(
        "POST",
        "/v1/feeds/{name}/accept",
        accept,
        "Go on behind the gap that stopped a feed; it is journalled who said so.",
        role="operator",
        answer=FeedNow,
    ),
    Route(
        "POST",
        "/v1/feeds/{name}/resume",
        resume,
        "Try again where a feed stopped: what was wrong has been mended.",
        role="operator",
        answer=FeedNow,
    ),
)
_CLOCK: Final = (
    Route("GET", "/v1/clock", clock, "Whether the wall clock is believed.", answer=ClockNow),
    Route(
        "POST",
        "/v1/clock/confirm",
        confirm,
        "Believe the wall clock again after it jumped.",
        role="operator",
        answer=ClockNow,
    ),
)
