"""Whether a close leaves an account worse than before, and the last price at which it does not.

Two measures, neither of which may fall: equity over maintenance (health), and equity over gross
notional (for a loan: one minus its loan-to-value). What a close realises counts as equity wherever
it is booked. Nobody without equity can be kept from becoming worse: such an account is not judged.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, kernel, muldiv_up, ppm_ceil
from tidegate.kernels.margin import MAINTENANCE, requirement
from tidegate.kernels.value import SPOT, notional, settled_value, worth


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
def standing(
    book: Book,
    facts: Facts,
    mark: I64,
    shift: I64,
    account: int,
    instrument: int,
    lots: int,
    paid: int,
    out: I64,
) -> None:
    """Write equity, maintenance and gross notional of an account after a trade; [3] Money.

    The trade adds ``lots`` of ``instrument`` for ``paid`` (no lots: as it stands). ``shift`` [rows]
    are lots that have been traded at the mark already; empty: none.
    """
    cash = book.cash[account]
    out[0], out[1], out[2] = 0, 0, 0
    row = np.int64(book.head[account])
    while row >= 0:
        i, held, cost = np.int64(book.instrument[row]), book.lots[row], book.cost[row]
        moved = shift[row] if shift.size else 0
        row = np.int64(book.follow[row])
        gone = -settled_value(facts, i, -moved, mark[i]) if moved else 0
        if i == instrument:
            moved, gone = moved + lots, gone + paid
        held += moved
        if facts.kind[i] == SPOT:
            cash -= gone
        else:
            cost += gone
        if held or cost:
            size = notional(facts, i, held, mark[i])
            out[0] += worth(facts, mark, i, held, cost, mark[i])
            out[1] += requirement(facts, i, held, size, MAINTENANCE)
            out[2] += size
    out[0] += cash
    if cash < 0:
        out[1] += ppm_ceil(-cash, facts.cash_debt[0])


@kernel
def no_worse(before: I64, after: I64) -> bool:
    """Return whether neither of the two measures of a solvent account has fallen."""
    return keeps_ratio(before[0], before[1], after[0], after[1]) and keeps_ratio(
        before[0], before[2], after[0], after[2]
    )


@kernel
def _at(
    book: Book,
    facts: Facts,
    mark: I64,
    shift: I64,
    account: int,
    i: int,
    lots: int,
    price: int,
    off: int,
    out: I64,
) -> None:
    paid = -settled_value(facts, i, -lots, price)
    standing(book, facts, mark, shift, account, i, lots, paid, out)
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
    are the account now and after a fill at the limit. A better price helps monotonically, so the
    last admissible tick is found by halving. Where even the mark is worse (a close that turns into
    an owed balance) the limit is the mark: nobody is offered a discount. ``equity`` is the step's
    own, after what was shared out before.
    """
    none = shift[:0]
    for n in range(row.size):
        i, account, lots = np.int64(book.instrument[row[n]]), book.account[row[n]], ordered[n]
        standing(book, facts, mark, none, account, -1, 0, 0, before[n])
        off = equity[account] - before[n, 0]
        standing(book, facts, mark, shift, account, -1, 0, 0, before[n])
        before[n, 0] += off
        fate[n] = KEPT
        _at(book, facts, mark, shift, account, i, lots, limit[n], off, after[n])
        if before[n, 0] <= 0:
            fate[n] = INSOLVENT
            continue
        if no_worse(before[n], after[n]):
            continue
        good, bad = mark[i], limit[n]
        _at(book, facts, mark, shift, account, i, lots, good, off, after[n])
        if not no_worse(before[n], after[n]):
            fate[n], limit[n] = HOPELESS, good
            continue
        while abs(good - bad) > 1:
            middle = (good + bad) // 2
            _at(book, facts, mark, shift, account, i, lots, middle, off, after[n])
            if no_worse(before[n], after[n]):
                good = middle
            else:
                bad = middle
        fate[n], limit[n] = TIGHTENED, good
        _at(book, facts, mark, shift, account, i, lots, good, off, after[n])
