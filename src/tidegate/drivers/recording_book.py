"""Who holds what at the first moment: accounts, positions and loans become one `BookImported`.

Names take rows in order of first appearance: accounts, positions, loans, their sub-accounts, flows.
An isolated position is the sub-account "ACCOUNT/SYMBOL"; where one account has loans in several
markets, each market is "ACCOUNT/MARKET". Both belong to ACCOUNT, and flows and liquidations may
name them. Accounts that first act in flows are there from the start, with nothing.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.events import BookImported
from tidegate.domain.instrument import CASH, Spot
from tidegate.domain.units import I64, Nanos, pack
from tidegate.domain.venue import Venue
from tidegate.drivers import recording_door as door
from tidegate.drivers.recording_sheet import Sheet


class Columns(NamedTuple):
    """Amounts by account: an index into the names, an asset or instrument, lots, entry ticks."""

    account: I64
    asset: I64
    lots: I64
    entry: I64


@dataclass
class Names:
    """Every account of a recording, in row order, and the owners of sub-accounts."""

    names: list[str] = field(default_factory=list[str])
    owner: list[int] = field(default_factory=list[int])
    place: dict[str, int] = field(default_factory=dict[str, int])
    split: frozenset[int] = frozenset()  # accounts whose loans live in sub-accounts

    def add(self, name: str, owner: int = -1) -> int:
        """Return the index of ``name``, making it new at the end if need be."""
        found = self.place.setdefault(name, len(self.names))
        if found == len(self.names):
            self.names.append(name)
            self.owner.append(found if owner < 0 else owner)
        return found

    def add_under(self, owner: int, label: str, sheet: Sheet, row: int) -> int:
        """Return the index of the sub-account "OWNER/label", making it new if need be."""
        name = f"{self.names[owner]}/{label}"
        found = self.add(name, owner)
        if self.owner[found] != owner:
            what = "this name is needed for a sub-account, and must not be an account of its own"
            sheet.refuse(row, "account", what, repr(name), "rename one of the two")
        return found

    def add_all(self, sheet: Sheet | None) -> I64:
        """Return the index of every row's account, adding the new ones in file order."""
        if sheet is None:
            return np.zeros(0, np.int64)
        codes, values = sheet.texts("account")
        if "" in values:
            sheet.refuse_first(codes == values.index(""), "account", "must have a name")
        fresh = [value for value in values if value not in self.place]
        rows = range(len(self.names), len(self.names) + len(fresh))
        self.place.update(zip(fresh, rows, strict=True))
        self.names.extend(fresh)
        self.owner.extend(rows)
        return np.fromiter(map(self.place.__getitem__, values), np.int64, len(values))[codes]


@dataclass(frozen=True)
class OpeningBook:
    """The columns of `BookImported`, in ledger units."""

    names: Names
    listed: int  # the first names are those of the opening book, the others come with flows
    cash: I64
    holdings: Columns

    def event(self, ts: int) -> BookImported:
        """Return the book as the first event of a history."""
        return BookImported(
            ts=Nanos(ts),
            names=tuple(self.names.names),
            owner=pack(np.array(self.names.owner, np.int64)),
            cash=pack(self.cash),
            account=pack(self.holdings.account),
            instrument=pack(self.holdings.asset),
            lots=pack(self.holdings.lots),
            entry=pack(self.holdings.entry),
        )


def opening_book(sheets: dict[str, Sheet], venue: Venue, scales: door.Scales) -> OpeningBook:
    """Return the book of the first moment; refuse what does not fit the venue or its limits."""
    names = Names()
    listed = {f: names.add_all(sheets.get(f)) for f in ("accounts", "positions", "loans")}
    columns = [
        *_balances(sheets.get("accounts"), listed["accounts"], venue, scales),
        *_positions(sheets.get("positions"), listed["positions"], names, venue, scales),
        *_loans(sheets.get("loans"), listed["loans"], names, venue, scales),
    ]
    opening = len(names.names)
    names.add_all(sheets.get("flows"))
    account, asset, lots, entry = (
        np.concatenate([np.zeros(0, np.int64), *(part[n] for part in columns)]) for n in range(4)
    )
    is_cash = asset == CASH
    cash = np.zeros(len(names.names), np.int64)
    np.add.at(cash, account[is_cash], lots[is_cash])
    held = Columns(*(column[~is_cash] for column in (account, asset, lots, entry)))
    book = OpeningBook(names, opening, cash, _merged(held))
    _prove_range(book, venue)
    return book


def _balances(
    sheet: Sheet | None, account: I64, venue: Venue, scales: door.Scales
) -> list[Columns]:
    if sheet is None:
        return []
    asset = door.assets(sheet, "asset", venue)
    sheet.unique((account, asset), ("account", "asset"), "an account has one balance per asset")
    # A negative balance is a debt; every asset may be owed.
    lots = door.quantities(sheet, "balance", scales, asset, signed=True)
    return [Columns(account, asset, lots, np.zeros_like(lots))]


