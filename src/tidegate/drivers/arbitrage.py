"""Simulated takers: they trade what soft liquidation offers against the market, for a profit.

A taker looks at an offer, asks the simulated book what the other half of the trade would bring, and
takes as much as pays. What it then sells or buys leaves a footprint like any forced trade. Whether
anybody looks at a moment is drawn from the stream "takers", by the moment alone, so that two stacks
meet the same takers.
"""

from collections.abc import Sequence

from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import BandsOffered, Decision, PositionsMoved
from tidegate.domain.events import BandsTaken
from tidegate.domain.instrument import Spot
from tidegate.domain.units import PPM, Lots, Money, Nanos, unpack
from tidegate.domain.venue import Venue
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams


HALVINGS = 6  # how often a taker tries half as much before it lets an offer go


class Arbitrage:
    """Takers of one venue. One trade at a time in each instrument and direction."""

    def __init__(self, venue: Venue, market: SimVenue, streams: Streams) -> None:
        self._venue, self._market, self._model = venue, market, venue.takers
        self._key = streams["takers"].bit_generator.random_raw()
        self._due: list[BandsTaken] = []

    def consider(self, now: Nanos, offer: BandsOffered) -> None:
        """Take as much of an offer as pays, ``latency_ns`` from now, if anybody looks."""
        selling = offer.lots < 0
        busy = any(t.instrument == offer.instrument and (t.lots < 0) == selling for t in self._due)
        if busy or not self._looks(now):
            return
        lots = offer.lots
        for _ in range(HALVINGS):
            limit = self._worth_taking(now, offer, lots)
            if limit is not None:
                ts = Nanos(now + self._model.latency_ns)
                self._due.append(
                    BandsTaken(
                        ts=ts, instrument=offer.instrument, lots=Lots(lots), limit=Money(limit)
                    )
                )
                return
            lots = int(lots / 2)

    def next_due(self) -> Nanos | None:
        """Return when the next taker acts; None while nobody is about to."""
        return min((t.ts for t in self._due), default=None)

    def poll(self, now: Nanos) -> list[BandsTaken]:
        """Return who acts up to ``now``, in order of time."""
        told = sorted((t for t in self._due if t.ts <= now), key=lambda t: t.ts)
        self._due = [t for t in self._due if t.ts > now]
        return told

    def settle(self, event: BandsTaken, effects: Sequence[Decision]) -> None:
        """Close the other half of what was taken in the market, at once."""
        for effect in effects:
            if isinstance(effect, PositionsMoved) and effect.reason == "bands":
                user = unpack(effect.account) >= FIRST_USER
                moved = int(unpack(effect.lots)[user].sum())
                self._market.outside(event.instrument, moved, event.ts, trade=True)

    def _looks(self, now: Nanos) -> bool:
        if self._model.presence >= PPM:
            return True
        moment = now // self._venue.step_ns
        z = (moment * 0x9E3779B97F4A7C15 ^ self._key) & (2**64 - 1)
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        z = (z ^ z >> 27) * 0x94D049BB133111EB & (2**64 - 1)
        return (z ^ z >> 31) % PPM < self._model.presence

    def _worth_taking(self, now: Nanos, offer: BandsOffered, lots: int) -> int | None:
        """Return the payment at which ``lots`` of an offer still pays, None when it does not.

        ``lots`` is negative where the bands sell: then the taker sells outside what it bought.
        """
        if not lots:
            return None
        instrument = self._venue.instruments[offer.instrument]
        assert isinstance(instrument, Spot), "only spot assets lie in bands"
        got, ticks = self._market.outside(offer.instrument, lots, now, trade=False)
        if got != lots:
            return None
        outside = abs(got) * ticks * instrument.tick_value // instrument.units
        inside = abs(offer.paid) * lots // offer.lots
        if lots < 0:
            limit = outside * PPM // (PPM + self._model.margin)
            return limit if inside <= limit else None
        limit = -(-outside * (PPM + self._model.margin) // PPM)
        return limit if inside >= limit else None
