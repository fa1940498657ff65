"""At what price a bankrupt position is closed, and against whom in a given order."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel


@kernel
def share_down(amount: int, part: int, whole: int) -> int:
    """Return ``amount * part / whole`` rounded down, for a signed ``amount``; 0 of nothing."""
    return amount * part // whole if whole else 0


@kernel
def offset_in_order(
    total: int,
    quote: int,
    lots: int,
    other_quote: I64,
    other_lots: I64,
    taken: I64,
    paid: I64,
) -> int:
    """Close ``total`` lots of a bankrupt account against others in order; return what is left.

    Every lot goes at the price at which the bankrupt account (cash ``quote``, ``lots`` signed) ends
    with nothing: its share of ``quote``, rounded down. ``taken`` are lots and ``paid`` is what each
    other account receives, negative where it pays. Whoever holds the same side is passed over, and
    whoever would then get less than its own bankruptcy price: the two prices do not overlap.

    Source
    ------
    dYdX v4, x/clob: OffsetSubaccountPerpetualPosition. There the order is by chance.
    """
    taken[:] = 0
    paid[:] = 0
    left = total
    for n in range(other_lots.size):
        if left == 0:
            break
        if other_lots[n] * lots >= 0:
            continue
        part = min(left, abs(other_lots[n]))
        due = share_down(quote, part, abs(lots))
        if due < -share_down(other_quote[n], part, abs(other_lots[n])):
            continue
        taken[n] = part
        paid[n] = due
        left -= part
    return left


@kernel
def forgone_per_lot(side: int, mark: int, price: int) -> int:
    """Return what a winner gives up a lot when a bankrupt position of ``side`` closes at a price.

    In the price's units; negative where the price is better for the winner than the mark.
    """
    return side * (price - mark)


@kernel
def pool_factor(profit: int, pool: int, scale: int) -> int:
    """Return a pool's traders' profit over its value, at ``scale``, rounded down; 0 if no pool.

    Source
    ------
    GMX v2, pnlToPoolFactor. Deleveraging is on where it is above its bound, strictly.
    """
    return profit * scale // pool if pool else 0
