"""What holds under every combination of safeguards, whatever happens. See docs/invariants.md."""

import copy

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from combinations import (
    Books,
    Story,
    Wide,
    bound,
    choices,
    end,
    held,
    stories,
    taken,
    unfold,
)
from outside import positions, users
from strategies import ETH, INV, USD, VENUE, depth_at
from test_invariants import answered, documented, everything, some, sound
from tidegate.adapters.codec import decode, encode_batch, open_batch
from tidegate.domain.book import EXTERNAL, FIRST_USER, FUND
from tidegate.domain.effects import (
    AuctionsOpened,
    Decision,
    DeficitFound,
    Deleveraged,
    OrdersPlaced,
    PoolMoved,
    PositionsMoved,
    Posted,
    PostedBatch,
    Rejected,
    TakenOver,
)
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.events import (
    BookImported,
    ClockTicked,
    Input,
    LiquidationReported,
    OrdersFilled,
    ParameterChanged,
    PriceObserved,
    Traded,
    Withdrawn,
)
from tidegate.domain.instrument import CASH
from tidegate.domain.restraint import ACTIONS, PAUSED_UNTIL
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.engine.deficits import settle
from tidegate.engine.explain import explain
from tidegate.engine.following import followed
from tidegate.engine.governance import judged_facts
from tidegate.engine.invariants import audit
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.engine.waiting import with_wait
from tidegate.engine.watch import watch
from tidegate.kernels.bands_limit import PAUSED
from tidegate.ports import Record
from tidegate.safeguards.breaker import Rung


ORIGIN = bytes(16)


# ----------------------------------------------------------------- configuration


@some(1.0)
@given(choices)
def test_a_combination_is_bound_or_refused_with_a_reason(choice: tuple[int, ...]):
    stack = bound(choice)
    if isinstance(stack, ConfigInvalid):
        assert stack.where
        assert stack.what
        assert stack.found
        return
    said = stack.declaration.describe()
    assert all(isinstance(line, str) and line for line in said)
    text = msgspec.toml.encode(msgspec.to_builtins(stack.declaration))
    assert msgspec.toml.decode(text, type=type(stack.declaration)) == stack.declaration


# ---------------------------------------------------------------- conservation


@some(0.3)
@given(stories())
def test_nothing_is_made_or_lost(story: Story):
    """INV-1 to INV-6 and INV-8 to INV-10 after every event, audited and kept twice."""
    books = Books.of(State.genesis(story.stack))
    for world, _, effects in taken(story):
        books.take(effects)
        sound(world.state, books, story.stack)


# --------------------------------------------------- decide, journal, bad input


def written(seq: int, event: Input, effects: list[Decision]) -> Record:
    """Return what a journal gives back of one record."""
    try:
        msgspec.msgpack.encode(event)
    except OverflowError:  # a number that no door can have let in
        return Record(seq, event, tuple(effects))
    frame, _ = encode_batch([Record(seq, event, tuple(effects))], ORIGIN)
    return next(decode(sealed) for sealed in open_batch(frame, seq, ORIGIN))


@some(0.3)
@given(stories())
def test_decide_only_reads_and_what_it_says_can_be_kept(story: Story):
    """The digest stays, answers repeat; codes are documented, bytes give all back."""
    pages = documented()
    for world, event, first in answered(unfold(story)):
        known = pages["Every event"] | pages.get(type(event).__name__, set())
        refused = {e.code for e in first if isinstance(e, Rejected)}
        assert refused <= known, type(event).__name__
        told = written(world.state.seq, event, first)
        assert (told.event, list(told.effects)) == (event, first)


@some(0.2)
@given(stories(), st.integers(0, 64))
def test_a_fork_continues_like_its_parent(story: Story, cut: int):
    """Whatever a mechanism remembers is in the snapshot, and in no other place."""
    events = [event for _, event, _ in taken(story)]
    parent = State.genesis(story.stack)
    for event in events[:cut]:
        step(parent, event, story.stack)
    copied = copy.deepcopy(parent)
    loaded = State.load(parent.dump(), story.stack)
    assert loaded.digest() == parent.digest() == copied.digest()
    assert everything(loaded) == everything(parent)
    for event in events[cut:]:
        effects = step(parent, event, story.stack)
        assert step(copied, event, story.stack) == effects
        assert step(loaded, event, story.stack) == effects
    assert loaded.digest() == parent.digest() == copied.digest()
    assert everything(loaded) == everything(parent)


# ---------------------------------------------------------------- forced trades

