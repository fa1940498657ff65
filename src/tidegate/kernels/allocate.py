"""Sharing a whole number so that the shares add up."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

import numpy as np

from tidegate.domain.units import I64, PPM, kernel, muldiv, muldiv_up
from tidegate.kernels.order import stable_order


RATIO_MAX = 1_000_000_000  # a ratio of 1,000, in ppm


@kernel
def ratio_ppm(part: int, whole: int) -> int:
    """Return ``part / whole`` in ppm, rounded down, for part >= 0; at most RATIO_MAX."""
    if part <= 0:
        return 0
    if whole <= 0 or part // whole >= 1_000:
        return RATIO_MAX
    return muldiv(part, PPM, whole)


@kernel
def largest_remainder(total: int, weight: I64, out: I64) -> None:
    """Split ``total`` >= 0 by ``weight`` into whole numbers that add up exactly.

    Every share is its exact quota rounded down or up; the leftovers go to the largest remainders,
    ties to the lower row. The weights must be >= 0 and not all zero (unless ``total`` is).
    """
    pool = weight.sum()
    if total == 0:
        out[:] = 0
        return
    rest = np.empty_like(weight)
    given = 0
    for n in range(weight.size):
        out[n] = muldiv(total, weight[n], pool)
        # The remainder modulo 2**64 is exact: both products wrap alike, and it is below 2**62.
        rest[n] = total * weight[n] - out[n] * pool
        given += out[n]
    order = stable_order(-rest)
    for k in range(total - given):
        out[order[k]] += 1


@kernel
def capped_pro_rata(total: int, weight: I64, cap: I64, out: I64) -> int:
    """Share ``total`` in proportion to ``weight`` with no share above its cap; return the unshared.

    The minimiser of sum(h**2 / (2 w)) subject to sum(h) = total and 0 <= h <= cap: h = min(cap, λ
    w). Water-filling: whoever meets the cap is filled and taken out, the rest is shared anew; at
    most one round per row. Whole numbers by largest remainder, never above a cap.
    """
    out[:] = 0
    left = total
    live = np.flatnonzero((weight > 0) & (cap > 0))
    while left > 0 and live.size:
        share = np.empty_like(weight[live])
        largest_remainder(left, weight[live], share)
        full = share >= cap[live]
        done = not full.any()
        for n in range(live.size):
            if done:
                out[live[n]] = share[n]
            elif full[n]:
                out[live[n]] = cap[live[n]]
                left -= cap[live[n]]
        if done:
            return 0
        live = live[~full]
    return left


@kernel
def in_order(total: int, order: I64, cap: I64, out: I64) -> int:
    """Take from each row in ``order`` up to its cap until ``total`` is met; return the rest."""
    out[:] = 0
    left = total
    for row in order:
        out[row] = min(left, cap[row])
        left -= out[row]
        if left == 0:
            break
    return left


@kernel
def min_max_lots(budget: int, loss: I64, capacity: I64, cap: I64, scale: int, out: I64) -> int:
    """Take lots so that the largest burden is least; return that burden at ``scale``, or -1.

    A lot of a row costs it ``loss``, and k lots burden it by ``k * loss / capacity``, rounded up at
    ``scale``. ``out`` holds all lots up to the least burden at which at least ``budget`` is raised,
    so they may raise more; -1 (and all caps taken) where even all of them raise less.

    Source
    ------
    Chitra and others, arXiv:2602.15182, program (8), with the sum relaxed to at least the budget.
    """
    full = np.empty_like(cap)
    raised = 0
    for n in range(cap.size):
        able = cap[n] > 0 and capacity[n] > 0
        out[n] = cap[n] if able else 0
        full[n] = muldiv_up(cap[n] * loss[n], scale, capacity[n]) if able else 0
        raised += out[n] * loss[n]
    if raised < budget:
        return -1
    low, high = -1, 0
    for n in range(cap.size):
        high = max(high, full[n])
    while high - low > 1:
        burden = (low + high) // 2
        raised = 0
        for n in range(cap.size):
            raised += loss[n] * _lots_within(burden, full[n], loss[n], capacity[n], cap[n], scale)
        if raised >= budget:
            high = burden
        else:
            low = burden
    for n in range(cap.size):
        out[n] = _lots_within(high, full[n], loss[n], capacity[n], cap[n], scale)
    return high


@kernel
def _lots_within(burden: int, full: int, loss: int, capacity: int, cap: int, scale: int) -> int:
    """Return the lots of a row that burden it by no more than ``burden``."""
    if cap <= 0 or capacity <= 0:
        return 0
    return cap if full <= burden else muldiv(burden, capacity, loss * scale)


@kernel
def min_max_exact(total: int, capacity: I64, cap: I64, scale: int, out: I64) -> int:
    """Take ``total`` lots so that the largest ``lots / capacity`` is least; return the rest.

    As `min_max_lots` with a loss of one a lot; of the lots that all reach the largest burden the
    first rows' are taken, as many as are still needed.
    """
    ones = np.empty_like(cap)
    ones[:] = 1
    burden = min_max_lots(total, ones, capacity, cap, scale, out)
    taken = out.sum()
    if burden < 0:
        return total - taken
    for n in range(cap.size - 1, -1, -1):
        if taken == total:
            break
        full = muldiv_up(cap[n], scale, capacity[n]) if cap[n] > 0 and capacity[n] > 0 else 0
        below = 0
        if burden > 0:
            below = _lots_within(burden - 1, full, 1, capacity[n], cap[n], scale)
        back = min(taken - total, out[n] - below)
        out[n] -= back
        taken -= back
    return 0


@kernel
def risk_factor(leverage: int, above: int, power: int, scale: int) -> int:
    """Return ``leverage * max(0, leverage - above) ** power`` at ``scale``, rounded down.

    Source
    ------
    Chitra, Autodeleveraging, risk-aware pro rata: a share in proportion to w * l * g(l), with g the
    identity (power 1), a power of it, or the excess over a threshold.
    """
    factor = leverage
    for _ in range(power):
        factor = factor * max(0, leverage - above) // scale
    return factor
