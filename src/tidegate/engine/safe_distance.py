"""The safe-distance index: which accounts a price can have made liquidatable, and a look at those.

Its answer is the full sweep's on every tick. It is built from a book, never journalled and no part
of a state: whoever keeps one tells it which accounts changed, or gives it the effects of each step.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.effects import Decision, PositionsMoved, Posted, PostedBatch
from tidegate.domain.facts import Facts
from tidegate.domain.packed import FIRST, HELD, Packed
from tidegate.domain.units import I64, unpack
from tidegate.engine.packed import PackedBook, Share, alone, ends, unpriced
from tidegate.kernels.safe_distance import (
    FAR,
    Anchor,
    Loose,
    Near,
    check_near,
    distances_in,
    gather_near,
    market_move,
    proper,
    set_loose,
)


SWEEPS = 16  # ticks beyond reach before it anchors: about as dear together as measuring everybody
NOWHERE, LOOSE = -1, -2  # `Index.place`: neither near nor loose; LOOSE - n is loose account n


@dataclass(frozen=True, slots=True)
class Index:
    """One packing of the book, measured from one anchor."""

    packed: PackedBook
    anchor: Anchor
    mark: I64  # [instruments] Ticks, at the anchor
    near: Near
    loose: Loose
    place: I64  # [accounts_max] row among the near ones where >= 0; else see above
    out: I64  # room for rows found
    always: int  # near ones whom even no move passes: below the line, or without a distance


@dataclass(slots=True)
class SafeDistance:
    """Tells who is liquidatable after each tick by looking at those who can be.

    ``reach`` bounds the moves for which distances hold (1e-9). Beyond it a tick is a full sweep;
    after some of those, and once it has looked as often at accounts that were safe at the anchor as
    there are accounts, it anchors anew. ``loose_max`` accounts may change before it packs again.
    """

    book: Book
    group_tiers: bool = False
    reach: int = 50_000_000
    loose_max: int = 4_096
    index: Index | None = None
    packs: int = (
        0  # how often it packed and anchored, and how many accounts the last tick looked at
    )
    anchors: int = 0
    checked: int = 0
    looked: int = 0  # since the anchor, at accounts that were safe there
    swept: int = 0  # since the anchor, ticks beyond its reach

    def tick(self, facts: Facts, *, mark: I64, low: I64, high: I64, share: Share = alone) -> I64:
        """Return the book rows of all liquidatable accounts at these prices, ascending."""
        index = self.index
        if index is None or not index.packed.fits(facts):
            packed = PackedBook.load(self.book, facts, mark=mark, group_tiers=self.group_tiers)
            return self.start(packed, facts, mark=mark, low=low, high=high, share=share)
        here = ends(mark, low, high)
        move = market_move(index.anchor, facts, *here)
        if move <= self.reach and self.looked <= index.packed.packed.members:
            return self._look(index, facts, mark, *here, move)
        if self.swept >= SWEEPS or move <= self.reach:
            return self.anchor_here(facts, mark=mark, low=low, high=high, share=share)
        return self._sweep(index, facts, mark, low, high, share)

    def start(
        self,
        packed: PackedBook,
        facts: Facts,
        *,
        mark: I64,
        low: I64,
        high: I64,
        share: Share = alone,
    ) -> I64:
        """Take a book that was just packed, anchor here, and return who is liquidatable."""
        loose = Loose(
            np.zeros(self.loose_max, np.int32),
            np.zeros(self.loose_max, np.int64),
            np.zeros(1, np.int64),
        )
        place = np.full(self.book.cash.size, NOWHERE, np.int64)
        self.packs += 1
        return self._anchor(packed, loose, place, facts, mark, *ends(mark, low, high), share)

    def anchor_here(
        self, facts: Facts, *, mark: I64, low: I64, high: I64, share: Share = alone
    ) -> I64:
        """Measure all distances from these prices on, and return who is liquidatable."""
        index = self.index
        assert index is not None, "nothing is packed yet: the first tick does that"
        near = index.near.account
        index.place[near] = np.minimum(index.place[near], NOWHERE)
        kept = index.packed, index.loose, index.place
        return self._anchor(*kept, facts, mark, *ends(mark, low, high), share)

    def upsert(self, facts: Facts, accounts: I64) -> None:
        """Take note that these book rows hold something else than before."""
        index = self.index
        if index is None:
            return
        accounts = np.unique(accounts[accounts >= FIRST_USER])
        used = int(index.loose.used[0])
        new = accounts[index.place[accounts] > LOOSE]
        if self.group_tiers or used + new.size > self.loose_max:
            self.index = None  # siblings owe something else too, or too many do: pack again
            return
        near = index.place[new]
        index.near.live[near[near >= 0]] = False
        index.loose.account[used : used + new.size] = new
        index.loose.used[0] += new.size
        index.place[new] = LOOSE - np.arange(used, used + new.size)
        self._weigh(index, facts, LOOSE - index.place[accounts])

    def follow(self, facts: Facts, effects: Iterable[Decision]) -> None:
        """Take note of what the effects of one step changed, after they were applied."""
        touched: list[I64] = []
        for effect in effects:
            match effect:
                case Posted():
                    touched.append(np.array([effect.debit, effect.credit], np.int64))
                case PostedBatch():
                    touched += [unpack(effect.account), np.array([effect.counter], np.int64)]
                case PositionsMoved():
                    touched.append(unpack(effect.account))
                case _:
                    pass
        if touched:
            self.upsert(facts, np.concatenate(touched))

    def _look(self, index: Index, facts: Facts, mark: I64, low: I64, high: I64, move: int) -> I64:
        """Return the liquidatable ones among those whose distance the move has passed."""
        found, self.checked = check_near(
            index.near,
            index.loose,
            index.packed.packed,
            self.book,
            facts,
            mark,
            low,
            high,
            move,
            index.out,
        )
        self.looked += self.checked - index.always
        return np.sort(index.out[:found])

    def _sweep(
        self, index: Index, facts: Facts, mark: I64, low: I64, high: I64, share: Share
    ) -> I64:
        """Return the liquidatable ones by a full sweep: what was packed, and the loose ones."""
        rows = index.packed.liquidatable(facts, mark=mark, low=low, high=high, share=share)
        rows = rows[index.place[rows] > LOOSE]
        nobody = index.near._replace(distance=index.near.distance[:0])
        loose, _ = check_near(
            nobody,
            index.loose,
            index.packed.packed,
            self.book,
            facts,
            mark,
            *ends(mark, low, high),
            FAR + 1,
            index.out,
        )
        self.checked, self.swept = index.packed.packed.members, self.swept + 1
        return np.sort(np.concatenate([rows, index.out[:loose]]))

    def _weigh(self, index: Index, facts: Facts, loose: I64) -> None:
        """Work out the distances of these loose accounts from the anchor."""
        out = np.zeros(3, np.int64)
        for n in loose.tolist():
            set_loose(self.book, facts, index.mark, index.anchor, index.loose, n, out)

    def _anchor(
        self,
        book: PackedBook,
        loose: Loose,
        place: I64,
        facts: Facts,
        mark: I64,
        low: I64,
        high: I64,
        share: Share,
    ) -> I64:
        """Measure everybody's distance from here on, and return who is liquidatable here."""
        packed, slack, distance = book.packed, *book.scratch[:2]
        fit = np.zeros(mark.size, np.bool_)
        proper(facts, fit)

        def work(first: int, last: int) -> None:
            distances_in(packed, facts, low, high, fit, self.reach, first, last, slack, distance)

        share(work, packed.members)
        spared = unpriced(packed, facts, mark)
        if spared is not None:
            distance[spared] = FAR
        distance[place[packed.account] <= LOOSE] = FAR
        anchor = Anchor(
            low=low,
            high=high,
            watched=_watched(packed, facts),
            fit=fit,
            rate=facts.tier_maintenance.copy(),
            cum=facts.tier_maintenance_cum.copy(),
            debt=facts.debt_maintenance.copy(),
            premium=facts.premium.copy(),
            cash_debt=facts.cash_debt.copy(),
        )
        near = _near(packed, distance, self.reach)
        place[near.account] = np.arange(near.account.size)
        always = int(np.searchsorted(near.distance, 0))
        room = np.empty(near.account.size + self.loose_max, np.int64)
        index = self.index = Index(book, anchor, mark.copy(), near, loose, place, room, always)
        self._weigh(index, facts, np.arange(int(loose.used[0])))
        self.anchors, self.looked, self.swept = self.anchors + 1, 0, 0
        return self._look(index, facts, mark, low, high, 0)


def _watched(packed: Packed, facts: Facts) -> np.ndarray:
    """Return which slots anybody holds; both sides of what an odd position depends on."""
    watched = np.repeat(packed.held > 0, 2)
    odd = np.unique(packed.odd_instrument)
    both = np.concatenate([odd, facts.coin[odd][facts.coin[odd] >= 0]])
    watched[2 * both] = watched[2 * both + 1] = True
    return watched


def _near(packed: Packed, distance: I64, reach: int) -> Near:
    """Return the members whose distance is within reach, nearest first."""
    order = np.flatnonzero(distance < reach)
    order = order[np.argsort(distance[order], kind="stable")]
    group = np.searchsorted(packed.group[:, FIRST], order, side="right") - 1
    start = np.zeros(order.size + 1, np.int32)
    np.cumsum(packed.group[group, HELD], out=start[1:])
    near = Near(
        distance=distance[order],
        account=np.zeros(order.size, np.int32),
        member=np.zeros(order.size, np.int32),
        live=np.ones(order.size, np.bool_),
        net=np.zeros(order.size, np.int64),
        start=start,
        slot=np.zeros(int(start[-1]), np.int32),
        lots=np.zeros(int(start[-1]), np.int64),
    )
    gather_near(packed, order, group, near)
    return near
