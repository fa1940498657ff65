"""Twins of the rules of bands, averages and stable prices: the plain sentence beside each."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import column
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import aggregate, bands_limit, stable_price


briefly = settings(max_examples=60, deadline=None)
prices = st.integers(1, 10**7)
rates = st.integers(0, PPM)
N, L, P = bands_limit.NORMAL, bands_limit.LIMIT, bands_limit.PAUSED


# Bands ----------------------------------------------------------------------------------------


@briefly
@given(prices, rates)
def test_a_band_is_never_wider_than_its_rule(reference, rate):
    low, high = bands_limit.band(reference, rate, PPM)
    exact = Fraction(reference * rate, PPM)
    assert 0 <= low <= reference <= high
    assert exact - 1 < high - reference <= exact
    assert reference - low == high - reference or low == 0


@pytest.mark.parametrize(
    ("previous", "tier", "doubled", "width"),
    [
        (301, 1, 0, 15),
        (300, 1, 0, 60),  # at three units: the wider bracket
        (301, 2, 0, 30),
        (301, 1, 1, 30),
        (75, 1, 0, 60),
        (74, 1, 0, 15),  # the smaller of 0.15 units and 75 %
    ],
)
def test_brackets_of_limit_up_limit_down(previous, tier, doubled, width):
    assert bands_limit.luld_width(300, previous, tier, doubled, 100) == width


@pytest.mark.parametrize(
    ("state", "at_band", "now", "found"),
    [
        ((N, 0), 0, 5, (N, 0)),
        ((N, 0), 1, 5, (L, 5)),
        ((L, 5), 0, 19, (N, 19)),
        ((L, 5), 1, 19, (L, 5)),
        ((L, 5), 0, 20, (P, 20)),  # what was due happens, whatever the price does now
        ((L, 5), 1, 40, (P, 20)),
        ((P, 20), 0, 319, (P, 20)),
        ((P, 20), 0, 320, (N, 320)),
        ((P, 20), 1, 320, (L, 320)),
        ((L, 5), 1, 320, (L, 320)),  # limit and pause both passed unseen
    ],
)
def test_limit_states(state, at_band, now, found):
    assert bands_limit.limit_state(*state, at_band, now, 15, 300) == found


@briefly
@given(st.lists(st.tuples(st.integers(0, 40), prices), min_size=1, max_size=80), st.data())
def test_a_ring_remembers_what_a_list_would(moves, data):
    """With a cell an observation the ring is exact; with wider cells it forgets a whole cell."""
    at, low, high, total, count = (np.zeros(96, np.int64) for _ in range(5))
    span = data.draw(st.sampled_from([0, 1, 7]))
    now, cells = 1, []  # of (began, prices)
    for elapsed, price in moves:
        now += elapsed
        if cells and now - cells[-1][0] < span:
            cells[-1][1].append(price)
        else:
            cells.append((now, [price]))
        cell = bands_limit.note(at, low, high, total, count, now, price, span)
        assert (at[cell], count[cell]) == (cells[-1][0], len(cells[-1][1]))
    window = data.draw(st.integers(0, 200))
    seen = [p for began, of in cells if now - began <= window for p in of]
    assert bands_limit.extremes(at, low, high, count, now, window) == (min(seen), max(seen))
    assert bands_limit.mean(at, total, count, now, window) == sum(seen) // len(seen)


def test_the_oldest_cell_is_overwritten():
    at, low, high, total, count = (np.zeros(2, np.int64) for _ in range(5))
    for now in (10, 20, 30):
        bands_limit.note(at, low, high, total, count, now, now, 5)
    assert sorted(at.tolist()) == [20, 30]
    assert bands_limit.extremes(at, low, high, count, 100, 5) == (0, 0)
    assert bands_limit.mean(at, total, count, 100, 5) == 0


@pytest.mark.parametrize(("price", "breach"), [(80, 0), (79, -1), (120, 0), (121, 1), (100, 0)])
def test_a_dynamic_breach_is_beyond_the_bound(price, breach):
    assert bands_limit.dynamic_breach(price, 100, 100, 20) == breach
    assert bands_limit.dynamic_breach(price, 0, 0, 20) == 0


@briefly
@given(prices, rates, st.integers(1, 50))
def test_a_variant_is_in_full_ticks(settle, rate, tick):
    room = bands_limit.variant(settle, rate, tick, PPM)
    assert room % tick == 0
    assert room <= Fraction(settle * rate, PPM) < room + tick + 1


@briefly
@given(prices, prices, rates)
def test_moved_beyond(price, before, rate):
    moved = bands_limit.moved_beyond(price, before, rate, PPM)
    assert moved == (abs(Fraction(price, before) - 1) > Fraction(rate, PPM))


@pytest.mark.parametrize(
    ("side", "price", "limited", "passive", "found"),
    [
        (1, 110, 1, 0, bands_limit.INSIDE),
        (1, 111, 1, 0, bands_limit.BREACH),
        (1, 111, 0, 0, bands_limit.SWEPT),
        (1, 111, 1, 1, bands_limit.INSIDE),
        (1, 80, 1, 0, bands_limit.INSIDE),  # a buyer's low price presses on nothing
        (-1, 90, 1, 0, bands_limit.INSIDE),
        (-1, 89, 1, 0, bands_limit.BREACH),
    ],
)
def test_orders_at_a_band(side, price, limited, passive, found):
    assert bands_limit.order_fits(side, price, limited, passive, 90, 110) == found


@pytest.mark.parametrize(
    ("price", "level"), [(931, 0), (930, 1), (871, 1), (870, 2), (800, 3), (1, 3), (2_000, 0)]
)
def test_market_wide_levels(price, level):
    assert bands_limit.level_of(1_000, price, column(70_000, 130_000, 200_000), PPM) == level


# Stable price ---------------------------------------------------------------------------------


def cut(number: Fraction) -> Fraction:
    """Return forty decimals of a fraction: exact ones double in length with every step."""
    return Fraction(round(number * 10**40), 10**40)


class Stable:
    """The stable price in fractions, as Mango's source has it."""

    def __init__(self, price: int) -> None:
        self.price, self.delays = Fraction(price), [Fraction(price)] * 24
        self.last, self.total, self.time, self.turn = 0, Fraction(0), 0, 0

    def see(self, now: int, price: int, growth: Fraction, delay_growth: Fraction) -> None:
        elapsed = now - self.last
        if elapsed < 10:
            return
        counted, self.last = min(elapsed, 600), now
        self.total, self.time = self.total + price * counted, self.time + elapsed
        turn = now // 3_600 % 24
        if turn != self.turn:
            last = self.delays[self.turn - 1]
            average = min(
                max(self.total / self.time, last * (1 - delay_growth)), last * (1 + delay_growth)
            )
            steps = 24 if elapsed > 24 * 3_600 else (turn - self.turn) % 24
            for n in range(steps):
                self.delays[(self.turn + n) % 24] = cut(average)
            self.total, self.time, self.turn = Fraction(0), 0, turn
        delayed = self.delays[turn]
        ratio = min(delayed / self.price, self.price / delayed)
        room = growth * ratio**2 * counted
        least, most = self.price * (1 - room), self.price * (1 + room)
        self.price = cut(min(max(Fraction(price), least), most))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 9, 10, 60, 600, 4_000, 90_000]), st.integers(1, 99)),
             min_size=1, max_size=40)
)  # fmt: skip
def test_the_stable_price_is_the_published_one(moves):
    scale = 10**18
    twin, now = Stable(10), 0
    cells, delays = np.zeros(5, object), np.full(24, 10 * scale, object)
    cells[0] = 10 * scale
    step = unbounded(stable_price.stable_step)
    growth, delay_growth = Fraction(3, 10_000), Fraction(6, 100)
    for elapsed, price in moves:
        now += elapsed
        moved = step(
            delays, cells, price * scale, now, 3_600, 10, 600,
            int(delay_growth * scale), int(growth * scale), scale,
        )  # fmt: skip
        assert moved == (now - twin.last >= 10)
        twin.see(now, price, growth, delay_growth)
        assert cells[0] == pytest.approx(float(twin.price) * scale, rel=1e-12)
        assert cells[4] == twin.turn
        assert [float(d) for d in delays] == pytest.approx(
            [float(d) * scale for d in twin.delays], rel=1e-12
        )


