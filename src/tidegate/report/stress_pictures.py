"""The pictures of a stress: what it costs how often, who pays, where the cliff is."""

# matplotlib's own annotations leave keyword arguments open, and pandas declares no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tidegate.domain.units import PPM
from tidegate.lab.measures import probability
from tidegate.lab.stress import Stressed, frames
from tidegate.report.metrics import baseline
from tidegate.report.numbers import amount, brief, percent
from tidegate.report.stress_words import names_of, short_world, worst_study
from tidegate.report.theme import (
    LIGHT,
    Key,
    Picture,
    colour,
    figure_of,
    picture,
    plain,
    stack_colours,
    tidy,
)


PAYERS: Final = (
    ("fund_used", "netted", "the insurance fund"),
    ("adl_profit_taken", "adl", "winners, deleveraged"),
    ("socialised", "bought", "all accounts"),
    ("uncovered", "sold", "nobody: a hole"),
    ("deficit_at_end", "rung0", "still open at the end"),
)
ACCOUNTS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture before anybody chose where it goes: into a page, or into a notebook."""

    draw: Callable[[Figure, bool], None]
    name: str
    alt: str
    height: float
    narrow_height: float
    keys: tuple[Key, ...] = ()

    def figure(self) -> Figure:
        """Return it for a notebook; what the page's legend says stands in the figure."""
        made = figure_of(self.draw, height=self.height)
        if self.keys:
            labels = [f"{key.name}" for key in self.keys]

            lines = [
                Rectangle((0, 0), 1, 1, color=LIGHT[key.colour], alpha=0.5 if key.dashed else 1)
                for key in self.keys
            ]
            made.legend(lines, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
        return made

    def svg(self) -> Picture:
        """Return it for a page."""
        return picture(
            self.draw,
            name=self.name,
            alt=self.alt,
            height=self.height,
            narrow_height=self.narrow_height,
            keys=self.keys,
        )


def _brief(value: float, _: object) -> str:
    return brief(value)


def _per_cent(value: float, _: object) -> str:
    return f"{value:g} %"


def _grid(figure: Figure, count: int, columns: int) -> list[Axes]:
    rows = ceil(count / columns)
    made = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in made[count:]:
        axes.set_axis_off()
    return made[:count]


def _stack_keys(found: Stressed) -> tuple[Key, ...]:
    names = names_of(found)
    return tuple(Key(c, n) for c, n in zip(stack_colours(names), names, strict=True))


def losses(found: Stressed) -> Drawing:
    """Draw the share of paths that cost more than each amount, one panel a world."""
    names = names_of(found)
    colours = stack_colours(names)
    funded = any(s.outcomes[n][0].fund_at_start for s in found.studies for n in names)

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        panels = _grid(figure, len(found.studies), 1 if narrow else 2)
        for axes, study in zip(panels, found.studies, strict=True):
            most = max(float(study.losses(n).max()) for n in names)
            funds = {float(study.outcomes[n][0].fund_at_start) for n in names} - {0.0}
            right = 1.08 * max(most, *(f for f in funds if f < 3 * most), 1.0)
            for name, hue in zip(names, colours, strict=True):
                every = np.sort(study.losses(name))
                x = every[every > 0]
                left = np.arange(x.size - 1, -1, -1) / every.size
                at = np.concatenate([[0.0], x, [right]])
                share = np.concatenate([[x.size / every.size], left, [0.0]])
                axes.plot(at, 100 * share, drawstyle="steps-post", color=colour(hue), linewidth=1.8)
                fund = float(study.outcomes[name][0].fund_at_start)
                if 0 < fund < right:
                    axes.axvline(fund, color=colour(hue), linewidth=1, linestyle=(0, (2, 2)))
            tidy(axes)
            axes.set_ylim(0, 104)
            axes.set_xlim(0, right)
            plain(axes, lambda v: f"{v:g} %")
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(_brief))
            axes.set_title(short_world(study.world))
            beyond = [f for f in funds if f >= right]
            if not most:
                said = "nothing is lost"
                axes.set_xticks([0])
            elif beyond:
                said = f"the fund, {amount(max(beyond))}, lies far to the right"
            else:
                said = ""
            axes.set_title(said, loc="right", fontweight="normal", fontsize=8.5)

    rows = len(found.studies)
    keys = _stack_keys(found)
    if funded:
        keys = (*keys, Key("muted", "the stack's fund at the start", dashed=True))
    return Drawing(
        draw,
        "losses",
        "Share of paths that cost more than each amount, one panel a world",
        0.5 + 2.3 * ceil(rows / 2),
        0.4 + 2.2 * rows,
        keys,
    )


def insolvency(found: Stressed) -> Drawing:
    """Draw how likely each fund is exhausted in each world, with 95 % intervals."""
    names = names_of(found)
    colours = stack_colours(names)

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        del narrow
        axes = figure.subplots()
        step = 0.7 / len(names)
        for row, study in enumerate(found.studies):
            for k, (name, hue) in enumerate(zip(names, colours, strict=True)):
                at = probability(study.column(name, "insolvent") > 0, study.weight)
                y = row + (k - (len(names) - 1) / 2) * step
                span = [100 * at.low, 100 * at.high]
                axes.plot(span, [y, y], color=colour(hue), linewidth=4, alpha=0.35)
                axes.plot([100 * at.value], [y], "o", color=colour(hue), markersize=6)
        tidy(axes, grid=False)
        axes.grid(visible=True, axis="x", linewidth=0.6)
        axes.set_yticks(range(len(found.studies)), [short_world(s.world) for s in found.studies])
        axes.invert_yaxis()
        axes.set_xlim(-2, 102)
        axes.xaxis.set_major_formatter(FuncFormatter(_per_cent))

    height = 0.7 + 0.26 * len(found.studies) * max(2, len(names))
    return Drawing(
        draw,
        "insolvency",
        "Chance that more is lost than the fund holds, by world and stack, with intervals",
        height,
        height,
        _stack_keys(found),
    )


