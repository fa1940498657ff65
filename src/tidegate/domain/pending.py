"""Changes of parameters that are announced, on their way, or in their grace period."""

from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.facts import GOVERNED
from tidegate.domain.units import I64


SLOTS: Final = 64  # changes of a venue that may be under way at once
FREE: Final = 0  # of `column`: nothing is pending in this slot


class Pending(NamedTuple):
    """One slot a change; [SLOTS] cells each, all zero where the slot is free."""

    column: I64  # 1 + index into `GOVERNED`; FREE: none
    row: I64
    start: I64  # the value before
    target: I64
    at: I64  # Nanos, when it begins to take effect

    @classmethod
    def empty(cls) -> Self:
        """Return slots of which none is in use."""
        return cls(*(np.zeros(SLOTS, np.int64) for _ in cls._fields))

    @property
    def live(self) -> list[int]:
        """Slots in use, in order."""
        return [int(k) for k in np.flatnonzero(self.column != FREE)]

    def slot_of(self, column: str, row: int) -> int:
        """Return the slot of the pending change of one cell, or -1."""
        here = (self.column == GOVERNED.index(column) + 1) & (self.row == row)
        return int(np.argmax(here)) if here.any() else -1

    def free_slot(self) -> int:
        """Return the first free slot, or -1."""
        free = self.column == FREE
        return int(np.argmax(free)) if free.any() else -1
