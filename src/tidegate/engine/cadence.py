"""Whether a price may wait for the next judgement, and which profiles that one refreshes."""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.effects import (
    BandMoved,
    Decision,
    JudgementOwed,
    MarginFollowed,
    MarketMoved,
)
from tidegate.domain.judgement import AT
from tidegate.domain.units import Nanos
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.safeguards.breaker import Alarms
from tidegate.safeguards.stack import Stack


def waiting(
    state: State, view: View, seen: Sequence[Decision], now: int, stack: Stack
) -> list[Decision]:
    """Return what says that the judgement of this price waits, or nothing: it is due now.

    ``seen`` is what the price did already. Whoever may be worse off by more than a small move does
    not wait: see `pressing`.
    """
    cadence, j = stack.declaration.cadence, state.judgement
    if not cadence.active or cadence.over(int(j.at[AT]), now) or pressing(state, view, seen, stack):
        return []
    due = Nanos(int(j.at[AT]) + cadence.judge_every_ns)
    return [JudgementOwed(instrument=view.moved, due=due)]


def pressing(state: State, view: View, seen: Sequence[Decision], stack: Stack) -> bool:
    """Return whether the price of ``view.moved`` calls for a judgement whatever the time.

    It is far from the judged one, or an end of its interval is, or what the oracle still delays;
    its quality fell, or it is in doubt where it was not; a band or pause changed; more must be kept
    for volatility; or the move alone carries the breaker up.
    """
    cadence, j, m, i = stack.declaration.cadence, state.judgement, state.market, view.moved
    mark = int(j.mark[i])
    if cadence.far(mark, int(view.mark[i])) or cadence.far(mark, int(view.pending[i]) or mark):
        return True
    if cadence.far(int(j.low[i]), int(view.low[i])) or cadence.far(
        int(j.high[i]), int(view.high[i])
    ):
        return True
    doubted = view.low[i] != view.high[i] and m.low[i] == m.high[i]
    if doubted or view.quality[i] > m.quality[i]:
        return True
    if any(_stops(state, effect, stack) for effect in seen):
        return True
    alone = Alarms(
        deviations=int(view.deviations[i]), distressed=0, branching=0, drawdown=0, doubtful=0
    )
    return stack.declaration.breaker.reached(alone)[0] > state.rung


def _stops(state: State, effect: Decision, stack: Stack) -> bool:
    """Return whether an effect begins or ends a pause, or asks more of those who stay."""
    match effect:
        case MarketMoved():
            return True
        case BandMoved(instrument=i):
            return bool(effect.phase != state.restraint.phase[i])
        case MarginFollowed(instrument=i):
            share = stack.declaration.margin.volatility.maintenance_share
            return bool(share and effect.charged > state.charged[i])
        case _:
            return False


def refreshed(state: State, view: View) -> list[int]:
    """Return the instruments whose profile this judgement computes anew, ascending."""
    owed = np.flatnonzero(state.judgement.owed).tolist()
    return sorted({*owed, view.moved} - {-1})
