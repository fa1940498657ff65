"""Keeps orders from making their accounts worse, and says where a fill did all the same."""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.book import Health
from tidegate.domain.effects import HealthBreached, LimitsHeld
from tidegate.domain.units import I64, pack, unpack
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.kernels.never_worse import HOPELESS, INSOLVENT, KEPT, held_limits
from tidegate.safeguards.planner import Plan


FLOAT_DOUBT = 2.0**-50  # of two products, as a share of their sum
JUDGED = ("equity", "required", "notional")  # the columns of a standing, in this order


def hold(
    state: State,
    view: View,
    plan: Plan | None,
    health: Health,
    row: I64,
    ordered: I64,
    limit: I64,
    first: int,
) -> tuple[I64, LimitsHeld]:
    """Return the limits at which no order makes its account worse, and what was found of each.

    What the plan nets at the mark has happened before any of its orders is filled. ``first`` is the
    id of the first order or auction.
    """
    n = row.size
    netted = plan is not None and bool(plan.netted.any())
    shift = np.zeros(state.book.high if netted else 0, np.int64)
    if plan is not None and netted:
        shift[plan.row] = plan.netted
    limit, fate = limit.copy(), np.zeros(n, np.int64)
    before, after = np.zeros((n, 3), np.int64), np.zeros((n, 3), np.int64)
    held_limits(
        state.book,
        state.facts,
        view.mark,
        shift,
        health.equity,
        row,
        ordered,
        limit,
        fate,
        before,
        after,
    )
    columns = {name: pack(before[:, k]) for k, name in enumerate(JUDGED)}
    columns |= {f"{name}_after": pack(after[:, k]) for k, name in enumerate(JUDGED)}
    return limit, LimitsHeld(first=first, fate=pack(fate), **columns)


def check_held(effect: LimitsHeld) -> None:
    """Assert INV-11 for the orders of one batch, by cross-multiplying unbounded integers.

    Floats, which are off by less than a part in 2**50, speak for the rows that they leave no doubt
    about.
    """
    fate = unpack(effect.fate)
    judged = (fate != INSOLVENT) & (fate != HOPELESS)
    assert (fate[judged] >= KEPT).all()
    names = (*JUDGED, *(f"{name}_after" for name in JUDGED))
    columns = [unpack(getattr(effect, name))[judged] for name in names]
    assert (columns[0] > 0).all(), "INV-11 only the solvent can be kept from becoming worse"
    have, _, _, after, _, _ = (column.astype(np.float64) for column in columns)
    doubt = np.zeros(have.size, np.bool_)
    for need, due in ((columns[1], columns[4]), (columns[2], columns[5])):
        later, before = after * need, have * due
        doubt |= later - before <= (np.abs(later) + np.abs(before)) * FLOAT_DOUBT
    rows = zip(*(column[doubt].tolist() for column in columns), strict=True)
    for equity, required, size, later, due, left in rows:
        assert later * required >= equity * due, "INV-11 a close at its limit lowers no health"
        assert later * size >= equity * left, "INV-11 a close at its limit raises no loan-to-value"


def breached(account: I64, worse: I64, before: I64, after: I64) -> Sequence[HealthBreached]:
    """Return the receipt for fills that made a solvent account worse; empty when none did."""
    bad = np.flatnonzero(worse)
    if not bad.size:
        return ()
    columns = {name: pack(before[bad, k]) for k, name in enumerate(JUDGED)}
    columns |= {f"{name}_after": pack(after[bad, k]) for k, name in enumerate(JUDGED)}
    return (HealthBreached(account=pack(account[bad]), **columns),)
