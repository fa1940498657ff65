"""Margin for the wait: who would have to queue behind a throttle holds more from the start."""

import msgspec
import numpy as np

from tidegate.domain.book import Book, Health
from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, Money, Ppm
from tidegate.kernels.wait import account_wait, charge_wait


class WaitMargin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An add-on to maintenance for the time in which a throttle would release a position.

    ``risk`` is z * sigma: the part of its value that a position may lose in a second, times the
    square root of the wait. ``cost`` is paid for each window after the first. Neutral: neither.
    The wait comes from ``throttle.lots``: only what is fixed in lots can be priced beforehand.
    """

    risk: Ppm = Ppm(0)
    cost: Money = Money(0)

    def __post_init__(self) -> None:
        """Refuse a negative price of waiting, and one that no position could pay for a second."""
        refuse_negative("wait", self, "risk", "cost")
        if self.risk > PPM:
            raise ConfigInvalid(
                where="wait.risk",
                what="must be <= 1_000_000: no more than all of it in a second",
                found=f"{self.risk:_}",
            )

    @property
    def active(self) -> bool:
        """Whether waiting is priced at all."""
        return bool(self.risk or self.cost)

    def charge(
        self,
        book: Book,
        facts: Facts,
        health: Health,
        *,
        mark: I64,
        low: I64,
        high: I64,
        capacity: I64,
        window_us: int,
    ) -> Health:
        """Return the health after everybody was charged for their wait; copies, never in place."""
        charged = Health(
            equity=health.equity, required=health.required.copy(), best=health.best.copy()
        )
        limits = (capacity, window_us, self.risk, self.cost)
        charge_wait(book, facts, mark, low, high, *limits, charged.required, charged.best)
        return charged

    def needed(
        self,
        book: Book,
        facts: Facts,
        *,
        mark: I64,
        account: int,
        instrument: int,
        lots: int,
        capacity: I64,
        window_us: int,
    ) -> Money:
        """Return what one account must hold for its wait after a change, in Money."""
        change = (account, instrument, lots)
        limits = (capacity, window_us, self.risk, self.cost)
        return Money(int(account_wait(book, facts, mark, *change, *limits)))

    def capacities(self, symbols: list[str], lots: dict[str, int]) -> I64:
        """Return the lots of one window by instrument; 0 where waiting is not priced."""
        return np.array([lots.get(s, 0) for s in symbols], np.int64)

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said: list[str] = []
        if self.risk:
            said.append(
                f"wait: maintenance rises by {self.risk / 1e4:g} % of a position times the square "
                "root of the seconds its sale would take"
            )
        if self.cost:
            said.append(f"wait: and by {self.cost / 1e6:,.2f} for each window after the first")
        return said or ["wait: not priced into margin"]
