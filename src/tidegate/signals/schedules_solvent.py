"""The slowest sale that still covers a debt: three regimes, and horizons for a constant rate."""

# scipy ships no types: what it returns is named where it enters.
# pyright: reportMissingTypeStubs=false

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.optimize

from tidegate.signals.schedules import LinearImpact, Schedule, almgren_chriss, at_once


optimize: Any = scipy.optimize

ANY, CONSTRAINED, INFEASIBLE = "any", "constrained", "infeasible"
SLOWEST, FASTEST = 1e-5, 50.0  # kappa~ tau at which a schedule is even, and at once, to 1e-9
TOLERANCE: Final = 1e-13


@dataclass(frozen=True, slots=True)
class Solvent:
    """What can be promised about a debt, and the schedule that promises it.

    ``schedule`` is the slowest that covers the debt; where none does, the one that covers most.
    """

    regime: str
    aversion: float
    schedule: Schedule
    at_risk: float  # shortfall at the stated confidence
    capacity: float  # the largest debt that any schedule of the family covers


def solvency_constrained(
    size: float,
    price: float,
    debt: float,
    horizon: float,
    intervals: int,
    market: LinearImpact,
    z: float,
) -> Solvent:
    """Return the least price deviation that still protects ``debt`` with the confidence of ``z``.

    Along the family of `almgren_chriss` schedules the shortfall at risk, E + z sd, is unimodal in
    the logarithm of the aversion. ``any``: an even sale covers the debt. ``constrained``: the
    smallest aversion that does. ``infeasible``: even the best does not; selling faster would only
    lose more, so whoever asks must stop and turn to the fund or to deleveraging.
    """
    tau = horizon / intervals

    def schedule_at(log_rate: float) -> Schedule:
        square = (np.exp(log_rate) / tau) ** 2
        aversion = float(square * market.effective(tau) / market.sigma**2)
        return almgren_chriss(size, horizon, intervals, market, aversion)

    budget = size * price - debt

    def shortfall(log_rate: float) -> float:
        return schedule_at(log_rate).at_risk(z)

    def excess(log_rate: float) -> float:
        return shortfall(log_rate) - budget

    even = almgren_chriss(size, horizon, intervals, market, 0.0)
    slow, fast = float(np.log(SLOWEST)), float(np.log(FASTEST))
    best = optimize.minimize_scalar(
        shortfall,
        bounds=(slow, fast),
        method="bounded",
        options={"xatol": 1e-10},
    )
    candidates = [
        (even.at_risk(z), slow, even),
        (float(best.fun), float(best.x), schedule_at(float(best.x))),
        (at_once(size, horizon, intervals, market).at_risk(z), fast, schedule_at(fast)),
    ]
    least, place, fastest = min(candidates, key=lambda c: c[0])
    capacity = size * price - least
    if even.at_risk(z) <= budget:
        return Solvent(ANY, 0.0, even, even.at_risk(z), capacity)
    if least > budget:
        return Solvent(INFEASIBLE, _aversion(fastest, tau, market), fastest, least, capacity)
    found = slow
    if place > slow:
        found = float(optimize.brentq(excess, slow, place, xtol=TOLERANCE))
    chosen = schedule_at(found)
    return Solvent(CONSTRAINED, _aversion(chosen, tau, market), chosen, chosen.at_risk(z), capacity)


def _aversion(schedule: Schedule, tau: float, market: LinearImpact) -> float:
    return schedule.kappa_tilde**2 * market.effective(tau) / market.sigma**2


def best_constant_horizon(size: float, market: LinearImpact, z: float) -> tuple[float, float]:
    """Return (horizon, shortfall at risk) of the best sale at a constant rate.

    L(T) = gamma X^2 / 2 + eps X + eta X^2 / T + z sigma X sqrt(T / 3), least at T = (2 sqrt(3) eta
    X / (z sigma))^(2/3).
    """
    horizon = (2 * np.sqrt(3) * market.temporary * size / (z * market.sigma)) ** (2 / 3)
    fixed = market.permanent * size**2 / 2 + market.spread * size
    moving = market.temporary * size**2 / horizon + z * market.sigma * size * np.sqrt(horizon / 3)
    return float(horizon), float(fixed + moving)


def best_power_horizon(
    impact: float, exponent: float, share: float, sigma: float, z: float
) -> tuple[float, float]:
    """Return (horizon, shortfall at risk per unit) where cost is eta sigma (share / T)^exponent.

    ``share`` is the size over the volume of one unit of time. Volatility cancels in the horizon: T
    = (2 sqrt(3) beta eta share^beta / z)^(1 / (beta + 1/2)).
    """
    top = 2 * np.sqrt(3) * exponent * impact * share**exponent / z
    horizon = float(top ** (1 / (exponent + 0.5)))
    cost = impact * sigma * (share / horizon) ** exponent
    return horizon, float(cost + z * sigma * np.sqrt(horizon / 3))
