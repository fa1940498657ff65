"""What the throttle's bucket lets go along a path: capacity, what has drained, and what is left."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import Final

from tidegate.domain.units import I64, PPM, muldiv, ppm_floor
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.alarm import EXACT, pace_of
from tidegate.lab.kernels.desk import Desk, unit_worth
from tidegate.lab.kernels.inner import inner


UNLIMITED: Final = 2**62
AUCTION_ONLY: Final = 3  # the rung from which forced sales leave the order book alone


@inner
def bucket(desk: Desk, rung: int, i: int) -> int:
    """Return the lots of ``i`` that one window may release on a side, by the depth assumed."""
    rule = desk.rule
    pace = 0 if rung >= AUCTION_ONLY else pace_of(desk, rung)
    if rule[c.DEPTH_SHARE] == 0:
        return UNLIMITED if pace else 0
    depth = rule[c.UNKNOWN_DEPTH] // max(1, unit_worth(desk, i))
    free = ppm_floor(depth, PPM - rule[c.RESERVED])
    return ppm_floor(ppm_floor(free, rule[c.DEPTH_SHARE]), pace)


@inner
def drained(desk: Desk, spent: int, capacity: int, elapsed: int) -> int:
    """Return what is left in a bucket after ``elapsed`` ns."""
    if desk.rule[c.DEPTH_SHARE] == 0 or capacity >= UNLIMITED or spent == 0:
        return 0
    drain, flow = desk.rule[c.DRAIN], float(capacity) * float(elapsed)
    if flow < EXACT:
        return max(0, spent - capacity * elapsed // drain)
    if flow > 2.0 * float(spent) * float(drain):
        return 0
    return max(0, spent - muldiv(capacity, elapsed, drain))


@inner
def rooms(desk: Desk, rung: int, now: int, room: I64, held: I64) -> bool:
    """Write the lots that may be ordered now and what the buckets hold; return whether any may.

    Both are [sides, instruments], sales first.
    """
    some = False
    for i in range(desk.market.shape[0]):
        most = bucket(desk, rung, i)
        for side in range(2):
            elapsed = now - desk.market[i, c.SPENT_AT + side]
            spent = drained(desk, desk.market[i, c.SPENT + side], most, elapsed)
            free = max(0, most - spent)
            if desk.rule[c.IN_FLIGHT_MAX]:
                free = min(free, desk.rule[c.IN_FLIGHT_MAX] // max(1, unit_worth(desk, i)))
            held[side, i], room[side, i] = spent, free
            some |= free > 0
    return some
