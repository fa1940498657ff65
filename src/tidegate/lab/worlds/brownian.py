"""The plainest world: geometric Brownian motion, correlated through one factor."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.lab.weather import Weather
from tidegate.lab.worlds.factor import ONE_FACTOR, Factor
from tidegate.lab.worlds.ground import (
    HOUR_OF_MINUTES,
    VOLATILITY_MAX,
    BySymbol,
    Clock,
    by_symbol,
    weather_of,
    within,
)


@dataclass(frozen=True, slots=True)
class Brownian:
    """dS / S = drift dt + vol dW; both a year. E[S_T] = exp(drift T)."""

    clock: Clock = HOUR_OF_MINUTES
    vol: float = 0.8
    drift: float = 0.0
    vols: BySymbol = ()
    factor: Factor = ONE_FACTOR
    name: str = "gbm"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        within("gbm.vol", self.vol, 0.0, VOLATILITY_MAX)
        within("gbm.drift", self.drift, -100.0, 100.0)
        for symbol, vol in self.vols:
            within(f"gbm.vol.{symbol}", vol, 0.0, VOLATILITY_MAX)

    def describe(self) -> str:
        """Return one sentence for people."""
        own = f" ({len(self.vols)} of their own)" if self.vols else ""
        return (
            f"geometric Brownian motion, volatility {self.vol:.0%} a year{own}, "
            f"drift {self.drift:+.0%}, {self.factor}; {self.clock}"
        )

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths."""
        clock = self.clock
        vol = by_symbol("gbm.vol", symbols, self.vol, self.vols)
        shock = self.factor.normals(root, paths, clock.steps, symbols)
        dt = clock.step_years
        shock *= vol * np.sqrt(dt)
        shock += (self.drift - vol**2 / 2) * dt
        return weather_of(self.name, shock, clock.step_ns)
