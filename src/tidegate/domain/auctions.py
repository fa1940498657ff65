"""Open auctions: what is offered to bidders and not yet taken, as columns of fixed capacity."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import NamedTuple, Self

import numpy as np

from tidegate.domain.book import Book, release_if_empty, row_of
from tidegate.domain.table import table_find, table_for, table_insert, table_remove
from tidegate.domain.units import I32, I64, kernel


class Auctions(NamedTuple):
    """Open auctions. Free slots have id -1; a position is in one auction or order at most."""

    key: I64  # [slots] auction id
    row: I32  # [slots] position row
    lots: I64  # [slots] signed lots of the account still offered
    base: I64  # [slots] Ticks: the mark from which the price was last set
    limit: I64  # [slots] Ticks: the worst price, for the account, at which it may trade
    began: I64  # [slots] Nanos: when the price was last set
    opened: I64  # [slots] Nanos
    penalty: I64  # [slots] Money collected of its takes
    free: I32  # stack of free slots
    table: I32  # hash column over `key`
    counts: I64  # [2] free slots, open auctions

    @classmethod
    def empty(cls, slots: int) -> Self:
        """Return a table with every slot free; no slots where nothing is ever auctioned."""
        zeros = (np.zeros(slots, np.int64) for _ in range(6))
        return cls(
            np.full(slots, -1, np.int64),
            np.zeros(slots, np.int32),
            *zeros,
            free=np.arange(slots, dtype=np.int32)[::-1].copy(),
            table=table_for(slots),
            counts=np.array([slots, 0], np.int64),
        )


@kernel
def auction_slot(auctions: Auctions, auction: int) -> int:
    """Return the slot of an open auction, or -1."""
    return table_find(auctions.table, auctions.key, auction)


@kernel
def open_all(
    auctions: Auctions,
    book: Book,
    first: int,
    account: I64,
    instrument: I64,
    lots: I64,
    base: I64,
    limit: I64,
    at: int,
) -> int:
    """Open auctions ``first``, ``first + 1`` ... and mark their lots in flight; return how many.

    Fewer than asked means that a position was missing: a belief of the caller was wrong.
    """
    for n in range(account.size):
        row = row_of(book, account[n], instrument[n])
        if row < 0:
            return n
        auctions.counts[0] -= 1
        auctions.counts[1] += 1
        slot = np.int64(auctions.free[auctions.counts[0]])
        auctions.key[slot], auctions.row[slot], auctions.lots[slot] = first + n, row, lots[n]
        auctions.base[slot], auctions.limit[slot] = base[n], limit[n]
        auctions.began[slot], auctions.opened[slot], auctions.penalty[slot] = at, at, 0
        table_insert(auctions.table, first + n, slot)
        book.in_flight[row] += lots[n]
    return account.size


@kernel
def reset_all(auctions: Auctions, auction: I64, base: I64, limit: I64, at: int) -> int:
    """Let auctions begin anew from ``base``; return how many were open."""
    for n in range(auction.size):
        slot = table_find(auctions.table, auctions.key, auction[n])
        if slot < 0:
            return n
        auctions.base[slot], auctions.limit[slot], auctions.began[slot] = base[n], limit[n], at
    return auction.size


@kernel
def cut_all(
    auctions: Auctions, book: Book, auction: I64, lots: I64, penalty: I64, closed: I64
) -> int:
    """Take ``lots`` out of auctions; free the slots of closed ones. Return how many applied."""
    for n in range(auction.size):
        slot = table_find(auctions.table, auctions.key, auction[n])
        if slot < 0:
            return n
        row = np.int64(auctions.row[slot])
        auctions.lots[slot] -= lots[n]
        auctions.penalty[slot] += penalty[n]
        book.in_flight[row] -= lots[n]
        if closed[n]:
            table_remove(auctions.table, auctions.key, auction[n])
            auctions.key[slot] = -1
            auctions.free[auctions.counts[0]] = slot
            auctions.counts[0] += 1
            auctions.counts[1] -= 1
        release_if_empty(book, row)
    return auction.size
