"""What happens over time: the rows of a recording's files become events, lazily and in one order.

At one timestamp the order is: interest, parameters, funding, flows and liquidations (by seq),
depth, prices, trades; within a file, the order of its rows. Sorting is done by columns; an event
object exists only from the moment it is asked for.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from tidegate.domain.events import (
    DepthObserved,
    FundingPaid,
    Input,
    InterestAccrued,
    ParameterChanged,
    PriceObserved,
    Traded,
)
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, PPB, Lots, Nanos, Ppb, Ticks, pack
from tidegate.domain.venue import Venue
from tidegate.drivers import recording_door as door
from tidegate.drivers.recording_schema import AGGRESSORS, INTEREST, SIDES
from tidegate.drivers.recording_sheet import Sheet, nearest


HOUR: Final = 3_600_000_000_000
_BATCH: Final = 16_384

# Ranks: which of two events at one timestamp comes first.
INTEREST_RANK, PARAMETERS, FUNDING, FLOWS, DEPTH, PRICES, TRADES = range(7)


class Stream(NamedTuple):
    """One file as events: when each happens, and how rows ``start..stop`` become objects."""

    rank: int
    ts: I64
    seq: I64  # order within one ts and rank; zeros where the row order says it
    build: Callable[[int, int], Iterator[Input]]

    def events(self) -> Iterator[Input]:
        """Yield every event in row order, building a batch at a time."""
        for start in range(0, self.ts.size, _BATCH):
            yield from self.build(start, min(start + _BATCH, self.ts.size))


def merged(streams: Sequence[Stream]) -> Iterator[Input]:
    """Yield the events of all streams by (ts, rank, seq, row)."""
    if not streams:
        return
    ts = np.concatenate([s.ts for s in streams])
    seq = np.concatenate([s.seq for s in streams])
    rank = np.concatenate([np.full(s.ts.size, s.rank) for s in streams])
    which = np.concatenate([np.full(s.ts.size, n) for n, s in enumerate(streams)])
    order = np.lexsort((seq, rank, ts))  # stable: rows of one stream keep their order
    sources = [s.events() for s in streams]
    for start in range(0, order.size, _BATCH):
        numbers: list[int] = which[order[start : start + _BATCH]].tolist()
        for n in numbers:
            yield next(sources[n])


def _batch(start: int, stop: int, *columns: I64) -> Iterator[tuple[int, ...]]:
    return zip(*(column[start:stop].tolist() for column in columns), strict=True)


def price_stream(sheet: Sheet, venue: Venue, scales: door.Scales) -> Stream:
    """Return the price observations; a price is published when it is observed."""
    ts = sheet.times()
    instrument = _instruments(sheet, venue)
    source = sheet.lookup("source", venue.sources, "must be one of the sources of venue.toml")
    keys = ("ts", "instrument", "source")
    sheet.unique((ts, instrument, source), keys, "a source has one price per instrument and time")
    price = door.prices(sheet, "price", venue, scales, instrument)
    doubt = np.zeros_like(price)
    if sheet.has("confidence"):
        doubt = door.parts(sheet, "confidence", scales.tick, instrument).ceil()
        sheet.refuse_first(doubt < 0, "confidence", "must not be negative")

    def build(start: int, stop: int) -> Iterator[Input]:
        for at, i, s, p, c in _batch(start, stop, ts, instrument, source, price, doubt):
            yield PriceObserved(
                ts=Nanos(at),
                instrument=i,
                source=s,
                price=Ticks(p),
                published=Nanos(at),
                confidence=Ticks(c),
            )

    return Stream(PRICES, ts, np.zeros_like(ts), build)


def trade_stream(sheet: Sheet, venue: Venue, scales: door.Scales) -> Stream:
    """Return other traders' trades: both sides are the world outside."""
    ts = sheet.times()
    instrument = _instruments(sheet, venue)
    price = door.prices(sheet, "price", venue, scales, instrument)
    size = door.quantities(sheet, "quantity", scales, instrument)
    sheet.refuse_first(size == 0, "quantity", "a trade must have a size")
    sells = sheet.lookup("aggressor", AGGRESSORS, "must be the aggressor's side") == 1
    lots = np.where(sells, -size, size)

    def build(start: int, stop: int) -> Iterator[Input]:
        for at, i, n, p in _batch(start, stop, ts, instrument, lots, price):
            yield Traded(ts=Nanos(at), instrument=i, taker=0, maker=0, lots=Lots(n), price=Ticks(p))

    return Stream(TRADES, ts, np.zeros_like(ts), build)


