"""Whether a number can be a time in nanoseconds, and in which unit it may have been meant."""

from typing import Final

import numpy as np

from tidegate.domain.units import I64


EARLIEST: Final = 946_684_800_000_000_000  # 2000-01-01 UTC: earlier means another unit
LATEST: Final = 7_258_118_400_000_000_000  # 2200-01-01 UTC
NEEDED: Final = "must be nanoseconds UTC within 2000..2199"
_UNITS: Final = (("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3))


def first_wrong(ts: I64) -> int | None:
    """Return the first row that is no time in nanoseconds within 2000..2199; None: all are."""
    wrong = np.flatnonzero((ts < EARLIEST) | (ts >= LATEST))
    return int(wrong[0]) if wrong.size else None


def remedy(ts: int) -> str | None:
    """Return a hint that names the unit in which ``ts`` would lie within those years."""
    unit = [name for name, scale in _UNITS if EARLIEST <= ts * scale < LATEST]
    return f"these look like {unit[0]}: multiply them" if unit else None
