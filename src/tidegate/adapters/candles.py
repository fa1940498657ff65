"""Candles of an exchange as prices of a recording: what is known of a minute becomes four prices.

Reads Parquet (columns venue, symbol, ts, open, high, low, close, volume), and the klines of an
exchange's archive as CSV or as the zip they are published in. What candles do not say is stated as
an assumption in the venue's notes: the path inside a candle, and depth as a share of volume.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters import times
from tidegate.adapters.archive import read_klines
from tidegate.adapters.arrow import Table, pa, pc, pq
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.instrument import Linear
from tidegate.domain.units import I64, MONEY_MAX, PPM, Lots, Money, Nanos, Ppm, Ticks
from tidegate.domain.venue import Limits, Market, Venue


F64: TypeAlias = NDArray[np.float64]

DAY: Final = 86_400_000_000_000
COLUMNS: Final = ("open", "high", "low", "close", "volume")
QUOTES: Final = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD", "EUR", "BTC", "ETH")
# Resting within 2 % of the price on one side, over the volume of that day: 0.35 % and 0.55 % in the
# BTC and ETH spot books of Binance on 2024-08-08 (raw depth feed in nkaz001/hftbacktest).
DEPTH_SHARE: Final = 0.005
DECIMALS_MAX: Final = 9
VOLUME_MAX: Final = 1e12  # of the quote asset a day: more means another unit


class Candles(NamedTuple):
    """One symbol's candles in time order; ``ts`` is when each begins."""

    symbol: str
    venue: str
    ts: I64
    interval: int
    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64  # in the base asset
    decimals: int  # the most decimals that a price of the source carries


class Grid(NamedTuple):
    """Sizes of a tick and a lot, as decimals."""

    tick: Decimal
    lot: Decimal


def read_candles(
    files: Sequence[Path],
    symbols: Sequence[str],
    venue: str | None = None,
    *,
    since: int | None = None,
    until: int | None = None,
) -> list[Candles]:
    """Read the candles of ``symbols`` (all of the files' when empty) within ``since``..``until``.

    Files of one symbol are joined in time order. Raise RecordingInvalid for columns that are not
    there, a symbol without candles, two venues of one symbol, or two unlike candles of one time.
    """
    tables = [_read(file) for file in files]
    table = pa.concat_tables(tables).sort_by([("symbol", "ascending"), ("ts", "ascending")])
    if since is not None:
        table = table.filter(pc.greater_equal(table.column("ts"), since))
    if until is not None:
        table = table.filter(pc.less(table.column("ts"), until))
    if venue is not None:
        table = table.filter(pc.equal(table.column("venue"), venue))
    known = sorted(set(table.column("symbol").to_pylist()))
    wanted = list(dict.fromkeys(symbols)) or known
    for symbol in wanted:
        if symbol not in known:
            raise RecordingInvalid(
                where=", ".join(file.name for file in files),
                what=f"must have candles of {symbol}" + (f" at {venue}" if venue else ""),
                found=f"candles of {', '.join(known[:20]) or 'nothing'}",
                hint="see --symbol, --venue, --from and --until",
            )
    return [_candles(table, symbol) for symbol in wanted]


def _read(file: Path) -> Table:
    """Return a file's candles; refuse times that are no nanoseconds, rather than misread them."""
    table = _rows(file)
    wrong = times.first_wrong(table.column("ts").fill_null(0).to_numpy())
    if wrong is not None:
        found = table.column("ts")[wrong].as_py()
        raise RecordingInvalid(
            where=f"{file.name}: row {wrong:_}, column ts",
            what=times.NEEDED,
            found=str(found),
            hint=None if found is None else times.remedy(found),
        )
    return table


def _rows(file: Path) -> Table:
    if file.suffix in (".csv", ".zip"):
        return read_klines(file)
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise RecordingInvalid(
            where=file.name, what="must be a Parquet, CSV or zip file", found=str(error)[:200]
        ) from None
    for name in ("ts", *COLUMNS):
        if name not in table.column_names:
            raise RecordingInvalid(
                where=file.name,
                what=f"candles must have a column {name!r}",
                found=f"columns {', '.join(table.column_names)}",
            )
    texts = {
        name: table.column(name).cast(pa.string())
        if name in table.column_names
        else pa.array([default] * table.num_rows)
        for name, default in (("venue", "unknown"), ("symbol", file.stem))
    }
    ts = table.column("ts")
    if pa.types.is_timestamp(ts.type):
        ts = ts.cast(pa.timestamp("ns", ts.type.tz))
    numbers = {name: table.column(name).cast(pa.float64()) for name in COLUMNS}
    # A float32 price is read as the shortest decimal that means it: 527.84, not 527.8400268554688.
    narrow = {
        name: table.column(name).cast(pa.string()).cast(pa.float64())
        for name in COLUMNS[:4]
        if pa.types.is_float32(table.column(name).type)
    }
    return pa.table({**texts, "ts": ts.cast(pa.int64()), **numbers, **narrow})


