"""The report of a stress: one HTML file for a board, with plain words under every picture."""

# pandas declares no types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tidegate import __version__
from tidegate.lab.allocation import OPEN
from tidegate.lab.measures import paths_for, saved
from tidegate.lab.sizing import fund_for
from tidegate.lab.stress import Stressed, frames
from tidegate.lab.study import Study
from tidegate.report import stress_pictures as pictures
from tidegate.report.metrics import baseline, challenger
from tidegate.report.numbers import amount, percent
from tidegate.report.stress_lines import Lines
from tidegate.report.stress_pictures import Drawing, short_name
from tidegate.report.stress_words import (
    money_text,
    names_of,
    paths_needed,
    share_text,
    short_world,
    stress_words,
    tail_text,
    worst_study,
)
from tidegate.report.theme import stack_colours
from tidegate.report.words import unbroken


ROWS_SHOWN: Final = 10
HALF_A_CENT: Final = 0.005
TARGETS: Final = (0.5, 0.25, 0.1, 0.05, 0.01, 0.001)  # chances that a fund is held to
TARGETS_SHOWN: Final = 3


def write(path: Path, found: Stressed, lines: Lines) -> Path:
    """Write the report to ``path``; the same stress gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(found, lines), encoding="utf-8")
    return path


def page(found: Stressed, lines: Lines) -> str:
    """Return the report as HTML."""
    environment = Environment(
        loader=PackageLoader("tidegate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("stress.html.j2").render(_context(found, lines))


def _context(found: Stressed, lines: Lines) -> dict[str, Any]:
    names = names_of(found)
    opening = found.plan.book.opening
    study = worst_study(found)
    shown = {
        "losses": pictures.losses(found),
        "insolvency": pictures.insolvency(found),
        "burden": pictures.burden(found),
        "cliff": pictures.cliff(found) if found.cliff else None,
        "accounts": pictures.accounts(found) if _anything(found) else None,
    }
    return {
        "title": opening.venue.name,
        "version": __version__,
        "unit": found.numeraire,
        "label": opening.venue.account_label,
        "names": names,
        "base": names[baseline(names)],
        "colours": stack_colours(names),
        "about": [stack.about for stack in found.plan.stacks],
        "sentences": [unbroken(s) for s in stress_words(found)],
        "cards": _cards(found, study),
        "pictures": {key: _figure(d) for key, d in shown.items() if d is not None},
        "table": _table(found),
        "level": percent(frames.LEVEL, 0),
        "needed": paths_needed(found, frames.LEVEL),
        "paths": len(found.plan.paths),
        "funds": _funds(found),
        "targets": [f"{100 * t:g} %" for t in targets_for(len(found.plan.paths))],
        "paths_for_one": paths_for(0.01),
        "worst": short_world(study.world),
        "accounts": _accounts(found, study),
        "markets": _markets(found, study),
        "points": _points(found),
        "worlds": [(short_world(w.name), w.name, w.describe()) for w in found.plan.worlds],
        "notes": opening.notes,
        "venue": _venue(found),
        "identity": _identity(found),
        "command": lines.whole,
        "repeats": _repeats(found, lines),
    }


def _anything(found: Stressed) -> bool:
    return any(study.losses(name).any() for study in found.studies for name in names_of(found))


def _figure(drawing: Drawing) -> dict[str, Any]:
    made = drawing.svg()
    both = made.wide + made.narrow
    return {"svg": Markup(both), "legend": made.keys}  # noqa: S704 - escaped where it is drawn


def _cards(found: Stressed, study: Study) -> list[dict[str, str]]:
    """Return the headline numbers of the costliest world, the judged stack's first."""
    names = names_of(found)
    base, other = names[baseline(names)], names[challenger(names)]
    gone = {n: float((study.column(n, "insolvent") > 0).mean()) for n in names}
    mean = {n: float(study.losses(n).mean()) for n in names}
    borne = {n: float(study.column(n, "borne_by_others").mean()) for n in names}
    cards = [
        _card("paths that exhaust the fund", gone, base, other, _whole_percent),
        _card("lost on average", mean, base, other, amount) | _sure(study, base, other, "loss"),
        _card("borne by other accounts", borne, base, other, amount)
        | _sure(study, base, other, "borne_by_others"),
    ]
    falls = {p.stack: -(p.move or -1.0) for p in found.points if p.direction == "down"}
    if falls:
        named = {p.stack: p for p in found.points if p.direction == "down"}

        def text(name: str) -> str:
            point = named[name]
            return percent(-point.move, 1) if point.move else "no fall"

        before = f"{base} {text(base)}" if base != other else ""
        tone = _tone(-falls[base], -falls[other])
        cards.append(
            {
                "label": "fall within a minute that exhausts it",
                "value": text(other),
                "before": before,
                "tone": tone,
            }
        )
    return cards


