"""A small venue whose price sinks all day: somebody is liquidated in every stretch of it."""

import random

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import (
    BookImported,
    ClockTicked,
    Deposited,
    DepthObserved,
    PriceObserved,
    Traded,
)
from tidegate.domain.instrument import Linear
from tidegate.domain.units import SECOND, pack
from tidegate.domain.venue import Limits, Venue
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


BEGIN = 1_700_000_000 * SECOND
TOP = 1_000_000
ACCOUNTS = 60
DECLARATION = SafeguardStack(
    name="small",
    margin=MarginModel(
        instruments={"*": Requirement(tiers=(Tier(initial=100_000, maintenance=50_000),))}
    ),
    planner=StagedPlanner(
        close_fraction=400_000, interval_ns=SECOND, whole_below=10**9, netting=True
    ),
    waterfall=Waterfall(
        tranches=(Tranche(name="fund", initial=10**10),), deleverage="queue", socialise="equity"
    ),
)


def venue_of(**limits) -> Venue:
    """Return the venue; limits may be given, as an operator raises them between two starts."""
    instruments = tuple(
        Linear(
            symbol=symbol,
            tick_size="0.1",
            lot_size="0.001",
            price_max=4 * TOP,
            lots_max=10**5,
            tick_value=100,
        )
        for symbol in ("BTC-PERP", "ETH-PERP")
    )
    small = {"accounts_max": 128, "positions_max": 512, "orders_max": 256}
    return Venue(name="small", instruments=instruments, limits=Limits(**(small | limits)))


def stack_of(**limits) -> Stack:
    return Stack.bind(DECLARATION, venue_of(**limits))


def book(draw: random.Random) -> BookImported:
    """Return accounts from 2 to 15 times levered, longs and shorts that sum to the same."""
    rows, cash = [], []
    for account in range(ACCOUNTS):
        notional = 0
        for instrument in range(2):
            lots = draw.randrange(20, 900) * (-1 if account % 5 == 4 else 1)
            rows.append((account, instrument, lots, TOP))
            notional += abs(lots) * TOP * 100
        cash.append(int(notional / draw.uniform(1.8, 15)))
    account, instrument, lots, entry = np.array(rows).T
    return BookImported(
        ts=BEGIN,
        names=tuple(f"account {k}" for k in range(ACCOUNTS)),
        owner=pack(np.arange(ACCOUNTS)),
        cash=pack(np.array(cash)),
        account=pack(account),
        instrument=pack(instrument),
        lots=pack(lots),
        entry=pack(entry),
    )


def feed(n: int, seed: int) -> list:
    """Return ``n`` events: the book, and a day on which prices lose a third in small steps."""
    draw = random.Random(seed)
    events, now = [book(draw)], BEGIN
    log = [0.0, 0.0]
    while len(events) < n:
        now += draw.randrange(1, SECOND // 2)
        i = draw.randrange(2)
        log[i] += draw.gauss(-0.9 / n, 0.004)
        price = int(TOP * np.exp(log[i]))
        user = FIRST_USER + draw.randrange(ACCOUNTS)
        match draw.randrange(10):
            case 0:
                events.append(Deposited(ts=now, account=user, amount=draw.randrange(1, 10**9)))
            case 1:
                events.append(ClockTicked(ts=now))
            case 2:
                other = FIRST_USER + draw.randrange(ACCOUNTS)
                lots = draw.randrange(-50, 50)
                events.append(
                    Traded(ts=now, instrument=i, taker=user, maker=other, lots=lots, price=price)
                )
            case 3:
                level = np.arange(1, 6) * price // 500
                lots = pack(np.array([draw.randrange(1, 400) for _ in range(5)]))
                events.append(
                    DepthObserved(
                        ts=now,
                        instrument=i,
                        bid_price=pack(price - level),
                        bid_lots=lots,
                        ask_price=pack(price + level),
                        ask_lots=lots,
                    )
                )
            case _:
                events.append(
                    PriceObserved(ts=now, instrument=i, source=0, price=price, published=now)
                )
    return events
