"""Puts takeovers by providers and by the pool into words."""

from typing import Protocol

import numpy as np

from tidegate.domain.effects import PoolMoved, PostedBatch, TakenOver
from tidegate.domain.instrument import CASH
from tidegate.domain.units import unpack
from tidegate.engine.reading import percent_text


class Names(Protocol):
    """Who knows how accounts, sizes, prices and money are written."""

    def name(self, account: int) -> str:
        """Return the account's name."""
        ...

    def size(self, i: int, lots: int) -> str:
        """Return an unsigned quantity with its unit."""
        ...

    def price(self, i: int, ticks: int) -> str:
        """Return a price."""
        ...

    def money(self, money: int) -> str:
        """Return Money in the numeraire."""
        ...


def taken_over(names: Names, effect: TakenOver, account: int) -> list[str]:
    """Return one line for each fill that ``account`` gave up or took, as provider."""
    columns = {
        name: unpack(getattr(effect, name)).tolist()
        for name in ("account", "provider", "instrument", "lots", "discount", "forgone", "fed")
    }
    marks = unpack(effect.mark).tolist()
    said: list[str] = []
    mine = (unpack(effect.account) == account) | (unpack(effect.provider) == account)
    for n in np.flatnonzero(mine).tolist():
        row = {name: column[n] for name, column in columns.items()}
        size = names.size(row["instrument"], row["lots"])
        at = f"{percent_text(row['discount'])} off the mark of "
        at += names.price(row["instrument"], marks[n])
        given = row["forgone"] - row["fed"]
        if row["provider"] == account:
            said.append(
                f"took {size} over from {names.name(row['account'])} at {at}: "
                f"{names.money(given)} better"
            )
            continue
        fed = f" and {names.money(row['fed'])} to the fund" if row["fed"] else ""
        said.append(
            f"{size} taken over by {names.name(row['provider'])} at {at}: gave up "
            f"{names.money(given)} to it{fed}"
        )
    return said


def pooled(names: Names, effect: PoolMoved) -> str:
    """Return what the pool did for an account."""
    pairs = zip(unpack(effect.asset).tolist(), unpack(effect.lots).tolist(), strict=True)
    seized = ", ".join(names.size(i, lots) for i, lots in pairs)
    return f"the pool repaid {names.money(effect.debt)} for {seized}"


def shared(names: Names, effect: PostedBatch, account: int) -> list[str]:
    """Return what a loan that was shared among the others means for ``account``."""
    who, amount = unpack(effect.account), unpack(effect.amount)
    cash = effect.asset == CASH

    def text(total: int) -> str:
        return names.money(abs(total)) if cash else names.size(effect.asset, total)

    if effect.counter == account:
        what = "of debt" if cash else "of collateral"
        return [f"{text(int(amount.sum()))} {what} shared among {who.size:,} other loans"]
    mine = int(amount[who == account].sum())
    if not mine:
        return []
    verb = "took on" if cash else "was given"
    return [f"{verb} {text(mine)} of the loan of {names.name(effect.counter)}"]