SOLD = {"netted", "auctioned", "backstop", "bands"}
FORCED = {"fill", "netted", "deleveraged", "auctioned"}


def moves_of(effect: PositionsMoved) -> list[tuple[int, int, int]]:
    """Return (account, instrument, lots)."""
    columns = (effect.account, effect.instrument, effect.lots)
    return list(zip(*(unpack(c).tolist() for c in columns), strict=True))


def overruled_by(event: Input) -> set[tuple[int, int]]:
    """Return the positions that a recorded venue changed under us."""
    if isinstance(event, Traded) and event.settled:
        return {(event.taker, event.instrument), (event.maker, event.instrument)}
    if isinstance(event, LiquidationReported):
        return {(event.account, event.instrument)}
    if isinstance(event, Withdrawn) and event.settled:
        return {(event.account, event.asset)}
    return set()


@some(0.3)
@given(stories())
def test_nobody_is_forced_into_a_position(story: Story):
    """INV-7 for orders, auctions, netting, deleveraging and takeovers: they reduce, and once."""
    books = Books.of(State.genesis(story.stack))
    overruled: set[tuple[int, int]] = set()
    for _, event, effects in taken(story):
        overruled |= overruled_by(event)
        before = dict(books.lots)
        books.take(effects)
        moved: set[tuple[int, int]] = set()
        given_up = set()
        for effect in effects:
            if isinstance(effect, TakenOver):
                columns = (effect.account, effect.instrument)
                given_up |= set(zip(*(unpack(c).tolist() for c in columns), strict=True))
            if not isinstance(effect, PositionsMoved):
                continue
            rows = moves_of(effect)
            if effect.reason in {"deleveraged", "backstop"}:
                assert all(a >= FIRST_USER for a, _, _ in rows), "lots left the users"
            touched = {(a, i) for a, i, _ in rows if a != EXTERNAL}
            assert not touched & moved, "a position moved twice in one step"
            moved |= touched
            forced = touched if effect.reason in FORCED else touched & given_up
            for a, i in forced - overruled:
                if VENUE.instruments[i].symbol == "ETH":
                    continue  # a coin balance also moves with what its inverse realises
                was, now = before.get((a, i), 0), books.lots[a, i]
                assert was * now >= 0, f"{effect.reason} flipped a position"
                assert abs(now) <= abs(was), f"{effect.reason} enlarged a position"
        for a, i in {(a, i) for a, i, _ in books.orders.values()} - overruled:
            flying, held = books.flying(a, i), books.lots.get((a, i), 0)
            if VENUE.instruments[i].symbol != "ETH":
                assert flying * held < 0, "what is in flight would open a position"
                assert abs(flying) <= abs(held), "what is in flight would flip a position"
        if isinstance(event, BookImported):
            overruled -= {(a, i) for a, i in overruled if a >= FIRST_USER + len(before)}


def standing(world: Wide) -> np.ndarray:
    """Return by how much each account is above what maintenance asks, with every option of it."""
    state, stack = world.state, world.stack
    facts = followed(state, judged_facts(state, state.now, stack), stack)
    at = {"mark": state.mark, "low": state.low, "high": state.high}
    health = stack.declaration.margin.assess(state.book, facts, **at)
    return with_wait(state, health, *at.values(), stack).best


def takers(event: Input, effects: list[Decision]) -> set[int]:
    """Return the users who took something over by their own will, or parted with cash."""
    found: set[int] = set()
    for effect in effects:
        if isinstance(effect, TakenOver):
            found |= set(unpack(effect.provider).tolist())
        if isinstance(effect, PositionsMoved) and effect.reason == "trade":
            found |= {a for a, _, _ in moves_of(effect)}
        parted = isinstance(effect, Posted) and effect.asset == CASH
        if parted and effect.reason in {"stake", "pool", "bond"}:
            found |= {effect.debit}
    settled = isinstance(event, Traded) and event.settled
    return set() if settled else {a for a in found if a >= FIRST_USER}


@some(0.2)
@given(stories())
def test_who_takes_over_can_carry_it(story: Story):
    """Providers, bidders, traders, stakers: at or above maintenance, or as well off as before."""
    for world, event in unfold(story):
        before = standing(world)
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        if any(isinstance(e, DeficitFound) and e.socialised for e in effects):
            continue  # who pays for others may fall by paying
        took = takers(event, effects)
        after = standing(world) if took else before
        for a in took:
            reduces = isinstance(event, Traded) or before[a] < 0
            assert after[a] >= 0 or reduces, "somebody took over more than it can carry"


