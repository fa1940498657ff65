"""Dividing a plan between the order book and bidders."""

import numpy as np

from tidegate.domain.units import I64
from tidegate.engine.auctions import fitted
from tidegate.engine.market import View, worth_of_lot
from tidegate.engine.state import State
from tidegate.kernels.depth import executable
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.planner import Plan
from tidegate.safeguards.stack import Stack


def divide(
    state: State, view: View, plan: Plan, rung: int, spare: int, stack: Stack
) -> tuple[Plan | None, I64]:
    """Return the plan as far as both routes carry it, and which of its lots the book gets.

    ``spare`` is how many orders still find a slot. On the auction rung the book gets nothing:
    everything is offered.
    """
    route = stack.split
    assert route is not None
    book = (
        _on_book(state, view, plan, spare, stack) if rung < Rung.AUCTION_ONLY else plan.ordered * 0
    )
    asked = plan.ordered - book
    offered, waiting = fitted(state, view, plan.row, asked, stack)
    refused = asked - offered
    if route.spill and rung < Rung.AUCTION_ONLY:
        # A close that the book serves already has its order; others need a slot of their own.
        spare -= int((book != 0).sum())
        late = np.flatnonzero((refused != 0) & (book == 0))[max(0, spare) :]
        refused[late] = 0
        book = book + refused
    ordered = book + offered
    fits = plan.carried(ordered, waiting)
    return fits, book if fits is None else book[plan.closing(ordered)]


def _on_book(state: State, view: View, plan: Plan, slots: int, stack: Stack) -> I64:
    """Return the lots that go to the order book at once, in the order of service."""
    route, m = stack.split, state.market
    assert route is not None
    out = np.zeros(plan.ordered.size, np.int64)
    free: dict[tuple[int, int], int] = {}
    for n in np.flatnonzero(plan.ordered).tolist():
        if slots <= 0:
            break
        lots, i = int(plan.ordered[n]), int(state.book.instrument[plan.row[n]])
        side, mark = int(lots > 0), int(view.mark[i])
        if (i, side) not in free:
            free[i, side] = int(
                executable(
                    m.depth_price[i, side],
                    m.depth_lots[i, side],
                    int(m.levels[i, side]),
                    mark,
                    route.book_reach,
                )
            )
        worth = int(worth_of_lot(stack, i, mark))
        part = route.on_book(lots=abs(lots), worth=worth, free=free[i, side])
        free[i, side] -= part
        slots -= part > 0
        out[n] = part if lots > 0 else -part
    return out
