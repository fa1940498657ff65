"""The price without us, and where each stack's forced orders pushed it."""

# matplotlib's own annotations leave keyword arguments open.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tidegate.domain.units import PPM
from tidegate.report.run import Run
from tidegate.report.theme import Key, Picture, colour, picture, plain, stack_colours, tidy
from tidegate.report.timeline import thinned, timed


def price_picture(runs: Sequence[Run], instrument: int) -> Picture:
    """Draw the price of one instrument under every stack, and by how much it was displaced."""
    symbol = runs[0].stack.venue.instruments[instrument].symbol
    tick = float(runs[0].stack.venue.instruments[instrument].tick_size)
    colours = stack_colours([run.name for run in runs])

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        cells = 130 if narrow else 260
        top, low = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
        series = runs[0].series
        known = series.reference[:, instrument] > 0
        t, y = thinned(series.ts[known], series.reference[known, instrument] * tick, cells)
        top.plot(t, y, color=colour("ink"), linewidth=1, linestyle=(0, (1.5, 1.5)), zorder=4)
        for run, name in zip(runs, colours, strict=True):
            series = run.series
            known = series.mark[:, instrument] > 0
            t, y = thinned(series.ts[known], series.mark[known, instrument] * tick, cells)
            top.plot(t, y, color=colour(name), linewidth=1.5)
            t, y = thinned(series.ts, series.impact[:, instrument] * 100 / PPM, cells)
            low.plot(t, y, color=colour(name), linewidth=1.2)
            low.fill_between(t, 0, y, color=colour(name), alpha=0.12, linewidth=0)
        if not any(run.series.impact[:, instrument].any() for run in runs):
            low.set_ylim(-1, 1)
            low.set_yticks([0])
        tidy(top)
        tidy(low)
        plain(top, price_label)
        plain(low, lambda v: f"{v:+.3g} %" if v else "0 %")
        top.set_title(f"{symbol}: mark price")
        low.set_title("pushed away from its own course by forced orders")
        timed(top, narrow=narrow, labels=False)
        timed(low, narrow=narrow)

    keys = (
        Key("ink", "without forced orders", dashed=True),
        *(Key(name, run.name) for run, name in zip(runs, colours, strict=True)),
    )
    return picture(
        draw,
        name=f"price-{instrument}",
        alt=f"{symbol}: price over time under {_names(runs)}, with the price without forced orders",
        height=4.6,
        narrow_height=4.6,
        keys=keys,
    )


def busiest(runs: Sequence[Run], most: int) -> list[int]:
    """Return the instruments that moved most money by force, in any run, the busiest first."""
    flow = sum(
        (r.series.sold + r.series.bought + r.series.netted + r.series.adl).sum(axis=0) for r in runs
    )
    traded = np.flatnonzero(np.max([r.series.mark.max(axis=0, initial=0) for r in runs], axis=0))
    ranked = sorted(traded.tolist(), key=lambda i: (-int(np.asarray(flow)[i]), i))
    moved = [i for i in ranked if np.asarray(flow)[i] > 0]
    return (moved or ranked)[:most]


def price_label(value: float) -> str:
    """Return a price at a tick of an axis, with the decimals it has and no others."""
    text = f"{value:,.6f}".rstrip("0")
    return text.removesuffix(".")


def _names(runs: Sequence[Run]) -> str:
    return ", ".join(run.name for run in runs)
