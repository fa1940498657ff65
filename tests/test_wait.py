"""The wait behind a throttle, priced into maintenance: monotone, in range, and asked beforehand."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import Desk, book_of, coin, column, facts_of, flat, inverse, perp, rules, venue_of
from tidegate.domain.effects import OrdersPlaced, Rejected
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, SECOND, unbounded
from tidegate.engine.invariants import audit
from tidegate.kernels import wait
from tidegate.kernels.margin import MAINTENANCE, requirement
from tidegate.kernels.value import notional
from tidegate.safeguards.margin import Requirement, Tier
from tidegate.safeguards.stack import SafeguardStack
from tidegate.safeguards.throttle import StaticThrottle, WindowThrottle
from tidegate.safeguards.wait import WaitMargin


STAIRS = Requirement(
    tiers=(
        Tier(initial=100_000, maintenance=50_000),
        Tier(floor=10**9, initial=400_000, maintenance=200_000),
    ),
    premium=200,
)
VENUE = venue_of(perp("A"), perp("B", tick_value=3), coin(), inverse())
FACTS = facts_of(VENUE, rules(STAIRS))
THROTTLE = WindowThrottle(lots={"PERP": 100}, window_ns=4 * SECOND)


@pytest.mark.parametrize(
    ("lots", "us"),
    [(0, 1), (1, 40_001), (99, 3_960_001), (100, 4_000_001), (250, 10_000_001), (2**61, 10**12)],
)
def test_a_wait_is_lots_over_the_rate(lots, us):
    assert wait.wait_us(lots, 100, 4_000_000) == us
    assert unbounded(wait.wait_us)(lots, 100, 4_000_000) == us


@given(st.integers(0, PPM), st.integers(0, 10**12))
def test_risk_grows_with_the_root_of_the_wait_and_rounds_up(risk, us):
    found = wait.waiting_rate(risk, us)
    exact = Fraction(risk) ** 2 * us  # (found * 1000)^2 is at least this
    assert (found * 1_000) ** 2 >= exact
    root = isqrt(us)
    assert found * 1_000 <= risk * (root + 1) + 999
    assert unbounded(wait.waiting_rate)(risk, us) == found


def margin(i: int, lots: int, price: int, capacity: int, risk: int, cost: int) -> int:
    caps = np.full(4, capacity, np.int64)
    return int(wait.waiting_margin(FACTS, i, lots, price, caps, 4_000_000, risk, cost))


@pytest.mark.parametrize(
    ("lots", "turns"), [(1, 0), (100, 0), (101, 1), (200, 1), (201, 2), (-201, 2)]
)
def test_each_window_after_the_first_has_its_price(lots, turns):
    assert margin(0, lots, 10_000, 100, 0, 7) == 7 * turns
    assert margin(0, lots, 10_000, 0, 1_000, 7) == 0  # nothing is throttled
    assert margin(2, lots, 10_000, 100, 1_000, 7) == 0  # a balance


@given(
    st.sampled_from([0, 1, 3]),
    st.integers(-(10**5), 10**5).filter(bool),
    st.integers(2, 10**6),
    st.integers(1, 10**6),
    st.integers(0, PPM),
    st.integers(0, 10**12),
)
def test_a_position_never_gains_from_a_worse_price(i, lots, price, capacity, risk, cost):
    """One tick against the position: what is left over maintenance and the wait never rises."""
    worse = price - 1 if lots > 0 else price + 1

    def due(at: int) -> int:
        size = int(notional(FACTS, i, lots, at))
        own = int(requirement(FACTS, i, lots, size, MAINTENANCE))
        extra = margin(i, lots, at, capacity, risk, cost)
        assert extra >= 0
        assert own + extra <= size  # the range proof: never more than the notional
        return own + extra

    if i == 3:  # an inverse's notional stands still; its worth is monotone by itself
        assert due(price) == due(worse)
        return
    tick = int(FACTS.tick_value[i])
    assert lots * worse * tick - due(worse) <= lots * price * tick - due(price)


@pytest.mark.parametrize(("risk", "cost"), [(PPM, 0), (PPM, 1), (1, 3), (0, 10**9)])
def test_the_wait_asks_no_more_than_what_is_free(risk, cost):
    """Seven lots at 10,001, one a window; the free part of their notional is a broken number."""
    size, free = int(notional(FACTS, 1, 7, 10_001)), int(wait.free_rate(FACTS, 1, 7))
    assert size * free % PPM
    most = size * free // PPM
    bound = margin(1, 7, 10_001, 1, risk, cost) == most
    assert margin(1, 7, 10_001, 1, risk, cost) <= most
    assert bound == (risk == PPM or cost > most // 6)
    assert margin(1, 7, 10_001, 1, PPM, most // 6) == most


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 10**6), st.integers(0, PPM))
def test_splitting_a_position_never_asks_more(one, other, capacity, risk):
    """Half a position waits half as long: that is what it is charged for."""
    whole = margin(0, one + other, 10_000, capacity, risk, 0)
    parts = margin(0, one, 10_000, capacity, risk, 0) + margin(0, other, 10_000, capacity, risk, 0)
    rounding = 2 * (one + other) * 10_000 * 1_000 // PPM + 4  # each part's rate rounds up a ppm
    assert whole + rounding >= parts


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0, 1]), st.integers(-900, 900).filter(bool)),
        max_size=8,
        unique_by=lambda t: t[:2],
    ),
    st.integers(0, 500),
)
def test_the_sweep_and_its_twin(held, doubt):
    rows = [(user, i, lots, 0) for user, i, lots in held]
    book = book_of(VENUE, [0] * 4, rows)
    mark = column(10_000, 20_000, 10_000, 10_000)
    low, high = mark - doubt, mark + doubt
    caps, args = np.full(4, 100, np.int64), (4_000_000, 5_000, 11)
    required, best = np.zeros(16, np.int64), np.zeros(16, np.int64)
    wait.charge_wait(book, FACTS, mark, low, high, caps, *args, required, best)
    for user in range(4):
        own = [(i, lots) for u, i, lots in held if u == user]
        at_mark = [wait.waiting_margin(FACTS, i, n, mark[i], caps, *args) for i, n in own]
        ends = [
            wait.waiting_margin(FACTS, i, n, high[i] if n > 0 else low[i], caps, *args)
            for i, n in own
        ]
        assert required[12 + user] == sum(at_mark)
        assert best[12 + user] == -sum(ends)
        for i, lots in own:
            asked = wait.account_wait(book, FACTS, mark, 12 + user, i, -lots, caps, *args)
            assert asked == sum(at_mark) - wait.waiting_margin(FACTS, i, lots, mark[i], caps, *args)


def desk_of(**wait_margin) -> Desk:
    return Desk(
        venue_of(perp()),
        margin=rules(flat(100_000, 100_000)),
        throttle=THROTTLE,
        wait=WaitMargin(**wait_margin),
    )


def test_who_would_wait_is_liquidated_sooner():
    """1,000 lots wait ten windows of 4 s: 0.1 % a root second is 0.63 % of 10 million."""
    for cash, risk, gone in (
        (1_000_000_000, 0, False),
        (1_000_000_000, 1_000, True),
        (1_063_239_999, 1_000, True),
        (1_063_250_000, 1_000, False),
    ):
        desk = desk_of(risk=risk)
        desk.users([cash], [(0, 0, 1_000, 10_000)])
        assert bool(desk.of(OrdersPlaced, desk.price(10_000))) is gone


def test_nobody_opens_what_would_be_liquidated_at_once():
    desk = desk_of(cost=10_000_000)
    desk.users([1_030_000_000, 10**12])
    desk.price(10_000)
    (refused,) = desk.of(Rejected, desk.ask(desk.trade(0, 1_000, 10_000, maker=13)))
    assert refused.code == "below_initial_margin"
    # 940 lots: 940 million, and nine more windows of 10 million each.
    assert not desk.of(Rejected, desk.send(desk.trade(0, 940, 10_000, maker=13)))
    assert desk.of(Rejected, desk.ask(desk.trade(0, 1, 10_000, maker=13)))
    assert not desk.of(Rejected, desk.ask(desk.trade(0, -1, 10_000, maker=13)))
    assert not desk.of(OrdersPlaced, desk.tick(1))
    audit(desk.state)


@pytest.mark.parametrize("wrong", [{"risk": -1}, {"cost": -1}, {"risk": PPM + 1}])
def test_prices_of_waiting_are_checked(wrong):
    with pytest.raises(ConfigInvalid, match="wait"):
        WaitMargin(**wrong)


def test_only_a_wait_in_lots_can_be_priced():
    with pytest.raises(ConfigInvalid, match=r"throttle\.lots"):
        SafeguardStack(name="x", throttle=StaticThrottle(amount=10**9), wait=WaitMargin(risk=1))
    assert WaitMargin().describe() == ["wait: not priced into margin"]
    assert len(WaitMargin(risk=1, cost=1).describe()) == 2
