"""The cascade profile of all instruments at once, over a packed book.

Lot for lot what `profile.forced_buckets` counts in one instrument after another. A quotient in
float64 names the bucket of nearly every position; whichever lies so close to an edge that the
integer roundings could decide is counted by the integers.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.facts import Facts
from tidegate.domain.packed import CELL, COUNT, FIRST, FLAT, HELD, Packed
from tidegate.domain.units import I64, PPM, kernel, ppm_ceil
from tidegate.kernels.packed import BLOCK, Coefficients, plain_due
from tidegate.kernels.profile import distance
from tidegate.kernels.tiers import tier_at
from tidegate.kernels.value import SPOT, size_of


F64 = NDArray[np.float64]

NOWHERE: Final = 1e300  # a quotient beyond every bucket
CLOSE: Final = 1e-4  # what float64, and bits dropped from large amounts, may be off by


class Grid(NamedTuple):
    """Buckets of ``width`` ppm, and what turns slack per lot into a number of buckets."""

    scale: F64  # [rungs] buckets per Money of slack and lot
    first: F64  # [slots] the same of the first tier
    width: int  # ppm
    buckets: int
    close: float  # a fraction of a bucket below which only integers decide; above 1: always


def grid(c: Coefficients, width: int, buckets: int) -> Grid:
    """Return the grid at the prices and rates of ``c``."""
    rungs = c.edge.size // c.width
    slots = np.arange(rungs)
    side = np.where(slots % 2, -1, 1)[:, None]
    tiers = np.diff(c.start)[slots // 2][:, None]
    tier = c.start[slots // 2][:, None] + np.minimum(np.arange(c.width)[None, :], tiers - 1)
    loss = PPM - side * c.rate[tier]
    known = (loss > 0) & (c.value[:, None] > 0)
    each = np.where(known, c.value[:, None] * (loss / PPM), 1.0)
    scale = np.where(known, PPM / width / each, NOWHERE)
    # The integers cut twice, each by less than a ppm; the first cut is then divided by the loss.
    cut = (PPM / float(loss[known].min(initial=PPM)) + 1) / width
    close = cut + CLOSE if width * buckets <= PPM else 2.0
    return Grid(scale.reshape(-1), scale[:, 0].copy(), width, buckets, close)


@kernel
def bucket_of(size: int, rate: int, side: int, slack: int, width: int, buckets: int) -> int:
    """Return the bucket in which a position becomes liquidatable; ``buckets`` beyond the last."""
    if slack // 2 > ppm_ceil(size, min(width * buckets, PPM)):
        return buckets
    return min(buckets, distance(size, rate, side, slack) // width)


@kernel
def plain_bucket(
    c: Coefficients, width: int, buckets: int, slot: int, lots: int, slack: int
) -> int:
    """Return `bucket_of` of a plain position, by integers."""
    i, size = slot >> 1, abs(lots) * c.value[slot]
    rate = c.rate[tier_at(c.start[i], c.start[i + 1], c.floor, size)]
    return bucket_of(size, rate, 1 if lots > 0 else -1, slack, width, buckets)


@kernel
def profile_in(
    packed: Packed, c: Coefficients, g: Grid, slack: I64, first: int, last: int, out: I64
) -> None:
    """Add the lots of the members ``first``..``last`` - 1 to ``out``, [slots, buckets + 1].

    Row ``2 i`` are longs in instrument ``i``, who sell as it falls, and ``2 i + 1`` shorts, who buy
    as it rises. The last column is for all who are further away.
    """
    many, place = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    width, one, top = np.uint64(c.width), np.uint64(1), g.buckets + 0.5
    columns, sums = np.int64(g.buckets + 1), out.reshape(-1)
    for k in range(packed.group.shape[0]):
        head, count, held = packed.group[k, FIRST], packed.group[k, COUNT], packed.group[k, HELD]
        flat = packed.group[k, FLAT] and c.flat
        close = g.close if flat or c.near else 2.0
        for at in range(max(first, head), min(last, head + count), BLOCK):
            n = min(BLOCK, min(last, head + count) - at)
            room = slack[at : at + n]
            cell = packed.group[k, CELL] + at - head
            for _ in range(held):
                lots, slot = packed.lots[cell : cell + n], packed.slot[cell : cell + n]
                tier = packed.tier[cell : cell + n]
                cell, unsure = cell + count, 0
                for m in range(n):
                    size = abs(np.int64(lots[m]))
                    if flat:
                        scale = g.first[slot[m]]
                    else:
                        r = np.uint64(slot[m]) * width + np.uint64(tier[m])
                        r = r + np.uint64(size >= c.edge[r + one]) - np.uint64(size < c.edge[r])
                        scale = g.scale[r]
                    where = min(max(room[m], 0) * scale / size, top)
                    bucket = np.int64(where)
                    rest = where - bucket
                    doubtful = (rest < close) | (rest > 1 - CLOSE)
                    unsure += doubtful
                    many[m] = size
                    place[m] = -1 if doubtful else np.int64(slot[m]) * columns + bucket
                for m in range(n if unsure else 0):
                    if place[m] < 0:
                        s = np.int64(slot[m])
                        lot = np.int64(lots[m])
                        bucket = plain_bucket(c, g.width, g.buckets, s, lot, room[m])
                        place[m] = s * columns + bucket
                for m in range(n):
                    sums[place[m]] += many[m]


@kernel
def profile_odd(
    packed: Packed, facts: Facts, mark: I64, slack: I64, width: int, buckets: int, out: I64
) -> None:
    """Add the lots of all odd positions to ``out``; see `profile_in`."""
    for member in range(packed.odd_start.size - 1):
        for p in range(packed.odd_start[member], packed.odd_start[member + 1]):
            i, lots = packed.odd_instrument[p], packed.odd_lots[p]
            if lots == 0:
                continue
            kind, units = facts.kind[i], facts.units[i]
            size = size_of(kind, facts.tick_value[i], units, facts.face[i], lots, mark[i])
            tier = tier_at(facts.tier_start[i], facts.tier_start[i + 1], facts.tier_floor, size)
            owed = kind == SPOT and lots < 0
            rate = facts.debt_maintenance[i] if owed else facts.tier_maintenance[tier]
            side = 1 if lots > 0 else -1
            bucket = bucket_of(size, rate, side, slack[member], width, buckets)
            out[2 * i + (1 if lots < 0 else 0), bucket] += abs(lots)


@kernel
def shift_in(
    packed: Packed, c: Coefficients, g: Grid, slack: I64, sign: int, members: I64, out: I64
) -> None:
    """Add ``sign`` times the lots of single members to ``out``; see `profile_in`."""
    group = 0
    for member in members:
        while member >= packed.group[group, FIRST] + packed.group[group, COUNT]:
            group += 1
        cell = packed.group[group, CELL] + member - packed.group[group, FIRST]
        room = slack[member]
        for _ in range(packed.group[group, HELD]):
            slot, lots = np.int64(packed.slot[cell]), np.int64(packed.lots[cell])
            size, r = abs(lots), slot * c.width
            while size >= c.edge[r + 1]:
                r += 1
            where = min(max(room, 0) * g.scale[r] / size, g.buckets + 0.5)
            bucket = np.int64(where)
            rest = where - bucket
            if rest < g.close or rest > 1 - CLOSE:
                bucket = plain_bucket(c, g.width, g.buckets, slot, lots, room)
            out[slot, bucket] += sign * size
            cell += packed.group[group, COUNT]


@kernel
def slack_of(packed: Packed, c: Coefficients, members: I64, out: I64) -> None:
    """Write the net margin of single members, ascending, into ``out`` [all members]."""
    group, (net, owed, lots, slot) = 0, (packed.net, packed.owed, packed.lots, packed.slot)
    value, start, floor, rate, cum = c.value, c.start, c.floor, c.rate, c.cum
    for member in members:
        while member >= packed.group[group, FIRST] + packed.group[group, COUNT]:
            group += 1
        slack = net[member] - owed[member]
        cell = packed.group[group, CELL] + member - packed.group[group, FIRST]
        for _ in range(packed.group[group, HELD]):
            k = np.int64(slot[cell])
            gain = np.int64(lots[cell]) * value[k]
            slack += gain - plain_due(start, floor, rate, cum, k >> 1, abs(gain))
            cell += packed.group[group, COUNT]
        out[member] = slack


def holders(packed: Packed) -> tuple[I64, NDArray[np.int32]]:
    """Return per instrument who holds a plain position in it: starts, and members ascending."""
    rows = [
        np.tile(np.arange(first, first + count, dtype=np.int32), held)
        for first, count, held in packed.group[:, :CELL].tolist()
    ]
    member = np.concatenate([np.zeros(0, np.int32), *rows])
    instrument = packed.slot >> 1
    start = np.zeros(packed.held.size + 1, np.int64)
    np.cumsum(packed.held, out=start[1:])
    return start, member[np.lexsort((member, instrument))]
