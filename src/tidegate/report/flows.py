"""Forced flow per second, the fund and the losses, and the breaker's rungs, over time."""

# matplotlib's own annotations leave keyword arguments open.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tidegate.domain.units import PPM
from tidegate.drivers.verdict import RUNGS
from tidegate.report.numbers import amount, brief, duration
from tidegate.report.run import Run
from tidegate.report.theme import Key, Picture, colour, picture, plain, stack_colours, tidy
from tidegate.report.timeline import Cells, days, thinned, timed


KINDS = (
    ("sold", "sold to the market"),
    ("bought", "bought from the market"),
    ("netted", "closed against one another"),
    ("adl", "closed against winners"),
)


def flow_picture(runs: Sequence[Run], unit: str) -> Picture:
    """Draw what was forced per second, one panel a stack on the same scale."""
    cells = Cells.over([run.series for run in runs])
    rates = [
        {k: cells.rate(run.series.ts, getattr(run.series, k).sum(axis=1)) for k, _ in KINDS}
        for run in runs
    ]
    used = [(k, text) for k, text in KINDS if any(rate[k].any() for rate in rates)]

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        panels = figure.subplots(len(runs), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        edges = cells.edges
        for axes, run, rate in zip(panels, runs, rates, strict=True):
            floor = np.zeros(cells.count)
            for kind, _ in used:
                top = floor + rate[kind]
                axes.fill_between(
                    edges,
                    np.append(floor, floor[-1]),
                    np.append(top, top[-1]),
                    step="post",
                    color=colour(kind),
                    linewidth=0,
                )
                floor = top
            tidy(axes)
            plain(axes, brief)
            axes.set_title(run.name)
            axes.set_title(_worst(run, unit), loc="right", fontweight="normal", fontsize=8.5)
            timed(axes, narrow=narrow, labels=axes is panels[-1])
        panels[0].set_ylim(bottom=0)

    return picture(
        draw,
        name="flow",
        alt="Money forced per second over time, one panel a stack",
        height=1.0 + 1.25 * len(runs),
        keys=tuple(Key(kind, text) for kind, text in used),
    )


def money_picture(runs: Sequence[Run]) -> Picture:
    """Draw what is left in the fund, bad debt so far, and profit taken from winners so far."""
    colours = stack_colours([run.name for run in runs])
    panels = (
        ("insurance fund left", [run.series.fund.sum(axis=1) for run in runs]),
        ("bad debt so far", [run.series.bad_debt for run in runs]),
        ("profit taken from winners so far", [run.series.forgone for run in runs]),
    )

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        shape = (3, 1) if narrow else (1, 3)
        all_axes = figure.subplots(*shape, squeeze=False).ravel()
        for axes, (title, values) in zip(all_axes, panels, strict=True):
            for run, name, value in zip(runs, colours, values, strict=True):
                t, y = thinned(run.series.ts, value, 160)
                axes.plot(t, y, color=colour(name), linewidth=1.7, drawstyle="steps-post")
            tidy(axes)
            plain(axes, brief)
            if not any(value.any() for value in values):
                axes.set_ylim(0, PPM)
                axes.set_yticks([0])
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
            axes.set_title(title)
            timed(axes, narrow=True)

    return picture(
        draw,
        name="money",
        alt="The insurance fund, bad debt and profit taken from winners over time under each stack",
        height=2.7,
        narrow_height=6.0,
        keys=tuple(Key(n, run.name) for run, n in zip(runs, colours, strict=True)),
    )


def rung_picture(runs: Sequence[Run]) -> Picture:
    """Draw on which rung of the breaker each stack stood, one bar a stack."""
    seen = sorted({int(r) for run in runs for r in run.series.rung} | {0})

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        axes = figure.subplots()
        for row, run in enumerate(runs):
            series = run.series
            change = np.flatnonzero(np.diff(series.rung, prepend=-1))
            begin = series.ts[change]
            end = np.append(begin[1:], series.ts[-1] + series.step_ns)
            for rung in seen:
                here = series.rung[change] == rung
                spans = list(zip(days(begin[here]), days(end[here] - begin[here]), strict=True))
                axes.broken_barh(
                    spans, (row - 0.34, 0.68), color=colour(f"rung{rung}"), linewidth=0
                )
        tidy(axes, grid=False)
        axes.set_yticks(range(len(runs)), [run.name for run in runs])
        axes.invert_yaxis()
        timed(axes, narrow=narrow)

    return picture(
        draw,
        name="rungs",
        alt="The breaker's rung over time under each stack",
        height=0.7 + 0.36 * len(runs),
        keys=tuple(Key(f"rung{r}", RUNGS[r].replace("_", " ")) for r in seen),
    )


def _worst(run: Run, unit: str) -> str:
    s = run.series
    total = (s.sold + s.bought + s.netted + s.adl).sum(axis=1)
    if not total.any():
        return "nothing was forced"
    worst = amount(float(total.max()), unit)
    seconds = s.step_ns / 1e9
    when = "worst second" if seconds == 1 else f"worst {duration(seconds)}"
    whole = amount(float(total.sum()), unit)
    return f"{when} {worst}, in total {whole}"
