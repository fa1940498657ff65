"""A table of positions: quantities with a sign or a side, entries, marks, and what backs them."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from tidegate.domain.errors import RecordingInvalid
from tidegate.drivers.recording_sheet import Sheet
from tidegate.lab.tables.cells import F64, numbers, texts
from tidegate.lab.tables.draft import Draft, plural
from tidegate.lab.tables.given import Given, refuse_strange_prices, refuse_unpriced
from tidegate.lab.tables.names import AT_MARK, POSITIONS, recognised, required, squeezed


SIDES: Final = {
    **dict.fromkeys(("long", "buy", "b", "l", "bid", "1"), 1.0),
    **dict.fromkeys(("short", "sell", "s", "a", "ask", "-1"), -1.0),
    **dict.fromkeys(("both", "net"), 0.0),  # one position for both sides: its sign is its side
}
AGREE = 1e-6  # relative: how far two numbers for the same thing may lie apart
NUMERAIRE = "USD"


def positions(sheet: Sheet, prices: Mapping[str, float], given: Given) -> Draft:
    """Return the draft of a positions table; refuse the row that cannot be what it says."""
    columns: list[str] = sheet.table.column_names
    found = recognised(columns, POSITIONS)
    required(sheet.file, columns, found, POSITIONS, "account", "instrument", "quantity")
    draft = Draft(file=sheet.file, loans=False, numeraire=given.numeraire or NUMERAIRE)
    draft.note(
        "columns read: " + ", ".join(f"{ours} from {theirs}" for ours, theirs in found.items())
    )
    account = texts(sheet, found["account"])
    symbol = texts(sheet, found["instrument"])
    refuse_strange_prices(prices, symbol)
    quantity = _signed(sheet, found)
    mark = _marks(sheet, found, symbol, quantity, prices, draft)
    entry = _entries(sheet, found, mark, quantity, draft)
    _refuse_twice(sheet, found, account, symbol, quantity)
    held = np.flatnonzero(quantity)
    if not held.size:
        raise RecordingInvalid(
            where=sheet.file, what="must hold an open position", found="only quantities of zero"
        )
    if held.size < sheet.rows:
        draft.note(f"{plural(sheet.rows - held.size, 'row')} without a position left out")
    for row in held.tolist():
        draft.hold(account[row], symbol[row], float(quantity[row]), float(entry[row]), row)
    _back(sheet, found, account, quantity, entry, mark, given, draft)
    return draft


def _signed(sheet: Sheet, found: Mapping[str, str]) -> F64:
    """Return quantities with their sign, from a side where there is a column for it."""
    name = found["quantity"]
    quantity = numbers(sheet, name)
    if "side" not in found:
        return quantity
    column = found["side"]
    sign = np.zeros(sheet.rows)
    for row, text in enumerate(texts(sheet, column)):
        side = SIDES.get(text.lower())
        if side is None:
            what = "must be long or short (or buy, sell; both or net where quantities have a sign)"
            sheet.refuse(row, column, what, repr(text))
        sign[row] = side
    against = (quantity < 0) & (sign > 0)
    sheet.refuse_first(against, name, "a long must not be negative", hint="or leave the side out")
    return np.where(sign == 0.0, quantity, np.abs(quantity) * sign)


def _marks(
    sheet: Sheet,
    found: Mapping[str, str],
    symbol: list[str],
    quantity: F64,
    prices: Mapping[str, float],
    draft: Draft,
) -> F64:
    """Return each row's mark: the operator's price, or the one price that the table has."""
    own = np.full(sheet.rows, np.nan)
    if "mark" in found:
        own = numbers(sheet, found["mark"], empty=True)
        sheet.refuse_first(own <= 0.0, found["mark"], "a price must be above 0")
    seen: dict[str, float] = {}
    for row, (name, price) in enumerate(zip(symbol, own.tolist(), strict=True)):
        if name in prices or np.isnan(price):
            continue
        first = seen.setdefault(name, price)
        if abs(price - first) > AGREE * first:
            what = f"one price an instrument: {name} stood at {first:g} before"
            hint = "give --prices FILE to say which one holds"
            sheet.refuse(row, found["mark"], what, f"{price:g}", hint)
    draft.price = {s: prices.get(s, seen.get(s, 0.0)) for s in dict.fromkeys(symbol)}
    marks = np.array([draft.price[s] for s in symbol])
    lost = np.flatnonzero((marks == 0.0) & (quantity != 0.0))
    missing = list(dict.fromkeys(symbol[row] for row in lost.tolist()))
    refuse_unpriced(sheet.file, missing, int(lost[0]) if lost.size else None)
    draft.price = {s: p for s, p in draft.price.items() if p}
    used = [s for s in draft.price if s in prices]
    if used:
        draft.note(f"prices given by a file: {plural(len(used), 'instrument')}")
    if "volume" in found:
        volume = numbers(sheet, found["volume"], empty=True)
        sheet.refuse_first(volume < 0.0, found["volume"], "must not be negative")
        known = zip(symbol, volume.tolist(), strict=True)
        draft.volume = {s: v for s, v in known if not np.isnan(v) and s in draft.price}
    return marks


def _entries(sheet: Sheet, found: Mapping[str, str], mark: F64, quantity: F64, draft: Draft) -> F64:
    """Return each row's entry price; where there is none, the mark: no profit, no loss so far."""
    entry = np.full(sheet.rows, np.nan)
    if "entry" in found:
        entry = numbers(sheet, found["entry"], empty=True)
        sheet.refuse_first(entry <= 0.0, found["entry"], "a price must be above 0")
    unknown = np.isnan(entry) & (quantity != 0.0)
    if unknown.any():
        count = plural(int(unknown.sum()), "position")
        draft.note(f"{count} without an entry price: opened at the mark, so no profit or loss yet")
    return np.where(np.isnan(entry), mark, entry)