def _candles(table: Table, symbol: str) -> Candles:
    rows = table.filter(pc.equal(table.column("symbol"), symbol))
    venues = sorted(set(rows.column("venue").to_pylist()))
    if len(venues) > 1:
        raise RecordingInvalid(
            where=symbol,
            what="must have candles of one venue",
            found=", ".join(venues),
            hint=f"choose one, as in --venue {venues[0]}",
        )
    ts: I64 = rows.column("ts").to_numpy()
    values = {name: rows.column(name).to_numpy() for name in COLUMNS}
    new = np.r_[True, np.diff(ts) > 0]
    for name, column in values.items():
        twice = np.flatnonzero(~new & (column != np.r_[column[:1], column[:-1]]))
        if twice.size:
            raise RecordingInvalid(
                where=f"{symbol}: candle at ts {int(ts[twice[0]])}, column {name}",
                what="two files disagree about one candle",
                found=f"{column[twice[0] - 1]} and {column[twice[0]]}",
            )
    ts = ts[new]
    candles = Candles(
        symbol,
        venues[0],
        ts,
        int(np.median(np.diff(ts))) if ts.size > 1 else 60_000_000_000,
        *(column[new] for column in values.values()),
        decimals=_decimals(np.concatenate([values[name] for name in COLUMNS[:4]])),
    )
    _prove(candles)
    return candles


def _prove(candles: Candles) -> None:
    for name in COLUMNS:
        column: F64 = getattr(candles, name)
        bad = np.flatnonzero(~np.isfinite(column) | (column < 0))
        if name != "volume":
            outside = (column > candles.high) | (column < candles.low) | (column <= 0)
            bad = np.flatnonzero(~np.isfinite(column) | outside)
        if bad.size:
            raise RecordingInvalid(
                where=f"{candles.symbol}: candle at ts {int(candles.ts[bad[0]])}, column {name}",
                what="a candle needs 0 < low <= open, close <= high and a volume >= 0",
                found=str(column[bad[0]]),
            )


def _decimals(values: F64) -> int:
    """Return how many decimals the values carry, at most DECIMALS_MAX."""
    for digits in range(DECIMALS_MAX):
        scaled = values * 10.0**digits
        if np.all(np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.maximum(1.0, np.abs(scaled))):
            return digits
    return DECIMALS_MAX


def path_inside(candles: Candles) -> tuple[I64, F64]:
    """Return (ts, price): four prices a candle, a quarter of its interval apart.

    Open first, close last; the extremes between them in the order that makes the path shorter: low
    before high in a candle that rises, high before low in one that falls.
    """
    rises = candles.close >= candles.open
    first = np.where(rises, candles.low, candles.high)
    second = np.where(rises, candles.high, candles.low)
    quarter = candles.interval // 4
    ts = (candles.ts[:, None] + np.arange(4) * quarter).ravel()
    price = np.column_stack([candles.open, first, second, candles.close]).ravel()
    return ts, price


def grid_of(candles: Candles) -> Grid:
    """Return a tick that carries the source's decimals and a lot worth about a tenth of a unit.

    The tick is not finer than a millionth of the lowest price, and tick x lot is whole Money.
    """
    lowest, middle = float(candles.low.min()), float(np.median(candles.close))
    finest = max(0, 6 - int(np.floor(np.log10(lowest))))
    digits = min(candles.decimals, finest, DECIMALS_MAX)
    tick = Decimal(1).scaleb(-digits)
    whole = Decimal(1).scaleb(digits - 6)  # the smallest lot for which tick_value is 1 Money
    tenth = Decimal(1).scaleb(int(np.floor(np.log10(0.1 / middle))))
    return Grid(tick, max(whole, tenth))


