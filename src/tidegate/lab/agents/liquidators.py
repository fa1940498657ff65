"""Liquidators and keepers as a population of one's own choosing: how many, how rich, how slow.

They are the driver's keepers (`drivers.keepers`), with other numbers: they compete for what a stack
auctions, need inventory to hold it, and pay gas for every bid, won or lost.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.events import Input
from tidegate.drivers.keepers import KeeperCrowd, Keepers
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import worth_now


@dataclass(slots=True, kw_only=True)
class Liquidators(Bystander):
    """Replaces the usual keepers of a path by ``crowd``; one of these in a crowd is enough."""

    crowd: KeeperCrowd
    _paid: int = field(init=False)

    def gather(self) -> Iterator[Input]:
        """Take the usual keepers' place before any of them has bid."""
        desk = self.desk
        assert desk.turning.bidders.next_due() is None, "nobody has bid at the opening"
        desk.turning.bidders = Keepers.drawn(
            desk.stack, desk.stack.venue, desk.market, desk.streams, self.crowd
        )
        self._paid = self._have()
        yield from ()

    def _have(self) -> int:
        return sum(
            k.capital + sum(k.spent.values()) + sum(k.tied.values())
            for k in self.desk.turning.bidders.present
        )

    def profit(self) -> Mapping[str, int]:
        """Return what they all gained, gas included, with what they hold at the fair price."""
        fair = self.desk.fair(self.desk.weather.steps)
        gained = self._have() - self._paid
        for keeper in self.desk.turning.bidders.present:
            for i, lots in keeper.inventory.items():
                worth = worth_now(self.desk, i, float(fair[i]))
                # A long lot is worth its price against its cost, a short one the other way round.
                gained += round(np.sign(lots) * (abs(lots) * worth - keeper.spent[i]))
        return {self.name: gained}
