"""The comparison as a table for people: aligned, and readable without any colour."""

from collections.abc import Sequence
from itertools import groupby

import click

from tidegate.drivers.verdict import Verdict
from tidegate.report.metrics import METRICS, baseline, loss_share
from tidegate.report.numbers import percent


BEST = " *"


def table(names: Sequence[str], verdicts: Sequence[Verdict], unit: str) -> str:
    """Return the table; the best of a row bears a star, and is bold where colours are wanted."""
    rows: list[tuple[str, list[str], set[int]]] = []
    for group, metrics in groupby(METRICS, key=lambda m: m.group):
        rows.append((group, [], set()))
        for metric in metrics:
            texts = [metric.text(v) for v in verdicts]
            rows.append((f"  {metric.label}", texts, metric.best(verdicts)))
            if metric.key == "deficit_at_end" and len(verdicts) > 1:
                rows.append(_share(names, verdicts))
    label = max(len(name) for name, _, _ in rows) + 1
    width = [
        max(len(names[n]), *(len(texts[n]) for _, texts, _ in rows if texts)) + len(BEST) + 2
        for n in range(len(names))
    ]
    head = " " * label + "".join(
        f"{name + ' ' * len(BEST):>{width[n]}}" for n, name in enumerate(names)
    )
    lines = [click.style(head.rstrip(), bold=True)]
    for name, texts, best in rows:
        cells = [
            click.style(f"{text + BEST:>{width[n]}}", bold=True)
            if n in best
            else f"{text + ' ' * len(BEST):>{width[n]}}"
            for n, text in enumerate(texts)
        ]
        lines += [f"{name:<{label}}{''.join(cells)}".rstrip()] if texts else ["", name]
    lines += ["", f"money in {unit}; * best of the row"]
    return "\n".join(lines)


def _share(names: Sequence[str], verdicts: Sequence[Verdict]) -> tuple[str, list[str], set[int]]:
    base = baseline(names)
    shares = [loss_share(v, verdicts[base]) for v in verdicts]
    texts = [percent(s, 0) if s is not None else "-" for s in shares]
    return f"  Whole loss, share of {names[base]}", texts, set()
