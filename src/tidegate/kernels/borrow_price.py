"""The price of borrowing as a market fills: semi-logarithmic rates, and steepness at a ceiling."""

from tidegate.domain.units import kernel, muldiv
from tidegate.kernels.exponent import exp_scaled, ln_scaled


REMAINDER = 1_000  # use of a ceiling counts up to this part of the target short of it


@kernel
def semilog_rate(low: int, high: int, debt: int, reserves: int, scale: int) -> int:
    """Return ``low * (high / low) ** (debt / reserves)`` at ``scale``, rounded down.

    ``low`` when nothing is lent. 0 < low <= high; compiled, scale <= 1e9.

    Source: curvefi/curve-stablecoin, SemilogMonetaryPolicy.vy.
    """
    if debt == 0 or reserves == 0:
        return low
    used = muldiv(debt, scale, reserves)
    steep = ln_scaled(muldiv(high, scale, low), scale)
    return muldiv(low, exp_scaled(muldiv(used, steep, scale), scale), scale)


@kernel
def ceiling_multiplier(debt: int, ceiling: int, target: int, scale: int) -> int:
    """Return ``(1 - t) + t / (1 - debt / ceiling)`` at ``scale``; 1 where there is no ceiling.

    ``target`` is t: the rate is ``2 - t`` times as high when the share t of the ceiling is left.
    Use is counted up to a thousandth of t short of all.

    Source: curvefi/curve-stablecoin, AggMonetaryPolicy4.vy.
    """
    if ceiling == 0:
        return scale
    used = min(muldiv(debt, scale, ceiling), scale - target // REMAINDER)
    return scale - target + muldiv(target, scale, scale - used)
