"""What time it is, by the clock of this machine."""

import time

from tidegate.domain.units import Nanos


class WallClock:
    """A `ports.Clock`: UTC in nanoseconds."""

    def now(self) -> Nanos:
        """Return the time; see `ports.Clock.now`."""
        return Nanos(time.time_ns())
