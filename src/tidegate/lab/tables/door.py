"""From a path to an opening: what the book is, what completes it, what was assumed."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from tidegate.adapters.arrow import Column, pa
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid
from tidegate.domain.instrument import Spot
from tidegate.domain.units import PPM, SECOND, Ppm
from tidegate.domain.venue import Venue
from tidegate.drivers import recording_door as door
from tidegate.drivers.recording import load
from tidegate.drivers.recording_book import opening_book
from tidegate.drivers.recording_sheet import Sheet, nearest
from tidegate.lab.opening import Opening
from tidegate.lab.tables.cells import DataFrame, read_frame, read_table
from tidegate.lab.tables.draft import HOUSE, Draft, kept, plural
from tidegate.lab.tables.given import Given, refuse_unpriced
from tidegate.lab.tables.loans import loans
from tidegate.lab.tables.names import is_loans
from tidegate.lab.tables.positions import matched, positions
from tidegate.lab.tables.venue import default_venue
from tidegate.safeguards.margin import Requirement, Tier
from tidegate.safeguards.stack import SafeguardStack


# A table bears no date: all of them are dated here, and nothing depends on it.
MOMENT: Final = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND
LEAVE_OUT: Final = ("bankrupt", "unpriced")
BORROW_LESS: Final = 0.05  # where only a threshold is known: one may borrow up to this much less


@dataclass(frozen=True, slots=True)
class Book:
    """An opening, what is known of its margins, and whether it is one of loans."""

    opening: Opening
    loans: bool
    margins: Mapping[str, Requirement] = field(default_factory=dict[str, Requirement])

    def completed(self, stack: SafeguardStack) -> SafeguardStack:
        """Return a stack with this book's own margins for the instruments it does not name."""
        known = stack.margin.instruments
        own = {s: rule for s, rule in self.margins.items() if s not in known}
        if not own:
            return stack
        rest = known.get("*", Requirement())
        rules = {s: msgspec.structs.replace(rest, **_said(rule)) for s, rule in own.items()}
        margin = msgspec.structs.replace(stack.margin, instruments={**known, **rules})
        return msgspec.structs.replace(stack, margin=margin)


def _said(rule: Requirement) -> dict[str, object]:
    """Return the fields of a requirement that were said: what is left out stays as it was."""
    plain = Requirement()
    fields = [f.name for f in msgspec.structs.fields(Requirement)]
    return {f: getattr(rule, f) for f in fields if getattr(rule, f) != getattr(plain, f)}


def read_book(
    source: Path | DataFrame,
    *,
    venue: Venue | None = None,
    prices: Mapping[str, float] | None = None,
    parameters: Given | None = None,
    balance_with: str | None = None,
    leave_out: Collection[str] = (),
    where: Mapping[str, str] | None = None,
) -> Book:
    """Read a book: the folder of a recording, or a table of positions or loans.

    Parameters
    ----------
    source
        A folder, a .parquet or .csv file, or a data frame like one.
    venue
        Replaces the venue of a recording, or the one that would be inferred of a table.
    prices
        By instrument; they win over those of a table.
    parameters
        What is known of the markets and the margins.
    balance_with
        The account, ``house``, that takes what longs and shorts differ by; None refuses that.
    leave_out
        ``bankrupt``: go on without accounts that are below zero from the start; ``unpriced``:
        without loans in assets that nobody priced. What is not named here is refused.
    where
        Keep only the rows of a table with these values, by column.

    Raises
    ------
    RecordingInvalid, ConfigInvalid
        With the row or key, what was found, and a remedy.
    """
    given = parameters or Given()
    _prove(balance_with, leave_out)
    if isinstance(source, Path) and source.is_dir():
        if prices or where or balance_with or leave_out:
            raise ConfigInvalid(
                where=str(source),
                what="a recording has its own prices and rows; these options complete tables",
                found="a recording's folder",
                hint="leave out --prices, --where, --balance-with and --leave-out",
            )
        opening = Opening.of(load(source))
        if venue is not None:
            opening = _moved(opening, venue)
        return Book(opening, _has_loans(opening), margins_of(given, opening.venue, {}))
    sheet = read_table(source, where) if isinstance(source, Path) else read_frame(source, where)
    if is_loans(sheet.table.column_names):
        if balance_with is not None:
            raise ConfigInvalid(
                where="--balance-with",
                what="is for positions: loans have no other side to be matched",
                found="a table of loans",
                hint="leave it out",
            )
        draft = loans(sheet, prices or {}, given, leave_out)
    else:
        draft = positions(sheet, prices or {}, given)
    draft = kept(draft, leave_out)
    if not draft.loans:
        matched(draft, balance_with)  # after some left: what they held has lost its other side
    _refuse_strangers(given, draft)
    return _opened(draft, venue, given)


