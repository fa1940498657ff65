"""Degrees of trust in a price, the stable price, and a ladder that does not hold itself."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, flat, perp, rules, stack_of, venue_of
from tidegate.domain.effects import (
    BreakerMoved,
    MarkMoved,
    OrdersPlaced,
    Rejected,
    RungHeld,
    StableMoved,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Withdrawn
from tidegate.domain.instrument import CASH
from tidegate.domain.restraint import FINE
from tidegate.domain.units import PPM, SECOND
from tidegate.engine.stable import initial_marks
from tidegate.safeguards.breaker import Alarms, LadderBreaker, Rung, Step
from tidegate.safeguards.oracle import Action, OracleGuard, Quality, StablePrice
from tidegate.safeguards.planner import StagedPlanner


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


# Degrees --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda: OracleGuard(sample_max=1), "oracle.sample_max"),
        (lambda: OracleGuard(volatile_ratio=6), "oracle.volatile_ratio"),
        (lambda: OracleGuard(volatile_ratio=1, average_ns=1), "oracle.volatile_ratio"),
        (lambda: OracleGuard(volatile_ratio=-1, average_ns=1), "oracle.volatile_ratio"),
        (lambda: OracleGuard(age_doubtful_ns=5, age_max_ns=5), "oracle.age_doubtful_ns"),
        (lambda: OracleGuard(age_doubtful_ns=5), "oracle.age_doubtful_ns"),
        (lambda: StablePrice(growth=1_667), "oracle.stable.growth"),
        (lambda: StablePrice(growth=-1), "oracle.stable.growth"),
        (lambda: StablePrice(delay_growth=PPM + 1), "oracle.stable.growth"),
        (lambda: StablePrice(rest_s=601), "oracle.stable"),
        (lambda: StablePrice(reach_s=0, rest_s=0), "oracle.stable"),
        (lambda: StablePrice(interval_s=599), "oracle.stable"),
        (lambda: StablePrice(interval_s=86_401), "oracle.stable"),
    ],
)
def test_what_is_refused(build, where):
    with pytest.raises(ConfigInvalid) as e:
        build()
    assert e.value.where == where


def test_what_stands_at_the_edge_is_accepted():
    OracleGuard(volatile_ratio=2, sample_max=1, average_ns=1)
    OracleGuard(age_doubtful_ns=4, age_max_ns=5)
    StablePrice(growth=1_666, delay_growth=PPM, interval_s=86_400)
    StablePrice(rest_s=0, reach_s=1, interval_s=1)


def test_the_guard_in_words():
    guard = OracleGuard(
        average_ns=SECOND,
        sample_max=100_000,
        volatile_ratio=6,
        age_doubtful_ns=SECOND,
        age_max_ns=2 * SECOND,
        stable=StablePrice(growth=300),
    )
    said = "\n".join(guard.describe())
    assert "one price enters its average within 10 %" in said
    assert "6 times its average, or a 6th of it, is no price" in said
    assert "doubtful from 1 s of silence on" in said
    assert "stable price that moves 0.03 % a second" in said


gates = st.tuples(*[st.integers(0, 2)] * 4)


@given(gates)
def test_worse_quality_never_allows_more(worst):
    names = ("liquidate_at_worst", "deleverage_at_worst", "withdraw_at_worst", "open_at_worst")
    guard = OracleGuard(**dict(zip(names, worst, strict=True)))
    for action, better in product(Action, Quality):
        if not guard.admits(action, better):
            assert not any(guard.admits(action, q) for q in Quality if q > better)


def desk(**policies) -> Desk:
    d = Desk(venue_of(perp()), margin=rules(flat()), **policies)
    d.users([10**9, 10**9], [(0, 0, 100, 10_000), (1, 0, -100, 10_000)])
    d.price(10_000)
    return d


@pytest.mark.parametrize(
    ("seconds", "quality"),
    [(5, Quality.GOOD), (5.001, Quality.DOUBTFUL), (10, Quality.DOUBTFUL), (10.001, Quality.STALE)],
)
def test_a_silent_price_is_doubtful_before_it_is_stale(seconds, quality):
    guard = OracleGuard(
        age_doubtful_ns=5 * SECOND, age_max_ns=10 * SECOND, stale_band=20_000, withdraw_at_worst=1
    )
    d = desk(oracle=guard)
    d.tick(seconds)
    assert d.state.quality[0] == quality
    wide = (9_800, 10_200) if quality else (10_000, 10_000)
    assert (d.state.low[0], d.state.high[0]) == wide
    refused = codes(d.ask(Withdrawn(ts=d.now, account=U, amount=1, asset=-1)))
    assert refused == (["price_not_good_enough"] if quality == Quality.STALE else [])


@pytest.mark.parametrize(
    ("price", "quality", "mark"),
    [
        (59_999, Quality.GOOD, 59_999),
        (60_000, Quality.STALE, 10_000),
        (1_667, Quality.GOOD, 1_667),
        (1_666, Quality.STALE, 10_000),
    ],
)
def test_many_times_its_average_is_no_price(price, quality, mark):
    guard = OracleGuard(average_ns=100 * SECOND, volatile_ratio=6, stale_band=10_000)
    d = desk(oracle=guard)
    (moved,) = d.of(MarkMoved, d.later(0).price(price))
    assert (moved.quality, moved.price) == (quality, mark)
    if quality == Quality.STALE:
        assert (moved.low, moved.high, moved.reason) == (9_900, 10_100, "price_is_volatile")


def test_a_price_that_stays_is_believed_in_the_end():
    d = desk(oracle=OracleGuard(average_ns=10 * SECOND, volatile_ratio=6))
    assert d.of(MarkMoved, d.later(1).price(100_000))[0].quality == Quality.STALE
    for _ in range(9):
        moved = d.of(MarkMoved, d.later(1).price(100_000))
    assert moved[0].quality == Quality.GOOD
    assert moved[0].price == 100_000


@pytest.mark.parametrize(("sample_max", "average"), [(0, 15_000), (100_000, 10_500)])
def test_one_price_enters_its_average_only_so_far(sample_max, average):
    d = desk(oracle=OracleGuard(average_ns=10 * SECOND, sample_max=sample_max))
    (moved,) = d.of(MarkMoved, d.later(10).price(20_000))
    assert moved.average == average * 1_024


# The stable price -----------------------------------------------------------------------------


def collateral(**changes) -> Desk:
    stable = StablePrice(**({"growth": 300} | changes))
    venue = venue_of(perp(), coin())
    margin = rules(PERP=flat(), COIN=flat(200_000, 100_000, debt_initial=200_000))
    d = Desk(venue, margin=margin, oracle=OracleGuard(stable=stable))
    # A hundred whole coins, a tick of one being 10,000 Money: 1e10 at 10,000.
    d.users([0, 10**11], [(0, 1, 100 * 100, 0)])
    d.price(10_000)
    d.price(10_000, 1)
    return d


def can_open(d: Desk) -> int:
    """Return how many lots user 0 may go long at the mark."""
    low, high = 0, 10**6
    while low < high:
        middle = (low + high + 1) // 2
        price = int(d.state.mark[0])
        low, high = (
            (middle, high) if not codes(d.ask(d.trade(0, middle, price))) else (low, middle - 1)
        )
    return low


def test_without_growth_there_is_no_stable_price():
    d = collateral(growth=0)
    before = can_open(d)
    assert not d.of(StableMoved, d.later(60).price(20_000, 1))
    assert not d.state.restraint.stirred()
    assert can_open(d) == 2 * before


def test_a_pump_lends_nothing_and_liquidates_nobody():
    d = collateral()
    before = can_open(d)
    (moved,) = d.of(StableMoved, d.later(60).price(20_000, 1))
    assert moved.instrument == 1
    # 300 ppm a second for a minute; yesterday's price still agrees with the stable one.
    assert d.state.restraint.stable[1, 0] == 10_180 * FINE
    assert before < can_open(d) <= before * 102 // 100
    why = codes(d.ask(Withdrawn(ts=d.now, account=U, amount=1, asset=1)))
    assert why == []
    taken = d.ask(Withdrawn(ts=d.now, account=U, amount=9_999, asset=1))
    assert codes(taken) == []  # it owes nothing: its own coins are its own


def test_a_crash_counts_at_once():
    d = collateral()
    before = can_open(d)
    d.later(60).price(5_000, 1)
    assert d.state.restraint.stable[1, 0] == 9_820 * FINE
    assert can_open(d) == before // 2


def test_a_debt_counts_at_the_higher_of_both():
    d = collateral()
    borrow = Withdrawn(ts=d.now, account=U + 1, amount=80 * 100, asset=1)
    assert codes(d.ask(borrow)) == []
    d.later(60).price(5_000, 1)
    # At the mark it could borrow 166 coins of 5,000 against 1e11; at 9,820 no more than 84.
    for coins, refused in ((848, []), (849, ["below_initial_margin"])):
        event = Withdrawn(ts=d.now, account=U + 1, amount=coins * 100, asset=1)
        assert codes(d.ask(event)) == refused


@pytest.mark.parametrize(("part", "owed", "held"), [(0, 9_820, 9_820), (1, 9_821, 9_820)])
def test_a_stable_price_between_two_ticks_counts_against_the_account(part, owed, held):
    d = collateral()
    d.send(Withdrawn(ts=d.now, account=U + 1, amount=100, asset=1))
    for user, stable, mark in ((1, owed, 5_000), (0, held, 20_000)):
        d.state.restraint.stable[1, 0] = 9_820 * FINE + part
        d.state.market.mark[1] = mark
        assert initial_marks(d.state, U + user, CASH, 0, d.stack)[1] == stable


def test_liquidation_uses_the_mark():
    found = []
    for growth in (0, 300):
        d = collateral(growth=growth)
        d.send(d.trade(0, 1_000, 10_000))
        effects = d.later(60).price(5_000, 1)
        found.append([e for e in effects if not isinstance(e, StableMoved)])
    assert found[0] == found[1]


@pytest.mark.parametrize(("positions", "fewer"), [(False, False), (True, True)])
def test_positions_count_at_it_only_where_asked(positions, fewer):
    d = collateral(positions=positions)
    before = can_open(d)
    d.later(60).price(12_000)
    assert (can_open(d) < before * 8 // 10) == fewer


@pytest.mark.parametrize(("seconds", "moved"), [(9, 0), (10, 1)])
def test_a_mark_too_soon_is_passed_over(seconds, moved):
    d = collateral()
    assert len(d.of(StableMoved, d.later(seconds).price(20_000, 1))) == moved


def test_a_stale_mark_moves_no_stable_price():
    d = desk(oracle=OracleGuard(age_max_ns=SECOND, stable=StablePrice(growth=300)))
    assert not d.of(StableMoved, d.tick(60))
    assert d.of(StableMoved, d.later(1).price(10_100))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(5_000, 20_000)), min_size=1, max_size=12)
)
def test_a_stable_price_never_lends_more_than_the_mark(moves):
    kept, bare = collateral(), collateral(growth=0)
    for seconds, price in moves:
        for d in (kept, bare):
            d.later(seconds).price(price, 1)
        for lots in (10, 500, 2_000, 5_000, 9_000):
            if not codes(kept.ask(kept.trade(0, lots, 10_000))):
                assert not codes(bare.ask(bare.trade(0, lots, 10_000)))


# A ladder that does not hold itself -----------------------------------------------------------

HALT = Step(rung="halt", distressed=300_000)
AUCTION = Step(rung="auction_only", distressed=200_000)
REDUCE = Step(rung="reduce_only", distressed=100_000)


def distressed(*steps: Step, **changes) -> Desk:
    d = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        breaker=LadderBreaker(steps=steps, **changes),
        planner=StagedPlanner(unknown_depth=10**12, depth_share=PPM),
    )
    d.users([60_000_000, 10**12], [(0, 0, 100, 10_000), (1, 0, -100, 10_000)])
    d.price(10_000)
    return d


def test_without_patience_distress_holds_its_own_halt():
    d = distressed(REDUCE, AUCTION, HALT)
    d.later(1).price(9_800)
    for _ in range(100):
        assert not d.of(OrdersPlaced, d.tick(60))
    assert d.state.rung == Rung.HALT


def test_a_halt_expires_rung_by_rung_and_sales_go_on():
    d = distressed(REDUCE, AUCTION, HALT, halt_max_ns=60 * SECOND)
    d.later(1).price(9_800)
    assert d.state.rung == Rung.HALT
    assert not d.of(OrdersPlaced, d.tick(59.999))
    (moved,) = d.of(BreakerMoved, d.tick(0.001))
    assert (moved.rung, moved.reason) == (Rung.AUCTION_ONLY, "expired")
    assert not d.of(OrdersPlaced, d.tick(59.999))
    effects = d.tick(0.001)
    assert d.of(BreakerMoved, effects)[0].rung == Rung.REDUCE_ONLY
    assert d.of(OrdersPlaced, effects)


def test_an_expired_halt_does_not_return_for_as_long():
    d = distressed(REDUCE, HALT, halt_max_ns=60 * SECOND)
    d.later(1).price(9_800)
    d.tick(60)
    assert d.state.rung == Rung.REDUCE_ONLY
    d.tick(59.999)
    assert d.state.rung == Rung.REDUCE_ONLY
    d.tick(0.001)
    assert d.state.rung == Rung.HALT  # still in distress: half of the time is the most it stops
    assert d.of(RungHeld, d.tick(60))


def test_the_neutral_patience_remembers_nothing():
    d = distressed(REDUCE, HALT)
    d.later(1).price(9_800)
    assert not d.state.restraint.stirred()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(9_700, 10_300)), max_size=60))
def test_a_stop_never_lasts_longer_than_twice_its_patience(moves):
    d = distressed(REDUCE, AUCTION, HALT, halt_max_ns=60 * SECOND, cooldown_ns=1)
    stopped = 0
    for seconds, price in moves:
        before = d.now
        was = d.state.rung
        d.later(seconds).price(price)
        assert d.state.rung <= Rung.HALT
        stopped = stopped + d.now - before if was >= Rung.AUCTION_ONLY else 0
        assert stopped <= 2 * (60 + 30) * SECOND


# The pace between the rungs -------------------------------------------------------------------

SLOW = (
    Step(rung="caution", branching=500_000, pace=800_000),
    Step(rung="reduce_only", branching=1_500_000, distressed=100_000, pace=200_000),
)


def alarms(**changes) -> Alarms:
    return Alarms(
        **(
            {"deviations": 0, "distressed": 0, "branching": 0, "drawdown": 0, "doubtful": 0}
            | changes
        )
    )


@pytest.mark.parametrize(
    ("branching", "pace"),
    [(0, PPM), (250_000, 900_000), (500_000, 800_000), (1_000_000, 500_000), (1_500_000, 200_000),
     (9_000_000, 200_000)],
)  # fmt: skip
def test_the_pace_is_a_line_through_the_rungs(branching, pace):
    assert LadderBreaker(steps=SLOW, smooth=True).pace(alarms(branching=branching)) == pace


@given(st.integers(0, 2_000_000), st.integers(0, 200_000))
def test_the_pace_has_no_step_and_never_rises_with_an_alarm(branching, distress):
    ladder = LadderBreaker(steps=SLOW, smooth=True)
    here = ladder.pace(alarms(branching=branching, distressed=distress))
    assert (
        here >= ladder.pace(alarms(branching=branching + 1_000, distressed=distress)) >= here - 700
    )
    assert here >= ladder.pace(alarms(branching=branching, distressed=distress + 100))
    assert here == min(
        ladder.pace(alarms(branching=branching)), ladder.pace(alarms(distressed=distress))
    )


def released(d: Desk) -> int:
    d.depth([(9_790, 20), (9_700, 40)], [(9_810, 20)])
    placed = d.of(OrdersPlaced, d.later(1).price(9_800))
    return -sum(int.from_bytes(p.lots[:8], "little", signed=True) for p in placed)


def test_a_smooth_ladder_slows_before_its_first_rung():
    steps = (Step(rung="caution", distressed=990_000, pace=100_000),)
    sold = [released(distressed(*steps, smooth=smooth)) for smooth in (False, True)]
    assert sold[0] > sold[1] > 0


# What the oracle's delay still holds back -----------------------------------------------------


@pytest.mark.parametrize(("waiting", "rung"), [(7_001, Rung.NORMAL), (7_000, Rung.HALT)])
def test_a_fall_that_still_waits_trips_the_ladder(waiting, rung):
    d = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        oracle=OracleGuard(delay_ns=3_600 * SECOND),
        breaker=LadderBreaker(steps=(Step(rung="halt", drop=300_000),)),
    )
    d.users([10**9], [(0, 0, 1, 10_000)])
    d.price(10_000)
    d.later(3_600).price(waiting)
    assert d.state.mark[0] == 10_000
    assert d.state.rung == rung


def test_the_ladder_in_words():
    steps = (Step(rung="halt", drop=400_000),)
    said = "\n".join(LadderBreaker(steps=steps, smooth=True, halt_max_ns=60 * SECOND).describe())
    assert "a fall of 40 % that the oracle still delays" in said
    assert "the pace follows the alarms without a step" in said
    assert "end after 60 s at most" in said
    with pytest.raises(ConfigInvalid, match="halt_max_ns"):
        LadderBreaker(halt_max_ns=-1)
    assert stack_of(venue_of(perp())).declaration.breaker.halt_max_ns == 0
