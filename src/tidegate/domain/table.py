"""A hash column: from a 64-bit key to the slot that holds it, in constant time.

Open addressing with linear probing over int32 slots (stored plus one; zero is empty). Removal
shifts the rest of the run back, so there are no tombstones and the table never degrades. Which slot
a key gets is a function of the history alone, never of memory addresses.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final

import numpy as np

from tidegate.domain.units import I32, I64, kernel


_MIX: Final = np.int64(-7046029254386353131)  # 2**64 / golden ratio, as a signed number


def table_for(slots: int) -> I32:
    """Return an empty table for ``slots`` slots: a power of two, at most half full."""
    size = 8
    while size < 2 * slots:
        size *= 2
    return np.zeros(size, np.int32)


@kernel
def home(size: int, key: int) -> int:
    """Return where ``key`` would like to stand in a table of ``size`` places."""
    mixed = np.int64(key) * _MIX
    return ((mixed >> 32) ^ mixed) & (size - 1)


@kernel
def table_find(table: I32, keys: I64, key: int) -> int:
    """Return the slot whose ``keys`` entry is ``key``, or -1. At most one run of full places."""
    place = home(table.size, key)
    while table[place]:
        slot = table[place] - 1
        if keys[slot] == key:
            return slot
        place = (place + 1) & (table.size - 1)
    return -1


@kernel
def table_insert(table: I32, key: int, slot: int) -> None:
    """Remember that ``key`` lives in ``slot``; the key must not be there yet."""
    place = home(table.size, key)
    while table[place]:
        place = (place + 1) & (table.size - 1)
    table[place] = slot + 1


@kernel
def table_remove(table: I32, keys: I64, key: int) -> None:
    """Forget ``key``, which must be there, and close the gap it leaves."""
    mask = table.size - 1
    hole = home(table.size, key)
    while keys[table[hole] - 1] != key:
        hole = (hole + 1) & mask
    place = hole
    while True:
        place = (place + 1) & mask
        if not table[place]:
            break
        wish = home(table.size, keys[table[place] - 1])
        # Move it only when its home does not lie strictly between the hole and where it stands.
        if ((place - wish) & mask) >= ((place - hole) & mask):
            table[hole] = table[place]
            hole = place
    table[hole] = 0
