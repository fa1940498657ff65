"""What one change of a few accounts adds to the venue's tail: shortfall, branching, both exact.

A base is made of a copy of the state, in the background: the bad debt of every scenario, the forced
lots of every bucket. A change then costs the changed accounts alone: their old part is subtracted
and their new one added, which is what a full recomputation would find.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.book import ACCOUNTS, FIRST_USER, Book, Health, move
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64
from tidegate.domain.venue import Limits
from tidegate.engine.following import followed
from tidegate.engine.governance import judged_facts
from tidegate.engine.state import State
from tidegate.engine.waiting import with_wait
from tidegate.kernels.depth import depth_buckets, executable
from tidegate.kernels.profile import branching, forced_in_all, near_branching
from tidegate.lab.kernels.scenarios import BLOCK, F64
from tidegate.lab.kernels.shortfalls import add_shortfalls, exposed, forced_matrix
from tidegate.lab.scenario_losses import tail_of
from tidegate.lab.tail_model import Prices, TailModel, volatilities
from tidegate.safeguards.stack import Stack
from tidegate.signals.spectral import spectral_radius


RADIUS_UP_TO: Final = 48  # instruments: beyond, eigenvalues cost more than the rest together
SIDES: Final = (1, -1)  # a fall, a rise


class Holding(NamedTuple):
    """One account as it is, or would be; columns by position."""

    account: int
    owner: int
    cash: int
    instrument: tuple[int, ...]
    lots: tuple[int, ...]
    cost: tuple[int, ...]


def holding_of(book: Book, account: int) -> Holding:
    """Return what ``account`` holds; nothing for an account that the book does not know yet."""
    if account >= book.accounts:
        return Holding(account, account, 0, (), (), ())
    rows: list[int] = []
    row = int(book.head[account])
    while row >= 0:
        rows.append(row)
        row = int(book.follow[row])
    taken = np.array(rows, np.int64)
    return Holding(
        account,
        int(book.owner[account]),
        int(book.cash[account]),
        tuple(book.instrument[taken].tolist()),
        tuple(book.lots[taken].tolist()),
        tuple(book.cost[taken].tolist()),
    )


def small_book(held: Sequence[Holding], whole: Book) -> Book:
    """Return a book of these accounts alone, row FIRST_USER + k for the k-th.

    Open interest is the whole venue's: what crowding asks depends on it. Owners that are not among
    the accounts own themselves here.
    """
    positions = max(8, sum(len(h.instrument) for h in held))
    limits = Limits(accounts_max=FIRST_USER + len(held), positions_max=positions)
    book = Book.empty(limits, whole.long_open.size)
    book.counts[ACCOUNTS] = FIRST_USER + len(held)
    rows = {h.account: FIRST_USER + k for k, h in enumerate(held)}
    for row, h in enumerate(held, FIRST_USER):
        book.cash[row] = h.cash
        book.owner[row] = rows.get(h.owner, row)
        # Rows are linked newest first: backwards, they come out in the order of the original.
        for i, lots, cost in reversed(list(zip(h.instrument, h.lots, h.cost, strict=True))):
            move(book, row, i, lots, cost)
    book.long_open[:] = whole.long_open
    book.short_open[:] = whole.short_open
    return book


def copy_for_base(state: State) -> State:
    """Return a copy of all that a base reads; quick, for the thread that owns ``state``.

    What is in flight, the hash table and everything else is left out or still the original's: good
    for `Base.of` and for nothing else.
    """
    book, n, high = state.book, state.book.accounts, state.book.high
    rows = {"account", "instrument", "lots", "cost", "follow"}
    people = {"cash", "owner", "head"}
    kept = {"counts", "long_open", "short_open"}
    columns = {
        name: column[: n if name in people else high if name in rows else None].copy()
        for name, column in book._asdict().items()
        if name in rows | people | kept
    }
    return replace(
        state,
        book=book._replace(**columns),
        facts=type(state.facts)(*(c.copy() for c in state.facts)),
        market=type(state.market)(*(c.copy() for c in state.market)),
        pending=type(state.pending)(*(c.copy() for c in state.pending)),
        charged=state.charged.copy(),
    )


class Parts(NamedTuple):
    """What some accounts add to the venue's sums."""

    losses: F64  # [scenarios] Money
    forced: I64  # [instruments, 2, buckets] lots
    matrix: I64  # [2, instruments, instruments] lots

    def moved(self, old: "Parts", new: "Parts") -> "Parts":
        """Return these sums with one part taken out and another put in."""
        return Parts(
            self.losses + (new.losses - old.losses),
            self.forced + (new.forced - old.forced),
            self.matrix + (new.matrix - old.matrix),
        )


class Figures(NamedTuple):
    """The tail of one book."""

    shortfall: float  # Money
    at_975: float
    near: I64  # [instruments] ppm
    peak: I64  # [instruments] ppm, over buckets that have depth
    radius: int | None  # ppm


class Marginal(NamedTuple):
    """A tail without a change and with it."""

    before: Figures
    after: Figures
    share: float  # Euler share of the changed accounts, Money
    share_after: float


