"""What a record says to each topic of the stream: a pure function, one frame a record and topic."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from tidegate.api.answers import Frame, Logged, Receipt
from tidegate.domain.book import FUND, TRANCHES_MAX
from tidegate.domain.effect import Effect
from tidegate.domain.effects import (
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    BidKept,
    BidsCleared,
    BreakerMoved,
    Decision,
    DeficitFound,
    Deleveraged,
    HealthMoved,
    MarkMoved,
    OrdersPlaced,
    OrdersReduced,
    PeakMoved,
    Posted,
    PostedBatch,
    ProfileMoved,
)
from tidegate.domain.events import OrdersExpired
from tidegate.domain.instrument import CASH
from tidegate.domain.units import unpack
from tidegate.ports import Record
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Names
from tidegate.service.views import quality_name, rung_name, share_of, shares
from tidegate.service.views_log import Log
from tidegate.service.views_receipts import receipts_of
from tidegate.service.views_words import (
    account_name,
    money_text,
    price_text,
    quantity_text,
    rows_of,
)


E = TypeVar("E", bound=Effect)

# Topics made of records: every one of these frames can be had again, from the journal if need be.
RECORDED: Final = (
    "marks",
    "rungs",
    "health",
    "profile",
    "orders",
    "auctions",
    "fund",
    "deleveragings",
    "events",
)
# Topics that show a state, or come from outside the journal: only the newest are kept.
SHOWN: Final = ("venue", "flow", "alerts")
TOPICS: Final = (*RECORDED, *SHOWN)
# What a keeper that is bound to one account may follow: nobody is named there.
BOUND: Final = frozenset({"auctions", "marks", "rungs"})
# Of these a client that lags is sent only the newest of each key.
CONFLATED: Final = frozenset({"marks", "health", "profile"})

_TOPIC_OF: Final[dict[type, str]] = {
    MarkMoved: "marks",
    BreakerMoved: "rungs",
    HealthMoved: "health",
    ProfileMoved: "profile",
    OrdersPlaced: "orders",
    OrdersReduced: "orders",
    AuctionsOpened: "auctions",
    AuctionsReset: "auctions",
    AuctionsReduced: "auctions",
    BidKept: "auctions",
    BidsCleared: "auctions",
    PeakMoved: "fund",
    DeficitFound: "fund",
    Deleveraged: "deleveragings",
}
_ENCODER: Final = msgspec.json.Encoder()
_MORE: Final = ',"more":true}'


class Book(NamedTuple):
    """What frames need beside a record: the venue's names and decimals, which never change."""

    stack: Stack
    names: Names


def topics_of(record: Record) -> list[str]:
    """Return the topics that a record says anything to, in the order in which they are sent."""
    said = {_TOPIC_OF.get(type(effect), "") for effect in record.effects}
    if "fund" not in said and any(_of_fund(effect) for effect in record.effects):
        said.add("fund")
    said.add("events")
    return [topic for topic in RECORDED if topic in said]


def keys_of(record: Record, topic: str) -> frozenset[Hashable]:
    """Return of what a frame tells the newest: a later one with these keys makes it old."""
    if topic == "marks":
        return frozenset(e.instrument for e in record.effects if isinstance(e, MarkMoved))
    if topic == "profile":
        return frozenset(e.instrument for e in record.effects if isinstance(e, ProfileMoved))
    return frozenset({topic})


def frame_of(record: Record, topic: str, book: Book) -> Frame:
    """Return what ``record`` says to one of its topics."""
    return Frame(topic=topic, seq=record.seq, ts=record.event.ts, data=_SAY[topic](record, book))


def encoded(frame: Frame) -> str:
    """Return a frame as the client reads it."""
    return _ENCODER.encode(frame).decode()


def and_more(message: str) -> str:
    """Return an encoded frame with the note that others of the same record follow."""
    return message[:-1] + _MORE


def newest_only(said: Iterable[tuple[Record, str]]) -> list[tuple[Record, str]]:
    """Return (record, topic) pairs without the conflated ones that a later one has made old."""
    seen: set[tuple[str, Hashable]] = set()
    kept: list[tuple[Record, str]] = []
    for record, topic in reversed(list(said)):
        if topic in CONFLATED:
            keys = {(topic, key) for key in keys_of(record, topic)}
            if keys <= seen:
                continue
            seen |= keys
        kept.append((record, topic))
    return kept[::-1]


