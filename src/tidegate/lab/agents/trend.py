"""Leveraged traders who follow the price, or stand against it, until their margin is gone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tidegate.domain.events import Input
from tidegate.domain.units import I64, Money, Nanos
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import (
    Mask,
    choices,
    lognormal,
    netted,
    price_now,
    uniform,
    worth_now,
)
from tidegate.lab.weather import F64


SPEEDS: Final = (0.5, 0.8, 0.9, 0.95)  # share of a trend that is remembered after one step
CALM: Final = 0.94  # the same of the variance that a trend is measured in
MAINTENANCE: Final = 0.02  # of the notional; below it a trader is closed by its own broker


@dataclass(slots=True, kw_only=True)
class Trend(Bystander):
    """``count`` outsiders who trade one instrument on the simulated market, as columns.

    Each has capital (median ``capital`` Money), a leverage up to ``leverage``, a speed, and a
    threshold in deviations below which it does not move. ``direction`` 1 follows trends, -1 leans
    against them. A trader whose equity falls below maintenance is closed at the market and does not
    come back: falling prices thus make followers sell twice.
    """

    count: int
    capital: Money
    instrument: int = 0
    direction: int = 1
    leverage: float = 5.0
    pace: float = 0.5  # share of the way to the target in one step
    equity: F64 = field(init=False)  # [count] Money
    held: F64 = field(init=False)  # [count] signed lots
    gone: Mask = field(init=False)  # [count] closed once, and not coming back
    _lever: F64 = field(init=False)
    _threshold: F64 = field(init=False)
    _speed: I64 = field(init=False)
    _trend: F64 = field(init=False)
    _variance: float = field(init=False, default=0.0)
    _last: float = field(init=False)

    def gather(self) -> Iterator[Input]:
        """Draw capital, leverage, speed and threshold."""
        streams, n = self.desk.streams, self.count
        self.equity = lognormal(streams, self.stream("capital"), n, float(self.capital), 1.0)
        self._lever = uniform(streams, self.stream("leverage"), n, 1.0, self.leverage)
        self._threshold = uniform(streams, self.stream("threshold"), n, 0.5, 2.0)
        self._speed = choices(streams, self.stream("speed"), n, len(SPEEDS))
        self.held, self.gone, self._trend = (
            np.zeros(n),
            np.zeros(n, np.bool_),
            np.zeros(len(SPEEDS)),
        )
        self._last = float(self.desk.state.mark[self.instrument])
        yield from ()

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """See the price, and trade towards what the trend says, all together."""
        del step
        i = self.instrument
        price = price_now(self.desk, i, now)
        worth = worth_now(self.desk, i, price)
        self.equity += self.held * (worth - worth_now(self.desk, i, self._last))
        wanted = self._wanted(float(np.log(price / self._last)), worth)
        self._last = price
        self.held += netted(self.desk, i, wanted, now)
        yield from ()

    def _wanted(self, moved: float, worth: float) -> F64:
        """Return the signed lots that each wants to trade after a move (a logarithm)."""
        speed = np.array(SPEEDS)
        self._trend = speed * self._trend + moved
        self._variance = CALM * self._variance + (1 - CALM) * moved**2
        noise = np.sqrt(max(self._variance, 1e-12) / (1 - speed**2))
        score = self.direction * self._trend / noise
        moved_by = np.abs(score)[self._speed] > self._threshold
        conviction = np.clip(score / 3.0, -1, 1)[self._speed] * moved_by
        target = conviction * self.equity * (self._lever / worth)
        self.gone |= self.equity <= MAINTENANCE * np.abs(self.held) * worth
        return np.where(self.gone, -self.held, self.pace * (target - self.held))
