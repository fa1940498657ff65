"""Where two safeguards meet: each rule here was once kept by one mechanism and not by another."""

from collections.abc import Sequence

import msgspec
import pytest
from tests.desk import Desk, U, coin, flat, perp, rules, venue_of
from tests.sales import FUNDED, SALE, desk_of, opened, price_now, refused, take
from tests.test_batches import BATCH, bid, got
from tests.test_soft import loan, offered

from tidegate.domain.book import EXTERNAL, FUND
from tidegate.domain.effects import (
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    BandsOffered,
    LimitsHeld,
    OrdersPlaced,
    ParameterMoved,
    PoolMoved,
    Posted,
    Rejected,
    TakenOver,
)
from tidegate.domain.events import (
    BandsTaken,
    CommitmentMade,
    FundStaked,
    ParameterChanged,
    ParameterProposed,
    PoolJoined,
)
from tidegate.domain.payers import LastMarketKept
from tidegate.domain.restraint import pause_row
from tidegate.domain.units import PPM, SECOND, unpack
from tidegate.domain.venue import Limits
from tidegate.engine.invariants import audit
from tidegate.safeguards.auctions import FixedSpreadRoute
from tidegate.safeguards.backstop import Backstop, LoanPool
from tidegate.safeguards.governance import Governance
from tidegate.safeguards.margin import Requirement, Tier
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.price_bands import BandRule, MarketLevels, PriceBands
from tidegate.safeguards.split import SplitRoute
from tidegate.safeguards.throttle import StaticThrottle
from tidegate.safeguards.wait import WaitMargin
from tidegate.safeguards.waterfall import Tranche, Waterfall


def flag(desk: Desk, name: str, value: int = 1) -> list:
    return desk.send(ParameterChanged(ts=desk.now, name=name, value=value))


def codes(effects: Sequence[object]) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


# ------------------------------------------------------- flags and governance

SLOW = Governance(notice_ns=10 * SECOND, ramp_ns=5 * SECOND)


def test_a_flag_is_pulled_at_once_whatever_notice_parameters_need():
    desk = desk_of(governance=SLOW)
    (moved,) = desk.of(ParameterMoved, flag(desk, "pause.liquidate.PERP"))
    assert (moved.column, moved.row, moved.value) == ("pause", pause_row(0, "liquidate"), 1)
    assert not desk.of(AuctionsOpened, desk.price(9_400))
    flag(desk, "pause.liquidate.PERP", 0)
    assert desk.of(AuctionsOpened, desk.later(1).price(9_399))
    assert not desk.of(ParameterMoved, flag(desk, "penalty.PERP", 5))


@pytest.mark.parametrize(("seconds", "pulled"), [(2.999999999, False), (3, True)])
def test_a_flag_may_be_announced_and_is_pulled_then(seconds, pulled):
    desk = desk_of(governance=SLOW)
    at = desk.now + 3 * SECOND
    said = {"name": "pause.open.PERP", "value": 1, "effective_at": at}
    assert not codes(desk.send(ParameterProposed(ts=desk.now, **said)))
    desk.tick(seconds)
    assert desk.state.restraint.flagged(0, "open") == pulled
    assert codes(desk.send(ParameterProposed(ts=desk.now, **said | {"effective_at": at - 4})))


# ------------------------------------------------------------ pauses and bands

LEVELS = PriceBands(market=MarketLevels(symbol="PERP", levels=(70_000,), pause_ns=30 * SECOND))
NARROW = PriceBands(instruments={"PERP": BandRule(width=70_000)}, limit_ns=10**15)


def test_a_paused_auction_is_neither_taken_nor_sent_to_the_book_and_goes_on_afterwards():
    desk, auction = opened()
    flag(desk, "pause.liquidate.PERP")
    assert refused(take(desk, auction, 1)) == "action_paused"
    desk.later(45)
    effects = desk.tick()
    assert not desk.of(OrdersPlaced, effects)
    assert not desk.of(AuctionsReset, effects)
    flag(desk, "pause.liquidate.PERP", 0)
    assert desk.of(OrdersPlaced, desk.tick())


