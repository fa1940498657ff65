"""Closed forms of options: Black and Scholes, and surfaces of total variance (SVI)."""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats


Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Valued:
    """An option's price, and how it moves with spot and volatility (per 1.00 of it)."""

    price: float
    delta: float
    gamma: float
    vega: float


def black_scholes(
    *, call: bool, spot: float, strike: float, years: float, rate: float, carry: float, vol: float
) -> Valued:
    """Return a European option's value; ``carry`` is the yield that its holder forgoes."""
    root = vol * sqrt(years)
    d1 = (log(spot / strike) + (rate - carry + vol * vol / 2) * years) / root
    d2 = d1 - root
    paid, grown = exp(-rate * years), exp(-carry * years)
    sign = 1 if call else -1
    density = float(stats.norm.pdf(d1))
    hit, exercised = float(stats.norm.cdf(sign * d1)), float(stats.norm.cdf(sign * d2))
    return Valued(
        price=sign * (spot * grown * hit - strike * paid * exercised),
        delta=sign * grown * hit,
        gamma=grown * density / (spot * root),
        vega=spot * grown * density * sqrt(years),
    )


def delta_gamma_vega(
    delta: float, gamma: float, vega: float, spot_move: float, vol_move: float
) -> float:
    """Return the second-order profit of a move: a check before a full revaluation, no more."""
    return delta * spot_move + gamma * spot_move**2 / 2 + vega * vol_move


@dataclass(frozen=True, slots=True)
class Svi:
    """Raw SVI: w(k) = a + b (rho (k - m) + sqrt((k - m)^2 + sigma^2)), k the log moneyness.

    Source: Gatheral (2004); Gatheral and Jacquier (2014).
    """

    a: float
    b: float
    rho: float
    m: float
    sigma: float

    def variance(self, k: ArrayLike) -> Floats:
        """Return the total implied variance at log moneyness ``k``."""
        y = np.asarray(k, float) - self.m
        return self.a + self.b * (self.rho * y + np.sqrt(y * y + self.sigma**2))

    def density(self, k: ArrayLike) -> Floats:
        """Return g(k); where it is negative, butterflies can be arbitraged.

        g = (1 - k w'/2w)^2 - w'^2/4 (1/w + 1/4) + w''/2.
        """
        x = np.asarray(k, float)
        y = x - self.m
        root = np.sqrt(y * y + self.sigma**2)
        w = self.variance(x)
        first = self.b * (self.rho + y / root)
        second = self.b * self.sigma**2 / root**3
        return (1 - x * first / (2 * w)) ** 2 - first**2 / 4 * (1 / w + 0.25) + second / 2

    def worst_density(self, low: float, high: float) -> tuple[float, float]:
        """Return the k within ``low``..``high`` where g is smallest, and g there.

        The whole range is screened, not its wings only: a slice may fail in its middle.
        """
        grid = np.linspace(low, high, 6_001)
        at = int(np.argmin(self.density(grid)))
        ends = grid[max(0, at - 1)], grid[min(grid.size - 1, at + 1)]
        k = float(np.asarray(optimize.fminbound(self._at, *ends, xtol=1e-10)))
        return k, self._at(k)

    def arbitraged(self, low: float, high: float) -> tuple[float, float] | None:
        """Return the interval around the worst k on which g < 0, or None where there is none."""
        k, g = self.worst_density(low, high)
        if g >= 0:
            return None
        return self._end(k, low), self._end(k, high)

    def _end(self, inside: float, outer: float) -> float:
        """Return the nearest zero of g from ``inside`` towards ``outer``, or ``outer``."""
        grid = np.linspace(inside, outer, 6_001)
        safe = np.flatnonzero(self.density(grid) >= 0)
        if not safe.size:
            return outer
        n = int(safe[0])
        return float(np.asarray(optimize.brentq(self._at, grid[n - 1], grid[n])))

    def _at(self, k: float) -> float:
        return float(self.density(k))


@dataclass(frozen=True, slots=True)
class Ssvi:
    """One slice of a surface SVI: theta the variance at the money, phi the curvature."""

    theta: float
    phi: float
    rho: float

    def variance(self, k: ArrayLike) -> Floats:
        """Return the total implied variance at log moneyness ``k``."""
        y = self.phi * np.asarray(k, float)
        inside = np.sqrt((y + self.rho) ** 2 + 1 - self.rho**2)
        return self.theta / 2 * (1 + self.rho * y + inside)

    def butterfly(self) -> tuple[float, float]:
        """Return theta phi (1 + |rho|), to be below 4, and theta phi^2 (1 + |rho|), at most 4.

        Source: Gatheral and Jacquier (2014), theorem 4.2: together sufficient.
        """
        one = self.theta * self.phi * (1 + abs(self.rho))
        return one, one * self.phi


def tenor_multiplier(days: float, power: float, days_min: float = 1) -> float:
    """Return by how much a shock of volatility is scaled for a tenor: (30 / days)^power.

    Source: Deribit, Derive and Paradex, portfolio margin; ``days_min`` bounds the last day.
    """
    return (30 / max(days_min, days)) ** power
