"""Who takes over how much at which discount: committed offers, the cheapest first.

An offer is a staircase: it takes positions until it holds ``most`` lots, and asks ``slope`` more
discount the nearer it comes, in steps of an eighth. So several providers share what comes in, and
whoever is full already stands behind the others.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv, ppm_ceil
from tidegate.kernels.margin import position_initial
from tidegate.kernels.plan import idle_account


STAIRS: Final = 8


@kernel
def stair_of(held: int, most: int) -> int:
    """Return the step on which an offer stands that holds ``held`` of at most ``most`` lots."""
    return 0 if held <= 0 else held * STAIRS // most


@kernel
def asked_discount(discount: int, slope: int, held: int, most: int) -> int:
    """Return what the next lot costs, in ppm of the mark: rising by an eighth of the slope."""
    return discount + slope * stair_of(held, most) // STAIRS


@kernel
def stair_end(held: int, most: int) -> int:
    """Return how many lots more are taken at the same discount; the last step ends at ``most``."""
    step = stair_of(held, most) + 1
    return -(-step * most // STAIRS) - held


@kernel
def best_offers(
    want: int,
    limit: int,
    held: I64,
    most: I64,
    room: I64,
    discount: I64,
    slope: I64,
    offer_out: I64,
    lots_out: I64,
    discount_out: I64,
) -> int:
    """Fill ``want`` lots from the cheapest offers at no more than ``limit`` ppm; return the fills.

    ``held`` is each offer's position in the direction that it would take on, ``most`` its end,
    ``room`` what its margin allows besides; ``held`` and ``room`` are drawn on in place. Ties go to
    the lower row. The outputs must have room for `STAIRS` + 1 fills an offer; an offer that holds
    the other side first gives that up at its first step.
    """
    n, left = 0, want
    while left > 0 and n < offer_out.size:
        best, price = -1, limit + 1
        for k in range(most.size):
            if room[k] <= 0 or held[k] >= most[k]:
                continue
            asked = asked_discount(discount[k], slope[k], held[k], most[k])
            if asked < price:
                best, price = k, asked
        if best < 0:
            break
        lots = min(left, room[best], stair_end(held[best], most[best]))
        if n > 0 and offer_out[n - 1] == best and discount_out[n - 1] == price:
            lots_out[n - 1] += lots  # the next step asks no more: one fill
        else:
            offer_out[n], lots_out[n], discount_out[n] = best, lots, price
            n += 1
        held[best] += lots
        room[best] -= lots
        left -= lots
    return n


@kernel
def affordable(
    facts: Facts, i: int, held: int, side: int, most: int, price: int, open_lots: int, free: int
) -> int:
    """Return how many lots of ``side`` an account can add with ``free`` Money above initial margin.

    What is asked for the position is convex in its size, so all smaller additions fit too; giving
    up an opposite position only frees margin. Money of the discount is not counted on.
    """
    if free < 0:
        return 0
    base = position_initial(facts, i, held, price, open_lots)
    low = min(most, max(0, -held * side))
    high = most
    while low < high:
        middle = low + (high - low + 1) // 2
        due = position_initial(facts, i, held + side * middle, price, open_lots)
        if due - base <= free:
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def rooms(
    facts: Facts,
    i: int,
    held: I64,
    side: int,
    most: I64,
    price: int,
    open_lots: int,
    free: I64,
    out: I64,
) -> None:
    """Write `affordable` of each offer, up to its end; ``held`` is signed as the position is."""
    for n in range(out.size):
        want = max(0, most[n] - side * held[n])
        out[n] = affordable(facts, i, held[n], side, want, price, open_lots, free[n])


@kernel
def in_distress(
    book: Book,
    best: I64,
    equity: I64,
    required: I64,
    since: I64,
    now: int,
    equity_below: int,
    patience: int,
    out: I64,
) -> int:
    """Write the accounts for which the backstop is asked; return how many.

    Below maintenance at every believed price, nothing in flight, and either with less equity than
    ``equity_below`` ppm of maintenance or in this state for ``patience`` ns (0: no such rule).
    """
    n = 0
    for account in range(out.size):
        if best[account] >= 0 or book.head[account] < 0:
            continue
        waited = patience > 0 and since[account] >= 0 and now - since[account] >= patience
        deep = equity_below > 0 and equity[account] < ppm_ceil(required[account], equity_below)
        if (waited or deep) and idle_account(book, account):
            out[n] = account
            n += 1
    return n


@kernel
def drained(spent: int, most: int, elapsed: int, window: int) -> int:
    """Return what is left in a bucket of ``most`` that empties evenly within ``window`` ns."""
    if elapsed >= window:
        return 0
    return max(0, spent - muldiv(most, elapsed, window))


@kernel
def loss_rate(equity: int, size: int) -> int:
    """Return the discount in ppm that uses up ``equity`` >= 0 on ``size``, rounded down."""
    if size <= 0:
        return 0
    return PPM if equity >= size else muldiv(equity, PPM, size)


@kernel
def open_interest(book: Book, i: int) -> int:
    """Return the larger side of the open interest of one instrument."""
    return max(np.int64(book.long_open[i]), np.int64(book.short_open[i]))
