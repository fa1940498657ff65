"""Returns that really happened: candles of an exchange, on the times that all symbols share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np

from tidegate.adapters.candles import Candles, read_candles
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import I64
from tidegate.lab.weather import F64
from tidegate.lab.worlds.ground import spoken


RETURNS_MIN = 30


@dataclass(frozen=True, eq=False, slots=True)
class History:
    """Logarithmic returns of several symbols over the same intervals.

    Only intervals that every symbol has are kept; a return over a gap is left out, so two rows may
    lie further apart than one interval.
    """

    symbols: tuple[str, ...]
    interval_ns: int
    ts: I64  # [T] the end of each interval
    returns: F64  # [T, n]
    worth: F64  # [n] median volume of an interval, quote asset
    source: str = "candles"

    @classmethod
    def of(cls, candles: Sequence[Candles], source: str = "candles") -> Self:
        """Return the history of these candles; raise ConfigInvalid where they hardly overlap."""
        intervals = {one.interval for one in candles}
        if len(intervals) != 1:
            raise ConfigInvalid(
                where=f"world: {source}",
                what="all symbols must have candles of one interval",
                found=", ".join(spoken(each) for each in sorted(intervals)),
            )
        interval = intervals.pop()
        ts: I64 = candles[0].ts
        for one in candles[1:]:
            ts = ts[np.isin(ts, one.ts, assume_unique=True)]
        whole = np.diff(ts) == interval
        if int(whole.sum()) < RETURNS_MIN:
            raise ConfigInvalid(
                where=f"world: {source}",
                what=f"must hold at least {RETURNS_MIN} intervals that every symbol has",
                found=f"{int(whole.sum())}",
                hint="choose symbols that were traded at the same time, or a longer stretch",
            )
        close = np.column_stack([one.close[np.searchsorted(one.ts, ts)] for one in candles])
        returns = np.diff(np.log(close), axis=0)[whole]
        worth = np.array([float(np.median(one.volume * one.close)) for one in candles])
        names = tuple(one.symbol for one in candles)
        return cls(names, interval, ts[1:][whole] + interval, returns, worth, source)

    def between(self, begin: int, end: int) -> Self:
        """Return rows ``begin`` to ``end``, the latter left out."""
        return type(self)(
            self.symbols,
            self.interval_ns,
            self.ts[begin:end],
            self.returns[begin:end],
            self.worth,
            self.source,
        )

    def largest_first(self) -> Self:
        """Return the same with the most traded symbol first: what `map=rank` goes by."""
        order: I64 = np.argsort(-self.worth, kind="stable")
        names = tuple([self.symbols[int(n)] for n in order])
        returns, worth = self.returns[:, order], self.worth[order]
        return type(self)(names, self.interval_ns, self.ts, returns, worth, self.source)

    def __str__(self) -> str:
        """Return where it comes from."""
        return (
            f"{self.returns.shape[0]:,} returns of {spoken(self.interval_ns)} of "
            f"{', '.join(self.symbols)} ({self.source}, {_date(int(self.ts[0]))} to "
            f"{_date(int(self.ts[-1]))})"
        )


def moment(where: str, text: str) -> int:
    """Return nanoseconds of an ISO date or time in UTC; raise ConfigInvalid for anything else."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigInvalid(
            where=where, what="must be a date or time", found=repr(text), hint="as in 2021-05-19"
        ) from None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return round(when.timestamp()) * 1_000_000_000


def _date(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d")


def candle_file(
    file: str,
    symbols: Sequence[str] = (),
    *,
    venue: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> list[Candles]:
    """Read candles for a world; ``since`` and ``until`` are ISO dates."""
    path = Path(file)
    if not path.is_file():
        raise ConfigInvalid(
            where="world: file", what="must be a Parquet, CSV or zip file of candles", found=file
        )
    begin = None if since is None else moment("world.from", since)
    end = None if until is None else moment("world.until", until)
    return read_candles([path], symbols, venue, since=begin, until=end)
