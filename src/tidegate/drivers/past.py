"""A journal as a past: what happened outside is told again, what answered our orders is not.

The venue of a rerun answers anew. Two reruns by the same model, one with a change and one without,
differ by the change: what the model gets wrong, both get wrong.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from tidegate.domain.events import (
    ENDOGENOUS,
    Attested,
    ClockTicked,
    DepthObserved,
    Input,
    LiquidationReported,
    ParameterChanged,
    ParameterProposed,
    PriceObserved,
    ScheduleObserved,
    SeedDrawn,
    SignalObserved,
)
from tidegate.domain.facts import GOVERNED
from tidegate.domain.units import I64, Money, Nanos, Ppm, Ticks, pack
from tidegate.domain.venue import Market, Venue
from tidegate.drivers.casualties import notionals
from tidegate.drivers.live import in_flight
from tidegate.drivers.shadow import changed_facts
from tidegate.drivers.simvenue import SimVenue
from tidegate.engine.state import State
from tidegate.engine.step import apply
from tidegate.engine.watch import BRANCHING_SIGNAL
from tidegate.kernels.depth import executable
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack


# What a rerun says itself, or what answered orders that it does not place.
SAID_ANEW: Final = (*ENDOGENOUS, ClockTicked, SeedDrawn, ScheduleObserved, LiquidationReported)
REACH: Final = Ppm(20_000)  # ppm of the mark within which an undeclared market's depth is measured


@dataclass(slots=True)
class JournalPast:
    """A `Past` over the records of a journal; what it drops and finds is counted as it is read.

    ``records`` begins a fresh reading at every call. Changes of the parameters in ``held`` are left
    out: they are on trial, and their value is given.
    """

    venue: Venue
    records: Callable[[], Iterator[Record]]
    held: Collection[str] = ()
    told: int = 0
    last: int = -1  # record
    ends: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    changed: dict[str, None] = field(default_factory=dict[str, None])  # parameters, in order
    overridden: dict[str, None] = field(default_factory=dict[str, None])

    def events(self, *, shadow: bool = False) -> Iterator[Input]:
        """Yield what happened outside, in the order of the journal.

        With ``shadow``, liquidations that the venue itself reported are among them.
        """
        for record in self.records():
            event = record.event
            self.last, self.ends = record.seq, max(self.ends, event.ts)
            if isinstance(event, ParameterChanged | ParameterProposed):
                self.changed[event.name] = None
                if event.name in self.held:
                    self.overridden[event.name] = None
                    continue
            reported = shadow and isinstance(event, LiquidationReported)
            if self._said_anew(event) and not reported:
                self.dropped[type(event).__name__] += 1
                continue
            if not isinstance(event, Attested):
                self.told += 1
                yield event

    @staticmethod
    def _said_anew(event: Input) -> bool:
        measured = isinstance(event, SignalObserved) and event.name == BRANCHING_SIGNAL
        return measured or isinstance(event, SAID_ANEW)


def state_at(
    records: Iterator[Record], stack: Stack, begins: int, on_progress: Callable[[int], None]
) -> State:
    """Return the state before the first record at or after ``begins``, taken at its word."""
    state = State.genesis(stack)
    for record in records:
        if record.event.ts >= begins:
            break
        apply(state, record.event, record.effects)
        on_progress(record.seq)
    return state


def forked(state: State, stack: Stack, changes: Sequence[tuple[str, int]] = ()) -> State:
    """Return a copy of ``state`` in which ``changes`` are in force, all at once.

    Raise ConfigInvalid for a change that the engine would refuse. A change that is on its way to
    one of the parameters on trial is called off in the copy.
    """
    copy = State.load(state.dump(), stack)
    if not changes:
        return copy
    facts = changed_facts(copy.facts, stack, changes)
    moved = {
        (name, int(row))
        for name, old, new in zip(facts._fields, copy.facts, facts, strict=True)
        for row in np.flatnonzero(old != new)
    }
    for old, new in zip(copy.facts, facts, strict=True):
        old[:] = new
    for k in copy.pending.live:
        column, row = GOVERNED[int(copy.pending.column[k]) - 1], int(copy.pending.row[k])
        if (column, row) in moved:
            for cells in copy.pending:
                cells[k] = 0
    return copy


def with_markets(venue: Venue, state: State, step_ns: int) -> Venue:
    """Return the venue with a market for each instrument of which a book is known.

    A declared market is kept. Others get the depth that the engine last saw within 2 % of the mark,
    the smaller side, and the model's defaults.
    """
    named = {m.symbol for m in venue.markets}
    m, more = state.market, list(venue.markets)
    for i, instrument in enumerate(venue.instruments):
        if instrument.symbol in named or not m.mark[i] or not m.levels[i].all():
            continue
        lots = min(
            int(
                executable(
                    m.depth_price[i, side],
                    m.depth_lots[i, side],
                    int(m.levels[i, side]),
                    int(m.mark[i]),
                    REACH,
                )
            )
            for side in range(2)
        )
        one: I64 = np.array([i], np.int64)
        worth = float(notionals(state.facts, one, np.array([lots], np.int64), m.mark[one])[0])
        if worth >= 1.0:
            more.append(
                Market(symbol=instrument.symbol, depth=Money(round(worth)), depth_range=REACH)
            )
    return msgspec.structs.replace(venue, markets=tuple(more), step_ns=Nanos(step_ns))


def warm(market: SimVenue, state: State, stack: Stack) -> None:
    """Tell a fresh simulated venue what the state knows: prices, books, and orders in flight."""
    m, now = state.market, Nanos(state.now)
    for i in np.flatnonzero(m.mark > 0).tolist():
        seen = np.flatnonzero(m.seen_price[i] > 0).tolist()
        for source in sorted(seen, key=lambda s: int(m.seen_at[i, s])):
            market.displace(_price(now, i, source, int(m.seen_price[i, source])))
        if not seen:
            market.displace(_price(now, i, 0, int(m.mark[i])))
        if m.levels[i].any():
            sides = [
                (pack(m.depth_price[i, s, :n]), pack(m.depth_lots[i, s, :n]))
                for s, n in enumerate(m.levels[i].tolist())
            ]
            market.observe(
                DepthObserved(
                    ts=now,
                    instrument=i,
                    bid_price=sides[0][0],
                    bid_lots=sides[0][1],
                    ask_price=sides[1][0],
                    ask_lots=sides[1][1],
                )
            )
    for orders in in_flight(state, stack):
        market.submit(now, orders)


def _price(now: Nanos, i: int, source: int, price: int) -> PriceObserved:
    return PriceObserved(ts=now, instrument=i, source=source, price=Ticks(price), published=now)
