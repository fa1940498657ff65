"""How far each price may move before an account must be looked at again: triggers in buckets.

An account of slack s (equity less maintenance) stays healthy while every price is on the safe side
of a trigger of its own: the adverse relative move x is the same for all of its positions, and is so
small that all of them together cannot use up s. Favourable moves fire nothing. A trigger that fires
costs one exact look, after which new triggers are laid around the prices of that moment, so that
excursions of any length keep them close. Triggers prune; they decide nothing.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import Final

from tidegate.domain.units import I64, kernel
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk
from tidegate.lab.kernels.inner import inner


BUCKETS: Final = 2_048  # of a price's range from nothing to four times what it was
NOWHERE: Final = -1


@inner
def list_of(width: int, i: int, short: int, price: int) -> int:
    """Return the list in which a trigger at ``price`` lies; all beyond the range share the last."""
    return (2 * i + short) * BUCKETS + min(price // width, BUCKETS - 1)


@inner
def unlink(desk: Desk, row: int) -> None:
    """Take a row's trigger out of its list, if it is in one."""
    mine = desk.row[row]
    at = mine[c.PLACE]
    if at == NOWHERE:
        return
    before, after = mine[c.BEHIND], mine[c.AHEAD]
    if before == NOWHERE:
        desk.head[at] = after
    else:
        desk.row[before, c.AHEAD] = after
    if after != NOWHERE:
        desk.row[after, c.BEHIND] = before
    mine[c.PLACE] = NOWHERE


@inner
def link(desk: Desk, row: int, i: int, short: int, trigger: int) -> None:
    """Put a row's trigger, which is in no list, in front of the list where it belongs."""
    at = list_of(desk.fact[i, c.WIDTH], i, short, trigger)
    first, mine = desk.head[at], desk.row[row]
    mine[c.AHEAD], mine[c.BEHIND], mine[c.PLACE], mine[c.TRIGGER] = first, NOWHERE, at, trigger
    if first != NOWHERE:
        desk.row[first, c.BEHIND] = row
    desk.head[at] = row


@inner
def fired(desk: Desk, i: int, old: int, new: int, out: I64) -> int:
    """Write the rows whose triggers a move of ``i`` from ``old`` to ``new`` has passed.

    They stay in their lists; return how many. Lists that were passed as a whole, and of the list in
    which the new price lies those that it is beyond.
    """
    n, short, width = 0, (1 if new > old else 0), desk.fact[i, c.WIDTH]
    at, here = list_of(width, i, short, old), list_of(width, i, short, new)
    step = 1 if short else -1
    while True:
        row = desk.head[at]
        while row != NOWHERE:
            trigger = desk.row[row, c.TRIGGER]
            if (new > trigger) if short else (new < trigger):
                out[n] = row
                n += 1
            row = desk.row[row, c.AHEAD]
        if at == here:
            return n
        at += step


@kernel
def allowed_move(slack: int, rows: int, weight: float) -> float:
    """Return the adverse relative move that cannot use up ``slack``, rounded down.

    ``weight`` is the notional of all longs and of all shorts, these raised by the highest rate that
    their growing requirement can ask. Two Money a row pay for what rounding may do.
    """
    return max(0.0, (slack - 2 * rows - 1) / weight * (1.0 - 1e-9))


@kernel
def trigger_at(mark: int, move: float, short: int) -> int:
    """Return the last price within ``move`` of ``mark``, rounded towards it by up to two ticks.

    Never beyond what a float holds exactly: a trigger so far away never fires.
    """
    if short:
        return int(min(mark * (1.0 + move), 4e15)) - 1
    return int(mark * max(0.0, 1.0 - move)) + 2


@inner
def lay(desk: Desk, account: int, slack: int) -> bool:
    """Lay an account's triggers around the present marks; return whether they all fit."""
    rows, weight = 0, 0.0
    first = desk.owns[account, c.HEAD]
    row = first
    while row >= 0:
        lots, i = desk.row[row, c.LOTS], desk.fixed[row, c.INSTRUMENT]
        if lots > 0:
            weight += lots * unit(desk, i)
        elif lots < 0:
            weight -= lots * unit(desk, i) * (1.0 + desk.fact[i, c.RATE_MAX] * 1e-6)
        rows += lots != 0
        row = desk.fixed[row, c.FOLLOW]
    move = allowed_move(slack, rows, weight)
    row = first
    while row >= 0:
        unlink(desk, row)
        lots = desk.row[row, c.LOTS]
        if lots:
            i, short = desk.fixed[row, c.INSTRUMENT], 1 if lots < 0 else 0
            mark = desk.market[i, c.MARK]
            trigger = trigger_at(mark, move, short)
            if (trigger < mark) if short else (trigger > mark):
                return False
            link(desk, row, i, short, trigger)
        row = desk.fixed[row, c.FOLLOW]
    return True


@inner
def unit(desk: Desk, i: int) -> float:
    """Return the Money value of one lot at the mark, for bounds."""
    return float(desk.market[i, c.MARK]) * desk.fact[i, c.TICK_VALUE]


@inner
def loosen(desk: Desk, account: int) -> None:
    """Take all of an account's triggers away."""
    row = desk.owns[account, c.HEAD]
    while row >= 0:
        unlink(desk, row)
        row = desk.fixed[row, c.FOLLOW]
