"""Rules of lending: how much is taken, what the liquidator gets, and who has what afterwards."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidegate.conformance.adapter import scaled
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels.bonus import (
    critical_ltv,
    discount_factor,
    excess_bonus,
    improves,
    kept_bonus,
    least_bonus,
    linear_bonus,
    ltv_after,
    seized,
    threshold_factor,
)
from tidegate.kernels.close_factor import close_cap, leaves_dust
from tidegate.kernels.grace import admits_after
from tidegate.kernels.lending import (
    DUST,
    close_at_health,
    close_part,
    close_shares,
    health_factor,
    written_off,
)
from tidegate.kernels.proceeds import split_proceeds
from tidegate.kernels.ramp import apart, between, lowered, worn
from tidegate.kernels.target_health import (
    debt_to_target,
    repay_preview,
    repay_to_ltv,
    repay_to_ratio,
)


table = pytest.mark.parametrize
amounts = st.integers(1, 10**12)
shares = st.integers(0, PPM)


def alike(kernel, *args):
    """Return what a kernel says, compiled and over unbounded integers: the same."""
    found = kernel(*args)
    assert unbounded(kernel)(*args) == found
    return found


# ------------------------------------------------------------------------ how much is taken


@table(
    ("health", "collateral", "debt", "total", "cap"),
    [
        (950_001, 2_000, 2_000, 2_000, 1_000),
        (950_000, 2_000, 2_000, 2_000, 2_000),  # on the line: whole
        (950_001, 1_999, 2_000, 2_000, 2_000),
        (950_001, 2_000, 1_999, 2_000, 1_999),
        (950_001, 9_000, 3_000, 9_001, 3_000),  # half of all is more than this one
        (950_001, 9_000, 8_000, 9_001, 4_501),  # rounded half up
    ],
)
def test_a_close_factor(health, collateral, debt, total, cap):
    args = (health, collateral, debt, total, 2_000, 950_000, 500_000, PPM)
    assert alike(close_cap, *args) == cap


@table(
    ("left", "debt", "dust"),
    [(0, 1, False), (1, 0, False), (999, 1_000, True), (1_000, 999, True), (1_000, 1_000, False)],
)
def test_dust_is_a_little_of_both(left, debt, dust):
    assert alike(leaves_dust, left, debt, 1_000) == dust


@given(amounts, st.integers(1, 2 * PPM), st.integers(0, PPM - 1), shares, st.integers(1, 1_000))
def test_a_repayment_reaches_its_target_health(debt, target, health, eaten, price):
    found = alike(debt_to_target, debt, 1_000, health, target, eaten, price, PPM)
    if health >= target:
        assert found == 0
    elif eaten >= target:
        assert found == -1
    else:
        value = Fraction(found * price * PPM, 1_000)
        exact = Fraction(debt * (target - health), target - eaten)
        # Rounded up by less than a unit of debt.
        assert exact <= value < exact + Fraction(price * PPM, 1_000)


@given(amounts, amounts, shares, shares)
def test_a_repayment_ends_at_its_loan_to_value(debt, collateral, target, fee):
    repay = alike(repay_to_ltv, debt, collateral, target, fee, 900_000, PPM)
    assert 0 <= repay <= debt
    if 0 < repay < debt:
        left = collateral - Fraction(repay * (PPM + fee), PPM)
        assert debt < collateral
        # Rounded down: still above, by what one unit of repayment moves and a ppm of all of it.
        assert 0 <= (debt - repay) * PPM - target * left < PPM + repay


@table(
    ("debt", "collateral", "target", "fee", "repay"),
    [
        (0, 100, 700_000, 0, 0),
        (80, 100, 700_000, PPM, 0),  # a fee of everything: nobody may
        (100, 100, 700_000, 0, 100),  # bankrupt: all
        (80, 100, 0, 0, 80),
        (80, 100, 800_000, 0, 0),  # it is there already
        (81, 100, 800_000, 250_000, 81),  # T (1 + f) = 1: cannot be reached
        (80_000, 100_000, 710_000, 0, 31_034),
        (98_000, 100_000, 710_000, 0, 98_000),  # 93,103: above nine tenths
        (1_000, 1_100, 500_000, 0, 900),  # nine tenths and no more
        (1_000, 1_099, 500_000, 0, 1_000),
    ],
)
def test_the_ends_of_a_target(debt, collateral, target, fee, repay):
    assert alike(repay_to_ltv, debt, collateral, target, fee, 900_000, PPM) == repay


@table(
    ("debt", "collateral", "most", "found"),
    [
        (80_000, 100_000, 10**9, (31_034, 31_034, 710_003)),
        (80_000, 100_000, 10_000, (10_000, 10_000, 777_778)),  # rounded up
        (98_000, 100_000, 1, (98_000, 98_000, 0)),  # it must go whole, whatever is offered
        (120_000, 100_000, 60_000, (60_000, 60_000, 1_500_000)),  # bankrupt: any amount
        (120_000, 100_000, 10**9, (120_000, 100_000, 0)),
        (10, 0, 4, (4, 0, 0)),
    ],
)
def test_a_preview_of_a_partial_liquidation(debt, collateral, most, found):
    args = (debt, debt, collateral, collateral, most, 710_000, 0, 900_000, PPM)
    assert alike(repay_preview, *args) == found


@given(amounts, st.integers(2, PPM), st.integers(1, 99), st.integers(0, PPM // 10))
def test_a_range_of_loans_ends_at_its_ratio(debt, start, part, penalty):
    end = start * part // 100
    assume(end > 0)
    repaid, sold = alike(repay_to_ratio, debt, start, end, PPM, penalty, PPM)
    if repaid < 0:
        assert end * (PPM + penalty) >= PPM * PPM
        return
    left = Fraction(debt * PPM, start) - sold
    assert repaid >= 0
    # The share of a repayment that its sale gives back is rounded to one ppm.
    ppm = Fraction(2 * PPM * PPM, PPM * PPM - end * (PPM + penalty)) * repaid
    assert abs((debt - repaid) * PPM - end * left) <= ppm + 3 * PPM


# ---------------------------------------------------------------- what the liquidator gets


@table(
    ("health", "bonus"),
    [(PPM + 5, 50_000), (PPM, 50_000), (900_000, 75_000), (800_001, 99_999), (800_000, 100_000)],
)
def test_a_bonus_rises_as_health_falls(health, bonus):
    assert alike(linear_bonus, health, 800_000, 50_000, 100_000, PPM) == bonus


def test_the_smallest_bonus_is_a_share_of_the_largest():
    assert alike(least_bonus, 1_001, 5_000, 10_000) == 500
    assert alike(kept_bonus, 501, 1_000, 10_000) == 450  # the fee is rounded up


@table(("threshold", "factor"), [(860_000, 1_043_841), (385_000, 1_150_000), (PPM, PPM)])
def test_a_safer_threshold_pays_more(threshold, factor):
    assert alike(threshold_factor, threshold, 300_000, 1_150_000, PPM) == factor


@table(
    ("adjusted", "factor"),
    [(999_999, 999_999), (800_001, 800_001), (800_000, 800_000), (5, 800_000)],
)
def test_a_price_is_the_health_of_the_account(adjusted, factor):
    assert alike(discount_factor, adjusted, PPM, 200_000, PPM) == factor


@table(
    ("ltv", "own", "bonus"),
    [
        (750_000, 750_000, 20_000),
        (770_001, 770_001, 20_001),
        (870_000, 870_000, 100_000),
        (900_001, 900_001, 99_999),  # what is left of it
        (989_999, 989_999, 10_001),
        (990_000, 990_000, 10_000),
        (999_500, 999_500, 1_000),  # given up: paid, whatever is left
        (1_200_000, 1_200_000, 1_000),
        (900_000, 990_000, 10_000),  # its own measure decides, without borrow factors
    ],
)
def test_a_bonus_never_exceeds_what_is_left(ltv, own, bonus):
    assert alike(excess_bonus, ltv, 750_000, 20_000, 100_000, own, 1_000, PPM) == bonus


@given(amounts, st.integers(1, PPM * 99 // 100 - 1), st.integers(0, PPM), st.integers(0, PPM))
def test_a_capped_bonus_never_makes_a_loan_worse(collateral, ltv, most, part):
    """Below 99 %: (1 + b) L <= 1 - (1 - L)^2 < 1, so every repayment lowers the loan-to-value."""
    debt = collateral * ltv // PPM
    own = -(-debt * PPM // collateral)
    assume(debt > 0 and own * 100 < 99 * PPM)
    bonus = excess_bonus(own, own // 2, most // 2, most, own, 0, PPM)
    assert alike(improves, collateral, debt, bonus, PPM)
    after = alike(ltv_after, collateral, debt, max(1, debt * part // PPM), bonus, PPM)
    assert after <= own + 1


@table(
    ("debt", "bonus", "better"),
    [(952, 50_000, True), (953, 50_000, False), (999, 0, True), (1_000, 0, False)],
)
def test_a_fixed_bonus_helps_below_its_critical_ltv(debt, bonus, better):
    assert alike(improves, 1_000, debt, bonus, PPM) == better
    assert (debt * PPM < 1_000 * alike(critical_ltv, bonus, PPM)) == better


def test_what_a_repayment_leaves():
    assert alike(ltv_after, 100, 90, 10, 50_000, PPM) == 888_889  # 80 of 90, seized rounded down
    assert alike(ltv_after, 100, 90, 90, 200_000, PPM) == 0
    assert alike(ltv_after, 100, 98, 97, 200_000, PPM) == -1


def test_the_fee_is_on_the_bonus_and_rounds_against_the_liquidator():
    assert alike(seized, 1_000, 10**6, 10_500, 1_000, 10_000) == (1_050, 5)
    assert alike(seized, 999, 10**6, 10_500, 1_000, 10_000) == (1_048, 5)
    assert alike(seized, 1_000, 1_020, 10_500, 0, 10_000) == (1_020, 0)


# -------------------------------------------------------------------- one liquidation, whole


def part(offered, *, health=900_000, debt=10_000, collateral=11_000, small=2_000, fee=0):
    """Return a liquidation at prices of one and units of one, with a bonus of 5 %."""
    return alike(
        close_part,
        offered,
        health,
        debt,
        1,
        1,
        debt,
        collateral,
        1,
        1,
        10_500,
        fee,
        small,
        950_000,
        5_000,
        10_000,
    )


@table(
    ("offered", "changes", "found"),
    [
        (10**9, {}, (0, 10_000, 10_000, 10_500, 0, 0)),
        (10**9, {"health": 960_000}, (0, 5_000, 5_000, 5_250, 0, 0)),
        (10**9, {"collateral": 10_000}, (0, 10_000, 9_524, 10_000, 0, 476)),
        (9_000, {}, (0, 10_000, 9_000, 9_450, 0, 0)),
        (9_001, {}, (DUST, 10_000, 0, 0, 0, 0)),  # 999 would be owed
        (1_000, {"fee": 1_000}, (0, 10_000, 1_000, 1_045, 5, 0)),
    ],
)
def test_a_part_of_a_loan_is_closed(offered, changes, found):
    assert part(offered, **changes) == found


@table(
    ("adjusted", "value", "found"),
    [
        (1_001, 2_000, (0, 0, PPM)),
        (1_000, 2_000, (1_000, 1_000, PPM)),  # the line itself is below it
        (900, 2_000, (1_000, 1_111, 900_000)),
        (700, 2_000, (1_000, 1_250, 800_000)),
        (900, 500, (450, 500, 900_000)),  # all of it, for nine tenths
        (900, 0, (0, 77, 900_000)),
    ],
)
def test_a_close_at_the_health_of_the_account(adjusted, value, found):
    balance = value or 77
    assert alike(close_at_health, adjusted, 1_000, 1_000, value, balance, 200_000, PPM) == found


def test_nothing_happens_where_nothing_is_owed():
    assert alike(close_at_health, 0, 0, 0, 5, 5, 200_000, PPM) == (0, 0, PPM)
    assert alike(health_factor, 5, 0, PPM) == -1
    assert alike(health_factor, 5, 3, PPM) == 1_666_666


@table(("left", "value", "lost"), [(0, 1_000, 40), (1, 1_000, 0), (0, 999, 0), (0, 1_001, 40)])
def test_a_loss_is_written_off_once_nothing_is_left(left, value, lost):
    assert alike(written_off, 100, 60, left, value, 1_000) == lost


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 200))
def test_shares_round_for_the_lenders(shares_owed, collateral, price):
    """Nobody gets collateral for less than it is worth to the pool, and no loss is lost."""
    assets, total = 10**6, 10**6
    args = (0, shares_owed, shares_owed, collateral, assets, total, assets, price * PPM)
    repaid, taken, bad, supply, left = alike(close_shares, *args, 1_050_000, 1, PPM, PPM)
    assert taken * price <= Fraction(shares_owed * (assets + 1), total + 1) * Fraction(21, 20)
    assert repaid >= Fraction(shares_owed * (assets + 1), total + 1)
    assert supply + bad == assets
    assert left == 0


def test_collateral_that_is_gone_ends_the_loan():
    args = (100, 0, 900, 100, 10**6, 10**6, 10**6, 5 * PPM, PPM, 1, PPM, PPM)
    assert alike(close_shares, *args) == (500, 100, 400, 10**6 - 400, 0)
    some = (99, 0, 900, 100, 10**6, 10**6, 10**6, 5 * PPM, PPM, 1, PPM, PPM)
    assert alike(close_shares, *some) == (495, 99, 0, 10**6, 405)


@given(amounts, st.integers(1, 10_000), amounts, amounts, amounts, st.integers(0, 1_000))
def test_the_proceeds_of_a_sale_are_all_there_is(value, kept, debt, interest, fees, charge):
    sent, rest, profit, loss = alike(
        split_proceeds, value, kept, debt, interest, fees, charge, 0, 10_000
    )
    funds = value * kept // 10_000
    assert sent + rest == funds
    assert sent == debt + interest + profit - loss
    assert not (profit and loss)
    assert not (rest and loss)


@table(
    ("debt", "toll", "found"),
    [
        (6_500, 0, (9_600, 0, 1_100, 0)),
        (6_500, 50, (9_600, 0, 1_052, 0)),
        (7_600, 0, (9_600, 0, 0, 0)),
        (7_601, 0, (9_600, 0, 0, 1)),
        (5_000, 50, (8_190, 1_410, 1_150, 0)),
    ],
)
def test_fees_are_given_up_before_lenders_lose(debt, toll, found):
    assert alike(split_proceeds, 10_000, 9_600, debt, 2_000, 1_000, 150, toll, 10_000) == found


# ------------------------------------------------------------------------------ over time


@table(
    ("at", "found"), [(-5, 10), (100, 10), (101, 11), (149, 58), (150, 60), (199, 109), (200, 110)]
)
def test_a_line_between_two_conditions(at, found):
    assert alike(between, at, 100, 200, 10, 110, 50 * 2) in {found, found + 1}
    assert between(at, 100, 200, 10, 110, PPM) == 10 + min(max(at - 100, 0), 100)


@table(
    ("elapsed", "limit"),
    [(-1, 3_000), (0, 3_000), (17, 2_745), (99, 1_515), (100, 1_500), (101, 1_500)],
)
def test_only_lowering_takes_time(elapsed, limit):
    assert alike(lowered, 3_000, 1_500, elapsed, 100) == limit
    assert alike(lowered, 1_500, 3_000, elapsed, 100) == 3_000


@table(("elapsed", "left"), [(0, PPM), (43_200, 950_000), (10 * 86_400, 0), (11 * 86_400, 0)])
def test_a_threshold_wears_down(elapsed, left):
    assert alike(worn, PPM, 100_000, elapsed, 86_400) == left


@table(("other", "found"), [(10_499, False), (10_500, True), (9_501, False), (9_500, True)])
def test_two_prices_are_apart(other, found):
    assert alike(apart, 10_000, other, 500, 10_000) == found


@table(
    ("up", "elapsed", "health", "found"),
    [
        (True, 61, PPM, (True, True)),
        (True, 60, PPM, (False, False)),
        (True, 60, 950_000, (False, False)),
        (True, 60, 949_999, (False, True)),
        (False, 61, PPM, (False, False)),
        (False, 0, 1, (False, True)),
    ],
)
def test_a_deep_liquidation_never_waits(up, elapsed, health, found):
    assert alike(admits_after, up, elapsed, 60, health, 950_000) == found


@table(
    ("text", "found"),
    [("7.5", 7_500_000), ("0.0000005", 1), ("0.00000049", 0), (1.6383, 1_638_300), ("-1", -PPM)],
)
def test_decimals_of_a_peer_become_integers(text, found):
    assert scaled(text, PPM) == found
    assert floor(Fraction(str(text)) * PPM + Fraction(1, 2)) == found
