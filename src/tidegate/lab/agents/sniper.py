"""Trading on a mark that is old: a vault that quotes around it, and who knows a newer price.

The second venue is a price and nothing else: it takes any size at what the weather says, a cost
worse, so many steps after it was so. What is bought here is sold there at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tidegate.domain.events import Input
from tidegate.domain.units import PPM, Nanos
from tidegate.lab.agents.adversary import Adversary
from tidegate.lab.agents.purse import Purse, most_crowded
from tidegate.lab.population import Desk


VAULT_DEPTHS: Final = 20.0  # cash of the vault, in depths of the market it quotes
ELSEWHERE: Final = 200  # ppm that a trade on the second venue costs beside the fee


@dataclass(slots=True)
class Vault:
    """A liquidity vault of the venue: takes any trade at the mark, ``spread`` ppm away from it.

    Up to ``size`` depths a step, with ``cash`` depths behind it. It reports what it loses.
    """

    spread: int = 500
    size: float = 0.5
    cash: float = VAULT_DEPTHS
    instrument: int = -1  # -1: the perpetual that is most crowded for its market
    purse: Purse = field(init=False)
    name: str = "vault"

    def begin(self, desk: Desk) -> Iterator[Input]:
        """Open an account and pay in what stands behind its quotes."""
        self.purse = Purse(desk)
        if self.instrument < 0:
            self.instrument = most_crowded(desk)
        yield from self.purse.open(self.name)
        amount = round(self.cash * self.purse.depth(self.instrument))
        yield from self.purse.pay_in(self.account, amount)

    @property
    def account(self) -> int:
        """Its row in the book."""
        return self.purse.accounts[0]

    def quote(self, side: int) -> int:
        """Return the ticks at which it sells (side 1) or buys (-1), never inside its spread."""
        exact = self.purse.mark(self.instrument) * (PPM + side * self.spread)
        return -(-exact // PPM) if side > 0 else exact // PPM

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Wait for takers."""
        del step, now
        yield from ()

    def said(self, step: int, instrument: int, source: int, ticks: int) -> int:
        """Leave every price as it is."""
        del step, instrument, source
        return ticks

    def profit(self) -> Mapping[str, int]:
        """Return what it gained."""
        return {self.name: self.purse.profit()}


@dataclass(slots=True, kw_only=True)
class Sniper(Adversary):
    """Trades with the vault where its quote is ``edge`` ppm off the second venue, and hedges there.

    ``ahead`` steps it sees the second venue before this venue's sources speak; 0: it knows no more
    than they, and profits only from a mark that the stack itself holds back.
    """

    vault: Vault
    edge: int
    size: float = 0.5
    ahead: int = 0

    def prepare(self) -> Iterator[Input]:
        """Open an account that can carry a few full trades in the vault's market."""
        purse, i = self.purse, self.vault.instrument
        self.instrument = i
        yield from purse.open(self.name)
        lots = purse.lots_worth(i, 4 * self.size * purse.depth(i))
        yield from purse.pay_in(purse.accounts[0], purse.margin_for(purse.accounts[0], i, lots))

    def play(self, step: int, now: Nanos) -> Iterator[Input]:
        """Buy what is too cheap, sell what is too dear, at most once a step."""
        purse, i = self.purse, self.instrument
        true = int(self.desk.fair(step - 1 + self.ahead)[i])
        lots = purse.lots_worth(i, min(self.size, self.vault.size) * purse.depth(i))
        for side in (1, -1):
            price = self.vault.quote(side)
            gain = side * (true - price) * PPM
            if lots and price >= 1 and gain > self.edge * price:
                before = purse.held(purse.accounts[0], i)
                yield from purse.meet(self.vault.account, i, side * lots, price, now)
                moved = purse.held(purse.accounts[0], i) - before
                if moved:
                    purse.elsewhere(i, -moved, true, ELSEWHERE)
