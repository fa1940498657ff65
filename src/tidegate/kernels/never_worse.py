"""Whether a close leaves an account worse than before, and the last price at which it does not.

Two measures, neither of which may fall: equity over maintenance (health), and equity over gross
notional (for a loan: one minus its loan-to-value). Nobody without equity can be kept from becoming
worse: such an account is not judged.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import NamedTuple

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, kernel, muldiv_up, ppm_ceil
from tidegate.kernels.fills import realise
from tidegate.kernels.margin import MAINTENANCE, requirement
from tidegate.kernels.sheet import judge, load, paid_for, place, trade
from tidegate.kernels.value import LINEAR, notional


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


class Trying(NamedTuple):
    """One linear position that is about to be traded, and the account's standing without it."""

    lots: int  # of the trade
    tick_value: int
    held: int
    cost: int
    cash: int
    debt_rate: int
    equity: int  # of all else but cash
    required: int  # of all else, and of what the trade leaves of the position
    notional: int
    worth: int  # at the mark, of what the trade leaves, before its cost


NOBODY = Trying(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@kernel
def _without(
    facts: Facts,
    mark: I64,
    base: tuple[I64, I64, I64, I64],
    n: int,
    i: int,
    lots: int,
    standing: I64,
) -> Trying:
    """Return what is the same at every price of a trade in a linear instrument.

    Value and cost of a linear position are exact and its size is that at the mark, so the account's
    sums are those without the position plus its own.
    """
    at, cash = place(base[0], base[1], base[2], n, i), base[3][0]
    held, cost = base[1][at], base[2][at]
    size, left = notional(facts, i, held, mark[i]), notional(facts, i, held + lots, mark[i])
    due = requirement(facts, i, held, size, MAINTENANCE)
    rate, tick_value = facts.cash_debt[0], facts.tick_value[i]
    debt = ppm_ceil(-cash, rate) if cash < 0 else 0
    return Trying(
        lots,
        tick_value,
        held,
        cost,
        cash,
        rate,
        standing[0] - cash - (held * mark[i] * tick_value - cost),
        standing[1] - debt - due + requirement(facts, i, held + lots, left, MAINTENANCE),
        standing[2] - size + left,
        (held + lots) * mark[i] * tick_value,
    )


@kernel
def _after_linear(t: Trying, price: int, out: I64) -> None:
    """Write what `_after` would."""
    paid = t.lots * price * t.tick_value
    gain = realise(t.held, t.cost, t.lots, paid)
    cash = t.cash + gain
    out[0] = t.equity + cash + t.worth - (t.cost + paid + gain)
    out[1] = t.required + (ppm_ceil(-cash, t.debt_rate) if cash < 0 else 0)
    out[2] = t.notional


@kernel
def _loaded(
    book: Book,
    facts: Facts,
    mark: I64,
    shift: I64,
    account: int,
    equity: int,
    base: tuple[I64, I64, I64, I64],
    standing: I64,
) -> tuple[int, int]:
    """Put an account on the paper with what was met at the mark, and write how it stands.

    Return the rows of the paper, and by how much its ``equity`` differs from what the book says.
    """
    n = load(book, account, base[0], base[1], base[2], base[3])
    judge(facts, mark, base[0], base[1], base[2], base[3], n, standing)
    off = equity - standing[0]
    row = np.int64(book.head[account])
    while row >= 0 and shift.size:
        met, j = shift[row], np.int64(book.instrument[row])
        if met:
            paid = paid_for(facts, j, met, mark[j])
            n = trade(facts, base[0], base[1], base[2], base[3], n, j, met, paid)
        row = np.int64(book.follow[row])
    judge(facts, mark, base[0], base[1], base[2], base[3], n, standing)
    return n, off


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
    standing, known, n, off = np.zeros(3, np.int64), np.int64(-1), 0, 0
    for k in range(row.size):
        i, account = np.int64(book.instrument[row[k]]), np.int64(book.account[row[k]])
        lots = ordered[k]
        if account != known:  # orders of one account follow one another
            known = account
            n, off = _loaded(book, facts, mark, shift, account, equity[account], base, standing)
        before[k] = standing
        before[k, 0] += off
        fate[k] = KEPT
        if before[k, 0] <= 0:
            fate[k] = INSOLVENT
            _after(facts, mark, base, tried, n, i, lots, limit[k], off, after[k])
            continue
        plain = facts.kind[i] == LINEAR
        trying = _without(facts, mark, base, n, i, lots, before[k]) if plain else NOBODY
        if plain:
            _after_linear(trying, limit[k], after[k])
        else:
            _after(facts, mark, base, tried, n, i, lots, limit[k], off, after[k])
        if no_worse(before[k], after[k]):
            continue
        good, bad = mark[i], limit[k]
        if plain:
            _after_linear(trying, good, after[k])
        else:
            _after(facts, mark, base, tried, n, i, lots, good, off, after[k])
        if not no_worse(before[k], after[k]):
            fate[k], limit[k] = HOPELESS, good
            continue
        while abs(good - bad) > 1:
            middle = (good + bad) // 2
            if plain:
                _after_linear(trying, middle, after[k])
            else:
                _after(facts, mark, base, tried, n, i, lots, middle, off, after[k])
            if no_worse(before[k], after[k]):
                good = middle
            else:
                bad = middle
        fate[k], limit[k] = TIGHTENED, good
        if plain:
            _after_linear(trying, good, after[k])
        else:
            _after(facts, mark, base, tried, n, i, lots, good, off, after[k])
