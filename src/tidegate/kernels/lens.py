"""Everybody's health in book order from a packed book that is kept up to date in place.

Exactly what `kernels.margin.sweep` writes. Accounts whose cells no longer fit are judged one by one
from the book itself.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.packed import CELL, COUNT, FIRST, FLAT, HELD, LOTS_NARROW, Packed
from tidegate.domain.units import I64, PPM, kernel, ppm_ceil
from tidegate.kernels.margin import best_margin, net_margin
from tidegate.kernels.packed import BLOCK, Coefficients, add_exact
from tidegate.kernels.profile import distance
from tidegate.kernels.tiers import tier_at
from tidegate.kernels.value import LINEAR, SPOT, size_of


ASIDE: Final = 2**61  # the slack of a member who is counted apart: beyond every bucket


@kernel
def judge_in(
    packed: Packed,
    c: Coefficients,
    net: I64,
    owed: I64,
    first: int,
    last: int,
    equity: I64,
    required: I64,
    best: I64,
    slack: I64,
) -> None:
    """Write equity, maintenance and their difference by book row, and the last by member too."""
    blocks = np.empty((2, BLOCK), np.int64)
    for g in range(packed.group.shape[0]):
        head, count, held = packed.group[g, FIRST], packed.group[g, COUNT], packed.group[g, HELD]
        flat = packed.group[g, FLAT] and c.flat
        for at in range(max(first, head), min(last, head + count), BLOCK):
            n = min(BLOCK, min(last, head + count) - at)
            own, due, rows = blocks[0, :n], blocks[1, :n], packed.account[at : at + n]
            room = slack[at : at + n]
            for m in range(n):
                own[m], due[m] = net[at + m], owed[at + m]
            add_exact(packed, c, flat, packed.group[g, CELL] + at - head, count, held, own, due)
            for m in range(n):
                room[m] = own[m] - due[m]
            for m in range(n):
                row = np.uint32(rows[m])
                equity[row], required[row], best[row] = own[m], due[m], room[m]


@kernel
def ease_in(
    packed: Packed,
    c: Coefficients,
    net: I64,
    owed: I64,
    first: int,
    last: int,
    best: I64,
    slack: I64,
) -> None:
    """Write the net margin alone, by book row and by member: at other prices than the marks."""
    blocks = np.empty((2, BLOCK), np.int64)
    for g in range(packed.group.shape[0]):
        head, count, held = packed.group[g, FIRST], packed.group[g, COUNT], packed.group[g, HELD]
        flat = packed.group[g, FLAT] and c.flat
        for at in range(max(first, head), min(last, head + count), BLOCK):
            n = min(BLOCK, min(last, head + count) - at)
            own, due = blocks[0, :n], blocks[1, :n]
            for m in range(n):
                own[m], due[m] = net[at + m], owed[at + m]
            add_exact(packed, c, flat, packed.group[g, CELL] + at - head, count, held, own, due)
            for m in range(n):
                slack[at + m] = best[packed.account[at + m]] = own[m] - due[m]


@kernel
def judge_rows(
    book: Book,
    facts: Facts,
    mark: I64,
    low: I64,
    high: I64,
    accounts: I64,
    equity: I64,
    required: I64,
    best: I64,
) -> None:
    """Write the same three of single accounts, from their positions in the book."""
    doubt = low != high
    for i in np.flatnonzero(facts.coin >= 0):
        doubt[i] |= doubt[facts.coin[i]]
    net = np.zeros(2, np.int64)
    for account in accounts:
        cash = book.cash[account]
        owed = ppm_ceil(-cash, facts.cash_debt[0]) if cash < 0 else 0
        own, due, at_best = cash, owed, cash - owed
        row = np.int64(book.head[account])
        while row >= 0:
            i = book.instrument[row]
            if book.lots[row] or book.cost[row]:
                net_margin(book, facts, mark, row, mark[i], net)
                own += net[0]
                due += net[1]
                apart = best_margin(book, facts, low, high, row) if doubt[i] else net[0] - net[1]
                at_best += apart
            row = np.int64(book.follow[row])
        equity[account], required[account], best[account] = own, due, at_best


@kernel
def force_rows(
    book: Book, facts: Facts, mark: I64, slack: I64, accounts: I64, width: int, out: I64
) -> None:
    """Add the lots of single accounts to ``out`` [slots, buckets], as `profile.forced_buckets`."""
    buckets = out.shape[1]
    reach = min(buckets * width, PPM)
    for account in accounts:
        row = np.int64(book.head[account])
        while row >= 0:
            i, lots = np.int64(book.instrument[row]), book.lots[row]
            row = np.int64(book.follow[row])
            kind = facts.kind[i]
            size = size_of(kind, facts.tick_value[i], facts.units[i], facts.face[i], lots, mark[i])
            if lots == 0 or slack[account] // 2 > ppm_ceil(size, reach):
                continue
            tier = tier_at(facts.tier_start[i], facts.tier_start[i + 1], facts.tier_floor, size)
            owed = kind == SPOT and lots < 0
            rate = facts.debt_maintenance[i] if owed else facts.tier_maintenance[tier]
            bucket = distance(size, rate, 1 if lots > 0 else -1, slack[account]) // width
            if bucket < buckets:
                out[2 * i + (1 if lots < 0 else 0), bucket] += abs(lots)


@kernel
def recash(
    book: Book, rate: int, place: I64, accounts: I64, paid: I64, net: I64, owed: I64
) -> None:
    """Write what members' cash is now, after what they ``paid``, and what an owed balance asks."""
    for account in accounts:
        member = place[account]
        if member >= 0:
            cash = book.cash[account]
            net[member] = cash - paid[member]
            owed[member] = ppm_ceil(-cash, rate) if cash < 0 else 0


