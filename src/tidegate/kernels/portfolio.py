"""Deleveraging by whole accounts: net exposure, hedges, chance, and what was borne before."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv
from tidegate.kernels.allocate import RATIO_MAX, capped_pro_rata, in_order, min_max_exact, ratio_ppm
from tidegate.kernels.rank import index_score, margin_score
from tidegate.kernels.value import INVERSE, in_money, notional, worth


MARGIN_RATIO, INDEX, SIDED_INDEX, PROFIT_EQUITY, NET_RISK = 3, 4, 5, 6, 7  # after those of a queue
QUEUE, PRO_RATA, MIN_MAX = 0, 1, 2
CHANCE_PRIME = 2_147_483_647
CHANCE_FACTOR = 48_271
LEVERAGE_MAX = 100_000_000  # 100 times, in ppm: beyond it risk counts no more


@kernel
def exposures(book: Book, facts: Facts, mark: I64, beta: I64, out: I64) -> None:
    """Write each user's net exposure in Money: signed notional times ``beta`` (ppm), summed.

    Betas are at most one, so that a sum is as safe as the notionals are. Positive gains when
    prices rise. A debt of an asset counts as sold, a holding as bought.
    """
    out[:] = 0
    for row in range(book.counts[1]):
        lots = book.lots[row]
        i = book.instrument[row]
        if lots == 0 or beta[i] == 0 or book.account[row] < FIRST_USER:
            continue
        size = muldiv(notional(facts, i, lots, mark[i]), beta[i], PPM)
        out[book.account[row]] += size if lots > 0 else -size


@kernel
def unhedged(
    book: Book, facts: Facts, mark: I64, beta: I64, exposure: I64, row: I64, cap: I64, out: I64
) -> None:
    """Write how many lots of each position can be closed without leaving another leg naked.

    That is the part of the position that is the account's own net exposure: closing it brings the
    account nearer to neutral. A position against the net exposure is a hedge as a whole.
    """
    for n in range(row.size):
        lots = book.lots[row[n]]
        i = book.instrument[row[n]]
        net = exposure[book.account[row[n]]]
        size = muldiv(notional(facts, i, lots, mark[i]), beta[i], PPM)
        if size == 0:
            out[n] = cap[n]  # it hedges nothing and nothing hedges it
        elif net == 0 or (net > 0) != (lots > 0):
            out[n] = 0
        elif abs(net) >= size:
            out[n] = cap[n]
        else:
            out[n] = min(cap[n], muldiv(abs(lots), abs(net), size))


@kernel
def queue_scores(
    book: Book,
    facts: Facts,
    equity: I64,
    required: I64,
    exposure: I64,
    mark: I64,
    row: I64,
    rule: int,
    out: I64,
) -> None:
    """Write the score of each position by one of the venues' formulas, in ppm, high first.

    MARGIN_RATIO is Binance's and takes the account's whole profit and its cash as the wallet;
    INDEX is Hyperliquid's as printed, SIDED_INDEX the same with a short's prices exchanged;
    PROFIT_EQUITY is profit over the account's equity, NET_RISK its net exposure over equity.
    """
    most = RATIO_MAX // PPM
    for n in range(row.size):
        lots = book.lots[row[n]]
        i = book.instrument[row[n]]
        account = book.account[row[n]]
        have = equity[account]
        size = notional(facts, i, lots, mark[i])
        if rule == MARGIN_RATIO:
            wallet = book.cash[account]
            out[n] = margin_score(have - wallet, wallet, PPM, required[account], PPM, most)
        elif rule == PROFIT_EQUITY:
            out[n] = ratio_ppm(worth(facts, mark, i, lots, book.cost[row[n]], mark[i]), have)
        elif rule == NET_RISK:
            out[n] = ratio_ppm(abs(exposure[account]), have)
        else:
            paid = abs(in_money(facts, mark, i, book.cost[row[n]]))
            # Of an inverse contract the notional is fixed and the payment moves with the price.
            swapped = facts.kind[i] == INVERSE
            if rule == SIDED_INDEX and lots < 0:
                swapped = not swapped
            upper, lower = (paid, size) if swapped else (size, paid)
            out[n] = index_score(upper, lower, size, have, PPM, most)


@kernel
def by_chance(seed: int, account: I64, out: I64) -> None:
    """Write a number of each account that only ``seed`` decides; the same seed, the same numbers.

    Six rounds of ``x * x + x * F + seed`` modulo a prime below 2**31, so that nothing wraps.
    """
    start = seed % CHANCE_PRIME
    for n in range(account.size):
        x = (start * 3 + account[n] * CHANCE_FACTOR + 1) % CHANCE_PRIME
        for _ in range(6):
            x = (x * x + x * CHANCE_FACTOR + start) % CHANCE_PRIME
        out[n] = x


@kernel
def lighter(weight: I64, taken: I64, cap: I64, rate: int, floor: int, out: I64) -> None:
    """Write the weights after a round: who gave the larger part of what it had weighs less now.

    ``weight * (1 - rate * taken / cap)`` in ppm, never below ``floor``: the step of mirror descent
    over shares, whose projection onto caps and a total is the capped pro rata of the weights.

    Source
    ------
    Chitra and others, arXiv:2602.15182: online deleveraging by mirror descent (entropy, first
    order).
    """
    for n in range(weight.size):
        part = muldiv(rate, taken[n], cap[n]) if cap[n] > 0 else 0
        out[n] = max(floor, muldiv(weight[n], max(0, PPM - part), PPM))


@kernel
def shared_lots(
    rule: int, total: int, order: I64, weight: I64, capacity: I64, cap: I64, out: I64
) -> int:
    """Share ``total`` lots by a rule, nobody above its cap; return what could not be shared."""
    if rule == QUEUE:
        return in_order(total, order, cap, out)
    if rule == PRO_RATA:
        return capped_pro_rata(total, weight, cap, out)
    most = 1
    for n in range(cap.size):
        most = max(most, cap[n])
    return min_max_exact(total, capacity, cap, 2**61 // most, out)


@kernel
def bearable(book: Book, facts: Facts, equity: I64, mark: I64, row: I64, out: I64) -> None:
    """Write what each position's holder can give up: its profit, at most the account's equity."""
    for n in range(row.size):
        i = book.instrument[row[n]]
        gain = worth(facts, mark, i, book.lots[row[n]], book.cost[row[n]], mark[i])
        out[n] = max(1, min(gain, equity[book.account[row[n]]]))


@kernel
def leverage_of(book: Book, facts: Facts, equity: I64, mark: I64, row: I64, out: I64) -> None:
    """Write each position's notional over its account's equity, in ppm, at most LEVERAGE_MAX."""
    for n in range(row.size):
        i = book.instrument[row[n]]
        size = notional(facts, i, book.lots[row[n]], mark[i])
        out[n] = min(LEVERAGE_MAX, ratio_ppm(size, equity[book.account[row[n]]]))


@kernel
def open_lots(book: Book, i: int, accounts: int) -> I64:
    """Return the lots of instrument ``i`` each user holds, both sides as positive numbers."""
    out = np.zeros(accounts, np.int64)
    for row in range(book.counts[1]):
        if book.instrument[row] == i and book.account[row] >= FIRST_USER:
            out[book.account[row]] += abs(book.lots[row])
    return out
