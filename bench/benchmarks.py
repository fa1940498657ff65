"""The page of benchmarks, written from what `tidegate bench --out FILE` measured.

`python bench/benchmarks.py FILE` writes docs/results/benchmarks.md and its picture; `make bench`
does both. Every figure of the page is in FILE; none is typed.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import msgspec
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tidegate.lab.bench.registry import BENCHES
from tidegate.lab.bench.result import Report, Result
from tidegate.lab.bench.table import duration, figures, rows
from tidegate.lab.bench.targets import TARGETS


HERE = Path(__file__).parent.parent
OURS, INK, RULE = "#0c8599", "#7d8590", "#8c959f55"  # readable on white and on dark
WIDE, LETTER = 560, 4.2  # points: the axis, and a letter of a label
HEIGHTS = (7, -13, 17, -23)  # points above the line where a label may stand, the nearest first
HEAD = ("", "ours", "work/s", "best yardstick", "ratio", "target", "met")


def picture(results: list[Result], out: Path) -> None:
    """Draw ours against every yardstick on a logarithmic axis, one line a benchmark."""
    mpl.rcParams |= {"svg.hashsalt": "tidegate", "font.size": 9, "svg.fonttype": "none"}
    shown = [r for r in results if r.yardsticks]
    ends = np.log10([s for r in shown for s in (r.seconds, *r.yardsticks.values())])
    decades_a_letter = LETTER * (np.ptp(ends) + 1) / WIDE
    fig, axis = plt.subplots(figsize=(9, 0.8 + 0.8 * len(shown)), layout="constrained")
    for row, result in enumerate(shown):
        line(axis, row, result, decades_a_letter)
    axis.set_xscale("log")
    axis.set_yticks(range(len(shown)), [r.name for r in shown])
    axis.set_ylim(len(shown) - 0.5, -0.6)
    axis.set_xlabel("seconds, logarithmic; further left is faster", color=INK)
    axis.xaxis.grid(visible=True, color=RULE, lw=0.6)
    axis.tick_params(colors=INK, length=0, which="both")
    axis.margins(x=0.09)
    for spine in axis.spines.values():
        spine.set_visible(False)
    out.parent.mkdir(exist_ok=True)
    fig.savefig(out, transparent=True, metadata={"Date": None})
    plt.close(fig)


def line(axis: Axes, row: int, result: Result, decades_a_letter: float) -> None:
    """Draw one benchmark: a full dot for ours, rings for theirs, a bar where the limit is."""
    theirs = sorted(result.yardsticks.items(), key=lambda pair: pair[1])
    ends = [result.seconds, *(seconds for _, seconds in theirs)]
    axis.plot([min(ends), max(ends)], [row, row], color=RULE, lw=1.5, zorder=1)
    axis.plot(result.seconds, row, "o", color=OURS, ms=8, zorder=3)
    taken = dict.fromkeys(HEIGHTS, -np.inf)  # how far to the right each height is written on
    for name, seconds, colour in [
        (duration(result.seconds), result.seconds, OURS),
        *((name, seconds, INK) for name, seconds in theirs),
    ]:
        half = decades_a_letter * (len(name) + 1) / 2
        middle = np.log10(seconds)
        free = [h for h in HEIGHTS if taken[h] <= middle - half]
        height = free[0] if free else min(taken, key=taken.__getitem__)
        taken[height] = middle + half
        axis.annotate(
            name,
            (seconds, row),
            xytext=(0, height),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=colour,
        )
        if colour is INK:
            axis.plot(seconds, row, "o", mfc="none", mec=INK, ms=6, zorder=2)
    target = TARGETS.get(result.name)
    if target is not None and target.seconds_max:
        axis.plot(target.seconds_max, row, "|", color=OURS, ms=13, mew=1.5, zorder=2)


def page(report: Report) -> str:
    """Return the page."""
    m, scale = report.machine, report.machine.scale
    versions = ", ".join(f"{name} {version}" for name, version in m.versions.items())
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` from `tidegate bench --out out/bench.json`. Medians of at least",
        "five runs after a warm-up; every yardstick did the same work in the same run, and all",
        "answers were checked equal before anything was timed. The ratio is taken to the fastest",
        "comparable yardstick; what answers less, or less exactly, is only shown.",
        "",
        f"Machine: {m.processor}, {m.cores} cores, {m.memory_gib:g} GiB, {m.system}; kernels may",
        f"use {m.threads} threads. Python {m.python}, {versions}. How busy others kept the machine",
        "is said with each figure: ratios within one run hold, absolute figures drift.",
        "",
    ]
    if scale != 1:
        lines += [f"**All sizes were multiplied by {scale:g}; targets are not judged.**", ""]
    if any(r.yardsticks for r in report.results):
        lines += [
            "![Ours and every yardstick, one line a benchmark](../images/benchmarks.svg)",
            "",
            "*Full dot: ours. Rings: others. Bar: the limit that we set ourselves.*",
            "",
        ]
    lines += ["| " + " | ".join(HEAD) + " |", "|---|---:|---:|---|---:|---|---|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(report.results, scale)]
    absent = [name for name in BENCHES if name not in {r.name for r in report.results}]
    if absent:
        lines += ["", f"Not measured in this run: {', '.join(absent)}."]
    for result in report.results:
        lines += ["", f"## {result.name}", "", f"{result.conditions}."]
        lines += details(result)
    return "\n".join([*lines, ""])


def details(result: Result) -> list[str]:
    """Return the tables of one benchmark: everybody's time, then the further figures."""
    out: list[str] = []
    if result.yardsticks:
        out += ["", "| | time | times ours |", "|---|---:|---:|"]
        out.append(f"| ours | {duration(result.seconds)} | 1 |")
        for name, seconds in sorted(result.yardsticks.items(), key=lambda pair: pair[1]):
            ratio = figures(seconds / result.seconds)
            out.append(f"| {name} | {duration(seconds)} | {ratio} |")
    if result.also:
        out += ["", "| further | |", "|---|---:|"]
        out += [
            f"| {name.replace('_', ' ')} | {value:,.6g} |" for name, value in result.also.items()
        ]
    return out


def write(report: Report, docs: Path) -> None:
    """Write the page and its picture below ``docs``."""
    if any(r.yardsticks for r in report.results):
        picture(report.results, docs / "images/benchmarks.svg")
    (docs / "results/benchmarks.md").write_text(page(report), encoding="utf-8")


def main() -> None:
    """Read the file that is named and write the page."""
    report = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Report)
    write(report, HERE / "docs")


if __name__ == "__main__":
    main()
