"""What a judgement may read instead of the whole book: a packed copy that follows every step.

Derived, never journalled and no part of a state: with it and without it every effect is the same.
It notices by itself when it has missed a step or belongs to another book, and starts anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tidegate.domain.book import FIRST_USER, Health
from tidegate.domain.effects import (
    Decision,
    PositionsMoved,
    Posted,
    PostedBatch,
)
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, unpack
from tidegate.engine.packed import PackedBook, Share, alone, ends
from tidegate.engine.packed_profile import profile
from tidegate.engine.state import State
from tidegate.kernels.lens import (
    ASIDE,
    ease_in,
    force_rows,
    judge_in,
    judge_rows,
    recash,
    refit,
)
from tidegate.kernels.packed import add_odd, add_odd_best, coefficients
from tidegate.kernels.packing import HEADROOM
from tidegate.safeguards.stack import SafeguardStack


NEW, APART = -1, -2  # `_Copy.place`: not packed, nor seen yet; judged one by one
PATIENCE: Final = 32  # ordinary sweeps that cost about as much as packing once


@dataclass(slots=True)
class _Copy:
    """A book as it was packed, and who has left their cells since."""

    packed: PackedBook
    place: I64  # [accounts_max] member, NEW or APART
    paid: I64  # [members] Money paid for the plain positions in their cells
    slack: I64  # [members] best-case margin of the last look
    health: tuple[I64, I64, I64]  # [accounts_max] written anew by every look
    known: int  # accounts that were there at the last step
    rows: I64  # [apart_max] book rows of those who are judged one by one
    left: I64  # [apart_max] members whose cells nobody fills any more
    used: int = 0  # cells of `rows`
    gone: int = 0  # cells of `left`

    @property
    def apart(self) -> I64:
        """Book rows of those who are judged one by one."""
        return self.rows[: self.used]


@dataclass(slots=True)
class Lens:
    """Keeps one packed copy beside a state; see `Crank`, which feeds it.

    ``share`` runs ranges of members, on threads where there are any. ``apart_max`` accounts may be
    judged one by one before the book is packed anew.
    """

    share: Share = alone
    apart_max: int = 32_768
    packs: int = 0  # how often it packed, and how many judgements it left to the ordinary sweep
    passed: int = 0
    _copy: _Copy | None = None
    _book: object = None  # the book that was packed
    _seq: int = -1  # the state's, after the last step that was followed
    _answered: bool = False  # the last question about health
    _rented: int = field(default=PATIENCE)

    def health(
        self, state: State, facts: Facts, mark: I64, low: I64, high: I64, stack: SafeguardStack
    ) -> Health | None:
        """Return what `MarginModel.assess` would; None where the ordinary sweep has to.

        Valid until the next call. The sweep has to while somebody holds what has no price, under
        rules that judge accounts together, and until packing anew is worth its cost.
        """
        copy = self._ready(state, facts, mark, stack)
        self._answered = copy is not None
        if copy is None:
            self.passed += 1
            return None
        self._sweep(copy, facts, mark, *ends(mark, low, high))
        n = state.book.accounts
        equity, required, best = (column[:n] for column in copy.health)
        for column in (equity, required, best):
            column[:FIRST_USER] = 0
        judge_rows(state.book, facts, mark, low, high, copy.apart, equity, required, best)
        return Health(equity=equity, required=required, best=best)

    def forced(self, state: State, mark: I64, best: I64, width: int, buckets: int) -> I64 | None:
        """Return the lots forced per slot and bucket, [slots, buckets], after `health` answered.

        ``best`` is that answer's. Row ``2 i`` are longs in instrument ``i``, ``2 i + 1`` shorts.
        """
        copy = self._copy
        if copy is None or not self._answered:
            return None
        facts = state.facts
        out = profile(
            copy.packed,
            facts,
            mark=mark,
            slack=copy.slack,
            width=width,
            buckets=buckets,
            share=self.share,
        )
        force_rows(state.book, facts, mark, best, copy.apart, width, out)
        return out

    def follow(self, state: State, effects: Sequence[Decision]) -> None:
        """Take note of what the effects of one step changed, after they were applied."""
        copy = self._copy
        if copy is None:
            return
        if self._seq != state.seq - 1 or self._book is not state.book.cash:
            self._copy = None  # steps that it was not told of
            return
        self._seq = state.seq
        touched, moved = _touched(effects)
        new = np.arange(copy.known, state.book.accounts)
        copy.known = state.book.accounts
        if new.size or moved.size:
            self._refit(copy, state, np.concatenate([new, moved]))
        if touched.size or moved.size:
            of = copy.packed.packed
            accounts = np.concatenate([touched, moved])
            recash(state.book, of.cash_debt[0], copy.place, accounts, copy.paid, of.net, of.owed)

    def _ready(self, state: State, facts: Facts, mark: I64, stack: SafeguardStack) -> _Copy | None:
        """Return the copy to look at, packing one where that is due."""
        if stack.margin.group_tiers or stack.wait.active or stack.soft.bands:
            return None
        book = state.book
        needed = (book.long_open > 0) | (book.short_open > 0)
        needed[facts.coin[needed & (facts.coin >= 0)]] = True
        if (needed & (mark == 0)).any():
            return None
        copy = self._copy
        if copy is not None and self._seq == state.seq and self._book is book.cash:
            premium = copy.packed.packed.premium
            if copy.packed.fits(facts) and (state.facts.premium == premium).all():
                return copy
            self._copy = None
        self._rented += 1
        if self._rented <= PATIENCE:
            return None
        return self._pack(state, facts, mark)

    def _pack(self, state: State, facts: Facts, mark: I64) -> _Copy:
        book, packed = state.book, PackedBook.load(state.book, facts, mark=mark)
        account = packed.packed.account
        place = np.full(book.cash.size, NEW, np.int64)
        place[account] = np.arange(account.size)
        equity, required, best = (np.zeros(book.cash.size, np.int64) for _ in range(3))
        copy = self._copy = _Copy(
            packed=packed,
            place=place,
            paid=book.cash[account] - packed.packed.net,
            slack=packed.scratch[0],
            health=(equity, required, best),
            known=book.accounts,
            rows=np.zeros(self.apart_max, np.int64),
            left=np.zeros(self.apart_max, np.int64),
        )
        self._book, self._seq = book.cash, state.seq
        self._rented, self.packs = 0, self.packs + 1
        return copy

    def _sweep(self, copy: _Copy, facts: Facts, mark: I64, low: I64, high: I64) -> None:
        """Write the health of all members, and their slack; those apart are far from everything."""
        packed, (equity, required, best) = copy.packed.packed, copy.health
        net, owed = packed.net, packed.owed
        if packed.odd_start.size:
            net, owed = net.copy(), owed.copy()
            add_odd(packed, facts, mark, net, owed)
        c = coefficients(packed, facts, mark, mark)

        def judge(first: int, last: int) -> None:
            judge_in(packed, c, net, owed, first, last, equity, required, best, copy.slack)

        self.share(judge, packed.members)
        if (low != high).any():
            net = packed.net
            if packed.odd_start.size:
                net = net.copy()
                add_odd_best(packed, facts, low, high, net)
            eased = coefficients(packed, facts, high, low)

            def ease(first: int, last: int) -> None:
                ease_in(packed, eased, net, packed.owed, first, last, best, copy.slack)

            self.share(ease, packed.members)
        copy.slack[copy.left[: copy.gone]] = ASIDE

    def _refit(self, copy: _Copy, state: State, accounts: I64) -> None:
        """Write positions into their cells; who does not fit any more is judged apart."""
        accounts = np.unique(accounts)
        accounts = accounts[(accounts >= FIRST_USER) & (copy.place[accounts] != APART)]
        misfits = np.zeros(accounts.size, np.bool_)
        packed, book, mark = copy.packed.packed, state.book, state.mark
        refit(book, state.facts, mark, packed, HEADROOM, copy.place, accounts, copy.paid, misfits)
        out = accounts[misfits]
        if copy.used + out.size > self.apart_max:
            self._copy = None
            return
        left = copy.place[out]
        left = left[left >= 0]
        copy.rows[copy.used : copy.used + out.size] = out
        copy.left[copy.gone : copy.gone + left.size] = left
        copy.used, copy.gone = copy.used + out.size, copy.gone + left.size
        copy.place[out] = APART


def _touched(effects: Sequence[Decision]) -> tuple[I64, I64]:
    """Return the accounts whose cash changed, and those whose positions did; any of them twice."""
    cash, held = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for effect in effects:
        match effect:
            case Posted():
                both = np.array([effect.debit, effect.credit], np.int64)
                (cash if effect.asset == CASH else held).append(both)
            case PostedBatch():
                everybody = [unpack(effect.account), np.array([effect.counter], np.int64)]
                (cash if effect.asset == CASH else held).extend(everybody)
            case PositionsMoved():
                held.append(unpack(effect.account))
            case _:
                pass
    return np.concatenate(cash), np.concatenate(held)
