"""Turn the crank over a recording: the same weather, one stack, a simulated venue that answers.

Exogenous events come from the recording; what answered somebody's orders is dropped at the door and
answered anew by the venue model. Prices are the recorded ones displaced by the impact of this
stack's own forced flow. Nothing here is random but the venue's named streams, so that two stacks
meet the same weather and every run can be repeated bit by bit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from tidegate.domain.effects import BandsOffered, Decision, OrdersPlaced
from tidegate.domain.events import (
    BandsTaken,
    ClockTicked,
    DepthObserved,
    Input,
    OrdersExpired,
    PriceObserved,
    SignalObserved,
    Traded,
    Withdrawn,
)
from tidegate.domain.units import Nanos
from tidegate.domain.venue import Venue
from tidegate.drivers.arbitrage import Arbitrage
from tidegate.drivers.casualties import Casualties
from tidegate.drivers.keepers import Keepers
from tidegate.drivers.pacer import Pacer
from tidegate.drivers.recording import Recording
from tidegate.drivers.series import Series
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.drivers.verdict import Meter, Verdict
from tidegate.engine.auctions import offers
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.engine.watch import BRANCHING_SIGNAL
from tidegate.ports import Journal, Record
from tidegate.safeguards.stack import Stack
from tidegate.signals.spectral import MODEL, VERSION, branching_now


REPEAT_WITHIN: Final = 10  # steps after which a recorded price is too old to be displaced anew
BATCH: Final = 512  # records of one group commit
PROGRESS_EVERY: Final = 256


class Observer(Protocol):
    """Whoever wants to hear of every step of a run."""

    def __call__(
        self,
        seq: int,
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int],
    ) -> None:
        """Take note of one step; ``state`` is the one after it."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """One stack's way through a recording."""

    name: str
    stack: Stack
    verdict: Verdict
    series: Series
    casualties: Casualties
    digest: str
    events: int


class Past(Protocol):
    """What a replay asks of a recording; the lab's histories answer as they go."""

    @property
    def venue(self) -> Venue:
        """The venue it happened at."""
        ...

    def events(self, *, shadow: bool = False) -> Iterator[Input]:
        """Yield the exogenous events in the order of time, the opening book first."""
        ...


