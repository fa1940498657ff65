"""How random histories are drawn: small worlds in which everything that can happen does happen.

A history is a stack, a book to import and a list of moves. A move is four small integers, so that
Hypothesis shrinks it well and a plain generator can draw it for a soak. What a move *means* depends
on the state it meets (which orders are live, what the mark is): `World.event` says it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from hypothesis import strategies as st

from tidegate.domain.book import EXTERNAL, FIRST_USER
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.events import (
    AccountOpened,
    BookImported,
    ClockTicked,
    Deposited,
    DepthObserved,
    FundingPaid,
    Input,
    InterestAccrued,
    LiquidationReported,
    OrdersExpired,
    OrdersFilled,
    ParameterChanged,
    ParameterProposed,
    PriceObserved,
    SignalObserved,
    Traded,
    Transferred,
    Withdrawn,
)
from tidegate.domain.instrument import Inverse, Linear, Spot
from tidegate.domain.units import PPM, SECOND, pack
from tidegate.domain.venue import Limits, Venue
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.governance import Governance
from tidegate.safeguards.margin import MarginModel, Requirement, Tier, VolatilityMargin
from tidegate.safeguards.oracle import OracleGuard, Source
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.signals import SignalBound, SignalGate
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


USD = 1_000_000
START = 1_700_000_000 * SECOND
BTC, ETH, INV, SOL = range(4)  # columns of the toy venue
BASE = (10_000, 2_000, 2_000, 500)  # first prices in ticks of one dollar
PEOPLE = 8

VENUE = Venue(
    name="toy",
    instruments=(
        Linear(
            symbol="BTC-PERP",
            tick_size="1",
            lot_size="0.001",
            tick_value=1_000,
            price_max=40_000,
            lots_max=20_000,
            open_interest_max=60_000,
        ),
        Spot(
            symbol="ETH",
            tick_size="1",
            lot_size="0.000001",
            tick_value=USD,
            units=1_000_000,
            price_max=8_000,
            lots_max=500_000_000,
            open_interest_max=2_000_000_000,
        ),
        Inverse(
            symbol="ETH-INV",
            tick_size="1",
            lot_size="1",
            coin="ETH",
            contract=1_000_000,
            face=USD,
            price_max=8_000,
            lots_max=400_000,
            open_interest_max=1_200_000,
        ),
        Linear(
            symbol="SOL-PERP",
            tick_size="1",
            lot_size="0.1",
            tick_value=100_000,
            price_max=4_000,
            lots_max=20_000,
            open_interest_max=60_000,
        ),
    ),
    limits=Limits(
        accounts_max=FIRST_USER + PEOPLE + 4,
        positions_max=80,
        orders_max=12,
        balance_max=2_000_000 * USD,
    ),
    sources=("a", "b", "venue"),
)

MARGIN = MarginModel(
    instruments={
        "BTC-PERP": Requirement(
            tiers=(
                Tier(initial=100_000, maintenance=50_000),
                Tier(floor=50_000 * USD, initial=200_000, maintenance=100_000),
                Tier(floor=120_000 * USD, initial=400_000, maintenance=250_000),
            ),
            penalty=5_000,
            dust=100 * USD,
        ),
        "ETH": Requirement(
            tiers=(Tier(initial=200_000, maintenance=100_000),),
            counted_max=200_000 * USD,
            debt_initial=150_000,
            debt_maintenance=80_000,
            penalty=20_000,
            dust=50 * USD,
        ),
        "ETH-INV": Requirement(tiers=(Tier(initial=80_000, maintenance=40_000),), penalty=5_000),
        "SOL-PERP": Requirement(
            tiers=(Tier(initial=50_000, maintenance=25_000),),
            premium=400_000,
            open_low=100_000 * USD,
            open_high=4_000_000 * USD,
        ),
    },
    cash_debt_initial=100_000,
    cash_debt_maintenance=50_000,
)

LADDER = LadderBreaker(
    steps=(
        Step(rung="caution", distressed=50_000, branching=1_000_000, initial_scale=1_500_000),
        Step(
            rung="reduce_only",
            distressed=200_000,
            drawdown=300_000,
            initial_scale=2_000_000,
            pace=500_000,
            band=50_000,
        ),
        # Nothing is sold on these two rungs: what takes one there must pass by itself.
        Step(
            rung="auction_only",
            deviations=40_000_000,
            doubtful=3,
            initial_scale=2_000_000,
            pace=0,
            band=30_000,
        ),
        Step(rung="halt", drawdown=900_000, initial_scale=3_000_000, pace=0, band=30_000),
    ),
    cooldown_ns=5 * SECOND,
    window_ns=10 * SECOND,
    reserved=200_000,
)

DECLARATIONS = (
    SafeguardStack(name="neutral", margin=MARGIN),
    SafeguardStack(
        name="bare",
        margin=MARGIN,
        oracle=OracleGuard(age_max_ns=60 * SECOND),
        planner=StagedPlanner(
            whole_below=20_000 * USD, first_stage=200_000, interval_ns=30 * SECOND
        ),
        waterfall=Waterfall(
            tranches=(Tranche(name="backstop", initial=5_000 * USD),),
            deleverage="queue",
            deleverage_when="bankrupt",
        ),
    ),
    SafeguardStack(
        name="guarded",
        margin=MARGIN,
        oracle=OracleGuard(
            sources=(
                Source(name="a", weight=2),
                Source(name="b"),
                Source(name="venue", role="venue"),
            ),
            age_max_ns=20 * SECOND,
            confidence_max=20_000,
            step_max=100_000,
            divergence_max=50_000,
            smoothing_ns=10 * SECOND,
            stale_band=50_000,
        ),
        breaker=LADDER,
        planner=StagedPlanner(
            close_fraction=500_000,
            target=1_250_000,
            interval_ns=5 * SECOND,
            netting=True,
            priority="savable",
            depth_share=300_000,
            depth_reach=20_000,
            in_flight_max=30_000 * USD,
            unknown_depth=20_000 * USD,
        ),
        route=BookRoute(spread=1_500_000, adjustment=2_000_000),
        waterfall=Waterfall(
            tranches=(
                Tranche(name="first", initial=2_000 * USD, exhaustion=5_000 * USD),
                Tranche(name="second", initial=10_000 * USD, attachment=3_000 * USD),
            ),
            deleverage="pro_rata",
            fund_share=250_000,
            fund_pays_first=True,
            socialise="profit",
        ),
        signals=SignalGate(bounds=(SignalBound(name="spectral_radius", tightest=10_000_000),)),
    ),
    SafeguardStack(
        name="shared",
        margin=MARGIN,
        planner=StagedPlanner(close_fraction=600_000, interval_ns=SECOND, netting=True),
        waterfall=Waterfall(
            tranches=(Tranche(name="small", initial=500 * USD),),
            deleverage="pro_rata",
            socialise="equity",
            penalty_share=500_000,
        ),
    ),
    SafeguardStack(
        name="delayed",
        margin=MARGIN,
        oracle=OracleGuard(delay_ns=10 * SECOND),
        planner=StagedPlanner(netting=True, priority="oldest"),
        waterfall=Waterfall(deleverage="queue", score="profit", socialise="profit"),
    ),
    SafeguardStack(
        name="lender",
        margin=MarginModel(
            instruments={
                "*": Requirement(tiers=(Tier(initial=100_000, maintenance=50_000),)),
                "ETH": Requirement(
                    tiers=(Tier(initial=250_000, maintenance=175_000),), penalty=50_000
                ),
            }
        ),
        oracle=OracleGuard(outlier_max=30_000, sources_min=2, liquidate_at_worst=1),
        planner=StagedPlanner(close_fraction=500_000, target=1_000_000, priority="largest"),
        waterfall=Waterfall(
            tranches=(Tranche(name="reserve", initial=3_000 * USD),), deleverage="none"
        ),
    ),
    SafeguardStack(
        name="governed",
        margin=msgspec.structs.replace(
            MARGIN,
            group_tiers=True,
            volatility=VolatilityMargin(
                cover=2_000_000,
                horizon_ns=60 * SECOND,
                rate_max=400_000,
                buffer=250_000,
                maintenance_share=500_000,
            ),
        ),
        oracle=OracleGuard(stale_band=20_000, age_max_ns=30 * SECOND),
        planner=StagedPlanner(close_fraction=500_000, interval_ns=2 * SECOND),
        waterfall=Waterfall(
            tranches=(Tranche(name="fund", initial=1_000 * USD),), deleverage="queue"
        ),
        governance=Governance(
            notice_ns=4 * SECOND,
            ramp_ns=10 * SECOND,
            grace_ns=11 * SECOND,
            step_max={"penalty": 60_000},
        ),
    ),
)
STACKS = tuple(Stack.bind(declaration, VENUE) for declaration in DECLARATIONS)
NEUTRAL, BARE, GUARDED, SHARED, DELAYED, LENDER, GOVERNED = ALL = range(len(STACKS))

WILD = (0, -1, 1, -(2**63), 2**63 - 1, 2**62, -(2**62), 10**12, -(10**12), 2**32, 2**64 - 1)
ROWS = (-1, 0, 1, 4, FIRST_USER - 1, 2**31, 2**40, -(2**63), 2**63 - 1)
STEPS = (0, 1_000, -1_000, 10_000, -10_000, 50_000, -50_000, 200_000, -200_000, 900_000, -500_000)
WAITS = (0, 0, 1, SECOND // 10, SECOND, SECOND, 4 * SECOND, 11 * SECOND, 70 * SECOND)


class Move(NamedTuple):
    """What happens next, in four numbers."""

    kind: int
    a: int = 0
    b: int = 0
    c: int = 0


@dataclass(frozen=True)
class History:
    """A stack, a book (cash, positions per person) and what happened to it."""

    which: int  # of `STACKS`; a number, so that a failure is printed in one line
    people: tuple[tuple[int, int, int, int, int], ...]  # cash and one size an instrument
    moves: tuple[Move, ...]

    @property
    def stack(self) -> Stack:
        return STACKS[self.which]


def pick(options: tuple, n: int):
    return options[n % len(options)]


def moved(price: int, step: int, price_max: int) -> int:
    return min(max(price * (PPM + step) // PPM, 1), price_max)


def book_of(people: tuple[tuple[int, ...], ...], ts: int = START) -> BookImported:
    """Return the import of these people; every third one is the isolated account of the first."""
    cash, rows = [], []
    owner = [0 if k % 3 == 2 else k for k in range(len(people))]
    for k, (dollars, *sizes) in enumerate(people):
        cash.append((dollars % 40_000) * USD)
        for i, size in enumerate(sizes):
            lots = (size % 2_001 - 1_000) * (6, 5_000, 60, 6)[i]
            if size and lots:
                entry = moved(BASE[i], pick(STEPS[:7], size // 7), 40_000)
                rows.append((k, i, lots, entry))
    account, instrument, lots, entry = np.array(rows or np.empty((0, 4)), np.int64).T
    return BookImported(
        ts=ts,
        names=tuple(f"account {k}" for k in range(len(people))),
        owner=pack(np.array(owner)),
        cash=pack(np.array(cash)),
        account=pack(account),
        instrument=pack(instrument),
        lots=pack(lots),
        entry=pack(entry),
    )


def depth_at(ts: int, i: int, price: int, lots: tuple[int, ...], gap: int = 2_000) -> DepthObserved:
    """Return a book around ``price`` with these lots at every level of both sides."""
    steps = [max(k + 1, price * gap * (k + 1) // PPM) for k in range(len(lots))]
    bids = [(price - s, n) for s, n in zip(steps, lots, strict=True) if price - s > 0]
    asks = [(price + s, n) for s, n in zip(steps, lots, strict=True)]
    top = VENUE.instruments[i].price_max
    asks = [(p, n) for p, n in asks if p <= top]
    return DepthObserved(
        ts=ts,
        instrument=i,
        bid_price=pack(np.array([p for p, _ in bids], np.int64)),
        bid_lots=pack(np.array([n for _, n in bids], np.int64)),
        ask_price=pack(np.array([p for p, _ in asks], np.int64)),
        ask_lots=pack(np.array([n for _, n in asks], np.int64)),
    )


@dataclass
class World:
    """A state, the time, and what the venue said last: enough to give a move its meaning."""

    stack: Stack
    state: State = field(init=False)
    now: int = START
    answered: list[Input] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State.genesis(self.stack)

    def user(self, n: int) -> int:
        return FIRST_USER + n % max(1, self.state.book.accounts - FIRST_USER)

    def price(self, i: int) -> int:
        return int(self.state.mark[i]) or BASE[i]

    def live(self) -> list[int]:
        """Return the slots of live orders, oldest order first."""
        key = self.state.orders.key
        return sorted(np.flatnonzero(key >= 0).tolist(), key=lambda slot: int(key[slot]))

    def event(self, move: Move) -> Input:
        made = pick(KINDS, move.kind)(self, move.a, move.b, move.c)
        if made.ts < 2**61:  # later ones are refused
            self.now = max(self.now, made.ts)
        return made

    def take(self, event: Input) -> list:
        return step(self.state, event, self.stack)


def _clock(w: World, a: int, b: int, c: int) -> Input:
    del b, c
    return ClockTicked(ts=w.now + pick(WAITS, a))


def _price(w: World, a: int, b: int, c: int) -> Input:
    i = a % 4
    price = moved(w.price(i), pick(STEPS, b), VENUE.instruments[i].price_max)
    ts = w.now + pick(WAITS[:6], c)
    return PriceObserved(
        ts=ts,
        instrument=i,
        source=a // 4 % 3,
        price=price,
        published=ts - pick((0, 0, 0, SECOND), c // 8),
        confidence=price * pick((0, 0, 0, 1_000, 30_000), c // 4) // PPM,
    )


def _all_prices(w: World, a: int, b: int, c: int) -> Input:
    # The same instrument from each source in turn is what makes a belief good again.
    return _price(w, a % 4 + 4 * (c % 3), b % 5, c)


def _bad_price(w: World, a: int, b: int, c: int) -> Input:
    values = {
        "ts": w.now,
        "instrument": a % 4,
        "source": a % 3,
        "price": w.price(a % 4),
        "published": w.now,
        "confidence": 0,
    }
    name = pick(("ts", "instrument", "source", "price", "published", "confidence"), b)
    values[name] = pick((*WILD, w.now - 1, w.now + 1, w.now - 90 * SECOND, w.price(a % 4) + 1), c)
    if name == "ts":
        values["ts"] = min(values["ts"], w.now)  # a clock that jumps to the year 2262 ends all
    return PriceObserved(**values)


def _depth(w: World, a: int, b: int, c: int) -> Input:
    lots = tuple((b * (k + 1) + c) % 2_000 * (1, 10_000, 100, 1)[a % 4] for k in range(c % 6))
    return depth_at(w.now, a % 4, w.price(a % 4), lots, pick((100, 2_000, 20_000), b))


def _bad_depth(w: World, a: int, b: int, c: int) -> Input:
    good = depth_at(w.now, 0, w.price(0), (5, 6, 7))
    columns = {n: getattr(good, n) for n in ("bid_price", "bid_lots", "ask_price", "ask_lots")}
    name = pick(tuple(columns), a)
    column = np.frombuffer(columns[name], np.int64).copy()
    if not column.size:
        return good  # a price so low that no level fits below it
    column[b % column.size] = pick(tuple(x for x in WILD if x < 2**63), c)
    columns[name] = pick((pack(column), pack(column[:-1]), pack(column)[:-3], b""), b)
    return DepthObserved(ts=w.now, instrument=pick((0, 0, 0, 9, -1), c), **columns)


def _deposit(w: World, a: int, b: int, c: int) -> Input:
    asset = pick((-1, -1, ETH), c)
    return Deposited(
        ts=w.now,
        account=w.user(a),
        amount=pick((1, 100, 1_000, 5_000, 40_000), b) * USD // (1 if asset < 0 else 1_000),
        asset=asset,
    )


def _withdraw(w: World, a: int, b: int, c: int) -> Input:
    asset = pick((-1, -1, ETH), c)
    return Withdrawn(
        ts=w.now,
        account=w.user(a),
        amount=pick((1, 100, 1_000, 5_000, 40_000), b) * USD // (1 if asset < 0 else 1_000),
        asset=asset,
        settled=c % 11 == 10,
    )


def _bad_cash(w: World, a: int, b: int, c: int) -> Input:
    kind = pick((Deposited, Withdrawn), a)
    values = {"account": w.user(a), "amount": USD, "asset": -1}
    name = pick(tuple(values), b)
    values[name] = pick(ROWS if name == "account" else WILD, c)
    return kind(ts=w.now, **values)


def _transfer(w: World, a: int, b: int, c: int) -> Input:
    source, target = w.user(a), w.user(b)
    if c % 2:
        target = int(w.state.book.owner[source])
    amount = pick((1, 10, 500, 5_000, *(x // USD for x in WILD)), c) * USD
    return Transferred(ts=w.now, source=source, target=target, amount=amount)


def _trade(w: World, a: int, b: int, c: int) -> Input:
    i = c % 4
    lots = (b % 401 - 200) * pick((1, 1, 5, 40), b // 401) * (1, 10_000, 20, 1)[i]
    price = moved(w.price(i), pick(STEPS[:7], c // 4), VENUE.instruments[i].price_max)
    taker, maker = w.user(a), w.user(a // 16) if c // 28 % 3 else EXTERNAL
    return Traded(
        ts=w.now,
        instrument=i,
        taker=taker,
        maker=maker,
        lots=lots,
        price=price,
        settled=c // 84 % 7 == 6,
    )


def _close(w: World, a: int, b: int, c: int) -> Input:
    """Let the owner of a position reduce it: the reserved lane."""
    rows = np.flatnonzero(w.state.book.lots[: w.state.book.high])
    rows = [r for r in rows.tolist() if w.state.book.account[r] >= FIRST_USER]
    if not rows:
        return _clock(w, a, b, c)
    row = rows[a % len(rows)]
    i, lots = int(w.state.book.instrument[row]), int(w.state.book.lots[row])
    part = -lots if b % 2 else -(lots // 2 or lots)
    return Traded(
        ts=w.now,
        instrument=i,
        taker=int(w.state.book.account[row]),
        maker=EXTERNAL,
        lots=part,
        price=moved(w.price(i), pick((0, 0, 1_000, -1_000, -200_000), c), 8_000 if i else 40_000),
        settled=c % 13 == 12,
    )


def _bad_trade(w: World, a: int, b: int, c: int) -> Input:
    values = {
        "instrument": a % 4,
        "taker": w.user(a),
        "maker": w.user(a + 1),
        "lots": 1,
        "price": w.price(a % 4),
    }
    name = pick(tuple(values), b)
    values[name] = pick(ROWS if name in {"taker", "maker"} else WILD, c)
    return Traded(ts=w.now, settled=c % 5 == 4, **values)


def _funding(w: World, a: int, b: int, c: int) -> Input:
    rate = pick((1, 100_000, -100_000, 10_000_000, -7_777_777, 10**9, *WILD), b)
    return FundingPaid(ts=w.now, instrument=pick((0, 2, 3, 0, 2, 3, 1, 7, -1), a + c), rate=rate)


def _interest(w: World, a: int, b: int, c: int) -> Input:
    del c
    rate = pick((1, 1_000, 10_000_000, 77, *WILD), b)
    return InterestAccrued(ts=w.now, rate=rate, asset=pick((-1, ETH, -1, ETH, 0, 9), a))


def _parameter(w: World, a: int, b: int, c: int) -> Input:
    column = pick(
        (
            "penalty",
            "dust",
            "premium",
            "open_low",
            "open_high",
            "debt_maintenance",
            "debt_initial",
            "cash_debt",
            "maintenance",
            "initial",
            "kind",
            "",
        ),
        a,
    )
    symbol = pick(("BTC-PERP", "ETH", "ETH-INV", "maintenance", "initial", "BTC-PERP.1", "?"), b)
    value = pick((0, 1_000, 50_000, 300_000, 1_000_000, 2 * 10**12, *WILD), c)
    if (a + b) % 3 == 0:
        at = w.now + pick((0, 4 * SECOND, 30 * SECOND, 4 * SECOND - 1, *WILD), b + c)
        at = max(-(2**62), min(at, 2**63 - 1))
        return ParameterProposed(ts=w.now, name=f"{column}.{symbol}", value=value, effective_at=at)
    return ParameterChanged(ts=w.now, name=f"{column}.{symbol}", value=value)


def _signal(w: World, a: int, b: int, c: int) -> Input:
    return SignalObserved(
        ts=w.now,
        name=pick(("spectral_radius", "mood"), a),
        model="model",
        version="1",
        value=pick((0, 500_000, 3_000_000, *WILD), b),
        confidence=pick((1_000_000, 0, -5, 2**40), c),
    )


def _fill(w: World, a: int, b: int, c: int) -> Input:
    """Fill one to three live orders, mostly in part, near their limits."""
    live, orders, book = w.live(), w.state.orders, w.state.book
    if not live:
        return _clock(w, a, b, c)
    rows = []
    for k in range(1 + c % 3):
        slot = live[(a + k) % len(live)]
        left, i = int(orders.lots[slot]), int(book.instrument[orders.row[slot]])
        size = max(1, abs(left) * pick((1_000_000, 300_000, 500_000, 1), b + k) // PPM)
        fair, limit = w.price(i), int(orders.limit[slot])
        price = moved(fair, pick((0, 1_000, 20_000), c) * (1 if left > 0 else -1), 40_000)
        price = min(price, limit) if left > 0 else max(price, limit)
        price = min(max(price, 1), VENUE.instruments[i].price_max)
        lots = size if left > 0 else -size
        rest = left - lots + pick((0, 0, 0, 0, -1, 1), a + c)  # seldom a report too many or too few
        rows.append((int(orders.key[slot]), lots, price, rest))
    order, lots, price, rest = np.array(rows, np.int64).T
    said = pack(rest) if (a + b) % 2 else b""
    event = OrdersFilled(ts=w.now, order=pack(order), lots=pack(lots), price=pack(price), left=said)
    w.answered.append(event)
    return event


def _fill_all(w: World, a: int, b: int, c: int) -> Input:
    """Fill every live order to the end, at its limit or at the mark, whichever is worse for it."""
    live, orders, book = w.live(), w.state.orders, w.state.book
    if not live:
        return _clock(w, a, b, c)
    rows = []
    for slot in live:
        lots, i = int(orders.lots[slot]), int(book.instrument[orders.row[slot]])
        price = moved(w.price(i), pick((0, 5_000, 50_000), b) * (1 if lots > 0 else -1), 8_000)
        worst = int(orders.limit[slot])
        price = min(price, worst) if lots > 0 else max(price, worst)
        rows.append((int(orders.key[slot]), lots, min(price, VENUE.instruments[i].price_max)))
    order, lots, price = (pack(np.array(column)) for column in zip(*rows, strict=True))
    w.answered.append(OrdersFilled(ts=w.now, order=order, lots=lots, price=price))
    return w.answered[-1]


def _crash(w: World, a: int, b: int, c: int) -> Input:
    """Let the price fall or jump, from the first source, by more than most accounts can bear."""
    i = a % 4
    step = pick((-150_000, -300_000, 150_000, -500_000, 300_000), b)
    ts = w.now + pick((0, 1, SECOND, 3 * SECOND), c)
    price = moved(w.price(i), step, VENUE.instruments[i].price_max)
    return PriceObserved(ts=ts, instrument=i, source=0, price=price, published=ts)


def _expire(w: World, a: int, b: int, c: int) -> Input:
    live = w.live()
    if not live:
        return _clock(w, a, b, c)
    chosen = [live[(a + k) % len(live)] for k in range(1 + b % 4)]
    order = [int(w.state.orders.key[slot]) for slot in chosen]  # possibly the same one twice
    event = OrdersExpired(ts=w.now, order=pack(np.array(order)), reason="timed out")
    w.answered.append(event)
    return event


def _again(w: World, a: int, b: int, c: int) -> Input:
    """Repeat an answer: the venue's network delivers twice."""
    if not w.answered:
        return _clock(w, a, b, c)
    old = w.answered[a % len(w.answered)]
    return type(old)(**{f: getattr(old, f) for f in old.__struct_fields__} | {"ts": w.now})


