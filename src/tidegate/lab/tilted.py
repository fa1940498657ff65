"""A world of diffusion and common jumps that can be drawn tilted, with exact likelihood ratios."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND
from tidegate.drivers.streams import Streams
from tidegate.lab.weather import F64, Weather


YEAR_NS = 365 * 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Tilt:
    """From which law paths are drawn instead: the neutral one draws from the world itself."""

    drift: float = 0.0  # added to the common factor's normal of every step, in deviations
    intensity: float = 1.0  # times as many jumps
    jump: float = 0.0  # added to the mean of a jump's log return


class Drawn(NamedTuple):
    """The common randomness of some paths, and how likely it was against how it was drawn."""

    factor: F64  # [paths, steps] the common factor's normals
    jumps: F64  # [paths, steps] number of jumps
    size: F64  # [paths, steps] their summed log returns
    log_weight: F64  # [paths] log of the likelihood ratio, true law over tilted law


@dataclass(frozen=True, slots=True)
class TiltedJumps:
    """Log prices move by a common factor, an own normal, and jumps that take everybody along.

    d log S = (mu - vol^2/2) dt + vol (sqrt(rho) dW + sqrt(1 - rho) dW_i) + J dN, J normal: Merton
    (1976), without compensating the jumps. The tilt shifts dW, the intensity of N and the mean of
    J: an exponential change of measure, whose likelihood ratio is known in closed form path by
    path. What is drawn of one path depends on (root, path) and the tilt alone.
    """

    vol: float  # a year, of each instrument
    steps: int
    step_ns: int
    drift: float = 0.0  # mu, a year
    correlation: float = 1.0  # rho, between any two instruments
    intensity: float = 0.0  # jumps a year
    jump_mean: float = 0.0  # log return
    jump_deviation: float = 0.1
    depth: float = 1.0  # share of the usual depth, always
    tilt: Tilt = field(default_factory=Tilt)

    def __post_init__(self) -> None:
        """Refuse parameters that no law has."""
        fine = self.vol >= 0 and self.steps >= 1 and self.step_ns >= 1 and self.depth >= 0
        fine = fine and 0 <= self.correlation <= 1 and self.intensity >= 0
        if not fine or self.jump_deviation < 0 or self.tilt.intensity <= 0:
            raise ConfigInvalid(
                where="world.tilted",
                what="vol, intensity, depth >= 0, correlation within 0..1, steps and step_ns >= 1",
                found=repr(self),
            )
        if self.tilt.jump and not self.jump_deviation:
            raise ConfigInvalid(
                where="world.tilted.tilt.jump",
                what="needs jumps that vary: a fixed jump cannot be made another by weighing",
                found="jump_deviation 0",
            )

    @property
    def name(self) -> str:
        """Return the law in one word; a tilt is no part of the law."""
        return (
            f"tilted:vol={self.vol:g},steps={self.steps},step={self.step_ns / SECOND:g}s,"
            f"drift={self.drift:g},rho={self.correlation:g},jumps={self.intensity:g},"
            f"mean={self.jump_mean:g},deviation={self.jump_deviation:g},depth={self.depth:g}"
        )

    def describe(self) -> str:
        """See `World.describe`."""
        return (
            f"diffusion at {self.vol:.0%} a year, correlation {self.correlation:g}, and "
            f"{self.intensity:g} common jumps a year of {self.jump_mean:+.0%} "
            f"(deviation {self.jump_deviation:.0%})"
        )

    def under(self, tilt: Tilt) -> "TiltedJumps":
        """Return the same law, drawn under another tilt."""
        return replace(self, tilt=tilt)

    @property
    def per_step(self) -> float:
        """Return how many jumps a step expects under the true law."""
        return self.intensity * self.step_ns / YEAR_NS

    def drawn(self, root: int, paths: Sequence[int]) -> Drawn:
        """Return the common randomness of these paths under the tilt."""
        shape = (len(paths), self.steps)
        factor, jumps, size = np.empty(shape), np.empty(shape), np.empty(shape)
        rate = self.per_step * self.tilt.intensity
        mean = self.jump_mean + self.tilt.jump
        for k, path in enumerate(paths):
            streams = Streams(root, path)
            factor[k] = streams["factor"].standard_normal(self.steps) + self.tilt.drift
            draw = streams["jumps"]
            jumps[k] = draw.poisson(rate, self.steps)
            spread = self.jump_deviation * np.sqrt(jumps[k])
            size[k] = mean * jumps[k] + spread * draw.standard_normal(self.steps)
        return Drawn(factor, jumps, size, self._log_weight(factor, jumps, size))

    def _log_weight(self, factor: F64, jumps: F64, size: F64) -> F64:
        """Return log dP/dQ: normal shift, Poisson thinning, and shift of the jumps' mean."""
        by, times, more = self.tilt.drift, self.tilt.intensity, self.tilt.jump
        total = -by * factor.sum(1) + self.steps * by * by / 2
        count = jumps.sum(1)
        total += self.steps * self.per_step * (times - 1) - count * log(times)
        if more:
            # Sums of n jumps are normal with mean n m and variance n s^2: sufficient for both laws.
            variance = self.jump_deviation**2
            total += (-more * size.sum(1) + count * more * (self.jump_mean + more / 2)) / variance
        return total

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """See `World.weather`; drawn under the tilt, to be weighed with `weights`."""
        drawn = self.drawn(root, paths)
        n = len(symbols)
        own = np.stack(
            [Streams(root, p)["own"].standard_normal((self.steps, n)) for p in paths]
        ).reshape(len(paths), self.steps, n)
        dt = self.step_ns / YEAR_NS
        common = sqrt(self.correlation) * drawn.factor[:, :, None]
        noise = self.vol * sqrt(dt) * (common + sqrt(1 - self.correlation) * own)
        move = (self.drift - self.vol**2 / 2) * dt + noise + drawn.size[:, :, None]
        price = np.exp(np.concatenate([np.zeros((len(paths), 1, n)), move.cumsum(axis=1)], axis=1))
        return Weather(price, np.full_like(price, self.depth), self.step_ns)

    def weights(self, root: int, paths: Sequence[int]) -> F64:
        """Return the likelihood ratio of each path: its mean over many paths is 1."""
        return np.exp(self.drawn(root, paths).log_weight)
