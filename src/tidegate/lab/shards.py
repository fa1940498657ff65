"""A book cut by owner into shards, and the totals of the parts joined to those of the whole.

An account goes where its owner's row falls, so that whatever margin joins (tiers of a group,
isolated accounts of one owner) stays in one shard. Everything summed is a whole number: the joined
totals are those of the uncut book, bit for bit, however many shards there are.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from tidegate.domain.book import ACCOUNTS, FIRST_USER, Book, Health, move_all
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64
from tidegate.domain.venue import Limits
from tidegate.safeguards.margin import MarginModel


HALF, LOW_HALF = 32, 0xFFFF_FFFF

Assess = Callable[[I64, I64, I64], Health]  # marks, and believed low and high prices: [instruments]
Prepare = Callable[[Book, Facts], Assess]  # lays a book out once, for many prices


@dataclass(frozen=True, slots=True)
class Plain:
    """Assesses a book as it lies, by the margin model; any other layout must say the same."""

    margin: MarginModel

    def __call__(self, book: Book, facts: Facts) -> Assess:
        """Return the function from prices to health."""

        def assess(mark: I64, low: I64, high: I64) -> Health:
            return self.margin.assess(book, facts, mark=mark, low=low, high=high)

        return assess


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue asks of all accounts together. Exact: Python integers, which never wrap."""

    accounts: int = 0
    equity: int = 0  # Money
    required: int = 0  # Money, maintenance
    liquidatable: int = 0  # accounts
    shortfall: int = 0  # Money that the liquidatable lack at the prices that favour them
    bankrupt: int = 0  # accounts whose equity is below zero
    deficit: int = 0  # Money that these owe

    def __add__(self, other: "Totals") -> "Totals":
        """Return the totals of both."""
        names = self.__struct_fields__
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in names})


def joined(parts: Iterable[Totals]) -> Totals:
    """Return the totals of all parts together."""
    return sum(parts, Totals())


def totals(health: Health) -> Totals:
    """Return the totals of the user accounts of one book."""
    equity, best = health.equity[FIRST_USER:], health.best[FIRST_USER:]
    return Totals(
        accounts=equity.size,
        equity=exact_sum(equity),
        required=exact_sum(health.required[FIRST_USER:]),
        liquidatable=int((best < 0).sum()),
        shortfall=-exact_sum(best[best < 0]),
        bankrupt=int((equity < 0).sum()),
        deficit=-exact_sum(equity[equity < 0]),
    )


def exact_sum(column: I64) -> int:
    """Return the sum of up to 2**31 cells, in halves that cannot wrap."""
    return (int((column >> HALF).sum()) << HALF) + int((column & LOW_HALF).sum())


class Shard(NamedTuple):
    """A book of its own: the system accounts, empty, then some of the users in their old order."""

    rows: I64  # [accounts] the row that each account has in the whole book
    book: Book
    facts: Facts


def cut(book: Book, facts: Facts, shards: int) -> list[Shard]:
    """Return the users of ``book`` in so many shards, by ranges of their owners' rows.

    A shard is for assessing: positions hold lots and cost; what is in flight, and rows that hold
    nothing else, stay behind. Open interest is the whole book's in each: it is the venue's.
    """
    assert shards >= 1
    owner = book.owner[FIRST_USER : book.accounts].astype(np.int64)
    first = FIRST_USER + np.arange(1, shards) * (book.accounts - FIRST_USER) // shards
    home = np.searchsorted(first, owner, side="right")
    live = np.flatnonzero((book.lots[: book.high] != 0) | (book.cost[: book.high] != 0))
    live = live[book.account[live] >= FIRST_USER]
    row_home = home[book.account[live] - FIRST_USER]
    return [
        _shard(book, facts, FIRST_USER + np.flatnonzero(home == s), live[row_home == s])
        for s in range(shards)
    ]


def _shard(book: Book, facts: Facts, users: I64, live: I64) -> Shard:
    """Return the shard of these accounts and these position rows."""
    rows = np.concatenate([np.arange(FIRST_USER), users])
    limits = Limits(accounts_max=rows.size, positions_max=max(1, live.size))
    part = Book.empty(limits, book.long_open.size)
    part.counts[ACCOUNTS] = rows.size
    part.cash[FIRST_USER:] = book.cash[users]
    # Renumbered: who belonged together still does, and nothing else is asked of the number.
    part.owner[FIRST_USER:] = FIRST_USER + np.unique(book.owner[users], return_inverse=True)[1]
    account = np.searchsorted(rows, book.account[live])
    instrument = book.instrument[live].astype(np.int64)
    moved = move_all(part, account, instrument, book.lots[live], book.cost[live])
    assert moved == live.size, f"{moved} of {live.size} positions fitted"
    part.long_open[:], part.short_open[:] = book.long_open, book.short_open
    return Shard(rows, part, facts)
