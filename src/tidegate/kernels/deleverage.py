"""Who could be closed against a bankrupt position, and in which order a queue would take them."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv
from tidegate.kernels.allocate import RATIO_MAX, ratio_ppm
from tidegate.kernels.value import in_money, notional, worth


LEVERAGE_PROFIT, PROFIT, SIZE = 0, 1, 2


@kernel
def candidates(
    book: Book,
    facts: Facts,
    equity: I64,
    best: I64,
    mark: I64,
    i: int,
    side: int,
    deficit: int,
    lots_closed: int,
    rule: int,
) -> tuple[I64, I64, I64]:
    """Return (rows, scores, lots) of all who can be closed against bankrupt positions of ``side``.

    They hold the other side of instrument ``i``, at a profit and an equity that cover their share
    of ``deficit`` (per lot of the ``lots_closed``, of which nobody takes more than all), and are
    themselves at or above maintenance, with nothing in flight.
    Scores, high first: LEVERAGE_PROFIT is profit over cost times notional over equity, both in ppm
    and capped at 1,000; PROFIT is Money; SIZE is notional.

    Source
    ------
    The percent-profit times effective-leverage queues that BitMEX, Bybit and Binance publish,
    side-adjusted: what counts is the holder's own profit.
    """
    found = np.empty(book.counts[1], np.int64)
    score = np.empty(book.counts[1], np.int64)
    lots = np.empty(book.counts[1], np.int64)
    n = 0
    for other in range(book.counts[1]):
        account = book.account[other]
        if book.instrument[other] != i or book.lots[other] * side >= 0 or account < FIRST_USER:
            continue
        if best[account] < 0 or equity[account] <= 0 or book.in_flight[other]:
            continue
        gain = worth(facts, mark, i, book.lots[other], book.cost[other], mark[i])
        most = abs(book.lots[other])
        if gain <= 0:
            continue
        # deficit / lots_closed <= gain / most, written twice so that every product fits; and nobody
        # gives up all it has, or a winner would become one of the bankrupt.
        if most > lots_closed:
            if deficit > muldiv(gain, lots_closed, most):
                continue
            if deficit >= equity[account]:
                continue
        else:
            share = muldiv(most, deficit, lots_closed)
            if share > gain or share >= equity[account]:
                continue
        size = notional(facts, i, book.lots[other], mark[i])
        if rule == PROFIT:
            score[n] = gain
        elif rule == SIZE:
            score[n] = size
        else:
            paid = abs(in_money(facts, mark, i, book.cost[other]))
            profit = min(RATIO_MAX, ratio_ppm(gain, max(paid, 1)))
            score[n] = profit * ratio_ppm(size, equity[account]) // PPM
        found[n] = other
        lots[n] = most
        n += 1
    return found[:n], score[:n], lots[:n]


@kernel
def proportional(total: int, weight: I64, out: I64) -> None:
    """Write each row's share of ``total`` rounded down; the last row takes what is left over."""
    pool = weight.sum()
    given = 0
    for n in range(weight.size):
        out[n] = muldiv(total, weight[n], pool) if pool else 0
        given += out[n]
    if weight.size:
        out[weight.size - 1] += total - given
