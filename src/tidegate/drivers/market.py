"""One instrument's simulated market: a price displaced by our trades, a book that thins and heals.

The venue around it (`simvenue`) knows orders and time; this file knows neither. Everything here is
float64 except what leaves: ticks and lots.
"""

from dataclasses import dataclass, field
from math import exp, fsum, log1p
from typing import Final

import numpy as np

from tidegate.domain.events import DepthObserved
from tidegate.domain.instrument import AnyInstrument
from tidegate.domain.units import I64, PPM, SECOND, unpack
from tidegate.domain.venue import Market
from tidegate.drivers.depth import ASK, BID, SIGN, Ladder, Scale, Taken, Visible, take, visible
from tidegate.drivers.impact import Footprint


PEAK_HALF_LIFE: Final = 3_600 * SECOND  # makers forget a peak: half of its distance in an hour
DISPLACEMENT_MAX: Final = 20.0  # logarithm; a price is never moved by more than e^20


@dataclass(slots=True)
class MarketMemory:
    """Everything a market remembers, in a form that a snapshot can keep."""

    footprint: Footprint
    reference: float = 0.0  # the undisplaced price in ticks; 0 before the first
    peak: float = 0.0  # the highest displaced price that makers remember, ticks
    peak_at: int = 0
    recorded: DepthObserved | None = None  # the book that replaces the model's ladder
    shown: float = 1.0  # share of the book that makers show in this weather, whatever we do


@dataclass(slots=True)
class SimMarket:
    """One instrument's market. With ``moves`` false, forced trades displace nothing."""

    instrument: AnyInstrument
    market: Market
    moves: bool
    scale: Scale = field(init=False)
    ladders: tuple[Ladder, Ladder] = field(init=False)
    memory: MarketMemory = field(init=False)

    def __post_init__(self) -> None:
        """Begin with a full book and no price."""
        self.scale = Scale.of(self.instrument)
        self.ladders = self._model()
        self.memory = MarketMemory(Footprint(self.market.resilience_ns))

    def _model(self) -> tuple[Ladder, Ladder]:
        m = self.market
        even = Ladder.even(float(m.depth), m.depth_range, m.levels)
        return even, even

    def displacement(self, now: int) -> float:
        """Return the logarithm of displaced over undisplaced price."""
        d = self.memory.footprint.displacement(now)
        return min(DISPLACEMENT_MAX, max(-DISPLACEMENT_MAX, d))

    def displaced(self, ticks: int, now: int) -> int:
        """Return a price with our displacement in it, to the nearest tick, within 1..price_max."""
        moved = round(ticks * exp(self.displacement(now)))
        return min(max(moved, 1), self.instrument.price_max)

    def observed(self, ticks: int, now: int) -> None:
        """Take ``ticks`` for the price the market would have without our trades."""
        m = self.memory
        m.reference = float(ticks)
        price = self.price(now)
        if price >= m.peak:
            m.peak = price
        else:
            kept = 2.0 ** (-max(0, now - m.peak_at) / PEAK_HALF_LIFE)
            m.peak = price * (m.peak / price) ** kept
        m.peak_at = max(m.peak_at, now)

    def price(self, now: int) -> float:
        """Return the mid in ticks, our displacement included; 0 before the first price."""
        return self.memory.reference * exp(self.displacement(now))

    def thickness(self, now: int) -> float:
        """Return the share of the resting book that makers still show, as the price has fallen.

        A recorded book shows what it shows: its makers have already withdrawn. What the weather
        takes away comes on top, and may be all of it.
        """
        m, market = self.memory, self.market
        if m.recorded is not None or market.withdrawal == 0 or m.peak <= 0.0:
            return m.shown
        fall = max(0.0, 1.0 - self.price(now) / m.peak)
        return m.shown * max(market.depth_min / PPM, 1.0 - 100.0 * fall * market.withdrawal / PPM)

    def book(self, side: int, now: int) -> Visible:
        """Return one side as others see it at ``now``; empty before the first price."""
        mid = self.price(now)
        if mid <= 0.0:
            nothing = np.zeros(0, np.int64)
            return Visible(nothing, nothing)
        return visible(
            self.ladders[side],
            side,
            mid=mid,
            thick=self.thickness(now),
            share=self.memory.footprint.left(side, now),
            scale=self.scale,
        )

    def execute(self, side: int, wanted: I64, limit: I64, now: int) -> Taken:
        """Let a row of orders hit one side, in order; move the price by what they took together."""
        book = self.book(side, now)
        if not self.moves and book.price.size:
            flat = np.array([round(self.memory.reference)], np.int64)
            book = Visible(np.maximum(flat, 1), book.lots.sum(keepdims=True))
        taken = take(book, side, wanted, limit)
        if taken.lots.any():
            # Exactly rounded whatever the order of summing: the same on every CPU.
            quantity = fsum((taken.lots * self.scale.worth(taken.price)).tolist())
            self._took(side, quantity, now)
        return taken

    def _took(self, side: int, quantity: float, now: int) -> None:
        footprint, ladder = self.memory.footprint, self.ladders[side]
        share = quantity / (ladder.total * self.thickness(now))
        footprint.consumed(side, share, now)
        if self.moves:
            walk = abs(log1p(SIGN[side] * min(ladder.reach(share), 0.999_999)))
            footprint.moved(self.market, side, quantity, walk, now)

    def traded(self, lots: int, ticks: int, now: int) -> None:
        """Let others trade ``lots``, signed from the taker: one side is hit, the other heals.

        The recorded price already contains what their trade did to it; only depth changes.
        """
        hit, heals = (ASK, BID) if lots > 0 else (BID, ASK)
        worth = abs(lots) * float(self.scale.worth(np.array([ticks]))[0])
        for side, sign in ((hit, 1.0), (heals, -1.0)):
            total = self.ladders[side].total * self.thickness(now)
            if total > 0.0:
                self.memory.footprint.consumed(side, sign * worth / total, now)

    def recorded(self, event: DepthObserved | None) -> None:
        """Let a recorded book stand in for the model's ladder until the next one.

        Offsets are taken from the recorded book's own mid, so that it moves with our displacement.
        What we have taken stays taken: the recording did not see us.
        """
        self.memory.recorded = event
        if event is None:
            self.ladders = self._model()
            return
        columns = (event.bid_price, event.bid_lots, event.ask_price, event.ask_lots)
        bid, bid_lots, ask, ask_lots = (unpack(c) for c in columns)
        touches = [float(np.max(bid))] * bool(bid.size) + [float(np.min(ask))] * bool(ask.size)
        if not touches:
            empty = Ladder.of(np.zeros(0), np.zeros(0))
            self.ladders = (empty, empty)
            return
        both = bid.size and ask.size
        mid = sum(touches) / 2 if both else (self.memory.reference or touches[0])
        self.ladders = (
            Ladder.recorded(bid, bid_lots, mid=mid, scale=self.scale),
            Ladder.recorded(ask, ask_lots, mid=mid, scale=self.scale),
        )

    def impact_ppm(self, now: int) -> int:
        """Return the displacement of the price, signed, to the nearest ppm."""
        return round((exp(self.displacement(now)) - 1.0) * PPM)

    def restore(self, memory: MarketMemory) -> None:
        """Take over what another market of the same instrument remembered."""
        self.memory = memory
        self.recorded(memory.recorded)
