"""A table of loans: what each account has pledged and what it owes, one row a debt or a loan."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.drivers.recording_sheet import Sheet
from tidegate.lab.tables.cells import F64, numbers, texts
from tidegate.lab.tables.draft import Draft, plural
from tidegate.lab.tables.given import Given, refuse_strange_prices, refuse_unpriced
from tidegate.lab.tables.names import LOANS, STABLE, WORTHS, recognised, required, squeezed


NUMERAIRE = "USD"
WORTH = "COLLATERAL"  # where a table gives the worth of collateral and not what it is
AGREE = 0.01  # relative: how far a health factor of the table may lie from ours before it is told


@dataclass(slots=True)
class _Rows:
    """The columns of a loans table, read and found possible one by one."""

    account: list[str]
    pledged: list[str]  # asset of the collateral
    owed: list[str]  # asset of the debt
    collateral: F64
    debt: F64


def loans(
    sheet: Sheet, prices: Mapping[str, float], given: Given, leave_out: Collection[str]
) -> Draft:
    """Return the draft of a loans table; refuse the row that cannot be what it says."""
    columns: list[str] = sheet.table.column_names
    found = recognised(columns, LOANS)
    required(sheet.file, columns, found, LOANS, "account", "collateral", "debt")
    draft = Draft(file=sheet.file, loans=True, numeraire=given.numeraire or NUMERAIRE)
    draft.note(
        "columns read: " + ", ".join(f"{ours} from {theirs}" for ours, theirs in found.items())
    )
    rows = _read(sheet, found, draft)
    _once_each(sheet, rows, draft)
    _price(sheet, found, rows, prices, draft)
    _unpriced(sheet, rows, draft, leave_out)
    _as_quantities(sheet, found, rows, draft)
    _hold(rows, draft)
    _thresholds(sheet, found, rows, draft)
    return draft


def _read(sheet: Sheet, found: Mapping[str, str], draft: Draft) -> _Rows:
    account = texts(sheet, found["account"])
    if "market" in found:
        # Loans of one account in two markets do not stand in for one another.
        market = texts(sheet, found["market"])
        if len(set(market)) > 1:
            account = [f"{a}/{m}" for a, m in zip(account, market, strict=True)]
            draft.note("an account's loans in several markets are accounts of their own")
    amounts: dict[str, F64] = {}
    for name in ("collateral", "debt"):
        amounts[name] = numbers(sheet, found[name])
        sheet.refuse_first(amounts[name] < 0.0, found[name], "must not be negative")
    if "collateral_asset" in found:
        pledged = texts(sheet, found["collateral_asset"])
    else:
        pledged = [WORTH] * sheet.rows
        draft.note(
            "the collateral has no asset: its column is taken as a worth in the unit of the debt, "
            f"held as one asset {WORTH} at price 1; worlds move all of it together"
        )
    plain = [draft.numeraire] * sheet.rows
    owed = texts(sheet, found["debt_asset"]) if "debt_asset" in found else plain
    # An asset is the same however a row spells it: wBTC and WBTC.
    spelt: dict[str, str] = {}
    pledged = [spelt.setdefault(asset.upper(), asset) for asset in pledged]
    owed = [spelt.setdefault(asset.upper(), asset) for asset in owed]
    return _Rows(account, pledged, owed, amounts["collateral"], amounts["debt"])


def _price(
    sheet: Sheet, found: Mapping[str, str], rows: _Rows, prices: Mapping[str, float], draft: Draft
) -> None:
    """Price every asset: by file, by column, dollars one for one; refuse what is left."""
    known = dict.fromkeys([*rows.pledged, *rows.owed])
    prices = _as_spelt(prices, known)
    refuse_strange_prices(prices, known)
    for assets, column in ((rows.pledged, "collateral_price"), (rows.owed, "debt_price")):
        if column in found:
            own = numbers(sheet, found[column], empty=True)
            sheet.refuse_first(own <= 0.0, found[column], "a price must be above 0")
            for asset, price in zip(assets, own.tolist(), strict=True):
                if not np.isnan(price):
                    draft.price.setdefault(asset, price)
    draft.price |= prices
    dollars = [a for a in known if a.upper() in STABLE and a not in draft.price]
    if draft.numeraire.upper() in STABLE and set(dollars) - {draft.numeraire}:
        draft.note(
            f"taken as one {draft.numeraire} each, and as cash: {', '.join(sorted(dollars))}"
        )
    alias = dict.fromkeys(dollars if draft.numeraire.upper() in STABLE else [], draft.numeraire)
    rows.pledged = [alias.get(a, a) for a in rows.pledged]
    rows.owed = [alias.get(a, a) for a in rows.owed]
    if WORTH in rows.pledged:
        draft.price.setdefault(WORTH, 1.0)
    draft.price.pop(draft.numeraire, None)
    assets = dict.fromkeys([*rows.pledged, *rows.owed])
    draft.price = {a: draft.price[a] for a in assets if a in draft.price}


def _as_spelt(prices: Mapping[str, float], known: Iterable[str]) -> dict[str, float]:
    """Return prices under the names of the table; refuse two of one asset that differ."""
    own = {asset.upper(): asset for asset in known}
    found: dict[str, float] = {}
    for name, price in prices.items():
        asset = own.get(name.upper(), name)
        first = found.setdefault(asset, price)
        if price != first:
            raise ConfigInvalid(
                where=f"prices: {name}",
                what=f"one price an asset: {asset} stood at {first:g} before",
                found=f"{price:g}",
                hint="case makes no other asset: keep the one that holds",
            )
    return found


def _unpriced(sheet: Sheet, rows: _Rows, draft: Draft, leave_out: Collection[str]) -> None:
    """Refuse assets without a price, or leave out every loan of the accounts that have any."""
    assets = dict.fromkeys([*rows.pledged, *rows.owed])
    lost = [a for a in assets if a not in draft.price and a != draft.numeraire]
    pairs = list(zip(rows.pledged, rows.owed, strict=True))
    bad = [n for n, pair in enumerate(pairs) if set(pair) & set(lost)]
    if not bad:
        return
    if "unpriced" not in leave_out:
        refuse_unpriced(sheet.file, lost, bad[0], "or --leave-out unpriced goes on without them")
    names = {rows.account[n] for n in bad}
    gone = np.array([name in names for name in rows.account])
    if gone.all():
        refuse_unpriced(sheet.file, lost, bad[0])
    rows.collateral[gone] = rows.debt[gone] = 0.0
    draft.note(
        f"{plural(len(names), 'account')} with assets that nobody priced left out: "
        f"{', '.join(lost)}"
    )


def _as_quantities(sheet: Sheet, found: Mapping[str, str], rows: _Rows, draft: Draft) -> None:
    """Divide what a column says an asset is worth by its price: the row's own, or the book's."""
    for name, assets, amounts in (
        ("collateral", rows.pledged, rows.collateral),
        ("debt", rows.owed, rows.debt),
    ):
        if squeezed(found[name]) not in WORTHS or f"{name}_asset" not in found:
            continue
        price = np.array([draft.price.get(asset, 1.0) for asset in assets])
        if f"{name}_price" in found:
            own = numbers(sheet, found[f"{name}_price"], empty=True)
            price = np.where(np.isnan(own), price, own)
        np.divide(amounts, price, out=amounts)
        draft.note(
            f"{found[name]} is taken as a worth in {draft.numeraire}: divided by the price (the "
            f"row's own, or else the book's) it gives how much {name} there is"
        )


def _once_each(sheet: Sheet, rows: _Rows, draft: Draft) -> None:
    """Count every amount once, in place.

    Tables of debts repeat an account's collateral on each of its debts, and tables joined over
    collateral repeat a debt beside each asset. The same amount under the same account and asset is
    the same thing. Where an account's collateral is one number for several assets, it is a total,
    counted under the first. A row that repeats another one whole is refused.
    """
    amounts: dict[str, dict[str, set[float]]] = {}
    for name, asset, amount in zip(
        rows.account, rows.pledged, rows.collateral.tolist(), strict=True
    ):
        amounts.setdefault(name, {}).setdefault(asset, set()).add(amount)
    total = {
        name
        for name, by in amounts.items()
        if len(by) > 1 and len({amount for some in by.values() for amount in some}) == 1
    }
    pledged: set[tuple[str, str, float]] = set()
    owed: dict[tuple[str, str, float], set[str]] = {}
    again, twice = 0, 0
    for n, name in enumerate(rows.account):
        asset, held, due = rows.pledged[n], float(rows.collateral[n]), float(rows.debt[n])
        key = (name, "" if name in total else asset, held)
        beside = owed.setdefault((name, rows.owed[n], due), set())
        if asset in beside:
            what = "repeats another row whole"
            sheet.refuse(n, sheet.table.column_names[0], what, name, "keep one row of each")
        if key in pledged:
            again += held > 0.0
            rows.collateral[n] = 0.0
        if beside:
            twice += due > 0.0
            rows.debt[n] = 0.0
        pledged.add(key)
        beside.add(asset)
    if again:
        draft.note(
            f"collateral repeated on {plural(again, 'further row')} of its account is counted once"
        )
    if total:
        draft.note(
            f"{plural(len(total), 'account')} with one amount under several collateral assets: "
            "taken as a total, under the first asset"
        )
    if twice:
        draft.note(f"debt repeated on {plural(twice, 'further row')} of its account: counted once")


def _hold(rows: _Rows, draft: Draft) -> None:
    """Sum holdings and debts by account and asset; the numeraire is cash."""
    sums: dict[tuple[str, str], float] = {}
    first: dict[tuple[str, str], int] = {}
    for n, name in enumerate(rows.account):
        for asset, amount in ((rows.pledged[n], rows.collateral[n]), (rows.owed[n], -rows.debt[n])):
            sums[name, asset] = sums.get((name, asset), 0.0) + float(amount)
            first.setdefault((name, asset), n)
    for (name, asset), amount in sums.items():
        if amount and asset == draft.numeraire:
            draft.cash[name] = draft.cash.get(name, 0.0) + amount
        elif amount:
            draft.hold(name, asset, amount, 0.0, first[name, asset])


def _thresholds(sheet: Sheet, found: Mapping[str, str], rows: _Rows, draft: Draft) -> None:
    """Keep one liquidation threshold an asset: the median by worth of what the table says."""
    if "threshold" not in found:
        draft.note("the table has no liquidation thresholds: those of each stack hold")
        return
    column = found["threshold"]
    given = numbers(sheet, column)
    most = float(given.max())
    unit = 10_000.0 if most > 100.0 else 100.0 if most > 1.0 else 1.0
    share = given / unit
    sheet.refuse_first((share < 0.0) | (share > 1.0), column, "must be a share, per cent or bps")
    for asset in dict.fromkeys(rows.pledged):
        here = [n for n, a in enumerate(rows.pledged) if a == asset and rows.collateral[n] > 0.0]
        if not here or asset not in draft.price:
            continue
        own, worth = share[here], rows.collateral[here]
        order = np.argsort(own, kind="stable")
        heavy = np.cumsum(worth[order]) >= worth.sum() / 2.0
        draft.threshold[asset] = float(own[order][int(np.argmax(heavy))])
        apart = int(np.sum(np.abs(own - draft.threshold[asset]) > AGREE))
        draft.note(
            f"{asset}: liquidation threshold {100 * draft.threshold[asset]:g} %, the median by "
            f"worth; {apart:,} of {plural(len(here), 'row')} differ by more than a point and are "
            "held to it all the same"
        )
