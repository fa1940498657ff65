"""How fast each instrument and side may be sold so that what is owed is still covered."""

# scipy ships no types: what it returns is named where it enters.
# pyright: reportMissingTypeStubs=false

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, Final

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from tidegate.domain.book import FIRST_USER, Health
from tidegate.domain.events import ScheduleObserved
from tidegate.domain.pace import NO_SCHEDULE, SLICES_MAX
from tidegate.domain.units import PPM, SECOND, Nanos, pack
from tidegate.engine.market import worth_of_lot
from tidegate.engine.state import State
from tidegate.engine.waiting import with_wait
from tidegate.kernels.depth import depth_buckets, executable
from tidegate.kernels.profile import branching, forced_buckets
from tidegate.kernels.value import notional
from tidegate.safeguards.stack import Stack
from tidegate.signals.schedules import LinearImpact
from tidegate.signals.schedules_solvent import Solvent, solvency_constrained


MODEL, VERSION = "solvent-schedule", "1"
LASTING_MAX: Final = 0.9  # more than this of an impact cannot stay: the problem would be ill-posed
SIGMA_MIN: Final = 1e-6  # volatility of a price per square root of a second, never less

stats: Any = scipy.stats


@dataclass(frozen=True, slots=True)
class Inventory:
    """What must be sold of one instrument and side, and what its owners can lose until it is."""

    lots: int
    budget: float  # Money: equity of the owners, each account's own


def inventories(state: State, health: Health, stack: Stack) -> dict[tuple[int, int], Inventory]:
    """Return what all liquidatable accounts hold, netted where the planner nets.

    An account's equity is shared over its positions by notional; the bankrupt add to what is sold
    and nothing to what may be lost.
    """
    book, mark = state.book, state.market.mark
    lots: dict[tuple[int, int], int] = {}
    budget: dict[tuple[int, int], float] = {}
    for account in np.flatnonzero(health.best < 0).tolist():
        if account < FIRST_USER:
            continue
        held: dict[tuple[int, int], tuple[int, int]] = {}
        row = int(book.head[account])
        while row >= 0:
            i, size = int(book.instrument[row]), int(book.lots[row])
            if size and mark[i]:
                worth = int(notional(state.facts, i, size, int(mark[i])))
                held[i, 0 if size > 0 else 1] = abs(size), worth
            row = int(book.follow[row])
        whole = sum(worth for _, worth in held.values())
        equity = max(0, int(health.equity[account]))
        for key, (size, worth) in held.items():
            lots[key] = lots.get(key, 0) + size
            budget[key] = budget.get(key, 0.0) + (equity * worth / whole if whole else 0.0)
    if stack.declaration.planner.netting:
        for i in {i for i, _ in lots}:
            met = min(lots.get((i, 0), 0), lots.get((i, 1), 0))
            for side in range(2):
                if (i, side) in lots:
                    lots[i, side] -= met
    return {key: Inventory(size, budget[key]) for key, size in lots.items() if size}


def cluster_distance(state: State, health: Health, i: int, side: int, stack: Stack) -> int:
    """Return how many ppm away the next cluster of liquidation prices is; else the grid's end.

    A cluster is a bucket of the cascade profile whose own branching ratio reaches ``rate.cluster``.
    Bucket 0 is where liquidation already is: the next one counts.
    """
    grid, m = stack.declaration.profile, state.market
    forced = [np.zeros(grid.buckets, np.int64) for _ in range(2)]
    forced_buckets(
        state.book, state.facts, m.mark, health.best, i, grid.width, forced[0], forced[1]
    )
    depth, n = np.zeros(grid.buckets, np.int64), np.zeros(grid.buckets, np.int64)
    levels = int(m.levels[i, side])
    depth_buckets(
        m.depth_price[i, side], m.depth_lots[i, side], levels, int(m.mark[i]), grid.width, depth
    )
    branching(forced[side], depth, n)
    found = np.flatnonzero(n[1:] >= stack.declaration.rate.cluster)
    return (int(found[0]) + 1 if found.size else grid.buckets) * grid.width


