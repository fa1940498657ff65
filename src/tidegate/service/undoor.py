"""The way back through the door: events become asks again, rows names, ticks and lots decimals.

What the service takes from a feed is made of a recording here, so that a demonstration plays it
through the real API. `door.Door` gives the same event back, field by field.
"""

from collections.abc import Callable, Sequence
from functools import singledispatchmethod
from itertools import starmap
from typing import Protocol

from tidegate.api import asks
from tidegate.domain.book import EXTERNAL
from tidegate.domain.errors import TidegateError
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
from tidegate.domain.units import unpack
from tidegate.safeguards.stack import Stack
from tidegate.service.views_words import decimal_text, money_text, price_text, quantity_text


class Unsayable(TidegateError):
    """An event that no feed may tell: the engine's own, an operator's, or a named recording's."""


class Known(Protocol):
    """Who knows the names of rows, and the instruments of our orders and of open auctions."""

    def name(self, row: int) -> str:
        """Return the name of a user's account."""
        ...

    def ordered_in(self, order: int) -> int:
        """Return the instrument of an order."""
        ...

    def sold_in(self, auction: int) -> int:
        """Return the instrument of an auction."""
        ...


class Undoor:
    """Turns events of one venue into what a feed or a keeper would have said."""

    def __init__(self, stack: Stack, known: Known) -> None:
        self._of, self._sources = stack.venue.instruments, stack.venue.sources
        self._tranches = [t.name for t in stack.declaration.waterfall.tranches]
        self._known = known

    @singledispatchmethod
    def ask(self, event: Input) -> asks.AnyAsk:
        """Return the ask that becomes ``event``; raise Unsayable where there is none."""
        msg = f"{type(event).__name__} cannot be told over the API"
        raise Unsayable(msg)

    # ------------------------------------------------------------ the market

    @ask.register
    def _(self, e: PriceObserved) -> asks.AnyAsk:
        of = self._of[e.instrument]
        return asks.Price(
            ts=e.ts,
            instrument=of.symbol,
            source=self._sources[e.source],
            price=price_text(of, e.price),
            published=e.published,
            confidence=price_text(of, e.confidence),
        )

    @ask.register
    def _(self, e: DepthObserved) -> asks.AnyAsk:
        of = self._of[e.instrument]

        def ladder(prices: bytes, lots: bytes) -> list[tuple[str, str]]:
            rows = zip(unpack(prices).tolist(), unpack(lots).tolist(), strict=True)
            return [(price_text(of, p), quantity_text(of, n)) for p, n in rows]

        return asks.Depth(
            ts=e.ts,
            instrument=of.symbol,
            bids=ladder(e.bid_price, e.bid_lots),
            asks=ladder(e.ask_price, e.ask_lots),
        )

    @ask.register
    def _(self, e: FundingPaid) -> asks.AnyAsk:
        return asks.Funding(ts=e.ts, instrument=self._of[e.instrument].symbol, rate=e.rate)

    @ask.register
    def _(self, e: InterestAccrued) -> asks.AnyAsk:
        return asks.Interest(ts=e.ts, rate=e.rate, asset=self._asset(e.asset))

    @ask.register
    def _(self, e: SignalObserved) -> asks.AnyAsk:
        return asks.Signal(
            ts=e.ts,
            name=e.name,
            model=e.model,
            version=e.version,
            value=e.value,
            confidence=e.confidence,
        )

    # ------------------------------------------------------------ accounts

    @ask.register
    def _(self, e: BookImported) -> asks.AnyAsk:
        owners: list[int] = unpack(e.owner).tolist()
        cash: list[int] = unpack(e.cash).tolist()
        rows = zip(e.names, owners, cash, strict=True)
        held = [
            asks.Holding(
                name=name,
                cash=money_text(money),
                owner=None if e.names[owner] == name else e.names[owner],
            )
            for name, owner, money in rows
        ]
        columns = (unpack(c).tolist() for c in (e.account, e.instrument, e.lots, e.entry))

        def holds(account: int, instrument: int, lots: int, entry: int) -> asks.Holds:
            of = self._of[instrument]
            return asks.Holds(
                account=e.names[account],
                instrument=of.symbol,
                quantity=quantity_text(of, lots),
                entry="0" if isinstance(of, Spot) else price_text(of, entry),
            )

        positions = list(starmap(holds, zip(*columns, strict=True)))
        return asks.Book(ts=e.ts, accounts=held, positions=positions)

    @ask.register
    def _(self, e: AccountOpened) -> asks.AnyAsk:
        owner = None if e.owner < 0 else self._known.name(e.owner)
        return asks.Account(ts=e.ts, name=e.name, owner=owner)

    @ask.register
    def _(self, e: Deposited) -> asks.AnyAsk:
        return asks.Deposit(
            ts=e.ts,
            account=self._known.name(e.account),
            amount=self._amount(e.amount, e.asset),
            asset=self._asset(e.asset),
        )

    @ask.register
    def _(self, e: Withdrawn) -> asks.AnyAsk:
        return asks.Withdrawal(
            ts=e.ts,
            account=self._known.name(e.account),
            amount=self._amount(e.amount, e.asset),
            asset=self._asset(e.asset),
            settled=e.settled,
        )

    @ask.register
    def _(self, e: Transferred) -> asks.AnyAsk:
        source, target = self._known.name(e.source), self._known.name(e.target)
        return asks.Transfer(ts=e.ts, source=source, target=target, amount=money_text(e.amount))

    @ask.register
    def _(self, e: Traded) -> asks.AnyAsk:
        if e.reduces:
            msg = "a trade that takes no more than is held cannot be told over the API"
            raise Unsayable(msg)
        of = self._of[e.instrument]
        return asks.Trade(
            ts=e.ts,
            instrument=of.symbol,
            taker=self._known.name(e.taker),
            maker=self._outsider(e.maker),
            quantity=quantity_text(of, e.lots),
            price=price_text(of, e.price),
            settled=e.settled,
        )

    @ask.register
    def _(self, e: LiquidationReported) -> asks.AnyAsk:
        of = self._of[e.instrument]
        return asks.Liquidation(
            ts=e.ts,
            account=self._known.name(e.account),
            instrument=of.symbol,
            quantity=quantity_text(of, e.lots),
            cash=money_text(e.cash),
        )

    @ask.register
    def _(self, e: CommitmentMade) -> asks.AnyAsk:
        of = self._of[e.instrument]
        return asks.Commitment(
            ts=e.ts,
            account=self._known.name(e.account),
            instrument=of.symbol,
            long_max=quantity_text(of, e.long_max),
            short_max=quantity_text(of, e.short_max),
            discount=e.discount,
            slope=e.slope,
        )

    @ask.register
    def _(self, e: FundStaked) -> asks.AnyAsk:
        return asks.Stake(
            ts=e.ts,
            account=self._known.name(e.account),
            tranche=self._tranches[e.tranche],
            amount=money_text(e.amount),
        )

    @ask.register
    def _(self, e: UnstakeRequested) -> asks.AnyAsk:
        return asks.UnstakeRequest(
            ts=e.ts,
            account=self._known.name(e.account),
            tranche=self._tranches[e.tranche],
            shares=e.shares,
        )

    @ask.register
    def _(self, e: Unstaked) -> asks.AnyAsk:
        name = self._known.name(e.account)
        return asks.Unstake(ts=e.ts, account=name, tranche=self._tranches[e.tranche])

    @ask.register
    def _(self, e: PoolJoined) -> asks.AnyAsk:
        name = self._known.name(e.account)
        return asks.PoolJoin(ts=e.ts, account=name, amount=money_text(e.amount))

    @ask.register
    def _(self, e: PoolLeft) -> asks.AnyAsk:
        name = self._known.name(e.account)
        return asks.PoolLeave(ts=e.ts, account=name, amount=money_text(e.amount))

    # ------------------------------------------------------------ orders and auctions

    @ask.register
    def _(self, e: OrdersFilled) -> asks.AnyAsk:
        columns = [unpack(c).tolist() for c in (e.order, e.lots, e.price)]
        left: Sequence[int | None] = unpack(e.left).tolist() if e.left else [None] * len(columns[0])

        def fill(order: int, lots: int, price: int, rest: int | None) -> asks.Fill:
            of = self._of[self._known.ordered_in(order)]
            return asks.Fill(
                order=order,
                quantity=quantity_text(of, lots),
                price=price_text(of, price),
                left=None if rest is None else quantity_text(of, rest),
            )

        return asks.Fills(ts=e.ts, fills=list(starmap(fill, zip(*columns, left, strict=True))))

    @ask.register
    def _(self, e: OrdersExpired) -> asks.AnyAsk:
        return asks.Expired(ts=e.ts, orders=unpack(e.order).tolist(), reason=e.reason)

    @ask.register
    def _(self, e: AuctionTaken) -> asks.AnyAsk:
        return self._bid(asks.Take, e)

    @ask.register
    def _(self, e: BidPlaced) -> asks.AnyAsk:
        return self._bid(asks.Bid, e)

    @ask.register
    def _(self, e: BidCommitted) -> asks.AnyAsk:
        return asks.SealedBid(
            ts=e.ts, auction=e.auction, seal=e.seal.hex(), bidder=self._outsider(e.bidder)
        )

    def reveal(self, e: BidRevealed, auction: int) -> asks.Reveal:
        """Return the ask that opens a sealed bid; the event does not say in which auction."""
        of = self._of[self._known.sold_in(auction)]
        return asks.Reveal(
            ts=e.ts,
            bid=e.bid,
            auction=auction,
            quantity=quantity_text(of, e.lots),
            limit=price_text(of, e.limit),
            salt=e.salt.hex(),
        )

    def _bid(
        self, kind: Callable[..., asks.Take | asks.Bid], e: AuctionTaken | BidPlaced
    ) -> asks.AnyAsk:
        of = self._of[self._known.sold_in(e.auction)]
        return kind(
            ts=e.ts,
            auction=e.auction,
            quantity=quantity_text(of, e.lots),
            limit=price_text(of, e.limit),
            bidder=self._outsider(e.bidder),
        )

    # ------------------------------------------------------------ names and numbers

    def _outsider(self, row: int) -> str | None:
        return None if row == EXTERNAL else self._known.name(row)

    def _asset(self, asset: int) -> str | None:
        return None if asset == CASH else self._of[asset].symbol

    def _amount(self, amount: int, asset: int) -> str:
        if asset == CASH:
            return money_text(amount)
        return decimal_text(amount, self._of[asset].lot_size)
