"""What a reader must remember of the records before one, to say why one account was touched.

A trail reads effects only, in order, and never thinks: it works on a replay's records and on a
journal's alike. Of all accounts but one it keeps nothing, so that any journal can be walked.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from tidegate.domain.effects import (
    AccountsOpened,
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    BandMoved,
    BandsLaid,
    BandsLeft,
    BreakerMoved,
    Decision,
    DeficitFound,
    Deleveraged,
    HealthMoved,
    MarkMoved,
    ObservationKept,
    OrdersPlaced,
    OrdersReduced,
    PoolMoved,
    PositionsMoved,
    Posted,
    PostedBatch,
    ProfileMoved,
    StagesTaken,
    TakenOver,
)
from tidegate.domain.events import Input, OrdersExpired, OrdersFilled
from tidegate.domain.instrument import CASH
from tidegate.domain.units import is_column, unpack
from tidegate.ports import Record


FORCED = frozenset(
    {"netted", "deleveraged", "reported", "socialised", "redistributed", "bands", "auctioned"}
)


@dataclass(frozen=True, slots=True)
class Said:
    """An effect and where it was said."""

    seq: int
    ts: int
    effect: Decision


@dataclass(frozen=True, slots=True)
class Order:
    """One order of the account: what was asked, and what of it is still open."""

    number: int
    seq: int
    route: str
    instrument: int
    lots: int
    limit: int
    open: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What was known when a record came: marks, rung and health before or within it."""

    marks: dict[int, Said]  # by instrument
    before: dict[int, int]  # by instrument: the mark before the last one
    observations: dict[tuple[int, int], Said]  # by instrument and source: the last one kept
    near: dict[int, int]  # by instrument: branching ratio near the mark, ppm
    rung: Said | None
    health: Said | None
    lots: dict[int, int]  # the account's positions before this record
    cost: dict[int, int]
    cash: int
    bands: dict[int, Said] = field(default_factory=dict[int, Said])  # by instrument: the last


@dataclass(frozen=True, slots=True)
class Touch:
    """One record that did something to the account, with everything it stood on."""

    record: Record
    standing: Standing


