"""Fills that say what their order has left: each is booked once, whatever the venue repeats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, column, flat, perp, rules, venue_of
from tidegate.domain.effects import OrdersPlaced, OrdersReduced, PositionsMoved, Rejected
from tidegate.domain.events import OrdersExpired, OrdersFilled
from tidegate.domain.units import PPM, pack, unpack
from tidegate.engine.invariants import audit
from tidegate.safeguards.planner import StagedPlanner


PRICE = 900
LOTS = 100


def ordering(lots: int = LOTS) -> tuple[Desk, int]:
    """Return a desk with one order in flight that closes a long of ``lots``, and its id."""
    planner = StagedPlanner(unknown_depth=10**15, depth_share=PPM)
    d = Desk(venue_of(perp()), margin=rules(flat()), planner=planner)
    d.users([10**5 * lots, 10**12], [(0, 0, lots, 1_000)])
    (placed,) = d.of(OrdersPlaced, d.price(PRICE))
    assert unpack(placed.lots).tolist() == [-lots]
    return d, placed.first


def fill(d: Desk, *rows: tuple[int, int, int]) -> list:
    """Send (order, lots, left) rows at one price in one report."""
    order, lots, left = np.array(rows, np.int64).T
    price = np.full(order.size, PRICE)
    return d.send(
        OrdersFilled(
            ts=d.now, order=pack(order), lots=pack(lots), price=pack(price), left=pack(left)
        )
    )


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def held(d: Desk) -> tuple[int, int]:
    """Return user 0's lots, and the lots still in flight."""
    book = d.state.book
    mine = (book.account[: book.high] == U) & (book.instrument[: book.high] == 0)
    rows = np.flatnonzero(mine)
    return int(book.lots[rows].sum()), int(book.in_flight[rows].sum())


def test_a_part_told_twice_is_booked_once():
    d, order = ordering()
    assert codes(fill(d, (order, -30, -70))) == []
    once = d.state.digest()
    found = fill(d, (order, -30, -70))
    assert codes(found) == ["fill_is_a_duplicate"]
    assert len(found) == 1
    assert held(d) == (70, -70)
    d.state.seq -= 1
    assert d.state.digest() == once, "nothing else has changed"


def test_without_what_is_left_a_second_part_is_a_second_part():
    d, order = ordering()
    for _ in range(2):
        assert codes(d.fill(order, -30, PRICE)) == []
    assert held(d) == (40, -40)


@pytest.mark.parametrize(
    ("lots", "left", "code", "after"),
    [
        (-30, -70, "", (70, -70)),
        (-30, -69, "fills_are_missing", (70, -69)),
        (-31, -70, "order_is_unknown", (100, -100)),  # it explains more than has gone
        (-100, 0, "", (0, 0)),
        (-100, 1, "order_is_unknown", (100, -100)),  # left on the other side
        (-101, 0, "order_is_unknown", (100, -100)),
        (-1, -100, "fill_is_a_duplicate", (100, -100)),
        (-1, -101, "fill_is_a_duplicate", (100, -100)),
        (1, -99, "order_is_unknown", (100, -100)),
        (-99, 0, "fills_are_missing", (1, 0)),
    ],
)
def test_what_is_left_decides(lots, left, code, after):
    d, order = ordering()
    found = fill(d, (order, lots, left))
    assert codes(found) == ([code] if code else [])
    assert held(d) == after
    audit(d.state)


def test_a_missing_part_does_not_hold_up_the_next_and_comes_too_late():
    d, order = ordering()
    assert codes(fill(d, (order, -20, -50))) == ["fills_are_missing"]
    assert codes(fill(d, (order, -30, -70))) == ["fill_is_a_duplicate"]
    assert codes(fill(d, (order, -50, 0))) == []
    assert held(d) == (30, 0)
    assert codes(fill(d, (order, -50, 0))) == ["order_is_unknown"], "the order is closed"


def test_rows_of_one_report_follow_one_another():
    d, order = ordering()
    found = fill(
        d, (order, -10, -90), (order, -10, -90), (order, -40, -50), (order, -50, 0), (7, -1, 0)
    )
    assert codes(found) == ["order_is_unknown", "fill_is_a_duplicate"]
    (reduced,) = d.of(OrdersReduced, found)
    assert unpack(reduced.lots).tolist() == [-10, -40, -50]
    assert unpack(reduced.closed).tolist() == [0, 0, 1]
    assert held(d) == (0, 0)


def test_an_expiry_frees_what_is_left():
    d, order = ordering()
    fill(d, (order, -20, -50))
    d.send(OrdersExpired(ts=d.now, order=pack(column(order)), reason="timeout"))
    assert held(d) == (80, 0)


def test_columns_of_different_length_are_refused():
    d, order = ordering()
    one, two = pack(column(order)), pack(column(-50, 0))
    found = d.send(OrdersFilled(ts=d.now, order=one, lots=pack(column(-50)), price=one, left=two))
    assert codes(found) == ["columns_differ"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_repeats_in_any_number_change_nothing(parts, data):
    """However often each report is told again once it was told, the book is the same."""
    total = sum(parts)
    d, order = ordering(total)
    told, left = [], -total
    for part in parts:
        left += part
        told.append((order, -part, left))
        fill(d, told[-1])
        again = data.draw(st.lists(st.sampled_from(told), max_size=3))
        for row in again:
            (refused,) = fill(d, row)
            assert refused.code in {"fill_is_a_duplicate", "order_is_unknown"}
        assert held(d) == (-left, left)
    audit(d.state)
    assert d.of(PositionsMoved, fill(d, told[-1])) == []