def market_of(state: State, i: int, side: int, stack: Stack) -> tuple[LinearImpact, int] | None:
    """Return the market in Money a lot, lots and seconds, and its depth; None where none was seen.

    The book within ``reach`` is taken to be level: selling q lots into a depth of D moves the price
    by reach * q / D, and costs half of it on average. ``lasting`` of the move stays, amplified by
    what it forces others to sell, 1 / (1 - n); the rest is back at the next slice.
    """
    rate, m = stack.declaration.rate, state.market
    if not m.levels[i].any() or not m.mark[i]:
        return None
    depth = int(
        executable(
            m.depth_price[i, side],
            m.depth_lots[i, side],
            int(m.levels[i, side]),
            int(m.mark[i]),
            rate.reach,
        )
    )
    price = worth_of_lot(stack, i, int(m.mark[i]))
    slope = price * rate.reach / PPM / max(depth, 1)
    sigma = max(sqrt(int(m.variance[i])) / PPM, SIGMA_MIN)
    calm = 1 - min(int(m.near[i]) / PPM, 1.0)
    lasting = rate.lasting / PPM
    lasting = LASTING_MAX if lasting >= LASTING_MAX * calm else lasting / calm
    interval = rate.interval_ns / SECOND
    market = LinearImpact(
        sigma=price * sigma, temporary=slope * interval / 2, permanent=slope * lasting
    )
    return market, depth


def solved(inventory: Inventory, market: LinearImpact, price: int, stack: Stack) -> Solvent:
    """Return the slowest schedule whose proceeds cover what is owed, at the stack's confidence."""
    rate = stack.declaration.rate
    return solvency_constrained(
        size=inventory.lots,
        price=price,
        debt=inventory.lots * price - inventory.budget,
        horizon=rate.intervals * rate.interval_ns / SECOND,
        intervals=rate.intervals,
        market=market,
        z=float(stats.norm.ppf(rate.confidence / PPM)),
    )


def whole_slices(trades: NDArray[np.float64], total: int, most: int) -> list[int]:
    """Return trades as whole lots that add up to ``total``, early rather than late.

    Each is then cut to ``most``: what that leaves over is for the next solution.
    """
    slices: list[int] = []
    gone, wanted = 0, 0.0
    for n, trade in enumerate(trades.tolist()):
        wanted += trade
        upto = total if n == len(trades) - 1 else min(total, ceil(wanted - 1e-6))
        slices.append(min(upto - gone, most))
        gone = upto
    return slices


def schedules_now(state: State, stack: Stack, now: Nanos) -> list[ScheduleObserved]:
    """Return a schedule for each instrument and side where something must be sold.

    Where nothing must be any more, an empty schedule lifts the one in force.
    """
    rate, m = stack.declaration.rate, state.market
    health = stack.declaration.margin.assess(
        state.book, state.facts, mark=m.mark, low=m.low, high=m.high
    )
    health = with_wait(state, health, m.mark, m.low, m.high, stack)
    found = inventories(state, health, stack)
    said: list[ScheduleObserved] = []
    for i in range(m.mark.size):
        for side in range(2):
            inventory, market = found.get((i, side)), market_of(state, i, side, stack)
            slices, regime = list[int](), "any"
            if inventory is not None and market is not None:
                price = worth_of_lot(stack, i, int(m.mark[i]))
                answer = solved(inventory, market[0], price, stack)
                reach = cluster_distance(state, health, i, side, stack)
                most = max(1, market[1] * reach // max(rate.reach, 1))
                slices = whole_slices(answer.schedule.trades, inventory.lots, most)
                regime = answer.regime
            elif (
                state.pace.plan_regime[i, side] == NO_SCHEDULE or not state.pace.plan_count[i, side]
            ):
                continue
            assert len(slices) <= SLICES_MAX
            said.append(
                ScheduleObserved(
                    ts=now,
                    instrument=i,
                    side=side,
                    slices=pack(np.array(slices, np.int64)),
                    interval=rate.interval_ns,
                    regime=regime,
                    model=MODEL,
                    version=VERSION,
                    confidence=rate.confidence,
                )
            )
    return said