def test_a_batch_does_not_clear_in_a_pause():
    desk, auction = opened(BATCH)
    bid(desk, auction, 1_000, 9_350)
    flag(desk, "pause.liquidate.PERP")
    assert not got(desk, desk.tick(5))
    flag(desk, "pause.liquidate.PERP", 0)
    assert [lots for lots, _ in got(desk, desk.tick(1)).values()] == [1_000]


def test_a_pause_of_the_whole_market_stops_auctions():
    desk = desk_of(bands=LEVELS)
    desk.price(9_400)
    (auction,) = desk.state.auctions.key[desk.state.auctions.key >= 0].tolist()
    desk.price(9_299)
    assert refused(take(desk, auction, 1)) == "market_paused"


def test_an_auction_stays_within_the_price_band():
    """The band is 9,300..10,700: the floor of 5 % below the mark would be 8,930."""
    desk = desk_of(bands=NARROW)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    assert unpack(one.limit).tolist() == [9_300]
    batch = desk_of(BATCH, bands=NARROW)
    (one,) = batch.of(AuctionsOpened, batch.price(9_400))
    bid(batch, one.first, 600, 9_300)
    bid(batch, one.first, 600, 9_299)
    assert list(got(batch, batch.tick(5)).values()) == [(600, 9_300), (0, 0)]


def test_a_storefront_held_back_by_a_band_is_not_priced_anew_for_ever():
    """It would sell at 9,212; the band lets it go no lower than 9,300, and says so once."""
    shop = FixedSpreadRoute(floor=50_000, discount=20_000)
    desk = desk_of(shop, bands=NARROW)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    assert not desk.of(AuctionsReset, desk.tick(1))
    assert price_now(desk) == 9_300
    assert not codes(take(desk, one.first, 1_000))


def test_nobody_is_taken_over_in_a_pause():
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        backstop=Backstop(offers_max=4, equity_below=PPM),
        waterfall=FUNDED,
    )
    desk.users([60_000_000, 200_000_000], [(0, 0, 100, 10_000)])
    desk.price(10_000)
    facts = {"account": U + 1, "instrument": 0, "discount": 1_000}
    desk.send(CommitmentMade(ts=desk.now, long_max=100, short_max=0, **facts))
    flag(desk, "pause.liquidate.PERP")
    assert not desk.of(TakenOver, desk.later(1).price(9_700))
    flag(desk, "pause.liquidate.PERP", 0)
    assert desk.of(TakenOver, desk.later(1).price(9_699))


def test_the_pool_repays_no_loan_in_a_pause():
    desk = Desk(
        venue_of(coin()),
        margin=rules(Requirement(tiers=(Tier(initial=200_000, maintenance=100_000),))),
        backstop=Backstop(equity_below=PPM, pool=LoanPool(depositors_max=2)),
    )
    desk.users([-80_000_000, 500_000_000], [(0, 0, 100, 10_000)])
    desk.price(10_000)
    desk.send(PoolJoined(ts=desk.now, account=U + 1, amount=400_000_000))
    flag(desk, "pause.liquidate.COIN")
    assert not desk.of(PoolMoved, desk.later(1).price(8_500))
    flag(desk, "pause.liquidate.COIN", 0)
    assert desk.of(PoolMoved, desk.later(1).price(8_499))


def test_bands_do_not_convert_in_a_pause():
    desk = loan()
    lots = offered(desk).lots
    flag(desk, "pause.liquidate.ETH")
    taken = {"instrument": 0, "lots": lots, "limit": 10**15}
    assert codes(desk.ask(BandsTaken(ts=desk.now, **taken))) == ["action_paused"]
    assert not desk.of(BandsOffered, desk.tick(1))
    flag(desk, "pause.liquidate.ETH", 0)
    assert not codes(desk.ask(BandsTaken(ts=desk.now, **taken)))


# -------------------------------------------------------- who pays and is paid


def test_the_incentive_comes_from_the_tranche_that_the_penalty_fed():
    """The first tranche is empty, and the market's own one has the penalty."""
    tranches = (Tranche(name="all", initial=0), Tranche(name="own", initial=0, market="PERP"))
    route = msgspec.structs.replace(SALE, incentive=10**12, incentive_share=500_000)
    desk = desk_of(route, waterfall=Waterfall(tranches=tranches))
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    paid = [e for e in desk.of(Posted, take(desk, one.first, 1_000)) if e.reason == "incentive"]
    assert [(e.debit, e.credit, e.amount > 0) for e in paid] == [(FUND + 1, EXTERNAL, True)]
    audit(desk.state)


