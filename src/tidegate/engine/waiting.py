"""Where the price of waiting meets the engine: in everybody's health, and before a trade."""

from tidegate.domain.book import Health
from tidegate.domain.units import I64, Money
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack


MICRO = 1_000  # nanoseconds


def with_wait(state: State, health: Health, mark: I64, low: I64, high: I64, stack: Stack) -> Health:
    """Return ``health`` with the wait charged, where the stack prices it."""
    wait = stack.declaration.wait
    if not wait.active:
        return health
    capacity, window_us = _limits(stack)
    return wait.charge(
        state.book,
        state.facts,
        health,
        mark=mark,
        low=low,
        high=high,
        capacity=capacity,
        window_us=window_us,
    )


def wait_extra(
    state: State, account: int, instrument: int, lots: int, stack: Stack, mark: I64 | None = None
) -> Money:
    """Return what an account must hold for its wait after a change, beside its margin."""
    wait = stack.declaration.wait
    if not wait.active:
        return Money(0)
    capacity, window_us = _limits(stack)
    return wait.needed(
        state.book,
        state.facts,
        mark=state.mark if mark is None else mark,
        account=account,
        instrument=instrument,
        lots=lots,
        capacity=capacity,
        window_us=window_us,
    )


def _limits(stack: Stack) -> tuple[I64, int]:
    throttle = stack.declaration.throttle
    symbols = [i.symbol for i in stack.venue.instruments]
    lots = dict(getattr(throttle, "lots", {}))
    return stack.declaration.wait.capacities(symbols, lots), max(1, throttle.window_ns // MICRO)