def funding_stream(sheet: Sheet, venue: Venue) -> Stream:
    """Return funding payments; rates are rounded to the nearest ppb."""
    ts = sheet.times()
    instrument = _instruments(sheet, venue)
    unit = (door.PPB_UNIT,)
    rate = door.parts(sheet, "rate", unit, np.zeros(sheet.rows, np.int64)).whole
    hint = "rates are fractions: 0.0001 is one hundredth of a percent"
    sheet.refuse_first(np.abs(rate) > PPB, "rate", "must lie within -1..1", hint=hint)

    def build(start: int, stop: int) -> Iterator[Input]:
        for at, i, r in _batch(start, stop, ts, instrument, rate):
            yield FundingPaid(ts=Nanos(at), instrument=i, rate=Ppb(r))

    return Stream(FUNDING, ts, np.zeros_like(ts), build)


def depth_stream(sheet: Sheet, venue: Venue, scales: door.Scales) -> Stream:
    """Return one book per timestamp and instrument; levels below one lot are left out."""
    ts = sheet.times()
    instrument = _instruments(sheet, venue)
    side = sheet.lookup("side", SIDES, "must be bid or ask")
    level = sheet.integers("level")
    sheet.refuse_first(level < 0, "level", "levels are counted from the touch outwards, from 0")
    keys = ("ts", "instrument", "side", "level")
    sheet.unique((ts, instrument, side, level), keys, "a side of a book has each level once")
    price = door.prices(sheet, "price", venue, scales, instrument)
    size = door.parts(sheet, "quantity", scales.lot, instrument).floor()
    sheet.refuse_first(size < 0, "quantity", "must not be negative")
    order = np.lexsort((level, side, instrument, ts))
    ts, instrument, side = ts[order], instrument[order], side[order]
    price, size = price[order], size[order]
    _prove_books(sheet, order, ts, instrument, side, price)
    first = np.flatnonzero(np.r_[True, (np.diff(ts) != 0) | (np.diff(instrument) != 0)])
    ends = np.r_[first[1:], ts.size] if ts.size else first

    def build(start: int, stop: int) -> Iterator[Input]:
        for one, end in _batch(start, stop, first, ends):
            rows = slice(one, end)
            bid = (side[rows] == 0) & (size[rows] > 0)
            ask = (side[rows] == 1) & (size[rows] > 0)
            yield DepthObserved(
                ts=Nanos(int(ts[one])),
                instrument=int(instrument[one]),
                bid_price=pack(price[rows][bid]),
                bid_lots=pack(size[rows][bid]),
                ask_price=pack(price[rows][ask]),
                ask_lots=pack(size[rows][ask]),
            )

    starts = ts[first] if ts.size else ts
    return Stream(DEPTH, starts, np.zeros_like(starts), build)