def _bad_fill(w: World, a: int, b: int, c: int) -> Input:
    live, orders = w.live(), w.state.orders
    slot = live[a % len(live)] if live else 0
    known = int(orders.key[slot]) if live else 1 << 20
    wild = tuple(x for x in WILD if x < 2**63)
    order, lots, price = known, int(orders.lots[slot]), w.price(0)
    match b % 6:
        case 0:
            order = pick(wild, c)
        case 1:
            lots = pick((*wild, -lots, 2 * lots), c)
        case 2:
            price = pick(wild, c)
        case 3:
            return OrdersExpired(ts=w.now, order=pick((b"", b"abc", b"\0" * 12), c), reason="odd")
        case 4:
            odd = pick((b"", b"\1", b"\0" * 9), c)
            return OrdersFilled(ts=w.now, order=pack(np.array([order])), lots=odd, price=odd)
        case _:
            order = pick((0, known + 1, known - 1), c)
    one = [pack(np.array([x], np.int64)) for x in (order, lots, price)]
    return OrdersFilled(ts=w.now, order=one[0], lots=one[1], price=one[2])


def _reported(w: World, a: int, b: int, c: int) -> Input:
    i = pick((BTC, ETH, SOL, INV, 9), c)
    lots = pick((0, 1, 100, -50, *WILD), b)
    cash = pick((0, USD, 500 * USD, -USD, *WILD), a)
    return LiquidationReported(ts=w.now, account=w.user(a), instrument=i, lots=lots, cash=cash)


