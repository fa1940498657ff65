"""The optimal rate: schedules that slow a stack down, within what the core lets them say."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import Desk, flat, perp, rules, venue_of
from tidegate.domain.effects import Deleveraged, OrdersPlaced, Rejected, ScheduleKept
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import OrdersFilled, ScheduleObserved
from tidegate.domain.pace import CONSTRAINED, INFEASIBLE, NO_SCHEDULE
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.drivers.pacer import Pacer
from tidegate.drivers.streams import Streams
from tidegate.engine.state import State
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.rate import UNLIMITED, OptimalRate
from tidegate.safeguards.slices import Slicing
from tidegate.safeguards.throttle import StaticThrottle
from tidegate.safeguards.waterfall import Tranche, Waterfall
from tidegate.signals.rate import (
    cluster_distance,
    inventories,
    market_of,
    schedules_now,
    solved,
    whole_slices,
)


TEN = rules(flat(150_000, 100_000))
RATE = OptimalRate(
    confidence=950_000,
    horizon_ns=10 * SECOND,
    interval_ns=SECOND,
    age_max_ns=4 * SECOND,
)


def crowd(users: int = 4, cash: int = 950_000_000, **policies) -> Desk:
    desk = Desk(venue_of(perp()), margin=TEN, **({"rate": RATE} | policies))
    desk.users([cash] * users, [(n, 0, 1_000, 10_000) for n in range(users)])
    return desk


def say(desk: Desk, *slices: int, **changes) -> list:
    facts = {
        "ts": desk.now,
        "instrument": 0,
        "side": 0,
        "slices": pack(np.array(slices, np.int64)),
        "interval": SECOND,
        "regime": "constrained",
        "model": "test",
        "version": "1",
    }
    return desk.send(ScheduleObserved(**(facts | changes)))


def sold(desk: Desk, effects: list) -> int:
    total = 0
    for placed in desk.of(OrdersPlaced, effects):
        lots = unpack(placed.lots)
        total -= int(lots.sum())
        ids = pack(placed.first + np.arange(lots.size))
        price = pack(np.full(lots.size, int(desk.state.mark[0])))
        desk.send(OrdersFilled(ts=desk.now, order=ids, lots=placed.lots, price=price))
    return total


@pytest.mark.parametrize(
    ("age", "used", "room"),
    [
        (0, 0, 10),
        (0, 4, 6),
        (0, 11, 0),
        (SECOND - 1, 0, 10),
        (SECOND, 0, 20),
        (2 * SECOND, 0, 5),  # the floor
        (3 * SECOND, 0, UNLIMITED),  # it is over
    ],
)
def test_each_slice_has_its_time(age, used, room):
    slices = np.array([10, 20, 0])
    found = RATE.releasable(
        slices, regime=CONSTRAINED, at=100, interval=SECOND, used=used, now=100 + age, floor=5
    )
    assert found == room


def test_an_old_schedule_lets_go():
    slices = np.full(20, 60)
    say_at = {"regime": CONSTRAINED, "at": 0, "interval": SECOND, "used": 0, "floor": 0}
    rooms = [
        RATE.releasable(slices, now=int(t * SECOND), **say_at) for t in (4, 5, 6, 7, 7.99, 8, 9)
    ]
    assert rooms[:4] == [60, 80, 120, 240]
    assert rooms == sorted(rooms)
    assert rooms[-2:] == [UNLIMITED, UNLIMITED]
    none = say_at | {"regime": NO_SCHEDULE}
    assert RATE.releasable(slices, now=0, **none) == UNLIMITED


def test_only_an_escalating_stack_stops():
    asked = {"regime": INFEASIBLE, "at": 0, "interval": SECOND, "used": 0, "now": 0, "floor": 3}
    assert RATE.releasable(np.array([9]), **asked) == 9
    stopping = msgspec.structs.replace(RATE, escalate=True)
    assert stopping.releasable(np.array([9]), **asked) == 0
    assert stopping.stops(regime=INFEASIBLE, at=0, now=4 * SECOND)
    assert not stopping.stops(regime=INFEASIBLE, at=0, now=4 * SECOND + 1)
    assert not stopping.stops(regime=CONSTRAINED, at=0, now=0)
    assert not RATE.stops(regime=INFEASIBLE, at=0, now=0)


def test_a_schedule_slows_the_engine_down():
    desk = crowd()
    (kept,) = desk.of(ScheduleKept, say(desk, 100, 200, 300))
    assert kept.regime == CONSTRAINED
    gone = [sold(desk, desk.price(9_150))]
    gone += [sold(desk, desk.tick(0.5)) for _ in range(5)]
    assert gone == [100, 0, 200, 0, 300, 0]
    assert sold(desk, desk.tick(0.5)) == 3_400  # over: nothing is held back any more


def test_a_schedule_never_beats_the_throttle_nor_the_floor():
    desk = crowd(throttle=StaticThrottle(lots={"PERP": 50}, window_ns=100 * SECOND))
    say(desk, 1_000)
    assert sold(desk, desk.price(9_150)) == 50
    for more, lots in ((0, 70), (1, 71)):
        floor = crowd(rate=msgspec.structs.replace(RATE, floor=70 * 9_150_000 + more))
        say(floor, 0, 0, 0)
        assert sold(floor, floor.price(9_150)) == lots


def test_an_infeasible_debt_goes_to_others():
    fund = Waterfall(tranches=(Tranche(name="fund", initial=10**12),), deleverage="queue")
    for escalate in (False, True):
        rate = msgspec.structs.replace(RATE, escalate=escalate)
        desk = Desk(venue_of(perp()), margin=TEN, rate=rate, waterfall=fund)
        desk.users([950_000_000, 10**10], [(0, 0, 1_000, 10_000), (1, 0, -1_000, 10_000)])
        say(desk, 1_000, regime="infeasible")
        effects = desk.price(9_000)
        assert bool(desk.of(Deleveraged, effects)) is escalate
        assert bool(desk.of(OrdersPlaced, effects)) is not escalate


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"instrument": 1}, "instrument_unknown"),
        ({"instrument": -1}, "instrument_unknown"),
        ({"slices": b"123"}, "columns_differ"),
        ({"slices": pack(np.array([-1]))}, "schedule_out_of_range"),
        ({"slices": pack(np.array([2**61]))}, "schedule_out_of_range"),
        ({"slices": pack(np.zeros(65, np.int64))}, "schedule_out_of_range"),
        ({"side": 2}, "schedule_out_of_range"),
        ({"interval": 0}, "schedule_out_of_range"),
        ({"regime": "none"}, "schedule_out_of_range"),
        ({"confidence": 499_999}, "signal_not_confident"),
    ],
)
def test_what_is_no_schedule_is_refused(wrong, code):
    desk = crowd()
    before = desk.state.digest()
    (refused,) = desk.of(Rejected, say(desk, 1, **wrong))
    assert refused.code == code
    assert not desk.state.pace.used()
    assert desk.state.digest() != before  # it was an event, and is counted


def test_who_asks_for_no_schedule_hears_none():
    desk = crowd(rate=OptimalRate())
    assert say(desk, 1) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": PPM},
        {"lasting": PPM},
        {"floor": -1},
        {"interval_ns": 0},
        {"interval_ns": 61 * SECOND},
        {"age_max_ns": 4 * SECOND},
        {"horizon_ns": 400 * SECOND},
    ],
)
def test_what_cannot_be_asked_is_refused(wrong):
    with pytest.raises(ConfigInvalid, match="rate"):
        OptimalRate(**wrong)


# ------------------------------------------------------------------- the solver


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=64), st.integers(0, 10**9), st.integers(1, 10)
)
def test_whole_slices_add_up(trades, extra, most):
    total = int(sum(trades)) + extra % 7
    whole = whole_slices(np.array(trades), total, 2**62)
    assert sum(whole) == total
    assert all(n >= 0 for n in whole)
    early = np.cumsum(whole)[:-1] + 1e-3 >= np.minimum(np.cumsum(trades), total)[:-1]
    assert early.all()
    cut = whole_slices(np.array(trades), total, most)
    assert cut == [min(n, most) for n in whole]


def market(desk: Desk, depth: int = 10_000) -> Desk:
    desk.depth([(9_140, depth)], [(9_160, depth)])
    desk.price(9_151)
    return desk


def test_inventory_is_netted_and_its_owners_equity_is_the_budget():
    desk = Desk(venue_of(perp()), margin=TEN, rate=RATE, planner=StagedPlanner(netting=True))
    desk.users(
        [950_000_000, 950_000_000, 850_000_000],
        [(0, 0, 1_000, 10_000), (1, 0, 1_000, 10_000), (2, 0, -600, 8_000)],
    )
    market(desk)
    health = desk.stack.declaration.margin.assess(
        desk.state.book, desk.state.facts, mark=desk.state.mark, low=desk.state.low,
        high=desk.state.high,
    )  # fmt: skip
    found = inventories(desk.state, health, desk.stack)
    assert {k: v.lots for k, v in found.items()} == {(0, 0): 1_400}
    assert found[0, 0].budget == 2 * (950_000_000 - 849_000_000)


@pytest.mark.parametrize(
    ("cash", "depth", "regime"),
    [
        (990_000_000, 10**5, "any"),
        (880_000_000, 10**5, "constrained"),
        (880_000_000, 4_000, "infeasible"),
    ],
)
def test_three_regimes(cash, depth, regime):
    """Rich owners and a deep book; poorer owners; and a thinner book."""
    desk = market(crowd(cash=cash), depth)
    desk.state.market.variance[0] = 2_000_000  # 0.14 % a second
    (said,) = schedules_now(desk.state, desk.stack, desk.now)
    assert said.regime == regime
    slices = unpack(said.slices)
    assert slices.size == RATE.intervals
    assert slices.sum() <= 4_000
    if regime == "any":
        assert slices.tolist() == [400] * 10


def test_more_confidence_is_no_slower():
    """The first slice, and the whole course, of a constrained schedule."""
    desk = market(crowd(cash=880_000_000), 10**5)
    desk.state.market.variance[0] = 2_000_000
    first = []
    for confidence in (600_000, 800_000, 900_000, 950_000):
        rate = msgspec.structs.replace(RATE, confidence=confidence)
        declaration = msgspec.structs.replace(desk.stack.declaration, rate=rate)
        stack = replace(desk.stack, declaration=declaration)
        found = market_of(desk.state, 0, 0, stack)
        health = declaration.margin.assess(
            desk.state.book, desk.state.facts, mark=desk.state.mark, low=desk.state.low,
            high=desk.state.high,
        )  # fmt: skip
        stock = inventories(desk.state, health, stack)[0, 0]
        first.append(solved(stock, found[0], 9_151_000, stack).schedule.trades[0])
    assert first == sorted(first)
    assert first[0] < first[-1]


@pytest.mark.parametrize(("cash", "distance"), [(1_830_000_000, 5_000), (1_900_000_000, 15_000)])
def test_flow_stays_short_of_the_next_cluster(cash, distance):
    """A crowd whose liquidation prices stand together below the mark caps every slice."""
    desk = Desk(venue_of(perp()), margin=TEN, rate=RATE)
    desk.users([950_000_000] * 2 + [cash] * 20, [(n, 0, 1_000, 10_000) for n in range(22)])
    market(desk, 100)
    health = desk.stack.declaration.margin.assess(
        desk.state.book, desk.state.facts, mark=desk.state.mark, low=desk.state.low,
        high=desk.state.high,
    )  # fmt: skip
    assert cluster_distance(desk.state, health, 0, 0, desk.stack) == distance
    assert cluster_distance(desk.state, health, 0, 1, desk.stack) == 200_000  # no shorts
    (said,) = schedules_now(desk.state, desk.stack, desk.now)
    assert unpack(said.slices).max() == 100 * distance // RATE.reach


def test_nothing_left_to_sell_lifts_the_schedule():
    desk = market(crowd())
    for said in schedules_now(desk.state, desk.stack, desk.now):
        desk.send(said)
    assert desk.state.pace.plan_count[0, 0]
    desk.later(1).price(12_000)
    (lifted,) = schedules_now(desk.state, desk.stack, desk.now)
    desk.send(lifted)
    assert (lifted.regime, lifted.slices) == ("any", b"")
    assert not schedules_now(desk.state, desk.stack, desk.now)
    assert State.load(desk.state.dump(), desk.stack).digest() == desk.state.digest()


def test_a_driver_says_what_is_due_and_no_more():
    desk = market(crowd(slices=Slicing(count=2, reseed_ns=3 * SECOND)))
    pacer = Pacer(desk.stack, Streams(root=1, path=0)["slices"].bytes)
    kinds = []
    for _ in range(5):
        kinds.append([type(e).__name__ for e in pacer.events(desk.state, desk.now)])
        kinds.append(pacer.events(desk.state, desk.now))
        desk.later(1)
    assert kinds[0] == ["SeedDrawn", "ScheduleObserved"]
    assert kinds[1::2] == [[]] * 5
    assert [len(k) for k in kinds[::2]] == [2, 1, 1, 2, 1]
    twice = [
        Pacer(desk.stack, Streams(root=1, path=0)["slices"].bytes).events(desk.state, desk.now)
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
