"""A capacity per window that rolls: what was released lately, and what may be released now."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel, muldiv


@kernel
def fee_capacity(
    maker: int, taker: int, depth: int, multiplier: int, length: int, unit: int
) -> int:
    """Return what a window of ``length`` seconds releases: fees * depth * multiplier * length.

    ``depth`` is the skew at which price moves by 100 %; fees and multiplier are in ``unit``. Each
    product rounds down. What moves the price by both fees a second costs a liquidator nothing.

    Source: Synthetix v3 `PerpsMarketConfiguration.sol`, maxLiquidationAmountInWindow.
    """
    return muldiv(muldiv(depth, maker + taker, unit), multiplier, unit) * length


@kernel
def used_since(at: I64, lots: I64, after: int) -> int:
    """Return what was released strictly after ``after``; empty cells hold no lots."""
    used = 0
    for n in range(at.size):
        if lots[n] and at[n] > after:
            used += lots[n]
    return used


@kernel
def last_release(at: I64, lots: I64) -> int:
    """Return when something was last released, or -1."""
    last = -1
    for n in range(at.size):
        if lots[n] and at[n] > last:
            last = at[n]
    return last


@kernel
def window_room(
    capacity: int, used: int, last: int, now: int, skew: int, depth: int, bypass: int, unit: int
) -> int:
    """Return what may be released now, given what the window has ``used``.

    When nothing is left but the book is balanced, ``|skew| / depth < bypass``, one more window is
    allowed for each distinct moment: a market that can absorb it need not wait. 0: no bypass.

    Source: Synthetix v3 `PerpsMarket.sol`, maxLiquidatableAmount.
    """
    if used < capacity:
        return capacity - used
    if bypass > 0 and depth > 0 and last != now and muldiv(abs(skew), unit, depth) < bypass:
        return capacity
    return 0


@kernel
def released(wanted: int, room: int, capacity: int, endorsed: int) -> int:
    """Return how much of ``wanted`` goes: all of it if ``endorsed``, or without a limit."""
    if endorsed or capacity == 0:
        return wanted
    return min(wanted, room)


@kernel
def windows_of(lots: int, capacity: int) -> int:
    """Return in how many windows ``lots`` are gone, rounded up; 0 where there is no limit."""
    if capacity <= 0:
        return 0
    return (lots + capacity - 1) // capacity


@kernel
def log_release(at: I64, lots: I64, now: int, amount: int, keep: int) -> None:
    """Add ``amount`` at ``now`` to a log of fixed length, in place.

    Cells older than ``keep`` are reused. Where all are younger, the oldest is moved onto the next:
    it then counts for longer than it must, so that a full log can only tighten.
    """
    oldest, second, free = -1, -1, -1
    for n in range(at.size):
        if lots[n] and at[n] == now:
            lots[n] += amount
            return
        if lots[n] == 0 or now - at[n] > keep:
            free = n
        elif oldest < 0 or at[n] < at[oldest]:
            second, oldest = oldest, n
        elif second < 0 or at[n] < at[second]:
            second = n
    if free < 0:
        if second < 0:  # a log of one cell: everything counts from now on
            lots[oldest] += amount
            at[oldest] = now
            return
        lots[second] += lots[oldest]
        free = oldest
    at[free], lots[free] = now, amount
