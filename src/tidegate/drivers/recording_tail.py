"""One file of a recording that is still being written, as inputs and asks.

``NUMBER.KIND.parquet`` has the columns of ``KIND.parquet`` in a recording, see `recording_schema`.
What names no account (prices, trades, depth, funding) becomes inputs at once. Flows name accounts,
and only the service knows which of them exist: they become asks.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from tidegate.api import asks
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.events import Input
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64
from tidegate.domain.venue import Venue
from tidegate.drivers import recording_door as door
from tidegate.drivers import recording_streams as streams
from tidegate.drivers.recording_schema import FILES, FLOW_KINDS, VENUE_FILE
from tidegate.drivers.recording_sheet import Sheet, nearest, read_sheet


Item: TypeAlias = Input | asks.AnyAsk

DEPOSIT, WITHDRAW, BORROW, REPAY, OPEN, CLOSE, JOIN, LEAVE = range(len(FLOW_KINDS))

# A close is no trade of a known direction unless the book is known: a feed says open, with a sign.
TAKEN: Final = ("prices", "trades", "depth", "funding", "flows")


def reader(venue: Venue) -> Callable[[Path], Sequence[Item]]:
    """Return a function that reads one file whole, for `adapters.parquet_tail`.

    It raises RecordingInvalid at the first thing that is wrong, naming file, row and column, and
    then nothing of the file was taken.
    """
    scales = door.scales_of(venue, VENUE_FILE)

    def read(path: Path) -> Sequence[Item]:
        kind = kind_of(path)
        sheet = read_sheet(path, FILES[kind])
        if kind == "prices":
            return list(streams.price_stream(sheet, venue, scales).events())
        if kind == "trades":
            return list(streams.trade_stream(sheet, venue, scales).events())
        if kind == "depth":
            return list(streams.depth_stream(sheet, venue, scales).events())
        if kind == "funding":
            return list(streams.funding_stream(sheet, venue).events())
        return list(_flows(sheet, venue, scales))

    return read


def kind_of(path: Path) -> str:
    """Return what a file holds, by its name; raise RecordingInvalid where that does not say."""
    kind = path.name.removesuffix(".parquet").rpartition(".")[2]
    if kind not in TAKEN:
        raise RecordingInvalid(
            where=path.name,
            what="must be named NUMBER.KIND.parquet",
            found=f"the kind {kind!r}",
            hint=nearest(kind, TAKEN),
        )
    return kind


def _flows(sheet: Sheet, venue: Venue, scales: door.Scales) -> Iterator[asks.AnyAsk]:
    ts = sheet.times()
    sheet.sequence(ts)
    kind = sheet.lookup("kind", FLOW_KINDS, "must be a kind of flow")
    sheet.refuse_first(
        np.isin(kind, (CLOSE, JOIN, LEAVE)),
        "kind",
        "a feed tells deposit, withdraw, borrow, repay and open",
        hint="a close is an open with the opposite sign",
    )
    trades = kind == OPEN
    symbols = [i.symbol for i in venue.instruments]
    instrument = sheet.lookup("instrument", symbols, "must name an instrument of venue.toml")
    missing = trades & (instrument < 0)
    sheet.refuse_first(missing, "instrument", "open must name an instrument")
    asset = np.where(trades, instrument, door.assets(sheet, "asset", venue))
    lots = door.quantities(sheet, "quantity", scales, asset, signed=True)
    sheet.refuse_first((lots < 0) & ~trades, "quantity", "must not be negative")
    sheet.refuse_first(trades & (lots == 0), "quantity", "a trade must have a size")
    price = np.zeros(sheet.rows, np.int64)
    if sheet.has("price"):
        price = door.prices(sheet, "price", venue, scales, np.where(trades, instrument, -1))
    unpriced = np.flatnonzero(trades & (price == 0))
    if unpriced.size:
        sheet.refuse(int(unpriced[0]), "price", "open must have a price", "none")
    codes, names = sheet.texts("account")
    numbers: list[int] = codes.tolist()
    account = [names[n] for n in numbers]
    return _asked((ts, kind, asset, lots, price), account, symbols, scales)


def _asked(
    columns: Sequence[I64], accounts: Sequence[str], symbols: Sequence[str], scales: door.Scales
) -> Iterator[asks.AnyAsk]:
    for row, name in enumerate(accounts):
        at, k, a, n, p = (int(column[row]) for column in columns)
        size = _text(n * scales.lot[a])
        what = None if a == CASH else symbols[a]
        if k in (DEPOSIT, REPAY):
            yield asks.Deposit(ts=at, account=name, amount=size, asset=what)
        elif k in (WITHDRAW, BORROW):
            yield asks.Withdrawal(ts=at, account=name, amount=size, asset=what, settled=True)
        else:
            cost = _text(p * scales.tick[a])
            yield asks.Trade(ts=at, instrument=symbols[a], taker=name, quantity=size, price=cost)


def _text(value: Decimal) -> str:
    return f"{value:f}"
