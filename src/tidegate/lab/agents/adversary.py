"""What all adversaries share: one purse, one market they have chosen, and an honest report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tidegate.domain.events import Input
from tidegate.domain.units import Nanos
from tidegate.lab.agents.purse import Purse, most_crowded
from tidegate.lab.population import Desk


# Behind a name: the part of its profit that the fair price's moves gave, and the capital it took.
WEATHER, CAPITAL = ".weather", ".capital"


@dataclass(slots=True, kw_only=True)
class Adversary:
    """A population of one that wants the venue's money. Subclasses say how.

    It knows the stack, the book and the market, as on a public ledger, and its own plans; of the
    weather only what has been shown. Its report is its profit, the capital that it took, and how
    much the weather gave; the rest, its edge, is what it took from somebody.
    """

    name: str
    instrument: int = -1  # -1: the perpetual that is most crowded for its market
    desk: Desk = field(init=False)
    purse: Purse = field(init=False)

    def begin(self, desk: Desk) -> Iterator[Input]:
        """Take a place, choose a market, and prepare."""
        self.desk, self.purse = desk, Purse(desk)
        if self.instrument < 0:
            self.instrument = most_crowded(desk)
        yield from self.prepare()

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Play one step; with the last one everything that the venue lets go is taken out."""
        yield from self.play(step, now)
        if step == self.desk.weather.steps:
            for account in self.purse.accounts:
                yield from self.purse.take_out(account)
        self.purse.pass_on(step)

    def prepare(self) -> Iterator[Input]:
        """Do what comes before the first price; nothing, if not said otherwise."""
        yield from ()

    def play(self, step: int, now: Nanos) -> Iterator[Input]:
        """Do what comes before the prices of ``step``."""
        del step, now
        yield from ()

    def said(self, step: int, instrument: int, source: int, ticks: int) -> int:
        """Return what a source says: the truth, if not said otherwise."""
        del step, instrument, source
        return ticks

    def profit(self) -> Mapping[str, int]:
        """Return the profit by name, and beside it what the weather gave and the capital."""
        purse = self.purse
        return {
            self.name: purse.profit(),
            self.name + WEATHER: purse.weather,
            self.name + CAPITAL: purse.capital,
        }

    # -- common moves -------------------------------------------------------------------------

    def known(self, step: int) -> int:
        """Return the fair price in ticks that everybody has seen before ``step``."""
        return int(self.desk.fair(step - 1)[self.instrument])

    def push(self, share: float, now: Nanos) -> None:
        """Buy (sell) ``share`` of the market's usual depth outside, whatever it costs."""
        i, purse = self.instrument, self.purse
        money = abs(share) * purse.depth(i)
        lots = purse.lots_worth(i, money)
        purse.outside(i, lots if share > 0 else -lots, now)

    def unwind(self, step: int, now: Nanos, edge: int) -> None:
        """Bring outside inventory home where the market pays ``edge`` ppm more than fair."""
        i, lots = self.instrument, int(self.purse.inventory[self.instrument])
        if lots:
            limit = self.known(step) * (1 + (edge if lots > 0 else -edge) / 1e6)
            self.purse.while_better(i, -lots, limit, now)
