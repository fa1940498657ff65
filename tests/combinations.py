"""Every combination of safeguards: stacks drawn section by section, and moves for all events.

A choice is one number a knob, 0 being its neutral setting, so that Hypothesis shrinks a failure
towards the few safeguards that it needs. Some combinations are refused when they are bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

import strategies as s
from outside import Ledger, Margin, users
from strategies import MARGIN, SECOND, USD, VENUE, Move, World, pick
from tidegate.domain.book import EXTERNAL
from tidegate.domain.commitments import bid_payload, commitment
from tidegate.domain.effects import AuctionsOpened, AuctionsReduced, Decision, OrdersReduced
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.events import (
    AuctionTaken,
    BandsTaken,
    BidCommitted,
    BidPlaced,
    BidRevealed,
    CommitmentMade,
    FundStaked,
    Input,
    ParameterChanged,
    ParameterProposed,
    PoolJoined,
    PoolLeft,
    ScheduleObserved,
    SeedDrawn,
    Unstaked,
    UnstakeRequested,
)
from tidegate.domain.pace import REGIMES
from tidegate.domain.restraint import ACTIONS
from tidegate.domain.units import pack, unpack
from tidegate.engine.auctions import Offer, offers
from tidegate.engine.state import SHIFT
from tidegate.safeguards.auctions import AuctionRoute, BatchRoute, FixedSpreadRoute, SealedRoute
from tidegate.safeguards.backstop import Backstop, LoanPool
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.cadence import Cadence
from tidegate.safeguards.caps import Cap, Caps
from tidegate.safeguards.governance import Governance
from tidegate.safeguards.margin import MarginModel, VolatilityMargin
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.oracle import OracleGuard, StablePrice
from tidegate.safeguards.penalty import FixedPenalty, HealthPenalty, LinearPenalty, RisingPenalty
from tidegate.safeguards.planner import Level, StagedPlanner
from tidegate.safeguards.price_bands import BandRule, MarketLevels, PriceBands
from tidegate.safeguards.rate import OptimalRate
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.signals import SignalBound, SignalGate
from tidegate.safeguards.slices import Slicing
from tidegate.safeguards.soft import SoftBands
from tidegate.safeguards.split import SplitRoute
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.throttle import FundThrottle, NoThrottle, StaticThrottle, WindowThrottle
from tidegate.safeguards.wait import WaitMargin
from tidegate.safeguards.waterfall import RULES, SCORES, Tranche, Waterfall
from tidegate.safeguards.withdrawals import WithdrawalGate


BUCKET = {
    "depth_share": 300_000,
    "depth_reach": 20_000,
    "in_flight_max": 30_000 * USD,
    "unknown_depth": 20_000 * USD,
}
GUARDED = s.DECLARATIONS[s.GUARDED]
LENDER = s.DECLARATIONS[s.LENDER]
DROP = (
    Step(rung="caution", drop=20_000, initial_scale=1_200_000),
    Step(rung="reduce_only", drop=60_000, doubtful=2, initial_scale=1_500_000, band=40_000),
    Step(rung="auction_only", drop=150_000, initial_scale=1_500_000, band=40_000),
)
WINDOWS = {"reference_ns": 10 * SECOND, "reference_min_ns": SECOND}
PAUSES = {"limit_ns": 2 * SECOND, "pause_ns": 5 * SECOND, "rolling_ns": 30 * SECOND}
LEVELS = MarketLevels(symbol="BTC-PERP", pause_ns=5 * SECOND, window_ns=60 * SECOND)
SALE = {"life_ns": 20 * SECOND, "floor": 60_000}
DUTCH = AuctionRoute(**SALE, tail_ns=6 * SECOND, cut=990_000, drift=100_000)
PAYING = AuctionRoute(
    **SALE,
    curve="linear",
    buffer=30_000,
    step_ns=10 * SECOND,
    tail_ns=8 * SECOND,
    cusp=900_000,
    release=1_100_000,
    dust=200 * USD,
    in_flight_max=40_000 * USD,
    market_max=25_000 * USD,
    incentive=50 * USD,
    incentive_share=500_000,
)
SHOP = FixedSpreadRoute(**SALE, discount=20_000, spread=500_000)
CALL = BatchRoute(**SALE, window_ns=2 * SECOND, release=1_050_000)
SEALED = SealedRoute(
    **SALE, window_ns=2 * SECOND, reveal_ns=3 * SECOND, jitter_ns=SECOND, bond=20 * USD
)

# One line a knob; a dotted one adds to the settings of its section.
KNOBS: dict[str, tuple[Any, ...]] = {
    "oracle": (
        {},
        {f: getattr(GUARDED.oracle, f) for f in OracleGuard.__struct_fields__ if f != "stable"},
        {"delay_ns": 10 * SECOND},
        {"outlier_max": 30_000, "sources_min": 2, "liquidate_at_worst": 1},
        {
            "average_ns": 60 * SECOND,
            "average_max": 60_000,
            "sample_max": 50_000,
            "volatile_ratio": 3,
            "age_max_ns": 30 * SECOND,
            "age_doubtful_ns": 5 * SECOND,
            "stale_band": 20_000,
            "deleverage_at_worst": 1,
        },
        {"age_max_ns": 9 * SECOND, "stale_band": 20_000, "liquidate_at_worst": 2},
    ),
    "oracle.stable": ({}, {"stable": StablePrice(growth=300, positions=True, rest_s=1)}),
    "margin": (
        {f: getattr(MARGIN, f) for f in MarginModel.__struct_fields__},
        {f: getattr(LENDER.margin, f) for f in MarginModel.__struct_fields__},
    ),
    "margin.group": ({}, {"group_tiers": True}),
    "margin.volatility": (
        {},
        {
            "volatility": VolatilityMargin(
                cover=2_000_000,
                horizon_ns=60 * SECOND,
                rate_max=400_000,
                buffer=250_000,
                maintenance_share=500_000,
            )
        },
    ),
    "breaker": (
        {},
        {f: getattr(s.LADDER, f) for f in LadderBreaker.__struct_fields__},
        {"steps": DROP, "cooldown_ns": 5 * SECOND, "window_ns": 10 * SECOND},
    ),
    "breaker.smooth": ({}, {"smooth": True}),
    "breaker.halt": ({}, {"halt_max_ns": 8 * SECOND}),
    "bands": (
        {},
        {"instruments": {"*": BandRule(width=80_000)}, **WINDOWS, **PAUSES},
        {
            "instruments": {"BTC-PERP": BandRule(rolling=150_000, velocity=60_000)},
            "recentre": "limit",
            **WINDOWS,
            **PAUSES,
        },
    ),
    "bands.market": ({}, {"market": LEVELS}),
    "planner": (
        {},
        {"whole_below": 20_000 * USD, "first_stage": 200_000, "interval_ns": 30 * SECOND},
        {"close_fraction": 500_000, "target": 1_250_000, "interval_ns": 2 * SECOND},
        {"levels": (Level(below=900_000, fraction=300_000), Level(below=400_000, fraction=10**6))},
    ),
    "planner.netting": ({}, {"netting": True}),
    "planner.priority": tuple(
        {"priority": p} for p in ("deepest", "largest", "oldest", "savable", "branching", "deficit")
    ),
    "planner.bucket": ({}, BUCKET),
    "throttle": (
        NoThrottle(),
        StaticThrottle(lots={"BTC-PERP": 600, "SOL-PERP": 500}, window_ns=3 * SECOND),
        WindowThrottle(amount=20_000 * USD, bypass=200_000, window_ns=5 * SECOND),
        FundThrottle(slow=100_000, fast=2_000_000, unknown_depth=10_000 * USD),
    ),
    "rate": (
        {},
        {"confidence": 900_000, "floor": 500 * USD},
        {"confidence": 900_000, "escalate": True, "age_max_ns": 6 * SECOND},
    ),
    "slices": ({}, {"count": 4, "horizon_ns": 8 * SECOND, "urgent": 300_000}, {"count": 3}),
    "wait": ({}, {"risk": 20_000}, {"cost": 30 * USD, "risk": 1_000}),
    "route": (
        BookRoute(),
        BookRoute(spread=1_500_000, adjustment=2_000_000),
        DUTCH,
        PAYING,
        SHOP,
        CALL,
        SEALED,
        SplitRoute(sale=DUTCH, book_share=400_000, spill=True),
        SplitRoute(sale=CALL, book_share=600_000, book_reach=20_000),
        SplitRoute(sale=SEALED, book_max=5_000 * USD),
    ),
    "backstop": ({}, {"offers_max": 12}, {"offers_max": 4, "fund_bears": True}),
    "backstop.pool": ({}, {"pool": LoanPool(depositors_max=6, penalty=30_000)}),
    "backstop.last": ({}, {"redistribute": True}),
    "backstop.asked": (
        {"equity_below": 700_000},
        {"patience_ns": 2 * SECOND, "provider_share": 500_000},
        {"equity_below": 10**6, "market_max": 60_000 * USD, "account_max": 30_000 * USD},
    ),
    "waterfall": (
        {},
        {"tranches": (Tranche(name="first", initial=2_000 * USD, stakes=True, unstake_ns=SECOND),)},
        {
            "tranches": (
                Tranche(name="btc", initial=3_000 * USD, market="BTC-PERP", stakes=True),
                Tranche(name="first", initial=2_000 * USD, exhaustion=5_000 * USD),
                Tranche(name="second", initial=9_000 * USD, attachment=3_000 * USD, stakes=True),
            ),
            "penalty_share": 800_000,
        },
    ),
    "waterfall.deleverage": tuple({"deleverage": rule} for rule in RULES),
    "waterfall.score": tuple({"score": score} for score in SCORES),
    "waterfall.when": (
        {},
        {"deleverage_when": "bankrupt"},
        {"fund_share": 250_000, "fund_pays_first": True},
        {"drawdown_start": 300_000, "drawdown_stop": 100_000},
    ),
    "waterfall.severity": ({}, {"close_share": 400_000}, {"haircut": 500_000}),
    "waterfall.hedges": ({}, {"hedges": "spared"}, {"hedges": "paired", "receipts": "full"}),
    "waterfall.risk": ({}, {"risk_power": 2, "risk_above": 2_000_000, "burden_rate": 900_000}),
    "waterfall.socialise": tuple(
        {"socialise": rule} for rule in ("none", "profit", "equity", "balances", "open_interest")
    ),
    "waterfall.claims": ({}, {"claims": True}),
    "withdrawals": (
        {},
        {"deficit": "refuse", "gate_ns": 4 * SECOND, "hold_profit": 500_000},
        {"deficit": "limit", "limit": "always", "capacity_share": 50_000, "capacity_min": USD},
    ),
    "penalty": (
        FixedPenalty(),
        FixedPenalty(kappa=500_000),
        LinearPenalty(),
        HealthPenalty(),
        RisingPenalty(per_distance=500_000, per_deviation=50_000, per_distress=500_000),
    ),
    "never_worse": (
        {},
        {"mode": "incentives"},
        {"mode": "limits"},
        {"mode": "limits", "insolvent": "deleverage"},
    ),
    "caps": (
        {},
        {
            "markets": {
                "*": Cap(debt_max=200_000 * USD, open_interest_max=200_000 * USD),
                "cash": Cap(
                    debt_max=300_000 * USD,
                    utilisation_max=900_000,
                    debt_base=50_000 * USD,
                    expand_share=200_000,
                    expand_ns=60 * SECOND,
                    leave_share=100_000,
                    leave_ns=60 * SECOND,
                ),
            }
        },
    ),
    "governance": (
        {},
        {"notice_ns": 4 * SECOND, "ramp_ns": 10 * SECOND, "grace_ns": 11 * SECOND},
        {"grace_ns": 5 * SECOND, "step_max": {"penalty": 60_000}},
    ),
    "soft": (
        {},
        {"bands": 6, "near": 1_500_000, "window_ns": 20 * SECOND, "equity_min": 100_000},
        {"bands": 4, "near": 2_000_000, "give": 20_000, "depth_share": 500_000},
    ),
    "signals": ({}, {"bounds": (SignalBound(name="spectral_radius", tightest=10_000_000),)}),
    "cadence": ({}, {"judge_every_ns": 3 * SECOND, "judge_move": 30_000}),
}
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "oracle": OracleGuard,
    "margin": MarginModel,
    "breaker": LadderBreaker,
    "bands": PriceBands,
    "planner": StagedPlanner,
    "rate": OptimalRate,
    "slices": Slicing,
    "wait": WaitMargin,
    "backstop": Backstop,
    "waterfall": Waterfall,
    "withdrawals": WithdrawalGate,
    "never_worse": NeverWorse,
    "caps": Caps,
    "governance": Governance,
    "soft": SoftBands,
    "signals": SignalGate,
    "cadence": Cadence,
}
PLAIN = (0,) * len(KNOBS)


def chosen(**settings: int) -> tuple[int, ...]:
    """Return a choice by knob; dots are written as two underscores."""
    named = {name.replace("__", "."): n for name, n in settings.items()}
    assert set(named) <= set(KNOBS)
    return tuple(named.get(name, 0) for name in KNOBS)


def declared(choice: tuple[int, ...]) -> SafeguardStack:
    """Return the declaration of a choice; raise ConfigInvalid where two settings clash."""
    parts: dict[str, Any] = {}
    for (name, options), n in zip(KNOBS.items(), choice, strict=True):
        section = name.split(".")[0]
        if isinstance(options[n], dict):
            parts[section] = parts.get(section, {}) | options[n]
        else:
            parts[section] = options[n]
    if not {"offers_max", "pool", "redistribute"} & set(parts["backstop"]):
        parts["backstop"] = {}  # nobody to be asked
    built = {k: SECTIONS[k](**v) if isinstance(v, dict) else v for k, v in parts.items()}
    return SafeguardStack(name="drawn", **built)


@lru_cache(maxsize=4_096)
def bound(choice: tuple[int, ...]) -> Stack | ConfigInvalid:
    """Return the stack of a choice, or why there is none."""
    try:
        return Stack.bind(declared(choice), VENUE)
    except ConfigInvalid as refusal:
        return refusal


@dataclass
class Wide(World):
    """A world that also knows who bids what under which salt."""

    sealed: dict[int, tuple[int, int, bytes]] = field(default_factory=dict)  # bid: what it said

    def event(self, move: Move) -> Input:
        made = pick(KINDS, move.kind)(self, move.a, move.b, move.c)
        if made.ts < 2**61:
            self.now = max(self.now, made.ts)
        return made

    def offer(self, n: int) -> Offer | None:
        found = offers(self.state, self.now, self.stack)
        return found[n % len(found)] if found else None

    def bidder(self, n: int) -> int:
        return EXTERNAL if n % 3 else self.user(n // 3)


def _offered(w: Wide, a: int, b: int, c: int) -> tuple[int, int, int, int]:
    """Return an auction, a bidder, lots and a limit: mostly good ones, of what is open."""
    one = w.offer(a)
    if one is None:
        return pick((0, 1 << 20, *s.WILD), a), w.bidder(b), 1, 1
    side = 1 if one.selling else -1
    limit = max(1, one.price + side * one.price * pick((0, 0, 1_000, 30_000, -20_000), c) // s.PPM)
    lots = max(1, abs(one.lots) * pick((s.PPM, s.PPM, 400_000, 2 * s.PPM), b // 3) // s.PPM)
    lots = pick(s.WILD, c) if (a + c) % 23 == 0 else lots
    bidder = pick(s.ROWS, b) if (b + c) % 29 == 0 else w.bidder(b)
    return one.auction, bidder, lots, pick(s.WILD, b) if (a + b) % 31 == 0 else limit


def _idle(used: object, c: int) -> bool:
    """Return whether a move would say nothing here; one in sixteen is made all the same."""
    return not used and c % 16 != 0


def _take(w: Wide, a: int, b: int, c: int) -> Input:
    if w.stack.batches is not None and c % 8 > 2:
        return _bid(w, a, b, c)
    if _idle(w.offer(a) is not None, c):
        return s._crash(w, a, b, c) if c % 2 else s._price(w, a, b, c)
    auction, bidder, lots, limit = _offered(w, a, b, c)
    return AuctionTaken(ts=w.now, auction=auction, bidder=bidder, lots=lots, limit=limit)


def _bid(w: Wide, a: int, b: int, c: int) -> Input:
    """Bid as the route asks; every eighth time as it does not."""
    if _idle(w.offer(a) is not None and w.stack.batches is not None, c):
        return s._crash(w, a, b, c) if c % 2 else s._price(w, a, b, c)
    auction, bidder, lots, limit = _offered(w, a, b, c)
    batches = w.stack.batches
    sealed = batches is not None and batches.sealed
    if sealed == (c % 8 != 7):
        salt = pack(np.array([a, b, c]))
        try:
            seal = commitment(salt, bid_payload(auction, bidder, lots, limit))
        except OverflowError:
            seal = b"short"
        w.sealed[w.state.seq << SHIFT] = (lots, limit, salt)
        return BidCommitted(ts=w.now, auction=auction, bidder=bidder, seal=seal)
    return BidPlaced(ts=w.now, auction=auction, bidder=bidder, lots=lots, limit=limit)


def _reveal(w: Wide, a: int, b: int, c: int) -> Input:
    waiting = np.flatnonzero(w.state.bids.key >= 0)
    if _idle(bool(waiting.size), c):
        return s._clock(w, a, b, c)
    if not waiting.size:
        return BidRevealed(ts=w.now, bid=pick(s.WILD, a), lots=1, limit=1, salt=b"")
    slot = waiting[a % waiting.size]
    bid, auction = int(w.state.bids.key[slot]), int(w.state.bids.auction[slot])
    lots, limit, salt = w.sealed.get(bid, (1, 1, b"0" * 16))
    opened = [o for o in offers(w.state, w.now, w.stack) if o.auction == auction]
    early = opened and opened[0].elapsed < 2 * SECOND and b % 3
    wild = (c + b) % 13 == 0
    return BidRevealed(
        ts=w.now + (2 * SECOND - opened[0].elapsed if early else 0),
        bid=bid,
        lots=pick(s.WILD, c) if wild else lots,
        limit=limit,
        salt=salt,
    )


def _commitment(w: Wide, a: int, b: int, c: int) -> Input:
    wild = pick(tuple(x for x in s.WILD if x < 2**63), b)
    if _idle(w.stack.declaration.backstop.offers_max > 0, c):
        return s._trade(w, a, b, c)
    most = pick((500, 2_000, 50, 0, 20_000, 20_001), b) * pick((1, 1, 20), c)
    return CommitmentMade(
        ts=w.now,
        account=pick(s.ROWS, b) if a % 19 == 18 else w.user(a),
        instrument=pick((s.BTC, s.SOL, s.INV, s.BTC, s.SOL, s.ETH, 9), c),
        long_max=most,
        short_max=wild if c % 17 == 16 else pick((most, 0), c),
        discount=pick((0, 5_000, 30_000, 90_000, 10**6 + 1), c // 3),
        slope=pick((0, 10_000, -1), a // 8),
    )


def _pool(w: Wide, a: int, b: int, c: int) -> Input:
    if _idle(w.stack.declaration.backstop.pool.depositors_max > 0, c):
        return _borrow(w, a, b, c)
    kind = pick((PoolJoined, PoolJoined, PoolLeft), c)
    amount = pick((100 * USD, 2_000 * USD, 20_000 * USD, *s.WILD), b) if c % 5 else 3_000 * USD
    return kind(ts=w.now, account=pick(s.ROWS, b) if a % 19 == 18 else w.user(a), amount=amount)


def _stake(w: Wide, a: int, b: int, c: int) -> Input:
    if _idle(any(t.stakes for t in w.stack.declaration.waterfall.tranches), c):
        return s._all_prices(w, a, b, c)
    account = pick(s.ROWS, b) if a % 19 == 18 else w.user(a)
    tranche = pick((0, 0, 2, 1, -1, 9), b)
    held = w.state.paying.stake(account, tranche).shares if 0 <= account < 2**31 else 0
    match c % 5:
        case 0 | 1:
            amount = pick((50 * USD, 700 * USD, 1, *s.WILD), a + c)
            return FundStaked(ts=w.now, account=account, tranche=tranche, amount=amount)
        case 2 | 3:
            shares = pick((held, held // 2, 0, held + 1, -1), a)
            return UnstakeRequested(ts=w.now, account=account, tranche=tranche, shares=shares)
        case _:
            return Unstaked(ts=w.now, account=account, tranche=tranche)


def _schedule(w: Wide, a: int, b: int, c: int) -> Input:
    if _idle(w.stack.declaration.rate.active, c):
        return s._crash(w, a, b, c)
    slices = np.array([(b * (k + 1)) % 700 for k in range(1 + c % 6)], np.int64)
    return ScheduleObserved(
        ts=w.now,
        instrument=pick((s.BTC, s.SOL, s.INV, s.BTC, s.ETH, -1, 9), a),
        side=pick((0, 0, 1, 2), c),
        slices=pick((pack(slices), pack(slices), pack(-slices), b"abc"), c // 4),
        interval=pick((SECOND, 5 * SECOND, 0), b),
        regime=pick((*REGIMES, "wrong"), a // 7),
        model="solver",
        version="1",
        confidence=pick((900_000, 900_000, 1), b // 3),
    )


def _seed(w: Wide, a: int, b: int, c: int) -> Input:
    if _idle(w.stack.declaration.slices.active, c):
        return s._price(w, a, b, c)
    return SeedDrawn(ts=w.now, seed=pack(np.array([a, b, c, 7])) if c % 7 else b"short")


def _pause(w: Wide, a: int, b: int, c: int) -> Input:
    """Set a flag, or more often take it back."""
    symbols = (*(i.symbol for i in VENUE.instruments), "cash", "?")
    name = f"pause.{pick(ACTIONS, a)}.{pick(symbols, b)}"
    value = pick((0, 0, 0, 1, 1, 2), c)
    if c % 5 == 4:
        at = w.now + pick((0, 4 * SECOND, 2**62), b)
        return ParameterProposed(ts=w.now, name=name, value=value, effective_at=at)
    return ParameterChanged(ts=w.now, name=name, value=value)


def _bands(w: Wide, a: int, b: int, c: int) -> Input:
    if _idle(bool(w.stack.declaration.soft.bands), c):
        return _borrow(w, a, b, c)
    laid = w.state.banded.asset
    if not (laid >= 0).any() and c % 4:
        return _borrow(w, a, b, c)
    if c % 4 == 1 and (laid >= 0).any():
        return _into_bands(w, a, b)
    lots = pick((-1, 1), a) * pick((1_000, 500_000, 60_000_000, *s.WILD[5:8]), b)
    limit = (2**50 if lots < 0 else 0) if c % 3 else 5_000 * USD
    instrument = pick((s.ETH, s.ETH, s.ETH, s.BTC, 9, -1), c)
    return BandsTaken(ts=w.now, instrument=instrument, lots=lots, limit=limit)


def _into_bands(w: Wide, a: int, b: int) -> Input:
    """Let the price come to the bands of somebody: a few per cent are all they are wide."""
    laid = np.flatnonzero(w.state.banded.asset >= 0)
    top = int(w.state.banded.top[laid[a % laid.size]]) // USD
    price = max(1, top * pick((1_010, 995, 985, 970, 960, 950, 1_030), b) // 1_000)
    price = min(price, VENUE.instruments[s.ETH].price_max)
    return s.PriceObserved(ts=w.now, instrument=s.ETH, source=0, price=price, published=w.now)


def _borrow(w: Wide, a: int, b: int, c: int) -> Input:
    """Put coins in and draw cash against them: what bands, pool and redistribution are for."""
    if c % 2:
        return s._deposit(w, a, b, 2)
    pure = [u for u in users(w.state) if {i for i, _, _ in held(w, u)} == {s.ETH}]
    user = pure[a % len(pure)] if pure else w.user(a)
    coins = sum(n for i, n, _ in held(w, user) if i == s.ETH)
    worth = coins * w.price(s.ETH) * USD // 1_000_000
    owed = max(0, worth * pick((700, 725, 600, 790), b) // 1_000 + int(w.state.book.cash[user]))
    return s.Withdrawn(ts=w.now, account=user, amount=max(1, owed), asset=-1)


def held(w: Wide, account: int) -> list[tuple[int, int, int]]:
    """Return (instrument, lots, cost) of an account."""
    return Margin(w.state).held(account)


KINDS: tuple[Any, ...] = (
    *s.KINDS,
    *(_take,) * 4,
    *(_bid,) * 4,
    *(_reveal,) * 3,
    *(_commitment,) * 3,
    *(_borrow,) * 3,
    *(_bands,) * 2,
    *(_pool, _pool, _stake, _stake, _schedule, _seed, _pause, _pause),
)


@dataclass(frozen=True)
class Story:
    """A choice, a book, and what happened: everything that makes a failure happen again."""

    choice: tuple[int, ...]
    people: tuple[tuple[int, int, int, int, int], ...]
    moves: tuple[Move, ...]

    @property
    def stack(self) -> Stack:
        stack = bound(self.choice)
        assert isinstance(stack, Stack)
        return stack

    @property
    def active(self) -> dict[str, object]:
        """Return what is not neutral, for a reader."""
        named = zip(KNOBS.items(), self.choice, strict=True)
        return {name: options[n] for (name, options), n in named if n}


_number = st.integers(0, 2**16 - 1)
_size = st.one_of(st.just(0), _number)
_person = st.tuples(_number, *(_size,) * 4)
_move = st.builds(Move, st.integers(0, len(KINDS) - 1), _number, _number, _number)
choices = st.tuples(*(st.one_of(st.just(0), st.integers(0, len(o) - 1)) for o in KNOBS.values()))


def stories(moves_max: int = 100, **fixed: int) -> st.SearchStrategy[Story]:
    """Draw whole stories under stacks that can be bound; ``fixed`` knobs keep their setting."""
    named = {name.replace("__", "."): n for name, n in fixed.items()}
    drawn = choices.map(
        lambda c: tuple(named.get(name, n) for name, n in zip(KNOBS, c, strict=True))
    )
    return st.builds(
        Story,
        drawn.filter(lambda c: isinstance(bound(c), Stack)),
        st.lists(_person, min_size=1, max_size=s.PEOPLE).map(tuple),
        # A list of any length is mostly a short one, in which little can meet.
        st.one_of(
            st.lists(_move, min_size=1, max_size=moves_max),
            st.lists(_move, min_size=moves_max // 3, max_size=moves_max),
        ).map(tuple),
    )


def unfold(story: Story) -> Iterator[tuple[Wide, Input]]:
    """Yield the world before each event and the event; the caller lets the world take it."""
    world = Wide(story.stack)
    for event in s.opening(s.History(0, story.people, ())):
        yield world, event
    for move in story.moves:
        yield world, world.event(move)


def taken(story: Story) -> Iterator[tuple[Wide, Input, list[Decision]]]:
    """Yield the world after each event that had room, the event, and its effects."""
    for world, event in unfold(story):
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        yield world, event, effects


def end(story: Story) -> Wide:
    """Return the world after the whole story."""
    world = Wide(story.stack)
    for world, _, _ in taken(story):  # noqa: B007 - the last one is wanted
        pass
    return world


class Books(Ledger):
    """The outside ledger; what is offered to bidders is in flight as an order is."""

    def take(self, effects: list[Decision]) -> None:
        for effect in effects:
            super().take([effect])
            match effect:
                case AuctionsOpened():
                    columns = (effect.account, effect.instrument, effect.lots)
                    rows = zip(*(unpack(c).tolist() for c in columns), strict=True)
                    for k, (a, i, lots) in enumerate(rows):
                        assert effect.first + k not in self.orders
                        self.orders[effect.first + k] = a, i, lots
                case AuctionsReduced():
                    self._reduce(
                        OrdersReduced(order=effect.auction, lots=effect.lots, closed=effect.closed)
                    )
                case _:
                    pass

    @classmethod
    def of(cls, state: Any) -> "Books":
        return cls(cash=Ledger.of(state).cash)