@dataclass(slots=True)
class Trail:
    """Walks records forward, and keeps the last one that touched the account."""

    account: int
    names: list[str] = field(default_factory=list[str])
    orders: dict[int, Order] = field(default_factory=dict[int, Order])
    auctions: dict[int, int] = field(default_factory=dict[int, int])  # open, and their instrument
    origins: dict[int, Touch] = field(default_factory=dict[int, Touch])  # order number: placing
    last: Touch | None = None
    walked: int = 0
    _now: Standing = field(default_factory=lambda: Standing({}, {}, {}, {}, None, None, {}, {}, 0))

    @classmethod
    def walk(cls, records: Iterable[Record], account: int, seq: int) -> Self:
        """Return the trail of ``account`` up to and including record ``seq``."""
        trail = cls(account)
        for record in records:
            if record.seq > seq:
                break
            trail.follow(record)
        return trail

    @property
    def standing(self) -> Standing:
        """What is known after the last record."""
        return self._now

    def follow(self, record: Record) -> None:
        """Take one more record; what it says of prices counts for what it does to accounts."""
        self.walked += 1
        for effect in record.effects:
            self._learn(record, effect)
        if self._touches(record):
            self.last = Touch(record, self._copy())
            self._number(record)
        for effect in record.effects:
            self._book(effect)

    def _copy(self) -> Standing:
        now = self._now
        return replace(
            now,
            marks=dict(now.marks),
            before=dict(now.before),
            observations=dict(now.observations),
            near=dict(now.near),
            lots=dict(now.lots),
            cost=dict(now.cost),
            bands=dict(now.bands),
        )

    def _learn(self, record: Record, effect: Decision) -> None:
        said = Said(record.seq, record.event.ts, effect)
        match effect:
            case MarkMoved(instrument=i):
                old = self._now.marks.get(i)
                if old is not None and isinstance(old.effect, MarkMoved):
                    self._now.before[i] = old.effect.price
                self._now.marks[i] = said
            case ObservationKept(instrument=i, source=s):
                self._now.observations[i, s] = said
            case ProfileMoved(instrument=i):
                self._now.near[i] = effect.near
            case BandMoved(instrument=i):
                self._now.bands[i] = said
            case BreakerMoved():
                self._now = replace(self._now, rung=said)
            case HealthMoved():
                self._now = replace(self._now, health=said)
            case AccountsOpened():
                self.names.extend(effect.names)
            case _:
                pass

    def _touches(self, record: Record) -> bool:
        return any(self._concerns(effect) for effect in record.effects) or bool(
            self._mine(record.event)
        )

    def _concerns(self, effect: Decision) -> bool:
        match effect:
            case OrdersPlaced() | StagesTaken() | AuctionsOpened():
                return self._is_in(effect.account)
            case AuctionsReset() | AuctionsReduced():
                return bool(self.auctions.keys() & set(unpack(effect.auction).tolist()))
            case PositionsMoved() if effect.reason in FORCED:
                return self._is_in(effect.account)
            case PostedBatch() if effect.reason in FORCED:
                return effect.counter == self.account or self._is_in(effect.account)
            case Deleveraged():
                return self._is_in(effect.account) or self._is_in(effect.bankrupt)
            case TakenOver():
                return self._is_in(effect.account) or self._is_in(effect.provider)
            case DeficitFound() | PoolMoved() | BandsLaid() | BandsLeft():
                return effect.account == self.account
            case _:
                return False

    def _is_in(self, column: bytes) -> bool:
        return bool((unpack(column) == self.account).any())

    def _mine(self, event: Input) -> list[int]:
        """Return the rows of a venue's answer that are about the account's own orders."""
        if not self.orders or not isinstance(event, (OrdersFilled, OrdersExpired)):
            return []
        if not is_column(event.order):
            return []  # refused as a whole
        return [n for n, order in enumerate(unpack(event.order).tolist()) if order in self.orders]

    def _number(self, record: Record) -> None:
        assert self.last is not None
        for effect in record.effects:
            self._auction(effect)
            if not isinstance(effect, OrdersPlaced):
                continue
            account, instrument = unpack(effect.account), unpack(effect.instrument)
            lots, limit = unpack(effect.lots), unpack(effect.limit)
            for n in np.flatnonzero(account == self.account).tolist():
                number = effect.first + n
                self.origins[number] = self.last
                self.orders[number] = Order(
                    number=number,
                    seq=record.seq,
                    route=effect.route,
                    instrument=int(instrument[n]),
                    lots=int(lots[n]),
                    limit=int(limit[n]),
                    open=int(lots[n]),
                )

    def _auction(self, effect: Decision) -> None:
        """Follow the account's auctions from opening to end."""
        match effect:
            case AuctionsOpened():
                instrument = unpack(effect.instrument)
                for n in np.flatnonzero(unpack(effect.account) == self.account).tolist():
                    self.auctions[effect.first + n] = int(instrument[n])
            case AuctionsReduced():
                over = unpack(effect.auction)[unpack(effect.closed) != 0]
                for auction in over.tolist():
                    self.auctions.pop(auction, None)
            case _:
                pass

    def _shrink(self, effect: OrdersReduced) -> None:
        for number, lots in zip(unpack(effect.order), unpack(effect.lots), strict=True):
            order = self.orders.get(int(number))
            if order is None:
                continue
            left = order.open - int(lots)
            if left:
                self.orders[order.number] = replace(order, open=left)
            else:
                del self.orders[order.number]

    def _book(self, effect: Decision) -> None:
        match effect:
            case OrdersReduced():
                self._shrink(effect)
            case PositionsMoved():
                mine = unpack(effect.account) == self.account
                if mine.any():
                    instrument = unpack(effect.instrument)[mine].tolist()
                    lots, cost = unpack(effect.lots)[mine], unpack(effect.cost)[mine]
                    self._move(instrument, lots.tolist(), cost.tolist())
            case Posted():
                if effect.credit == self.account:
                    self._pay(effect.asset, effect.amount)
                if effect.debit == self.account:
                    self._pay(effect.asset, -effect.amount)
            case PostedBatch():
                amount = unpack(effect.amount)
                mine = unpack(effect.account) == self.account
                if mine.any():
                    self._pay(effect.asset, int(amount[mine].sum()))
                if effect.counter == self.account:
                    self._pay(effect.asset, -int(amount.sum()))
            case _:
                pass

    def _move(self, instrument: list[int], lots: list[int], cost: list[int]) -> None:
        now = self._now
        for i, moved, paid in zip(instrument, lots, cost, strict=True):
            now.lots[i] = now.lots.get(i, 0) + moved
            now.cost[i] = now.cost.get(i, 0) + paid
            if not now.lots[i] and not now.cost[i]:
                del now.lots[i], now.cost[i]

    def _pay(self, asset: int, amount: int) -> None:
        if asset == CASH:
            self._now = replace(self._now, cash=self._now.cash + amount)
        else:
            self._move([asset], [amount], [0])
