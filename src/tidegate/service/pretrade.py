"""The pre-trade check: would this order be allowed, and what does it add to the venue's tail.

Two halves. `look` runs on the crank thread: it asks the engine's own rules and reads the accounts
of the order. `Desk` works anywhere: it holds them against a base that was made of a copy of the
book, in the background.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from tidegate.api.checks import Reason
from tidegate.domain.book import FIRST_USER, Book, row_of
from tidegate.domain.effects import Decision, PositionsMoved, Posted, PostedBatch, Rejected
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.events import Traded, Withdrawn
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, PPM, Nanos, unpack
from tidegate.drivers.casualties import notionals
from tidegate.engine.following import facts_now
from tidegate.engine.stable import initial_marks
from tidegate.engine.state import State
from tidegate.engine.step import decide
from tidegate.engine.waiting import wait_extra
from tidegate.kernels.groups import add_account_extra
from tidegate.kernels.margin import assess_account
from tidegate.kernels.profile import N_MAX, distance
from tidegate.kernels.tiers import tier_at
from tidegate.kernels.value import SPOT, notional
from tidegate.lab.kernels.scenarios import F64
from tidegate.lab.marginal import (
    Base,
    Holding,
    Marginal,
    copy_for_base,
    holding_of,
    small_book,
)
from tidegate.lab.tail_model import TailModel, shocks, underlyings
from tidegate.safeguards.stack import Stack


Order = Traded | Withdrawn
REST: Final = 4.0  # times as long as a base took is waited before the next: a fifth of one core
CRANK_REST: Final = 200.0  # and so many times as long as the crank was held up for the copy


class PreTradeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of the pre-trade check, set by whoever governs the venue; None: no limit.

    ``stale`` says what a limit means while its base should not be trusted: "closed" takes it for
    exceeded, "open" lets the engine's rules alone decide. Orders that reduce are never held.
    """

    model: TailModel = TailModel()
    es_add_max: float | None = None  # numeraire, of the expected shortfall
    branching_add_max: int | None = None  # ppm, of any instrument's near branching ratio
    branching_max: int | None = None  # ppm, which an order may not raise any further
    stale: Literal["closed", "open"] = "closed"
    refresh_s: float = 10.0
    age_max_s: float = 60.0
    mark_moved_max: int = 20_000  # ppm, of any mark since the base
    book_moved_max: int = 50_000  # ppm, of all open interest since the base

    def __post_init__(self) -> None:
        """Refuse limits below zero and ages that no base can keep."""
        for name in ("es_add_max", "branching_add_max", "branching_max"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigInvalid(
                    where=f"pretrade.{name}", what="must be >= 0", found=str(getattr(self, name))
                )
        if not 0 < self.refresh_s < self.age_max_s:
            raise ConfigInvalid(
                where="pretrade.refresh_s",
                what="must lie above 0 and below age_max_s",
                found=f"{self.refresh_s:g} with age_max_s = {self.age_max_s:g}",
            )

    @property
    def limited(self) -> bool:
        """Whether anything is asked beyond the engine's own rules."""
        limits = (self.es_add_max, self.branching_add_max, self.branching_max)
        return any(limit is not None for limit in limits)


class Standing(NamedTuple):
    """One account as the order would leave it, Money and ppm."""

    account: int
    equity_before: int
    equity: int
    maintenance: int
    initial: int
    notional: int
    move: int | None  # ppm of the traded instrument against it until it is liquidatable


class Look(NamedTuple):
    """What the crank thread saw of one order; nothing in it belongs to the state."""

    seq: int
    now: int
    refused: list[Reason]
    reduces: bool
    before: list[Holding]
    after: list[Holding]
    standing: list[Standing]
    mark: I64
    long_open: I64
    short_open: I64


def look(state: State, stack: Stack, order: Order) -> Look:
    """Return what the engine would say to ``order`` now, and the accounts before and after it.

    The order is asked, never booked. An order that is refused is also tried as settled, so that its
    figures can be shown; where even that is refused (an unknown account) there are none.
    """
    asked = msgspec.structs.replace(order, ts=Nanos(max(order.ts, state.now)), settled=False)
    effects, refused = _tried(state, stack, asked)
    if refused:
        effects, _ = _tried(state, stack, msgspec.structs.replace(asked, settled=True))
    before = [holding_of(state.book, a) for a in _touched(state, stack, effects)]
    after = _moved(before, effects)
    return Look(
        seq=state.seq - 1,
        now=state.now,
        refused=refused,
        reduces=_reduces(state, asked),
        before=before,
        after=after,
        standing=_standing(state, stack, before, after, order),
        mark=state.mark.copy(),
        long_open=state.book.long_open.copy(),
        short_open=state.book.short_open.copy(),
    )


def _tried(state: State, stack: Stack, order: Order) -> tuple[list[Decision], list[Reason]]:
    try:
        effects = decide(state, order, stack)
    except CapacityExceeded as error:
        return [], [Reason(code="capacity_exceeded", detail=str(error))]
    refused = [Reason(code=e.code, detail=e.detail) for e in effects if isinstance(e, Rejected)]
    return [] if refused else effects, refused


def _reduces(state: State, order: Order) -> bool:
    """Return whether the order leaves its taker's position smaller, and on its own side."""
    if not isinstance(order, Traded) or not FIRST_USER <= order.taker < state.book.accounts:
        return False
    if not 0 <= order.instrument < state.mark.size:
        return False
    row = row_of(state.book, order.taker, order.instrument)
    held = int(state.book.lots[row]) if row >= 0 else 0
    after = held + order.lots
    return held != 0 and abs(after) <= abs(held) and held * after >= 0


def _touched(state: State, stack: Stack, effects: Sequence[Decision]) -> list[int]:
    """Return the users whose cash or positions the effects move, and who share a tier with them."""
    rows: dict[int, None] = {}
    for effect in effects:
        match effect:
            case Posted():
                rows |= dict.fromkeys((effect.debit, effect.credit))
            case PostedBatch():
                rows |= dict.fromkeys((effect.counter, *unpack(effect.account).tolist()))
            case PositionsMoved():
                rows |= dict.fromkeys(unpack(effect.account).tolist())
            case _:
                pass
    users = [a for a in rows if a >= FIRST_USER]
    if stack.declaration.margin.group_tiers and users:
        owner = state.book.owner[: state.book.accounts]
        mates = np.flatnonzero(np.isin(owner, owner[np.array(users, np.int64)]))
        users += [a for a in mates.tolist() if a >= FIRST_USER and a not in rows]
    return users


def _moved(before: Sequence[Holding], effects: Sequence[Decision]) -> list[Holding]:
    """Return the accounts once the effects were applied."""
    cash = {h.account: h.cash for h in before}
    held = {
        (h.account, i): [lots, cost]
        for h in before
        for i, lots, cost in zip(h.instrument, h.lots, h.cost, strict=True)
    }

    def add(account: int, asset: int, lots: int, cost: int = 0) -> None:
        if account not in cash:
            return
        if asset == CASH:
            cash[account] += lots
            return
        cell = held.setdefault((account, asset), [0, 0])
        cell[0] += lots
        cell[1] += cost

    for effect in effects:
        match effect:
            case Posted():
                add(effect.debit, effect.asset, -effect.amount)
                add(effect.credit, effect.asset, effect.amount)
            case PostedBatch():
                amounts = unpack(effect.amount).tolist()
                for account, amount in zip(unpack(effect.account).tolist(), amounts, strict=True):
                    add(account, effect.asset, amount)
                    add(effect.counter, effect.asset, -amount)
            case PositionsMoved():
                columns = (effect.account, effect.instrument, effect.lots, effect.cost)
                for row in zip(*(unpack(c).tolist() for c in columns), strict=True):
                    add(*row)
            case _:
                pass
    after: list[Holding] = []
    for h in before:
        mine = [(i, *cell) for (a, i), cell in held.items() if a == h.account and any(cell)]
        columns = zip(*mine, strict=True) if mine else ((), (), ())
        after.append(Holding(h.account, h.owner, cash[h.account], *columns))
    return after


def _standing(
    state: State, stack: Stack, before: Sequence[Holding], after: Sequence[Holding], order: Order
) -> list[Standing]:
    """Return equity and requirements of every account as the margin rule would see them."""
    facts, scale = facts_now(state, stack), stack.declaration.breaker.at(state.rung).initial_scale
    i = order.instrument if isinstance(order, Traded) else order.asset
    books = [small_book(held, state.book) for held in (before, after)]
    for was, will in zip(before, after, strict=True):
        for sign, h in ((-1, was), (1, will)):
            for k, lots in zip(h.instrument, h.lots, strict=True):
                books[1].long_open[k] += sign * max(lots, 0)
                books[1].short_open[k] += sign * max(-lots, 0)
    small = replace(state, book=books[1])
    out, was = np.zeros(3, np.int64), np.zeros(3, np.int64)
    found: list[Standing] = []
    for k, h in enumerate(after):
        row = FIRST_USER + k
        assess_account(books[0], facts, state.mark, row, CASH, 0, 0, 0, 0, was)
        marks = initial_marks(small, row, CASH, 0, stack)
        assess_account(books[1], facts, marks, row, CASH, 0, 0, 0, 0, out)
        if stack.declaration.margin.group_tiers:
            add_account_extra(books[1], facts, marks, row, -1, CASH, 0, 0, out)
        initial = max(-(-int(out[2]) * scale // PPM), int(out[1]))
        initial += wait_extra(small, row, CASH, 0, stack)
        if marks is not state.mark:
            assess_account(books[1], facts, state.mark, row, CASH, 0, 0, 0, 0, out)
        held = np.array(h.instrument, np.int64)
        size = notionals(facts, held, np.array(h.lots, np.int64), state.mark[held])
        move = _move(state, stack, books[1], row, i, int(out[0] - out[1]))
        found.append(
            Standing(
                h.account, int(was[0]), int(out[0]), int(out[1]), initial, round(size.sum()), move
            )
        )
    return found


def _move(state: State, stack: Stack, book: Book, account: int, i: int, slack: int) -> int | None:
    """Return how far the price of ``i`` may move against the account, all others standing still."""
    row = row_of(book, account, i) if i != CASH else -1
    if row < 0 or not book.lots[row]:
        return None
    facts, lots = facts_now(state, stack), int(book.lots[row])
    size = int(notional(facts, i, lots, int(state.mark[i])))
    rate = int(facts.debt_maintenance[i])
    if facts.kind[i] != SPOT or lots > 0:
        start, end = (int(n) for n in facts.tier_start[i : i + 2])
        rate = int(facts.tier_maintenance[tier_at(start, end, facts.tier_floor, size)])
    found = int(distance(size, rate, 1 if lots > 0 else -1, slack))
    return None if found >= N_MAX else found


@dataclass(slots=True)
class Desk:
    """Keeps the base fresh and judges orders by it; safe to be used by several threads.

    ``clock`` counts seconds and never goes back.
    """

    stack: Stack
    settings: PreTradeSettings
    clock: Callable[[], float] = time.monotonic
    _base: Base | None = None
    _made: float = 0.0
    _took: float = 0.0
    _copied: float = 0.0
    _shock: F64 | None = None
    _lock: Lock = field(default_factory=Lock)

    @property
    def base(self) -> Base | None:
        """The newest base; None before the first."""
        return self._base

    @property
    def age(self) -> float:
        """How many seconds ago the base was taken."""
        return self.clock() - self._made

    def copy_if_due(self, state: State) -> State | None:
        """Return a copy for `renew` where a new base is due, else None; for the crank thread."""
        if not self._due(state):
            return None
        begun = self.clock()
        copy = copy_for_base(state)
        self._copied = self.clock() - begun
        return copy

    def _due(self, state: State) -> bool:
        if self._base is None:
            return True
        if self.age < max(REST * self._took, CRANK_REST * self._copied):
            return False
        moved = self._movement(self._base, state.mark, state.book.long_open, state.book.short_open)
        return self.age >= self.settings.refresh_s or bool(moved)

    def renew(self, copy: State) -> None:
        """Make a new base of what `copy_if_due` returned; beside the crank, it takes a while."""
        with self._lock:
            begun = self.clock()
            if self._shock is None:
                names = underlyings(self.stack.venue, self.stack.facts)
                self._shock = shocks(self.settings.model, names)
            base = Base.of(copy, self.stack, self.settings.model, self._shock)
            self._base, self._made, self._took = base, begun, self.clock() - begun

    def stale(self, seen: Look) -> list[str]:
        """Return why the base should not be trusted for this order; empty where it may be."""
        if self._base is None:
            return ["no_base"]
        old = ["too_old"] if self.age > self.settings.age_max_s else []
        return old + self._movement(self._base, seen.mark, seen.long_open, seen.short_open)

    def _movement(self, base: Base, mark: I64, long_open: I64, short_open: I64) -> list[str]:
        was, now = base.state.market.mark.astype(float), mark.astype(float)
        first = bool(((was == 0) & (now > 0)).any())
        move = np.abs(now - was) / np.maximum(was, 1.0)
        said = ["marks_moved"] if first or (move * PPM > self.settings.mark_moved_max).any() else []
        held = base.state.book
        changed = np.abs(long_open - held.long_open) + np.abs(short_open - held.short_open)
        every = np.arange(mark.size)
        facts = base.state.facts
        new = float(notionals(facts, every, changed, mark).sum())
        whole = float(notionals(facts, every, held.long_open + held.short_open, mark).sum())
        if new * PPM > whole * self.settings.book_moved_max:
            said.append("book_moved")
        return said

    def marginal(self, seen: Look) -> tuple[Base, Marginal] | None:
        """Return what the order adds, and to which base; None without a base or an account."""
        base = self._base
        if base is None or not seen.before:
            return None
        return base, base.marginal(seen.before, seen.after)

    def reasons(self, seen: Look, added: Marginal | None, stale: Sequence[str]) -> list[Reason]:
        """Return why the order is refused: the engine's reasons, then the limits of the tail."""
        said, s = list(seen.refused), self.settings
        if seen.reduces or not s.limited:
            return said
        if stale or added is None:
            if s.stale == "closed":
                why = ", ".join(stale) or "nothing is known of the order's accounts"
                said.append(Reason(code="tail_unknown", detail=why))
            return said
        more = (added.after.shortfall - added.before.shortfall) / PPM
        if s.es_add_max is not None and more > s.es_add_max:
            detail = f"{more:.2f} of expected shortfall, {s.es_add_max:.2f} are allowed"
            said.append(Reason(code="adds_to_tail", detail=detail))
        said += self._branching(added)
        return said

    def _branching(self, added: Marginal) -> list[Reason]:
        said: list[Reason] = []
        s, symbols = self.settings, [i.symbol for i in self.stack.venue.instruments]
        more = added.after.near - added.before.near
        for i in np.flatnonzero(more > 0).tolist():
            after = int(added.after.near[i])
            if s.branching_add_max is not None and more[i] > s.branching_add_max:
                detail = f"{symbols[i]}: {int(more[i]):_} ppm, {s.branching_add_max:_} are allowed"
                said.append(Reason(code="adds_to_branching", detail=detail))
            if s.branching_max is not None and after > s.branching_max:
                detail = f"{symbols[i]}: raised to {after:_} ppm, above {s.branching_max:_}"
                said.append(Reason(code="branching_too_high", detail=detail))
        return said
