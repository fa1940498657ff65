"""The public tables of Hyperliquid's 2025-10-10, and the price path of one coin between them.

No price of that day is published in them as such; what is published fixes it at a dozen moments:

* a deleveraging fill states its price and millisecond (`adl_fills_top_leverage`);
* where one burst is alone in its wave, its notional (`adl_by_second_coin`) over the wave's quantity
  (`adl_price_gap_by_wave_coin`) is its price;
* positions that were opened within the window state their entry price: the highest is taken for the
  price at the beginning, the lowest for the low;
* the mark at the end stands in every row of the position table.

Between two known prices the path follows the liquidation fills of the cascade timeline: the share
of the fall done by a second is the share of market liquidations done by then.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters.arrow import Table, pa, pc, pq
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid
from tidegate.domain.units import I64


F64: TypeAlias = NDArray[np.float64]

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000

# Published name of each table, below a common prefix, and the columns that are read from it.
TABLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "positions": (
        "positions_SOL",
        (
            *("user_address", "asset", "side", "position_size", "entry_price", "mark_price"),
            *("realized_pnl", "was_liquidated", "was_adl", "trades_count"),
            "had_pre_existing_position",
        ),
    ),
    "timeline": ("cascade_timeline", ("second", "liquidations", "adls", "ts")),
    "adl": ("adl_by_second_coin", ("time_ms", "coin", "adl_notional_usd")),
    "coins": ("adl_by_coin", ("coin", "adl_notional", "closed_pnl", "net_volume", "avg_price")),
    "users": (
        "adl_by_user",
        (
            *("user", "adl_notional", "closed_pnl", "mean_pnl_percent", "account_value_usd"),
            *("is_negative_equity", "num_adl_events"),
        ),
    ),
    "fills": ("adl_fills_top_leverage", ("coin", "time", "adl_price", "liquidated_user")),
    "gaps": (
        "adl_price_gap_by_wave_coin",
        ("wave", "t_start_ms", "t_end_ms", "coin", "qty_contracts", "eval_horizon_ms"),
    ),
}


class Knobs(NamedTuple):
    """What is assumed and may be varied; the defaults are what the tables suggest."""

    leverage_scale: float = 1.0  # every account's notional over equity, times this
    price_low: float | None = None  # the low of the path; None: the lowest entry in the window
    recovery_s: float = 60.0  # half-life of the way back from the low to the last mark
    liquidated_share: float = 1.0  # lots taken from longs, over the lots that were deleveraged
    outside_share: float = (
        1.0  # share of every move of the path that is taken as given from outside
    )
    depth_usd: float = 10_000_000.0  # resting within 2 % of the mark on one side, before the crash

    def prove(self) -> None:
        """Refuse a knob outside its range."""
        ranges = {
            "leverage_scale": (0.1, 10.0),
            "recovery_s": (1.0, 3_600.0),
            "liquidated_share": (0.1, 5.0),
            "outside_share": (0.0, 2.0),
            "depth_usd": (1_000.0, 1e12),
        }
        for name, (low, high) in ranges.items():
            value = float(getattr(self, name))
            if not low <= value <= high:
                where = f"--{name.replace('_', '-').removesuffix('-s').removesuffix('-usd')}"
                what = f"must lie within {low:g}..{high:g}"
                raise ConfigInvalid(where=where, what=what, found=f"{value:g}")


class Burst(NamedTuple):
    """One deleveraging burst of the coin: when, how much, and at what price."""

    ts: int
    notional: float
    price: float
    exact: bool  # the price is published, or follows from published numbers


class PricePath(NamedTuple):
    """The reconstructed path: prices at times, and the moments it rests on."""

    ts: I64
    price: F64
    bursts: tuple[Burst, ...]  # those of the fall, in time order
    low: float
    start: float
    end: float


def find_tables(given: dict[str, Path | None]) -> dict[str, Path]:
    """Return a file for every table: the one that was named, or its neighbour of published name.

    Raise RecordingInvalid where neither is there.
    """
    positions = given.get("positions")
    assert positions is not None, "the position table is named first"
    prefix = positions.name.removesuffix(positions.suffix).removesuffix(TABLES["positions"][0])
    found: dict[str, Path] = {}
    for name, (stem, _) in TABLES.items():
        path = given.get(name) or positions.with_name(f"{prefix}{stem}.parquet")
        if not path.exists():
            raise RecordingInvalid(
                where=f"--{name}",
                what="must name a table of the event",
                found=f"no file {path}",
                hint=f"it is published as ...{stem}.parquet",
            )
        found[name] = path
    return found


def read_table(name: str, path: Path) -> Table:
    """Read one table and prove that its columns are there."""
    try:
        table: Any = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise RecordingInvalid(
            where=path.name, what="must be a whole Parquet file", found=str(error)[:200]
        ) from None
    for column in TABLES[name][1]:
        if column not in table.column_names:
            raise RecordingInvalid(
                where=path.name,
                what=f"must have a column {column!r}",
                found=f"columns {', '.join(table.column_names)}",
            )
    return table


def floats(table: Table, column: str) -> F64:
    """Return a column as floats, NaN where it is empty."""
    return table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)


def numbers(column: I64) -> list[int]:
    """Return a column as Python integers."""
    found: list[int] = column.tolist()
    return found


def as_floats(column: F64) -> list[float]:
    """Return a column as Python floats."""
    found: list[float] = column.tolist()
    return found


def only(table: Table, **values: object) -> Table:
    """Return the rows in which every named column has this value."""
    for column, value in values.items():
        table = table.filter(pc.equal(table.column(column), value))
    return table


def bursts_of(tables: dict[str, Table], coin: str) -> list[Burst]:
    """Return the coin's deleveraging bursts; an unknown price is NaN and not exact."""
    published = only(tables["adl"], coin=coin)
    fills = only(tables["fills"], coin=coin)
    priced: dict[int, tuple[int, float]] = {
        int(ms) // 1000: (int(ms), float(price))
        for ms, price in zip(floats(fills, "time"), floats(fills, "adl_price"), strict=True)
    }
    seconds = (floats(published, "time_ms") // 1000).astype(np.int64)
    notional = floats(published, "adl_notional_usd")
    alone = _lone_bursts(only(tables["gaps"], coin=coin, eval_horizon_ms=0), seconds, notional)
    bursts: list[Burst] = []
    for second, amount in sorted(zip(seconds.tolist(), notional.tolist(), strict=True)):
        ms, price = priced.get(second) or alone.get(second) or (second * 1000, float("nan"))
        bursts.append(Burst(ms * MS, amount, price, exact=bool(np.isfinite(price))))
    return bursts


def _lone_bursts(gaps: Table, seconds: I64, notional: F64) -> dict[int, tuple[int, float]]:
    # Where one burst is alone in its wave, notional over quantity is its price.
    found: dict[int, tuple[int, float]] = {}
    columns = (floats(gaps, name) for name in ("t_start_ms", "t_end_ms", "qty_contracts"))
    for first, last, quantity in zip(*columns, strict=True):
        inside = np.flatnonzero((seconds >= first // 1000) & (seconds <= last // 1000))
        if inside.size == 1 and quantity > 0:
            second = int(seconds[inside[0]])
            ms = int(first) if first == last else second * 1000
            found[second] = (ms, round(float(notional[inside[0]] / quantity), 4))
    return found


def price_path(tables: dict[str, Table], coin: str, knobs: Knobs) -> PricePath:
    """Return the coin's path, one price a second and one at each known moment.

    The fall ends with the last burst that has a price; the low follows where market liquidations
    peak after it; then half of what is missing to the last mark is regained every ``recovery_s``.
    """
    positions, timeline = tables["positions"], tables["timeline"]
    entries = floats(positions, "entry_price")
    entries = entries[np.isfinite(entries)]
    start, end = float(entries.max()), float(floats(positions, "mark_price")[0])
    low = knobs.price_low if knobs.price_low is not None else float(entries.min())
    at: I64 = timeline.column("ts").cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy()
    market = np.maximum(floats(timeline, "liquidations") - floats(timeline, "adls"), 0)
    every = bursts_of(tables, coin)
    exact = [burst for burst in every if burst.exact]
    last = exact[-1]
    after = np.where(at > last.ts, market, -1.0)
    bottom = int(at[int(np.argmax(after))])
    if not 0 < low < last.price:
        raise ConfigInvalid(
            where="--price-low",
            what=f"must lie between 0 and {last.price:g}, the last price known on the way down",
            found=f"{low:g}",
        )
    knots = [(int(at[0]), start), *((b.ts, b.price) for b in exact), (bottom, low)]
    seconds = np.arange(int(at[0]), int(at[-1]) + 3 * SECOND, SECOND)
    ts: I64 = np.unique(np.concatenate([seconds, np.array([t for t, _ in knots])]))
    down = ts <= bottom
    log = np.empty(ts.size)
    log[down] = _fall(ts[down], knots, at, market)
    back = 1 - 0.5 ** ((ts[~down] - bottom) / (knobs.recovery_s * SECOND))
    whole = 1 - 0.5 ** ((ts[-1] - bottom) / (knobs.recovery_s * SECOND))
    log[~down] = np.log(low + (end - low) * back / whole)
    log = np.log(start) + (log - np.log(start)) * knobs.outside_share
    price = np.exp(log)
    known = [burst for burst in every if burst.ts <= last.ts]
    along = [float(price[int(np.searchsorted(ts, burst.ts))]) for burst in known]
    fall = tuple(
        burst if burst.exact and knobs.outside_share == 1.0 else burst._replace(price=at_price)
        for burst, at_price in zip(known, along, strict=True)
    )
    return PricePath(ts, price, fall, float(price.min()), start, float(price[-1]))


def _fall(ts: I64, knots: list[tuple[int, float]], at: I64, market: F64) -> F64:
    """Return log prices along the knots, each segment paced by the market liquidations in it."""
    log = np.full(ts.size, np.log(knots[0][1]))
    for (t0, p0), (t1, p1) in pairwise(knots):
        rows = (at > t0) & (at <= t1)
        paced = float(market[rows].sum())
        times = np.r_[t0, at[rows], t1]
        done = np.r_[0.0, np.cumsum(market[rows]) / paced if paced else market[rows], 1.0]
        if not paced:
            times, done = np.array([t0, t1]), np.array([0.0, 1.0])
        inside = (ts > t0) & (ts <= t1)
        log[inside] = np.log(p0) + np.log(p1 / p0) * np.interp(ts[inside], times, done)
    return log
