"""Ledger integers as people read them: prices, quantities, money and UTC time, exactly."""

from decimal import Decimal
from typing import Final

from tidegate.domain.instrument import AnyInstrument, Inverse, Spot
from tidegate.domain.units import PPM, SECOND


DAY: Final = 86_400


def price_text(instrument: AnyInstrument, ticks: int) -> str:
    """Return a price in the instrument's own decimals, exactly."""
    return f"{Decimal(instrument.tick_size) * ticks:,f}"


def quantity_text(instrument: AnyInstrument, lots: int) -> str:
    """Return a quantity in the instrument's own decimals, exactly.

    A spot balance is held in the asset's smallest units, and ``lot_size`` is the size of one.
    """
    return f"{Decimal(instrument.lot_size) * lots:,f}"


def notional_of(instrument: AnyInstrument, lots: int, ticks: int) -> int:
    """Return the size of ``lots`` at a price in Money, never negative, rounded up."""
    if isinstance(instrument, Inverse):
        return abs(lots) * instrument.face
    units = instrument.units if isinstance(instrument, Spot) else 1
    return -(-abs(lots) * ticks * instrument.tick_value // units)


def money_text(money: int, unit: str = "") -> str:
    """Return Money in units of the numeraire with two decimals, rounded to the nearest cent."""
    text = f"{Decimal(money) / PPM:,.2f}"
    return f"{text} {unit}" if unit else text


def percent_text(ppm: int) -> str:
    """Return a rate in ppm as a percentage with what digits it needs, four at most."""
    return f"{ppm / 10_000:,.4f}".rstrip("0").rstrip(".") + " %"


def clock_text(ts: int) -> str:
    """Return nanoseconds since the epoch as UTC date and time with milliseconds, cut off."""
    seconds, rest = divmod(ts, SECOND)
    days, second = divmod(seconds, DAY)
    year, month, day = _civil(days)
    minutes, second = divmod(second, 60)
    hour, minute = divmod(minutes, 60)
    time = f"{hour:02d}:{minute:02d}:{second:02d}.{rest // 1_000_000:03d}"
    return f"{year:04d}-{month:02d}-{day:02d} {time} UTC"


def _civil(days: int) -> tuple[int, int, int]:
    """Return (year, month, day) of a day number; the core may not import `datetime`.

    Source
    ------
    Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    """
    days += 719_468
    era, of_era = divmod(days, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + 400 * era + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1
