"""The sweep over a packed book: who is liquidatable, or everybody's equity and requirement.

Exactly what `kernels.margin.sweep` says, on any range of members, so that ranges can be shared out
among threads: integers throughout but for one rounding, whose error is proved below a half.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.facts import Facts
from tidegate.domain.packed import CELL, COUNT, FIRST, FLAT, HELD, Packed
from tidegate.domain.units import I64, PPM, PPM_DIRECT, kernel
from tidegate.kernels.groups import group_extra
from tidegate.kernels.margin import MAINTENANCE, best_net, requirement
from tidegate.kernels.tiers import due_in_tier, tier_at
from tidegate.kernels.value import SPOT, notional, worth


NEVER: Final = 2**62  # lots that nobody holds
BLOCK: Final = 1_024  # members whose sums stay in the first-level cache

# Lots times `rest` are parts of 1e-6 Money, so their sums lie 1e-6 apart. In float64 the constant
# 1e-6, its product with the rest, that with up to LOTS_NARROW = 2**29 lots and the sum below are
# each rounded, by at most 2**-24 together with what went before: in all less than 2.4e-7. What is
# added before cutting off lies half-way between "exactly whole" and "a millionth above", 5e-7 from
# either, so that the result is the exact quotient rounded up.
CEILING: Final = 1.0 - 5e-7


class Coefficients(NamedTuple):
    """Prices and maintenance as a sweep multiplies them. A rung is a slot's tier.

    Rung ``width * slot + tier``; each slot has one rung more than the most tiers, which nobody is
    in. The first three columns are the first tier's.
    """

    value: I64  # [slots] Money a lot is worth
    whole: I64  # [slots] Money a lot asks, rounded down; negative for shorts
    rest: NDArray[np.float64]  # [slots] and what that leaves over, in 1e-6 Money times 1e-6
    bound: I64  # [slots] Money a lot adds to the net margin at least
    edge: I64  # [rungs] lots from which a position stands on the rung
    rung_whole: I64  # [rungs] the same three where it stands
    rung_rest: NDArray[np.float64]
    rung_bound: I64
    rung_cum: I64  # [rungs] what is deducted there
    start: I64  # [instruments + 1] where the tiers of each begin
    floor: I64  # [tiers]
    rate: I64  # [tiers] maintenance
    cum: I64  # [tiers]
    width: int
    flat: int  # 1 where flat groups are still within their first tiers
    near: int  # 1 where everybody is still on the rung of packing or beside it


def coefficients(packed: Packed, facts: Facts, long: I64, short: I64) -> Coefficients:
    """Return what a sweep multiplies lots by: longs at the prices ``long``, shorts at ``short``."""
    price = np.stack([long, short], 1).reshape(-1)
    value = price * np.repeat(facts.tick_value, 2)
    slots, width = value.size, packed.least.shape[1] + 1
    start, tiers = np.repeat(facts.tier_start[:-1], 2), np.repeat(np.diff(facts.tier_start), 2)
    rung: I64 = np.arange(width, dtype=np.int64).reshape(1, -1)
    tier = start[:, None] + np.minimum(rung, tiers[:, None] - 1)
    lots = np.maximum(value, 1)[:, None]
    edge = -(-facts.tier_floor[tier] // lots)
    edge[(value == 0)[:, None] & (rung > 0)] = NEVER
    edge[np.broadcast_to(rung, edge.shape) >= tiers[:, None]] = NEVER
    rate = facts.tier_maintenance[tier]
    worth_of = value[:, None]
    whole = worth_of // PPM * rate + worth_of % PPM * rate // PPM
    rest = worth_of % PPM * rate % PPM
    side = np.where(np.arange(slots) % 2, -1, 1)[:, None]
    bound = worth_of - side * (whole + (rest > 0))
    signed, parts = side * whole, side * rest * 1e-6
    # One rung further down or up than where it was packed is as far as a cell may have come.
    below = np.pad(edge, ((0, 0), (1, 0)))[:, : width - 1]
    above = np.pad(edge, ((0, 0), (0, 1)), constant_values=NEVER)[:, 2:]
    narrow = packed.lots.dtype == np.int32
    beside = (packed.least >= below) & (packed.most < above)
    near = beside | (packed.least > packed.most)
    return Coefficients(
        value=value,
        whole=signed[:, 0].copy(),
        rest=parts[:, 0].copy(),
        bound=bound[:, 0].copy(),
        edge=edge.reshape(-1),
        rung_whole=signed.reshape(-1),
        rung_rest=parts.reshape(-1),
        rung_bound=bound.reshape(-1),
        rung_cum=facts.tier_maintenance_cum[tier].reshape(-1),
        start=facts.tier_start,
        floor=facts.tier_floor,
        rate=facts.tier_maintenance,
        cum=facts.tier_maintenance_cum,
        width=width,
        flat=int(narrow and bool((packed.largest < edge[:, 1]).all())),
        near=int(narrow and bool(near.all())),
    )


@kernel
def plain_due(start: I64, floor: I64, rate: I64, cum: I64, i: int, size: int) -> int:
    """Return the maintenance of a plain position of notional ``size``, rounded up."""
    tier = tier_at(start[i], start[i + 1], floor, size)
    if size < PPM_DIRECT:
        return -(-size * rate[tier] // PPM) - cum[tier]
    return due_in_tier(size, rate[tier], cum[tier], PPM)


@kernel
def slack_in(packed: Packed, c: Coefficients, net: I64, owed: I64, g: int, member: int) -> int:
    """Return equity less maintenance of one member of group ``g``, by its cells one by one."""
    slack = net[member] - owed[member]
    cell = packed.group[g, CELL] + member - packed.group[g, FIRST]
    for _ in range(packed.group[g, HELD]):
        k = np.int64(packed.slot[cell])
        gain = np.int64(packed.lots[cell]) * c.value[k]
        slack += gain - plain_due(c.start, c.floor, c.rate, c.cum, k >> 1, abs(gain))
        cell += packed.group[g, COUNT]
    return slack


@kernel
def add_bounds(
    packed: Packed, c: Coefficients, flat: int, cell: int, count: int, held: int, low: I64
) -> None:
    """Add to ``low`` what the cells of as many members, from ``cell`` on, are worth at least."""
    n, width, one = low.size, np.uint64(c.width), np.uint64(1)
    for _ in range(held):
        lots, slot = packed.lots[cell : cell + n], packed.slot[cell : cell + n]
        tier = packed.tier[cell : cell + n]
        cell += count
        if flat:
            for m in range(n):
                low[m] += np.int64(lots[m]) * c.bound[slot[m]]
            continue
        for m in range(n):
            many, r = np.int64(lots[m]), np.uint64(slot[m]) * width + np.uint64(tier[m])
            size = abs(many)
            r = r + np.uint64(size >= c.edge[r + one]) - np.uint64(size < c.edge[r])
            low[m] += many * c.rung_bound[r] + c.rung_cum[r]


@kernel
def add_exact(
    packed: Packed, c: Coefficients, flat: int, cell: int, count: int, held: int, own: I64, due: I64
) -> None:
    """Add what the cells of as many members, from ``cell`` on, are worth and ask for."""
    n, width, one = own.size, np.uint64(c.width), np.uint64(1)
    for _ in range(held):
        lots, slot = packed.lots[cell : cell + n], packed.slot[cell : cell + n]
        tier = packed.tier[cell : cell + n]
        cell += count
        if flat:
            for m in range(n):
                k, many = slot[m], np.int64(lots[m])
                own[m] += many * c.value[k]
                due[m] += many * c.whole[k] + np.int64(many * c.rest[k] + CEILING)
        elif c.near:
            for m in range(n):
                many, r = np.int64(lots[m]), np.uint64(slot[m]) * width + np.uint64(tier[m])
                size = abs(many)
                r = r + np.uint64(size >= c.edge[r + one]) - np.uint64(size < c.edge[r])
                own[m] += many * c.value[slot[m]]
                due[m] += many * c.rung_whole[r] + np.int64(many * c.rung_rest[r] + CEILING)
                due[m] -= c.rung_cum[r]
        else:
            for m in range(n):
                i = np.int64(slot[m]) >> 1
                gain = np.int64(lots[m]) * c.value[slot[m]]
                own[m] += gain
                due[m] += plain_due(c.start, c.floor, c.rate, c.cum, i, abs(gain))


@kernel
def liquidatable_in(
    packed: Packed, c: Coefficients, net: I64, owed: I64, first: int, last: int, out: I64
) -> int:
    """Write the members ``first``..``last`` - 1 whose net margin is below zero; return how many.

    A first sum bounds the net margin from below, a whole Money a lot rounded against the account:
    who is safe by it needs no exact sum, and that is nearly everybody.
    """
    found = 0
    block, asked = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    for g in range(packed.group.shape[0]):
        head, count, held = packed.group[g, FIRST], packed.group[g, COUNT], packed.group[g, HELD]
        end, flat = min(last, head + count), packed.group[g, FLAT] and c.flat
        for at in range(max(first, head), end, BLOCK):
            low, due = block[: min(BLOCK, end - at)], asked[: min(BLOCK, end - at)]
            for m in range(low.size):
                low[m], due[m] = net[at + m] - owed[at + m], 0
            cell = packed.group[g, CELL] + at - head
            if flat or c.near:
                add_bounds(packed, c, flat, cell, count, held, low)
            else:
                add_exact(packed, c, flat, cell, count, held, low, due)
            for m in range(low.size):
                if low[m] < due[m] and slack_in(packed, c, net, owed, g, at + m) < 0:
                    out[found] = at + m
                    found += 1
    return found


@kernel
def sweep_in(
    packed: Packed,
    c: Coefficients,
    net: I64,
    owed: I64,
    first: int,
    last: int,
    equity: I64,
    required: I64,
    below: NDArray[np.bool_],
) -> None:
    """Write equity, maintenance and whether it is not covered, of ``first``..``last`` - 1."""
    for g in range(packed.group.shape[0]):
        head, count, held = packed.group[g, FIRST], packed.group[g, COUNT], packed.group[g, HELD]
        flat = packed.group[g, FLAT] and c.flat
        for at in range(max(first, head), min(last, head + count), BLOCK):
            n = min(BLOCK, min(last, head + count) - at)
            own, due = equity[at : at + n], required[at : at + n]
            for m in range(n):
                own[m], due[m] = net[at + m], owed[at + m]
            add_exact(packed, c, flat, packed.group[g, CELL] + at - head, count, held, own, due)
            for m in range(n):
                below[at + m] = own[m] < due[m]


@kernel
def add_odd(packed: Packed, facts: Facts, mark: I64, net: I64, owed: I64) -> None:
    """Add what the odd positions are worth to ``net``, and what they ask to ``owed``, in place."""
    for member in range(packed.odd_start.size - 1):
        for p in range(packed.odd_start[member], packed.odd_start[member + 1]):
            i, lots, group = packed.odd_instrument[p], packed.odd_lots[p], packed.odd_group[p]
            net[member] += worth(facts, mark, i, lots, packed.odd_cost[p], mark[i])
            size = notional(facts, i, lots, mark[i])
            owed[member] += requirement(facts, i, lots, size, MAINTENANCE)
            owed[member] += group_extra(facts, i, lots, group, mark[i])


@kernel
def odd_best(packed: Packed, facts: Facts, low: I64, high: I64, member: int) -> int:
    """Return the net margin of a member's odd positions at the prices that favour them."""
    total = 0
    if packed.odd_start.size == 0:
        return total
    for p in range(packed.odd_start[member], packed.odd_start[member + 1]):
        i, lots = packed.odd_instrument[p], packed.odd_lots[p]
        total += best_net(facts, low, high, i, lots, packed.odd_cost[p])
        price = high[i] if lots > 0 else low[i]
        total -= group_extra(facts, i, lots, packed.odd_group[p], price)
    return total


@kernel
def add_odd_best(packed: Packed, facts: Facts, low: I64, high: I64, net: I64) -> None:
    """Add `odd_best` of every member to ``net``, in place."""
    for member in range(packed.odd_start.size - 1):
        net[member] += odd_best(packed, facts, low, high, member)


@kernel
def mark_unpriced(packed: Packed, facts: Facts, mark: I64, out: NDArray[np.bool_]) -> None:
    """Set ``out`` for members who hold anything without a price, as `margin.spare_unpriced` does.

    What is owned of a balance counts nothing without a price, and shields nobody.
    """
    for g in range(packed.group.shape[0]):
        head, count = packed.group[g, FIRST], packed.group[g, COUNT]
        for n in range(packed.group[g, HELD] * count):
            if mark[np.int64(packed.slot[packed.group[g, CELL] + n]) >> 1] == 0:
                out[head + n % count] = True
    for member in range(packed.odd_start.size - 1):
        for p in range(packed.odd_start[member], packed.odd_start[member + 1]):
            i = packed.odd_instrument[p]
            if facts.kind[i] == SPOT and packed.odd_lots[p] > 0:
                continue
            if mark[i] == 0 or (facts.coin[i] >= 0 and mark[facts.coin[i]] == 0):
                out[member] = True
