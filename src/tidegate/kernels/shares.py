"""Shares of a pot: what joins, what leaves, and what a change of mind costs.

Source: Drift v2, `math/insurance.rs`.
"""

from tidegate.domain.units import kernel, muldiv


@kernel
def shares_for(amount: int, shares: int, pot: int) -> int:
    """Return the shares that ``amount`` buys of a pot, rounded down; the first buy one for one."""
    return muldiv(amount, shares, pot) if pot > 0 else amount


@kernel
def worth_of(shares: int, total: int, pot: int) -> int:
    """Return what ``shares`` of ``total`` are worth, rounded down."""
    return muldiv(pot, shares, total) if total > 0 else 0


@kernel
def forfeited(shares: int, asked: int, total: int, pot: int) -> int:
    """Return the shares lost by who asked to leave with ``asked`` and now stays after all.

    Who waits to leave does not earn: if the shares are worth more by now than was asked for, they
    are bought back at today's price with what was asked. What they lost meanwhile stays lost.
    """
    if worth_of(shares, total, pot) <= asked:
        return 0
    return shares - shares_for(asked, total - shares, pot - asked)
