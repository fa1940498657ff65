"""Filtered historical simulation: shocks that really happened, at the volatility of now."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.weather import F64, Weather
from tidegate.lab.worlds.garch import Terms, walked
from tidegate.lab.worlds.ground import Clock, uniforms, weather_of
from tidegate.lab.worlds.matching import Matching


@dataclass(frozen=True, eq=False, slots=True)
class Filtered:
    """Each step takes the standardised residuals of one moment of history, of all symbols at once.

    What came together comes together; each instrument gives them its own volatility, which then
    goes on by its own GJR recursion. Source: Barone-Adesi, Giannopoulos, Vosper (1999).
    """

    terms: tuple[Terms, ...]  # one a symbol; the degrees of freedom are those of the fit, unused
    residuals: F64  # [T, n] of mean 0 and deviation 1
    clock: Clock
    matching: Matching
    source: str = ""
    name: str = "fhs"

    def __post_init__(self) -> None:
        """Refuse residuals that do not belong to the terms."""
        held = self.residuals.shape
        if (
            len(held) != 2
            or held[0] < 2
            or not held[1] == len(self.terms) == len(self.matching.known)
        ):
            raise ConfigInvalid(
                where="fhs.residuals", what="must be [moments, symbols]", found=f"{held}"
            )

    def describe(self) -> str:
        """Return one sentence for people."""
        return f"filtered historical simulation of {self.source}; {self.clock}"

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths; the moments come from the stream "world.moments"."""
        columns = self.matching.columns(symbols)
        held, steps = self.residuals.shape[0], self.clock.steps
        luck = uniforms(root, paths, "world.moments", steps)
        rows = np.minimum((luck * held).astype(np.int64), held - 1)
        shocks = self.residuals[:, columns][rows]
        terms = [self.terms[c] for c in columns]
        return weather_of(self.name, walked(terms, shocks), self.clock.step_ns)
