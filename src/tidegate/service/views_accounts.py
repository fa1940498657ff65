"""Accounts: one in full, and all of them by how near they are to liquidation."""

from collections.abc import Callable

import numpy as np

from tidegate.api.answers import AccountColumns, AccountNow, OrderNow, PositionNow
from tidegate.domain.book import FIRST_USER
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Kind
from tidegate.domain.units import PPM
from tidegate.engine.following import facts_now
from tidegate.engine.state import State
from tidegate.engine.waiting import wait_extra
from tidegate.kernels.edge import NOWHERE, liquidation_ticks
from tidegate.kernels.groups import add_account_extra
from tidegate.kernels.margin import assess_account
from tidegate.kernels.safe_distance import FAR, account_best
from tidegate.kernels.value import notional, worth
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Reading
from tidegate.service.views_desk import orders_now
from tidegate.service.views_health import Edge, facts_judged, health_now, nearest
from tidegate.service.views_words import account_name, money_text, price_text, quantity_text


def account_now(now: Reading, account: int) -> AccountNow:
    """Return one account: what it holds, what is asked of it, and where it would be liquidated."""
    state, stack = now.state, now.stack
    judged = facts_judged(state, stack)
    equity, required, best = _standing(state, account, judged, stack)
    initial = _initial(state, account, stack)
    rows = _rows(state, account)
    user = account >= FIRST_USER
    size = sum(_notional(state, row) for row in rows)
    extra = max(0, required - _assessed(state, account, judged)[1])
    orders: list[OrderNow] = []
    if any(int(state.book.in_flight[row]) for row in rows):
        orders = orders_now(now, account=account)
    return AccountNow(
        name=account_name(now.names, account, stack),
        owner=account_name(now.names, int(state.book.owner[account]), stack),
        seq=now.head,
        ts=state.now,
        cash=money_text(int(state.book.cash[account])),
        equity=money_text(equity),
        maintenance=money_text(required),
        initial=money_text(initial),
        margin_ratio=required / equity if rows and equity > 0 else None,
        liquidatable=user and best < 0,
        bankrupt=user and best < 0 and equity < 0,
        distance=(equity - required) / size if size else None,
        positions=[_position(state, row, judged, extra, stack, user=user) for row in rows],
        orders=orders,
    )


def _standing(state: State, account: int, judged: Facts, stack: Stack) -> tuple[int, int, int]:
    """Return equity, maintenance and best case, as a sweep of everybody would find them.

    Only owner groups and the price of waiting need the others, and with them the sweep.
    """
    if account < FIRST_USER:
        return _assessed(state, account, judged)[0], 0, 0
    declaration, m = stack.declaration, state.market
    if declaration.margin.group_tiers or declaration.wait.active:
        health = health_now(state, stack)
        return (
            int(health.equity[account]),
            int(health.required[account]),
            int(health.best[account]),
        )
    out = np.zeros(3, np.int64)
    account_best(state.book, judged, m.mark, m.low, m.high, account, out)
    equity, required, _ = _assessed(state, account, judged)
    best = int(out[0])
    return (0 if best == FAR else equity), required, best


def _assessed(state: State, account: int, facts: Facts) -> tuple[int, int, int]:
    out = np.zeros(3, np.int64)
    assess_account(state.book, facts, state.mark, account, -1, 0, 0, 0, 0, out)
    return int(out[0]), int(out[1]), int(out[2])


def _initial(state: State, account: int, stack: Stack) -> int:
    """Return what it must have before it may take on more, at the scale of the breaker."""
    if account < FIRST_USER:
        return 0
    out = np.zeros(3, np.int64)
    facts = facts_now(state, stack)
    assess_account(state.book, facts, state.mark, account, -1, 0, 0, 0, 0, out)
    if stack.declaration.margin.group_tiers:
        add_account_extra(state.book, facts, state.mark, account, -1, -1, 0, 0, out)
    scale = stack.declaration.breaker.at(state.rung).initial_scale
    asked = max(-(-int(out[2]) * scale // PPM), int(out[1]))
    return asked + wait_extra(state, account, -1, 0, stack)


def _rows(state: State, account: int) -> list[int]:
    """Return the account's position rows by instrument."""
    book, rows = state.book, list[int]()
    row = int(book.head[account])
    while row >= 0:
        rows.append(row)
        row = int(book.follow[row])
    return sorted(rows, key=lambda row: int(book.instrument[row]))


def _notional(state: State, row: int) -> int:
    i = int(state.book.instrument[row])
    if not state.mark[i]:
        return 0
    return int(notional(state.facts, i, int(state.book.lots[row]), int(state.mark[i])))


def _position(
    state: State, row: int, judged: Facts, extra: int, stack: Stack, *, user: bool
) -> PositionNow:
    book, i = state.book, int(state.book.instrument[row])
    of, lots, mark = stack.venue.instruments[i], int(book.lots[row]), int(state.mark[i])
    cost, spot = int(book.cost[row]), state.facts.kind[i] == Kind.SPOT
    value = int(worth(state.facts, state.mark, i, lots, 0, mark)) if mark else 0
    pnl = int(worth(state.facts, state.mark, i, lots, cost, mark)) if mark and not spot else 0
    found = NOWHERE
    if user and lots and mark:
        account = int(book.account[row])
        found = int(liquidation_ticks(book, judged, state.mark, account, i, extra))
    return PositionNow(
        instrument=of.symbol,
        quantity=quantity_text(of, lots),
        entry="0" if spot else price_text(of, entry_ticks(state, i, lots, cost)),
        mark=price_text(of, mark),
        value=money_text(value),
        pnl=money_text(pnl),
        in_flight=quantity_text(of, int(book.in_flight[row])),
        liquidation_price=None if found == NOWHERE else price_text(of, found),
    )


def entry_ticks(state: State, i: int, lots: int, cost: int) -> int:
    """Return the mean price paid, to the nearest tick; 0 where nothing is held."""
    facts = state.facts
    if not lots:
        return 0
    if facts.kind[i] == Kind.INVERSE:
        return 0 if not cost else round(-lots * int(facts.contract[i]) / cost)
    per_tick = lots * int(facts.tick_value[i])
    return (2 * cost + per_tick) // (2 * per_tick)


def account_columns(
    edge: Edge, offset: int, limit: int, name: Callable[[int], str]
) -> AccountColumns:
    """Return one page of accounts, nearest to liquidation first; may run on any thread."""
    at = nearest(edge, offset, limit)
    return AccountColumns(
        seq=edge.seq,
        ts=edge.ts,
        total=int(edge.account.size),
        offset=offset,
        account=list(map(name, edge.account[at].tolist())),
        equity=(edge.equity[at] / PPM).tolist(),
        maintenance=(edge.required[at] / PPM).tolist(),
        notional=(edge.size[at] / PPM).tolist(),
        distance=edge.distance[at].tolist(),
    )
