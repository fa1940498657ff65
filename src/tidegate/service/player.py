"""Plays a recording through the API of a running service, and is the venue that it trades at.

What `drivers.replay.Replay` does in one process happens here from outside: prices carry the impact
of our own orders, the visible book is quoted every step, orders are fetched, executed by the
simulated venue and answered, keepers look at auctions and bid. Nothing is handed to the engine but
over HTTP, under keys of a feed and of a keeper.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Final

import msgspec
import numpy as np

from tidegate.api.answers import OrderNow, Taken
from tidegate.api.asks import FEED_ASKS
from tidegate.client import Client
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import (
    AccountOpened,
    BookImported,
    DepthObserved,
    Input,
    PriceObserved,
    Traded,
    Withdrawn,
)
from tidegate.domain.units import Nanos, pack
from tidegate.drivers.recording import Recording
from tidegate.drivers.replay import REPEAT_WITHIN
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.safeguards.stack import Stack
from tidegate.service.bidders import Bidders
from tidegate.service.demo_clock import DemoClock
from tidegate.service.undoor import Undoor, Unsayable


CHUNK: Final = 1_000  # events of one request


@dataclass(slots=True)
class Played:
    """What was told to the service, and what it made of it."""

    told: Counter[str] = field(default_factory=Counter[str])  # by kind of ask
    refused: Counter[str] = field(default_factory=Counter[str])  # by code
    left_out: Counter[str] = field(default_factory=Counter[str])  # kinds that no feed may tell
    records: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    requests: int = 0
    orders: int = 0
    ts: int = 0  # how far it came
    complete: bool = False


class Stopped(Exception):
    """Somebody ended it."""


class Known:
    """Names, orders and auctions, as somebody outside knows them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.orders: dict[int, int] = {}  # instrument
        self.auctions: dict[int, int] = {}  # instrument

    def name(self, row: int) -> str:
        """Return the name of a user's account."""
        return self.names[row - FIRST_USER]

    def ordered_in(self, order: int) -> int:
        """Return the instrument of an order that was seen."""
        return self.orders[order]

    def sold_in(self, auction: int) -> int:
        """Return the instrument of an auction that was seen."""
        return self.auctions[auction]

    def hear(self, event: Input) -> None:
        """Learn the names of accounts that are opened."""
        match event:
            case BookImported():
                self.names += event.names
            case AccountOpened():
                self.names.append(event.name)
            case _:
                pass


