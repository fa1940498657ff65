"""What accounts did, and what was done to them: flows and recorded liquidations become events.

* ``deposit`` and ``repay`` arrive (`Deposited`); ``withdraw`` and ``borrow`` leave (`Withdrawn`,
  settled: the recorded venue allowed it). An empty ``asset`` is the numeraire.
* ``open`` trades a signed quantity against the world outside. ``close`` takes a positive quantity
  off what is open: its direction follows from the recorded positions, opens, closes and
  liquidations before it, never from what a replay did meanwhile.
* ``join`` puts cash into the shared pool and ``leave`` asks for it back.
* ``liquidations`` carry a quantity signed like the position that was reduced. They are history,
  for comparison; in shadow mode they are booked as `LiquidationReported`.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import (
    Deposited,
    Input,
    LiquidationReported,
    PoolJoined,
    PoolLeft,
    Traded,
    Withdrawn,
)
from tidegate.domain.instrument import CASH, Inverse, Spot
from tidegate.domain.units import I64, PPM, Amount, Lots, Money, Nanos, Ticks
from tidegate.domain.venue import Venue
from tidegate.drivers import recording_door as door
from tidegate.drivers.recording_book import Names, OpeningBook
from tidegate.drivers.recording_schema import FLOW_KINDS, LIQUIDATION_KINDS
from tidegate.drivers.recording_sheet import Mask, Sheet, nearest
from tidegate.drivers.recording_streams import FLOWS, Stream


DEPOSIT, WITHDRAW, BORROW, REPAY, OPEN, CLOSE, JOIN, LEAVE = range(8)
_LAST: Final = np.iinfo(np.int64).max  # a liquidation without seq follows the flows of its moment


class Moves(NamedTuple):
    """Changes of positions in time order: account, instrument and signed lots."""

    ts: I64
    seq: I64
    account: I64
    instrument: I64
    lots: I64


def accounts_of(sheet: Sheet, names: Names) -> I64:
    """Return each row's account as an index into the names; refuse one that is not known."""
    codes, values = sheet.texts("account")
    place = np.array([names.place.get(value, -1) for value in values] or [-1], np.int64)
    unknown = np.flatnonzero(place[codes] < 0)
    if unknown.size:
        row = int(unknown[0])
        name = values[int(codes[row])]
        hint = "add it to accounts.parquet, or to flows.parquet with a deposit"
        if len(names.names) <= 10_000:
            hint = f"{nearest(name, names.names)}; {hint}"
        what = "must be an account of accounts, positions, loans or flows"
        sheet.refuse(row, "account", what, repr(name), hint)
    return place[codes]


def liquidation_moves(
    sheet: Sheet, names: Names, venue: Venue, scales: door.Scales
) -> tuple[Moves, I64]:
    """Return recorded liquidations as moves (lots that left, signed) and the cash they brought."""
    ts = sheet.times()
    seq = np.full(sheet.rows, _LAST)
    if sheet.has("seq"):
        seq = sheet.sequence(ts)
    account = accounts_of(sheet, names)
    symbols = [i.symbol for i in venue.instruments]
    instrument = sheet.lookup("instrument", symbols, "must name an instrument of venue.toml")
    sheet.lookup("kind", LIQUIDATION_KINDS, "must be a kind of liquidation")
    lots = door.quantities(sheet, "quantity", scales, instrument, signed=True)
    door.prices(sheet, "price", venue, scales, instrument)
    given = sheet.present("cash")
    priced = sheet.present("price")
    sheet.refuse_first(
        ~given & ~priced & (lots != 0),
        "price",
        "a liquidation needs a price, or the cash that it brought",
        hint="fill price, or add a column cash",
    )
    cash = np.where(given, _cash_column(sheet, scales), _proceeds(sheet, venue, instrument, given))
    return Moves(ts, seq, account, instrument, lots), cash


