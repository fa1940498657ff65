"""The parts of path kernels against twins written another way: randomness, impact, alarms, reach."""

from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.kernels.alarm import deviations_of, sum_ratio, variance_after
from tidegate.lab.kernels.impact import LINEAR, SQUARE_ROOT, fill_price, impact_ppm, impact_ticks
from tidegate.lab.kernels.ladder import reached
from tidegate.lab.kernels.reach import allowed_move, trigger_at
from tidegate.lab.kernels.rng import fill_normals, key_of, unit_at, word_at
from tidegate.lab.kernels.run import fade
from tidegate.lab.path_model import Law
from tidegate.lab.paths import Walks, split
from tidegate.lab.workers import in_threads
from tidegate.safeguards.breaker import LadderBreaker


PPM = 1_000_000
WORD = 2**64
BREAKER = LadderBreaker()


def mixed(word):
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % WORD
    return word ^ (word >> 31)


def test_words_are_those_of_splitmix64():
    """The published sequence of seed 1234567, and a twin in unbounded integers."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [int(word_at(1234567, n)) % WORD for n in range(3)] == published
    golden = 0x9E3779B97F4A7C15
    key = int(key_of(7, 3, 99)) % WORD
    expected = 7
    expected = mixed((expected + golden) % WORD)
    for part in (3, 99):
        expected = mixed(((expected ^ part) + golden) % WORD)
    assert key == expected
    assert int(word_at(np.uint64(key), 5)) % WORD == mixed((key + 6 * golden) % WORD)


def test_keys_of_neighbours_share_nothing():
    keys = {int(key_of(r, p, s)) for r in range(8) for p in range(8) for s in range(8)}
    assert len(keys) == 512


def test_a_normal_is_a_function_of_its_place():
    key, whole = np.uint64(11), np.empty(200)
    fill_normals(key, 0, whole)
    part = np.empty(40)
    fill_normals(key, 30, part)
    assert (part == whole[60:100]).all()
    u, v = unit_at(key, 4), unit_at(key, 5)
    assert 0 < u <= 1
    radius = np.sqrt(-2 * np.log(u))
    assert whole[4] == pytest.approx(radius * np.cos(2 * np.pi * v), rel=1e-12)
    assert whole[5] == pytest.approx(radius * np.sin(2 * np.pi * v), rel=1e-12)


def test_normals_are_normal():
    """Four moments of 400,000 draws, each within five of its standard errors."""
    z = np.empty(400_000)
    fill_normals(np.uint64(key_of(1, 2, 3)), 0, z)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - mean) < 5 * np.sqrt(variance / z.size)


lots = st.integers(0, 2**40)
depth = st.integers(1, 2**40)
rate = st.integers(0, PPM)


@given(lots, depth, rate, rate)
def test_impact_is_the_law_in_unbounded_integers(q, d, move, most):
    assert impact_ppm(LINEAR, q, d, move, most) == min(most, move * q // d)
    assert impact_ppm(SQUARE_ROOT, q, d, move, most) == min(most, isqrt(move * move * q // d))
    ticks = impact_ticks(SQUARE_ROOT, q, d, move, most, 123_457)
    assert ticks == 123_457 * min(most, isqrt(move * move * q // d)) // PPM


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.sampled_from([-1, 1]))
def test_a_batch_pays_half_of_what_it_displaces_rounded_against_it(price, ticks, side):
    paid = fill_price(price, ticks, side, 10**6)
    assert paid == min(10**6, max(1, price + side * -(-ticks // 2)))
    assert (paid - price) * side >= 0


@given(st.integers(-(2**50), 2**50), rate)
def test_a_displacement_fades_towards_nothing(shift, keep):
    left = fade(shift, keep)
    assert abs(left) == abs(shift) * keep // PPM
    assert left * shift >= 0


big = st.integers(0, 2**60)


@given(big, st.integers(0, 2**42), st.integers(0, 2**40), st.integers(0, 2**30), st.data())
def test_a_ratio_of_sums_is_exact_whatever_the_products(a, b, x, y, data):
    least = max(1, -(-(a * b + x * y) // 2**61), 2**20)
    whole = data.draw(st.integers(least, max(least, 2**61)))
    assert sum_ratio(a, b, x, y, whole) == (a * b + x * y) // whole


prices = st.integers(1, 10**9)


@given(prices, prices, st.integers(0, PPM * PPM), st.integers(0, 10**13))
def test_variance_is_the_breakers(price, last, variance, elapsed):
    expected = BREAKER.variance(price=price, last=last, variance=variance, elapsed=elapsed)
    assert variance_after(price, last, variance, elapsed, BREAKER.memory_ns) == expected


@given(prices, prices, st.integers(0, PPM * PPM))
def test_deviations_are_the_breakers(price, anchor, variance):
    expected = BREAKER.deviations(price=price, anchor=anchor, variance=variance)
    found = deviations_of(price, anchor, variance, BREAKER.window_ns, BREAKER.deviation_min)
    assert found == expected


position = st.tuples(st.integers(-(10**6), 10**6).filter(bool), st.integers(10, 10**6))


@given(
    st.lists(position, min_size=1, max_size=5),
    st.integers(1, 200_000),
    st.integers(0, 10**12),
    st.data(),
)
def test_within_its_triggers_no_account_is_below_maintenance(positions, mm, spare, data):
    """Whatever prices do on the safe side of all triggers; the bound may not be off by one unit."""
    unit = 10

    def need(prices_):
        due = [-(-abs(n) * p * unit * mm // PPM) for (n, _), p in zip(positions, prices_)]
        return sum(due)

    marks = [p for _, p in positions]
    cash = need(marks) + spare - sum(n * p * unit for n, p in positions)
    weight = sum(abs(n) * p * unit * (1 + (n < 0) * mm * 1e-6) for n, p in positions)
    move = allowed_move(spare, len(positions), weight)
    moved = []
    for n, p in positions:
        trigger = trigger_at(p, move, int(n < 0))
        if (trigger < p) if n < 0 else (trigger > p):
            return  # no trigger fits: the account would be looked at with every price
        safe = (max(1, p // 3), trigger) if n < 0 else (trigger, 3 * p)
        moved.append(data.draw(st.sampled_from([*safe, p]) | st.integers(min(safe), max(safe))))
    equity = cash + sum(n * p * unit for (n, _), p in zip(positions, moved))
    assert equity >= need(moved)


@given(st.lists(st.integers(-50, 50), max_size=30), st.data())
def test_the_gallop_finds_what_a_walk_finds(values, data):
    key = np.array([*sorted(values), 2**62], np.int64)
    start = data.draw(st.integers(0, len(values)))
    at = data.draw(st.integers(-60, 60))
    walked = start
    while key[walked] <= at:
        walked += 1
    assert reached(key, start, at) == walked


def test_walks_move_together_as_their_loads_say_and_stay_within_the_range():
    load = np.array([[0.01, 0.0], [0.02, 0.0], [0.0, 0.5]])
    walks = Walks(3, 1, 4_000, np.array([10**6, 10**6, 10**6]), np.zeros(3), load)
    price = walks.path(0, np.array([10**9, 10**9, 2 * 10**6]))
    assert price.min() >= 1
    assert price[:, 2].max() == 2 * 10**6
    r = np.diff(np.log(price[:200, :2].astype(float)), axis=0)
    assert np.corrcoef(r.T)[0, 1] > 0.99
    assert r[:, 1].std() / r[:, 0].std() == pytest.approx(2, rel=0.02)
    other = Walks(3, 1, 50, walks.first, walks.drift, load, begin=1)
    assert (other.path(0, np.full(3, 10**9)) != price[:50]).any()


def test_laws_that_no_price_can_follow_are_refused():
    for bad in ({"law": "cubic"}, {"depth": 0}, {"move": PPM + 1}, {"keep": -1}):
        with pytest.raises(ConfigInvalid, match="law"):
            Law(**bad)


def test_parts_of_a_run_join_without_gaps():
    assert list(split(10, 3)) == [(0, 3), (3, 3), (6, 4)]
    assert sum(many for _, many in split(7, 4)) == 7


def test_an_error_in_a_thread_is_raised():
    def work(n):
        if n == 3:
            raise ValueError(n)

    with pytest.raises(ValueError, match="3"):
        in_threads(work, range(5), threads=2)
