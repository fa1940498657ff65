"""The clock of a demonstration: the time of a recording, at a chosen speed, never ahead of it.

What time it is for the engine is what the player has reached, or less: a player that cannot keep up
slows time down instead of hurrying after it.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from tidegate.domain.units import SECOND, Nanos


LATE_S: Final = 0.5  # seconds behind after which time is slowed down


class DemoClock:
    """A `ports.Clock` that a player leads; any thread may ask.

    Parameters
    ----------
    begins
        Time of the recording at which it starts, as soon as it is first waited for.
    speed
        Seconds of the recording in one second; infinite: as fast as the player comes.
    steady
        Seconds since any moment.
    """

    def __init__(
        self,
        begins: int,
        speed: float = 1.0,
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        assert speed > 0
        self._steady, self._speed = steady, speed
        self._bell = threading.Condition()
        self._begins = self._front = begins  # the front is as far as the player has come
        self._anchor: tuple[int, float] | None = None  # this time was due at that moment
        self._paused = False
        self._ran = 0.0  # seconds before the anchor, pauses left out
        self.slips = 0  # how often the player was too late

    def now(self) -> Nanos:
        """Return the time of the recording."""
        with self._bell:
            return Nanos(min(self._front, self._due()))

    @property
    def speed(self) -> float:
        """How fast time is to pass."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether time stands still."""
        return self._paused

    @property
    def pace(self) -> float:
        """How fast time has passed so far, pauses left out; 0 before it has."""
        with self._bell:
            ran = self._ran + (0.0 if self._paused else self._since())
            return (self._front - self._begins) / SECOND / ran if ran > 0 else 0.0

    def set_speed(self, speed: float) -> None:
        """Let time pass at another speed from now on."""
        assert speed > 0
        with self._bell:
            if self._anchor is not None:
                self._hold(min(self._front, self._due()))
            self._speed = speed
            self._bell.notify_all()

    def pause(self) -> None:
        """Let time stand still until `resume`."""
        with self._bell:
            self._hold(min(self._front, self._due()))
            self._paused = True

    def resume(self) -> None:
        """Let time go on."""
        with self._bell:
            self._hold(self._front if self._anchor is None else self._anchor[0])
            self._paused = False
            self._bell.notify_all()

    def wait(self, ts: int, stopped: Callable[[], bool]) -> bool:
        """Wait until it is time for what happens at ``ts``; return False where it was stopped.

        Then ``ts`` is as far as time may go until the next call.
        """
        with self._bell:
            if self._anchor is None:
                self._hold(self._begins)
            while not stopped():
                left = self._left(ts)
                if left <= 0:
                    if -left > LATE_S and math.isfinite(self._speed):
                        self.slips += 1
                        self._hold(ts)
                    self._front = max(self._front, ts)
                    return True
                self._bell.wait(min(left, 0.1))
            return False

    def _left(self, ts: int) -> float:
        """Return the seconds until ``ts`` is due; negative once it was."""
        if self._paused:
            return math.inf
        if not math.isfinite(self._speed):
            return 0.0
        return (ts - self._due()) / SECOND / self._speed

    def _due(self) -> int:
        """Return the time that it ought to be."""
        if self._anchor is None:
            return self._begins
        if self._paused:
            return self._anchor[0]
        if not math.isfinite(self._speed):
            return self._front
        return self._anchor[0] + round(self._since() * self._speed * SECOND)

    def _since(self) -> float:
        return self._steady() - self._anchor[1] if self._anchor is not None else 0.0

    def _hold(self, ts: int) -> None:
        """Reckon from here: it is ``ts`` now."""
        if not self._paused:
            self._ran += self._since()
        self._anchor = (ts, self._steady())
