"""The files of an exchange's public archive: klines and aggregate trades, as CSV inside a zip.

Layout and columns are those of data.binance.vision (see github.com/binance/binance-public-data):
no header before 2022, one after; times in milliseconds, in microseconds for spot from 2025.
"""

import io
import re
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from tidegate.adapters.arrow import Table, csv, pa, pc
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid


BASE_URL: Final = "https://data.binance.vision"
MARKETS: Final = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
KINDS: Final = ("klines", "aggTrades")
INTERVALS: Final = (
    *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h"),
    *("1d", "3d", "1w", "1mo"),
)
KLINE_COLUMNS: Final = (
    *("ts", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count"),
    *("taker_base", "taker_quote", "ignore"),
)
TRADE_COLUMNS: Final = ("id", "price", "quantity", "first", "last", "ts", "buyer_is_maker", "best")
_KLINE_NAME: Final = re.compile(r"^(?P<symbol>[A-Z0-9_]+)-(?P<interval>\d+(?:mo|[smhdw]))-\d{4}")
_TRADE_NAME: Final = re.compile(r"^(?P<symbol>[A-Z0-9_]+)-aggTrades-\d{4}")


class ArchiveFile(NamedTuple):
    """One file of the archive: its address under the base, and its name."""

    path: str
    name: str


def archive_files(
    *,
    market: str,
    kind: str,
    symbol: str,
    interval: str,
    since: date,
    until: date,
    period: str,
) -> list[ArchiveFile]:
    """Return the archive's files from ``since`` until ``until``, both included.

    ``period`` is "daily" or "monthly". Raise ConfigInvalid for what the archive does not have.
    """
    if market not in MARKETS or kind not in KINDS or period not in ("daily", "monthly"):
        raise ConfigInvalid(
            where="fetch",
            what="must be a market, kind and period of the archive",
            found=f"{market}, {kind}, {period}",
        )
    if kind == "klines" and interval not in INTERVALS:
        raise ConfigInvalid(
            where="--interval", what=f"must be one of {', '.join(INTERVALS)}", found=repr(interval)
        )
    if until < since:
        raise ConfigInvalid(where="--until", what=f"must not lie before {since}", found=str(until))
    folder = f"data/{MARKETS[market]}/{period}/{kind}/{symbol}"
    stem = f"{symbol}-aggTrades"
    if kind == "klines":
        folder, stem = f"{folder}/{interval}", f"{symbol}-{interval}"
    days = [since + timedelta(days=n) for n in range((until - since).days + 1)]
    form = "%Y-%m-%d" if period == "daily" else "%Y-%m"
    dates = list(dict.fromkeys(day.strftime(form) for day in days))
    names = [f"{stem}-{day}.zip" for day in dates]
    return [ArchiveFile(f"{folder}/{name}", name) for name in names]


def read_klines(file: Path) -> Table:
    """Return klines as candles: venue, symbol (both from the file's name), ts, prices, volume.

    Raise RecordingInvalid for a file that is not the archive's.
    """
    named = _KLINE_NAME.match(file.name)
    if not named:
        raise RecordingInvalid(
            where=file.name,
            what="klines must be named as in the archive",
            found=file.name,
            hint="SYMBOL-INTERVAL-DATE.zip, for example BTCUSDT-1m-2021-05-19.zip",
        )
    table = _read_csv(file, KLINE_COLUMNS)
    numbers = {name: table.column(name) for name in ("open", "high", "low", "close", "volume")}
    count = table.num_rows
    return pa.table(
        {
            "venue": pa.array(["archive"] * count, pa.string()),
            "symbol": pa.array([named["symbol"]] * count, pa.string()),
            "ts": nanoseconds(table.column("ts"), file.name),
            **numbers,
        }
    )


def read_trades(file: Path) -> Table:
    """Return aggregate trades as the ``trades`` table of a recording.

    The aggressor is the taker: "sell" where the buyer was the maker. Quantities are as published.
    """
    named = _TRADE_NAME.match(file.name)
    if not named:
        raise RecordingInvalid(
            where=file.name,
            what="trades must be named as in the archive",
            found=file.name,
            hint="SYMBOL-aggTrades-DATE.zip, for example BTCUSDT-aggTrades-2021-05-19.zip",
        )
    table = _read_csv(file, TRADE_COLUMNS)
    maker = pc.equal(pc.utf8_lower(table.column("buyer_is_maker")), "true")
    return pa.table(
        {
            "ts": nanoseconds(table.column("ts"), file.name),
            "instrument": pa.array([named["symbol"]] * table.num_rows, pa.string()),
            "price": table.column("price"),
            "quantity": table.column("quantity"),
            "aggressor": pc.if_else(maker, "sell", "buy"),
        }
    )


def nanoseconds(column: Table, file: str) -> Table:
    """Return archive times, milliseconds or microseconds since the epoch, as nanoseconds."""
    first = int(column[0].as_py()) if len(column) else 0
    for digits, scale in ((13, 1_000_000), (16, 1_000)):
        if len(str(first)) == digits or not first:
            return pc.multiply(column, scale)
    raise RecordingInvalid(
        where=f"{file}: row 0, column ts",
        what="must be milliseconds or microseconds since 1970",
        found=str(first),
    )


def _read_csv(file: Path, columns: tuple[str, ...]) -> Table:
    text = _unpacked(file)
    width = text.split(b"\n", 1)[0].count(b",") + 1 if text.strip() else 0
    whole = ("ts", "close_time", "count", "id", "first", "last")
    texts = ("buyer_is_maker", "best", "ignore")
    types = {name: pa.float64() for name in columns}
    types |= {name: pa.int64() for name in whole} | {name: pa.string() for name in texts}
    if not 7 <= width <= len(columns):
        raise RecordingInvalid(
            where=file.name,
            what=f"must have the archive's columns ({', '.join(columns)})",
            found=f"{width} columns",
        )
    reader = csv.ReadOptions(column_names=list(columns[:width]), skip_rows=int(text[:1].isalpha()))
    convert = csv.ConvertOptions(column_types=types)
    try:
        return csv.read_csv(io.BytesIO(text), read_options=reader, convert_options=convert)
    except pa.ArrowException as error:
        raise RecordingInvalid(
            where=file.name, what="must be a CSV file of the archive", found=str(error)[:200]
        ) from None


def _unpacked(file: Path) -> bytes:
    if file.suffix != ".zip":
        return file.read_bytes()
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise RecordingInvalid(
                    where=file.name, what="must hold one CSV file", found=", ".join(names) or "none"
                )
            return archive.read(names[0])
    except (zipfile.BadZipFile, OSError) as error:
        raise RecordingInvalid(
            where=file.name,
            what="must be a whole zip file",
            found=str(error),
            hint="fetch it again",
        ) from None
