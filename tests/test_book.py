"""Books, tables and orders against dictionaries, through histories that nobody chose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from desk import U, column
from tidegate.domain import book as books
from tidegate.domain.book import CLEARING, EXTERNAL, FREED, HIGH, LIVE, ROWS_FULL, Book
from tidegate.domain.orders import Orders, order_slot, place_all, reduce_all
from tidegate.domain.table import home, table_find, table_for, table_insert, table_remove
from tidegate.domain.venue import Limits


ints = st.integers
steps = settings(max_examples=max(12, settings.default.max_examples // 8), stateful_step_count=60)


# Tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slots", "size"), [(0, 8), (4, 8), (5, 16), (8, 16), (9, 32)])
def test_a_table_is_at_most_half_full(slots, size):
    assert table_for(slots).tolist() == [0] * size


@given(ints(-(2**63), 2**63 - 1))
def test_a_home_is_a_place_of_the_table(key):
    for size in (8, 1024):
        assert 0 <= home(size, key) < size


def test_neighbouring_keys_do_not_crowd():
    """Accounts are numbered one after another: their keys must not run into one another."""
    homes = [home(2048, (account << 32) | 1) for account in range(1000)]
    assert len(set(homes)) > 600


def crowded(n: int) -> list[int]:
    """Return keys that all want to stand in one of three places, the last of them the first."""
    wanted = {14, 15, 0}
    return [key for key in range(4_000) if home(16, key) in wanted][:n]


@pytest.mark.parametrize("gone", range(8))
def test_removing_one_of_a_run_loses_no_other(gone):
    """The run wraps round the end of the table; every key but one is still found in its slot."""
    keys, table = np.array(crowded(8)), table_for(8)
    for slot, key in enumerate(keys):
        table_insert(table, key, slot)
    table_remove(table, keys, keys[gone])
    found = [table_find(table, keys, key) for key in keys]
    assert found == [-1 if slot == gone else slot for slot in range(8)]
    assert np.count_nonzero(table) == 7


class TableMachine(RuleBasedStateMachine):
    """A table of 16 slots whose keys often want the same place."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.keys = table_for(16), np.zeros(16, np.int64)
        self.model: dict[int, int] = {}
        self.free = list(range(16))

    @precondition(lambda self: self.free)
    @rule(n=ints(0, 30))
    def insert(self, n):
        key = CROWD[n]
        if key not in self.model:
            slot = self.free.pop()
            self.keys[slot], self.model[key] = key, slot
            table_insert(self.table, key, slot)

    @precondition(lambda self: self.model)
    @rule(n=ints(0, 15))
    def remove(self, n):
        key = sorted(self.model)[n % len(self.model)]
        table_remove(self.table, self.keys, key)
        self.free.append(self.model.pop(key))

    @invariant()
    def finds_all_and_only_what_is_there(self):
        assert {k: table_find(self.table, self.keys, k) for k in CROWD} == {
            k: self.model.get(k, -1) for k in CROWD
        }
        assert np.count_nonzero(self.table) == len(self.model)


CROWD = [k for k in range(-2_000, 2_000) if home(32, k) in {30, 31, 0, 1}][:31]
TestTable = TableMachine.TestCase
TestTable.settings = steps


# Books ----------------------------------------------------------------------------------------


