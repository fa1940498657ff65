"""What a driver tells a stack about pace: seeds for its slices, and schedules when they are due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tidegate.domain.events import Input, SeedDrawn
from tidegate.domain.pace import SEED_BYTES
from tidegate.domain.units import Nanos
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack
from tidegate.signals.rate import schedules_now


@dataclass(slots=True)
class Pacer:
    """Draws seeds and solves for schedules, as often as the stack asks.

    ``draw`` returns that many random bytes: of a named stream in a replay, so that it repeats, and
    of the operating system beside a venue, so that nobody foresees them. Whoever drives a live
    crank feeds it what `events` returns.
    """

    stack: Stack
    draw: Callable[[int], bytes]
    _seeded_at: int = field(init=False, default=-1)
    _solved_at: int = field(init=False, default=-1)

    def events(self, state: State, now: Nanos) -> Sequence[Input]:
        """Return what is due at ``now``; nothing for a stack that asks for neither."""
        due: list[Input] = []
        slices, rate = self.stack.declaration.slices, self.stack.declaration.rate
        if slices.active and (self._seeded_at < 0 or now - self._seeded_at >= slices.reseed_ns):
            self._seeded_at = now
            due.append(SeedDrawn(ts=now, seed=self.draw(SEED_BYTES)))
        if rate.active and (self._solved_at < 0 or now - self._solved_at >= rate.interval_ns):
            self._solved_at = now
            due += schedules_now(state, self.stack, now)
        return due
