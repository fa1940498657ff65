"""Who is served first: by what an account adds to the cascade, or by what waiting for it costs."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv, ppm_ceil
from tidegate.kernels.profile import N_MAX, ratio_of
from tidegate.kernels.value import notional


RANKED_MAX = 2**58  # Money beyond it ranks as it


@kernel
def branching_of(book: Book, account: int, depth: I64) -> int:
    """Return what an account adds to the branching ratio in ppm: its lots over executable depth.

    ``depth`` is [instruments, 2]: what longs are sold into, and shorts bought back from.
    """
    total = 0
    row = np.int64(book.head[account])
    while row >= 0:
        i, lots = np.int64(book.instrument[row]), book.lots[row]
        if lots:
            there = depth[i, 0 if lots > 0 else 1]
            total += ratio_of(abs(lots), there) if there > 0 else N_MAX
        row = np.int64(book.follow[row])
    return total


@kernel
def branching_line(book: Book, accounts: I64, depth: I64, out: I64) -> None:
    """Write each account's place in line, lowest first: who weighs most on the book goes first."""
    for n in range(accounts.size):
        out[n] = -branching_of(book, accounts[n], depth)


@kernel
def waiting_shortfall(equity: int, move: int) -> int:
    """Return the expected deficit of an account whose worth moves evenly within +/- ``move``.

    E[(U - e)+] for U uniform on -m..m: (m - e)^2 / 4m between the ends, -e below and 0 above.
    Rounded down; both in Money.
    """
    if equity >= move:
        return 0
    if equity <= -move or move <= 0:
        return -equity
    gap = move - equity
    return muldiv(gap, gap, move) // 4


@kernel
def deficit_line(
    book: Book, facts: Facts, mark: I64, accounts: I64, equity: I64, sigma: I64, out: I64
) -> None:
    """Write each account's place in line, lowest first: the largest expected deficit goes first.

    ``sigma`` is the move of each price while one waits, in ppm; the moves of an account's positions
    are added, as if none hedged another.
    """
    for n in range(accounts.size):
        a = accounts[n]
        move = 0
        row = np.int64(book.head[a])
        while row >= 0:
            i = np.int64(book.instrument[row])
            move += ppm_ceil(notional(facts, i, book.lots[row], mark[i]), min(sigma[i], PPM))
            row = np.int64(book.follow[row])
        # A rank needs no more than this, and no product of it wraps.
        have = max(equity[a], -RANKED_MAX)
        out[n] = -waiting_shortfall(have, min(move, RANKED_MAX))
