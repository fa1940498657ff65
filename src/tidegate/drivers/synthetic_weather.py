"""Synthetic weather: what prices would have done without the venue's own forced trades.

A scenario is a sentence about prices: how far each asset stands below its start at a few moments,
and how restless it is between them. Noise reverts to that line, so that a seed changes the road
and not the destination. Floats end at the recording's door.
"""

from dataclasses import dataclass
from math import log
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.drivers.streams import Streams


F64: TypeAlias = NDArray[np.float64]

REVERSION: Final = 30.0  # seconds in which noise forgets: e-fold
INDEX_EVERY: Final = 3  # steps between two prices of one index source; the sources take turns


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story: ``falls`` are (second, percent below the start for each asset, in table order).

    Between two moments the logarithm of the price runs straight. ``restless`` is the standing
    deviation of noise around that line for the calmest asset, in percent, before and during the
    storm; ``storm`` are the seconds in which it blows.
    """

    about: str
    seconds: int
    falls: tuple[tuple[int, tuple[float, ...]], ...]
    storm: tuple[int, int]
    step: int = 1  # seconds
    restless: tuple[float, float] = (0.03, 0.15)


_FLAT = (0.0, 0.0, 0.0, 0.0, 0.0)

SCENARIOS: Final = {
    "october": Scenario(
        about="after 2025-10-10: down in waves for five minutes, aftershocks, a partial rebound",
        seconds=1_080,
        falls=(
            (0, _FLAT),
            (60, _FLAT),
            (76, (3.9, 3.8, 5.0, 6.0, 9.0)),
            (145, (4.3, 4.6, 7.2, 9.0, 14.0)),
            (147, (5.6, 7.2, 10.6, 15.0, 20.0)),  # each of three waves is a jump of two seconds
            (206, (7.0, 10.0, 13.5, 21.0, 27.0)),
            (208, (9.2, 13.3, 18.2, 30.0, 37.0)),
            (329, (10.6, 16.0, 20.5, 37.0, 45.0)),
            (331, (11.5, 17.6, 22.5, 41.0, 49.0)),
            (400, (11.3, 17.4, 22.2, 41.0, 49.0)),
            (500, (9.0, 14.0, 17.5, 37.0, 45.0)),
            (560, (9.5, 15.0, 19.0, 43.0, 51.0)),  # an aftershock in the wildest two
            (720, (8.0, 12.6, 15.5, 34.0, 42.0)),
            (1_080, (6.5, 11.0, 13.5, 26.0, 33.0)),
        ),
        storm=(60, 720),
    ),
    "gap": Scenario(
        about="one jump between two seconds, and no way back",
        seconds=420,
        falls=(
            (0, _FLAT),
            (60, _FLAT),
            (61, (9.0, 12.0, 15.0, 22.0, 28.0)),
            (420, (9.5, 12.5, 15.5, 23.0, 29.0)),
        ),
        storm=(60, 180),
    ),
    "slow_bleed": Scenario(
        about="an hour of steady decline: nothing is ever sudden, everything adds up",
        seconds=3_600,
        step=5,
        falls=((0, _FLAT), (300, _FLAT), (3_600, (11.0, 15.0, 19.0, 28.0, 36.0))),
        storm=(300, 3_600),
        restless=(0.03, 0.06),
    ),
    "v_shape": Scenario(
        about="down and all the way back in six minutes: who sold at the bottom sold needlessly",
        seconds=600,
        falls=(
            (0, _FLAT),
            (60, _FLAT),
            (210, (10.0, 14.0, 18.0, 30.0, 38.0)),
            (240, (10.0, 14.0, 18.0, 30.0, 38.0)),
            (420, (0.5, 0.5, 1.0, 1.0, 1.0)),
            (600, _FLAT),
        ),
        storm=(60, 420),
    ),
    "calm": Scenario(
        about="the control: ten quiet minutes in which nobody may be liquidated",
        seconds=600,
        falls=((0, _FLAT), (600, _FLAT)),
        storm=(0, 0),
    ),
}


class Weather(NamedTuple):
    """Fundamental prices over time, and how wide the world is unsure of them."""

    second: NDArray[np.int64]  # [steps]
    price: F64  # [steps, assets] numeraire
    doubt: F64  # [steps, assets] half-width as a share of the price


class Quotes(NamedTuple):
    """What sources say, ordered by time; the venue's own price comes last within a second."""

    second: NDArray[np.int64]
    asset: NDArray[np.int64]
    source: NDArray[np.int64]
    price: F64
    confidence: F64


def weather(scenario: Scenario, start: F64, beta: F64, streams: Streams) -> Weather:
    """Return one path of the scenario from ``start``; ``beta`` scales each asset's noise.

    Noise has a common and an own half (correlation 0.5 between any two assets) and is drawn from
    the stream "prices".
    """
    second = np.arange(0, scenario.seconds + 1, scenario.step, dtype=np.int64)
    at = np.array([moment for moment, _ in scenario.falls], np.float64)
    line = np.array([[log(1.0 - fall / 100.0) for fall in falls] for _, falls in scenario.falls])
    path = np.stack([np.interp(second, at, line[:, n]) for n in range(start.size)], axis=1)
    draw = streams["prices"]
    common = draw.standard_normal(second.size)[:, None]
    own = draw.standard_normal((second.size, start.size))
    shock = np.sqrt(0.5) * common + np.sqrt(0.5) * own
    keep = np.exp(-scenario.step / REVERSION)
    calm, rough = (share / 100.0 for share in scenario.restless)
    begins, ends = scenario.storm
    storm = (second >= begins) & (second < ends)
    size = np.where(storm, rough, calm)[:, None] * beta * np.sqrt(1.0 - keep**2)
    noise = np.zeros_like(path)
    for n in range(1, second.size):
        noise[n] = keep * noise[n - 1] + size[n] * shock[n]
    price = start * np.exp(path + noise)
    moved = np.abs(np.diff(np.log(price), axis=0, prepend=np.log(price[:1])))
    doubt = np.full_like(path, 1e-4)
    for n in range(1, second.size):  # a quick move widens at once, and is forgotten slowly
        doubt[n] = np.maximum(np.maximum(1e-4, moved[n] / 2), keep * doubt[n - 1])
    return Weather(second, price, doubt)


def quotes(path: Weather, indices: int, streams: Streams) -> Quotes:
    """Return what ``indices`` outside sources and the venue itself publish of a path.

    Each index source speaks every third step, one after the other, with small errors of its own
    from the stream "sources"; the venue speaks every step and says the fundamental price, which a
    replay displaces by its own trades. At the start everybody speaks.
    """
    steps, assets = path.price.shape
    error = streams["sources"].standard_normal((steps, assets, indices))
    cell = np.arange(steps * assets * (indices + 1), dtype=np.int64)
    step, rest = np.divmod(cell, assets * (indices + 1))
    source, asset = np.divmod(rest, assets)  # by time, then source, then asset
    speaks = (source == indices) | (step == 0) | ((step - source) % INDEX_EVERY == 0)
    step, asset, source = step[speaks], asset[speaks], source[speaks]
    exact, doubt = path.price[step, asset], path.doubt[step, asset]
    own = source == indices
    drawn = error[step, asset, np.minimum(source, indices - 1)]
    said = exact * np.where(own, 1.0, 1.0 + drawn * doubt / 3.0)
    return Quotes(path.second[step], asset, source, said, exact * doubt)