class BookMachine(RuleBasedStateMachine):
    """A book of few rows, so that it is often full; every change is made to a dictionary too."""

    accounts = (EXTERNAL, CLEARING, U, U + 1, U + 2)
    instruments = 3

    @initialize()
    def begin(self):
        limits = Limits(accounts_max=U + 4, positions_max=9, orders_max=4)
        self.book = Book.empty(limits, self.instruments)
        self.held: dict[tuple[int, int], list[int]] = {}
        self.cash = dict.fromkeys(range(U + 4), 0)

    def expect(self, account, instrument, lots, cost) -> bool:
        """Change the dictionary as the book should change; return whether there was room."""
        key = account, instrument
        if key not in self.held and len(self.held) == 9:
            return False
        before = self.held.get(key, [0, 0, 0])
        after = [before[0] + lots, before[1] + cost, before[2]]
        self.held.pop(key, None)
        if any(after):
            self.held[key] = after
        return True

    @rule(a=st.sampled_from(accounts), i=ints(0, 2), lots=ints(-2, 2), cost=ints(-1, 1))
    def move(self, a, i, lots, cost):
        known = (a, i) in self.held
        fits = self.expect(a, i, lots, cost)
        row = books.move(self.book, a, i, lots, cost)
        assert (row == ROWS_FULL) == (not fits)
        if known:
            assert 0 <= row < 9

    @precondition(lambda self: self.held)
    @rule(n=ints(0, 8))
    def close(self, n):
        (a, i), (lots, cost, _) = sorted(self.held.items())[n % len(self.held)]
        self.expect(a, i, -lots, -cost)
        assert books.move(self.book, a, i, -lots, -cost) >= 0

    @precondition(lambda self: self.held)
    @rule(n=ints(0, 8), lots=ints(-2, 2))
    def fly(self, n, lots):
        """What is in flight keeps a row alive, even when nothing is held any more."""
        key = sorted(self.held)[n % len(self.held)]
        row = books.row_of(self.book, *key)
        self.book.in_flight[row] = self.held[key][2] = lots
        books.release_if_empty(self.book, row)
        if not any(self.held[key]):
            del self.held[key]

    @rule(moves=st.lists(st.tuples(st.sampled_from(accounts), ints(0, 2), ints(-2, 2)), max_size=5))
    def move_several(self, moves):
        a, i, lots = np.array(moves, np.int64).reshape(-1, 3).T.copy()
        done = 0
        while done < len(moves) and self.expect(*moves[done], 0):
            done += 1
        assert books.move_all(self.book, a, i, lots, np.zeros(lots.size, np.int64)) == done

    @rule(
        counter=st.sampled_from(accounts),
        asset=ints(-1, 2),
        pays=st.lists(st.tuples(st.sampled_from(accounts), ints(-3, 3)), max_size=4),
    )
    def post(self, counter, asset, pays):
        account, amount = np.array(pays, np.int64).reshape(-1, 2).T.copy()
        done = len(pays)
        for n, (a, paid) in enumerate(pays):
            if asset < 0:
                self.cash[a] += paid
                self.cash[counter] -= paid
            elif not (self.expect(a, asset, paid, 0) and self.expect(counter, asset, -paid, 0)):
                done = n
                break
        assert books.post_all(self.book, counter, asset, account, amount) == done

    @invariant()
    def holds_what_the_dictionary_holds(self):
        book = self.book
        rows = {}
        for a in range(U + 4):
            row = int(book.head[a])
            while row >= 0:
                assert book.account[row] == a
                assert book.key[row] == (a << 32) | int(book.instrument[row])
                rows[a, int(book.instrument[row])] = row
                row = int(book.follow[row])
        assert {
            key: [int(book.lots[r]), int(book.cost[r]), int(book.in_flight[r])]
            for key, r in rows.items()
        } == self.held
        for a in range(U + 4):
            for i in range(3):
                assert books.row_of(book, a, i) == rows.get((a, i), -1)
        asked = np.array([(a, i) for a in range(U + 4) for i in range(-1, 3)]).T.copy()
        expected = [rows.get((a, i), -1) for a, i in asked.T.tolist()]
        assert books.rows_of(book, asked[0], asked[1]).tolist() == expected
        assert book.cash.tolist() == list(self.cash.values())

    @invariant()
    def counts_its_rows_and_gives_every_free_one_back(self):
        book, counts = self.book, self.book.counts
        assert counts[LIVE] == len(self.held)
        assert book.rows_left == 9 - len(self.held)
        assert counts[HIGH] == counts[LIVE] + counts[FREED]
        free = book.free[: counts[FREED]].tolist()
        assert len(set(free)) == len(free)
        assert not book.lots[free].any()
        assert not book.cost[free].any()

    @invariant()
    def open_interest_is_what_users_hold(self):
        for i in range(3):
            lots = [n[0] for (a, k), n in self.held.items() if k == i and a >= U]
            assert self.book.long_open[i] == sum(n for n in lots if n > 0)
            assert self.book.short_open[i] == -sum(n for n in lots if n < 0)


TestBook = BookMachine.TestCase
TestBook.settings = steps


def test_an_empty_book_knows_its_limits():
    book = Book.empty(Limits(accounts_max=20, positions_max=3, orders_max=2), 2)
    assert (book.accounts, book.high, book.rows_left) == (U, 0, 3)
    assert book.owner.tolist() == list(range(20))
    assert not book.cash.any()
    assert books.row_of(book, U, 0) == -1