def _card(
    label: str, values: Mapping[str, float], base: str, other: str, show: Callable[[float], str]
) -> dict[str, str]:
    before = f"{base} {show(values[base])}" if base != other else ""
    return {
        "label": label,
        "value": show(values[other]),
        "before": before,
        "tone": _tone(values[base], values[other]),
    }


def _sure(study: Study, base: str, other: str, name: str) -> dict[str, str]:
    """Return a tone without judgement where the paths cannot tell two stacks apart."""
    less = saved(study, other, base, name)
    return {"tone": "same"} if less.low <= 0 <= less.high else {}


def _whole_percent(share: float) -> str:
    return percent(share, 0)


def _tone(before: float, after: float) -> str:
    """Return the class of a number that is better when it is smaller."""
    return "better" if after < before else "worse" if after > before else "same"


def _table(found: Stressed) -> list[dict[str, Any]]:
    rows = frames.records(frames.summary(found))
    table: list[dict[str, Any]] = []
    for study in found.studies:
        cells = [
            {
                "stack": row["stack"],
                "insolvency": share_text(
                    row["insolvency"], row["insolvency_low"], row["insolvency_high"]
                ),
                "mean": money_text(row["loss"]),
                "var": tail_text(row, "var"),
                "es": tail_text(row, "es"),
                "worst": money_text(row["worst"]),
                "others": money_text(row["borne_by_others"]),
                "harm": money_text(row["user_harm"]),
                "liquidated": f"{row['accounts_liquidated']:,.0f}",
                "impact": percent(row["peak_impact"]),
            }
            for row in rows
            if row["world"] == study.world
        ]
        table.append({"world": short_world(study.world), "cells": cells})
    return table


def targets_for(paths: int) -> tuple[float, ...]:
    """Return the rarest chances that so many paths can say anything about."""
    shown = [target for target in TARGETS if paths_for(target) <= paths]
    return tuple(shown[-TARGETS_SHOWN:]) or TARGETS[:1]


def _funds(found: Stressed) -> list[dict[str, Any]]:
    """Return, for each world and stack, the fund that would do."""
    rows: list[dict[str, Any]] = []
    for study in found.studies:
        for name in study.stacks:
            losses = study.losses(name)
            held = float(study.column(name, "fund_at_start").max())
            cells: list[dict[str, Any]] = []
            for target in targets_for(len(found.plan.paths)):
                sized = fund_for(losses, target)
                shown = sized.capital is not None
                cells.append(
                    {
                        "text": amount(sized.capital or 0.0) if shown else "-",
                        "enough": shown and held >= (sized.capital or 0.0),
                        "note": "" if shown else f"takes {sized.paths_needed:,} paths",
                    }
                )
            rows.append(
                {
                    "world": short_world(study.world),
                    "stack": name,
                    "held": amount(held),
                    "most": amount(float(losses.max())),
                    "cells": cells,
                }
            )
    return rows


