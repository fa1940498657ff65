"""Regimes that switch by a Markov chain: calm and storm, with their own correlation and depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Self

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import I64
from tidegate.lab.weather import F64, Weather
from tidegate.lab.worlds.factor import ONE_FACTOR, Factor
from tidegate.lab.worlds.ground import (
    HOUR_OF_MINUTES,
    VOLATILITY_MAX,
    YEAR,
    Clock,
    normals,
    uniforms,
    weather_of,
    within,
)


@dataclass(frozen=True, slots=True)
class Regime:
    """How a market behaves while a regime lasts."""

    vol: float
    drift: float = 0.0
    factor: Factor = ONE_FACTOR
    depth: float = 1.0  # share of the usual book that makers show

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        within("regime.vol", self.vol, 0.0, VOLATILITY_MAX)
        within("regime.drift", self.drift, -100.0, 100.0)
        within("regime.depth", self.depth, 0.0, 100.0)


@dataclass(frozen=True, slots=True)
class Regimes:
    """A Brownian world whose parameters follow a Markov chain, one move a step.

    ``chances[i][j]`` is the chance of j after i. ``start`` is the regime of the first step; -1
    draws it from the chain's long run.
    """

    regimes: tuple[Regime, ...]
    chances: tuple[tuple[float, ...], ...]
    clock: Clock = HOUR_OF_MINUTES
    start: int = -1
    name: str = "regimes"

    def __post_init__(self) -> None:
        """Refuse what is no chain."""
        n = len(self.regimes)
        if n == 0 or len(self.chances) != n or any(len(row) != n for row in self.chances):
            raise ConfigInvalid(
                where="regimes.chances",
                what="must have one row and one column a regime",
                found=f"{n} regimes, rows of {[len(row) for row in self.chances]}",
            )
        for i, row in enumerate(self.chances):
            for j, chance in enumerate(row):
                within(f"regimes.chances[{i}][{j}]", chance, 0.0, 1.0)
            if abs(sum(row) - 1.0) > 1e-9:
                raise ConfigInvalid(
                    where=f"regimes.chances[{i}]", what="must sum to 1", found=f"{sum(row):g}"
                )
        within("regimes.start", self.start, -1, n - 1)

    @classmethod
    def calm_and_storm(
        cls, clock: Clock, calm: Regime, storm: Regime, *, calm_ns: int, storm_ns: int
    ) -> Self:
        """Return two regimes that last ``calm_ns`` and ``storm_ns`` on average."""
        within("regimes.lasting", calm_ns, 1, 1_000 * YEAR)
        within("regimes.storm_lasting", storm_ns, 1, 1_000 * YEAR)
        leave, end = (1 - exp(-clock.step_ns / ns) for ns in (calm_ns, storm_ns))
        return cls((calm, storm), ((1 - leave, leave), (end, 1 - end)), clock)

    def long_run(self) -> F64:
        """Return the share of time in each regime: the chain's stationary distribution."""
        n = len(self.regimes)
        chances = np.array(self.chances)
        system = np.vstack([chances.T - np.eye(n), np.ones(n)])
        found = np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]
        return np.clip(found, 0.0, 1.0) / np.clip(found, 0.0, 1.0).sum()

    def states(self, root: int, paths: Sequence[int]) -> I64:
        """Return the regime of each step, [paths, steps], from the stream "world.regime"."""
        luck = uniforms(root, paths, "world.regime", self.clock.steps)
        upto = np.cumsum(np.array(self.chances), axis=1)[:, :-1]
        states = np.empty(luck.shape, np.int64)
        if self.start < 0:
            first = np.cumsum(self.long_run())[:-1]
            states[:, 0] = (luck[:, :1] >= first).sum(axis=1)
        else:
            states[:, 0] = self.start
        for step in range(1, self.clock.steps):
            states[:, step] = (luck[:, step, None] >= upto[states[:, step - 1]]).sum(axis=1)
        return states

    def describe(self) -> str:
        """Return one sentence for people."""
        shares = ", ".join(
            f"volatility {r.vol:.0%} for {share:.0%} of the time ({r.factor}, depth {r.depth:.0%})"
            for r, share in zip(self.regimes, self.long_run().tolist(), strict=True)
        )
        return f"regimes that switch at random: {shares}; {self.clock}"

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths; all instruments are in one regime at a time."""
        clock, states = self.clock, self.states(root, paths)
        loading = np.stack([r.factor.of(symbols) for r in self.regimes])[states]
        vol = np.array([r.vol for r in self.regimes])[states][:, :, None]
        drift = np.array([r.drift for r in self.regimes])[states][:, :, None]
        common = normals(root, paths, "world.common", clock.steps, 1)
        own = normals(root, paths, "world.own", len(symbols), clock.steps).transpose(0, 2, 1)
        shock = loading * common + np.sqrt(1.0 - loading**2) * own
        dt = clock.step_years
        moved = (drift - vol**2 / 2) * dt + vol * np.sqrt(dt) * shock
        depth = np.ones((len(paths), clock.steps + 1, len(symbols)))
        depth[:, 1:] = np.array([r.depth for r in self.regimes])[states][:, :, None]
        return weather_of(self.name, moved, clock.step_ns, depth)