def _marks(record: Record, book: Book) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for effect in _each(record, MarkMoved):
        of = book.stack.venue.instruments[effect.instrument]
        out.append(
            {
                "instrument": of.symbol,
                "mark": price_text(of, effect.price),
                "low": price_text(of, effect.low),
                "high": price_text(of, effect.high),
                "index": price_text(of, effect.index),
                "quality": quality_name(effect.quality),
                "reason": effect.reason,
            }
        )
    return out


def _rungs(record: Record, _book: Book) -> dict[str, Any]:
    last = _each(record, BreakerMoved)[-1]
    return {
        "rung": last.rung,
        "rungs": len(Rung),
        "name": rung_name(last.rung),
        "reason": last.reason,
        "value": last.value,
        "calm_since": last.calm_since if last.calm_since >= 0 else None,
    }


def _health(record: Record, _book: Book) -> dict[str, Any]:
    last = _each(record, HealthMoved)[-1]
    return {
        "liquidatable": last.liquidatable,
        "bankrupt": last.bankrupt,
        "required": money_text(last.required),
        "distressed": money_text(last.distressed),
        "deficit": money_text(last.deficit),
    }


def _profile(record: Record, book: Book) -> list[dict[str, Any]]:
    width = share_of(book.stack.declaration.profile.width)
    return [
        {
            "instrument": book.stack.venue.instruments[effect.instrument].symbol,
            "width": width,
            "near": share_of(effect.near),
            "down": shares(effect.down),
            "up": shares(effect.up),
        }
        for effect in _each(record, ProfileMoved)
    ]


def _orders(record: Record, book: Book) -> dict[str, Any]:
    placed: list[dict[str, Any]] = []
    reduced: list[dict[str, Any]] = []
    for effect in record.effects:
        if isinstance(effect, OrdersPlaced):
            placed += _placed(effect, book)
        elif isinstance(effect, OrdersReduced):
            reduced += [
                {"order": order, "lots": lots, "closed": bool(closed)}
                for order, lots, closed in rows_of(effect.order, effect.lots, effect.closed)
            ]
    reason = record.event.reason if isinstance(record.event, OrdersExpired) else ""
    return {"placed": placed, "reduced": reduced, "reason": reason}


def _placed(effect: OrdersPlaced, book: Book) -> list[dict[str, Any]]:
    rows = rows_of(effect.account, effect.instrument, effect.lots, effect.limit, effect.share)
    out: list[dict[str, Any]] = []
    for n, (account, i, lots, limit, share) in enumerate(rows):
        of = book.stack.venue.instruments[i]
        out.append(
            {
                "order": effect.first + n,
                "account": account_name(book.names, account, book.stack),
                "instrument": of.symbol,
                "quantity": quantity_text(of, lots),
                "limit": price_text(of, limit),
                "route": effect.route,
                "placed_at": effect.at,
                "share": share_of(share),
            }
        )
    return out


def _auctions(record: Record, book: Book) -> dict[str, Any]:
    opened: list[dict[str, Any]] = []
    anew: list[dict[str, Any]] = []
    reduced: list[dict[str, Any]] = []
    bids: list[int] = []
    revealed: list[int] = []
    cleared: list[dict[str, Any]] = []
    met = clearing_prices(record)
    for effect in record.effects:
        match effect:
            case AuctionsOpened():
                opened += _opened(effect, book)
            case AuctionsReset():
                anew += [
                    {
                        "auction": auction,
                        "base_ticks": base,
                        "limit_ticks": limit,
                        "began": effect.at,
                        "reason": effect.reason,
                    }
                    for auction, base, limit in rows_of(effect.auction, effect.base, effect.limit)
                ]
            case AuctionsReduced():
                reduced += [
                    {
                        "auction": a,
                        "lots": -n,
                        "ticks": met.get(a, effect.price),
                        "closed": bool(over),
                        "reason": effect.reason,
                    }
                    for a, n, over in rows_of(effect.auction, effect.lots, effect.closed)
                ]
            case BidKept():
                # Nobody but who sealed it hears what a bid says, nor whose it is.
                (revealed if effect.seal and effect.lots else bids).append(effect.auction)
            case BidsCleared():
                cleared += [
                    {"bid": bid, "lots": lots, "ticks": ticks, "reason": effect.reason}
                    for bid, lots, ticks in rows_of(effect.bid, effect.lots, effect.price)
                ]
            case _:
                pass
    return {
        "opened": opened,
        "reset": anew,
        "reduced": reduced,
        "bids": bids,
        "revealed": revealed,
        "cleared": cleared,
    }


