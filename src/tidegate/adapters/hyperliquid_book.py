"""Who stood where at the beginning of Hyperliquid's 2025-10-10, reconstructed account by account.

The position table holds what was left at the end. What an account had at the beginning follows from
what it realised, ``R``, in four groups; numbers in capitals are solved for, not chosen.

* **Deleveraged shorts.** R over the relative profit is the closed notional. Half of the accounts
  are in `adl_by_user`, with notional, relative profit and cash; the others take the relative profit
  and the cash ratio of the account there whose R is nearest, times one factor K, so that all
  notionals sum to the published bursts. A position that was open before the window was entered near
  or above the price at its beginning, so small relative profits belong to early bursts: accounts
  are dealt to bursts by rising relative profit. Entry = burst price x (1 + relative profit).
* **Liquidated longs.** R = lots x (liquidation price - entry). The lots taken over are those that
  were deleveraged (times ``liquidated_share``), which gives one ENTRY for all. Liquidation prices
  lie between one burst's price and the next, in proportion to what each burst closed; cash makes
  equity two thirds of maintenance there, which is where the backstop takes over.
* **Others, open at the end.** They hold their end-of-window size from the beginning, at the mean
  entry of their side, with cash that survives the recorded low.
* **Left out.** Accounts that were flat before the window, longs that were deleveraged and shorts
  that were liquidated on the way back up: few lots and no size; counted in the notes.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from tidegate.adapters.arrow import Table, pa
from tidegate.adapters.hyperliquid import F64, Burst, Knobs, PricePath, as_floats, floats, numbers
from tidegate.domain.units import I64


LOT: Final = 0.01
MAINTENANCE: Final = 0.025  # half of the initial margin at the coin's greatest leverage, 20
TAKEOVER: Final = 2.0 / 3.0  # share of maintenance at which the backstop takes a position over
SURVIVAL: Final = 1.05  # equity over maintenance at the recorded low, at least, of those who lived


class Closing(NamedTuple):
    """Part of a position that was closed by force: whose, when, signed lots, price, how."""

    account: str
    ts: int
    quantity: float
    price: float
    kind: str


class Holding(NamedTuple):
    """One account at the beginning."""

    account: str
    quantity: float  # signed, in coins
    entry: float
    cash: float


class Reconstruction(NamedTuple):
    """The book at the beginning, what really happened to it, and what it took to get there."""

    holdings: list[Holding]
    closings: list[Closing]
    facts: dict[str, float]


class Groups(NamedTuple):
    """Rows of the position table, by what became of them."""

    account: list[str]
    long: Any
    realised: F64
    size: F64
    shorts: I64  # deleveraged
    longs: I64  # liquidated
    others: I64
    backstop: str


class Donors(NamedTuple):
    """Accounts whose only deleveraging is known in full, by rising |R|."""

    realised: F64
    profit: F64  # relative to notional
    cash: F64  # over notional
    notional: F64
    by_account: dict[str, int]


def groups_of(tables: dict[str, Table]) -> Groups:
    """Sort the rows of the position table into groups."""
    table = tables["positions"]
    account: list[str] = table.column("user_address").to_pylist()
    long = np.array(table.column("side").to_pylist()) == "LONG"
    flags = {n: floats(table, n) > 0 for n in ("was_liquidated", "was_adl")}
    before = floats(table, "had_pre_existing_position") > 0
    realised, size = floats(table, "realized_pnl"), floats(table, "position_size")
    counterparts: list[str] = tables["fills"].column("liquidated_user").to_pylist()
    names, counts = np.unique(np.array(counterparts), return_counts=True)
    backstop = str(names[int(np.argmax(counts))])
    here = before & (np.array(account) != backstop)
    liquidated, adl = flags["was_liquidated"], flags["was_adl"]
    return Groups(
        account=account,
        long=long,
        realised=realised,
        size=size,
        shorts=np.flatnonzero(here & ~long & adl & (realised > 0)),
        longs=np.flatnonzero(here & long & liquidated & ~adl & (realised < 0)),
        others=np.flatnonzero(here & ~liquidated & ~adl & (size >= LOT)),
        backstop=backstop,
    )


def donors_of(tables: dict[str, Table], groups: Groups) -> Donors:
    """Return the accounts of `adl_by_user` whose one deleveraging was in this coin."""
    users = tables["users"]
    realised = {groups.account[row]: float(groups.realised[row]) for row in numbers(groups.shorts)}
    names: list[str] = users.column("user").to_pylist()
    closed, notional = floats(users, "closed_pnl"), floats(users, "adl_notional")
    cash, events = floats(users, "account_value_usd"), floats(users, "num_adl_events")
    here = np.array([realised.get(name, np.nan) for name in names])
    same = np.abs(closed - here) <= 1e-6 * np.maximum(1.0, np.abs(closed))
    good = np.flatnonzero(same & (events == 1) & (notional > 0) & (cash > 0) & (closed > 0))
    good = good[np.argsort(closed[good], kind="stable")]
    return Donors(
        realised=closed[good],
        profit=closed[good] / notional[good],
        cash=cash[good] / notional[good],
        notional=notional[good],
        by_account={names[row]: n for n, row in enumerate(numbers(good))},
    )


def reconstruct(tables: dict[str, Table], path: PricePath, knobs: Knobs) -> Reconstruction:
    """Return the book at the beginning; the module's docstring states every assumption."""
    groups = groups_of(tables)
    donors = donors_of(tables, groups)
    shorts, closings, facts = _shorts(groups, donors, path, knobs)
    longs, taken, more = _longs(groups, path, knobs)
    facts |= more
    mean = facts["entry_shorts"]
    others = _others(groups, donors, path, knobs, longs=facts["entry_longs"], shorts=mean)
    holdings = sorted([*shorts, *longs, *others])
    closings = sorted([*closings, *taken], key=lambda c: (c.ts, c.kind, c.account))
    sides = np.array([h.quantity for h in holdings])
    facts |= {
        "accounts": len(holdings),
        "long": float(sides[sides > 0].sum()),
        "short": float(-sides[sides < 0].sum()),
        "left_out": len(groups.account) - len(holdings),
        "left_out_size": float(groups.size.sum())
        - float(groups.size[groups.others].sum())
        - float(groups.size[groups.shorts].sum()),
    }
    return Reconstruction(holdings, closings, facts)


