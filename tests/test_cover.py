"""What covers a shortage, and the prices of a close: boundaries and uncompiled twins."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import bankruptcy, cover, limits


UNIT, LOT, SHARE = 10**6, 10**9, 10**4
small = st.integers(0, 10**9)


@given(small, st.integers(0, 10**9), st.integers(0, PPM), st.integers(0, PPM), st.integers(0, PPM))
def test_a_cover_covers(shortage, price, rate, fee, fund_fee):
    args = (shortage, price, UNIT, rate, fee, fund_fee, LOT, UNIT)
    size = unbounded(cover.cover_size)(*args)
    frees = price * (rate - fee) // UNIT - price * fund_fee // UNIT
    if price == 0 or frees <= 0:
        assert size == -1
    else:
        assert size * frees <= shortage * LOT < (size + 1) * frees
    if size < 2**40:
        assert cover.cover_size(*args) == size


@pytest.mark.parametrize(
    ("shortage", "freed", "elapsed", "duration", "share"),
    [
        (49_999_999, 0, 0, 150, SHARE),
        (50_000_000, 0, 0, 150, 1_000),
        (50_000_000, 0, 135, 150, SHARE),
        (50_000_000, 0, 134, 150, 9_933),
        (50_000_000, 0, 0, 0, SHARE),
        (90_000_000, 9_999_999, 0, 150, 0),  # a tenth of 100 is freed already
        (90_000_000, 10_000_000, 15, 150, 1_111),
        (0, 5, 9, 150, SHARE),
    ],
)
def test_a_stage_frees_its_part_and_no_more(shortage, freed, elapsed, duration, share):
    args = (shortage, freed, elapsed, duration, 1_000, 50 * UNIT, SHARE)
    assert cover.staged_share(*args) == share
    assert unbounded(cover.staged_share)(*args) == share


@pytest.mark.parametrize(
    ("elapsed", "fee"), [(1_499, 20), (1_500, 1_520), (9_980, 10_000), (10**6, 10_000)]
)
def test_a_fee_rises_once_nobody_came(elapsed, fee):
    assert cover.ramped_fee(20, 10_000, elapsed, 1_500, 1) == fee


@given(
    small, st.integers(1, 10**12), st.integers(1, 10**9), st.integers(0, PPM), st.integers(0, PPM)
)
def test_a_fund_fee_leaves_something(shortage, size, price, rate, fee):
    """Closing everything at the fee frees at least the shortage."""
    left = unbounded(cover.fund_fee_left)(shortage, size, price, UNIT, rate, fee, LOT, UNIT)
    assert 0 <= left <= max(0, rate - fee) * 19 // 20
    if left:
        lack = Fraction(shortage * LOT * UNIT, size * price)
        assert left <= rate - fee - lack + 1 + Fraction(UNIT, price)


def test_a_staged_liquidation_ends():
    account = np.array([20 * LOT, -2_000 * UNIT, 0], object)
    rates = (100 * UNIT, 50_000, 20_000, 10_000, 10_000)
    for elapsed in range(0, 301, 10):
        base = account[cover.BASE]
        done = unbounded(cover.staged_call)(
            account, 50 * UNIT, 0, 0, 0, *rates, elapsed, 150, 1_000, 50 * UNIT, SHARE,
            100 * LOT, LOT // 100, LOT, UNIT,
        )  # fmt: skip
        assert 0 <= account[cover.BASE] <= base
        if done:
            break
    assert done
    assert account[cover.FREED] == 0


# ------------------------------------------------------------------- prices of a close


@given(
    st.integers(-(10**9), 10**9).filter(bool),
    st.integers(-(10**12), 10**12),
    st.integers(1, 10**12),
    st.integers(0, 10**6),
)
def test_closing_everything_at_the_bankruptcy_price_ends_at_zero(value, equity, own, others):
    """Equity per requirement is kept, and the last close leaves nothing; rounding is upwards."""
    received = unbounded(bankruptcy.bankruptcy_quote)(value, 0, equity, own, own, 0)
    assert received == value - equity
    shared = unbounded(bankruptcy.bankruptcy_quote)(value, 0, equity, own + others, own, 0)
    exact = value - Fraction(equity * own, own + others)
    assert exact <= shared < exact + 1
    compiled = bankruptcy.bankruptcy_quote(value, 0, equity, own + others, own, 0)
    assert compiled == shared


@pytest.mark.parametrize(
    ("held", "delta", "may"),
    [(5, -5, True), (5, -6, False), (5, 0, False), (5, 1, False), (-5, 5, True), (-5, 6, False),
     (0, 0, False)],
)  # fmt: skip
def test_only_what_reduces_is_a_close(held, delta, may):
    assert bankruptcy.closable(held, delta) is may


@given(st.integers(1, 10**9), st.integers(-(10**9), 10**9), st.integers(PPM, 3 * PPM))
def test_a_fillable_price_lies_between_mark_and_spread(required, equity, adjustment):
    out = np.zeros(2, object)
    unbounded(bankruptcy.fillable_fraction)(
        10**9, 10**6, required, equity, required, adjustment, 100_000, PPM, out
    )
    price = Fraction(*out)
    lowest = 1_000 - Fraction(required, 10**7)
    assert lowest <= price <= 1_000
    if equity >= required:
        assert price == 1_000
    if equity <= 0:
        assert price == lowest


@pytest.mark.parametrize(
    ("top", "bottom", "up", "aligned"),
    [(700, 1, True, 700), (701, 1, True, 800), (701, 1, False, 700), (1, 9, False, 100),
     (0, 1, True, 100), (10**30, 1, True, 18_446_744_073_709_551_600)],
)  # fmt: skip
def test_prices_are_aligned_towards_the_account(top, bottom, up, aligned):
    found = unbounded(bankruptcy.aligned_price)(top, bottom, 100, up, 2**64 - 1)
    assert found == aligned


# ------------------------------------------------------------------- limits and order


@given(small, small, st.integers(0, PPM))
def test_limits_of_one_position(size, least, portion):
    low, high = limits.least_close(size, least), limits.most_close(size, least, portion, PPM)
    assert low <= high <= size
    assert low == min(size, least)


@pytest.mark.parametrize(
    ("size", "lots", "most", "step", "closed"),
    [(100, 50, 100, 10, 50), (100, 50, 99, 10, 40), (100, 50, 39, 10, 10), (100, 50, 1, 10, 10),
     (100, 9, 1, 10, 9), (100, 15, 99, 10, 10)],
)  # fmt: skip
def test_lots_within_a_notional(size, lots, most, step, closed):
    assert limits.closed_lots(size, lots, most, step) == closed


def test_budgets():
    assert limits.left_of(5, 5) == 0
    assert limits.left_of(5, 6) == -1


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 50)), max_size=12))
def test_orders_are_served_by_distance_then_size(orders):
    limit = np.array([p for p, _ in orders], np.int64)
    lots = np.array([n for _, n in orders], np.int64)
    out = np.zeros(len(orders), np.int64)
    limits.serve_in_order(limit, lots, 100, out)

    def line(n: int) -> tuple[int, int, int]:
        price, size = orders[n]
        return -abs(price - 100), -price * size, n

    twin = sorted(range(len(orders)), key=line)
    assert out.tolist() == twin
