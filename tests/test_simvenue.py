"""The simulated venue: what it fills, at what price, what that leaves, and what goes wrong."""

from dataclasses import replace
from math import ceil, exp, floor, log1p, sqrt
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.effects import OrdersPlaced, OrdersReduced, Rejected
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import (
    DepthObserved,
    OrdersExpired,
    OrdersFilled,
    PriceObserved,
    Traded,
)
from tidegate.domain.instrument import Inverse, Linear, Spot
from tidegate.domain.units import pack, unpack
from tidegate.domain.venue import Market, Venue, VenueModel
from tidegate.drivers.depth import ASK, BID, Ladder, Scale, Visible, take, visible
from tidegate.drivers.impact import Footprint, law
from tidegate.drivers.ranges import Ranges
from tidegate.drivers.recording import load
from tidegate.drivers.replay import Replay
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.drivers.synthetic import make
from tidegate.safeguards.stack import SafeguardStack, Stack


STACKS = Path(__file__).parents[1] / "src/tidegate/stacks"
MS, SECOND = 1_000_000, 1_000_000_000
MONEY = 1_000_000
START = 1_000 * SECOND
BTC = Linear(
    symbol="BTC", tick_size="0.1", lot_size="0.001", price_max=10**7, lots_max=10**6, tick_value=100
)
ETH = Spot(
    symbol="ETH",
    tick_size="0.01",
    lot_size="0.000001",
    price_max=10**7,
    lots_max=10**9,
    tick_value=10**4,
    units=10**6,
)
COIN = Inverse(
    symbol="ETHUSD",
    tick_size="0.01",
    lot_size="1",
    price_max=10**7,
    lots_max=10**8,
    open_interest_max=10**9,
    coin="ETH",
    contract=10**8,
    face=MONEY,
)
# 10 million within 2 % of 100,000: a level holds 500,000, the whole side 100 BTC.
DEEP = Market(symbol="BTC", depth=10_000_000 * MONEY, daily_volume=2_000_000_000 * MONEY)
QUIET = VenueModel()


def venue_of(market=DEEP, model=QUIET, sources=("index", "venue"), instruments=(BTC,)):
    return Venue(
        name="sim", instruments=instruments, markets=(market,), model=model, sources=sources
    )


def sim(market=DEEP, model=QUIET, *, root=1, impact=True, **rest):
    venue = SimVenue(venue_of(market, model, **rest), Streams(root, 0), impact=impact)
    venue.displace(price(START, 1_000_000))
    return venue


def price(ts, ticks, source=1, instrument=0):
    return PriceObserved(ts=ts, instrument=instrument, source=source, price=ticks, published=ts)


def orders(lots, limit=None, first=0, instrument=0):
    lots = np.array(lots, np.int64)
    worst = np.where(lots < 0, 1, 10**8) if limit is None else np.broadcast_to(limit, lots.shape)
    return OrdersPlaced(
        first=first,
        route="book",
        account=pack(np.arange(lots.size) + 12),
        instrument=pack(np.full(lots.size, instrument)),
        lots=pack(lots),
        limit=pack(worst),
        share=pack(np.full(lots.size, 10**6)),
        at=START,
    )


def fills(events):
    return [
        row
        for e in events
        if isinstance(e, OrdersFilled)
        for row in zip(*(unpack(c).tolist() for c in (e.order, e.lots, e.price)), strict=True)
    ]


def expired(events):
    return [
        (order, e.reason)
        for e in events
        if isinstance(e, OrdersExpired)
        for order in unpack(e.order).tolist()
    ]


def depth_of(venue, now):
    (quote,) = venue.quote(now)
    return int(unpack(quote.bid_lots).sum()), int(unpack(quote.ask_lots).sum())


# What an order gets --------------------------------------------------------------------------


def test_a_small_sale_meets_the_best_bid_after_the_latency():
    venue = sim()
    venue.submit(START, orders([-1_000]))
    assert venue.poll(START + 200 * MS - 1) == []
    (event,) = venue.poll(START + 200 * MS)
    assert event.ts == START + 200 * MS
    # The touch stands half a level, 5 basis points, below the mid of 1,000,000 ticks.
    assert fills([event]) == [(0, -1_000, 999_500)]


def test_a_purchase_pays_the_ask_and_lifts_the_price():
    venue = sim()
    venue.submit(START, orders([1_000]))
    assert fills(venue.poll(START + SECOND)) == [(0, 1_000, 1_000_500)]
    assert venue.impact_ppm(0) > 0
    assert venue.displace(price(START + SECOND, 1_000_000)).price > 1_000_000


