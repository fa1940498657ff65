"""Hedgers and basis traders: flow that follows from what somebody holds elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.book import rows_of
from tidegate.domain.events import Input
from tidegate.domain.units import I64, Nanos
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import holdings, lognormal, netted, price_now, uniform
from tidegate.lab.weather import F64


@dataclass(slots=True, kw_only=True)
class Hedgers(Bystander):
    """Dealers who are short options elsewhere: they buy what has risen and sell what has fallen.

    ``gamma`` is the median of the lots that one must have more for a price e times as high; each
    trades only when its hedge is off by more than its band, a share of the price's move.
    """

    count: int
    gamma: float
    instrument: int = 0
    held: F64 = field(init=False)  # [count] signed lots, of the hedge
    _gamma: F64 = field(init=False)
    _band: F64 = field(init=False)
    _first: float = field(init=False)

    def gather(self) -> Iterator[Input]:
        """Draw what each is short, and how patient it is."""
        streams, n = self.desk.streams, self.count
        self._gamma = lognormal(streams, self.stream("gamma"), n, self.gamma, 1.0)
        self._band = uniform(streams, self.stream("band"), n, 0.001, 0.01)
        self.held = np.zeros(n)
        self._first = float(self.desk.state.mark[self.instrument])
        yield from ()

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Bring every hedge that is off by more than its band to where it belongs."""
        del step
        i = self.instrument
        off = self._gamma * np.log(price_now(self.desk, i, now) / self._first) - self.held
        wanted = np.where(np.abs(off) > self._band * self._gamma, off, 0.0)
        self.held += netted(self.desk, i, wanted, now)
        yield from ()


@dataclass(slots=True, kw_only=True)
class BasisTraders(Bystander):
    """Accounts of the book whose shorts are the hedge of coins they hold outside.

    A ``share`` of all that are short when it begins. Whose short is taken away, by deleveraging or
    by liquidation, sells the coins that are hedged no longer, after ``latency`` steps.
    """

    share: float = 0.5
    latency: int = 1
    instrument: int = 0
    accounts: I64 = field(init=False)
    coins: F64 = field(init=False)  # lots held outside
    _seen: list[F64] = field(init=False, default_factory=list[F64])  # shorts, the newest last

    def gather(self) -> Iterator[Input]:
        """Choose who is hedged: each account by a draw of its own."""
        account, lots = holdings(self.desk, self.instrument)
        draw = uniform(
            self.desk.streams, self.stream("hedged"), self.desk.state.book.accounts, 0.0, 1.0
        )
        chosen = (lots < 0) & (draw[account] < self.share)
        self.accounts, self.coins = account[chosen], -lots[chosen].astype(np.float64)
        yield from ()

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Sell the coins that nothing hedges any more."""
        del step
        book, i = self.desk.state.book, self.instrument
        row = rows_of(book, self.accounts, np.full_like(self.accounts, i))
        short = np.where(row >= 0, np.maximum(-book.lots[row], 0), 0).astype(np.float64)
        self._seen.append(short)
        if len(self._seen) > self.latency:
            bare = np.maximum(self.coins - self._seen.pop(0), 0.0)
            self.coins += netted(self.desk, i, -bare, now)
        yield from ()
