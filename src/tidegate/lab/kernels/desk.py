"""What a path kernel works on: the columns of one venue along one path, and small moves of them."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import Final, NamedTuple

import numpy as np

from tidegate.domain.units import I64, PPM, PPM_DIRECT, ppm_ceil
from tidegate.kernels.fills import realise
from tidegate.kernels.tiers import due_in_tier
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.inner import inner


FULL: Final = 1  # `run_path`: the venue's order slots did not suffice


class Desk(NamedTuple):
    """Few wide columns, whose cells `cells` names: handing a column to a function costs time."""

    market: I64  # [instruments, MARKETS]
    fact: I64  # [instruments, FACTS]
    tier: I64  # [tiers, 3]
    people: I64  # [accounts, PEOPLE], system accounts included
    owns: I64  # [accounts, 2] first position row, and bits of the instruments ever held
    row: I64  # [positions, ROWS]
    fixed: I64  # [positions, 3]
    head: I64  # [lists] first row of each list of triggers
    lists: I64  # [3, max(accounts, positions)]
    cell: I64  # [CELLS]
    rule: I64  # what a stack says, in scalars
    step: I64  # [steps, 6]
    level: I64  # [levels, 2] below and fraction
    tranche: I64  # [tranches, 2] attachment and exhaustion
    total: I64  # [TOTALS]
    trail: I64  # [rows, TRAIL_WIDTH]; no rows: none is kept


@inner
def note(
    desk: Desk, kind: int, first: int, second: int, third: int, fourth: int, fifth: int
) -> None:
    """Write one row of the trail, where one is kept; count it even where it no longer fits."""
    if desk.trail.shape[0] == 0:
        return
    n = desk.cell[c.N_TRAIL]
    desk.cell[c.N_TRAIL] = n + 1
    if n < desk.trail.shape[0]:
        row = desk.trail[n]
        row[0], row[1], row[2], row[3], row[4], row[5] = kind, first, second, third, fourth, fifth


@inner
def disturb(desk: Desk, account: int) -> None:
    """Say that something but a price has changed: the account is looked at with the next one."""
    heat(desk, account)
    desk.people[account, c.STALE] = 1


@inner
def heat(desk: Desk, account: int) -> None:
    """Put an account among those that are looked at with every price they hold."""
    if desk.people[account, c.SPOT] < 0:
        n = desk.cell[c.N_HOT]
        desk.lists[c.HOT, n], desk.people[account, c.SPOT] = account, n
        desk.cell[c.N_HOT] = n + 1


@inner
def cool(desk: Desk, account: int) -> None:
    """Take an account out of that list; the last one takes its place."""
    at = desk.people[account, c.SPOT]
    if at < 0:
        return
    n = desk.cell[c.N_HOT] - 1
    moved = desk.lists[c.HOT, n]
    desk.lists[c.HOT, at], desk.people[moved, c.SPOT] = moved, at
    desk.people[account, c.SPOT] = -1
    desk.cell[c.N_HOT] = n


@inner
def in_rows(accounts: I64) -> I64:
    """Return accounts in the order of their rows; by the one sort that all of a path shares."""
    return accounts[np.argsort(accounts, kind="mergesort")]


@inner
def trade(desk: Desk, row: int, lots: int, paid: int) -> None:
    """Trade ``lots`` of a position for ``paid``; what that realises goes to the account's cash."""
    held = desk.row[row]
    gain = realise(held[c.LOTS], held[c.COST], lots, paid)
    held[c.LOTS] += lots
    held[c.COST] += paid + gain
    desk.people[desk.fixed[row, c.ACCOUNT], c.CASH] += gain


@inner
def unit_worth(desk: Desk, i: int) -> int:
    """Return the Money value of one lot of a linear instrument at its mark."""
    return desk.market[i, c.MARK] * desk.fact[i, c.TICK_VALUE]


@inner
def maintenance(desk: Desk, i: int, size: int) -> int:
    """Return what a position of notional ``size`` must keep, rounded up; see `margin.tiered`."""
    tier, end = desk.fact[i, c.TIER_START], desk.fact[i, c.TIER_END]
    while tier + 1 < end and size >= desk.tier[tier + 1, c.FLOOR]:
        tier += 1
    if size < PPM_DIRECT:
        return -(-size * desk.tier[tier, c.RATE] // PPM) - desk.tier[tier, c.CUM]
    return due_in_tier(size, desk.tier[tier, c.RATE], desk.tier[tier, c.CUM], PPM)


@inner
def weigh(desk: Desk, account: int) -> tuple[int, int]:
    """Return equity and maintenance of one account at the marks, as `margin.sweep` reckons them."""
    equity, required = desk.people[account, c.CASH], 0
    if equity < 0:
        required = ppm_ceil(-equity, desk.rule[c.DEBT_RATE])
    row = desk.owns[account, c.HEAD]
    while row >= 0:
        lots = desk.row[row, c.LOTS]
        if lots:
            i = desk.fixed[row, c.INSTRUMENT]
            value = lots * unit_worth(desk, i)
            required += maintenance(desk, i, abs(value))
            equity += value - desk.row[row, c.COST]
        row = desk.fixed[row, c.FOLLOW]
    return equity, required
