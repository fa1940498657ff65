"""Models of cascades and fire sales from the literature, in floating point."""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln


Floats: TypeAlias = NDArray[np.float64]

SOLD_AT_CALIBRATION: Final = 0.05  # share of the market whose sale calibrates an impact


def amplification(branching: float) -> float:
    """Return by how much a shock is multiplied, ``1 / (1 - n)``; infinite from n = 1 on."""
    return 1 / (1 - branching) if branching < 1 else inf


def branching_ratio(density: float, depth: float) -> float:
    """Return n: forced flow per unit of price move over depth per unit of price move."""
    return density / depth if depth > 0 else inf


def density_for(amplified: float, depth: float) -> float:
    """Return the largest density of liquidations at which a shock grows ``amplified``-fold."""
    return depth * (1 - 1 / amplified)


@dataclass(frozen=True, slots=True)
class Ladder:
    """What a ladder of liquidation prices did: units per round, and the price at the end."""

    rounds: list[float]
    price: float

    @property
    def units(self) -> float:
        """All units that were forced out."""
        return sum(self.rounds)


def ladder(
    price: float,
    shock: float,
    liquidated_at: Sequence[float],
    units: Sequence[float],
    depth: float,
    rounds_max: int,
) -> Ladder:
    """Walk down a ladder: a round sells all that the price has reached, and its sale moves it.

    ``shock`` is a share of ``price``; ``depth`` is units per whole price: selling u units takes
    ``u / depth`` of the first price off. Prices never fall below zero.
    """
    now, left = price * (1 - shock), list(zip(liquidated_at, units, strict=True))
    rounds: list[float] = []
    while left and len(rounds) < rounds_max:
        # A price that differs by rounding alone has been reached.
        reached = [u for at, u in left if at >= now - 1e-9 * price]
        if not reached:
            break
        left = [(at, u) for at, u in left if at < now - 1e-9 * price]
        rounds.append(float(sum(reached)))
        now = max(0.0, now - price * rounds[-1] / depth)
    return Ladder(rounds, now)


def impact_rate(fall: float, sold: float = SOLD_AT_CALIBRATION) -> float:
    """Return the beta of ``exp(-beta * share)`` with which selling ``sold`` costs ``fall``.

    Source: Cifuentes, Ferrucci, Shin (2005); Gai and Kapadia (2010).
    """
    return -log(1 - fall) / sold


def exponential_price(beta: float, sold: float) -> float:
    """Return the price after a share ``sold`` of the market was sold, from 1."""
    return exp(-beta * sold)


@dataclass(frozen=True, slots=True)
class FireSale:
    """One round of leverage targeting: returns, sales, second returns and losses; losses < 0."""

    first: Floats  # [banks]
    sales: Floats  # [assets]
    second: Floats  # [assets]
    losses: Floats  # [banks]
    vulnerability: float  # aggregate, as a share of all equity


def leverage_targeting(
    assets: ArrayLike,
    weights: ArrayLike,
    leverage: ArrayLike,
    illiquidity: ArrayLike,
    shock: ArrayLike,
    equity: float,
) -> FireSale:
    """Return what banks that restore their leverage sell after a shock, and what that costs them.

    ``weights`` is [banks, assets]. Source: Greenwood, Landier, Thesmar (2015). It sells after gains
    as it buys after losses, so it overstates small shocks.
    """
    a, b, m = np.asarray(assets, float), np.asarray(leverage, float), np.asarray(weights, float)
    first: Floats = m @ np.asarray(shock, float)
    sales: Floats = m.T @ (a * b * first)
    second: Floats = np.asarray(illiquidity, float) * sales
    losses: Floats = a * (m @ second)
    return FireSale(first, sales, second, losses, float(losses.sum()) / equity)


@dataclass(frozen=True, slots=True)
class Deleveraging:
    """What a leverage threshold makes an institution sell."""

    leverage: float
    share: float  # of its securities
    sale: float
    after: float  # leverage once it has sold


