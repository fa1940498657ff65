"""One account on scratch paper: trades are tried out on it before anything is decided.

The paper is three columns, [instruments] long, of which the first ``n`` rows are in use, and a
purse of one cell with the account's cash. What a trade realises is booked as the ledger will.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, kernel, ppm_ceil
from tidegate.kernels.fills import realise
from tidegate.kernels.margin import MAINTENANCE, requirement
from tidegate.kernels.value import SPOT, in_money, notional, settled_value, worth


@kernel
def load(book: Book, account: int, instrument: I64, lots: I64, cost: I64, purse: I64) -> int:
    """Copy an account onto the paper; return how many rows it has."""
    n = 0
    row = np.int64(book.head[account])
    while row >= 0:
        instrument[n], lots[n], cost[n] = book.instrument[row], book.lots[row], book.cost[row]
        n += 1
        row = np.int64(book.follow[row])
    purse[0] = book.cash[account]
    return n


@kernel
def place(instrument: I64, lots: I64, cost: I64, n: int, i: int) -> int:
    """Return the row of instrument ``i``; a new, empty one is row ``n``."""
    for k in range(n):
        if instrument[k] == i:
            return k
    instrument[n], lots[n], cost[n] = i, 0, 0
    return n


@kernel
def trade(
    facts: Facts,
    instrument: I64,
    lots: I64,
    cost: I64,
    purse: I64,
    n: int,
    i: int,
    change: int,
    paid: int,
) -> int:
    """Trade ``change`` lots of ``i`` for ``paid`` of its settlement asset; return the rows used."""
    at = place(instrument, lots, cost, n, i)
    n = max(n, at + 1)
    if facts.kind[i] == SPOT:
        lots[at] += change
        purse[0] -= paid
        return n
    gain = realise(lots[at], cost[at], change, paid)
    cost[at] += paid + gain
    lots[at] += change
    coin = facts.coin[i]
    if coin < 0:
        purse[0] += gain
    elif gain != 0:
        at = place(instrument, lots, cost, n, coin)
        n = max(n, at + 1)
        lots[at] += gain
    return n


@kernel
def judge(
    facts: Facts, mark: I64, instrument: I64, lots: I64, cost: I64, purse: I64, n: int, out: I64
) -> None:
    """Write equity, maintenance and gross notional of the account on the paper; [3] Money."""
    cash = purse[0]
    out[0], out[1], out[2] = cash, 0, 0
    if cash < 0:
        out[1] = ppm_ceil(-cash, facts.cash_debt[0])
    for k in range(n):
        if lots[k] == 0 and cost[k] == 0:
            continue
        i = np.int64(instrument[k])
        size = notional(facts, i, lots[k], mark[i])
        out[0] += worth(facts, mark, i, lots[k], cost[k], mark[i])
        out[1] += requirement(facts, i, lots[k], size, MAINTENANCE)
        out[2] += size


@kernel
def rounding_room(facts: Facts, mark: I64, i: int, held: int) -> int:
    """Return the Money that rounding alone may cost a trade out of ``held`` lots of ``i``.

    One Money each for value, notional, requirement and cost; where profit is paid in coins, three
    of their smallest units besides; with a size premium, whose rate is whole ppm, one ppm.
    """
    room = 4
    if facts.premium[i] > 0:
        room += ppm_ceil(notional(facts, i, held, mark[i]), 1)
    if facts.coin[i] >= 0:
        room += in_money(facts, mark, i, 3) + 1
    return room


@kernel
def paid_for(facts: Facts, i: int, lots: int, price: int) -> int:
    """Return what trading ``lots`` at ``price`` pays, rounded against whoever trades."""
    return -settled_value(facts, i, -lots, price)
