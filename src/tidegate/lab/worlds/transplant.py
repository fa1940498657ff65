"""A crash that happened, on a book that was not there: prices scaled in size and speed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tidegate.adapters.candles import Candles, path_inside
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import PriceObserved
from tidegate.domain.units import I64, SECOND
from tidegate.drivers.recording import load
from tidegate.lab.weather import F64, Weather, checked
from tidegate.lab.worlds.ground import Clock, normals, spoken, within
from tidegate.lab.worlds.matching import Matching


INSIDE: Final = 4  # prices of a candle: open, the two extremes, close
SIZE_MAX: Final = 10.0


@dataclass(frozen=True, eq=False, slots=True)
class Track:
    """Prices of several symbols on one even grid of time."""

    symbols: tuple[str, ...]
    step_ns: int
    price: F64  # [T, n]
    source: str

    @classmethod
    def of_candles(cls, candles: Sequence[Candles], source: str) -> Self:
        """Return four prices a candle, on the candles that every symbol has, without a gap.

        Where candles are missing, the longest stretch without a gap is kept.
        """
        interval = candles[0].interval
        if any(one.interval != interval for one in candles):
            raise ConfigInvalid(
                where=f"crash: {source}",
                what="all symbols must have candles of one interval",
                found=", ".join(sorted({spoken(one.interval) for one in candles})),
            )
        ts: I64 = candles[0].ts
        for one in candles[1:]:
            ts = ts[np.isin(ts, one.ts, assume_unique=True)]
        cut = np.flatnonzero(np.diff(ts) != interval) + 1
        edges: I64 = np.concatenate([[0], cut, [ts.size]])
        n = int(np.argmax(np.diff(edges)))
        longest: I64 = ts[edges[n] : edges[n + 1]]
        if longest.size < 2:
            raise ConfigInvalid(
                where=f"crash: {source}",
                what="must hold two candles in a row of every symbol",
                found=f"{longest.size}",
            )
        columns: list[F64] = []
        for one in candles:
            first = int(np.flatnonzero(one.ts == longest[0])[0])
            _, price = path_inside(one)
            columns.append(price[first * INSIDE : (first + longest.size) * INSIDE])
        names = tuple(one.symbol for one in candles)
        return cls(names, interval // INSIDE, np.column_stack(columns), source)

    @classmethod
    def of_recording(cls, folder: Path, step_ns: int = SECOND) -> Self:
        """Return a recording's prices every ``step_ns``, each its source's last word until then.

        The first source that speaks of an instrument speaks for it; an instrument without a price
        at the start begins at its first one.
        """
        recording = load(folder)
        symbols = tuple(i.symbol for i in recording.venue.instruments)
        steps = (recording.ends - recording.begins) // step_ns + 1
        price = np.zeros((steps, len(symbols)))
        speaker: dict[int, int] = {}
        for event in recording.events():
            if isinstance(event, PriceObserved):
                source = speaker.setdefault(event.instrument, event.source)
                if source == event.source:
                    at = -(-(event.ts - recording.begins) // step_ns)
                    price[min(at, steps - 1), event.instrument] = event.price
        seen = np.flatnonzero((price > 0).sum(axis=0))
        names = tuple(symbols[n] for n in seen.tolist())
        return cls(names, step_ns, _carried(price[:, seen]), recording.path.name)

    def deepest(self, steps: int) -> Self:
        """Return the ``steps`` + 1 prices that fall furthest below their first, on average.

        All of it where there are no more than that.
        """
        if self.price.shape[0] <= steps + 1:
            return self
        path = np.log(self.price)
        lows = sliding_window_view(path, steps + 1, axis=0).min(axis=-1)
        start = int(np.argmin((lows - path[: lows.shape[0]]).mean(axis=1)))
        return type(self)(
            self.symbols, self.step_ns, self.price[start : start + steps + 1], self.source
        )


def _carried(price: F64) -> F64:
    """Return prices [T, n] with every 0 replaced by the last price before it, or the first."""
    out = price.copy()
    for column in out.T:
        known: I64 = np.flatnonzero(column > 0)
        last: I64 = np.cumsum(column > 0) - 1
        column[:] = column[known[np.maximum(last, 0)]]
    return out


@dataclass(frozen=True, eq=False, slots=True)
class Transplant:
    """A recorded move, ``size`` times as large in logarithms and ``speed`` times as fast.

    ``spread`` is the deviation of a path's own size as a logarithm, drawn from the stream
    "world.size"; at 0 all paths are the crash itself. What forced sales did to prices then is in
    these prices: a venue's own impact comes on top of it.
    """

    track: Track
    size: float = 1.0
    speed: float = 1.0
    spread: float = 0.0
    by: str = "name"
    name: str = "crash"

    def __post_init__(self) -> None:
        """Refuse scales that mean nothing."""
        within("crash.size", self.size, -SIZE_MAX, SIZE_MAX)
        within("crash.speed", self.speed, 1e-6, 1e6)
        within("crash.spread", self.spread, 0.0, 3.0)
        Matching(self.track.symbols, self.by)
        Clock(self.track.price.shape[0] - 1, self._step())

    def _step(self) -> int:
        return max(1, round(self.track.step_ns / self.speed))

    def describe(self) -> str:
        """Return one sentence for people."""
        path = np.log(self.track.price / self.track.price[0]) * self.size
        low = float(np.exp(path.min(axis=0).min()) - 1)
        worst = self.track.symbols[int(path.min(axis=0).argmin())]
        return (
            f"{self.track.source} as it happened, {self.size:g} times the size and "
            f"{self.speed:g} times the speed: {worst} {low:+.1%} at the worst of "
            f"{len(self.track.symbols)} symbols, matched by {self.by}; "
            f"{Clock(self.track.price.shape[0] - 1, self._step())}"
        )

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths."""
        columns = Matching(self.track.symbols, self.by).columns(symbols)
        path = np.log(self.track.price[:, columns] / self.track.price[0, columns]) * self.size
        sizes = np.ones((len(paths), 1, 1))
        if self.spread:
            sizes = np.exp(self.spread * normals(root, paths, "world.size", 1, 1))
        price = np.exp(sizes * path)
        return checked(Weather(price, np.ones_like(price), self._step()), self.name)
