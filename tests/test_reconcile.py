"""Our book against the venue's: what differs is told, what stays is an alarm, nothing is done."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import Desk, coin, flat, perp, venue_of
from desk import rules as margins
from tidegate.api.governing import Reconcile
from tidegate.domain.errors import AskInvalid
from tidegate.service.reconcile import Copied, Reconciler, copy_of


VENUE = venue_of(perp(), coin())


class Told:
    def __init__(self):
        self.said = []

    def raised(self, code, detail):
        self.said.append((code, detail))


@pytest.fixture
def desk():
    d = Desk(VENUE, margin=margins(flat()))
    d.users([10**7, 10**9, 5], [(0, 0, 100, 1_000), (1, 0, -100, 1_000), (1, 1, 250, 0)])
    d.price(1_000)
    return d


def ours(d):
    return copy_of(SimpleNamespace(state=d.state, head=d.state.seq - 1))


def theirs(d, **changes):
    """Return the very same book in the venue's words."""
    names = d.state.names
    same = {
        "seq": 0,
        "accounts": names,
        "cash": ["10.000000", "1000", "0.000005"],
        "markets": ["PERP", "COIN"],
        "holder": [0, 1, 1],
        "market": [0, 0, 1],
        "quantity": ["10.0", "-10", "2.5"],
    }
    return Reconcile(**(same | changes))


def test_equal_books_do_not_differ(desk):
    found = Reconciler(desk.stack).compare(theirs(desk), ours(desk))
    assert (found.differences, found.worth, found.alarm, found.accounts) == (0, 0.0, False, 3)


def test_differences_are_told_largest_first(desk):
    ask = theirs(desk, cash=["10.000001", "999", "0.000005"], quantity=["10.1", "-10", "2.5"])
    found = Reconciler(desk.stack).compare(ask, ours(desk))
    told = [(d.instrument, d.ours, d.theirs, d.worth) for d in found.largest]
    assert told == [
        ("cash", "1000.000000", "999.000000", 1.0),
        ("PERP", "10.0", "10.1", 1.0),  # a lot at 1,000 ticks of 1,000 Money
        ("cash", "10.000000", "10.000001", 1e-6),
    ]
    assert found.worth == pytest.approx(2.000001)
    assert not found.alarm


def test_a_difference_within_the_tolerance_is_none(desk):
    ask = theirs(desk, cash=["10.01", "1000.010001", "0"], tolerance="0.01")
    found = Reconciler(desk.stack).compare(ask, ours(desk))
    assert [d.theirs for d in found.largest] == ["1000.010001"]


def test_what_is_not_named_is_nothing_or_is_left_out(desk):
    part = {
        "accounts": desk.state.names[1:2],
        "cash": ["1000"],
        "holder": [0],
        "market": [0],
        "quantity": ["-10"],
    }
    some = Reconciler(desk.stack).compare(theirs(desk, **part, complete=False), ours(desk))
    assert [d.instrument for d in some.largest] == ["COIN"]
    whole = Reconciler(desk.stack).compare(theirs(desk, **part), ours(desk))
    assert whole.differences == 4  # the coin, two accounts' cash, one position


def test_strangers_are_counted_and_named(desk):
    names = [*desk.state.names, "who?"]
    ask = theirs(desk, accounts=names, cash=["10", "1000", "0.000005", "77"])
    found = Reconciler(desk.stack).compare(ask, ours(desk))
    assert (found.strangers, found.strangers_total, found.differences) == (["who?"], 1, 0)


def test_the_alarm_is_for_what_is_found_twice_unchanged(desk):
    told = Told()
    reconciler = Reconciler(desk.stack, told)
    for amount, alarm in (("11", False), ("12", False), ("12", True), ("10", False), ("12", False)):
        found = reconciler.compare(theirs(desk, cash=[amount, "1000", "0.000005"]), ours(desk))
        assert (found.alarm, reconciler.raised) == (alarm, alarm)
    assert [code for code, _ in told.said] == ["book_drifts"]


