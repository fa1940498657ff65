"""What a path kernel can follow: a book, a stack and a venue, or the reason why it cannot."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import msgspec
import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, PPM
from tidegate.engine.state import State
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk
from tidegate.lab.kernels.impact import LINEAR, SQUARE_ROOT
from tidegate.lab.kernels.look import look
from tidegate.lab.kernels.reach import BUCKETS, NOWHERE
from tidegate.safeguards.breaker import NEVER, LadderBreaker, Step
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.planner import PRIORITIES
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import SCORES


LAWS: Final = {"linear": LINEAR, "square_root": SQUARE_ROOT}
RULES: Final = {"none": 0, "queue": 1, "pro_rata": 2}
INSTRUMENTS_MAX: Final = 62  # so that the bits of one cell name them
NEUTRAL: Final = SafeguardStack(name="neutral")
# Tables of a stack that a path must leave as they are when nothing is declared. The others are
# followed; limits on what accounts may ask for are of no consequence, as nobody asks for anything.
UNTOUCHED: Final = (
    "oracle",
    "bands",
    "throttle",
    "rate",
    "slices",
    "wait",
    "route",
    "backstop",
    "signals",
    "penalty",
    "soft",
)


class Law(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the declared venue answers orders of one instrument: whole, at once, with this impact.

    ``depth`` lots in one batch displace the price by ``move`` ppm, and no batch by more than
    ``most``, where the visible book ends. ``keep`` of a displacement is left after a step.
    """

    law: str = "square_root"
    depth: int = 1
    move: int = 0
    most: int = PPM
    keep: int = PPM

    def __post_init__(self) -> None:
        """Refuse laws that do not exist and displacements that no price can have."""
        rates = (self.move, self.most, self.keep)
        if self.law not in LAWS or self.depth < 1 or not all(0 <= r <= PPM for r in rates):
            raise ConfigInvalid(
                where="law",
                what=f"must be one of {sorted(LAWS)}, depth >= 1, rates within 0..1_000_000",
                found=f"{self.law!r}, {self.depth:_}, {rates}",
            )


def refuse(stack: Stack, facts: Facts) -> None:
    """Raise ConfigInvalid where no path kernel could follow this stack from these facts."""
    d = stack.declaration
    for name in UNTOUCHED:
        if getattr(d, name) != getattr(NEUTRAL, name):
            raise beyond(where=name, what="no path kernel follows this table: leave it out")
    if d.margin.group_tiers or d.margin.volatility != NEUTRAL.margin.volatility:
        raise beyond(where="margin", what="neither group_tiers nor volatility")
    if d.never_worse.mode != "off":
        raise beyond(where="never_worse.mode", what='"off": its limits leave orders unfilled')
    w, p = d.waterfall, d.planner
    if w.deleverage not in RULES or SCORES[w.score] > 2:
        raise beyond(
            where="waterfall", what=f"deleverage one of {sorted(RULES)}, by a position's own score"
        )
    if w.hedges != "ignored" or w.receipts != "short" or w.claims or w.drawdown_start:
        raise beyond(
            where="waterfall", what="no hedges, full receipts, claims or early deleveraging"
        )
    if (
        w.socialise not in {"none", "equity"}
        or w.keeps_markets
        or any(t.stakes for t in w.tranches)
    ):
        raise beyond(
            where="waterfall", what="socialise none or equity, tranches without market and stakes"
        )
    if w.socialise == "equity" and facts.cash_debt.any():
        raise beyond(where="margin.cash_debt_maintenance", what="0 where deficits are socialised")
    if PRIORITIES[p.priority] > 3:
        raise beyond(where="planner.priority", what="one that looks at a single account")
    _refuse_breaker(d.breaker)


def rules_of(stack: Stack, facts: Facts, *, pruned: bool = True) -> I64:
    """Return a stack's scalars in the order of `cells`; what dated changes move is in ``facts``."""
    d = stack.declaration
    b, p, w = d.breaker, d.planner, d.waterfall
    said = {
        c.COOLDOWN: b.cooldown_ns,
        c.WINDOW: b.window_ns,
        c.MEMORY: b.memory_ns,
        c.DEVIATION_MIN: b.deviation_min,
        c.RESERVED: b.reserved,
        c.TARGET: p.target,
        c.CLOSE_FRACTION: p.close_fraction,
        c.INTERVAL: p.interval_ns,
        c.WHOLE_BELOW: p.whole_below,
        c.FIRST_STAGE: p.first_stage,
        c.NETTING: int(p.netting),
        c.PRIORITY: PRIORITIES[p.priority],
        c.DEPTH_SHARE: p.depth_share,
        c.DRAIN: p.window_ns,
        c.IN_FLIGHT_MAX: p.in_flight_max,
        c.UNKNOWN_DEPTH: p.unknown_depth,
        c.DELEVERAGE: RULES[w.deleverage],
        c.AT_ONCE: int(w.deleverage_when == "bankrupt"),
        c.FUND_SHARE: w.fund_share,
        c.FUND_FIRST: int(w.fund_pays_first),
        c.CLOSE_SHARE: w.close_share,
        c.HAIRCUT: w.haircut,
        c.SCORE: SCORES[w.score],
        c.PENALTY_SHARE: w.penalty_share,
        c.FED: w.fed(tuple(i.symbol for i in stack.venue.instruments))[0],
        c.DRAWDOWN_WINDOW: w.drawdown_window_ns,
        c.SOCIALISE: int(w.socialise == "equity"),
        c.ORDERS_MAX: stack.venue.limits.orders_max,
        c.DEBT_RATE: int(facts.cash_debt[0]),
        c.PRUNED: int(pruned),
    }
    return np.array([said[k] for k in range(len(said))], np.int64)


