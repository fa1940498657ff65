"""Throttles: never a lot more than a window allows, whichever form a window has."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import Desk, column, flat, perp, rules, venue_of
from tidegate.domain.effects import Deleveraged, LotsReleased, OrdersPlaced
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import OrdersFilled
from tidegate.domain.pace import Pace
from tidegate.domain.units import PPM, SECOND, pack, unbounded, unpack
from tidegate.engine.state import State
from tidegate.kernels import window
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.throttle import (
    UNLIMITED,
    FundThrottle,
    Measured,
    NoThrottle,
    StaticThrottle,
    WindowThrottle,
)
from tidegate.safeguards.waterfall import Tranche, Waterfall
from tidegate.testing.policies import plainly


TEN = rules(flat(150_000, 100_000))
WINDOW = 10 * SECOND


def served(desk: Desk, effects: list) -> int:
    """Fill every order of a step at the mark and return how many lots were sold."""
    total = 0
    for placed in desk.of(OrdersPlaced, effects):
        lots = unpack(placed.lots)
        total -= int(lots.sum())
        ids = placed.first + np.arange(lots.size)
        price = np.full(lots.size, int(desk.state.mark[0]))
        desk.send(OrdersFilled(ts=desk.now, order=pack(ids), lots=placed.lots, price=pack(price)))
    return total


def crowd(throttle, users: int = 4, **policies) -> Desk:
    """Return a desk where everybody is far below maintenance and nobody bankrupt."""
    desk = Desk(venue_of(perp()), margin=TEN, throttle=throttle, **policies)
    desk.users([950_000_000] * users, [(n, 0, 1_000, 10_000) for n in range(users)])
    return desk


# ------------------------------------------------------------------- kernels


def test_a_cell_counts_strictly_within_its_window():
    at, lots = column(0, 5, 7), column(10, 20, 0)
    assert window.used_since(at, lots, -1) == 30
    assert window.used_since(at, lots, 0) == 20
    assert window.used_since(at, lots, 5) == 0
    assert window.last_release(at, lots) == 5
    assert window.last_release(at, column(0, 0, 0)) == -1


@pytest.mark.parametrize(
    ("used", "skew", "last", "now", "expected"),
    [
        (0, 99, 0, 9, 100),
        (99, 99, 0, 9, 1),
        (100, 7, 0, 9, 0),  # 7 % is not below 6 %
        (100, 6, 0, 9, 0),  # nor is 6 %
        (100, 5, 0, 9, 100),
        (100, -5, 0, 9, 100),  # either side
        (100, 5, 9, 9, 0),  # once a moment
        (150, 5, 0, 9, 100),
        (150, 50, 0, 9, 0),
    ],
)
def test_a_balanced_book_may_have_one_more_window(used, skew, last, now, expected):
    balanced = (100, used, last, now, skew, 100, 60_000, PPM)
    assert window.window_room(*balanced) == expected
    assert unbounded(window.window_room)(*balanced) == expected
    strict = max(0, 100 - used)
    assert window.window_room(100, used, last, now, skew, 100, 0, PPM) == strict  # no bypass
    assert window.window_room(100, used, last, now, skew, 0, 60_000, PPM) == strict  # no book


@pytest.mark.parametrize(
    ("lots", "capacity", "windows"),
    [(0, 10, 0), (1, 10, 1), (10, 10, 1), (11, 10, 2), (20, 10, 2), (5, 0, 0)],
)
def test_windows_of_a_size(lots, capacity, windows):
    assert window.windows_of(lots, capacity) == windows


def test_who_is_endorsed_does_not_wait():
    assert window.released(90, 25, 25, 1) == 90
    assert window.released(90, 25, 25, 0) == 25
    assert window.released(90, 0, 0, 0) == 90
    assert window.fee_capacity(7, 3, 1_000, 1_000, 10, 1_000) == 100


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 50)), max_size=40), st.integers(1, 4))
def test_a_full_log_only_tightens(steps, cells):
    """A log of few cells never forgets a lot that is still within the window."""
    at, lots = np.zeros(cells, np.int64), np.zeros(cells, np.int64)
    now, true = 0, []
    for wait, amount in steps:
        now += wait
        window.log_release(at, lots, now, amount, 30)
        true.append((now, amount))
        for back in (0, 1, 15, 29, 30):
            exact = sum(n for t, n in true if t > now - back)
            assert window.used_since(at, lots, now - back) >= exact
    assert lots.sum() <= sum(n for _, n in true)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 50)), max_size=30))
def test_the_log_compiled_and_uncompiled(steps):
    twin = unbounded(window.log_release)
    at, lots = np.zeros(3, np.int64), np.zeros(3, np.int64)
    own_at, own_lots = np.zeros(3, object), np.zeros(3, object)
    now = 0
    for wait, amount in steps:
        now += wait
        window.log_release(at, lots, now, amount, 30)
        twin(own_at, own_lots, now, amount, 30)
        assert (at.tolist(), lots.tolist()) == (own_at.tolist(), own_lots.tolist())


# ------------------------------------------------------------------- policies


def seen(**changes) -> Measured:
    facts = {
        "symbol": "PERP",
        "lot_value": 10,
        "measured": True,
        "depth": 1_000,
        "other_depth": 1_000,
        "fund": 100,
        "deficit": 0,
    }
    return Measured(**(facts | changes))


def test_capacities():
    assert NoThrottle().capacity(seen()) == UNLIMITED
    fixed = StaticThrottle(amount=99, lots={"OTHER": 3})
    assert fixed.capacity(seen()) == 9
    assert fixed.capacity(seen(lot_value=100)) == 1  # never none at all
    assert fixed.capacity(seen(symbol="OTHER")) == 3
    assert StaticThrottle(lots={"OTHER": 3}).capacity(seen()) == UNLIMITED


@pytest.mark.parametrize(
    ("fund", "deficit", "share"),
    [
        (100, 0, 200_000),
        (100, 1, 208_000),
        (100, 50, 600_000),
        (100, 99, 992_000),
        (100, 100, 1_000_000),
        (100, 10**9, 1_000_000),
        (0, 0, 1_000_000),  # nothing to be patient with
        (3, 1, 466_667),  # rounded towards speed
    ],
)
def test_the_fund_buys_time(fund, deficit, share):
    throttle = FundThrottle(slow=200_000, fast=1_000_000)
    assert throttle.share(fund, deficit) == share
    assert throttle.capacity(seen(fund=fund, deficit=deficit)) == 1_000 * share // PPM


def test_an_empty_book_is_a_measurement():
    throttle = FundThrottle(slow=PPM, fast=PPM, unknown_depth=50)
    assert throttle.capacity(seen(depth=0)) == 0
    assert throttle.capacity(seen(depth=0, measured=False)) == 5


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (StaticThrottle, "throttle"),
        (lambda: StaticThrottle(amount=-1), "throttle.amount"),
        (lambda: WindowThrottle(lots={"PERP": 0}), "throttle.lots"),
        (lambda: WindowThrottle(amount=1, window_ns=0), "throttle.window_ns"),
        (lambda: WindowThrottle(amount=1, bypass=PPM + 1), "throttle.bypass"),
        (lambda: FundThrottle(slow=0, fast=1), "throttle.slow"),
        (lambda: FundThrottle(slow=2, fast=1), "throttle.slow"),
        (lambda: FundThrottle(slow=1, fast=1, cover=0), "throttle"),
    ],
)
def test_what_cannot_work_is_refused(make, where):
    with pytest.raises(ConfigInvalid) as refused:
        make()
    assert refused.value.where == where


def test_what_does_not_fit_the_venue_is_refused():
    venue = venue_of(perp())
    with pytest.raises(ConfigInvalid, match="instruments of the venue"):
        Stack.bind(SafeguardStack(name="x", throttle=StaticThrottle(lots={"NO": 1})), venue)
    with pytest.raises(ConfigInvalid, match="needs a fund"):
        SafeguardStack(name="x", throttle=FundThrottle(slow=1, fast=2))


@pytest.mark.parametrize(
    "throttle",
    [
        NoThrottle(),
        StaticThrottle(amount=10**9),
        WindowThrottle(lots={"PERP": 5}, bypass=1),
        FundThrottle(slow=1, fast=2),
    ],
)
def test_policies_can_be_read_back(throttle):
    fund = Waterfall(tranches=(Tranche(name="fund", initial=0),))
    kind = SafeguardStack(name="x", throttle=throttle, waterfall=fund)
    again = msgspec.json.decode(msgspec.json.encode(kind), type=SafeguardStack)
    assert plainly(again) == plainly(kind)
    assert all(line.startswith("throttle: ") for line in throttle.describe())


# ------------------------------------------------------------------- the engine


def test_without_a_throttle_nothing_is_remembered():
    desk = crowd(NoThrottle())
    effects = desk.price(9_150)
    assert served(desk, effects) == 4_000
    assert not desk.of(LotsReleased, effects)
    assert desk.state.pace.used() == ()


@given(
    st.lists(st.integers(1, 9_000_000_000), min_size=1, max_size=12),
    st.integers(1, 900),
    st.sampled_from([StaticThrottle, WindowThrottle]),
)
def test_no_window_is_exceeded_by_a_lot(waits, lots, kind):
    """Every rolling window, and every window of the clock, recomputed from the orders alone."""
    desk = crowd(kind(lots={"PERP": lots}, window_ns=WINDOW))
    sold = [(desk.now, served(desk, desk.price(9_150)))]
    for wait in waits:
        desk.now += wait
        sold.append((desk.now, served(desk, desk.tick())))
    for now, _ in sold:
        if kind is WindowThrottle:
            within = sum(n for t, n in sold if now - WINDOW < t <= now)
        else:
            within = sum(n for t, n in sold if t // WINDOW == now // WINDOW)
        assert within <= lots


def test_a_window_of_the_clock_is_renewed_and_a_rolling_one_moves_on():
    static = crowd(StaticThrottle(lots={"PERP": 300}, window_ns=WINDOW))
    rolling = crowd(WindowThrottle(lots={"PERP": 300}, window_ns=WINDOW))
    for desk in (static, rolling):
        desk.now += 9 * SECOND
        assert served(desk, desk.price(9_150)) == 300
        assert served(desk, desk.tick(0.9)) == 0
    assert served(static, static.tick(0.1)) == 300
    assert served(rolling, rolling.tick(0.1)) == 0
    assert served(rolling, rolling.tick(8.999_999_999)) == 0
    assert served(rolling, rolling.tick(0.000_000_001)) == 300


def test_the_bypass_needs_a_balanced_book():
    desk = crowd(WindowThrottle(lots={"PERP": 300}, window_ns=WINDOW, bypass=100_000))
    desk.depth([(9_140, 1_000)], [(9_160, 1_500)])
    assert served(desk, desk.price(9_150)) == 300
    assert served(desk, desk.tick(1)) == 0
    desk.depth([(9_140, 1_000)], [(9_160, 1_200)])
    assert served(desk, desk.tick(1)) == 300
    assert served(desk, desk.tick(0)) == 0  # the same moment


def test_deficits_speed_a_fund_throttle_up():
    funded = Waterfall(tranches=(Tranche(name="fund", initial=10**9),))
    throttle = FundThrottle(slow=100_000, fast=1_000_000, reach=50_000, window_ns=WINDOW)
    calm = crowd(throttle, waterfall=funded)
    calm.depth([(9_140, 1_000)])
    assert served(calm, calm.price(9_150)) == 100
    worse = crowd(throttle, waterfall=funded)
    worse.depth([(8_990, 1_000)])
    # Four bankrupt accounts, each 50 million below zero: a fifth of the fund.
    assert served(worse, worse.price(9_000)) == 280


def test_what_no_window_can_sell_is_deleveraged():
    """The fund stands only behind what the throttle lets go."""
    fund = Waterfall(tranches=(Tranche(name="fund", initial=10**12),), deleverage="queue")
    for lots, closed in ((999, True), (1_000, False)):
        desk = Desk(
            venue_of(perp()),
            margin=TEN,
            throttle=WindowThrottle(lots={"PERP": lots}),
            waterfall=fund,
        )
        desk.users([950_000_000, 10**10], [(0, 0, 1_000, 10_000), (1, 0, -1_000, 10_000)])
        assert bool(desk.of(Deleveraged, desk.price(9_000))) is closed


def test_the_memory_survives_a_snapshot():
    desk = crowd(WindowThrottle(lots={"PERP": 300}, window_ns=WINDOW))
    served(desk, desk.price(9_150))
    again = State.load(desk.state.dump(), desk.stack)
    assert again.digest() == desk.state.digest()
    assert again.pace.log_lots.sum() == 300
    assert Pace.empty(1, 1, 1).used() == ()
