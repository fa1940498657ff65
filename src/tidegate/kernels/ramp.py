"""Rates that move on a straight line: between two conditions, or over time."""

from tidegate.domain.units import kernel, muldiv


@kernel
def ramped(start: int, target: int, elapsed: int, duration: int) -> int:
    """Return the value ``elapsed`` into a linear ramp of ``duration`` from ``start`` to ``target``.

    target - (target - start) * (duration - elapsed) / duration, the last term rounded towards zero:
    never further from the target than the line. Before the ramp: ``start``; without or after one:
    ``target``.

    Source: Euler v2 `EVault/shared/types/LTVConfig.sol`, getLTV, which ramps liquidation thresholds
    down the same way.
    """
    if elapsed < 0:
        return start
    if elapsed >= duration:
        return target
    gap = abs(target - start)
    rest = muldiv(gap, duration - elapsed, duration)
    return target - rest if target >= start else target + rest


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
    if target >= initial:
        return target
    return ramped(initial, target, max(elapsed, 0), ramp)


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
