"""A record of the journal in one line of words, and the accounts that it touched."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tidegate.api.answers import Logged
from tidegate.domain.book import EXTERNAL, FIRST_USER
from tidegate.domain.effects import (
    AuctionsOpened,
    AuctionsReduced,
    BreakerMoved,
    Decision,
    DeficitFound,
    Deleveraged,
    MarkMoved,
    OrdersPlaced,
    PositionsMoved,
    Posted,
    PostedBatch,
    Rejected,
    StagesTaken,
    TakenOver,
)
from tidegate.domain.events import (
    AccountOpened,
    Attested,
    AuctionTaken,
    BandsTaken,
    BidCommitted,
    BidPlaced,
    BidRevealed,
    BookImported,
    ClockTicked,
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
    ParameterChanged,
    ParameterProposed,
    PoolJoined,
    PoolLeft,
    PriceObserved,
    ScheduleObserved,
    SeedDrawn,
    SignalObserved,
    Traded,
    Transferred,
    Unstaked,
    UnstakeRequested,
    Withdrawn,
)
from tidegate.domain.units import is_column, unpack
from tidegate.engine.reading import percent_text
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Names
from tidegate.service.views_words import account_name, money_text, price_text, quantity_text


ACCOUNTS_SHOWN: Final = 32  # of one record
CELLS_SEEN: Final = 4_096  # of one column, to find them in


@dataclass(frozen=True, slots=True)
class Log:
    """Puts records into words with the venue's own names and decimals."""

    stack: Stack
    names: Names

    def line(self, record: Record) -> Logged:
        """Return one record in one line."""
        kinds = Counter(type(effect).__name__ for effect in record.effects)
        refused = [e.code for e in record.effects if isinstance(e, Rejected)]
        said = [self.event(record.event), *self._consequences(record.effects)]
        if refused:
            said.append(f"refused: {', '.join(refused)}")
        return Logged(
            seq=record.seq,
            ts=record.event.ts,
            kind=type(record.event).__name__,
            what="; ".join(said),
            accounts=[self._who(row) for row in touched(record)],
            effects=dict(kinds),
            refused=refused,
        )

    def event(self, event: Input) -> str:
        """Return what happened outside, whatever numbers it names."""
        match event:
            case PriceObserved():
                source = _at(self.stack.venue.sources, event.source, "source")
                i = event.instrument
                return f"{source} said {self._price(i, event.price)} of {self._symbol(i)}"
            case DepthObserved():
                bids, asks = _count(event.bid_price, "bid"), _count(event.ask_price, "ask")
                return f"the book of {self._symbol(event.instrument)}: {bids}, {asks}"
            case ClockTicked():
                return "the clock"
            case Traded():
                return self._traded(event)
            case Deposited() | Withdrawn():
                verb = "deposited" if isinstance(event, Deposited) else "asked for"
                return (
                    f"{self._who(event.account)} {verb} {self._amount(event.asset, event.amount)}"
                )
            case Transferred():
                there = f"from {self._who(event.source)} to {self._who(event.target)}"
                return f"{self._money(event.amount)} {there}"
            case LiquidationReported():
                size = self._size(event.instrument, event.lots)
                return f"the venue liquidated {size} of {self._who(event.account)}"
            case OrdersFilled() | OrdersExpired():
                if isinstance(event, OrdersFilled):
                    return _count(event.order, "fill") + " of our orders"
                return _count(event.order, "order") + f" gone: {event.reason}"
            case _:
                return self._rarer(event)

    def _rarer(self, event: Input) -> str:
        match event:
            case BookImported():
                rows = len(event.lots) // 8
                return f"a book of {len(event.names):,} accounts and {rows:,} positions"
            case AccountOpened():
                return f"{event.name} was opened"
            case FundingPaid():
                return f"funding of {event.rate / 1e7:g} % on {self._symbol(event.instrument)}"
            case InterestAccrued():
                return f"interest of {event.rate / 1e7:g} % on {self._asset(event.asset)}"
            case ParameterChanged():
                return f"{event.name} was set to {event.value:,}"
            case ParameterProposed():
                return f"{event.name} = {event.value:,} was announced"
            case SignalObserved():
                return f"{event.model} {event.version} said {event.name} = {event.value:,}"
            case ScheduleObserved():
                where = self._symbol(event.instrument)
                return f"{event.model} {event.version} scheduled {where}: {event.regime}"
            case SeedDrawn():
                return "a seed was drawn"
            case CommitmentMade():
                share = percent_text(event.discount)
                where = self._symbol(event.instrument)
                return f"{self._who(event.account)} stands behind {where} at a discount of {share}"
            case Attested():
                return f"{event.signer} signed a {event.kind}"
            case _:
                return self._of_bidders(event)

    def _of_bidders(self, event: Input) -> str:
        match event:
            case AuctionTaken() | BidPlaced() | BidCommitted():
                verb = {
                    AuctionTaken: "took from",
                    BidPlaced: "bid in",
                    BidCommitted: "sealed a bid in",
                }
                return f"{self._who(event.bidder)} {verb[type(event)]} auction {event.auction}"
            case BidRevealed():
                return f"bid {event.bid} was revealed"
            case BandsTaken():
                return f"{self._size(event.instrument, event.lots)} traded with bands"
            case PoolJoined():
                return f"{self._who(event.account)} put {self._money(event.amount)} into the pool"
            case PoolLeft():
                return f"{self._who(event.account)} left the pool with {self._money(event.amount)}"
            case FundStaked():
                return f"{self._who(event.account)} staked {self._money(event.amount)} in the fund"
            case UnstakeRequested() | Unstaked():
                verb = "asked to leave" if isinstance(event, UnstakeRequested) else "left"
                return f"{self._who(event.account)} {verb} the fund"
            case _:
                return type(event).__name__

    def _traded(self, event: Traded) -> str:
        verb = "bought" if event.lots > 0 else "sold"
        size, price = (
            self._size(event.instrument, event.lots),
            self._price(event.instrument, event.price),
        )
        maker = "" if event.maker == EXTERNAL else f" with {self._who(event.maker)}"
        return f"{self._who(event.taker)} {verb} {size} at {price}{maker}"

    def _consequences(self, effects: Iterable[Decision]) -> Iterator[str]:
        """Yield what a person would want to know first of what was decided."""
        for effect in effects:
            match effect:
                case MarkMoved():
                    i = effect.instrument
                    yield f"{self._symbol(i)} is marked {self._price(i, effect.price)}"
                case BreakerMoved():
                    yield f"rung {effect.rung} ({effect.reason})"
                case StagesTaken():
                    yield _count(effect.account, "account") + " entered a stage"
                case OrdersPlaced():
                    yield _count(effect.account, "order") + f" placed by the {effect.route} route"
                case AuctionsOpened():
                    yield _count(effect.account, "auction") + " opened"
                case AuctionsReduced():
                    yield _count(effect.auction, "auction") + f" {effect.reason}"
                case PositionsMoved(reason="netted"):
                    yield "closes were met by opposite closes"
                case Deleveraged():
                    winners, where = (
                        _count(effect.account, "winner"),
                        self._symbol(effect.instrument),
                    )
                    bankrupt = _count(effect.bankrupt, "bankrupt account")
                    yield f"{bankrupt} deleveraged against {winners} in {where}"
                case DeficitFound():
                    who, amount = self._who(effect.account), self._money(effect.amount)
                    yield f"{who} left a deficit of {amount}"
                case TakenOver():
                    yield _count(effect.account, "position") + " taken over by the backstop"
                case _:
                    pass

    def _who(self, row: int) -> str:
        """Return a name; input may name a row that there is none of."""
        if 0 <= row < FIRST_USER + len(self.names.all):
            return account_name(self.names, row, self.stack)
        return f"account {row}"

    def _symbol(self, i: int) -> str:
        return _at([one.symbol for one in self.stack.venue.instruments], i, "instrument")

    def _asset(self, i: int) -> str:
        return self.stack.venue.numeraire if i == -1 else self._symbol(i)

    def _price(self, i: int, ticks: int) -> str:
        known = self.stack.venue.instruments
        return price_text(known[i], ticks) if 0 <= i < len(known) else f"{ticks} ticks"

    def _size(self, i: int, lots: int) -> str:
        known = self.stack.venue.instruments
        size = quantity_text(known[i], abs(lots)) if 0 <= i < len(known) else f"{abs(lots)} lots"
        return f"{size} {self._symbol(i)}"

    def _money(self, money: int) -> str:
        return f"{money_text(money)} {self.stack.venue.numeraire}"

    def _amount(self, asset: int, amount: int) -> str:
        return self._money(amount) if asset == -1 else self._size(asset, amount)


