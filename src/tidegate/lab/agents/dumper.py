"""Liquidating oneself: an exit that no order book would give, at a pool's or a fund's cost."""

from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.domain.events import Input
from tidegate.domain.units import PPM, Nanos
from tidegate.lab.agents.adversary import Adversary


START = 2  # the first step before whose prices it buys


@dataclass(slots=True, kw_only=True)
class Dumper(Adversary):
    """Buys with borrowed strength, takes its own margin out again, and waits to be liquidated.

    Buying ``size`` depths in ``turns`` steps moves the mark above what it paid on average. Against
    that unrealised profit it withdraws what it had deposited (``margin`` ppm of the notional,
    enough to buy away from the mark). Now it has nothing to lose. It sells ``dumped`` depths
    outside, above the fair price: the mark falls, its account falls below its margin, and whoever
    takes liquidations over pays for the rest of the way back to fair.
    """

    size: float
    dumped: float = 0.0
    turns: int = 2
    margin: int = 150_000

    def prepare(self) -> Iterator[Input]:
        """Open an account with margin for the whole position."""
        purse, i = self.purse, self.instrument
        lots = purse.lots_worth(i, self.size * purse.depth(i))
        yield from purse.open(self.name)
        worth = purse.value(i, lots, purse.mark(i))
        yield from purse.pay_in(purse.accounts[0], max(1, worth * self.margin // PPM))

    def play(self, step: int, now: Nanos) -> Iterator[Input]:
        """Buy; take out what is free, every step; dump, and buy that back at fair."""
        purse, i = self.purse, self.instrument
        if START <= step < START + self.turns:
            lots = purse.lots_worth(i, self.size / self.turns * purse.depth(i))
            yield from purse.trade(purse.accounts[0], i, lots, now)
        elif step >= START + self.turns:
            yield from purse.take_out(purse.accounts[0])
            if step == START + self.turns and self.dumped:
                self.push(-self.dumped, now)
            else:
                self.unwind(step, now, 0)
