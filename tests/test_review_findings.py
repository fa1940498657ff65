"""Where two mechanisms meet: what a review of them together found, on both sides of each line."""

from contextlib import nullcontext

import msgspec
import pytest
from tests.desk import (
    LIMITS,
    Desk,
    U,
    coin,
    column,
    flat,
    perp,
    replaced,
    rules,
    stack_of,
    venue_of,
)
from tests.sales import SALE, desk_of, opened, take

from tidegate.domain.book import FUND, row_of
from tidegate.domain.effects import (
    AuctionsOpened,
    BidKept,
    BidsCleared,
    DeficitFound,
    HealthMoved,
    OrdersPlaced,
    ParameterMoved,
    PoolMoved,
    PositionsMoved,
    Posted,
    PostedBatch,
    Rejected,
    ScheduleKept,
    TakenOver,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import (
    AuctionTaken,
    BidPlaced,
    CommitmentMade,
    FundStaked,
    OrdersExpired,
    ParameterChanged,
    PoolJoined,
    PoolLeft,
    ScheduleObserved,
)
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.engine.auctions import LEFT, Offer, bidder_refusal
from tidegate.engine.batches import clear
from tidegate.engine.invariants import audit
from tidegate.engine.market import View
from tidegate.engine.state import SHIFT, State
from tidegate.engine.turns import last_markets
from tidegate.safeguards.auctions import BatchRoute, FixedSpreadRoute
from tidegate.safeguards.backstop import Backstop, LoanPool
from tidegate.safeguards.governance import Governance
from tidegate.safeguards.margin import VolatilityMargin
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.rate import OptimalRate
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.slices import Slicing
from tidegate.safeguards.split import SplitRoute
from tidegate.safeguards.stack import SafeguardStack
from tidegate.safeguards.throttle import StaticThrottle
from tidegate.safeguards.waterfall import Tranche, Waterfall


# Governance and pauses -------------------------------------------------------------------------


@pytest.mark.parametrize("notice", [0, SECOND])
@pytest.mark.parametrize("value", [1, 0])
def test_a_pause_acts_at_once_whatever_the_notice(notice, value):
    desk = Desk(venue_of(perp()), margin=rules(flat()), governance=Governance(notice_ns=notice))
    desk.price(10_000)
    (moved,) = desk.send(ParameterChanged(ts=desk.now, name="pause.open.PERP", value=value))
    assert isinstance(moved, ParameterMoved)
    assert desk.state.restraint.flagged(0, "open") == bool(value)
    assert State.load(desk.state.dump(), desk.stack).digest() == desk.state.digest()


# Auctions and whoever else moves in the same step -----------------------------------------------


PAID = msgspec.structs.replace(SALE, incentive=10**9, incentive_share=900_000)


@pytest.mark.parametrize("tranches", [("", "PERP"), ("PERP", ""), ("PERP",), ("",)])
def test_an_incentive_comes_from_where_the_penalty_went(tranches):
    """A tranche of the market has the penalties: another one would owe what it never got."""
    layers = tuple(Tranche(name=f"t{k}", initial=0, market=m) for k, m in enumerate(tranches))
    desk, auction = opened(PAID, waterfall=Waterfall(tranches=layers))
    effects = take(desk.later(3), auction, 1_000)
    (paid,) = [e for e in desk.of(Posted, effects) if e.reason == "incentive"]
    assert paid.debit == FUND + (tranches.index("PERP") if "PERP" in tranches else 0)
    collected = paid.amount + int(desk.state.book.cash[paid.debit])
    assert paid.amount == collected * 9 // 10


BATCH = BatchRoute(window_ns=5 * SECOND, life_ns=40 * SECOND)


def bid_by_a_short(price: int) -> tuple[Desk, list]:
    """Return what the moment of clearing brings where a short has bid for half of what it owes."""
    desk = desk_of(BATCH)
    desk.users((10**9,), [(0, 0, -1_000, 9_000)])
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    bidder = desk.state.book.accounts - 1
    bid = BidPlaced(ts=desk.now, auction=one.first, bidder=bidder, lots=500, limit=9_400)
    assert desk.of(BidKept, desk.send(bid))
    effects = desk.later(6).price(price)
    audit(desk.state)
    return desk, effects


@pytest.mark.parametrize(("price", "late"), [(9_523, False), (9_524, True)])
def test_nobody_buys_in_a_batch_and_is_closed_in_the_same_step(price, late):
    """10**9 of cash, 1,000 short from 9,000, 5 %: on the line at 9,523.8, and 500 less then."""
    desk, effects = bid_by_a_short(price)
    (cleared,) = desk.of(BidsCleared, effects)
    assert unpack(cleared.lots).tolist() == [500]
    assert desk.of(HealthMoved, effects)[0].liquidatable == int(late)
    assert not desk.of(AuctionsOpened, effects)


@pytest.mark.parametrize(("mover", "got"), [(0, 0), (-1, 500)])
def test_nobody_buys_in_a_batch_whose_positions_moved_in_the_same_step(mover, got):
    """Two trades of one position must not both be booked from what it was before the step."""
    desk = desk_of(BATCH)
    desk.users((10**10,), [(0, 0, -1_000, 9_000)])
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    bidder, state = desk.state.book.accounts - 1, desk.state
    desk.send(BidPlaced(ts=desk.now, auction=one.first, bidder=bidder, lots=500, limit=9_400))
    who = column(bidder + mover)
    moved = PositionsMoved(
        account=pack(who),
        instrument=pack(column(0)),
        lots=pack(column(1)),
        cost=pack(column(0)),
        price=pack(column(1)),
        reason="deleveraged",
    )
    health = desk.stack.declaration.margin.assess(
        state.book, state.facts, mark=state.mark, low=state.low, high=state.high
    )
    now = desk.now + 6 * SECOND
    effects = clear(state, View.of(state), health, 0, now, desk.stack, [moved])
    (cleared,) = desk.of(BidsCleared, effects)
    assert unpack(cleared.lots).tolist() == [got]


@pytest.mark.parametrize(("cash", "code"), [(999_999_999, "below_initial_margin"), (10**9, "")])
def test_a_bidder_is_asked_for_margin_that_follows_volatility(cash, code):
    """1,000 lots at 10,000 and a charge of 10 % in calm: one Money less is too little."""
    calm = VolatilityMargin(cover=PPM, rate_min=100_000)
    margin = msgspec.structs.replace(rules(flat(10_000, 5_000)), volatility=calm)
    desk = desk_of(SALE, margin=margin)
    desk.users((cash, 0))
    desk.state.charged[0] = 100_000
    one = Offer(1, U, 0, -1_000, -1_000, 10_000, 9_000, 0, 10_000, "")
    bidder = desk.state.book.accounts - 2
    mark = desk.state.mark
    said = bidder_refusal(desk.state, bidder, one, 1_000, 10_000, desk.stack, mark)
    assert said == code


SHORT_LIVED = BatchRoute(window_ns=5 * SECOND, life_ns=10 * SECOND)


@pytest.mark.parametrize(("step", "ends"), [(1, 16), (5, 20)])
def test_bids_that_nobody_could_fill_do_not_keep_a_close_from_the_book(step, ends):
    """Ten seconds of life and the window begun within them; then it is over, whoever bids."""
    desk = desk_of(SHORT_LIVED)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    waited = 0
    while waited < 60:
        bid = BidPlaced(ts=desk.now, auction=one.first, bidder=U + 1, lots=1, limit=1)
        desk.send(bid)
        waited += step
        if desk.of(OrdersPlaced, desk.tick(step)):
            break
    assert waited <= ends
    audit(desk.state)


@pytest.mark.parametrize(("after", "code"), [(0, ""), (1, "auction_window_closed")])
def test_the_last_window_ends_with_the_life_of_the_auction(after, code):
    desk = desk_of(SHORT_LIVED)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    desk.tick(6)
    desk.later(4).now += after
    effects = desk.send(BidPlaced(ts=desk.now, auction=one.first, bidder=0, lots=1, limit=9_400))
    assert [e.code for e in desk.of(Rejected, effects)] == ([code] if code else [])


def flag(desk: Desk, action: str, value: int) -> None:
    desk.send(ParameterChanged(ts=desk.now, name=f"pause.{action}.PERP", value=value))


@pytest.mark.parametrize("action", ["liquidate", "open"])
def test_what_is_paused_is_not_sold_to_bidders_either(action):
    stopped = action == "liquidate"
    desk, auction = opened()
    flag(desk, action, 1)
    code = [e.code for e in desk.of(Rejected, take(desk, auction, 10))]
    assert code == (["action_paused"] if stopped else [])
    assert bool(desk.of(OrdersPlaced, desk.tick(41))) != stopped
    flag(desk, action, 0)
    assert bool(desk.of(OrdersPlaced, desk.tick(1))) == stopped


def test_a_paused_batch_does_not_clear():
    desk = desk_of(BATCH)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    desk.send(BidPlaced(ts=desk.now, auction=one.first, bidder=0, lots=1, limit=9_400))
    flag(desk, "liquidate", 1)
    assert not desk.of(BidsCleared, desk.tick(6))
    flag(desk, "liquidate", 0)
    assert desk.of(BidsCleared, desk.tick(1))


@pytest.mark.parametrize(("floor", "code"), [(9_400, ""), (9_401, "price_outside_band")])
def test_a_band_binds_what_is_sold_to_bidders(floor, code):
    desk, auction = opened(FixedSpreadRoute(discount=0, floor=50_000, life_ns=40 * SECOND))
    desk.state.restraint.low[0], desk.state.restraint.high[0] = floor, 20_000
    effects = take(desk, auction, 10)
    assert [e.code for e in desk.of(Rejected, effects)] == ([code] if code else [])
    (order,) = desk.of(OrdersPlaced, desk.tick(41))
    assert unpack(order.limit).tolist() == [floor]


@pytest.mark.parametrize(("floor", "price"), [(9_000, 9_300), (9_350, 9_350)])
def test_a_batch_clears_at_no_price_outside_the_band(floor, price):
    desk = desk_of(BATCH)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    desk.state.restraint.low[0], desk.state.restraint.high[0] = floor, 20_000
    for limit in (9_300, 9_350):
        bid = BidPlaced(ts=desk.now, auction=one.first, bidder=0, lots=500, limit=limit)
        desk.send(bid)
    (cleared,) = desk.of(BidsCleared, desk.tick(6))
    assert set(unpack(cleared.price).tolist()) - {0} == {price}


@pytest.mark.parametrize("slots", [2, 3])
def test_what_nobody_took_and_new_orders_share_the_slots(slots):
    """The end of one auction and two new closes in one step: an order more than there are slots."""
    limits = replaced(LIMITS, orders_max=slots)
    desk = Desk(
        venue_of(perp(), limits=limits),
        route=SplitRoute(sale=SALE, book_share=500_000),
        margin=rules(flat(penalty=10_000)),
    )
    desk.price(10_000)
    desk.users((10**9,), [(0, 0, 1_000, 10_000)])
    (order,) = desk.of(OrdersPlaced, desk.price(9_400))
    desk.send(OrdersExpired(ts=desk.now, order=pack(column(order.first)), reason="timeout"))
    desk.users((10**9, 10**9), [(0, 0, 1_000, 10_000), (1, 0, 1_000, 10_000)])
    effects = desk.later(41).price(9_399)
    assert sum(len(e.lots) // 8 for e in desk.of(OrdersPlaced, effects)) == slots
    audit(desk.state)


# Cash that leaves an account ---------------------------------------------------------------------


def ways_out(desk: Desk, user: int, amount: int) -> list[object]:
    """Return the events by which a user gives cash away without withdrawing it."""
    at = {"ts": desk.now, "account": U + user, "amount": amount}
    return [FundStaked(tranche=0, **at), PoolJoined(**at)]


@pytest.mark.parametrize("way", [0, 1])
@pytest.mark.parametrize(("age", "code"), [(5, ""), (7, "price_not_good_enough")])
def test_a_doubtful_price_pays_for_no_stake_and_no_deposit(way, age, code):
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        oracle=OracleGuard(age_max_ns=6 * SECOND),
        waterfall=Waterfall(tranches=(Tranche(name="fund", initial=10**9, stakes=True),)),
        backstop=Backstop(equity_below=500_000, pool=LoanPool(depositors_max=8)),
    )
    desk.price(10_000)
    desk.users((10**12,), [(0, 0, 10, 10_000)])
    desk.tick(age)
    effects = desk.send(ways_out(desk, 0, 10**6)[way])
    assert [e.code for e in desk.of(Rejected, effects)] == ([code] if code else [])


@pytest.mark.parametrize("way", [0, 1])
@pytest.mark.parametrize(("amount", "code"), [(9 * 10**9, ""), (9 * 10**9 + 1, "below_initial")])
def test_what_is_asked_for_opening_stays_when_cash_is_staked(way, amount, code):
    """A charge of 10 % of 10**10 is one part in ten of the cash; the tiers ask for 1 % only."""
    calm = VolatilityMargin(cover=PPM, rate_min=100_000)
    margin = msgspec.structs.replace(rules(flat(10_000, 5_000)), volatility=calm)
    desk = Desk(
        venue_of(perp()),
        margin=margin,
        waterfall=Waterfall(tranches=(Tranche(name="fund", initial=10**9, stakes=True),)),
        backstop=Backstop(equity_below=500_000, pool=LoanPool(depositors_max=8)),
    )
    desk.price(10_000)
    desk.users((10**10,), [(0, 0, 1_000, 10_000)])
    desk.state.charged[0] = 100_000
    effects = desk.send(ways_out(desk, 0, amount)[way])
    said = [e.code for e in desk.of(Rejected, effects)]
    assert said == ([f"{code}_margin"] if code else [])


# Backstop, pool and fund ------------------------------------------------------------------------


DEEP = Backstop(offers_max=2, equity_below=PPM)


def backed(**policies) -> Desk:
    """Return a desk where user 0 is long 1,000, and user 1 short 500 with plenty of cash."""
    desk = Desk(venue_of(perp()), margin=rules(flat()), **({"backstop": DEEP} | policies))
    desk.price(10_000)
    desk.users((10**9, 10**11, 0), [(0, 0, 1_000, 10_000), (1, 0, -500, 10_000)])
    return desk


def commit(desk: Desk, user: int, long_max: int, short_max: int, discount: int = 0) -> list:
    return desk.send(
        CommitmentMade(
            ts=desk.now,
            account=U + user,
            instrument=0,
            long_max=long_max,
            short_max=short_max,
            discount=discount,
        )
    )


@pytest.mark.parametrize(
    ("long_max", "short_max", "lots"),
    [(1, 0, 501), (0, 1_000, 0), (0, 0, 0)],
)
def test_nobody_is_made_to_buy_who_has_not_committed_to(long_max, short_max, lots):
    """A short with a commitment for longs gives its own position up first; without, it keeps it."""
    desk = backed()
    commit(desk, 1, 1, 1_000, 10_000)
    commit(desk, 1, long_max, short_max)
    taken = desk.of(TakenOver, desk.price(9_400))
    assert sum(-unpack(e.lots).sum() for e in taken) == lots
    audit(desk.state)


def test_nobody_fills_the_slots_of_commitments_for_nothing():
    desk = backed()
    for user in (0, 2):
        (said,) = commit(desk, user, 0, 0)
        assert said.code == "nothing_to_reduce"
    assert not desk.of(Rejected, commit(desk, 1, 10, 0))


@pytest.mark.parametrize("action", ["liquidate", "deleverage", "open"])
def test_a_pause_stops_takeovers_too(action):
    desk = backed()
    commit(desk, 1, 1_000, 0)
    flag(desk, action, 1)
    assert bool(desk.of(TakenOver, desk.price(9_400))) == (action == "open")


def test_the_discount_feeds_the_tranche_of_its_market():
    layers = (Tranche(name="all", initial=0), Tranche(name="own", initial=0, market="PERP"))
    policy = replaced(DEEP, provider_share=500_000)
    desk = backed(backstop=policy, waterfall=Waterfall(tranches=layers))
    commit(desk, 1, 1_000, 0, 10_000)
    assert desk.of(TakenOver, desk.price(9_400))
    assert int(desk.state.book.cash[FUND]) == 0
    assert int(desk.state.book.cash[FUND + 1]) == 1_000 * 9_400 * 1_000 // 200
    audit(desk.state)


@pytest.mark.parametrize(("age", "paid"), [(6, True), (7, False)])
def test_depositors_do_not_pay_for_collateral_that_cannot_be_priced(age, paid):
    """Both coins, worth 100 and 60, stand behind a debt of 150: one alone never pays for it."""
    venue = venue_of(coin("A"), coin("B"))
    desk = Desk(
        venue,
        margin=rules(flat(200_000, 200_000)),
        oracle=OracleGuard(age_max_ns=6 * SECOND),
        backstop=Backstop(equity_below=PPM, pool=LoanPool(depositors_max=4)),
    )
    desk.price(10_000)
    desk.price(10_000, 1)
    desk.users((-150 * 10**6, 10**9), [(0, 0, 100, 0), (0, 1, 100, 0)])
    desk.send(PoolJoined(ts=desk.now, account=U + 1, amount=5 * 10**8))
    desk.tick(age)
    assert bool(desk.of(PoolMoved, desk.price(6_000))) == paid
    audit(desk.state)


@pytest.mark.parametrize(("initial", "refused"), [(0, True), (1, False)])
def test_nobody_buys_a_fund_that_others_have_filled(initial, refused):
    with pytest.raises(ConfigInvalid) if refused else nullcontext():
        Tranche(name="fund", initial=initial, stakes=True)
    assert Tranche(name="fund", initial=0).initial == 0


@pytest.mark.parametrize(
    ("waterfall", "refused"),
    [
        ({"tranches": (Tranche(name="t", initial=0, market="PERP"),)}, False),
        ({"tranches": (Tranche(name="t", initial=0, market="PREP"),)}, True),
        ({"betas": {"PERP": 1}}, False),
        ({"betas": {"PREP": 1}}, True),
        ({"betas": {"PREP": 1, "*": 1}}, False),
    ],
)
def test_a_payer_for_a_market_that_does_not_exist(waterfall, refused):
    with pytest.raises(ConfigInvalid) if refused else nullcontext():
        stack_of(venue_of(perp()), waterfall=Waterfall(**waterfall))


@pytest.mark.parametrize("reason", ["auctioned", "backstop", "fill", "trade"])
def test_a_deficit_belongs_to_the_market_that_an_account_was_forced_out_of(reason):
    tranche = Tranche(name="t", initial=0, market="PERP")
    stack = stack_of(venue_of(perp()), waterfall=Waterfall(tranches=(tranche,)))
    moved = PositionsMoved(
        account=pack(column(U)),
        instrument=pack(column(0)),
        lots=pack(column(-1)),
        cost=pack(column(0)),
        price=pack(column(1)),
        reason=reason,
    )
    assert bool(last_markets([moved], stack)) == (reason != "trade")


@pytest.mark.parametrize(("held", "shared"), [(9_907, True), (9_908, False)])
def test_nobody_is_given_more_of_a_shared_loan_than_it_may_hold(held, shared):
    venue = venue_of(coin(lots_max=10_000))
    desk = Desk(
        venue,
        margin=rules(flat(200_000, 200_000)),
        backstop=Backstop(equity_below=PPM, redistribute=True),
    )
    desk.price(10_000)
    desk.users((-79 * 10**6, -(10**6)), [(0, 0, 100, 0), (1, 0, held, 0)])
    effects = desk.price(9_000)
    batches = [e for e in desk.of(PostedBatch, effects) if e.reason == "redistributed"]
    assert bool(batches) == shared
    audit(desk.state)


# Numbers out of range ---------------------------------------------------------------------------


@pytest.mark.parametrize(("beyond", "refused"), [(0, False), (1, True)])
@pytest.mark.parametrize(
    "policy",
    [
        lambda n: {"planner": StagedPlanner(interval_ns=n)},
        lambda n: {"throttle": StaticThrottle(lots={"PERP": n})},
        lambda n: {"waterfall": Waterfall(tranches=(Tranche(name="t", initial=n),))},
    ],
)
def test_no_number_of_a_stack_is_beyond_what_a_column_holds(policy, beyond, refused):
    with pytest.raises(ConfigInvalid, match="4_611") if refused else nullcontext():
        SafeguardStack(name="t", **policy(2**62 + beyond))


@pytest.mark.parametrize(
    ("interval", "kept"), [(0, False), (1, True), (2**62, True), (2**62 + 1, False)]
)
def test_a_schedule_with_an_interval_that_no_clock_reaches(interval, kept):
    desk = Desk(venue_of(perp()), rate=OptimalRate(confidence=900_000))
    event = ScheduleObserved(
        ts=desk.now,
        instrument=0,
        side=0,
        slices=pack(column(1)),
        interval=interval,
        regime="constrained",
        model="m",
        version="1",
    )
    assert bool(desk.of(ScheduleKept, desk.send(event))) == kept


# Whoever is sold does not buy, and who is not cut into slices costs no memory ---------------------


@pytest.mark.parametrize(("same", "code"), [(True, "trade_with_itself"), (False, "")])
@pytest.mark.parametrize("route", [SALE, BATCH])
def test_the_other_account_of_an_owner_buys_nothing_of_it(route, same, code):
    """At up to the floor below the mark, and at the fund's cost where the account has nothing."""
    desk, auction = opened(route)
    desk.state.book.owner[U + 1] = U if same else U + 1
    at = {"ts": desk.now, "auction": auction, "bidder": U + 1, "lots": 10, "limit": 10_000}
    effects = desk.send((BidPlaced if route is BATCH else AuctionTaken)(**at))
    assert [e.code for e in desk.of(Rejected, effects)] == ([code] if code else [])


@pytest.mark.parametrize("count", [1, 2])
def test_columns_of_slices_exist_only_where_stages_are_sliced(count):
    desk = Desk(venue_of(perp()), slices=Slicing(count=count))
    used = count > 1
    assert desk.state.pace.cut_stage.size == used * LIMITS.positions_max
    assert desk.state.pace.cut_at.size == used * LIMITS.accounts_max
    assert State.load(desk.state.dump(), desk.stack).digest() == desk.state.digest()


@pytest.mark.parametrize(("offered", "got"), [(0, 500), (500, 0)])
def test_nobody_buys_in_a_batch_where_its_own_position_is_on_offer(offered, got):
    """Both could be sold and bought in one step, each booked from what the position was before."""
    desk = desk_of(BATCH)
    desk.users((10**10,), [(0, 0, -1_000, 9_000)])
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    bidder, book = desk.state.book.accounts - 1, desk.state.book
    desk.send(BidPlaced(ts=desk.now, auction=one.first, bidder=bidder, lots=500, limit=9_400))
    book.in_flight[row_of(book, bidder, 0)] = offered
    (cleared,) = desk.of(BidsCleared, desk.tick(6))
    assert unpack(cleared.lots).tolist() == [got]


@pytest.mark.parametrize(
    ("cash", "code"), [(469_999_999, "below_initial_margin"), (470 * 10**6, "")]
)
def test_nobody_takes_a_place_for_bids_who_could_not_pay(cash, code):
    """Ten per cent of 500 lots at 9,400: places are few, and an account without a cent took any."""
    desk = desk_of(BATCH)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    bidder = desk.state.book.accounts
    desk.users((cash,))
    bid = BidPlaced(ts=desk.now, auction=one.first, bidder=bidder, lots=500, limit=9_400)
    assert [e.code for e in desk.of(Rejected, desk.send(bid))] == ([code] if code else [])


POOLED = Backstop(equity_below=PPM, pool=LoanPool(depositors_max=1, left_min=10**6))


@pytest.mark.parametrize(("amount", "code"), [(10**6 - 1, "deposit_too_small"), (10**6, "")])
def test_dust_takes_no_slot_of_the_pool(amount, code):
    desk = Desk(venue_of(coin()), backstop=POOLED)
    desk.users((10**9,))
    effects = desk.send(PoolJoined(ts=desk.now, account=U, amount=amount))
    assert [e.code for e in desk.of(Rejected, effects)] == ([code] if code else [])
    if not code:
        assert not desk.of(Rejected, desk.send(PoolJoined(ts=desk.now, account=U, amount=1)))


@pytest.mark.parametrize(("amount", "left"), [(10**6, 10**6), (10**6 + 1, 0)])
def test_dust_keeps_no_slot_of_the_pool(amount, left):
    desk = Desk(venue_of(coin()), backstop=POOLED)
    desk.users((10**9, 10**9))
    desk.send(PoolJoined(ts=desk.now, account=U, amount=2 * 10**6))
    desk.send(PoolLeft(ts=desk.now, account=U, amount=amount))
    assert int(desk.state.book.cash[U]) == 10**9 - left
    effects = desk.send(PoolJoined(ts=desk.now, account=U + 1, amount=10**6))
    assert bool(desk.of(Rejected, effects)) == bool(left)
    audit(desk.state)


@pytest.mark.parametrize(("route", "most"), [(SALE, LEFT), (BookRoute(), 1 << SHIFT)])
def test_every_order_of_a_step_has_a_number_of_its_own(route, most):
    for orders_max in (most, most + 1):
        limits = replaced(LIMITS, orders_max=orders_max)
        with pytest.raises(ConfigInvalid) if orders_max > most else nullcontext():
            stack_of(venue_of(perp(), limits=limits), route=route)


@pytest.mark.parametrize(("owed", "taken"), [(50 * 10**6, True), (50 * 10**6 + 1, False)])
def test_the_fund_is_not_promised_twice_in_one_step(owed, taken):
    """A bankrupt long lacks 50 of the fund's 100, and somebody who owns nothing owes the rest."""
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        backstop=Backstop(offers_max=1, equity_below=PPM, fund_bears=True),
        waterfall=Waterfall(tranches=(Tranche(name="fund", initial=100 * 10**6),)),
    )
    desk.price(10_000)
    desk.users((10**9, 10**11, -owed), [(0, 0, 1_000, 10_000)])
    commit(desk, 1, 1_000, 0)
    effects = desk.price(8_950) + desk.tick(1)
    assert bool(desk.of(TakenOver, effects)) == taken
    assert not sum(e.uncovered for e in desk.of(DeficitFound, effects))
    audit(desk.state)
