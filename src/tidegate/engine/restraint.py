"""From prices to bands, pauses and market-wide levels; and who is refused because of them."""

from typing import NamedTuple

import numpy as np

from tidegate.domain.effects import BandMoved, Decision, MarketMoved, PriceNoted, Rejected
from tidegate.domain.instrument import CASH
from tidegate.domain.restraint import (
    ACTIONS,
    ANCHOR,
    ANCHORED_AT,
    CELLS,
    LEVEL,
    PAUSED_UNTIL,
    REFERENCE,
    ROLLING,
    VELOCITY,
)
from tidegate.domain.units import I64, PPM, Nanos, Ticks
from tidegate.engine.market import View
from tidegate.engine.stable import follow
from tidegate.engine.state import State
from tidegate.kernels.bands_limit import (
    LIMIT,
    NORMAL,
    PAUSED,
    band,
    dynamic_breach,
    extremes,
    level_of,
    limit_state,
    mean,
    note,
)
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.price_bands import BandRule, PriceBands
from tidegate.safeguards.stack import Stack


class Held(NamedTuple):
    """The band of one instrument and what it does to it."""

    reference: int
    reference_at: int
    low: int
    high: int
    phase: int
    since: int
    until: int


class Window(NamedTuple):
    """Copies of one ring's cells, to be written into while deciding."""

    at: I64
    low: I64
    high: I64
    total: I64
    seen: I64


def restrain(state: State, view: View, now: int, stack: Stack) -> list[Decision]:
    """Return what the bands, the market-wide levels and the stable price make of ``view``."""
    bands = stack.declaration.bands
    effects: list[Decision] = []
    if bands.market.symbol:
        effects += _market(state, view, now, stack)
    if bands.instruments:
        for i, instrument in enumerate(stack.venue.instruments):
            # A band moves with its own prices; time alone matters at the band and in a pause.
            if view.moved != i and state.restraint.phase[i] == NORMAL:
                continue
            rule = bands.rule(instrument.symbol)
            if rule.active and view.mark[i]:
                effects += _Banded(state, view, i, now, bands, rule).moves()
    return effects + follow(state, view, now, stack)


def _market(state: State, view: View, now: int, stack: Stack) -> list[Decision]:
    """Return the market-wide levels' change: a window that begins, a pause that begins or ends."""
    levels, m = stack.declaration.bands.market, state.restraint.market
    price = int(view.mark[stack.venue.index(levels.symbol)])
    if not price:
        return []
    level, anchor = int(m[LEVEL]), int(m[ANCHOR])
    at, until = int(m[ANCHORED_AT]), int(m[PAUSED_UNTIL])
    reason = ""
    if not anchor or now - at >= levels.window_ns:
        last = int(state.mark[stack.venue.index(levels.symbol)])
        level, anchor, at, reason = 0, last or price, now, "window"
    if until and now >= until:
        until, reason = 0, reason or "reopened"
    reached = int(level_of(anchor, price, np.array(levels.levels, np.int64), PPM))
    if reached > level:
        closes = reached == len(levels.levels)
        level, until = reached, at + levels.window_ns if closes else now + levels.pause_ns
        reason = f"level {reached}"
    if not reason:
        return []
    return [
        MarketMoved(
            level=level,
            anchor=Ticks(anchor),
            anchored_at=Nanos(at),
            until=Nanos(until),
            reason=reason,
        )
    ]


