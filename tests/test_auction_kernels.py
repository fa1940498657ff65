"""Curves, takes and clearing: both sides of each threshold, and a naive twin for each loop."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.desk import column

from tidegate.domain.commitments import commitment
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import auction, curves, secrets, uniform


PRIME = 2**61 - 1


# Curves ----------------------------------------------------------------------------------------


def test_a_power_rounds_half_up_at_each_multiplication():
    """5 * 0.99**60 to 27 digits, as the protocol that sells this way tests it."""
    exact = unbounded(curves.stair)(5 * 10**27, 60, 1, 99 * 10**25, 10**27)
    assert exact == 2_735_783_211_953_807_380_973_706_855


@given(st.integers(0, 10**9), st.integers(0, 500))
def test_compiled_and_unbounded_powers_are_the_same(base, exponent):
    assert curves.power(base, exponent, 10**9) == unbounded(curves.power)(base, exponent, 10**9)


@given(st.integers(1, 2**40), st.integers(0, 10**5), st.integers(1, 10**4), st.integers(0, 10**9))
def test_the_curves_are_the_same_compiled_and_unbounded(top, elapsed, step, cut):
    for curve in range(4):
        asked = (curve, top, elapsed, step, cut)
        assert curves.curve_price(*asked) == unbounded(curves.curve_price)(*asked)
    asked = (top, 2 * top, step, elapsed, cut)
    assert auction.taken(*asked) == unbounded(auction.taken)(*asked)
    assert auction.put_up(top, step, 10**9 + cut, elapsed, 100, 10**9) == unbounded(auction.put_up)(
        top, step, 10**9 + cut, elapsed, 100, 10**9
    )


@given(st.integers(1, 10**9), st.integers(0, 40))
def test_a_power_is_near_the_exact_one(base, exponent):
    exact = Fraction(base, 10**9) ** exponent * 10**9
    assert abs(curves.power(base, exponent, 10**9) - exact) <= 1 + exponent


@pytest.mark.parametrize(
    ("elapsed", "price"), [(0, 900), (1, 899), (899, 1), (900, 0), (901, 0), (10**12, 0)]
)
def test_a_line_ends_at_its_length(elapsed, price):
    assert curves.linear(900, elapsed, 900, 10**9) in (price, price - 1)
    assert unbounded(curves.linear)(900 * 10**18, elapsed, 900, 10**27) <= price * 10**18


@pytest.mark.parametrize(("elapsed", "steps"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2)])
def test_a_stair_falls_with_each_full_step(elapsed, steps):
    assert curves.stair(10**12, elapsed, 10, 9 * 10**8, 10**9) == 10 ** (12 - steps) * 9**steps


@given(st.integers(1, 2**40), st.integers(0, 10**6), st.integers(1, 10**5))
def test_a_smooth_price_lies_between_two_steps(top, elapsed, step):
    cut = 990_000_000
    upper = curves.stair(top, elapsed, step, cut, 10**9)
    lower = curves.stair(top, elapsed + step, step, cut, 10**9)
    assert lower <= curves.smooth(top, elapsed, step, cut, 10**9) <= upper


@given(st.integers(1, 2**40), st.integers(0, 3_000), st.integers(1, 700))
def test_halving_is_the_power_of_two(top, elapsed, half):
    """Held against the exact inequality: p <= top * 2**(-e/h), to eight digits."""
    price = curves.halving(top, elapsed, half, 2**30)
    exact = top * 2.0 ** (-elapsed / half)
    assert exact * (1 - 1e-7) - 1 <= price <= exact * (1 + 1e-12) + 1e-9


def test_halving_stops_refining_and_ends_at_nothing():
    assert curves.halving(2**40, 10**9, 1, 2**30) == 0
    assert unbounded(curves.halving)(10**30, 100, 60, 2**100) // 10**15 == int(
        10**15 * 2.0 ** (-100 / 60)
    )


@given(st.integers(1, 10**7), st.integers(0, 10**5))
def test_the_three_phases_meet_and_never_rise(reference, elapsed):
    price = [curves.phased_halving(reference, e, 1, 2**30) for e in (elapsed, elapsed + 1)]
    assert price[0] >= price[1] - 1
    for edge, factor in ((120, Fraction(4)), (840, Fraction(1, 16))):
        assert abs(curves.phased_halving(reference, edge, 1, 2**30) - reference * factor) <= 1


@pytest.mark.parametrize(("target", "steps"), [(120, 0), (119, 1), (100, 19), (0, 600), (-1, None)])
def test_the_time_to_a_price_is_the_first(target, steps):
    scale = 10**9
    found = curves.stair_time(120 * scale, target * scale, 90, 99 * 10**7, scale)
    if steps is None:
        assert found == -1
        return
    assert found % 90 == 0
    assert curves.stair(120 * scale, found, 90, 99 * 10**7, scale) <= target * scale
    if found:
        assert curves.stair(120 * scale, found - 90, 90, 99 * 10**7, scale) > target * scale
    if 0 < steps < 100:
        assert found == 90 * steps


@pytest.mark.parametrize("curve", range(4))
@pytest.mark.parametrize("selling", [0, 1])
def test_an_engine_price_moves_one_way_and_stops_at_its_limit(curve, selling):
    """A sale begins above the mark and falls to its limit; a purchase is the mirror image."""
    base, limit = 10_000, 9_000 if selling else 11_000
    step = 50 if curve != curves.LINEAR else 1_000
    price = [
        curves.auction_price(curve, base, limit, t, selling, 20_000, step, 990_000_000)
        for t in range(0, 1_200, 7)
    ]
    assert price[0] == (10_200 if selling else 9_803)
    ordered = sorted(price, reverse=bool(selling))
    assert price == ordered
    assert price[-1] == limit


@pytest.mark.parametrize(("base", "cut", "price"), [(100, 99, 99), (101, 99, 100), (102, 99, 101)])
def test_a_price_between_two_ticks_is_the_upper_one(base, cut, price):
    """101 less 1 % is 99.99: a bidder pays 100."""
    asked = (curves.STAIR, base, 1, 1, 1, 0, 1, cut * 10**7)
    assert curves.auction_price(*asked) == price


# Takes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elapsed", "price", "due"),
    [(60, 100, False), (61, 100, True), (0, 50, False), (0, 49, True), (61, 49, True)],
)
def test_an_auction_is_stale_strictly(elapsed, price, due):
    assert auction.stale(elapsed, 60, price, 100, PPM // 2, PPM) == due


@pytest.mark.parametrize(
    ("debt", "space", "part"),
    [
        (100, 0, auction.NO_ROOM),
        (100, 1_100, 100),  # exactly
        (100, 1_099, 100),  # one unit would be left: dust, so all goes
        (100, 890, 100),  # 80 fit, 20 would be left: 200 < 201
        (100, 868, 78),  # 22 are left: more than dust
        (100, 220, auction.DUSTY),  # 20 fit: below dust
        (20, 500, 20),
    ],
)
def test_room_and_dust_decide_what_is_put_up(debt, space, part):
    """A unit is worth 10, the penalty is 10 %, dust is 201."""
    assert auction.put_up(debt, 10, 1_100_000, space, 201, PPM) == part


@pytest.mark.parametrize(("space", "part"), [(880, 80), (879, 79), (220, 20), (219, auction.DUSTY)])
def test_a_part_and_a_rest_of_exactly_dust_are_none(space, part):
    """Dust is 200, which twenty units are worth: both what goes and what stays may be that much."""
    assert auction.put_up(100, 10, 1_100_000, space, 200, PPM) == part


@pytest.mark.parametrize(
    ("limit", "out", "own_limit", "own_out", "room"),
    [(100, 40, 50, 30, 20), (70, 50, 90, 30, 20), (100, 101, 50, 0, 0), (100, 0, 50, 51, 0)],
)
def test_both_limits_hold_at_once(limit, out, own_limit, own_out, room):
    assert auction.room(limit, out, own_limit, own_out) == room


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(-1, 10**9), st.integers(0, 10**6))
def test_what_is_put_up_exceeds_the_room_by_less_than_dust(debt, rate, space, dust):
    """Outstanding auctions never exceed the budget by a dust and its penalty or more."""
    chop = 1_130_000
    part = auction.put_up(debt, rate, chop, space, dust, PPM)
    if part < 0:
        return
    over = auction.owed(part, rate, chop, PPM) - max(space, 0)
    assert over <= 0 or over < auction.owed(1, max(dust, 1), chop, PPM) + rate


@pytest.mark.parametrize(
    ("due", "wanted", "dust", "part"),
    [
        (100, 10, 0, 10),
        (99, 10, 0, 9),  # no lot for less than its price
        (100, 5, 50, 5),  # leaves exactly dust
        (100, 5, 51, 4),
        (100, 5, 99, 0),
        (100, 5, 100, auction.ALL_OR_NOTHING),  # all of it is dust already
    ],
)
def test_a_take_ends_at_what_is_due_and_leaves_no_dust(due, wanted, dust, part):
    """Ten lots at a price of ten."""
    assert auction.taken(10, due, 10, wanted, dust) == part


@given(
    st.integers(1, 1_000), st.integers(1, 50_000), st.integers(1, 100), st.integers(1, 1_000),
    st.integers(0, 5_000),
)  # fmt: skip
def test_no_take_leaves_dust(lot, due, price, wanted, dust):
    """What remains to be raised is nothing, at least dust, or beyond a lot that is gone."""
    part = auction.taken(lot, due, price, wanted, dust)
    if part == auction.ALL_OR_NOTHING:
        assert due <= dust
        assert min(lot, wanted) < lot
        return
    paid = auction.raised(lot, due, price, wanted, dust)
    assert part <= min(lot, wanted)
    assert paid <= due
    assert part * price <= paid < (part + 1) * price
    assert due - paid == 0 or due - paid >= dust or part == lot


@pytest.mark.parametrize(("bid", "counts"), [(100, False), (104, False), (105, True), (501, False)])
def test_a_rising_bid_rises_enough(bid, counts):
    assert auction.outbids(bid, 100, 1_050_000, 500, PPM) == counts
    assert auction.outbids(100, 99, 1_050_000, 100, PPM), "all that is due always counts"


@pytest.mark.parametrize(("lot", "counts"), [(100, False), (96, False), (95, True)])
def test_a_shrinking_lot_shrinks_enough(lot, counts):
    assert auction.undercuts(lot, 100, 1_050_000, PPM) == counts


@pytest.mark.parametrize(
    ("margin", "reward"), [(0, 3_000), (10**9, 3_000), (400_000, 2_000), (399_999, 1_999)]
)
def test_a_keeper_is_paid_within_what_the_account_bears(margin, reward):
    assert auction.keeper_reward(500, 2_500, 100, 50_000, 3_000, margin, 5_000, PPM) == reward


def test_a_solvent_sale_restores_the_buffer():
    """A third of the account goes for its value, and what is left has its maintenance again."""
    margin, value = -100, 300
    buffered = auction.buffered_margin(margin, value, 100_000, PPM)
    assert buffered == -140
    assert auction.fraction_max(buffered, value, 0, PPM, 0, PPM) == 140 * PPM // 440
    assert auction.fraction_max(buffered, -1, 0, PPM, 0, PPM) == PPM, "worth less than nothing"


# One price for all -----------------------------------------------------------------------------


def naive_clearing(bids, asks, reference):
    """Return the best price by the list of rules, over every price that any order names."""

    def rank(price):
        demand = sum(q for p, q in bids if p >= price)
        supply = sum(q for p, q in asks if p <= price)
        return -min(demand, supply), abs(demand - supply), abs(price - reference), price

    best = min((p for p, _ in bids + asks), key=rank, default=-1)
    return best if best != -1 and rank(best)[0] < 0 else -1


orders = st.lists(st.tuples(st.integers(95, 105), st.integers(1, 50)), max_size=6)


@given(orders, orders, st.integers(95, 105))
def test_the_clearing_price_is_the_best_of_all(bids, asks, reference):
    sides = [column(*(row[n] for row in side)) for side in (bids, asks) for n in range(2)]
    assert uniform.clearing_price(*sides, reference, -1) == naive_clearing(bids, asks, reference)


def test_of_two_equal_prices_the_lower_one_clears():
    """A bid at 101 meets an offer at 99: both prices are one from the reference."""
    assert uniform.clearing_price(column(101), column(7), column(99), column(7), 100, -1) == 99


@given(orders, st.integers(1, 200), st.integers(95, 105))
def test_nobody_is_filled_beyond_his_order_and_the_better_come_first(bids, total, price):
    limit, wanted = (column(*(row[n] for row in bids)) for n in range(2))
    out = np.zeros_like(wanted)
    left = uniform.fill_uniform(total, limit, wanted, price, 1, out)
    assert out.sum() + left == total
    assert (out <= wanted).all()
    assert not out[limit < price].any()
    if out[limit == price].any():
        assert (out[limit > price] == wanted[limit > price]).all()


# Secrets ---------------------------------------------------------------------------------------


@given(st.integers(0, PRIME - 1), st.integers(0, PRIME - 1))
def test_products_in_the_field(a, b):
    assert secrets.times(a, b, PRIME) == a * b % PRIME
    if a:
        assert secrets.times(secrets.inverse(a, PRIME), a, PRIME) == 1


@given(st.lists(st.integers(0, PRIME - 1), min_size=3, max_size=3))
def test_any_three_shares_of_a_parabola_tell_the_secret(coefficients):
    secret, slope, bend = coefficients
    value = {x: (secret + slope * x + bend * x * x) % PRIME for x in range(1, 6)}
    for points in ((1, 2, 3), (5, 2, 4)):
        found = secrets.reconstruct(column(*points), column(*(value[x] for x in points)), PRIME)
        assert found == secret


def test_a_commitment_binds_to_salt_and_payload():
    said = {commitment(salt, what) for salt, what in product((b"a" * 16, b"b" * 16), (b"x", b"y"))}
    assert len(said) == 4
    assert commitment(bytes(32), b"SELL 10 ETH @2000").hex().startswith("edfaac4b")
