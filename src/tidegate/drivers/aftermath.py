"""What reports about a real crash publish, counted the same way from the effects of a replay.

A replay's observer: volumes by instrument and side, when deleveraging began and ended, how many
accounts were hit, how leveraged the deleveraged winners were. Statistics only, in float64; leverage
is that of linear positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import (
    AuctionsOpened,
    Decision,
    DeficitFound,
    Deleveraged,
    OrdersPlaced,
    PositionsMoved,
)
from tidegate.domain.events import Input
from tidegate.domain.units import I64, SECOND, unpack
from tidegate.drivers.casualties import notionals
from tidegate.engine.state import State


F64: TypeAlias = NDArray[np.float64]


@dataclass(slots=True)
class Aftermath:
    """The counts of one run; give `observe` to a replay. Volumes are Money at execution prices."""

    instruments: int
    filled: F64 = field(init=False)  # [instruments] forced volume sold on the book or by auction
    deleveraged: F64 = field(init=False)  # [instruments] forced volume closed against winners
    longs: float = 0.0  # forced volume, of either kind, that closed a long
    shortfall: float = 0.0  # Money by which accounts were below zero when closed
    ordered_at: int = -1  # ns of the first forced order
    deleveraged_at: int = -1  # ns of the first deleveraging
    deleveraged_until: int = -1
    liquidated: set[int] = field(default_factory=set[int])  # rows that were ordered
    bankrupt: set[int] = field(default_factory=set[int])  # rows that fell below zero
    winners: set[int] = field(default_factory=set[int])  # rows that were deleveraged
    leverage: list[float] = field(default_factory=list[float])  # of each winner, each time
    winners_short: float = 0.0  # volume taken from winners that were short

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.filled, self.deleveraged = np.zeros(self.instruments), np.zeros(self.instruments)

    @property
    def forced(self) -> float:
        """All forced volume: sold, and closed against winners."""
        return float(self.filled.sum() + self.deleveraged.sum())

    @property
    def deleveraged_share(self) -> float:
        """Deleveraged over liquidated plus deleveraged, as reports add them up.

        A report's liquidations contain the losing side of every deleveraging, so that side counts
        twice in the denominator.
        """
        both = self.forced + float(self.deleveraged.sum())
        return float(self.deleveraged.sum()) / both if both else 0.0

    @property
    def delay(self) -> float | None:
        """Seconds from the first forced order to the first deleveraging; None without one."""
        return None if self.deleveraged_at < 0 else (self.deleveraged_at - self.ordered_at) / SECOND

    def observe(
        self,
        seq: int,
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int],
    ) -> None:
        """Count one step; `state` is the one after it."""
        del seq, impact_ppm
        for effect in effects:
            match effect:
                case OrdersPlaced() | AuctionsOpened():
                    if self.ordered_at < 0:
                        self.ordered_at = event.ts
                    self.liquidated.update(unpack(effect.account).tolist())
                case PositionsMoved(reason="fill" | "auctioned"):
                    self._filled(effect, state)
                case Deleveraged():
                    self._deleveraged(effect, event.ts, state)
                case DeficitFound():
                    self.bankrupt.add(effect.account)
                    self.shortfall += effect.amount
                case _:
                    pass

    def _filled(self, effect: PositionsMoved, state: State) -> None:
        account, instrument = unpack(effect.account), unpack(effect.instrument)
        lots, price = unpack(effect.lots), unpack(effect.price)
        ours = account >= FIRST_USER
        size = notionals(state.facts, instrument[ours], lots[ours], price[ours])
        self.filled += np.bincount(instrument[ours], size, self.instruments)
        self.longs += float(size[lots[ours] < 0].sum())

    def _deleveraged(self, effect: Deleveraged, ts: int, state: State) -> None:
        if self.deleveraged_at < 0:
            self.deleveraged_at = ts
        self.deleveraged_until = ts
        lots, winners = unpack(effect.lots), unpack(effect.account)
        here = np.full(lots.size, effect.instrument, np.int64)
        size = notionals(state.facts, here, lots, np.full(lots.size, effect.mark, np.int64))
        self.deleveraged[effect.instrument] += size.sum()
        bought = float(size[lots > 0].sum())  # a winner that buys was short, its loser long
        self.longs += bought
        self.winners_short += bought
        self.bankrupt.update(unpack(effect.bankrupt).tolist())
        self.shortfall += effect.deficit
        self.winners.update(winners.tolist())
        taken = dict(zip(winners.tolist(), size.tolist(), strict=True))
        self.leverage += [_leverage(state, winner, size) for winner, size in taken.items()]


def _leverage(state: State, account: int, taken: float) -> float:
    """Return notional over equity as it stood before ``taken`` Money was closed at the mark."""
    book = state.book
    rows: list[int] = []
    row = int(book.head[account])
    while row >= 0:
        rows.append(row)
        row = int(book.follow[row])
    at = np.array(rows, np.int64)
    instrument: I64 = book.instrument[at].astype(np.int64)
    mark = state.mark[instrument]
    size = notionals(state.facts, instrument, book.lots[at], mark)
    value = float((np.sign(book.lots[at]) * size).sum()) - float(book.cost[at].sum())
    equity = int(book.cash[account]) + value
    return (taken + float(size.sum())) / max(equity, 1.0)
