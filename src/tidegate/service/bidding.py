"""What became of bids: remembered of every bidder, from what waits to receipts of what it got.

It listens on the crank's thread and is read there too. What waits is known whole after any start,
because it is part of the state; answers and receipts reach back to the snapshot of the last start.
Refused reveals are told to whoever sent them and kept nowhere: they may be anybody's.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from tidegate.api.answers import BidNow, Settlement
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import (
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    BidKept,
    BidsCleared,
    MarkMoved,
    PositionsMoved,
    Posted,
    Rejected,
)
from tidegate.domain.events import AuctionTaken, BidCommitted, BidPlaced
from tidegate.domain.units import unpack
from tidegate.engine.reading import notional_of
from tidegate.engine.state import SHIFT, State
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Reading
from tidegate.service.views_words import money_text, price_text, quantity_text, rows_of


KEPT: Final = 1_000  # bids of one bidder
UNKNOWN: Final = -1
Asked = AuctionTaken | BidPlaced | BidCommitted
_KIND: Final[dict[type, str]] = {AuctionTaken: "take", BidPlaced: "bid", BidCommitted: "sealed"}


class _Auction(NamedTuple):
    instrument: int
    selling: bool  # so that the bidder buys
    began: int


_NO_AUCTION: Final = _Auction(UNKNOWN, selling=True, began=0)


@dataclass(slots=True)
class _Entry:
    """One bid, in the ledger's units."""

    seq: int
    ts: int
    kind: str
    auction: int
    of: _Auction
    status: str
    bid: int | None = None
    lots: int = 0
    limit: int = 0
    got: int = 0
    price: int = 0
    bond: int = 0
    code: str = ""
    detail: str = ""


class _Got(NamedTuple):
    """What a settlement is made of, in the ledger's units."""

    seq: int
    ts: int
    entry: _Entry
    mark: int
    incentive: int


@dataclass(slots=True)
class _Bidder:
    entries: deque[_Entry]
    got: deque[_Got]


