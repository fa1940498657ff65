"""Losses of accounts in scenarios, summed as they are made: the matrix of them is never built.

All amounts are float64 in one unit of money. Scenarios come in blocks of `BLOCK` columns, so that
a block of returns stays near the core while all accounts pass over it, and so that every scenario
is worked on by the same instructions whatever block or thread it falls into.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray


F64: TypeAlias = NDArray[np.float64]
U8: TypeAlias = NDArray[np.uint8]
F = TypeVar("F", bound=Callable[..., Any])

BLOCK: Final = 128  # scenarios worked on together: 50 factors of them fill 51 kB
FACTORS_MAX: Final = 256  # so that a byte names one
UNROLLED: Final = 3  # accounts of up to so many positions have a loop of their own


def float_kernel(function: F) -> F:
    """Compile ``function`` with fused multiply-adds: rounded once where two roundings stood.

    Nothing is reordered. Infinities are respected, NaN is not expected.
    """
    flags = {"contract", "nsz", "nnan"}
    return cast("F", njit(cache=True, nogil=True, fastmath=flags)(function))


@float_kernel
def add_losses_1(equity: F64, slot: U8, value: F64, move: F64, loss: F64) -> None:
    """Add what accounts of one position lose beyond their equity; see `add_losses_3`."""
    for a in range(0, equity.size, 2):
        e, f = equity[a], equity[a + 1]
        v0, w0 = value[a, 0], value[a + 1, 0]
        r0, q0 = move[slot[a, 0]], move[slot[a + 1, 0]]
        for s in range(BLOCK):
            total = loss[s] + max(0.0, -(e + v0 * r0[s]))
            loss[s] = total + max(0.0, -(f + w0 * q0[s]))


@float_kernel
def add_losses_2(equity: F64, slot: U8, value: F64, move: F64, loss: F64) -> None:
    """Add what accounts of two positions lose beyond their equity; see `add_losses_3`."""
    for a in range(0, equity.size, 2):
        e, f = equity[a], equity[a + 1]
        v0, v1, w0, w1 = value[a, 0], value[a, 1], value[a + 1, 0], value[a + 1, 1]
        r0, r1 = move[slot[a, 0]], move[slot[a, 1]]
        q0, q1 = move[slot[a + 1, 0]], move[slot[a + 1, 1]]
        for s in range(BLOCK):
            total = loss[s] + max(0.0, -(e + v0 * r0[s] + v1 * r1[s]))
            loss[s] = total + max(0.0, -(f + w0 * q0[s] + w1 * q1[s]))


@float_kernel
def add_losses_3(equity: F64, slot: U8, value: F64, move: F64, loss: F64) -> None:
    """Add what accounts of three positions lose beyond their equity to each scenario's loss.

    ``equity`` is [accounts] at the present prices, an even number of them; ``slot`` and ``value``
    are [accounts, 3]: which factor moves a position, and its signed worth. ``move`` is [factors,
    BLOCK] returns, ``loss`` [BLOCK]. Accounts are added in their order, two in one pass.
    """
    for a in range(0, equity.size, 2):
        e, f = equity[a], equity[a + 1]
        v0, v1, v2 = value[a, 0], value[a, 1], value[a, 2]
        w0, w1, w2 = value[a + 1, 0], value[a + 1, 1], value[a + 1, 2]
        r0, r1, r2 = move[slot[a, 0]], move[slot[a, 1]], move[slot[a, 2]]
        q0, q1, q2 = move[slot[a + 1, 0]], move[slot[a + 1, 1]], move[slot[a + 1, 2]]
        for s in range(BLOCK):
            total = loss[s] + max(0.0, -(e + v0 * r0[s] + v1 * r1[s] + v2 * r2[s]))
            loss[s] = total + max(0.0, -(f + w0 * q0[s] + w1 * q1[s] + w2 * q2[s]))


@float_kernel
def add_losses_any(equity: F64, slot: U8, value: F64, move: F64, loss: F64) -> None:
    """Add what accounts of any number of positions (the same for all) lose beyond their equity."""
    left = np.empty(BLOCK)
    for a in range(equity.size):
        left[:] = equity[a]
        for k in range(slot.shape[1]):
            v, r = value[a, k], move[slot[a, k]]
            for s in range(BLOCK):
                left[s] += v * r[s]
        for s in range(BLOCK):
            loss[s] += max(0.0, -left[s])


@float_kernel
def mean_losses(
    equity: F64, start: NDArray[np.int64], slot: U8, value: F64, move: F64, out: F64
) -> None:
    """Write each account's mean loss beyond its equity over a few scenarios.

    Account ``a`` holds positions ``start[a]`` to ``start[a + 1]``. ``move`` is [factors, scenarios]
    and ``out`` [accounts]: an account's sum runs over the scenarios in their order.
    """
    for a in range(equity.size):
        total = 0.0
        for s in range(move.shape[1]):
            left = equity[a]
            for p in range(start[a], start[a + 1]):
                left += value[p] * move[slot[p], s]
            total += max(0.0, -left)
        out[a] = total / move.shape[1]
