"""Product-sum accounting: exact twins, ranges, and that nobody is ever owed more than there is."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.conformance.adapter import WAD, column
from tidegate.domain.units import unbounded
from tidegate.kernels.stability import (
    KEPT,
    ONE,
    PRODUCT,
    SCALES,
    SPAN,
    STEP,
    SUM,
    charge,
    credit,
    deposit_now,
    gain_now,
    shrink,
    take_gain,
    take_loss,
)


def cells() -> np.ndarray:
    return np.zeros(4, np.int64)


def shrunk(product: int, part: int, whole: int, least: int, step: int) -> tuple[int, int]:
    """Twin of `shrink` in exact fractions."""
    exact, scales = Fraction(product * part, whole), 0
    while exact < least and exact:
        exact, scales = exact * step, scales + 1
        if exact.numerator // exact.denominator >= least:
            break
    return exact.numerator // exact.denominator, scales


@pytest.mark.parametrize(
    ("product", "part", "whole", "expected"),
    [
        (2**60, 1, 1, (2**60, 0)),
        (2**60, 1, 2**16, (2**44, 0)),  # on the line nothing is multiplied
        (2**60, 1, 2**16 + 1, (2**60 * 2**16 // (2**16 + 1), 1)),
        (2**44, 1, 2, (2**59, 1)),
        (2**44, 1, 2**16, (2**44, 1)),
        (2**44, 1, 2**16 + 1, (2**60 * 2**16 // (2**16 + 1), 2)),
        (2**60, 1, 2**61, (2**31 * 2**16, 4)),
    ],
)
def test_a_product_is_multiplied_until_it_is_large_enough(product, part, whole, expected):
    out = cells()
    shrink(product, part, whole, ONE // STEP, STEP, out)
    if expected[1] < 4:
        assert (out[PRODUCT], out[SCALES]) == expected
    assert (out[PRODUCT], out[SCALES]) == shrunk(product, part, whole, ONE // STEP, STEP)


@given(st.integers(2**44, 2**60), st.integers(1, 2**53), st.data())
def test_a_loss_is_the_exact_quotient_compiled_or_not(product, deposits, data):
    left = data.draw(st.integers(1, deposits))
    out, plain = cells(), column(0, 0, 0, 0)
    take_loss(deposits, deposits - left, product, ONE, STEP, out)
    unbounded(take_loss)(deposits, deposits - left, product, ONE, STEP, plain)
    assert out.tolist() == plain.tolist()
    assert (out[PRODUCT], out[SCALES]) == shrunk(product, left, deposits, ONE // STEP, STEP)
    assert ONE // STEP <= out[PRODUCT] <= ONE


@given(st.integers(2**44, 2**60), st.integers(1, 2**53), st.integers(0, 2**52))
def test_what_a_gain_cannot_hand_out_it_keeps(product, deposits, gain):
    gain = min(gain, 2 * deposits - 1)
    out = cells()
    take_gain(deposits, gain, product, out)
    assert out[SUM] == product * gain // deposits < 2**61
    assert 0 <= out[KEPT] <= deposits // product + 1
    # All depositors together are handed at most what was not kept.
    assert Fraction(int(out[SUM]) * deposits, product) <= gain - int(out[KEPT])


@given(st.integers(1, 2**50), st.integers(0, 2**50), st.integers(0, 2**40))
def test_a_charge_is_what_the_source_says(deposits, loss, carry):
    loss = min(loss, deposits * 99 // 100)
    out = column(0, 0, 0, 0)
    unbounded(charge)(deposits, loss, WAD, carry, WAD, 10**9, out)
    numerator = max(0, loss * WAD - carry)
    unit = numerator // deposits + 1
    assert out[KEPT] == unit * deposits - numerator
    assert out[PRODUCT] == (WAD - unit) * (1 if WAD - unit >= 10**9 else 10**9)


@pytest.mark.parametrize(
    ("deposits", "gain", "carry", "grown", "kept"),
    [(3, 1, 0, 3, 1), (3, 1, 1, 3, 2), (3, 1, 2, 4, 0), (10, 0, 9, 0, 9), (10, 0, 10, 1, 0)],
)
def test_a_credit_carries_what_is_left_over(deposits, gain, carry, grown, kept):
    out = cells()
    credit(deposits, gain, 1, carry, 10, out)
    assert (out[SUM], out[KEPT]) == (grown, kept)


@pytest.mark.parametrize(
    ("deposit", "at", "product", "scales", "value"),
    [
        (100, 10, 10, 0, 100),
        (100, 10, 5, 0, 50),
        (99, 10, 5, 0, 49),
        (2**17, 10, 10, 1, 2),
        (2**17 - 1, 10, 10, 1, 1),
        (2**17 - 1, 10, 10, 2, 0),
    ],
)
def test_a_deposit_falls_with_the_product_and_by_a_scale(deposit, at, product, scales, value):
    assert deposit_now(deposit, at, product, scales, STEP) == value


def test_gains_are_read_from_two_further_scales():
    sums = np.array([7, STEP * 3 + STEP - 1, STEP * STEP * 5 - 1], np.int64)
    assert sums.size == SPAN + 1
    assert gain_now(10, 1, 2, sums, STEP) == 10 * (5 + 3 + 4)


class Naive:
    """A pool of exact fractions: every depositor is walked at every takeover."""

    def __init__(self) -> None:
        self.deposit: dict[int, Fraction] = {}
        self.gain: dict[int, Fraction] = {}

    def take(self, loss: int, gain: int) -> None:
        total = sum(self.deposit.values())
        for who, held in self.deposit.items():
            self.gain[who] = self.gain.get(who, Fraction()) + gain * held / total
            self.deposit[who] = held - loss * held / total


class Pool:
    """The same with the kernels, as the engine keeps it: gains are paid with every move."""

    def __init__(self) -> None:
        self.deposits, self.product, self.scale, self.held, self.kept = 0, ONE, 0, 0, 0
        self.sums = np.zeros(66, np.int64)
        self.users: dict[int, tuple[int, int, int, int]] = {}

    def claim(self, who: int) -> tuple[int, int]:
        deposit, at, scale, before = self.users[who]
        value = int(deposit_now(deposit, at, self.product, self.scale - scale, STEP))
        return value, int(gain_now(deposit, at, before, self.sums[scale : scale + 3], STEP))

    def move(self, who: int, amount: int) -> tuple[int, int]:
        value, gain = self.claim(who) if who in self.users else (0, 0)
        amount = max(amount, -value)
        self.deposits += amount
        self.held -= gain
        self.users[who] = (
            value + amount, self.product, self.scale, int(self.sums[self.scale]),
        )  # fmt: skip
        return amount, gain

    def take(self, loss: int, gain: int) -> None:
        out = cells()
        take_gain(self.deposits, gain + self.kept, self.product, out)
        self.sums[self.scale] += out[SUM]
        self.kept, self.held = int(out[KEPT]), self.held + gain
        take_loss(self.deposits, loss, self.product, ONE, STEP, out)
        self.product, self.deposits = int(out[PRODUCT]), self.deposits - loss
        self.scale += int(out[SCALES])


moves = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 3), st.integers(1, 10**13)),
        st.tuples(st.just("leave"), st.integers(0, 3), st.integers(1, 10**13)),
        # Most of the pool at once is where the digits go.
        st.tuples(st.just("take"), st.integers(0, 999_999), st.integers(0, 10**9)),
        st.tuples(st.just("take"), st.integers(999_900, 999_999), st.integers(0, 10**9)),
    ),
    min_size=2,
    max_size=40,
)


@settings(max_examples=200)
@given(moves)
def test_nobody_is_ever_owed_more_than_the_pool_holds(history):
    """And nobody gets more than in a pool of exact fractions that walks all depositors."""
    pool, naive = Pool(), Naive()
    for kind, number, amount in history:
        if kind == "take":
            loss = pool.deposits * number // 1_000_000
            if loss < 1 or pool.deposits - loss < 1 or amount + pool.kept >= 2 * pool.deposits:
                continue
            pool.take(loss, amount)
            naive.take(loss, amount)
        else:
            if kind == "leave" and number not in pool.users:
                continue
            moved, gain = pool.move(number, amount if kind == "join" else -amount)
            naive.deposit[number] = naive.deposit.get(number, Fraction()) + moved
            naive.gain[number] = naive.gain.get(number, Fraction()) - gain
        claims = [pool.claim(who) for who in pool.users]
        assert sum(value for value, _ in claims) <= pool.deposits
        assert sum(gain for _, gain in claims) + pool.kept <= pool.held
        assert pool.scale < 64 or pool.deposits < 10


def test_equal_depositors_get_equal_shares_to_the_last_digit():
    """Three of them, through two scales: the exact numbers are those of a pool of fractions."""
    pool, naive = Pool(), Naive()
    for who in range(3):
        pool.move(who, 10**13)
        naive.deposit[who] = Fraction(10**13)
    for left in (10**9, 10**6, 10**3):
        loss = pool.deposits - left
        pool.take(loss, 999)
        naive.take(loss, 999)
    assert pool.scale >= 1
    for who in range(3):
        value, gain = pool.claim(who)
        assert 0 <= naive.deposit[who] - value <= 1
        assert 0 <= naive.gain[who] - gain <= 3
