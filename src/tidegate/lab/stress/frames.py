"""A stress as data frames: amounts in the numeraire, rates as shares, one tidy row a thing."""

# pandas declares no types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import pandas as pd

from tidegate.domain.units import PPM
from tidegate.lab import allocation
from tidegate.lab.breaking import mapped
from tidegate.lab.measures import Estimate, mean, probability, tail
from tidegate.lab.sizing import sized
from tidegate.lab.stress.whole import Stressed
from tidegate.lab.study import Study


Row: TypeAlias = dict[str, Any]

LEVEL: Final = 0.95  # of value at risk and shortfall: intervals at 99 % take five times the paths
TARGETS: Final = (0.1, 0.05, 0.01)  # of a path that costs more than the fund
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
    """Return what each account contributes to the expected shortfall (see `lab.allocation`).

    Columns: world, stack, account, owner, es, share. Parts of a world and stack add up to its ES.
    """
    opening = found.plan.book.opening
    parts = [
        _of(study, stack, allocation.by_account(study, stack, opening, level))
        for study in found.studies
        for stack in study.stacks
    ]
    return pd.concat(parts, ignore_index=True)


def by_market(found: Stressed, level: float = LEVEL) -> pd.DataFrame:
    """Return what each market contributes to the expected shortfall: world, stack, market, es."""
    opening = found.plan.book.opening
    parts = [
        _of(study, stack, allocation.by_market(study, stack, opening, world, level))
        for study, world in zip(found.studies, found.plan.worlds, strict=True)
        for stack in study.stacks
    ]
    return pd.concat(parts, ignore_index=True)


def funds(found: Stressed, targets: Sequence[float] = TARGETS) -> pd.DataFrame:
    """Return the fund that keeps insolvency below each target: world, stack, target, capital.

    ``capital`` is missing where so few paths cannot show it; ``plain`` is the quantile alone.
    """
    parts: list[pd.DataFrame] = []
    for study in found.studies:
        frame = sized(study, targets)
        money = ["capital", "plain", "held"]
        frame[money] = frame[money].astype(float) / PPM
        frame.insert(0, "world", study.world)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _of(study: Study, stack: str, frame: pd.DataFrame) -> pd.DataFrame:
    frame["es"] = frame["es"] / PPM
    frame.insert(0, "world", study.world)
    frame.insert(1, "stack", stack)
    return frame


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


def records(frame: pd.DataFrame) -> list[Row]:
    """Return the rows of a frame as plain mappings, for whoever draws or writes them."""
    return cast("list[Row]", frame.to_dict("records"))