def _shorts(
    groups: Groups, donors: Donors, path: PricePath, knobs: Knobs
) -> tuple[list[Holding], list[Closing], dict[str, float]]:
    names = [groups.account[row] for row in numbers(groups.shorts)]
    realised = groups.realised[groups.shorts]
    near = np.clip(np.searchsorted(donors.realised, realised), 1, donors.realised.size - 1)
    lower = np.abs(donors.realised[near - 1] - realised) <= np.abs(donors.realised[near] - realised)
    donor = near - lower
    known = np.array([donors.by_account.get(name, -1) for name in names])
    donor = np.where(known >= 0, known, donor)
    total = sum(burst.notional for burst in path.bursts)
    exact = known >= 0
    guess = realised / donors.profit[donor]
    factor = (total - guess[exact].sum()) / guess[~exact].sum()
    notional = np.where(exact, guess, guess * factor)
    profit = realised / notional
    cash = notional * donors.cash[donor]
    holdings: list[Holding] = []
    closings: list[Closing] = []
    order = numbers(np.lexsort((np.array(names), profit)))
    dealt = _deal([float(notional[n]) for n in order], list(path.bursts))
    for n, shares in zip(order, dealt, strict=True):
        parts = [(b, _lots(amount / b.price)) for b, amount in shares]
        parts = [(b, lots) for b, lots in parts if lots > 0]
        closed = sum(lots for _, lots in parts)
        if not closed:
            continue
        spent = sum(lots * b.price for b, lots in parts)
        entry = spent / closed * (1 + float(profit[n]))
        held = closed + _lots(float(groups.size[groups.shorts[n]]))
        holdings.append(_scaled(names[n], -held, entry, float(cash[n]), path, knobs))
        closings += [Closing(names[n], b.ts, -lots, b.price, "adl") for b, lots in parts]
    entries = np.array([h.entry for h in holdings])
    sizes = np.array([h.quantity for h in holdings])
    facts = {
        "deleveraged": float(-sum(c.quantity for c in closings)),
        "deleveraged_usd": total,
        "donors": donors.realised.size,
        "known_share": float(guess[exact].sum()) / total,
        "factor": float(factor),
        "entry_shorts": float((entries * sizes).sum() / sizes.sum()),
    }
    return holdings, closings, facts


def _deal(amounts: list[float], bursts: list[Burst]) -> list[list[tuple[Burst, float]]]:
    """Deal amounts, in order, to bursts until each burst's notional is used up."""
    left, place = [burst.notional for burst in bursts], 0
    dealt: list[list[tuple[Burst, float]]] = []
    for amount in amounts:
        parts: list[tuple[Burst, float]] = []
        rest = amount
        while rest > 0:
            last = place == len(bursts) - 1
            part = rest if last else min(rest, left[place])
            parts.append((bursts[place], part))
            rest -= part
            left[place] -= part
            if not last and left[place] <= 0:
                place += 1
        dealt.append(parts)
    return dealt


