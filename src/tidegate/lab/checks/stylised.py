"""Stylised facts of returns: heavy tails, volatility that clusters, direction that does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from tidegate.lab.weather import F64


TAIL = 0.02  # share of the returns that a tail index looks at
LAGS = (1, 6, 24)


def hill(sizes: F64, share: float = TAIL) -> tuple[float, float]:
    """Return the tail index of positive ``sizes``, and its standard error for independent ones.

    1 / mean(log(x / x_k)) over the k largest, the (k + 1)-th being x_k. Source: Hill (1975). About
    3 for returns of most markets; a normal has none, and shows a large number that grows with the
    sample. Clustered sizes are worth fewer observations than there are, so the error is too small.
    """
    k = max(2, int(sizes.size * share))
    top = np.sort(sizes)[::-1][: k + 1]
    index = 1.0 / float(np.log(top[:k] / top[k]).mean())
    return index, index / sqrt(k)


def autocorrelation(series: F64, lag: int) -> float:
    """Return the sample autocorrelation at ``lag`` >= 1."""
    x = series - series.mean()
    return float((x[lag:] * x[:-lag]).sum() / (x * x).sum())


@dataclass(frozen=True, slots=True)
class Facts:
    """What a series of returns looks like. ``band`` is what no correlation would stay within."""

    count: int
    kurtosis: float  # 3 for a normal
    left: float  # tail indexes of falls and rises, and the error of the first
    right: float
    left_error: float
    linear: float  # autocorrelation of returns at one lag
    clustering: tuple[float, ...]  # of |returns| at `LAGS`
    band: float  # two standard errors of an autocorrelation of independent returns


def facts(returns: F64, lags: Sequence[int] = LAGS) -> Facts:
    """Return the facts of one series [T] of returns that are not all alike."""
    x = returns - returns.mean()
    variance = float((x**2).mean())
    left, left_error = hill(-returns[returns < 0])
    right, _ = hill(returns[returns > 0])
    size = np.abs(returns)
    return Facts(
        count=returns.size,
        kurtosis=float((x**4).mean()) / variance**2,
        left=left,
        right=right,
        left_error=left_error,
        linear=autocorrelation(returns, 1),
        clustering=tuple(autocorrelation(size, lag) for lag in lags),
        band=2.0 / sqrt(returns.size),
    )