def _cash_column(sheet: Sheet, scales: door.Scales) -> I64:
    if not sheet.has("cash"):
        return np.zeros(sheet.rows, np.int64)
    return door.money(sheet, "cash", scales)


def _proceeds(sheet: Sheet, venue: Venue, instrument: I64, given: Mask) -> I64:
    # quantity x price in Money, to the nearest: exact in decimals, once a row.
    cash = np.zeros(sheet.rows, np.int64)
    quantity = sheet.table.column("quantity").to_pylist()
    price = sheet.table.column("price").to_pylist()
    for row in np.flatnonzero(~given).tolist():
        if price[row] is None:
            continue
        if isinstance(venue.instruments[int(instrument[row])], Inverse):
            what = "the cash of an inverse contract does not follow from its price"
            sheet.refuse(row, "cash", what, "an empty cell", "add a column cash")
        value = Decimal(str(quantity[row])) * Decimal(str(price[row])) * PPM
        cash[row] = int(value.to_integral_value())
    return cash


def liquidation_stream(moves: Moves, cash: I64) -> Stream:
    """Return recorded liquidations as events, for a replay that books history (shadow mode)."""

    def build(start: int, stop: int) -> Iterator[Input]:
        columns = (moves.ts, moves.account, moves.instrument, moves.lots, cash)
        for at, a, i, n, c in zip(*(x[start:stop].tolist() for x in columns), strict=True):
            yield LiquidationReported(
                ts=Nanos(at),
                account=a + FIRST_USER,
                instrument=i,
                lots=Lots(n),
                cash=Money(c),
            )

    return Stream(FLOWS, moves.ts, moves.seq, build)


def flow_stream(
    sheet: Sheet, book: OpeningBook, venue: Venue, scales: door.Scales, history: Moves | None
) -> tuple[Stream, Moves]:
    """Return the flows as events, and every holding that they touch."""
    ts = sheet.times()
    seq = sheet.sequence(ts)
    kind = sheet.lookup("kind", FLOW_KINDS, "must be a kind of flow")
    account = accounts_of(sheet, book.names)
    trades = (kind == OPEN) | (kind == CLOSE)
    symbols = [i.symbol for i in venue.instruments]
    instrument = sheet.lookup("instrument", symbols, "must name an instrument of venue.toml")
    missing = trades & (instrument < 0)
    sheet.refuse_first(missing, "instrument", "open and close must name an instrument")
    asset = np.where(trades, instrument, door.assets(sheet, "asset", venue))
    lots = door.quantities(sheet, "quantity", scales, asset, signed=True)
    sheet.refuse_first((lots < 0) & (kind != OPEN), "quantity", "must not be negative")
    sheet.refuse_first(trades & (lots == 0), "quantity", "a trade must have a size")
    price = np.zeros(sheet.rows, np.int64)
    if sheet.has("price"):
        price = door.prices(sheet, "price", venue, scales, np.where(trades, instrument, -1))
    unpriced = np.flatnonzero(trades & (price == 0))
    if unpriced.size:
        sheet.refuse(int(unpriced[0]), "price", "open and close must have a price", "none")
    shared = ((kind == JOIN) | (kind == LEAVE)) & (asset != CASH)
    sheet.refuse_first(shared, "asset", "only cash is put into the pool")
    _prove_beginnings(sheet, book, account, kind)
    moves = Moves(ts, seq, account, instrument, np.where(trades, lots, 0))
    lots = _directed(sheet, book, moves, kind, lots, history)
    touched = _touched(venue, Moves(ts, seq, account, asset, lots), kind)

    def build(start: int, stop: int) -> Iterator[Input]:
        columns = (ts, kind, account, asset, lots, price)
        for row in zip(*(x[start:stop].tolist() for x in columns), strict=True):
            yield _flow(*row)

    return Stream(FLOWS, ts, seq, build), touched


