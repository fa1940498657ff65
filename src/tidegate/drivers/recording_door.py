"""The door: decimal prices and quantities become ticks, lots and Money, or the row is refused.

* Prices are rounded to the nearest tick (a venue may declare a coarser tick than its source); they
  must come to at least one tick and at most ``price_max``.
* Quantities of positions, loans, flows, trades and liquidations must be whole lots, within 1e-6 of
  a lot: the noise of a float is forgiven, a wrong unit is not.
* Cash is rounded down to Money (1e-6 of the numeraire): against the account, by less than one.
* Depth is rounded down to whole lots: a book is never made deeper than it was.
* Confidence is rounded up to whole ticks: a doubt is never made smaller.

Text is converted exactly, through decimals; float64 by one multiplication, which is exact to the
last bit that a float has.
"""

from collections.abc import Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters.arrow import pa
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.instrument import CASH, Linear, Spot
from tidegate.domain.units import I64, PPM
from tidegate.domain.venue import Venue
from tidegate.drivers.recording_sheet import Sheet


MONEY: Final = Decimal("0.000001")
PPB_UNIT: Final = Decimal("0.000000001")
_SLACK: Final = 1e-6  # of a unit
_NOISE: Final = 4 * 2.0**-52  # relative: what decimal text -> float64 -> product may lose
_LARGEST: Final = 2.0**62
_EXACT: Final = Context(prec=80)


class Scales(NamedTuple):
    """The size of a tick and of a lot, by instrument; the last lot is that of cash."""

    tick: tuple[Decimal, ...]
    lot: tuple[Decimal, ...]


class Parts(NamedTuple):
    """Every cell as whole units and the rest, within -0.5..0.5 of a unit."""

    whole: I64
    rest: NDArray[np.float64]

    def slack(self) -> NDArray[np.float64]:
        """Return how much of a unit may be the noise of a float."""
        return _SLACK + np.abs(self.whole) * _NOISE

    def floor(self) -> I64:
        """Return whole units, rounded down."""
        return self.whole - (self.rest < -self.slack())

    def ceil(self) -> I64:
        """Return whole units, rounded up."""
        return self.whole + (self.rest > self.slack())


def scales_of(venue: Venue, file: str) -> Scales:
    """Return the sizes of ticks and lots; refuse sizes that do not agree with ``tick_value``."""
    ticks: list[Decimal] = []
    lots: list[Decimal] = []
    for instrument in venue.instruments:
        for key, sizes in (("tick_size", ticks), ("lot_size", lots)):
            text: str = getattr(instrument, key)
            size = _decimal(text)
            if size is None or size <= 0:
                where = f"{file}: instrument.{instrument.symbol}.{key}"
                raise ConfigInvalid(
                    where=where,
                    what="must be a positive decimal",
                    found=repr(text),
                    hint='for example "0.01"',
                )
            sizes.append(size)
    _prove_units(venue, ticks, lots, file)
    return Scales(tuple(ticks), (*lots, MONEY))


def _prove_units(venue: Venue, ticks: list[Decimal], lots: list[Decimal], file: str) -> None:
    # A tick_value in the wrong unit would silently scale every account's equity.
    for n, instrument in enumerate(venue.instruments):
        where = f"{file}: instrument.{instrument.symbol}"
        if isinstance(instrument, (Linear, Spot)):
            units = instrument.units if isinstance(instrument, Spot) else 1
            due = ticks[n] * lots[n] * units * PPM
            if due != instrument.tick_value:
                what = "tick_value must be tick_size x lot_size x 1e6 (x units for spot)"
                hint = (
                    f"tick_value = {int(due)} agrees with tick_size and lot_size"
                    if due == due.to_integral_value() and due > 0
                    else "choose a coarser tick or lot: tick_value must be a whole number of 1e-6"
                )
                raise ConfigInvalid(
                    where=f"{where}.tick_value",
                    what=what,
                    found=str(instrument.tick_value),
                    hint=hint,
                )
        else:
            coin = lots[venue.index(instrument.coin)]
            face = instrument.contract * ticks[n] * coin * PPM
            if face != instrument.face:
                what = "face must be contract x tick_size x the coin's lot_size x 1e6"
                raise ConfigInvalid(
                    where=f"{where}.face",
                    what=what,
                    found=str(instrument.face),
                    hint=f"face = {face} agrees",
                )


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def parts(sheet: Sheet, column: str, sizes: Sequence[Decimal], which: I64) -> Parts:
    """Divide each cell by ``sizes[which[row]]``; an empty cell counts as zero."""
    data = sheet.table.column(column)
    if pa.types.is_floating(data.type):
        values = data.fill_null(0.0).to_numpy()
        # 1 / 0.01 is the whole number 100, while 0.01 itself is no float: multiply where possible.
        inverse = [1 / size for size in sizes]
        whole = [size == size.to_integral_value() for size in inverse]
        factor = np.array([float(i) if w else 1.0 for i, w in zip(inverse, whole, strict=True)])
        divisor = np.array([1.0 if w else float(s) for s, w in zip(sizes, whole, strict=True)])
        scaled = values * factor[which] / divisor[which]
        sheet.refuse_first(np.abs(scaled) >= _LARGEST, column, "is too large to count")
        base = np.rint(scaled)
        return Parts(base.astype(np.int64), scaled - base)
    return _text_parts(sheet, column, sizes, which)


