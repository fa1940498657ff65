"""A growing set of whole numbers that come in runs: which order ids a venue has seen."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Self

import numpy as np
from numpy.typing import NDArray


class Ranges:
    """Half-open ranges, disjoint and sorted; adding at the end costs nothing."""

    def __init__(self) -> None:
        self._start: list[int] = []
        self._end: list[int] = []

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Self:
        """Return the set that `pairs` described."""
        ranges = cls()
        for start, end in pairs:
            ranges._start.append(start)
            ranges._end.append(end)
        return ranges

    def pairs(self) -> list[tuple[int, int]]:
        """Return the ranges in order."""
        return list(zip(self._start, self._end, strict=True))

    def add(self, start: int, end: int) -> NDArray[np.bool_]:
        """Add ``start..end`` and return for each of them whether it was there before."""
        before = np.zeros(max(0, end - start), np.bool_)
        if end <= start:
            return before
        # Ranges that overlap or touch: they become one with the new one.
        low, high = bisect_left(self._end, start), bisect_right(self._start, end)
        for n in range(low, high):
            before[max(0, self._start[n] - start) : max(0, self._end[n] - start)] = True
        if low < high:
            start, end = min(start, self._start[low]), max(end, self._end[high - 1])
        self._start[low:high], self._end[low:high] = [start], [end]
        return before
