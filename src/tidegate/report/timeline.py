"""Time on the x axis: what all runs share, thinned so that a picture stays small and true."""

# matplotlib's own annotations leave keyword arguments open.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from numpy.typing import NDArray

from tidegate.domain.units import I64, SECOND
from tidegate.drivers.series import Series


F64: TypeAlias = NDArray[np.float64]

NS_A_DAY = 86_400 * SECOND


def days(ts: I64) -> F64:
    """Return nanoseconds as matplotlib's dates: days since the epoch, UTC."""
    return ts / NS_A_DAY


def thinned(ts: I64, value: NDArray[Any], cells: int = 420) -> tuple[F64, F64]:
    """Return at most four points a cell of time: its first, lowest, highest and last.

    What a line of ``cells`` pixels can show is kept exactly, spikes included.
    """
    if ts.size <= 4 * cells:
        return days(ts), value.astype(np.float64)
    cell = ((ts - ts[0]) * cells // max(1, int(ts[-1] - ts[0]) + 1)).astype(np.int64)
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    keep: set[int] = set()
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), ts.size], strict=True):
        part = value[begin:end]
        keep |= {begin, begin + int(part.argmin()), begin + int(part.argmax()), end - 1}
    rows = np.array(sorted(keep), np.int64)
    return days(ts[rows]), value[rows].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Cells:
    """A common grid of time for all runs: equal cells from the first event to the last."""

    begin: int  # ns
    width: int  # ns
    count: int

    @classmethod
    def over(cls, series: Sequence[Series], most: int = 260) -> "Cells":
        """Return at most ``most`` cells over everything, none finer than what was sampled."""
        begin = min((int(s.ts[0]) for s in series if s.ts.size), default=0)
        end = max((int(s.ts[-1]) + s.step_ns for s in series if s.ts.size), default=1)
        finest = max((s.step_ns for s in series), default=SECOND)
        width = -(-(end - begin) // most)
        width = max(1, -(-width // finest)) * finest  # whole samples in each: no beating pattern
        return cls(begin=begin, width=width, count=max(1, -(-(end - begin) // width)))

    @property
    def edges(self) -> F64:
        """The begin of every cell and the end of the last, in matplotlib's dates."""
        return days(self.begin + self.width * np.arange(self.count + 1, dtype=np.int64))

    @property
    def seconds(self) -> float:
        """The length of one cell."""
        return self.width / SECOND

    def rate(self, ts: I64, flow: I64) -> F64:
        """Return a flow per second, averaged over each cell."""
        where = ((ts - self.begin) // self.width).astype(np.int64)
        return np.bincount(where, weights=flow, minlength=self.count)[: self.count] / self.seconds

    def rows(self, ts: I64) -> I64:
        """Return the sample that holds at the end of each cell; -1 before the first one."""
        ends = self.begin + self.width * np.arange(1, self.count + 1, dtype=np.int64)
        return np.searchsorted(ts, ends, side="left") - 1


def timed(axes: Axes, *, narrow: bool, labels: bool = True) -> None:
    """Label the x axis with UTC time, briefly; without labels only the ticks stay."""
    locator = AutoDateLocator(minticks=3, maxticks=5 if narrow else 9)
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)
    formatter.offset_formats = ["", "%Y", "%B %Y", "%d %B %Y UTC", "%d %B %Y UTC", "%d %B %Y UTC"]
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set_color(axes.xaxis.label.get_color())
    axes.margins(x=0)
    if not labels:
        axes.tick_params(labelbottom=False)
        axes.xaxis.get_offset_text().set_visible(False)
