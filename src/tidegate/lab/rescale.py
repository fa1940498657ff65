"""The same book and world, but more leveraged, with poorer collateral, or more volatile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.instrument import Linear, Spot
from tidegate.domain.units import I64, pack, unpack
from tidegate.lab.opening import Opening
from tidegate.lab.weather import F64, Weather, World


B: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Holdings:
    """The columns of an opening's book, and what each position is worth at the marks."""

    account: I64  # [positions]
    instrument: I64  # [positions]
    lots: I64  # [positions]
    worth: I64  # [positions] Money, to the nearest: profit of a derivative, value of a balance
    size: F64  # [positions] Money at the marks, signed
    spot: B  # [positions] whether it is a balance
    cash: I64  # [accounts]

    @property
    def equity(self) -> I64:
        """Return what each account has at the marks, [accounts] Money."""
        total = self.cash.copy()
        np.add.at(total, self.account, self.worth)
        return total


def holdings(opening: Opening) -> Holdings:
    """Return the book at the marks; raise ConfigInvalid where it holds what is not linear."""
    book = opening.book
    account, instrument, lots, entry = (
        unpack(part).astype(np.int64)
        for part in (book.account, book.instrument, book.lots, book.entry)
    )
    n = len(opening.venue.instruments)
    per_tick, spot = np.zeros(n), np.zeros(n, np.bool_)
    for k, each in enumerate(opening.venue.instruments):
        if isinstance(each, Linear | Spot):
            spot[k] = isinstance(each, Spot)
            per_tick[k] = each.tick_value / (each.units if isinstance(each, Spot) else 1)
        elif (instrument == k).any():
            raise ConfigInvalid(
                where=f"instrument.{each.symbol}",
                what="must be linear or a balance: only these can be valued in one line",
                found="an inverse contract that is held",
            )
    balance = spot[instrument]
    # Floats: the amounts of a whole venue times its ticks need not fit into 64 bits.
    size = lots * per_tick[instrument] * opening.marks[instrument]
    paid = lots * per_tick[instrument] * np.where(balance, 0, entry)
    return Holdings(
        account=account,
        instrument=instrument,
        lots=lots,
        worth=np.rint(size - paid).astype(np.int64),
        size=size,
        spot=balance,
        cash=unpack(book.cash).astype(np.int64),
    )


def levered(opening: Opening, factor: float) -> Opening:
    """Return the book with ``factor`` times the leverage, whose positions are as large as before.

    Who borrows assets owes ``factor`` times as much; everybody else has had equity withdrawn until
    its positions are ``factor`` times as large against it. Accounts without equity stay as they
    are. Amounts are rounded down.
    """
    _refuse("leverage", factor)
    held = holdings(opening)
    owes = np.zeros(held.cash.size, np.bool_)
    owes[held.account[held.spot & (held.lots < 0)]] = True
    owes |= held.cash < 0
    equity = held.equity
    open_ = np.zeros(held.cash.size, np.bool_)
    open_[held.account[~held.spot]] = True
    less = np.floor(equity * (1 - 1 / factor)).astype(np.int64)
    cash = np.where(~owes & open_ & (equity > 0), held.cash - less, held.cash)
    cash = np.where(owes & (held.cash < 0), np.floor(held.cash * factor).astype(np.int64), cash)
    debt = held.spot & (held.lots < 0)
    lots = np.where(debt, np.floor(held.lots * factor).astype(np.int64), held.lots)
    return _with(opening, cash, lots, f"leverage times {factor:g}")


def poorer(opening: Opening, quality: float) -> Opening:
    """Return the book whose collateral, cash and balances held, is worth only ``quality`` of it.

    What is owed and what is open stays: a stablecoin that breaks before anything else moves.
    """
    _refuse("quality", quality)
    held = holdings(opening)
    cash = np.where(held.cash > 0, np.floor(held.cash * quality).astype(np.int64), held.cash)
    own = held.spot & (held.lots > 0)
    lots = np.where(own, np.floor(held.lots * quality).astype(np.int64), held.lots)
    return _with(opening, cash, lots, f"collateral worth {quality:.0%} of itself")


def _with(opening: Opening, cash: I64, lots: I64, note: str) -> Opening:
    book = msgspec.structs.replace(opening.book, cash=pack(cash), lots=pack(lots))
    return replace(opening, book=book, notes=(*opening.notes, note))


@dataclass(frozen=True, slots=True)
class Louder:
    """A world whose logarithmic returns are ``factor`` times another's; depth is the same.

    What drifted drifts ``factor`` times as much, so a driftless world keeps no exact mean.
    """

    world: World
    factor: float

    def __post_init__(self) -> None:
        """Refuse a factor that is no volatility."""
        _refuse("volatility", self.factor)

    @property
    def name(self) -> str:
        """See `World.name`."""
        return f"{self.world.name}*{self.factor:g}"

    def describe(self) -> str:
        """See `World.describe`."""
        return f"{self.world.describe()}, returns times {self.factor:g}"

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """See `World.weather`."""
        drawn = self.world.weather(root, paths, symbols)
        return drawn._replace(price=drawn.price**self.factor)


def _refuse(name: str, factor: float) -> None:
    if not 0 < factor < float("inf"):
        raise ConfigInvalid(where=name, what="must be a finite number > 0", found=f"{factor}")