def clearing_prices(record: Record) -> dict[int, int]:
    """Return the one price of each batch of a record, in ticks, by its auction.

    Batches that sold something are answered in the order in which their auctions are reduced.
    """
    prices = [
        int(found.max())
        for e in _each(record, BidsCleared)
        if e.reason == "cleared" and (found := unpack(e.price)).any()
    ]
    auctions = [
        int(a)
        for e in _each(record, AuctionsReduced)
        if e.reason == "cleared"
        for a in unpack(e.auction)
    ]
    return dict(zip(auctions, prices, strict=True)) if len(prices) == len(auctions) else {}


def _opened(effect: AuctionsOpened, book: Book) -> list[dict[str, Any]]:
    rows = rows_of(effect.instrument, effect.lots, effect.base, effect.limit)
    out: list[dict[str, Any]] = []
    for n, (i, lots, base, limit) in enumerate(rows):
        of = book.stack.venue.instruments[i]
        out.append(
            {
                "auction": effect.first + n,
                "instrument": of.symbol,
                "quantity": quantity_text(of, -lots),  # what the bidder gets
                "mark": price_text(of, base),
                "limit": price_text(of, limit),
                "opened_at": effect.at,
            }
        )
    return out


def _of_fund(effect: Decision) -> bool:
    return bool(_moved(effect))


def _moved(effect: Decision) -> dict[int, int]:
    """Return by how much an effect changes each tranche's cash."""
    last = FUND + TRANCHES_MAX
    moved: dict[int, int] = {}
    if isinstance(effect, Posted) and effect.asset == CASH:
        for row, sign in ((effect.credit, 1), (effect.debit, -1)):
            if FUND <= row < last:
                moved[row] = moved.get(row, 0) + sign * effect.amount
    if isinstance(effect, PostedBatch) and effect.asset == CASH:
        account, amount = unpack(effect.account), unpack(effect.amount)
        if FUND <= effect.counter < last:
            moved[effect.counter] = -int(amount.sum())
        here = (account >= FUND) & (account < last)
        for row, n in zip(account[here].tolist(), amount[here].tolist(), strict=True):
            moved[row] = moved.get(row, 0) + n
    return {row: n for row, n in moved.items() if n}


def _fund(record: Record, book: Book) -> dict[str, Any]:
    changes: list[dict[str, Any]] = []
    peak, deficits = None, list[dict[str, Any]]()
    for effect in record.effects:
        if isinstance(effect, (Posted, PostedBatch)):
            changes += [
                {
                    "tranche": account_name(book.names, row, book.stack),
                    "change": money_text(n),
                    "reason": effect.reason,
                }
                for row, n in _moved(effect).items()
            ]
        elif isinstance(effect, PeakMoved):
            peak = money_text(effect.peak)
        elif isinstance(effect, DeficitFound):
            deficits.append(
                {
                    "account": account_name(book.names, effect.account, book.stack),
                    "amount": money_text(effect.amount),
                    "fund": money_text(effect.fund),
                    "socialised": money_text(effect.socialised),
                    "uncovered": money_text(effect.uncovered),
                }
            )
    return {"changes": changes, "peak": peak, "deficits": deficits}


def _deleveragings(record: Record, book: Book) -> list[Receipt]:
    return receipts_of(record, book.stack, book.names)


def _events(record: Record, book: Book) -> Logged:
    return Log(book.stack, book.names).line(record)


def _each(record: Record, kind: type[E]) -> list[E]:
    return [effect for effect in record.effects if isinstance(effect, kind)]


_SAY: Final[dict[str, Callable[[Record, Book], Any]]] = {
    "marks": _marks,
    "rungs": _rungs,
    "health": _health,
    "profile": _profile,
    "orders": _orders,
    "auctions": _auctions,
    "fund": _fund,
    "deleveragings": _deleveragings,
    "events": _events,
}
assert tuple(_SAY) == RECORDED
