"""Banks that sell what they share: a leverage threshold against a leverage target.

Cont and Schaanning (2017), Fire sales, indirect contagion and systemic stress testing, compare
banks that sell only once a limit binds with banks that always restore their leverage (Greenwood,
Landier, Thesmar, 2015). The rules are theirs, the banks are drawn: no supervisor's data is here.
"""

from dataclasses import dataclass

import numpy as np

from tidegate.drivers.streams import Streams
from tidegate.lab.cascades import bounded_impact, leverage_targeting, threshold_deleveraging
from tidegate.lab.weather import F64


ROUNDS_MAX = 100


@dataclass(frozen=True, slots=True)
class Banks:
    """Balance sheets; all values in one unit."""

    loans: F64  # [banks], cannot be sold
    securities: F64  # [banks, classes]
    equity: F64  # [banks]

    @property
    def assets(self) -> F64:
        """Return total assets [banks]."""
        return self.loans + self.securities.sum(axis=1)

    @property
    def leverage(self) -> F64:
        """Return assets over equity [banks]."""
        return self.assets / self.equity

    @classmethod
    def drawn(cls, banks: int, classes: int, root: int) -> "Banks":
        """Return banks of unequal size with leverage within 15 and 28; stream "banks".

        A quarter to a half of what a bank owns are securities, spread by uniform weights.
        """
        stream = Streams(root, 0)["banks"]
        assets = np.exp(stream.standard_normal(banks))
        equity = assets / stream.uniform(15.0, 28.0, banks)
        share = stream.uniform(0.25, 0.5, banks)
        mix = stream.exponential(1.0, (banks, classes))
        mix /= mix.sum(axis=1, keepdims=True)
        return cls(assets * (1 - share), mix * (assets * share)[:, None], equity)


@dataclass(frozen=True, slots=True)
class Sale:
    """What a shock led to."""

    losses: F64  # [banks] by falling securities, without the shock itself
    price: F64  # [classes] of 1
    rounds: int
    sellers: int  # banks that sold anything


def threshold_sale(
    banks: Banks, shock: float, most: F64, target: F64, depth: F64, floor: float
) -> Sale:
    """Return the sales after loans lose ``shock`` of each bank's total assets, until nobody sells.

    A bank above leverage ``most`` [banks] sells an equal share of every class to come back to
    ``target``. ``depth`` [classes] is what moves a price by all of it; no price falls below
    ``floor``. Sales fetch the mean of the prices before and after their round; all of the proceeds
    repay debt.
    """
    left = np.ones(banks.equity.size)
    loans = banks.loans - shock * banks.assets
    debt = banks.assets - banks.equity
    price, sold = np.ones(depth.size), np.zeros(depth.size)
    raised = np.zeros(left.size)
    rounds = 0
    while rounds < ROUNDS_MAX:
        worth = left * (banks.securities @ price)
        equity = loans + worth - debt
        share = _shares(loans, worth, equity, most, target)
        if not share.any():
            break
        units = left * share
        sold += banks.securities.T @ units
        after = np.array(
            [1 - bounded_impact(q, d, floor) for q, d in zip(sold, depth, strict=True)]
        )
        proceeds = units * (banks.securities @ ((price + after) / 2))
        raised += proceeds
        debt -= proceeds
        left *= 1 - share
        price = after
        rounds += 1
    losses = banks.securities.sum(axis=1) - left * (banks.securities @ price) - raised
    return Sale(losses, price, rounds, int((left < 1).sum()))


def _shares(loans: F64, worth: F64, equity: F64, most: F64, target: F64) -> F64:
    """Return what share of its securities each bank sells; none where none are left."""
    out = np.zeros(worth.size)
    for k in np.flatnonzero(worth > 0):
        terms = (loans[k], worth[k], equity[k], most[k], target[k])
        out[k] = threshold_deleveraging(*(float(x) for x in terms)).share
    return out


def targeting_losses(banks: Banks, shock: float, depth: F64) -> F64:
    """Return losses [banks] of one round in which all restore their leverage, by linear impact.

    Securities alone are sold, by their weights in each portfolio, and they alone fall.
    """
    mix = banks.securities / banks.securities.sum(axis=1, keepdims=True)
    fallen = leverage_targeting(
        banks.assets, mix, banks.leverage - 1, 1 / depth, np.full(depth.size, shock), 1.0
    ).second
    return banks.securities @ fallen


def first_sale_at(banks: Banks, most: F64) -> F64:
    """Return the shock [banks] at which leverage is ``most``: (most E - A) / (A (most - 1))."""
    return (most * banks.equity - banks.assets) / (banks.assets * (most - 1))
