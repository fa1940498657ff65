"""Who is served first, and how much at which health: branching, deficit risk, levels."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import Desk, U, book_of, column, facts_of, flat, perp, rows_of, rules, venue_of
from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, unbounded, unpack
from tidegate.kernels.plan import level_of
from tidegate.kernels.priority import branching_of, waiting_shortfall
from tidegate.kernels.profile import N_MAX
from tidegate.safeguards.planner import PRIORITIES, Level, StagedPlanner
from tidegate.safeguards.throttle import StaticThrottle
from tidegate.testing.policies import check_policy


TEN = rules(flat(150_000, 100_000))
THREE = (Level(below=900_000, fraction=100_000), Level(below=500_000, fraction=600_000),
         Level(below=100_000, fraction=PPM))  # fmt: skip


@pytest.mark.parametrize(
    ("equity", "move", "expected"),
    [
        (100, 100, 0),
        (101, 100, 0),
        (0, 100, 25),
        (99, 100, 0),
        (-100, 100, 100),
        (-101, 100, 101),
        (-300, 100, 300),
        (-50, 100, 56),
        (-7, 0, 7),
        (0, 0, 0),
    ],
)
def test_what_waiting_is_expected_to_cost(equity, move, expected):
    assert waiting_shortfall(equity, move) == expected
    assert unbounded(waiting_shortfall)(equity, move) == expected


@given(st.integers(-(2**58), 2**58), st.integers(0, 2**58))
def test_the_expected_deficit_is_exact_and_falls_with_equity(equity, move):
    found = waiting_shortfall(equity, move)
    if abs(equity) < move:
        assert found == int(Fraction((move - equity) ** 2, move)) // 4
    assert waiting_shortfall(equity + 1, move) <= found
    assert found >= -equity


def test_a_large_part_of_a_thin_book_weighs_most():
    venue = venue_of(perp("A"), perp("B"))
    book = book_of(venue, [0, 0, 0], [(0, 0, 100, 0), (1, 1, -50, 0), (2, 0, 1, 0), (2, 1, 1, 0)])
    depth = np.array([[1_000, 1], [1, 100]], np.int64)
    assert [branching_of(book, U + n, depth) for n in range(3)] == [100_000, 500_000, 1_001_000]
    assert branching_of(book, U, np.zeros((2, 2), np.int64)) == N_MAX


@given(st.permutations(range(6)), st.sampled_from(sorted(PRIORITIES)))
def test_every_priority_is_a_permutation(sizes, priority):
    venue = venue_of(perp())
    cash = [10**6 * (n - 3) for n in range(6)]
    book = book_of(venue, cash, [(n, 0, 10 * s + 1, 0) for n, s in enumerate(sizes)])
    facts, mark = facts_of(venue, TEN), column(100)
    health = TEN.assess(book, facts, mark=mark, low=mark, high=mark)
    accounts = np.arange(U, U + 6)
    asked = {"mark": mark, "staged_at": np.arange(U + 6), "sigma": column(50_000)}
    planner = StagedPlanner(priority=priority)
    line = planner.served(accounts, book, facts, health, depth=np.array([[9, 9]]), **asked)
    assert sorted(line.tolist()) == accounts.tolist()
    if priority == "branching":
        weight = [abs(int(book.lots[book.head[a]])) for a in line]
        assert weight == sorted(weight, reverse=True)


def test_a_priority_decides_who_gets_the_window():
    """The same three accounts and a window for one: each rule serves another first."""
    first = {}
    for priority in ("deepest", "largest", "branching", "deficit"):
        desk = Desk(
            venue_of(perp()),
            margin=TEN,
            planner=StagedPlanner(priority=priority, depth_reach=50_000),
            throttle=StaticThrottle(lots={"PERP": 50}),
        )
        desk.depth([(9_990, 10_000)], [(10_010, 10_000)])
        desk.users(
            [5_000_000, 90_000_000, 15_000_000],
            [(0, 0, 60, 10_000), (1, 0, 100, 10_000), (2, 0, 95, 10_000)],
        )
        desk.state.market.variance[0] = 4 * 10**9  # 20 % in the 10 s of a window
        (placed,) = desk.of(OrdersPlaced, desk.price(10_000))
        first[priority] = int(unpack(placed.account)[0]) - U
    assert first == {"deepest": 0, "largest": 1, "branching": 1, "deficit": 2}


@pytest.mark.parametrize(
    ("equity", "most"),
    [(1_000, 50_000), (900, 50_000), (899, 100_000), (500, 100_000), (499, 600_000),
     (100, 600_000), (99, PPM), (0, PPM), (-5, PPM)],
)  # fmt: skip
def test_soft_partial_full(equity, most):
    below = np.array([level.below for level in THREE], np.int64)
    fraction = np.array([level.fraction for level in THREE], np.int64)
    assert level_of(equity, 1_000, 50_000, below, fraction) == most
    assert unbounded(level_of)(equity, 1_000, 50_000, below, fraction) == most


def test_levels_decide_what_is_ordered():
    sold = []
    for cash in (95_000_000, 60_000_000, 20_000_000, 5_000_000):
        desk = Desk(
            venue_of(perp()),
            margin=TEN,
            planner=StagedPlanner(close_fraction=50_000, levels=THREE),
        )
        desk.users([cash], [(0, 0, 100, 10_000)])
        (placed,) = desk.of(OrdersPlaced, desk.price(10_000))
        sold += [-lots for (lots,) in rows_of(placed, "lots")]
    assert sold == [5, 10, 60, 100]


@pytest.mark.parametrize(
    "levels",
    [
        (Level(below=0, fraction=1),),
        (Level(below=PPM + 1, fraction=1),),
        (Level(below=1, fraction=0),),
        (Level(below=5, fraction=5), Level(below=5, fraction=6)),
        (Level(below=5, fraction=5), Level(below=4, fraction=4)),
    ],
)
def test_levels_that_do_not_descend_are_refused(levels):
    with pytest.raises(ConfigInvalid, match="levels"):
        StagedPlanner(levels=levels)


@pytest.mark.parametrize(
    "planner",
    [StagedPlanner(priority="branching"), StagedPlanner(priority="deficit", levels=THREE)],
)
def test_they_keep_what_every_policy_promises(planner):
    check_policy(planner)
