"""From health to orders: stages, netting, the throttle and the route."""

from collections.abc import Sequence
from math import isqrt

import numpy as np

from tidegate.domain.book import Health
from tidegate.domain.effects import (
    Decision,
    OrdersPlaced,
    StagesTaken,
    ThrottleMoved,
)
from tidegate.domain.units import I64, PPM, SECOND, Money, Nanos, Ppm, pack
from tidegate.engine.auctions import fit, kept_within, offered
from tidegate.engine.booking import book_trades, trades_at
from tidegate.engine.market import View, sellable, worth_of_lot
from tidegate.engine.pace import (
    deficit_for,
    depth_within,
    releasable,
    released,
    window_capacity,
)
from tidegate.engine.slicing import slices_due, slices_taken
from tidegate.engine.split import divide
from tidegate.engine.state import SHIFT, State
from tidegate.kernels.plan import first_rows
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.planner import Plan
from tidegate.safeguards.stack import Stack


def liquidate(
    state: State,
    view: View,
    health: Health,
    rung: int,
    now: int,
    stack: Stack,
    before: Sequence[Decision] = (),
) -> list[Decision]:
    """Return this step's stages: what is netted and ordered, and what the bucket then holds.

    Orders that this very step placed ``before`` have their slots already.
    """
    if not (health.best < 0).any() or rung >= Rung.HALT:
        return []
    declaration = stack.declaration
    step = declaration.breaker.at(rung)
    rooms, spent = throttle(state, view, health, rung, now, stack)
    plan, effects = planned(state, view, health, rooms, now, stack)
    book = np.zeros(0, np.int64)
    if plan is not None:
        spare = int(state.orders.counts[0])
        spare -= sum(len(e.lots) // 8 for e in before if isinstance(e, OrdersPlaced))
        plan, book = _routed(state, view, plan, rung, spare, stack)
    if plan is None:
        return effects
    if declaration.slices.active:
        effects.append(slices_taken(state, plan, now))
    else:
        effects.append(_stages(state, plan, health, now))
    effects += _netted(state, view, plan)
    effects += _ordered(state, view, plan, book, health, now, step.band, stack)
    used = _ordered_lots(state, plan, view.mark.size)
    if declaration.planner.depth_share:
        effects += [
            ThrottleMoved(
                instrument=i, side=side, spent=spent[side][i] + int(used[side][i]), at=Nanos(now)
            )
            for side in range(2)
            for i in np.flatnonzero(used[side]).tolist()
        ]
    return effects + released(used, now, stack)


def planned(
    state: State, view: View, health: Health, rooms: list[I64], now: int, stack: Stack
) -> tuple[Plan | None, list[Decision]]:
    """Return what of everybody's stages, or of their slices, fits into the rooms."""
    planner = stack.declaration.planner
    depth, sigma = ranked_by(state, view, stack)
    if stack.declaration.slices.active:
        due = slices_due(state, view, health, now, stack, depth=depth, sigma=sigma)
        plan = planner.fitted(state.book, due.wants, *rooms) if due.wants else None
        return plan, due.effects
    plan = planner.plan(
        state.book,
        stack.declaration.penalty.planned(state.facts),
        health,
        mark=view.mark,
        gate=sellable(view, stack),
        staged_at=state.staged_at,
        now=Nanos(now),
        room_sell=rooms[0],
        room_buy=rooms[1],
        depth=depth,
        sigma=sigma,
    )
    return plan, []


def ranked_by(state: State, view: View, stack: Stack) -> tuple[I64 | None, I64 | None]:
    """Return the depth and the moves of prices that the planner's priority asks for."""
    planner, n = stack.declaration.planner, view.mark.size
    if planner.priority == "branching":
        depth = [
            [depth_within(state, view, i, side, planner.depth_reach) for side in range(2)]
            for i in range(n)
        ]
        return np.array(depth, np.int64), None
    if planner.priority == "deficit":
        variance = state.market.variance.tolist()
        moves = [isqrt(v * planner.window_ns // SECOND) for v in variance]
        return None, np.array([min(m, PPM) for m in moves], np.int64)
    return None, None


def _routed(
    state: State, view: View, plan: Plan, rung: int, spare: int, stack: Stack
) -> tuple[Plan | None, I64]:
    """Return the plan as far as its routes carry it, and the lots that the order book gets."""
    if stack.split is not None:
        return divide(state, view, plan, rung, spare, stack)
    if stack.auctions is not None:
        fits = fit(state, view, plan, stack)
        return fits, np.zeros(0 if fits is None else fits.row.size, np.int64)
    fits = _within_slots(plan, spare)
    return fits, plan.ordered if fits is None else fits.ordered


def _within_slots(plan: Plan, spare: int) -> Plan | None:
    """Return the plan without the orders for which no slot is free; they wait for the next step.

    Slots run out before anything else does: what is not ordered is neither staged nor charged to
    the throttle.
    """
    late = np.flatnonzero(plan.ordered)[spare:]
    if not late.size:
        return plan
    ordered = plan.ordered.copy()
    ordered[late] = 0
    return plan.carried(ordered, int(late.size))


def _ordered_lots(state: State, plan: Plan, instruments: int) -> list[I64]:
    """Return the lots ordered per side (sells, buys) and instrument, as positive numbers."""
    out = [np.zeros(instruments, np.int64) for _ in range(2)]
    i = state.book.instrument[plan.row]
    np.add.at(out[0], i, np.maximum(-plan.ordered, 0))
    np.add.at(out[1], i, np.maximum(plan.ordered, 0))
    return out


def capacity(
    state: State,
    view: View,
    rung: int,
    i: int,
    side: int,
    stack: Stack,
    deficit: Money = Money(0),  # noqa: B008 - a number
) -> int:
    """Return the lots of ``i`` that one window may release on a side (0 sells, 1 buys).

    On the auction rung forced sales leave the order book alone: only netting remains, and
    auctions. ``deficit`` is that of the open bankrupt, for a throttle that follows the fund.
    """
    bucket = bucket_capacity(state, view, rung, i, side, stack)
    pace = pace_at(view, rung, i, stack)
    return min(bucket, window_capacity(state, view, i, side, deficit, pace, stack))


def pace_at(view: View, rung: int, i: int, stack: Stack) -> Ppm:
    """Return the share of the budget in ``i``: the smooth one where the breaker has set one."""
    return stack.declaration.breaker.at(rung).pace if view.pace is None else Ppm(int(view.pace[i]))


def bucket_capacity(state: State, view: View, rung: int, i: int, side: int, stack: Stack) -> int:
    """Return what the leaky bucket over measured depth holds; without one only the pace remains."""
    planner, breaker, m = stack.declaration.planner, stack.declaration.breaker, state.market
    shut = rung >= Rung.AUCTION_ONLY and stack.auctions is None
    pace = Ppm(0) if shut else pace_at(view, rung, i, stack)
    depth = depth_within(state, view, i, side, planner.depth_reach)
    if planner.depth_share and not depth and m.levels[i].any():
        return 0  # the book was measured and holds nothing here: no other depth is assumed
    return planner.capacity(
        depth_lots=depth,
        lot_value=worth_of_lot(stack, i, int(view.mark[i])),
        pace=pace,
        reserved=breaker.reserved,
    )


def throttle(
    state: State, view: View, health: Health, rung: int, now: int, stack: Stack
) -> tuple[list[I64], list[list[int]]]:
    """Return the lots that may be ordered now per side and instrument, and the bucket's content.

    Bounded by the drained bucket over measured depth, by the throttle's window, by the schedule in
    force, and by what is already in flight.
    """
    planner, m = stack.declaration.planner, state.market
    n, deficit = view.mark.size, deficit_for(health, stack)
    rooms = [np.zeros(n, np.int64) for _ in range(2)]
    held: list[list[int]] = [[0] * n for _ in range(2)]
    flight = in_flight(state, n)
    for i in range(n):
        lot_value = worth_of_lot(stack, i, int(view.mark[i]))
        pace = pace_at(view, rung, i, stack)
        for side in range(2):
            most = bucket_capacity(state, view, rung, i, side, stack)
            spent = planner.drained(
                spent=int(m.spent[i, side]),
                capacity=most,
                elapsed=now - int(m.spent_at[i, side]),
            )
            room = max(0, most - spent)
            room = min(room, releasable(state, view, i, side, deficit, pace, now, stack))
            if planner.in_flight_max:
                room = min(room, max(0, planner.in_flight_max // lot_value - int(flight[side][i])))
            held[side][i], rooms[side][i] = spent, room
    return rooms, held


def in_flight(state: State, instruments: int) -> list[I64]:
    """Return lots in flight per side (sells, buys) and instrument, as positive numbers."""
    out = [np.zeros(instruments, np.int64) for _ in range(2)]
    open_slots = [held for held in (state.orders, state.auctions) if held.counts[1]]
    if not open_slots:
        return out
    live = [np.flatnonzero(held.key >= 0) for held in open_slots]
    lots = np.concatenate([h.lots[n] for h, n in zip(open_slots, live, strict=True)])
    row = np.concatenate([h.row[n] for h, n in zip(open_slots, live, strict=True)])
    i = state.book.instrument[row]
    np.add.at(out[0], i[lots < 0], -lots[lots < 0])
    np.add.at(out[1], i[lots > 0], lots[lots > 0])
    return out


def _stages(state: State, plan: Plan, health: Health, now: int) -> StagesTaken:
    account, first = first_rows(state.book, plan.row)
    return StagesTaken(
        account=pack(account),
        equity=pack(health.equity[account]),
        required=pack(health.required[account]),
        share=pack(plan.share[first]),
        at=Nanos(now),
        waiting=plan.waiting,
    )


def _netted(state: State, view: View, plan: Plan) -> list[Decision]:
    rows = plan.row[plan.netted != 0]
    lots = plan.netted[plan.netted != 0]
    instrument = state.book.instrument[rows].astype(np.int64)
    account = state.book.account[rows].astype(np.int64)
    trades = trades_at(state, account, instrument, lots, view.mark[instrument])
    return book_trades(state, trades, "netted", rows)


def _ordered(
    state: State,
    view: View,
    plan: Plan,
    book: I64,
    health: Health,
    now: int,
    band: Ppm,
    stack: Stack,
) -> list[Decision]:
    """Return the orders and offers of a plan that has a slot for each of them."""
    effects: list[Decision] = []
    used = np.flatnonzero(book)
    if used.size:
        effects += _booked(state, view, plan, health, used, book[used], now, band, stack)
    rest = plan.ordered - book
    used = np.flatnonzero(rest)
    if used.size:
        row, share = plan.row[used], plan.share[used]
        effects += offered(state, view, health, row, rest[used], share, band, now, stack)
    return effects


def _booked(
    state: State,
    view: View,
    plan: Plan,
    health: Health,
    used: I64,
    ordered: I64,
    now: int,
    band: Ppm,
    stack: Stack,
) -> list[Decision]:
    """Return the orders for the book: within their limits, the bands, and never worse."""
    row, route = plan.row[used], stack.declaration.route
    limit = route.limits(
        state.book, state.facts, health, mark=view.mark, row=row, ordered=ordered, band=band
    )
    first = state.seq << SHIFT
    limit, held = kept_within(state, view, plan, health, row, ordered, limit, first, stack)
    return [
        OrdersPlaced(
            first=first,
            route=route.name,
            account=pack(state.book.account[row]),
            instrument=pack(state.book.instrument[row]),
            lots=pack(ordered),
            limit=pack(limit),
            share=pack(plan.share[used]),
            at=Nanos(now),
        ),
        *held,
    ]