@dataclass(slots=True)
class Bidding:
    """The memory of bids; `listen` is a `Listener`, all else is asked through reads."""

    stack: Stack
    kept: int = KEPT
    _of: dict[int, _Bidder] = field(default_factory=dict[int, _Bidder])
    _waiting: dict[int, tuple[int, _Entry]] = field(default_factory=dict[int, tuple[int, _Entry]])
    _auctions: dict[int, _Auction] = field(default_factory=dict[int, _Auction])
    _mark: list[int] = field(default_factory=list[int])
    _begun: bool = False

    def listen(self, records: Sequence[Record], reading: Reading) -> None:
        """Take note of durable records; ``reading`` is the state after the last of them."""
        first = not self._begun
        if first:
            self._begin(reading.state)
        for record in records:
            self._hear(record)
        if first:
            self._adopt(reading.state)

    def bids(self, bidder: int, before: int, limit: int) -> list[BidNow]:
        """Return what became of a bidder's bids of records below ``before``, newest first."""
        known = self._of.get(bidder)
        if known is None:
            return []
        found = [one for one in reversed(known.entries) if one.seq < before]
        return [self._bid(one) for one in found[:limit]]

    def settlements(self, bidder: int, before: int, limit: int) -> list[Settlement]:
        """Return a bidder's receipts of records below ``before``, newest first."""
        known = self._of.get(bidder)
        if known is None:
            return []
        found = [one for one in reversed(known.got) if one.seq < before]
        return [self._receipt(one) for one in found[:limit]]

    # ------------------------------------------------------------ hearing

    def _begin(self, state: State) -> None:
        """Know what was open before the first record that is heard."""
        self._begun, self._mark = True, state.mark.tolist()
        table, book = state.auctions, state.book
        for slot in np.flatnonzero(table.key >= 0).tolist():
            i, lots = int(book.instrument[table.row[slot]]), int(table.lots[slot])
            self._auctions[int(table.key[slot])] = _Auction(i, lots < 0, int(table.began[slot]))

    def _adopt(self, state: State) -> None:
        """Take over the bids that were waiting before anything was heard."""
        waiting = state.bids
        held = np.flatnonzero(waiting.key >= 0)
        for slot in held[np.argsort(-waiting.key[held])].tolist():  # each before those after it
            bid, auction = int(waiting.key[slot]), int(waiting.auction[slot])
            if bid in self._waiting:
                continue
            sealed, lots = bool(waiting.seal[slot].any()), int(waiting.lots[slot])
            entry = _Entry(
                bid >> SHIFT,
                0,
                "sealed" if sealed else "bid",
                auction,
                self._auctions.get(auction, _NO_AUCTION),
                "waiting" if lots else "sealed",
                bid,
                lots,
                int(waiting.limit[slot]),
                bond=int(waiting.bond[slot]),
            )
            self._keep(int(waiting.bidder[slot]), entry, old=True)

    def _hear(self, record: Record) -> None:
        event = record.event
        for effect in record.effects:
            match effect:
                case MarkMoved():
                    self._mark[effect.instrument] = effect.price
                case AuctionsOpened():
                    rows = rows_of(effect.instrument, effect.lots)
                    for n, (i, lots) in enumerate(rows):
                        self._auctions[effect.first + n] = _Auction(i, lots < 0, effect.at)
                case BidKept():
                    self._kept(record, effect)
                case BidsCleared():
                    self._cleared(record, effect)
                case _:
                    pass
        if isinstance(event, AuctionTaken):
            self._took(record, event)
        if isinstance(event, BidPlaced | BidCommitted):
            self._refused(record, event)
        self._move_on(record)

    def _move_on(self, record: Record) -> None:
        """Forget auctions that are over, after what was sold out of them has been written down."""
        for effect in record.effects:
            if isinstance(effect, AuctionsReset):
                for auction in unpack(effect.auction).tolist():
                    known = self._auctions.get(auction)
                    if known is not None:
                        self._auctions[auction] = known._replace(began=effect.at)
            elif isinstance(effect, AuctionsReduced):
                for auction, over in rows_of(effect.auction, effect.closed):
                    if over:
                        self._auctions.pop(auction, None)

    def _kept(self, record: Record, effect: BidKept) -> None:
        if effect.bid in self._waiting:  # it was sealed, and is revealed
            entry = self._waiting[effect.bid][1]
            entry.lots, entry.limit, entry.status = effect.lots, effect.limit, "waiting"
            return
        entry = _Entry(
            record.seq,
            record.event.ts,
            "sealed" if effect.seal else "bid",
            effect.auction,
            self._auctions.get(effect.auction, _NO_AUCTION),
            "waiting" if effect.lots else "sealed",
            effect.bid,
            effect.lots,
            effect.limit,
            bond=effect.bond,
        )
        self._keep(effect.bidder, entry)

    def _cleared(self, record: Record, effect: BidsCleared) -> None:
        for bid, lots, price in rows_of(effect.bid, effect.lots, effect.price):
            bidder, entry = self._waiting.pop(bid, (UNKNOWN, None))
            if entry is None:
                continue
            sealed, entry.got, entry.price = entry.status == "sealed", lots, price
            if effect.reason != "cleared":
                entry.status, entry.code = "ended", effect.reason
            elif sealed:
                entry.status = "forfeited"
            else:
                entry.status = "won" if lots else "lost"
            if lots:
                self._won(record, bidder, entry, 0)

    def _took(self, record: Record, event: AuctionTaken) -> None:
        entry = _entry(record, event, self._auctions.get(event.auction, _NO_AUCTION))
        entry.lots, entry.limit = event.lots, event.limit
        for effect in record.effects:
            match effect:
                case PositionsMoved(reason="auctioned"):
                    entry.got = abs(int(unpack(effect.lots)[0]))
                    entry.price = int(unpack(effect.price)[0])
                    entry.status = "won"
                case Rejected():
                    entry.code, entry.detail = effect.code, effect.detail
                case _:
                    pass
        self._keep(event.bidder, entry)
        if entry.got:
            paid = [e for e in record.effects if isinstance(e, Posted) and e.reason == "incentive"]
            self._won(record, event.bidder, entry, sum(int(e.amount) for e in paid))

    def _refused(self, record: Record, event: BidPlaced | BidCommitted) -> None:
        refused = [e for e in record.effects if isinstance(e, Rejected)]
        if not refused:
            return
        entry = _entry(record, event, self._auctions.get(event.auction, _NO_AUCTION))
        entry.code, entry.detail = refused[0].code, refused[0].detail
        if isinstance(event, BidPlaced):
            entry.lots, entry.limit = event.lots, event.limit
        self._keep(event.bidder, entry)

    def _keep(self, bidder: int, entry: _Entry, *, old: bool = False) -> None:
        if 0 < bidder < FIRST_USER or bidder >= self.stack.venue.limits.accounts_max:
            return  # nobody: it was refused
        known = self._of.get(bidder)
        if known is None:
            known = _Bidder(deque(maxlen=self.kept), deque(maxlen=self.kept))
            self._of[bidder] = known
        (known.entries.appendleft if old else known.entries.append)(entry)
        if entry.bid is not None:
            self._waiting[entry.bid] = bidder, entry

    def _won(self, record: Record, bidder: int, entry: _Entry, incentive: int) -> None:
        if entry.of is _NO_AUCTION:
            return  # it ended with the first record after the snapshot
        mark = self._mark[entry.of.instrument]
        got = _Got(record.seq, record.event.ts, entry, mark, incentive)
        self._of[bidder].got.append(got)

    # ------------------------------------------------------------ in words

    def _bid(self, one: _Entry) -> BidNow:
        i, waits = one.of.instrument, one.status in {"sealed", "waiting"}
        of = self.stack.venue.instruments[i] if i >= 0 else None
        said = of is not None and one.lots > 0
        opens, closes = self._window(one) if one.kind == "sealed" else (None, None)
        return BidNow(
            seq=one.seq,
            ts=one.ts,
            kind=one.kind,
            status=one.status,
            auction=one.auction,
            instrument=of.symbol if of else "",
            side="" if of is None else "buy" if one.of.selling else "sell",
            bid=one.bid,
            quantity=quantity_text(of, one.lots) if said and of else None,
            limit=price_text(of, one.limit) if said and of else None,
            got=quantity_text(of, one.got) if of else "0",
            price=price_text(of, one.price) if one.got and of else None,
            bond=money_text(one.bond) if waits or one.status == "forfeited" else "0",
            reveal_from=opens,
            reveal_until=closes,
            code=one.code,
            detail=one.detail,
        )

    def _window(self, one: _Entry) -> tuple[int | None, int | None]:
        route = self.stack.batches
        if route is None or one.of is _NO_AUCTION:
            return None, None
        return one.of.began + route.window_ns, one.of.began + route.closes_ns

    def _receipt(self, got: _Got) -> Settlement:
        one = got.entry
        of = self.stack.venue.instruments[one.of.instrument]
        return Settlement(
            seq=got.seq,
            ts=got.ts,
            auction=one.auction,
            bid=one.bid,
            instrument=of.symbol,
            quantity=quantity_text(of, one.got if one.of.selling else -one.got),
            price=price_text(of, one.price),
            mark=price_text(of, got.mark),
            worth=money_text(notional_of(of, one.got, one.price)),
            incentive=money_text(got.incentive),
            bond=money_text(one.bond),
        )


def _entry(record: Record, event: Asked, of: _Auction) -> _Entry:
    ts, kind = record.event.ts, _KIND[type(event)]
    return _Entry(record.seq, ts, kind, event.auction, of, "refused")
