"""The cascade profile as a heat map: n at each price, over time, with the price walking through."""

# matplotlib's own annotations leave keyword arguments open.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tidegate.domain.units import PPM
from tidegate.report.metrics import ratio_text
from tidegate.report.prices import price_label
from tidegate.report.run import Run
from tidegate.report.theme import Key, Picture, colour, picture, plain, tidy
from tidegate.report.timeline import F64, Cells, thinned, timed


ROWS: Final = 150  # of the price grid
N_LOW, N_HIGH = 0.01, 10.0  # n below is left blank, n above looks like the top

# (log10 n, red, green, blue, opacity). Opacity falls with n, so that calm is the page's own
# background, light or dark; the hue breaks at n = 1, where a cascade begins to feed itself.
RAMP: Final = (
    (-2.0, 250, 204, 70, 0.10),
    (-1.0, 247, 168, 50, 0.60),
    (-0.001, 240, 110, 40, 0.92),
    (0.0, 208, 26, 74, 1.00),
    (1.0, 122, 8, 118, 1.00),
)


def cascade_picture(runs: Sequence[Run], instrument: int) -> Picture:
    """Draw n(p) of one instrument over time, one panel a stack, the mark on top."""
    venue = runs[0].stack.venue.instruments[instrument]
    tick = float(venue.tick_size)
    cells = Cells.over([run.series for run in runs], most=360)
    low, high = _range(runs, instrument)
    maps = [_field(run, instrument, cells, low, high) for run in runs]

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        panels = figure.subplots(len(runs), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        edges, span = cells.edges, (low * tick, high * tick)
        for axes, run, field in zip(panels, runs, maps, strict=True):
            axes.imshow(
                painted(field),
                extent=(edges[0], edges[-1], *span),
                aspect="auto",
                origin="lower",
                interpolation="none",  # the pixels themselves; the browser scales them
                zorder=1,
            )
            _contour(axes, field, edges, span)
            series = run.series
            known = series.mark[:, instrument] > 0
            t, y = thinned(series.ts[known], series.mark[known, instrument] * tick, 150)
            axes.plot(t, y, color=colour("surface"), linewidth=3, zorder=3)
            axes.plot(t, y, color=colour("ink"), linewidth=1.3, zorder=4)
            tidy(axes, grid=False)
            axes.set_ylim(span)
            plain(axes, price_label)
            axes.set_title(f"{venue.symbol}, {run.name}")
            peak = int(series.near[:, instrument].max(initial=0)) / PPM
            axes.set_title(
                f"peak n near the mark {ratio_text(peak)}",
                loc="right",
                fontweight="normal",
                fontsize=8.5,
            )
            timed(axes, narrow=narrow, labels=axes is panels[-1])

    return picture(
        draw,
        name=f"cascade-{instrument}",
        alt=f"{venue.symbol}: branching ratio n at each price over time, one panel a stack",
        height=0.7 + 1.75 * len(runs),
        keys=(Key("ink", "mark price"),),
    )


def painted(field: F64) -> NDArray[np.uint8]:
    """Return the pixels of n values: see `RAMP`."""
    stops = np.array(RAMP)
    log = np.log10(np.maximum(field, 1e-9))
    pixels = np.stack([np.interp(log, stops[:, 0], stops[:, k]) for k in range(1, 5)], axis=-1)
    pixels[..., 3] *= 255
    pixels[log < np.log10(N_LOW), 3] = 0
    return np.rint(pixels).astype(np.uint8)


def gradient() -> str:
    """Return the ramp as the stops of a CSS gradient, for the legend."""
    low, high = RAMP[0][0], RAMP[-1][0]
    return ", ".join(
        f"rgb({r:g} {g:g} {b:g} / {a:g}) {100 * (x - low) / (high - low):.4g}%"
        for x, r, g, b, a in RAMP
    )


def _range(runs: Sequence[Run], instrument: int) -> tuple[float, float]:
    """Return the prices to show: where the mark went, and where anything stands near it."""
    marks = np.concatenate([run.series.mark[:, instrument] for run in runs])
    marks = marks[marks > 0]
    if not marks.size:
        return 0.0, 1.0
    low, high = float(marks.min()), float(marks.max())
    room = max(0.35 * (high - low), 0.02 * high)
    return max(0.0, low - room), high + room


def _field(run: Run, instrument: int, cells: Cells, low: float, high: float) -> F64:
    """Return n on a grid of price rows and time cells, from buckets that move with the mark."""
    series, width = run.series, run.stack.declaration.profile.width
    rows = cells.rows(series.ts)
    known = (rows >= 0) & (series.mark[rows, instrument] > 0)
    mark = np.where(known, series.mark[rows, instrument], 1).astype(np.float64)
    middles = low + (np.arange(ROWS) + 0.5) * (high - low) / ROWS
    distance = (middles[:, None] / mark[None, :] - 1) * PPM
    bucket = np.floor(np.abs(distance) / width).astype(np.int64)
    buckets = series.down.shape[2]
    if not buckets:
        return np.zeros((ROWS, cells.count))
    inside = (bucket < buckets) & known[None, :]
    bucket = np.minimum(bucket, buckets - 1)
    column = np.broadcast_to(rows[None, :], bucket.shape)
    below = series.down[column, instrument, bucket]
    above = series.up[column, instrument, bucket]
    n = np.where(distance < 0, below, above) / PPM
    return np.where(inside, n, 0.0)


def _contour(axes: Axes, field: F64, edges: F64, span: tuple[float, float]) -> None:
    if not (field >= 1).any() or (field >= 1).all():
        return
    # A contour of raw cells is a staircase: a light blur makes it a line.
    log = np.log10(np.maximum(field, N_LOW / 10))
    for axis in (0, 1):
        log = (np.roll(log, 1, axis) + 2 * log + np.roll(log, -1, axis)) / 4
    x = (edges[:-1] + edges[1:]) / 2
    y = span[0] + (np.arange(ROWS) + 0.5) * (span[1] - span[0]) / ROWS
    axes.contour(x, y, log, levels=[0.0], colors=[colour("ink")], linewidths=0.6, zorder=2)
