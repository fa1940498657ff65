"""The book: who holds what, as columns of fixed capacity.

A position is one row: an account, an instrument, signed lots, what was paid for them, and what is
in flight. Balances of assets other than the numeraire are positions in their spot instrument (cost
zero), so that margin, planning and liquidation know only one kind of thing. Cash is a column of
its own. A row keeps its number for as long as it holds anything.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.table import table_find, table_for, table_insert, table_remove
from tidegate.domain.units import I32, I64, kernel
from tidegate.domain.venue import Limits


EXTERNAL: Final = 0  # the world outside: deposits come from it, it may owe, it is never margined
CLEARING: Final = 1  # the other side of realised profit
ROUNDING: Final = 2  # what splitting and inverse contracts leave over
TREASURY: Final = 3  # the venue's own earnings: interest
FUND: Final = 4  # first insurance tranche
TRANCHES_MAX: Final = 7
POOL: Final = FUND + TRANCHES_MAX  # what depositors pool, and what the pool took over for them
FIRST_USER: Final = POOL + 1

ACCOUNTS, HIGH, FREED, LIVE = 0, 1, 2, 3  # cells of `Book.counts`

ROWS_FULL: Final = -2  # `open_row`: no row is left


@dataclass(frozen=True, slots=True)
class Health:
    """Equity against maintenance, one row per account, and the best case over price intervals."""

    equity: I64  # [accounts] Money
    required: I64  # [accounts] Money, maintenance
    best: I64  # [accounts] Money, the largest equity minus maintenance any believed price allows

    @property
    def liquidatable(self) -> I64:
        """Rows strictly below maintenance at every believed price; on the line is left alone."""
        return np.flatnonzero(self.best < 0)


class Book(NamedTuple):
    """Accounts and positions in columns. Free position rows have zero lots, cost and in_flight."""

    cash: I64  # [accounts_max] Money
    owner: I32  # [accounts_max] row of the owner; itself for a cross-margin account
    head: I32  # [accounts_max] first position row of the account, -1 for none
    key: I64  # [positions_max] account << 32 | instrument
    account: I32  # [positions_max]
    instrument: I32  # [positions_max]
    lots: I64  # [positions_max] signed
    cost: I64  # [positions_max] signed, in the instrument's settlement asset
    in_flight: I64  # [positions_max] signed lots ordered and not yet filled or gone
    follow: I32  # [positions_max] next row of the same account, -1 at the end
    free: I32  # [positions_max] stack of rows to use again
    table: I32  # hash column over `key`
    counts: I64  # [4] accounts, high-water row, rows in `free`, live rows
    long_open: I64  # [instruments] lots held long by users
    short_open: I64  # [instruments] lots held short by users, as a positive number

    @classmethod
    def empty(cls, limits: Limits, instruments: int) -> Self:
        """Return a book that will never grow beyond its limits."""
        accounts, positions = limits.accounts_max, limits.positions_max
        i64, i32 = np.int64, np.int32
        book = cls(
            cash=np.zeros(accounts, i64),
            owner=np.arange(accounts, dtype=i32),
            head=np.full(accounts, -1, i32),
            key=np.zeros(positions, i64),
            account=np.zeros(positions, i32),
            instrument=np.zeros(positions, i32),
            lots=np.zeros(positions, i64),
            cost=np.zeros(positions, i64),
            in_flight=np.zeros(positions, i64),
            follow=np.full(positions, -1, i32),
            free=np.zeros(positions, i32),
            table=table_for(positions),
            counts=np.zeros(4, i64),
            long_open=np.zeros(instruments, i64),
            short_open=np.zeros(instruments, i64),
        )
        book.counts[ACCOUNTS] = FIRST_USER
        return book

    @property
    def accounts(self) -> int:
        """Rows in use, system accounts included."""
        return int(self.counts[ACCOUNTS])

    @property
    def high(self) -> int:
        """One more than the highest position row ever used."""
        return int(self.counts[HIGH])

    @property
    def rows_left(self) -> int:
        """How many more positions fit."""
        return int(self.lots.size - self.counts[LIVE])


@kernel
def row_of(book: Book, account: int, instrument: int) -> int:
    """Return the row of ``account`` in ``instrument``, or -1."""
    return table_find(book.table, book.key, (account << 32) | instrument)


@kernel
def rows_of(book: Book, account: I64, instrument: I64) -> I64:
    """Return `row_of` of each pair; an instrument below 0 has none."""
    out = np.empty(account.size, np.int64)
    for n in range(account.size):
        out[n] = row_of(book, account[n], instrument[n]) if instrument[n] >= 0 else -1
    return out


@kernel
def open_row(book: Book, account: int, instrument: int) -> int:
    """Return that row, taking a free one if there is none yet; ROWS_FULL when there is none."""
    key = (account << 32) | instrument
    row = table_find(book.table, book.key, key)
    if row >= 0:
        return row
    if book.counts[FREED] > 0:
        book.counts[FREED] -= 1
        row = np.int64(book.free[book.counts[FREED]])
    elif book.counts[HIGH] < book.lots.size:
        row = book.counts[HIGH]
        book.counts[HIGH] += 1
    else:
        return ROWS_FULL
    book.counts[LIVE] += 1
    book.key[row], book.account[row], book.instrument[row] = key, account, instrument
    book.follow[row] = book.head[account]
    book.head[account] = row
    table_insert(book.table, key, row)
    return row


@kernel
def release_if_empty(book: Book, row: int) -> None:
    """Give ``row`` back when it holds nothing any more."""
    if book.lots[row] or book.cost[row] or book.in_flight[row]:
        return
    account = book.account[row]
    if book.head[account] == row:
        book.head[account] = book.follow[row]
    else:
        before = book.head[account]
        while book.follow[before] != row:
            before = book.follow[before]
        book.follow[before] = book.follow[row]
    table_remove(book.table, book.key, book.key[row])
    book.follow[row] = -1
    book.free[book.counts[FREED]] = row
    book.counts[FREED] += 1
    book.counts[LIVE] -= 1


@kernel
def move(book: Book, account: int, instrument: int, lots: int, cost: int) -> int:
    """Add ``lots`` and ``cost`` to a position; return its row, or ROWS_FULL."""
    row = open_row(book, account, instrument)
    if row < 0:
        return row
    before = book.lots[row]
    after = before + lots
    book.lots[row] = after
    book.cost[row] += cost
    if account >= FIRST_USER:
        book.long_open[instrument] += max(after, 0) - max(before, 0)
        book.short_open[instrument] += max(-after, 0) - max(-before, 0)
    release_if_empty(book, row)
    return row


@kernel
def move_all(book: Book, account: I64, instrument: I64, lots: I64, cost: I64) -> int:
    """Apply `move` row by row; return how many were applied (fewer when the book is full).

    A position that is there and stays is moved here, with the columns read out of the book once:
    handing the book on costs more than the move.
    """
    table, keys, flying = book.table, book.key, book.in_flight
    held, paid, longs, shorts = book.lots, book.cost, book.long_open, book.short_open
    for n in range(lots.size):
        a, i = account[n], instrument[n]
        row = table_find(table, keys, (a << 32) | i)
        stays = False
        if row >= 0:
            before, after, due = held[row], held[row] + lots[n], paid[row] + cost[n]
            stays = after != 0 or due != 0 or flying[row] != 0
            if stays:
                held[row], paid[row] = after, due
                if a >= FIRST_USER:
                    longs[i] += max(after, 0) - max(before, 0)
                    shorts[i] += max(-after, 0) - max(-before, 0)
        if not stays and move(book, a, i, lots[n], cost[n]) == ROWS_FULL:
            return n
    return lots.size


@kernel
def post_all(book: Book, counter: int, asset: int, account: I64, amount: I64) -> int:
    """Let ``counter`` pay each account its amount of ``asset``; return how many were applied."""
    for n in range(amount.size):
        if asset < 0:
            book.cash[account[n]] += amount[n]
            book.cash[counter] -= amount[n]
        elif (
            move(book, account[n], asset, amount[n], 0) == ROWS_FULL
            or move(book, counter, asset, -amount[n], 0) == ROWS_FULL
        ):
            return n
    return amount.size