def _refuse_twice(
    sheet: Sheet,
    found: Mapping[str, str],
    account: list[str],
    symbol: list[str],
    quantity: F64,
) -> None:
    seen: dict[tuple[str, str], int] = {}
    for row, pair in enumerate(zip(account, symbol, strict=True)):
        if not quantity[row]:
            continue
        first = seen.setdefault(pair, row)
        if first != row:
            what = f"an account has one position an instrument, and row {first:_} holds it"
            hint = "sum the rows first; two sides of one account net on this engine's ledger"
            sheet.refuse(row, found["account"], what, f"{pair[0]}, {pair[1]}", hint)


def _back(
    sheet: Sheet,
    found: Mapping[str, str],
    account: list[str],
    quantity: F64,
    entry: F64,
    mark: F64,
    given: Given,
    draft: Draft,
) -> None:
    """Give every account its cash: from balances, equity, margins, leverage, or a parameter."""
    profit = (mark - entry) * quantity
    size = np.abs(quantity) * mark
    if "balance" in found:
        draft.cash |= _once(sheet, found["balance"], account, draft)
        return
    if "equity" in found:
        own = _once(sheet, found["equity"], account, draft)
        gained = _summed(account, profit)
        draft.cash |= {a: e - gained.get(a, 0.0) for a, e in own.items()}
        draft.note("balances are the equity of the table less profit and loss at the mark")
        return
    if "margin" in found:
        column = found["margin"]
        margin = numbers(sheet, column, empty=True)
        sheet.refuse_first(margin < 0.0, column, "must not be negative")
        _refuse_empty(sheet, column, margin, quantity)
        at_mark = squeezed(column) in AT_MARK
        given_margin = np.nan_to_num(margin) - (profit if at_mark else 0.0)
        said = (
            f"an account's equity at the mark is taken to be the sum of {column} over its "
            "positions, a requirement: what else backs it is not in the table"
            if at_mark
            else f"balances are the sum of {column} over an account's positions, taken as posted: "
            "profit and loss come on top"
        )
    elif "leverage" in found:
        column = found["leverage"]
        leverage = numbers(sheet, column, empty=True)
        sheet.refuse_first(leverage <= 0.0, column, "must be above 0")
        _refuse_empty(sheet, column, leverage, quantity)
        given_margin = size / np.where(np.isnan(leverage), 1.0, leverage) - profit
        said = (
            "an account's equity at the mark is taken to be its notional there over the leverage "
            "of the table, summed over its positions: what else backs it is not in the table"
        )
    elif given.leverage is not None:
        given_margin = size / given.leverage - profit
        said = (
            f"the table says nothing of balances: every account's equity is assumed to be its "
            f"notional over {given.leverage:g} (parameter leverage)"
        )
    else:
        raise RecordingInvalid(
            where=sheet.file,
            what="must have a column for balance, equity, margin or leverage",
            found=f"columns {', '.join(sheet.table.column_names)}",
            hint="or assume one: --parameters FILE with the line `leverage = 10`",
        )
    draft.cash |= {a: c for a, c in _summed(account, given_margin).items() if a in draft.cash}
    draft.note(said)


