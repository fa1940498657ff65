"""Offers: which step of which staircase is next, and what margin carries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import U, book_of, facts_of, flat, perp, rules, venue_of
from tidegate.domain.units import PPM
from tidegate.kernels.margin import position_initial
from tidegate.kernels.offers import (
    STAIRS,
    affordable,
    asked_discount,
    best_offers,
    drained,
    in_distress,
    loss_rate,
    stair_end,
    stair_of,
)


@pytest.mark.parametrize(
    ("held", "step"), [(-5, 0), (0, 0), (9, 0), (10, 1), (19, 1), (70, 7), (79, 7)]
)
def test_a_step_begins_at_an_eighth(held, step):
    assert stair_of(held, 80) == step
    assert asked_discount(1_000, 800, held, 80) == 1_000 + 100 * step
    assert held + stair_end(held, 80) == 10 * (step + 1)


@given(st.integers(1, 10**6), st.data())
def test_steps_cover_an_offer_without_gap_or_overlap(most, data):
    held = data.draw(st.integers(-most, most - 1))
    lots = stair_end(held, most)
    assert lots >= 1
    assert held + lots <= most
    assert held + lots == most or stair_of(held + lots, most) > stair_of(held, most)
    assert stair_of(held + lots - 1, most) == stair_of(held, most)


def filled(want: int, limit: int, offers: list[tuple[int, int, int, int, int]]):
    """Return (offer, lots, discount) fills; offers are held, most, room, discount, slope."""
    held, most, room, discount, slope = np.array(offers, np.int64).reshape(-1, 5).T.copy()
    out = [np.zeros((STAIRS + 1) * len(offers), np.int64) for _ in range(3)]
    n = best_offers(want, limit, held, most, room, discount, slope, *out)
    return list(zip(*(c[:n].tolist() for c in out), strict=True))


def one_by_one(want: int, limit: int, offers: list[tuple[int, int, int, int, int]]):
    """Twin: lot after lot to whoever asks least, then runs joined to fills."""
    state = [list(o) for o in offers]
    lots: list[tuple[int, int]] = []
    for _ in range(want):
        asks = [
            (discount + slope * (max(held, 0) * STAIRS // most if held > 0 else 0) // STAIRS, k)
            for k, (held, most, room, discount, slope) in enumerate(state)
            if room > 0 and held < most
        ]
        if not asks or min(asks)[0] > limit:
            break
        price, k = min(asks)
        lots.append((k, price))
        state[k][0] += 1
        state[k][2] -= 1
    return lots


@pytest.mark.parametrize(
    ("want", "limit", "fills"),
    [
        (9, 10_000, [(1, 9, 5_000)]),
        (10, 10_000, [(1, 10, 5_000)]),
        (11, 10_000, [(1, 10, 5_000), (1, 1, 6_000)]),
        (11, 5_999, [(1, 10, 5_000)]),
        (11, 4_999, []),
        (25, 10_000, [(1, 10, 5_000), (1, 10, 6_000), (0, 5, 6_500)]),
    ],
)
def test_the_cheapest_step_comes_first(want, limit, fills):
    offers = [(0, 80, 80, 6_500, 8_000), (0, 80, 80, 5_000, 8_000)]
    assert filled(want, limit, offers) == fills


def test_ties_go_to_the_lower_row_and_room_binds():
    assert filled(20, 9_000, [(0, 80, 3, 100, 0), (0, 80, 80, 100, 0)])[0] == (0, 3, 100)
    assert filled(5, 9_000, [(80, 80, 9, 100, 0), (0, 0, 9, 0, 0)]) == []


offer = st.tuples(
    st.integers(-20, 40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 50),
    st.integers(0, 80),
)


@given(st.integers(0, 80), st.integers(0, 120), st.lists(offer, min_size=1, max_size=4))
def test_fills_are_lots_dealt_one_by_one(want, limit, offers):
    dealt = [(k, price) for k, lots, price in filled(want, limit, offers) for _ in range(lots)]
    assert dealt == one_by_one(want, limit, offers)


VENUE = venue_of(perp())
FACTS = facts_of(VENUE, rules(flat(100_000, 50_000)))  # a lot at 10,000 ticks asks 1,000,000


@pytest.mark.parametrize(
    ("held", "side", "free", "lots"),
    [
        (0, 1, -1, 0),
        (0, 1, 0, 0),
        (0, 1, 999_999, 0),
        (0, 1, 1_000_000, 1),
        (0, -1, 5_999_999, 5),
        (3, 1, 1_999_999, 1),
        (-3, 1, 0, 6),  # three of them close the short, three more use what that frees
        (-3, 1, 999_999, 6),
        (-3, 1, 1_000_000, 7),
        (-50, 1, 0, 40),
        (0, 1, 10**9, 40),
    ],
)
def test_margin_carries_so_many_lots(held, side, free, lots):
    assert affordable(FACTS, 0, held, side, 40, 10_000, 0, free) == lots


@given(st.integers(-60, 60), st.sampled_from((1, -1)), st.integers(0, 10**8), st.integers(0, 60))
def test_what_margin_carries_is_the_most_it_carries(held, side, free, most):
    def due(lots: int) -> int:
        return int(position_initial(FACTS, 0, held + side * lots, 10_000, 0))

    fits = [n for n in range(most + 1) if due(n) - due(0) <= free]
    assert affordable(FACTS, 0, held, side, most, 10_000, 0, free) == max(fits)


@pytest.mark.parametrize(
    ("equity", "since", "below", "patience", "asked"),
    [
        (667, -1, 667_000, 0, False),
        (666, -1, 667_000, 0, True),
        (666, -1, 0, 0, False),
        (900, 90, 0, 11, False),
        (900, 90, 0, 10, True),
        (900, -1, 0, 10, False),
        (900, 90, 667_000, 0, False),
        (1_000, 0, 1_000_000, 1, False),  # healthy: whatever it waited
    ],
)
def test_who_is_asked_for(equity, since, below, patience, asked):
    book = book_of(VENUE, [0], [(0, 0, 5, 1)])
    n = U + 1
    have, need, out = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    waits = np.full(n, -1, np.int64)
    have[U], need[U], waits[U] = equity, 1_000, since
    found = in_distress(book, have - need, have, need, waits, 100, below, patience, out)
    assert out[:found].tolist() == ([U] if asked else [])


def test_nobody_is_asked_for_with_something_in_flight_or_nothing_held():
    book = book_of(VENUE, [0, 0], [(0, 0, 5, 1)])
    n = U + 2
    have, need, out = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    need[U:] = 1_000
    waits = np.full(n, -1, np.int64)
    args = (have - need, have, need, waits, 100, PPM, 0, out)
    assert in_distress(book, *args) == 1  # the other one holds nothing
    book.in_flight[0] = -1
    assert in_distress(book, *args) == 0


@pytest.mark.parametrize(
    ("elapsed", "left"), [(0, 70), (1, 60), (6, 10), (7, 0), (9, 0), (10, 0), (10**18, 0)]
)
def test_a_guard_drains_evenly(elapsed, left):
    assert drained(70, 100, elapsed, 10) == left


@pytest.mark.parametrize(
    ("equity", "size", "rate"),
    [(0, 100, 0), (1, 3, 333_333), (99, 100, 990_000), (100, 100, PPM), (101, 100, PPM), (1, 0, 0)],
)
def test_a_discount_never_exceeds_what_is_left(equity, size, rate):
    assert loss_rate(equity, size) == rate
    assert loss_rate(equity, size) * size <= max(equity, size) * PPM
