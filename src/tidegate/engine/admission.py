"""Whether an account may take on a position or part with cash: one answer for every door."""

from tidegate.domain.units import I64
from tidegate.engine.following import facts_now
from tidegate.engine.stable import initial_marks
from tidegate.engine.state import State
from tidegate.engine.waiting import wait_extra
from tidegate.safeguards.stack import Stack


def margin_refusal(
    state: State,
    account: int,
    instrument: int,
    change: int,
    stack: Stack,
    *,
    cost: int = 0,
    cash: int = 0,
    taking: bool = False,
    mark: I64 | None = None,
) -> str:
    """Return why margin refuses this change, or an empty string.

    With all that a stack may ask before risk is taken on: charges that follow volatility, stable
    prices, the price of waiting and the breaker's scale. ``mark`` replaces the state's within a
    step that has moved it.
    """
    declaration = stack.declaration
    lots = change if instrument >= 0 else 0
    return declaration.margin.allows(
        state.book,
        facts_now(state, stack),
        mark=initial_marks(state, account, instrument, change, stack, mark),
        account=account,
        instrument=instrument,
        lots=lots,
        cost=cost,
        cash=cash,
        taking=taking,
        extra=wait_extra(state, account, instrument, lots, stack, mark),
        scale=declaration.breaker.at(state.rung).initial_scale,
    )
