"""No liquidation leaves its account worse: limits, penalties, receipts, attacks."""

import copy

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, column, flat, perp, replaced, rows_of, rules, venue_of
from outside import Margin
from strategies import DECLARATIONS, GUARDED, LENDER, SHARED, VENUE, histories, unfold
from tidegate.domain.effects import HealthBreached, LimitsHeld, OrdersPlaced, PostedBatch
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.events import OrdersExpired, OrdersFilled
from tidegate.domain.units import pack, unpack
from tidegate.engine.invariants import check
from tidegate.engine.step import step
from tidegate.kernels.never_worse import (
    HOPELESS,
    INSOLVENT,
    KEPT,
    TIGHTENED,
    keeps_ratio,
    no_worse,
)
from tidegate.kernels.sheet import rounding_room
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.penalty import LinearPenalty, RisingPenalty
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


LIMITS = NeverWorse(mode="limits")
FUND = Waterfall(tranches=(Tranche(name="fund", initial=10**9),))
ONE = venue_of(perp())
TEN = rules(flat(100_000, 50_000, penalty=20_000))


def trader(**policies) -> Desk:
    """Return a desk with one long of 10 lots at 100, worth 1,000,000, needing 50,000."""
    policies = {"margin": TEN, "waterfall": FUND} | policies
    desk = Desk(ONE, **policies)
    desk.users([140_000], [(0, 0, 10, 100)])
    return desk


def placed(desk: Desk, effects) -> tuple[int, int, int]:
    """Return (order, lots, limit) of the only order."""
    (order,) = desk.of(OrdersPlaced, effects)
    ((lots, limit),) = rows_of(order, "lots", "limit")
    return order.first, lots, limit


# ------------------------------------------------------------------- the two measures


@pytest.mark.parametrize(
    ("equity", "base", "after", "base_after", "kept"),
    [
        (10, 100, 5, 50, True),  # half of both: the same ratio
        (10, 100, 4, 50, False),
        (10, 100, 10, 101, False),  # more is asked: worse, whatever it brought
        (10, 100, 10, 100, True),
        (10, 100, 9, 100, False),
        (10, 100, 0, 0, True),  # nothing left to stand on, and nothing owed
        (10, 100, -1, 0, False),
        (1, 3, 1, 2, True),
        (2, 3, 1, 2, False),  # 0.5 is below 0.667, though both floors agree
        (2**61, 2**61, 2**60, 2**60, True),
        (2**61, 2**61, 2**60 - 1, 2**60, False),
    ],
)
def test_a_ratio_is_compared_exactly(equity, base, after, base_after, kept):
    assert keeps_ratio(equity, base, after, base_after) == kept


def test_both_measures_count():
    before = column(100, 100, 1_000)
    assert no_worse(before, column(90, 90, 900))
    assert not no_worse(before, column(89, 80, 890 + 1))  # health rose, loan-to-value too
    assert not no_worse(before, column(89, 90, 800))  # loan-to-value fell, health too


# -------------------------------------------------------------------- limits of orders


@pytest.mark.parametrize(
    ("price", "limit", "fate"),
    [
        (90, 86, TIGHTENED),  # 860,000 are owed for 10 lots
        (87, 86, TIGHTENED),
        (86, 1, INSOLVENT),  # nothing left to keep: a market order, as the route says
        (85, 1, INSOLVENT),
    ],
)
def test_a_market_order_is_held_at_the_bankruptcy_price(price, limit, fate):
    """Selling all of it there costs all the equity, and not one Money more."""
    desk = trader(
        planner=StagedPlanner(close_fraction=500_000), never_worse=LIMITS, route=BookRoute()
    )
    effects = desk.price(price)
    _, lots, found = placed(desk, effects)
    (held,) = desk.of(LimitsHeld, effects)
    assert lots == -5
    assert (found, unpack(held.fate).tolist()) == (limit, [fate])


def test_a_limit_that_helps_is_left_alone():
    desk = trader(
        planner=StagedPlanner(close_fraction=500_000),
        never_worse=LIMITS,
        route=BookRoute(spread=100_000),
    )
    effects = desk.price(90)
    (held,) = desk.of(LimitsHeld, effects)
    assert placed(desk, effects)[2] == 90
    assert unpack(held.fate).tolist() == [KEPT]
    before = rows_of(held, "equity", "required", "notional")
    after = rows_of(held, "equity_after", "required_after", "notional_after")
    assert before == [(40_000, 45_000, 900_000)]
    assert after == [(40_000, 22_500, 450_000)]