def _prove(balance_with: str | None, leave_out: Collection[str]) -> None:
    if balance_with not in {None, HOUSE}:
        raise ConfigInvalid(
            where="--balance-with", what=f"must be {HOUSE}", found=repr(balance_with)
        )
    for reason in leave_out:
        if reason not in LEAVE_OUT:
            raise ConfigInvalid(
                where="--leave-out", what=f"must be one of {LEAVE_OUT}", found=repr(reason)
            )


def _has_loans(opening: Opening) -> bool:
    return any(isinstance(i, Spot) for i in opening.venue.instruments)


def _moved(opening: Opening, venue: Venue) -> Opening:
    """Return a recording's opening at another venue, which must count in the same units."""
    own = [(i.symbol, i.tick_size, i.lot_size) for i in opening.venue.instruments]
    other = [(i.symbol, i.tick_size, i.lot_size) for i in venue.instruments]
    if own != other:
        raise ConfigInvalid(
            where="--venue",
            what="must list the recording's instruments in their order, with the same sizes",
            found=f"{other} instead of {own}",
        )
    note = f"the venue {venue.name} was given instead of the recording's"
    return replace(opening, venue=venue, notes=(*opening.notes, note))


def _refuse_strangers(given: Given, draft: Draft) -> None:
    for symbol in given.instruments:
        if symbol not in draft.price:
            raise ConfigInvalid(
                where=f"parameters: instruments.{symbol}",
                what="must be an instrument of the book",
                found=repr(symbol),
                hint=nearest(symbol, list(draft.price)),
            )


def _opened(draft: Draft, venue: Venue | None, given: Given) -> Book:
    if venue is None:
        venue = default_venue(draft, given)
        _whole(draft, venue, refuse=False)
    else:
        _prove_known(draft, venue)
        _whole(draft, venue, refuse=True)
        draft.note(f"the venue {venue.name} was given")
    scales = door.scales_of(venue, "venue")
    book = opening_book(_sheets(draft), venue, scales)
    symbols = [i.symbol for i in venue.instruments]
    listed = [s for s in symbols if s in draft.price]
    table = pa.table({"price": pa.array([draft.price[s] for s in listed], pa.float64())})
    which = np.array([symbols.index(s) for s in listed], np.int64)
    ticks = door.prices(Sheet(draft.file, table), "price", venue, scales, which)
    marks = np.ones(len(symbols), np.int64)
    marks[which] = ticks
    notes = (*venue.notes, *draft.notes)
    opening = Opening(venue, book.event(MOMENT), marks, (), notes)
    return Book(opening, draft.loans, margins_of(given, venue, draft.threshold))


def _prove_known(draft: Draft, venue: Venue) -> None:
    spot = {i.symbol: isinstance(i, Spot) for i in venue.instruments}
    for symbol, row in zip(draft.symbol, draft.row, strict=True):
        if spot.get(symbol) != draft.loans:
            kind = "spot asset" if draft.loans else "derivative"
            raise RecordingInvalid(
                where=f"{draft.file}: row {row:_}",
                what=f"must be a {kind} of the venue",
                found=repr(symbol),
                hint=nearest(symbol, [s for s, is_spot in spot.items() if is_spot == draft.loans]),
            )
    refuse_unpriced(draft.file, [s for s in draft.symbols if s not in draft.price])


