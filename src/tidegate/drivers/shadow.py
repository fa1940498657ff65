"""A change of parameters on trial: says who would be liquidated by it, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import MUTABLE, Facts
from tidegate.domain.units import I64
from tidegate.drivers.casualties import notionals
from tidegate.engine.following import followed
from tidegate.engine.governance import tiers_clash, with_values
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack, parameter_cell, parameter_max


@dataclass(frozen=True, slots=True)
class Affected:
    """One account that the change makes liquidatable, or saves. Money."""

    account: int
    name: str
    equity: int
    before: int  # maintenance as it is
    after: int  # and under the change
    open: int  # notional of its positions and debts


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a change would do to one state; nothing of it has happened."""

    liquidated: list[Affected]  # only by the change, deepest first
    saved: list[Affected]  # only without it
    already: int  # accounts that are liquidatable either way
    required: tuple[int, int]  # everybody's maintenance, before and after

    @property
    def short(self) -> int:
        """What those liquidated by the change would have to add to stay, together."""
        return sum(a.after - a.equity for a in self.liquidated)


def shadow(state: State, stack: Stack, changes: Sequence[tuple[str, int]]) -> Shadow:
    """Judge every account by the parameters as they are and as they would be.

    Uses the marks and their intervals as the engine believes them at this moment, so it is exactly
    the set that the next price would liquidate if the change acted at once. Raise ConfigInvalid for
    a change that the engine would refuse.
    """
    facts = changed_facts(state.facts, stack, changes)
    model, market = stack.declaration.margin, state.market
    ends = {"mark": market.mark, "low": market.low, "high": market.high}
    before = model.assess(state.book, followed(state, state.facts, stack), **ends)
    after = model.assess(state.book, followed(state, facts, stack), **ends)
    was, would = before.best < 0, after.best < 0
    size = _open(state)

    def told(rows: I64) -> list[Affected]:
        deepest = rows[np.argsort(after.best[rows], kind="stable")]
        return [
            Affected(
                account=int(a),
                name=state.names[int(a) - FIRST_USER],
                equity=int(after.equity[a]),
                before=int(before.required[a]),
                after=int(after.required[a]),
                open=int(size[a]),
            )
            for a in deepest
        ]

    return Shadow(
        liquidated=told(np.flatnonzero(would & ~was)),
        saved=told(np.flatnonzero(was & ~would)),
        already=int((was & would).sum()),
        required=(sum(before.required.tolist()), sum(after.required.tolist())),
    )


def changed_facts(facts: Facts, stack: Stack, changes: Sequence[tuple[str, int]]) -> Facts:
    """Return ``facts`` with the changes made one after another; raise ConfigInvalid."""
    for name, value in changes:
        cell = parameter_cell(facts, stack.venue, name)
        if cell is None:
            known = parameter_names(facts, stack)
            near = get_close_matches(name, known, n=1)
            raise ConfigInvalid(
                where=f"--set {name}",
                what="must name a parameter that can change, COLUMN.SYMBOL",
                found=repr(name),
                hint=f"did you mean {near[0]}?" if near else f"for instance {known[0]}",
            )
        most = parameter_max(stack, *cell)
        if not 0 <= value <= most:
            raise ConfigInvalid(
                where=f"--set {name}", what=f"must lie within 0..{most:_}", found=f"{value:_}"
            )
        if tiers_clash(facts, *cell, value):
            raise ConfigInvalid(
                where=f"--set {name}",
                what="rates must rise with their tiers, and maintenance never exceed initial",
                found=f"{value:_}",
                hint="give the changes in an order in which each of them is possible",
            )
        facts = with_values(facts, [(*cell, value)])
    return facts


def parameter_names(facts: Facts, stack: Stack) -> list[str]:
    """Return the name of every parameter that a dated change may write."""
    symbols = [i.symbol for i in stack.venue.instruments]
    tiers = [
        f"{which}.{symbol}.{k}"
        for which in ("maintenance", "initial")
        for n, symbol in enumerate(symbols)
        for k in range(int(facts.tier_start[n + 1] - facts.tier_start[n]))
    ]
    plain = [f"{column}.{symbol}" for column in MUTABLE for symbol in symbols]
    return [*tiers, *plain, "cash_debt.maintenance", "cash_debt.initial"]


def _open(state: State) -> I64:
    """Return the notional of each account's positions at the marks; a statistic."""
    book, rows = state.book, slice(0, state.book.high)
    instrument = book.instrument[rows].astype(np.int64)
    size = notionals(state.facts, instrument, book.lots[rows], state.mark[instrument])
    out = np.zeros(book.accounts, np.float64)
    np.add.at(out, book.account[rows], size)
    return np.rint(out).astype(np.int64)
