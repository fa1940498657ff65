"""Stages cut into slices: how much of each position is due, and what is remembered of it."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book, row_of
from tidegate.domain.pace import Pace
from tidegate.domain.units import I64, kernel
from tidegate.kernels.allocate import largest_remainder


@kernel
def due_by(total: int, weight: I64, offset: I64, elapsed: int) -> int:
    """Return how much of ``total`` >= 0 is due after ``elapsed``: the slices whose time has come.

    Slices are whole numbers by largest remainder, so that all together are exactly ``total``.
    """
    part = np.empty_like(weight)
    largest_remainder(total, weight, part)
    due = 0
    for k in range(weight.size):
        if offset[k] <= elapsed:
            due += part[k]
    return due


@kernel
def open_cut(book: Book, pace: Pace, row: int) -> bool:
    """Return whether a position still belongs to its account's cut stage, and on its old side."""
    account = book.account[row]
    if pace.cut_at[account] < 0 or pace.cut_stage[row] != pace.cut_at[account]:
        return False
    return pace.cut_owner[row] == account and pace.cut_lots[row] * book.lots[row] < 0


@kernel
def cut_accounts(book: Book, pace: Pace, accounts: int, out: I64) -> int:
    """Write the accounts that have something left of a cut stage; return how many."""
    n = 0
    for account in range(accounts):
        if pace.cut_at[account] < 0:
            continue
        row = np.int64(book.head[account])
        while row >= 0:
            if open_cut(book, pace, row) and pace.cut_done[row] != pace.cut_lots[row]:
                out[n] = account
                n += 1
                break
            row = np.int64(book.follow[row])
    return n


@kernel
def due_rows(
    book: Book,
    pace: Pace,
    account: int,
    weight: I64,
    offset: I64,
    elapsed: int,
    row_out: I64,
    out: I64,
) -> int:
    """Write the rows of a cut stage that are due, and by how many lots (signed); return how many.

    What was taken is subtracted, and no more is due than is held. All is due once ``elapsed`` is
    beyond the last offset.
    """
    n = 0
    row = np.int64(book.head[account])
    while row >= 0:
        if open_cut(book, pace, row):
            sign = 1 if pace.cut_lots[row] > 0 else -1
            due = due_by(abs(pace.cut_lots[row]), weight, offset, elapsed)
            left = min(due - abs(pace.cut_done[row]), abs(book.lots[row]))
            if left > 0:
                row_out[n], out[n] = row, sign * left
                n += 1
        row = np.int64(book.follow[row])
    return n


@kernel
def cut_rows(
    book: Book, pace: Pace, account: I64, instrument: I64, lots: I64, secret: I64, at: int
) -> int:
    """Remember stages cut at ``at``, one row a position; return how many positions were found."""
    for n in range(account.size):
        row = row_of(book, account[n], instrument[n])
        if row < 0:
            return n
        a = account[n]
        pace.cut_at[a], pace.cut_secret[a] = at, secret[n]
        pace.cut_stage[row], pace.cut_owner[row] = at, a
        pace.cut_lots[row], pace.cut_done[row] = lots[n], 0
    return account.size


@kernel
def take_rows(book: Book, pace: Pace, account: I64, instrument: I64, lots: I64) -> int:
    """Count ``lots`` (signed) as taken from cut stages; return how many positions were found."""
    for n in range(account.size):
        row = row_of(book, account[n], instrument[n])
        if row < 0:
            return n
        pace.cut_done[row] += lots[n]
    return account.size
