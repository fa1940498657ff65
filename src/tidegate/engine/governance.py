"""Parameters on their way: announced, ramping, and judged by what they were a while ago."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tidegate.domain.effects import (
    Decision,
    ParameterMoved,
    ParameterScheduled,
    ParameterSettled,
    Rejected,
)
from tidegate.domain.events import ParameterChanged, ParameterProposed
from tidegate.domain.facts import GOVERNED, Facts
from tidegate.domain.units import PPM, Nanos
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack, copied, parameter_cell, parameter_max


LATEST: Final = 2**62  # as for events: no sum of two times can wrap
FLAG: Final = "pause"  # the only column that is no fact
TIERS: Final = {"tier_maintenance": "tier_maintenance_cum", "tier_initial": "tier_initial_cum"}


def on_parameter(
    state: State, event: ParameterChanged | ParameterProposed, stack: Stack
) -> list[Decision]:
    """Change one cell of the venue's parameter columns: from now on, or once its time has come.

    A dated change is taken as announced now, with just the notice that governance asks for. A flag
    that pauses an action needs none: it is pulled when something is wrong.
    """
    rules = stack.declaration.governance
    cell = parameter_cell(state.facts, stack.venue, event.name)
    if cell is None:
        return [Rejected(code="parameter_unknown", detail=event.name)]
    column, row = cell
    said = f"{event.name} = {event.value}"
    if not 0 <= event.value <= parameter_max(stack, column, row):
        return [Rejected(code="rate_out_of_range", detail=said)]
    at = event.ts + (0 if column == FLAG else rules.notice_ns)
    if isinstance(event, ParameterProposed):
        at = event.effective_at
        if at > LATEST:
            return [Rejected(code="time_out_of_range", detail=said)]
    current = _value(state, state.facts, column, row)
    slot = state.pending.slot_of(column, row)
    if slot >= 0:
        if event.value == current and state.pending.at[slot] > event.ts:
            return [ParameterSettled(slot=slot)]  # what has not begun is withdrawn
        return [Rejected(code="parameter_is_pending", detail=said)]
    notice = rules.notice_ns if column == FLAG and at >= event.ts else at - event.ts
    if code := rules.refusal(column, current, event.value, notice):
        return [Rejected(code=code, detail=f"{said} at {at}")]
    if tiers_clash(state.facts, column, row, event.value):
        return [Rejected(code="tiers_must_rise", detail=said)]
    later = at > event.ts or rules.lasts(column, current, event.value)
    moved = rules.value_at(column, current, event.value, event.ts - at)
    moves = moves_of(state.facts, column, row, moved) if moved != current or not later else []
    if not later:
        return [*moves]
    free = state.pending.free_slot()
    if free < 0:
        return [Rejected(code="too_many_parameters_pending", detail=said)]
    scheduled = ParameterScheduled(
        slot=free, column=column, row=row, start=current, target=event.value, at=Nanos(at)
    )
    return [scheduled, *moves]


def due_parameters(state: State, now: int, stack: Stack) -> list[Decision]:
    """Return the moves of all changes that are under way at ``now``; they act one event later."""
    rules, pending, facts = stack.declaration.governance, state.pending, state.facts
    effects: list[Decision] = []
    for k in pending.live:
        column, row = GOVERNED[int(pending.column[k]) - 1], int(pending.row[k])
        start, target = int(pending.start[k]), int(pending.target[k])
        elapsed = now - int(pending.at[k])
        if elapsed < 0:
            continue
        value = rules.value_at(column, start, target, elapsed)
        if tiers_clash(facts, column, row, value):
            effects += [
                Rejected(code="tiers_must_rise", detail=f"{column}[{row}] = {value}"),
                ParameterSettled(slot=k),
            ]
            continue
        if value != _value(state, facts, column, row):
            effects += moves_of(facts, column, row, value)
            if column != FLAG:  # the next one must fit to this one
                facts = with_values(facts, [(column, row, value)])
        if elapsed >= rules.lasts(column, start, target):
            effects.append(ParameterSettled(slot=k))
    return effects


def _value(state: State, facts: Facts, column: str, row: int) -> int:
    """Return what a cell holds now; flags lie beside the facts."""
    return int((state.restraint.pause if column == FLAG else getattr(facts, column))[row])


def judged_facts(state: State, now: int, stack: Stack) -> Facts:
    """Return the facts by which accounts are judged at ``now``: those of the grace period ago.

    Only where that is milder, and only maintenance: what opens a position is today's rule.
    """
    rules, pending = stack.declaration.governance, state.pending
    milder: list[tuple[str, int, int]] = []
    for k in pending.live if rules.grace_ns else ():
        column, row = GOVERNED[int(pending.column[k]) - 1], int(pending.row[k])
        start, target = int(pending.start[k]), int(pending.target[k])
        value = rules.judged_at(column, start, target, now - int(pending.at[k]))
        if rules.ramps(column, start, target) and value < getattr(state.facts, column)[row]:
            milder.append((column, row, value))
    return with_values(state.facts, milder) if milder else state.facts


def with_values(facts: Facts, cells: Sequence[tuple[str, int, int]]) -> Facts:
    """Return a copy of ``facts`` with these (column, row, value) cells, deductions recomputed."""
    changed = copied(facts)
    for column, row, value in cells:
        getattr(changed, column)[row] = value
    for rates, cums in TIERS.items():
        for start, end in zip(facts.tier_start, facts.tier_start[1:], strict=False):
            rate, cum = getattr(changed, rates)[start:end], getattr(changed, cums)[start:end]
            rate[:] = np.maximum.accumulate(rate)
            cum[:] = deductions_of(changed.tier_floor[start:end].tolist(), rate.tolist())
    return changed


def moves_of(facts: Facts, column: str, row: int, value: int) -> list[ParameterMoved]:
    """Return the effects that write one cell, and with a tier's rate the deductions that follow."""
    moves = [ParameterMoved(column=column, row=row, value=value)]
    if column not in TIERS:
        return moves
    start, end = _tiers_around(facts, row)
    rates = getattr(facts, column)[start:end].tolist()
    rates[row - start] = value
    cums = getattr(facts, TIERS[column])
    fresh = deductions_of(facts.tier_floor[start:end].tolist(), rates)
    return moves + [
        ParameterMoved(column=TIERS[column], row=start + k, value=cum)
        for k, cum in enumerate(fresh)
        if cum != cums[start + k]
    ]


def deductions_of(floors: Sequence[int], rates: Sequence[int]) -> list[int]:
    """Return each tier's deduction; exact because floors are whole units of the numeraire."""
    cums = [0]
    for k in range(1, len(floors)):
        cums.append(cums[-1] + floors[k] // PPM * (rates[k] - rates[k - 1]))
    return cums


def tiers_clash(facts: Facts, column: str, row: int, value: int) -> bool:
    """Return whether a tier's rate would leave its neighbours' order, or maintenance initial."""
    if column not in TIERS:
        return False
    start, end = _tiers_around(facts, row)
    rates = getattr(facts, column)
    if (row > start and rates[row - 1] > value) or (row + 1 < end and rates[row + 1] < value):
        return True
    if column == "tier_initial":
        return bool(facts.tier_maintenance[row] > value)
    return bool(facts.tier_initial[row] < value)


def _tiers_around(facts: Facts, row: int) -> tuple[int, int]:
    i = int(np.searchsorted(facts.tier_start, row, side="right")) - 1
    return int(facts.tier_start[i]), int(facts.tier_start[i + 1])