class _Banded:
    """One look at one instrument: what was due, what its windows take, where its band lies."""

    def __init__(
        self, state: State, view: View, i: int, now: int, bands: PriceBands, rule: BandRule
    ) -> None:
        self.r, self.i, self.now = state.restraint, i, now
        self.bands, self.rule = bands, rule
        self.price = int(view.mark[i])
        self.fresh = view.moved == i and view.quality[i] < Quality.STALE  # silence is no price
        self.was = Held(*(int(getattr(self.r, name)[i]) for name in Held._fields))
        self.effects: list[Decision] = []

    def moves(self) -> list[Decision]:
        """Return the effects: a pause that ends, cells of the windows, and the band."""
        held = self._due(self.was)
        emptied = held.phase == PAUSED and self.now >= held.until
        if emptied:
            middle = self.price
            if self.bands.recentre == "limit" and held.low:
                middle = min(max(middle, held.low), held.high)
            held = Held(middle, self.now, 0, 0, NORMAL, self.now, 0)
            self.effects.append(self._said(held, "reopened", emptied=True))
        if held.phase == PAUSED:
            return self._changed(held, "limit")
        rings = [self._ring(k, empty=emptied) for k in range(3)]
        stopped = self._stopped(held, rings) if self.fresh else None
        if stopped is not None:
            return self._changed(*stopped)
        if self.fresh or emptied:
            self._note(rings)
        held = self._centred(held, rings)
        phase, since = limit_state(
            held.phase,
            held.since,
            int(self._touches(held.reference)),
            self.now,
            self.bands.limit_ns,
            self.bands.pause_ns,
        )
        reason = "limit" if phase == PAUSED else ("at_band" if phase == LIMIT else "followed")
        held = held._replace(phase=int(phase), since=int(since))
        if phase == PAUSED:
            held = held._replace(until=int(since) + self.bands.pause_ns)
        return self._changed(held, reason)

    def _due(self, held: Held) -> Held:
        """Return the state with the pause that was due since the last look, if any."""
        due = held.since + self.bands.limit_ns
        if held.phase == LIMIT and self.now >= due:
            return held._replace(phase=PAUSED, since=due, until=due + self.bands.pause_ns)
        return held

    def _ring(self, ring: int, *, empty: bool) -> Window:
        if empty:
            return Window(*(np.zeros(CELLS, np.int64) for _ in Window._fields))
        return Window(
            *(getattr(self.r, f"ring_{name}")[self.i, ring].copy() for name in Window._fields)
        )

    def _stopped(self, held: Held, rings: list[Window]) -> tuple[Held, str] | None:
        """Return the pause that this price begins by itself, before it enters any window."""
        rules = (
            ("velocity", VELOCITY, self.rule.velocity, self.bands.velocity_pause_ns),
            ("rolling", ROLLING, self.rule.rolling, self.bands.rolling_pause_ns),
        )
        for reason, ring, rate, pause in rules:
            if not rate:
                continue
            window = self.bands.windows()[ring]
            w = rings[ring]
            lowest, highest = extremes(w.at, w.low, w.high, w.seen, self.now, window)
            middle = held.reference if ring == ROLLING and held.reference else lowest
            if dynamic_breach(self.price, lowest, highest, int(middle) * rate // PPM):
                until = self.now + pause
                return held._replace(phase=PAUSED, since=self.now, until=until), reason
        return None

    def _note(self, rings: list[Window]) -> None:
        used = (True, bool(self.rule.rolling), bool(self.rule.velocity))
        for ring, w in enumerate(rings):
            if not used[ring]:
                continue
            span = self.bands.windows()[ring] // CELLS
            cell = int(note(w.at, w.low, w.high, w.total, w.seen, self.now, self.price, span))
            self.effects.append(
                PriceNoted(
                    instrument=self.i,
                    ring=ring,
                    cell=cell,
                    at=Nanos(int(w.at[cell])),
                    low=Ticks(int(w.low[cell])),
                    high=Ticks(int(w.high[cell])),
                    total=int(w.total[cell]),
                    count=int(w.seen[cell]),
                )
            )

    def _centred(self, held: Held, rings: list[Window]) -> Held:
        """Return the band around its reference, which stands still while the price touches it."""
        reference, at = held.reference, held.reference_at
        if not reference:
            reference, at = self.price, self.now
        elif held.phase == NORMAL and self.now - at >= self.bands.reference_min_ns:
            w = rings[REFERENCE]
            usual = int(mean(w.at, w.total, w.seen, self.now, self.bands.reference_ns))
            if usual and abs(usual - reference) * PPM >= reference * self.bands.reference_step:
                reference, at = usual, self.now
        low = high = 0
        if self.rule.width:
            low, high = (int(n) for n in band(reference, self.rule.width, PPM))
        if self.rule.rolling:
            w = rings[ROLLING]
            ends = extremes(w.at, w.low, w.high, w.seen, self.now, self.bands.rolling_ns)
            room = reference * self.rule.rolling // PPM
            floor, ceiling = int(ends[1]) - room, int(ends[0]) + room
            if ends[1] and not (low and (floor > high or ceiling < low)):
                low, high = max(low, floor, 1), min(high or ceiling, ceiling)
        low = max(low, 1) if high else 0
        return held._replace(reference=reference, reference_at=at, low=low, high=high)

    def _touches(self, reference: int) -> bool:
        """Return whether the price is at the band around its reference, or beyond it.

        The rolling band is not asked: a move beyond that pauses, and one exactly to it is free.
        """
        low, high = band(reference, self.rule.width, PPM)
        return bool(self.rule.width) and not low < self.price < high

    def _changed(self, held: Held, reason: str) -> list[Decision]:
        told = self.effects and isinstance(self.effects[0], BandMoved)
        if held == self.was and not told:
            return self.effects
        return [*self.effects, self._said(held, reason, emptied=False)]

    def _said(self, held: Held, reason: str, *, emptied: bool) -> BandMoved:
        return BandMoved(
            instrument=self.i,
            reference=Ticks(held.reference),
            reference_at=Nanos(held.reference_at),
            low=Ticks(held.low),
            high=Ticks(held.high),
            phase=held.phase,
            since=Nanos(held.since),
            until=Nanos(held.until),
            emptied=emptied,
            reason=reason,
        )


def action_refusal(state: State, asset: int, action: str) -> list[Decision]:
    """Return a refusal where ``action`` is paused in an instrument, or in cash, else nothing."""
    assert action in ACTIONS
    if not state.restraint.flagged(asset, action):
        return []
    name = "cash" if asset == CASH else f"instrument {asset}"
    return [Rejected(code="action_paused", detail=f"{action} in {name}")]


def trade_refusal(state: State, i: int, price: int, now: int, *, reduces: bool) -> list[Decision]:
    """Return why a trade may not be made now, or nothing. What takes risk away is let through.

    Reducing is stopped only by its own flag: a band or a pause keeps nobody in.
    """
    if refusal := action_refusal(state, i, "close" if reduces else "open"):
        return refusal
    r = state.restraint
    if reduces:
        return []
    if now < r.market[PAUSED_UNTIL]:
        return [Rejected(code="market_paused", detail=f"opening in instrument {i}")]
    if r.phase[i] == PAUSED and now < r.until[i]:
        return [Rejected(code="instrument_paused", detail=f"opening in instrument {i}")]
    if r.high[i] and not r.low[i] <= price <= r.high[i]:
        detail = f"{price} in instrument {i}, band {r.low[i]}..{r.high[i]}"
        return [Rejected(code="price_outside_band", detail=detail)]
    return []


def forced_refusal(state: State, i: int, price: int | None = None) -> list[Decision]:
    """Return why nothing forced may trade in an instrument now, at ``price``, or nothing.

    As pauses stand: they end with the next price or tick.
    """
    if refusal := action_refusal(state, i, "liquidate") or payout_refusal(state, [i]):
        return refusal
    low, high = int(state.restraint.low[i]), int(state.restraint.high[i])
    if price is not None and high and not low <= price <= high:
        detail = f"{price} in instrument {i}, band {low}..{high}"
        return [Rejected(code="price_outside_band", detail=detail)]
    return []


def payout_refusal(state: State, instruments: list[int]) -> list[Decision]:
    """Return why nothing may be paid out against these prices now, or nothing.

    A paused price is one that nobody can trade at: whoever holds it must not be paid by it.
    """
    r = state.restraint
    for i in instruments:
        if r.market[PAUSED_UNTIL]:
            return [Rejected(code="market_paused", detail=f"against instrument {i}")]
        if r.phase[i] == PAUSED:
            return [Rejected(code="instrument_paused", detail=f"against instrument {i}")]
    return []
