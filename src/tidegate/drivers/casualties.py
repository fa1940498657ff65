"""Statistics over a whole book: sizes, the average initial rate, and who was hit by how much."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, PPM
from tidegate.kernels.groups import initial_extra_total
from tidegate.kernels.margin import initial_total


F64: TypeAlias = NDArray[np.float64]


def notionals(facts: Facts, instrument: I64, lots: I64, price: I64) -> F64:
    """Return the size of each row in Money, never negative; a statistic, not a ledger value."""
    size = np.abs(lots.astype(np.float64))
    linear = size * price * facts.tick_value[instrument] / facts.units[instrument]
    return np.where(facts.kind[instrument] == Kind.INVERSE, size * facts.face[instrument], linear)


def initial_rate(book: Book, facts: Facts, mark: I64, *, grouped: bool = False) -> float | None:
    """Return the initial requirement of everybody over everything that is open.

    Open is every position and every debt; a balance that is held is collateral, and asks only for
    its haircut. With ``grouped``, tiers are those of owner groups. None while somebody holds what
    has no price yet, or while nothing is open.
    """
    rows = slice(0, book.high)
    lots, instrument = book.lots[rows], book.instrument[rows].astype(np.int64)
    ours = (book.account[rows] >= FIRST_USER) & (lots != 0)
    size = notionals(facts, instrument, lots, mark[instrument])
    if not size[ours].all():
        return None
    ours &= (facts.kind[instrument] != Kind.SPOT) | (lots < 0)
    open_, required = float(size[ours].sum()), float(initial_total(book, facts, mark))
    if grouped:
        required += float(initial_extra_total(book, facts, mark))
    if facts.cash_debt[1]:
        owed = -float(np.minimum(book.cash[FIRST_USER : book.accounts], 0).sum())
        open_, required = open_ + owed, required + owed * float(facts.cash_debt[1]) / PPM
    return required / open_ if open_ else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Casualties:
    """Columns by account row, system accounts included (they stay zero). Money unless said."""

    equity: I64  # [accounts] at the opening
    notional: I64  # [accounts] at the opening, all instruments
    first: I64  # [accounts] Nanos of the first forced order, netting or deleveraging; 0: never
    orders: I64  # [accounts] forced orders placed
    forced: I64  # [accounts] sold, bought back, netted or closed against winners
    deficit: I64  # [accounts] by which it was found bankrupt
    lost: I64  # [accounts] positions taken from it as a winner, at the mark
    forgone: I64  # [accounts] profit it gave up as a winner

    @classmethod
    def none(cls, accounts_max: int) -> "Casualties":
        """Return columns in which nobody was hit yet."""
        return cls(**{name: np.zeros(accounts_max, np.int64) for name in cls.__slots__})

    def open(self, book: Book, facts: Facts, equity: I64, mark: I64) -> None:
        """Write what everybody has at the opening, at ``mark``."""
        rows = slice(0, book.high)
        account, instrument = book.account[rows], book.instrument[rows].astype(np.int64)
        size = notionals(facts, instrument, book.lots[rows], mark[instrument])
        total = np.bincount(account, weights=size, minlength=self.notional.size)
        self.notional[:] = np.rint(total).astype(np.int64)
        self.notional[:FIRST_USER] = 0
        n = min(equity.size, book.accounts)
        self.equity[FIRST_USER:n] = equity[FIRST_USER:n]

    def hit(self, account: I64, now: int) -> None:
        """Note the first time at which something was done to these accounts."""
        fresh = account[self.first[account] == 0]
        self.first[fresh] = max(now, 1)

    @property
    def liquidated(self) -> I64:
        """Rows of accounts that were liquidated: ordered, netted, or bankrupt in a deleveraging."""
        return np.flatnonzero(self.first)

    @property
    def deleveraged(self) -> I64:
        """Rows of winners from whom positions were taken."""
        return np.flatnonzero(self.lost)
