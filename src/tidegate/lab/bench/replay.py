"""How many recorded events a second a replay takes, the simulated venue included."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tidegate.domain.effects import Decision
from tidegate.domain.events import Input
from tidegate.drivers.recording import load
from tidegate.drivers.replay import replay
from tidegate.drivers.synthetic import ACCOUNTS, make
from tidegate.engine.state import State
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import timed
from tidegate.lab.bench.world import shipped
from tidegate.safeguards.stack import Stack


NAMES = ("replay",)
EVENTS = 3_000  # the first of the crash, before and in its first fall


class _EnoughError(Exception):
    """So many events were replayed."""


def measure(scale: float) -> list[Result]:
    """Time a replay of the crash's beginning. Nothing else does the same work."""
    return [_replay(max(ACCOUNTS[0], round(4_000 * scale)))]


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
