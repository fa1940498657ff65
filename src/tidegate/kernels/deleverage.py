"""Who could be closed against a bankrupt position, and in which order a queue would take them."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv, muldiv_up
from tidegate.kernels.allocate import RATIO_MAX, ratio_ppm
from tidegate.kernels.value import SPOT, in_money, notional, settled, size_of


LEVERAGE_PROFIT, PROFIT, SIZE = 0, 1, 2


@kernel
def rows_by_instrument(book: Book, instruments: int) -> tuple[I64, I64]:
    """Return (where each instrument's rows begin and the last end, all position rows by it).

    The rows of one instrument rise.
    """
    begin, at = np.zeros(instruments + 1, np.int64), np.zeros(instruments, np.int64)
    column = book.instrument[: book.counts[1]]
    for i in column:
        begin[i + 1] += 1
    for i in range(instruments):
        begin[i + 1] += begin[i]
        at[i] = begin[i]
    rows = np.empty(column.size, np.int64)
    for row in range(column.size):
        i = column[row]
        rows[at[i]] = row
        at[i] += 1
    return begin, rows


@kernel
def candidates(
    book: Book,
    facts: Facts,
    equity: I64,
    best: I64,
    mark: I64,
    rows: I64,
    side: int,
    deficit: int,
    lots_closed: int,
    rule: int,
) -> tuple[I64, I64, I64]:
    """Return (rows, scores, lots) of all who can be closed against bankrupt positions of ``side``.

    ``rows`` are all positions in the instrument, rising. Found are those on the other side, at a
    profit and an equity that cover their share of ``deficit`` (per lot of the ``lots_closed``, of
    which nobody takes more than all), whose accounts are at or above maintenance, with nothing in
    flight.
    Scores, high first: LEVERAGE_PROFIT is profit over cost times notional over equity, both in ppm
    and capped at 1,000; PROFIT is Money; SIZE is notional.

    Source
    ------
    The percent-profit times effective-leverage queues that BitMEX, Bybit and Binance publish,
    side-adjusted: what counts is the holder's own profit.
    """
    found, score, lots = np.empty_like(rows), np.empty_like(rows), np.empty_like(rows)
    if rows.size == 0:
        return found, score, lots
    n, i = 0, np.int64(book.instrument[rows[0]])
    kind, tick_value, units = facts.kind[i], facts.tick_value[i], facts.units[i]
    contract, face, price, coin = facts.contract[i], facts.face[i], mark[i], facts.coin[i]
    # Columns are read out of their groups once: inside the loop that costs more than the sums.
    row_account, row_lots, row_cost, flying = book.account, book.lots, book.cost, book.in_flight
    for other in rows:
        account, held = row_account[other], row_lots[other]
        if held * side >= 0 or account < FIRST_USER:
            continue
        if best[account] < 0 or equity[account] <= 0 or flying[other]:
            continue
        cost = row_cost[other]
        gain = settled(kind, tick_value, units, contract, held, price) - cost
        gain = in_money(facts, mark, i, gain) if coin >= 0 else gain
        most = abs(held)
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
        size = size_of(kind, tick_value, units, face, held, price)
        if rule == PROFIT:
            score[n] = gain
        elif rule == SIZE:
            score[n] = size
        else:
            paid = abs(in_money(facts, mark, i, cost)) if coin >= 0 else abs(cost)
            profit = min(RATIO_MAX, ratio_ppm(gain, max(paid, 1)))
            score[n] = profit * ratio_ppm(size, equity[account]) // PPM
        found[n] = other
        lots[n] = most
        n += 1
    return found[:n], score[:n], lots[:n]


@kernel
def pooled(
    book: Book,
    facts: Facts,
    mark: I64,
    free: I64,
    accounts: I64,
    equity: I64,
    row_out: I64,
    share_out: I64,
) -> int:
    """Write the derivatives that ``accounts`` may be closed out of, in order; return how many.

    Each with its share of what its account lacks, by notional: every position carries one, but only
    those are written that have nothing in flight and whose instrument is ``free`` (1: a good price
    and no pause).
    """
    size, share, row = np.empty_like(mark), np.empty_like(mark), np.empty_like(mark)
    n = 0
    for account in accounts:
        count = 0
        here = np.int64(book.head[account])
        while here >= 0:
            i = np.int64(book.instrument[here])
            if book.lots[here] and facts.kind[i] != SPOT:
                row[count], size[count] = here, notional(facts, i, book.lots[here], mark[i])
                count += 1
            here = np.int64(book.follow[here])
        proportional(-equity[account], size[:count], share[:count])
        for k in range(count):
            if free[book.instrument[row[k]]] and not book.in_flight[row[k]]:
                row_out[n], share_out[n] = row[k], share[k]
                n += 1
    return n


@kernel
def unsold_accounts(book: Book, accounts: I64, room: I64) -> I64:
    """Return those of ``accounts``, in their order, whose positions do not all find room.

    ``room`` is [instruments, 2] lots that may be sold and bought; who fits draws it down in place.
    """
    found = np.empty_like(accounts)
    n = 0
    for account in accounts:
        fits = True
        row = np.int64(book.head[account])
        while row >= 0:
            lots = book.lots[row]
            fits = fits and abs(lots) <= room[book.instrument[row], 0 if lots > 0 else 1]
            row = np.int64(book.follow[row])
        if not fits:
            found[n] = account
            n += 1
            continue
        row = np.int64(book.head[account])
        while row >= 0:
            lots = book.lots[row]
            room[book.instrument[row], 0 if lots > 0 else 1] -= abs(lots)
            row = np.int64(book.follow[row])
    return found[:n]


@kernel
def parts_up(amount: I64, part: I64, whole: I64, out: I64) -> None:
    """Write ``amount * part / whole`` of each row, rounded up; amounts and parts are >= 0."""
    for n in range(out.size):
        out[n] = muldiv_up(amount[n], part[n], whole[n])


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
