"""Whom a path closes now: stages in the order of service, netted and fitted into the rooms."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.units import I64, ppm_ceil
from tidegate.kernels.plan import close_share, level_of, urgency
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import FULL, Desk, in_rows, unit_worth
from tidegate.lab.kernels.inner import inner
from tidegate.lab.kernels.rooms import rooms
from tidegate.lab.kernels.trades import execute, net


@inner
def due_accounts(desk: Desk, room: I64, now: int) -> I64:
    """Return the liquidatable whose last stage is over, in the order of service.

    Without netting, who holds nothing that has room would be ordered nothing: leaving it out
    changes no one's share.
    """
    found, n = np.empty(desk.cell[c.N_HOT], np.int64), 0
    for k in range(found.size):
        a = desk.lists[c.HOT, k]
        if is_due(desk, a, now) and (desk.rule[c.NETTING] or has_room(desk, room, a)):
            found[n] = a
            n += 1
    found = in_rows(found[:n])
    columns = np.empty((4, n), np.int64)
    for k in range(n):
        who = desk.people[found[k]]
        columns[0, k], columns[1, k], columns[2, k] = (
            who[c.EQUITY],
            who[c.REQUIRED],
            who[c.STAGED_AT],
        )
    line = columns[3]
    urgency(np.arange(n), columns[0], columns[1], columns[2], desk.rule[c.PRIORITY], line)
    return found[np.argsort(line, kind="mergesort")]


@inner
def is_due(desk: Desk, account: int, now: int) -> bool:
    """Return whether an account is below maintenance and its last stage is over."""
    who = desk.people[account]
    if who[c.BEST] >= 0:
        return False
    return who[c.STAGED_AT] < 0 or now - who[c.STAGED_AT] >= desk.rule[c.INTERVAL]


@inner
def anybody_due(desk: Desk, now: int) -> bool:
    """Return whether anybody is due: in most events all are between two of their stages."""
    many = 0
    for k in range(desk.cell[c.N_HOT]):
        many += is_due(desk, desk.lists[c.HOT, k], now)
    return many > 0


@inner
def has_room(desk: Desk, room: I64, account: int) -> bool:
    """Return whether anything of an account could be ordered."""
    row = desk.owns[account, c.HEAD]
    while row >= 0:
        lots = desk.row[row, c.LOTS]
        if lots and room[0 if lots > 0 else 1, desk.fixed[row, c.INSTRUMENT]]:
            return True
        row = desk.fixed[row, c.FOLLOW]
    return False


@inner
def share_of(desk: Desk, account: int) -> int:
    """Return the ppm of an account that one stage closes; see `kernels.plan.wanted_in_levels`."""
    size, penalty, rule = 0, 0, desk.rule
    row = desk.owns[account, c.HEAD]
    while row >= 0:
        i = desk.fixed[row, c.INSTRUMENT]
        worth = abs(desk.row[row, c.LOTS]) * unit_worth(desk, i)
        size += worth
        penalty += ppm_ceil(worth, desk.fact[i, c.PENALTY])
        row = desk.fixed[row, c.FOLLOW]
    who = desk.people[account]
    equity, required = who[c.EQUITY], who[c.REQUIRED]
    below, fraction = desk.level[:, 0], desk.level[:, 1]
    most = level_of(equity, required, rule[c.CLOSE_FRACTION], below, fraction)
    if rule[c.WHOLE_BELOW] and size > rule[c.WHOLE_BELOW]:
        most = min(most, rule[c.FIRST_STAGE])
    return close_share(equity, required, penalty, rule[c.TARGET], most)


@inner
def wanted(desk: Desk, due: I64, row_out: I64, want_out: I64) -> int:
    """Write the rows to close and by how many lots, signed as trades; return how many."""
    n = 0
    for account in due:
        share = share_of(desk, account)
        row = desk.owns[account, c.HEAD]
        while row >= 0:
            lots, i = desk.row[row, c.LOTS], desk.fixed[row, c.INSTRUMENT]
            if lots and share:
                size = abs(lots)
                close = min(size, ppm_ceil(size, share))
                if (size - close) * unit_worth(desk, i) < desk.fact[i, c.DUST]:
                    close = size
                row_out[n], want_out[n] = row, (-close if lots > 0 else close)
                n += 1
            row = desk.fixed[row, c.FOLLOW]
    return n


@inner
def fit(desk: Desk, row: I64, want: I64, room: I64, netted: I64, ordered: I64) -> None:
    """Split what is wanted into what meets at the mark and what has room, which is drawn down.

    See `kernels.plan.net_and_cap`.
    """
    match = np.zeros_like(room)
    if desk.rule[c.NETTING]:
        for n in range(row.size):
            match[0 if want[n] < 0 else 1, desk.fixed[row[n], c.INSTRUMENT]] += abs(want[n])
        for i in range(match.shape[1]):
            match[0, i] = match[1, i] = min(match[0, i], match[1, i])
    for n in range(row.size):
        side, i, size = 0 if want[n] < 0 else 1, desk.fixed[row[n], c.INSTRUMENT], abs(want[n])
        met = min(size, match[side, i])
        match[side, i] -= met
        sold = min(size - met, room[side, i])
        room[side, i] -= sold
        netted[n], ordered[n] = (2 * side - 1) * met, (2 * side - 1) * sold


@inner
def serve(desk: Desk, rung: int, now: int) -> int:
    """Take this event's stages, net them, order what has room, and let the venue fill it.

    Return 0, or FULL where the venue has fewer slots than there are orders.
    """
    if not anybody_due(desk, now):
        return 0
    instruments = desk.market.shape[0]
    room, held = np.zeros((2, instruments), np.int64), np.zeros((2, instruments), np.int64)
    if not rooms(desk, rung, now, room, held) and not desk.rule[c.NETTING]:
        return 0
    due = due_accounts(desk, room, now)
    if due.size == 0:
        return 0
    row, want = (
        np.empty(due.size * instruments, np.int64),
        np.empty(due.size * instruments, np.int64),
    )
    n = wanted(desk, due, row, want)
    netted, ordered = np.zeros(n, np.int64), np.zeros(n, np.int64)
    fit(desk, row[:n], want[:n], room, netted, ordered)
    many = remember(desk, row[:n], netted, ordered, held, now)
    if many > desk.rule[c.ORDERS_MAX]:
        return FULL
    net(desk, row[:n], netted)
    if many:
        used = np.flatnonzero(ordered)
        execute(desk, row[used], ordered[used])
    return 0


@inner
def remember(desk: Desk, row: I64, netted: I64, ordered: I64, held: I64, now: int) -> int:
    """Remember stages and what the buckets now hold; return how many orders there are."""
    used, many = np.zeros_like(held), 0
    for k in range(row.size):
        if netted[k] == 0 and ordered[k] == 0:
            continue
        account, i = desk.fixed[row[k], c.ACCOUNT], desk.fixed[row[k], c.INSTRUMENT]
        before = desk.people[account, c.STAGED_AT]
        desk.total[c.LIQUIDATED] += before < 0
        desk.total[c.STAGES] += before != now
        desk.people[account, c.STAGED_AT] = now
        many += ordered[k] != 0
        used[0 if ordered[k] < 0 else 1, i] += abs(ordered[k])
    if desk.rule[c.DEPTH_SHARE]:
        for i in range(used.shape[1]):
            for side in range(2):
                if used[side, i]:
                    desk.market[i, c.SPENT + side] = held[side, i] + used[side, i]
                    desk.market[i, c.SPENT_AT + side] = now
    return many
