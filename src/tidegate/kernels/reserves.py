"""A lender's own reserves as the buyer of last resort.

Source: Compound III, `Comet.absorbInternal`, `quoteCollateral`, `isLiquidatable`.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from tidegate.domain.units import I64, kernel, muldiv


@kernel
def weighted(amount: I64, price: I64, unit: I64, factor: I64, scale: int) -> int:
    """Return the value of all collateral times its factor, each product rounded down."""
    total = 0
    for n in range(amount.size):
        total += muldiv(muldiv(amount[n], price[n], unit[n]), factor[n], scale)
    return total


@kernel
def absorbed(balance: int, value: int, price: int, unit: int) -> int:
    """Return the balance after the reserves bought all collateral for ``value``; never below 0.

    The reserves pay the difference, whether the collateral was worth it or not.
    """
    return max(0, balance + muldiv(value, unit, price))


@kernel
def is_uncovered(balance: int, price: int, unit: int, value: int) -> bool:
    """Return whether a debt (``balance`` < 0) is worth more than ``value``, rounded to zero."""
    return balance < 0 and muldiv(-balance, price, unit) > value


@kernel
def storefront_price(price: int, share: int, factor: int, scale: int) -> int:
    """Return the price less the ``share`` of the penalty that buyers get, rounded down."""
    return muldiv(price, scale - muldiv(share, scale - factor, scale), scale)


@kernel
def storefront_quote(paid: int, paid_price: int, paid_unit: int, price: int, unit: int) -> int:
    """Return the collateral that ``paid`` buys at the discounted ``price``, rounded down.

    Compiled, ``paid * paid_price`` and ``price * paid_unit`` must stay below 2**62.
    """
    return muldiv(paid * paid_price, unit, price * paid_unit)