class Player:
    """One performance of one recording; `run` it in a thread of its own."""

    def __init__(
        self,
        feed: Client,
        keeper: Client,
        recording: Recording,
        stack: Stack,
        clock: DemoClock,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        venue = recording.venue
        streams = Streams(root=venue.seed, path=0)
        self.market = SimVenue(venue, streams)
        self.played = Played()
        self._feed, self._recording, self._clock, self._stopped = feed, recording, clock, stopped
        self._step_ns, self._known = venue.step_ns, Known()
        self._undoor = Undoor(stack, self._known)
        self._lot = [Decimal(i.lot_size) for i in venue.instruments]
        self._tick_size = [Decimal(i.tick_size) for i in venue.instruments]
        self._column = {i.symbol: n for n, i in enumerate(venue.instruments)}
        self._bidders = Bidders(keeper, stack, self.market, streams, self._undoor)
        self._last: dict[tuple[int, int], PriceObserved] = {}
        self._shown: dict[int, int] = {}
        self._tick = 0
        # Keys of another performance of the same recording are others: it is told anew.
        self._run = f"{recording.digest[:12]}-{time.time_ns():x}"

    def run(self) -> Played:
        """Play to the end, or until it is stopped; return what was told."""
        try:
            for ts, events in groupby(self._recording.events(), key=lambda event: event.ts):
                if not self._tick:
                    self._tick = ts + self._step_ns
                told = self._until(ts)
                self._wait(ts)
                for event in events:
                    told += self._weather(event)
                self._tell(told)
                self._serve()
            while (due := self._next_due()) is not None:
                self._answers(due)
            self.played.complete = True
        except Stopped:
            pass
        return self.played

    # ------------------------------------------------------------ time

    def _wait(self, ts: int) -> None:
        if not self._clock.wait(ts, self._stopped):
            raise Stopped
        self.played.ts = max(self.played.ts, ts)

    def _until(self, ts: int) -> list[Input]:
        """Let time pass up to ``ts``; return what is visible then and was not yet told."""
        told: list[Input] = []
        while self._tick <= ts:
            self._answers(self._tick)
            self._wait(self._tick)
            told = self._visible(Nanos(self._tick))
            if self._tick < ts:
                self._tell(told)
                self._serve()
                told = []
            self._tick += self._step_ns
        self._answers(ts)
        return told

    def _next_due(self) -> int | None:
        due = (self.market.next_due(), self._bidders.next_due())
        return min((d for d in due if d is not None), default=None)

    def _answers(self, ts: int) -> None:
        """Tell what became of orders, and bid, up to ``ts``."""
        while (due := self._next_due()) is not None and due <= ts:
            if due == self._bidders.next_due():
                self._wait(due)
                self.played.told["Take"] += 1
                self._note(self._bidders.bid(self._key()), 1)
                continue
            heard = self.market.poll(Nanos(due))
            if heard:
                self._wait(due)
                self._tell(heard)

    # ------------------------------------------------------------ what happens

    def _weather(self, event: Input) -> list[Input]:
        """Return what of a recorded event is told; see `Replay`."""
        match event:
            case PriceObserved():
                self._last[event.instrument, event.source] = event
                shown = self.market.displace(event)
                self._shown[event.instrument] = self.market.impact_ppm(event.instrument)
                return [shown]
            case DepthObserved() | Traded(taker=0, maker=0):
                self.market.observe(event)
                return []
            case Traded() | Withdrawn() if event.settled:
                return [msgspec.structs.replace(event, settled=False)]
            case _:
                return [event]

    def _visible(self, now: Nanos) -> list[Input]:
        """Return the books as they stand, and prices that our own impact has moved since."""
        told: list[Input] = list(self.market.quote(now))
        reach = REPEAT_WITHIN * self._step_ns
        impact = [self.market.impact_ppm(i) for i in range(len(self._lot))]
        for (i, _), last in sorted(self._last.items()):
            if impact[i] != self._shown.get(i, 0) and 0 < now - last.ts <= reach:
                again = msgspec.structs.replace(last, ts=now, published=now)
                told.append(self.market.displace(again))
        self._shown.update(enumerate(impact))
        return told

    # ------------------------------------------------------------ over the API

    def _tell(self, events: Sequence[Input]) -> None:
        asks: list[FEED_ASKS] = []
        for event in events:
            try:
                said = self._undoor.ask(event)
            except Unsayable:
                self.played.left_out[type(event).__name__] += 1
                continue
            self._known.hear(event)
            asks.append(said)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] (no keeper's: those are bid)
        for begin in range(0, len(asks), CHUNK):
            part = asks[begin : begin + CHUNK]
            taken = self._feed.tell(*part, key=self._key())
            self.played.told.update(type(one).__name__ for one in part)
            self._note(taken, len(part))

    def _key(self) -> str:
        self.played.requests += 1
        return f"{self._run}-{self.played.requests}"

    def _note(self, taken: Taken, many: int) -> None:
        assert taken.last - taken.first + 1 == many, "each event is one record"
        self.played.records.append((taken.first, taken.last))
        for outcome in taken.outcomes:
            self.played.refused.update(outcome.refused)

    def _serve(self) -> None:
        """Fetch orders and send them to the venue; let keepers look."""
        fresh = [o for o in self._feed.orders() if o.order not in self._known.orders]
        for order in fresh:
            self._known.orders[order.order] = self._column[order.instrument]
        self.played.orders += len(fresh)
        for orders in self._batches(fresh):
            self.market.submit(orders.at, orders)
        self._known.auctions |= self._bidders.look(self.played.ts)

    def _batches(self, fresh: Sequence[OrderNow]) -> list[OrdersPlaced]:
        """Return orders that were placed together, as they were placed."""

        def run(pair: tuple[int, OrderNow]) -> tuple[int, int]:
            return pair[1].order - pair[0], pair[1].placed_at

        placed: list[OrdersPlaced] = []
        for _, pairs in groupby(enumerate(fresh), key=run):
            rows = [order for _, order in pairs]
            column = [self._column[o.instrument] for o in rows]
            none = np.zeros(len(rows), np.int64)
            lots = [
                int(Decimal(o.quantity) / self._lot[i]) for o, i in zip(rows, column, strict=True)
            ]
            limit = [
                int(Decimal(o.limit) / self._tick_size[i])
                for o, i in zip(rows, column, strict=True)
            ]
            placed.append(
                OrdersPlaced(
                    first=rows[0].order,
                    route=rows[0].route,
                    account=pack(none),
                    instrument=pack(np.array(column, np.int64)),
                    lots=pack(np.array(lots, np.int64)),
                    limit=pack(np.array(limit, np.int64)),
                    share=pack(none),
                    at=Nanos(rows[0].placed_at),
                )
            )
        return placed
