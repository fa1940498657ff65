"""What the engine is told by itself: that time has passed, and what its stack wants to know then.

Seeds for slices are drawn from the operating system, so that nobody foresees them; schedules and
the branching ratio of all markets together are solved for here, outside, and enter as events.
"""

import contextlib
import os
from concurrent.futures import Future

import msgspec

from tidegate.api.answers import Taken
from tidegate.domain.events import ClockTicked, Input, SignalObserved
from tidegate.domain.units import SECOND, Nanos
from tidegate.drivers.pacer import Pacer
from tidegate.engine.watch import BRANCHING_SIGNAL
from tidegate.ports import Alerts
from tidegate.service.clock import JUMPED
from tidegate.service.feeds import every
from tidegate.service.reading import Reading
from tidegate.service.runner import AHEAD_MAX, Busy, Engine
from tidegate.signals.spectral import MODEL, VERSION, branching_now


SOURCE = "clock"


class Timekeeper:
    """Tells one engine the time; `run` is a task of whoever leads.

    Where the journal is ahead of our clock (it was set back between two starts), time stands still
    until the clock has caught up: what comes is taken, and prices are as old as they say.
    """

    def __init__(self, engine: Engine, step_ns: int, alerts: Alerts) -> None:
        self._engine, self._step_ns, self._alerts = engine, step_ns, alerts
        self._pacer = Pacer(engine.stack, os.urandom)
        gate = engine.stack.declaration.signals
        slot = gate.slot(BRANCHING_SIGNAL)
        # It is said when it has changed, and before it would begin to fade.
        self._again_ns = gate.bounds[slot].age_max_ns // 2 if slot >= 0 else -1
        self._said, self._said_at = -1, 0

    async def run(self) -> None:
        """Tell it every step; never more often than it listens."""
        last: Future[Taken] | None = None
        async for _ in every(self._step_ns / 1e9):
            if last is None or last.done():
                due = await self._engine.ask(self._due)
                with contextlib.suppress(Busy):  # then time passes with what waits
                    last = self._engine.offer(due, source=SOURCE)

    def _due(self, reading: Reading) -> list[Input]:
        clock = self._engine.clock.now()
        now = Nanos(max(clock, reading.state.now))
        if now > clock + AHEAD_MAX:
            self._alerts.raised(JUMPED, f"the journal is {(now - clock) // SECOND:,} s ahead of us")
        due: list[Input] = list(self._pacer.events(reading.state, now))
        value = branching_now(reading.state, reading.stack) if self._again_ns >= 0 else self._said
        if value != self._said or (self._again_ns >= 0 and now - self._said_at >= self._again_ns):
            self._said, self._said_at = value, now
            due.append(
                SignalObserved(
                    ts=now,
                    name=BRANCHING_SIGNAL,
                    model=MODEL,
                    version=VERSION,
                    value=value,
                )
            )
        # By our clock, or they would be refused; the engine dates them to its own time.
        return [msgspec.structs.replace(e, ts=Nanos(clock)) for e in [*due, ClockTicked(ts=now)]]
