"""Margin that follows volatility: charges per instrument, and the facts with them in force."""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.effects import Decision, MarginFollowed, VolatilityMoved
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Kind
from tidegate.domain.units import PPM
from tidegate.engine.governance import deductions_of
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack, copied


def follow(state: State, effects: Sequence[Decision], stack: Stack) -> list[Decision]:
    """Return the charges that change with the estimates of variance among ``effects``."""
    rule = stack.declaration.margin.volatility
    if not rule.cover:
        return []
    moved: list[Decision] = []
    for effect in effects:
        if not isinstance(effect, VolatilityMoved):
            continue
        i = effect.instrument
        if state.facts.kind[i] == Kind.SPOT:
            continue
        calculated = rule.calculated(effect.variance)
        charged = rule.charged(int(state.charged[i]), calculated)
        if charged != state.charged[i]:
            moved.append(MarginFollowed(instrument=i, calculated=calculated, charged=charged))
    return moved


def followed(state: State, facts: Facts, stack: Stack) -> Facts:
    """Return ``facts`` with the charges in force: no tier of a derivative asks for less.

    Initial margin asks the charge itself, maintenance its ``maintenance_share``, rounded down: a
    charge may be reached before it forces anybody. ``facts`` itself where nothing is charged.
    """
    rule = stack.declaration.margin.volatility
    if not state.charged.any():
        return facts
    changed = copied(facts)
    for i in np.flatnonzero(state.charged).tolist():
        start, end = facts.tier_start[i : i + 2].tolist()
        charge = int(state.charged[i])
        stay = charge * rule.maintenance_share // PPM
        floors = facts.tier_floor[start:end].tolist()
        for least, rates, cums in (
            (charge, changed.tier_initial, changed.tier_initial_cum),
            (stay, changed.tier_maintenance, changed.tier_maintenance_cum),
        ):
            rates[start:end] = np.maximum(rates[start:end], least)
            cums[start:end] = deductions_of(floors, rates[start:end].tolist())
    return changed


def facts_now(state: State, stack: Stack) -> Facts:
    """Return the facts by which a position is opened now."""
    return followed(state, state.facts, stack)
