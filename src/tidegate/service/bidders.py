"""Keepers over the API: they see open auctions as any outsider does, bid, and hear what they got.

They take auctions that have an asking price. In a batch they do not bid: what it brought is told to
the stream alone, and a demonstration need not follow it.
"""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from tidegate.api.answers import AuctionNow, Outcome, Taken
from tidegate.api.asks import Take
from tidegate.client import Client
from tidegate.domain.effects import AuctionsReduced, Decision
from tidegate.domain.units import Nanos, Ticks, pack
from tidegate.drivers.keepers import Keepers
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.engine.auctions import Offer
from tidegate.safeguards.stack import Stack
from tidegate.service.undoor import Undoor


class Bidders:
    """The simulated keepers of a venue, each a client of its service."""

    def __init__(
        self,
        client: Client,
        stack: Stack,
        market: SimVenue,
        streams: Streams,
        undoor: Undoor,
    ) -> None:
        self._client, self._undoor = client, undoor
        self._of = stack.venue.instruments
        self._column = {i.symbol: n for n, i in enumerate(stack.venue.instruments)}
        self._bids = stack.auctions is not None and stack.batches is None
        self._keepers = Keepers.drawn(stack, stack.venue, market, streams)
        self._offers: dict[int, Offer] = {}

    def next_due(self) -> Nanos | None:
        """Return when the next bid arrives; None while nobody bids."""
        return self._keepers.next_due()

    def look(self, now: int) -> dict[int, int]:
        """Let everybody look at what is offered; return the instrument of each open auction."""
        if not self._bids:
            return {}
        seen = [self._offer(one, now) for one in self._client.auctions()]
        self._keepers.look(Nanos(now), seen)
        # What has closed is kept: a bid for it may be on its way.
        self._offers |= {offer.auction: offer for offer in seen}
        return {offer.auction: offer.instrument for offer in seen}

    def bid(self, key: str) -> Taken:
        """Send the bid that is due, and let its bidder hear what became of it."""
        keeper, bid = self._keepers.pop()
        said = self._undoor.ask(bid)
        assert isinstance(said, Take), "batches are not bid in"
        taken = self._client.bid(said, key=key)
        offer = self._offers[said.auction]
        got = self._got(said.auction, offer, taken.outcomes)
        self._keepers.hear(keeper, bid, got, offer)
        return taken

    def _offer(self, one: AuctionNow, now: int) -> Offer:
        i = self._column[one.instrument]
        lots = -round(Decimal(one.quantity) / Decimal(self._of[i].lot_size))
        price = round(Decimal(one.asking or one.mark) / Decimal(self._of[i].tick_size))
        return Offer(
            auction=one.auction,
            account=0,
            instrument=i,
            lots=lots,
            whole=lots,
            base=0,
            limit=0,
            elapsed=now - one.opened_at,
            price=Ticks(price),
            stale="",  # an outsider learns it from the answer
        )

    def _got(self, auction: int, offer: Offer, outcomes: Sequence[Outcome]) -> list[Decision]:
        """Return what a bidder heard, in the words of the engine."""
        of = self._of[offer.instrument]
        return [
            AuctionsReduced(
                auction=pack(np.array([auction])),
                lots=pack(np.array([-round(Decimal(one.got) / Decimal(of.lot_size))])),
                penalty=pack(np.zeros(1, np.int64)),
                closed=pack(np.zeros(1, np.int64)),
                reason="taken",
                price=Ticks(round(Decimal(one.price) / Decimal(of.tick_size))),
            )
            for one in outcomes
            if one.got is not None and one.price is not None
        ]
