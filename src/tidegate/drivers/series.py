"""What a run looked like over time: one row a second, for pictures and for nothing else.

A row stands for the second that begins at its timestamp; a second in which nothing happened has no
row. A history longer than `SAMPLES_MAX` rows is folded: two neighbouring intervals become one and
the interval doubles, so that memory is bounded whatever is replayed.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import TRANCHES_MAX
from tidegate.domain.units import I64, SECOND


SAMPLES_MAX: Final = 16_384
CELLS_MAX: Final = 2**24  # of one profile column; a venue with many instruments gets fewer rows

Fold: TypeAlias = Literal["last", "sum", "extreme"]
Column: TypeAlias = NDArray[Any]

# How a column reads within one interval: the level at its end, the sum over it, or the value that
# was furthest from zero. The width is one cell per instrument, per fund tranche, or one.
COLUMNS: Final[dict[str, tuple[Fold, str]]] = {
    "mark": ("last", "instrument"),
    "reference": ("last", "instrument"),
    "impact": ("extreme", "instrument"),
    "near": ("extreme", "instrument"),
    "sold": ("sum", "instrument"),
    "bought": ("sum", "instrument"),
    "netted": ("sum", "instrument"),
    "adl": ("sum", "instrument"),
    "fund": ("last", "fund"),
    "deficit": ("extreme", "one"),
    "liquidatable": ("extreme", "one"),
    "rung": ("extreme", "one"),
    "bad_debt": ("last", "one"),
    "socialised": ("last", "one"),
    "forgone": ("last", "one"),
    "orders": ("sum", "one"),
}
PROFILE: Final = ("down", "up")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Columns over time; Money is 1e-6 of the numeraire, prices are ticks, rates are ppm."""

    step_ns: int  # length of one interval
    ts: I64  # [samples] begin of the interval
    mark: I64  # [samples, instruments] 0 before the first price
    reference: I64  # [samples, instruments] the price without our own impact
    impact: I64  # [samples, instruments] signed displacement
    near: I64  # [samples, instruments] branching ratio near the mark
    sold: I64  # [samples, instruments] Money, forced sales filled in the interval
    bought: I64  # [samples, instruments] Money, forced purchases
    netted: I64  # [samples, instruments] Money, closed against one another, both sides
    adl: I64  # [samples, instruments] Money, closed against winners
    fund: I64  # [samples, tranches] Money
    deficit: I64  # [samples] Money by which the bankrupt are below zero
    liquidatable: I64  # [samples] accounts
    rung: I64  # [samples]
    bad_debt: I64  # [samples] Money, from the beginning
    socialised: I64  # [samples] Money, from the beginning
    forgone: I64  # [samples] Money winners gave up, from the beginning
    orders: I64  # [samples] placed in the interval
    down: NDArray[np.int32]  # [samples, instruments, buckets] n below the mark
    up: NDArray[np.int32]  # [samples, instruments, buckets] n above the mark

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds since the first sample."""
        return (self.ts - self.ts[0]) / SECOND if self.ts.size else np.zeros(0)


class Sampler:
    """Collects a `Series`: tell it what time it is, then what changed."""

    def __init__(self, instruments: int, *, samples_max: int = SAMPLES_MAX) -> None:
        self.step_ns = SECOND
        self._samples_max = samples_max
        width = {"instrument": instruments, "fund": TRANCHES_MAX, "one": 1}
        self._now: dict[str, Column] = {
            name: np.zeros(width[shape], np.int64) for name, (_, shape) in COLUMNS.items()
        }
        self._now |= {side: np.zeros((instruments, 0), np.int32) for side in PROFILE}
        self._level = {name: column.copy() for name, column in self._now.items()}
        self._rows: dict[str, Column] = {name: c[None, ...][:0] for name, c in self._now.items()}
        self._ts: I64 = np.zeros(0, np.int64)
        self._count = 0
        self._interval: int | None = None

    def advance(self, ts: int) -> bool:
        """Begin a new interval when ``ts`` lies beyond the open one; return whether it did."""
        if self._interval is None:
            self._interval = ts // self.step_ns
            return True
        if ts // self.step_ns == self._interval:
            return False
        # Where rows stand far apart one doubling joins none: it ends when two share an interval.
        while self._count >= self._samples_max:
            self._fold()
            if ts // self.step_ns == self._interval:
                return False
        self._keep()
        self._interval = ts // self.step_ns
        for name, (fold, _) in COLUMNS.items():
            if fold == "sum":
                self._now[name].fill(0)
            elif fold == "extreme":
                self._now[name][:] = self._level[name]
        return True

    def add(self, name: str, amount: int | Column, cell: int | slice = 0) -> None:
        """Add to a flow."""
        self._now[name][cell] += amount

    def put(self, name: str, value: int | Column, cell: int | slice = 0) -> None:
        """Set a level that is shown as it stood at the end of the interval."""
        self._now[name][cell] = value

    def peak(self, name: str, value: int, cell: int = 0) -> None:
        """Set a level of which the interval shows the value furthest from zero."""
        self._level[name][cell] = value
        if abs(value) > abs(int(self._now[name][cell])):
            self._now[name][cell] = value

    def profile(self, instrument: int, down: Column, up: Column) -> None:
        """Remember the cascade profile of one instrument; the first one fixes the bucket count."""
        if self._now["down"].shape[1] != down.size:
            cells = max(1, self._now["down"].shape[0] * down.size)
            self._samples_max = min(self._samples_max, max(256, CELLS_MAX // cells))
            for side in PROFILE:
                self._now[side] = np.zeros((self._now[side].shape[0], down.size), np.int32)
                # Before the first profile there were no buckets: those intervals were calm.
                shape = (self._rows[side].shape[0], *self._now[side].shape)
                self._rows[side] = np.zeros(shape, np.int32)
        self._now["down"][instrument] = down
        self._now["up"][instrument] = up

    def series(self) -> Series:
        """Return what was collected, the interval that is still open included."""
        rows = {name: kept[: self._count] for name, kept in self._rows.items()}
        ts = self._ts[: self._count]
        if self._interval is not None:
            rows = {n: np.concatenate([kept, self._now[n][None, ...]]) for n, kept in rows.items()}
            ts = np.append(ts, self._interval * self.step_ns)
        for name, (_, width) in COLUMNS.items():
            rows[name] = rows[name][:, 0] if width == "one" else rows[name]
        return Series(step_ns=self.step_ns, ts=ts, **rows)

    def _keep(self) -> None:
        assert self._interval is not None, "an interval is kept only once it has begun"
        if self._count == self._ts.size:
            size = max(256, 2 * self._count)
            self._ts = np.concatenate([self._ts, np.zeros(size - self._count, np.int64)])
            for name, kept in self._rows.items():
                grown = np.zeros((size, *kept.shape[1:]), kept.dtype)
                grown[: self._count] = kept
                self._rows[name] = grown
        self._ts[self._count] = self._interval * self.step_ns
        for name, rows in self._rows.items():
            rows[self._count] = self._now[name]
        self._count += 1

    def _fold(self) -> None:
        """Join neighbouring intervals pairwise, the open one with the last row where they meet."""
        assert self._interval is not None, "only a full sampler is folded"
        self.step_ns *= 2
        self._interval //= 2
        begin = self._ts[: self._count] // self.step_ns
        first = np.flatnonzero(np.diff(begin, prepend=begin[0] - 1))
        last = np.append(first[1:], begin.size) - 1
        meets = bool(begin[-1] == self._interval)
        kept = first.size - meets
        for name, rows in self._rows.items():
            fold = COLUMNS[name][0] if name in COLUMNS else "last"
            if fold == "sum":
                folded = np.add.reduceat(rows[: self._count], first, axis=0)
            elif fold == "last":
                folded = rows[last]
            else:
                folded = _further(rows[first], rows[last])
            rows[:kept] = folded[:kept]
            if meets and fold == "sum":
                self._now[name] += folded[kept]
            elif meets and fold == "extreme":
                self._now[name] = _further(folded[kept], self._now[name])
        self._ts[:kept] = begin[first[:kept]] * self.step_ns
        self._count = kept


def _further(before: Column, after: Column) -> Column:
    return np.where(np.abs(after) >= np.abs(before), after, before)
