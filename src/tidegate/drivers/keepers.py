"""Simulated keepers: outsiders with capital who take auctions and resell into the visible book.

What this model leaves out: keepers do not bargain, borrow, collude or learn, each knows the book as
it was one latency ago, and all of them are drawn once, from the stream "keepers". Whether somebody
turns up at all is the first thing an auction depends on: a part of them is absent for good.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec
import numpy as np

from tidegate.domain.commitments import bid_payload, commitment
from tidegate.domain.effects import AuctionsReduced, BidKept, BidsCleared, Decision
from tidegate.domain.events import AuctionTaken, BidCommitted, BidPlaced, BidRevealed
from tidegate.domain.units import PPM, Lots, Nanos, Ticks, unpack
from tidegate.domain.venue import Venue
from tidegate.drivers.depth import ASK, BID, SIGN, Visible
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.engine.auctions import Offer
from tidegate.engine.market import worth_of_lot
from tidegate.safeguards.stack import Stack


COUNT: Final = 16  # keepers drawn for a venue
ABSENT: Final = 250_000  # ppm of them that never turn up
CAPITAL: Final = 25_000_000_000_000  # Money of each, at full scale
MARGIN: Final = (1_000, 10_000)  # ppm below (above) what they get for it, drawn evenly
LATENCY_NS: Final = (200_000_000, 3_000_000_000)  # from seeing an auction to taking it
HOLDERS: Final = 500_000  # ppm that keep what they bought and resell slowly
REACH: Final = 10_000  # ppm of the touch within which who resells at once reckons with depth
SALT: Final = 16  # bytes
RESOLD: Final = 20  # a holder resells one part in this many of the visible book at each look


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperCrowd:
    """How many keepers there are and what they are like; the default is what replays draw.

    ``gas`` is Money for each bid that is sent, won or lost: nobody bids for less. ``congestion`` is
    how much more it costs, in ppm, for each bid that is on its way already. ``inventory`` is the
    share of its capital, in ppm, that a keeper lets itself hold in unsold lots.
    """

    count: int = COUNT
    absent: int = ABSENT
    capital: int = CAPITAL
    margin: tuple[int, int] = MARGIN
    latency_ns: tuple[int, int] = LATENCY_NS
    holders: int = HOLDERS
    gas: int = 0
    congestion: int = 0
    inventory: int = PPM


USUAL: Final = KeeperCrowd()


Bid: TypeAlias = AuctionTaken | BidPlaced | BidCommitted | BidRevealed


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A bid that the engine keeps until its batch clears."""

    keeper: int
    auction: int
    instrument: int
    selling: bool


@dataclass(slots=True)
class Keeper:
    """One bidder: what it may spend, what it asks, what it still holds (signed lots)."""

    capital: int  # Money not tied up
    margin: int  # ppm
    latency_ns: int
    holds: bool
    inventory: dict[int, int] = field(default_factory=dict[int, int])  # by instrument: lots
    spent: dict[int, int] = field(default_factory=dict[int, int])  # Money that these tie up
    tied: dict[int, int] = field(default_factory=dict[int, int])  # auction: Money of its bid


