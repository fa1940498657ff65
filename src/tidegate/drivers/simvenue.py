"""The simulated venue: orders in time, arriving late, filled in part, expiring, misreported.

Read docs/concepts/simulated-venue.md first: it opens with what this model cannot do. The venue
knows orders, never who stands behind them. It thinks at moments of its own (arrivals, further
looks at the book, expiries), so that how often it is polled changes nothing.
"""

import heapq
from typing import Final, NamedTuple

import msgspec
import numpy as np

from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import (
    DepthObserved,
    Input,
    OrdersExpired,
    OrdersFilled,
    PriceObserved,
    Traded,
)
from tidegate.domain.units import I64, Nanos, Ticks, pack, unpack
from tidegate.domain.venue import Venue
from tidegate.drivers.depth import ASK, BID, SIGN, Visible, take
from tidegate.drivers.faults import Faults
from tidegate.drivers.market import MarketMemory, SimMarket
from tidegate.drivers.market_check import check_markets
from tidegate.drivers.ranges import Ranges
from tidegate.drivers.streams import Streams


LOOKS: Final = (
    4  # times an order's rest is held against the book after its arrival; the last ends it
)
REFERENCE_SOURCE: Final = "venue"  # the source that is this venue's own price, where there is one
ARRIVE, LOOK, LOSE = "arrive", "look", "lose"


class Orders(NamedTuple):
    """Orders as columns; ``lots`` is what is still open, signed as ordered."""

    ids: I64
    instrument: I64
    lots: I64
    limit: I64
    expires: I64

    def where(self, chosen: I64) -> "Orders":
        """Return these rows."""
        return Orders(*(column[chosen] for column in self))


NOBODY: Final = Orders(*(np.zeros(0, np.int64) for _ in Orders._fields))


class _Due(msgspec.Struct, frozen=True, order=True):
    """Something that will happen at ``ts``; ``n`` keeps ties in the order they were planned."""

    ts: int
    n: int
    what: str
    columns: tuple[bytes, ...] = ()
    reason: str = ""


class _Report(msgspec.Struct, frozen=True):
    """An event on its way to the engine."""

    ts: int
    n: int
    event: Input

    def __lt__(self, other: "_Report") -> bool:
        return (self.ts, self.n) < (other.ts, other.n)


class _Memory(msgspec.Struct):
    """Everything the venue remembers, in a form that a snapshot can keep."""

    markets: dict[int, MarketMemory]
    agenda: list[_Due]
    outbox: list[_Report]
    resting: tuple[bytes, ...]
    seen: list[tuple[int, int]]
    heard: list[bool]
    count: int
    clock: int
    now: int
    tail: int
    told: int
    up_at: int = 0


