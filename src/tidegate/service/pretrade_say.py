"""A judged order in the words of the API: names instead of rows, decimals instead of integers."""

from decimal import Decimal

import numpy as np

from tidegate.api.checks import AccountAfter, BranchingAdded, PreTradeAnswer, TailAdded
from tidegate.domain.book import FIRST_USER
from tidegate.domain.units import PPM, SECOND
from tidegate.lab.marginal import Base, Marginal
from tidegate.service.pretrade import Desk, Look, Standing


def money(amount: int) -> str:
    """Return Money in whole units of the numeraire, exactly."""
    return format(Decimal(amount).scaleb(-6).normalize(), "f")


def answered(desk: Desk, seen: Look, names: list[str]) -> PreTradeAnswer:
    """Return the whole answer to one order; ``names`` are those of the user accounts, by row."""
    stale = desk.stale(seen)
    found = desk.marginal(seen)
    added = found[1] if found else None
    reasons = desk.reasons(seen, added, stale)
    return PreTradeAnswer(
        allowed=not reasons,
        reduces=seen.reduces,
        reasons=reasons,
        seq=seen.seq,
        ts=seen.now,
        accounts=[_account(s, names) for s in seen.standing],
        tail=_tail(desk, *found, stale) if found else None,
        branching=_branching(desk, seen, *found) if found else [],
        radius=added.before.radius if added else None,
        radius_after=added.after.radius if added else None,
    )


def _account(s: Standing, names: list[str]) -> AccountAfter:
    return AccountAfter(
        account=names[s.account - FIRST_USER],
        equity_before=money(s.equity_before),
        equity=money(s.equity),
        maintenance=money(s.maintenance),
        initial=money(s.initial),
        distance=(s.equity - s.maintenance) / s.notional if s.notional else None,
        liquidation_move=None if s.move is None else s.move / PPM,
    )


def _tail(desk: Desk, base: Base, added: Marginal, stale: list[str]) -> TailAdded:
    before, after = added.before, added.after
    return TailAdded(
        level=base.model.level,
        horizon_s=base.model.horizon_ns / SECOND,
        scenarios=base.model.scenarios,
        seq=base.seq,
        ts=base.state.now,
        age_s=round(desk.age, 3),
        stale=stale,
        shortfall=before.shortfall / PPM,
        shortfall_after=after.shortfall / PPM,
        added=(after.shortfall - before.shortfall) / PPM,
        added_at_975=(after.at_975 - before.at_975) / PPM,
        share=added.share / PPM,
        share_after=added.share_after / PPM,
    )


def _branching(desk: Desk, seen: Look, base: Base, added: Marginal) -> list[BranchingAdded]:
    del base
    symbols = [i.symbol for i in desk.stack.venue.instruments]
    held = sorted({i for h in (*seen.before, *seen.after) for i in h.instrument})
    before, after = added.before, added.after
    changed = np.flatnonzero((before.near != after.near) | (before.peak != after.peak)).tolist()
    return [
        BranchingAdded(
            symbol=symbols[i],
            near=int(before.near[i]),
            near_after=int(after.near[i]),
            added=int(after.near[i] - before.near[i]),
            peak=int(before.peak[i]),
            peak_after=int(after.peak[i]),
        )
        for i in sorted({*held, *changed})
    ]
