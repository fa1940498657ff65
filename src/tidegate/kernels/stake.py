"""Shares of a fund: what a stake buys, what it is worth, and what leaving early forfeits."""

from tidegate.domain.units import kernel, muldiv


@kernel
def shares_for(amount: int, total: int, vault: int) -> int:
    """Return the shares that ``amount`` buys, rounded down; one a unit where there are none yet.

    Compiled, ``amount * total / vault`` must stay below 2**62: the caller refuses what does not.
    """
    if total == 0:
        return amount
    return muldiv(amount, total, vault) if vault > 0 else 0


@kernel
def stake_value(shares: int, total: int, vault: int) -> int:
    """Return what ``shares`` are worth, rounded down."""
    return muldiv(vault, shares, total) if total > 0 else 0


@kernel
def shares_forfeited(shares: int, value: int, total: int, vault: int) -> int:
    """Return how many of ``shares`` are lost by whoever asked for them and then stays.

    They were worth ``value`` when they were asked back. What they gained since belongs to the
    others: the rest is worth ``value`` once the lost ones are gone. Nothing is lost without a gain.

    Source
    ------
    Drift, calculate_if_shares_lost: n - floor(value * (total - n) / (vault - value)).
    """
    if stake_value(shares, total, vault) <= value or vault <= value:
        return 0
    return max(0, shares - muldiv(value, total - shares, vault - value))
