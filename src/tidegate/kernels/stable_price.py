"""A price for collateral that follows the market only so fast.

Prices are integers (finer than ticks: the caller scales them), times whole units, rates parts of
``scale``.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel, muldiv


@kernel
def grown(target: int, last: int, rate: int, scale: int) -> int:
    """Return ``target``, held within ``rate / scale`` of ``last``; the room is rounded down."""
    room = muldiv(last, rate, scale)
    return min(max(target, last - room), last + room)


@kernel
def growth(stable: int, delayed: int, rate: int, elapsed: int) -> int:
    """Return how far the stable price may move now, as a part of the rate's scale, rounded down.

    ``rate`` per unit of time, less by the square of the ratio of the stable and delayed prices: it
    slows while yesterday's price does not yet confirm the move.
    """
    least, most = min(stable, delayed), max(stable, delayed)
    if not most:
        return 0
    room = muldiv(rate * elapsed, least, most)
    return muldiv(room, least, most)


@kernel
def stable_step(
    delays: I64,
    cells: I64,
    price: int,
    now: int,
    interval: int,
    rest: int,
    reach: int,
    delay_growth: int,
    stable_growth: int,
    scale: int,
) -> int:
    """Take one observation into the state and return 1, or 0 where it came within ``rest``.

    ``cells`` is [5]: the stable price, when it was last updated, the sum and the time of the
    interval under way, and the number of that interval. ``delays`` holds one averaged price an
    interval, a full turn long; the oldest is the delayed price. An observation counts for at most
    ``reach`` of time, so that a silent feed cannot carry the price far at once.

    Source: Mango v4, `stable_price.rs`. Like theirs, an average over a silent stretch divides by
    the whole stretch: it understates the price, and the growth limit then bounds that.
    """
    elapsed = now - cells[1]
    if elapsed < rest:
        return 0
    counted = min(elapsed, reach)
    cells[1] = now
    cells[2] += price * counted
    cells[3] += elapsed
    turn = now // interval % delays.size
    before = cells[4]
    if turn != before:
        average = cells[2] // cells[3]
        held = grown(average, delays[before - 1], delay_growth, scale)  # -1 is the last cell
        skipped = delays.size if elapsed > delays.size * interval else (turn - before) % delays.size
        for n in range(skipped):
            delays[(before + n) % delays.size] = held
        cells[2] = cells[3] = 0
        cells[4] = turn
    room = growth(cells[0], delays[turn], stable_growth, counted)
    cells[0] = grown(price, cells[0], room, scale)
    return 1
