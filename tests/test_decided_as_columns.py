"""What replaced loops over accounts and positions: each kernel against the loop it replaced."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import reference as ref
from desk import column
from test_kernels import INSTRUMENTS, N, U, columns, nearly, worlds
from tidegate.domain import units
from tidegate.domain.book import EXTERNAL, FIRST_USER, Book, move, move_all, row_of
from tidegate.domain.instrument import Spot
from tidegate.domain.orders import Orders, order_slot, order_slots, place_all
from tidegate.domain.units import MONEY_MAX
from tidegate.domain.venue import Limits
from tidegate.kernels import deleverage, fills, order, plan, room


ints = st.integers
briefly = settings(max_examples=max(50, settings.default.max_examples // 4))
whole = st.one_of(ints(-3, 3), ints(-(2**63), 2**63 - 1), st.just(-(2**63)), st.just(2**63 - 1))
HALF = 2**50  # quotients beyond it are divided bit by bit


@given(st.lists(whole, max_size=80), ints(0, 3))
def test_the_order_is_the_stable_one(line, times):
    line = np.array(line * 2**times, np.int64)
    assert order.stable_order(line).tolist() == np.argsort(line, kind="stable").tolist()
    found, place = order.distinct(line)
    assert (found.tolist(), place.tolist()) == tuple(
        part.reshape(-1).tolist() for part in np.unique(line, return_inverse=True)
    )


def test_a_long_line_is_ordered_too():
    """From 4,096 rows on digits are wider; both ends of the range are in it."""
    line = np.arange(-3_000, 3_000) ** 5 * 12_345
    line = np.concatenate([line[::7], line, column(-(2**63), 2**63 - 1, 0, -1)])
    assert order.stable_order(line).tolist() == np.argsort(line, kind="stable").tolist()


def test_the_order_of_numbers_that_never_wrap():
    line = np.array([10**30, -(10**30), 5, 10**29] * 9, object)
    found = units.unbounded(order.stable_order)(line)
    assert found.tolist() == np.argsort(line, kind="stable").tolist()


@given(ints(HALF - 3, HALF + 3), nearly.map(lambda n: n % 2**61 + 1), ints(-2, 2))
@example(HALF, 2**62 - 1, 0)
@example(HALF - 1, 2**62 - 1, -1)
def test_a_quotient_is_exact_where_the_guess_ends(quotient, divisor, off):
    """``quotient * divisor + off`` over ``divisor``, as a product of two numbers in range."""
    factor = 2**24
    amount = max(0, (quotient * divisor + off) // factor)
    if amount < 2**62 and amount * factor // divisor < 2**62:
        assert units.muldiv(amount, factor, divisor) == amount * factor // divisor


# Who is pooled, and whom the market can take ---------------------------------------------------


def rows_of_account(book, account):
    row = int(book.head[account])
    while row >= 0:
        yield row
        row = int(book.follow[row])


@briefly
@given(worlds(), st.lists(ints(0, 1), min_size=N, max_size=N), st.data())
def test_pools_are_those_of_a_loop_over_accounts(world, free, data):
    world.flying = {k: -1 for k in world.held if data.draw(st.booleans())}
    book, facts, mark = columns(world)
    equity = -np.arange(book.accounts, dtype=np.int64) * data.draw(ints(1, 10**12))
    accounts = data.draw(st.permutations(world.users()))
    expected = []
    for a in accounts:
        held = [r for r in rows_of_account(book, a) if book.lots[r]]
        held = [r for r in held if not isinstance(INSTRUMENTS[book.instrument[r]], Spot)]
        sizes = [
            ref.notional(
                INSTRUMENTS[book.instrument[r]], int(book.lots[r]), int(mark[book.instrument[r]])
            )
            for r in held
        ]
        share = [-int(equity[a]) * n // sum(sizes) if sum(sizes) else 0 for n in sizes]
        if share:
            share[-1] += -int(equity[a]) - sum(share)
        expected += [
            (r, s)
            for r, s in zip(held, share, strict=True)
            if free[book.instrument[r]] and not book.in_flight[r]
        ]
    row, share = np.zeros(book.high, np.int64), np.zeros(book.high, np.int64)
    n = deleverage.pooled(
        book, facts, mark, column(*free), np.array(accounts, np.int64), equity, row, share
    )
    assert list(zip(row[:n].tolist(), share[:n].tolist(), strict=True)) == expected


@briefly
@given(worlds(), st.lists(st.tuples(ints(0, 40), ints(0, 40)), min_size=N, max_size=N))
def test_who_finds_no_room_is_left_over(world, rooms):
    book, _, _ = columns(world)
    left, over = [list(r) for r in rooms], []
    for a in world.users():
        wants = [
            (int(book.instrument[r]), 0 if book.lots[r] > 0 else 1, abs(int(book.lots[r])))
            for r in rows_of_account(book, a)
        ]
        if any(lots > left[i][side] for i, side, lots in wants):
            over.append(a)
            continue
        for i, side, lots in wants:
            left[i][side] -= lots
    space = np.array(rooms, np.int64)
    users = np.array(world.users(), np.int64)
    assert deleverage.unsold_accounts(book, users, space).tolist() == over
    assert space.tolist() == left


@given(st.lists(st.tuples(nearly, ints(0, 10**6), ints(1, 10**6)), max_size=6))
def test_parts_are_rounded_up(rows):
    rows = [(a % 2**40, min(p, w), w) for a, p, w in rows]
    out = np.zeros(len(rows), np.int64)
    deleverage.parts_up(*(column(*c) for c in zip(*rows, strict=True)), out) if rows else None
    assert out.tolist() == [-(-a * p // w) for a, p, w in rows]


# The line ---------------------------------------------------------------------------------------


@briefly
@given(worlds(), st.data())
def test_rows_stand_where_their_account_does(world, data):
    book, _, _ = columns(world)
    row = [r for a in world.users() for r in rows_of_account(book, a) if data.draw(st.booleans())]
    line = data.draw(st.permutations(world.users()))
    want = [7 * r + 1 for r in row]
    groups = {a: list(g) for a, g in groupby(row, key=lambda r: int(book.account[r]))}
    expected = [r for a in line for r in groups.get(a, [])]
    out = plan.in_line(
        book,
        np.array(line, np.int64),
        *(np.array(c, np.int64) for c in (row, want, [n + 1 for n in want])),
    )
    assert out[0].tolist() == expected
    assert out[1].tolist() == [7 * r + 1 for r in expected]
    assert out[2].tolist() == [7 * r + 2 for r in expected]
    shuffled = np.array(data.draw(st.permutations(row)), np.int64)
    account, first = np.unique(book.account[shuffled], return_index=True)
    found = plan.first_rows(book, shuffled)
    assert [f.tolist() for f in found] == [account.tolist(), first.tolist()]


# Fills ------------------------------------------------------------------------------------------


def counted(open_lots, slot, lots, after, priced):
    """Return (gone, twice, missing, closed) fill by fill, in Python's integers."""
    left, out = dict(enumerate(open_lots)), []
    for k, s in enumerate(slot):
        one = (0, False, 0, 0)
        if s >= 0:
            rest, size = left[s], lots[k]
            side = 1 if rest > 0 else -1
            then = rest - size if after is None else after[k]
            gone = (rest - then) * side
            if size * side > 0 and then * side >= 0 and gone <= 0:
                one = (0, after is not None, 0, 0)
            elif size * side > 0 and then * side >= 0 and gone >= size * side and priced[k]:
                one = (gone * side, False, gone * side - size, int(then == 0))
                left[s] = then
        out.append(one)
    return out


