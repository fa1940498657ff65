"""Caps on what is lent and on open interest: what a request would add, and whether it may."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tidegate.domain.book import FIRST_USER, row_of
from tidegate.domain.effects import CeilingMoved, Decision, Rejected
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
    for asset, cap, held, owed, more, debt in _touched(state, changes, stack):
        spot = asset == CASH or state.facts.kind[asset] == Kind.SPOT
        name = _name(stack, asset)
        if not spot:
            side = max(held + more if more > 0 else 0, owed + debt if debt > 0 else 0)
            if cap.open_interest_max and _worth(state, asset, side) > cap.open_interest_max:
                detail = f"{side:_} lots of {name} on one side"
                return [Rejected(code="open_interest_cap_reached", detail=detail)]
            continue
        if debt > 0 and cap.debt_max:
            ceiling = _ceiling(state, asset, cap, _worth(state, asset, owed), now, stack)
            if _worth(state, asset, owed + debt) > ceiling:
                detail = f"{owed + debt:_} of {name} would be owed, worth more than {ceiling:_}"
                return [Rejected(code="debt_cap_reached", detail=detail)]
        # Debt over holdings, compared exactly: no division, unbounded integers.
        used = (owed + debt) * PPM > cap.utilisation_max * (held + more)
        if cap.utilisation_max and used and (debt > 0 or more < 0) and owed + debt > 0:
            detail = f"{owed + debt:_} of {held + more:_} {name} would be lent"
            return [Rejected(code="utilisation_too_high", detail=detail)]
    return []


def ceilings(state: State, changes: Sequence[Moved], now: int, stack: Stack) -> list[Decision]:
    """Return what is remembered of expanding debt ceilings once ``changes`` have been admitted."""
    effects: list[Decision] = []
    for asset, cap, _, owed, _, debt in _touched(state, changes, stack):
        if not cap.expands or debt == 0:
            continue
        ceiling = _ceiling(state, asset, cap, _worth(state, asset, owed), now, stack)
        after = cap.remembered(borrowed=_worth(state, asset, owed + debt), ceiling=ceiling)
        effects.append(CeilingMoved(slot=_slot(stack, asset), ceiling=Money(after), at=Nanos(now)))
    return effects


def _touched(
    state: State, changes: Sequence[Moved], stack: Stack
) -> Iterator[tuple[int, Cap, int, int, int, int]]:
    """Yield (asset, cap, held, owed, change of held, change of owed) of what is capped, in order.

    Held and owed are sums over all users, in lots or the asset's smallest units.
    """
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
        yield asset, cap, held, owed, more, debt


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


def _ceiling(state: State, asset: int, cap: Cap, borrowed: int, now: int, stack: Stack) -> int:
    if not cap.expands:
        return cap.debt_max
    slot = _slot(stack, asset)
    return cap.ceiling(
        borrowed=borrowed,
        last=int(state.ceiling[slot]),
        elapsed=now - int(state.ceiling_at[slot]),
    )


def _name(stack: Stack, asset: int) -> str:
    return CASH_NAME if asset == CASH else stack.venue.instruments[asset].symbol


def _slot(stack: Stack, asset: int) -> int:
    return list(stack.declaration.caps.markets).index(_name(stack, asset))
