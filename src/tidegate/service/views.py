"""The venue and its instruments, as they stand after the last record."""

from math import sqrt
from typing import Final

import numpy as np

from tidegate import __version__
from tidegate.api.answers import InstrumentNow, LiquidationMap, Profile, Tranche, VenueNow
from tidegate.domain.book import FIRST_USER, FUND, LIVE, Health
from tidegate.domain.effects import BreakerMoved, HealthMoved
from tidegate.domain.instrument import KIND, AnyInstrument
from tidegate.domain.restraint import ACTIONS
from tidegate.domain.units import PPM, unpack
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.engine.watch import cascade_profiles, health_moved
from tidegate.kernels.depth import depth_buckets
from tidegate.kernels.profile import forced_buckets
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Reading
from tidegate.service.views_health import bucket_now, health_now, share_of
from tidegate.service.views_words import (
    money_text,
    price_float,
    price_text,
    quantity_float,
    quantity_text,
)


DAY_SECONDS: Final = 86_400
PHASES: Final = ("normal", "at_band", "paused")
LEVELS_SHOWN: Final = 20  # of each side of a measured book


def rung_name(rung: int) -> str:
    """Return the name of a rung."""
    return Rung(rung).name.lower()


def quality_name(quality: int) -> str:
    """Return how good a mark is, in one word."""
    return Quality(quality).name.lower()


def tranches_now(state: State, stack: Stack) -> list[Tranche]:
    """Return the layers of the fund."""
    return [
        Tranche(
            name=tranche.name,
            balance=money_text(int(state.book.cash[FUND + k])),
            initial=money_text(tranche.initial),
        )
        for k, tranche in enumerate(stack.declaration.waterfall.tranches)
    ]


def venue_now(
    now: Reading,
    health: HealthMoved | None = None,
    rung: BreakerMoved | None = None,
    since: int = 0,
) -> VenueNow:
    """Return the whole venue.

    ``health`` is what the engine's last sweep found; None: sweep now. ``rung`` is the last time
    that the ladder moved, at ``since``; None: it never did.
    """
    state, stack = now.state, now.stack
    if health is None:
        health, _ = health_moved(health_now(state, stack))
    own = sum(_rows_of(state, account) for account in range(FIRST_USER))
    near = int(state.market.near.max(initial=0))
    return VenueNow(
        name=stack.venue.name,
        numeraire=stack.venue.numeraire,
        account_label=stack.venue.account_label,
        stack=stack.declaration.name,
        stack_digest=stack.digest,
        version=__version__,
        seq=now.head,
        ts=state.now,
        mode=now.mode,
        leader=now.leader,
        epoch=now.epoch,
        rung=state.rung,
        rungs=len(Rung),
        rung_name=rung_name(state.rung),
        rung_reason=rung.reason if rung else "",
        rung_value=rung.value if rung else 0,
        rung_since=since,
        branching=share_of(near),
        accounts=state.book.accounts - FIRST_USER,
        positions=int(state.book.counts[LIVE]) - own,
        liquidatable=health.liquidatable,
        bankrupt=health.bankrupt,
        required=money_text(health.required),
        distressed=money_text(health.distressed),
        deficit=money_text(health.deficit),
        fund=money_text(stack.declaration.waterfall.fund(state.book)),
        fund_peak=money_text(state.fund_peak),
        lost=money_text(state.lost),
        tranches=tranches_now(state, stack),
        in_flight=int(state.orders.counts[1]),
    )


def _rows_of(state: State, account: int) -> int:
    row, rows = int(state.book.head[account]), 0
    while row >= 0:
        row, rows = int(state.book.follow[row]), rows + 1
    return rows


def instruments_now(now: Reading) -> list[InstrumentNow]:
    """Return every instrument in the venue's order."""
    return [instrument_now(now, i) for i in range(len(now.stack.venue.instruments))]