def test_an_order_larger_than_the_book_is_filled_in_part_and_its_rest_expires():
    venue = sim(msgspec.structs.replace(DEEP, resilience_ns=0))
    bids, _ = depth_of(venue, START)
    venue.submit(START, orders([-(10**6)]))
    events = venue.poll(START + 2 * SECOND)
    (order, lots, at), *dust = fills(events)
    assert (order, lots) == (0, -bids)
    assert sum(-lots for _, lots, _ in dust) < 50, "parts of a lot on each level add up to little"
    assert at == pytest.approx(990_000, abs=100), "the average of an even ladder is half way down"
    assert expired(events) == [(0, "timeout")]
    assert events[-1].ts == START + 1_200 * MS


def test_what_grows_back_within_an_orders_life_is_sold_too():
    market = msgspec.structs.replace(DEEP, resilience_ns=SECOND)
    venue = sim(market)
    venue.submit(START, orders([-(10**6)]))
    events = venue.poll(START + 2 * SECOND)
    assert [e.ts - START for e in events] == [t * MS for t in (200, 450, 700, 950, 1_200)]
    sold = [-lots for _, lots, _ in fills(events)]
    assert all(late < sold[0] / 4 for late in sold[1:]), "a quarter of a half-life brings back 16 %"


def test_orders_of_one_batch_share_the_book_in_their_order():
    venue = sim(msgspec.structs.replace(DEEP, levels=2, resilience_ns=0))
    near, far = (int(n) for n in unpack(venue.quote(START)[0].bid_lots))
    # The first takes the touch and a little more, the second only wants the touch, the third any.
    venue.submit(START, orders([-near - 5, -7, -11], limit=[1, 995_000, 1]))
    got = {order: lots for order, lots, _ in fills(venue.poll(START + 200 * MS))}
    assert got == {0: -near - 5, 2: -11}
    assert far > 16


def test_a_limit_that_stops_one_order_leaves_the_book_to_the_next():
    venue = sim()
    venue.submit(START, orders([-500, -500], limit=[999_501, 999_500]))
    events = venue.poll(START + 2 * SECOND)
    assert fills(events) == [(1, -500, 999_500)]
    assert expired(events) == [(0, "timeout")]


@pytest.mark.parametrize(("limit", "filled"), [(999_501, 0), (999_500, 10), (999_499, 10)])
def test_a_seller_accepts_its_limit_and_nothing_below(limit, filled):
    venue = sim()
    venue.submit(START, orders([-10], limit=limit))
    assert sum(-lots for _, lots, _ in fills(venue.poll(START + SECOND))) == filled


@pytest.mark.parametrize(("limit", "filled"), [(1_000_499, 0), (1_000_500, 10), (1_000_501, 10)])
def test_a_buyer_accepts_its_limit_and_nothing_above(limit, filled):
    venue = sim()
    venue.submit(START, orders([10], limit=limit))
    assert sum(lots for _, lots, _ in fills(venue.poll(START + SECOND))) == filled


def test_the_price_of_a_fill_is_rounded_against_the_account():
    book = Visible(np.array([100, 99]), np.array([2, 1]))
    wanted, worst = np.array([3]), np.array([1])
    assert take(book, BID, wanted, worst).price.tolist() == [99]  # 99.67, down for the seller
    book = Visible(np.array([100, 101]), np.array([2, 1]))
    assert take(book, ASK, wanted, np.array([200])).price.tolist() == [101]  # 100.33, up


def test_orders_nobody_can_serve_expire_with_a_reason():
    venue = sim(instruments=(BTC, ETH))
    venue.submit(START, orders([-5], instrument=1))
    venue.submit(START, orders([0], first=2**20))
    assert expired(venue.poll(START + SECOND)) == [(0, "no_market"), (2**20, "no_lots")]


def test_without_a_price_nothing_trades():
    venue = SimVenue(venue_of(), Streams(1, 0))
    assert venue.quote(START) == []
    venue.submit(START, orders([-5]))
    assert expired(venue.poll(START + 2 * SECOND)) == [(0, "timeout")]