def _open(w: World, a: int, b: int, c: int) -> Input:
    full = w.state.book.accounts >= VENUE.limits.accounts_max
    if full and c % 8:
        return _clock(w, a, b, c)
    owner = pick((-1, w.user(b), *ROWS), a)
    return AccountOpened(ts=w.now, name=f"late {w.state.book.accounts}", owner=owner)


def _import(w: World, a: int, b: int, c: int) -> Input:
    people = ((a, b, c, a + b, b + c), (c, a, b, a + c, b))
    book = book_of(people[: 1 + a % 2], w.now)
    room = VENUE.limits.accounts_max - w.state.book.accounts
    values = {f: getattr(book, f) for f in book.__struct_fields__} | {"ts": w.now}
    wild = tuple(x for x in WILD if x < 2**63)
    column = pick(("owner", "cash", "account", "instrument", "lots", "entry"), b)
    match c % 4:
        case 0:
            if room < len(book.names):
                return _clock(w, a, b, c)
        case 1:
            values[column] = pick((b"", b"xyz", values[column] + b"\0"), a)
        case 2:
            whole = np.frombuffer(values[column], np.int64).copy()
            if whole.size:
                whole[a % whole.size] = pick(wild, a)
            values[column] = pack(whole)
        case _:
            values["names"] = values["names"] * 40  # more than fit
    return BookImported(**values)


