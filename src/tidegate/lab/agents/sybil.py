"""One winner in many names: whether a split position is deleveraged less than a whole one."""

from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.domain.book import EXTERNAL
from tidegate.domain.events import Input, Traded
from tidegate.domain.units import PPM, Lots, Nanos, Ticks
from tidegate.lab.agents.adversary import Adversary


@dataclass(slots=True, kw_only=True)
class Sybil(Adversary):
    """A short position of ``size`` depths in ``count`` accounts that nobody knows to be one.

    Each has its share of the position and of the margin, ``margin`` ppm of the notional; it is held
    to the end. With one account it is an honest trader: what splitting pays is the difference.
    """

    size: float
    count: int = 16
    margin: int = 200_000

    def prepare(self) -> Iterator[Input]:
        """Deal the position to the accounts, at the opening mark; the first get what is over."""
        purse, i = self.purse, self.instrument
        total = purse.lots_worth(i, self.size * purse.depth(i))
        for n in range(self.count):
            lots = total // self.count + (n < total % self.count)
            yield from purse.open(f"{self.name}-{n:03d}")
            account = purse.accounts[-1]
            worth = purse.value(i, lots, purse.mark(i))
            yield from purse.pay_in(account, max(1, worth * self.margin // PPM))
            price = Ticks(purse.mark(i))
            yield Traded(
                ts=Nanos(0),
                instrument=i,
                taker=account,
                maker=EXTERNAL,
                lots=Lots(-lots),
                price=price,
            )
            assert purse.held(account, i) == -lots, "its margin was enough to open"
