"""What a world says of one path: prices and how much of the book makers show, step by step.

Everything is relative to the opening, so that one world falls on any book. The venue's own forced
trades come on top, in the engine or in a path kernel: weather is what happens without them.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.errors import ConfigInvalid


F64: TypeAlias = NDArray[np.float64]


class Weather(NamedTuple):
    """Many paths of one world; row 0 of the steps is the opening itself."""

    price: F64  # [paths, steps + 1, instruments] > 0, share of the opening price
    depth: F64  # [paths, steps + 1, instruments] >= 0, share of the venue's usual depth
    step_ns: int

    @property
    def steps(self) -> int:
        """Return how many steps follow the opening."""
        return self.price.shape[1] - 1

    def path(self, n: int) -> "Weather":
        """Return path ``n`` of this batch alone."""
        return Weather(self.price[n : n + 1], self.depth[n : n + 1], self.step_ns)


class World(Protocol):
    """A law of weather. Path k depends on (root, k) alone, however paths are drawn in batches."""

    @property
    def name(self) -> str:
        """One word for tables and for the line that reproduces a path."""
        ...

    def describe(self) -> str:
        """Return one sentence for people: the law and its numbers."""
        ...

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths for these instruments; all randomness from `Streams(root, path)`."""
        ...


def checked(weather: Weather, where: str) -> Weather:
    """Return ``weather``; raise ConfigInvalid where it is no weather at all."""
    price, depth = weather.price, weather.depth
    if price.shape != depth.shape or price.ndim != 3:
        found = f"price {price.shape}, depth {depth.shape}"
        raise ConfigInvalid(
            where=where, what="must be [paths, steps + 1, instruments], twice", found=found
        )
    for name, bad in (
        ("price: finite and > 0", ~(np.isfinite(price) & (price > 0.0))),
        ("depth: finite and >= 0", ~(np.isfinite(depth) & (depth >= 0.0))),
    ):
        if bad.any():
            path, step, instrument = (int(n[0]) for n in np.nonzero(bad))
            raise ConfigInvalid(
                where=where,
                what=name,
                found=f"path {path}, step {step}, instrument {instrument}",
                hint="the world's parameters are outside what they can mean",
            )
    return weather
