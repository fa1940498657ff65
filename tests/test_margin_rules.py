"""Rules of exchanges at any scale: brackets, liquidation lines, conditions, scenario scans."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.conformance.adapter import column as objects
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import condition, lines, scenarios, tiers


def column(*values: int):
    return np.array(values, np.int64)


# ------------------------------------------------------------------------------- brackets


@pytest.mark.parametrize(("size", "tier"), [(0, 0), (9, 0), (10, 1), (11, 1), (29, 1), (30, 2)])
def test_a_floor_belongs_to_its_own_tier(size, tier):
    assert tiers.tier_at(0, 3, column(0, 10, 30), size) == tier


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 300_000)), min_size=1, max_size=4),
    st.integers(0, 10**10),
)
def test_deductions_make_brackets_marginal(steps, size):
    """What a bracket asks is each part of the notional at its own rate, rounded up once."""
    floors, rates = [0], [0]
    for width, more in steps:
        floors.append(floors[-1] + width * PPM)
        rates.append(min(PPM, rates[-1] + more))
    cum = column(*[0] * len(floors))
    tiers.deductions(column(*floors), column(*rates), PPM, cum)
    twin = objects(*[0] * len(floors))
    unbounded(tiers.deductions)(objects(*floors), objects(*rates), PPM, twin)
    assert cum.tolist() == list(twin)
    tier = tiers.tier_at(0, len(floors), column(*floors), size)
    due = tiers.due_in_tier(size, rates[tier], int(cum[tier]), PPM)
    assert due == unbounded(tiers.due_in_tier)(size, rates[tier], int(cum[tier]), PPM)
    ends = [*floors[1:], size]
    parts = (
        max(0, min(size, high) - low) * rate
        for low, high, rate in zip(floors, ends, rates, strict=True)
    )
    assert due == -(-sum(parts) // PPM)


@pytest.mark.parametrize(
    ("open_notional", "rate"),
    [(0, 200), (100, 200), (101, 208), (150, 600), (199, 992), (200, 1_000), (10**18, 1_000)],
)
def test_crowding_rises_between_its_bounds(open_notional, rate):
    for rule in (tiers.crowded_rate, unbounded(tiers.crowded_rate)):
        assert rule(200, open_notional, 100, 200, 1_000) == rate
        assert rule(200, open_notional, 100, 0, 1_000) == 200, "no upper bound: off"
        assert rule(1_000, open_notional, 100, 200, 1_000) == 1_000


def test_half_of_the_largest_leverages_margin():
    assert [tiers.maintenance_of_leverage(n, PPM) for n in (1, 3, 40)] == [500_000, 166_667, 12_500]


# ------------------------------------------------------------------------------- lines


def left_alone(rest: int, lots: int, entry: int, rate: int, cum: int, price: int) -> bool:
    """Return whether an account with one linear position is not below maintenance."""
    size = abs(lots) * price
    return rest + lots * (price - entry) >= Fraction(size * rate, PPM) - cum


@settings(max_examples=300)
@given(
    st.integers(-(10**9), 10**9),
    st.integers(-1_000, 1_000).filter(bool),
    st.integers(1, 10**5),
    st.integers(0, PPM - 1),
    st.integers(0, 10**6),
)
def test_a_linear_line_is_the_last_price_at_which_one_is_left_alone(rest, lots, entry, rate, cum):
    line = lines.linear_line(lots, lots * entry, rest, rate, cum, PPM)
    assert line == unbounded(lines.linear_line)(lots, lots * entry, rest, rate, cum, PPM)
    side = 1 if lots > 0 else -1
    if line == lines.NEVER:
        for price in (0, 1, 10**7):
            assert left_alone(rest, lots, entry, rate, cum, price) == (lots > 0)
        return
    assert left_alone(rest, lots, entry, rate, cum, line)
    assert not left_alone(rest, lots, entry, rate, cum, line - side)


def coins_left(coins: int, contracts: int, cost: int, rate: int, price: int) -> Fraction:
    """Return equity less maintenance, in coins, of one inverse position."""
    return coins - Fraction(contracts, price) - cost - Fraction(abs(contracts) * rate, PPM * price)


@settings(max_examples=300)
@given(
    st.integers(-(10**6), 10**6),
    st.integers(-(10**9), 10**9).filter(bool),
    st.integers(1, 10**4),
    st.integers(0, PPM - 1),
)
def test_an_inverse_line_is_the_last_price_at_which_one_is_left_alone(
    coins, contracts, entry, rate
):
    cost = -contracts // entry
    line = lines.inverse_line(contracts, cost, coins, rate, PPM)
    assert line == unbounded(lines.inverse_line)(contracts, cost, coins, rate, PPM)
    if line == lines.NEVER:
        whole = coins_left(coins, contracts, cost, rate, 10**12)
        assert (whole <= 1) if contracts > 0 else (whole >= -1)
        return
    side = 1 if contracts > 0 else -1
    if line > 0:
        assert coins_left(coins, contracts, cost, rate, line) >= 0
    if line - side > 0:
        assert coins_left(coins, contracts, cost, rate, line - side) < 0


@given(
    st.sampled_from((1, -1)), st.integers(1, 10**9), st.integers(1, 200 * PPM), st.integers(1, 999)
)
def test_a_bankruptcy_price_by_leverage_is_rounded_in_the_safe_direction(side, entry, lev, tick):
    found = lines.inverse_bankruptcy(side, entry, lev, tick, PPM)
    assert found == unbounded(lines.inverse_bankruptcy)(side, entry, lev, tick, PPM)
    if side < 0 and lev <= PPM:
        assert found == lines.NEVER
        return
    exact = Fraction(entry * lev, lev + side * PPM)
    assert found == (ceil(exact / tick) if side > 0 else floor(exact / tick)) * tick


# ------------------------------------------------------------------------------- condition


@pytest.mark.parametrize(
    ("equity", "size", "ratio", "state"),
    [
        (5, 0, condition.FLAT, condition.SAFE),
        (100, 1_000, 1_000, condition.SAFE),
        (99, 1_000, 990, condition.AT_RISK),
        (20, 1_000, 200, condition.AT_RISK),
        (19, 1_000, 190, condition.LIQUIDATABLE),
        (0, 1_000, 0, condition.LIQUIDATABLE),
        (-1, 100_000, 0, condition.LIQUIDATABLE),  # truncated towards zero
        (-1, 10_000, -1, condition.UNDERWATER),
    ],
)
def test_on_a_line_is_above_it(equity, size, ratio, state):
    assert condition.margin_ratio(equity, size, 10_000) == ratio
    assert unbounded(condition.margin_ratio)(equity, size, 10_000) == ratio
    assert condition.condition_of(ratio, 1_000, 200) == state


@pytest.mark.parametrize(
    ("equity", "out"),
    [(16, [15, 1, 0]), (15, [15, 0, 0]), (14, [14, 0, 1]), (0, [0, 0, 15]), (-4, [0, 0, 19])],
)
def test_a_close_leaves_every_unit_to_somebody(equity, out):
    found = column(0, 0, 0)
    condition.close_outcome(equity, 1_066, 150, 10_000, found)
    assert found.tolist() == out
    assert out[0] + out[1] - out[2] == equity - (15 - out[0]), "the rest of the fee is owed"


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**12))
def test_a_deficit_is_paid_by_the_fund_and_then_by_others(equity, fund):
    out = column(0, 0)
    condition.cover(equity, fund, out)
    assert out.sum() == max(0, -equity)
    assert 0 <= out[0] <= fund
    assert out[1] == 0 or out[0] == fund


def test_slippage_is_against_who_closes():
    assert [condition.slipped(1_001, side, 10, 1_000) for side in (1, -1)] == [990, 1_012]
    assert condition.withdrawable(9, 10) == 0
    assert condition.withdrawable(11, 10) == 1
    assert condition.below(9, 95, 100, 1_000)
    assert not condition.below(10, 95, 100, 1_000)


# ------------------------------------------------------------------------------- scenarios


@given(
    st.lists(st.lists(st.integers(-100, 100), min_size=4, max_size=4), min_size=1, max_size=4),
    st.data(),
)
def test_a_scan_of_the_sum_never_asks_more_than_the_sum_of_scans(arrays, data):
    lots = [data.draw(st.integers(-9, 9)) for _ in arrays]
    total, apart = column(0, 0, 0, 0), 0
    for n, array in zip(lots, arrays, strict=True):
        scenarios.add_array(n, column(*array), total)
        alone = column(0, 0, 0, 0)
        scenarios.add_array(n, column(*array), alone)
        apart += scenarios.scan_risk(alone)
    exact = [sum(n * a[k] for n, a in zip(lots, arrays, strict=True)) for k in range(4)]
    assert total.tolist() == exact
    assert scenarios.worst_scenario(total) == exact.index(min(exact))
    assert scenarios.scan_risk(total) == max(0, -min(exact)) <= apart


def test_a_future_is_scanned_in_thirds_and_two_covered_extremes():
    array = np.zeros(16, np.int64)
    scenarios.future_array(10_000, 2, 350_000, PPM, array)
    up = [0, 0, 3_333, 3_333, -3_333, -3_333, 6_667, 6_667, -6_667, -6_667]
    assert array.tolist() == [*up, 10_000, 10_000, -10_000, -10_000, 7_000, -7_000]
    twin = objects(*[0] * 16)
    unbounded(scenarios.future_array)(10_000, 2, 350_000, PPM, twin)
    assert array.tolist() == list(twin)


@given(st.integers(-500, 1_000), st.integers(1, 1_000), st.integers(0, PPM))
def test_the_smallest_share_that_cures_is_found(value, due, penalty):
    step, target = 200_000, 900_000
    share = scenarios.smallest_share(value, due, step, target, penalty, PPM)

    def cured(part: int) -> bool:
        left = due - due * part // PPM
        after = scenarios.proportional_close(value, due, part, penalty, PPM)
        return after > 0 and left * PPM < target * after

    assert all(not cured(part) for part in range(step, share, step))
    assert share == PPM or cured(share)


def test_profits_in_coins_and_weights_of_tails():
    assert scenarios.inverse_profit(10**6, -160_000, PPM) == -190_477  # rounded down
    assert scenarios.inverse_profit(10**6, 160_000, PPM) == 137_931
    assert [scenarios.tail_weight(160_000, move, PPM) for move in (-660_000, 10**6, 0, 100)] == [
        242_425, 160_000, PPM, PPM,
    ]  # fmt: skip
