"""The report: one HTML file that holds everything it shows and asks the network for nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tidegate import __version__
from tidegate.domain.venue import Venue
from tidegate.engine.reading import clock_text
from tidegate.report.cascade import cascade_picture, gradient
from tidegate.report.flows import flow_picture, money_picture, rung_picture
from tidegate.report.metrics import METRICS, Metric, baseline, challenger, loss_share
from tidegate.report.numbers import amount, duration, percent
from tidegate.report.people import deleveraged_rows, liquidated_rows, people_picture
from tidegate.report.prices import busiest, price_picture
from tidegate.report.run import Run
from tidegate.report.theme import Picture, stack_colours
from tidegate.report.words import unbroken, verdict_words


INSTRUMENTS_SHOWN = 3  # pictures of each; the table counts all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was replayed, and how to do it again."""

    title: str
    digest: str
    venue: Venue
    names: Sequence[str]  # user accounts in row order
    command: str


@dataclass(frozen=True, slots=True)
class Card:
    """One headline number: the judged stack's, against the baseline's."""

    label: str
    value: str
    before: str
    change: str
    tone: str  # better, worse or same


def write(path: Path, runs: Sequence[Run], subject: Subject) -> None:
    """Write the report of ``runs`` to ``path``; the same runs give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(runs, subject), encoding="utf-8")


def page(runs: Sequence[Run], subject: Subject) -> str:
    """Return the report as HTML."""
    environment = Environment(
        loader=PackageLoader("tidegate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(_context(runs, subject))


def _context(runs: Sequence[Run], subject: Subject) -> dict[str, Any]:
    names = [run.name for run in runs]
    verdicts = [run.verdict for run in runs]
    unit, label = subject.venue.numeraire, subject.venue.account_label
    shown = busiest(runs, INSTRUMENTS_SHOWN)
    symbols = [i.symbol for i in subject.venue.instruments]
    people = people_picture(runs, label)
    return {
        "subject": subject,
        "version": __version__,
        "unit": unit,
        "label": label,
        "sentences": [unbroken(s) for s in verdict_words(names, verdicts, unit, label)],
        "cards": _cards(runs),
        "names": names,
        "colours": stack_colours(names),
        "about": [run.stack.declaration.about for run in runs],
        "table": _table(runs),
        "symbols": [symbols[i] for i in shown],
        "others": [s for n, s in enumerate(symbols) if n not in shown],
        "prices": [_figure(price_picture(runs, i)) for i in shown],
        "cascades": [_figure(cascade_picture(runs, i)) for i in shown],
        "gradient": Markup(gradient()),  # noqa: S704 - numbers of our own
        "flow": _figure(flow_picture(runs, unit)),
        "money": _figure(money_picture(runs)),
        "rungs": _figure(rung_picture(runs)),
        "people": _figure(people) if people else None,
        "liquidated": liquidated_rows(runs, subject.names),
        "deleveraged": deleveraged_rows(runs, subject.names),
        "identity": _identity(runs, subject),
        "metrics": METRICS,
    }


def _figure(picture: Picture) -> dict[str, Any]:
    both = picture.wide + picture.narrow
    return {"svg": Markup(both), "legend": picture.keys}  # noqa: S704 - escaped where it is drawn


def _table(runs: Sequence[Run]) -> list[tuple[str, list[dict[str, Any]]]]:
    names = [run.name for run in runs]
    verdicts = [run.verdict for run in runs]
    bare = verdicts[baseline(names)]

    def row(metric: Metric) -> dict[str, Any]:
        best = metric.best(verdicts)
        cells = [
            {"text": metric.text(v), "best": n in best, "note": ""} for n, v in enumerate(verdicts)
        ]
        if metric.key == "fund_used":
            for cell, v in zip(cells, verdicts, strict=True):
                held = sum(v.fund_at_start)
                cell["note"] = f"of {amount(held)}" if held else "no fund"
        return {"metric": metric, "cells": cells}

    groups = [(g, [row(m) for m in ms]) for g, ms in groupby(METRICS, key=lambda m: m.group)]
    shares = [loss_share(v, bare) for v in verdicts]
    if len(runs) > 1 and any(s is not None for s in shares):
        text = [percent(s, 0) if s is not None else "-" for s in shares]
        share = Metric(
            "loss_share_of_bare",
            f"Whole loss, share of {names[baseline(names)]}",
            "Who lost",
            "low",
            lambda v: loss_share(v, bare),
            lambda s: percent(s, 0),
            "Bad debt and what was still below zero at the end, over the same of the baseline.",
        )
        best = share.best(verdicts)
        cells = [{"text": t, "best": n in best, "note": ""} for n, t in enumerate(text)]
        groups[0][1].insert(2, {"metric": share, "cells": cells})
    return groups


def _cards(runs: Sequence[Run]) -> list[Card]:
    names = [run.name for run in runs]
    base, other = baseline(names), challenger(names)
    bare, judged = runs[base].verdict, runs[other].verdict
    out: list[Card] = []
    for key, label in (
        ("loss", "lost below zero"),
        ("borne_by_others", "borne by other accounts"),
        ("peak_impact_ppm", "deepest price impact"),
        ("accounts_liquidated", "accounts liquidated"),
    ):
        if key == "loss":
            before, after = float(bare.loss), float(judged.loss)
            show = amount
        else:
            metric = next(m for m in METRICS if m.key == key)
            before, after = float(metric.read(bare) or 0), float(metric.read(judged) or 0)
            show = metric.show
        if base == other:
            out.append(Card(label, show(after), "", "", "same"))
            continue
        tone = "better" if after < before else "worse" if after > before else "same"
        change = "unchanged" if tone == "same" else ""
        if not change:
            change = f"{100 * (after / before - 1):+.0f} %" if before else "was zero"
        out.append(Card(label, show(after), f"{names[base]} {show(before)}", change, tone))
    return out


def _identity(runs: Sequence[Run], subject: Subject) -> list[tuple[str, str]]:
    series = runs[0].series
    span: list[tuple[str, str]] = []
    if series.ts.size:
        begin, end = int(series.ts[0]), int(series.ts[-1]) + series.step_ns
        long = duration((end - begin) / 1e9)
        span.append(("time", f"{clock_text(begin)} to {clock_text(end)} ({long})"))
    return [
        ("tidegate", __version__),
        ("recording", f"{subject.title}, digest {subject.digest}"),
        ("venue", f"{subject.venue.name}, {len(subject.venue.instruments)} instruments"),
        *span,
        *(
            (f"stack {run.name}", f"digest {run.stack.digest}, state at the end {run.digest}")
            for run in runs
        ),
        *(
            (f"regenerated, {run.name}", percent(run.verdict.regenerated / run.verdict.events))
            for run in runs
            if run.verdict.events
        ),
    ]
