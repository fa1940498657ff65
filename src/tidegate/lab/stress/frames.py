"""A stress as data frames: amounts in the numeraire, rates as shares, one tidy row a thing."""

# pandas declares no types: only its stubs are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false

from collections import defaultdict
from typing import Final

import pandas as pd

from tidegate.domain.book import FIRST_USER
from tidegate.domain.units import PPM
from tidegate.lab.breaking import mapped
from tidegate.lab.measures import Estimate, mean, probability, tail, tail_weights
from tidegate.lab.outcome import Outcome
from tidegate.lab.stress.whole import Stressed
from tidegate.lab.study import F64, Study


LEVEL: Final = 0.95  # of value at risk and shortfall: a default stress has too few paths for more
MONEY: Final = (
    "loss",
    "bad_debt",
    "deficit_at_end",
    "fund_at_start",
    "fund_used",
    "uncovered",
    "socialised",
    "adl_profit_taken",
    "adl_overshoot",
    "borne_by_others",
    "penalties",
    "sale_cost",
    "user_harm",
    "forced_volume",
)
SHARES: Final = ("peak_impact", "peak_branching", "initial_margin")
PLAIN: Final = (
    "insolvent",
    "accounts_liquidated",
    "adl_accounts",
    "insolvent_seconds",
    "halt_seconds",
    "digest",
)


def outcomes(found: Stressed) -> pd.DataFrame:
    """Return one row for each world, stack and path, with every number of `Outcome`."""
    rows: list[dict[str, object]] = []
    for study in found.studies:
        for stack in study.stacks:
            for each in study.outcomes[stack]:
                row: dict[str, object] = {"world": study.world, "stack": stack, "path": each.path}
                row |= {name: getattr(each, name) / PPM for name in (*MONEY, *SHARES)}
                row |= {name: getattr(each, name) for name in PLAIN}
                rows.append(row)
    return pd.DataFrame(rows)


def summary(found: Stressed, level: float = LEVEL) -> pd.DataFrame:
    """Return one row for each world and stack: chance of insolvency, mean, VaR, ES, worst path.

    ``_low`` and ``_high`` are the ends of 95 % intervals; an end is infinite where the sample says
    nothing about it.
    """
    rows: list[dict[str, object]] = []
    for study in found.studies:
        for stack in study.stacks:
            losses = study.losses(stack) / PPM
            at = tail(losses, study.weight, level)
            chance = probability(study.column(stack, "insolvent") > 0, study.weight)
            row: dict[str, object] = {"world": study.world, "stack": stack, "paths": at.paths}
            row |= _ends("insolvency", chance)
            row |= _ends("loss", at.mean) | _ends("var", at.var) | _ends("es", at.shortfall)
            row |= {"level": level, "beyond": at.beyond, "worst": at.most}
            row["worst_path"] = study.paths[int(losses.argmax())]
            for name in ("fund_at_start", "fund_used", "borne_by_others", "user_harm"):
                row[name] = float(study.column(stack, name).mean()) / PPM
            row["accounts_liquidated"] = float(study.column(stack, "accounts_liquidated").mean())
            row["peak_impact"] = float(study.column(stack, "peak_impact").mean()) / PPM
            rows.append(row)
    return pd.DataFrame(rows)


def _ends(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def by_account(found: Stressed, level: float = LEVEL) -> pd.DataFrame:
    """Return who carries the losses: each account's mean deficit and its part of the shortfall.

    A part is Euler's: the account's deficit averaged over the paths that make the expected
    shortfall, so that parts add up to it, but for what is still open when a path ends.
    """
    names = found.plan.book.opening.book.names
    rows: list[dict[str, object]] = []
    for study in found.studies:
        for stack in study.stacks:
            weight = tail_weights(study.losses(stack), level, study.weight)
            for row, (average, part, times) in sorted(_parts(study, stack, weight).items()):
                user = row - FIRST_USER
                name = names[user] if 0 <= user < len(names) else f"row {row}"
                rows.append(
                    {
                        "world": study.world,
                        "stack": stack,
                        "account": name,
                        "mean": average / PPM,
                        "tail": part / PPM,
                        "paths": times,
                    }
                )
    columns = ["world", "stack", "account", "mean", "tail", "paths"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values(["tail", "mean", "account"], ascending=[False, False, True])


def _parts(study: Study, stack: str, weight: F64) -> dict[int, tuple[float, float, int]]:
    each: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    shares: list[float] = weight.tolist()
    ends: list[Outcome] = study.outcomes[stack]
    for end, share in zip(ends, shares, strict=True):
        for row, deficit in end.by_account.items():
            cell = each[row]
            cell[0] += deficit / len(ends)
            cell[1] += deficit * share
            cell[2] += 1
    return {row: (cell[0], cell[1], int(cell[2])) for row, cell in each.items()}


def burden(found: Stressed) -> pd.DataFrame:
    """Return who paid on average: the fund, winners, everybody, nobody; by world and stack."""
    rows: list[dict[str, object]] = []
    for study in found.studies:
        for stack in study.stacks:
            row: dict[str, object] = {"world": study.world, "stack": stack}
            for name in ("fund_used", "adl_profit_taken", "socialised", "uncovered"):
                row[name] = mean(study.column(stack, name), study.weight).value / PPM
            open_end = mean(study.column(stack, "deficit_at_end"), study.weight).value
            rows.append(row | {"deficit_at_end": open_end / PPM})
    return pd.DataFrame(rows)


def cliff(found: Stressed) -> pd.DataFrame:
    """Return the liquidity cliff: stack, move, share of depth left, and what it came to."""
    frame = mapped(found.cliff)
    money = ["loss", "fund_used", "fund_at_start", "borne_by_others", "user_harm"]
    frame[money] = frame[money] / PPM
    return frame


def breaking(found: Stressed) -> pd.DataFrame:
    """Return where each stack breaks when every price moves alike; NaN where nothing broke it."""
    columns = ["stack", "direction", "move", "solid", "furthest", "monotone"]
    rows = [tuple(getattr(point, name) for name in columns) for point in found.points]
    return pd.DataFrame(rows, columns=columns)
