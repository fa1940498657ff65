"""Stable orders of columns of whole numbers, digit by digit instead of by comparison."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.units import I64, kernel


SHORT = 24  # rows up to which comparing neighbours is quicker than counting digits


@kernel
def stable_order(line: I64) -> I64:
    """Return the rows of ``line`` from its lowest number to its highest, ties by row.

    What ``np.argsort(line, kind="stable")`` returns. Counts digits of 8 or 11 bits from the lowest
    up, as many as the spread of the numbers has: at most eight passes.
    """
    n = line.size
    order = np.arange(n)
    if n <= SHORT:
        for k in range(1, n):
            row = order[k]
            at = k
            while at > 0 and line[order[at - 1]] > line[row]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = row
        return order
    low, high = line[0], line[0]
    for k in range(n):
        low, high = min(low, line[k]), max(high, line[k])
    bits = 8 if n < 4_096 else 11
    # Compiled, a distance of 2**63 or more wraps below zero. Its digits are right all the same: the
    # sign that is drawn in from the left makes the highest of them larger than those of the others.
    rest, passes = high - low, 0
    if rest < 0:
        passes = -(-64 // bits)
    while rest > 0:
        rest >>= bits
        passes += 1
    other, count = np.empty_like(order), np.empty(1 << bits, np.int64)
    for step in range(passes):
        shift = step * bits
        count[:] = 0
        for k in range(n):
            count[((line[k] - low) >> shift) & ((1 << bits) - 1)] += 1
        before = 0
        for digit in range(count.size):
            here = count[digit]
            count[digit] = before
            before += here
        for k in range(n):
            row = order[k]
            digit = ((line[row] - low) >> shift) & ((1 << bits) - 1)
            other[count[digit]] = row
            count[digit] += 1
        order, other = other, order
    return order


@kernel
def distinct(key: I64) -> tuple[I64, I64]:
    """Return the different numbers of ``key``, rising, and for each row the place of its own.

    What ``np.unique(key, return_inverse=True)`` returns.
    """
    order = stable_order(key)
    found, place = np.empty_like(key), np.empty(key.size, np.int64)
    n = 0
    for k in range(order.size):
        row = order[k]
        if n == 0 or found[n - 1] != key[row]:
            found[n] = key[row]
            n += 1
        place[row] = n - 1
    return found[:n], place