def _longs(
    groups: Groups, path: PricePath, knobs: Knobs
) -> tuple[list[Holding], list[Closing], dict[str, float]]:
    loss = -groups.realised[groups.longs]
    names = [groups.account[row] for row in numbers(groups.longs)]
    lots = sum(burst.notional / burst.price for burst in path.bursts) * knobs.liquidated_share
    price = _liquidation_prices(names, loss, path)
    low, high = float(price.max()) + 0.01, 10 * path.start
    for _ in range(200):  # bisection: more distance to the entry means fewer lots for the same loss
        entry = (low + high) / 2
        if float((loss / (entry - price)).sum()) > lots:
            low = entry
        else:
            high = entry
    entry = (low + high) / 2
    holdings: list[Holding] = []
    closings: list[Closing] = []
    reached = _first_times(path, price)
    each = zip(names, as_floats(loss), as_floats(price), reached, strict=True)
    for name, lost, at, when in each:
        quantity = _lots(lost / (entry - at))
        if not quantity:
            continue
        cash = quantity * (entry - at + TAKEOVER * MAINTENANCE * at)
        holdings.append(_scaled(name, quantity, entry, cash, path, knobs))
        closings.append(Closing(name, when, quantity, round(at, 2), "market"))
    facts = {"liquidated": sum(h.quantity for h in holdings), "entry_longs": entry}
    return holdings, closings, facts


def _first_times(path: PricePath, price: F64) -> list[int]:
    """Return when the path first stands at or below each price."""
    falling = np.minimum.accumulate(path.price)
    place = np.searchsorted(-falling, -price)
    return numbers(path.ts[np.minimum(place, path.ts.size - 1)])


def _liquidation_prices(names: list[str], loss: F64, path: PricePath) -> F64:
    """Return a price for each long: the greatest losses fill the bursts with most room first.

    Within the step from one burst's price to the next, accounts follow one another by address.
    """
    mean = path.bursts[0].price * 1.15  # only the proportions of the bursts depend on it
    room = np.array([b.notional / b.price * (mean - b.price) for b in path.bursts])
    room *= loss.sum() / room.sum()
    burst = np.zeros(loss.size, np.int64)
    for n in numbers(np.lexsort((np.array(names), -loss))):
        burst[n] = int(np.argmax(room))
        room[burst[n]] -= loss[n]
    price = np.zeros(loss.size)
    above, total = path.start, sum(b.notional for b in path.bursts)
    for k, step in enumerate(path.bursts):
        rows = np.flatnonzero(burst == k)
        rows = rows[np.argsort(np.array(names)[rows])]
        if rows.size:
            done = (np.cumsum(loss[rows]) - loss[rows] / 2) / loss[rows].sum()
            price[rows] = above + (step.price - above) * done
        if step.notional >= total / 100:  # a burst of a few coins ends no stretch of the fall
            above = step.price
    return price


def _others(
    groups: Groups, donors: Donors, path: PricePath, knobs: Knobs, *, longs: float, shorts: float
) -> list[Holding]:
    holdings: list[Holding] = []
    for row in numbers(groups.others):
        name = groups.account[row]
        sign = 1 if groups.long[row] else -1
        quantity = sign * _lots(float(groups.size[row]))
        entry = longs if sign > 0 else shorts
        # Leverage of some deleveraged account, chosen by address: no balance is published here.
        ratio = float(donors.cash[int(name[-8:], 16) % donors.cash.size])
        worst = path.low if sign > 0 else max(path.start, path.end)
        need = quantity * (entry - worst) + SURVIVAL * MAINTENANCE * abs(quantity) * worst
        cash = max(abs(quantity) * path.start * ratio, need)
        holdings.append(_scaled(name, quantity, entry, cash, path, knobs))
    return holdings


def _scaled(
    name: str, quantity: float, entry: float, cash: float, path: PricePath, knobs: Knobs
) -> Holding:
    """Return a holding whose equity at the beginning is divided by ``leverage_scale``."""
    gain = quantity * (path.start - entry)
    cash = (cash + gain) / knobs.leverage_scale - gain
    return Holding(name, round(quantity, 2), round(entry, 2), round(cash, 6))


def _lots(quantity: float) -> float:
    return round(quantity / LOT) * LOT


def book_tables(made: Reconstruction, coin: str, asset: str) -> dict[str, Table]:
    """Return accounts, positions and liquidations as tables of a recording."""
    held, closed = made.holdings, made.closings
    return {
        "accounts": pa.table(
            {
                "account": [h.account for h in held],
                "asset": [asset] * len(held),
                "balance": [h.cash for h in held],
            }
        ),
        "positions": pa.table(
            {
                "account": [h.account for h in held],
                "instrument": [coin] * len(held),
                "quantity": [h.quantity for h in held],
                "entry_price": [h.entry for h in held],
            }
        ),
        "liquidations": pa.table(
            {
                "ts": [c.ts for c in closed],
                "seq": list(range(len(closed))),
                "account": [c.account for c in closed],
                "instrument": [coin] * len(closed),
                "quantity": [round(c.quantity, 2) for c in closed],
                "price": [c.price for c in closed],
                "kind": [c.kind for c in closed],
            }
        ),
    }
