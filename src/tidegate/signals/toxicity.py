"""When a liquidation makes an account worse: frontiers of loan to value under slippage."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frontiers:
    """Loan to value above which a marginal liquidation raises loan to value."""

    slippage: float  # lambda: what the price loses while a unit of collateral is sold
    fixed: float  # with a fixed incentive
    without_impact: float
    dynamic: float  # with an incentive that falls with health
    cap: float  # the largest safe threshold under the dynamic incentive


def slippage_of_pool(collateral: float, quote_reserve: float) -> float:
    """Return lambda of a constant-product pool: 1 + 2c/y for a collateral worth ``c``."""
    return 1 + 2 * collateral / quote_reserve


def slippage_linear(collateral: float, slope: float) -> float:
    """Return lambda where price falls in proportion to what is sold: 1 + phi c."""
    return 1 + slope * collateral


def frontiers(slippage: float, threshold: float, incentive: float) -> Frontiers:
    """Return where liquidation turns toxic for a liquidation ``threshold`` and an ``incentive``.

    Fixed: l > 1 / ((1 + i) lambda). Dynamic, i(h) = i (1 - h) with h = v / l: l > (1 + i v lambda)
    / ((1 + i) lambda). At the threshold itself, v <= 1 / lambda.

    Source
    ------
    Warmuz, Chaudhary and Pinna, Toxic liquidation spirals (arXiv:2212.07306); McFarlane
    (arXiv:2510.10171), eqs. 2-4.
    """
    return Frontiers(
        slippage=slippage,
        fixed=1 / ((1 + incentive) * slippage),
        without_impact=1 / (1 + incentive),
        dynamic=(1 + incentive * threshold * slippage) / ((1 + incentive) * slippage),
        cap=1 / slippage,
    )


def health_after_step(
    collateral: float,
    price: float,
    debt: float,
    threshold: float,
    incentive: float,
    reserves: tuple[float, float],
    repay: float,
) -> tuple[float, float]:
    """Return health before and after ``repay`` is repaid and its collateral sold into a pool.

    The liquidator takes (1 + i) times the worth of what it repays and sells it into ``reserves``
    (collateral, quote) of a constant-product pool, whose price then values what is left.
    """
    held, quote = reserves
    seized = repay * (1 + incentive) / price
    price_after = held * quote / (held + seized) ** 2  # quote / held of a pool of fixed product
    before = threshold * collateral * price / debt
    return before, threshold * (collateral - seized) * price_after / (debt - repay)