def test_without_the_rule_nothing_is_said():
    off = NeverWorse(mode="off")
    effects = trader(planner=StagedPlanner(close_fraction=500_000), never_worse=off).price(90)
    assert not [e for e in effects if isinstance(e, LimitsHeld)]


def test_a_close_that_turns_into_an_owed_balance_gets_the_mark():
    """Realising a loss leaves owed cash, which asks for more than the position did."""
    margin = replaced(rules(flat(20_000, 10_000)), cash_debt_maintenance=900_000)
    desk = Desk(ONE, margin=margin, waterfall=FUND, never_worse=LIMITS)
    desk.users([-250_000], [(0, 0, 10, 80)])
    effects = desk.price(106)  # 10,000 of equity, made of 260,000 of profit and a debt
    (held,) = desk.of(LimitsHeld, effects)
    # Closing everything pays the debt out of the profit: that helps, and is kept.
    assert unpack(held.fate).tolist() == [TIGHTENED]
    desk = Desk(venue_of(perp("A"), perp("B")), margin=margin, waterfall=FUND, never_worse=LIMITS)
    desk.users([100_000], [(0, 0, 10, 100), (0, 1, -10, 100)])
    desk.price(500, i=1)
    effects = desk.price(491)  # 10,000 left; closing one leg alone books a loss or a profit
    fates = {int(n) for held in desk.of(LimitsHeld, effects) for n in unpack(held.fate)}
    assert HOPELESS in fates
    (order,) = desk.of(OrdersPlaced, effects)
    limits = dict(rows_of(order, "instrument", "limit"))
    assert limits[1] == 500  # the losing leg: offered at the mark, no discount


# ------------------------------------------------------------------ penalties and receipts


def test_a_fill_at_its_limit_pays_no_penalty_and_breaks_nothing():
    desk = trader(planner=StagedPlanner(close_fraction=500_000), never_worse=LIMITS)
    order, lots, limit = placed(desk, desk.price(90))
    effects = desk.fill(order, lots, limit)
    assert not [e for e in effects if isinstance(e, PostedBatch) and e.reason == "penalty"]
    assert not desk.of(HealthBreached, effects)


def test_a_fill_at_the_mark_pays_no_more_than_keeps_its_health():
    """Half is closed at the mark: 40,000 against 45,000 may become 20,000 against 22,500."""
    desk = trader(planner=StagedPlanner(close_fraction=500_000), never_worse=LIMITS)
    order, lots, _ = placed(desk, desk.price(90))
    before = int(desk.state.book.cash[U])
    desk.fill(order, lots, 90)
    # Two percent of 450,000 are 9,000, below the 20,000 that would keep the ratio.
    assert before - int(desk.state.book.cash[U]) - 50_000 == 9_000
    greedy = rules(flat(100_000, 50_000, penalty=500_000))
    desk = trader(margin=greedy, planner=StagedPlanner(close_fraction=500_000), never_worse=LIMITS)
    order, lots, _ = placed(desk, desk.price(90))
    before = int(desk.state.book.cash[U])
    desk.fill(order, lots, 90)
    assert before - int(desk.state.book.cash[U]) - 50_000 == 20_000


def test_a_limit_stays_right_when_the_mark_moves():
    """Sold at the bankruptcy price, half of everything takes half of the equity at any mark."""
    for mark in (89, 95, 120):
        desk = trader(planner=StagedPlanner(close_fraction=500_000), never_worse=LIMITS)
        order, lots, limit = placed(desk, desk.price(90))
        desk.later(1).price(mark)
        assert not desk.of(HealthBreached, desk.fill(order, lots, limit))


def test_a_fill_beyond_its_limit_is_journalled():
    """The venue filled at a price that was not offered: booked, and said."""
    desk = trader(planner=StagedPlanner(close_fraction=500_000), never_worse=LIMITS)
    order, lots, limit = placed(desk, desk.price(90))
    (receipt,) = desk.of(HealthBreached, desk.fill(order, lots, limit - 1))
    assert rows_of(receipt, "account", "equity", "required") == [(U, 40_000, 45_000)]
    assert rows_of(receipt, "equity_after", "required_after") == [(15_000, 22_500)]


def test_incentives_alone_leave_the_limits():
    guard = NeverWorse(mode="incentives")
    desk = trader(planner=StagedPlanner(close_fraction=500_000), never_worse=guard)
    order, lots, limit = placed(desk, desk.price(90))
    assert limit == 1
    effects = desk.fill(order, lots, 80)
    assert not [e for e in effects if isinstance(e, PostedBatch) and e.reason == "penalty"]
    assert desk.of(HealthBreached, effects)


