"""A proposal to change a stack: its picture, its words, and one page that holds both."""

# matplotlib's own annotations leave keyword arguments open.
# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tidegate import __version__
from tidegate.domain.units import PPM
from tidegate.lab.held_out import Judged
from tidegate.lab.tuning import Scores, Search
from tidegate.report.numbers import brief, percent
from tidegate.report.theme import Key, Picture, colour, picture, plain, tidy
from tidegate.report.tuning_words import (
    HEADS,
    changes,
    explained,
    how_to_read,
    judgement,
    markdown,
    response_said,
    trials_said,
)
from tidegate.report.words import unbroken


def write_proposal(
    folder: Path, search: Search, judged: Judged | None, *, book: str, command: str
) -> tuple[Path, Path]:
    """Write ``proposal.md`` and ``proposal.html`` into ``folder``; the same search, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    words, page = folder / "proposal.md", folder / "proposal.html"
    words.write_text(markdown(search, judged, book=book, command=command), encoding="utf-8")
    page.write_text(_page(search, judged, book=book, command=command), encoding="utf-8")
    return words, page


def _page(search: Search, judged: Judged | None, *, book: str, command: str) -> str:
    environment = Environment(
        loader=PackageLoader("tidegate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = pareto_picture(search, judged.number if judged else None)
    context: dict[str, Any] = {
        "version": __version__,
        "book": book,
        "command": command,
        "search": search,
        "stack": search.question.stack,
        "unit": search.question.opening.venue.numeraire,
        "sentences": [unbroken(s) for s in explained(search, judged)],
        "trials": trials_said(search),
        "picture": {"svg": Markup(drawn.wide + drawn.narrow), "legend": drawn.keys},  # noqa: S704 - ours
        "changes": changes(search, judged) if judged else [],
        "judged": [[unbroken(c) for c in row] for row in judgement(judged)] if judged else [],
        "heads": HEADS,
        "read": how_to_read(search),
        "response": response_said(search).replace("`", ""),
    }
    return environment.get_template("tuning.html.j2").render(context)


def pareto_picture(search: Search, pick: int | None) -> Picture:
    """Draw every trial by tail loss against margin and against harm; a star for what is picked."""
    unit = search.question.opening.venue.numeraire
    scores = [(t.number, t.scores) for t in search.trials if t.scores is not None]
    beaten = [s for n, s in scores if n not in search.front and n != pick]
    front = [s for n, s in scores if n in search.front and n != pick]
    picked = [s for n, s in scores if n == pick]
    worst = f"{1 - search.question.level:.0%}"
    show = {"margin": _margin, "harm": brief}
    label = {"margin": "average initial margin", "harm": f"harm to users, mean, {unit}"}

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        shape = (2, 1) if narrow else (1, 2)
        every = figure.subplots(*shape, sharey=True, squeeze=False).ravel()
        for axes, name in zip(every, label, strict=True):
            _dots(axes, beaten, name, "muted", size=14, alpha=0.55)
            _dots(axes, front, name, "other1", size=30)
            _dots(axes, [search.now], name, "bare", size=64, marker="D")
            _dots(axes, picked, name, "guarded", size=110, marker="*")
            tidy(axes)
            plain(axes, brief)
            across(axes, show[name])
            axes.locator_params(axis="x", nbins=5)
            axes.set_xlabel(label[name])
        for axes in every if narrow else every[:1]:
            axes.set_title(f"mean loss of the worst {worst} of paths, {unit}")

    keys = [Key("bare", "as it is (diamond)"), Key("other1", "no other trial is better in all")]
    keys += [Key("guarded", "proposed (star)")] if picked else []
    return picture(
        draw,
        name="pareto",
        alt="Every trial by tail loss against margin asked and against harm to users",
        height=3.6,
        narrow_height=6.0,
        keys=(*keys, Key("muted", "other trials")),
    )


def across(axes: Axes, show: Callable[[float], str]) -> None:
    """Label the x axis with ``show``, as `theme.plain` does the other."""

    def label(value: float, _: object) -> str:
        return show(value)

    axes.xaxis.set_major_formatter(FuncFormatter(label))


def _margin(ppm: float) -> str:
    return percent(ppm / PPM)


def _dots(
    axes: Axes,
    scores: Sequence[Scores],
    name: str,
    shade: str,
    *,
    size: float,
    marker: str = "o",
    alpha: float = 1.0,
) -> None:
    x = [float(getattr(s, name)) for s in scores]
    y = [s.tail for s in scores]
    axes.scatter(
        x, y, s=size, marker=marker, color=colour(shade), alpha=alpha, linewidths=0, clip_on=False
    )