def _prove_books(sheet: Sheet, order: I64, ts: I64, instrument: I64, side: I64, price: I64) -> None:
    # Bids must fall and asks must rise away from the touch, and the two must not cross.
    book = (np.diff(ts) == 0) & (np.diff(instrument) == 0)
    same, step = book & (np.diff(side) == 0), np.diff(price)
    wrong = same & np.where(side[1:] == 0, step >= 0, step <= 0)
    bad = np.flatnonzero(wrong)
    if bad.size:
        row = int(order[int(bad[0]) + 1])
        what = "prices must lead away from the touch as levels rise"
        sheet.refuse(row, "price", what, sheet.cell(row, "price"), "level 0 is the touch")
    if not ts.size:
        return
    start = np.flatnonzero(np.r_[True, ~same])  # first level of each side
    bids = start[:-1][book[start[1:] - 1]]
    asks = start[1:][book[start[1:] - 1]]
    crossed = np.flatnonzero(price[asks] <= price[bids])
    if crossed.size:
        row = int(order[int(asks[int(crossed[0])])])
        what = "the best ask must lie above the best bid"
        sheet.refuse(row, "price", what, sheet.cell(row, "price"), "the book is crossed")


def parameter_streams(sheet: Sheet, venue: Venue, until: int) -> list[Stream]:
    """Return the parameter changes, and the interest that the "interest.*" rows among them make."""
    ts = sheet.times()
    seq = sheet.sequence(ts)
    codes, names = sheet.texts("name")
    value = sheet.integers("value")
    interest = np.array([name.startswith(INTEREST) for name in names] or [False])[codes]
    plain = np.flatnonzero(~interest)

    def build(start: int, stop: int) -> Iterator[Input]:
        rows = plain[start:stop]
        for at, n, v in _batch(0, rows.size, ts[rows], codes[rows], value[rows]):
            yield ParameterChanged(ts=Nanos(at), name=names[n], value=v)

    changes = Stream(PARAMETERS, ts[plain], seq[plain], build)
    rows = np.flatnonzero(interest)
    if not rows.size:
        return [changes]
    outside = interest & ((value < 0) | (value > PPB))
    sheet.refuse_first(outside, "value", "interest must lie within 0..1e9 ppb per hour")
    return [changes, _interest_stream(sheet, venue, ts, codes, names, value, rows, until)]


def _interest_stream(
    sheet: Sheet,
    venue: Venue,
    ts: I64,
    codes: I64,
    names: list[str],
    value: I64,
    rows: I64,
    until: int,
) -> Stream:
    known = {f"{INTEREST}CASH": CASH}
    known |= {f"{INTEREST}{i.symbol}": n for n, i in enumerate(venue.instruments)}
    changes: dict[int, list[tuple[int, int]]] = {}
    for row in rows.tolist():
        name = names[int(codes[row])]
        if name not in known:
            what = "interest must name CASH or an asset of venue.toml"
            sheet.refuse(row, "name", what, repr(name), nearest(name, list(known)))
        changes.setdefault(known[name], []).append((int(ts[row]), int(value[row])))
    due = [
        (at, asset, rate) for asset, dated in changes.items() for at, rate in accruals(dated, until)
    ]
    due.sort()
    at, asset, rate = np.array(due, np.int64).reshape(-1, 3).T

    def build(start: int, stop: int) -> Iterator[Input]:
        for t, a, r in _batch(start, stop, at, asset, rate):
            yield InterestAccrued(ts=Nanos(t), rate=Ppb(r), asset=a)

    return Stream(INTEREST_RANK, at, np.zeros_like(at), build)


def accruals(changes: Sequence[tuple[int, int]], until: int) -> Iterator[tuple[int, int]]:
    """Yield (ts, ppb) for every period that ended: at full hours UTC, and before each new rate.

    ``changes`` are (ts, ppb per hour), in order. A part of an hour accrues its share; what rounding
    leaves over is carried into the next period, so that the sum is never off by one ppb or more.
    """
    carry = 0
    for n, (start, rate) in enumerate(changes):
        end = changes[n + 1][0] if n + 1 < len(changes) else until
        at = start
        while at < end:
            then = min(end, (at // HOUR + 1) * HOUR)
            due = rate * (then - at) + carry
            carry = due % HOUR
            if due >= HOUR:
                yield then, due // HOUR
            at = then


def _instruments(sheet: Sheet, venue: Venue) -> I64:
    symbols = [i.symbol for i in venue.instruments]
    return sheet.lookup("instrument", symbols, "must name an instrument of venue.toml")
