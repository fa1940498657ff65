"""How much of a debt one liquidation may take, and what it may leave behind.

Compiled, a value times the scale must stay below 2**62; a peer's own scales run unbounded.
"""

from tidegate.domain.units import kernel


@kernel
def close_cap(
    health: int,
    collateral: int,
    debt: int,
    total: int,
    small: int,
    line: int,
    share: int,
    scale: int,
) -> int:
    """Return the most value of one debt that one liquidation may repay.

    The whole debt when ``health`` is at or below ``line`` or when either side is smaller than
    ``small``: half of a small loan is not worth anybody's work. Otherwise at most ``share`` of the
    ``total`` debt of the account, rounded half up, so that a small debt beside a large one is
    closed whole. ``line`` and ``share`` are at ``scale``, ``health`` at the scale of ``line``.

    Source
    ------
    Aave v3.7, `LiquidationLogic.sol`: close factor 50 %, 100 % at a health factor <= 0.95 or
    below 2,000 in the base currency.
    """
    if health <= line or collateral < small or debt < small:
        return debt
    return min(debt, (total * share + scale // 2) // scale)


@kernel
def leaves_dust(collateral_left: int, debt_left: int, least: int) -> bool:
    """Return whether a liquidation would leave a remainder too small for anybody to close.

    Nothing left of one side is never dust; otherwise both sides must be worth ``least``.

    Source: Aave v3.3, `MIN_LEFTOVER_BASE`: neither side may end within (0, minimum).
    """
    if collateral_left == 0 or debt_left == 0:
        return False
    return collateral_left < least or debt_left < least
