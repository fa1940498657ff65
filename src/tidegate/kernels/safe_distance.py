"""How far the market may move before an account can be liquidated, and who must be looked at.

A move is the largest adverse one of any watched price since the anchor, in 1e-9 of the price: a
fall where somebody is long, a rise where somebody is short. As long as it stays within an account's
distance, and within the reach of the index, that account is not liquidatable, whatever each price
did by itself. The reason is in docs/concepts/safe-distance.md.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.packed import CELL, COUNT, FIRST, HELD, Packed
from tidegate.domain.units import I32, I64, PPB, PPM, kernel, ppb_ceil, ppm_ceil
from tidegate.kernels.margin import best_net
from tidegate.kernels.packed import odd_best, plain_due
from tidegate.kernels.tiers import tier_at
from tidegate.kernels.value import INVERSE, SPOT, notional


ALWAYS: Final = -1  # a distance that every move passes, even none
FAR: Final = 2**62  # one that no move passes
WEIGHT_MAX: Final = 2**60  # heavier accounts are always looked at: no sum of two can wrap
ODD_ROUNDING: Final = 8  # Money that the roundings of one odd position may add up to


class Near(NamedTuple):
    """Accounts within reach of their line, nearest first, with their positions beside them."""

    distance: I64  # [near] ascending
    account: I32  # [near] row of the book
    member: I32  # [near] row of the packed book
    live: NDArray[np.bool_]  # [near] False once an account has changed and is kept elsewhere
    net: I64  # [near] Money: cash less what was paid for plain positions and what owed cash asks
    start: I32  # [near + 1] where each one's plain positions begin
    slot: I32  # [cells of near]
    lots: I64


class Anchor(NamedTuple):
    """What distances were measured from: prices, and the rules that may change under way."""

    low: I64  # [instruments] Ticks, lower end of each believed interval
    high: I64
    watched: NDArray[np.bool_]  # [slots] whether anybody holds it
    fit: NDArray[np.bool_]  # [instruments] see `proper`
    rate: I64  # [tiers] maintenance
    cum: I64
    debt: I64  # [instruments]
    premium: I64
    cash_debt: I64


class Loose(NamedTuple):
    """Accounts that changed after they were packed: their rows of the book are the truth."""

    account: I32  # [capacity]
    distance: I64  # [capacity]
    used: I64  # [1] how many there are


@kernel
def proper(facts: Facts, out: NDArray[np.bool_]) -> None:
    """Set ``out`` for instruments whose requirement is continuous, convex and at most the notional.

    That is what `plain_weight` builds on; tiers read from a stack are, single rates that were
    changed one by one need not be.
    """
    for i in range(out.size):
        begin, end = facts.tier_start[i], facts.tier_start[i + 1]
        rate, cum = facts.tier_maintenance, facts.tier_maintenance_cum
        out[i] = facts.tier_floor[begin] == 0 and cum[begin] == 0 and 0 <= rate[begin] <= PPM
        for k in range(begin + 1, end):
            floor, step = facts.tier_floor[k], rate[k] - rate[k - 1]
            joined = floor % PPM == 0 and cum[k] - cum[k - 1] == floor // PPM * step
            out[i] = out[i] and joined and step >= 0 and rate[k] <= PPM


@kernel
def plain_weight(
    start: I64, floor: I64, rate: I64, i: int, lots: int, size: int, reach: int
) -> int:
    """Return what a plain position loses at most per whole adverse move, in Money, rounded up.

    A long loses its notional less what its requirement falls by: at the rate of the lowest tier it
    can come to. A short also sees its requirement grow: at the rate of the highest. ``reach`` is
    how far prices may move, in 1e-9.
    """
    part = ppb_ceil(size, reach)
    if lots > 0:
        tier = tier_at(start[i], start[i + 1], floor, max(0, size - part))
        return ppm_ceil(size, PPM - rate[tier])
    tier = tier_at(start[i], start[i + 1], floor, size + part)
    return ppm_ceil(size, PPM + rate[tier])


@kernel
def odd_weight(facts: Facts, i: int, lots: int, size: int) -> int:
    """Return the like for what is not plain: rates lie between 0 and all; ALWAYS where unknown.

    An inverse depends on two prices at once, and by more than in proportion: its holders are always
    looked at.
    """
    if facts.kind[i] == INVERSE:
        return ALWAYS
    if lots >= 0:
        return size
    if facts.kind[i] == SPOT:
        return ppm_ceil(size, PPM + facts.debt_maintenance[i])
    return 2 * size


@kernel
def distance_of(slack: int, weight: int) -> int:
    """Return how far prices may move until ``slack`` is gone, in 1e-9, rounded down."""
    if slack < 0 or weight > WEIGHT_MAX:
        return ALWAYS
    if slack >= weight:
        return FAR
    while slack > 2**32:
        slack >>= 8
        weight = (weight >> 8) + 1
    return slack * PPB // weight


@kernel
def distances_in(
    packed: Packed,
    facts: Facts,
    low: I64,
    high: I64,
    fit: NDArray[np.bool_],
    reach: int,
    first: int,
    last: int,
    slack: I64,
    distance: I64,
) -> None:
    """Write best-case margin and distance of the members ``first``..``last`` - 1.

    The roundings of a position are taken off beforehand: at most one Money of a plain one, whose
    requirement alone is rounded.
    """
    start, floor, value = facts.tier_start, facts.tier_floor, facts.tick_value
    rate, cum = facts.tier_maintenance, facts.tier_maintenance_cum
    for g in range(packed.group.shape[0]):
        head, count, held = packed.group[g, FIRST], packed.group[g, COUNT], packed.group[g, HELD]
        for member in range(max(first, head), min(last, head + count)):
            room, weight, round_off = packed.net[member] - packed.owed[member], 0, held
            cell = packed.group[g, CELL] + member - head
            for _ in range(held):
                lots, i = np.int64(packed.lots[cell]), np.int64(packed.slot[cell]) >> 1
                gain = lots * (high[i] if lots > 0 else low[i]) * value[i]
                size = abs(gain)
                room += gain - plain_due(start, floor, rate, cum, i, size)
                if size > WEIGHT_MAX or not fit[i]:
                    weight = FAR
                weight = min(FAR, weight + plain_weight(start, floor, rate, i, lots, size, reach))
                cell += count
            if packed.odd_start.size:
                room += odd_best(packed, facts, low, high, member)
                for p in range(packed.odd_start[member], packed.odd_start[member + 1]):
                    i, lots = packed.odd_instrument[p], packed.odd_lots[p]
                    size = notional(facts, i, lots, high[i] if lots > 0 else low[i])
                    more = odd_weight(facts, i, lots, size)
                    if more == ALWAYS or size > WEIGHT_MAX or not fit[i]:
                        more = FAR
                    weight = min(FAR, weight + more)
                    round_off += ODD_ROUNDING
            slack[member] = room
            distance[member] = distance_of(room - round_off, weight)


@kernel
def gather_near(packed: Packed, order: I64, group: I64, near: Near) -> None:
    """Copy the members in ``order``, each of its ``group``, into ``near``, whose starts are set."""
    for n in range(order.size):
        member, g = order[n], group[n]
        near.account[n], near.member[n] = packed.account[member], member
        near.net[n] = packed.net[member] - packed.owed[member]
        cell = packed.group[g, CELL] + member - packed.group[g, FIRST]
        for to in range(near.start[n], near.start[n + 1]):
            near.slot[to], near.lots[to] = packed.slot[cell], packed.lots[cell]
            cell += packed.group[g, COUNT]


@kernel
def ppb_of(lost: int, before: int) -> int:
    """Return ``lost`` of ``before`` in 1e-9, rounded up; FAR beyond the whole of it."""
    if lost > before:
        return FAR
    while before > 2**32:
        lost = (lost + 1) >> 1
        before >>= 1
    return -(-lost * PPB // before)


@kernel
def market_move(anchor: Anchor, facts: Facts, low: I64, high: I64) -> int:
    """Return the largest adverse move of a watched price since the anchor, in 1e-9, rounded up.

    FAR where a price appeared or was lost, or a rule is another one: then no distance holds.
    """
    rates, cums = facts.tier_maintenance, facts.tier_maintenance_cum
    for k in range(anchor.rate.size):
        if rates[k] != anchor.rate[k] or cums[k] != anchor.cum[k]:
            return FAR
    move = 0
    for i in range(low.size):
        changed = facts.premium[i] != anchor.premium[i]
        if changed or facts.debt_maintenance[i] != anchor.debt[i]:
            return FAR
        for side in range(2):
            before, now = anchor.high[i], high[i]
            if side == 1:
                before, now = anchor.low[i], low[i]
            if now == before or not anchor.watched[2 * i + side]:
                continue
            if before == 0 or now == 0:
                return FAR
            move = max(move, ppb_of(now - before if side else before - now, before))
    return move if facts.cash_debt[0] == anchor.cash_debt[0] else FAR


@kernel
def price_known(facts: Facts, mark: I64, i: int, lots: int) -> bool:
    """Return whether a holding can be judged; what is owned of a balance always can."""
    if facts.kind[i] == SPOT and lots > 0:
        return True
    return mark[i] > 0 and (facts.coin[i] < 0 or mark[facts.coin[i]] > 0)


@kernel
def account_best(
    book: Book, facts: Facts, mark: I64, low: I64, high: I64, account: int, out: I64
) -> None:
    """Write best-case margin, weight, and what roundings may be, of one account of the book.

    A margin of FAR where the account cannot be judged. ``out`` is [3].
    """
    cash = book.cash[account]
    out[0] = cash - (ppm_ceil(-cash, facts.cash_debt[0]) if cash < 0 else 0)
    out[1] = out[2] = 0
    known = True
    row = np.int64(book.head[account])
    while row >= 0:
        i, lots, cost = np.int64(book.instrument[row]), book.lots[row], book.cost[row]
        row = np.int64(book.follow[row])
        if lots == 0 and cost == 0:
            continue
        known = known and price_known(facts, mark, i, lots)
        out[0] += best_net(facts, low, high, i, lots, cost)
        size = notional(facts, i, lots, high[i] if lots > 0 else low[i])
        more = odd_weight(facts, i, lots, size)
        if more == ALWAYS or size > WEIGHT_MAX:
            more = FAR
        out[1] = min(FAR, out[1] + more)
        out[2] += ODD_ROUNDING
    if not known:
        out[0] = FAR


@kernel
def set_loose(
    book: Book, facts: Facts, mark: I64, anchor: Anchor, loose: Loose, n: int, out: I64
) -> None:
    """Work out the distance of the loose account ``n``, and watch what it holds; ``out`` is [3].

    ``mark`` is the mark of the anchor.
    """
    account = np.int64(loose.account[n])
    account_best(book, facts, mark, anchor.low, anchor.high, account, out)
    loose.distance[n] = FAR if out[0] == FAR else distance_of(out[0] - out[2], out[1])
    row = np.int64(book.head[account])
    while row >= 0:
        i, lots = np.int64(book.instrument[row]), book.lots[row]
        if not anchor.fit[i]:
            loose.distance[n] = ALWAYS
        anchor.watched[2 * i + (1 if lots < 0 else 0)] = True
        if facts.coin[i] >= 0:
            coin = facts.coin[i]
            anchor.watched[2 * coin] = anchor.watched[2 * coin + 1] = True
        row = np.int64(book.follow[row])


@kernel
def check_near(
    near: Near,
    loose: Loose,
    packed: Packed,
    book: Book,
    facts: Facts,
    mark: I64,
    low: I64,
    high: I64,
    move: int,
    out: I64,
) -> tuple[int, int]:
    """Write the rows of the liquidatable accounts whose distance ``move`` passes; (found, checked).

    Each of them by the same exact sum as a sweep. ``out`` has room for all near and loose ones.
    """
    start, floor, value = facts.tier_start, facts.tier_floor, facts.tick_value
    rate, cum = facts.tier_maintenance, facts.tier_maintenance_cum
    found, end, odd = 0, np.searchsorted(near.distance, move), packed.odd_start.size > 0
    for n in range(end):
        if not near.live[n]:
            continue
        slack = near.net[n]
        for p in range(near.start[n], near.start[n + 1]):
            i, lots = np.int64(near.slot[p]) >> 1, near.lots[p]
            gain = lots * (high[i] if lots > 0 else low[i]) * value[i]
            slack += gain - plain_due(start, floor, rate, cum, i, abs(gain))
        if odd:
            slack += odd_best(packed, facts, low, high, np.int64(near.member[n]))
        if slack < 0:
            out[found] = near.account[n]
            found += 1
    best = np.zeros(3, np.int64)
    for n in range(loose.used[0]):
        if loose.distance[n] < move:
            account_best(book, facts, mark, low, high, np.int64(loose.account[n]), best)
            if best[0] < 0:
                out[found] = loose.account[n]
                found += 1
    return found, end
