"""Estimators of toxicity, liquidity and volatility as papers define them, in floating point."""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, inf, log, pi, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize


Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KyleAuction:
    """The equilibrium of one auction between an insider, noise traders and a market maker."""

    beta: float  # how hard the insider trades on what it knows
    impact: float  # lambda: price per unit of order flow
    left: float  # variance of the value after the auction
    profit: float  # the insider's, expected


def kyle_single(value_variance: float, noise: float) -> KyleAuction:
    """Return the single-auction equilibrium; ``noise`` is the deviation of uninformed flow.

    Source: Kyle (1985).
    """
    deviation = sqrt(value_variance)
    return KyleAuction(
        noise / deviation, deviation / (2 * noise), value_variance / 2, deviation * noise / 2
    )


def amihud(returns: ArrayLike, volume: ArrayLike) -> float:
    """Return the mean of |return| over traded value. Source: Amihud (2002)."""
    return float((np.abs(np.asarray(returns, float)) / np.asarray(volume, float)).mean())


def least_squares(y: ArrayLike, *columns: ArrayLike) -> Floats:
    """Return intercept and slopes of ``y`` on ``columns`` by ordinary least squares."""
    target = np.asarray(y, float)
    x = np.column_stack([np.ones(target.size), *(np.asarray(c, float) for c in columns)])
    return np.linalg.lstsq(x, target, rcond=None)[0].astype(np.float64)


def ewma(returns: ArrayLike, decay: float, first: float) -> Floats:
    """Return the variance after each return, from ``first``: v' = decay * v + (1 - decay) * r^2."""
    variance, out = first, list[float]()
    for r in np.asarray(returns, float).tolist():
        variance = decay * variance + (1 - decay) * r**2
        out.append(variance)
    return np.array(out)


def half_life(decay: float) -> float:
    """Return after how many steps a weight has halved."""
    return log(0.5) / log(decay)


@dataclass(frozen=True, slots=True)
class VarianceForecast:
    """Expected variances of a GARCH(1,1), and how it forgets."""

    long_run: float
    path: Floats
    half_life: float


def garch_forecast(
    omega: float, alpha: float, beta: float, now: float, horizon: int
) -> VarianceForecast:
    """Return the variance expected at each step: it decays to the long run by alpha + beta.

    Source: Bollerslev (1986); infinite long run where alpha + beta >= 1.
    """
    kept = alpha + beta
    if kept >= 1:
        path = now + omega * np.arange(horizon) if kept == 1 else np.full(horizon, inf)
        return VarianceForecast(inf, path.astype(np.float64), inf)
    long_run = omega / (1 - kept)
    path = long_run + (now - long_run) * kept ** np.arange(horizon)
    return VarianceForecast(long_run, path.astype(np.float64), half_life(kept))


@dataclass(frozen=True, slots=True)
class Garch:
    """A fitted GARCH(1,1) with its standard errors from the Hessian."""

    estimate: Floats  # mu, omega, alpha, beta
    error: Floats


def garch_variance(parameters: ArrayLike, returns: ArrayLike) -> Floats:
    """Return the variances of mu, omega, alpha, beta; both start from the mean square residual."""
    mu, omega, alpha, beta = np.asarray(parameters, float).tolist()
    square = (np.asarray(returns, float) - mu) ** 2
    before = variance = float(square.mean())
    out = np.empty(square.size)
    for t, e in enumerate(square.tolist()):
        variance = omega + alpha * before + beta * variance
        out[t], before = variance, e
    return out


