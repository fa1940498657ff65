"""The safe-distance index finds on every tick whom the full sweep finds, and looks at few."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import U, book_of, coin, column, facts_of, flat, inverse, perp, rules, venue_of
from strategies import histories, unfold
from test_packed import crowd, judged
from tidegate.domain.book import EXTERNAL, move
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.units import PPB, PPM
from tidegate.engine import safe_distance as engine
from tidegate.engine.following import followed
from tidegate.engine.governance import judged_facts
from tidegate.engine.safe_distance import SafeDistance
from tidegate.kernels import safe_distance as kernels
from tidegate.safeguards.margin import MarginModel, Requirement, Tier


@settings(max_examples=25, deadline=None)
@given(histories(moves_max=60), st.integers(1, PPB // 2), st.integers(1, 12))
def test_every_tick_of_every_history_is_the_full_sweeps(history, reach, loose_max):
    """Prices, jumps, deposits, trades, liquidations, parameters, doubt, inverses, owner groups."""
    index = None
    for world, event in unfold(history):
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        state, model = world.state, world.stack.declaration.margin
        if index is None:
            grouped = model.group_tiers
            index = SafeDistance(state.book, grouped, reach=reach, loose_max=loose_max)
        facts = followed(state, judged_facts(state, state.now, world.stack), world.stack)
        ends = {"mark": state.mark, "low": state.low, "high": state.high}
        index.follow(facts, effects)
        full = model.assess(state.book, facts, **ends).liquidatable
        assert index.tick(facts, **ends).tolist() == full.tolist()


def test_small_moves_look_at_few_accounts_and_large_ones_at_all():
    """A path with jumps, deposits, trades and new rates over one book."""
    rng = np.random.default_rng(7)
    _, book, facts, mark = crowd(11, 2_000, unit=10, price=5_000)
    n = book.accounts
    index = SafeDistance(book, loose_max=300)
    seen = []
    for t in range(120):
        step = rng.normal(0, 0.0005, mark.size)
        if t % 40 == 39:
            step += 0.08  # beyond reach: everybody is measured anew
        mark = np.maximum(1, np.rint(mark * np.exp(step))).astype(np.int64)
        for _ in range(3):
            user = int(rng.integers(U, n))
            if rng.random() < 0.5:
                book.cash[user] += int(rng.normal(0, 10**6))
            else:
                i, lots = int(rng.integers(mark.size)), int(rng.integers(-500, 500))
                move(book, user, i, lots, lots * 10 * int(mark[i]))
                move(book, EXTERNAL, i, -lots, -lots * 10 * int(mark[i]))
            index.upsert(facts, column(user, user))
        if t == 60:
            facts.tier_maintenance[:4] += 5_000
        full = judged(book, facts, mark).liquidatable
        assert index.tick(facts, mark=mark, low=mark, high=mark).tolist() == full.tolist()
        seen.append(index.checked)
    assert index.packs == 2  # at first, and once 300 accounts had changed
    assert index.anchors < 15
    assert index.swept
    assert np.median(seen) < 0.25 * (n - U)


def exact(book, facts, mark):
    health = judged(book, facts, mark)
    return int((health.equity - health.required)[U])


STEEP = Requirement(
    tiers=tuple(
        Tier(floor=f * PPM, maintenance=m, initial=m)
        for f, m in ((0, 5_000), (100, 33_333), (1_000, 500_000))
    )
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-3_000, 3_000), min_size=3, max_size=3),
    st.integers(-(10**8), 10**9),
    st.lists(st.integers(900, 1_100), min_size=3, max_size=3),
    st.sampled_from([10**6, 10**8, 4 * 10**8]),
)
def test_within_its_distance_nobody_is_liquidatable(lots, cash, there, reach):
    """Whatever each instrument does by itself, tiers and roundings included."""
    venue = venue_of(*(perp(s, tick_value=7) for s in "ABC"))
    facts = facts_of(venue, rules(STEEP))
    held = [(0, i, k, k * 7_000) for i, k in enumerate(lots) if k]
    book, mark = book_of(venue, [cash], held), column(1_000, 1_000, 1_000)
    index = SafeDistance(book, reach=reach)
    index.tick(facts, mark=mark, low=mark, high=mark)
    now = column(*there)
    gone = kernels.market_move(index.index.anchor, facts, now, now)
    near = index.index.near
    distance = int(near.distance[0]) if near.distance.size else reach
    if gone <= min(distance, reach):
        assert exact(book, facts, now) >= 0
    if distance == kernels.ALWAYS and all(lots):
        assert exact(book, facts, mark) < 3  # as many roundings as positions


@pytest.mark.parametrize(
    ("lost", "before", "ppb"),
    [(0, 5, 0), (1, 3, 333_333_334), (3, 3, PPB), (4, 3, kernels.FAR), (1, 10**9, 1)],
)
def test_a_move_is_rounded_up(lost, before, ppb):
    assert kernels.ppb_of(lost, before) == ppb


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2**42), st.integers(0, 2**42), st.integers(0, 2**59), st.integers(0, 2**59))
def test_large_numbers_lose_their_lowest_bits_on_the_safe_side(before, lost, slack, weight):
    found = kernels.ppb_of(lost, before)
    if lost > before:
        assert found == kernels.FAR
    else:
        assert -(-lost * PPB // before) <= found <= -(-lost * PPB // before) + 3
    distance = kernels.distance_of(slack, weight)
    if slack >= weight:
        assert distance == kernels.FAR
    else:
        assert distance * weight <= slack * PPB
        assert (distance + 1 + PPB // 10**6) * (weight + 1) > slack * PPB


def test_rules_that_are_no_tiers_of_a_stack_have_no_distance():
    """A requirement that jumps, falls in rate or exceeds the notional is always looked at."""
    for column_of, cell, change in (
        ("tier_maintenance_cum", 1, 1),
        ("tier_maintenance", 2, -480_000),
        ("tier_maintenance", 0, 10**6),
        ("tier_floor", 1, 1),
    ):
        facts = facts_of(venue_of(perp()), rules(STEEP))
        fit = np.zeros(1, np.bool_)
        kernels.proper(facts, fit)
        assert fit[0]
        getattr(facts, column_of)[cell] += change
        kernels.proper(facts, fit)
        assert not fit[0]


def test_holders_of_inverses_are_always_looked_at():
    venue = venue_of(coin(), inverse(), perp())
    facts, mark = facts_of(venue, rules(flat())), column(100, 100, 100)
    book = book_of(venue, [10**12, 10**12], [(0, 1, 5, 0), (1, 2, 5, 500_000)])
    index = SafeDistance(book)
    for _ in range(2):
        assert index.tick(facts, mark=mark, low=mark, high=mark).size == 0
        assert index.checked == 1
    index.upsert(facts, column(U, U + 1))
    assert index.index.loose.distance[:2].tolist() == [kernels.ALWAYS, kernels.FAR]


def test_a_new_price_and_a_lost_one_are_measured_anew():
    venue = venue_of(perp("A"), perp("B"))
    facts = facts_of(venue, rules(flat()))
    book = book_of(venue, [0], [(0, 0, 1, 10**6), (0, 1, 1, 10**6)])
    index = SafeDistance(book)
    for mark in (column(100, 0), column(100, 100), column(0, 100), column(100, 100)):
        full = MarginModel().assess(book, facts, mark=mark, low=mark, high=mark).liquidatable
        found = index.tick(facts, mark=mark, low=mark, high=mark)
        assert found.tolist() == full.tolist() == ([U] if mark.all() else [])
    assert index.swept == 3
    assert index.anchors == 1


def test_a_jump_is_swept_and_only_then_measured_anew(monkeypatch):
    """The first ticks beyond reach are plain sweeps, the loose ones with them."""
    monkeypatch.setattr(engine, "SWEEPS", 2)
    _, book, facts, mark = crowd(12, 300, unit=10, price=5_000)
    index = SafeDistance(book)
    index.tick(facts, mark=mark, low=mark, high=mark)
    book.cash[U : U + 20] = -(10**12)
    index.upsert(facts, np.arange(U, U + 20))
    there, seen = mark * 2, []
    for _ in range(5):
        full = judged(book, facts, there).liquidatable
        assert index.tick(facts, mark=there, low=there, high=there).tolist() == full.tolist()
        seen.append((index.swept, index.anchors))
    assert seen == [(1, 1), (2, 1), (0, 2), (0, 2), (0, 2)]