def stopped(world: Wide, flags: np.ndarray) -> np.ndarray:
    """Return where nothing forced may trade after this step, the flags being those before it."""
    r = world.state.restraint
    paused = (r.phase == PAUSED) | bool(r.market[PAUSED_UNTIL])
    return paused | (flags[ACTIONS.index("liquidate") :: len(ACTIONS)][:-1] > 0)


@some(0.2)
@given(st.one_of(stories(bands=1), stories(bands=2, bands__market=1), stories()))
def test_nothing_forced_trades_in_a_pause_or_beyond_a_band(story: Story):
    """Whatever sells: netting, orders, auctions, bands and takeovers. Fills are facts."""
    for world, event in unfold(story):
        flags = world.state.restraint.pause.copy()
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        shut, r = stopped(world, flags), world.state.restraint
        for effect in effects:
            if isinstance(effect, OrdersPlaced | AuctionsOpened):
                sold = unpack(effect.instrument).tolist()
                columns = (effect.instrument, effect.lots, effect.limit)
                for i, lots, limit in zip(*(unpack(c).tolist() for c in columns), strict=True):
                    assert not r.high[i] or (limit >= r.low[i] if lots < 0 else limit <= r.high[i])
            elif isinstance(effect, PositionsMoved) and effect.reason in SOLD:
                sold = unpack(effect.instrument).tolist()
                if effect.reason == "auctioned":
                    for i, price in zip(sold, unpack(effect.price).tolist(), strict=True):
                        assert not r.high[i] or r.low[i] <= price <= r.high[i]
            elif isinstance(effect, PoolMoved):
                sold = unpack(effect.asset).tolist()
            elif isinstance(effect, PostedBatch) and effect.reason == "redistributed":
                sold = [effect.asset] if effect.asset != CASH else []
            else:
                continue
            assert not shut[sold].any(), effect


# ------------------------------------------------------------------- monotone


