"""From observations to marks: the oracle guard's memory, volatility, and measured depth."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.effects import (
    BandMoved,
    Decision,
    DepthMoved,
    MarketMoved,
    MarkMoved,
    ObservationKept,
    Rejected,
    VolatilityMoved,
)
from tidegate.domain.events import DepthObserved, PriceObserved
from tidegate.domain.restraint import ACTIONS, PAUSED_UNTIL
from tidegate.domain.units import I64, MONEY_MAX, Money, Nanos, Ppm, Ticks, is_column, pack, unpack
from tidegate.engine.state import LEVELS_MAX, State
from tidegate.kernels.bands_limit import PAUSED
from tidegate.safeguards.oracle import Belief, Quality, Seen
from tidegate.safeguards.stack import Stack, gate_column


@dataclass(frozen=True, slots=True)
class View:
    """The market as this step sees it: the state's columns with this event's change applied."""

    mark: I64
    low: I64
    high: I64
    quality: I64
    deviations: I64
    moved: int  # the instrument whose mark moved, -1 for none
    pending: I64  # Ticks that wait for the oracle's delay; 0: none
    floor: I64  # Ticks, ends of the price band; 0: none
    ceiling: I64
    closed: I64  # 1 where nothing forced may trade
    shut: I64  # 1 where nobody may be deleveraged
    pace: I64 | None = None  # ppm per instrument; None: the rung's own

    @classmethod
    def of(cls, state: State) -> "View":
        """Return the market as it was left."""
        m, r = state.market, state.restraint
        paused = (r.phase == PAUSED) | bool(r.market[PAUSED_UNTIL])
        return cls(
            mark=m.mark,
            low=m.low,
            high=m.high,
            quality=m.quality,
            deviations=m.deviations,
            moved=-1,
            pending=m.pending,
            floor=r.low,
            ceiling=r.high,
            closed=_stopped(state, paused, "liquidate"),
            shut=_stopped(state, paused, "deleverage"),
        )

    def after(self, effects: list[Decision]) -> "View":
        """Return this view with the marks and deviations of ``effects`` applied, on copies."""
        mark, low, high = self.mark.copy(), self.low.copy(), self.high.copy()
        quality, deviations, moved = self.quality.copy(), self.deviations.copy(), self.moved
        pending = self.pending.copy()
        for e in effects:
            if isinstance(e, MarkMoved):
                i = moved = e.instrument
                mark[i], low[i], high[i], quality[i] = e.price, e.low, e.high, e.quality
                pending[i] = e.pending
            elif isinstance(e, VolatilityMoved):
                deviations[e.instrument] = e.deviations
        return replace(
            self,
            mark=mark,
            low=low,
            high=high,
            quality=quality,
            deviations=deviations,
            moved=moved,
            pending=pending,
        )

    def free(self, i: int) -> bool:
        """Return whether neither a pause nor a flag stops what is forced in an instrument."""
        return not self.closed[i] and not self.shut[i]

    def held(self, state: State, effects: list[Decision]) -> "View":
        """Return this view with the bands and pauses of ``effects`` applied, on copies."""
        if not any(isinstance(e, BandMoved | MarketMoved) for e in effects):
            return self
        r = state.restraint
        floor, ceiling, phase = self.floor.copy(), self.ceiling.copy(), r.phase.copy()
        until = int(r.market[PAUSED_UNTIL])
        for e in effects:
            if isinstance(e, BandMoved):
                i = e.instrument
                floor[i], ceiling[i], phase[i] = e.low, e.high, e.phase
            elif isinstance(e, MarketMoved):
                until = e.until
        paused = (phase == PAUSED) | bool(until)
        return replace(
            self,
            floor=floor,
            ceiling=ceiling,
            closed=_stopped(state, paused, "liquidate"),
            shut=_stopped(state, paused, "deleverage"),
        )


def sellable(view: View, stack: Stack) -> I64:
    """Return 1 where something forced may be sold: a price good enough for it, and no pause."""
    return gate_column(view.quality, stack.declaration.oracle.liquidate_at_worst) * (
        1 - view.closed
    )


def _stopped(state: State, paused: NDArray[np.bool_], action: str) -> I64:
    """Return 1 where an instrument is paused, or ``action`` in it by a dated change."""
    flags = state.restraint.pause[ACTIONS.index(action) :: len(ACTIONS)]
    return (paused | (flags[: paused.size] > 0)).astype(np.int64)  # the last row is cash


def observe(state: State, event: PriceObserved, stack: Stack) -> list[Decision]:
    """Return what the oracle guard makes of one observation: kept, a new mark, or a refusal."""
    i, m = event.instrument, state.market
    if not 0 <= i < len(stack.venue.instruments):
        return [Rejected(code="instrument_unknown", detail=f"price of instrument {i}")]
    if not 0 <= event.source < len(stack.venue.sources):
        return [Rejected(code="source_unknown", detail=f"source {event.source}")]
    source = stack.source_of[event.source]
    if source < 0:
        return []  # a source this stack does not listen to
    guard = stack.declaration.oracle
    code = guard.refusal(
        price=event.price,
        price_max=int(stack.facts.price_max[i]),
        published=event.published,
        now=event.ts,
        last=int(m.seen_at[i, event.source]) if m.seen_price[i, event.source] else 0,
    )
    if not code and event.price < stack.facts.price_min[i]:
        code = "price_below_limit"
    if not code and not 0 <= event.confidence <= event.price:
        code = "confidence_out_of_range"
    if code:
        name = stack.venue.sources[event.source]
        return [Rejected(code=code, detail=f"{name} said {event.price} on instrument {i}")]
    kept = ObservationKept(
        instrument=i,
        source=event.source,
        price=event.price,
        confidence=event.confidence,
        published=event.published,
    )
    if guard.delay_ns:
        return [kept, *_delayed(state, event, stack)]
    seen = _remembered(state, stack, i, without=event.source)
    seen.append(Seen(source, event.price, event.confidence, event.published))
    seen.sort(key=lambda s: s.source)
    return [kept, *_moved(state, stack, i, seen, event.ts)]


def _remembered(state: State, stack: Stack, i: int, without: int = -1) -> list[Seen]:
    m = state.market
    return [
        Seen(
            stack.source_of[s],
            int(m.seen_price[i, s]),
            int(m.seen_width[i, s]),
            int(m.seen_at[i, s]),
        )
        for s in range(len(stack.venue.sources))
        if s != without and stack.source_of[s] >= 0 and m.seen_price[i, s]
    ]


def _moved(state: State, stack: Stack, i: int, seen: list[Seen], now: int) -> list[Decision]:
    m, guard = state.market, stack.declaration.oracle
    belief = guard.believe(
        seen,
        mark=int(m.mark[i]),
        basis=int(m.basis[i]),
        now=now,
        elapsed=now - int(m.marked_at[i]) if m.mark[i] else 0,
        average=int(m.average[i]),
    )
    if belief is None:
        return []
    same = (
        belief.price == m.mark[i]
        and belief.low == m.low[i]
        and belief.high == m.high[i]
        and belief.quality == m.quality[i]
    )
    # An unchanged mark is still news once its age matters or something is averaged over time.
    averaged = guard.smoothing_ns or guard.average_ns or guard.stable.growth
    if same and not (guard.age_max_ns or averaged or stack.declaration.bands.instruments):
        return []
    return _mark_effects(state, stack, i, belief, now, pending=0, pending_at=0)


def _mark_effects(
    state: State, stack: Stack, i: int, belief: Belief, now: int, *, pending: int, pending_at: int
) -> list[Decision]:
    lowest = int(stack.facts.price_min[i])
    price = max(lowest, min(belief.price, int(stack.facts.price_max[i])))
    mark = MarkMoved(
        instrument=i,
        price=Ticks(price),
        low=Ticks(max(lowest, min(belief.low, price))),
        high=Ticks(max(price, min(belief.high, int(stack.facts.price_max[i])))),
        index=Ticks(belief.index),
        basis=belief.basis,
        pending=Ticks(pending),
        pending_at=Nanos(pending_at),
        quality=belief.quality,
        at=Nanos(now),
        average=belief.average,
        reason=belief.reason,
    )
    if price == state.market.mark[i]:
        return [mark]
    return [mark, _volatility(state, stack, i, price, now)]


def _volatility(state: State, stack: Stack, i: int, price: int, now: int) -> VolatilityMoved:
    m, breaker = state.market, stack.declaration.breaker
    variance = breaker.variance(
        price=price,
        last=int(m.mark[i]),
        variance=int(m.variance[i]),
        elapsed=now - int(m.marked_at[i]),
    )
    anchor, at = int(m.anchor[i]), int(m.anchored_at[i])
    if not anchor or now - at >= breaker.window_ns:
        # A new window starts from the last mark, so that no move falls between two windows.
        anchor, at = int(m.mark[i]) or price, now
    # Judged by what was normal before this move: a shock must not vouch for itself.
    deviations = breaker.deviations(price=price, anchor=anchor, variance=int(m.variance[i]))
    return VolatilityMoved(
        instrument=i,
        variance=variance,
        anchor=Ticks(anchor),
        anchored_at=Nanos(at),
        deviations=Ppm(deviations),
    )


def _delayed(state: State, event: PriceObserved, stack: Stack) -> list[Decision]:
    """Promote the waiting observation once the delay is over, and let this one wait.

    Source: MakerDAO `osm.sol`, poke: cur = nxt, nxt = read.
    """
    i, m, delay = event.instrument, state.market, stack.declaration.oracle.delay_ns
    waiting, since = int(m.pending[i]), int(m.pending_at[i])
    if waiting and event.ts - since < delay:
        return []  # the oracle's hop is not over: this observation is passed over
    price = waiting or int(event.price)
    belief = Belief(
        price=price,
        low=price,
        high=price,
        index=price,
        basis=0,
        quality=int(Quality.GOOD),
        reason="",
    )
    return _mark_effects(
        state, stack, i, belief, event.ts, pending=event.price, pending_at=event.ts
    )


def grow_stale(state: State, now: int, stack: Stack) -> list[Decision]:
    """Return the marks that have gone stale by ``now``: kept, with a widened interval.

    Where other sources are still fresh the belief is formed anew without the silent ones.
    """
    guard, m = stack.declaration.oracle, state.market
    if not guard.age_max_ns:
        return []
    effects: list[Decision] = []
    for i in np.flatnonzero(m.mark).tolist():
        quality = guard.aged(now - int(m.marked_at[i]))
        if quality <= m.quality[i]:
            continue
        stale = quality == Quality.STALE
        low, high = guard.widened(int(m.mark[i]))
        if not stale:  # its own interval, if it had one, and the stale one's
            low, high = min(low, int(m.low[i])), max(high, int(m.high[i]))
        effects.append(
            MarkMoved(
                instrument=i,
                price=Ticks(int(m.mark[i])),
                low=Ticks(max(low, int(stack.facts.price_min[i]))),
                high=Ticks(min(high, int(stack.facts.price_max[i]))),
                index=Ticks(int(m.index_price[i])),
                basis=int(m.basis[i]),
                pending=Ticks(int(m.pending[i])),
                pending_at=Nanos(int(m.pending_at[i])),
                quality=quality,
                at=Nanos(int(m.marked_at[i])),
                average=int(m.average[i]),
                reason="no_fresh_source" if stale else "price_is_ageing",
            )
        )
    return effects


def roll_windows(state: State, now: int, stack: Stack) -> list[Decision]:
    """Return new anchors for prices whose window is over: calm is news, and volatility forgets."""
    m, breaker = state.market, stack.declaration.breaker
    effects: list[Decision] = []
    for i in np.flatnonzero(m.anchor).tolist():
        if now - int(m.anchored_at[i]) < breaker.window_ns:
            continue
        effects.append(
            VolatilityMoved(
                instrument=i,
                variance=breaker.variance(
                    price=int(m.mark[i]),
                    last=int(m.mark[i]),
                    variance=int(m.variance[i]),
                    elapsed=now - int(m.anchored_at[i]),
                ),
                anchor=Ticks(int(m.mark[i])),
                anchored_at=Nanos(now),
                deviations=Ppm(0),
            )
        )
    return effects


def measure_depth(state: State, event: DepthObserved, stack: Stack) -> list[Decision]:
    """Keep a measured book after checking that it is one: sorted, positive, not crossed."""
    i = event.instrument
    del state
    if not 0 <= i < len(stack.venue.instruments):
        return [Rejected(code="instrument_unknown", detail=f"depth of instrument {i}")]
    if not is_column(event.bid_price, event.bid_lots, event.ask_price, event.ask_lots):
        return [Rejected(code="columns_differ", detail=f"depth of instrument {i}")]
    bid, bid_lots = unpack(event.bid_price), unpack(event.bid_lots)
    ask, ask_lots = unpack(event.ask_price), unpack(event.ask_lots)
    if bid.size != bid_lots.size or ask.size != ask_lots.size:
        return [Rejected(code="columns_differ", detail=f"depth of instrument {i}")]
    prices, lots = np.concatenate([bid, ask]), np.concatenate([bid_lots, ask_lots])
    limit = stack.facts.price_max[i]
    if (prices <= 0).any() or (prices > limit).any() or (lots < 0).any():
        return [Rejected(code="price_out_of_range", detail=f"depth of instrument {i}")]
    if (lots > stack.venue.instruments[i].lots_open_max()).any() or sum(lots.tolist()) > MONEY_MAX:
        return [Rejected(code="amount_exceeds_limit", detail=f"depth of instrument {i}")]
    crossed = bid.size and ask.size and bid[0] >= ask[0]
    if crossed or (np.diff(bid) >= 0).any() or (np.diff(ask) <= 0).any():
        return [Rejected(code="depth_is_not_sorted", detail=f"depth of instrument {i}")]
    return [
        DepthMoved(
            instrument=i,
            bid_price=pack(bid[:LEVELS_MAX]),
            bid_lots=pack(bid_lots[:LEVELS_MAX]),
            ask_price=pack(ask[:LEVELS_MAX]),
            ask_lots=pack(ask_lots[:LEVELS_MAX]),
        )
    ]


def worth_of_lot(stack: Stack, i: int, mark: int) -> Money:
    """Return the Money value of one (trading) lot at ``mark``, at least 1."""
    facts = stack.facts
    if facts.face[i]:
        return Money(int(facts.face[i]))
    return Money(max(1, mark * int(facts.tick_value[i]) // int(facts.units[i])))
