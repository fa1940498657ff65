"""Deleveraging along a path: whom it closes, against whom, and at whose cost."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, FUND
from tidegate.domain.units import I64, PPM, muldiv, muldiv_up, ppm_ceil, ppm_floor
from tidegate.kernels.allocate import (
    RATIO_MAX,
    capped_pro_rata,
    in_order,
    largest_remainder,
    ratio_ppm,
)
from tidegate.kernels.deleverage import PROFIT, SIZE, proportional
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.alarm import fund_of
from tidegate.lab.kernels.desk import Desk, disturb, in_rows, note, trade, unit_worth, weigh
from tidegate.lab.kernels.inner import inner
from tidegate.lab.kernels.rooms import bucket
from tidegate.lab.kernels.settle import draws


PRO_RATA = 2


@inner
def to_close(desk: Desk, rung: int) -> I64:
    """Return the bankrupt that must be closed out now, deepest first.

    The part of the fund at risk stands behind the smallest deficits, and only behind what one
    window of the throttle can sell.
    """
    found, n = np.empty(desk.cell[c.N_HOT], np.int64), 0
    for k in range(found.size):
        a = desk.lists[c.HOT, k]
        if desk.people[a, c.BEST] < 0 and desk.people[a, c.EQUITY] < 0:
            found[n] = a
            n += 1
    found = in_rows(found[:n])
    lack = np.empty(n, np.int64)
    for k in range(n):
        lack[k] = -desk.people[found[k], c.EQUITY]
    order = np.argsort(lack, kind="mergesort")
    found, lack = found[order], lack[order]
    if desk.rule[c.AT_ONCE]:
        return found[::-1].copy()
    risked = muldiv(max(fund_of(desk), 0), desk.rule[c.FUND_SHARE], PPM)
    carried, total = 0, 0
    while carried < n and total + lack[carried] <= risked:
        total += lack[carried]
        carried += 1
    kept = unsold(desk, rung, found[:carried])
    return np.concatenate((kept, found[carried:]))[::-1].copy()


@inner
def unsold(desk: Desk, rung: int, accounts: I64) -> I64:
    """Return those whose positions one window of the throttle could not sell, in their order."""
    instruments = desk.market.shape[0]
    room = np.empty((2, instruments), np.int64)
    for i in range(instruments):
        room[0, i] = room[1, i] = bucket(desk, rung, i)
    out, n = np.empty(accounts.size, np.int64), 0
    for account in accounts:
        fits = True
        for write in range(2):
            row = desk.owns[account, c.HEAD]
            while row >= 0 and fits:
                lots, i = desk.row[row, c.LOTS], desk.fixed[row, c.INSTRUMENT]
                side = 0 if lots > 0 else 1
                if write:
                    room[side, i] -= abs(lots)
                else:
                    fits = abs(lots) <= room[side, i]
                row = desk.fixed[row, c.FOLLOW]
        if not fits:
            out[n] = account
            n += 1
    return out[:n]


@inner
def pooled(desk: Desk, accounts: I64) -> tuple[I64, I64, I64, I64]:
    """Return (key, row, lots, deficit) of all positions of ``accounts``, in their order.

    ``key`` is twice the instrument, plus one for longs; each position carries its share of what its
    account lacks, by notional.
    """
    most = accounts.size * desk.market.shape[0]
    out = np.empty((4, most), np.int64)
    n = 0
    for account in accounts:
        first = n
        row = desk.owns[account, c.HEAD]
        while row >= 0:
            lots, i = desk.row[row, c.LOTS], desk.fixed[row, c.INSTRUMENT]
            if lots:
                out[0, n], out[1, n], out[2, n] = 2 * i + (1 if lots > 0 else 0), row, abs(lots)
                out[3, n] = abs(lots) * unit_worth(desk, i)
                n += 1
            row = desk.fixed[row, c.FOLLOW]
        share = np.empty(n - first, np.int64)
        proportional(-desk.people[account, c.EQUITY], out[3, first:n].copy(), share)
        out[3, first:n] = share
    return out[0, :n].copy(), out[1, :n].copy(), out[2, :n].copy(), out[3, :n].copy()


@inner
def deleverage(desk: Desk, rung: int) -> None:
    """Close out the bankrupt that the fund will not carry, pool by pool, against winners.

    Nobody whom that touches is closed otherwise in this event.
    """
    accounts = to_close(desk, rung)
    if accounts.size == 0:
        return
    key, row, lots, deficit = pooled(desk, accounts)
    for one in range(2 * desk.market.shape[0]):
        here = np.flatnonzero(key == one)
        if here.size:
            close_pool(desk, one, row[here], lots[here], deficit[here])


@inner
def close_pool(desk: Desk, key: int, row: I64, lots: I64, deficit: I64) -> None:
    """Close one pool of bankrupt positions against the winners that the rule chooses."""
    i, side = key // 2, (1 if key % 2 else -1)
    lack, many, rule = deficit.sum(), lots.sum(), desk.rule
    left = lack
    if rule[c.FUND_FIRST]:
        offered: I64 = np.zeros(desk.tranche.shape[0], np.int64)
        left -= draws(desk, desk.cell[c.LOST], lack, offered)
    left = ppm_floor(left, rule[c.HAIRCUT])
    asked = ppm_ceil(many, rule[c.CLOSE_SHARE])
    found, score, cap = able(desk, i, side, muldiv_up(left, asked, many), asked)
    taken = np.zeros_like(cap)
    order = np.argsort(-score, kind="mergesort")
    if rule[c.DELEVERAGE] == PRO_RATA:
        capped_pro_rata(asked, cap, cap, taken)
    else:
        in_order(asked, order, cap, taken)
    order = order[taken[order] > 0]
    if order.size == 0:
        return
    close_against(desk, i, side, row, lots, deficit, found[order], taken[order], left)
    for n in range(row.size):
        account = desk.fixed[row[n], c.ACCOUNT]
        desk.people[account, c.BEST] = 0  # in this event only: it is looked at with the next price
        disturb(desk, account)


@inner
def able(desk: Desk, i: int, side: int, deficit: int, closed: int) -> tuple[I64, I64, I64]:
    """Return (rows, scores, lots) of who can be closed; see `kernels.deleverage.candidates`."""
    positions, unit = desk.row.shape[0], unit_worth(desk, i)
    out = np.empty((3, positions), np.int64)
    n = 0
    for other in range(positions):
        if desk.fixed[other, c.INSTRUMENT] != i:
            continue
        lots, account = desk.row[other, c.LOTS], desk.fixed[other, c.ACCOUNT]
        gain = lots * unit - desk.row[other, c.COST]
        if lots * side >= 0 or gain <= 0 or account < FIRST_USER:
            continue
        who, most = desk.people[account], abs(lots)
        if who[c.SPOT] >= 0 and who[c.BEST] < 0:
            continue
        # A share of the deficit that the gain does not cover, by the two rules of `candidates`.
        if most > closed:
            if deficit > muldiv(gain, closed, most):
                continue
            share = deficit
        else:
            share = muldiv(most, deficit, closed)
            if share > gain:
                continue
        equity, _ = weigh(desk, account)
        if equity <= 0 or share >= equity:
            continue
        out[0, n], out[2, n] = other, most
        out[1, n] = score_of(desk, gain, most * unit, desk.row[other, c.COST], equity)
        n += 1
    return out[0, :n].copy(), out[1, :n].copy(), out[2, :n].copy()


@inner
def score_of(desk: Desk, gain: int, size: int, cost: int, equity: int) -> int:
    """Return a candidate's place in the queue, high first; see `kernels.deleverage.candidates`."""
    if desk.rule[c.SCORE] == PROFIT:
        return gain
    if desk.rule[c.SCORE] == SIZE:
        return size
    profit = min(RATIO_MAX, ratio_ppm(gain, max(abs(cost), 1)))
    return profit * ratio_ppm(size, equity) // PPM


