"""Randomness with names. The only file that may construct a generator."""

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Streams:
    """Independent random streams of one path, addressed by name.

    A stream depends on (root, path, name) and on nothing else. Adding an agent, or drawing more
    from one stream, leaves every other stream as it was: two stacks can be compared on the very
    same weather (common random numbers).
    """

    root: int
    path: int

    def __getitem__(self, name: str) -> np.random.Generator:
        """Return a fresh generator for ``name``: asked twice, it begins again."""
        seed = np.random.SeedSequence([self.root, self.path, zlib.crc32(name.encode())])
        return np.random.Generator(np.random.Philox(seed))
