"""What time it is for the engine: a wall clock that is not believed when it jumps; and its ticks.

The wall clock is followed as long as it agrees with the monotonic clock. When the two part by more
than the tolerance, somebody has set it, or the machine was suspended: ages of prices and waiting
times would be wrong by as much. Then time goes on by the monotonic clock, people are told, and the
wall clock counts again when an operator confirms it or when it agrees again. Time never goes back.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from tidegate.domain.units import Nanos
from tidegate.ports import Alerts


JUMPED: Final = "clock_jumped"
TOLERANCE_NS: Final = 1_000_000_000
ANCHOR_NS: Final = 60_000_000_000  # the tolerance is for so long: a slewed clock stays far below


class GuardedClock:
    """A clock for the whole service; any thread may ask.

    Parameters
    ----------
    tolerance_ns
        How far the wall clock may part from the monotonic one within a minute.
    wall, steady
        Nanoseconds since the epoch, and since any moment.
    """

    def __init__(
        self,
        alerts: Alerts,
        *,
        tolerance_ns: int = TOLERANCE_NS,
        wall: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        assert tolerance_ns > 0
        self._alerts, self._tolerance = alerts, tolerance_ns
        self._wall, self._steady = wall, steady
        self._lock = threading.Lock()
        self._anchor = (wall(), steady())
        self._last = self._anchor[0]
        self._jump = 0

    @property
    def jump(self) -> int:
        """By how much the wall clock is not believed, in nanoseconds; 0: it is."""
        return self._jump

    def now(self) -> Nanos:
        """Return UTC time in nanoseconds; never less than the time before."""
        told = ""
        with self._lock:
            wall, steady = self._wall(), self._steady()
            due = self._anchor[0] + steady - self._anchor[1]
            parted = wall - due
            if abs(parted) <= self._tolerance:
                self._jump = 0  # also where it has come back by itself
                if steady - self._anchor[1] >= ANCHOR_NS:
                    self._anchor = (wall, steady)
                found = wall
            else:
                if not self._jump:
                    told = f"the wall clock jumped by {parted / 1e9:+.3f} s; it is not followed"
                self._jump, found = parted, due
            self._last = max(self._last, found)
            last = self._last
        if told:
            self._alerts.raised(JUMPED, told)
        return Nanos(last)

    def confirm(self) -> int:
        """Believe the wall clock again, as an operator asks; return the jump that is taken over.

        Where it was set back, time stands still until it has caught up.
        """
        with self._lock:
            self._anchor = (self._wall(), self._steady())
            jump, self._jump = self._jump, 0
            return jump
