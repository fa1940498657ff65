"""Marginal brackets of a requirement, and how crowding raises one, at any scale of rates."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from tidegate.domain.units import I64, kernel, muldiv, muldiv_floor


@kernel
def tier_at(start: int, end: int, floor: I64, size: int) -> int:
    """Return the tier of a notional of ``size``; a floor belongs to its own tier."""
    tier = start
    while tier + 1 < end and size >= floor[tier + 1]:
        tier += 1
    return tier


@kernel
def due_in_tier(size: int, rate: int, cum: int, scale: int) -> int:
    """Return ``size * rate / scale - cum`` rounded up: a requirement in cum-deduction form.

    Compiled, ``size`` is below 2**62, ``rate`` is at most ``scale`` and that at most 1e9.

    Source: the brackets that Binance, OKX and Hyperliquid publish.
    """
    return -muldiv_floor(-size, rate, scale) - cum


@kernel
def deductions(floor: I64, rate: I64, scale: int, cum: I64) -> None:
    """Write the deduction of each tier, which joins it to the tier below without a jump.

    cum[0] = 0 and cum[k] = cum[k-1] + floor[k] * (rate[k] - rate[k-1]) / scale, rounded down:
    exact where floors are multiples of ``scale``, and never against the venue elsewhere.
    """
    for k in range(floor.size):
        cum[k] = 0
        if k > 0:
            cum[k] = cum[k - 1] + muldiv_floor(floor[k], rate[k] - rate[k - 1], scale)


@kernel
def maintenance_of_leverage(leverage: int, scale: int) -> int:
    """Return half the initial margin rate of a largest ``leverage`` >= 1, rounded up.

    Source: Hyperliquid documentation, margin tiers.
    """
    return -(-scale // (2 * leverage))


@kernel
def crowded_rate(base: int, open_notional: int, low: int, high: int, scale: int) -> int:
    """Return an initial rate raised by crowding: ``base`` up to ``low``, all of it from ``high``.

    In between base + floor((scale - base) * (open - low) / (high - low)). ``high`` = 0 disables
    it; a base of ``scale`` or more stays.

    Source: dYdX v4 `x/perpetuals/types/liquidity_tier.go`, open interest after the trade.
    """
    if high == 0 or open_notional <= low or base >= scale:
        return base
    if open_notional >= high:
        return scale
    return base + muldiv(open_notional - low, scale - base, high - low)
