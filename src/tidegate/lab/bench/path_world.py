"""The venues on which path kernels are measured and admitted: books, stacks, and first prices."""

from typing import Final

import numpy as np

from tidegate.domain.events import BookImported, PriceObserved
from tidegate.domain.instrument import Linear
from tidegate.domain.units import I64, PPM, SECOND, Lots, Money, Nanos, Ppm, Ticks, pack
from tidegate.domain.venue import Limits, Venue
from tidegate.drivers.streams import Streams
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


UNIT: Final = 1_000_000  # Money of one unit of the numeraire
TIERS: Final = (
    Tier(initial=Ppm(20_000), maintenance=Ppm(10_000)),
    Tier(floor=Money(100_000 * UNIT), initial=Ppm(40_000), maintenance=Ppm(20_000)),
    Tier(floor=Money(1_000_000 * UNIT), initial=Ppm(100_000), maintenance=Ppm(50_000)),
)


def venue_of(accounts: int, markets: int) -> Venue:
    """Return a venue of linear markets in which one lot gains 10 Money a tick."""
    return Venue(
        name="bench",
        instruments=tuple(
            Linear(
                symbol=f"M{i}",
                tick_size="0.1",
                lot_size="0.0001",
                price_max=Ticks(2_000_000),
                lots_max=Lots(20_000_000),
                tick_value=Money(10),
            )
            for i in range(markets)
        ),
        limits=Limits(
            accounts_max=accounts + 16, positions_max=4 * accounts + 64, orders_max=1 << 17
        ),
    )


def whole() -> SafeguardStack:
    """Return the neutral stack over the same tiers: whole accounts at once, and nobody pays."""
    return SafeguardStack(
        name="whole",
        never_worse=NeverWorse(mode="off"),
        margin=MarginModel(instruments={"*": Requirement(tiers=TIERS)}),
    )


def guarded(fund: Money) -> SafeguardStack:
    """Return a stack with throttle, breaker, fund and deleveraging, all within the coincidence."""
    return SafeguardStack(
        name="guarded",
        never_worse=NeverWorse(mode="off"),
        margin=MarginModel(instruments={"*": Requirement(tiers=TIERS, penalty=Ppm(5_000))}),
        breaker=LadderBreaker(
            steps=(
                Step(rung="caution", deviations=6 * PPM, drawdown=100_000, pace=Ppm(500_000)),
                Step(rung="reduce_only", deviations=12 * PPM, drawdown=400_000, pace=Ppm(250_000)),
            ),
            reserved=Ppm(200_000),
        ),
        planner=StagedPlanner(
            close_fraction=Ppm(500_000),
            target=Ppm(1_200_000),
            interval_ns=Nanos(SECOND),
            depth_share=Ppm(300_000),
            unknown_depth=Money(10_000_000 * UNIT),
            netting=True,
        ),
        waterfall=Waterfall(
            tranches=(Tranche(name="fund", initial=fund),),
            deleverage="queue",
            fund_pays_first=True,
        ),
    )


def populated(stack: Stack, accounts: int, *, near: float) -> tuple[State, I64]:
    """Return a venue whose accounts hold one to five positions, and its prices in ticks.

    Equity beyond maintenance is log-normal around ``near`` of gross notional: a few in ten thousand
    stand within half a percent of their line.
    """
    state, g = State.genesis(stack), Streams(7, 0)["book"]
    markets = len(stack.venue.instruments)
    price = g.integers(50_000, 500_000, markets)
    count = np.minimum(g.integers(1, 6, accounts), markets)
    account = np.repeat(np.arange(accounts), count)
    market = np.concatenate([g.permutation(markets)[:k] for k in count.tolist()])
    worth = np.exp(g.normal(np.log(5_000.0 * UNIT), 1.5, account.size))
    side = np.where(g.random(account.size) < 0.55, 1, -1)
    lots = side * np.clip(worth / (price[market] * 10), 1, 10_000_000).astype(np.int64)
    entry = (price[market] * (1 + g.normal(0, 0.02, account.size))).astype(np.int64)
    size = np.abs(lots) * price[market] * 10.0
    due = np.max([size * 0.01, size * 0.02 - 1e9, size * 0.05 - 3.1e10], axis=0)
    room = np.exp(g.normal(np.log(near), 1.0, accounts)) * np.bincount(account, size)
    gain = np.bincount(account, lots * (price[market] - entry) * 10.0)
    cash = (np.bincount(account, due) + room - gain).astype(np.int64) + 10
    book = BookImported(
        ts=Nanos(0),
        names=tuple(f"a{n}" for n in range(accounts)),
        owner=pack(np.arange(accounts)),
        cash=pack(cash),
        account=pack(account),
        instrument=pack(market),
        lots=pack(lots),
        entry=pack(entry),
    )
    step(state, book, stack)
    for i, p in enumerate(price.tolist()):
        seen = PriceObserved(ts=Nanos(0), instrument=i, source=0, price=p, published=Nanos(0))
        step(state, seen, stack)
    return state, price
