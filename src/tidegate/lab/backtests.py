"""Whether a margin covered what it promised: coverage, independence, and expected shortfall."""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from math import inf
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import xlogy

from tidegate.drivers.streams import Streams


Floats: TypeAlias = NDArray[np.float64]

YELLOW, RED = 0.95, 0.9999  # Basel: cumulative probabilities at which a zone begins
REJECTED: Final = 0.95


def kupiec(days: int, breaches: int, rate: float) -> tuple[float, float]:
    """Return the likelihood ratio of "``rate`` of days breach", and its p-value (chi squared, 1).

    Source: Kupiec (1995), proportion of failures.
    """
    seen = breaches / days
    held = xlogy(days - breaches, 1 - rate) + xlogy(breaches, rate)
    found = xlogy(days - breaches, 1 - seen) + xlogy(breaches, seen)
    ratio = float(-2 * (held - found))
    return ratio, float(stats.chi2.sf(ratio, 1))


def kupiec_region(days: int, rate: float, level: float = REJECTED) -> tuple[int, int]:
    """Return the fewest and the most breaches in ``days`` that the test does not reject."""
    most = float(stats.chi2.ppf(level, 1))
    kept = [x for x in range(days + 1) if kupiec(days, x, rate)[0] <= most]
    return kept[0], kept[-1]


def independence(n00: int, n01: int, n10: int, n11: int) -> tuple[float, float]:
    """Return the likelihood ratio of "a breach does not call for another", and its p-value.

    ``nij`` counts days in state j after days in state i, 1 being a breach. Source: Christoffersen
    (1998).
    """
    both = (n01 + n11) / (n00 + n01 + n10 + n11)
    calm = n01 / (n00 + n01) if n00 + n01 else 0.0
    after = n11 / (n10 + n11) if n10 + n11 else 0.0
    one = xlogy(n00 + n10, 1 - both) + xlogy(n01 + n11, both)
    two = xlogy(n00, 1 - calm) + xlogy(n01, calm) + xlogy(n10, 1 - after) + xlogy(n11, after)
    ratio = float(-2 * (one - two))
    return ratio, float(stats.chi2.sf(ratio, 1))


def conditional_coverage(coverage: float, independent: float) -> tuple[float, float]:
    """Return the joint likelihood ratio of both tests, and its p-value (chi squared, 2)."""
    ratio = coverage + independent
    return ratio, float(stats.chi2.sf(ratio, 2))


def traffic_light(days: int, rate: float) -> tuple[int, int, Floats]:
    """Return the first yellow and the first red number of breaches, and P(X <= x) up to red.

    Source: Basel Committee (1996): yellow from a cumulative 95 %, red from 99.99 %.
    """
    cumulative: Floats = stats.binom.cdf(np.arange(days + 1), days, rate)
    yellow = int(np.argmax(cumulative >= YELLOW))
    red = int(np.argmax(cumulative >= RED))
    return yellow, red, cumulative[: red + 1]


def z2(returns: ArrayLike, var: ArrayLike, shortfall: ArrayLike, alpha: float) -> float:
    """Return the statistic Z2: 0 expected, negative where losses beyond VaR exceed the shortfall.

    sum X I / (T alpha ES) + 1 over the days with X < -VaR. Source: Acerbi and Szekely (2014).
    """
    x = np.asarray(returns, float)
    beyond = x < -np.asarray(var, float)
    told = np.where(beyond, x / np.asarray(shortfall, float), 0.0)
    return float(told.sum() / (x.size * alpha) + 1)


def z2_under(days: int, alpha: float, df: float | None, samples: int, streams: Streams) -> Floats:
    """Return ``samples`` draws of Z2 for returns that really are normal (``df`` None) or t.

    Only days beyond VaR count: their number is binomial and their losses are independent draws of
    the tail, so a sample costs T alpha draws instead of T. Draws come from the stream "z2".
    """
    law = stats.norm if df is None else stats.t(df)
    _, expected = tail_normal(alpha) if df is None else tail_student(alpha, df)
    draw = streams["z2"]
    beyond = draw.binomial(days, alpha, samples)
    losses: Floats = -law.ppf(alpha * draw.random(int(beyond.sum())))
    ends = np.cumsum(beyond)
    total = np.concatenate([[0.0], np.cumsum(losses)])
    return 1 - (total[ends] - total[ends - beyond]) / (days * alpha * expected)


def tail_normal(alpha: float) -> tuple[float, float]:
    """Return value at risk and expected shortfall of a standard normal at tail ``alpha``."""
    quantile = float(stats.norm.ppf(alpha))
    return -quantile, float(stats.norm.pdf(quantile)) / alpha


def tail_student(alpha: float, df: float) -> tuple[float, float]:
    """Return value at risk and expected shortfall of Student's t with ``df`` > 1."""
    quantile = float(stats.t.ppf(alpha, df))
    if df <= 1:
        return -quantile, inf
    density = float(stats.t.pdf(quantile, df))
    return -quantile, density / alpha * (df + quantile**2) / (df - 1)
