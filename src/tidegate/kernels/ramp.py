"""Rates that move on a straight line: between two conditions, or over time."""

from tidegate.domain.units import kernel, muldiv


@kernel
def between(at: int, low: int, high: int, at_low: int, at_high: int, scale: int) -> int:
    """Return what lies at ``at`` on the line from (low, at_low) to (high, at_high), rounded down.

    ``at`` outside ``low``..``high`` takes the nearer end; at_low <= at_high. The position on the
    line is itself rounded down to ``scale`` first, as contracts with one fixed point do.

    Source: Morpho pre-liquidation, `preLiquidate`: incentive and close factor between two LTVs.
    """
    if at <= low:
        return at_low
    if at >= high:
        return at_high
    return at_low + muldiv(muldiv(at - low, scale, high - low), at_high - at_low, scale)


@kernel
def lowered(initial: int, target: int, elapsed: int, ramp: int) -> int:
    """Return a limit on its way from ``initial`` down to ``target``, rounded down; up is at once.

    Source: Euler `LTVConfig.getLTV`: only lowering a liquidation LTV takes time.
    """
    if elapsed >= ramp or target >= initial:
        return target
    return target + (initial - target) * (ramp - max(elapsed, 0)) // ramp


@kernel
def worn(full: int, rate: int, elapsed: int, period: int) -> int:
    """Return ``full`` less ``rate`` for every ``period`` that has passed, never below zero.

    Source: Kamino auto-deleverage: the liquidation threshold falls by so much a day.
    """
    return max(0, full - muldiv(rate, elapsed, period))


@kernel
def apart(price: int, other: int, tolerance: int, scale: int) -> bool:
    """Return whether two prices differ by ``tolerance`` of the first, or more.

    Source: Kamino `prices/checks.rs`: the divergence from the average must stay below it.
    """
    return abs(price - other) * scale >= price * tolerance