@some(0.2)
@given(stories(60), st.integers(1, 900_000))
def test_a_worse_price_never_heals(story: Story, fall: int):
    """With every option of margin on: the sum of all that maintenance asks for."""
    world = end(story)
    state, stack = world.state, world.stack
    marks = state.mark.copy()
    if not marks.all():
        return
    facts = followed(state, judged_facts(state, state.now, stack), stack)

    def best(prices: np.ndarray) -> np.ndarray:
        at = {"mark": prices, "low": prices, "high": prices}
        health = stack.declaration.margin.assess(state.book, facts, **at)
        return with_wait(state, health, prices, prices, prices, stack).best

    held: dict[int, dict[int, int]] = {}
    for a, i, lots, _ in positions(state):
        held.setdefault(a, {})[i] = lots
    at_mark = best(marks)
    for i in range(4):
        for side in (1, -1):
            worse = marks.copy()
            top = VENUE.instruments[i].price_max
            worse[i] = min(max(1, marks[i] * (PPM - side * fall) // PPM), top)
            after = best(worse)
            for a, own in held.items():
                # The coin's price also values what an inverse position has gained in it.
                if own.get(i, 0) * side > 0 and not (i == ETH and INV in own):
                    assert after[a] <= at_mark[a]


@some(0.2)
@given(st.one_of(stories(60, waterfall=1), stories(60, waterfall=2)), st.integers(1, 50_000 * USD))
def test_more_insurance_never_means_more_socialised(story: Story, more: int):
    """In one call of the waterfall, whichever tranche has more."""
    world = end(story)
    state, stack = world.state, world.stack

    def shared(of: State) -> tuple[int, int]:
        view = View.of(of).after([])
        watched = watch(of, view, of.now, stack)
        found = settle(of, view, watched.health, int(Rung.NORMAL), stack)
        losses = [e for e in found if isinstance(e, DeficitFound)]
        return sum(e.socialised for e in losses), sum(e.uncovered for e in losses)

    poor_shared, poor_uncovered = shared(state)
    for k in range(len(stack.declaration.waterfall.tranches)):
        rich = copy.deepcopy(state)
        rich.book.cash[FUND + k] += more
        rich.book.cash[EXTERNAL] -= more
        rich_shared, rich_uncovered = shared(rich)
        assert rich_shared + rich_uncovered <= poor_shared + poor_uncovered
        assert rich_shared <= poor_shared


@some(0.2)
@given(stories())
def test_deleveraging_is_paid_by_winners(story: Story):
    """A receipt adds up, and closes only what was held."""
    for world, event in unfold(story):
        before = {(a, i): lots for a, i, lots, _ in positions(world.state)}
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        for e in (x for x in effects if isinstance(x, Deleveraged)):
            losers, closed = unpack(e.bankrupt).tolist(), unpack(e.closed).tolist()
            winners, lots = unpack(e.account).tolist(), unpack(e.lots).tolist()
            forgone = unpack(e.forgone).tolist()
            assert sum(closed) + sum(lots) == 0
            assert e.fund_paid + sum(forgone) == e.deficit
            assert min(forgone) >= 0
            assert 0 <= e.fund_paid <= e.fund
            for a, n in zip(losers + winners, closed + lots, strict=True):
                was = before[a, e.instrument]
                assert was * n < 0
                assert abs(n) <= abs(was), "deleveraging only reduces"
            assert len(set(winners)) == len(winners)


# -------------------------------------------------------------------- liveness


def unresolved(world: Wide, now: int) -> list[int]:
    """Return who is liquidatable, bands that carry their account being no reason."""
    state, stack = world.state, world.stack
    best = watch(state, View.of(state), now, stack).health.best
    return [a for a in np.flatnonzero(best < 0).tolist() if a >= FIRST_USER]


def sizes(world: Wide) -> dict[int, int]:
    """Return the lots that each account holds or owes, all together."""
    return {a: sum(abs(n) for _, n, _ in held(world, a)) for a in users(world.state)}


def healed(world: Wide, rounds: int) -> tuple[int, dict[int, int]]:
    """Let everything work again, the venue filling at the mark; return the end and what was left.

    Prices stand still, depth is deep, flags are taken back, bidders stay away: what they leave goes
    to the book. What was left is that of half-time: a throttle may need longer than there is.
    """
    state, now, stack = world.state, world.now, world.stack
    prices = [world.price(i) for i in range(4)]
    symbols = (*(i.symbol for i in VENUE.instruments), "cash")
    half: dict[int, int] = {}
    for n in range(rounds):
        half = sizes(world) if n == rounds // 2 else half
        now += 9 * 3_600 * SECOND if n in {rounds // 4, rounds // 2} else 31 * SECOND
        for cell in np.flatnonzero(state.restraint.pause).tolist():
            i, action = divmod(cell, len(ACTIONS))
            name = f"pause.{ACTIONS[action]}.{symbols[i]}"
            step(state, ParameterChanged(ts=now, name=name, value=0), stack)
        for i, price in enumerate(prices):
            for source in (2, 0, 1):
                facts = {"instrument": i, "source": source, "price": price, "published": now}
                step(state, PriceObserved(ts=now, **facts), stack)
            lots = VENUE.instruments[i].lots_max // 10
            step(state, depth_at(now, i, int(state.mark[i]), (lots,) * 6, 500), stack)
        step(state, ClockTicked(ts=now), stack)
        live = np.flatnonzero(state.orders.key >= 0)
        if live.size:
            i = state.book.instrument[state.orders.row[live]]
            columns = (state.orders.key[live], state.orders.lots[live], state.market.mark[i])
            order, lots, price = (pack(c) for c in columns)
            step(state, OrdersFilled(ts=now, order=order, lots=lots, price=price), stack)
        elif n > 4 and not unresolved(world, now):
            break
    return now, half


@some(0.04)
@given(stories(60))
def test_when_everything_works_again_everybody_is_resolved(story: Story):
    """Safety first, then liveness: nobody stays liquidatable who could be closed."""
    world = end(story)
    try:
        now, half = healed(world, 120)
    except CapacityExceeded:
        return  # a coin debt that no declared limit holds
    audit(world.state)
    left = sizes(world)
    stuck = [a for a in unresolved(world, now) if left[a] >= half.get(a, 0)]
    # Where a tick is more than the reach of a throttle, no depth is ever within it.
    coarse = set(np.flatnonzero(world.state.mark < 100).tolist())
    stuck = [a for a in stuck if not coarse & {i for i, _, _ in held(world, a)}]
    assert not stuck or world.state.rung >= Rung.AUCTION_ONLY, [(a, held(world, a)) for a in stuck]


# --------------------------------------------------------------------- explain


@some(0.04)
@given(stories(60))
def test_every_record_can_be_put_into_words(story: Story):
    """For every account, at every seventh record; a refused one is told of like any other."""
    records: list[Record] = []
    world = Wide(story.stack)
    for world, event, effects in taken(story):
        records.append(Record(world.state.seq - 1, event, tuple(effects)))
    for account in users(world.state):
        for seq in range(0, len(records), 7):
            said = explain(records, account, seq, world.stack, world.state.names)
            assert all(isinstance(line, str) for line in said)