@dataclass(frozen=True, slots=True)
class Base:
    """One venue's tail at one moment, prepared for changes; nothing in it is written again."""

    state: State  # of `copy_for_base`
    stack: Stack
    model: TailModel
    seq: int
    prices: Prices
    facts: Facts  # by which accounts are judged
    whole: Parts
    depth: I64  # [instruments, 2, buckets] lots
    known: I64  # [instruments, 2] levels of each side
    reachable: I64  # [2, instruments] lots within the near range

    @classmethod
    def of(cls, state: State, stack: Stack, model: TailModel, shock: F64) -> Self:
        """Return the base of a copy, see `copy_for_base`; it is the base's own from now on."""
        volatility = volatilities(model, stack.venue, state.market.variance)
        prices = Prices.at(model, shock, state.facts, state.market.mark, volatility)
        facts = followed(state, judged_facts(state, state.now, stack), stack)
        depth, reachable = _depth(state, stack)
        accounts = np.zeros(state.book.accounts, np.int64)
        ends = (prices.least, prices.most, prices.least_coin, prices.most_coin)
        found = int(exposed(state.book, *ends, accounts))
        losses = _losses(state.book, accounts[:found], prices)
        forced, matrix = _forced(state, stack, facts)
        return cls(
            state=state,
            stack=stack,
            model=model,
            seq=state.seq - 1,
            prices=prices,
            facts=facts,
            whole=Parts(losses, forced, matrix),
            depth=depth,
            known=state.market.levels,
            reachable=reachable,
        )

    def parts(self, held: Sequence[Holding]) -> Parts:
        """Return what these accounts would add, at the base's prices."""
        book = small_book(held, self.state.book)
        rows = np.arange(FIRST_USER, FIRST_USER + len(held))
        losses = _losses(book, rows, self.prices)
        forced, matrix = _forced(replace(self.state, book=book), self.stack, self.facts)
        return Parts(losses, forced, matrix)

    def figures(self, parts: Parts) -> Figures:
        """Return what sums over all accounts say."""
        n, buckets = self.depth.shape[0], self.depth.shape[2]
        grid = self.stack.declaration.profile
        near, peak = np.zeros(n, np.int64), np.zeros(n, np.int64)
        out = np.zeros(buckets, np.int64)
        for i in range(n):
            for side in range(2):
                if not self.known[i, side]:
                    continue
                forced, depth = parts.forced[i, side], self.depth[i, side]
                near[i] = max(int(near[i]), int(near_branching(forced, depth, grid.near)))
                branching(forced, depth, out)
                peak[i] = max(int(peak[i]), int(out[depth > 0].max(initial=0)))
        radius = self._radius(parts.matrix) if n <= RADIUS_UP_TO else None
        shortfall = tail_of(parts.losses, self.model.level).shortfall
        return Figures(shortfall, tail_of(parts.losses, 0.975).shortfall, near, peak, radius)

    def _radius(self, matrix: I64) -> int:
        found = 0
        for k in range(len(SIDES)):
            depth = self.reachable[k]
            if not matrix[k].any():
                continue
            known = depth > 0
            share = matrix[k].astype(np.float64) * 1e6 / np.maximum(depth, 1)[None, :]
            ppm = np.minimum(np.floor(share), 1e9).astype(np.int64)
            found = max(found, spectral_radius(ppm * known[:, None] * known[None, :]))
        return found

    def marginal(self, now: Sequence[Holding], after: Sequence[Holding]) -> Marginal:
        """Return the tail with these accounts as they are now, and as they would be after.

        The rest of the venue is the base's. ``now`` corrects what the base knows of the accounts,
        so that the difference is the change's alone.
        """
        old = self.parts([holding_of(self.state.book, h.account) for h in now])
        parts = [self.parts(now), self.parts(after)]
        sums = [self.whole.moved(old, p) for p in parts]
        tails = [tail_of(s.losses, self.model.level).scenarios for s in sums]
        share = [float(p.losses[t].mean()) for p, t in zip(parts, tails, strict=True)]
        return Marginal(self.figures(sums[0]), self.figures(sums[1]), share[0], share[1])


def _losses(book: Book, accounts: I64, prices: Prices) -> F64:
    loss = np.zeros((prices.worth.shape[0], BLOCK))
    for block in range(loss.shape[0]):
        add_shortfalls(book, accounts, prices.worth[block], prices.coin[block], loss[block])
    return loss.reshape(-1)


def _forced(state: State, stack: Stack, facts: Facts) -> tuple[I64, I64]:
    """Return forced lots by bucket, and by the instrument whose move forces them."""
    grid, m, n = stack.declaration.profile, state.market, state.market.mark.size
    health = stack.declaration.margin.assess(state.book, facts, mark=m.mark, low=m.low, high=m.high)
    health = with_wait(state, health, m.mark, m.low, m.high, stack)
    forced = np.zeros((n, 2, grid.buckets), np.int64)
    place = np.where(m.mark > 0, np.arange(n), -1)
    forced_in_all(state.book, state.facts, m.mark, health.best, place, grid.width, forced)
    matrix = np.zeros((2, n, n), np.int64)
    plain: Health = stack.declaration.margin.assess(
        state.book, state.facts, mark=m.mark, low=m.mark, high=m.mark
    )
    reach = grid.near * grid.width
    for k, side in enumerate(SIDES):
        slack = plain.equity - plain.required
        forced_matrix(state.book, state.facts, m.mark, slack, reach, side, matrix[k])
    return forced, matrix


def _depth(state: State, stack: Stack) -> tuple[I64, I64]:
    grid, m, n = stack.declaration.profile, state.market, state.market.mark.size
    depth, reachable = np.zeros((n, 2, grid.buckets), np.int64), np.zeros((2, n), np.int64)
    for i in np.flatnonzero(m.mark > 0).tolist():
        for side in range(2):
            levels, mark = int(m.levels[i, side]), int(m.mark[i])
            book = (m.depth_price[i, side], m.depth_lots[i, side], levels, mark)
            depth_buckets(*book, grid.width, depth[i, side])
            reachable[side, i] = executable(*book, grid.near * grid.width)
    return depth, reachable