sizes = st.one_of(ints(-4, 4), ints(-(2**63), 2**63 - 1))


@given(
    st.lists(ints(-4, 4).filter(bool), min_size=3, max_size=3),
    st.lists(st.tuples(ints(-1, 2), sizes, sizes, st.booleans()), max_size=8),
    st.booleans(),
)
def test_fills_are_counted_one_after_another(open_lots, told, says):
    slot, lots, after, priced = (list(c) for c in zip(*told, strict=True)) if told else ([],) * 4
    n = len(slot)
    out = [np.zeros(n, kind) for kind in (np.int64, np.bool_, np.int64, np.int64)]
    cells = [np.array(c, np.int64) for c in (open_lots, slot, lots, after)]
    fills.count_fills(*cells, int(says), np.array(priced, np.bool_), *out)
    expected = counted(open_lots, slot, lots, after if says else None, priced)
    assert [tuple(c) for c in zip(*(o.tolist() for o in out), strict=True)] == expected


@pytest.mark.parametrize(("rest", "size", "then"), [(-5, -1, -(2**63)), (-5, -(2**63), -3)])
def test_no_fill_is_taken_for_the_smallest_number_of_all(rest, size, then):
    """Its absolute value wraps: a venue that says it has filled nothing more."""
    cells = [np.array([n], np.int64) for n in (rest, 0, size, then)]
    out = [np.zeros(1, kind) for kind in (np.int64, np.bool_, np.int64, np.int64)]
    fills.count_fills(*cells, 1, np.ones(1, np.bool_), *out)
    assert (int(out[0][0]), int(out[2][0]), int(out[3][0])) == (0, 0, 0)


