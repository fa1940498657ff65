"""A lending pool whose liquidators must sell: how often its debt is left without collateral.

The question and the criterion are those of Kao, Chitra, Chiang, Morrow (Gauntlet, 2020), Market
Risk Assessment of Compound: sweep volatility and debt over average daily volume, call a run failed
if more than 1 % of the debt is under-collateralised at its end. The pool, its borrowers and the
impact of sales are ours; prices are relative to the first one, values in units of all debt.
"""

from dataclasses import dataclass
from math import exp, log, log1p, sqrt
from typing import Final

import numpy as np

from tidegate.drivers.streams import Streams
from tidegate.lab.cascades import market_depth
from tidegate.lab.weather import F64
from tidegate.lab.worlds.ground import VOLATILITY_MAX, within


FAILED_ABOVE: Final = 0.01  # share of the debt, the criterion of the report
DAYS_A_YEAR: Final = 365


@dataclass(frozen=True, slots=True)
class Rules:
    """What the pool allows, and how its collateral sells."""

    factor: float = 0.75  # debt over collateral at which a loan may be liquidated
    incentive: float = 0.08  # collateral seized beyond what was repaid
    close: float = 0.5  # share of a loan that one liquidation may repay
    days: float = 5.0
    steps: int = 240
    depth_c: float = 0.4  # of `cascades.market_depth`
    half_life_days: float = 1 / 12  # of the displacement that sales leave
    recovered: bool = False  # whether the end is valued as if all displacement had decayed

    @property
    def step_days(self) -> float:
        """Return the length of a step."""
        return self.days / self.steps


@dataclass(frozen=True, slots=True)
class Loans:
    """Borrowers of one pool; [loans]."""

    debt: F64  # sums to 1
    collateral: F64  # in coins of price 1 at the start

    @classmethod
    def drawn(cls, count: int, rules: Rules, root: int) -> "Loans":
        """Return loans of very unequal size, from the brink upwards; stream "loans".

        Debts are lognormal of deviation 1.5. A loan's collateral is above the line by an
        exponential share of mean 50 %, and never by less than 2 %.
        """
        stream = Streams(root, 0)["loans"]
        debt = np.exp(1.5 * stream.standard_normal(count))
        above = 1.02 + stream.exponential(0.5, count)
        debt /= debt.sum()
        return cls(debt, debt / rules.factor * above)


def uncovered(
    loans: Loans, rules: Rules, volatility: float, debt_over_volume: float, normals: F64
) -> F64:
    """Return the share of the debt whose collateral is worth less, at the end of each path.

    ``volatility`` is a year's; ``normals`` [paths, steps] move the price that sales do not. In each
    step liquidators repay ``close`` of every loan beyond the line, all in proportion, as far as the
    last coin seized still sells for what it cost; what they sell moves the price and decays.
    """
    within("lending.volatility", volatility, 0.0, VOLATILITY_MAX, open_=True)
    within("lending.debt_over_volume", debt_over_volume, 0.0, 1e6, open_=True)
    paths = normals.shape[0]
    daily = volatility / sqrt(DAYS_A_YEAR)
    step = daily * sqrt(rules.step_days)
    logs = np.cumsum(step * normals - step * step / 2, axis=1)
    depth = depth_of(rules, volatility, debt_over_volume)
    keep = exp(-log(2) * rules.step_days / rules.half_life_days)
    debt, coins = np.tile(loans.debt, (paths, 1)), np.tile(loans.collateral, (paths, 1))
    moved = np.zeros(paths)
    for t in range(normals.shape[1]):
        moved *= keep
        price = np.exp(logs[:, t] - moved)
        rows = np.flatnonzero(
            (rules.factor * coins * price[:, None] < debt).any(axis=1) & (rules.incentive > 0)
        )
        if rows.size:
            sold = _liquidate(debt, coins, rows, price[rows], rules, depth)
            moved[rows] += sold / depth
    price = np.exp(logs[:, -1] - (0.0 if rules.recovered else moved))
    return np.where(coins * price[:, None] < debt, debt, 0.0).sum(axis=1)


def depth_of(rules: Rules, volatility: float, debt_over_volume: float) -> float:
    """Return what must be sold, in units of all debt, to move the logarithm of the price by 1."""
    daily = volatility / sqrt(DAYS_A_YEAR)
    return market_depth(rules.depth_c, 1 / debt_over_volume, daily, 1.0)


def _liquidate(
    debt: F64, coins: F64, rows: np.ndarray, price: F64, rules: Rules, depth: float
) -> F64:
    """Take from ``debt`` and ``coins`` of ``rows`` what is repaid and seized; return its worth."""
    owed, held = debt[rows], coins[rows]
    bonus, at = 1 + rules.incentive, price[:, None]
    open_ = rules.factor * held * at < owed
    seized = np.where(open_, np.minimum(rules.close * owed * bonus, held * at), 0.0)
    # Sold along exp(-q / depth), the last unit fetches what it cost at q = depth * log(1 + i).
    wanted = seized.sum(axis=1)
    most = depth * log1p(rules.incentive)
    share = most / np.maximum(most, wanted)
    seized *= share[:, None]
    debt[rows] = owed - seized / bonus
    coins[rows] = held - seized / at
    return share * wanted


def failed(shares: F64) -> np.ndarray:
    """Return which runs failed by the criterion."""
    return shares > FAILED_ABOVE