def test_a_book_in_parts_raises_the_alarm_as_a_whole_one_does(desk):
    """The second part neither hides what the first has found nor makes it forgotten."""
    alerts = Told()
    reconciler = Reconciler(desk.stack, alerts)
    names = desk.state.names
    first = {"accounts": names[:1], "cash": ["11"], "holder": [0], "market": [0]}
    first |= {"quantity": ["10"], "complete": False}
    second = {"accounts": names[1:], "cash": ["1000", "0.000005"], "holder": [0, 0]}
    second |= {"market": [0, 1], "quantity": ["-10", "2.5"], "complete": False}
    for alarm in (False, True):
        for part in (first, second):
            found = reconciler.compare(theirs(desk, **part), ours(desk))
            assert reconciler.drift == pytest.approx(1.0)
        assert (found.differences, found.alarm, reconciler.raised) == (0, alarm, alarm)
    assert alerts.said
    mended = first | {"cash": ["10"]}
    reconciler.compare(theirs(desk, **mended), ours(desk))
    assert (reconciler.drift, reconciler.raised) == (0, False)


def test_corrections_are_proposed_and_not_made(desk):
    before = desk.state.digest()
    ask = theirs(desk, cash=["9.5", "1001", "0.000005"], quantity=["9.9", "-10", "2.49"])
    reconciler = Reconciler(desk.stack)
    assert reconciler.corrections().corrections == []
    reconciler.compare(ask, ours(desk))
    events = {(c.account, c.instrument): c.event for c in reconciler.corrections().corrections}
    one, two = desk.state.names[:2]
    assert events == {
        (one, "cash"): {
            "type": "withdrawal",
            "account": one,
            "amount": "0.500000",
            "settled": True,
        },
        (two, "cash"): {"type": "deposit", "account": two, "amount": "1.000000"},
        (one, "PERP"): {
            "type": "trade",
            "instrument": "PERP",
            "taker": one,
            "quantity": "-0.1",
            "settled": True,
            "price": "10.00",
        },
        (two, "COIN"): {
            "type": "withdrawal",
            "account": two,
            "amount": "0.01",
            "settled": True,
            "asset": "COIN",
        },
    }
    assert desk.state.digest() == before


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seq": 10}, "seq"),
        ({"cash": ["1"]}, "cash"),
        ({"quantity": ["1"]}, "quantity"),
        ({"cash": ["0.0000001", "1", "1"]}, "cash"),
        ({"cash": ["99999999999999999999", "1", "1"]}, "cash"),
        ({"quantity": ["0.05", "1", "1"]}, "quantity of PERP"),
        ({"markets": ["PERP", "NOPE"]}, "markets"),
        ({"holder": [0, 1, 9]}, "holder"),
        ({"holder": [0, 0, 1]}, "holder"),
        ({"accounts": ["u", "u", "u"]}, None),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(desk, changes, where):
    reconciler = Reconciler(desk.stack)
    if where is None:
        name = desk.state.names[0]
        changes, where = {"accounts": [name, name, "x"]}, "accounts"
    with pytest.raises(AskInvalid) as info:
        reconciler.compare(theirs(desk, **changes), ours(desk))
    assert info.value.where == where


@given(st.data())
def test_it_finds_what_a_naive_comparison_finds(data):
    cells = st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 1)), st.integers(-9, 9).filter(bool), max_size=8
    )
    mine, other = data.draw(cells), data.draw(cells)
    names = [f"a{k}" for k in range(6)]
    stack = Desk(VENUE).stack
    columns = np.array([(a, i, n) for (a, i), n in mine.items()], np.int64).reshape(-1, 3).T
    book = Copied(5, 0, names, np.zeros(6, np.int64), *columns, np.array([10, 10]), stack.facts)
    ask = Reconcile(
        seq=5,
        accounts=names,
        cash=["0"] * 6,
        markets=["COIN", "PERP"],
        holder=[a for a, _ in other],
        market=[1 - i for _, i in other],
        quantity=[f"{n / (100 if i else 10):.2f}" for (_, i), n in other.items()],
    )
    found = Reconciler(stack).compare(ask, book)
    naive = {k for k in mine | other if mine.get(k, 0) != other.get(k, 0)}
    assert {(int(d.account[1:]), int(d.instrument == "COIN")) for d in found.largest} == naive
