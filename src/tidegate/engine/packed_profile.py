"""The forced side of every instrument's cascade profile over a packed book, kept up to date."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.facts import Facts
from tidegate.domain.units import I64
from tidegate.engine.packed import PackedBook, Share, alone, ends
from tidegate.kernels.packed import Coefficients, coefficients
from tidegate.kernels.packed_profile import (
    SPARE,
    Grid,
    grid,
    holders,
    profile_in,
    profile_odd,
    shift_in,
    slack_of,
)


def profile(
    book: PackedBook,
    facts: Facts,
    *,
    mark: I64,
    slack: I64,
    width: int,
    buckets: int,
    share: Share = alone,
) -> I64:
    """Return the lots forced per slot and bucket, [slots, buckets].

    Row ``2 i`` is what `forced_buckets` writes to ``down`` for instrument ``i``, row ``2 i + 1``
    what it writes to ``up``. ``slack`` is best-case margin per member, in packed order.
    """
    c = coefficients(book.packed, facts, mark, mark)
    total = _counted(book, facts, mark, c, grid(c, width, buckets), slack, share)
    return _rows(total, buckets)


def _counted(
    book: PackedBook, facts: Facts, mark: I64, c: Coefficients, g: Grid, slack: I64, share: Share
) -> I64:
    """Return `profile` as `profile_in` writes it."""

    def work(first: int, last: int) -> I64:
        out = np.zeros(c.value.size * g.buckets + SPARE, np.int64)
        profile_in(book.packed, c, g, slack, first, last, out)
        return out

    total: I64 = np.sum(share(work, book.packed.members), axis=0)
    profile_odd(book.packed, facts, mark, slack, g.width, g.buckets, total)
    return total


def _rows(total: I64, buckets: int) -> I64:
    """Return the buckets of every slot, without whoever is beyond them."""
    return total[:-SPARE].reshape(-1, buckets)


@dataclass(slots=True)
class MovingProfile:
    """A profile that follows the prices: when few instruments move, only their holders are redone.

    Where more than a quarter of all accounts would be, where a rule has changed, and where any
    position is odd, everybody is.
    """

    book: PackedBook
    width: int
    buckets: int
    redone: int = 0  # accounts that the last refresh looked at
    _start: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    _holder: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int32))
    _slack: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    _total: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    _ends: tuple[I64, I64, I64] | None = None
    _at: tuple[Coefficients, Grid] | None = None

    def refresh(self, facts: Facts, *, mark: I64, low: I64, high: I64, share: Share = alone) -> I64:
        """Return the profile at these prices, [slots, buckets]; valid until the next call."""
        assert self.book.fits(facts), "a rule that is packed with the book has changed: pack anew"
        packed, (low, high) = self.book.packed, ends(mark, low, high)
        c = coefficients(packed, facts, mark, mark)
        g = grid(c, self.width, self.buckets)
        members = self._touched(c, mark, low, high)
        if members is None:
            found = self.book.assess(facts, mark=mark, low=low, high=high, share=share)
            self._slack = found.equity - found.required if found.best is None else found.best
            self._total = _counted(self.book, facts, mark, c, g, self._slack, share)
            self.redone = packed.members
        else:
            assert self._at is not None
            best = coefficients(packed, facts, high, low)
            before, then = self._at

            def work(first: int, last: int) -> I64:
                out, part = np.zeros_like(self._total), members[first:last]
                shift_in(packed, before, then, self._slack, -1, part, out)
                slack_of(packed, best, part, self._slack)
                shift_in(packed, c, g, self._slack, 1, part, out)
                return out

            self._total += np.sum(share(work, members.size), axis=0)
            self.redone = members.size
        self._ends = mark.copy(), low, high
        self._at = c._replace(rate=c.rate.copy(), cum=c.cum.copy()), g
        return _rows(self._total, self.buckets)

    def _touched(self, c: Coefficients, mark: I64, low: I64, high: I64) -> NDArray[Any] | None:
        """Return who holds anything whose price moved, ascending; None: look at everybody."""
        if self._ends is None or self._at is None:
            self._start, self._holder = holders(self.book.packed)
            return None
        before = self._at[0]
        same = (before.rate == c.rate).all() and (before.cum == c.cum).all()
        if self.book.packed.odd_start.size or not same or not mark.all():
            return None
        moved = np.zeros(mark.size, np.bool_)
        for now, then in zip((mark, low, high), self._ends, strict=True):
            moved |= now != then
        i = np.flatnonzero(moved)
        if (self._start[i + 1] - self._start[i]).sum() * 4 > self.book.packed.members:
            return None
        parts = [self._holder[self._start[k] : self._start[k + 1]] for k in i.tolist()]
        return np.unique(np.concatenate([self._holder[:0], *parts]))
