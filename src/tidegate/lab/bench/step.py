"""What a whole step on a price costs, and how many recorded events a second a replay takes."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tidegate.domain.effects import Decision
from tidegate.domain.events import Input, PriceObserved
from tidegate.domain.units import SECOND, Nanos, Ticks
from tidegate.drivers.recording import load
from tidegate.drivers.replay import replay
from tidegate.drivers.synthetic import ACCOUNTS, make
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import repeated, timed
from tidegate.lab.bench.world import HELD, PRICE, shipped, world
from tidegate.safeguards.stack import Stack


NAMES = ("step_100k", "replay")
STEPS = 11  # of one run: a few milliseconds each
EVENTS = 3_000  # the first of the crash, before and in its first fall


class _EnoughError(Exception):
    """So many events were replayed."""


def measure(scale: float) -> list[Result]:
    """Time both. Nothing else does the same work, so nothing stands beside them."""
    return [_step(max(64, round(100_000 * scale))), _replay(max(ACCOUNTS[0], round(4_000 * scale)))]


def _step(accounts: int) -> Result:
    state, stack = world(accounts)
    seconds = iter(range(1, 10**9))

    def one() -> None:
        n = next(seconds)
        ts, price = Nanos(n * SECOND), Ticks(PRICE - n % 50)
        event = PriceObserved(ts=ts, instrument=n % HELD, source=0, price=price, published=ts)
        step(state, event, stack)

    t = repeated(one, times=STEPS)
    said = f"{accounts:,} accounts, {HELD * accounts:,} positions, guarded stack, every account"
    said += " judged on a price: guard, sweep, profile, breaker, waterfall, planner, invariants"
    return found("step_100k", t.median, work=1, conditions=f"{said}; work is a step")


def _replay(accounts: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "crash", accounts=accounts, seed=7)
        recording = load(Path(folder) / "crash")
    stack = Stack.bind(shipped("guarded"), recording.venue)
    events = min(EVENTS, recording.n_events)

    def enough(
        seq: int,
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int],
    ) -> None:
        del event, effects, state, impact_ppm
        if seq + 1 >= events:
            raise _EnoughError

    def one() -> None:
        try:
            replay(recording, stack, observers=[enough])
        except _EnoughError:
            return

    t = timed(one)
    said = f"first {events:,} events of the synthetic crash, {accounts:,} accounts, guarded stack,"
    said += " simulated venue included, no journal; work is an event"
    return found("replay", t.median, work=events, conditions=said)
