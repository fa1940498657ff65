"""The cascade profile: how much forced flow stands at each price, against the depth there."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, PPM_DIRECT, kernel, muldiv, ppm_ceil
from tidegate.kernels.margin import tier_at
from tidegate.kernels.value import SPOT, size_of


N_MAX = 1_000_000_000  # a branching ratio of 1,000 is shown as such and never overflows


@kernel
def distance(size: int, rate: int, side: int, slack: int) -> int:
    """Return by how many ppm a price may move against a position before ``slack`` is gone.

    All other prices stand still. Per unit of notional ``size`` a long (``side`` 1) loses ``1 - r``
    and a short ``1 + r``, with ``r`` the marginal rate: the requirement shrinks with a long's value
    and grows with a short's. At or below zero slack: 0; N_MAX for never.
    """
    if slack <= 0:
        return 0
    loss = PPM - side * rate
    if size == 0 or loss <= 0 or slack // 1_000 >= size:
        return N_MAX
    # A distance is a statistic, not money: large amounts may lose their lowest bits.
    while slack > PPM_DIRECT:
        slack >>= 8
        size >>= 8
    return slack * PPM // max(size, 1) * PPM // loss


@kernel
def forced_buckets(
    book: Book, facts: Facts, mark: I64, slack: I64, i: int, width: int, down: I64, up: I64
) -> None:
    """Write the lots of instrument ``i`` that become liquidatable in each price bucket.

    ``down`` counts longs (forced sales as the price falls), ``up`` shorts. ``slack`` is equity
    minus maintenance per account. [buckets] each; bucket 0 includes who is liquidatable already.
    """
    down[:] = 0
    up[:] = 0
    row_account, row_instrument, row_lots = book.account, book.instrument, book.lots
    kind, tick_value, units, face = (
        facts.kind[i],
        facts.tick_value[i],
        facts.units[i],
        facts.face[i],
    )
    start, end, debt = facts.tier_start[i], facts.tier_start[i + 1], facts.debt_maintenance[i]
    floor, tier_rate, price = facts.tier_floor, facts.tier_maintenance, mark[i]
    horizon = down.size * width
    for row in range(book.counts[1]):
        account, lots = row_account[row], row_lots[row]
        if row_instrument[row] != i or lots == 0 or account < FIRST_USER:
            continue
        size = size_of(kind, tick_value, units, face, lots, price)
        # Most accounts are far away: a cheap bound spares them the exact division.
        if slack[account] // 2 > ppm_ceil(size, min(horizon, PPM)):
            continue
        owed = kind == SPOT and lots < 0
        rate = debt if owed else tier_rate[tier_at(start, end, floor, size)]
        bucket = distance(size, rate, 1 if lots > 0 else -1, slack[account]) // width
        if bucket < down.size:
            if lots > 0:
                down[bucket] += lots
            else:
                up[bucket] -= lots


@kernel
def forced_in_all(
    book: Book, facts: Facts, mark: I64, slack: I64, place: I64, width: int, out: I64
) -> None:
    """Add to ``out`` what `forced_buckets` writes for several instruments, in one pass.

    ``out`` is [instruments asked for, 2, buckets], longs first; ``place`` says where each
    instrument is in it, -1 for nowhere.
    """
    row_account, row_instrument, row_lots = book.account, book.instrument, book.lots
    kinds, tick_value, units, face = facts.kind, facts.tick_value, facts.units, facts.face
    start, debt = facts.tier_start, facts.debt_maintenance
    floor, tier_rate = facts.tier_floor, facts.tier_maintenance
    buckets = out.shape[2]
    reach = min(buckets * width, PPM)
    for row in range(book.counts[1]):
        i = np.uint32(row_instrument[row])
        if place[i] < 0:
            continue
        account, lots = np.uint32(row_account[row]), row_lots[row]
        if lots == 0 or account < FIRST_USER:
            continue
        size = size_of(kinds[i], tick_value[i], units[i], face[i], lots, mark[i])
        # Most accounts are far away: a cheap bound spares them the exact division.
        if slack[account] // 2 > ppm_ceil(size, reach):
            continue
        owed = kinds[i] == SPOT and lots < 0
        rate = debt[i] if owed else tier_rate[tier_at(start[i], start[i + 1], floor, size)]
        bucket = distance(size, rate, 1 if lots > 0 else -1, slack[account]) // width
        if bucket < buckets:
            out[place[i], 0 if lots > 0 else 1, bucket] += abs(lots)


@kernel
def ratio_of(forced: int, depth: int) -> int:
    """Return ``forced / depth`` in ppm, rounded down, at most N_MAX; ``depth`` > 0."""
    if forced // depth >= N_MAX // PPM:
        return N_MAX
    if forced < PPM_DIRECT:
        return forced * PPM // depth
    return muldiv(forced, PPM, depth)


@kernel
def branching(forced: I64, depth: I64, out: I64) -> None:
    """Write ``n = forced / depth`` in ppm per bucket; 0 where nothing is forced."""
    for b in range(out.size):
        if forced[b] == 0:
            out[b] = 0
        elif depth[b] == 0:
            out[b] = N_MAX
        else:
            out[b] = ratio_of(forced[b], depth[b])


@kernel
def near_branching(forced: I64, depth: I64, buckets: int) -> int:
    """Return cumulative forced lots over cumulative depth within the first buckets, in ppm."""
    total_forced, total_depth = forced[:buckets].sum(), depth[:buckets].sum()
    if total_forced == 0:
        return 0
    if total_depth == 0:
        return N_MAX
    return ratio_of(total_forced, total_depth)


@kernel
def branching_matrix(
    book: Book, facts: Facts, mark: I64, slack: I64, depth: I64, reach: int, side: int, out: I64
) -> None:
    """Write M[i, j] in ppm: forced flow in j, over its depth, caused by a move of i by ``reach``.

    ``side`` 1 is a fall (longs are forced to sell), -1 a rise (shorts must buy). An account counts
    in row i when a move of i by ``reach`` ppm makes it liquidatable; its positions on the
    same side in every j then flow. ``depth`` is the lots executable within ``reach`` on the side
    they flow into. ``out`` is [instruments, instruments]. Its spectral radius, which no integer
    arithmetic gives, is taken outside the core and comes back as a signal one event later.
    """
    out[:, :] = 0
    row_account, row_instrument, row_lots = book.account, book.instrument, book.lots
    head, follow = book.head, book.follow
    kind, tick_value, units, face = facts.kind, facts.tick_value, facts.units, facts.face
    start, floor, tier_rate = facts.tier_start, facts.tier_floor, facts.tier_maintenance
    debt = facts.debt_maintenance
    for row in range(book.counts[1]):
        account, lots, i = row_account[row], row_lots[row], row_instrument[row]
        if lots * side <= 0 or account < FIRST_USER:
            continue
        size = size_of(kind[i], tick_value[i], units[i], face[i], lots, mark[i])
        if slack[account] // 2 > ppm_ceil(size, min(reach, PPM)):
            continue
        owed = kind[i] == SPOT and lots < 0
        rate = debt[i] if owed else tier_rate[tier_at(start[i], start[i + 1], floor, size)]
        if distance(size, rate, side, slack[account]) > reach:
            continue
        other = np.int64(head[account])
        while other >= 0:
            if row_lots[other] * side > 0:
                out[i, row_instrument[other]] += abs(row_lots[other])
            other = np.int64(follow[other])
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if out[i, j] and depth[j]:
                out[i, j] = ratio_of(out[i, j], depth[j])
            elif out[i, j]:
                out[i, j] = N_MAX