def _touched(venue: Venue, moves: Moves, kind: I64) -> Moves:
    """Return every holding that flows may open: what they name, and what a pool may pay out."""
    rows = np.flatnonzero(moves.instrument != CASH)
    named = Moves(*(column[rows] for column in moves))
    spot = np.flatnonzero([isinstance(i, Spot) for i in venue.instruments])
    members = np.flatnonzero(kind == JOIN)
    who = np.repeat(members, spot.size)
    paid = Moves(*(column[who] for column in moves))
    paid = paid._replace(instrument=np.tile(spot, members.size), lots=np.zeros_like(who))
    return Moves(*(np.concatenate(pair) for pair in zip(named, paid, strict=True)))


def _flow(ts: int, kind: int, account: int, asset: int, lots: int, price: int) -> Input:
    row = account + FIRST_USER
    if kind in (DEPOSIT, REPAY):
        return Deposited(ts=Nanos(ts), account=row, amount=Amount(lots), asset=asset)
    if kind in (WITHDRAW, BORROW):
        return Withdrawn(ts=Nanos(ts), account=row, amount=Amount(lots), asset=asset, settled=True)
    if kind in (JOIN, LEAVE):
        moved = PoolJoined if kind == JOIN else PoolLeft
        return moved(ts=Nanos(ts), account=row, amount=Money(lots))
    return Traded(
        ts=Nanos(ts),
        instrument=asset,
        taker=row,
        maker=0,
        lots=Lots(lots),
        price=Ticks(price),
        settled=True,
        reduces=kind == CLOSE,
    )


def _prove_beginnings(sheet: Sheet, book: OpeningBook, account: I64, kind: I64) -> None:
    # Whoever appears with a withdrawal, repayment or close was forgotten in the opening book.
    fresh, first = np.unique(account, return_index=True)
    early = first[fresh >= book.listed]
    wrong = early[np.isin(kind[early], (WITHDRAW, REPAY, CLOSE, JOIN, LEAVE))]
    if wrong.size:
        row = int(wrong.min())
        name = sheet.cell(row, "account")
        what = f"an account that is not in the opening book must begin otherwise than {name} does"
        hint = "add it to accounts, positions or loans, or begin with a deposit"
        sheet.refuse(row, "kind", what, sheet.cell(row, "kind"), hint)
    split = np.isin(account, list(book.names.split)) & np.isin(kind, (BORROW, REPAY))
    hint = 'this account has loans in several markets: name the loan, as in "ACCOUNT/MARKET"'
    sheet.refuse_first(split, "account", "must name one loan", hint=hint)


def _directed(
    sheet: Sheet,
    book: OpeningBook,
    moves: Moves,
    kind: I64,
    lots: I64,
    history: Moves | None,
) -> I64:
    """Return ``lots`` with the direction of every close, from what was open at that moment."""
    if not np.any(kind == CLOSE):
        return lots
    held = book.holdings
    pairs = zip(held.account.tolist(), held.asset.tolist(), strict=True)
    open_lots = dict(zip(pairs, held.lots.tolist(), strict=True))
    directed = lots.copy()
    streams = [moves] if history is None else [moves, history]
    ts, seq = (np.concatenate([s[n] for s in streams]) for n in range(2))
    which = np.concatenate([np.full(s.ts.size, n) for n, s in enumerate(streams)])
    row = np.concatenate([np.arange(s.ts.size) for s in streams])
    for k in np.lexsort((which, seq, ts)).tolist():
        stream, at = streams[int(which[k])], int(row[k])
        change = int(stream.lots[at])
        key = (int(stream.account[at]), int(stream.instrument[at]))
        before = open_lots.get(key, 0)
        if stream is not moves:
            change = -change
        elif kind[at] == CLOSE:
            if change > abs(before):
                what = f"closes more than the {abs(before):_} lots that are open"
                hint = "add what was opened before, or use open with a signed quantity"
                sheet.refuse(at, "quantity", what, sheet.cell(at, "quantity"), hint)
            change = -change if before > 0 else change
            directed[at] = change
        if change:
            open_lots[key] = before + change
    return directed
