"""Closing trades along a path: at the mark, or at what the venue paid, with penalties."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FUND
from tidegate.domain.units import I64, ppm_floor
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk, disturb, note, trade, unit_worth
from tidegate.lab.kernels.impact import fill_price, impact_ticks
from tidegate.lab.kernels.inner import inner


@inner
def net(desk: Desk, row: I64, lots: I64) -> None:
    """Let closes that meet one another trade at the mark."""
    for n in range(row.size):
        if lots[n]:
            account, i = desk.fixed[row[n], c.ACCOUNT], desk.fixed[row[n], c.INSTRUMENT]
            paid = lots[n] * unit_worth(desk, i)
            trade(desk, row[n], lots[n], paid)
            disturb(desk, account)
            desk.total[c.NETTED] += abs(paid)
            note(desk, c.NET, account, i, lots[n], 0, 0)


@inner
def fill_prices(desk: Desk, row: I64, lots: I64) -> I64:
    """Return the price of each instrument's batch, and let its net lots displace the next one."""
    instruments = desk.market.shape[0]
    total, price = np.zeros(instruments, np.int64), np.zeros(instruments, np.int64)
    for k in range(row.size):
        total[desk.fixed[row[k], c.INSTRUMENT]] += lots[k]
    for i in range(instruments):
        f, m = desk.fact[i], desk.market[i]
        side = 1 if total[i] > 0 else -1
        ticks = impact_ticks(f[c.LAW], abs(total[i]), f[c.DEPTH], f[c.MOVE], f[c.MOST], m[c.MARK])
        price[i] = fill_price(m[c.MARK], ticks, side, f[c.PRICE_MAX])
        if ticks:
            m[c.SHIFT] += side * ticks
            m[c.REQUOTE] = 1
    return price


@inner
def equity_at(desk: Desk, account: int) -> int:
    """Return an account's equity at the marks."""
    equity = desk.people[account, c.CASH]
    row = desk.owns[account, c.HEAD]
    while row >= 0:
        lots = desk.row[row, c.LOTS]
        if lots:
            equity += lots * unit_worth(desk, desk.fixed[row, c.INSTRUMENT])
            equity -= desk.row[row, c.COST]
        row = desk.fixed[row, c.FOLLOW]
    return equity


@inner
def penalties_of(desk: Desk, row: I64, lots: I64, price: I64) -> I64:
    """Return each fill's penalty, never beyond the equity left; see `kernels.penalty.penalties`.

    The orders of an account stand together, as a plan has them.
    """
    out = np.zeros(row.size, np.int64)
    left, last = 0, -1
    for k in range(row.size):
        account, i = desk.fixed[row[k], c.ACCOUNT], desk.fixed[row[k], c.INSTRUMENT]
        if account != last:
            left, last = equity_at(desk, account), account
        left += lots[k] * desk.fact[i, c.TICK_VALUE] * (desk.market[i, c.MARK] - price[i])
        due = ppm_floor(abs(lots[k]) * unit_worth(desk, i), desk.fact[i, c.PENALTY])
        out[k] = max(0, min(due, left))
        left -= out[k]
    return out


@inner
def execute(desk: Desk, row: I64, lots: I64) -> None:
    """Let the declared venue fill these orders whole, each instrument at one price, at once.

    The batch's net lots displace the price, and the whole batch pays half of the displacement.
    Penalties are reckoned at the mark before the fills, as the engine does.
    """
    for k in range(row.size):
        account, i = desk.fixed[row[k], c.ACCOUNT], desk.fixed[row[k], c.INSTRUMENT]
        note(desk, c.ORDER, account, i, lots[k], 0, 0)
    price = fill_prices(desk, row, lots)
    penalty = penalties_of(desk, row, lots, price)
    fund = FUND + desk.rule[c.FED]
    for k in range(row.size):
        account, i = desk.fixed[row[k], c.ACCOUNT], desk.fixed[row[k], c.INSTRUMENT]
        due = 0
        if desk.tranche.shape[0]:
            due = ppm_floor(penalty[k], desk.rule[c.PENALTY_SHARE])
            desk.people[account, c.CASH] -= due
            desk.people[fund, c.CASH] += due
            desk.total[c.PENALTIES] += due
        trade(desk, row[k], lots[k], lots[k] * price[i] * desk.fact[i, c.TICK_VALUE])
        disturb(desk, account)
        desk.total[c.FORCED] += abs(lots[k]) * unit_worth(desk, i)
        note(desk, c.FILL, account, i, lots[k], price[i], due)
