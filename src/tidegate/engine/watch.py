"""From health to rung: the sweep, the cascade profile, the fund's drawdown and the breaker."""

from dataclasses import dataclass

import numpy as np
from msgspec import structs

from tidegate.domain.book import Health
from tidegate.domain.effects import (
    BreakerMoved,
    Decision,
    HealthMoved,
    Judged,
    PeakMoved,
    ProfileMoved,
    RungHeld,
)
from tidegate.domain.restraint import CEILING, CEILING_UNTIL, RUNG_SINCE
from tidegate.domain.units import I64, PPM, Money, Nanos, Ppm, pack, share_floor
from tidegate.engine.cadence import refreshed
from tidegate.engine.following import followed
from tidegate.engine.governance import judged_facts
from tidegate.engine.lens import Lens
from tidegate.engine.market import View
from tidegate.engine.soft import tend_bands
from tidegate.engine.state import State
from tidegate.engine.waiting import with_wait
from tidegate.kernels.depth import depth_buckets
from tidegate.kernels.margin import SUMS, sum_health
from tidegate.kernels.profile import branching, forced_buckets, forced_in_all, near_branching
from tidegate.safeguards.breaker import Alarms
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.stack import Stack


BRANCHING_SIGNAL = "spectral_radius"


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look at the venue found, and the effects that say so."""

    health: Health
    rung: int
    effects: list[Decision]
    pace: I64 | None = None  # ppm per instrument; None: the rung's own


def watch(state: State, view: View, now: int, stack: Stack, lens: Lens | None = None) -> Watched:
    """Sweep all accounts at ``view`` and let the breaker judge what it sees."""
    health = judged(state, view, now, stack, lens)
    health = with_wait(state, health, view.mark, view.low, view.high, stack)
    effects = tend_bands(state, view, health, now, stack)
    near = state.market.near.copy()
    for profile in cascade_profiles(state, view, health, refreshed(state, view), stack, lens):
        near[profile.instrument] = profile.near
        effects.append(profile)
    moved, distressed = health_moved(health)
    effects.append(moved)
    fund = stack.declaration.waterfall.fund(state.book)
    peak, peak_at = state.fund_peak, state.fund_peak_at
    if fund > peak or now - peak_at > stack.declaration.waterfall.drawdown_window_ns:
        peak = fund
        effects.append(PeakMoved(peak=Money(fund), at=Nanos(now)))
    alarms = Alarms(
        deviations=int(view.deviations.max(initial=0)),
        distressed=distressed,
        branching=max(int(near.max(initial=0)), signal_now(state, BRANCHING_SIGNAL, now, stack)),
        drawdown=share_floor(peak - fund, peak) if peak > 0 else 0,
        doubtful=int(((view.quality != Quality.GOOD) & (view.quality != Quality.NONE)).sum()),
        drop=held_back(view),
    )
    rung, calm, reason, value = stack.declaration.breaker.climb(
        alarms, rung=state.rung, calm_since=state.calm_since, now=now
    )
    if stack.declaration.breaker.halt_max_ns:
        rung, reason, held = patience(state, rung, reason, now, stack)
        effects += held
    if rung != state.rung or calm != state.calm_since:
        effects.append(BreakerMoved(rung=rung, calm_since=Nanos(calm), reason=reason, value=value))
    pace = smooth_pace(view, alarms, near, stack) if stack.declaration.breaker.smooth else None
    if stack.declaration.cadence.active:
        owed = int(state.judgement.owed.sum())
        effects.append(Judged(at=Nanos(now), owed=owed))
    return Watched(health=health, rung=rung, effects=effects, pace=pace)


def judged(state: State, view: View, now: int, stack: Stack, lens: Lens | None) -> Health:
    """Return everybody's health at ``view``, through the lens where there is one for it."""
    facts = followed(state, judged_facts(state, now, stack), stack)
    prices = view.mark, view.low, view.high
    seen = lens.health(state, facts, *prices, stack.declaration) if lens is not None else None
    if seen is not None:
        return seen
    return stack.declaration.margin.assess(
        state.book, facts, mark=view.mark, low=view.low, high=view.high
    )


