"""The meter reaches the right numbers from effects made by hand, and the series never lies."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handmade import BEGIN, VENUE, verdict
from tidegate.domain.book import ACCOUNTS, CLEARING, EXTERNAL, FIRST_USER, FUND, move
from tidegate.domain.effects import (
    BreakerMoved,
    DeficitFound,
    Deleveraged,
    HealthMoved,
    MarkMoved,
    OrdersPlaced,
    PositionsMoved,
    Posted,
    PostedBatch,
    ProfileMoved,
    Rejected,
)
from tidegate.domain.events import ClockTicked, DepthObserved, OrdersFilled, PriceObserved
from tidegate.domain.instrument import Inverse, Spot
from tidegate.domain.units import PPM, SECOND, pack
from tidegate.domain.venue import Limits, Venue
from tidegate.drivers.casualties import initial_rate, notionals
from tidegate.drivers.series import COLUMNS, Sampler
from tidegate.drivers.verdict import EFFICIENCY_EVERY, RUNGS, Meter, Verdict
from tidegate.engine.state import State
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


ALICE, BOB, CARL = FIRST_USER, FIRST_USER + 1, FIRST_USER + 2
UNIT = PPM  # one unit of the numeraire
KEYS = [
    "bad_debt",
    "socialised_loss",
    "adl_profit_taken",
    "adl_overshoot",
    "fund_used",
    "peak_impact_ppm",
    "cascade_ratio",
    "peak_branching_ratio",
    "accounts_liquidated",
    "recovery_ratio",
    "insolvent_seconds",
    "capital_efficiency",
    "halt_seconds",
    "regenerated_share",
    "digest",
]


def column(*values):
    return pack(np.array(values, np.int64))


def at(seconds):
    return BEGIN + round(seconds * SECOND)


class Bench:
    """A meter, a state, and one line for each thing that can happen to them."""

    def __init__(self, *, fund=(10 * UNIT, 5 * UNIT), **declared):
        tranches = tuple(Tranche(name=f"t{k}", initial=money) for k, money in enumerate(fund))
        declaration = SafeguardStack(
            name="bench", waterfall=Waterfall(tranches=tranches), **declared
        )
        self.stack = Stack.bind(declaration, VENUE)
        self.state = State.genesis(self.stack)
        self.meter = Meter(self.stack)
        self.impact = [0] * len(VENUE.instruments)
        self.seq = 0

    def step(self, event, *effects):
        self.meter.observe(self.seq, event, effects, self.state, self.impact)
        self.seq += 1

    def clock(self, seconds, *effects):
        self.step(ClockTicked(ts=at(seconds)), *effects)

    def price(self, seconds, ticks, *effects, instrument=0, source=0):
        event = PriceObserved(
            ts=at(seconds), instrument=instrument, source=source, price=ticks, published=at(seconds)
        )
        self.step(event, mark(ticks, instrument), *effects)

    def judge(self) -> Verdict:
        return self.meter.verdict(self.state)


def mark(ticks, instrument=0):
    return MarkMoved(
        instrument=instrument,
        price=ticks,
        low=ticks,
        high=ticks,
        index=ticks,
        basis=0,
        pending=0,
        pending_at=0,
        quality=0,
        at=BEGIN,
    )


def orders(*rows):
    account, lots = zip(*rows, strict=True)
    n = len(rows)
    return OrdersPlaced(
        first=0,
        route="book",
        account=column(*account),
        instrument=column(*[0] * n),
        lots=column(*lots),
        limit=column(*[1] * n),
        share=column(*[PPM] * n),
        at=BEGIN,
    )


def moved(reason, *rows):
    account, lots, price = zip(*rows, strict=True)
    n = len(rows)
    return PositionsMoved(
        account=column(*account),
        instrument=column(*[0] * n),
        lots=column(*lots),
        cost=column(*[0] * n),
        price=column(*price),
        reason=reason,
    )


def deleveraged(*, deficit, forgone, lots=10, fund=0):
    return Deleveraged(
        instrument=0,
        bankrupt=column(ALICE),
        closed=column(-lots),
        price=9_000,
        mark=10_000,
        deficit=deficit,
        fund=fund,
        fund_paid=0,
        account=column(BOB),
        lots=column(lots),
        forgone=column(forgone),
        rank=column(1),
        candidates=3,
        rule="queue",
    )


def deficit(amount, *, socialised=0, uncovered=0, account=ALICE):
    return DeficitFound(
        account=account,
        amount=amount,
        fund=amount - socialised - uncovered,
        socialised=socialised,
        uncovered=uncovered,
    )


def health(missing):
    return HealthMoved(liquidatable=3, bankrupt=1, required=0, distressed=0, deficit=missing)


def test_json_has_the_published_keys_in_their_order():
    bench = Bench()
    bench.clock(0)
    said = bench.judge().to_json()
    assert list(said)[: len(KEYS)] == KEYS
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_money_is_printed_in_units_of_the_numeraire():
    said = verdict(bad_debt=1_500_000, fund_used=(1, 2_000_000)).to_json()
    assert said["bad_debt"] == 1.5
    assert said["fund_used"] == 2.000001
    assert said["fund_used_by_tranche"] == [1e-06, 2.0]


def test_bad_debt_is_what_was_found_and_what_was_deleveraged():
    bench = Bench()
    bench.price(0, 10_000)
    bench.clock(1, deficit(3 * UNIT, socialised=UNIT, uncovered=UNIT // 2))
    bench.clock(2, deleveraged(deficit=4 * UNIT, forgone=4 * UNIT))
    done = bench.judge()
    assert done.bad_debt == 7 * UNIT
    assert (done.socialised_loss, done.uncovered) == (UNIT, UNIT // 2)
    assert (done.adl_profit_taken, done.adl_accounts) == (4 * UNIT, 1)


@pytest.mark.parametrize(
    ("debt", "taken", "overshoot"),
    [
        (14, 2, 2),  # the fund of 15 could have paid it all
        (15, 2, 2),  # on the line
        (16, 2, 1),  # one unit had to come from winners
        (17, 2, 0),
        (30, 2, 0),
    ],
)
def test_overshoot_is_what_the_fund_could_have_paid(debt, taken, overshoot):
    bench = Bench()
    bench.price(0, 10_000)
    bench.clock(1, deleveraged(deficit=debt * UNIT, forgone=taken * UNIT))
    assert bench.judge().adl_overshoot == overshoot * UNIT


def test_fund_used_counts_what_leaves_a_tranche_and_nothing_that_enters():
    bench = Bench()
    into = PostedBatch(
        counter=FUND, asset=-1, account=column(ALICE), amount=column(-7), reason="penalty"
    )
    bench.clock(0, into)
    bench.clock(1, Posted(debit=FUND, credit=ALICE, asset=-1, amount=30, reason="fund"))
    bench.clock(2, Posted(debit=FUND + 1, credit=ALICE, asset=-1, amount=4, reason="fund"))
    batch = PostedBatch(
        counter=FUND + 1, asset=-1, account=column(ALICE, BOB), amount=column(5, 6), reason="fund"
    )
    drawn = PostedBatch(
        counter=CLEARING, asset=-1, account=column(FUND), amount=column(-2), reason="fund"
    )
    filled = PostedBatch(
        counter=EXTERNAL, asset=-1, account=column(FUND), amount=column(99), reason="fund"
    )
    bench.clock(3, batch, drawn, filled)
    done = bench.judge()
    assert done.fund_used == (32, 15)
    assert done.fund_at_start == (10 * UNIT, 5 * UNIT)


@pytest.mark.parametrize(
    ("lots", "price", "ratio"),
    [
        (-10, 9_900, 0.99),  # sold one percent below the mark
        (-10, 10_100, 1.01),  # and above it
        (10, 10_100, 0.99),  # bought back one percent above it
        (10, 9_900, 1.01),
    ],
)
def test_recovery_is_what_a_forced_trade_brought_over_the_mark_when_it_was_ordered(
    lots, price, ratio
):
    bench = Bench()
    bench.price(0, 10_000)
    bench.clock(1, orders((ALICE, lots)))
    bench.price(2, 5_000)  # the mark moves on before the fill: it does not count
    bench.clock(3, moved("fill", (ALICE, lots, price), (EXTERNAL, -lots, price)))
    assert bench.judge().to_json()["recovery_ratio"] == pytest.approx(ratio)


def test_forced_volume_is_valued_at_the_opening_and_counts_every_route():
    bench = Bench()
    bench.price(0, 10_000)
    bench.price(1, 5_000)
    bench.clock(2, moved("fill", (ALICE, -3, 5_000), (EXTERNAL, 3, 5_000)))
    bench.clock(3, moved("netted", (ALICE, -2, 5_000), (BOB, 2, 5_000)))
    bench.clock(4, deleveraged(deficit=0, forgone=0, lots=5))
    bench.clock(5, moved("deleveraged", (ALICE, -5, 5_000), (BOB, 5, 5_000)))
    bench.clock(6, moved("trade", (ALICE, 50, 5_000), (BOB, -50, 5_000)))
    lot = 10_000 * 1_000
    done = bench.judge()
    assert (done.sold_volume, done.netted_volume, done.adl_volume) == (3 * lot, 4 * lot, 5 * lot)
    assert done.forced_volume == 12 * lot


@pytest.mark.parametrize(
    ("forced", "alone", "ratio"),
    [(30, 10, 3.0), (10, 10, 1.0), (0, 0, 1.0), (5, 0, None), (5, None, None)],
)
def test_cascade_ratio(forced, alone, ratio):
    done = verdict(forced_volume=forced, forced_by_shock=alone)
    assert done.cascade_ratio == ratio
    assert done.to_json()["cascade_ratio"] == ratio


def test_the_shock_alone_comes_from_the_calm_twin():
    calm = verdict(forced_volume=10)
    assert verdict(forced_volume=30).with_shock(calm).cascade_ratio == 3.0


@pytest.mark.parametrize(
    ("missing", "seconds"),
    [(15 * UNIT - 1, 0.0), (15 * UNIT, 0.0), (15 * UNIT + 1, 2.5)],
)
def test_insolvent_is_strictly_more_missing_than_the_fund_holds(missing, seconds):
    bench = Bench()
    bench.clock(0)
    bench.clock(1, health(missing))
    bench.clock(3.5, health(0))
    bench.clock(9)
    assert bench.judge().insolvent_seconds == seconds


def test_time_is_counted_on_the_rung_one_stood_on():
    bench = Bench()
    bench.clock(0)
    bench.clock(1, BreakerMoved(rung=2, calm_since=-1, reason="distressed", value=1))
    bench.clock(4, BreakerMoved(rung=4, calm_since=-1, reason="distressed", value=1))
    bench.clock(10, BreakerMoved(rung=0, calm_since=-1, reason="calm", value=0))
    bench.clock(12)
    done = bench.judge()
    assert done.rung_seconds == (3.0, 0.0, 3.0, 0.0, 6.0)
    assert done.to_json()["halt_seconds"] == 6.0


def test_our_rungs_are_the_ladder_s():
    assert tuple(r.name.lower() for r in Rung) == RUNGS


def test_an_account_is_liquidated_once_however_often_it_is_hit():
    bench = Bench()
    bench.price(0, 10_000)
    bench.clock(1, orders((ALICE, -5), (CARL, -5)))
    bench.clock(2, orders((ALICE, -5)))
    bench.clock(3, moved("netted", (BOB, 2, 10_000), (ALICE, -2, 10_000)))
    bench.clock(4, deleveraged(deficit=UNIT, forgone=UNIT))
    done = bench.judge()
    assert done.accounts_liquidated == 3
    assert done.orders == 3
    hit = bench.meter.casualties
    assert hit.liquidated.tolist() == [ALICE, BOB, CARL]
    assert hit.deleveraged.tolist() == [BOB]
    assert hit.orders[ALICE] == 2
    assert hit.first[ALICE] == at(1)
    assert hit.deficit[ALICE] == UNIT


def test_a_winner_alone_is_not_liquidated():
    bench = Bench()
    bench.price(0, 10_000)
    bench.clock(1, deleveraged(deficit=UNIT, forgone=UNIT))
    assert bench.meter.casualties.liquidated.tolist() == [ALICE]


def test_peaks_are_the_furthest_either_way():
    bench = Bench()
    for seconds, impact, near in ((0, 3, 10), (1, -70_000, 2_500_000), (2, 50, 0)):
        bench.impact = [0, impact]
        bench.clock(seconds, ProfileMoved(instrument=1, down=column(1), up=column(0), near=near))
    done = bench.judge()
    assert done.peak_impact_ppm == 70_000
    assert done.to_json()["peak_branching_ratio"] == 2.5


def test_regenerated_is_what_the_venue_answered_or_our_orders_displaced():
    bench = Bench()
    bench.price(0, 10_000)
    bench.step(OrdersFilled(ts=at(1), order=column(), lots=column(), price=column()))
    bench.impact = [-10_000, 0]
    bench.price(2, 9_900)
    bench.price(3, 9_900, instrument=1)
    empty = column()
    bench.step(
        DepthObserved(
            ts=at(4), instrument=0, bid_price=empty, bid_lots=empty, ask_price=empty, ask_lots=empty
        )
    )
    bench.clock(5)
    assert bench.judge().regenerated == 3
    assert bench.judge().to_json()["regenerated_share"] == 0.5


def test_a_price_of_an_unknown_instrument_is_counted_and_nothing_else():
    bench = Bench()
    event = PriceObserved(ts=at(0), instrument=9, source=0, price=1, published=at(0))
    bench.step(event, Rejected(code="instrument_unknown", detail="9"))
    assert bench.judge().rejected == {"instrument_unknown": 1}


def test_the_reference_is_the_price_without_our_impact():
    bench = Bench()
    bench.impact = [-100_000, 0]
    bench.price(0, 9_000)
    assert bench.meter.series.reference[0, 0] == 10_000
    assert bench.meter.series.mark[0, 0] == 9_000


def test_capital_efficiency_is_initial_margin_over_the_size_of_all_positions():
    tier = Tier(initial=100_000, maintenance=50_000)
    margin = MarginModel(instruments={"*": Requirement(tiers=(tier,))})
    bench = Bench(margin=margin)
    book = bench.state.book
    book.counts[ACCOUNTS] = FIRST_USER + 2
    book.cash[ALICE] = 3_000 * UNIT
    move(book, ALICE, 0, 100, 0)
    move(book, BOB, 0, -100, 0)
    bench.clock(0)
    assert bench.judge().initial_margin_ppm is None  # nothing has a price yet
    bench.state.market.mark[0] = 10_000
    bench.price(1, 10_000)
    bench.clock(2)  # the first sample after the price
    done = bench.judge()
    assert done.to_json()["capital_efficiency"] == pytest.approx(0.1)
    hit = bench.meter.casualties
    assert hit.notional[ALICE] == hit.notional[BOB] == 100 * 10_000 * 1_000
    assert hit.equity[ALICE] == 3_000 * UNIT + 100 * 10_000 * 1_000
    assert EFFICIENCY_EVERY == 60 * SECOND


def test_a_debt_is_open_interest_and_collateral_is_not():
    spot = Spot(
        symbol="ETH",
        tick_size="1",
        lot_size="1",
        price_max=10_000,
        lots_max=10_000,
        tick_value=1_000,
    )
    venue = Venue(
        name="loans",
        instruments=(spot,),
        limits=Limits(accounts_max=64, positions_max=64, balance_max=2**40),
    )
    margin = MarginModel(cash_debt_initial=500_000, cash_debt_maintenance=300_000)
    stack = Stack.bind(SafeguardStack(name="loans", margin=margin), venue)
    state = State.genesis(stack)
    state.book.counts[ACCOUNTS] = FIRST_USER + 2
    move(state.book, ALICE, 0, 100, 0)
    state.book.cash[BOB] = 7_000_000
    price = np.array([400])
    assert initial_rate(state.book, state.facts, np.array([0])) is None
    assert initial_rate(state.book, state.facts, price) is None  # nobody owes anything
    state.book.cash[ALICE] = -1_000_000
    assert initial_rate(state.book, state.facts, price) == 0.5


def test_observing_changes_nothing():
    bench = Bench()
    before = bench.state.digest()
    bench.price(0, 10_000, orders((ALICE, -5)), health(1))
    bench.judge()
    assert bench.state.digest() == before


def test_notional_of_every_kind():
    spot = Spot(
        symbol="ETH",
        tick_size="1",
        lot_size="1",
        price_max=10_000,
        lots_max=10_000,
        tick_value=1_000,
        units=100,
    )
    inverse = Inverse(
        symbol="ETHUSD",
        tick_size="1",
        lot_size="1",
        price_max=10_000,
        lots_max=10_000,
        coin="ETH",
        contract=10**9,
        face=5_000_000,
    )
    venue = Venue(
        name="kinds",
        instruments=(*VENUE.instruments, spot, inverse),
        limits=Limits(accounts_max=64, positions_max=64, balance_max=2**40),
    )
    facts = Stack.bind(SafeguardStack(name="kinds"), venue).facts
    size = notionals(
        facts, np.array([0, 2, 3]), np.array([-3, 250, -2]), np.array([10_000, 400, 400])
    )
    assert size.tolist() == [3 * 10_000 * 1_000, 250 * 400 * 1_000 / 100, 2 * 5_000_000]


# The series


def test_a_row_is_a_second_in_which_something_happened():
    bench = Bench()
    bench.price(0.1, 100)
    bench.price(0.9, 90, orders((ALICE, -1)))
    bench.price(5.2, 80)
    series = bench.meter.series
    assert ((series.ts - BEGIN) // SECOND).tolist() == [0, 5]
    assert series.mark[:, 0].tolist() == [90, 80]
    assert series.orders.tolist() == [1, 0]
    assert series.seconds.tolist() == [0.0, 5.0]


def test_a_peak_within_a_second_is_kept_and_the_next_second_begins_where_it_ended():
    sampler = Sampler(1)
    sampler.advance(at(0))
    for value in (5, -9, 2):
        sampler.peak("impact", value)
    sampler.advance(at(1))
    sampler.advance(at(2))
    sampler.peak("impact", 1)
    assert sampler.series().impact[:, 0].tolist() == [-9, 2, 2]


def test_buckets_before_the_first_profile_are_calm():
    sampler = Sampler(2)
    sampler.advance(at(0))
    sampler.advance(at(1))
    sampler.profile(1, np.array([7, 8]), np.array([0, 9]))
    series = sampler.series()
    assert series.down.tolist() == [[[0, 0], [0, 0]], [[0, 0], [7, 8]]]
    assert series.up[1, 1].tolist() == [0, 9]


def test_an_empty_series_is_empty():
    series = Sampler(1).series()
    assert series.ts.size == 0
    assert series.seconds.size == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 100), st.integers(-9, 9)),
        min_size=1,
        max_size=200,
    ),
    st.integers(2, 9),
)
def test_folding_loses_no_flow_no_peak_and_no_order(steps, samples_max):
    """However long a history is: sums add up, extremes survive, time only rises."""
    sampler = Sampler(1, samples_max=samples_max)
    now = total = 0
    peak = last = 0
    for gap, flow, impact in steps:
        now += gap
        sampler.advance(at(now))
        sampler.add("sold", flow)
        sampler.peak("impact", impact)
        sampler.put("mark", now)
        total += flow
        peak, last = max(peak, abs(impact)), now
    series = sampler.series()
    assert series.sold.sum() == total
    assert np.abs(series.impact).max(initial=0) == peak
    assert series.mark[-1, 0] == last
    assert (np.diff(series.ts) > 0).all()
    assert series.ts.size <= samples_max + 1
    assert (series.ts % series.step_ns == 0).all()
    assert series.ts[-1] <= at(now) < series.ts[-1] + series.step_ns


def test_every_column_is_part_of_the_series():
    series = Sampler(3).series()
    assert all(hasattr(series, name) for name in COLUMNS)


def test_a_verdict_survives_being_written_and_read():
    done = verdict(forced_by_shock=None, rejected={"account_unknown": 2})
    assert msgspec.json.decode(msgspec.json.encode(done), type=Verdict) == done