def instrument_now(now: Reading, i: int, deficit: int = 0) -> InstrumentNow:
    """Return one instrument; ``deficit`` of the bankrupt matters to a throttle that follows it."""
    state, stack = now.state, now.stack
    of, m, r = stack.venue.instruments[i], state.market, state.restraint
    sells, buys = (bucket_now(state, i, side, deficit, stack) for side in range(2))
    return InstrumentNow(
        symbol=of.symbol,
        kind=KIND[type(of)].name.lower(),
        tick_size=of.tick_size,
        lot_size=of.lot_size,
        mark=price_text(of, int(m.mark[i])),
        low=price_text(of, int(m.low[i])),
        high=price_text(of, int(m.high[i])),
        index=price_text(of, int(m.index_price[i])),
        quality=quality_name(int(m.quality[i])),
        marked_at=int(m.marked_at[i]),
        branching=share_of(int(m.near[i])),
        deviations=share_of(int(m.deviations[i])),
        volatility=volatility_of(int(m.variance[i])),
        long_open=quantity_text(of, int(state.book.long_open[i])),
        short_open=quantity_text(of, int(state.book.short_open[i])),
        bids=_levels(state, of, i, 0),
        asks=_levels(state, of, i, 1),
        spent_sells=quantity_text(of, sells.spent),
        spent_buys=quantity_text(of, buys.spent),
        budget=None if sells.most is None else quantity_text(of, sells.most),
        budget_buys=None if buys.most is None else quantity_text(of, buys.most),
        band_low=price_text(of, int(r.low[i])),
        band_high=price_text(of, int(r.high[i])),
        phase=PHASES[int(r.phase[i])],
        paused=[action for action in ACTIONS if r.flagged(i, action)],
    )


def volatility_of(variance: int) -> float:
    """Return a variance in ppm squared per second as a share per square root of a day."""
    return sqrt(variance * DAY_SECONDS) / PPM


def _levels(state: State, of: AnyInstrument, i: int, side: int) -> list[tuple[str, str]]:
    m = state.market
    shown = min(int(m.levels[i, side]), LEVELS_SHOWN)
    prices, lots = m.depth_price[i, side, :shown].tolist(), m.depth_lots[i, side, :shown].tolist()
    return [(price_text(of, p), quantity_text(of, n)) for p, n in zip(prices, lots, strict=True)]


def profile_now(now: Reading, i: int, health: Health | None = None) -> Profile:
    """Return n for each bucket away from the mark; nothing but zeros before the first price."""
    state, stack = now.state, now.stack
    of, grid = stack.venue.instruments[i], stack.declaration.profile
    down: list[float] = [0.0] * grid.buckets
    up, near = list(down), 0.0
    if state.mark[i]:
        health = health or health_now(state, stack)
        (found,) = cascade_profiles(state, View.of(state), health, [i], stack, None)
        down, up = shares(found.down), shares(found.up)
        near = share_of(found.near)
    return Profile(
        symbol=of.symbol,
        seq=now.head,
        ts=state.now,
        mark=price_text(of, int(state.mark[i])),
        width=share_of(grid.width),
        near=near,
        down=down,
        up=up,
    )


def shares(column: bytes) -> list[float]:
    """Return a packed column of ppm as shares."""
    return [share_of(n) for n in unpack(column).tolist()]


def liquidation_map(now: Reading, i: int, health: Health | None = None) -> LiquidationMap:
    """Return where liquidations wait by price, and the measured depth that would meet them."""
    state, stack, m = now.state, now.stack, now.state.market
    of, grid = stack.venue.instruments[i], stack.declaration.profile
    forced = [np.zeros(grid.buckets, np.int64) for _ in range(2)]
    depth = [np.zeros(grid.buckets, np.int64) for _ in range(2)]
    if state.mark[i]:
        health = health or health_now(state, stack)
        forced_buckets(
            state.book, state.facts, state.mark, health.best, i, grid.width, forced[0], forced[1]
        )
        for side in range(2):
            depth_buckets(
                m.depth_price[i, side],
                m.depth_lots[i, side],
                int(m.levels[i, side]),
                int(state.mark[i]),
                grid.width,
                depth[side],
            )
    drawn = [[quantity_float(of, n) for n in column.tolist()] for column in (*forced, *depth)]
    return LiquidationMap(
        symbol=of.symbol,
        seq=now.head,
        ts=state.now,
        mark=price_float(of, int(state.mark[i])),
        width=share_of(grid.width),
        forced_down=drawn[0],
        forced_up=drawn[1],
        bid_depth=drawn[2],
        ask_depth=drawn[3],
    )
