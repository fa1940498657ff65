"""Caps on what is lent and on open interest: what a request would add, and whether it may."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tidegate.domain.book import FIRST_USER, row_of
from tidegate.domain.effects import CapMoved, Decision, Rejected
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import PPM, Money, Nanos
from tidegate.engine.state import State
from tidegate.safeguards.caps import CASH_NAME, Cap
from tidegate.safeguards.stack import Stack


class Moved(NamedTuple):
    """What one account would gain of an asset or instrument; `CASH` is cash."""

    account: int
    asset: int
    amount: int


def cap_refusal(state: State, changes: Sequence[Moved], now: int, stack: Stack) -> list[Decision]:
    """Return a refusal where ``changes`` together would take a total beyond its cap, else nothing.

    Only what grows is refused: repaying, reducing and passing on are always allowed.
    """
    for total in _touched(state, changes, stack):
        spot = total.asset == CASH or state.facts.kind[total.asset] == Kind.SPOT
        code, detail = (_lent if spot else _open)(state, total, now, stack)
        if code:
            return [Rejected(code=code, detail=detail)]
    return []


def _open(state: State, total: "Total", now: int, stack: Stack) -> tuple[str, str]:
    """Return why one side of a derivative may not grow to this, or nothing."""
    del now
    cap, name = total.cap, _name(stack, total.asset)
    sides = ((total.more, total.held), (total.debt, total.owed))
    side = max(before + grown if grown > 0 else 0 for grown, before in sides)
    if cap.open_interest_max and _worth(state, total.asset, side) > cap.open_interest_max:
        code = "open_interest_cap_reached"
        return code, f"{side:_} lots of {name} on one side"
    return "", ""


def _lent(state: State, total: "Total", now: int, stack: Stack) -> tuple[str, str]:
    """Return why this much of an asset may not be lent or leave, or nothing."""
    cap, asset, name = total.cap, total.asset, _name(stack, total.asset)
    owed, held = total.owed + total.debt, total.held + total.more
    if total.debt > 0 and cap.debt_max:
        ceiling = _ceiling(state, total, now, stack)
        if _worth(state, asset, owed) > ceiling:
            code = "debt_cap_reached"
            return code, f"{owed:_} of {name} would be owed, worth more than {ceiling:_}"
    # Debt over holdings, compared exactly: no division, unbounded integers.
    used = owed * PPM > cap.utilisation_max * held
    if cap.utilisation_max and used and (total.debt > 0 or total.more < 0) and owed > 0:
        code = "utilisation_too_high"
        return code, f"{owed:_} of {held:_} {name} would be lent"
    if total.more < 0 and cap.holds:
        floor = _floor(state, total, now, stack)
        if _worth(state, asset, held) < floor:
            code = "supply_floor_reached"
            return code, f"{held:_} of {name} would be left, worth less than {floor:_}"
    return "", ""


def moved_caps(state: State, changes: Sequence[Moved], now: int, stack: Stack) -> list[Decision]:
    """Return what is remembered of expanding limits once ``changes`` have been admitted."""
    effects: list[Decision] = []
    floors = len(stack.declaration.caps.markets)
    for total in _touched(state, changes, stack):
        cap, slot = total.cap, _slot(stack, total.asset)
        if cap.expands and total.debt:
            owed = _worth(state, total.asset, total.owed + total.debt)
            ceiling = _ceiling(state, total, now, stack)
            limit = Money(cap.remembered(borrowed=owed, ceiling=ceiling))
            effects.append(CapMoved(slot=slot, limit=limit, at=Nanos(now)))
        if cap.holds and total.more < 0:
            held = _worth(state, total.asset, total.held + total.more)
            left = cap.floor_left(supplied=held, floor=_floor(state, total, now, stack))
            effects.append(CapMoved(slot=floors + slot, limit=Money(left), at=Nanos(now)))
    return effects


class Total(NamedTuple):
    """What all users hold and owe of one capped asset, in lots, and by how much that changes."""

    asset: int
    cap: Cap
    held: int
    owed: int
    more: int
    debt: int


def _touched(state: State, changes: Sequence[Moved], stack: Stack) -> Iterator[Total]:
    """Yield the totals of what is capped and changes, in the order of the changes."""
    caps = stack.declaration.caps
    if not caps.markets:
        return
    for asset in dict.fromkeys(c.asset for c in changes):
        cap = caps.at(_name(stack, asset))
        if cap is None:
            continue
        held, owed = _totals(state, asset)
        more = debt = 0
        for account in dict.fromkeys(c.account for c in changes if c.asset == asset):
            before = _balance(state, account, asset)
            after = before + sum(
                c.amount for c in changes if c.asset == asset and c.account == account
            )
            more += max(after, 0) - max(before, 0)
            debt += max(-after, 0) - max(-before, 0)
        yield Total(asset, cap, held, owed, more, debt)


def _totals(state: State, asset: int) -> tuple[int, int]:
    if asset != CASH:
        return int(state.book.long_open[asset]), int(state.book.short_open[asset])
    cash = state.book.cash[FIRST_USER : state.book.accounts]
    # Two halves: no sum of fewer than 2**31 rows can wrap.
    parts = [np.maximum(cash, 0), np.maximum(-cash, 0)]
    held, owed = ((int((p >> 31).sum()) << 31) + int((p & (2**31 - 1)).sum()) for p in parts)
    return held, owed


def _balance(state: State, account: int, asset: int) -> int:
    if asset == CASH:
        return int(state.book.cash[account])
    row = row_of(state.book, account, asset)
    return int(state.book.lots[row]) if row >= 0 else 0


def _worth(state: State, asset: int, lots: int) -> int:
    """Return what ``lots`` are worth at the mark, in Money, rounded up, in unbounded integers."""
    if asset == CASH:
        return lots
    f = state.facts
    columns = (f.kind, f.tick_value, f.units, f.face)
    kind, tick, units, face = (int(c[asset]) for c in columns)
    price = int(state.mark[asset])
    if kind == Kind.INVERSE:
        return abs(lots) * face
    return -(-abs(lots) * price * tick // units)


def _ceiling(state: State, total: Total, now: int, stack: Stack) -> int:
    slot, cap = _slot(stack, total.asset), total.cap
    if not cap.expands:
        return cap.debt_max
    return cap.ceiling(
        borrowed=_worth(state, total.asset, total.owed),
        last=int(state.cap_limit[slot]),
        elapsed=now - int(state.cap_moved_at[slot]),
    )


def _floor(state: State, total: Total, now: int, stack: Stack) -> int:
    slot = len(stack.declaration.caps.markets) + _slot(stack, total.asset)
    return total.cap.floor(
        supplied=_worth(state, total.asset, total.held),
        last=int(state.cap_limit[slot]),
        elapsed=now - int(state.cap_moved_at[slot]),
    )


def _name(stack: Stack, asset: int) -> str:
    return CASH_NAME if asset == CASH else stack.venue.instruments[asset].symbol


def _slot(stack: Stack, asset: int) -> int:
    return list(stack.declaration.caps.markets).index(_name(stack, asset))