def _whole(draft: Draft, venue: Venue, *, refuse: bool) -> None:
    """Make quantities whole lots: less is held, more is owed. Where a venue was given, refuse."""
    per = {i.symbol: float(1 / Decimal(i.lot_size)) for i in venue.instruments}
    cut, gone = 0, 0
    for n, (symbol, quantity) in enumerate(zip(draft.symbol, draft.quantity, strict=True)):
        exact = quantity * per[symbol]
        lots = round(exact)
        if abs(exact - lots) > 1e-6 + abs(lots) * 2.0**-50:  # more than the noise of a float
            if refuse:
                raise RecordingInvalid(
                    where=f"{draft.file}: row {draft.row[n]:_}",
                    what=f"must be whole lots of {1 / per[symbol]:g}",
                    found=f"{quantity:.12g} {symbol}",
                    hint="declare a finer lot_size in the venue file",
                )
            lots = math.floor(exact) if draft.loans else math.trunc(exact)
            cut += 1
        draft.quantity[n] = lots / per[symbol]
        gone += lots == 0
    if cut:
        draft.note(f"quantities cut to whole lots in {plural(cut, 'row')}, by less than one lot")
    if gone:
        draft.note(f"{plural(gone, 'quantity', 'quantities')} of less than a lot left out")


def _sheets(draft: Draft) -> dict[str, Sheet]:
    """Return the draft as the tables of a recording, so that one door serves both."""
    names = list(draft.cash)
    held = [n for n, quantity in enumerate(draft.quantity) if quantity]
    who, asset = [draft.account[n] for n in held], [draft.symbol[n] for n in held]
    size = [draft.quantity[n] for n in held]
    money, cash = [draft.numeraire] * len(names), list(draft.cash.values())
    if draft.loans:
        texts = {"account": names + who, "asset": money + asset}
        return {"accounts": _sheet("balances", texts, {"balance": cash + size})}
    entry = [draft.entry[n] for n in held]
    texts = {"account": who, "instrument": asset}
    return {
        "accounts": _sheet("balances", {"account": names, "asset": money}, {"balance": cash}),
        "positions": _sheet("positions", texts, {"quantity": size, "entry_price": entry}),
    }


def _sheet(name: str, texts: Mapping[str, list[str]], numbers: Mapping[str, list[float]]) -> Sheet:
    columns: dict[str, Column] = {key: pa.array(c, pa.large_string()) for key, c in texts.items()}
    columns |= {key: pa.array(c, pa.float64()) for key, c in numbers.items()}
    return Sheet(name, pa.table(columns))


def margins_of(
    given: Given, venue: Venue, threshold: Mapping[str, float]
) -> dict[str, Requirement]:
    """Return what table and parameters say about margins, by instrument; parameters win."""
    rules: dict[str, Requirement] = {}
    for instrument in venue.instruments:
        symbol = instrument.symbol
        called = given.of(symbol, "threshold")
        called = threshold.get(symbol) if called is None else called
        if isinstance(instrument, Spot) and called is not None:
            borrow = given.of(symbol, "borrow_max")
            borrow = max(0.0, called - BORROW_LESS) if borrow is None else borrow
            initial, maintenance = 1.0 - min(borrow, called), 1.0 - called
        elif given.of(symbol, "initial") is not None or given.of(symbol, "maintenance") is not None:
            initial, maintenance = _rates(given, symbol)
        else:
            continue
        tier = Tier(initial=_ppm(initial), maintenance=_ppm(maintenance))
        penalty = given.of(symbol, "penalty")
        rules[symbol] = Requirement(tiers=(tier,), penalty=_ppm(penalty or 0.0))
    return rules


def _rates(given: Given, symbol: str) -> tuple[float, float]:
    initial, maintenance = given.of(symbol, "initial"), given.of(symbol, "maintenance")
    if initial is None:
        assert maintenance is not None
        return min(1.0, 2.0 * maintenance), maintenance
    return initial, initial / 2.0 if maintenance is None else maintenance


def _ppm(share: float) -> Ppm:
    return Ppm(round(share * PPM))
