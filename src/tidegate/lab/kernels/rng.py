"""Counter-based randomness: a number is a function of its key and its place, of nothing before it.

A key comes from (root, path, stream); the n-th word of a key is the n-th output of SplitMix64
started there. So a path draws the same numbers in any chunk, thread, process or machine, and a draw
from one stream moves no other.

Source
------
Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators: increment and finaliser
(variant 13 of Stafford's). Box and Muller (1958) for normals.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from math import cos, log, pi, sin, sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.units import kernel


F64: TypeAlias = NDArray[np.float64]

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, odd
FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
SECOND: Final = np.uint64(0x94D049BB133111EB)
S30, S27, S31, S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
ONE: Final = np.uint64(1)
TO_UNIT: Final = 2.0**-53
TURN: Final = 2.0 * pi


@kernel
def mixed(word: np.uint64) -> np.uint64:
    """Return the finaliser of SplitMix64: every bit of ``word`` moves every bit of the result."""
    word = (word ^ (word >> S30)) * FIRST
    word = (word ^ (word >> S27)) * SECOND
    return word ^ (word >> S31)


@kernel
def key_of(root: int, path: int, stream: int) -> np.uint64:
    """Return the key of one stream of one path: three rounds of mixing, one a number."""
    key = mixed(np.uint64(root) + GOLDEN)
    key = mixed((key ^ np.uint64(path)) + GOLDEN)
    return mixed((key ^ np.uint64(stream)) + GOLDEN)


@kernel
def word_at(key: np.uint64, place: int) -> np.uint64:
    """Return the 64 random bits at ``place`` >= 0 of a key."""
    return mixed(np.uint64(key) + (np.uint64(place) + ONE) * GOLDEN)


@kernel
def unit_at(key: np.uint64, place: int) -> float:
    """Return a number within (0, 1], a multiple of 2**-53: its logarithm exists."""
    return float((word_at(key, place) >> S11) + ONE) * TO_UNIT


@kernel
def fill_normals(key: np.uint64, first: int, out: F64) -> None:
    """Write standard normals number ``2 * first`` and following of a key; an even number of them.

    Pair ``n`` comes from the two words at ``2 n``: radius sqrt(-2 log u), angle 2 pi v. The largest
    possible one is 8.6.
    """
    for n in range(out.size // 2):
        place = 2 * (first + n)
        radius = sqrt(-2.0 * log(unit_at(key, place)))
        angle = TURN * unit_at(key, place + 1)
        out[2 * n] = radius * cos(angle)
        out[2 * n + 1] = radius * sin(angle)