@kernel
def refit(
    book: Book,
    facts: Facts,
    mark: I64,
    packed: Packed,
    headroom: int,
    place: I64,
    accounts: I64,
    paid: I64,
    misfits: NDArray[np.bool_],
) -> None:
    """Write members' positions into the cells they had; ``misfits`` are those who no longer fit.

    They hold more or fewer plain positions than before, an odd one, or one beyond the first tier
    in a group that is flat; nothing is written of them. Only `Packed.held` is left as it was.
    """
    cells = np.empty(packed.held.size + 1, np.int64)
    narrow = packed.lots.itemsize == 4
    for n in range(accounts.size):
        member = place[accounts[n]]
        misfits[n] = True
        if member < 0:
            continue
        if packed.odd_start.size and packed.odd_start[member] != packed.odd_start[member + 1]:
            continue
        g = packed.group.shape[0] - 1
        while packed.group[g, FIRST] > member:
            g -= 1
        held = packed.group[g, HELD]
        if not _fits(book, facts, mark, packed, headroom, accounts[n], g, narrow, cells):
            continue
        misfits[n] = False
        total, cell = 0, packed.group[g, CELL] + member - packed.group[g, FIRST]
        for k in range(held):
            row = cells[k]
            i, lots = np.int64(book.instrument[row]), book.lots[row]
            slot, size = 2 * i + (1 if lots < 0 else 0), abs(lots)
            start, end = facts.tier_start[i], facts.tier_start[i + 1]
            value = size * mark[i] * facts.tick_value[i]
            tier = tier_at(start, end, facts.tier_floor, value) - start
            packed.lots[cell], packed.slot[cell], packed.tier[cell] = lots, slot, tier
            if packed.group[g, FLAT]:
                packed.largest[slot] = max(packed.largest[slot], size)
            packed.least[slot, tier] = min(packed.least[slot, tier], size)
            packed.most[slot, tier] = max(packed.most[slot, tier], size)
            total += book.cost[row]
            cell += packed.group[g, COUNT]
        paid[member] = total


@kernel
def _fits(
    book: Book,
    facts: Facts,
    mark: I64,
    packed: Packed,
    headroom: int,
    account: int,
    g: int,
    narrow: int,
    cells: I64,
) -> bool:
    """Return whether an account's positions are as many plain ones as ``cells`` gets of them."""
    row, count = np.int64(book.head[account]), 0
    while row >= 0:
        i, lots = np.int64(book.instrument[row]), book.lots[row]
        if lots or book.cost[row]:
            if lots == 0 or facts.kind[i] != LINEAR or facts.premium[i]:
                return False
            if narrow and abs(lots) > LOTS_NARROW:
                return False
            if packed.group[g, FLAT] and facts.tier_start[i] + 1 < facts.tier_start[i + 1]:
                unit = mark[i] * facts.tick_value[i]
                unit += unit // PPM * headroom + unit % PPM * headroom // PPM + 1
                if abs(lots) > (facts.tier_floor[facts.tier_start[i] + 1] - 1) // unit:
                    return False
            cells[count] = row
            count += 1
        row = np.int64(book.follow[row])
    return bool(count == packed.group[g, HELD])