def venue_of(
    candles: Sequence[Candles],
    grids: Sequence[Grid],
    *,
    accounts: int = 0,
    positions: int = 0,
    depth_share: float = DEPTH_SHARE,
) -> Venue:
    """Return a venue of linear perpetuals over these candles; its notes state what is assumed."""
    budget = MONEY_MAX // 4 // len(candles)
    instruments: list[Linear] = []
    markets: list[Market] = []
    for one, grid in zip(candles, grids, strict=True):
        tick_value = int(grid.tick * grid.lot * PPM)
        price_max = 10 ** len(str(int(Decimal(float(one.high.max())) * 4 / grid.tick)))
        instruments.append(
            Linear(
                symbol=one.symbol,
                tick_size=f"{grid.tick:f}",
                lot_size=f"{grid.lot:f}",
                price_max=Ticks(price_max),
                lots_max=Lots(budget // (price_max * tick_value)),
                open_interest_max=Lots(MONEY_MAX // (price_max * tick_value)),
                tick_value=Money(tick_value),
            )
        )
        markets.append(_market(one, depth_share))
    return Venue(
        name=f"candles of {', '.join(sorted({one.venue for one in candles}))}",
        numeraire=_quote([one.symbol for one in candles]),
        instruments=tuple(instruments),
        limits=Limits(
            accounts_max=max(4_096, accounts + 64),
            positions_max=max(16_384, 2 * positions + 16 * len(candles) + 64),
        ),
        sources=("index",),
        markets=tuple(markets),
        step_ns=Nanos(max(1_000_000_000, min(one.interval for one in candles) // 4)),
        notes=tuple(_notes(candles, depth_share, accounts)),
    )


def _market(candles: Candles, depth_share: float) -> Market:
    volume, volatility = daily(candles)
    if volume > VOLUME_MAX:
        raise RecordingInvalid(
            where=f"{candles.symbol}: column volume",
            what=f"a day's volume must be below {VOLUME_MAX:.0e} of the quote asset",
            found=f"{volume:.3g}, if the column counts the base asset",
            hint="--volume-in quote, where the source counts the quote asset",
        )
    depth = max(1, round(volume * depth_share * PPM))
    return Market(
        symbol=candles.symbol,
        depth=Money(depth),
        depth_range=Ppm(20_000),
        daily_volume=Money(round(volume * PPM)),
        daily_volatility=Ppm(max(1, round(volatility * PPM))),
    )


def daily(candles: Candles) -> tuple[float, float]:
    """Return a day's median volume in the quote asset, and the volatility of its return."""
    day = candles.ts // DAY
    first = np.flatnonzero(np.r_[True, np.diff(day) > 0])
    quote = candles.volume * candles.close
    volumes = np.add.reduceat(quote, first)
    full = np.diff(np.r_[first, day.size]) * candles.interval > DAY // 2
    returns = np.diff(np.log(candles.close))
    spread = float(np.sqrt(np.mean(returns**2))) if returns.size else 0.04
    volatility = spread * float(np.sqrt(DAY / candles.interval)) if returns.size else 0.04
    return float(np.median(volumes[full] if full.any() else volumes)), min(volatility, 1.0)


def _quote(symbols: Sequence[str]) -> str:
    found = {next((q for q in QUOTES if s.endswith(q) and s != q), "USD") for s in symbols}
    return found.pop() if len(found) == 1 else "USD"


def _notes(candles: Sequence[Candles], depth_share: float, accounts: int) -> Iterator[str]:
    yield (
        "prices are reconstructed from candles: open, then the extremes in the order of the "
        "shorter path, then close, a quarter of the interval apart"
    )
    yield (
        f"depth within 2 % of the price on one side is assumed to be {depth_share:.2%} of the "
        "median daily volume; no order book is recorded"
    )
    yield "every symbol is replayed as a linear perpetual, whatever the source listed"
    if not accounts:
        yield "there are no accounts: the recording is weather only, until a --book is given"
    for one in candles:
        missing = int(np.sum(np.diff(one.ts) // one.interval - 1)) if one.ts.size > 1 else 0
        if missing > 0:
            yield f"{one.symbol}: {missing} candles are missing; no price is made up for them"


def price_table(candles: Sequence[Candles]) -> Table:
    """Return the prices of all symbols, in time order."""
    paths = [path_inside(one) for one in candles]
    ts = np.concatenate([path[0] for path in paths])
    price = np.concatenate([path[1] for path in paths])
    which = np.concatenate([np.full(path[0].size, n) for n, path in enumerate(paths)])
    order = np.lexsort((which, ts))
    names = np.array([one.symbol for one in candles])
    return pa.table(
        {
            "ts": ts[order],
            "instrument": pa.array(names[which[order]]),
            "source": pa.array(np.full(order.size, "index")),
            "price": price[order],
        }
    )


def book_tables(files: Sequence[Path]) -> dict[str, Table]:
    """Read --book files; what each holds is told by its columns.

    Raise RecordingInvalid for columns of neither accounts, positions nor loans.
    """
    kinds: Mapping[str, str] = {"positions": "entry_price", "accounts": "balance", "loans": "debt"}
    tables: dict[str, Table] = {}
    for file in files:
        table: Any = pq.read_table(file)
        found = [kind for kind, mark in kinds.items() if mark in table.column_names]
        if len(found) != 1 or found[0] in tables:
            raise RecordingInvalid(
                where=file.name,
                what="a book file must hold accounts, positions or loans, each of them once",
                found=f"columns {', '.join(table.column_names)}",
                hint="columns are those of the same file in a recording",
            )
        tables[found[0]] = table
    return tables
