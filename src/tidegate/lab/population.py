"""What an agent of the lab is asked: to look at the public venue, and to act before each price.

Agents act through events, as everybody does: the engine may refuse any of them. They may also trade
as outsiders on the simulated market, which moves its price, or speak for a price source.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tidegate.domain.events import Input
from tidegate.domain.units import I64, Nanos
from tidegate.drivers.replay import Replay
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.engine.state import State
from tidegate.lab.opening import Opening
from tidegate.lab.weather import Weather
from tidegate.safeguards.stack import Stack


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an agent stands in one path: it reads all of this and writes none of it."""

    opening: Opening
    weather: Weather  # of this path; what lies ahead is for those who are said to foresee it
    streams: Streams
    turning: Replay

    @property
    def stack(self) -> Stack:
        """The safeguards it meets."""
        return self.turning.stack

    @property
    def state(self) -> State:
        """The engine's state after everything so far."""
        return self.turning.state

    @property
    def market(self) -> SimVenue:
        """The simulated market, where outsiders trade with `outside`."""
        return self.turning.market

    def fair(self, step: int) -> I64:
        """Return the ticks that the weather alone would show at ``step``, per instrument."""
        return ticks_at(self.opening, self.weather, step)


class Population(Protocol):
    """A kind of agent, from one to millions, as columns. One object lives for one path."""

    @property
    def name(self) -> str:
        """One word for tables."""
        ...

    def begin(self, desk: Desk) -> Iterable[Input]:
        """Take a place at the desk and return what happens right after the opening prices."""
        ...

    def act(self, step: int, now: Nanos) -> Iterable[Input]:
        """Yield what it does before the prices of ``step``; the engine answers between yields."""
        ...

    def said(self, step: int, instrument: int, source: int, ticks: int) -> int:
        """Return what ``source`` says of a price; honest populations return ``ticks``."""
        ...

    def profit(self) -> Mapping[str, int]:
        """Return Money gained since `begin`, by name, at the end; empty for who has no aim."""
        ...


def ticks_at(opening: Opening, weather: Weather, step: int) -> I64:
    """Return a path's prices at ``step`` in ticks, to the nearest, within 1..price_max."""
    most = np.array([i.price_max for i in opening.venue.instruments], np.float64)
    exact = np.rint(opening.marks * weather.price[0, step])
    return np.clip(exact, 1.0, most).astype(np.int64)