@briefly
@given(st.lists(st.tuples(st.integers(0, 5_000), prices), min_size=1, max_size=30))
def test_the_stable_price_compiled_is_the_same_source(moves):
    cells, delays = np.zeros(5, np.int64), np.full(24, 5_000_000, np.int64)
    cells[0] = 5_000_000
    plain, before = cells.astype(object), delays.astype(object)
    now = 0
    for elapsed, price in moves:
        now += elapsed
        rest = (price, now, 3_600, 10, 600, 60_000, 300, PPM)
        moved = stable_price.stable_step(delays, cells, *rest)
        assert unbounded(stable_price.stable_step)(before, plain, *rest) == moved
    assert cells.tolist() == plain.tolist()
    assert delays.tolist() == before.tolist()


@briefly
@given(prices, prices, rates, st.integers(0, 600))
def test_growth_slows_while_yesterday_disagrees(stable, delayed, rate, elapsed):
    room = stable_price.growth(stable, delayed, rate, elapsed)
    exact = rate * elapsed * Fraction(min(stable, delayed), max(stable, delayed)) ** 2
    assert exact - 2 < room <= exact
    assert stable_price.growth(0, 0, rate, elapsed) == 0


@briefly
@given(prices, prices, rates)
def test_grown_stays_within_its_room(target, last, rate):
    found = stable_price.grown(target, last, rate, PPM)
    room = last * rate // PPM
    assert found == min(max(target, last - room), last + room)


