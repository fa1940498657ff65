"""How much to repay so that a loan ends exactly where it should: at a health, ratio or LTV.

Compiled, a value times the scale must stay below 2**62; a peer's own scales run unbounded.
"""

from tidegate.domain.units import kernel, muldiv, muldiv_up


@kernel
def debt_to_target(
    debt: int, unit: int, health: int, target: int, eaten: int, price: int, scale: int
) -> int:
    """Return the amount of debt whose repayment lifts ``health`` to ``target``, rounded up.

    x = D * (T - H) / ((T - eaten) * price), where ``eaten`` = factor * collateral factor is the
    adjusted collateral that each value repaid takes away. ``debt`` is a value at ``price``'s scale,
    ``unit`` one whole token, H, T and ``eaten`` are at ``scale``. 0 where nothing is missing; -1
    where every repayment worsens the loan (eaten >= T), which a configuration must rule out.

    Source: Aave v4, `calculateDebtToTargetHealthFactor`.
    """
    if health >= target:
        return 0
    if eaten >= target:
        return -1
    return muldiv_up(debt, unit * (target - health), (target - eaten) * price * scale)


@kernel
def repay_to_ltv(
    debt: int, collateral: int, target: int, fee: int, whole_above: int, scale: int
) -> int:
    """Return the value to repay so that debt over collateral ends at ``target``, rounded down.

    x = (D - T * C) / (1 - T * (1 + fee)). All of it where that cannot be reached, where the loan
    is bankrupt, where the target is zero, or where x is more than ``whole_above`` of the debt; none
    where the loan is below its target or the fee is 100 % or more.

    Source: Silo v2, `PartialLiquidationLib.estimateMaxRepayValue`, whole_above 90 %.
    """
    if debt == 0 or fee >= scale:
        return 0
    if debt >= collateral or target == 0:
        return debt
    if target * collateral >= debt * scale:
        return 0
    kept = target + target * fee // scale
    if kept >= scale:
        return debt
    repay = (debt * scale - target * collateral) // (scale - kept)
    if repay > debt or repay * scale // debt > whole_above:
        return debt
    return repay


@kernel
def repay_preview(
    debt: int,
    debt_value: int,
    collateral: int,
    collateral_value: int,
    most: int,
    target: int,
    fee: int,
    whole_above: int,
    scale: int,
) -> tuple[int, int, int]:
    """Return (debt repaid, collateral taken, LTV afterwards) of a liquidation to a target LTV.

    Amounts and their values are proportional. Who offers ``most`` repays at most what reaches the
    target; of a bankrupt loan any amount; of one that must go whole, all of it. The repaid and the
    taken amounts round down, the LTV up; it is 0 when either side is gone.

    Source: Silo v2, `PartialLiquidationLib.liquidationPreview`.
    """
    if debt_value >= collateral_value:
        repaid = min(most, debt)
        value = muldiv(repaid, debt_value, debt)
    else:
        value = repay_to_ltv(debt_value, collateral_value, target, fee, whole_above, scale)
        repaid = debt
        if value != debt_value:
            repaid = min(most, muldiv(value, debt, debt_value))
            value = muldiv(repaid, debt_value, debt)
    taken = min(collateral_value, value + muldiv(value, fee, scale))
    # A loan without collateral has none to take, whatever its one unit would be worth.
    out = muldiv(taken, collateral, collateral_value) if collateral_value else 0
    if taken >= collateral_value or value >= debt_value:
        return repaid, out, 0
    return repaid, out, muldiv_up(debt_value - value, scale, collateral_value - taken)


@kernel
def repay_to_ratio(
    debt: int, start: int, end: int, price: int, penalty: int, scale: int
) -> tuple[int, int]:
    """Return (debt repaid, collateral sold) that take a range of loans from ratio to ratio.

    All loans of the range stand at debt over collateral ``start``; sold at (1 + penalty) / price
    of collateral a unit of debt they end at ``end``: x = (D - D * end / start) / (1 - c * end).
    Everything is at ``scale``; repaid rounds up and sold down. (-1, -1) where c * end >= 1: at this
    penalty no sale could bring the range there.

    Source: Fluid vault `liquidate`, the debt between two ticks.
    """
    a_debt = muldiv(scale + penalty, scale, price)
    kept = muldiv(a_debt, end, scale)
    if kept >= scale:
        return -1, -1
    repaid = muldiv_up(debt - muldiv(debt, end, start), scale, scale - kept)
    return repaid, muldiv(repaid, a_debt, scale)
