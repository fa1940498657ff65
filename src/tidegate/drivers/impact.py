"""What our own trading leaves in a market, and how it fades: impact and missing depth.

The law of impact is a metaorder law: it speaks of everything that was sold in one campaign, not of
each slice. So the footprint remembers how much each side has recently taken, and a slice moves the
price by what it adds to the whole; selling in ten slices at once displaces as much as selling in
one. Beyond the law stands the book: an impact is never less than the walk through what is visible.
"""

from dataclasses import dataclass, field
from math import sqrt

from tidegate.domain.units import PPM
from tidegate.domain.venue import Market
from tidegate.drivers.depth import SIGN


LAWS = ("linear", "square_root")
VOLUME_OF_DEPTH = 10_000  # a market that declares no daily volume trades its depth this often


def law(market: Market, quantity: float) -> float:
    """Return the impact of ``quantity`` Money as a share of the price (its logarithm), >= 0.

    Square root: ``sigma_D * sqrt(Q / V_D)``, with Y = 1. Linear: the slope of the resting book,
    ``depth_range * Q / depth``.

    Source
    ------
    Square-root law: Donier and Bonart, arXiv:1412.4503, over four decades of order size. Within a
    crash it is optimistic, which is why `Footprint.moved` never goes below the walk.
    """
    if market.impact == "linear":
        return market.depth_range / PPM * quantity / market.depth
    volume = market.daily_volume or VOLUME_OF_DEPTH * market.depth
    return market.daily_volatility / PPM * sqrt(quantity / volume)


@dataclass(slots=True)
class Footprint:
    """Displacement of one market's price and depth by our own trades, as of ``at``.

    ``permanent`` and ``transient`` are logarithms of the displaced over the undisplaced price.
    ``taken`` is Money, ``walked`` a logarithm, ``missing`` a share of the ladder; each has a cell
    for the bids and one for the asks. All but ``permanent`` halve every ``half_life`` ns (0: stay).
    """

    half_life: int
    permanent: float = 0.0
    transient: float = 0.0
    taken: list[float] = field(default_factory=lambda: [0.0, 0.0])
    walked: list[float] = field(default_factory=lambda: [0.0, 0.0])
    missing: list[float] = field(default_factory=lambda: [0.0, 0.0])
    at: int = 0

    def kept(self, now: int) -> float:
        """Return the share of what fades that is still there at ``now``."""
        if self.half_life == 0 or now <= self.at:
            return 1.0
        return 2.0 ** (-(now - self.at) / self.half_life)

    def displacement(self, now: int) -> float:
        """Return the logarithm of displaced over undisplaced price; looking changes nothing."""
        return self.permanent + self.transient * self.kept(now)

    def left(self, side: int, now: int) -> float:
        """Return the share of the ladder on ``side`` that is there at ``now``."""
        return 1.0 - self.missing[side] * self.kept(now)

    def fade(self, now: int) -> None:
        """Bring everything up to ``now``; written only when something is about to change."""
        kept = self.kept(now)
        self.transient *= kept
        for side in (0, 1):
            self.taken[side] *= kept
            self.walked[side] *= kept
            self.missing[side] *= kept
        self.at = max(self.at, now)

    def moved(self, market: Market, side: int, quantity: float, walk: float, now: int) -> None:
        """Let ``quantity`` Money be taken from ``side``, which walked the book by ``walk`` (log).

        The price moves by what the campaign's impact, ``max(law, walk)``, has grown; the market's
        permanent share of the move stays.
        """
        self.fade(now)
        before = max(law(market, self.taken[side]), self.walked[side])
        self.taken[side] += quantity
        self.walked[side] += walk
        after = max(law(market, self.taken[side]), self.walked[side])
        move = SIGN[side] * (after - before)
        permanent = move * market.permanent / PPM
        self.permanent += permanent
        self.transient += move - permanent

    def consumed(self, side: int, share: float, now: int) -> None:
        """Let ``share`` of the ladder on ``side`` be taken (negative: put back), within 0..1."""
        self.fade(now)
        self.missing[side] = min(1.0, max(0.0, self.missing[side] + share))
