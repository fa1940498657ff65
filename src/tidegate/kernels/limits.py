"""How much of one position and of one account a block may close, and in which order it is sold."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel, muldiv


@kernel
def least_close(size: int, least: int) -> int:
    """Return the smallest part of a notional that is closed: ``least``, or all of what is less."""
    return min(size, least)


@kernel
def most_close(size: int, least: int, portion: int, unit: int) -> int:
    """Return the largest part of a notional that is closed at once: a portion, never below least.

    Source: dYdX v4 `x/clob/keeper/liquidations.go`, GetMaxAndMinPositionNotionalLiquidatable.
    """
    return max(least_close(size, least), muldiv(size, portion, unit))


@kernel
def left_of(limit: int, used: int) -> int:
    """Return what is left of a limit, or -1 where it was already exceeded."""
    return limit - used if used <= limit else -1


@kernel
def closed_lots(size: int, lots: int, most: int, step: int) -> int:
    """Return the lots whose notional is at most ``most``: all of them if they fit or are a step.

    Rounded down to whole steps, at least one step and at most ``lots``; ``size`` is the notional of
    all.

    Source: dYdX v4 `x/clob/keeper/liquidations.go`, GetLiquidatablePositionSizeDelta.
    """
    if size <= most or lots <= step:
        return lots
    part = muldiv(lots, most, size)
    return min(max(part - part % step, step), lots)


@kernel
def first_served(limit: I64, lots: I64, mark: int, one: int, other: int) -> bool:
    """Return whether order ``one`` is sold before ``other``: nearer to bankruptcy, then larger.

    The further a limit is from the mark the worse its account stands; ties go to the larger
    notional, then to the earlier row.

    Source: dYdX v4 `x/clob/keeper/liquidations.go`, SortLiquidationOrders.
    """
    far, near = abs(limit[one] - mark), abs(limit[other] - mark)
    if far != near:
        return far > near
    big, small = limit[one] * lots[one], limit[other] * lots[other]
    return big > small or (big == small and one < other)


@kernel
def serve_in_order(limit: I64, lots: I64, mark: int, out: I64) -> None:
    """Write the rows of orders in the order in which they are sold; all share one ``mark``."""
    for n in range(limit.size):
        place = n
        while place > 0 and first_served(limit, lots, mark, n, out[place - 1]):
            out[place] = out[place - 1]
            place -= 1
        out[place] = n
