"""Adversaries without an account: they watch the book and trade around what it forces.

A book on a public ledger shows who is liquidated at which price. Whoever knows what must be sold
sells before it and buys back behind it; whoever can also tell a price source what to say makes the
sale happen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import Input
from tidegate.domain.units import I64, PPM, Nanos
from tidegate.lab.agents.adversary import Adversary
from tidegate.lab.population import Desk


EDGE: Final = 1_000  # ppm better than fair at which a position is taken or brought home


def forced_lots(desk: Desk, i: int, move: float) -> tuple[int, int]:
    """Return the lots that must be sold and bought in ``i`` if its mark moved by ``move``.

    A share, below zero down; 0: what is due as it stands. Everything else keeps its mark.
    """
    state, margin = desk.state, desk.stack.declaration.margin
    mark = state.mark.copy()
    mark[i] = max(1, round(int(mark[i]) * (1 + move)))
    health = margin.assess(state.book, state.facts, mark=mark, low=mark, high=mark)
    high = state.book.high
    rows = np.flatnonzero(state.book.instrument[:high] == i)
    rows = rows[state.book.account[rows] >= FIRST_USER]
    lots: I64 = state.book.lots[rows][health.best[state.book.account[rows]] < 0]
    return int(lots[lots > 0].sum()), -int(lots[lots < 0].sum())


@dataclass(slots=True, kw_only=True)
class FrontRunner(Adversary):
    """Sells ahead of visible forced sales (buys ahead of purchases), and reverses behind them.

    It acts when what is due within ``reach`` (a share of the price) is more than what it would
    trade itself, ``size`` depths; it goes home after ``hold`` steps, or when nothing is due.
    """

    size: float
    reach: float = 0.0
    hold: int = 1
    since: int = field(init=False, default=0)

    def play(self, step: int, now: Nanos) -> Iterator[Input]:
        """Enter ahead of a queue, leave behind it."""
        i, purse = self.instrument, self.purse
        if purse.inventory[i]:
            if step - self.since >= self.hold:
                purse.outside(i, -int(purse.inventory[i]), now)
            return
        lots = purse.lots_worth(i, self.size * purse.depth(i))
        sold, _ = forced_lots(self.desk, i, -self.reach)
        _, bought = forced_lots(self.desk, i, self.reach)
        if max(sold, bought) > lots > 0:
            purse.outside(i, -lots if sold >= bought else lots, now)
            self.since = step
        yield from ()


@dataclass(slots=True, kw_only=True)
class Manipulator(Adversary):
    """Makes the sources it controls lie, and trades against those whom the lie liquidates.

    ``lie`` is a share of the price, below zero down, told for ``hold`` steps from step `START` on.
    While forced trades have the market away from fair, up to ``bite`` depths a step are taken, and
    brought home at fair. One that is ``honest`` trades the same way and tells no lie.
    """

    lie: float
    honest: bool = False
    hold: int = 3
    bite: float = 0.2
    controls: Sequence[int] = (0,)  # sources

    START = 2

    def said(self, step: int, instrument: int, source: int, ticks: int) -> int:
        """Return the lie while it is told, else the truth."""
        told = not self.honest and self.START <= step < self.START + self.hold
        if told and instrument == self.instrument and source in self.controls:
            most = self.desk.stack.venue.instruments[instrument].price_max
            return min(max(1, round(ticks * (1 + self.lie))), most)
        return ticks

    def play(self, step: int, now: Nanos) -> Iterator[Input]:
        """Buy below fair, sell at it; the other way round where the lie is upwards."""
        i, purse, fair = self.instrument, self.purse, self.known(step)
        side = 1 if self.lie < 0 else -1
        if step > self.START:
            lots = purse.lots_worth(i, self.bite * purse.depth(i))
            purse.while_better(i, side * lots, fair * (1 - side * EDGE / PPM), now)
        self.unwind(step, now, 0)
        yield from ()
