"""What fills cost the accounts they closed, and where that would have been too much."""

import numpy as np

from tidegate.domain.book import FUND
from tidegate.domain.effects import Decision, PostedBatch
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, PPM, pack
from tidegate.engine.never_worse import breached
from tidegate.engine.state import State
from tidegate.engine.watch import health_moved
from tidegate.kernels.dynamic_penalty import charge_fills
from tidegate.kernels.penalty import penalties
from tidegate.safeguards.stack import Stack


def penalised(
    state: State,
    stack: Stack,
    account: I64,
    instrument: I64,
    lots: I64,
    paid: I64,
    mark: I64 | None = None,
) -> list[Decision]:
    """Return the penalties: into each market's tranche, never more than the account still has.

    ``mark`` replaces the state's within a step that has moved it.
    """
    amount, effects = np.zeros(account.size, np.int64), list[Decision]()
    rule, guard = stack.declaration.penalty, stack.declaration.never_worse
    book, facts, mark = state.book, state.facts, state.mark if mark is None else mark
    if rule.neutral and not guard.incentives:
        penalties(book, facts, mark, account, instrument, lots, paid, amount)
    else:
        worse = np.zeros(account.size, np.int64)
        before, after = (np.zeros((account.size, 3), np.int64) for _ in range(2))
        charge_fills(
            book,
            facts,
            mark,
            account,
            instrument,
            lots,
            paid,
            rule.code,
            rule.rule(),
            rule.kappa,
            int(guard.incentives),
            state.market.deviations,
            _distress(state, stack),
            amount,
            worse,
            before,
            after,
        )
        if guard.incentives:
            effects += breached(account, worse, before, after)
    share = stack.declaration.waterfall.penalty_share
    amount = amount // PPM * share + amount % PPM * share // PPM  # no product can wrap
    if not amount.any() or not stack.declaration.waterfall.tranches:
        return effects
    place = stack.declaration.waterfall.fed(tuple(i.symbol for i in stack.venue.instruments))
    tranche = np.array(place, np.int64)[instrument]
    batches = [
        PostedBatch(
            counter=FUND + k,
            asset=CASH,
            account=pack(account[owed]),
            amount=pack(-amount[owed]),
            reason="penalty",
        )
        for k in np.unique(tranche[amount > 0]).tolist()
        for owed in ((amount > 0) & (tranche == k),)
    ]
    return [*batches, *effects]


def _distress(state: State, stack: Stack) -> int:
    """Return the share of all maintenance that is liquidatable, in ppm, where the rule asks."""
    if not stack.declaration.penalty.needs_distress:
        return 0
    health = stack.declaration.margin.assess(
        state.book, state.facts, mark=state.mark, low=state.low, high=state.high
    )
    return health_moved(health)[1]