def _positions(
    sheet: Sheet | None, account: I64, names: Names, venue: Venue, scales: door.Scales
) -> list[Columns]:
    if sheet is None:
        return []
    symbols = [i.symbol for i in venue.instruments]
    instrument = sheet.lookup("instrument", symbols, "must name an instrument of venue.toml")
    spot = np.array([isinstance(i, Spot) for i in venue.instruments])
    sheet.refuse_first(
        spot[instrument],
        "instrument",
        "a position must be in a derivative",
        hint="balances of spot assets go into accounts.parquet, loans into loans.parquet",
    )
    what = "an account has one position per instrument"
    sheet.unique((account, instrument), ("account", "instrument"), what)
    lots = door.quantities(sheet, "quantity", scales, instrument, signed=True)
    sheet.refuse_first(lots == 0, "quantity", "a position must hold at least one lot")
    entry = door.prices(sheet, "entry_price", venue, scales, instrument)
    if not sheet.has("isolated_margin"):
        return [Columns(account, instrument, lots, entry)]
    margin = door.money(sheet, "isolated_margin", scales)
    sheet.refuse_first(margin < 0, "isolated_margin", "must not be negative")
    account = account.copy()
    isolated = np.flatnonzero(margin > 0)
    for row in isolated.tolist():
        owner = int(account[row])
        account[row] = names.add_under(owner, symbols[int(instrument[row])], sheet, row)
    none = np.zeros(isolated.size, np.int64)
    cash = Columns(account[isolated], none + CASH, margin[isolated], none)
    return [Columns(account, instrument, lots, entry), cash]


def _loans(
    sheet: Sheet | None, account: I64, names: Names, venue: Venue, scales: door.Scales
) -> list[Columns]:
    if sheet is None:
        return []
    market, markets = sheet.texts("market")
    collateral = door.assets(sheet, "collateral_asset", venue)
    debt = door.assets(sheet, "debt_asset", venue)
    keys = ("account", "market", "collateral_asset", "debt_asset")
    what = "a market has one loan per account and pair of assets"
    sheet.unique((account, market, collateral, debt), keys, what)
    seized = door.quantities(sheet, "collateral", scales, collateral)
    owed = door.quantities(sheet, "debt", scales, debt)
    pairs = np.unique(np.stack([account, market]), axis=1)
    owners, counts = np.unique(pairs[0], return_counts=True)
    names.split = frozenset(owners[counts > 1].tolist())
    holder = account.copy()
    for row in np.flatnonzero(np.isin(account, list(names.split))).tolist():
        owner = int(account[row])
        holder[row] = names.add_under(owner, markets[int(market[row])], sheet, row)
    none = np.zeros(sheet.rows, np.int64)
    return [Columns(holder, collateral, seized, none), Columns(holder, debt, -owed, none)]


def _merged(held: Columns) -> Columns:
    """Return one row per account and asset, in that order, without empty ones."""
    if not held.account.size:
        return held
    order = np.lexsort((held.asset, held.account))
    account, asset, lots, entry = (column[order] for column in held)
    new = np.r_[True, (np.diff(account) != 0) | (np.diff(asset) != 0)]
    first = np.flatnonzero(new)
    total: I64 = np.add.reduceat(lots, first)
    assert np.all(np.abs(np.add.reduceat(lots.astype(float), first)) < 2.0**62)
    keep = total != 0
    return Columns(account[first][keep], asset[first][keep], total[keep], entry[first][keep])


def _prove_range(book: OpeningBook, venue: Venue) -> None:
    names, held = book.names.names, book.holdings
    limits = venue.limits
    rows = len(names) + FIRST_USER
    if rows > limits.accounts_max:
        raise RecordingInvalid(
            where="venue.toml: limits.accounts_max",
            what=f"must hold {len(names):_} accounts and {FIRST_USER} of the venue's own",
            found=f"{limits.accounts_max:_}",
            hint=f"accounts_max = {rows:_} would fit",
        )
    rich = np.flatnonzero(np.abs(book.cash) > limits.balance_max)
    if rich.size:
        row = int(rich[0])
        raise RecordingInvalid(
            where=f"accounts.parquet: account {names[row]}",
            what=f"cash must lie within balance_max = {limits.balance_max:_} Money",
            found=f"{int(book.cash[row]):_}",
            hint=f"balance_max = {int(np.abs(book.cash).max()):_} would fit, if the unit is right",
        )
    most = np.array([i.lots_max for i in venue.instruments], np.int64)
    large = np.flatnonzero(np.abs(held.lots) > most[held.asset])
    if large.size:
        row = int(large[0])
        traded = venue.instruments[int(held.asset[row])]
        raise RecordingInvalid(
            where=f"positions.parquet: account {names[int(held.account[row])]}, {traded.symbol}",
            what=f"a holding must lie within lots_max = {traded.lots_max:_}",
            found=f"{int(held.lots[row]):_} lots",
            hint=f"lots_max = {abs(int(held.lots[row])):_} would fit, if the unit is right",
        )
    for n, traded in enumerate(venue.instruments):
        lots: list[int] = held.lots[held.asset == n].tolist()
        side = max(sum(x for x in lots if x > 0), -sum(x for x in lots if x < 0))
        if side > traded.lots_open_max():
            raise RecordingInvalid(
                where=f"venue.toml: instrument.{traded.symbol}.open_interest_max",
                what="must hold one side of the book",
                found=f"{traded.lots_open_max():_}",
                hint=f"open_interest_max = {side:_} would fit",
            )
