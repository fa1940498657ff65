"""Simulated keepers: a replay under an auction stack differs because of them, and only then."""

from collections import Counter

import msgspec
import numpy as np
import pytest
from tests.desk import U, column, flat, perp, rules, stack_of, venue_of

from tidegate.domain.effects import (
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    BidsCleared,
    OrdersPlaced,
    PositionsMoved,
    Posted,
)
from tidegate.domain.events import AuctionTaken, BidCommitted, BookImported, PriceObserved
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.domain.venue import Limits, Market
from tidegate.drivers import keepers
from tidegate.drivers.keepers import Keepers
from tidegate.drivers.replay import Replay
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.engine.auctions import Offer
from tidegate.safeguards.auctions import AuctionRoute, BatchRoute, FixedSpreadRoute, SealedRoute
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.split import SplitRoute
from tidegate.safeguards.waterfall import Tranche, Waterfall
from tidegate.testing import check_policy


START = 1_000 * SECOND
ACCOUNTS = 12
VENUE = venue_of(
    perp(),
    limits=Limits(accounts_max=64, positions_max=128, orders_max=256, balance_max=2**50),
    markets=(Market(symbol="PERP", depth=20_000_000_000, resilience_ns=5 * SECOND),),
)
END = {"life_ns": 20 * SECOND, "floor": 40_000, "spread": PPM}
ROUTES = {
    "book": BookRoute(spread=PPM),
    "auction": AuctionRoute(
        curve="exponential", cut=998_000, buffer=2_000, tail_ns=10 * SECOND, **END
    ),
    "fixed_spread": FixedSpreadRoute(discount=8_000, **END),
    "batch": BatchRoute(window_ns=4 * SECOND, **END),
    "sealed": SealedRoute(window_ns=4 * SECOND, **END),
}
ROUTES["split"] = SplitRoute(sale=ROUTES["auction"], book=ROUTES["book"], book_share=300_000)


class Weather:
    """A recording in memory: twelve longs of rising leverage, and a minute of falling prices."""

    venue = VENUE
    begins = START

    def events(self, *, shadow: bool):
        assert not shadow
        n = np.arange(ACCOUNTS)
        lots = np.full(ACCOUNTS, 1_000)
        yield PriceObserved(ts=START, published=START, source=0, instrument=0, price=10_000)
        yield BookImported(
            ts=START,
            names=tuple(f"user {k}" for k in n),
            owner=pack(n),
            cash=pack(600_000_000 + 60_000_000 * n),
            account=pack(n),
            instrument=pack(np.zeros(ACCOUNTS)),
            lots=pack(lots),
            entry=pack(np.full(ACCOUNTS, 10_000)),
        )
        for k in range(1, 61):
            price, ts = 10_000 - 15 * min(k, 40), START + k * SECOND
            yield PriceObserved(ts=ts, published=ts, source=0, instrument=0, price=price)


def replayed(route, **policies):
    """Return (last state, counts of what was done, all effects) of one replay."""
    policies = {
        "margin": rules(flat(penalty=5_000)),
        "waterfall": Waterfall(tranches=(Tranche(name="fund", initial=10**9),)),
    } | policies
    done, effects = Counter(), []

    def observe(_seq, _event, found, _state, _impact_ppm):
        done.update(type(e).__name__ for e in found)
        effects.extend(found)

    turning = Replay(
        recording=Weather(), stack=stack_of(VENUE, route=route, **policies), observers=[observe]
    )
    turning.run()
    return turning.state, done, effects


@pytest.fixture(scope="module")
def runs():
    return {name: replayed(route) for name, route in ROUTES.items()}


def test_every_route_makes_a_history_of_its_own(runs):
    assert len({state.digest() for state, _, _ in runs.values()}) == len(ROUTES)
    again, _, _ = replayed(ROUTES["sealed"])
    assert again.digest() == runs["sealed"][0].digest(), "and always the same one"


@pytest.mark.parametrize("name", list(ROUTES)[1:])
def test_keepers_take_what_is_offered(runs, name):
    _, done, effects = runs[name]
    assert done["AuctionsOpened"]
    sold = [e for e in effects if isinstance(e, PositionsMoved) and e.reason == "auctioned"]
    assert sold
    reasons = {e.reason for e in effects if isinstance(e, AuctionsReduced)}
    assert ("cleared" if name in {"batch", "sealed"} else "taken") in reasons
    if name == "sealed":
        bonds = [e for e in effects if isinstance(e, Posted) and e.reason in {"bond", "forfeit"}]
        given = sum(e.amount for e in bonds if e.credit == 3)
        assert given == sum(e.amount for e in bonds if e.debit == 3) > 0


@pytest.mark.parametrize("name", list(ROUTES)[1:])
def test_nothing_is_sold_below_the_limit_of_its_auction(runs, name):
    """All of them sell, so the lowest limit that any auction ever had bounds every price."""
    _, _, effects = runs[name]
    limit = 10**9
    for e in effects:
        if isinstance(e, AuctionsOpened | AuctionsReset):
            limit = min(limit, int(unpack(e.limit).min()))
        if isinstance(e, PositionsMoved) and e.reason == "auctioned":
            assert unpack(e.price).min() >= limit


