"""Who owes whom: clearing, fire sales and contagion in networks of institutions."""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from math import exp
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray


Floats: TypeAlias = NDArray[np.float64]

NEAR: Final = 1e-12
ROUNDS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Cleared:
    """A clearing vector and what follows from it."""

    payments: Floats  # [institutions] paid to the others
    owed: Floats  # [institutions]
    equity: Floats  # [institutions] after everything
    defaults: list[int]

    @property
    def recovery(self) -> Floats:
        """Paid over owed; one where nothing is owed."""
        safe = np.where(self.owed > 0, self.owed, 1.0)
        return np.where(self.owed > 0, self.payments / safe, 1.0)


def clearing(
    liabilities: ArrayLike,
    outside: ArrayLike,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    senior: ArrayLike | None = None,
    least: bool = False,
) -> Cleared:
    """Return the greatest clearing vector (or, from below, the ``least``) of a network.

    ``liabilities``[i, j] is what i owes j; ``outside`` are assets that are no claims on others.
    A defaulter's outside assets and claims count with ``alpha`` and ``beta``; ``senior`` creditors
    outside the network are paid first. It iterates from above: from below the limit need not clear.

    Source: Eisenberg and Noe (2001); Rogers and Veraart (2013).
    """
    owes = np.asarray(liabilities, float)
    owed, e = owes.sum(axis=1), np.asarray(outside, float)
    first = np.zeros_like(e) if senior is None else np.asarray(senior, float)
    share = np.divide(owes, owed[:, None], out=np.zeros_like(owes), where=owed[:, None] > 0)
    paid = np.zeros_like(owed) if least else owed.copy()
    for _ in range(ROUNDS):
        claims = share.T @ paid
        solvent = e + claims - first >= owed - NEAR * (1 + owed)
        left = np.clip(alpha * e + beta * claims - first, 0.0, owed)
        after = np.where(solvent, owed, left)
        done = np.abs(after - paid).max() <= 1e-15 * (1 + owed.max())
        paid = after
        if done:
            break
    claims = share.T @ paid
    equity = e + claims - first - owed
    short = np.flatnonzero(paid < owed - 1e-9 * (1 + owed)).tolist()
    kept = np.maximum(equity, 0.0) if senior is None else equity
    return Cleared(paid, owed, kept, short)


@dataclass(frozen=True, slots=True)
class FireSale:
    """Clearing together with the price of a common asset that whoever is short must sell."""

    price: float
    sold: Floats
    cleared: Cleared


def clearing_with_sales(
    liabilities: ArrayLike, cash: ArrayLike, units: ArrayLike, beta: float
) -> FireSale:
    """Return the joint fixed point of payments and ``price = exp(-beta * sold)``, from the top.

    Whoever cannot pay from cash and claims sells what is missing, or all it has. Source: Cifuentes,
    Ferrucci, Shin (2005).
    """
    c, held = np.asarray(cash, float), np.asarray(units, float)
    owes = np.asarray(liabilities, float)
    owed = owes.sum(axis=1)
    share = np.divide(owes, owed[:, None], out=np.zeros_like(owes), where=owed[:, None] > 0)
    price, sold, found = 1.0, np.zeros_like(c), clearing(owes, c + held)
    for _ in range(ROUNDS):
        found = clearing(owes, c + held * price)
        lack = np.maximum(0.0, owed - c - share.T @ found.payments)
        sold = np.minimum(held, lack / price)
        after = exp(-beta * float(sold.sum()))
        done = abs(after - price) <= 1e-15
        price = after
        if done:
            break
    return FireSale(price, sold, found)


def debt_rank(impact: ArrayLike, value: ArrayLike, distress: ArrayLike) -> tuple[Floats, float]:
    """Return each node's distress at the end, and the share of value it costs beyond the shock.

    ``impact``[i, j] is what a failure of i costs j. A node passes its distress on once. Source:
    Battiston and others (2012).
    """
    w, h = np.asarray(impact, float), np.asarray(distress, float).copy()
    v, start = np.asarray(value, float), np.asarray(distress, float)
    active, spent = h > 0, np.zeros(h.size, np.bool_)
    while active.any():
        after = np.minimum(1.0, h + w.T @ np.where(active, h, 0.0))
        spent |= active
        active = (after > h) & ~spent
        h = after
    return h, float((h - start) @ v)


def maximum_entropy(rows: ArrayLike, columns: ArrayLike) -> Floats:
    """Return the most even matrix with these sums and nothing on its diagonal.

    By proportional fitting (RAS). Source: Upper and Worms (2004).
    """
    r, c = np.asarray(rows, float), np.asarray(columns, float)
    m = np.outer(r, c)
    np.fill_diagonal(m, 0.0)
    for _ in range(ROUNDS):
        across = m.sum(axis=1)
        m *= np.divide(r, across, out=np.zeros_like(r), where=across > 0)[:, None]
        down = m.sum(axis=0)
        m *= np.divide(c, down, out=np.zeros_like(c), where=down > 0)[None, :]
        if np.abs(m.sum(axis=1) - r).max() < NEAR * (1 + r.max()):
            break
    return m