@dataclass(slots=True)
class Replay:
    """One run in progress.

    ``impact`` false: orders fill and move nothing. ``shadow``: the engine advises, no order is ever
    filled, and the book follows what the recorded venue really did. ``streams`` are the venue's
    own lots; None: those of its seed. ``keepers`` false: nobody bids but who is in the recording.
    ``opening``: the state it goes on from, which becomes the run's own; None: before everything.
    """

    recording: Past
    stack: Stack
    impact: bool = True
    shadow: bool = False
    journal: Journal | None = None
    observers: Sequence[Observer] = ()
    streams: Streams | None = None
    keepers: bool = True
    opening: State | None = None
    state: State = field(init=False)
    market: SimVenue = field(init=False)
    _pacer: Pacer = field(init=False)
    _takers: Arbitrage = field(init=False)
    bidders: Keepers = field(init=False)
    _last: dict[tuple[int, int], PriceObserved] = field(init=False)
    _shown: dict[int, int] = field(init=False)
    _impact: list[int] = field(init=False)
    _batch: list[Record] = field(init=False, default_factory=list[Record])
    _tick: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Set the crank before the first event."""
        venue = self.recording.venue
        self.state = self.opening or State.genesis(self.stack)
        if self.state.seq:
            self._tick = self.state.now + venue.step_ns
        streams = self.streams or Streams(root=venue.seed, path=0)
        self.market = SimVenue(venue, streams, impact=self.impact)
        self._takers = Arbitrage(venue, self.market, streams)
        self._pacer = Pacer(self.stack, streams["slices"].bytes)
        self.bidders = Keepers.drawn(self.stack, venue, self.market, streams)
        if not self.keepers:
            self.bidders.present.clear()
        self._last, self._shown = {}, {}
        self._impact = [0] * len(venue.instruments)

    def run(
        self, on_progress: Callable[[int], None] | None = None, stop_after: int | None = None
    ) -> None:
        """Take every event of the recording, and everything it causes, through the stack.

        With ``stop_after``, only what happens within so many nanoseconds of the first event: orders
        then stay in flight.
        """
        stop: int | None = None
        for n, event in enumerate(self.recording.events(shadow=self.shadow)):
            if stop is None and stop_after is not None:
                stop = event.ts + stop_after
            if stop is not None and event.ts > stop:
                self.until(stop)
                self._commit()
                return
            self.until(event.ts)
            self._exogenous(event)
            if on_progress is not None and n % PROGRESS_EVERY == 0:
                on_progress(n)
        self._drain()
        audit(self.state)
        self._commit()

    def _exogenous(self, event: Input) -> None:
        if not self._tick:
            self._tick = event.ts + self.recording.venue.step_ns
        match event:
            case PriceObserved() if not self.shadow:
                self._last[event.instrument, event.source] = event
                self._step(self.market.displace(event))
                self._shown[event.instrument] = self.market.impact_ppm(event.instrument)
            case DepthObserved() if not self.shadow:
                self.market.observe(event)  # the engine sees what our own orders left of it
            case Traded(taker=0, maker=0):
                self.market.observe(event)
            case Traded() | Withdrawn() if not self.shadow and event.settled:
                # What history allowed another stack may refuse: here the engine decides anew.
                self._step(msgspec.structs.replace(event, settled=False))
            case _:
                self._step(event)

    def until(self, ts: int) -> None:
        """Let the venue answer and the clock tick up to ``ts``, in the order of time."""
        while self._tick and self._tick <= ts:
            self._answers(self._tick)
            self._clock(self._tick)
            self._tick += self.recording.venue.step_ns
        self._answers(ts)

    def _answers(self, ts: int) -> None:
        while (due := self._next_due()) is not None and due <= ts:
            if due == self.bidders.next_due():
                self._bid()
                continue
            for event in (*self.market.poll(due), *self._takers.poll(due)):
                self._step(msgspec.structs.replace(event, ts=Nanos(max(event.ts, self.state.now))))

    def _next_due(self) -> Nanos | None:
        """Return when the venue, the takers or the keepers next have something to say."""
        asked = (self.market, self._takers, self.bidders)
        due = [d for one in asked if (d := one.next_due()) is not None]
        return min(due, default=None)

    def _bid(self) -> None:
        """Put one bid to the engine, and let its bidder hear what became of it."""
        keeper, bid = self.bidders.pop()
        now = Nanos(max(bid.ts, self.state.now))
        bid = msgspec.structs.replace(bid, ts=now)
        known = {o.auction: o for o in offers(self.state, now, self.stack)}
        offer = known.get(getattr(bid, "auction", -1))
        self.bidders.hear(keeper, bid, self._step(bid), offer)

    def _clock(self, now: int) -> None:
        """Show the engine the visible book, our own footprint in the price, and the time."""
        if not self.shadow:
            self._impact = [self.market.impact_ppm(i) for i in range(len(self._impact))]
            for event in self.market.quote(Nanos(now)):
                self._step(event)
            self._repeat_prices(now)
            self._signal(now)
            for event in self._pacer.events(self.state, Nanos(now)):
                self._step(event)
        self._step(ClockTicked(ts=Nanos(now)))
        if not self.shadow:
            self.bidders.look(Nanos(now), offers(self.state, now, self.stack))

    def _repeat_prices(self, now: int) -> None:
        # Between two recorded prices our own impact moves on: the sources say so again, each with
        # the price it last recorded, unless that is too old to be called a price.
        reach = REPEAT_WITHIN * self.recording.venue.step_ns
        for (i, _), last in sorted(self._last.items()):
            if self._impact[i] != self._shown.get(i, 0) and 0 < now - last.ts <= reach:
                again = msgspec.structs.replace(last, ts=Nanos(now), published=Nanos(now))
                self._step(self.market.displace(again))
        self._shown.update(enumerate(self._impact))

    def _signal(self, now: int) -> None:
        gate = self.stack.declaration.signals
        if gate.slot(BRANCHING_SIGNAL) < 0:
            return
        self._step(
            SignalObserved(
                ts=Nanos(now),
                name=BRANCHING_SIGNAL,
                model=MODEL,
                version=VERSION,
                value=branching_now(self.state, self.stack),
            )
        )

    def _drain(self) -> None:
        """Wait for the last answers: nothing may stay in flight when the recording ends."""
        while (due := self._next_due()) is not None:
            self._answers(due)

    def _step(self, event: Input) -> Sequence[Decision]:
        seq = self.state.seq
        if not self.shadow:
            self._impact = [self.market.impact_ppm(i) for i in range(len(self._impact))]
        effects = step(self.state, event, self.stack)
        if self.journal is not None:
            self._batch.append(Record(seq, event, tuple(effects)))
            if len(self._batch) >= BATCH:
                self._commit()
        for observer in self.observers:
            observer(seq, event, effects, self.state, self._impact)
        for effect in effects:
            if isinstance(effect, OrdersPlaced):
                self._submit(event, effect)
            elif isinstance(effect, BandsOffered) and not self.shadow:
                self._takers.consider(event.ts, effect)
        if isinstance(event, BandsTaken):
            self._takers.settle(event, effects)
        if not self.shadow:
            self.bidders.answered(effects, Nanos(event.ts))
        return effects

    def _submit(self, event: Input, orders: OrdersPlaced) -> None:
        if not self.shadow:
            self.market.submit(event.ts, orders)
            return
        ids = [orders.first + k for k in range(len(orders.lots) // 8)]
        refused = b"".join(i.to_bytes(8, "little", signed=True) for i in ids)
        self._step(OrdersExpired(ts=event.ts, order=refused, reason="shadow"))

    def _commit(self) -> None:
        if self.journal is not None and self._batch:
            self.journal.append(self._batch)
            self._batch = []


def replay(
    recording: Recording,
    stack: Stack,
    *,
    impact: bool = True,
    shadow: bool = False,
    journal: Journal | None = None,
    observers: Sequence[Observer] = (),
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    """Replay ``recording`` under ``stack`` and return what came of it.

    ``on_progress`` is told how many of the recording's events are done.
    """
    meter = Meter(stack)
    turning = Replay(
        recording=recording,
        stack=stack,
        impact=impact,
        shadow=shadow,
        journal=journal,
        observers=[meter.observe, *observers],
    )
    turning.run(on_progress)
    verdict = meter.verdict(turning.state)
    return Run(
        name=stack.name,
        stack=stack,
        verdict=verdict,
        series=meter.series,
        casualties=meter.casualties,
        digest=verdict.digest,
        events=turning.state.seq,
    )
