"""How fast to sell under linear impact: the schedules of Almgren and Chriss."""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LinearImpact:
    """A market in which price moves in proportion to the speed and the size of what is sold.

    ``sigma`` is absolute price volatility per square root of a unit of time; selling at speed v
    costs ``spread + temporary * v`` a unit, and each unit sold moves the price by ``permanent``.
    """

    sigma: float
    temporary: float
    permanent: float = 0.0
    spread: float = 0.0

    def effective(self, interval: float) -> float:
        """Return the temporary impact less what permanent impact double counts in one interval.

        Raise ValueError where none is left: then selling all at once costs nothing, and the problem
        has no solution.
        """
        left = self.temporary - self.permanent * interval / 2
        if left <= 0:
            msg = (
                f"temporary impact {self.temporary:g} must exceed half the permanent impact of an "
                f"interval, {self.permanent * interval / 2:g}"
            )
            raise ValueError(msg)
        return left

    def grown(self, branching: float) -> "LinearImpact":
        """Return this market with its permanent impact amplified by ``1 / (1 - branching)``.

        What is sold pushes others into liquidation, and what those sell pushes on: a branching
        ratio n in front of the price turns a move of one into 1 / (1 - n). At n >= 1 there is no
        finite answer: ValueError.
        """
        if not 0 <= branching < 1:
            msg = f"a branching ratio of {branching:g} must lie within 0..1, 1 excluded"
            raise ValueError(msg)
        return LinearImpact(
            self.sigma, self.temporary, self.permanent / (1 - branching), self.spread
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is still held after each interval, what each sells, and what it costs."""

    holdings: NDArray[np.float64]  # [intervals + 1], from everything to nothing
    trades: NDArray[np.float64]  # [intervals]
    cost: float  # expected shortfall against the price at the start
    variance: float
    kappa: float  # 1 / time constant of the discrete solution
    kappa_tilde: float  # of the continuous one: sqrt(lambda sigma^2 / eta~)

    def at_risk(self, z: float) -> float:
        """Return the shortfall that is exceeded with the probability of a z-score of ``z``."""
        return self.cost + z * float(np.sqrt(self.variance))


def almgren_chriss(
    size: float, horizon: float, intervals: int, market: LinearImpact, aversion: float
) -> Schedule:
    """Return the schedule that minimises expected cost + ``aversion`` * variance.

    x_j = X sinh(kappa (T - t_j)) / sinh(kappa T) with 2 (cosh(kappa tau) - 1) / tau^2 = lambda
    sigma^2 / eta~; written with decaying exponentials, so that no aversion is too large for it.
    An aversion of zero sells evenly; an infinite one sells all at once.

    Source
    ------
    Almgren and Chriss, Optimal execution of portfolio transactions (2000), eqs. 17-22.
    """
    tau = horizon / intervals
    effective = market.effective(tau)
    square = aversion * market.sigma**2 / effective
    kappa_tilde = float(np.sqrt(square))
    kappa = float(np.arccosh(1 + square * tau**2 / 2) / tau) if square < inf else inf
    left = np.asarray(horizon - tau * np.arange(intervals + 1), np.float64)
    if kappa == 0:
        shape = left / horizon
    elif kappa == inf:
        shape = np.where(left == horizon, 1.0, 0.0)
    else:
        # sinh(a) / sinh(b) = exp(a - b) (1 - exp(-2a)) / (1 - exp(-2b))
        shape = np.exp(kappa * (left - horizon)) * np.expm1(-2 * kappa * left)
        shape /= np.expm1(-2 * kappa * horizon)
    holdings = np.asarray(size * shape, np.float64)
    holdings[-1] = 0.0
    trades = holdings[:-1] - holdings[1:]
    return Schedule(
        holdings=holdings,
        trades=trades,
        cost=expected_cost(size, trades, tau, market),
        variance=float(market.sigma**2 * tau * (holdings[1:] ** 2).sum()),
        kappa=kappa,
        kappa_tilde=kappa_tilde,
    )


def expected_cost(
    size: float, trades: NDArray[np.float64], interval: float, market: LinearImpact
) -> float:
    """Return gamma X^2 / 2 + eps X + (eta~ / tau) sum n^2 of selling ``trades``."""
    effective = market.effective(interval)
    squares = float((trades**2).sum())
    return market.permanent * size**2 / 2 + market.spread * size + effective / interval * squares


def at_once(size: float, horizon: float, intervals: int, market: LinearImpact) -> Schedule:
    """Return the schedule that sells everything in the first interval."""
    return almgren_chriss(size, horizon, intervals, market, inf)


def frontier(
    size: float, horizon: float, intervals: int, market: LinearImpact, aversions: list[float]
) -> list[Schedule]:
    """Return the efficient frontier: the best schedule for each aversion to risk."""
    return [almgren_chriss(size, horizon, intervals, market, a) for a in aversions]
