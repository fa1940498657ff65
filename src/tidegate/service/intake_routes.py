"""What is told to the service: events of feeds and bids of keepers, over HTTP."""

import hashlib
from collections.abc import Sequence

import msgspec

from tidegate.api.answers import Taken
from tidegate.api.asks import AnyAsk, Bid, Bids, Events, SealedBid, Take
from tidegate.service.calls import Call, Forbidden, Route


def routes() -> list[Route]:
    """Return the rows of ingestion."""
    return [
        Route(
            "POST",
            "/v1/events",
            take_events,
            "Tell what happened; answered when it is durable.",
            role="feed",
            ask=Events,
            answer=Taken,
            idempotent=True,
        ),
        Route(
            "POST",
            "/v1/bids",
            take_bids,
            "Bid in open auctions; answered when the bids are durable.",
            role="keeper",
            ask=Bids,
            answer=Taken,
            idempotent=True,
            bound=True,
        ),
    ]


async def take_events(call: Call) -> Taken:
    """Take events of a feed; see `runner.Engine.take`."""
    service = call.service
    prepared = service.door.prepare_all(call.body.events)
    return await service.engine.take(
        prepared,
        source=f"http:{call.caller.name}",
        key=call.idempotency,
        digest=digest_of(call.body.events),
    )


async def take_bids(call: Call) -> Taken:
    """Take bids; a key that is bound to an account bids for no other one."""
    bound = call.caller.account
    for n, bid in enumerate(call.body.bids):
        if bound and isinstance(bid, Take | Bid | SealedBid) and bid.bidder != bound:
            msg = f"bids[{n}].bidder: this key bids for {bound} only"
            raise Forbidden(msg)
    service = call.service
    prepared = service.door.prepare_all(call.body.bids, "bids")
    return await service.engine.take(
        prepared,
        source=f"http:{call.caller.name}",
        key=call.idempotency,
        digest=digest_of(call.body.bids),
    )


def digest_of(many: Sequence[AnyAsk]) -> str:
    """Return by what the same asks are known again, however they were spelt and sent."""
    return hashlib.blake2b(msgspec.json.encode(many), digest_size=16).hexdigest()
