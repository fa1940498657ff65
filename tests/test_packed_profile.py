"""The profile of all instruments at once is the engine's own of each, bucket by bucket."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import U
from test_kernels import columns, worlds
from test_packed import crowd, few, in_ranges, judged
from tidegate.drivers.threads import Threads
from tidegate.engine.packed import PackedBook, alone
from tidegate.engine.packed_profile import MovingProfile, profile
from tidegate.kernels.profile import forced_buckets
from tidegate.safeguards.margin import MarginModel


def one_by_one(book, facts, mark, best, width, buckets):
    """Return the engine's profile of every instrument: a row for longs and one for shorts."""
    rows = []
    for i in range(mark.size):
        down, up = np.zeros(buckets, np.int64), np.zeros(buckets, np.int64)
        forced_buckets(book, facts, mark, best, i, width, down, up)
        rows += [down, up]
    return np.array(rows)


@few
@given(worlds(), st.sampled_from([1, 7, 5_000, 60_000]), st.integers(1, 40))
def test_every_instrument_is_profiled_as_by_itself(world, width, buckets):
    """Tiers, premiums, balances, inverses; grids that reach beyond the whole price."""
    book, facts, mark = columns(world)
    health = MarginModel().assess(book, facts, mark=mark, low=mark, high=mark)
    packed = PackedBook.load(book, facts, mark=mark)
    slack = health.best[packed.packed.account]
    found = profile(packed, facts, mark=mark, slack=slack, width=width, buckets=buckets)
    assert (found == one_by_one(book, facts, mark, health.best, width, buckets)).all()


@pytest.mark.parametrize("move", [0, -30, 40, 9_000])
def test_prices_may_leave_the_tiers_of_packing(move):
    _, book, facts, mark = crowd(21, 1_500)
    packed, there = PackedBook.load(book, facts, mark=mark), mark + move
    best = judged(book, facts, there).best
    slack = best[packed.packed.account]
    expected = one_by_one(book, facts, there, best, 5_000, 40)
    assert expected[:, 0].any()
    assert (expected[:, 1:] > 0).sum() > (0 if move > 99 else 20)
    with Threads(2, grain=100) as threads:
        for share in (alone, threads, in_ranges(3, 1_024)):
            args = {"mark": there, "slack": slack, "width": 5_000, "buckets": 40}
            assert (profile(packed, facts, **args, share=share) == expected).all()


def test_on_an_edge_of_buckets_the_integers_decide():
    """Slack that puts positions exactly on edges, a Money before and a Money behind them."""
    _, book, facts, mark = crowd(22, 400)
    packed = PackedBook.load(book, facts, mark=mark)
    facts.tier_maintenance[:] = facts.tier_maintenance_cum[:] = 0
    n = packed.packed.members
    rows = book.head[packed.packed.account]
    size = np.where(rows >= 0, np.abs(book.lots[rows]) * 100 * 1_000, 0)
    for shift in (-1, 0, 1):
        slack = size * (1 + np.arange(n) % 40) * 5_000 // 10**6 + shift
        best = np.zeros(book.accounts, np.int64)
        best[packed.packed.account] = slack
        found = profile(packed, facts, mark=mark, slack=slack, width=5_000, buckets=40)
        assert (found == one_by_one(book, facts, mark, best, 5_000, 40)).all()


def test_what_moves_is_redone_and_nothing_else():
    """One price, several, a doubt, a rate and a jump: each time the profile made from scratch."""
    rng = np.random.default_rng(3)
    _, book, facts, mark = crowd(23, 800, instruments=30)
    packed = PackedBook.load(book, facts, mark=mark)
    moving = MovingProfile(packed, 5_000, 40)
    seen = []
    for t in range(25):
        mark = mark.copy()
        few_of_them = rng.choice(30, 1 + t % 3, replace=False)
        mark[few_of_them if t % 10 else slice(None)] += rng.integers(-3, 4)
        low, high = mark - (t % 4 == 3), mark + 2 * (t % 4 == 3)
        if t == 13:
            facts.tier_maintenance[:4] += 1_000
        found = moving.refresh(facts, mark=mark, low=low, high=high)
        health = MarginModel().assess(book, facts, mark=mark, low=low, high=high)
        assert (found == one_by_one(book, facts, mark, health.best, 5_000, 40)).all()
        seen.append(moving.redone)
    assert seen[0] == seen[13] == packed.packed.members == book.accounts - U
    assert min(seen) < 0.2 * packed.packed.members
