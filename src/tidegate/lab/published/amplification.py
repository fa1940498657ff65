"""How far a small push travels: the total move of a cascade over the move that began it.

A first sale moves the price past n liquidation prices on average, each of which moves it again:
1 / (1 - n) in all, as long as n < 1 (Filimonov and Sornette, 2012, for order flow). Here many rows
at once, by the count that ends a row; `checks.cascade_sizes` fells the same rows one by one.
"""

import numpy as np

from tidegate.domain.units import I64
from tidegate.drivers.streams import Streams
from tidegate.lab.worlds.ground import within


ROWS_AT_ONCE = 500


def total_moves(n: float, rows: int, accounts: int, root: int) -> I64:
    """Return the total move of each row over that of its first sale; stream "dominoes".

    Row k is `Dominoes.drawn(n, accounts, root, k)`: account j lies gap[j] moves below the first
    one and falls once more than that have been sold, so a row ends at the first j with gap[j] > j.
    Rows that do not end are cut at ``accounts``.
    """
    within("amplification.n", n, 0.0, 1.0, open_=True)
    out = np.empty(rows, np.int64)
    for first in range(0, rows, ROWS_AT_ONCE):
        paths = range(first, min(first + ROWS_AT_ONCE, rows))
        gaps = np.stack(
            [Streams(root, k)["dominoes"].exponential(1.0 / n, accounts - 1) for k in paths]
        ).cumsum(axis=1)
        beyond = gaps > np.arange(1, accounts)
        out[paths.start : paths.stop] = np.where(
            beyond.any(axis=1), beyond.argmax(axis=1) + 1, accounts
        )
    return out
