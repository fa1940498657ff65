"""Worlds made of worlds: scaled, with stressed correlations, in finer steps, under another name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.weather import Weather, World, checked
from tidegate.lab.worlds.factor import Factor
from tidegate.lab.worlds.ground import normals, within
from tidegate.lab.worlds.liquidity import WithDepth
from tidegate.lab.worlds.matching import Onto
from tidegate.lab.worlds.regimes import Regimes


@dataclass(frozen=True, slots=True)
class Scaled:
    """Moves ``size`` times as large in logarithms, in a time ``speed`` times as short."""

    world: World
    size: float = 1.0
    speed: float = 1.0

    def __post_init__(self) -> None:
        """Refuse scales that mean nothing."""
        within("scaled.size", self.size, -100.0, 100.0)
        within("scaled.speed", self.speed, 1e-6, 1e6)

    @property
    def name(self) -> str:
        """Return the world's own name."""
        return self.world.name

    def describe(self) -> str:
        """Return the world's own sentence, and the scale."""
        return f"{self.world.describe()}; {self.size:g} times the size, {self.speed:g} the speed"

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths."""
        price, depth, step_ns = self.world.weather(root, paths, symbols)
        with np.errstate(over="ignore"):  # an infinite price is refused by name just below
            moved = price**self.size
        return checked(Weather(moved, depth, max(1, round(step_ns / self.speed))), self.name)


@dataclass(frozen=True, slots=True)
class Finer:
    """Each step in ``parts``: a Brownian bridge between the world's own prices.

    The bridge of a step has the variance of that step's own move, shared evenly: where a world
    stands at its own steps is unchanged, and between them it is as restless as it moves. All
    instruments bridge by streams of their own, so inside a step their correlation is that of their
    drifts alone.
    """

    world: World
    parts: int = 4

    def __post_init__(self) -> None:
        """Refuse to cut into nothing."""
        within("finer.parts", self.parts, 1, 10_000)

    @property
    def name(self) -> str:
        """Return the world's own name."""
        return self.world.name

    def describe(self) -> str:
        """Return the world's own sentence, and the cut."""
        return f"{self.world.describe()}; each step in {self.parts}"

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths; the bridges come from the stream "world.bridge"."""
        bare, parts = self.world.weather(root, paths, symbols), self.parts
        path = np.log(bare.price)
        moves = np.diff(path, axis=1)
        count, steps, n = moves.shape
        walk = np.zeros((count, steps, parts + 1, n))
        walk[:, :, 1:] = normals(root, paths, "world.bridge", steps, parts, n)
        np.cumsum(walk, axis=2, out=walk)
        part = np.linspace(0.0, 1.0, parts + 1)[:, None]
        walk -= part * walk[:, :, -1:]
        walk *= np.abs(moves)[:, :, None] / np.sqrt(parts)
        walk += path[:, :-1, None] + part * moves[:, :, None]
        price = np.empty((count, steps * parts + 1, n))
        price[:, 0] = bare.price[:, 0]
        price[:, 1:] = np.exp(walk[:, :, 1:]).reshape(count, steps * parts, n)
        price[:, ::parts] = bare.price
        # Makers show at the start of a step what the world said at its end, and never before.
        depth = np.empty_like(price)
        depth[:, 0] = bare.depth[:, 0]
        depth[:, 1:] = np.repeat(bare.depth[:, 1:], parts, axis=1)
        return checked(Weather(price, depth, max(1, bare.step_ns // parts)), self.name)


@dataclass(frozen=True, slots=True)
class Named:
    """A world under the very words that made it: what a line that reproduces a path must say."""

    world: World
    name: str

    def describe(self) -> str:
        """Return the world's own sentence."""
        return self.world.describe()

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return the world's own paths."""
        return self.world.weather(root, paths, symbols)


def stressed_correlation(world: World, stress: float) -> World:
    """Return ``world`` with every loading ``stress`` of the way to 1: at 1 all is one bet.

    Raise ConfigInvalid for a world whose correlations are those of history, which has no factor.
    """
    within("stressed.by", stress, 0.0, 1.0)
    if isinstance(world, Onto | WithDepth | Scaled | Finer | Named):
        return replace(world, world=stressed_correlation(world.world, stress))
    if isinstance(world, Regimes):
        regimes = tuple(replace(r, factor=_stressed(r.factor, stress)) for r in world.regimes)
        return replace(world, regimes=regimes)
    factor = getattr(world, "factor", None)
    if not isinstance(factor, Factor):
        raise ConfigInvalid(
            where=f"world {world.name}",
            what="must have a common factor to be stressed",
            found="correlations of history",
            hint="gbm, merton, kou, gjr, regimes have one",
        )
    changed: Any = world
    return replace(changed, factor=_stressed(factor, stress))


def _stressed(factor: Factor, stress: float) -> Factor:
    return replace(factor, stress=factor.stress + stress * (1.0 - factor.stress))
