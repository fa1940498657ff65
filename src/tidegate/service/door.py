"""The door of the running service: asks become events, names become rows, decimals integers.

What can be judged without the book is judged at once and refused with `AskInvalid`: an unknown
instrument, a part of a tick, a size that cannot be counted. Accounts are looked up later, on the
crank's thread, when everything before the event has been taken: an account that is not there gives
an event that the engine rejects and journals. Prices must be whole ticks and quantities whole lots:
a live venue knows its own grid, so what does not fit is a wrong unit and not noise.
"""

from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from functools import singledispatchmethod
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np

from tidegate.api import asks
from tidegate.domain.book import EXTERNAL
from tidegate.domain.errors import AskInvalid
from tidegate.domain.events import (
    AccountOpened,
    AuctionTaken,
    BidCommitted,
    BidPlaced,
    BidRevealed,
    BookImported,
    CommitmentMade,
    Deposited,
    DepthObserved,
    FundingPaid,
    FundStaked,
    Input,
    InterestAccrued,
    LiquidationReported,
    OrdersExpired,
    OrdersFilled,
    PoolJoined,
    PoolLeft,
    PriceObserved,
    SignalObserved,
    Traded,
    Transferred,
    Unstaked,
    UnstakeRequested,
    Withdrawn,
)
from tidegate.domain.instrument import CASH, Spot
from tidegate.domain.units import Amount, Lots, Money, Nanos, Ppb, Ppm, Ticks, pack
from tidegate.drivers.recording_door import MONEY, scales_of
from tidegate.safeguards.stack import Stack


NOBODY: Final = -1  # a row that no account has: the engine says `account_unknown`
_EXACT: Final = Context(prec=80)
_LARGEST: Final = 2**62


class Rows(Protocol):
    """Who knows the rows of accounts and the instruments of open auctions."""

    def row(self, name: str) -> int:
        """Return the row of an account; -1 for none."""
        ...

    def ordered_in(self, order: int) -> int:
        """Return the instrument of an order in flight; -1 for none."""
        ...

    def sold_in(self, auction: int) -> int:
        """Return the instrument of an open auction; -1 for none."""
        ...


Build: TypeAlias = Callable[[Rows, Nanos], Input]


class Prepared(NamedTuple):
    """An ask that passed the door: its own time, if it gave one, and how it becomes an event.

    ``opens`` are the names of accounts that it opens: they must be new when it is taken. What is
    ``alone`` is a batch of its own: orders of the same batch would not yet obey it.
    """

    ts: int | None
    build: Build
    opens: tuple[str, ...] = ()
    alone: bool = False