def test_slots_of_orders():
    book, live = Book.empty(Limits(), N), Orders.empty(16)
    move(book, U, 0, 5, 1)
    place_all(live, book, 70, column(U), column(0), column(-2), column(1), 0)
    asked = [70, 71, 0, 70]
    found = order_slots(live, column(*asked)).tolist()
    assert found == [order_slot(live, o) for o in asked] == [0, -1, -1, 0]


# Room and moves ---------------------------------------------------------------------------------

changes = st.lists(
    st.tuples(ints(0, 3), ints(-1, N - 1), ints(-60, 60), ints(-(10**6), 10**6), st.booleans()),
    max_size=8,
)


def after_changes(world, made):
    """Return cash and positions, as (lots, cost), with all changes added up."""
    cash = dict.fromkeys(range(U + 4), 0) | world.cash
    held = dict(world.held)
    for (a, i), (lots, cost) in world.held.items():
        before = held.get((EXTERNAL, i), (0, 0))
        held[EXTERNAL, i] = before[0] - lots, before[1] - cost
        assert a >= FIRST_USER
    for a, i, amount, cost in made:
        if i < 0:
            cash[a] += amount
        else:
            before = held.get((a, i), (0, 0))
            held[a, i] = before[0] + amount, before[1] + cost
    return cash, held


@briefly
@given(worlds(), changes, ints(20, 90), ints(10, 10**6), ints(20, 300))
def test_room_is_sure_only_where_everything_fits(world, drawn, most, dear, open_most):
    """The kernel against sums of dictionaries: users within their limits, and both open sides."""
    book, _, _ = columns(world)
    made = [(EXTERNAL if out else U + u, i, n, c if i >= 0 else 0) for u, i, n, c, out in drawn]
    cash, held = after_changes(world, made)
    touched = {(a, i) for a, i, _, _ in made}
    fits = all(
        abs(cash[a]) <= (most if a >= U else MONEY_MAX)
        if i < 0
        else a < U or (abs(held[a, i][0]) <= most and abs(held[a, i][1]) <= dear)
        for a, i in touched
    )
    for i in range(N):
        for sign in (1, -1):
            side = sum(max(sign * n, 0) for (a, j), (n, _) in held.items() if j == i and a >= U)
            fits = fits and side <= open_most
    fresh = sum(row_of(book, a, i) < 0 for a, i in touched if i >= 0)
    cells = [np.array([row[k] for row in made], np.int64) for k in range(4)]
    limits = (np.full(N + 1, most), np.full(N + 1, dear), np.full(N, open_most))
    assert room.rows_needed(book, *cells, *limits) == (fresh if fits else room.DOUBTED)


def test_room_for_what_might_wrap_is_doubted():
    book = Book.empty(Limits(), N)
    everything = (np.full(N + 1, MONEY_MAX), np.full(N + 1, MONEY_MAX), np.full(N, MONEY_MAX))
    for amount, sure in ((2**60, True), (2**61, False)):
        cells = (column(U, U), column(-1, -1), column(amount // 2, -(amount // 2)), column(0, 0))
        needed = room.rows_needed(book, *cells, *everything)
        assert needed == (0 if sure else room.DOUBTED)
        cells = (column(U, U), column(0, 0), column(1, 1), column(amount // 2, amount // 2))
        needed = room.rows_needed(book, *cells, *everything)
        assert needed == (1 if sure else room.DOUBTED)


@briefly
@given(worlds(), changes)
def test_moves_at_once_are_moves_one_by_one(world, drawn):
    books = [columns(world)[0] for _ in range(2)]
    made = [(EXTERNAL if out else U + u, i, n, c) for u, i, n, c, out in drawn if i >= 0]
    # And what brings every position to nothing again, so that rows are given back.
    made += [(a, i, -n, -c) for a, i, n, c in made]
    for one in made:
        move(books[0], *one)
    cells = [np.array([row[k] for row in made], np.int64) for k in range(4)]
    assert move_all(books[1], *cells) == len(made)
    for one, other in zip(*books, strict=True):
        assert one.tolist() == other.tolist()
