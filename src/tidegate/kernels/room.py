"""Whether changes of balances and positions surely fit into their limits, without sorting them."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.table import table_find
from tidegate.domain.units import I64, MONEY_MAX, kernel
from tidegate.kernels.order import stable_order


DOUBTED = -1


@kernel
def rows_needed(
    book: Book,
    account: I64,
    instrument: I64,
    amount: I64,
    cost: I64,
    most: I64,
    dear: I64,
    open_max: I64,
) -> int:
    """Return how many rows the changes would open, or DOUBTED where they might not all fit.

    ``instrument`` -1 is cash. ``most`` and ``dear`` are [instruments + 1] the largest size and cost
    of a user's position, cash last; system accounts have all of the range. ``open_max`` is
    [instruments] lots of one side. Doubted, too, are changes whose sum might wrap.
    """
    if _may_wrap(amount) or _may_wrap(cost):
        return DOUBTED
    table, keys, row_lots, row_cost = book.table, book.key, book.lots, book.cost
    # An account that this very step opens lies beyond those in use.
    cash, held = np.zeros_like(book.cash), np.zeros(book.counts[1], np.int64)
    paid = np.zeros(book.counts[1], np.int64)
    row, fresh, key = np.empty_like(account), np.empty_like(account), np.empty_like(account)
    n = 0
    for k in range(amount.size):
        a, i = account[k], instrument[k]
        row[k] = -1
        if i < 0:
            cash[a] += amount[k]
            continue
        row[k] = table_find(table, keys, (a << 32) | i)
        if row[k] >= 0:
            held[row[k]] += amount[k]
            paid[row[k]] += cost[k]
        else:
            fresh[n], key[n] = k, (a << 32) | i
            n += 1
    grown = (book.long_open.copy(), book.short_open.copy())
    for k in range(amount.size):
        a, i, at = account[k], instrument[k], row[k]
        if i >= 0 and at < 0:
            continue
        size, price, before = book.cash[a] + cash[a] if i < 0 else 0, 0, 0
        if i >= 0:
            before = row_lots[at]
            size, price = before + held[at], row_cost[at] + paid[at]
            held[at], paid[at] = 0, 0  # several changes of one position are counted once
        if not _fits(a, size, price, most[i], dear[i]):
            return DOUBTED
        if i >= 0 and a >= FIRST_USER:
            grown[0][i] += max(size, 0) - max(before, 0)
            grown[1][i] += max(-size, 0) - max(-before, 0)
    order, opened = stable_order(key[:n]), 0
    size, price = 0, 0
    for m in range(n):
        k = fresh[order[m]]
        size, price = size + amount[k], price + cost[k]
        if m + 1 < n and key[order[m + 1]] == key[order[m]]:
            continue
        i = instrument[k]
        if not _fits(account[k], size, price, most[i], dear[i]):
            return DOUBTED
        if account[k] >= FIRST_USER:
            grown[0][i] += max(size, 0)
            grown[1][i] += max(-size, 0)
        opened, size, price = opened + 1, 0, 0
    for i in range(open_max.size):
        if max(grown[0][i], grown[1][i]) > open_max[i]:
            return DOUBTED
    return opened


@kernel
def _may_wrap(change: I64) -> bool:
    total = 0.0
    for k in range(change.size):
        total += abs(float(change[k]))
    return total >= float(MONEY_MAX) / 2


@kernel
def _fits(account: int, size: int, cost: int, most: int, dear: int) -> bool:
    if account < FIRST_USER:
        most, dear = MONEY_MAX, MONEY_MAX
    return abs(size) <= most and abs(cost) <= dear