class Door:
    """Turns asks into events for one venue; knows its instruments, and no account."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._venue = stack, stack.venue
        self._scales = scales_of(stack.venue, "venue")
        self._column = {i.symbol: n for n, i in enumerate(stack.venue.instruments)}
        self._source = {name: n for n, name in enumerate(stack.venue.sources)}
        self._tranche = {t.name: n for n, t in enumerate(stack.declaration.waterfall.tranches)}

    def prepare(self, ask: asks.AnyAsk) -> Prepared:
        """Judge what can be judged now; raise AskInvalid, naming the field."""
        match ask:
            case asks.Account():
                opens = (ask.name,)
            case asks.Book():
                opens = tuple(held.name for held in ask.accounts)
            case _:
                opens = ()
        return Prepared(ask.ts, self._build(ask), opens)

    def prepare_all(self, many: Sequence[asks.AnyAsk], where: str = "events") -> list[Prepared]:
        """Prepare all or raise AskInvalid for the first that is wrong, naming its place."""
        done: list[Prepared] = []
        for n, ask in enumerate(many):
            try:
                done.append(self.prepare(ask))
            except AskInvalid as e:
                raise AskInvalid(
                    where=f"{where}[{n}].{e.where}", what=e.what, found=e.found, hint=e.hint
                ) from None
        return done

    # ------------------------------------------------------------ one kind of ask each

    @singledispatchmethod
    def _build(self, ask: asks.AnyAsk) -> Build:
        raise AssertionError(ask)

    @_build.register
    def _(self, ask: asks.Price) -> Build:
        i, source = self._instrument(ask.instrument), self._named(self._source, ask.source)
        price = self._ticks("price", ask.price, i)
        width = self._units("confidence", ask.confidence, self._scales.tick[i], up=True)
        published = ask.published
        return lambda _, ts: PriceObserved(
            ts=ts,
            instrument=i,
            source=source,
            price=Ticks(price),
            published=Nanos(ts if published is None else published),
            confidence=Ticks(width),
        )

    @_build.register
    def _(self, ask: asks.Depth) -> Build:
        i = self._instrument(ask.instrument)
        bid, bid_lots = self._ladder("bids", ask.bids, i)
        ask_price, ask_lots = self._ladder("asks", ask.asks, i)
        return lambda _, ts: DepthObserved(
            ts=ts,
            instrument=i,
            bid_price=bid,
            bid_lots=bid_lots,
            ask_price=ask_price,
            ask_lots=ask_lots,
        )

    @_build.register
    def _(self, ask: asks.Account) -> Build:
        name, owner = ask.name, ask.owner
        # An owner that is not there must not make the account its own: -1 would say just that.
        return lambda rows, ts: AccountOpened(
            ts=ts, name=name, owner=-1 if owner is None else _there(rows.row(owner))
        )

    @_build.register
    def _(self, ask: asks.Book) -> Build:
        return self._book(ask)

    @_build.register
    def _(self, ask: asks.Deposit) -> Build:
        asset, name = self._asset(ask.asset), ask.account
        amount = self._amount("amount", ask.amount, asset)
        return lambda rows, ts: Deposited(
            ts=ts, account=rows.row(name), amount=Amount(amount), asset=asset
        )

    @_build.register
    def _(self, ask: asks.Withdrawal) -> Build:
        asset, name, settled = self._asset(ask.asset), ask.account, ask.settled
        amount = self._amount("amount", ask.amount, asset)
        return lambda rows, ts: Withdrawn(
            ts=ts, account=rows.row(name), amount=Amount(amount), asset=asset, settled=settled
        )

    @_build.register
    def _(self, ask: asks.Transfer) -> Build:
        source, target = ask.source, ask.target
        amount = self._amount("amount", ask.amount, CASH)
        return lambda rows, ts: Transferred(
            ts=ts, source=rows.row(source), target=rows.row(target), amount=Money(amount)
        )

    @_build.register
    def _(self, ask: asks.Trade) -> Build:
        i = self._instrument(ask.instrument)
        lots, price = self._lots("quantity", ask.quantity, i), self._ticks("price", ask.price, i)
        taker, maker, settled = ask.taker, ask.maker, ask.settled
        return lambda rows, ts: Traded(
            ts=ts,
            instrument=i,
            taker=rows.row(taker),
            maker=EXTERNAL if maker is None else rows.row(maker),
            lots=Lots(lots),
            price=Ticks(price),
            settled=settled,
        )

    @_build.register
    def _(self, ask: asks.Funding) -> Build:
        i, rate = self._instrument(ask.instrument), Ppb(ask.rate)
        return lambda _, ts: FundingPaid(ts=ts, instrument=i, rate=rate)

    @_build.register
    def _(self, ask: asks.Interest) -> Build:
        asset, rate = self._asset(ask.asset), Ppb(ask.rate)
        return lambda _, ts: InterestAccrued(ts=ts, rate=rate, asset=asset)

    @_build.register
    def _(self, ask: asks.Signal) -> Build:
        said = ask
        return lambda _, ts: SignalObserved(
            ts=ts,
            name=said.name,
            model=said.model,
            version=said.version,
            value=said.value,
            confidence=Ppm(said.confidence),
        )

    @_build.register
    def _(self, ask: asks.Liquidation) -> Build:
        i, name = self._instrument(ask.instrument), ask.account
        lots = self._lots("quantity", ask.quantity, i)
        cash = self._units("cash", ask.cash, MONEY, up=False)
        return lambda rows, ts: LiquidationReported(
            ts=ts, account=rows.row(name), instrument=i, lots=Lots(lots), cash=Money(cash)
        )

    @_build.register
    def _(self, ask: asks.Fills) -> Build:
        return self._fills(ask)

    @_build.register
    def _(self, ask: asks.Expired) -> Build:
        orders, reason = pack(np.array(ask.orders, np.int64)), ask.reason
        return lambda _, ts: OrdersExpired(ts=ts, order=orders, reason=reason)

    @_build.register
    def _(self, ask: asks.Take) -> Build:
        return self._bid(AuctionTaken, ask)

    @_build.register
    def _(self, ask: asks.Bid) -> Build:
        return self._bid(BidPlaced, ask)

    @_build.register
    def _(self, ask: asks.SealedBid) -> Build:
        auction, seal, bidder = ask.auction, bytes.fromhex(ask.seal), ask.bidder
        return lambda rows, ts: BidCommitted(
            ts=ts, auction=auction, bidder=_bidder(rows, bidder), seal=seal
        )

    @_build.register
    def _(self, ask: asks.Reveal) -> Build:
        said, salt = ask, bytes.fromhex(ask.salt)

        def build(rows: Rows, ts: Nanos) -> Input:
            lots, limit = self._of_auction(rows, said.auction, said.quantity, said.limit)
            return BidRevealed(ts=ts, bid=said.bid, lots=lots, limit=limit, salt=salt)

        return build

    @_build.register
    def _(self, ask: asks.Commitment) -> Build:
        i, said = self._instrument(ask.instrument), ask
        long_max, short_max = (
            self._lots(name, getattr(ask, name), i) for name in ("long_max", "short_max")
        )
        return lambda rows, ts: CommitmentMade(
            ts=ts,
            account=rows.row(said.account),
            instrument=i,
            long_max=Lots(long_max),
            short_max=Lots(short_max),
            discount=Ppm(said.discount),
            slope=Ppm(said.slope),
        )

    @_build.register
    def _(self, ask: asks.Stake) -> Build:
        k, name = self._named(self._tranche, ask.tranche, "tranche"), ask.account
        amount = self._amount("amount", ask.amount, CASH)
        return lambda rows, ts: FundStaked(
            ts=ts, account=rows.row(name), tranche=k, amount=Money(amount)
        )

    @_build.register
    def _(self, ask: asks.UnstakeRequest) -> Build:
        k, said = self._named(self._tranche, ask.tranche, "tranche"), ask
        return lambda rows, ts: UnstakeRequested(
            ts=ts, account=rows.row(said.account), tranche=k, shares=said.shares
        )

    @_build.register
    def _(self, ask: asks.Unstake) -> Build:
        k, name = self._named(self._tranche, ask.tranche, "tranche"), ask.account
        return lambda rows, ts: Unstaked(ts=ts, account=rows.row(name), tranche=k)

    @_build.register
    def _(self, ask: asks.PoolJoin) -> Build:
        name, amount = ask.account, self._amount("amount", ask.amount, CASH)
        return lambda rows, ts: PoolJoined(ts=ts, account=rows.row(name), amount=Money(amount))

    @_build.register
    def _(self, ask: asks.PoolLeave) -> Build:
        name, amount = ask.account, self._amount("amount", ask.amount, CASH)
        return lambda rows, ts: PoolLeft(ts=ts, account=rows.row(name), amount=Money(amount))

    # ------------------------------------------------------------ the longer ones

    def _book(self, ask: asks.Book) -> Build:
        place = {held.name: n for n, held in enumerate(ask.accounts)}
        owner = [self._named(place, h.owner or h.name, "owner") for h in ask.accounts]
        cash = [self._units("cash", h.cash, MONEY, up=False) for h in ask.accounts]
        rows: list[tuple[int, int, int, int]] = []
        for held in ask.positions:
            i = self._instrument(held.instrument)
            spot = isinstance(self._venue.instruments[i], Spot)
            rows.append(
                (
                    self._named(place, held.account, "account"),
                    i,
                    self._lots("quantity", held.quantity, i),
                    0 if spot else self._ticks("entry", held.entry, i),
                )
            )
        columns = [pack(np.array(c, np.int64)) for c in zip(*rows, strict=True)] or [b""] * 4
        names = tuple(place)
        if len(names) != len(ask.accounts):
            raise AskInvalid(where="accounts", what="names must differ", found="one name twice")
        return lambda _, ts: BookImported(
            ts=ts,
            names=names,
            owner=pack(np.array(owner, np.int64)),
            cash=pack(np.array(cash, np.int64)),
            account=columns[0],
            instrument=columns[1],
            lots=columns[2],
            entry=columns[3],
        )

    def _fills(self, ask: asks.Fills) -> Build:
        """Prepare fills; an order's instrument, hence its units, is known on the crank's thread."""
        told = [fill.left is not None for fill in ask.fills]
        if any(told) and not all(told):
            raise AskInvalid(where="fills", what="all must name left, or none", found="both")
        said = ask.fills

        def build(rows: Rows, ts: Nanos) -> Input:
            i = [rows.ordered_in(fill.order) for fill in said]
            lots = self._all_or_none([f.quantity for f in said], i, self._scales.lot)
            price = self._all_or_none([f.price for f in said], i, self._scales.tick)
            left = self._all_or_none([f.left or "0" for f in said], i, self._scales.lot)
            return OrdersFilled(
                ts=ts,
                order=pack(np.array([f.order for f in said], np.int64)),
                lots=lots,
                price=price,
                left=left if any(told) else b"",
            )

        return build

    def _bid(self, kind: type[AuctionTaken | BidPlaced], ask: asks.Take | asks.Bid) -> Build:
        said = ask

        def build(rows: Rows, ts: Nanos) -> Input:
            lots, limit = self._of_auction(rows, said.auction, said.quantity, said.limit)
            bidder = _bidder(rows, said.bidder)
            return kind(ts=ts, auction=said.auction, bidder=bidder, lots=lots, limit=limit)

        return build

    def _of_auction(
        self, rows: Rows, auction: int, quantity: str, limit: str
    ) -> tuple[Lots, Ticks]:
        """Return lots and ticks in an auction's units; 0 where it is closed or they do not fit."""
        i = rows.sold_in(auction)
        lots = self._or_none(quantity, i, self._scales.lot)
        return Lots(lots), Ticks(self._or_none(limit, i, self._scales.tick))

    def _all_or_none(
        self, texts: Sequence[str], i: Sequence[int], sizes: Sequence[Decimal]
    ) -> bytes:
        cells = [self._or_none(text, k, sizes) for text, k in zip(texts, i, strict=True)]
        return pack(np.array(cells, np.int64))

    def _or_none(self, text: str, i: int, sizes: Sequence[Decimal]) -> int:
        """Return whole units; 0, which the engine refuses, where they are none."""
        if i < 0:
            return 0
        scaled = _EXACT.divide(Decimal(text), sizes[i])
        whole = int(scaled.to_integral_value())
        return whole if whole == scaled and abs(whole) < _LARGEST else 0

    # ------------------------------------------------------------ names and numbers

    def _named(self, known: dict[str, int], name: str, where: str = "source") -> int:
        found = known.get(name)
        if found is None:
            raise AskInvalid(
                where=where,
                what=f"must be one of {', '.join(list(known)[:8]) or 'none: this stack has none'}",
                found=repr(name[:64]),
            )
        return found

    def _instrument(self, symbol: str) -> int:
        return self._named(self._column, symbol, "instrument")

    def _asset(self, name: str | None) -> int:
        if name is None or name == self._venue.numeraire:
            return CASH
        i = self._named(self._column, name, "asset")
        if not isinstance(self._venue.instruments[i], Spot):
            raise AskInvalid(
                where="asset", what="must be the numeraire or a spot instrument", found=repr(name)
            )
        return i

    def _ticks(self, where: str, text: str, i: int) -> int:
        return self._units(where, text, self._scales.tick[i])

    def _lots(self, where: str, text: str, i: int) -> int:
        return self._units(where, text, self._scales.lot[i])

    def _amount(self, where: str, text: str, asset: int) -> int:
        return self._units(where, text, self._scales.lot[asset])

    def _ladder(self, where: str, levels: Sequence[tuple[str, str]], i: int) -> tuple[bytes, bytes]:
        prices = [self._ticks(f"{where}[{n}][0]", p, i) for n, (p, _) in enumerate(levels)]
        # A book is never made deeper than it was.
        sizes = [
            self._units(f"{where}[{n}][1]", q, self._scales.lot[i], up=False)
            for n, (_, q) in enumerate(levels)
        ]
        return pack(np.array(prices, np.int64)), pack(np.array(sizes, np.int64))

    def _units(self, where: str, text: str, size: Decimal, *, up: bool | None = None) -> int:
        """Return ``text`` in units of ``size``; ``up`` says how a rest is rounded, if it may be."""
        scaled = _EXACT.divide(Decimal(text), size)
        if abs(scaled) >= _LARGEST:
            raise AskInvalid(where=where, what="is too large to count", found=text)
        rounding = {None: "ROUND_HALF_EVEN", True: "ROUND_CEILING", False: "ROUND_FLOOR"}[up]
        whole = int(scaled.to_integral_value(rounding))
        if up is None and whole != scaled:
            raise AskInvalid(
                where=where,
                what=f"must be a whole number of {size}",
                found=text,
                hint=f"{whole * size} would fit",
            )
        return whole


def _bidder(rows: Rows, name: str | None) -> int:
    return EXTERNAL if name is None else _there(rows.row(name))


def _there(row: int) -> int:
    """Return ``row``; for nobody a row beyond every account, since -1 has a meaning of its own."""
    return row if row >= 0 else 2**31 - 1
