"""How much may leave a venue, and when nothing may."""

from tidegate.domain.units import kernel, muldiv


@kernel
def baseline(value: int, floor: int, rate: int, scale: int) -> int:
    """Return the capacity towards which a limiter drifts: a share of all value, or its floor.

    Source
    ------
    dYdX v4, x/ratelimit: max(minimum, tvl * ppm), rounded down.
    """
    return max(floor, muldiv(value, rate, scale))


@kernel
def refilled(capacity: int, base: int, elapsed: int, period: int) -> int:
    """Return the capacity after ``elapsed`` of ``period``: it moves towards ``base``.

    By the larger of the base and the excess over it, a period, rounded down; it does not cross.

    Source
    ------
    dYdX v4, x/ratelimit: CalculateNewCapacityList.
    """
    step = muldiv(max(base, capacity - base), elapsed, period)
    if capacity < base:
        return min(base, capacity + step)
    return max(base, capacity - step)


@kernel
def gated(now: int, seen: int, window: int) -> bool:
    """Return whether ``now`` lies within ``window`` of a deficit ``seen``; -1: never seen."""
    return seen >= 0 and now - seen < window


@kernel
def deposit_floor(average: int, guard: int) -> int:
    """Return the deposits that must remain: the average less a quarter, or less the guard.

    Source
    ------
    Drift, calculate_min_deposit_token_amount.
    """
    return average - max(average // 4, min(guard, average))


@kernel
def borrow_ceiling(
    deposits: int,
    average: int,
    borrowed: int,
    guard: int,
    most: int,
    low: int,
    step: int,
    high: int,
) -> int:
    """Return how much may be borrowed beside averages of deposits and of borrows.

    A ``low``-th of deposits always may; above that the average of borrows plus a ``step``-th; all
    but a ``high``-th at most. The guard always may, and never more than ``most``.

    Source
    ------
    Drift, calculate_max_borrow_token_amount: 3, 5 and 14 in the main pool, 2, 3 and 20 in others.
    """
    lesser = min(deposits, average)
    band = min(max(lesser // low, borrowed + lesser // step), lesser - lesser // high)
    return min(most, max(guard, band))