def _ladder(breaker: LadderBreaker) -> I64:
    """Return the breaker's steps, with the least whole values that reach its thresholds."""
    held = breaker.hysteresis

    def rows() -> Iterator[list[int]]:
        for s in breaker.steps:
            lines = (s.deviations, s.drawdown)
            yield [s.level(), *lines, *(_times(x, held) for x in lines), s.pace]

    return np.array(list(rows()), np.int64).reshape(-1, 6)


def _refuse_breaker(breaker: LadderBreaker) -> None:
    """Refuse what needs a sum over all accounts, or a band, at every price."""
    if breaker.smooth or breaker.halt_max_ns:
        raise beyond(where="breaker", what="neither smooth nor halt_max_ns")
    for step in breaker.steps:
        kept = Step(
            rung=step.rung,
            deviations=step.deviations,
            drawdown=step.drawdown,
            initial_scale=step.initial_scale,
            pace=step.pace,
        )
        if step != kept:
            raise beyond(
                where=f"breaker.steps.{step.rung}",
                what="thresholds of deviations and drawdown, no band",
            )


def beyond(*, where: str, what: str) -> ConfigInvalid:
    """Return the refusal of what no path kernel follows."""
    return ConfigInvalid(
        where=where,
        what=f"a path kernel needs: {what}",
        found="something else",
        hint="run the engine itself on these paths, or see docs/concepts/path-kernels.md",
    )


