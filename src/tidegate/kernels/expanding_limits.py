"""Limits on lending that follow use: a ceiling that grows slowly, a floor that sinks slowly.

Both start where the last operation left them and reach their full width after ``duration``. A
sudden wave meets the old limit; ordinary growth never does. Shares are at ``scale``.
"""

from tidegate.domain.units import kernel, muldiv


@kernel
def debt_ceiling(
    borrowed: int,
    last: int,
    share: int,
    elapsed: int,
    duration: int,
    base: int,
    most: int,
    scale: int,
) -> int:
    """Return what may be borrowed in all after ``elapsed`` since ``last`` was the limit.

    min(last + share * borrowed * elapsed / duration, (1 + share) * borrowed), within base..most:
    it grows over time and shrinks at once with repayments. Rounded down.

    Source: Fluid `calcBorrowLimitBeforeOperate`.
    """
    room = muldiv(borrowed, share, scale)
    # Longer than a whole duration changes nothing: the full width caps it.
    grown = min(last + muldiv(room, min(elapsed, duration), duration), borrowed + room)
    return base if grown < base else min(grown, most)


@kernel
def supply_floor(
    supplied: int, last: int, share: int, elapsed: int, duration: int, scale: int
) -> int:
    """Return what must stay supplied after ``elapsed`` since ``last`` had to; 0: no limit yet.

    max((1 - share) * supplied, last - share * supplied * elapsed / duration).

    Source: Fluid `calcWithdrawalLimitBeforeOperate`.
    """
    if last == 0:
        return 0
    free = muldiv(supplied, share, scale)
    sunk = last - muldiv(free, min(elapsed, duration), duration)
    return max(supplied - free, sunk)


@kernel
def ceiling_after(borrowed: int, before: int, share: int, base: int, most: int, scale: int) -> int:
    """Return the debt ceiling to remember after an operation that left ``borrowed``.

    The one ``before`` the operation, at most the full width of what is borrowed now.

    Source: Fluid `calcBorrowLimitAfterOperate`.
    """
    full = borrowed + muldiv(borrowed, share, scale)
    if full < base:
        return base
    return min(before, full, most)


@kernel
def floor_after(supplied: int, before: int, share: int, base: int, scale: int) -> int:
    """Return the supply floor to remember after an operation; 0 below ``base``: all may leave.

    Source: Fluid `calcWithdrawalLimitAfterOperate`.
    """
    if supplied < base:
        return 0
    return max(before, supplied - muldiv(supplied, share, scale))


@kernel
def power_ratio(exponent: int, wider: int, narrower: int, one: int, out: int) -> int:
    """Return (wider / narrower) ** exponent at scale ``out``, computed at scale ``one``.

    By squaring the inverse: rounded down below one, up above it. ``wider`` > ``narrower`` > 0 and,
    compiled, ``one`` and ``out`` below 2**61 and the result below 2**62.

    Source: Fluid `tickMath.getRatioAtTick`, 1.0015 ** tick at 2**96, computed at 2**128.
    """
    left = abs(exponent)
    factor, square = one, muldiv(one, narrower, wider)
    while left > 0:
        if left % 2 == 1:
            factor = muldiv(factor, square, one)
        square = muldiv(square, square, one)
        left //= 2
    if exponent < 0:
        return muldiv(factor, out, one)
    up = muldiv(one, out, factor)
    return up if up * factor == one * out else up + 1