def _text_parts(sheet: Sheet, column: str, sizes: Sequence[Decimal], which: I64) -> Parts:
    whole = np.zeros(sheet.rows, np.int64)
    rest = np.zeros(sheet.rows)
    texts: list[str | None] = sheet.table.column(column).to_pylist()
    numbers: list[int] = which.tolist()
    for row, (text, size) in enumerate(zip(texts, numbers, strict=True)):
        if text is None:
            continue
        value = _decimal(text)
        if value is None:
            sheet.refuse(row, column, "must be a finite decimal number", repr(text))
        scaled = _EXACT.divide(value, sizes[size])
        if abs(scaled) >= _LARGEST:
            sheet.refuse(row, column, "is too large to count", repr(text))
        base = scaled.to_integral_value()
        whole[row] = int(base)
        rest[row] = float(scaled - base)
    return Parts(whole, rest)


def prices(sheet: Sheet, column: str, venue: Venue, scales: Scales, instrument: I64) -> I64:
    """Return a price column in ticks, rounded to the nearest; refuse what is not a price.

    Empty cells (where the file allows them) and rows without an instrument (-1) come back as 0.
    """
    wanted = sheet.present(column) & (instrument >= 0)
    ticks = parts(sheet, column, scales.tick, instrument).whole
    sheet.refuse_first(wanted & (ticks < 1), column, "a price must come to at least one tick")
    highest = np.array([i.price_max for i in venue.instruments] or [0], np.int64)
    above = np.flatnonzero(wanted & (ticks > highest[instrument]))
    if above.size:
        row = int(above[0])
        traded = venue.instruments[int(instrument[row])]
        what = f"a price of {traded.symbol} must be at most price_max = {traded.price_max:_} ticks"
        hint = f"price_max = {int(ticks[above].max()):_} would fit, if the unit is right"
        sheet.refuse(row, column, what, sheet.cell(row, column), hint)
    return np.where(wanted, ticks, 0)


def quantities(
    sheet: Sheet, column: str, scales: Scales, asset: I64, *, signed: bool = False
) -> I64:
    """Return a column in whole lots of each row's asset (CASH: Money, rounded down).

    Refuse a part of a lot beyond 1e-6, and a negative size unless ``signed``.
    """
    split = parts(sheet, column, scales.lot, asset)
    if not signed:
        negative = (split.whole < 0) | ((split.whole == 0) & (split.rest < -split.slack()))
        sheet.refuse_first(negative, column, "must not be negative")
    cash = asset == CASH
    broken = np.flatnonzero(~cash & (np.abs(split.rest) > split.slack()))
    if broken.size:
        row = int(broken[0])
        lot = scales.lot[int(asset[row])]
        hint = f"{int(split.whole[row]) * lot} would fit; or declare a finer lot_size"
        sheet.refuse(row, column, f"must be whole lots of {lot}", sheet.cell(row, column), hint)
    return np.where(cash, split.floor(), split.whole)


def money(sheet: Sheet, column: str, scales: Scales) -> I64:
    """Return a column of cash in Money, rounded down; empty cells are 0."""
    return parts(sheet, column, scales.lot, np.full(sheet.rows, CASH, np.int64)).floor()


def assets(sheet: Sheet, column: str, venue: Venue) -> I64:
    """Return each row's asset: CASH for the numeraire, else its spot instrument's column.

    An empty cell means the numeraire.
    """
    spots = {i.symbol: n for n, i in enumerate(venue.instruments) if isinstance(i, Spot)}
    known = [venue.numeraire, *spots]
    where: I64 = np.array([CASH, *spots.values(), CASH], np.int64)
    found = sheet.lookup(column, known, "must name the numeraire or a spot instrument")
    return where[found]
