"""One liquidation of a loan, from prices to amounts, in the ways that lending protocols do it.

Compiled, a value times the scale must stay below 2**62; a peer's own scales run unbounded.
"""

from tidegate.domain.units import kernel, muldiv, muldiv_up
from tidegate.kernels.bonus import discount_factor, seized
from tidegate.kernels.close_factor import close_cap, leaves_dust


DUST = 1  # status: the liquidation would leave dust


@kernel
def health_factor(adjusted: int, owed: int, scale: int) -> int:
    """Return adjusted collateral over debt, rounded down; -1 where nothing is owed."""
    return muldiv(adjusted, scale, owed) if owed > 0 else -1


@kernel
def shares_to_assets(shares: int, assets: int, total: int, virtual: int) -> int:
    """Return what ``shares`` of a pool are worth, rounded down; one virtual asset backs it."""
    return muldiv(shares, assets + 1, total + virtual)


@kernel
def shares_to_assets_up(shares: int, assets: int, total: int, virtual: int) -> int:
    """Return what ``shares`` of a pool cost, rounded up."""
    return muldiv_up(shares, assets + 1, total + virtual)


@kernel
def assets_to_shares_up(amount: int, assets: int, total: int, virtual: int) -> int:
    """Return the shares that ``amount`` of a pool's assets stands for, rounded up."""
    return muldiv_up(amount, total + virtual, assets + 1)


@kernel
def close_part(
    offered: int,
    health: int,
    debt: int,
    debt_unit: int,
    debt_price: int,
    total: int,
    collateral: int,
    unit: int,
    price: int,
    factor: int,
    fee: int,
    small: int,
    line: int,
    share: int,
    scale: int,
) -> tuple[int, int, int, int, int, int]:
    """Return (status, allowed, repaid, to the liquidator, fee, deficit) of repaying ``offered``.

    Capped by the close factor (`close_cap`), then by the collateral there is: who would get more
    than that repays only what it pays for, rounded up. Neither side may be left as dust (half of
    ``small``): status `DUST`, and nothing happens. Without collateral the rest is a deficit. Debt
    values round up and collateral values down.

    Source: Aave v3.7, `LiquidationLogic.executeLiquidationCall`, with one collateral and one debt.
    """
    debt_value = muldiv_up(debt, debt_price, debt_unit)
    value = muldiv(collateral, price, unit)
    cap = close_cap(health, value, debt_value, total, small, line, share, scale)
    allowed = debt if cap >= debt_value else min(debt, muldiv(cap, debt_unit, debt_price))
    repaid = min(offered, allowed)
    base = muldiv(repaid, debt_price * unit, price * debt_unit)
    taken, charged = seized(base, collateral, factor, fee, scale)
    if muldiv(base, factor, scale) > collateral:
        repaid = muldiv_up(muldiv(collateral, price * debt_unit, debt_price * unit), scale, factor)
    debt_left = muldiv(debt - repaid, debt_price, debt_unit)
    left = muldiv(collateral - taken, price, unit)
    # What is left is something, even where it is worth nothing.
    dusty = leaves_dust(max(left, 1), max(debt_left, 1), small // 2)
    if repaid < debt and taken < collateral and dusty:
        return DUST, allowed, 0, 0, 0, 0
    deficit = debt - repaid if taken == collateral else 0
    return 0, allowed, repaid, taken - charged, charged, deficit


@kernel
def close_at_health(
    adjusted: int,
    owed_value: int,
    owed: int,
    value: int,
    balance: int,
    most: int,
    scale: int,
) -> tuple[int, int, int]:
    """Return (debt repaid, collateral taken, discount factor) of the largest close of one asset.

    The collateral is sold at the account's own health (`discount_factor`): taken = repaid / factor,
    and where the account holds less than that, all of it for value * factor. Collateral worth
    nothing is taken for nothing. Nothing happens above the line; the line itself is below it.

    Source: Euler `Liquidation.calculateMaxLiquidation`.
    """
    if owed == 0 or adjusted > owed_value:
        return 0, 0, scale
    factor = discount_factor(adjusted, owed_value, most, scale)
    if value == 0:
        return 0, balance, factor
    pays, gets = owed_value, muldiv(owed_value, scale, factor)
    if value < gets:
        pays, gets = muldiv(value, factor, scale), value
    return muldiv(pays, owed, owed_value), muldiv(gets, balance, value), factor


@kernel
def close_shares(
    seize: int,
    repay: int,
    shares: int,
    collateral: int,
    assets: int,
    total: int,
    supplied: int,
    price: int,
    factor: int,
    virtual: int,
    one: int,
    scale: int,
) -> tuple[int, int, int, int, int]:
    """Return (repaid, seized, bad debt, supply left, shares left) of a loan counted in shares.

    Either ``seize`` of collateral or ``repay`` shares is given, the other zero. What is repaid
    rounds up and what is seized down. Without collateral what is still owed is written off the
    supply at once. ``price`` is at scale ``one``.

    Source: Morpho Blue, `Morpho.liquidate`.
    """
    if seize > 0:
        quoted = muldiv_up(muldiv_up(seize, price, one), scale, factor)
        gone = assets_to_shares_up(quoted, assets, total, virtual)
        taken = seize
    else:
        gone = repay
        worth = muldiv(shares_to_assets(gone, assets, total, virtual), factor, scale)
        taken = muldiv(worth, one, price)
    repaid = shares_to_assets_up(gone, assets, total, virtual)
    left = shares - gone
    if taken < collateral:
        return repaid, taken, 0, supplied, left
    after = max(0, assets - repaid)
    bad = min(after, shares_to_assets_up(left, after, total - gone, virtual))
    return repaid, taken, bad, supplied - bad, 0


@kernel
def written_off(debt: int, repaid: int, collateral_left: int, owed_value: int, least: int) -> int:
    """Return the debt that lenders lose at once: what is left when no collateral is.

    A liability worth less than ``least`` stays on the books: spreading it would cost more.

    Source: Euler `Liquidation.executeLiquidation`, 1e6 of the unit of account.
    """
    if collateral_left > 0 or owed_value < least:
        return 0
    return debt - repaid
