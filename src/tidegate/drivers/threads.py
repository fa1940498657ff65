"""A few threads that share out ranges of rows to kernels, which let go of the interpreter.

Plain threads instead of a kernel's own: a process that has used a parallel kernel may not fork any
more, and every such kernel costs a second to compile. How many there are is no part of an answer.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self, TypeVar

import numba


T = TypeVar("T")

RANGES_EACH = 4  # ranges per thread: who is done early takes another


def cores() -> int:
    """Return how many cores this process may use: all, or its share as a worker among others."""
    return int(numba.get_num_threads())


@dataclass(slots=True)
class Threads:
    """A pool to be used as a context; calling it is `engine.packed.Share`."""

    n: int = field(default_factory=cores)
    grain: int = 8_192  # rows below which a range is not worth handing over
    _pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Start the threads."""
        if self.n > 1:
            self._pool = ThreadPoolExecutor(self.n, thread_name_prefix="tidegate")
        return self

    def __exit__(self, *_: object) -> None:
        """Let them end."""
        if self._pool:
            self._pool.shutdown()
            self._pool = None

    def __call__(self, work: Callable[[int, int], T], total: int) -> list[T]:
        """Return what ``work(first, last)`` answers for ranges that cover ``total``, in order."""
        ranges = min(self.n * RANGES_EACH, total // self.grain)
        if self._pool is None or ranges < 2:
            return [work(0, total)]
        ends = [total * k // ranges for k in range(ranges + 1)]
        return list(self._pool.map(work, ends[:-1], ends[1:]))
