"""Arbitrageurs between this venue and another: they bring the price back, as far as they can carry.

The other venue is a price: what the weather says, some steps old, at which any size is taken. It
has no book, no margin and no failure of its own, and nothing that is done here moves it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.events import Input
from tidegate.domain.units import PPM, Money, Nanos
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import lognormal, price_now, uniform, worth_now
from tidegate.lab.weather import F64


PIECES = 4  # orders in which the gap of one step is closed


@dataclass(slots=True, kw_only=True)
class Arbitrageurs(Bystander):
    """``count`` traders who buy where it is cheaper and sell where it is dearer, at once.

    Each has a cost (ppm of the price) that the gap must exceed, and a limit to what it can carry on
    both venues (median ``capital`` Money); of what it carries a share ``freed`` comes home a step.
    """

    count: int = 100
    capital: Money
    instrument: int = 0
    cost: tuple[float, float] = (300.0, 3_000.0)
    latency: int = 1
    freed: float = 0.02
    carried: F64 = field(init=False)  # [count] signed lots bought here and sold there
    gained: float = field(init=False, default=0.0)  # Money
    _cost: F64 = field(init=False)
    _most: F64 = field(init=False)  # [count] lots

    def gather(self) -> Iterator[Input]:
        """Draw costs and limits."""
        streams, n, i = self.desk.streams, self.count, self.instrument
        self._cost = uniform(streams, self.stream("cost"), n, *self.cost)
        capital = lognormal(streams, self.stream("capital"), n, float(self.capital), 1.0)
        self._most = capital / worth_now(self.desk, i, float(self.desk.state.mark[i]))
        self.carried = np.zeros(n)
        yield from ()

    def elsewhere(self, step: int) -> float:
        """Return the other venue's price in ticks, as it is known before ``step``."""
        return float(self.desk.fair(max(0, step - self.latency))[self.instrument])

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Close the gap, piece by piece, as long as somebody gains by it."""
        i, there = self.instrument, self.elsewhere(step)
        self.carried *= 1 - self.freed
        for _ in range(PIECES):
            here = price_now(self.desk, i, now)
            side = 1 if here < there else -1
            gap = abs(there / here - 1) * PPM
            room = np.where(self._cost < gap, self._most - side * self.carried, 0.0)
            room = np.maximum(room, 0.0) / PIECES
            lots = round(float(room.sum()))
            got, price = (
                self.desk.market.outside(i, side * lots, now, trade=False) if lots else (0, 0)
            )
            if not got or side * (there - price) <= 0:
                break
            self.desk.market.outside(i, got, now, trade=True)
            done = room * (abs(got) / float(room.sum()))
            self.carried += side * done
            worth = worth_now(self.desk, i, there)
            self.gained += got * (worth - worth_now(self.desk, i, float(price)))
            self.gained -= float((done * self._cost).sum()) * worth / PPM
        yield from ()

    def profit(self) -> Mapping[str, int]:
        """Return what the gaps gave, costs included."""
        return {self.name: round(self.gained)}
