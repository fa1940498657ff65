"""Who pays along a path: the fund for bare debtors, then everybody, or nobody."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, FUND, TREASURY
from tidegate.domain.units import I64
from tidegate.kernels.allocate import largest_remainder
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk, disturb, in_rows, note, weigh
from tidegate.lab.kernels.inner import inner


@inner
def draws(desk: Desk, lost: int, deficit: int, out: I64) -> int:
    """Write what each tranche pays of ``deficit``, as `Waterfall.draws` reckons; return the sum."""
    place, owed, total = lost, 0, 0
    for k in range(desk.tranche.shape[0]):
        low, high = desk.tranche[k, 0], desk.tranche[k, 1]
        end = min(lost + deficit, high)
        owed += max(0, end - max(place, low))
        place = max(place, end)
        width = max(0, high - max(lost, low))
        out[k] = min(owed, max(desk.people[FUND + k, c.CASH], 0), width)
        owed -= out[k]
        total += out[k]
    return total


@inner
def share_out(desk: Desk, account: int, rest: int) -> int:
    """Let all with equity bear ``rest`` in proportion to it; return what they bear.

    Who is thereby below maintenance is liquidatable from now on, in this very event.
    """
    accounts = desk.people.shape[0]
    equity, required = np.zeros(accounts, np.int64), np.zeros(accounts, np.int64)
    for a in range(FIRST_USER, accounts):
        equity[a], required[a] = weigh(desk, a)
    payers = np.flatnonzero(equity > 0)
    if payers.size == 0:
        return 0
    weight, share = equity[payers], np.zeros(payers.size, np.int64)
    total = min(rest, weight.sum())
    largest_remainder(total, weight, share)
    for n in range(payers.size):
        if share[n] == 0:
            continue
        a = payers[n]
        who = desk.people[a]
        who[c.CASH] -= share[n]
        who[c.EQUITY], who[c.REQUIRED] = equity[a] - share[n], required[a]
        who[c.BEST] = who[c.EQUITY] - required[a]
        disturb(desk, a)
    desk.people[account, c.CASH] += total
    return total


@inner
def pay_debtors(desk: Desk) -> None:
    """Pay what bare accounts owe: tranches first, then everybody, then it stays with the venue."""
    many = desk.cell[c.N_DEBTORS]
    desk.cell[c.N_DEBTORS] = 0
    paid = np.zeros(desk.tranche.shape[0], np.int64)
    for account in in_rows(desk.lists[c.DEBTORS, :many].copy()):
        deficit = -desk.people[account, c.CASH]
        fund = draws(desk, desk.cell[c.LOST], deficit, paid)
        desk.cell[c.LOST] += deficit
        for k in range(paid.size):
            desk.people[FUND + k, c.CASH] -= paid[k]
        desk.people[account, c.CASH] += fund
        rest, shared = deficit - fund, 0
        if rest and desk.rule[c.SOCIALISE]:
            shared = share_out(desk, account, rest)
        desk.people[TREASURY, c.CASH] -= rest - shared
        desk.people[account, c.CASH] += rest - shared
        desk.total[c.FUND_USED] += fund
        desk.total[c.SOCIALISED] += shared
        desk.total[c.BAD_DEBT] += rest - shared
        note(desk, c.DEFICIT, account, deficit, fund, shared, 0)
