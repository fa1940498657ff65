"""What completes a table: prices from a file, and parameters of its markets that nobody inferred.

Both are the operator's word: an impossible one is refused with its place, never bent into shape.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from tidegate.domain.errors import ConfigInvalid, RecordingInvalid
from tidegate.drivers.recording_sheet import nearest
from tidegate.lab.tables.cells import numbers, read_table, texts
from tidegate.lab.tables.names import PRICES, recognised, required
from tidegate.safeguards.stack import decode_toml


PRICES_HINT: Final = "give --prices FILE, a table with the columns instrument and price"


class GivenMarket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one instrument. Money is in units of the numeraire, rates are shares."""

    tick_size: str | None = None
    lot_size: str | None = None
    depth: float | None = None  # resting within 2 % of the mark, one side
    daily_volume: float | None = None
    daily_volatility: float | None = None
    threshold: float | None = None  # a loan's: debt over collateral value at which it is called
    borrow_max: float | None = None  # a loan's: debt over collateral value up to which one borrows
    initial: float | None = None  # a derivative's: margin to open, over notional
    maintenance: float | None = None  # a derivative's: margin to stay
    penalty: float | None = None  # of what is closed by force

    def prove(self, where: str) -> None:
        """Refuse shares outside 0..1, sizes that are none, and an order that cannot be."""
        for name in ("threshold", "borrow_max", "initial", "maintenance", "penalty"):
            value: float | None = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                what = "must be a share within 0..1"
                hint = f"{value / 100:g}, if {value:g} is per cent" if 1 < value <= 100 else None
                raise ConfigInvalid(
                    where=f"{where}.{name}", what=what, found=f"{value:g}", hint=hint
                )
        for name in ("depth", "daily_volume", "daily_volatility"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < float("inf"):
                raise ConfigInvalid(
                    where=f"{where}.{name}", what="must be finite and >= 0", found=f"{value:g}"
                )
        for less, more in (("maintenance", "initial"), ("borrow_max", "threshold")):
            low, high = getattr(self, less), getattr(self, more)
            if low is not None and high is not None and low > high:
                raise ConfigInvalid(
                    where=f"{where}.{less}",
                    what=f"must not lie above {more}",
                    found=f"{low:g} above {high:g}",
                )


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of parameters; what it leaves out is inferred, or refused where nothing can be."""

    numeraire: str | None = None
    leverage: float | None = None  # of accounts whose table has neither balance nor equity
    depth_of_interest: float | None = None  # depth over open interest (loans: over collateral)
    all: GivenMarket = GivenMarket()
    instruments: dict[str, GivenMarket] = {}

    def __post_init__(self) -> None:
        """Refuse what no book and no market can have."""
        if self.leverage is not None and not 0.0 < self.leverage <= 1_000.0:
            raise ConfigInvalid(
                where="parameters: leverage",
                what="must lie within 0..1000, notional over equity",
                found=f"{self.leverage:g}",
            )
        share = self.depth_of_interest
        if share is not None and not 0.0 < share <= 10.0:
            raise ConfigInvalid(
                where="parameters: depth_of_interest",
                what="must lie within 0..10",
                found=f"{share:g}",
            )
        self.all.prove("parameters: all")
        for symbol, market in self.instruments.items():
            market.prove(f"parameters: instruments.{symbol}")

    def of(self, symbol: str, name: str) -> float | None:
        """Return what is given of an instrument: its own word, or the one for all."""
        own: float | None = getattr(self.instruments.get(symbol, self.all), name)
        return getattr(self.all, name) if own is None else own

    def text_of(self, symbol: str, name: str) -> str | None:
        """Return a size that is given as text; there is none for all instruments."""
        found: str | None = getattr(self.instruments.get(symbol, GivenMarket()), name)
        return found


def read_parameters(path: Path) -> Given:
    """Read a TOML file of parameters; raise ConfigInvalid, naming file and key."""
    return decode_toml(path, Given)


def read_prices(path: Path) -> dict[str, float]:
    """Read a table (instrument, price); refuse two prices of one instrument."""
    sheet = read_table(path)
    columns = sheet.table.column_names
    found = recognised(columns, PRICES)
    required(sheet.file, columns, found, PRICES, "instrument", "mark")
    price = numbers(sheet, found["mark"])
    sheet.refuse_first(price <= 0.0, found["mark"], "a price must be above 0")
    prices: dict[str, float] = {}
    names = texts(sheet, found["instrument"])
    for row, (name, value) in enumerate(zip(names, price.tolist(), strict=True)):
        first = prices.setdefault(name, value)
        if value != first:
            what = f"one price an instrument: {name} stood at {first:g} before"
            sheet.refuse(row, found["mark"], what, f"{value:g}", "keep the row that holds")
    return prices


def refuse_strange_prices(prices: Mapping[str, float], known: Iterable[str]) -> None:
    """Refuse prices of what the book does not have: the one that was meant goes without."""
    own = dict.fromkeys(known)
    for name in prices:
        if name not in own:
            raise ConfigInvalid(
                where=f"prices: {name}",
                what="must be an instrument of the book, spelt as it is there",
                found=repr(name),
                hint=nearest(name, list(own)),
            )


def refuse_unpriced(
    file: str, missing: list[str], row: int | None = None, otherwise: str = ""
) -> None:
    """Refuse instruments that nobody priced, with the ways to price them."""
    if missing:
        place = "" if row is None else f": row {row:_}"
        listed = ", ".join(missing[:12]) + (", ..." if len(missing) > 12 else "")
        raise RecordingInvalid(
            where=f"{file}{place}",
            what="everything that is held or owed must have a price",
            found=f"none for {listed}",
            hint="; ".join(filter(None, (PRICES_HINT, otherwise))),
        )