# From many sources to one ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, aggregate.VALID),
        ({"price": 0}, aggregate.NOT_POSITIVE),
        ({"average": 599}, aggregate.VALID),
        ({"average": 600}, aggregate.VOLATILE),
        ({"average": 17}, aggregate.VALID),
        ({"average": 16}, aggregate.VOLATILE),
        ({"width": 2}, aggregate.VALID),
        ({"width": 3}, aggregate.UNCERTAIN),
        ({"width": 3, "multiplier": 2}, aggregate.VALID),
        ({"age": 10}, aggregate.VALID),
        ({"age": 11}, aggregate.AGEING),
        ({"age": 120}, aggregate.AGEING),
        ({"age": 121}, aggregate.OLD),
        ({"sufficient": 0, "age": 11}, aggregate.SPARSE),
        ({"sufficient": 0, "age": 121}, aggregate.OLD),
        ({"width": 3, "age": 121}, aggregate.UNCERTAIN),
    ],
)
def test_validity_by_severity(changes, severity):
    asked = {
        "price": 100, "width": 0, "age": 0, "average": 100, "sufficient": 1, "age_short": 10,
        "age_long": 120, "width_max": 20_000, "multiplier": 1, "ratio_max": 5, "scale": PPM,
    } | changes  # fmt: skip
    assert aggregate.validity(*asked.values()) == severity


@briefly
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_a_worse_price_never_permits_more(severity, worse, worst):
    better, worse = min(severity, worse), max(severity, worse)
    assert aggregate.permitted(worse, worst) <= aggregate.permitted(better, worst)


@briefly
@given(prices, prices, st.integers(0, 2 * PPM))
def test_samples_and_divergence(price, average, rate):
    room = average * rate // PPM
    held = min(max(price, average - room), average + room) if rate else price
    assert aggregate.sample_held(price, average, rate, PPM) == held
    assert aggregate.sample_held(price, 0, rate, PPM) == price
    apart = abs(price - average) * PPM > rate * price
    assert aggregate.diverges(price, average, rate, PPM) == apart
    assert aggregate.times(price, average) == max(price, average) // min(price, average)


