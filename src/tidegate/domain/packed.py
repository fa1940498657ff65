"""A packed book: the same accounts as a `Book`, laid out for reading all of them at once.

Accounts are sorted by how many plain positions they hold, so that a loop over one group needs no
row lengths; within a group the positions are columns (sliced ELLPACK, a group being a slice).
Read-only: built when a book is loaded, and again when enough of it has changed.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.units import I32, I64


FIRST, COUNT, HELD, CELL, FLAT = 0, 1, 2, 3, 4  # columns of `Packed.group`

LOTS_NARROW: Final = 2**29  # up to here lots fit int32, and a float64 rounds their dues exactly


class Packed(NamedTuple):
    """Users in packed order; a *member* is a row of that order, a *slot* an instrument's side.

    Slot ``2 i`` is being long in instrument ``i`` and ``2 i + 1`` being short. A position is plain
    when it is linear, without size premium and alone in its owner's group; the others are odd, and
    are judged one by one by the engine's own rules.
    """

    account: I32  # [members] row of the book
    net: I64  # [members] Money: cash less what was paid for plain positions
    owed: I64  # [members] Money: what an owed cash balance asks for
    group: I64  # [groups, 5] first member, members, positions of each, first cell, 1 if flat
    lots: NDArray[Any]  # [cells] signed; int32 where all are within LOTS_NARROW, else int64
    slot: NDArray[Any]  # [cells] uint8 up to 128 instruments with narrow lots, else uint16
    tier: NDArray[np.uint8]  # [cells] the tier in which each was packed, from 0 in each instrument
    largest: I64  # [slots] the most lots that any member of a flat group holds
    least: I64  # [slots, tiers] fewest and most lots of any cell packed in that tier;
    most: I64  # where there is none, `least` is above `most`
    held: I64  # [instruments] plain positions in each
    odd_start: I64  # [members + 1] where each member's odd positions begin; empty without any
    odd_instrument: I64  # [odd]
    odd_lots: I64  # [odd]
    odd_cost: I64  # [odd]
    odd_group: I64  # [odd] lots of the owner's accounts together, on this side
    premium: I64  # [instruments] the size premiums by which plain and odd were told apart
    cash_debt: I64  # [1] the rate by which ``owed`` was computed

    @property
    def members(self) -> int:
        """How many accounts are in it."""
        return int(self.account.size)