class SimVenue:
    """The market of `venue.toml`, implementing `ports.Venue`.

    With ``impact`` false it fills at the reference price, within depth, and moves nothing: what the
    shock alone would have forced. Give it prices (`displace`) before orders; an order for an
    instrument that has no market, or of no lots, expires on arrival with a reason.
    """

    def __init__(self, venue: Venue, streams: Streams, *, impact: bool = True) -> None:
        check_markets(venue)
        self.venue = venue
        self.faults = Faults.drawn(venue.model, streams)
        self._markets = {
            venue.index(m.symbol): SimMarket(venue.instruments[venue.index(m.symbol)], m, impact)
            for m in venue.markets
        }
        own = REFERENCE_SOURCE in venue.sources
        self._own = venue.sources.index(REFERENCE_SOURCE) if own else -1
        self._heard = [False] * len(venue.instruments)  # the own source has spoken
        self._agenda: list[_Due] = []
        self._outbox: list[_Report] = []
        self._resting = NOBODY
        self._seen = Ranges()
        self._count = 0  # planned so far
        self._clock = 0  # the latest moment at which something happened here
        self._now = 0  # the latest moment anybody spoke of
        self._tail = 0  # no report leaves before the one planned last
        self._told = 0  # the timestamp of the last report handed out
        self._up_at = 0  # down after a crash until then

    def submit(self, now: Nanos, orders: OrdersPlaced) -> None:
        """Take a batch; ids seen before are ignored, so that submitting twice is submitting once.

        Orders arrive ``latency_ns`` later and live ``order_life_ns`` from then on.
        """
        self._now = max(self._now, now)
        lots = unpack(orders.lots)
        fresh = ~self._seen.add(orders.first, orders.first + lots.size)
        ids = orders.first + np.arange(lots.size, dtype=np.int64)
        columns = (ids, unpack(orders.instrument), lots, unpack(orders.limit))
        model = self.venue.model
        arrives = max(now + model.latency_ns, self._clock)
        expires = arrives + model.order_life_ns
        dropped = self.faults.strike("drop", ids)
        self._lose(expires, ids[fresh & dropped], "dropped")
        kept = np.flatnonzero(fresh & ~dropped)
        if kept.size:
            self._plan(arrives, ARRIVE, tuple(pack(c[kept]) for c in columns))

    def poll(self, now: Nanos) -> list[Input]:
        """Return what has happened up to ``now``, in order of time.

        A driver that wants every answer weighed before the next one is caused polls at `next_due`.
        """
        self._now = max(self._now, now)
        while self._agenda and self._agenda[0].ts <= now:
            self._act(heapq.heappop(self._agenda))
        told: list[Input] = []
        while self._outbox and self._outbox[0].ts <= now:
            report = heapq.heappop(self._outbox)
            self._told = max(self._told, report.ts)
            told.append(msgspec.structs.replace(report.event, ts=Nanos(self._told)))
        return told

    def next_due(self) -> Nanos | None:
        """Return when `poll` next has something to do; None while all is quiet."""
        due = [queue[0].ts for queue in (self._agenda, self._outbox) if queue]
        return Nanos(min(due)) if due else None

    def displace(self, event: PriceObserved) -> PriceObserved:
        """Return an exogenous price with our displacement in it; remember it without.

        The reference is the source named "venue" once it has spoken, and the latest price of any
        source before that. Prices of instruments without a market pass unchanged.
        """
        self._now = max(self._now, event.ts)
        market = self._markets.get(event.instrument)
        if market is None:
            return event
        own = event.source == self._own
        if own or not self._heard[event.instrument]:
            self._heard[event.instrument] |= own
            market.observed(event.price, event.ts)
        price = Ticks(market.displaced(event.price, event.ts))
        return event if price == event.price else msgspec.structs.replace(event, price=price)

    def observe(self, event: Input) -> None:
        """Notice what others do: a recorded book, or a trade between two outsiders (row 0)."""
        self._now = max(self._now, event.ts)
        if isinstance(event, DepthObserved):
            if event.instrument in self._markets:
                self._markets[event.instrument].recorded(event)
        elif (
            isinstance(event, Traded)
            and event.taker == event.maker == 0
            and event.instrument in self._markets
        ):
            self._markets[event.instrument].traded(event.lots, event.price, event.ts)

    def show(self, instrument: int, share: float) -> None:
        """Let makers show ``share`` >= 0 of their book from now on, whatever we do to it."""
        if instrument in self._markets:
            self._markets[instrument].memory.shown = share

    def shown(self, instrument: int) -> float:
        """Return the share of their book that makers show; 0 where there is no market."""
        market = self._markets.get(instrument)
        return market.memory.shown if market else 0.0

    def mid(self, instrument: int, now: Nanos) -> float:
        """Return the price in ticks around which a book stands; 0 where there is none."""
        market = self._markets.get(instrument)
        return market.price(now) if market else 0.0

    def quote(self, now: Nanos) -> list[DepthObserved]:
        """Return the book that is visible now, for each instrument that has a market and a price.

        Bids and asks run from the touch outwards; empty levels are left out. Looking is free.
        """
        self._now = max(self._now, now)
        quotes: list[DepthObserved] = []
        for instrument, market in self._markets.items():
            if market.memory.reference <= 0.0:
                continue
            bid, ask = (market.book(side, now).merged() for side in (BID, ASK))
            quotes.append(
                DepthObserved(
                    ts=now,
                    instrument=instrument,
                    bid_price=pack(bid.price),
                    bid_lots=pack(bid.lots),
                    ask_price=pack(ask.price),
                    ask_lots=pack(ask.lots),
                )
            )
        return quotes

    def outside(self, instrument: int, lots: int, now: Nanos, *, trade: bool) -> tuple[int, int]:
        """Return what a market order of somebody else's gets: lots (signed), and whole ticks.

        Executed with ``trade``, and then it leaves the same footprint as ours do; else only asked.
        """
        self._now = max(self._now, now)
        market = self._markets.get(instrument)
        if market is None or not lots:
            return 0, 0
        side = ASK if lots > 0 else BID
        wanted = np.array([abs(lots)], np.int64)
        limit = np.array([market.instrument.price_max if lots > 0 else 1], np.int64)
        if trade:
            taken = market.execute(side, wanted, limit, now)
        else:
            taken = take(market.book(side, now), side, wanted, limit)
        return SIGN[side] * int(taken.lots[0]), int(taken.price[0])

    def visible(self, instrument: int, side: int, now: Nanos) -> Visible:
        """Return one side of a book as a bidder sees it; empty where there is no market."""
        market = self._markets.get(instrument)
        return market.book(side, now) if market else Visible(*(np.zeros(0, np.int64),) * 2)

    def impact_ppm(self, instrument: int) -> int:
        """Return by how much our trades displace a price at the latest moment spoken of, signed."""
        market = self._markets.get(instrument)
        return market.impact_ppm(self._now) if market else 0

    def snapshot(self) -> bytes:
        """Return everything the venue remembers, for `restore` in another process or after a crash.

        What was submitted after the snapshot is then forgotten, as if it had never arrived.
        """
        return msgspec.msgpack.encode(
            _Memory(
                markets={n: market.memory for n, market in self._markets.items()},
                agenda=self._agenda,
                outbox=self._outbox,
                resting=tuple(pack(column) for column in self._resting),
                seen=self._seen.pairs(),
                heard=self._heard,
                count=self._count,
                clock=self._clock,
                now=self._now,
                tail=self._tail,
                told=self._told,
                up_at=self._up_at,
            )
        )

    def restore(self, snapshot: bytes) -> None:
        """Become the venue that a snapshot was taken of; venue and streams must be the same."""
        memory = msgspec.msgpack.decode(snapshot, type=_Memory)
        for n, market in self._markets.items():
            market.restore(memory.markets[n])
        self._agenda, self._outbox = memory.agenda, memory.outbox
        self._resting = Orders(*(unpack(column) for column in memory.resting))
        self._seen = Ranges.of(memory.seen)
        self._heard, self._count = memory.heard, memory.count
        self._clock, self._now = memory.clock, memory.now
        self._tail, self._told = memory.tail, memory.told
        self._up_at = memory.up_at

    def _plan(self, ts: int, what: str, columns: tuple[bytes, ...] = (), reason: str = "") -> None:
        self._count += 1
        heapq.heappush(self._agenda, _Due(ts, self._count, what, columns, reason))

    def _lose(self, ts: int, ids: I64, reason: str) -> None:
        if ids.size:
            self._plan(ts, LOSE, (pack(ids),), reason)

    def _act(self, due: _Due) -> None:
        self._clock = max(self._clock, due.ts)
        if due.what == LOSE:
            self._report(OrdersExpired(ts=Nanos(due.ts), order=due.columns[0], reason=due.reason))
        elif due.what == ARRIVE:
            self._arrive(due)
        else:
            over = self._resting.expires <= due.ts
            if over.any():
                gone = pack(self._resting.ids[over])
                self._resting = self._resting.where(np.flatnonzero(~over))
                self._report(OrdersExpired(ts=Nanos(due.ts), order=gone, reason="timeout"))
            self._match(due.ts)

    def _arrive(self, due: _Due) -> None:
        ids, instrument, lots, limit = (unpack(column) for column in due.columns)
        if due.ts >= self._up_at and self.faults.strike("crash", ids[:1])[0]:
            self._crash(due.ts)
        if due.ts < self._up_at:
            self._lose(self._up_at, ids, "crash")
            return
        traded = np.isin(instrument, np.fromiter(self._markets, np.int64))
        self._lose(due.ts, ids[~traded], "no_market")
        self._lose(due.ts, ids[traded & (lots == 0)], "no_lots")
        life = self.venue.model.order_life_ns
        arrived = Orders(ids, instrument, lots, limit, np.full(ids.size, due.ts + life))
        arrived = arrived.where(np.flatnonzero(traded & (lots != 0)))
        pairs = zip(self._resting, arrived, strict=True)
        self._resting = Orders(*(np.concatenate(pair) for pair in pairs))
        for look in range(1, LOOKS + 1):
            self._plan(due.ts + life * look // LOOKS, LOOK)
        self._match(due.ts)

    def _crash(self, ts: int) -> None:
        """Go down: what rests here is forgotten and said to be gone on the return.

        What was filled stays filled; its reports were on their way already.
        """
        self._up_at = ts + self.venue.model.crash_ns
        self._lose(self._up_at, self._resting.ids, "crash")
        self._resting = NOBODY

    def _match(self, ts: int) -> None:
        """Hold every live order against the book, in the order of arrival."""
        live = self._resting
        if live.ids.size == 0:
            return
        filled = np.zeros(live.ids.size, np.int64)
        price = np.zeros(live.ids.size, np.int64)
        group = live.instrument * 2 + (live.lots > 0)
        for place in np.unique(group).tolist():
            rows = np.flatnonzero(group == place)
            market, side = self._markets[place // 2], ASK if place % 2 else BID
            lots, limit = np.abs(live.lots[rows]), live.limit[rows]
            taken = market.execute(side, lots, limit, ts)
            filled[rows], price[rows] = SIGN[side] * taken.lots, taken.price
        some = np.flatnonzero(filled)
        if some.size == 0:
            return
        rest = live.lots - filled
        self._fills(ts, live.ids[some], filled[some], price[some], rest[some])
        self._resting = live._replace(lots=rest).where(np.flatnonzero(rest))

    def _fills(self, ts: int, ids: I64, lots: I64, price: I64, left: I64) -> None:
        late = self.venue.model.delay_ns if self.faults.strike("delay", ids[:1])[0] else 0
        self._report(_filled(ts, ids, lots, price, left), late)
        twice = np.flatnonzero(self.faults.strike("duplicate", ids))
        if twice.size:
            copy = _filled(ts, *(column[twice] for column in (ids, lots, price, left)))
            self._send(self._tail + self.venue.model.latency_ns, copy)

    def _report(self, event: Input, late: int = 0) -> None:
        # A late report holds up those behind it: an expiry never overtakes its order's fills.
        self._tail = max(self._tail, event.ts + late)
        self._send(self._tail, event)

    def _send(self, ts: int, event: Input) -> None:
        self._count += 1
        heapq.heappush(self._outbox, _Report(ts, self._count, event))


def _filled(ts: int, ids: I64, lots: I64, price: I64, left: I64) -> OrdersFilled:
    """Return the report of these fills, with what each order has left after it."""
    return OrdersFilled(
        ts=Nanos(ts), order=pack(ids), lots=pack(lots), price=pack(price), left=pack(left)
    )