def test_a_row_is_used_again():
    """The last row given back is taken first, and rows never used are touched last."""
    book = Book.empty(Limits(accounts_max=20, positions_max=3, orders_max=2), 4)
    rows = [books.move(book, U, i, 1, 0) for i in range(3)]
    assert rows == [0, 1, 2]
    assert books.open_row(book, U, 3) == ROWS_FULL
    assert books.open_row(book, U, 1) == 1
    books.move(book, U, 0, -1, 0)
    books.move(book, U, 2, -1, 0)
    assert [books.move(book, U + 1, i, 1, 0) for i in (0, 1)] == [2, 0]
    assert books.move(book, U + 1, 2, 1, 0) == ROWS_FULL


# Orders ---------------------------------------------------------------------------------------


class OrderMachine(RuleBasedStateMachine):
    """Orders of four slots over a book of four positions, one live order a position."""

    @initialize()
    def begin(self):
        self.book = Book.empty(Limits(accounts_max=U + 4, positions_max=8, orders_max=4), 1)
        for n in range(4):
            books.move(self.book, U + n, 0, 10, 0)
        self.orders = Orders.empty(4)
        self.live: dict[int, list[int]] = {}  # order id: user, lots, limit, time
        self.next = 7 << 20

    def idle(self) -> list[int]:
        return sorted({*range(4)} - {order[0] for order in self.live.values()})

    @precondition(lambda self: self.idle())
    @rule(n=ints(1, 4), lots=ints(-10, -1), limit=ints(1, 50), at=ints(0, 99))
    def place(self, n, lots, limit, at):
        users = self.idle()[:n]
        for k, user in enumerate(users):
            self.live[self.next + k] = [user, lots - k, limit + k, at]
        placed = list(self.live.values())[-len(users) :]
        user, size, price, _ = np.array(placed, np.int64).T.copy()
        none = np.zeros(len(users), np.int64)
        args = (self.next, U + user, none, size, price, at)
        assert place_all(self.orders, self.book, *args) == len(users)
        self.next += 1 << 20

    @precondition(lambda self: self.live)
    @rule(n=ints(0, 3), lots=ints(1, 14))
    def fill(self, n, lots):
        order = sorted(self.live)[n % len(self.live)]
        part = -min(lots, -self.live[order][1])
        self.live[order][1] -= part
        closed = self.live[order][1] == 0
        args = (column(order), column(part), column(int(closed)))
        assert reduce_all(self.orders, self.book, *args) == 1
        if closed:
            del self.live[order]

    @precondition(lambda self: self.live)
    @rule()
    def expire_all(self):
        ids = sorted(self.live)
        lots = column(*(self.live[k][1] for k in ids))
        closed = np.ones(len(ids), np.int64)
        assert reduce_all(self.orders, self.book, column(*ids), lots, closed) == len(ids)
        self.live.clear()

    @rule()
    def an_unknown_order_stops_a_batch(self):
        none = column(0)
        assert reduce_all(self.orders, self.book, column(self.next), none, column(1)) == 0

    @rule()
    def an_order_needs_a_position(self):
        """Asked first, so that no slot is lost to an order that cannot be."""
        one, none = column(U + 3), column(99)
        before = self.orders.counts.copy()
        assert place_all(self.orders, self.book, self.next, one, none, one, one, 0) == 0
        assert (self.orders.counts == before).all()

    @invariant()
    def knows_every_live_order(self):
        orders = self.orders
        assert orders.counts.tolist() == [4 - len(self.live), len(self.live)]
        for order, (user, lots, limit, at) in self.live.items():
            slot = order_slot(orders, order)
            assert orders.key[slot] == order
            assert self.book.account[orders.row[slot]] == U + user
            assert orders.lots[slot] == lots
            assert (orders.limit[slot], orders.placed[slot]) == (limit, at)
        assert order_slot(orders, self.next) == -1
        assert (orders.key >= 0).sum() == len(self.live)
        flying = dict.fromkeys(range(4), 0)
        for user, lots, _, _ in self.live.values():
            flying[user] += lots
        rows = [books.row_of(self.book, U + n, 0) for n in range(4)]
        assert self.book.in_flight[rows].tolist() == list(flying.values())


TestOrders = OrderMachine.TestCase
TestOrders.settings = steps
