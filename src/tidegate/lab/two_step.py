"""The liquidator's best attack on a close factor: two liquidations where one was meant."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TwoSteps:
    """What a liquidator repays in each step, and what it earns against a single one."""

    first: float
    second: float
    profit: float
    profit_of_one: float


def two_steps(
    collateral: float, debt: float, threshold: float, spread: float, close_factor: float
) -> TwoSteps:
    """Return the best two steps against a fixed spread and a close factor.

    r1 = (D - LT C) / (1 - LT (1 + LS)) leaves health just at one, so that the account may be
    liquidated again: r2 = CF (D - r1). Only where the account is liquidatable and LT (1 + LS) < 1:
    ValueError elsewhere. One liquidation an account and interval, or closing to a target health,
    takes the gain away.

    Source
    ------
    Qin, Zhou, Gamito, Jovanovic and Gervais, An empirical study of DeFi liquidations (2021), 5.2.
    """
    room = 1 - threshold * (1 + spread)
    first = (debt - threshold * collateral) / room if room > 0 else -1.0
    if first < 0:
        msg = "the account must be liquidatable, and threshold x (1 + spread) below one"
        raise ValueError(msg)
    second = close_factor * (debt - first)
    return TwoSteps(first, second, spread * (first + second), spread * close_factor * debt)