# ---------------------------------------------------------------------- the insolvent


def test_the_insolvent_are_deleveraged_at_once_where_the_stack_says_so():
    waterfall = replaced(
        Waterfall(
            tranches=(Tranche(name="fund", initial=10**12),),
            deleverage="pro_rata",
            fund_pays_first=True,
        )
    )

    def told(**policy) -> set[str]:
        desk = Desk(ONE, margin=TEN, waterfall=waterfall, never_worse=NeverWorse(**policy))
        desk.users([140_000, 10**7], [(0, 0, 10, 100), (1, 0, -10, 100)])
        return {type(e).__name__ for e in desk.price(85)}

    assert "OrdersPlaced" in told(mode="limits")
    handed = told(mode="limits", insolvent="deleverage")
    assert "Deleveraged" in handed
    assert "OrdersPlaced" not in handed


def test_nobody_is_handed_to_a_waterfall_that_takes_nobody():
    with pytest.raises(ConfigInvalid, match="waterfall that deleverages"):
        trader(never_worse=NeverWorse(mode="limits", insolvent="deleverage"))
    with pytest.raises(ConfigInvalid, match="needs mode"):
        NeverWorse(mode="off", insolvent="deleverage")
    with pytest.raises(ConfigInvalid, match=r"never_worse\.mode"):
        NeverWorse(mode="sometimes")


# ------------------------------------------------------------- all histories, from outside


NEVER = tuple(
    Stack.bind(
        msgspec.structs.replace(
            DECLARATIONS[which],
            never_worse=LIMITS,
            penalty=penalty,
            route=BookRoute(spread=spread),
        ),
        VENUE,
    )
    for which, penalty, spread in (
        (GUARDED, LinearPenalty(), 1_500_000),
        (SHARED, RisingPenalty(per_distance=10**6, per_distress=10**6), 0),
        (LENDER, DECLARATIONS[LENDER].penalty, 0),
    )
)


def gross(margin: Margin, account: int, marks: list[int]) -> int:
    return sum(margin.notional(i, lots, marks[i]) for i, lots, _ in margin.held(account))