def _at(names: tuple[str, ...] | list[str], n: int, what: str) -> str:
    return names[n] if 0 <= n < len(names) else f"{what} {n}"


def _count(column: bytes, what: str) -> str:
    n = len(column) // 8
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def touched(record: Record) -> list[int]:
    """Return the users' rows that a record is about, in order of appearance, the first few."""
    if isinstance(record.event, BookImported):
        return []  # everybody
    seen = dict.fromkeys(row for row in _rows(record) if row >= FIRST_USER)
    return list(islice(seen, ACCOUNTS_SHOWN))


def _rows(record: Record) -> Iterator[int]:
    event = record.event
    for name in ("account", "taker", "maker", "source", "target", "bidder"):
        row = getattr(event, name, None)
        if isinstance(row, int) and not isinstance(event, PriceObserved):
            yield row
    for effect in record.effects:
        match effect:
            case Posted():
                yield from (effect.debit, effect.credit)
            case DeficitFound():
                yield effect.account
            case Deleveraged():
                yield from _cells(effect.bankrupt)
                yield from _cells(effect.account)
            case TakenOver():
                yield from _cells(effect.account)
                yield from _cells(effect.provider)
            case (
                OrdersPlaced() | AuctionsOpened() | StagesTaken() | PositionsMoved() | PostedBatch()
            ):
                yield from _cells(effect.account)
            case _:
                pass


def _cells(column: bytes) -> list[int]:
    return unpack(column[: 8 * CELLS_SEEN]).tolist() if is_column(column) else []
