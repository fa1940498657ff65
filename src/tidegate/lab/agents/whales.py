"""The largest accounts of the book: they get out before they are thrown out, in pieces."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.events import Input
from tidegate.domain.units import I64, Nanos
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import Mask, holdings, lots_of, trade_on_book, uniform
from tidegate.lab.weather import F64


@dataclass(slots=True, kw_only=True)
class Whales(Bystander):
    """The ``count`` largest holders of one instrument, each with a stop of its own.

    Once the mark has moved against one by its stop, ``stop`` (low, high) as a share of the opening
    price, it sells (or buys back) on the venue's book, in ``pieces`` equal parts, one a step.
    """

    count: int = 5
    stop: tuple[float, float] = (0.02, 0.10)
    pieces: int = 5
    instrument: int = 0
    accounts: I64 = field(init=False)
    _stop: F64 = field(init=False)
    _part: I64 = field(init=False)  # lots a step, signed as the trade
    _out: Mask = field(init=False)
    _first: int = field(init=False)

    def gather(self) -> Iterator[Input]:
        """Choose the largest, and draw their stops by account."""
        account, lots = holdings(self.desk, self.instrument)
        largest = np.sort(np.argsort(-np.abs(lots), kind="stable")[: self.count])
        self.accounts = account[largest]
        people = self.desk.state.book.accounts
        self._stop = uniform(self.desk.streams, self.stream("stop"), people, *self.stop)
        self._stop = self._stop[self.accounts]
        self._part = -(lots[largest] // self.pieces)
        self._out = np.zeros(self.accounts.size, np.bool_)
        self._first = int(self.desk.state.mark[self.instrument])
        yield from ()

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Let those whose stop was reached trade one part."""
        del step
        moved = int(self.desk.state.mark[self.instrument]) / self._first - 1
        self._out |= np.sign(self._part) * moved >= self._stop
        for n in np.flatnonzero(self._out).tolist():
            account, part = int(self.accounts[n]), int(self._part[n])
            held = lots_of(self.desk, account, self.instrument)
            part = max(part, -held) if part < 0 else min(part, -held)
            if part * held < 0:
                yield from trade_on_book(self.desk, account, self.instrument, part, now)