@settings(max_examples=40)
@given(histories(), st.integers(0, len(NEVER) - 1), st.integers(1, 1_000_000))
def test_no_order_makes_its_account_worse_at_its_limit(history, which, part):
    """INV-11 on a copy of the venue: every judged order is filled there, whole or in part."""
    stack = NEVER[which]
    for world, event in unfold(history, stack):
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        for order, held in zip(
            (e for e in effects if isinstance(e, OrdersPlaced)),
            (e for e in effects if isinstance(e, LimitsHeld)),
            strict=True,
        ):
            fates = unpack(held.fate).tolist()
            rows = rows_of(order, "account", "lots", "limit")
            for k, (account, lots, limit) in enumerate(rows):
                if fates[k] in {INSOLVENT, HOPELESS}:
                    continue
                size = max(1, abs(lots) * part // 1_000_000) * (1 if lots > 0 else -1)
                assert_no_worse(world, order.first + k, account, size, limit, stack)


def row_of_order(state, number: int) -> int:
    (slot,) = np.flatnonzero(state.orders.key == number)
    return int(state.orders.row[slot])


def assert_no_worse(world, number: int, account: int, lots: int, limit: int, stack) -> None:
    state, marks = copy.deepcopy(world.state), world.state.mark.tolist()
    margin, i = Margin(state), int(state.book.instrument[row_of_order(state, number)])
    equity, required = margin.totals(account, marks)
    size = gross(margin, account, marks)
    if equity <= 0:
        return
    held = {j: n for j, n, _ in margin.held(account)}[i]
    room = rounding_room(state.facts, state.mark, i, held)
    columns = (pack(np.array([n], np.int64)) for n in (number, lots, limit))
    order, filled, price = columns
    fill = OrdersFilled(ts=world.now, order=order, lots=filled, price=price)
    found = step(state, fill, stack)
    assert not [e for e in found if isinstance(e, HealthBreached)]
    margin = Margin(state)
    later, due = margin.totals(account, marks)
    left = gross(margin, account, marks)
    later += int(room)  # uncompiled, numpy's own integer would wrap below
    assert later * required >= equity * due
    assert later * size >= equity * left


def test_what_was_met_at_the_mark_counts_before_the_limit():
    """Four of ten lots meet a short: 40,000 of equity are 6.67 ticks of the six that are left."""
    desk = Desk(
        ONE,
        margin=TEN,
        waterfall=FUND,
        planner=StagedPlanner(netting=True),
        never_worse=LIMITS,
        route=BookRoute(),
    )
    desk.users([140_000, 41_000], [(0, 0, 10, 100), (1, 0, -4, 80)])
    effects = desk.price(90)
    assert placed(desk, effects)[1:] == (-6, 84)


def test_the_invariant_notices_a_limit_that_is_too_low():
    desk = trader(planner=StagedPlanner(close_fraction=500_000), never_worse=LIMITS)
    (held,) = desk.of(LimitsHeld, desk.price(90))
    check(desk.state, [held])
    worse = replaced(held, equity_after=pack(unpack(held.equity_after) - 1_000_000))
    with pytest.raises(AssertionError, match="INV-11"):
        check(desk.state, [worse])


# ------------------------------------------------------------------- attacks and monotony


def test_a_second_step_of_a_liquidator_has_to_wait():
    """The two-step attack: close a little so that the account stays sick, then close the most.

    With a close factor of one half a liquidator first repays just enough to leave the account
    liquidatable and then takes another half of a position that is still large. One stage an account
    and interval, whoever asks and however often prices come, leaves one half per interval.

    Source: Qin et al., An Empirical Study of DeFi Liquidations (2021), the optimal strategy.
    """
    second = 1_000_000_000
    desk = trader(
        planner=StagedPlanner(close_fraction=500_000, interval_ns=10 * second),
        margin=rules(flat(100_000, 50_000)),
    )
    order, lots, _ = placed(desk, desk.price(88))
    assert lots == -5
    desk.fill(order, -1, 88)  # the first step: a small repayment, the account stays sick
    desk.send(OrdersExpired(ts=desk.now, order=pack(column(order)), reason="taken back"))
    for price in (87, 88, 86, 88, 87, 88, 87, 86, 88):
        assert not desk.of(OrdersPlaced, desk.later(1).price(price) + desk.tick())
    _, lots, _ = placed(desk, desk.later(1).price(87))
    assert lots == -5  # of nine, rounded up: one half an interval, not two
    free = trader(
        planner=StagedPlanner(close_fraction=500_000), margin=rules(flat(100_000, 50_000))
    )
    order, _, _ = placed(free, free.price(88))
    free.fill(order, -1, 88)
    free.send(OrdersExpired(ts=free.now, order=pack(column(order)), reason="taken back"))
    assert placed(free, free.later(1).price(87))[1] == -5  # six of ten lots within a second


@settings(max_examples=40)
@given(
    st.integers(-2_000, 2_000).filter(bool),
    st.integers(0, 400_000),
    st.integers(1, 300),
    st.integers(0, 60),
)
def test_a_worse_price_never_heals(lots, cash, price, fall):
    """An account that is liquidatable stays so when the price moves further against it."""
    worse = max(1, price - fall) if lots > 0 else price + fall

    def liquidatable(at: int) -> bool:
        desk = Desk(ONE, margin=rules(flat(100_000, 50_000)))
        desk.users([cash * 1_000], [(0, 0, lots, 100)])
        return bool(desk.of(OrdersPlaced, desk.price(at)))

    assert liquidatable(worse) >= liquidatable(price)


def test_a_stack_file_selects_it(tmp_path):
    path = tmp_path / "stack.toml"
    path.write_text('name = "x"\n[never_worse]\nmode = "limits"\n', encoding="utf-8")
    loaded = SafeguardStack.load(path)
    assert loaded.never_worse == LIMITS
    assert any("never worse" in line for line in loaded.describe())
    assert NeverWorse() == LIMITS, "a stack that wants a fixed bonus says so"
    (said,) = NeverWorse(mode="off").describe()
    assert "off" in said


def test_coins_are_booked_as_they_will_be():
    """A loan: coins against owed cash. Selling some at a discount of its equity is the limit."""
    margin = rules(flat(200_000, 100_000), COIN=flat(250_000, 175_000))
    desk = Desk(
        venue_of(coin(units=1, lots_max=1_000, open_interest_max=10_000)),
        margin=margin,
        waterfall=FUND,
        never_worse=LIMITS,
        planner=StagedPlanner(close_fraction=500_000),
    )
    desk.users([-850_000], [(0, 0, 1, 100)])
    effects = desk.price(100)  # 1,000,000 of coins, 850,000 owed: health 150,000 of 175,000
    _, lots, limit = placed(desk, effects)
    assert (lots, limit) == (-1, 85)  # what is owed, and not a tick below
