"""How every picture looks: colours that follow the page's theme, two widths, inline SVG.

A picture is drawn once and read on white, on black, on a phone. So matplotlib draws in stand-in
colours that no one else uses, and the finished SVG says ``var(--name)`` where they stood; the
stylesheet of the page decides. Text stays text and takes the font of the page.
"""

# matplotlib's own annotations leave keyword arguments open.
# pyright: reportUnknownMemberType=false

import io
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter


# Names of CSS variables; the stylesheet gives each a value for light and for dark.
NAMES: Final = (
    "ink",
    "muted",
    "grid",
    "surface",
    "bare",
    "guarded",
    "neutral",
    "other1",
    "other2",
    "other3",
    "sold",
    "bought",
    "netted",
    "adl",
    "rung0",
    "rung1",
    "rung2",
    "rung3",
    "rung4",
)
STAND_IN: Final = {name: f"#01{n:02x}fe" for n, name in enumerate(NAMES)}
# What the stylesheet gives them on a light page, for figures that no page will colour.
LIGHT: Final = {
    "ink": "#15202b",
    "muted": "#5b6875",
    "grid": "#d9dfe4",
    "surface": "#ffffff",
    "bare": "#d9480f",
    "guarded": "#0b8a8f",
    "neutral": "#8a94a0",
    "other1": "#6741d9",
    "other2": "#b78103",
    "other3": "#c2255c",
    "sold": "#d9480f",
    "bought": "#e8a33d",
    "netted": "#4c9a8e",
    "adl": "#7048b6",
    "rung0": "#cfd8dd",
    "rung1": "#f0c350",
    "rung2": "#ec8a35",
    "rung3": "#cf3f4b",
    "rung4": "#7d1464",
}
_palette: ContextVar[Mapping[str, str]] = ContextVar("palette", default=STAND_IN)
_NAME_OF: Final = {colour: name for name, colour in STAND_IN.items()}

WIDE: Final = 10.4  # inches of 72 points: the page's column at 1.4 pixels a point
NARROW: Final = 4.9  # a phone


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend, drawn by the page: a colour, a name, and how the line looks."""

    colour: str
    name: str
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure of the page: two SVGs of which the reader's screen shows one."""

    wide: str
    narrow: str
    keys: tuple[Key, ...] = ()


def colour(name: str) -> str:
    """Return what to draw the CSS variable ``name`` with: a stand-in, or its light value."""
    return _palette.get()[name]


def stack_colours(names: list[str]) -> list[str]:
    """Return the variable of each stack: its own where it has one, the next free one otherwise."""
    free = iter(("other1", "other2", "other3", "muted") * len(names))
    return [name if name in {"bare", "guarded", "neutral"} else next(free) for name in names]


def picture(
    draw: Callable[[Figure, bool], None],
    *,
    name: str,
    alt: str,
    height: float,
    narrow_height: float | None = None,
    keys: tuple[Key, ...] = (),
) -> Picture:
    """Draw a picture at both widths; ``draw`` is told whether it is the narrow one."""
    both: list[str] = []
    for narrow in (False, True):
        with mpl.rc_context(cast("Any", _settings(f"{name}-{narrow}"))):
            tall = (narrow_height or height) if narrow else height
            figure = Figure(figsize=(NARROW if narrow else WIDE, tall), layout="constrained")
            FigureCanvasSVG(figure)
            draw(figure, narrow)
            both.append(_inline(figure, alt, "narrow" if narrow else "wide"))
    return Picture(wide=both[0], narrow=both[1], keys=keys)


class Shown(Figure):
    """A figure that a notebook shows by itself, without any global state of matplotlib's."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def figure_of(draw: Callable[[Figure, bool], None], *, height: float) -> Figure:
    """Return a figure of its own, in light colours and wide: what a notebook shows."""
    token = _palette.set(LIGHT)
    try:
        with mpl.rc_context(cast("Any", {**_settings("figure"), "figure.facecolor": "white"})):
            figure = Shown(figsize=(WIDE, height), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure, False)  # noqa: FBT003 - the signature of `picture`
    finally:
        _palette.reset(token)
    return figure


def tidy(axes: Axes, *, grid: bool = True) -> None:
    """Give ``axes`` the look of the house: no box, a faint horizontal grid, small ticks."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, pad=5)
    axes.tick_params(axis="x", length=3)
    if grid:
        axes.grid(visible=True, axis="y", linewidth=0.6)
    axes.set_axisbelow(True)


def plain(axes: Axes, show: Callable[[float], str]) -> None:
    """Label the y axis with ``show`` instead of powers and offsets."""

    def label(value: float, _: object) -> str:
        return show(value)

    axes.yaxis.set_major_formatter(FuncFormatter(label))


def _settings(salt: str) -> dict[str, Any]:
    ink, muted, grid = colour("ink"), colour("muted"), colour("grid")
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,  # ids in the page differ between pictures, never between runs
        "svg.image_inline": True,
        "font.size": 9,
        "text.color": ink,
        "axes.edgecolor": grid,
        "axes.labelcolor": muted,
        "axes.facecolor": "none",
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 6,
        "axes.linewidth": 0.8,
        "axes.unicode_minus": False,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "grid.color": grid,
        "xtick.color": grid,
        "xtick.labelcolor": muted,
        "ytick.color": grid,
        "ytick.labelcolor": muted,
        "lines.solid_joinstyle": "round",
        "path.simplify": True,
        "path.simplify_threshold": 0.3,
        "figure.constrained_layout.w_pad": 0.02,
        "figure.constrained_layout.h_pad": 0.04,
    }


def _inline(figure: Figure, alt: str, kind: str) -> str:
    buffer = io.StringIO()
    unnamed = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=unnamed)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style type=.text/css.>.*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None, "matplotlib always writes a view box"
    head = (
        f'<svg class="{kind}" {box.group()} role="img" aria-label="{_quoted(alt)}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    svg = head + svg[svg.index(">") + 1 :]
    svg = re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", svg)
    # A tenth of a point is less than a pixel; a transform needs its digits.
    svg = re.sub(r' d="([^"]*)"', lambda m: f' d="{_rounded(m.group(1))}"', svg)
    return re.sub(r"#01[0-9a-f]{2}fe", lambda m: f"var(--{_NAME_OF[m.group()]})", svg)


def _rounded(path: str) -> str:
    return " ".join(re.sub(r"(-?\d+\.\d)\d+", r"\1", path).split())


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