def _backwards(w: World, a: int, b: int, c: int) -> Input:
    del b, c
    return ClockTicked(ts=pick((w.now - 1, 0, -1, w.now - 1, 2**63 - 1, 2**64 - 1, 2**62 + 1), a))


Maker = Callable[[World, int, int, int], Input]
KINDS: tuple[Maker, ...] = (
    *(_price,) * 8,
    *(_all_prices,) * 4,
    *(_clock,) * 4,
    *(_fill,) * 4,
    *(_fill_all, _fill_all, _crash, _crash, _crash),
    *(_trade,) * 5,
    *(_expire, _again, _close, _close, _depth, _depth),
    *(_deposit, _withdraw, _withdraw, _transfer, _funding, _interest, _parameter, _signal),
    *(_bad_price, _bad_depth, _bad_cash, _bad_trade, _bad_fill, _reported, _open, _import),
    _backwards,
)

_number = st.integers(0, 2**16 - 1)
_person = st.tuples(_number, _number, _number, _number, _number)
_move = st.builds(Move, st.integers(0, len(KINDS) - 1), _number, _number, _number)


def histories(stacks: Sequence[int] = ALL, moves_max: int = 100) -> st.SearchStrategy[History]:
    """Draw whole histories: a book of up to eight people, and up to ``moves_max`` moves."""
    return st.builds(
        History,
        st.sampled_from(stacks),
        st.lists(_person, min_size=1, max_size=PEOPLE).map(tuple),
        st.lists(_move, min_size=1, max_size=moves_max).map(tuple),
    )


