"""Who falls together: accounts of one owner, accounts that bet the same way, and concentration."""

# pandas declares no types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Final

import numpy as np
import pandas as pd

from tidegate.domain.units import unpack
from tidegate.lab.opening import Opening
from tidegate.lab.rescale import holdings
from tidegate.lab.weather import F64


ALIKE: Final = 0.95  # correlation of profits from which on two accounts fall together


def slopes(opening: Opening) -> F64:
    """Return [accounts, instruments] Money that an account gains when a price doubles."""
    held = holdings(opening)
    out = np.zeros((held.cash.size, len(opening.venue.instruments)))
    np.add.at(out, (held.account, held.instrument), held.size)
    return out


def by_owner(opening: Opening) -> dict[int, str]:
    """Return the owner's name of each account, by index."""
    names, owner = opening.book.names, unpack(opening.book.owner).tolist()
    return {k: names[int(owner[k])] for k in range(len(names))}


def by_direction(slope: F64, covariance: F64, alike: float = ALIKE) -> list[int]:
    """Return for each account the account that leads its cluster; -1 where nothing is at risk.

    Accounts are taken by the deviation of their profit, the largest first: one whose profit is
    correlated ``alike`` or more with a leader's joins the first such leader, any other leads a
    cluster of its own. So a cluster is explained by one sentence: it moves as its leader does.
    """
    deviation = np.sqrt(np.maximum(np.einsum("ai,ij,aj->a", slope, covariance, slope), 0.0))
    leads = np.full(deviation.size, -1, np.int64)
    order = np.argsort(-deviation, kind="stable")
    left = order[deviation[order] > 0]
    while left.size:
        leader = left[0]
        with_leader = slope[left] @ (covariance @ slope[leader])
        joined = with_leader >= alike * deviation[left] * deviation[leader] * (1 - 1e-12)
        leads[left[joined]] = leader
        left = left[~joined]
    return leads.tolist()


def clustered(
    opening: Opening, covariance: F64, alike: float = ALIKE, least: int = 2
) -> pd.DataFrame:
    """Return clusters of owners that bet the same way, the largest risk first.

    Columns: leader, owners, accounts, size (Money, gross), deviation (Money, of the cluster's
    profit over the covariance's horizon), share (of the sum of all clusters' deviations), and the
    direction (the net size of each market). Clusters of fewer than ``least`` owners are left out.
    """
    slope = slopes(opening)
    owner = unpack(opening.book.owner).astype(np.int64)
    total = np.zeros_like(slope)
    np.add.at(total, owner, slope)  # an owner's accounts hedge one another
    leads = np.array(by_direction(total, covariance, alike))
    found: list[tuple[float, int, dict[str, object]]] = []
    for leader in sorted(set(leads.tolist()) - {-1}):
        members = np.flatnonzero(leads == leader)
        net = total[members].sum(axis=0)
        deviation = float(np.sqrt(max(0.0, net @ covariance @ net)))
        row: dict[str, object] = {
            "leader": opening.book.names[leader],
            "owners": int(members.size),
            "accounts": int(np.isin(owner, members).sum()),
            "size": float(np.abs(total[members]).sum()),
            "deviation": deviation,
        }
        towards = {f"net {s}": float(m) for s, m in zip(opening.symbols, net, strict=True)}
        found.append((deviation, int(members.size), row | towards))
    whole = sum(deviation for deviation, _, _ in found) or 1.0
    ranked = sorted(found, key=lambda each: -each[0])
    rows = [row | {"share": d / whole} for d, count, row in ranked if count >= least]
    names = ["leader", "owners", "accounts", "size", "deviation", "share"]
    return pd.DataFrame(rows, columns=[*names, *(f"net {s}" for s in opening.symbols)])


def concentration(amounts: F64, top: tuple[int, ...] = (1, 5, 10, 50)) -> dict[str, float]:
    """Return how concentrated amounts >= 0 are.

    ``herfindahl`` is the sum of squared shares, 1 where one has all; ``effective`` its inverse, the
    number of equals that would be as concentrated; ``top_k`` the share of the k largest.
    """
    held = np.sort(np.maximum(amounts, 0.0))[::-1]
    total = float(held.sum())
    if not total:
        return {"herfindahl": 0.0, "effective": 0.0, **{f"top_{k}": 0.0 for k in top}}
    share = held / total
    square = float((share**2).sum())
    return {
        "herfindahl": square,
        "effective": 1 / square,
        **{f"top_{k}": float(share[:k].sum()) for k in top},
    }
