"""Bands: the grid, the curve within a band, trades across bands, loans against them, and limits.

Every kernel with a loop has a twin: the same source over Python's integers, or arithmetic with
fractions. The engine's scale is 1e6; a peer's numbers (1e18) are in the conformance vectors.
"""

from decimal import Decimal, getcontext
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from desk import column
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.conformance.adapter import column as unbounded_column
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import bands, bands_loan, borrow_price, exponent
from tidegate.kernels.bands import ACTIVE, IN, OUT


getcontext().prec = 60
AMP, N, UNIT = 100, 6, 1_000_000
PRICE = 3_000 * 10**6  # Money a lot
SCALE = 10**9


# --- exponent -------------------------------------------------------------------------------------


@given(st.integers(-20 * SCALE, 9 * SCALE))
def test_the_exponential_is_rounded_down_and_never_off_by_more_than_one(power):
    exact = (Decimal(power) / SCALE).exp() * SCALE
    assert 0 <= exact - exponent.exp_scaled(power, SCALE) < Decimal(1) + Decimal("1e-3")


@given(st.integers(1, 10**18))
def test_the_logarithm_is_rounded_down_and_never_off_by_more_than_one(number):
    exact = (Decimal(number) / SCALE).ln() * SCALE
    assert 0 <= exact - exponent.ln_scaled(number, SCALE) < Decimal(1) + Decimal("1e-3")


@pytest.mark.parametrize("scale", [1, 10**6, 10**9])
def test_one_is_the_exponential_of_nothing(scale):
    assert exponent.exp_scaled(0, scale) == scale
    assert exponent.ln_scaled(scale, scale) == 0


def test_beyond_what_fits_there_is_nothing_left():
    assert exponent.exp_scaled(-100 * SCALE, SCALE) == 0
    assert unbounded(exponent.exp_scaled)(-100 * 10**27, 10**27) == 3  # e^-100 = 3.72e-44: not yet