def test_a_deficit_belongs_to_the_market_that_an_auction_closed():
    own = Waterfall(tranches=(Tranche(name="own", initial=10**9, market="PERP"),))
    desk = desk_of(waterfall=own)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    (kept,) = desk.of(LastMarketKept, take(desk, one.first, 1_000))
    assert unpack(kept.account).tolist() == unpack(one.account).tolist()
    assert unpack(kept.instrument).tolist() == [0]


def test_a_stake_beyond_every_balance_is_refused():
    desk = desk_of(waterfall=Waterfall(tranches=(Tranche(name="all", initial=1, stakes=True),)))
    for amount in (LIMIT + 1, 2**64 - 1):
        stake = FundStaked(ts=desk.now, account=U + 1, tranche=0, amount=amount)
        assert codes(desk.send(stake)) == ["amount_exceeds_limit"]


LIMIT = 2**50  # balance_max of the desk


# ---------------------------------------------------------- margin at all doors

STAKES = Waterfall(tranches=(Tranche(name="all", initial=10**6, stakes=True),))


@pytest.mark.parametrize(("more", "refusal"), [(0, []), (1, ["below_initial_margin"])])
def test_a_stake_leaves_what_the_wait_asks_for(more, refusal):
    """Initial margin is 100,000,000; three windows more than the first cost 3 x 1,000,000."""
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        waterfall=STAKES,
        throttle=StaticThrottle(lots={"PERP": 25}),
        wait=WaitMargin(cost=1_000_000),
    )
    desk.users([200_000_000], [(0, 0, 100, 10_000)])
    desk.price(10_000)
    stake = FundStaked(ts=desk.now, account=U, tranche=0, amount=97_000_000 + more)
    assert codes(desk.send(stake)) == refusal


def test_a_stake_is_not_paid_against_a_price_that_no_withdrawal_is():
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        waterfall=STAKES,
        oracle=OracleGuard(age_max_ns=5 * SECOND),
    )
    desk.users([200_000_000], [(0, 0, 100, 10_000)])
    desk.price(10_000)
    desk.tick(6)
    stake = FundStaked(ts=desk.now, account=U, tranche=0, amount=1_000)
    assert codes(desk.send(stake)) == ["price_not_good_enough"]


def test_a_bidder_is_asked_what_a_trader_is():
    """Initial margin is a tenth; eleven windows after the first ask for 93,500 USD more."""
    for cost, refusal in ((0, []), (8_500_000_000, ["below_initial_margin"])):
        desk = desk_of(
            throttle=StaticThrottle(lots={"PERP": 1_000}, window_ns=SECOND),
            wait=WaitMargin(cost=cost),
        )
        (one,) = desk.of(AuctionsOpened, desk.price(9_400))
        desk.later(3)
        assert not codes(desk.send(desk.trade(1, 10_500, 9_400)))
        assert codes(take(desk, one.first, 1_000, bidder=U + 1)) == refusal
        asked = desk.ask(desk.trade(1, 1_000, 9_400))
        assert codes(asked) == refusal


# ---------------------------------------------------- one position, one change


def two_markets(route) -> Desk:
    """One long of A in an auction; a user who is short of A and long of B, and bids for A."""
    desk = Desk(venue_of(perp("A"), perp("B")), margin=rules(flat()), route=route, waterfall=FUNDED)
    positions = [(0, 0, 1_000, 10_000), (1, 0, -1_000, 10_000), (1, 1, 1_000, 10_000)]
    desk.users([1_000_000_000, 1_100_000_000], positions)
    desk.price(10_000)
    desk.price(10_000, 1)
    return desk


def test_who_buys_in_a_batch_is_not_closed_in_the_same_step():
    """B falls as the batch clears: its order was once as large as what the bid had closed."""
    desk = two_markets(BATCH)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    bid(desk, one.first, 1_000, 9_400, bidder=U + 1)
    desk.later(5)
    effects = desk.price(8_400, 1)
    assert list(got(desk, effects).values()) == [(1_000, 9_400)]
    assert not desk.of(AuctionsOpened, effects)
    audit(desk.state)
    (next_one,) = desk.of(AuctionsOpened, desk.tick(1))
    assert unpack(next_one.instrument).tolist() == [1]


