"""How fast to sell where impact fades: a block, a steady rate and a block."""

# scipy ships no types: what it returns is named where it enters.
# pyright: reportMissingTypeStubs=false

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray


linalg: Any = scipy.linalg
optimize: Any = scipy.optimize


def obizhaeva_wang(size: float, resilience: float, horizon: float) -> tuple[float, float]:
    """Return (block, rate): a block at each end and a constant rate between them.

    x_0 = x_T = X / (rho T + 2), rate = rho X / (rho T + 2).

    Source
    ------
    Obizhaeva and Wang, Optimal trading strategy and supply/demand dynamics (2013).
    """
    block = size / (resilience * horizon + 2)
    return block, resilience * block


def alfonsi_fruth_schied(
    size: float, resilience: float, horizon: float, intervals: int
) -> NDArray[np.float64]:
    """Return the ``intervals`` + 1 trades of the same problem in discrete time.

    With a = exp(-rho T / N): xi_0 = xi_N = X / ((N - 1)(1 - a) + 2), and xi_0 (1 - a) between.

    Source
    ------
    Alfonsi, Fruth and Schied, Optimal execution strategies in limit order books with general shape
    functions (2010), corollary 6.1.
    """
    a = np.exp(-resilience * horizon / intervals)
    block = size / ((intervals - 1) * (1 - a) + 2)
    trades = np.full(intervals + 1, block * (1 - a))
    trades[0] = trades[-1] = block
    return trades


def propagator(
    size: float, times: NDArray[np.float64], decay: Callable[[NDArray[np.float64]], Any]
) -> NDArray[np.float64]:
    """Return the sales at ``times`` of least cost where a sale's impact decays as ``decay(d)``.

    Minimises xi' G xi / 2 with sum(xi) = size: G xi = mu 1. A convex, falling decay has no answer
    that buys back; where another one does, the best answer without buying is returned, because a
    liquidator that buys in the middle of its sale manipulates the market.

    Source
    ------
    Gatheral, No-dynamic-arbitrage and market impact (2010); Gatheral and Schied (2013).
    """
    kernel = np.asarray(decay(np.abs(times[:, None] - times[None, :])), np.float64)
    free = np.asarray(linalg.solve(kernel, np.ones(times.size), assume_a="pos"), np.float64)
    if (free >= 0).all():
        return size * free / free.sum()
    # Least |L' xi| with xi >= 0 and the sum as one more equation, weighted until it is exact.
    root = np.asarray(linalg.cholesky(kernel), np.float64)
    weight = 1e6 * float(np.abs(root).max())
    rows = np.vstack([root, np.full(times.size, weight)])
    aim = np.append(np.zeros(times.size), weight)
    found = np.asarray(optimize.nnls(rows, aim)[0], np.float64)
    return size * found / found.sum()