def held_back(view: View) -> Ppm:
    """Return the largest fall that the oracle's delay still holds back, in ppm of the mark.

    Source: MakerDAO ClipperMom, which trips on the next price of the delayed oracle.
    """
    waits = (view.pending > 0) & (view.pending < view.mark)
    if not waits.any():
        return Ppm(0)
    marks, said = view.mark[waits].tolist(), view.pending[waits].tolist()
    return Ppm(max((m - p) * PPM // m for m, p in zip(marks, said, strict=True)))


def patience(
    state: State, rung: int, reason: str, now: int, stack: Stack
) -> tuple[int, str, list[Decision]]:
    """Return the rung after the longest time that a halt may last, and what is remembered."""
    m = state.restraint.market
    before = (int(m[RUNG_SINCE]), int(m[CEILING]), int(m[CEILING_UNTIL]))
    since, ceiling, until = before
    rung, since, ceiling, until, expired = stack.declaration.breaker.expired(
        rung, was=state.rung, since=since, ceiling=ceiling, until=until, now=now
    )
    after = (since, ceiling, until)
    held: list[Decision] = []
    if after != before:
        held.append(RungHeld(since=Nanos(since), ceiling=ceiling, until=Nanos(until)))
    return rung, "expired" if expired else reason, held


def smooth_pace(view: View, alarms: Alarms, near: I64, stack: Stack) -> I64:
    """Return the pace of each instrument: by its own move and branching, and the venue's rest."""
    return np.array(
        [
            stack.declaration.breaker.pace(
                structs.replace(alarms, deviations=int(view.deviations[i]), branching=int(near[i]))
            )
            for i in range(view.mark.size)
        ],
        np.int64,
    )


def health_moved(health: Health) -> tuple[HealthMoved, Ppm]:
    """Return the totals of a sweep and the distressed share of all maintenance, in ppm.

    Totals are sums of at most accounts_max values below 2**62 / instruments: each comes in two
    halves of 31 bits, and is put together in Python's integers, where int64 could wrap.
    """
    sums = np.zeros(SUMS, np.int64)
    sum_health(health.equity, health.required, health.best, sums)
    liquidatable, bankrupt, *halves = sums.tolist()
    required, distressed, equity = (
        (high << 31) + low for high, low in zip(halves[::2], halves[1::2], strict=True)
    )
    moved = HealthMoved(
        liquidatable=liquidatable,
        bankrupt=bankrupt,
        required=Money(required),
        distressed=Money(distressed),
        deficit=Money(-equity),
    )
    return moved, share_floor(distressed, required)


def cascade_profiles(
    state: State,
    view: View,
    health: Health,
    instruments: list[int],
    stack: Stack,
    lens: Lens | None,
) -> list[ProfileMoved]:
    """Return n(p) of these, down and up, from liquidation distances and measured depth."""
    if not instruments:
        return []
    grid = stack.declaration.profile
    if lens is not None:
        every = lens.forced(state, view.mark, health.best, grid.width, grid.buckets)
        if every is not None:
            return [_profile(state, view, i, every[2 * i : 2 * i + 2], stack) for i in instruments]
    forced = np.zeros((len(instruments), 2, grid.buckets), np.int64)
    of = (state.book, state.facts, view.mark, health.best)
    if len(instruments) == 1:
        forced_buckets(*of, instruments[0], grid.width, forced[0, 0], forced[0, 1])
    else:
        place = np.full(view.mark.size, -1, np.int64)
        place[instruments] = np.arange(len(instruments))
        forced_in_all(*of, place, grid.width, forced)
    return [_profile(state, view, i, forced[k], stack) for k, i in enumerate(instruments)]


def _profile(state: State, view: View, i: int, forced: I64, stack: Stack) -> ProfileMoved:
    """Return n(p) of one instrument from what is forced in it, [2, buckets]."""
    grid, m = stack.declaration.profile, state.market
    out: list[I64] = []
    near = 0
    for side in range(2):
        depth, n = np.zeros(grid.buckets, np.int64), np.zeros(grid.buckets, np.int64)
        depth_buckets(
            m.depth_price[i, side],
            m.depth_lots[i, side],
            int(m.levels[i, side]),
            int(view.mark[i]),
            grid.width,
            depth,
        )
        if m.levels[i, side]:
            branching(forced[side], depth, n)
            near = max(near, int(near_branching(forced[side], depth, grid.near)))
        out.append(n)
    return ProfileMoved(instrument=i, down=pack(out[0]), up=pack(out[1]), near=Ppm(near))


def signal_now(state: State, name: str, now: int, stack: Stack) -> int:
    """Return what a signal says now, faded with its age; 0 when nobody listens to it."""
    gate = stack.declaration.signals
    slot = gate.slot(name)
    if slot < 0:
        return 0
    if state.signal_at[slot] < 0:
        return gate.bounds[slot].neutral
    return gate.bounds[slot].faded(int(state.signal[slot]), now - int(state.signal_at[slot]))
