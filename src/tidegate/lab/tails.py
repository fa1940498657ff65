"""Margins from the tails of returns: filtered history, peaks over a threshold, procyclicality."""

from dataclasses import dataclass
from math import ceil, exp, inf, log, sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike


EWMA: Final = 0.94  # RiskMetrics (1996), daily


@dataclass(frozen=True, slots=True)
class Filtered:
    """Value at risk and expected shortfall with and without the filter, in the returns' units."""

    volatility: float  # forecast for the next day
    var: float
    shortfall: float
    unfiltered: float  # plain historical simulation
    worst: int  # how many observations make the tail


def filtered_history(returns: ArrayLike, decay: float, alpha: float, first: int) -> Filtered:
    """Return filtered historical simulation: old shocks at the volatility of tomorrow.

    z_t = r_t / sigma_t and scenarios z_t * sigma_(T+1), where the variance is an EWMA that starts
    from the mean square of the ``first`` returns. The tail is the ``ceil(n alpha)`` worst.
    Source: Barone-Adesi, Giannopoulos, Vosper (1999).
    """
    r = np.asarray(returns, float)
    variance = float((r[:first] ** 2).mean())
    scaled = np.empty_like(r)
    for t, x in enumerate(r):
        scaled[t] = x / sqrt(variance)
        variance = decay * variance + (1 - decay) * x * x
    tomorrow = sqrt(variance)
    worst = ceil(r.size * alpha)
    tail = np.sort(scaled)[:worst] * tomorrow
    plain = np.sort(r)[worst - 1]
    return Filtered(tomorrow, float(-tail[-1]), float(-tail.mean()), float(-plain), worst)


def peaks_over_threshold(
    threshold: float, scale: float, shape: float, seen: int, beyond: int, level: float
) -> tuple[float, float]:
    """Return value at risk and expected shortfall of a generalised Pareto tail.

    VaR = u + b/xi ((n/Nu (1 - q))^-xi - 1), ES = (VaR + b - xi u) / (1 - xi); infinite from xi = 1
    on. Source: McNeil and Frey (2000).
    """
    left = seen / beyond * (1 - level)
    if shape == 0:
        var = threshold - scale * log(left)
    else:
        var = threshold + scale / shape * (left**-shape - 1)
    return var, (var + scale - shape * threshold) / (1 - shape) if shape < 1 else inf


@dataclass(frozen=True, slots=True)
class Procyclicality:
    """How much a margin moved: over its whole course, and within ``n`` observations."""

    peak_to_trough: float
    increase: float
    ratio: float


def procyclicality(margins: ArrayLike, n: int) -> Procyclicality:
    """Return peak over trough, and the largest increase and ratio between t and t + n.

    Source: Murphy, Vasios, Vause (2014), Bank of England Financial Stability Paper 29.
    """
    m = np.asarray(margins, float)
    early, late = m[:-n], m[n:]
    return Procyclicality(
        float(m.max() / m.min()), float((late - early).max()), float((late / early).max())
    )


def decay_of(half_life: float) -> float:
    """Return the decay of an EWMA whose weights halve every ``half_life`` observations."""
    return exp(-log(2) / half_life)
