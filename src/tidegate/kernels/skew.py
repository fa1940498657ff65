"""Prices and margins that grow with a market's imbalance.

Source: Synthetix v3, `AsyncOrder.calculateFillPrice`, `PerpsMarketConfiguration`.
"""

from tidegate.domain.units import kernel, muldiv


@kernel
def premium(price: int, skew: int, depth: int) -> int:
    """Return what a skew adds to the price: ``price * skew / depth``, rounded towards zero."""
    more = muldiv(price, abs(skew), depth)
    return more if skew >= 0 else -more


@kernel
def skew_fill(price: int, skew: int, size: int, depth: int) -> int:
    """Return the fill price of ``size`` (signed): the mean of the prices before and after it."""
    return price + (premium(price, skew, depth) + premium(price, skew + size, depth)) // 2


@kernel
def size_margin(size: int, depth: int, fraction: int, least: int, scale: int) -> int:
    """Return the initial margin's rate: ``|size| / depth * fraction + least``, rounded down."""
    return muldiv(muldiv(abs(size), scale, depth), fraction, scale) + least


@kernel
def margin_due(size: int, price: int, rate: int, least: int, scale: int) -> int:
    """Return ``|size| * price * rate + least``, rounded down."""
    return muldiv(muldiv(abs(size), price, scale), rate, scale) + least


@kernel
def open_interest(interest: int, held: int, order: int) -> int:
    """Return the market's size after one holder's position moved from ``held`` by ``order``."""
    return interest + abs(held + order) - abs(held)
