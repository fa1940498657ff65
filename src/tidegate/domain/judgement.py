"""What is remembered of the last judgement: when it was, and at which prices."""

from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.units import I64


AT: Final = 0  # the only cell of `Judgement.at`


class Judgement(NamedTuple):
    """One cell per instrument but for the last; all zero: nothing ever waited for a judgement."""

    mark: I64  # Ticks, when everybody was last judged; 0: there was no price
    low: I64
    high: I64
    owed: I64  # 1 where the mark moved since
    at: I64  # [1]

    @classmethod
    def empty(cls, instruments: int) -> Self:
        """Return the memory before any judgement."""
        sizes = {"at": 1}
        return cls(*(np.zeros(sizes.get(n, instruments), np.int64) for n in cls._fields))

    def stirred(self) -> bool:
        """Return whether anything here was ever written: an untouched one decides nothing."""
        return any(bool(column.any()) for column in self)