def test_without_keepers_the_book_gets_everything_in_the_end(monkeypatch):
    """Nobody bids: no lot changes hands by auction, and every auction ends on the book."""
    monkeypatch.setattr(keepers, "USUAL", keepers.KeeperCrowd(absent=PPM + 1))
    for name in ("auction", "sealed"):
        _, done, effects = replayed(ROUTES[name])
        assert not [e for e in effects if isinstance(e, BidsCleared)]
        moved = [e for e in effects if isinstance(e, PositionsMoved)]
        assert not [e for e in moved if e.reason == "auctioned"]
        placed = [e for e in effects if isinstance(e, OrdersPlaced)]
        assert {e.route for e in placed} == {name}
        sold = sum(-int(unpack(e.lots).min()) for e in moved if e.reason == "fill")
        assert sold > 0
        assert done["AuctionsOpened"]


def test_a_stack_without_auctions_never_meets_a_keeper(runs, monkeypatch):
    monkeypatch.setattr(keepers, "USUAL", keepers.KeeperCrowd(count=3))
    for name in ("book", "auction"):
        same = replayed(ROUTES[name])[0].digest() == runs[name][0].digest()
        assert same == (name == "book")


# One keeper at a time --------------------------------------------------------------------------


def desk_of_keepers(route=ROUTES["auction"]):
    """Return keepers who look at a market of one instrument at 10,000 ticks."""
    streams = Streams(root=7, path=0)
    market = SimVenue(VENUE, streams)
    market.displace(PriceObserved(ts=START, published=START, source=0, instrument=0, price=10_000))
    stack = stack_of(VENUE, route=route, margin=rules(flat()))
    return Keepers.drawn(stack, VENUE, market, streams)


def offer(price: int, lots: int = -500, **changes) -> Offer:
    facts = {"auction": 77, "account": U, "instrument": 0, "base": 10_000, "limit": 9_500}
    facts |= {"elapsed": 0, "stale": ""} | changes
    return Offer(lots=lots, whole=lots, price=price, **facts)


def bids_of(some: Keepers) -> list:
    found = []
    while some.next_due() is not None:
        found.append(some.pop())
    return found


def test_keepers_want_their_margin():
    """At the mark nobody bids; the further below it, the more do."""
    counts = []
    for price in (10_000, 9_990, 9_950, 9_900, 9_850):
        some = desk_of_keepers()
        for keeper in some.present:
            keeper.capital = 30_000_000  # three lots: there is enough for everybody
        some.look(START, [offer(price)])
        counts.append(len(bids_of(some)))
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] > 1


def test_a_bid_arrives_one_latency_later_with_its_limit():
    some = desk_of_keepers()
    some.look(START, [offer(9_850)])
    n, bid = some.pop()
    assert isinstance(bid, AuctionTaken)
    assert bid.ts == START + some.present[n].latency_ns
    assert (bid.limit, bid.bidder, bid.auction) == (9_850, 0, 77)


def test_nobody_spends_what_it_has_not():
    some = desk_of_keepers()
    for keeper in some.present:
        keeper.capital = 9_850_000 * 3 + 1  # three lots
    some.look(START, [offer(9_850, lots=-1_000)])
    found = bids_of(some)
    assert found
    assert {bid.lots for _, bid in found} == {3}
    assert all(some.present[n].capital == 1 for n, _ in found)


def test_a_refused_bid_frees_the_capital_and_a_good_one_is_resold():
    some = desk_of_keepers()
    before = [k.capital for k in some.present]
    some.look(START, [offer(9_850)])
    n, bid = some.pop()
    some.hear(n, bid, [], offer(9_850))
    assert some.present[n].capital == before[n]
    impact = some.market.impact_ppm(0)
    reduced = AuctionsReduced(
        auction=pack(column(77)),
        lots=pack(column(-100)),
        penalty=pack(column(0)),
        closed=pack(column(0)),
        reason="taken",
        price=9_850,
    )
    some.present[n].tied[77] = 0
    some.hear(n, bid, [reduced], offer(9_850))
    keeper = some.present[n]
    left = keeper.inventory.get(0, 0)
    assert 0 <= left < 100
    assert some.market.impact_ppm(0) < impact, "the sale is felt in the market"
    assert keeper.capital + keeper.spent.get(0, 0) > before[n], "bought low, sold higher"


def test_a_short_is_taken_from_below_the_book():
    some = desk_of_keepers()
    some.look(START, [offer(10_000, lots=500, limit=10_500)])
    assert not bids_of(some)
    some.look(START, [offer(10_150, lots=500, limit=10_500)])
    assert bids_of(some)


def test_a_keeper_too_slow_for_the_window_stays_out():
    some = desk_of_keepers(msgspec.structs.replace(ROUTES["sealed"], window_ns=SECOND))
    slow = [k.latency_ns >= SECOND for k in some.present]
    assert any(slow)
    assert not all(slow)
    some.look(START, [offer(9_500)])
    found = bids_of(some)
    assert all(isinstance(bid, BidCommitted) for _, bid in found)
    assert {n for n, _ in found} == {n for n, late in enumerate(slow) if not late}


@pytest.mark.parametrize("name", list(ROUTES))
def test_each_route_passes_the_suite_for_policies(name):
    check_policy(ROUTES[name])


@pytest.mark.parametrize("name", list(ROUTES)[1:])
def test_what_was_offered_is_sold_called_off_left_over_or_still_there(runs, name):
    state, _, effects = runs[name]
    offered = sum(int(unpack(e.lots).sum()) for e in effects if isinstance(e, AuctionsOpened))
    gone = sum(int(unpack(e.lots).sum()) for e in effects if isinstance(e, AuctionsReduced))
    assert offered - gone == state.auctions.lots[state.auctions.key >= 0].sum()