@briefly
@given(st.lists(st.integers(0, 50), min_size=1, max_size=9))
def test_medians(said):
    known = sorted(p for p in said if p)
    assert aggregate.upper_median(column(*said)) == (known[len(known) // 2] if known else 0)
    quorum = sorted(p + 1 for p in said)
    middle = quorum[len(quorum) // 2] if len(quorum) % 2 else 0
    assert aggregate.sorted_median(column(*quorum), len(quorum)) == middle
    assert aggregate.sorted_median(column(*quorum), len(quorum) + 2) == 0
    if quorum[0] < quorum[-1]:
        assert aggregate.sorted_median(column(*quorum[::-1]), len(quorum)) == 0


@briefly
@given(st.lists(st.tuples(st.integers(0, 130), st.integers(0, 10)), max_size=7), st.integers(1, 4))
def test_the_index_drops_outliers_unless_all_move(said, least):
    now, age, rate = 10, 5, 100_000
    price, seen = column(*(p for p, _ in said)), column(*(t for _, t in said))
    fresh = sorted(p for p, t in said if p and now - t <= age)
    expected = 0
    if len(fresh) >= least:
        middle = fresh[len(fresh) // 2]
        near = [p for p in fresh if abs(p - middle) * PPM <= middle * rate]
        expected = near[len(near) // 2] if len(near) >= least else middle
    assert aggregate.index_of(price, seen, now, age, rate, least, PPM) == expected


@briefly
@given(prices, prices, prices, rates)
def test_a_mark_stays_near_its_index(index, last, mid, rate):
    room = index * rate // PPM
    middle = sorted([index, last, mid])[1]
    expected = min(max(middle, index - room), index + room)
    assert aggregate.mark_of(column(index, last, mid), index, rate, PPM) == expected


@briefly
@given(st.lists(st.tuples(prices, st.integers(0, 20)), max_size=6), st.integers(1, 60))
def test_impact_value(levels, wanted):
    lots = [p for p, n in levels for _ in range(n)][:wanted]
    price, size = column(*(p for p, _ in levels)), column(*(n for _, n in levels))
    assert aggregate.impact_value(price, size, wanted) == (sum(lots), len(lots))


@briefly
@given(prices, st.integers(0, 1_000), st.integers(0, 3 * PPM))
def test_a_price_counts_against_the_account(price, width, factor):
    low, high = aggregate.conservative(price, width, factor, PPM)
    assert 0 <= price - low - Fraction(width * factor, PPM) < 1
    assert high - price == price - low


def test_rules_with_one_line():
    assert aggregate.capped_growth(10_000, 500, 10_000, 100, 100) == 10_500
    assert aggregate.mean_tick(-10, -12, 4) == -1
    assert aggregate.harmonic_liquidity(10, 11, 1, 2**20, 4) == (2**20 - 1) >> 4
    assert aggregate.harmonic_liquidity(2**20 - 1, 1, 1, 2**20, 4) == (2**20 - 1) // 32
    assert aggregate.delayed_step(1, 2, 3, 3_600, 7_199, 3_600) == (0, 1, 2, 3_600)
    assert aggregate.delayed_step(1, 2, 3, 3_600, 7_200, 3_600) == (1, 2, 3, 7_200)


@pytest.mark.parametrize(
    ("waiting", "level", "now", "found"),
    [(60, 0, 9, 0), (59, 0, 9, 2), (59, 1, 9, 2), (59, 2, 9, 2), (59, 3, 9, 3), (59, 0, 5, 0)],
)
def test_a_fall_of_the_next_price_trips(waiting, level, now, found):
    assert aggregate.drop_trips(100, waiting, 600_000, PPM, level, now, 5) == found


@pytest.mark.parametrize(
    ("wanted", "relative", "fits"), [(110, 0, 1), (111, 0, 0), (90, 0, 1), (109, 1, 0), (108, 1, 1)]
)
def test_steps_of_a_steward(wanted, relative, fits):
    most = 80_000 if relative else 10
    assert aggregate.within_step(100, wanted, most, relative, PPM) == fits


@pytest.mark.parametrize(
    ("debt", "due", "line"),
    [(50, 0, 60), (90, 0, 100), (90, 1, 100), (91, 0, 100), (91, 1, 101), (500, 1, 150)],
)
def test_a_ceiling_above_the_debt(debt, due, line):
    assert aggregate.line_after(100, debt, 10, 150, due) == line


@briefly
@given(st.integers(-100, 1_000), st.integers(-50, 50), prices, prices, rates)
def test_one_position_below_its_requirement(cash, lots, entry, price, rate):
    due = Fraction(abs(lots) * price * rate, PPM)
    expected = cash * 10 + lots * (price - entry) < -(-due // 1)
    assert aggregate.below_maintenance(cash, lots, entry, price, rate, 10, PPM) == expected