@pytest.mark.parametrize("instrument", [BTC, ETH, COIN])
def test_depth_is_money_whatever_the_kind_of_instrument(instrument):
    market = Market(symbol=instrument.symbol, depth=10_000_000 * MONEY)
    instruments = (instrument,) if instrument is not COIN else (COIN, ETH)
    venue = SimVenue(venue_of(market, instruments=instruments), Streams(1, 0))
    venue.displace(price(START, 400_000))
    lots, _ = depth_of(venue, START)
    worth = {"BTC": 4e5 * 100, "ETH": 4e5 * 1e4 / 1e6, "ETHUSD": 1e6}[instrument.symbol]
    assert lots * worth / 1e13 == pytest.approx(1.0, rel=0.011)  # bids stand 1 % lower on average


# What the market feels -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "square_root"])
def test_the_laws_are_what_they_are_called(name):
    market = msgspec.structs.replace(DEEP, impact=name)
    one, four = law(market, 1e12), law(market, 4e12)
    assert four / one == pytest.approx(4.0 if name == "linear" else 2.0)
    published = {"linear": 0.02 * 0.1, "square_root": 0.04 * sqrt(1e12 / 2e15)}
    assert one == pytest.approx(published[name])


def test_a_square_root_of_one_percent_of_the_volume_costs_twenty_basis_points():
    """MODELS a.4, vector A15: 2 % daily volatility, 1 % of daily volume."""
    market = msgspec.structs.replace(DEEP, daily_volatility=20_000)
    assert law(market, 0.01 * 2e15) == pytest.approx(0.002)