# ------------------------------------------------- positions that shrink under us


@pytest.mark.parametrize("closed", [999, 400, 1])
def test_an_auction_sells_no_more_than_is_still_held(closed):
    desk, auction = opened()
    desk.send(desk.trade(0, -closed, 9_400, settled=True))
    effects = take(desk, auction, 1_000)
    (less,) = desk.of(AuctionsReduced, effects)
    assert (unpack(less.lots).tolist(), unpack(less.closed).tolist()) == ([-1_000], [1])
    assert not (desk.state.book.lots[desk.state.book.account == U] != 0).any()
    audit(desk.state)


def test_an_auction_without_a_position_is_called_off():
    desk, auction = opened()
    desk.send(desk.trade(0, -1_000, 9_400, settled=True))
    assert refused(take(desk, auction, 1)) == "auction_unknown"
    (gone,) = desk.of(AuctionsReduced, desk.tick(1))
    assert (gone.reason, unpack(gone.lots).tolist()) == ("closed", [-1_000])
    audit(desk.state)


def test_what_nobody_took_is_ordered_as_far_as_it_is_held():
    desk, _ = opened()
    desk.send(desk.trade(0, -300, 9_400, settled=True))
    desk.later(40).now += 1
    (placed,) = desk.of(OrdersPlaced, desk.tick())
    assert unpack(placed.lots).tolist() == [-700]
    audit(desk.state)


def test_what_nobody_took_and_new_orders_share_the_slots():
    """One slot: the order for what nobody took has it, and the book's part of a new close waits."""
    limits = Limits(accounts_max=48, positions_max=96, orders_max=1, balance_max=2**50)
    desk = Desk(
        venue_of(perp("A"), perp("B"), limits=limits),
        margin=rules(flat()),
        route=SplitRoute(sale=SALE, book_share=999_999, spill=True),
        waterfall=FUNDED,
    )
    positions = [(0, 0, 1_000, 10_000), (1, 1, 1_000, 10_000)]
    desk.users([1_000_000_000, 1_000_000_000], positions)
    for i in (0, 1):
        desk.price(10_000, i)
    desk.price(9_400)
    order = desk.state.orders.key[desk.state.orders.key >= 0]
    assert order.size == 1
    lots = desk.state.orders.lots[desk.state.orders.key >= 0]
    desk.fill(int(order[0]), int(lots[0]), 9_400)
    desk.later(40).now += 1
    desk.price(9_400, 1)
    assert int(desk.state.orders.counts[0]) == 0
    audit(desk.state)


def test_a_batch_without_bids_reaches_the_book_however_seldom_time_is_told():
    desk, auction = opened(BATCH)
    for _ in range(2):
        effects = desk.tick(31)
    assert desk.of(OrdersPlaced, effects) or (desk.state.orders.key >= 0).any()
    assert codes(bid(desk, auction, 1, 9_300)) == ["auction_unknown"]


def test_bids_cannot_keep_what_nobody_wants_from_the_book():
    """After its life only bids that came before are answered."""
    desk, auction = opened(BATCH)
    desk.tick(19)
    assert not codes(bid(desk, auction, 1, 1))
    desk.tick(5)
    assert codes(bid(desk, auction, 1, 1)) == ["auction_window_closed"]
    assert desk.of(OrdersPlaced, desk.tick(1))


# ------------------------------------------------------------------ never worse


def test_auctions_and_what_they_leave_make_nobody_worse():
    desk = desk_of(never_worse=NeverWorse(mode="limits"))
    effects = desk.price(9_400)
    (one,), (held,) = desk.of(AuctionsOpened, effects), desk.of(LimitsHeld, effects)
    assert held.first == one.first
    assert unpack(one.limit)[0] > 8_930, "the floor alone would allow it"
    desk.later(40).now += 1
    late = desk.tick()
    (placed,), (held,) = desk.of(OrdersPlaced, late), desk.of(LimitsHeld, late)
    assert held.first == placed.first
    assert unpack(placed.limit)[0] > 1
