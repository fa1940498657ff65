"""What a liquidated account pays for having been liquidated."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, kernel, ppm_floor
from tidegate.kernels.order import stable_order
from tidegate.kernels.value import in_money, notional, settled_value, worth


@kernel
def equity_of(book: Book, facts: Facts, mark: I64, account: int) -> int:
    """Return the equity of one account in Money."""
    equity = book.cash[account]
    row = np.int64(book.head[account])
    while row >= 0:
        i = np.int64(book.instrument[row])
        equity += worth(facts, mark, i, book.lots[row], book.cost[row], mark[i])
        row = np.int64(book.follow[row])
    return equity


@kernel
def penalties(
    book: Book,
    facts: Facts,
    mark: I64,
    account: I64,
    instrument: I64,
    lots: I64,
    paid: I64,
    out: I64,
) -> None:
    """Write each fill's penalty in Money: a share of its notional, never beyond the equity left.

    A penalty that made the account bankrupt would be paid by the fund it is meant to feed. The
    equity is that after the fills before it: what each fill gained or lost against the mark counts.
    """
    order = stable_order(account)
    left = 0
    for k in range(order.size):
        n = order[k]
        i = instrument[n]
        if k == 0 or account[n] != account[order[k - 1]]:
            left = equity_of(book, facts, mark, account[n])
        left += in_money(facts, mark, i, settled_value(facts, i, lots[n], mark[i]) - paid[n])
        due = ppm_floor(notional(facts, i, lots[n], mark[i]), facts.penalty[i])
        out[n] = max(0, min(due, left))
        left -= out[n]
