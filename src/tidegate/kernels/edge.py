"""Where accounts stand: how much they hold, and the price that would make one liquidatable."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, kernel, ppm_ceil
from tidegate.kernels.margin import MAINTENANCE, requirement
from tidegate.kernels.value import INVERSE, notional, worth


NOWHERE = -1


@kernel
def edge_sizes(book: Book, facts: Facts, mark: I64, out: NDArray[np.float64]) -> None:
    """Add the notional of every position to its account's cell; a statistic, not a ledger value."""
    row_account, row_instrument, row_lots = book.account, book.instrument, book.lots
    scale = np.zeros(mark.size)
    for i in range(mark.size):
        if facts.kind[i] == INVERSE:
            scale[i] = facts.face[i] if mark[i] else 0
        else:
            scale[i] = float(mark[i]) * facts.tick_value[i] / facts.units[i]
    for row in range(book.counts[1]):
        account = np.int64(row_account[row])
        if row_lots[row] and account >= FIRST_USER:
            out[account] += abs(row_lots[row]) * scale[np.int64(row_instrument[row])]


@kernel
def slack_at(book: Book, facts: Facts, mark: I64, account: int) -> int:
    """Return equity less maintenance of one account at ``mark``, in Money."""
    cash = book.cash[account]
    slack = cash - (ppm_ceil(-cash, facts.cash_debt[0]) if cash < 0 else 0)
    row = np.int64(book.head[account])
    while row >= 0:
        i, lots, cost = np.int64(book.instrument[row]), book.lots[row], book.cost[row]
        row = np.int64(book.follow[row])
        if lots or cost:
            slack += worth(facts, mark, i, lots, cost, mark[i])
            slack -= requirement(facts, i, lots, notional(facts, i, lots, mark[i]), MAINTENANCE)
    return slack


@kernel
def liquidation_ticks(book: Book, facts: Facts, mark: I64, account: int, i: int, extra: int) -> int:
    """Return the price of ``i`` in ticks at which an account becomes liquidatable by it alone.

    The account is strictly below maintenance there, and not one tick further on its favourable
    side; all other marks stand still. NOWHERE where no admissible price does it, or where even the
    best one is too bad. ``extra`` is what it must hold beside its maintenance.

    Net margin is monotone in a price to within the rounding of one Money (rates are at most 100 %),
    so that halving finds such a price; which way it falls is found from the two ends. For a coin,
    the contracts that are settled in it move along.
    """
    at = mark.copy()
    low, high = max(1, facts.price_min[i]), facts.price_max[i]
    at[i] = low
    bad_low = slack_at(book, facts, at, account) < extra
    at[i] = high
    bad_high = slack_at(book, facts, at, account) < extra
    if bad_low == bad_high:
        return NOWHERE
    while high - low > 1:
        middle = (low + high) // 2
        at[i] = middle
        if (slack_at(book, facts, at, account) < extra) == bad_low:
            low = middle
        else:
            high = middle
    return low if bad_low else high
