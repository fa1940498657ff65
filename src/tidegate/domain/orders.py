"""Orders in flight: what the venue was asked to do and has not yet answered for."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import NamedTuple, Self

import numpy as np

from tidegate.domain.book import Book, release_if_empty, row_of
from tidegate.domain.table import table_find, table_for, table_insert, table_remove
from tidegate.domain.units import I32, I64, kernel


class Orders(NamedTuple):
    """Orders in flight. Free slots have id -1; one live order a position at most."""

    key: I64  # [orders_max] order id
    row: I32  # [orders_max] position row
    lots: I64  # [orders_max] signed lots still in flight
    limit: I64  # [orders_max] Ticks
    placed: I64  # [orders_max] Nanos
    free: I32  # stack of free slots
    table: I32  # hash column over `key`
    counts: I64  # [2] free slots, live orders

    @classmethod
    def empty(cls, orders_max: int) -> Self:
        """Return a table with every slot free; slot 0 is taken first."""
        return cls(
            key=np.full(orders_max, -1, np.int64),
            row=np.zeros(orders_max, np.int32),
            lots=np.zeros(orders_max, np.int64),
            limit=np.zeros(orders_max, np.int64),
            placed=np.zeros(orders_max, np.int64),
            free=np.arange(orders_max, dtype=np.int32)[::-1].copy(),
            table=table_for(orders_max),
            counts=np.array([orders_max, 0], np.int64),
        )


@kernel
def order_slot(orders: Orders, order: int) -> int:
    """Return the slot of a live order, or -1."""
    return table_find(orders.table, orders.key, order)


@kernel
def order_slots(orders: Orders, order: I64) -> I64:
    """Return `order_slot` of each order."""
    out = np.empty(order.size, np.int64)
    for n in range(order.size):
        out[n] = order_slot(orders, order[n])
    return out


@kernel
def place_all(
    orders: Orders,
    book: Book,
    first: int,
    account: I64,
    instrument: I64,
    lots: I64,
    limit: I64,
    at: int,
) -> int:
    """Enter orders ``first``, ``first + 1`` ... and mark their lots in flight; return how many.

    Fewer than asked means that a position was missing: a belief of the caller was wrong.
    """
    for n in range(account.size):
        row = row_of(book, account[n], instrument[n])
        if row < 0:
            return n
        orders.counts[0] -= 1
        orders.counts[1] += 1
        slot = np.int64(orders.free[orders.counts[0]])
        orders.key[slot], orders.row[slot] = first + n, row
        orders.lots[slot], orders.limit[slot], orders.placed[slot] = lots[n], limit[n], at
        table_insert(orders.table, first + n, slot)
        book.in_flight[row] += lots[n]
    return account.size


@kernel
def reduce_all(orders: Orders, book: Book, order: I64, lots: I64, closed: I64) -> int:
    """Take ``lots`` out of flight; free the slots of closed orders. Return how many applied."""
    for n in range(order.size):
        slot = table_find(orders.table, orders.key, order[n])
        if slot < 0:
            return n
        row = np.int64(orders.row[slot])
        orders.lots[slot] -= lots[n]
        book.in_flight[row] -= lots[n]
        if closed[n]:
            table_remove(orders.table, orders.key, order[n])
            orders.key[slot] = -1
            orders.free[orders.counts[0]] = slot
            orders.counts[0] += 1
            orders.counts[1] -= 1
        release_if_empty(book, row)
    return order.size
