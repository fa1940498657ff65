"""The shape of an order book: a ladder on each side, and what a row of orders takes from one.

Floats say how much rests where; everything that leaves is whole ticks and whole lots.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.instrument import AnyInstrument, Inverse, Spot
from tidegate.domain.units import I64, PPM


F64: TypeAlias = NDArray[np.float64]

BID, ASK = 0, 1
SIGN: Final = (-1, 1)  # of a price offset on that side, and of the trade that hits it
ALMOST: Final = 1.0 + 1e-12  # a whole number of lots stays whole through the noise of a float
SMALLEST: Final = 1e-300  # no lot is worth nothing
ON_TICK: Final = 1e-6  # closer to a tick than this is on it: the noise of a float moves no price
COUNT_MAX: Final = 2**61  # of lots, and of lots x ticks from the touch: both are added up in int64


@dataclass(frozen=True, slots=True)
class Scale:
    """What a lot is worth: ``per_tick`` Money at each tick, or ``flat`` Money whatever the price.

    Worth is an estimate in float64; it measures pressure on a market and never enters a ledger.
    """

    per_tick: float
    flat: float
    price_max: int

    @classmethod
    def of(cls, instrument: AnyInstrument) -> Self:
        """Return the scale of ``instrument``."""
        if isinstance(instrument, Inverse):
            return cls(0.0, float(instrument.face), instrument.price_max)
        units = instrument.units if isinstance(instrument, Spot) else 1
        return cls(instrument.tick_value / units, 0.0, instrument.price_max)

    def worth(self, price: I64) -> F64:
        """Return the Money of one lot at each price in ticks."""
        return price.astype(np.float64) * self.per_tick + self.flat


@dataclass(frozen=True, slots=True)
class Ladder:
    """One side of a book at rest, seen from the mid outwards.

    ``edge`` bounds the stretch of price that each level stands for: trading through half of a
    level's quantity moves the mid through half of that stretch.
    """

    offset: F64  # [levels] share of the mid, rising
    edge: F64  # [levels + 1] share of the mid, from 0
    resting: F64  # [levels] Money
    before: F64  # [levels] Money on the levels nearer the mid
    total: float  # Money

    @classmethod
    def of(cls, offset: F64, resting: F64) -> Self:
        """Return a ladder of these levels, each reaching half way to its neighbours."""
        if offset.size == 0:
            return cls(offset, np.zeros(1), resting, resting, 0.0)
        middle = (offset[1:] + offset[:-1]) / 2
        end = offset[-1] + (offset[-1] - (middle[-1] if middle.size else 0.0))
        edge = np.concatenate([[0.0], middle, [end]])
        so_far = np.cumsum(resting)
        return cls(offset, edge, resting, so_far - resting, float(so_far[-1]))

    @classmethod
    def even(cls, depth: float, depth_range: int, levels: int) -> Self:
        """Return ``depth`` Money spread evenly over ``depth_range`` ppm of the mid."""
        offset = (np.arange(levels) + 0.5) / levels * (depth_range / PPM)
        return cls.of(offset, np.full(levels, depth / levels))

    @classmethod
    def recorded(cls, price: I64, lots: I64, *, mid: float, scale: Scale) -> Self:
        """Return the ladder of recorded levels around the recorded ``mid``, in any order."""
        offset = np.abs(price / mid - 1.0)
        order = np.argsort(offset, kind="stable")
        return cls.of(offset[order], (lots * scale.worth(price))[order])

    def reach(self, share: float) -> float:
        """Return how far the mid moves, as a share of it, when ``share`` of the total is taken.

        It moves at most to the end of the ladder: nothing is known about what stands beyond.
        """
        if self.total <= 0.0:
            return 0.0
        whole = np.append(self.before, self.total)
        return float(np.interp(share * self.total, whole, self.edge))


class Visible(NamedTuple):
    """One side of a book as others see it: from the touch outwards, in ticks and whole lots."""

    price: I64
    lots: I64

    def merged(self) -> "Visible":
        """Return the same levels with equal prices joined and empty ones left out."""
        some = self.lots > 0
        price, lots = (self.price, self.lots) if some.all() else (self.price[some], self.lots[some])
        differs = price[1:] != price[:-1]
        if differs.all():
            return Visible(price, lots)
        first = np.concatenate([[0], 1 + np.flatnonzero(differs)])
        joined = np.add.reduceat(lots, first)
        return Visible(price[first], joined)


def visible(
    ladder: Ladder, side: int, *, mid: float, thick: float, share: float, scale: Scale
) -> Visible:
    """Return what of ``ladder`` stands around ``mid`` ticks.

    ``thick`` is the share of every level that makers still show, ``share`` how much of that nobody
    has taken. What is left stands nearest the mid: orders that were not hit move up behind the
    price, and the far end is what has to come back. Rounded: prices away from the mid, lots down.
    """
    exact = mid * (1.0 + SIGN[side] * ladder.offset)
    price = np.floor(exact + ON_TICK) if side == BID else np.ceil(exact - ON_TICK)
    price = np.minimum(np.maximum(price, 1.0), scale.price_max).astype(np.int64)
    left = np.maximum(share * ladder.total - ladder.before, 0.0)
    left = thick * np.minimum(left, ladder.resting)
    # Bounded so that the cost of everything, lots times ticks from the touch, cannot wrap.
    wide = abs(int(price[-1]) - int(price[0])) if price.size else 0
    most = COUNT_MAX // (max(1, price.size) * (1 + wide))
    lots = np.minimum(left * ALMOST / np.maximum(scale.worth(price), SMALLEST), float(most))
    return Visible(price, lots.astype(np.int64))


class Taken(NamedTuple):
    """What a row of orders got: lots without sign, and one average price each, in ticks."""

    lots: I64
    price: I64


def take(book: Visible, side: int, wanted: I64, limit: I64) -> Taken:
    """Let orders take from one side of a book, the first in the row first.

    ``wanted`` are lots without sign, ``limit`` the worst price each order accepts. An order that
    its limit stops leaves the rest of the book to those behind it. The price of an order is the
    average over what it took, rounded against it, and never beyond its limit.

    The running total F obeys F' = max(F, min(F + wanted, reach)): a plain cumulative sum between
    two orders that their limit cuts. After a cut F has passed that order's reach, and so has every
    order with the same limit: the loop runs at most once for each level, however many orders.
    """
    if book.price.size == 0:
        return Taken(np.zeros(wanted.size, np.int64), np.zeros(wanted.size, np.int64))
    size = np.cumsum(book.lots)
    deep = np.concatenate([np.zeros(1, np.int64), size])
    towards = SIGN[side]
    reach = deep[np.searchsorted(towards * book.price, towards * limit, side="right")]
    # Nobody gets more than the whole book; asked for more, no sum may wrap before the first cut.
    wanted = np.minimum(wanted, size[-1])
    filled = np.zeros(wanted.size, np.int64)
    gone, start = 0, 0
    while True:
        row = start + np.flatnonzero(reach[start:] > gone)
        if row.size == 0:
            break
        run = gone + np.cumsum(wanted[row])
        cut = np.flatnonzero(run > reach[row])
        n = int(cut[0]) if cut.size else row.size
        filled[row[:n]] = wanted[row[:n]]
        if n == row.size:
            break
        at = int(row[n])
        before = int(run[n - 1]) if n else gone
        gone = max(before, int(reach[at]))
        filled[at], start = gone - before, at + 1
    return Taken(filled, _average(book, towards, size, filled))


def _average(book: Visible, towards: int, size: I64, filled: I64) -> I64:
    # Distances from the touch keep lots x ticks small; in int64 the average is exact.
    away = np.abs(book.price - book.price[:1])
    before = size - book.lots
    paid = np.cumsum(away * book.lots) - away * book.lots
    end = np.cumsum(filled)

    def cost(taken: I64) -> I64:
        level = np.minimum(np.searchsorted(size, taken, side="left"), size.size - 1)
        return paid[level] + (taken - before[level]) * away[level]

    some = np.maximum(filled, 1)
    distance = -((cost(end - filled) - cost(end)) // some)
    return np.where(filled > 0, book.price[0] + towards * distance, 0)
