"""A packed book as the engine reads it: the margin model's answers, in less than half the time.

Ranges of members are independent and their answers are put together in order, so whoever calls may
share them out: see `drivers.threads`. Nothing here is journalled or part of a state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import Book, Health
from tidegate.domain.facts import Facts
from tidegate.domain.packed import Packed
from tidegate.domain.units import I64
from tidegate.kernels.margin import UNKNOWN
from tidegate.kernels.packed import (
    Coefficients,
    add_odd,
    add_odd_best,
    coefficients,
    liquidatable_in,
    mark_unpriced,
    sweep_in,
)
from tidegate.kernels.packing import pack_book


T = TypeVar("T")


class Share(Protocol):
    """Someone who runs ``work(first, last)`` over ranges that cover 0..``total`` - 1 once each."""

    def __call__(self, work: Callable[[int, int], T], total: int) -> list[T]:
        """Return what each range answered, in order."""
        ...


def alone(work: Callable[[int, int], T], total: int) -> list[T]:
    """Run all of it here, as one range."""
    return [work(0, total)]


@dataclass(frozen=True, slots=True)
class Assessed:
    """The health of every member, in packed order: row ``n`` is account ``account[n]``."""

    account: NDArray[Any]  # [members] row of the book
    equity: I64  # [members] Money
    required: I64  # [members] Money, maintenance
    below: NDArray[np.bool_]  # [members] liquidatable at every believed price
    best: I64 | None  # [members] best-case margin where a price is doubted; else their difference

    def health(self, accounts: int) -> Health:
        """Return the same by book row, as `MarginModel.assess` gives it for so many accounts."""
        out = [np.zeros(accounts, np.int64) for _ in range(3)]
        best = self.equity - self.required if self.best is None else self.best
        for column, values in zip(out, (self.equity, self.required, best), strict=True):
            column[self.account] = values
        return Health(equity=out[0], required=out[1], best=out[2])


@dataclass(frozen=True, slots=True)
class PackedBook:
    """One loaded book. The answers are those of `MarginModel.assess` under the same rules.

    The add-on for waiting (`safeguards.wait`) is not carried: a stack that charges it keeps the
    ordinary sweep.
    """

    packed: Packed
    scratch: tuple[I64, I64, NDArray[np.bool_]]  # written anew by every `assess`

    @classmethod
    def of(cls, packed: Packed) -> Self:
        """Return a packed book with memory for its answers."""
        n = packed.members
        return cls(packed, (np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.bool_)))

    @classmethod
    def load(cls, book: Book, facts: Facts, *, mark: I64, group_tiers: bool = False) -> Self:
        """Return ``book`` as it stands now, packed."""
        return cls.of(pack_book(book, facts, mark, group_tiers=group_tiers))

    def fits(self, facts: Facts) -> bool:
        """Return whether it may be read under ``facts``: the rules that were packed still hold."""
        packed = self.packed
        return bool(
            (facts.premium == packed.premium).all() and facts.cash_debt[0] == packed.cash_debt[0]
        )

    def liquidatable(
        self, facts: Facts, *, mark: I64, low: I64, high: I64, share: Share = alone
    ) -> I64:
        """Return the book rows of all liquidatable accounts, ascending; `Health.liquidatable`."""
        low, high = ends(mark, low, high)
        c, net, owed = self._at_best(facts, low, high)

        def work(first: int, last: int) -> I64:
            out = np.empty(last - first, np.int64)
            return out[: liquidatable_in(self.packed, c, net, owed, first, last, out)]

        members = np.concatenate(share(work, self.packed.members))
        spared = unpriced(self.packed, facts, mark)
        if spared is not None:
            members = members[~spared[members]]
        return np.sort(self.packed.account[members].astype(np.int64))

    def assess(
        self, facts: Facts, *, mark: I64, low: I64, high: I64, share: Share = alone
    ) -> Assessed:
        """Return the health of every account; its columns are valid until the next call."""
        low, high = ends(mark, low, high)
        assert self.fits(facts), "pack the book again: a size premium or the rate on debt changed"
        net, owed = self.packed.net, self.packed.owed
        if self.packed.odd_start.size:
            net, owed = net.copy(), owed.copy()
            add_odd(self.packed, facts, mark, net, owed)
        self._sweep(coefficients(self.packed, facts, mark, mark), net, owed, share, self.scratch)
        equity, required, below = self.scratch
        best = None
        if (low != high).any():
            there = np.empty_like(equity), np.empty_like(equity), below
            self._sweep(*self._at_best(facts, low, high), share, there)
            best = there[0] - there[1]
        spared = unpriced(self.packed, facts, mark)
        if spared is not None:
            best = equity - required if best is None else best
            best[spared], equity[spared], below[spared] = UNKNOWN, 0, False
        return Assessed(self.packed.account, equity, required, below, best)

    def _at_best(self, facts: Facts, low: I64, high: I64) -> tuple[Coefficients, I64, I64]:
        """Return what a sweep at the favourable ends takes: coefficients, and what stands apart."""
        packed = self.packed
        assert self.fits(facts), "pack the book again: a size premium or the rate on debt changed"
        net = packed.net
        if packed.odd_start.size:
            net = net.copy()
            add_odd_best(packed, facts, low, high, net)
        return coefficients(packed, facts, high, low), net, packed.owed

    def _sweep(
        self,
        c: Coefficients,
        net: I64,
        owed: I64,
        share: Share,
        out: tuple[I64, I64, NDArray[np.bool_]],
    ) -> None:
        def work(first: int, last: int) -> None:
            sweep_in(self.packed, c, net, owed, first, last, *out)

        share(work, self.packed.members)


def unpriced(packed: Packed, facts: Facts, mark: I64) -> NDArray[np.bool_] | None:
    """Return who cannot be judged for want of a price; None where every price is known."""
    if mark.all() or not (packed.held[mark == 0].any() or packed.odd_start.size):
        return None
    spared = np.zeros(packed.members, np.bool_)
    mark_unpriced(packed, facts, mark, spared)
    return spared


def ends(mark: I64, low: I64, high: I64) -> tuple[I64, I64]:
    """Return the ends of the believed intervals; the mark where there is no doubt."""
    doubt = low != high
    return np.where(doubt, low, mark), np.where(doubt, high, mark)
