"""Prices that nobody recorded: correlated geometric random walks, in whole ticks."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from math import exp

import numpy as np

from tidegate.domain.units import I64, kernel
from tidegate.lab.kernels.rng import F64, fill_normals


@kernel
def walk(key: np.uint64, first: I64, drift: F64, load: F64, price_max: I64, out: I64) -> None:
    """Write one path of prices, [steps, instruments] ticks, from the normals of ``key``.

    Log returns are ``drift + load @ z`` per step; ``load`` is [instruments, factors]. Prices are
    the nearest ticks within 1..``price_max``; what rounding took is not carried on.
    """
    steps, instruments = out.shape
    factors = load.shape[1]
    level = np.zeros(instruments)
    z = np.empty(steps * factors + steps * factors % 2)
    fill_normals(key, 0, z)
    for t in range(steps):
        for i in range(instruments):
            move = drift[i]
            for k in range(factors):
                move += load[i, k] * z[t * factors + k]
            level[i] += move
            out[t, i] = ticks_at(first[i], level[i], price_max[i])


@kernel
def ticks_at(first: int, level: float, price_max: int) -> int:
    """Return the nearest tick to ``first * exp(level)`` within 1..``price_max``."""
    return max(1, min(price_max, int(min(first * exp(level), 4e15) + 0.5)))
