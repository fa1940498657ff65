"""How everybody stands, as the next look of the engine would find it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import FIRST_USER, Health
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM
from tidegate.engine.following import followed
from tidegate.engine.governance import judged_facts
from tidegate.engine.liquidation import bucket_capacity, pace_at
from tidegate.engine.market import View
from tidegate.engine.pace import window_capacity
from tidegate.engine.state import State
from tidegate.engine.waiting import with_wait
from tidegate.kernels.edge import edge_sizes
from tidegate.kernels.margin import UNKNOWN
from tidegate.kernels.window import used_since
from tidegate.safeguards.stack import Stack


UNLIMITED = 2**62


class Bucket(NamedTuple):
    """What one instrument and side has released lately, and the most that it may; lots."""

    spent: int
    most: int | None  # None: nothing limits it


class Edge(NamedTuple):
    """Everybody who holds a position that can be judged; rows in the book's order."""

    seq: int
    ts: int
    account: NDArray[np.int64]
    equity: I64  # Money
    required: I64
    size: NDArray[np.float64]  # Money, notional of all positions
    distance: NDArray[np.float64]  # equity less maintenance, over notional


def facts_judged(state: State, stack: Stack) -> Facts:
    """Return the rules by which accounts are judged now."""
    return followed(state, judged_facts(state, state.now, stack), stack)


def health_now(state: State, stack: Stack) -> Health:
    """Return the health of everybody at the marks that stand: one sweep over the book."""
    m = state.market
    health = stack.declaration.margin.assess(
        state.book, facts_judged(state, stack), mark=m.mark, low=m.low, high=m.high
    )
    return with_wait(state, health, m.mark, m.low, m.high, stack)


def edge_now(state: State, stack: Stack) -> Edge:
    """Return how far everybody is from liquidation; to be sorted elsewhere, see `nearest`.

    Who holds anything that has no price yet cannot be judged and is left out.
    """
    health = health_now(state, stack)
    size = np.zeros(state.book.accounts, np.float64)
    edge_sizes(state.book, state.facts, state.mark, size)
    here = np.flatnonzero((size > 0) & (health.best < UNKNOWN // 2))
    here = here[here >= FIRST_USER]
    equity, required, size = health.equity[here], health.required[here], size[here]
    distance = (equity - required) / size
    return Edge(state.seq - 1, state.now, here, equity, required, size, distance)


def nearest(edge: Edge, offset: int, limit: int) -> NDArray[np.int64]:
    """Return places in ``edge`` from the nearest to liquidation on, ties by account."""
    last = min(offset + limit, edge.account.size)
    if offset >= last:
        return np.zeros(0, np.int64)
    some = np.arange(edge.account.size)
    if last < edge.account.size:
        # Whoever ties with the last one is kept, so that pages never overlap nor leave a gap.
        line = np.partition(edge.distance, last - 1)[last - 1]
        some = np.flatnonzero(edge.distance <= line)
    order = some[np.argsort(edge.distance[some], kind="stable")]
    return order[offset:last]


def bucket_now(state: State, i: int, side: int, deficit: int, stack: Stack) -> Bucket:
    """Return what a side (0 sells, 1 buys) of an instrument has released, and may at most.

    Of the planner's bucket and the throttle's window the one that leaves less room. ``deficit`` is
    that of the bankrupt, for a throttle that follows the fund.
    """
    if not state.mark[i]:
        return Bucket(0, None)
    view, m, p = View.of(state), state.market, state.pace
    most = bucket_capacity(state, view, state.rung, i, side, stack)
    spent = stack.declaration.planner.drained(
        spent=int(m.spent[i, side]),
        capacity=most,
        elapsed=state.now - int(m.spent_at[i, side]),
    )
    pace = pace_at(view, state.rung, i, stack)
    window = window_capacity(state, view, i, side, deficit, pace, stack)  # pyright: ignore[reportArgumentType] - Money is an int
    if window < UNLIMITED and stack.declaration.throttle.active:
        since = state.now - stack.declaration.throttle.window_ns
        used = int(used_since(p.log_at[i, side], p.log_lots[i, side], since))
        if window - used < most - spent:
            most, spent = window, used
    return Bucket(spent, most if most < UNLIMITED else None)


def share_of(ppm: int) -> float:
    """Return a rate in ppm as a share."""
    return ppm / PPM
