"""Volatility that remembers: GJR-GARCH with Student's t, as a world and as a filter of history."""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import Final, Self

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.weather import F64, Weather
from tidegate.lab.worlds.factor import ONE_FACTOR, Factor
from tidegate.lab.worlds.ground import YEAR, Clock, uniforms, weather_of, within


VARIANCE_MAX: Final = 1.0  # of one step: a deviation of 100 %; beyond it volatility stops growing
DF_MIN: Final = 2.05  # below it no variance exists that could be standardised


@dataclass(frozen=True, slots=True)
class Terms:
    """r = mean + sqrt(h) z, h' = omega + (alpha + gamma [e < 0]) e^2 + beta h, z standardised t.

    Everything is per step and in shares of the price; ``now`` is the variance of the next step.
    Source: Glosten, Jagannathan, Runkle (1993); Bollerslev (1987) for the t.
    """

    mean: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    df: float  # inf: normal
    now: float

    def __post_init__(self) -> None:
        """Refuse a variance that could become negative, or explode on average."""
        within("gjr.mean", self.mean, -1.0, 1.0)
        within("gjr.omega", self.omega, 0.0, VARIANCE_MAX)
        within("gjr.alpha", self.alpha, 0.0, 1.0)
        within("gjr.alpha + gamma", self.alpha + self.gamma, 0.0, 2.0)
        within("gjr.beta", self.beta, 0.0, 1.0)
        within("gjr.now", self.now, 0.0, VARIANCE_MAX)
        if not self.df >= DF_MIN:
            raise ConfigInvalid(where="gjr.df", what=f"must be >= {DF_MIN}", found=f"{self.df:g}")
        hint = "alpha + gamma / 2 + beta is how much of a variance is left after a step"
        within("gjr.persistence", self.persistence, 0.0, 1.0 + 1e-9, hint=hint)

    @classmethod
    def of_volatility(
        cls, step_ns: int, *, vol: float, now: float, alpha: float, gamma: float, beta: float,
        df: float,
    ) -> Self:  # fmt: skip
        """Return terms with a long-run volatility ``vol`` a year; ``now`` is that of the start."""
        a_step = step_ns / YEAR
        omega = vol**2 * a_step * (1 - alpha - gamma / 2 - beta)
        within("gjr.omega", omega, 0.0, VARIANCE_MAX, hint="alpha + gamma / 2 + beta must be < 1")
        return cls(0.0, omega, alpha, gamma, beta, df, now**2 * a_step)

    @property
    def persistence(self) -> float:
        """Return the share of a variance's distance from the long run that a step leaves."""
        return self.alpha + self.gamma / 2 + self.beta

    @property
    def long_run(self) -> float:
        """Return the variance of a step in the long run; infinite where nothing is forgotten."""
        left = 1 - self.persistence
        return self.omega / left if left > 0 else inf

    def variances(self, returns: F64, first: float) -> F64:
        """Return the variance of each return and of the next one, [T + 1], beginning at ``first``.

        A recursion that is linear in h: one pass of a first-order filter.
        """
        e = returns - self.mean
        pushed = self.omega + (self.alpha + self.gamma * (e < 0)) * e**2
        rest, _ = lfilter([1.0], [1.0, -self.beta], pushed, zi=np.array([self.beta * first]))
        return np.append(first, rest)


def walked(terms: Sequence[Terms], shocks: F64) -> F64:
    """Return logarithmic returns [paths, steps, n] of standardised ``shocks``."""
    mean, omega, alpha, gamma, beta = (
        np.array([getattr(t, name) for t in terms])
        for name in ("mean", "omega", "alpha", "gamma", "beta")
    )
    variance = np.broadcast_to([t.now for t in terms], shocks[:, 0].shape).astype(np.float64)
    returns = np.empty_like(shocks)
    for step in range(shocks.shape[1]):
        e = np.sqrt(variance) * shocks[:, step]
        returns[:, step] = mean + e
        variance = omega + (alpha + gamma * (e < 0)) * e**2 + beta * variance
        np.minimum(variance, VARIANCE_MAX, out=variance)
    return returns


def heavy(root: int, paths: Sequence[int], shocks: F64, df: F64) -> F64:
    """Return normal ``shocks`` [paths, steps, n] as standardised t, all heavy at the same time.

    Each step is divided by the root of one chi squared for everybody (stream "world.heavy"): with
    equal degrees of freedom that is the multivariate t, whose tails come together. With unequal
    ones the mixing variables share their rank.
    """
    finite = np.isfinite(df)
    if not finite.any():
        return shocks
    luck = uniforms(root, paths, "world.heavy", shocks.shape[1])
    for one in np.unique(df[finite]).tolist():
        mixing = np.sqrt((one - 2.0) / np.maximum(stats.chi2.ppf(luck, one), 1e-300))
        columns = np.flatnonzero(df == one)
        shocks[:, :, columns] *= mixing[:, :, None]
    return shocks


@dataclass(frozen=True, slots=True)
class Gjr:
    """GJR-GARCH with Student's t for each instrument, correlated through one factor."""

    terms: tuple[Terms, ...]  # one for everybody, or one an instrument
    clock: Clock
    factor: Factor = ONE_FACTOR
    name: str = "gjr"

    def __post_init__(self) -> None:
        """Refuse a world of nobody."""
        if not self.terms:
            raise ConfigInvalid(where="gjr.terms", what="must not be empty", found="none")

    def describe(self) -> str:
        """Return one sentence for people."""
        t = self.terms[0]
        vol = sqrt(t.long_run * YEAR / self.clock.step_ns)
        told = f"{vol:.0%} a year" if isfinite(vol) else "without a long run"
        first = f" (the first of {len(self.terms)})" if len(self.terms) > 1 else ""
        return (
            f"GJR-GARCH with Student's t: volatility {told}, {t.df:.3g} degrees of freedom, "
            f"persistence {t.persistence:.3f}{first}, {self.factor}; {self.clock}"
        )

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths."""
        terms = self.terms * len(symbols) if len(self.terms) == 1 else self.terms
        if len(terms) != len(symbols):
            raise ConfigInvalid(
                where="gjr.terms",
                what=f"must be one, or one for each of {len(symbols)} instruments",
                found=f"{len(self.terms)}",
            )
        shocks = self.factor.normals(root, paths, self.clock.steps, symbols)
        shocks = heavy(root, paths, shocks, np.array([t.df for t in terms]))
        return weather_of(self.name, walked(terms, shocks), self.clock.step_ns)