def drawn(seed: int, n: int, which: int) -> History:
    """Return a history of ``n`` moves from a seed, for runs too long to be shrunk."""
    draw = random.Random(seed)
    people = tuple(tuple(draw.randrange(2**16) for _ in range(5)) for _ in range(PEOPLE))
    moves = (
        Move(draw.randrange(len(KINDS)), *(draw.randrange(2**16) for _ in range(3)))
        for _ in range(n)
    )
    return History(which, people, tuple(moves))


def opening(history: History) -> Iterator[Input]:
    """Yield the import and a first price of every instrument, except every fifth history's."""
    yield book_of(history.people)
    for i, price in enumerate(BASE):
        if (history.people[0][0] + i) % 5:
            yield PriceObserved(ts=START, instrument=i, source=0, price=price, published=START)


def unfold(history: History, stack: Stack | None = None) -> Iterator[tuple[World, Input]]:
    """Yield the world before each event and the event; the caller lets the world take it."""
    world = World(stack or history.stack)
    for event in opening(history):
        yield world, event
    for move in history.moves:
        yield world, world.event(move)


def recorded(history: History, stack: Stack | None = None) -> list[Input]:
    """Return the events of a history, as a journal would have kept them."""
    events = []
    for world, event in unfold(history, stack):
        try:
            world.take(event)
        except CapacityExceeded:
            continue
        events.append(event)
    return events
