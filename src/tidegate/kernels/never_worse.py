"""Whether a close leaves an account worse than before, and the last price at which it does not.

Two measures, neither of which may fall: equity over maintenance (health), and equity over gross
notional (for a loan: one minus its loan-to-value). Nobody without equity can be kept from becoming
worse: such an account is not judged.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, kernel, muldiv_up
from tidegate.kernels.sheet import judge, load, paid_for, trade


KEPT, TIGHTENED, INSOLVENT, HOPELESS = 0, 1, 2, 3  # what became of an order's limit


@kernel
def keeps_ratio(equity: int, base: int, after: int, base_after: int) -> bool:
    """Return whether ``after / base_after >= equity / base``, exactly, for equity > 0.

    A base that is gone asks only for no debt; one that has grown is taken for worse.
    """
    if base_after == 0:
        return after >= 0
    if base_after > base:
        return False
    return after >= muldiv_up(equity, base_after, base)


@kernel
def no_worse(before: I64, after: I64) -> bool:
    """Return whether neither of the two measures of a solvent account has fallen."""
    return keeps_ratio(before[0], before[1], after[0], after[1]) and keeps_ratio(
        before[0], before[2], after[0], after[2]
    )


@kernel
def _after(
    facts: Facts,
    mark: I64,
    base: tuple[I64, I64, I64, I64],
    tried: tuple[I64, I64, I64, I64],
    n: int,
    i: int,
    lots: int,
    price: int,
    off: int,
    out: I64,
) -> None:
    """Write the standing after a trade at ``price``, tried out on a copy of the paper."""
    for k in range(4):
        tried[k][:] = base[k]
    paid = paid_for(facts, i, lots, price)
    n = trade(facts, tried[0], tried[1], tried[2], tried[3], n, i, lots, paid)
    judge(facts, mark, tried[0], tried[1], tried[2], tried[3], n, out)
    out[0] += off


@kernel
def held_limits(
    book: Book,
    facts: Facts,
    mark: I64,
    shift: I64,
    equity: I64,
    row: I64,
    ordered: I64,
    limit: I64,
    fate: I64,
    before: I64,
    after: I64,
) -> None:
    """Move each order's limit towards the mark until a fill there leaves its account no worse.

    ``limit`` is changed in place, ``fate`` says what became of it, ``before`` and ``after`` [n, 3]
    are the account now and after a fill at the limit. ``shift`` [rows] are lots that this step has
    met at the mark already; empty: none. A better price helps monotonically, so the last admissible
    tick is found by halving. Where even the mark is worse (a close that turns into an owed balance)
    the limit is the mark: nobody is offered a discount. ``equity`` is the step's own, after what
    was shared out before.
    """
    one = np.zeros(1, np.int64)
    base = (np.zeros_like(mark), np.zeros_like(mark), np.zeros_like(mark), one)
    tried = (np.zeros_like(mark), np.zeros_like(mark), np.zeros_like(mark), one.copy())
    for k in range(row.size):
        i, account = np.int64(book.instrument[row[k]]), np.int64(book.account[row[k]])
        lots = ordered[k]
        n = load(book, account, base[0], base[1], base[2], base[3])
        judge(facts, mark, base[0], base[1], base[2], base[3], n, before[k])
        off = equity[account] - before[k, 0]
        one_row = np.int64(book.head[account])
        while one_row >= 0 and shift.size:
            met, j = shift[one_row], np.int64(book.instrument[one_row])
            if met:
                paid = paid_for(facts, j, met, mark[j])
                n = trade(facts, base[0], base[1], base[2], base[3], n, j, met, paid)
            one_row = np.int64(book.follow[one_row])
        judge(facts, mark, base[0], base[1], base[2], base[3], n, before[k])
        before[k, 0] += off
        fate[k] = KEPT
        _after(facts, mark, base, tried, n, i, lots, limit[k], off, after[k])
        if before[k, 0] <= 0:
            fate[k] = INSOLVENT
            continue
        if no_worse(before[k], after[k]):
            continue
        good, bad = mark[i], limit[k]
        _after(facts, mark, base, tried, n, i, lots, good, off, after[k])
        if not no_worse(before[k], after[k]):
            fate[k], limit[k] = HOPELESS, good
            continue
        while abs(good - bad) > 1:
            middle = (good + bad) // 2
            _after(facts, mark, base, tried, n, i, lots, middle, off, after[k])
            if no_worse(before[k], after[k]):
                good = middle
            else:
                bad = middle
        fate[k], limit[k] = TIGHTENED, good
        _after(facts, mark, base, tried, n, i, lots, good, off, after[k])
