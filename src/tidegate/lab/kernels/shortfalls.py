"""Bad debt of accounts that hold anything at all, scenario by scenario: whole prices, no returns.

Float64, all amounts in Money. ``worth`` is what one lot of an instrument is worth in a scenario and
``coin`` what one unit of its settlement asset is: so linear, inverse and spot are one formula,
``equity = cash + sum(lots * worth - cost * coin)``.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, ppm_ceil
from tidegate.kernels.margin import tier_at
from tidegate.kernels.profile import distance
from tidegate.kernels.value import SPOT, size_of
from tidegate.lab.kernels.scenarios import BLOCK, F64, float_kernel


@kernel
def exposed(book: Book, least: F64, most: F64, least_coin: F64, most_coin: F64, out: I64) -> int:
    """Write the user accounts that some scenario might bankrupt; return how many.

    ``least`` to ``most_coin`` are the ends of worth and coin over all scenarios, by instrument: an
    account that is solvent at the worst end of each of its positions is solvent in all of them.
    """
    found = 0
    for account in range(FIRST_USER, book.counts[0]):
        floor = float(book.cash[account])
        row = np.int64(book.head[account])
        while row >= 0:
            i, lots, cost = book.instrument[row], float(book.lots[row]), float(book.cost[row])
            floor += min(lots * least[i], lots * most[i])
            floor -= max(cost * least_coin[i], cost * most_coin[i])
            row = np.int64(book.follow[row])
        if floor < 0.0:
            out[found] = account
            found += 1
    return found


@float_kernel
def add_shortfalls(book: Book, accounts: I64, worth: F64, coin: F64, loss: F64) -> None:
    """Add to each scenario's loss what ``accounts`` lack in it.

    ``worth`` and ``coin`` are [instruments, BLOCK], ``loss`` [BLOCK]; accounts are added in their
    order, an account's positions in the book's.
    """
    left = np.empty(BLOCK)
    for a in range(accounts.size):
        account = accounts[a]
        left[:] = float(book.cash[account])
        row = np.int64(book.head[account])
        while row >= 0:
            lots, cost = float(book.lots[row]), float(book.cost[row])
            w, c = worth[book.instrument[row]], coin[book.instrument[row]]
            for s in range(BLOCK):
                left[s] += lots * w[s] - cost * c[s]
            row = np.int64(book.follow[row])
        for s in range(BLOCK):
            loss[s] += max(0.0, -left[s])


@kernel
def forced_matrix(
    book: Book, facts: Facts, mark: I64, slack: I64, reach: int, side: int, out: I64
) -> None:
    """Write the lots of j that a move of i by ``reach`` ppm forces; [instruments, instruments].

    What `kernels.profile.branching_matrix` divides by depth, so that accounts can be taken out of
    it one by one: the same rule, and a test holds the two against each other.
    """
    out[:, :] = 0
    kind, tick_value, units, face = facts.kind, facts.tick_value, facts.units, facts.face
    start, floor, tier_rate = facts.tier_start, facts.tier_floor, facts.tier_maintenance
    for row in range(book.counts[1]):
        account, lots, i = book.account[row], book.lots[row], book.instrument[row]
        if lots * side <= 0 or account < FIRST_USER:
            continue
        size = size_of(kind[i], tick_value[i], units[i], face[i], lots, mark[i])
        if slack[account] // 2 > ppm_ceil(size, min(reach, PPM)):
            continue
        owed = kind[i] == SPOT and lots < 0
        rate = facts.debt_maintenance[i]
        if not owed:
            rate = tier_rate[tier_at(start[i], start[i + 1], floor, size)]
        if distance(size, rate, side, slack[account]) > reach:
            continue
        other = np.int64(book.head[account])
        while other >= 0:
            if book.lots[other] * side > 0:
                out[i, book.instrument[other]] += abs(book.lots[other])
            other = np.int64(book.follow[other])
