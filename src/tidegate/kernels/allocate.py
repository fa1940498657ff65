"""Sharing a whole number so that the shares add up."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

import numpy as np

from tidegate.domain.units import I64, PPM, kernel, muldiv


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
    order = np.argsort(-rest, kind="mergesort")
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
        if not full.any():
            out[live] = share
            return 0
        for n in range(live.size):
            if full[n]:
                out[live[n]] = cap[live[n]]
                left -= cap[live[n]]
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
