"""Adversaries with two accounts that bet against each other: one is meant to go under.

The long and the short leg trade with each other at the mark, so that the pair costs nothing but
fees and margin. Then the price is pushed: by the weather, or by the adversary's own buying in the
market. What the short leg loses beyond its margin somebody else has to pay, and the long leg wins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tidegate.domain.events import Input
from tidegate.domain.units import PPM, Nanos
from tidegate.lab.agents.adversary import Adversary


START: Final = 2  # the step before whose prices the push begins
EDGE: Final = 1_000  # ppm beyond the fair price for which anything is sold again


@dataclass(slots=True, kw_only=True)
class Pair(Adversary):
    """Two accounts with one position between them, ``size`` times the market's depth.

    Margin is ``buffer`` ppm of the initial requirement. ``push`` is what is bought outside to move
    the price, in depths, over ``turns`` steps from `START` on.
    """

    size: float
    push_depths: float = 0.0
    turns: int = 3
    buffer: int = 1_020_000
    long: int = field(init=False)
    short: int = field(init=False)
    opened: bool = field(init=False)

    def prepare(self) -> Iterator[Input]:
        """Open both legs."""
        purse, i = self.purse, self.instrument
        lots = purse.lots_worth(i, self.size * purse.depth(i))
        for side in (1, -1):
            yield from purse.open(f"{self.name}-{'long' if side > 0 else 'short'}")
            account = purse.accounts[-1]
            asked = purse.margin_for(account, i, side * lots)
            yield from purse.pay_in(account, asked * self.buffer // PPM)
        self.long, self.short = purse.accounts[-2:]
        yield from purse.cross(self.long, self.short, i, lots, Nanos(0))
        self.opened = purse.held(self.long, i) == lots

    def pushing(self, step: int) -> bool:
        """Return whether the price is pushed before ``step``; never for a pair that was refused."""
        return self.opened and self.push_depths > 0 and START <= step < START + self.turns

    def cash_in(self, step: int, now: Nanos) -> Iterator[Input]:
        """Close what is left of the legs, and sell what was bought, above the fair price only."""
        purse, i = self.purse, self.instrument
        self.unwind(step, now, EDGE)
        for account in (self.long, self.short):
            lots = purse.held(account, i)
            for piece in purse.pieces(i, -lots) if lots else ():
                got, price = self.desk.market.outside(i, piece, now, trade=False)
                good = price - self.known(step) * (1 + EDGE / PPM)
                if not got or (good if lots > 0 else -good) < 0:
                    break
                yield from purse.trade(account, i, piece, now)


@dataclass(slots=True, kw_only=True)
class Drainer(Pair):
    """Lets one leg go bankrupt at the fund's cost, and takes the other leg's profit home."""

    def play(self, step: int, now: Nanos) -> Iterator[Input]:
        """Push for a while; then cash in, and take out what is free."""
        if self.pushing(step):
            self.push(self.push_depths / self.turns, now)
        elif step >= START + self.turns or self.push_depths == 0:
            yield from self.cash_in(step, now)
            for account in (self.long, self.short):
                yield from self.purse.take_out(account)


@dataclass(slots=True, kw_only=True)
class Pump(Pair):
    """Takes unrealised profit out, or buys more with it, while its own buying holds the price up.

    ``recycled`` is the share of each step's push that the long leg buys on its own account, with
    its unrealised profit for margin, instead of the purse outside.
    """

    recycled: float = 0.0

    def play(self, step: int, now: Nanos) -> Iterator[Input]:
        """Push, take out what is free at the pushed mark; sell again once the push is over."""
        purse, i = self.purse, self.instrument
        if step > START:
            yield from purse.take_out(self.long)
        if self.pushing(step):
            share = self.push_depths / self.turns
            self.push(share * (1 - self.recycled), now)
            lots = purse.lots_worth(i, share * self.recycled * purse.depth(i))
            yield from purse.trade(self.long, i, lots, now)
        elif step > START + self.turns:
            self.unwind(step, now, EDGE)
