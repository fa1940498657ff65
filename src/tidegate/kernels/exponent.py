"""Exponential, logarithm and square root over integers, at whatever scale the caller counts in."""

import numpy as np

from tidegate.domain.units import kernel, muldiv


GUARD = 1_000_000  # series run at this many times the scale, so that only the last digit rounds

SPARE = 1_024  # and ln 2 at this many times that, so that no term's rounding is left in it


@kernel
def ln2_at(fine: int) -> int:
    """Return ``fine * ln 2`` rounded down; compiled, ``fine`` <= 1e15.

    ln 2 = 2 atanh(1/3): every term is a ninth of the one before it.
    """
    power, total, odd = 2 * fine * SPARE // 3, 0, 1
    while power:
        total += power // odd
        power //= 9
        odd += 2
    return total // SPARE


@kernel
def exp_scaled(power: int, scale: int) -> int:
    """Return ``scale * e**(power / scale)`` rounded down, or one more where ``power`` is large.

    Halvings or doublings take out the whole powers of two, a series gives the rest. ``scale`` >= 1;
    compiled, <= 1e9 and the result below 2**62.
    """
    fine = scale * GUARD
    two = ln2_at(fine)
    doublings = power * GUARD // two
    rest = power * GUARD - doublings * two
    term, total, n = fine, fine, 1
    while term:
        term = muldiv(term, rest, fine * n)
        total += term
        n += 1
    if doublings >= 0:
        return muldiv(total, 1 << doublings, GUARD)
    total //= GUARD
    while total and doublings < 0:  # floors of floors: no bit is lost that one floor would keep
        total //= 2
        doublings += 1
    return total


@kernel
def ln_scaled(number: int, scale: int) -> int:
    """Return ``scale * ln(number / scale)`` rounded towards minus infinity; number >= 1.

    Compiled, ``scale`` <= 1e9 and ``number`` below 2**61.
    """
    fine = scale * GUARD
    up, down = 0, 0
    while number >> up >= 2 * scale:
        up += 1
    while number << down < scale:
        down += 1
    reduced = muldiv(number << down, GUARD, 1 << up)
    ratio = muldiv(reduced - fine, fine, reduced + fine)
    square = muldiv(ratio, ratio, fine)
    power, total, odd = ratio, 0, 1
    while power:
        total += power // odd
        power = muldiv(power, square, fine)
        odd += 2
    return (2 * total + (up - down) * ln2_at(fine)) // GUARD


@kernel
def root_of_sum(a: int, b: int, c: int, d: int) -> int:
    """Return the square root of ``a * b + c * d`` rounded down, without a 128-bit product.

    All four are >= 0 and, compiled, below 2**62 as the root is. The float root is a first guess;
    Newton's steps divide each product by the guess, and the gap that is left is small enough to be
    exact although its terms wrap.
    """
    root = int(np.sqrt(float(a) * float(b) + float(c) * float(d)))
    for _ in range(3 if root > 2**20 else 0):
        root = (root + muldiv(a, b, root) + muldiv(c, d, root)) // 2
    gap = a * b + c * d - root * root
    while gap < 0:
        root -= 1
        gap += 2 * root + 1
    while gap > 2 * root:
        gap -= 2 * root + 1
        root += 1
    return root


@kernel
def smoothed(current: int, last: int, elapsed: int, horizon: int, scale: int) -> int:
    """Return an exponential average: ``last`` forgotten with ``e**(-elapsed / horizon)``.

    Rounded down. ``elapsed`` >= 0 and ``horizon`` > 0 in one unit of time.
    """
    kept = exp_scaled(-(elapsed * scale // horizon), scale)
    return muldiv(current, scale - kept, scale) + muldiv(last, kept, scale)
