"""Ledger integers as the API says them: exact decimals, readable names, and floats for pictures."""

from decimal import Context, Decimal
from functools import cache
from typing import Final

from tidegate.domain.book import (
    CLEARING,
    EXTERNAL,
    FIRST_USER,
    FUND,
    POOL,
    ROUNDING,
    TRANCHES_MAX,
    TREASURY,
)
from tidegate.domain.instrument import AnyInstrument
from tidegate.domain.units import PPM, unpack
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Names


MONEY: Final = "0.000001"
SYSTEM: Final = {
    EXTERNAL: "venue:outside",
    CLEARING: "venue:clearing",
    ROUNDING: "venue:rounding",
    TREASURY: "venue:treasury",
    POOL: "venue:pool",
}
_EXACT: Final = Context(prec=80)  # 19 digits of an int64 times any size never need more


def decimal_text(units: int, size: str) -> str:
    """Return ``units`` times ``size`` as the shortest decimal that says it exactly."""
    text = f"{_EXACT.multiply(Decimal(units), _decimal(size)):f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text.strip("-0") else "0"


@cache
def _decimal(size: str) -> Decimal:
    return Decimal(size)


@cache
def _float(size: str) -> float:
    return float(size)


def price_text(instrument: AnyInstrument, ticks: int) -> str:
    """Return a price exactly."""
    return decimal_text(ticks, instrument.tick_size)


def quantity_text(instrument: AnyInstrument, lots: int) -> str:
    """Return a quantity exactly; a spot balance counts smallest units, of ``lot_size`` each."""
    return decimal_text(lots, instrument.lot_size)


def money_text(money: int) -> str:
    """Return Money exactly, in units of the numeraire."""
    return decimal_text(money, MONEY)


def price_float(instrument: AnyInstrument, ticks: int) -> float:
    """Return a price to draw with."""
    return ticks * _float(instrument.tick_size)


def quantity_float(instrument: AnyInstrument, lots: int) -> float:
    """Return a quantity to draw with."""
    return lots * _float(instrument.lot_size)


def money_float(money: int) -> float:
    """Return Money to draw with."""
    return money / PPM


def rows_of(*columns: bytes) -> list[tuple[int, ...]]:
    """Return packed columns as rows."""
    cells: list[list[int]] = [unpack(column).tolist() for column in columns]
    return list(zip(*cells, strict=True))


def account_name(names: Names, row: int, stack: Stack) -> str:
    """Return the name of an account; the venue's own begin with ``venue:``."""
    if row >= FIRST_USER:
        return names.name(row)
    if FUND <= row < FUND + TRANCHES_MAX:
        tranches = stack.declaration.waterfall.tranches
        place = row - FUND
        return f"venue:fund:{tranches[place].name if place < len(tranches) else place}"
    return SYSTEM[row]


def account_row(names: Names, name: str, stack: Stack) -> int:
    """Return the row of an account of this name, the venue's own included; -1: there is none."""
    row = names.row(name)
    if row >= 0 or not name.startswith("venue:"):
        return row
    own = (k for k in range(FIRST_USER) if account_name(names, k, stack) == name)
    return next(own, -1)
