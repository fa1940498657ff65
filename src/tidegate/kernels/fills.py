"""What an execution does to a position: new cost, realised profit, penalty."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, kernel, muldiv
from tidegate.kernels.order import stable_order
from tidegate.kernels.value import SPOT, settled_value


@kernel
def share_ceil(amount: int, part: int, whole: int) -> int:
    """Return ``amount * part / whole`` rounded up, for 0 <= part <= whole."""
    if amount < 0:
        return -muldiv(-amount, part, whole)
    down = muldiv(amount, part, whole)
    # Both products wrap alike modulo 2**64, and their difference is below 2**62: a sound test.
    return down if down * whole == amount * part else down + 1


@kernel
def realise(held: int, cost: int, lots: int, paid: int) -> int:
    """Return the profit, in the settlement asset, that trading ``lots`` for ``paid`` realises.

    The part of the trade that reduces the position releases its share of the cost, rounded against
    the holder; what is over opens a position the other way. Realised profit leaves the cost, so
    equity is the same before and after: nothing is made or lost by booking it.
    """
    if held == 0 or (held > 0) == (lots > 0):
        return 0
    closed = min(abs(lots), abs(held))
    # cost * closed / held and paid * closed / lots, both rounded up: profit rounds down.
    released = share_ceil(cost, closed, abs(held))
    received = share_ceil(paid, closed, abs(lots))
    if closed == abs(held):
        released = cost
    if closed == abs(lots):
        received = paid
    return -(released + received)


@kernel
def paid_at(facts: Facts, instrument: I64, lots: I64, price: I64, out: I64) -> None:
    """Write what each trade pays in its settlement asset, rounded against whoever trades.

    A buyer pays the value rounded up, a seller receives it rounded down (a negative payment).
    """
    for n in range(lots.size):
        out[n] = -settled_value(facts, instrument[n], -lots[n], price[n])


@kernel
def apply_paid(
    book: Book,
    facts: Facts,
    row: I64,
    instrument: I64,
    lots: I64,
    paid: I64,
    cost_out: I64,
    realised_out: I64,
) -> None:
    """Write the cost change and realised profit of each trade, as if applied in this order.

    ``row`` is the position's row, or a negative number of its own for a position not yet open.
    Several trades may fall on one row: they are taken one after another. Balances carry no cost:
    what was paid for them leaves the cash at once.
    """
    order = stable_order(row)
    held, cost = 0, 0
    for k in range(order.size):
        n = order[k]
        if k == 0 or row[n] != row[order[k - 1]]:
            held = book.lots[row[n]] if row[n] >= 0 else 0
            cost = book.cost[row[n]] if row[n] >= 0 else 0
        if facts.kind[instrument[n]] == SPOT:
            realised_out[n], cost_out[n] = -paid[n], 0
        else:
            gain = realise(held, cost, lots[n], paid[n])
            realised_out[n], cost_out[n] = gain, paid[n] + gain
        held += lots[n]
        cost += cost_out[n]


@kernel
def count_fills(
    open_lots: I64,
    slot: I64,
    lots: I64,
    after: I64,
    told: int,
    priced: NDArray[np.bool_],
    gone: I64,
    twice: NDArray[np.bool_],
    missing: I64,
    closed: I64,
) -> None:
    """Write by how much each fill shrinks its order (0: refused), and what is odd about it.

    ``open_lots`` is [slots] what is left of each order, ``slot`` -1 where there is none, ``after``
    what the venue says to be left after the fill, if it has ``told``. Fills are taken one after
    another. ``gone`` may exceed the fill by what was ``missing`` before it; ``twice`` are those
    that were counted already; ``closed`` is 1 where nothing is left. All four begin as zeros.
    """
    left = open_lots.copy()
    for k in range(slot.size):
        if slot[k] < 0:
            continue
        rest, size = left[slot[k]], lots[k]
        buys = rest > 0
        then = after[k] if told else rest - size
        # Compared and not multiplied, and side by side: what a venue says may be any number, and
        # the smallest of all has no absolute value.
        if size == 0 or (size > 0) != buys or (then != 0 and (then > 0) != buys):
            continue
        if (then >= rest) if buys else (then <= rest):
            twice[k] = told != 0
        elif ((rest - then >= size) if buys else (rest - then <= size)) and priced[k]:
            gone[k], missing[k] = rest - then, rest - then - size
            closed[k] = then == 0
            left[slot[k]] = then


@kernel
def funding_due(
    book: Book, facts: Facts, mark: I64, i: int, rate: int, first: int, account: I64, amount: I64
) -> int:
    """Write what each holder of ``i`` is paid (negative: pays) at ``rate`` ppb; return how many.

    Payers pay the amount rounded up and receivers get it rounded down: the difference is the
    venue's, never its loss. ``first`` is the first account row to count.
    """
    n = 0
    whole = 1_000_000_000
    for row in range(book.counts[1]):
        lots = book.lots[row]
        if book.instrument[row] != i or lots == 0 or book.account[row] < first:
            continue
        # An inverse value is rounded: the payer's size up, the receiver's down.
        one = abs(settled_value(facts, i, abs(lots), mark[i]))
        other = abs(settled_value(facts, i, -abs(lots), mark[i]))
        pays = (lots > 0) == (rate > 0)
        size = max(one, other) if pays else min(one, other)
        due = muldiv(size, abs(rate), whole)
        if pays and muldiv(size, abs(rate), whole) * whole != size * abs(rate):
            due += 1
        account[n], amount[n] = book.account[row], (-due if pays else due)
        n += 1
    return n


@kernel
def interest_due(
    book: Book, asset: int, rate: int, first: int, last: int, account: I64, amount: I64
) -> int:
    """Write the interest on every debt in ``asset`` (negative amounts), rounded up; return count.

    ``asset`` -1 is cash. ``rate`` is ppb for the whole period, >= 0.
    """
    n = 0
    whole = 1_000_000_000
    if asset < 0:
        for a in range(first, last):
            debt = -book.cash[a]
            if debt > 0:
                due = muldiv(debt, rate, whole)
                due += due * whole != debt * rate
                account[n], amount[n] = a, -due
                n += 1
        return n
    for row in range(book.counts[1]):
        debt = -book.lots[row]
        if book.instrument[row] == asset and debt > 0 and book.account[row] >= first:
            due = muldiv(debt, rate, whole)
            due += due * whole != debt * rate
            account[n], amount[n] = book.account[row], -due
            n += 1
    return n
