"""Real returns in another order: blocks of history, joined at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidegate.domain.units import I64
from tidegate.lab.weather import Weather
from tidegate.lab.worlds.ground import Clock, one_of, uniforms, weather_of, within
from tidegate.lab.worlds.history import History
from tidegate.lab.worlds.matching import Matching


KINDS: Final = ("stationary", "circular")


@dataclass(frozen=True, eq=False, slots=True)
class Bootstrap:
    """Blocks of whole rows: what happened together stays together, across instruments too.

    "stationary" draws geometric lengths of mean ``length``, "circular" fixed ones; both wrap around
    the end. Source: Politis and Romano (1994) and (1992).
    """

    history: History
    steps: int = 60
    length: float = 24.0  # rows
    kind: str = "stationary"
    by: str = "name"
    name: str = "bootstrap"

    def __post_init__(self) -> None:
        """Refuse blocks that are none."""
        one_of("bootstrap.kind", self.kind, KINDS)
        within("bootstrap.length", self.length, 1.0, float(self.history.returns.shape[0]))
        Clock(self.steps, self.history.interval_ns)
        Matching(self.history.symbols, self.by)

    @property
    def clock(self) -> Clock:
        """Return the history's own clock."""
        return Clock(self.steps, self.history.interval_ns)

    def describe(self) -> str:
        """Return one sentence for people."""
        return (
            f"{self.kind} block bootstrap, blocks of {self.length:.4g} rows, of {self.history}; "
            f"{self.clock}"
        )

    def rows(self, root: int, paths: Sequence[int]) -> I64:
        """Return which row of history each step takes, [paths, steps]; stream "world.blocks"."""
        held, steps = self.history.returns.shape[0], self.steps
        step = np.arange(steps)
        if self.kind == "circular":
            begins = np.broadcast_to(step % round(self.length) == 0, (len(paths), steps))
        else:
            luck = uniforms(root, paths, "world.blocks", steps)
            begins = (luck < 1.0 / self.length) | (step == 0)
        start = uniforms(root, paths, "world.starts", steps)
        last = np.maximum.accumulate(np.where(begins, step, 0), axis=1)
        drawn = np.minimum(
            (np.take_along_axis(start, last, axis=1) * held).astype(np.int64), held - 1
        )
        return (drawn + step - last) % held

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths."""
        columns = Matching(self.history.symbols, self.by).columns(symbols)
        returns = self.history.returns[:, columns][self.rows(root, paths)]
        return weather_of(self.name, returns, self.history.interval_ns)
