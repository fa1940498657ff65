"""The branching ratio of several instruments at once: the spectral radius of the cascade matrix."""

from typing import Final

import numpy as np

from tidegate.domain.units import I64, PPM
from tidegate.engine.state import State
from tidegate.kernels.depth import executable
from tidegate.kernels.profile import branching_matrix
from tidegate.safeguards.stack import Stack


RADIUS_MAX: Final = 1_000 * PPM
MODEL, VERSION = "mechanical-branching", "1"


def cascade_matrix(state: State, stack: Stack, side: int) -> I64:
    """Return M[i, j] in ppm: forced flow in j over its executable depth, caused by a move of i.

    The move is a fall (``side`` 1) or a rise (-1) by the near range of the profile.
    """
    m, grid = state.market, stack.declaration.profile
    reach = grid.near * grid.width
    health = stack.declaration.margin.assess(
        state.book, state.facts, mark=m.mark, low=m.mark, high=m.mark
    )
    book_side = 0 if side > 0 else 1
    depth = np.array(
        [
            executable(
                m.depth_price[i, book_side],
                m.depth_lots[i, book_side],
                int(m.levels[i, book_side]),
                int(m.mark[i]),
                reach,
            )
            for i in range(m.mark.size)
        ],
        np.int64,
    )
    out = np.zeros((m.mark.size, m.mark.size), np.int64)
    branching_matrix(
        state.book, state.facts, m.mark, health.equity - health.required, depth, reach, side, out
    )
    known = depth > 0
    return out * known[:, None] * known[None, :]


def spectral_radius(matrix: I64) -> int:
    """Return the largest |eigenvalue| of a non-negative ppm matrix in ppm, rounded up, bounded.

    Float64 (LAPACK): computed outside the core, so it enters as a signal and acts one event later.
    """
    if not matrix.any():
        return 0
    radius = float(np.abs(np.linalg.eigvals(matrix.astype(np.float64))).max())
    return min(RADIUS_MAX, int(np.ceil(radius)))


def branching_now(state: State, stack: Stack) -> int:
    """Return the spectral radius of the worse direction in ppm."""
    return max(spectral_radius(cascade_matrix(state, stack, side)) for side in (1, -1))
