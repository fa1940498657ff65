"""Make recordings from the formats of exchanges: read, derive a venue, write, and load once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tidegate.adapters import archive, candles
from tidegate.adapters.arrow import Table, pa, pc
from tidegate.drivers.recording import Recording, load, write_recording


def convert_candles(
    files: Sequence[Path],
    *,
    symbols: Sequence[str],
    out: Path,
    venue: str | None = None,
    book: Sequence[Path] = (),
    trades: Sequence[Path] = (),
    since: int | None = None,
    until: int | None = None,
    depth_share: float = candles.DEPTH_SHARE,
    volume_in: str = "base",
    say: Callable[[str], None] = lambda _: None,
) -> Recording:
    """Turn candles, an optional book and optional trades into a recording, and load it.

    ``since`` and ``until`` are nanoseconds UTC, until excluded; ``volume_in`` says whether the
    source counts volume in the "base" or the "quote" asset. Raise RecordingInvalid naming the
    file, row and column that does not fit.
    """
    say(f"reading candles from {', '.join(file.name for file in files)}")
    read = candles.read_candles(files, symbols, venue, since=since, until=until)
    if volume_in == "quote":
        read = [one._replace(volume=one.volume / one.close) for one in read]
    grids = [candles.grid_of(one) for one in read]
    tables: dict[str, Table] = {"prices": candles.price_table(read), **candles.book_tables(book)}
    accounts = sum(table.num_rows for table in tables.values()) - tables["prices"].num_rows
    described = candles.venue_of(
        read, grids, accounts=accounts, positions=accounts, depth_share=depth_share
    )
    if trades:
        say(f"reading trades from {', '.join(file.name for file in trades)}")
        lots = {one.symbol: float(grid.lot) for one, grid in zip(read, grids, strict=True)}
        tables["trades"] = _trades(trades, lots, since, until)
    say(f"writing {out}")
    write_recording(out, described, tables)
    return load(out)


def _trades(
    files: Sequence[Path], lots: Mapping[str, float], since: int | None, until: int | None
) -> Table:
    """Return trades of known symbols in time order, in whole lots; smaller ones are left out."""
    table = pa.concat_tables([archive.read_trades(file) for file in files])
    table = table.sort_by([("ts", "ascending")])
    keep = pc.is_in(table.column("instrument"), value_set=pa.array(list(lots)))
    table = table.filter(keep)
    ts = table.column("ts").to_numpy()
    lot = np.array([lots[name] for name in table.column("instrument").to_pylist()], float)
    whole = np.rint(table.column("quantity").to_numpy() / lot)
    wanted = whole > 0
    if since is not None:
        wanted &= ts >= since
    if until is not None:
        wanted &= ts < until
    place = table.column_names.index("quantity")
    return table.set_column(place, "quantity", pa.array(whole * lot)).filter(pa.array(wanted))
