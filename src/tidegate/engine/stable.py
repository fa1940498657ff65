"""The stable price: how it follows the mark, and what initial margin makes of it."""

import numpy as np

from tidegate.domain.effects import Decision, StableMoved
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.restraint import DELAYS, FINE
from tidegate.domain.units import I64, PPM, SECOND, pack
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.kernels.stable_price import stable_step
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.stack import Stack


def follow(state: State, view: View, now: int, stack: Stack) -> list[Decision]:
    """Return the stable price after the mark that moved; a stale mark moves none.

    Its first mark is where it begins. Time counts in whole seconds.
    """
    rule, i = stack.declaration.oracle.stable, view.moved
    if not rule.growth or i < 0 or view.quality[i] >= Quality.STALE:
        return []
    cells, delays = state.restraint.stable[i].copy(), state.restraint.delays[i].copy()
    price, second = int(view.mark[i]) * FINE, now // SECOND
    if not cells[0]:
        cells[:], delays[:] = (price, second, 0, 0, 0), price
        cells[4] = second // rule.interval_s % DELAYS
    elif not stable_step(
        delays,
        cells,
        price,
        second,
        rule.interval_s,
        rule.rest_s,
        rule.reach_s,
        rule.delay_growth,
        rule.growth,
        PPM,
    ):
        return []
    return [StableMoved(instrument=i, cells=pack(cells), delays=pack(delays))]


def initial_marks(
    state: State, account: int, i: int, change: int, stack: Stack, mark: I64 | None = None
) -> I64:
    """Return the marks at which ``account`` is judged before it takes on risk.

    What it holds (after ``change`` lots of ``i``) counts at the lower of mark and stable price,
    what it owes at the higher. Without a stable price these are the marks themselves. The stable
    price is rounded against the account: down for what is held, up for what is owed.
    """
    rule, mark = stack.declaration.oracle.stable, state.mark if mark is None else mark
    if not rule.growth:
        return mark
    out = mark.copy()
    held = dict.fromkeys([i] if i != CASH else [], 0)
    row = int(state.book.head[account])
    while row >= 0:
        held[int(state.book.instrument[row])] = int(state.book.lots[row])
        row = int(state.book.follow[row])
    for j, lots in held.items():
        after = lots + change if j == i else lots
        fine = int(state.restraint.stable[j, 0])
        counted = rule.positions or state.facts.kind[j] == Kind.SPOT
        if not fine or not counted or not after:
            continue
        if after > 0:
            out[j] = max(int(state.facts.price_min[j]), min(int(mark[j]), fine // FINE))
        else:
            out[j] = min(max(int(mark[j]), -(-fine // FINE)), int(state.facts.price_max[j]))
    return np.asarray(out, np.int64)
