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
    z = np.empty(factors + factors % 2)
    pairs = z.size // 2
    for t in range(steps):
        fill_normals(key, t * pairs, z)
        for i in range(instruments):
            move = drift[i]
            for k in range(factors):
                move += load[i, k] * z[k]
            level[i] += move
            price = first[i] * exp(level[i])
            out[t, i] = max(1, min(price_max[i], int(min(price, 4e15) + 0.5)))
