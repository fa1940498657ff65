"""Rules of peers about pools, reserves and shares: both sides of every threshold, and twins."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.conformance.adapter import WAD, column
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels.cpmm import cpmm_out, cpmm_price, cpmm_sale_max
from tidegate.kernels.redistribution import (
    OFFSET_DEBT,
    OFFSET_HELD,
    REWARD,
    SPREAD_DEBT,
    SPREAD_HELD,
    SURPLUS,
    decayed,
    per_stake,
    power_half_up,
    split_by_health,
    split_capped,
    split_normal,
    stake_of,
)
from tidegate.kernels.reserves import (
    absorbed,
    is_uncovered,
    storefront_price,
    storefront_quote,
    weighted,
)
from tidegate.kernels.shares import forfeited, shares_for, worth_of
from tidegate.kernels.skew import margin_due, open_interest, premium, size_margin, skew_fill
from tidegate.lab.imbalance_impact import execution_price, impact_of, trade_impact


def cells() -> np.ndarray:
    return np.zeros(6, np.int64)


# ------------------------------------------------------------------ redistribution


@pytest.mark.parametrize(
    ("debt", "pool", "expected"),
    [
        (100, 0, [0, 0, 100, 33]),
        (100, 1, [1, 0, 99, 33]),
        (100, 50, [50, 16, 50, 17]),
        (100, 99, [99, 32, 1, 1]),
        (100, 100, [100, 33, 0, 0]),
        (100, 101, [100, 33, 0, 0]),
        (0, 100, [0, 0, 0, 33]),
    ],
)
def test_a_pool_takes_what_it_can_and_nothing_is_lost(debt, pool, expected):
    out = cells()
    split_normal(debt, 33, pool, out)
    assert out[: SPREAD_HELD + 1].tolist() == expected


@pytest.mark.parametrize(
    ("ratio", "recovery", "pool", "done", "offset", "spread"),
    [
        (1_100_000, 0, 999, False, 0, 0),
        (1_099_999, 0, 999, True, 100, 0),
        (1_099_999, 0, 60, True, 60, 40),
        (1_000_001, 1, 60, True, 60, 40),
        (1_000_000, 1, 60, True, 0, 100),  # at or under water: shared alone
        (1_000_000, 0, 60, True, 60, 40),
        (1_100_000, 1, 100, True, 100, 0),  # above the least, below the total: the pool alone
        (1_100_000, 1, 99, False, 0, 0),
        (1_499_999, 1, 100, True, 100, 0),
        (1_500_000, 1, 100, False, 0, 0),
    ],
)
def test_who_is_liquidated_and_how_follows_from_the_ratio(
    ratio, recovery, pool, done, offset, spread
):
    out = cells()
    found = split_by_health(
        100, 2_000, pool, PPM, ratio, 1_100_000, 1_500_000, recovery, 200, PPM, out
    )
    assert found == done
    assert (out[OFFSET_DEBT], out[SPREAD_DEBT]) == (offset, spread)
    if done:
        whole = out[OFFSET_HELD] + out[SPREAD_HELD] + out[SURPLUS] + out[REWARD]
        assert whole == 2_000


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 3 * PPM))
def test_a_capped_split_loses_nothing_and_never_pays_more_than_the_penalty(debt, held, pool, price):
    out = cells()
    split_capped(debt, held, pool, price, 50_000, 100_000, 200, 50, PPM, out)
    assert (out >= 0).all()
    assert out[OFFSET_DEBT] + out[SPREAD_DEBT] == debt
    assert out[OFFSET_HELD] + out[SPREAD_HELD] + out[SURPLUS] + out[REWARD] == held
    assert out[OFFSET_HELD] * price <= out[OFFSET_DEBT] * 1_050_000
    assert out[SPREAD_HELD] * price <= out[SPREAD_DEBT] * 1_100_000
    assert out[REWARD] <= 50


@pytest.mark.parametrize(
    ("held", "stakes", "total", "stake"), [(7, 0, 0, 7), (7, 2, 3, 4), (0, 2, 3, 0)]
)
def test_a_stake_is_what_was_there_from_the_start(held, stakes, total, stake):
    assert stake_of(held, stakes, total) == stake


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(0, 10**9))
def test_what_stakes_are_given_and_what_is_carried_is_everything(amount, stakes, carry):
    each, kept = per_stake(amount, stakes, carry, PPM)
    assert each * stakes + kept == amount * PPM + carry
    assert 0 <= kept < stakes


def half_up(base: int, exponent: int, one: int) -> int:
    """Twin: the same squarings, written as a recursion over fractions."""

    def times(a: int, b: int) -> int:
        return int(Fraction(a * b, one) + Fraction(1, 2))

    odd, square = one, base
    while exponent > 1:
        odd = times(square, odd) if exponent % 2 else odd
        square, exponent = times(square, square), exponent // 2
    return times(square, odd) if exponent else one


@given(st.integers(0, PPM), st.integers(0, 5_000))
def test_powers_round_half_up(base, exponent):
    assert power_half_up(base, exponent, PPM) == half_up(base, exponent, PPM)


@pytest.mark.parametrize(("periods", "rate"), [(0, 800), (1, 400), (2, 200), (10, 0)])
def test_a_rate_decays(periods, rate):
    assert decayed(800, 500_000, periods, PPM) == rate


# ------------------------------------------------------------------ reserves, shares


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 2, st.integers(0, PPM)), max_size=5))
def test_collateral_is_weighted_piece_by_piece(pieces):
    amount, price, factor = (column(*(p[k] for p in pieces)) for k in range(3))
    unit = column(*[100] * len(pieces))
    exact = sum(a * p // 100 * f // PPM for a, p, f in pieces)
    assert unbounded(weighted)(amount, price, unit, factor, PPM) == exact


@pytest.mark.parametrize(
    ("balance", "value", "after"), [(-100, 99, 0), (-100, 100, 0), (-100, 101, 1), (5, 1, 6)]
)
def test_reserves_pay_what_is_missing(balance, value, after):
    assert absorbed(balance, value, 1, 1) == after
    assert is_uncovered(balance, 1, 1, value) == (balance + value < 0)


def test_a_debt_is_compared_rounded_to_zero():
    assert not is_uncovered(-1, 99, 100, 0)
    assert is_uncovered(-1, 100, 100, 0)
    assert not is_uncovered(0, 100, 100, 0)


@pytest.mark.parametrize(
    ("share", "factor", "price"),
    [(0, 600_000, 1_000), (500_000, 800_000, 900), (PPM, 800_000, 800), (PPM, PPM, 1_000)],
)
def test_buyers_get_their_share_of_the_penalty(share, factor, price):
    assert storefront_price(1_000, share, factor, PPM) == price
    assert storefront_quote(900, 1_000, 1, price, 1) == 900_000 // price


@pytest.mark.parametrize(
    ("asked", "pot", "lost"),
    [(100, 1_000, 0), (99, 990, 0), (99, 999, 0), (99, 1_000, 2), (50, 1_000, 53), (0, 1_000, 100)],
)
def test_whoever_stays_after_all_forfeits_what_was_earned_meanwhile(asked, pot, lost):
    assert forfeited(100, asked, 1_000, pot) == lost


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 10**9))
def test_shares_bought_are_worth_no_more_than_was_paid(amount, shares, pot):
    bought = shares_for(amount, shares, pot)
    assert worth_of(bought, shares + bought, pot + amount) <= amount


def test_the_first_share_costs_one():
    assert shares_for(7, 0, 0) == 7
    assert worth_of(7, 0, 0) == 0


# ------------------------------------------------------------------ fills and impact


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, PPM))
def test_a_constant_product_never_falls(held, other, sold, fee):
    out = cpmm_out(held, other, sold, fee, PPM)
    bare = sold - sold * fee // PPM
    assert (held + bare) * (other - out) >= held * other
    assert (held + bare) * (other - out - 1) < held * other


@given(st.integers(10**6, 10**12), st.integers(0, PPM - 1))
def test_the_largest_sale_keeps_the_price_within_its_drop(held, drop):
    sold = cpmm_sale_max(held, drop, PPM)
    # sqrt is taken at the scale: up to one part in a million of the root is given away.
    root = (held / (held + sold)) ** 2
    assert root >= 1 - drop / PPM - 3e-6 / max(1e-3, (1 - drop / PPM) ** 0.5)
    assert cpmm_price(4, 10, PPM) == 2_500_000


@pytest.mark.parametrize(
    ("skew", "size", "fill"),
    [(0, 0, 1_000), (0, 10, 1_050), (0, -10, 950), (-5, 10, 1_000), (10, -10, 1_050)],
)
def test_a_fill_is_the_mean_of_before_and_after(skew, size, fill):
    assert skew_fill(1_000, skew, size, 100) == fill
    assert premium(1_000, -skew, 100) == -premium(1_000, skew, 100)


def test_margin_grows_with_size_and_interest_counts_both_sides():
    assert size_margin(-20, 1_000, 2 * PPM, 10_000, PPM) == 50_000
    assert margin_due(-20 * PPM, 2_000 * PPM, 50_000, 7, PPM) == 2_000 * PPM + 7
    assert [open_interest(40, 0, n) for n in (20, -20)] == [60, 60]
    assert open_interest(40, 20, -40) == 40


@pytest.mark.parametrize(
    ("imbalance", "impact"), [(0.0, 0.0), (0.999_999, 0.0), (1.0, 0.5), (2.0, 2.0)]
)
def test_no_impact_below_one_unit(imbalance, impact):
    assert impact_of(imbalance, 0.5, 2.0) == impact


@pytest.mark.parametrize(
    ("longs", "shorts", "more", "impact"),
    [
        (0, 0, (10, 0), -100.0),
        (10, 0, (0, 4), 0.5 * (100 - 36)),  # better, same side
        (10, 0, (0, 10), 0.5 * 100),  # to the middle
        (10, 0, (0, 16), 0.5 * 100 - 36),  # across it
        (0, 10, (16, 0), 0.5 * 100 - 36),
        (10, 4, (3, 0), 36 - 81.0),
    ],
)
def test_tipping_the_scales_costs_and_righting_them_pays_half(longs, shorts, more, impact):
    found = trade_impact(longs, shorts, *more, better=0.5, worse=1.0, exponent=2)
    assert found == pytest.approx(impact)


def test_no_round_trip_pays():
    there = trade_impact(10, 0, 0, 4, better=3.0, worse=1.0, exponent=2)
    back = trade_impact(10, 4, 0, -4, better=3.0, worse=1.0, exponent=2)
    assert there + back <= 0
    assert execution_price(100.0, 10.0, 0.0) == 10.0
    assert execution_price(100.0, 10.0, -1.0) > 10.0


def test_one_source_runs_compiled_and_unbounded():
    big = 10**24
    assert unbounded(stake_of)(big, 2, 3) == 2 * big // 3
    assert unbounded(power_half_up)(WAD // 2, 2, WAD) == WAD // 4