def _accounts(found: Stressed, study: Study) -> list[dict[str, str]]:
    parts: dict[str, dict[str, float]] = {}
    for row in frames.records(frames.by_account(found)):
        if row["world"] == study.world and row["account"] != OPEN and row["es"] > 0:
            parts.setdefault(row["account"], {})[row["stack"]] = row["es"]
    names = names_of(found)
    base = names[baseline(names)]
    ranked = sorted(parts, key=lambda a: (-parts[a].get(base, 0.0), -max(parts[a].values())))
    return [
        {
            "account": short_name(account),
            "full": account,
            **{n: money_text(parts[account].get(n, nan)) for n in names},
        }
        for account in ranked[:ROWS_SHOWN]
    ]


def _markets(found: Stressed, study: Study) -> list[dict[str, Any]]:
    parts: dict[str, dict[str, tuple[float, float]]] = {}
    for row in frames.records(frames.by_market(found)):
        if row["world"] == study.world:
            parts.setdefault(row["market"], {})[row["stack"]] = (row["es"], row["share"])
    table: list[dict[str, Any]] = []
    for market, by in parts.items():
        cells = [
            {"es": money_text(es), "share": percent(share) if es else ""}
            for es, share in (by[name] for name in names_of(found))
        ]
        if any(by[name][0] >= HALF_A_CENT for name in names_of(found)):
            table.append({"market": market, "cells": cells})
    return table


def _points(found: Stressed) -> list[dict[str, str]]:
    return [
        {
            "stack": p.stack,
            "way": "fall" if p.direction == "down" else "rise",
            "move": percent(abs(p.move), 1) if p.move is not None else "-",
            "solid": percent(abs(p.solid), 1),
            "note": ""
            if p.monotone
            else "some larger shocks did not exhaust it: no single line divides safe from not",
        }
        for p in found.points
    ]


def _venue(found: Stressed) -> list[dict[str, str]]:
    """Return how each instrument is counted, how deep its book is and what each stack asks."""
    venue = found.plan.book.opening.venue
    marks = found.plan.book.opening.marks.tolist()
    markets = {market.symbol: market for market in venue.markets}
    rows: list[dict[str, str]] = []
    for instrument, mark in zip(venue.instruments, marks, strict=True):
        market = markets.get(instrument.symbol)
        asked: list[str] = []
        for stack in found.plan.stacks:
            rules = stack.margin.instruments
            rule = rules.get(instrument.symbol, rules.get("*"))
            tiers = rule.tiers if rule else ()
            steps = " / ".join(f"{t.maintenance / 1e4:g}" for t in tiers)
            asked.append(f"{stack.name} {steps or '0'} %")
        rows.append(
            {
                "symbol": instrument.symbol,
                "price": f"{mark * float(instrument.tick_size):,.10g}",
                "tick": instrument.tick_size,
                "lot": instrument.lot_size,
                "depth": amount(market.depth) if market else "none",
                "volume": amount(market.daily_volume) if market else "none",
                "asked": "; ".join(asked),
            }
        )
    return rows


def _identity(found: Stressed) -> list[tuple[str, str]]:
    opening = found.plan.book.opening
    accounts = len(opening.book.names)
    return [
        ("tidegate", __version__),
        ("book", f"{opening.venue.name}, {accounts:,} accounts, digest {opening.digest}"),
        ("seed", str(found.plan.root)),
        *((f"stack {stack.name}", f"digest {stack.digest}") for stack in found.plan.stacks),
    ]


def _repeats(found: Stressed, lines: Lines) -> list[tuple[str, str]]:
    """Return the line that turns the costliest path of each world and stack again."""
    rows: list[tuple[str, str]] = []
    for study in found.studies:
        for name in study.stacks:
            losses = study.losses(name)
            if not losses.any():
                continue
            path = study.paths[int(losses.argmax())]
            line = lines.one(study.world, name, found.plan.root, path)
            rows.append((f"{short_world(study.world)}, {name}", line))
    return rows