def _times(line: int, share: int) -> int:
    """Return the least whole value whose millionfold reaches ``line * share``."""
    return line if line >= NEVER else -(-line * share // PPM)


def _table(rows: Iterable[Sequence[int]], width: int) -> I64:
    return np.array(list(rows), np.int64).reshape(-1, width)


CHANGING: Final = ("market", "people", "row", "head", "cell", "total")  # and the lists, by size


def become(mine: Desk, other: Desk) -> None:
    """Copy every column that a path changes from ``other``."""
    for name in CHANGING:
        np.copyto(getattr(mine, name), getattr(other, name))
    hot = int(other.cell[c.N_HOT])
    mine.lists[c.HOT, :hot] = other.lists[c.HOT, :hot]
    debtors = int(other.cell[c.N_DEBTORS])
    mine.lists[c.DEBTORS, :debtors] = other.lists[c.DEBTORS, :debtors]


def another(desk: Desk) -> Desk:
    """Return a desk of the same content that shares only what no path changes."""
    return desk._replace(**{n: getattr(desk, n).copy() for n in (*CHANGING, "lists")})


@dataclass(frozen=True, slots=True)
class PathModel:
    """A venue at one moment, under one stack, ready to be run along any number of paths."""

    first: Desk
    now: int

    @classmethod
    def of(cls, state: State, stack: Stack, laws: Sequence[Law], *, pruned: bool = True) -> Self:
        """Return the model of ``state``; raise ConfigInvalid where no kernel could follow it.

        Without pruning every account is looked at with every price it holds: the same answers,
        slowly, for whoever wants to see that they are the same.
        """
        refuse(stack, state.facts)
        _refuse_state(state, len(laws))
        desk = _desk(state, stack, laws, pruned=pruned)
        users = np.arange(FIRST_USER, state.book.accounts)
        desk.lists[c.QUEUE, : users.size] = users
        look(desk, users.size)
        desk.total[:] = 0
        return cls(first=desk, now=state.now)

    @property
    def instruments(self) -> int:
        """How many prices a step has."""
        return self.first.market.shape[0]


def _refuse_state(state: State, laws: int) -> None:
    """Refuse instruments and moments that no path kernel can start from."""
    facts, market = state.facts, state.market
    n = facts.kind.size
    if laws != n or n > INSTRUMENTS_MAX:
        raise beyond(
            where="laws", what=f"one law an instrument, and at most {INSTRUMENTS_MAX} instruments"
        )
    if (facts.kind != Kind.LINEAR).any() or facts.premium.any():
        raise beyond(where="venue.instruments", what="linear instruments without size premium")
    if (market.mark == 0).any() or (market.quality != Quality.GOOD).any() or market.levels.any():
        raise beyond(where="state", what="a good price of every instrument, and no measured depth")
    flying = state.orders.counts[1] or state.book.in_flight[: state.book.high].any()
    if flying or state.restraint.stirred() or state.pending.live:
        raise beyond(where="state", what="nothing in flight, paused or announced")


def _desk(state: State, stack: Stack, laws: Sequence[Law], *, pruned: bool) -> Desk:
    book, facts, d = state.book, state.facts, stack.declaration
    accounts, rows, instruments = book.accounts, book.high, facts.kind.size
    people, row = np.zeros((accounts, c.PEOPLE), np.int64), np.zeros((rows, c.ROWS), np.int64)
    people[:, c.CASH], people[:, c.STAGED_AT] = book.cash[:accounts], state.staged_at[:accounts]
    people[:, c.SPOT] = -1
    row[:, c.LOTS], row[:, c.COST] = book.lots[:rows], book.cost[:rows]
    row[:, [c.PLACE, c.AHEAD, c.BEHIND]] = NOWHERE
    fixed = (book.account[:rows], book.instrument[:rows], book.follow[:rows])
    holds = np.zeros(accounts, np.int64)
    used = np.flatnonzero(book.lots[:rows])
    np.bitwise_or.at(holds, book.account[used], 1 << book.instrument[used].astype(np.int64))
    cell = np.zeros(c.CELLS, np.int64)
    cell[[c.RUNG, c.CALM, c.LOST]] = state.rung, state.calm_since, state.lost
    cell[[c.PEAK, c.PEAK_AT]] = state.fund_peak, state.fund_peak_at
    tiers = (facts.tier_floor, facts.tier_maintenance, facts.tier_maintenance_cum)
    return Desk(
        market=_markets(state),
        fact=_facts(facts, state.market.mark, laws),
        tier=np.stack(tiers, axis=1),
        people=people,
        owns=np.stack([book.head[:accounts].astype(np.int64), holds], axis=1),
        row=row,
        fixed=np.stack([column.astype(np.int64) for column in fixed], axis=1),
        head=np.full(instruments * 2 * BUCKETS, NOWHERE, np.int64),
        lists=np.zeros((3, accounts + rows), np.int64),
        cell=cell,
        rule=rules_of(stack, facts, pruned=pruned),
        step=_ladder(d.breaker),
        level=_table(((x.below, x.fraction) for x in d.planner.levels), 2),
        tranche=_table(((t.attachment, t.exhaustion) for t in d.waterfall.tranches), 2),
        total=np.zeros(c.TOTALS, np.int64),
        trail=np.zeros((0, c.TRAIL_WIDTH), np.int64),
    )


def _markets(state: State) -> I64:
    m = state.market
    out = np.zeros((m.mark.size, c.MARKETS), np.int64)
    for cell, column in (
        (c.MARK, m.mark),
        (c.OUTSIDE, m.mark),
        (c.VARIANCE, m.variance),
        (c.ANCHOR, m.anchor),
        (c.ANCHORED_AT, m.anchored_at),
        (c.MARKED_AT, m.marked_at),
        (c.DEVIATIONS, m.deviations),
    ):
        out[:, cell] = column
    out[:, c.SPENT : c.SPENT + 2] = m.spent
    out[:, c.SPENT_AT : c.SPENT_AT + 2] = m.spent_at
    return out


def _facts(facts: Facts, mark: I64, laws: Sequence[Law]) -> I64:
    start = facts.tier_start
    rates = [facts.tier_maintenance[a:b].max() for a, b in pairwise(start.tolist())]
    out = np.zeros((mark.size, c.FACTS), np.int64)
    for cell, column in (
        (c.TICK_VALUE, facts.tick_value),
        (c.PRICE_MAX, facts.price_max),
        (c.TIER_START, start[:-1]),
        (c.TIER_END, start[1:]),
        (c.RATE_MAX, rates),
        (c.PENALTY, facts.penalty),
        (c.DUST, facts.dust),
        (c.WIDTH, np.maximum(1, 4 * mark // BUCKETS)),
        (c.LAW, [LAWS[x.law] for x in laws]),
        (c.DEPTH, [x.depth for x in laws]),
        (c.MOVE, [x.move for x in laws]),
        (c.MOST, [x.most for x in laws]),
        (c.KEEP, [x.keep for x in laws]),
    ):
        out[:, cell] = column
    return out