def garch_fit(returns: ArrayLike) -> Garch:
    """Fit a GARCH(1,1) by Gaussian maximum likelihood.

    Source: the benchmark of Fiorentini, Calzolari, Panattoni (1996): presample squares and variance
    are the mean square residual.
    """
    r = np.asarray(returns, float)

    def loss(p: Floats) -> float:
        variance = garch_variance(p, r)
        if (variance <= 0).any():
            return inf
        return 0.5 * float((np.log(2 * pi * variance) + (r - p[0]) ** 2 / variance).sum())

    start = np.array([r.mean(), r.var() * 0.05, 0.1, 0.85])
    found = optimize.minimize(
        loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4_000}
    )
    best = np.asarray(found.x, float)
    inverse = np.linalg.inv(_hessian(loss, best))
    return Garch(best, np.sqrt(np.diag(inverse)))


def _hessian(loss: Callable[[Floats], float], at: Floats) -> Floats:
    n = at.size
    step = 1e-4 * np.maximum(np.abs(at), 1e-2)
    out = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            total = 0.0
            for si, sj in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                moved = at.copy()
                moved[i] += si * step[i]
                moved[j] += sj * step[j]
                total += si * sj * loss(moved)
            out[i, j] = total / (4 * step[i] * step[j])
    return out


def heterogeneous(realised: ArrayLike) -> Floats:
    """Return c, daily, weekly and monthly slope of the next day's variance on its past means.

    Source: Corsi (2009): means over 1, 5 and 22 days.
    """
    v = np.asarray(realised, float)
    total = np.concatenate([[0.0], np.cumsum(v)])
    days = np.arange(22, v.size)
    means = [(total[days] - total[days - n]) / n for n in (1, 5, 22)]
    return least_squares(v[days], *means)


def conformal(scores: ArrayLike, alpha: float) -> tuple[int, float]:
    """Return k and the k-th smallest score, k = ceil((n + 1)(1 - alpha)); infinite when k > n.

    Source: Vovk and others (2005), split conformal prediction.
    """
    s = np.sort(np.asarray(scores, float))
    # The product is exact in decimals; a float of it may lie just above a whole number.
    k = ceil(round((s.size + 1) * (1 - alpha), 9))
    return k, float(s[k - 1]) if k <= s.size else inf


def adaptive(alpha: float, rate: float, errors: ArrayLike) -> Floats:
    """Return alpha_t of adaptive conformal inference: alpha' = alpha_t + rate (alpha - error).

    Source: Gibbs and Candes (2021).
    """
    path = [alpha]
    for error in np.asarray(errors, float).tolist():
        path.append(path[-1] + rate * (alpha - error))
    return np.array(path)


def egarch_variance(parameters: ArrayLike, returns: ArrayLike) -> Floats:
    """Return the variances of mu, omega, leverage, beta, size; the first is the mean square.

    log h' = omega + beta log h + leverage z + size (|z| - E|z|). Source: Nelson (1991).
    """
    mu, omega, leverage, beta, size = np.asarray(parameters, float).tolist()
    e = np.asarray(returns, float) - mu
    level, expected = log(float((e**2).mean())), sqrt(2 / pi)
    out = np.empty(e.size)
    for t, x in enumerate(e.tolist()):
        out[t] = level
        z = x * exp(-level / 2)
        level = omega + beta * level + leverage * z + size * (abs(z) - expected)
        level = min(50.0, max(-50.0, level))
    return np.exp(out)


def egarch_fit(returns: ArrayLike) -> Floats:
    """Fit an EGARCH(1,1) by Gaussian maximum likelihood; mu, omega, leverage, beta, size."""
    r = np.asarray(returns, float)

    def loss(p: Floats) -> float:
        if abs(p[3]) >= 1:
            return inf
        variance = egarch_variance(p, r)
        return 0.5 * float((np.log(2 * pi * variance) + (r - p[0]) ** 2 / variance).sum())

    start = np.array([r.mean(), 0.1 * log(r.var()), 0.0, 0.9, 0.2])
    options = {"xatol": 1e-8, "fatol": 1e-8, "maxiter": 6_000, "maxfev": 6_000}
    found = optimize.minimize(loss, start, method="Nelder-Mead", options=options)
    return np.asarray(found.x, float)
