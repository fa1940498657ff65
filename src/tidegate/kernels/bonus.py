"""What a liquidator gets beyond what it repays, and when that is too much.

``health`` is adjusted collateral over debt and ``ltv`` debt over collateral, both at ``scale``. A
bonus is the part beyond the value repaid; a factor is one plus the bonus. Compiled, a value times
the scale must stay below 2**62 (`improves`); a peer's own scales run unbounded.
"""

from tidegate.domain.units import kernel, muldiv, muldiv_up


DEEP = 99  # percent: the loan-to-value from which a loan counts as lost, at Kamino


@kernel
def linear_bonus(health: int, deepest: int, least: int, most: int, scale: int) -> int:
    """Return the bonus at ``health``: ``least`` at the line, ``most`` at ``deepest`` and below.

    b = least + (most - least) * (1 - health) / (1 - deepest), rounded down; 0 <= deepest < scale.

    Source: Aave v4, `calculateLiquidationBonus`.
    """
    if health <= deepest:
        return most
    lack = max(0, scale - health)
    return least + muldiv(most - least, lack, scale - deepest)


@kernel
def least_bonus(most: int, factor: int, scale: int) -> int:
    """Return the smallest bonus of a linear one: ``factor`` of the largest, rounded down."""
    return muldiv(most, factor, scale)


@kernel
def threshold_factor(threshold: int, cursor: int, most: int, scale: int) -> int:
    """Return the factor that a market's threshold implies: the safer the loan, the larger.

    min(most, 1 / (1 - cursor * (1 - threshold))), each product and quotient rounded down.

    Source: Morpho Blue, `liquidationIncentiveFactor`, cursor 0.3 and most 1.15.
    """
    return min(most, muldiv(scale, scale, scale - muldiv(cursor, scale - threshold, scale)))


@kernel
def discount_factor(adjusted: int, owed: int, most: int, scale: int) -> int:
    """Return the price of seized collateral as a share of its value: health, at least 1 - most.

    The bonus is 1 / that - 1: a loan ever so slightly under its line costs its owner nothing.

    Source: Euler `Liquidation.sol`, discountFactor = max(adjusted collateral / liability, 1 - max).
    """
    return max(muldiv(adjusted, scale, owed), scale - most)


@kernel
def excess_bonus(
    ltv: int, line: int, least: int, most: int, own_ltv: int, lost: int, scale: int
) -> int:
    """Return the bonus of a loan at ``ltv`` beyond its ``line``: the excess, collared and capped.

    min(clamp(ltv - line, least, most), 1 - own_ltv): below 99 % it never exceeds the equity that
    is left, so no liquidation raises the loan-to-value. ``own_ltv`` is without borrow factors. From
    99 % on the loan counts as lost and pays ``lost``, or what little is left if that is more.

    Source: Kamino `liquidation_operations.rs`, `calculate_liquidation_bonus`.
    """
    left = max(0, scale - own_ltv)
    if 100 * own_ltv >= DEEP * scale:
        return max(lost, left)
    return min(max(ltv - line, least), most, left)


@kernel
def kept_bonus(bonus: int, fee: int, scale: int) -> int:
    """Return what the liquidator keeps when the protocol takes ``fee`` of the bonus, rounded down.

    Source: Aave: the fee is on the bonus alone and rounds against the liquidator.
    """
    return bonus - muldiv_up(bonus, fee, scale)


@kernel
def seized(base: int, held: int, factor: int, fee: int, scale: int) -> tuple[int, int]:
    """Return (collateral taken, protocol fee) for ``base`` of collateral repaid, at most ``held``.

    The taken amount rounds down; the fee is a share of the bonus part alone and rounds up.

    Source: Aave v3, `_calculateAvailableCollateralToLiquidate` and its rounding table.
    """
    taken = min(held, muldiv(base, factor, scale))
    return taken, muldiv_up(taken - muldiv(taken, scale, factor), fee, scale)


@kernel
def improves(collateral: int, debt: int, bonus: int, scale: int) -> bool:
    """Return whether repaying at this bonus lowers debt over collateral: D / C < 1 / (1 + b).

    With one collateral the same condition raises the health factor.

    Source: arXiv:2212.07306, toxic liquidation spirals.
    """
    return debt * (scale + bonus) < collateral * scale


@kernel
def critical_ltv(bonus: int, scale: int) -> int:
    """Return the loan-to-value from which a fixed bonus makes a loan worse: 1 / (1 + b)."""
    return muldiv(scale, scale, scale + bonus)


@kernel
def ltv_after(collateral: int, debt: int, repay: int, bonus: int, scale: int) -> int:
    """Return debt over collateral after ``repay`` at ``bonus``, rounded up; -1: nothing is left.

    What is repaid is at most the debt, what is seized at most the collateral.
    """
    repaid = min(repay, debt)
    left = collateral - min(collateral, muldiv(repaid, scale + bonus, scale))
    if left == 0:
        return 0 if repaid == debt else -1
    return muldiv_up(debt - repaid, scale, left)
