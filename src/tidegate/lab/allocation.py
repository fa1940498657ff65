"""Who makes the tail: what each account, cluster and market contributes to expected shortfall.

Euler's rule for expected shortfall: a part contributes what it loses on average in the paths of the
tail (Tasche 1999). Contributions add up to the whole because the losses do, path by path.
"""

# pandas declares no types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tidegate.domain.book import FIRST_USER
from tidegate.lab.clusters import slopes
from tidegate.lab.measures import LEVEL, tail_weights
from tidegate.lab.opening import Opening
from tidegate.lab.outcome import Outcome
from tidegate.lab.study import Study
from tidegate.lab.weather import F64, Weather, World


OPEN: str = "still open at the end"  # below zero, and not yet found bankrupt


def losses_by_account(outcomes: Sequence[Outcome], accounts: int) -> F64:
    """Return what each account was found short of, [paths, accounts + 1] Money.

    The last column is the rest: accounts still below zero at the end, and what rounding left over.
    Every row adds up to the path's loss exactly, as floats do: amounts are whole numbers.
    """
    out = np.zeros((len(outcomes), accounts + 1))
    for k, outcome in enumerate(outcomes):
        for row, money in outcome.by_account.items():
            out[k, row - FIRST_USER] = money
        out[k, accounts] = outcome.loss - out[k, :accounts].sum()
    return out


def contributions(parts: F64, level: float, weights: F64 | None = None) -> F64:
    """Return each part's share of the expected shortfall of their sum; ``parts`` is [paths, parts].

    ``contributions(parts, level).sum() == tail_weights(total, level) @ total`` up to the rounding
    of a float sum.
    """
    return tail_weights(parts.sum(axis=1), level, weights) @ parts


def by_account(study: Study, stack: str, opening: Opening, level: float = LEVEL) -> pd.DataFrame:
    """Return account, owner, contribution (Money) and share, the largest first; the rest last."""
    names = opening.book.names
    parts = losses_by_account(study.outcomes[stack], len(names))
    found = contributions(parts, level, study.weight).tolist()
    owner = owners(opening)
    some = sorted((k for k in range(len(names)) if found[k]), key=lambda k: -found[k])
    table = _table("account", [*((names[k], found[k]) for k in some), (OPEN, found[-1])])
    table.insert(1, "owner", [*(names[owner[k]] for k in some), OPEN])
    return table


def by_group(
    study: Study, stack: str, opening: Opening, group: Mapping[int, str], level: float = LEVEL
) -> pd.DataFrame:
    """Return what groups of accounts contribute; ``group`` names each account's, by index."""
    n = len(opening.book.names)
    parts = losses_by_account(study.outcomes[stack], n)
    found = contributions(parts, level, study.weight)
    total: dict[str, float] = {}
    for k, es in enumerate(found.tolist()):
        name = group[k] if k < n else OPEN
        total[name] = total.get(name, 0.0) + es
    ranked = sorted(((es, name) for name, es in total.items() if es), reverse=True)
    return _table("group", [(name, es) for es, name in ranked])


def by_market(
    study: Study, stack: str, opening: Opening, world: World, level: float = LEVEL
) -> pd.DataFrame:
    """Return what each market contributes: an account's deficit, split by what its positions lost.

    A position's part is its loss against the opening at the step at which the account stood worst
    by the weather alone; accounts that were not below their opening at any step (penalties and
    impact did it) split by size. The rest, as in `losses_by_account`, is a row of its own.
    """
    symbols, n = opening.symbols, len(opening.book.names)
    slope = slopes(opening)
    losses = losses_by_account(study.outcomes[stack], n)
    parts = np.zeros((len(study.paths), len(symbols) + 1))
    for k, path in enumerate(study.paths):
        weather = world.weather(study.root, [path], symbols)
        hurt = np.flatnonzero(losses[k, :n])
        parts[k, :-1] = losses[k, hurt] @ market_shares(slope[hurt], weather)
        parts[k, -1] = losses[k, n]
    found = contributions(parts, level, study.weight)
    return _table("market", list(zip([*symbols, OPEN], found.tolist(), strict=True)))


def market_shares(slope: F64, weather: Weather) -> F64:
    """Return the share of each market in each account's worst moment; rows add up to 1.

    ``slope`` is [accounts, instruments] Money gained when a price doubles.
    """
    move = weather.price[0] - 1.0  # [steps + 1, instruments]
    worst = np.argmin(slope @ move.T, axis=1)
    lost = np.maximum(-slope * move[worst], 0.0)
    plain = np.abs(slope)
    lost = np.where(lost.sum(axis=1, keepdims=True) > 0, lost, plain)
    total = lost.sum(axis=1, keepdims=True)
    flat = np.full_like(lost, 1 / max(1, lost.shape[1]))
    return np.divide(lost, total, out=flat, where=total > 0)


def owners(opening: Opening) -> list[int]:
    """Return the index of each account's owner."""
    return np.frombuffer(opening.book.owner, np.int64).tolist()


def _table(label: str, rows: Sequence[tuple[str, float]]) -> pd.DataFrame:
    """Return the rows with each one's share of the whole."""
    whole = sum(es for _, es in rows)
    full = [(name, es, es / whole if whole else 0.0) for name, es in rows]
    return pd.DataFrame(full, columns=[label, "es", "share"])