def _refuse_empty(sheet: Sheet, column: str, values: F64, quantity: F64) -> None:
    empty = np.isnan(values) & (quantity != 0.0)
    hint = "fill it in; where equity or balances are known, a column of those stands for all rows"
    sheet.refuse_first(empty, column, "an open position must have a value here", hint=hint)


def _summed(account: list[str], amounts: F64) -> dict[str, float]:
    total: dict[str, float] = {}
    for name, amount in zip(account, amounts.tolist(), strict=True):
        total[name] = total.get(name, 0.0) + amount
    return total


def _once(sheet: Sheet, column: str, account: list[str], draft: Draft) -> dict[str, float]:
    """Return a number that every row of an account repeats; refuse two that differ."""
    values = numbers(sheet, column, empty=True)
    own: dict[str, float] = {}
    for row, (name, value) in enumerate(zip(account, values.tolist(), strict=True)):
        if np.isnan(value):
            continue
        first = own.setdefault(name, value)
        if abs(value - first) > AGREE * max(1.0, abs(first)):
            what = f"must be the same in every row of {name}, which had {first:g}"
            sheet.refuse(row, column, what, f"{value:g}")
    for row, name in enumerate(account):
        if name in draft.cash and name not in own:
            sheet.refuse(row, column, "an account with a position must have one", "an empty cell")
    return own


def matched(draft: Draft, balance_with: str | None) -> None:
    """Refuse longs and shorts that do not match, or put the rest into an account of the house."""
    if balance_with is not None and balance_with in draft.cash:
        rows = zip(draft.account, draft.row, strict=True)
        row = next((f": row {row:_}" for name, row in rows if name == balance_with), "")
        raise RecordingInvalid(
            where=f"{draft.file}{row}",
            what="an account must not bear the name of the one that takes the rest",
            found=repr(balance_with),
            hint="rename it in the table, or leave --balance-with out",
        )
    for symbol in draft.symbols:
        longs, shorts = draft.sides(symbol)
        rest = longs - shorts
        if abs(rest) <= AGREE * max(longs, shorts):
            continue
        if balance_with is None:
            raise RecordingInvalid(
                where=f"{draft.file}: instrument {symbol}",
                what="what is long must be short elsewhere",
                found=f"{longs:,.10g} long and {shorts:,.10g} short",
                hint=f"complete it: --balance-with house gives {abs(rest):,.6g} to an account of "
                "the house",
            )
        price = draft.price[symbol]
        draft.hold(balance_with, symbol, -rest, price, -1)
        # As much as the position is worth: nothing short of a doubling of the price touches it.
        draft.cash[balance_with] += abs(rest) * price
        side = "short" if rest > 0 else "long"
        draft.note(
            f"{symbol}: {longs:,.6g} long against {shorts:,.6g} short; the account {balance_with} "
            f"takes {abs(rest):,.6g} {side} with equity as large as its size"
        )
