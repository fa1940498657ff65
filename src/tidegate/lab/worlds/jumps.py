"""Jump diffusions: a Brownian world in which prices also leap, each alone or all together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final, Protocol

import numpy as np

from tidegate.lab.weather import F64, Weather
from tidegate.lab.worlds.factor import ONE_FACTOR, Factor
from tidegate.lab.worlds.ground import (
    DAY,
    HOUR_OF_MINUTES,
    VOLATILITY_MAX,
    YEAR,
    BySymbol,
    Clock,
    Stream,
    by_symbol,
    draws,
    weather_of,
    within,
)


DAYS_A_YEAR = YEAR // DAY


class Law(Protocol):
    """The size Y of one jump, as a logarithm of the price."""

    def sums(self, counts: F64, stream: Stream) -> F64:
        """Return the sum of ``counts`` independent jumps in each cell."""
        ...

    def growth(self) -> float:
        """Return E[exp(Y)] - 1."""
        ...

    def moments(self) -> tuple[float, float, float, float]:
        """Return E[Y], E[Y^2], E[Y^3], E[Y^4]."""
        ...


@dataclass(frozen=True, slots=True)
class NormalJumps:
    """Normal sizes. Source: Merton (1976)."""

    mean: float = -0.05
    deviation: float = 0.05

    def __post_init__(self) -> None:
        """Refuse sizes beyond reason."""
        within("jumps.mean", self.mean, -5.0, 5.0)
        within("jumps.deviation", self.deviation, 0.0, 5.0)

    def sums(self, counts: F64, stream: Stream) -> F64:
        """Return N mean + sqrt(N) deviation Z: the sum of N normals is one."""
        drawn = stream.standard_normal(counts.shape)
        return counts * self.mean + np.sqrt(counts) * self.deviation * drawn

    def growth(self) -> float:
        """Return exp(m + d^2 / 2) - 1."""
        return exp(self.mean + self.deviation**2 / 2) - 1

    def moments(self) -> tuple[float, float, float, float]:
        """Return the raw moments of a normal."""
        m, v = self.mean, self.deviation**2
        return m, m**2 + v, m**3 + 3 * m * v, m**4 + 6 * m**2 * v + 3 * v**2

    def __str__(self) -> str:
        """Return it in words."""
        return f"normal jumps of {self.mean:+.1%} on average, deviation {self.deviation:.1%}"


@dataclass(frozen=True, slots=True)
class ExponentialJumps:
    """Up with chance ``up`` by a mean ``rise``, else down by a mean ``drop``. Source: Kou (2002).

    Sizes are exponential on the logarithm of the price; ``rise`` < 1, or no mean price exists.
    """

    up: float = 0.3
    rise: float = 0.03
    drop: float = 0.06

    def __post_init__(self) -> None:
        """Refuse what has no mean."""
        within("jumps.up", self.up, 0.0, 1.0)
        within("jumps.rise", self.rise, 0.0, 1.0, open_=True)
        within("jumps.drop", self.drop, 0.0, 5.0, open_=True)

    def sums(self, counts: F64, stream: Stream) -> F64:
        """Return a gamma sum of the ups less one of the downs."""
        whole = counts.astype(np.int64)
        ups = stream.binomial(whole, self.up)
        rises = stream.standard_gamma(ups.astype(np.float64))
        drops = stream.standard_gamma((whole - ups).astype(np.float64))
        return self.rise * rises - self.drop * drops

    def growth(self) -> float:
        """Return p / (1 - rise) + (1 - p) / (1 + drop) - 1."""
        return self.up / (1 - self.rise) + (1 - self.up) / (1 + self.drop) - 1

    def moments(self) -> tuple[float, float, float, float]:
        """Return k! (p rise^k + (1 - p) (-drop)^k)."""
        p, r, d = self.up, self.rise, self.drop
        one, two, three, four = (
            factorial * (p * r**k + (1 - p) * (-d) ** k)
            for k, factorial in ((1, 1), (2, 2), (3, 6), (4, 24))
        )
        return one, two, three, four

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"exponential jumps, {self.up:.0%} of them up by {self.rise:.1%}, "
            f"else down by {self.drop:.1%}"
        )


MERTON: Final = NormalJumps()


@dataclass(frozen=True, slots=True)
class JumpDiffusion:
    """Brownian motion and Poisson jumps, compensated so that E[S_T] = exp(drift T).

    ``rate`` jumps a day in each instrument; a share ``shared`` of them hits every instrument at
    once, and by the same size.
    """

    clock: Clock = HOUR_OF_MINUTES
    law: Law = MERTON
    vol: float = 0.6
    drift: float = 0.0
    rate: float = 1.0
    shared: float = 0.5
    vols: BySymbol = ()
    factor: Factor = ONE_FACTOR
    name: str = "merton"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        within(f"{self.name}.vol", self.vol, 0.0, VOLATILITY_MAX)
        within(f"{self.name}.drift", self.drift, -100.0, 100.0)
        within(f"{self.name}.rate", self.rate, 0.0, 1e6)
        within(f"{self.name}.shared", self.shared, 0.0, 1.0)
        for symbol, vol in self.vols:
            within(f"{self.name}.vol.{symbol}", vol, 0.0, VOLATILITY_MAX)

    def describe(self) -> str:
        """Return one sentence for people."""
        return (
            f"jump diffusion, volatility {self.vol:.0%} a year between jumps, {self.law}, "
            f"{self.rate:g} a day, {self.shared:.0%} of them in everything at once, {self.factor}; "
            f"{self.clock}"
        )

    def cumulants(self, years: float, vol: float) -> tuple[float, float, float, float]:
        """Return the first four cumulants of log S over ``years``: what moments are tested by."""
        a_year = self.rate * DAYS_A_YEAR
        one, two, three, four = self.law.moments()
        drift = self.drift - vol**2 / 2 - a_year * self.law.growth()
        return (
            (drift + a_year * one) * years,
            (vol**2 + a_year * two) * years,
            a_year * three * years,
            a_year * four * years,
        )

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths; jumps come from the streams "world.shocks" and "world.leaps"."""
        clock, n = self.clock, len(symbols)
        vol = by_symbol(f"{self.name}.vol", symbols, self.vol, self.vols)
        dt = clock.step_years
        a_step = self.rate * DAYS_A_YEAR * dt
        moved = self.factor.normals(root, paths, clock.steps, symbols)
        moved *= vol * np.sqrt(dt)
        moved += (self.drift - vol**2 / 2) * dt - a_step * self.law.growth()
        moved += draws(root, paths, "world.shocks", self._leaps(a_step * self.shared, 1))
        own = self._leaps(a_step * (1 - self.shared), n)
        moved += draws(root, paths, "world.leaps", own)
        return weather_of(self.name, moved, clock.step_ns)

    def _leaps(self, mean: float, columns: int) -> Callable[[Stream], F64]:
        def drawn(stream: Stream) -> F64:
            counts = stream.poisson(mean, (columns, self.clock.steps)).astype(np.float64)
            return self.law.sums(counts, stream).T

        return drawn
