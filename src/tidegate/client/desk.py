"""The market as a keeper sees it: open auctions kept up by the stream, and prices computed here.

Prices are those of the engine to the last tick: its very curves are run, uncompiled, on what the
service says of each auction and of the way of selling. So nobody needs to poll for a price.
"""

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tidegate.api.answers import AuctionNow, Frame, Grid, KeeperNow, Sale
from tidegate.domain.units import PPM, ppm_floor, unbounded
from tidegate.kernels import auction as rules
from tidegate.kernels.curves import EXPONENTIAL, HALVING, LINEAR, STAIR, auction_price


CURVES: Final = {"linear": LINEAR, "stair": STAIR, "exponential": EXPONENTIAL, "halving": HALVING}
FROM_PPM: Final = 1_000  # the curves' rates are in 1e-9

_price = unbounded(auction_price)
_stale = unbounded(rules.stale)
_share = unbounded(ppm_floor)


@dataclass(slots=True)
class Offer:
    """One open auction: what a bidder gets, and what its price follows from, in ticks."""

    auction: int
    instrument: str
    lots: int  # what a bidder gets: positive, it buys
    base: int
    limit: int
    began: int  # when the price was last set, or the window opened
    opened: int
    bids: int = 0

    @property
    def side(self) -> int:
        """1 where a bidder buys, -1 where it sells."""
        return 1 if self.lots > 0 else -1

    def good(self, price: int, worst: int) -> bool:
        """Return whether a price is the bidder's worst or better."""
        return (worst - price) * self.side >= 0