def test_impact_is_never_less_than_the_walk_through_the_book():
    thin = msgspec.structs.replace(DEEP, permanent=1_000_000)
    venue = sim(thin)
    bids, _ = depth_of(venue, START)
    venue.submit(START, orders([-bids // 2]))
    venue.poll(START + 200 * MS)
    # Half of the ladder is 1 % of the mid; the law alone would say 0.2 %.
    assert venue.impact_ppm(0) == pytest.approx(-10_000, abs=100)


def test_impact_is_at_least_the_law():
    """A side of 100 million is walked by 0.02 %, but the campaign is one per cent of the volume."""
    market = Market(
        symbol="BTC", depth=100_000_000 * MONEY, daily_volume=100_000_000 * MONEY, permanent=0
    )
    venue = sim(market)
    venue.submit(START, orders([-10_000]))  # 10 BTC at 100,000: one million
    venue.poll(START + 200 * MS)
    assert venue.impact_ppm(0) == pytest.approx((exp(-0.04 * sqrt(0.01)) - 1) * 1e6, rel=1e-3)


def test_selling_in_slices_displaces_as_much_as_selling_at_once():
    whole, sliced = sim(), sim()
    whole.submit(START, orders([-40_000]))
    for n in range(40):
        sliced.submit(START, orders([-1_000], first=n * 2**20))
    a, b = whole.poll(START + 200 * MS), sliced.poll(START + 200 * MS)
    assert sum(x[1] for x in fills(a)) == sum(x[1] for x in fills(b)) == -40_000
    assert whole.impact_ppm(0) == pytest.approx(sliced.impact_ppm(0), rel=0.02)


def test_the_transient_part_halves_and_the_permanent_part_stays():
    venue = sim()
    venue.submit(START, orders([-20_000]))
    venue.poll(START + 200 * MS)
    at, half = START + 200 * MS, DEEP.resilience_ns
    first = log1p(venue.impact_ppm(0) / 1e6)
    stays = 0.3 * first
    for n in range(1, 6):
        venue.poll(at + n * half)
        expected = stays + (first - stays) / 2**n
        assert log1p(venue.impact_ppm(0) / 1e6) == pytest.approx(expected, abs=2e-6)


def test_a_book_without_resilience_never_heals():
    venue = sim(msgspec.structs.replace(DEEP, resilience_ns=0))
    full, _ = depth_of(venue, START)
    venue.submit(START, orders([-20_000]))
    venue.poll(START + 200 * MS)
    moved = venue.impact_ppm(0)
    venue.poll(START + 10**6 * SECOND)
    assert venue.impact_ppm(0) == moved
    # Depth is Money: at lower prices the same Money is slightly more lots.
    assert depth_of(venue, START + 10**6 * SECOND)[0] == pytest.approx(full - 20_000, rel=0.01)


def test_the_ladder_loses_what_was_filled_and_gets_half_of_it_back_in_a_half_life():
    venue = sim()
    bids, asks = depth_of(venue, START)
    venue.submit(START, orders([-30_000]))
    at = START + 200 * MS
    venue.poll(at)
    # In Money: prices moved, so compare with each quantity at its own price.
    left, other = depth_of(venue, at)
    assert left == pytest.approx(bids - 30_000, rel=0.02)
    assert other == pytest.approx(asks, rel=0.02), "nobody touched the asks"
    healed, _ = depth_of(venue, at + DEEP.resilience_ns)
    assert healed == pytest.approx(bids - 15_000, rel=0.02)


def test_depth_withdraws_as_the_price_falls_and_never_below_its_floor():
    market = msgspec.structs.replace(DEEP, withdrawal=100_000, depth_min=300_000)
    venue = sim(market)

    def money(ticks, ts):
        venue.displace(price(ts, ticks))
        return depth_of(venue, ts)[0] * ticks

    full = money(1_000_000, START)
    assert money(970_000, START) / full == pytest.approx(0.7, rel=0.01)
    assert money(500_000, START) / full == pytest.approx(0.3, rel=0.01)
    # An hour later half of the fall is forgotten: the peak that makers remember is the geometric
    # middle of 1,000,000 and 970,000.
    venue = sim(market)
    money(970_000, START)
    expected = 1 - 10 * (1 - sqrt(0.97))
    assert money(970_000, START + 3_600 * SECOND) / full == pytest.approx(expected, rel=0.01)


def test_without_impact_everything_trades_at_the_reference_within_depth():
    venue = sim(impact=False)
    total, _ = depth_of(venue, START)
    venue.submit(START, orders([-total // 2, -total // 4, -total]))
    events = venue.poll(START + 200 * MS)
    assert {at for _, _, at in fills(events)} == {1_000_000}
    assert -sum(lots for _, lots, _ in fills(events)) == pytest.approx(total, rel=0.01)
    assert venue.impact_ppm(0) == 0
    assert venue.displace(price(START + SECOND, 990_000)).price == 990_000


def test_the_reference_is_the_venues_own_price_once_it_has_spoken():
    venue = SimVenue(venue_of(), Streams(1, 0))
    venue.displace(price(START, 900_000, source=0))
    assert unpack(venue.quote(START)[0].bid_price)[0] == 899_550
    venue.displace(price(START, 1_000_000, source=1))
    venue.displace(price(START, 900_000, source=0))
    assert unpack(venue.quote(START)[0].bid_price)[0] == 999_500
    other = SimVenue(venue_of(sources=("a", "b")), Streams(1, 0))
    other.displace(price(START, 900_000, source=0))
    other.displace(price(START, 800_000, source=1))
    assert unpack(other.quote(START)[0].bid_price)[0] == 799_600


def test_a_recorded_book_replaces_the_ladder_and_moves_with_our_impact():
    venue = sim(msgspec.structs.replace(DEEP, withdrawal=200_000))
    recorded = DepthObserved(
        ts=START,
        instrument=0,
        bid_price=pack(np.array([999_990, 999_000])),
        bid_lots=pack(np.array([100, 900])),
        ask_price=pack(np.array([1_000_010, 1_001_000])),
        ask_lots=pack(np.array([50, 60])),
    )
    venue.observe(recorded)
    (quote,) = venue.quote(START)
    assert unpack(quote.bid_price).tolist() == [999_990, 999_000]
    assert unpack(quote.ask_price).tolist() == [1_000_010, 1_001_000]
    assert unpack(quote.bid_lots).tolist() == [100, 900]
    venue.submit(START, orders([-100_000]))
    sold = -sum(lots for _, lots, _ in fills(venue.poll(START + 200 * MS)))
    assert sold == pytest.approx(1_000, abs=2)
    assert venue.impact_ppm(0) < -900
    venue.observe(recorded)  # the recording did not see us: what we took stays taken
    assert depth_of(venue, START + 200 * MS)[0] <= 10


def test_others_consume_one_side_and_heal_the_other():
    venue = sim()
    venue.submit(START, orders([-30_000]))
    at = START + 200 * MS
    venue.poll(at)
    moved, (bids, asks) = venue.impact_ppm(0), depth_of(venue, at)
    buy = Traded(ts=at, instrument=0, taker=0, maker=0, lots=10_000, price=1_000_000)
    venue.observe(buy)
    assert depth_of(venue, at)[0] == pytest.approx(bids + 10_000, rel=0.02)
    assert depth_of(venue, at)[1] == pytest.approx(asks - 10_000, rel=0.02)
    assert venue.impact_ppm(0) == moved, "a recorded price contains what its trades did to it"
    before = depth_of(venue, at)
    venue.observe(msgspec.structs.replace(buy, taker=12))
    assert depth_of(venue, at) == before, "an account's own trade is not the flow of others"


def test_with_a_permanent_share_of_one_nothing_fades():
    footprint = Footprint(half_life=SECOND)
    footprint.moved(msgspec.structs.replace(DEEP, permanent=1_000_000), BID, 1e12, 0.01, 0)
    assert footprint.transient == 0
    assert footprint.permanent == pytest.approx(-0.01)


# Time, idempotence, determinism --------------------------------------------------------------


def story(venue, *, polls=1):
    """Submit, move the price and poll; return everything the venue said."""
    said = []
    for n in range(20):
        now = START + n * SECOND
        venue.displace(price(now, 1_000_000 - 3_000 * n))
        venue.submit(now, orders([-2_000 - n, 1_000, -500], first=n * 2**20))
        for k in range(1, polls + 1):
            said += venue.poll(now + k * SECOND // polls)
    return said + venue.poll(START + 100 * SECOND)


def test_the_same_venue_seed_and_submissions_give_the_same_answers():
    model = VenueModel(drop=200_000, duplicate=200_000, delay=200_000)
    for root in range(6):
        one, two = sim(model=model, root=root), sim(model=model, root=root)
        assert story(one) == story(two)
        assert one.snapshot() == two.snapshot()


def test_how_often_it_is_polled_and_looked_at_changes_nothing():
    once, often = sim(), sim()
    expected = story(once)

    class Looking:
        def __getattr__(self, name):
            often.quote(often.next_due() or START)
            often.impact_ppm(0)
            return getattr(often, name)

    assert story(Looking(), polls=7) == expected


def test_submitting_twice_is_submitting_once():
    venue = sim()
    batch = orders([-2_000, -1_000, -500])
    venue.submit(START, batch)
    venue.submit(START, batch)
    assert len(fills(venue.poll(START + SECOND))) == 3
    venue.submit(START + SECOND, batch)
    # Recovery may submit what is unresolved in other batches than the first time.
    venue.submit(START + SECOND, orders([-500, -7], first=2))
    assert [row[:2] for row in fills(venue.poll(START + 3 * SECOND))] == [(3, -7)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=30))
def test_ranges_are_a_set(pairs):
    ranges, reference = Ranges(), set()
    for start, length in pairs:
        before = ranges.add(start, start + length).tolist()
        assert before == [n in reference for n in range(start, start + length)]
        reference |= set(range(start, start + length))
    assert [n for a, b in ranges.pairs() for n in range(a, b)] == sorted(reference)
    again = Ranges.of(ranges.pairs())
    assert again.pairs() == ranges.pairs()


def test_events_leave_in_the_order_of_time():
    model = VenueModel(drop=100_000, duplicate=300_000, delay=300_000)
    for root in range(8):
        said = story(sim(model=model, root=root), polls=3)
        times = [e.ts for e in said]
        assert times == sorted(times)


def test_a_driver_can_walk_from_one_moment_to_the_next():
    stepped, jumped = sim(), sim()
    for venue in (stepped, jumped):
        venue.submit(START, orders([-(10**6), 50]))
    said = []
    while (due := stepped.next_due()) is not None:
        said += stepped.poll(due)
    assert said == jumped.poll(START + 10 * SECOND)
    assert jumped.next_due() is None


# Faults and crashes --------------------------------------------------------------------------


def faulty(site, rate=300_000):
    return VenueModel(**{site: rate})


def live_root(site):
    """Return the first root whose run has this fault switched on."""
    model = faulty(site)
    return next(r for r in range(50) if sim(model=model, root=r).faults.rate[site])


def test_each_site_is_live_in_some_runs_and_dead_in_others():
    model = VenueModel(drop=1, duplicate=1, delay=1)
    live = np.array(
        [
            [bool(sim(model=model, root=r).faults.rate[s]) for s in ("drop", "duplicate")]
            for r in range(60)
        ]
    )
    assert 15 < live[:, 0].sum() < 45
    assert len({tuple(row) for row in live.tolist()}) == 4


def test_a_fault_strikes_at_its_rate_and_knows_only_the_order():
    venue = sim(model=faulty("drop"), root=live_root("drop"))
    struck = venue.faults.strike("drop", np.arange(100_000))
    assert struck.mean() == pytest.approx(0.3, abs=0.01)
    assert venue.faults.strike("drop", np.array([17, 5]))[1] == struck[5]


def test_a_dropped_order_expires_after_its_life():
    venue = sim(model=faulty("drop"), root=live_root("drop"))
    venue.submit(START, orders([-1] * 200))
    events = venue.poll(START + 5 * SECOND)
    lost = [order for order, reason in expired(events) if reason == "dropped"]
    assert 30 < len(lost) < 90
    assert sorted(lost + [order for order, _, _ in fills(events)]) == list(range(200))
    assert events[-1].ts == START + 1_200 * MS


def test_a_duplicate_repeats_every_part_of_an_order():
    market = msgspec.structs.replace(DEEP, resilience_ns=SECOND)
    venue = sim(market, faulty("duplicate", 1_000_000), root=live_root("duplicate"))
    venue.submit(START, orders([-1_000, -(10**6)]))
    rows = fills(venue.poll(START + 5 * SECOND))
    assert [row[0] for row in rows].count(0) == 2
    assert rows.count(rows[0]) == 2, "the same row twice"
    parts = [row for row in rows if row[0] == 1]
    assert len(parts) == 2 * len(set(parts)) > 2


def test_a_delay_holds_up_everything_behind_it():
    venue = sim(model=faulty("delay", 1_000_000), root=live_root("delay"))
    venue.submit(START, orders([-(10**6)]))
    events = venue.poll(START + 60 * SECOND)
    assert isinstance(events[-1], OrdersExpired)
    assert events[0].ts == START + 5_200 * MS
    assert events[-1].ts >= events[-2].ts


def test_a_crash_forgets_what_rests_and_says_so_on_the_return():
    """Down for ten seconds from the first arrival: two batches are lost, a third is not."""
    model = VenueModel(crash=1_000_000, crash_ns=10 * SECOND)
    root = next(r for r in range(50) if sim(model=model, root=r).faults.rate["crash"])
    venue = sim(model=model, root=root)
    venue.faults.rate["crash"] = 0
    venue.submit(START, orders([-(10**6)]))
    sold = fills(venue.poll(START + 220 * MS))
    assert sold, "what was filled before stays filled"
    venue.faults.rate["crash"] = 1_000_000
    venue.submit(START + 220 * MS, orders([-5, -6], first=2**20))
    events = venue.poll(START + 420 * MS)
    venue.faults.rate["crash"] = 0
    venue.submit(START + 2 * SECOND, orders([-7], first=2**21))
    events += venue.poll(START + 420 * MS + 10 * SECOND)
    gone = dict(expired(events))
    assert gone == dict.fromkeys([0, 2**20, 2**20 + 1, 2**21], "crash")
    assert not fills(events)
    assert {e.ts for e in events} == {START + 420 * MS + 10 * SECOND}
    venue.submit(START + 11 * SECOND, orders([-8], first=2**22))
    assert fills(venue.poll(START + 12 * SECOND))


def test_a_crash_between_two_calls_is_a_snapshot_restored():
    model = VenueModel(drop=200_000, duplicate=200_000, delay=200_000)
    recorded = DepthObserved(
        ts=START,
        instrument=0,
        bid_price=pack(np.array([999_000, 990_000])),
        bid_lots=pack(np.array([20_000, 90_000])),
        ask_price=pack(np.array([1_001_000])),
        ask_lots=pack(np.array([50_000])),
    )
    for root in range(4):
        venue, other = sim(model=model, root=root), sim(model=model, root=root)
        venue.observe(recorded)
        venue.submit(START, orders([-30_000, 700]))
        venue.poll(START + 300 * MS)
        other.restore(venue.snapshot())
        assert story(other) == story(venue)


def test_what_was_submitted_after_the_snapshot_is_forgotten_and_may_come_again():
    venue = sim()
    saved = venue.snapshot()
    venue.submit(START, orders([-5]))
    venue.restore(saved)
    assert venue.poll(START + 5 * SECOND) == []
    venue.submit(START + 5 * SECOND, orders([-5]))
    assert len(fills(venue.poll(START + 6 * SECOND))) == 1


# Twins and properties ------------------------------------------------------------------------


def naive_take(levels, side, wanted, limit):
    """Take order by order and lot level by level, in Python's integers."""
    left = [lots for _, lots in levels]
    out = []
    for want, worst in zip(wanted, limit, strict=True):
        got, paid = 0, 0
        for n, (at, _) in enumerate(levels):
            if (at < worst) if side == BID else (at > worst):
                break
            part = min(left[n], want - got)
            left[n] -= part
            got, paid = got + part, paid + part * at
        average = 0 if not got else (paid // got if side == BID else -(-paid // got))
        out.append((got, average))
    return out


@st.composite
def books(draw):
    side = draw(st.sampled_from([BID, ASK]))
    steps = draw(st.lists(st.integers(0, 5), min_size=0, max_size=8))
    away = np.cumsum([0, *steps])[: len(steps)]
    at = (1_000 - away if side == BID else 1_000 + away).tolist()
    lots = draw(st.lists(st.integers(0, 30), min_size=len(at), max_size=len(at)))
    n = draw(st.integers(1, 25))
    wanted = draw(st.lists(st.integers(1, 40), min_size=n, max_size=n))
    limit = draw(st.lists(st.integers(970, 1_030), min_size=n, max_size=n))
    return side, list(zip(at, lots, strict=True)), wanted, limit


@given(books())
def test_taking_in_columns_is_taking_one_by_one(case):
    side, levels, wanted, limit = case
    book = Visible(
        np.array([p for p, _ in levels], np.int64), np.array([q for _, q in levels], np.int64)
    )
    taken = take(book, side, np.array(wanted), np.array(limit))
    expected = naive_take(levels, side, wanted, limit)
    assert list(zip(taken.lots.tolist(), taken.price.tolist(), strict=True)) == expected


@given(books())
def test_nobody_gets_more_than_wanted_or_pays_beyond_its_limit(case):
    side, levels, wanted, limit = case
    book = Visible(
        np.array([p for p, _ in levels], np.int64), np.array([q for _, q in levels], np.int64)
    )
    taken = take(book, side, np.array(wanted), np.array(limit))
    assert (taken.lots <= wanted).all()
    assert taken.lots.sum() <= book.lots.sum()
    got = taken.lots > 0
    towards = -1 if side == BID else 1
    assert (towards * taken.price[got] <= towards * np.array(limit)[got]).all()


def test_a_huge_book_does_not_wrap():
    scale = Scale(per_tick=1e-9, flat=0.0, price_max=10**9)
    ladder = Ladder.even(2.0**60, 900_000, 1_000)
    book = visible(ladder, BID, mid=1e9, thick=1.0, share=1.0, scale=scale)
    wanted = np.full(10_000, 2**60)
    taken = take(book, BID, wanted, np.full(10_000, 1))
    assert (taken.lots >= 0).all()
    assert int(taken.lots.astype(object).sum()) == int(book.lots.astype(object).sum())
    assert 0 < taken.price[0] < 10**9


@given(
    st.integers(1, 40),
    st.floats(1.0, 1e9),
    st.floats(0.0, 1.0),
    st.floats(0.05, 1.0),
    st.sampled_from([BID, ASK]),
)
def test_what_is_visible_is_what_is_left(levels, mid, share, thick, side):
    scale = Scale.of(BTC)
    ladder = Ladder.even(1e13, 20_000, levels)
    book = visible(ladder, side, mid=mid, thick=thick, share=share, scale=scale)
    exact = mid * (1 + (1 if side == ASK else -1) * ladder.offset)
    rounded = [max(1, floor(p + 1e-6) if side == BID else ceil(p - 1e-6)) for p in exact]
    assert book.price.tolist() == [min(p, BTC.price_max) for p in rounded]
    worth = scale.worth(book.price)
    money = float(np.dot(book.lots, worth))
    assert money <= thick * share * 1e13 * (1 + 1e-9)
    assert money >= thick * share * 1e13 - worth.sum() - 1e6
    merged = book.merged()
    assert merged.lots.sum() == book.lots.sum()
    assert (np.diff(merged.price) * (1 if side == ASK else -1) > 0).all()


def test_the_walk_through_an_even_ladder_is_a_straight_line():
    ladder = Ladder.even(1e13, 20_000, 20)
    for share in (0.0, 0.013, 0.5, 1.0):
        assert ladder.reach(share) == pytest.approx(0.02 * share)
    assert ladder.reach(7.0) == pytest.approx(0.02), "nothing is known beyond its end"


@given(st.lists(st.tuples(st.integers(-40_000, 40_000), st.integers(0, 2_000)), max_size=12))
def test_a_whole_history_fills_no_order_beyond_its_size(history):
    venue, now, said, asked = sim(), START, [], {}
    for n, (lots, wait) in enumerate(history):
        now += wait * MS
        first = n * 2**20
        venue.submit(now, orders([lots, lots // 2], first=first))
        asked |= {first: lots, first + 1: lots // 2}
        said += venue.poll(now)
    said += venue.poll(now + 60 * SECOND)
    got = dict.fromkeys(asked, 0)
    for order, lots, _ in fills(said):
        got[order] += lots
    for order, lots in asked.items():
        assert abs(got[order]) <= abs(lots)
        assert got[order] * lots >= 0
    ended = [order for order, _ in expired(said)]
    assert len(ended) == len(set(ended))
    assert {o for o, lots in asked.items() if got[o] != lots or not lots} == set(ended)


# Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"symbol": "DOGE"}, "symbol"),
        ({"impact": "cubic"}, "impact"),
        ({"depth": 0}, "depth"),
        ({"depth_range": 1_000_000}, "depth_range"),
        ({"levels": 0}, "levels"),
        ({"permanent": -1}, "permanent"),
        ({"depth_min": 0}, "depth_min"),
        ({"resilience_ns": -1}, "resilience_ns"),
    ],
)
def test_a_market_that_cannot_be_simulated_is_refused_by_its_key(change, key):
    with pytest.raises(ConfigInvalid, match=rf"venue\.markets\[0\]\.{key}"):
        sim(msgspec.structs.replace(DEEP, **change))


def test_a_venue_model_out_of_bounds_is_refused_by_its_key():
    with pytest.raises(ConfigInvalid, match=r"venue\.model\.drop"):
        sim(model=VenueModel(drop=1_000_001))
    twice = venue_of()
    twice = msgspec.structs.replace(twice, markets=(DEEP, DEEP))
    with pytest.raises(ConfigInvalid, match="two 'BTC'"):
        SimVenue(twice, Streams(1, 0))


def test_streams_depend_on_their_name_and_nothing_else():
    streams = Streams(7, 3)
    first = streams["prices"].random(3).tolist()
    streams["other"].random(1_000)
    assert streams["prices"].random(3).tolist() == first
    assert Streams(7, 4)["prices"].random(3).tolist() != first
    assert streams["faults"].random(3).tolist() != first


# Beside the engine ---------------------------------------------------------------------------


class Told:
    """Listens to a run: what was ordered, what the venue said, and what the engine booked."""

    def __init__(self):
        self.ordered, self.filled, self.booked = {}, {}, {}
        self.ended, self.reasons, self.refused, self.told = set(), set(), 0, set()

    def __call__(self, seq, event, effects, state, impact_ppm):
        del seq, state, impact_ppm
        for order, reason in expired([event]):
            self.ended.add(order)
            self.reasons.add(reason)
        left = unpack(event.left).tolist() if isinstance(event, OrdersFilled) else []
        for (order, lots, _), rest in zip(fills([event]), left, strict=True):
            if (order, rest) not in self.told:  # what an order has left names its fill
                self.filled[order] = self.filled.get(order, 0) + lots
            self.told.add((order, rest))
        for effect in effects:
            self.refused += isinstance(effect, Rejected) and effect.code in {
                "order_is_unknown",
                "fill_is_a_duplicate",
            }
            if isinstance(effect, OrdersPlaced):
                for n, lots in enumerate(unpack(effect.lots).tolist()):
                    self.ordered[effect.first + n] = lots
            if isinstance(effect, OrdersReduced) and isinstance(event, OrdersFilled):
                columns = (unpack(effect.order).tolist(), unpack(effect.lots).tolist())
                for order, lots in zip(*columns, strict=True):
                    self.booked[order] = self.booked.get(order, 0) + lots


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_under_faults_the_engine_books_what_the_venue_filled_and_leaves_nothing_open(
    seed, tmp_path
):
    make(tmp_path, accounts=200, seed=seed, scenario="gap")
    history = load(tmp_path)
    model = VenueModel(
        drop=200_000, duplicate=300_000, delay=100_000, delay_ns=3 * SECOND, crash=100_000
    )
    history = replace(history, venue=msgspec.structs.replace(history.venue, model=model))
    stack = SafeguardStack.load(STACKS / "bare.toml")
    told = Told()
    run = Replay(recording=history, stack=Stack.bind(stack, history.venue), observers=[told])
    run.run()
    assert told.booked
    assert not run.state.book.in_flight.any()
    rates = SimVenue(history.venue, Streams(history.venue.seed, 0)).faults.rate
    assert ("dropped" in told.reasons) == bool(rates["drop"])
    assert bool(told.refused) == bool(rates["duplicate"]), "a second report of a fill is refused"
    for order, lots in told.ordered.items():
        part = told.filled.get(order, 0)
        assert told.booked.get(order, 0) == (part if order in told.ended else lots)
