"""From stages to slices: what is due of each account's cut stage, in the order of service."""

from dataclasses import dataclass

import numpy as np

from tidegate.domain.book import Health
from tidegate.domain.effects import CutDropped, Decision, SliceTaken, StageCut, StagesTaken
from tidegate.domain.pace import SEED_BYTES
from tidegate.domain.units import I64, PPM, Nanos, pack
from tidegate.engine.market import View, sellable
from tidegate.engine.state import State
from tidegate.kernels.plan import idle_account, stage_candidates
from tidegate.kernels.slices import cut_accounts, due_by, due_rows
from tidegate.safeguards.planner import Plan, Wants
from tidegate.safeguards.slices import Cut
from tidegate.safeguards.stack import Stack


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now, and the effects that cut new stages and drop what healed."""

    wants: Wants | None
    effects: list[Decision]


def slices_due(
    state: State,
    view: View,
    health: Health,
    now: int,
    stack: Stack,
    *,
    depth: I64 | None,
    sigma: I64 | None,
) -> Due:
    """Return what is due of open stages, after cutting a new stage for everyone else in need."""
    planner, book, p = stack.declaration.planner, state.book, state.pace
    found = np.zeros(book.accounts, np.int64)
    opened = found[: cut_accounts(book, p, book.accounts, found)]
    cured = opened[health.best[opened] >= 0]
    effects: list[Decision] = []
    if cured.size:
        effects.append(CutDropped(account=pack(cured), at=Nanos(now)))
    sick = opened[health.best[opened] < 0]
    ready = [a for a in sick.tolist() if idle_account(book, a)]
    fresh = stage_candidates(book, health.best, state.staged_at, now, planner.interval_ns)
    fresh = fresh[~np.isin(fresh, opened)]

    def served(accounts: I64) -> I64:
        return planner.served(
            accounts,
            book,
            state.facts,
            health,
            mark=view.mark,
            staged_at=state.staged_at,
            depth=depth,
            sigma=sigma,
        )

    gate = sellable(view, stack)
    new = planner.wants(
        book,
        stack.declaration.penalty.planned(state.facts),
        health,
        mark=view.mark,
        gate=gate,
        accounts=served(fresh),
    )
    if new is not None:
        effects += _cut(state, health, new, now, stack)
    parts: dict[int, Wants] = {}
    for account in ready:
        cut = stack.declaration.slices.cut(int(p.cut_secret[account]))
        elapsed = _elapsed(account, now - int(p.cut_at[account]), health, stack)
        rows, lots = np.zeros(view.mark.size, np.int64), np.zeros(view.mark.size, np.int64)
        n = due_rows(book, p, account, *cut, elapsed, rows, lots)
        usable = (gate[book.instrument[rows[:n]]] == 1) & (view.mark[book.instrument[rows[:n]]] > 0)
        chosen = np.flatnonzero(usable)
        parts[account] = Wants(rows[chosen], lots[chosen], np.full(chosen.size, PPM, np.int64))
    if new is not None:
        parts |= _first_slices(state, health, new, now, stack)
    everyone = np.array(sorted(parts), np.int64)
    if not everyone.size:
        return Due(None, effects)
    line = served(everyone).tolist()
    columns = [np.concatenate([parts[a][k] for a in line]) for k in range(3)]
    return Due(Wants(*columns) if columns[0].size else None, effects)


def _elapsed(account: int, elapsed: int, health: Health, stack: Stack) -> int:
    """Return the time since a stage was cut, or its end for whoever cannot wait."""
    slices = stack.declaration.slices
    if slices.hurries(int(health.equity[account]), int(health.required[account])):
        return max(elapsed, slices.horizon_ns)
    return elapsed


def _secret(state: State, account: int, now: int, stack: Stack) -> int:
    seed = state.pace.seed
    drawn = bytes(seed[:SEED_BYTES].astype(np.uint8)) if seed[SEED_BYTES] else b""
    return stack.declaration.slices.secret(drawn, account, now)


def _cut(state: State, health: Health, new: Wants, now: int, stack: Stack) -> list[Decision]:
    """Return the effects that cut new stages: one row a position, one stage an account."""
    account = state.book.account[new.row].astype(np.int64)
    secret = {a: _secret(state, a, now, stack) for a in np.unique(account).tolist()}
    staged, first = np.unique(account, return_index=True)
    return [
        StagesTaken(
            account=pack(staged),
            equity=pack(health.equity[staged]),
            required=pack(health.required[staged]),
            share=pack(new.share[first]),
            at=Nanos(now),
            waiting=0,
        ),
        StageCut(
            account=pack(account),
            instrument=pack(state.book.instrument[new.row]),
            lots=pack(new.want),
            secret=pack(np.array([secret[a] for a in account.tolist()], np.int64)),
            at=Nanos(now),
        ),
    ]


def _first_slices(
    state: State, health: Health, new: Wants, now: int, stack: Stack
) -> dict[int, Wants]:
    """Return what of the stages that are only being cut is due at once."""
    account = state.book.account[new.row]
    parts: dict[int, Wants] = {}
    for a in np.unique(account).tolist():
        cut: Cut = stack.declaration.slices.cut(_secret(state, a, now, stack))
        rows = np.flatnonzero(account == a)
        elapsed = _elapsed(a, 0, health, stack)
        want = new.want[rows]
        due = [int(due_by(abs(int(w)), *cut, elapsed)) * (1 if w > 0 else -1) for w in want]
        lots = np.array(due, np.int64)
        some = np.flatnonzero(lots)
        parts[a] = Wants(new.row[rows[some]], lots[some], new.share[rows[some]])
    return parts


def slices_taken(state: State, plan: Plan, now: int) -> SliceTaken:
    """Return the effect that counts what a plan nets and orders of cut stages."""
    return SliceTaken(
        account=pack(state.book.account[plan.row]),
        instrument=pack(state.book.instrument[plan.row]),
        lots=pack(plan.netted + plan.ordered),
        at=Nanos(now),
    )