def threshold_deleveraging(
    illiquid: float, securities: float, equity: float, most: float, target: float
) -> Deleveraging:
    """Return the one-sided rule: nothing up to leverage ``most``, then back to ``target``.

    Source: Cont and Schaanning (2017).
    """
    total = illiquid + securities
    if equity <= 0:
        return Deleveraging(inf, 1.0, securities, inf)
    before = total / equity
    share = 0.0
    if before > most and securities > 0:
        share = max(0.0, min(1.0, (total - target * equity) / securities))
    sale = share * securities
    return Deleveraging(before, share, sale, (total - sale) / equity)


def market_depth(c: float, daily_volume: float, volatility: float, days: float) -> float:
    """Return D = c * ADV / sigma * sqrt(tau): what must be sold to move a price by all of it."""
    return c * daily_volume / volatility * sqrt(days)


def bounded_impact(sold: float, depth: float, floor: float) -> float:
    """Return the relative fall after selling ``sold``: linear at first, never beyond ``floor``.

    Psi(q) = (1 - B/S)(1 - exp(-q / ((1 - B/S) D))), ``floor`` = B/S. Cont and Schaanning (2017).
    """
    most = 1 - floor
    return most * (1 - exp(-sold / (most * depth))) if most > 0 else 0.0


def borel(n: float, largest: int) -> Floats:
    """Return P(S = k), k = 1..largest, of the size of a cascade with Poisson offspring of mean n.

    e^(-nk) (nk)^(k-1) / k!, Borel (1942); for n > 1 the probabilities of finite sizes.
    """
    k = np.arange(1, largest + 1, dtype=float)
    if n == 0:
        return (k == 1).astype(float)
    return np.exp(-n * k + (k - 1) * np.log(n * k) - gammaln(k + 1))


def borel_moments(n: float) -> tuple[float, float, float]:
    """Return mean and variance of a cascade's size, and the long windows' Fano factor."""
    if n >= 1:
        return inf, inf, inf
    return 1 / (1 - n), n / (1 - n) ** 3, 1 / (1 - n) ** 2


def spectral(matrix: ArrayLike) -> tuple[float, Floats]:
    """Return the spectral radius of M[i, j], and (I - M')^-1 1; infinite where it is >= 1.

    M[i, j] are the expected offspring in j of an event in i.
    """
    m = np.asarray(matrix, float)
    radius = float(np.abs(np.linalg.eigvals(m)).max())
    ones = np.ones(m.shape[0])
    if radius >= 1:
        return radius, ones * inf
    return radius, np.linalg.solve(np.eye(m.shape[0]) - m.T, ones).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Clearing:
    """The price at which leveraged value investors and noise traders hold all shares."""

    price: float
    leverage: float
    capped: bool


def leverage_clearing(
    shares: float, value: float, noise: float, wealth: float, beta: float, most: float
) -> Clearing:
    """Return the clearing price of xi / p + lambda W / p = N, lambda = min(beta (V - p), most).

    A fund is long only: above its value it holds nothing. Source: Thurner, Farmer, Geanakoplos
    (2012), who show that capped funds sell into a falling market.
    """
    price = (noise + beta * value * wealth) / (shares + beta * wealth)
    leverage = beta * (value - price)
    if leverage < 0:
        return Clearing(noise / shares, 0.0, capped=False)
    if leverage > most:
        return Clearing((noise + most * wealth) / shares, most, capped=True)
    return Clearing(price, leverage, capped=False)


def branching_from_counts(counts: ArrayLike) -> tuple[float, float, float]:
    """Return mean and variance of counts in long windows, and n = 1 - sqrt(mean / variance).

    Needs no kernel and no likelihood; negative where counts vary less than Poisson ones. Source:
    Hardiman and Bouchaud (2014), arXiv:1403.5227.
    """
    c = np.asarray(counts, float)
    mean, variance = float(c.mean()), float(c.var(ddof=1))
    return mean, variance, 1 - sqrt(mean / variance) if variance > 0 else -inf
