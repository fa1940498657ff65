"""Price bands, limit states and pauses: where a price may trade, and since when it may not.

Every rule takes integers: prices in one unit, times in another, rates as parts of ``scale``. Prices
are positive.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import Final

from tidegate.domain.units import I64, kernel, muldiv


NORMAL: Final = 0
LIMIT: Final = 1  # the price touches its band
PAUSED: Final = 2  # it did so for too long, or a rule stopped it at once

INSIDE: Final = 0
PAUSE: Final = 1  # an order comes while the market is paused
BREACH: Final = 2  # its limit lies outside the band
SWEPT: Final = 3  # it has no limit, and what it would meet lies outside


@kernel
def band(reference: int, rate: int, scale: int) -> tuple[int, int]:
    """Return (low, high): ``reference`` less and plus ``rate / scale`` of it.

    The width is rounded down, so that a band is never wider than its rule; ``low`` is never below
    zero. Source: limit up-limit down plan, band = reference * (1 +/- percent).
    """
    width = muldiv(reference, rate, scale)
    return max(0, reference - width), reference + width


@kernel
def luld_width(reference: int, previous: int, tier: int, doubled: int, unit: int) -> int:
    """Return the half-width of the band of the limit up-limit down plan, rounded down.

    Above 3 units (by the ``previous`` close) tier 1 has 5 % and tier 2 has 10 %; from 0.75 to 3 it
    is 20 %; below that the smaller of 0.15 units and 75 %. ``doubled`` is 1 near the open and the
    close. ``unit`` is one unit of money in the unit of the prices.

    Source: SEC/FINRA Limit Up-Limit Down plan.
    """
    if previous > 3 * unit:
        width = muldiv(reference, 5 if tier == 1 else 10, 100)
    elif 100 * previous >= 75 * unit:
        width = muldiv(reference, 20, 100)
    else:
        width = min(15 * unit // 100, muldiv(reference, 75, 100))
    return 2 * width if doubled else width


@kernel
def limit_state(
    phase: int, since: int, at_band: int, now: int, limit: int, pause: int
) -> tuple[int, int]:
    """Return (phase, since) at ``now``, when the price does (1) or does not (0) touch its band.

    A touch begins the limit state; leaving the band ends it and forgets its time; after ``limit``
    of it the market is paused for ``pause``. What is due between two looks happens when it was
    due: the pause begins ``limit`` after the touch, whenever somebody looks.

    Source: Limit Up-Limit Down plan: 15 s at the band, then five minutes.
    """
    if phase == LIMIT and now - since >= limit:
        phase, since = PAUSED, since + limit
    if phase == PAUSED and now - since < pause:
        return phase, since
    if not at_band:
        return NORMAL, now if phase else since
    if phase == LIMIT:
        return phase, since
    return LIMIT, now


@kernel
def note(
    at: I64, low: I64, high: I64, total: I64, count: I64, now: int, price: int, span: int
) -> int:
    """Return the cell of a ring that takes ``price`` at ``now``, beginning a new one when due.

    A cell covers ``span``: ``at`` is when it began, the others what it saw; ``count`` 0 is an
    empty one. The oldest cell is overwritten.
    """
    newest, oldest = -1, 0
    for n in range(at.size):
        if count[n] and (newest < 0 or at[n] > at[newest]):
            newest = n
        if not count[n]:
            if count[oldest]:
                oldest = n
        elif count[oldest] and at[n] < at[oldest]:
            oldest = n
    if newest >= 0 and now - at[newest] < span:
        cell = newest
        low[cell] = min(low[cell], price)
        high[cell] = max(high[cell], price)
    else:
        cell = oldest
        at[cell], total[cell], count[cell] = now, 0, 0
        low[cell] = high[cell] = price
    total[cell] += price
    count[cell] += 1
    return cell


@kernel
def extremes(at: I64, low: I64, high: I64, count: I64, now: int, window: int) -> tuple[int, int]:
    """Return the lowest and highest price of the last ``window``, both ends included; 0, 0: none.

    A cell counts as a whole from its beginning: what a ring sees is never older than its window by
    more than nothing, and never forgets earlier than one cell before it.
    """
    lowest = highest = 0
    for n in range(at.size):
        if count[n] and now - at[n] <= window:
            lowest = low[n] if not lowest else min(lowest, low[n])
            highest = max(highest, high[n])
    return lowest, highest


@kernel
def mean(at: I64, total: I64, count: I64, now: int, window: int) -> int:
    """Return the arithmetic mean of the prices of the last ``window``, rounded down; 0: none."""
    summed = prices = 0
    for n in range(at.size):
        if count[n] and now - at[n] <= window:
            summed += total[n]
            prices += count[n]
    return summed // prices if prices else 0


@kernel
def variant(settle: int, rate: int, tick: int, scale: int) -> int:
    """Return the move that a dynamic circuit breaker allows: a share of ``settle``, in full ticks.

    Source: CME Group, dynamic circuit breakers: floor(settle * percent / tick) * tick.
    """
    return muldiv(settle, rate, scale) // tick * tick


@kernel
def dynamic_breach(price: int, lowest: int, highest: int, room: int) -> int:
    """Return -1 (fell), 1 (rose) or 0: whether ``price`` left the rolling window by ``room``.

    A price exactly at a bound does not; a window without prices (0, 0) holds nobody.
    Source: CME Group, dynamic circuit breakers: above its minimum + variant, below its maximum -
    variant, over the last hour.
    """
    if not highest:
        return 0
    if price < highest - room:
        return -1
    return 1 if price > lowest + room else 0


@kernel
def moved_beyond(price: int, before: int, rate: int, scale: int) -> int:
    """Return 1 where ``price`` is further than ``rate / scale`` from ``before``, exactly."""
    return 1 if abs(price - before) * scale > before * rate else 0


@kernel
def order_fits(side: int, price: int, limited: int, passive: int, low: int, high: int) -> int:
    """Return INSIDE, BREACH or SWEPT for an order of ``side`` (1 buys, -1 sells).

    ``price`` is its limit (``limited`` 1) or what it would meet (0). A passive order is never
    stopped: it takes nothing, and moves no price by itself. Only the side on which it presses is
    looked at: a buyer's ceiling, a seller's floor.

    Source: Deribit documentation, trading bandwidth; FLOX venue, limit up-limit down.
    """
    if passive or (price <= high if side > 0 else price >= low):
        return INSIDE
    return BREACH if limited else SWEPT


@kernel
def level_of(reference: int, price: int, rates: I64, scale: int) -> int:
    """Return how many of the rising ``rates`` the fall from ``reference`` has reached.

    Source: SEC, market-wide circuit breakers: 7, 13 and 20 % below the previous close.
    """
    level = 0
    for n in range(rates.size):
        if price * scale <= reference * (scale - rates[n]):
            level = n + 1
    return level