class Desk:
    """What is for sale now; `hear` keeps it up with the frames after `seq`."""

    def __init__(self, now: KeeperNow, *, ahead: int = 0) -> None:
        self.seq, self.account, self.row, self.sale = now.seq, now.account, now.row, now.sale
        self._ahead = ahead  # by how much the service's clock is ahead of ours
        self._grid = {
            g.symbol: (Decimal(g.tick_size), Decimal(g.lot_size)) for g in now.instruments
        }
        self.marks = {g.symbol: self._mark(g) for g in now.instruments}
        self.offers = {a.auction: self._offer(a) for a in now.auctions}

    @property
    def kind(self) -> str:
        """How auctions go: dutch, fixed_spread, batch or sealed; empty where there are none."""
        return self.sale.kind if self.sale is not None else ""

    def now(self) -> int:
        """Return the service's time as far as we know it, in nanoseconds."""
        return time.time_ns() + self._ahead

    # ------------------------------------------------------------ hearing

    def hear(self, frame: Frame) -> None:
        """Take in what a frame of the topics `auctions` and `marks` says."""
        if frame.seq <= self.seq:
            return
        if frame.topic == "marks":
            for one in frame.data:
                self.marks[one["instrument"]] = self.ticks(one["instrument"], one["mark"])
        elif frame.topic == "auctions":
            self._auctions(frame.data)

    def _auctions(self, said: dict[str, Any]) -> None:
        for one in said["opened"]:
            symbol = one["instrument"]
            self.offers[one["auction"]] = Offer(
                auction=one["auction"],
                instrument=symbol,
                lots=self.count(symbol, one["quantity"]),
                base=self.ticks(symbol, one["mark"]),
                limit=self.ticks(symbol, one["limit"]),
                began=one["opened_at"],
                opened=one["opened_at"],
            )
        for auction in said["bids"]:
            if auction in self.offers:
                self.offers[auction].bids += 1
        for one in said["reduced"]:
            if one["closed"]:
                self.offers.pop(one["auction"], None)
            elif one["auction"] in self.offers:
                self.offers[one["auction"]].lots -= one["lots"]
        for one in said["reset"]:
            if (offer := self.offers.get(one["auction"])) is not None:
                offer.base, offer.limit = one["base_ticks"], one["limit_ticks"]
                offer.began, offer.bids = one["began"], 0

    # ------------------------------------------------------------ prices

    def price(self, offer: Offer, now: int | None = None) -> int | None:
        """Return at how many ticks it would be sold at ``now``; None where bids are collected."""
        sale = self._sold()
        if sale.kind == "fixed_spread":
            give = _share(self.marks[offer.instrument], sale.discount)
            asked = self.marks[offer.instrument] - offer.side * give
            return max(offer.limit, asked) if offer.side > 0 else min(offer.limit, asked)
        if sale.kind != "dutch":
            return None
        return self._dutch(offer, (self.now() if now is None else now) - offer.began)

    def stale(self, offer: Offer, now: int | None = None) -> str:
        """Return why nobody can take it before its price is set anew, or nothing."""
        sale, mark = self._sold(), self.marks[offer.instrument]
        if sale.kind == "fixed_spread":
            asked = mark - offer.side * _share(mark, sale.discount)
            held = (offer.limit - asked) * offer.side > 0
            return "drift" if held and mark != offer.base else ""
        if sale.kind != "dutch":
            return ""
        if sale.drift and abs(mark - offer.base) > _share(offer.base, sale.drift):
            return "drift"
        elapsed = (self.now() if now is None else now) - offer.began
        first, here = self._dutch(offer, 0), self._dutch(offer, elapsed)
        price, top = (here, first) if offer.side > 0 else (first, here)
        if _stale(elapsed, sale.tail_ns, price, max(top, 1), sale.cusp, PPM):
            return "tail" if elapsed > sale.tail_ns else "cusp"
        return ""

    def takes(self, offer: Offer, now: int | None = None) -> bool:
        """Return whether bids are taken: the price is not stale, or the window not over."""
        if self.stale(offer, now):
            return False
        window, at = self._sold().window_ns, self.now() if now is None else now
        return not window or at < offer.began + window

    def _dutch(self, offer: Offer, elapsed: int) -> int:
        sale = self._sold()
        return _price(
            CURVES[sale.curve],
            offer.base,
            offer.limit,
            elapsed,
            int(offer.side > 0),
            sale.buffer,
            sale.step_ns,
            sale.cut * FROM_PPM,
        )

    def _sold(self) -> Sale:
        assert self.sale is not None, "there are offers"
        return self.sale

    # ------------------------------------------------------------ units

    def away(self, offer: Offer, margin: Decimal) -> int:
        """Return the price a margin better than the mark for the bidder, in ticks, or better."""
        better = self.marks[offer.instrument] * (1 - offer.side * margin)
        return int(better) if offer.side > 0 else -int(-better // 1)

    def affordable(self, offer: Offer, ticks: int, money: Decimal) -> int:
        """Return how many of the lots on offer so much money pays at a price."""
        tick, lot = self._grid[offer.instrument]
        return max(0, min(abs(offer.lots), int(money / (ticks * tick * lot)))) if ticks > 0 else 0

    def ticks(self, symbol: str, price: str) -> int:
        """Return a price as whole ticks."""
        return int(Decimal(price) / self._grid[symbol][0])

    def count(self, symbol: str, quantity: str) -> int:
        """Return a quantity as whole lots."""
        return int(Decimal(quantity) / self._grid[symbol][1])

    def price_text(self, symbol: str, ticks: int) -> str:
        """Return a price as the API takes it."""
        return f"{ticks * self._grid[symbol][0]:f}"

    def quantity_text(self, symbol: str, lots: int) -> str:
        """Return a quantity as the API takes it."""
        return f"{lots * self._grid[symbol][1]:f}"

    def _mark(self, grid: Grid) -> int:
        return int(Decimal(grid.mark) / Decimal(grid.tick_size))

    def _offer(self, one: AuctionNow) -> Offer:
        return Offer(
            auction=one.auction,
            instrument=one.instrument,
            lots=self.count(one.instrument, one.quantity),
            base=self.ticks(one.instrument, one.base),
            limit=self.ticks(one.instrument, one.limit),
            began=one.began,
            opened=one.opened_at,
            bids=one.bids,
        )
