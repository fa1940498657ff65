"""Books that thin out: depth that makers withdraw as volatility rises, until nothing is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidegate.lab.weather import F64, Weather, World, checked
from tidegate.lab.worlds.ground import MINUTE, VOLATILITY_MAX, YEAR, spoken, within


NEVER: Final = 1e9


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """How much of the usual book stands at a volatility.

    share = (volatility / usual) ^ -power, at most 1 and at least ``least``; from ``gone`` times the
    usual volatility on there is no book at all. Volatility is that of an average of squared returns
    whose weights halve every ``half_life_ns``: makers leave with the move and come back as it is
    forgotten. ``power`` 1 is the depth of Cont and Schaanning (2017), D = c ADV / sigma sqrt(tau),
    at an unchanged volume.
    """

    usual: float = 0.8  # volatility a year at which the book is whole
    power: float = 1.0
    half_life_ns: int = 5 * MINUTE
    least: float = 0.0
    gone: float = NEVER

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        within("withdraw.usual", self.usual, 0.0, VOLATILITY_MAX, open_=True)
        within("withdraw.power", self.power, 0.0, 20.0)
        within("withdraw.half_life", self.half_life_ns, 1, YEAR)
        within("withdraw.least", self.least, 0.0, 1.0)
        within("withdraw.gone", self.gone, 1.0, NEVER)

    def share(self, price: F64, step_ns: int) -> F64:
        """Return the share of the book at each row of ``price`` [paths, steps + 1, n].

        What is seen at a step is the move up to and with it, never one ahead. The average begins at
        the usual volatility.
        """
        keep = 2.0 ** (-step_ns / self.half_life_ns)
        a_step = step_ns / YEAR
        squares = np.diff(np.log(price), axis=1) ** 2 / a_step
        variance = np.full(price[:, 0].shape, self.usual**2)
        share = np.ones_like(price)
        for step in range(squares.shape[1]):
            variance = keep * variance + (1.0 - keep) * squares[:, step]
            times = np.maximum(np.sqrt(variance) / self.usual, 1.0)
            left = np.maximum(times**-self.power, self.least)
            share[:, step + 1] = np.where(times >= self.gone, 0.0, left)
        return share

    def __str__(self) -> str:
        """Return it in words."""
        gone = f", gone from {self.gone:g} times on" if self.gone < NEVER else ""
        return (
            f"depth falls as volatility over {self.usual:.0%} to the power {self.power:g} "
            f"(half-life {spoken(self.half_life_ns)}), not below {self.least:.0%}{gone}"
        )


@dataclass(frozen=True, slots=True)
class WithDepth:
    """A world whose book is ``share`` of what it was, and withdraws besides."""

    world: World
    share: float = 1.0
    withdrawal: Withdrawal | None = None

    def __post_init__(self) -> None:
        """Refuse a book of less than nothing."""
        within("depth.share", self.share, 0.0, 100.0)

    @property
    def name(self) -> str:
        """Return the world's own name."""
        return self.world.name

    def describe(self) -> str:
        """Return the world's own sentence, and what becomes of its book."""
        whole = f"; {self.share:.0%} of the usual depth" if self.share != 1.0 else ""
        return f"{self.world.describe()}{whole}" + (
            f"; {self.withdrawal}" if self.withdrawal else ""
        )

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths."""
        bare = self.world.weather(root, paths, symbols)
        depth = bare.depth * self.share
        if self.withdrawal is not None:
            depth *= self.withdrawal.share(bare.price, bare.step_ns)
        return checked(bare._replace(depth=depth), self.name)


def with_depth(world: World, how: float | Withdrawal) -> WithDepth:
    """Return ``world`` with a share of its depth, or with a book that withdraws."""
    if isinstance(how, Withdrawal):
        return WithDepth(world, withdrawal=how)
    return WithDepth(world, how)
