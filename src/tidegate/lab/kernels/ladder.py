"""Cascades in one market over many paths: a ladder of liquidation prices, and sums up to each rung.

Every account is closed whole as soon as it is below maintenance, longs by falls and shorts by
rises, so that a path needs to know only how many of each side are gone. A side is stored by keys
that rise: minus its price for a long, its price for a short.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import Final, NamedTuple

import numpy as np

from tidegate.domain.units import I64, PPM, PPM_DIRECT, kernel
from tidegate.kernels.tiers import due_in_tier, tier_at
from tidegate.lab.kernels.impact import fill_price, impact_ticks
from tidegate.lab.kernels.inner import inner
from tidegate.lab.kernels.rng import fill_normals, key_of
from tidegate.lab.kernels.walk import ticks_at


BLOCK: Final = 256  # steps drawn at a time, an even number

# Cells of a path's state.
GONE, GONE_SHORT, SHIFT, PRICE, ROUNDS_KEPT = range(5)
STATE: Final = 5

# Cells of its totals.
BAD_DEBT, FORCED, LIQUIDATED, ROUNDS, LOWEST, LAST = range(6)
TOTALS: Final = 6

# Cells of its trail, one row a round.
TRAIL_WIDTH: Final = 6  # step, mark, gone before, gone after, fill price, bad debt


class Side(NamedTuple):
    """The accounts of one side, in the order in which they fall; key[n] is past any price."""

    sign: int  # -1 longs, +1 shorts
    key: I64  # [n + 1] rises
    broke: I64  # [n] key of the first fill that leaves less than nothing
    lots: I64  # [n + 1] lots of all before, positive
    owed: I64  # [n + 1] cost less cash of all before, Money
    ordered: int  # 1 where `broke` rises too


class Market(NamedTuple):
    """One linear market and its declared law of impact."""

    tick_value: int
    price_max: int
    first: int  # mark at the start
    law: int
    depth: int
    move: int
    most: int
    keep: int


@kernel
def line_of(
    lots: int, cost: int, cash: int, owed: int, tick_value: int, price_max: int, tier: I64
) -> int:
    """Return the key of the first adverse price at which an account is below maintenance.

    ``tier`` is [tiers, 3] floors, rates and deductions, ``owed`` what it must keep for owed cash.
    Bisection over ticks: a net margin is monotone in its price. Where none
    does, a price beyond the range: ``price_max + 1`` for a short, 0 for a long.
    """
    sign = -1 if lots > 0 else 1
    low, high = 0, price_max + 1
    if sign < 0:
        low, high = -price_max, 0
    while low < high:
        middle = (low + high) // 2
        value = lots * (sign * middle) * tick_value
        size = abs(value)
        at = tier_at(0, tier.shape[0], tier[:, 0], size)
        if size < PPM_DIRECT:
            due = -(-size * tier[at, 1] // PPM) - tier[at, 2]
        else:
            due = due_in_tier(size, tier[at, 1], tier[at, 2], PPM)
        if cash + value - cost < due + owed:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def lines(
    lots: I64, cost: I64, cash: I64, owed: I64, tick_value: int, price_max: int, tier: I64, out: I64
) -> None:
    """Write `line_of` of each account."""
    for n in range(lots.size):
        out[n] = line_of(lots[n], cost[n], cash[n], owed[n], tick_value, price_max, tier)


@kernel
def reached(key: I64, start: int, at: int) -> int:
    """Return the first place from ``start`` on whose key is above ``at``: gallop, then bisect."""
    step, last = 1, key.size - 1
    low = start
    while low + step < last and key[low + step - 1] <= at:
        low += step
        step *= 2
    high = min(low + step, last)
    while low < high:
        middle = (low + high) // 2
        if key[middle] <= at:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def shortfall(side: Side, begin: int, end: int, fill: int, tick_value: int) -> int:
    """Return what the accounts ``begin``..``end`` owe after all were closed at ``fill``."""
    at, unit = side.sign * fill, side.sign * fill * tick_value
    if side.ordered:
        last = begin
        if end > begin and side.broke[begin] <= at:
            low, high = begin, end
            while low < high:
                middle = (low + high) // 2
                if side.broke[middle] <= at:
                    low = middle + 1
                else:
                    high = middle
            last = low
        return side.owed[last] - side.owed[begin] + unit * (side.lots[last] - side.lots[begin])
    total = 0
    for n in range(begin, end):
        if side.broke[n] <= at:
            total += side.owed[n + 1] - side.owed[n] + unit * (side.lots[n + 1] - side.lots[n])
    return total


@inner
def fall(
    side: Side, market: Market, outside: int, step: int, state: I64, total: I64, trail: I64
) -> None:
    """Close all whom the price has reached, move the price, and again, until nobody falls."""
    cell = GONE if side.sign < 0 else GONE_SHORT
    while True:
        price, begin = state[PRICE], state[cell]
        if side.key[begin] > side.sign * price:
            return
        end = reached(side.key, begin, side.sign * price)
        lots = side.lots[end] - side.lots[begin]
        ticks = impact_ticks(market.law, lots, market.depth, market.move, market.most, price)
        fill = fill_price(price, ticks, side.sign, market.price_max)
        debt = shortfall(side, begin, end, fill, market.tick_value)
        n = state[ROUNDS_KEPT]
        if n < trail.shape[0]:
            row = trail[n]
            row[0], row[1], row[2], row[3], row[4], row[5] = step, price, begin, end, fill, debt
        state[ROUNDS_KEPT] = n + 1
        state[cell] = end
        state[SHIFT] += side.sign * ticks
        total[BAD_DEBT] += debt
        total[FORCED] += lots * price * market.tick_value
        total[LIQUIDATED] += end - begin
        total[ROUNDS] += 1
        state[PRICE] = min(market.price_max, max(1, outside + state[SHIFT]))


@inner
def run_steps(
    longs: Side,
    shorts: Side,
    market: Market,
    price: I64,
    step: int,
    state: I64,
    total: I64,
    trail: I64,
) -> None:
    """Run one path through consecutive prices without our displacement, from step ``step`` on."""
    low, high = -longs.key[state[GONE]], shorts.key[state[GONE_SHORT]]
    shift, lowest = state[SHIFT], total[LOWEST]
    for t in range(price.size):
        if shift:
            size = abs(shift) * market.keep // PPM
            shift = size if shift > 0 else -size
        now = min(market.price_max, max(1, price[t] + shift))
        if now <= low or now >= high:
            state[SHIFT], state[PRICE] = shift, now
            fall(longs if now <= low else shorts, market, price[t], step + t, state, total, trail)
            low, high = -longs.key[state[GONE]], shorts.key[state[GONE_SHORT]]
            shift, now = state[SHIFT], state[PRICE]
        lowest = min(lowest, now)
        state[PRICE] = now
    state[SHIFT], total[LOWEST], total[LAST] = shift, lowest, state[PRICE]


@kernel
def run_given(
    longs: Side, shorts: Side, market: Market, price: I64, total: I64, trail: I64
) -> None:
    """Run paths through given prices, [paths, steps] ticks; ``total`` is [paths, TOTALS]."""
    for n in range(price.shape[0]):
        state = np.zeros(STATE, np.int64)
        total[n, LOWEST] = state[PRICE] = market.first
        run_steps(longs, shorts, market, price[n], 0, state, total[n], trail)


@kernel
def run_walks(
    longs: Side,
    shorts: Side,
    market: Market,
    root: int,
    begin: int,
    stream: int,
    first: int,
    drift: float,
    load: float,
    steps: int,
    total: I64,
) -> None:
    """Run paths ``begin`` and following through walks of their own, drawn as they are needed.

    Normal number t of the path's key moves step t, as `walk.walk` draws a single factor.
    """
    z, price = np.empty(BLOCK), np.empty(BLOCK, np.int64)
    trail = np.zeros((0, TRAIL_WIDTH), np.int64)
    for n in range(total.shape[0]):
        key, level = key_of(root, begin + n, stream), 0.0
        state = np.zeros(STATE, np.int64)
        total[n, LOWEST] = state[PRICE] = market.first
        for step in range(0, steps, BLOCK):
            many = min(BLOCK, steps - step)
            fill_normals(key, step // 2, z[: many + many % 2])
            for t in range(many):
                move = drift
                move += load * z[t]
                level += move
                price[t] = ticks_at(first, level, market.price_max)
            run_steps(longs, shorts, market, price[:many], step, state, total[n], trail)