@inner
def close_against(
    desk: Desk,
    i: int,
    side: int,
    row: I64,
    lots: I64,
    deficit: I64,
    winner: I64,
    taken: I64,
    left: int,
) -> None:
    """Trade: the bankrupt at the mark plus what they lack, the winners at one price for all."""
    matched, served = taken.sum(), np.zeros(row.size, np.int64)
    before, some = 0, 0
    lack = np.zeros(row.size, np.int64)
    for n in range(row.size):
        served[n] = min(lots[n], max(0, matched - before))
        before += lots[n]
        if served[n]:
            some = n + 1
            lack[n] = muldiv_up(deficit[n], served[n], lots[n])
    lack = lack[:some]
    paid = fund_pays(desk, row, lack) if desk.rule[c.FUND_FIRST] else 0
    total = min(lack.sum(), muldiv_up(left, matched, lots.sum()))
    largest_remainder(total, lack.copy(), lack)
    forgone = np.zeros(taken.size, np.int64)
    largest_remainder(total, taken, forgone)
    if paid:
        desk.cell[c.LOST] += paid + total
    unit = unit_worth(desk, i)
    for n in range(some):
        account = desk.fixed[row[n], c.ACCOUNT]
        trade(desk, row[n], -side * served[n], -side * served[n] * unit - lack[n])
        disturb(desk, account)
        note(desk, c.CLOSED, account, i, -side * served[n], 0, 0)
    for n in range(taken.size):
        account = desk.fixed[winner[n], c.ACCOUNT]
        trade(desk, winner[n], side * taken[n], side * taken[n] * unit + forgone[n])
        disturb(desk, account)
        note(desk, c.WINNER, account, i, side * taken[n], forgone[n], 0)
    desk.total[c.DELEVERAGED] += matched * unit
    desk.total[c.FORGONE] += total


@inner
def fund_pays(desk: Desk, row: I64, lack: I64) -> int:
    """Let the tranches pay what they offer for ``lack``, which shrinks; return what they paid."""
    paid, total = np.zeros(desk.tranche.shape[0], np.int64), 0
    draws(desk, desk.cell[c.LOST], lack.sum(), paid)
    for k in range(paid.size):
        share = np.zeros(lack.size, np.int64)
        largest_remainder(paid[k], lack, share)
        for n in range(lack.size):
            lack[n] -= share[n]
            desk.people[desk.fixed[row[n], c.ACCOUNT], c.CASH] += share[n]
        desk.people[FUND + k, c.CASH] -= paid[k]
        total += paid[k]
    desk.total[c.FUND_USED] += total
    return total
