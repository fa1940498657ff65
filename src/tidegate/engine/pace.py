"""From a throttle and a schedule to the lots that may go now."""

from typing import Final

import numpy as np

from tidegate.domain.book import FUND, TRANCHES_MAX, Health
from tidegate.domain.effects import Decision, LotsReleased, Rejected, ScheduleKept, SeedKept
from tidegate.domain.events import ScheduleObserved, SeedDrawn
from tidegate.domain.pace import REGIMES, SEED_BYTES, SLICES_MAX
from tidegate.domain.units import I64, PPM, Lots, Money, Nanos, Ppm, is_column, unpack
from tidegate.engine.market import View, worth_of_lot
from tidegate.engine.state import State
from tidegate.kernels.depth import executable
from tidegate.kernels.window import used_since
from tidegate.safeguards.stack import Stack
from tidegate.safeguards.throttle import FundThrottle, Measured


UNLIMITED: Final = 2**62


def depth_within(state: State, view: View, i: int, side: int, reach: int) -> int:
    """Return the lots resting within ``reach`` ppm of the mark on the side that is taken from."""
    m = state.market
    return int(
        executable(
            m.depth_price[i, side],
            m.depth_lots[i, side],
            int(m.levels[i, side]),
            int(view.mark[i]),
            reach,
        )
    )


def open_deficit(health: Health) -> Money:
    """Return by how much the bankrupt who are still open lie below zero, together."""
    lost = health.equity[(health.equity < 0) & (health.best < 0)]
    return Money(-sum(lost.tolist()))


def measured(state: State, view: View, i: int, side: int, deficit: Money, stack: Stack) -> Measured:
    """Return what a throttle may look at."""
    reach = stack.declaration.throttle.reach
    depth = [depth_within(state, view, i, s, reach) if reach else 0 for s in range(2)]
    return Measured(
        symbol=stack.venue.instruments[i].symbol,
        lot_value=worth_of_lot(stack, i, int(view.mark[i])),
        measured=bool(state.market.levels[i].any()),
        depth=Lots(depth[side]),
        other_depth=Lots(depth[1 - side]),
        fund=Money(int(state.book.cash[FUND : FUND + TRANCHES_MAX].sum())),
        deficit=deficit,
    )


def deficit_for(health: Health, stack: Stack) -> Money:
    """Return the open deficit where the throttle asks for it, else 0: a sum over all accounts."""
    if isinstance(stack.declaration.throttle, FundThrottle):
        return open_deficit(health)
    return Money(0)


def window_capacity(
    state: State, view: View, i: int, side: int, deficit: Money, pace: Ppm, stack: Stack
) -> int:
    """Return the lots that throttle and schedule let go in one window; UNLIMITED without them."""
    throttle, rate = stack.declaration.throttle, stack.declaration.rate
    if rate.active:
        regime, at = int(state.pace.plan_regime[i, side]), int(state.pace.plan_at[i, side])
        if rate.stops(regime=regime, at=at, now=max(state.now, at)):
            return 0
    if not throttle.active:
        return UNLIMITED
    most = throttle.capacity(measured(state, view, i, side, deficit, stack))
    return most if most >= UNLIMITED else most * pace // PPM


def releasable(
    state: State, view: View, i: int, side: int, deficit: Money, pace: Ppm, now: int, stack: Stack
) -> int:
    """Return the lots that throttle and schedule let go now."""
    p, throttle, rate = state.pace, stack.declaration.throttle, stack.declaration.rate
    log = p.log_at[i, side], p.log_lots[i, side]
    room = UNLIMITED
    if throttle.active:
        at = measured(state, view, i, side, deficit, stack)
        most = throttle.capacity(at)
        if most < UNLIMITED:
            room = throttle.releasable(at, most * pace // PPM, *log, now)
    if rate.active:
        interval = int(p.plan_interval[i, side]) or rate.interval_ns
        lot_value = worth_of_lot(stack, i, int(view.mark[i]))
        held = rate.releasable(
            p.plan_lots[i, side, : int(p.plan_count[i, side])],
            regime=int(p.plan_regime[i, side]),
            at=int(p.plan_at[i, side]),
            interval=interval,
            used=int(used_since(*log, now - interval)),
            now=now,
            floor=-(-rate.floor // lot_value),
        )
        room = min(room, held)
    return room


def released(used: list[I64], now: int, stack: Stack) -> list[Decision]:
    """Return the releases that a rolling window must remember, per instrument and side."""
    throttle, rate = stack.declaration.throttle, stack.declaration.rate
    if not throttle.active and not rate.active:
        return []
    keep = max(throttle.window_ns, rate.interval_ns if rate.active else 0)
    return [
        LotsReleased(
            instrument=i, side=side, lots=int(used[side][i]), keep=Nanos(keep), at=Nanos(now)
        )
        for side in range(2)
        for i in np.flatnonzero(used[side]).tolist()
    ]


def on_schedule(event: ScheduleObserved, stack: Stack) -> list[Decision]:
    """Keep a schedule that is one, if this stack asks for any."""
    i, rate = event.instrument, stack.declaration.rate
    if not rate.active:
        return []
    if not 0 <= i < len(stack.venue.instruments):
        return [Rejected(code="instrument_unknown", detail=f"schedule of instrument {i}")]
    if not is_column(event.slices):
        return [Rejected(code="columns_differ", detail=f"schedule of instrument {i}")]
    slices = unpack(event.slices)
    most = stack.venue.instruments[i].lots_open_max()
    bad = slices.size > SLICES_MAX or (slices < 0).any() or (slices > most).any()
    odd = event.side not in {0, 1} or event.regime not in REGIMES[1:]
    odd = odd or not 1 <= event.interval <= UNLIMITED
    if bad or odd:
        detail = f"{event.model} {event.version} on instrument {i}: {event.regime}"
        return [Rejected(code="schedule_out_of_range", detail=detail)]
    if event.confidence < rate.confidence_min:
        detail = f"schedule by {event.model} {event.version}: {event.confidence} ppm"
        return [Rejected(code="signal_not_confident", detail=detail)]
    return [
        ScheduleKept(
            instrument=i,
            side=event.side,
            slices=event.slices,
            interval=event.interval,
            regime=REGIMES.index(event.regime),
            model=event.model,
            version=event.version,
            at=event.ts,
        )
    ]


def on_seed(event: SeedDrawn, stack: Stack) -> list[Decision]:
    """Keep a seed of the right length, if this stack cuts its stages."""
    if not stack.declaration.slices.active:
        return []
    if len(event.seed) != SEED_BYTES:
        return [Rejected(code="seed_out_of_range", detail=f"{len(event.seed)} bytes")]
    return [SeedKept(seed=event.seed, at=event.ts)]