@dataclass(slots=True)
class Keepers:
    """The population of one run. `look` after each tick, `poll` when due, `hear` the engine."""

    stack: Stack
    market: SimVenue
    present: list[Keeper]
    salts: np.random.Generator
    crowd: KeeperCrowd = USUAL
    burnt: int = field(init=False, default=0)  # Money paid for gas by all of them
    _bids: list[tuple[int, int, int, Bid]] = field(init=False)  # due, count, keeper, bid
    _sealed: dict[bytes, tuple[int, BidRevealed]] = field(init=False)  # due, what will be said
    _waiting: dict[int, _Waiting] = field(init=False)  # by bid
    _count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Begin with no bid on its way."""
        self._bids, self._sealed, self._waiting = [], {}, {}

    @classmethod
    def drawn(
        cls,
        stack: Stack,
        venue: Venue,
        market: SimVenue,
        streams: Streams,
        crowd: KeeperCrowd | None = None,
    ) -> "Keepers":
        """Return the keepers of a venue, the usual ones if none are given; any stack's the same."""
        crowd = crowd or USUAL
        draw, n = streams["keepers"], crowd.count
        absent, holds = draw.random(n) * PPM < crowd.absent, draw.random(n) * PPM < crowd.holders
        margin = draw.integers(*crowd.margin, n, endpoint=True)
        latency = draw.integers(*crowd.latency_ns, n, endpoint=True)
        present = [
            Keeper(
                capital=venue.scaled(crowd.capital),
                margin=int(margin[n]),
                latency_ns=int(latency[n]),
                holds=bool(holds[n]),
            )
            for n in np.argsort(latency, kind="stable").tolist()
            if not absent[n]
        ]
        return cls(stack, market, present, draw, crowd)

    def next_due(self) -> Nanos | None:
        """Return when the next bid arrives; None while nobody bids."""
        return Nanos(self._bids[0][0]) if self._bids else None

    def pop(self) -> tuple[int, Bid]:
        """Return the bid that is due and whose it is."""
        _, _, keeper, bid = heapq.heappop(self._bids)
        return keeper, bid

    def look(self, now: Nanos, offers: Sequence[Offer]) -> None:
        """Resell what is held, then bid on what is worth it; the fastest chooses first.

        Everybody reckons with the faster ones: what these bid for is no longer there to resell.
        """
        for keeper in self.present:
            for instrument, lots in sorted(keeper.inventory.items()):
                self._resell(keeper, instrument, lots, now)
        left: dict[tuple[int, int], Visible] = {}
        open_lots = {o.auction: abs(o.lots) for o in offers if not o.stale}
        for n, keeper in enumerate(self.present):
            for offer in offers:
                if open_lots.get(offer.auction) and offer.auction not in keeper.tied:
                    self._consider(n, offer, open_lots, left, now)

    def hear(self, n: int, bid: Bid, effects: Sequence[Decision], offer: Offer | None) -> None:
        """Learn what became of a bid: kept, refused, or lots to resell."""
        if isinstance(bid, BidRevealed):
            return  # it was kept before, and is answered when its batch clears
        kept = [e for e in effects if isinstance(e, BidKept)]
        if kept and offer is not None:
            one = _Waiting(n, bid.auction, offer.instrument, offer.selling)
            self._waiting[kept[0].bid] = one
            if isinstance(bid, BidCommitted):
                due, said = self._sealed.pop(bid.seal)
                self._push(due, n, msgspec.structs.replace(said, bid=kept[0].bid))
            return
        if isinstance(bid, BidCommitted):
            del self._sealed[bid.seal]
        self._untie(n, bid.auction)
        for effect in effects:
            if offer is not None and isinstance(effect, AuctionsReduced):
                got = -int(unpack(effect.lots)[0])
                self._took(n, offer.instrument, got, effect.price, bid.ts)

    def answered(self, effects: Sequence[Decision], now: Nanos) -> None:
        """Learn what came of batches in which somebody has bid."""
        for effect in effects:
            if isinstance(effect, BidsCleared):
                columns = (unpack(c).tolist() for c in (effect.bid, effect.lots, effect.price))
                for bid, lots, price in zip(*columns, strict=True):
                    one = self._waiting.pop(bid, None)
                    if one is not None:
                        self._untie(one.keeper, one.auction)
                        signed = lots if one.selling else -lots
                        self._took(one.keeper, one.instrument, signed, price, now)

    def _untie(self, n: int, auction: int) -> None:
        self.present[n].capital += self.present[n].tied.pop(auction)

    def _free(self, keeper: Keeper) -> int:
        """Return the Money it may still tie up: what it has, and room among what it holds."""
        spent = sum(keeper.spent.values())
        whole = keeper.capital + spent + sum(keeper.tied.values())
        room = whole * self.crowd.inventory // PPM - spent
        return max(0, min(keeper.capital, room))

    def _gas(self) -> int:
        """Return the Money that one more bid costs, while others are on their way."""
        return self.crowd.gas * (PPM + self.crowd.congestion * len(self._bids)) // PPM

    def _took(self, n: int, i: int, lots: int, price: int, now: Nanos) -> None:
        if not lots:
            return
        keeper, cost = self.present[n], abs(lots) * int(worth_of_lot(self.stack, i, price))
        keeper.capital -= cost
        keeper.spent[i] = keeper.spent.get(i, 0) + cost
        self._resell(keeper, i, keeper.inventory.get(i, 0) + lots, now)

    def _push(self, due: int, n: int, bid: Bid) -> None:
        self._count += 1
        bid = msgspec.structs.replace(bid, ts=Nanos(due))
        heapq.heappush(self._bids, (due, self._count, n, bid))

    def _consider(
        self,
        n: int,
        offer: Offer,
        open_lots: dict[int, int],
        left: dict[tuple[int, int], Visible],
        now: Nanos,
    ) -> None:
        keeper, i = self.present[n], offer.instrument
        side = BID if offer.selling else ASK
        if (i, side) not in left:
            left[i, side] = self.market.visible(i, side, now)
        book = left[i, side]
        if not book.price.size:
            return
        batch = self.stack.batches
        if batch is not None and offer.elapsed + keeper.latency_ns >= batch.window_ns:
            return
        worth = int(worth_of_lot(self.stack, i, offer.price))
        affordable = self._free(keeper) // max(1, worth)
        # Selling (buying) again must bring the margin, at every price that it takes.
        edge = keeper.margin if offer.selling else -keeper.margin
        at = offer.price if batch is None else int(book.price[0]) * (PPM + SIGN[side] * REACH)
        at = at * (PPM + edge) / PPM if batch is None else at / PPM
        good = book.price >= at if offer.selling else book.price <= at
        sold = affordable if keeper.holds and good[0] else int(book.lots[good].sum())
        lots = min(open_lots[offer.auction], affordable, sold)
        gas = self._gas()
        if lots <= 0 or lots * worth * keeper.margin // PPM < gas:
            return
        keeper.capital -= gas
        self.burnt += gas
        limit = int(offer.price)
        if batch is not None:
            last = book.price[0] if keeper.holds else book.price[good][-1]
            limit = int(last) * (PPM - edge) // PPM
        if not keeper.holds:
            left[i, side] = _without(book, lots)
        if batch is None:
            open_lots[offer.auction] -= lots
        keeper.tied[offer.auction] = lots * worth
        keeper.capital -= lots * worth
        self._push(now + keeper.latency_ns, n, self._asked(n, offer, lots, limit, now))

    def _asked(self, n: int, offer: Offer, lots: int, limit: int, now: Nanos) -> Bid:
        """Return the event that asks for lots: a take, a bid, or a commitment to one."""
        batch, auction = self.stack.batches, offer.auction
        if batch is None or not batch.sealed:
            kind = AuctionTaken if batch is None else BidPlaced
            return kind(ts=now, auction=auction, bidder=0, lots=Lots(lots), limit=Ticks(limit))
        salt = self.salts.bytes(SALT)
        seal = commitment(salt, bid_payload(auction, 0, lots, limit))
        opens = now - offer.elapsed + batch.window_ns
        due = opens + self.present[n].latency_ns % (batch.closes_ns - batch.window_ns)
        reveal = BidRevealed(ts=now, bid=-1, lots=Lots(lots), limit=Ticks(limit), salt=salt)
        self._sealed[seal] = (due, reveal)
        return BidCommitted(ts=now, auction=auction, bidder=0, seal=seal)

    def _resell(self, keeper: Keeper, i: int, lots: int, now: Nanos) -> None:
        """Trade ``lots`` of inventory (signed) away, or what of it is due; keep the rest."""
        side = BID if lots > 0 else ASK
        book = self.market.visible(i, side, now)
        size = int(book.lots.sum()) if book.lots.size else 0
        due = min(abs(lots), size // RESOLD if keeper.holds else size)
        if due > 0:
            got, price = self.market.outside(i, -due if lots > 0 else due, now, trade=True)
            done = abs(got)
            if done:
                got, sign = done * int(worth_of_lot(self.stack, i, price)), 1 if lots > 0 else -1
                freed = keeper.spent[i] * done // abs(lots)
                keeper.spent[i] -= freed
                keeper.capital += freed + sign * (got - freed)
                lots -= sign * done
        keeper.inventory.pop(i, None)
        if lots:
            keeper.inventory[i] = lots


def _without(book: Visible, lots: int) -> Visible:
    """Return what is left of a side after ``lots`` are taken from its touch."""
    gone = np.clip(lots - (np.cumsum(book.lots) - book.lots), 0, book.lots)
    rest = book.lots - gone
    return Visible(book.price[rest > 0], rest[rest > 0])
