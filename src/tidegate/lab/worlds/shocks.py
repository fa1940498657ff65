"""Scripted shocks: a fall in one block, a depeg, a gap at the open, a slow bleed, a V."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.weather import F64, Weather, checked
from tidegate.lab.worlds.factor import ONE_FACTOR, Factor
from tidegate.lab.worlds.ground import (
    VOLATILITY_MAX,
    BySymbol,
    Clock,
    by_symbol,
    one_of,
    within,
)


FALL_MAX: Final = 0.999_999  # a price keeps a millionth: a world has no price of nothing


@dataclass(frozen=True, slots=True)
class Shock:
    """Prices run along ``line``, straight in logarithms between its moments, to ``fall`` and on.

    ``line`` holds (step, share of the fall) from step 0; after its last moment prices stay. A rise
    is a negative fall. ``noise`` is the volatility a year of a Brownian bridge around the line,
    which ends where the line ends: a root changes the road and not the destination. ``depth`` is
    the share of the book that makers show at the worst, in proportion between.
    """

    name: str
    about: str
    clock: Clock
    line: tuple[tuple[float, float], ...]
    fall: float
    only: tuple[str, ...] = ()  # whom it strikes; empty: everything
    falls: BySymbol = ()
    depth: float = 1.0
    noise: float = 0.0
    factor: Factor = ONE_FACTOR

    def __post_init__(self) -> None:
        """Refuse a story that cannot be told."""
        where = self.name
        within(f"{where}.fall", self.fall, -100.0, FALL_MAX)
        within(f"{where}.depth", self.depth, 0.0, 100.0)
        within(f"{where}.noise", self.noise, 0.0, VOLATILITY_MAX)
        for symbol, fall in self.falls:
            within(f"{where}.fall.{symbol}", fall, -100.0, FALL_MAX)
        steps = [step for step, _ in self.line]
        if not steps or steps[0] != 0.0 or sorted(set(steps)) != steps:
            raise ConfigInvalid(
                where=f"{where}.line",
                what="moments must begin at step 0 and rise",
                found=", ".join(f"{step:g}" for step in steps) or "none",
            )

    def describe(self) -> str:
        """Return one sentence for people."""
        whom = " and ".join(self.only) if self.only else "everything"
        book = f", {self.depth:.0%} of the book left at the worst" if self.depth != 1.0 else ""
        noise = f", noise of {self.noise:.0%} a year" if self.noise else ""
        return f"{self.about}: {whom} {-self.fall:+.1%}{book}{noise}; {self.clock}"

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths; without noise they are all the same."""
        for symbol in self.only:
            one_of(f"{self.name}.only", symbol, symbols)
        fall = by_symbol(f"{self.name}.fall", symbols, self.fall, self.falls)
        struck = np.array([not self.only or symbol in self.only for symbol in symbols])
        told = _along(self.clock.steps, self.line)
        size: F64 = np.log1p(-fall) * struck
        path = np.broadcast_to(told[:, None] * size, (len(paths), told.size, len(symbols)))
        if self.noise:
            path = path + self._bridge(root, paths, symbols)
        depth = 1.0 - (1.0 - self.depth) * np.clip(np.abs(told), 0.0, 1.0)[:, None] * struck
        shown = np.broadcast_to(depth, path.shape).copy()
        return checked(Weather(np.exp(path), shown, self.clock.step_ns), self.name)

    def _bridge(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> F64:
        steps = self.clock.steps
        shock = self.factor.normals(root, paths, steps, symbols)
        walk = np.zeros((len(paths), steps + 1, len(symbols)))
        np.cumsum(shock, axis=1, out=walk[:, 1:])
        walk -= np.linspace(0.0, 1.0, steps + 1)[:, None] * walk[:, -1:]
        return walk * self.noise * np.sqrt(self.clock.step_years)


def _along(steps: int, line: tuple[tuple[float, float], ...]) -> F64:
    at = np.array([step for step, _ in line])
    share = np.array([fallen for _, fallen in line])
    return np.interp(np.arange(steps + 1, dtype=np.float64), at, share).astype(np.float64)


def cliff(clock: Clock, *, fall: float = 0.9, depth: float = 0.0) -> Shock:
    """Return a fall within one step, whatever a step is: one block, with nobody left in the book.

    It stays down, and ``depth`` stays as thin as it became.
    """
    about = "a fall inside one block"
    return Shock("cliff", about, clock, ((0, 0.0), (1, 1.0)), fall, depth=depth)


def gap(clock: Clock, *, fall: float = 0.3, depth: float = 0.5, back: float = 0.0) -> Shock:
    """Return a gap at the open: the first price is already down; ``back`` of it returns later."""
    line = ((0, 0.0), (1, 1.0)) + (((max(2, clock.steps), 1.0 - back),) if back else ())
    return Shock("gap", "a gap at the open", clock, line, fall, depth=depth)


def bleed(clock: Clock, *, fall: float = 0.5, depth: float = 1.0) -> Shock:
    """Return a steady decline over the whole horizon: nothing is ever sudden."""
    line = ((0, 0.0), (clock.steps, 1.0))
    return Shock("bleed", "a slow bleed", clock, line, fall, depth=depth)


def vee(
    clock: Clock,
    *,
    fall: float = 0.4,
    depth: float = 0.3,
    bottom: float = 0.25,
    leaves: float = 0.35,
    top: float = 0.75,
    back: float = 1.0,
) -> Shock:
    """Return a fall to ``bottom`` of the horizon and ``back`` of it recovered by ``top``."""
    line = _moments("v", clock, ((bottom, 1.0), (leaves, 1.0), (top, 1.0 - back)))
    return Shock("v", "down and back again", clock, line, fall, depth=depth)


def depeg(
    clock: Clock,
    *,
    fall: float = 0.13,
    depth: float = 0.2,
    bottom: float = 0.3,
    leaves: float = 0.6,
    back: float = 0.97,
) -> Shock:
    """Return a coin that loses its peg, stays below it, and regains most of it by the end.

    Say whom it strikes with ``only``; else everything falls alike, which is another story. Sizes
    are those of USDC in March 2023: 0.87 at the worst, most of it back two days later.
    """
    line = _moments("depeg", clock, ((bottom, 1.0), (leaves, 1.0), (1.0, 1.0 - back)))
    return Shock("depeg", "a lost peg", clock, line, fall, depth=depth)


def _moments(
    where: str, clock: Clock, moments: tuple[tuple[float, float], ...]
) -> tuple[tuple[float, float], ...]:
    """Return moments in steps, of shares of the horizon; those of one step are one moment."""
    line = {0.0: 0.0}
    for share, fallen in moments:
        within(f"{where}.moment", share, 0.0, 1.0)
        within(f"{where}.back", fallen, -10.0, 10.0)
        line[float(max(1, round(share * clock.steps)))] = fallen
    return tuple(sorted(line.items()))
