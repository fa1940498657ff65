"""Processor time of a piece of work: what a wall clock cannot tell on a shared machine."""

import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the seconds that all threads of this process spend on ``work``, run once."""
    begun = time.process_time()
    work()
    return time.process_time() - begun
