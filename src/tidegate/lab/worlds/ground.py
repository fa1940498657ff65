"""What every world stands on: its clock, its draws, and the refusal of what cannot be meant."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Final, TypeAlias

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND
from tidegate.drivers.streams import Streams
from tidegate.lab.weather import F64, Weather, checked


MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
YEAR: Final = 365 * DAY  # these markets never close
STEPS_MAX: Final = 1_000_000
VOLATILITY_MAX: Final = 50.0  # a year: a factor of e^50, which nobody means

Stream: TypeAlias = np.random.Generator  # noqa: TID251 (the type of a stream, none is made here)
BySymbol: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Clock:
    """How many steps a path has, and how long each is."""

    steps: int = 60
    step_ns: int = MINUTE

    def __post_init__(self) -> None:
        """Refuse a clock that does not move."""
        within("world.steps", self.steps, 1, STEPS_MAX)
        within("world.step", self.step_ns, 1, YEAR)

    @property
    def step_years(self) -> float:
        """Return the length of a step in years of 365 days."""
        return self.step_ns / YEAR

    @property
    def years(self) -> float:
        """Return the length of a path in years of 365 days."""
        return self.steps * self.step_years

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.steps} steps of {spoken(self.step_ns)}"


def spoken(ns: int) -> str:
    """Return a duration in its largest whole unit."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if ns >= unit and ns % unit == 0:
            return f"{ns // unit} {name}"
    return f"{ns / SECOND:g} s"


def within(
    where: str, value: float, low: float, high: float, *, open_: bool = False, hint: str = ""
) -> None:
    """Raise ConfigInvalid unless ``low <= value <= high``; ``open_`` leaves both ends out."""
    inside = low < value < high if open_ else low <= value <= high
    if not (isfinite(value) and inside):
        between = "strictly between" if open_ else "within"
        raise ConfigInvalid(
            where=where,
            what=f"must lie {between} {low:g} and {high:g}",
            found=f"{value:g}",
            hint=hint or None,
        )


def one_of(where: str, value: str, known: Iterable[str]) -> None:
    """Raise ConfigInvalid with the closest name unless ``value`` is one of ``known``."""
    names = list(known)
    if value not in names:
        close = get_close_matches(value, names, n=1, cutoff=0.5)
        raise ConfigInvalid(
            where=where,
            what=f"must be one of {', '.join(names)}",
            found=repr(value),
            hint=f"did you mean {close[0]}?" if close else None,
        )


def by_symbol(where: str, symbols: Sequence[str], usual: float, own: BySymbol) -> F64:
    """Return one number a symbol: its own where it has one, else the usual one.

    Raise ConfigInvalid for a number that belongs to no symbol of this venue.
    """
    for symbol, _ in own:
        one_of(f"{where}.{symbol}", symbol, symbols)
    numbers = dict(own)
    return np.array([numbers.get(symbol, usual) for symbol in symbols], np.float64)


def draws(root: int, paths: Sequence[int], name: str, draw: Callable[[Stream], F64]) -> F64:
    """Return what ``draw`` makes of each path's own stream ``name``, stacked: [paths, ...]."""
    return np.stack([draw(Streams(root, path)[name]) for path in paths])


def uniforms(root: int, paths: Sequence[int], name: str, steps: int) -> F64:
    """Return numbers within [0, 1), [paths, steps], of the stream ``name``."""

    def drawn(stream: Stream) -> F64:
        return stream.random(steps)

    return draws(root, paths, name, drawn)


def normals(root: int, paths: Sequence[int], name: str, *shape: int) -> F64:
    """Return standard normals [paths, *shape] of the stream ``name``."""

    def drawn(stream: Stream) -> F64:
        return stream.standard_normal(shape)

    return draws(root, paths, name, drawn)


def prices(returns: F64) -> F64:
    """Return [paths, steps + 1, n] prices from 1, of logarithmic returns [paths, steps, n]."""
    path = np.zeros((returns.shape[0], returns.shape[1] + 1, returns.shape[2]))
    np.cumsum(returns, axis=1, out=path[:, 1:])
    return np.exp(path, out=path)


def weather_of(where: str, returns: F64, step_ns: int, depth: F64 | None = None) -> Weather:
    """Return the checked weather of logarithmic returns; a full book where nothing else is said."""
    with np.errstate(over="ignore"):  # an infinite price is refused by name just below
        price = prices(returns)
    return checked(Weather(price, np.ones_like(price) if depth is None else depth, step_ns), where)


HOUR_OF_MINUTES: Final = Clock()