def burden(found: Stressed) -> Drawing:
    """Draw who paid on average, one bar a stack, one panel a world."""
    names = names_of(found)
    rows = frames.records(frames.burden(found))
    paid = {(row["world"], row["stack"]): row for row in rows}
    used = [p for p in PAYERS if any(row[p[0]] for row in rows)]

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        panels = _grid(figure, len(found.studies), 1 if narrow else 2)
        for axes, study in zip(panels, found.studies, strict=True):
            left = np.zeros(len(names))
            for key, hue, _ in used:
                width = np.array([paid[study.world, name][key] * PPM for name in names])
                axes.barh(range(len(names)), width, left=left, color=colour(hue), height=0.62)
                left += width
            tidy(axes, grid=False)
            axes.set_yticks(range(len(names)), names)
            axes.invert_yaxis()
            axes.set_title(short_world(study.world))
            axes.set_xlim(0, max(1.1 * float(left.max()), 1.0))
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(_brief))
            for row, total in enumerate(left.tolist()):
                if not total:
                    axes.text(0, row, " nothing", va="center", color=colour("muted"), fontsize=8.5)
            if not left.any():
                axes.set_xticks([])

    count, each = len(found.studies), 0.65 + 0.27 * len(names)
    return Drawing(
        draw,
        "burden",
        "Who paid on average, by world and stack",
        0.2 + each * ceil(count / 2),
        0.2 + each * count,
        tuple(Key(hue, text) for _, hue, text in used),
    )


def cliff(found: Stressed) -> Drawing:
    """Draw what each move costs at each share of depth, one panel a stack."""
    names = names_of(found)
    moves = sorted({move for _, move, _ in found.cliff}, reverse=True)
    depths = sorted({depth for _, _, depth in found.cliff}, reverse=True)
    most = max(1, *(end.loss for end in found.cliff.values()))

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        panels = _grid(figure, len(names), 1 if narrow else min(2, len(names)))
        for axes, name in zip(panels, names, strict=True):
            for x, move in enumerate(moves):
                for y, depth in enumerate(depths):
                    end = found.cliff[name, move, depth]
                    _cell(axes, x, y, end.loss, most, framed=end.insolvent)
            tidy(axes, grid=False)
            axes.set_xlim(0, len(moves))
            axes.set_ylim(len(depths), 0)
            axes.set_xticks([k + 0.5 for k in range(len(moves))], [f"{m:+.0%}" for m in moves])
            axes.set_yticks([k + 0.5 for k in range(len(depths))], [f"{d:.0%}" for d in depths])
            axes.set_xlabel("every price moves by, within a minute")
            axes.set_ylabel("share of the book left")
            axes.set_title(name)

    rows, each = len(names), 0.9 + 0.42 * len(depths)
    return Drawing(
        draw,
        "cliff",
        "What each fall costs at each share of depth that is left, one panel a stack",
        0.2 + each * ceil(rows / 2),
        0.2 + each * rows,
        (Key("sold", "lost below zero"), Key("ink", "framed: more than the fund holds")),
    )


def _cell(axes: Axes, x: int, y: int, loss: int, most: int, *, framed: bool) -> None:
    """Fill one cell of the cliff: the darker the more is lost, framed where the fund is gone."""
    box = Rectangle((x, y), 1, 1, linewidth=0, facecolor=colour("sold"))
    box.set_alpha(0.75 * (0.08 + 0.92 * (loss / most) ** 0.4) if loss > 0 else 0.0)
    axes.add_patch(box)
    text = brief(float(f"{loss:.2g}")) if loss >= PPM / 2 else "0"
    said = axes.text(x + 0.5, y + 0.5, text, ha="center", va="center")
    said.set(fontsize=8, color=colour("ink"))
    if framed:
        edge = Rectangle((x + 0.03, y + 0.04), 0.94, 0.92, fill=False)
        edge.set(linewidth=1.4, edgecolor=colour("ink"))
        axes.add_patch(edge)


def accounts(found: Stressed) -> Drawing:
    """Draw the accounts that make the tail of the costliest world, under the baseline."""
    names = names_of(found)
    study, base = worst_study(found), names[baseline(names)]
    rows = frames.records(frames.by_account(found))
    here = [r for r in rows if (r["world"], r["stack"]) == (study.world, base) and r["es"] > 0]
    top = here[:ACCOUNTS_SHOWN]

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        axes = figure.subplots()
        width = np.array([r["es"] * PPM for r in top])
        axes.barh(range(len(top)), width, color=colour(stack_colours(names)[baseline(names)]))
        for row, (size, share) in enumerate(
            zip(width.tolist(), (r["share"] for r in top), strict=True)
        ):
            text = f" {amount(float(size))}" + ("" if narrow else f", {percent(float(share))}")
            axes.text(float(size), row, text, va="center", fontsize=8.5, color=colour("muted"))
        tidy(axes, grid=False)
        axes.set_yticks(range(len(top)), [short_name(r["account"]) for r in top])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.3 * max(float(width.max(initial=0.0)), 1.0))
        axes.set_xticks([])

    height = 0.5 + 0.24 * max(1, len(top))
    return Drawing(
        draw,
        "accounts",
        "Accounts that contribute most to the expected shortfall of the costliest world",
        height,
        height,
    )


def short_name(name: str) -> str:
    """Return an account's name as an axis can bear it."""
    return name if len(name) <= 22 else f"{name[:10]}...{name[-6:]}"
