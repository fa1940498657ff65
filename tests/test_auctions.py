"""Liquidations sold to bidders: opening, taking, pricing anew, ending, and who is paid."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.desk import Desk, U, coin, column, flat, perp, rules, venue_of
from tests.sales import FUNDED, LOT, SALE, desk_of, opened, price_now, refused, take

from tidegate.domain.book import EXTERNAL, FUND
from tidegate.domain.effects import (
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    OrdersPlaced,
    PositionsMoved,
    Posted,
    Rejected,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import AuctionTaken, Deposited, OrdersExpired, OrdersFilled
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.domain.venue import Limits
from tidegate.engine.auctions import offers
from tidegate.engine.explain import explain
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.engine.step import apply, decide
from tidegate.ports import Record
from tidegate.safeguards.auctions import AuctionRoute, FixedSpreadRoute
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.stack import SafeguardStack


# Opening ---------------------------------------------------------------------------------------


def test_an_auction_takes_the_place_of_the_order():
    desk = desk_of()
    effects = desk.price(9_400)
    (one,) = desk.of(AuctionsOpened, effects)
    assert not desk.of(OrdersPlaced, effects)
    assert unpack(one.base).tolist() == [9_400]
    assert unpack(one.limit).tolist() == [9_400 - 470]
    assert desk.state.book.in_flight[0] == -1_000
    assert price_now(desk) == 9_588
    audit(desk.state)


def test_while_it_is_offered_nothing_more_is_closed():
    desk, _ = opened()
    for price in (9_399, 9_300, 9_395):
        assert not desk.of(AuctionsOpened, desk.later(1).price(price))


def test_a_book_route_knows_no_auctions():
    """Without auctions there are no columns of them: old journals keep their digests."""
    desk = desk_of(BookRoute())
    assert desk.of(OrdersPlaced, desk.price(9_400))
    assert not any(name.startswith("auctions") for name, _ in desk.state.columns())
    assert refused(take(desk, 1, 1)) == "auction_unknown"


@pytest.mark.parametrize(
    ("budget", "lots"),
    [
        (0, 1_000),
        (1_000 * 9_400 * LOT * 101 // 100, 1_000),
        (999 * 9_400 * LOT * 101 // 100, 1_000),  # one lot is dust: all goes
        (900 * 9_400 * LOT * 101 // 100, 900),
        (900 * 9_400 * LOT * 101 // 100 - 1, 899),
        (5 * 9_400 * LOT, 0),  # with the penalty four lots fit: dust, so it waits
    ],
)
def test_the_budget_counts_the_penalty_too(budget, lots):
    route = msgspec.structs.replace(SALE, in_flight_max=budget, dust=5 * 9_400 * LOT)
    desk = desk_of(route)
    found = desk.of(AuctionsOpened, desk.price(9_400))
    assert sum(-unpack(one.lots).sum() for one in found) == lots


def test_one_market_cannot_use_up_the_whole_budget():
    route = msgspec.structs.replace(SALE, market_max=500 * 9_400 * LOT * 101 // 100)
    (one,) = (desk := desk_of(route)).of(AuctionsOpened, desk.price(9_400))
    assert unpack(one.lots).tolist() == [-500]


def two_of(route=SALE, *, orders_max: int = 32) -> Desk:
    """Return a desk on which two accounts of 1,000 lots can no longer at 9,400."""
    limits = Limits(accounts_max=48, positions_max=96, orders_max=orders_max, balance_max=2**50)
    margin = rules(flat(penalty=10_000))
    desk = Desk(venue_of(perp(), limits=limits), route=route, waterfall=FUNDED, margin=margin)
    desk.price(10_000)
    desk.users((10**9, 10**9), [(0, 0, 1_000, 10_000), (1, 0, 1_000, 10_000)])
    return desk


def offered(desk: Desk, effects) -> list[int]:
    return [n for one in desk.of(AuctionsOpened, effects) for n in unpack(one.lots).tolist()]


def test_two_closes_of_one_step_share_the_budget():
    desk = two_of(msgspec.structs.replace(SALE, in_flight_max=1_500 * 9_400 * LOT * 101 // 100))
    assert offered(desk, desk.price(9_400)) == [-1_000, -500]


def test_no_more_is_offered_than_there_are_slots():
    desk = two_of(orders_max=1)
    assert offered(desk, desk.price(9_400)) == [-1_000]
    audit(desk.state)


@pytest.mark.parametrize(
    ("selling", "band", "price_max", "limit"),
    [
        (True, 0, 10**6, 9_500),
        (True, 49_900, 10**6, 9_501),  # the breaker's band is narrower
        (True, 50_100, 10**6, 9_500),
        (False, 0, 10**6, 10_500),
        (False, 49_900, 10**6, 10_499),
        (False, 0, 10_499, 10_499),
    ],
)
def test_the_worst_price_is_the_floor_and_within_the_band(selling, band, price_max, limit):
    asked = {"mark": 10_000, "selling": selling, "band": band, "price_max": price_max}
    assert AuctionRoute(floor=50_000).limit(**asked) == limit


# Taking ----------------------------------------------------------------------------------------


def test_a_take_pays_the_price_of_its_moment_and_the_penalty():
    desk, auction = opened()
    desk.later(3)
    price = price_now(desk)
    assert price == 9_304  # 9,588 less 1 % three times, rounded up
    effects = take(desk, auction, 400)
    (moved,) = desk.of(PositionsMoved, effects)
    assert moved.reason == "auctioned"
    assert unpack(moved.lots).tolist() == [-400, 400]
    assert unpack(moved.price).tolist() == [price, price]
    (less,) = desk.of(AuctionsReduced, effects)
    assert (unpack(less.lots).tolist(), unpack(less.closed).tolist()) == ([-400], [0])
    assert unpack(less.penalty).tolist() == [400 * 9_400 * LOT // 100]
    assert desk.state.book.cash[FUND] == 10**9 + 400 * 9_400 * LOT // 100
    assert desk.state.book.in_flight[0] == -600


def test_a_user_who_takes_holds_the_lots():
    desk, auction = opened()
    take(desk, auction, 1_000, bidder=U + 1)
    lots = {int(a): int(n) for a, n in zip(*held(desk.state), strict=True)}
    assert lots == {U + 1: 1_000, EXTERNAL: -1_000}
    assert not offers(desk.state, desk.now, desk.stack)


def held(state: State) -> tuple:
    rows = np.flatnonzero(state.book.lots)
    return state.book.account[rows], state.book.lots[rows]


def test_a_bidder_needs_margin_and_takes_no_more_than_is_there():
    desk, auction = opened()
    poor = desk.state.book.accounts
    desk.users((10**6,))
    assert refused(take(desk, auction, 1_000, bidder=poor)) == "below_initial_margin"
    (less,) = desk.of(AuctionsReduced, take(desk, auction, 10**7, bidder=U + 1))
    assert unpack(less.lots).tolist() == [-1_000]
    assert not desk.state.book.in_flight.any()


@pytest.mark.parametrize(("held", "code"), [(0, ""), (1, "amount_exceeds_limit")])
def test_a_bidder_may_hold_as_much_as_anybody(held, code):
    """A thousand lots are the most that anybody may hold in this venue."""
    venue = venue_of(perp(lots_max=1_000))
    desk = Desk(venue, route=SALE, waterfall=FUNDED, margin=rules(flat()))
    desk.price(10_000)
    desk.users((10**9, 10**11), [(0, 0, 1_000, 10_000), (1, 0, held, 10_000)])
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    effects = take(desk, one.first, 1_000, bidder=U + 1)
    assert [e.code for e in desk.of(Rejected, effects)] == [code] * bool(code)


@pytest.mark.parametrize(("cash", "code"), [(0, ""), (-1, "asset_not_borrowable")])
def test_an_auction_lends_no_cash_for_a_spot_asset(cash, code):
    """A loan's collateral is taken by a user with exactly its price, or one Money less of it."""
    margin = rules(flat(debt_initial=100_000, debt_maintenance=50_000))
    desk = Desk(venue_of(coin()), route=SALE, waterfall=FUNDED, margin=margin)
    desk.price(10_000)
    desk.users((-(10**7) * 9, 9_588 * 10_000 + cash), [(0, 0, 100, 0)])
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    lots = -unpack(one.lots)[0]
    assert lots == 100
    effects = take(desk, one.first, 100, bidder=U + 1)
    assert [e.code for e in desk.of(Rejected, effects)] == [code] * bool(code)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"auction": 5}, "auction_unknown"),
        ({"bidder": 40}, "account_unknown"),
        ({"bidder": FUND}, "account_unknown"),
        ({"lots": 0}, "amount_must_be_positive"),
        ({"lots": -1}, "amount_must_be_positive"),
        ({"bidder": U}, "trade_with_itself"),
        ({"limit": 9_587}, "auction_price_beyond_limit"),
    ],
)
def test_what_cannot_be_taken_is_refused(change, code):
    desk, auction = opened()
    asked = {"auction": auction, "lots": 1, "limit": 9_588, "bidder": EXTERNAL} | change
    assert refused(take(desk, **asked)) == code
    good = {"auction": auction, "lots": 1, "limit": 9_588, "bidder": EXTERNAL}
    assert not desk.of(Rejected, take(desk, **good))


@pytest.mark.parametrize(
    ("lots", "sold"), [(990, 990), (991, 990), (999, 990), (1_000, 1_000), (2_000, 1_000)]
)
def test_a_take_leaves_dust_or_nothing(lots, sold):
    """Ten lots at the price are dust: a take may leave exactly ten, or none."""
    route = msgspec.structs.replace(SALE, dust=10 * 9_588 * LOT)
    desk, auction = opened(route)
    (less,) = desk.of(AuctionsReduced, take(desk, auction, lots))
    assert unpack(less.lots).tolist() == [-sold]
    if sold == 990:
        assert refused(take(desk, auction, 9)) == "auction_leaves_dust"
        assert not desk.of(Rejected, take(desk, auction, 10))


def test_a_take_of_less_than_a_lot_is_no_take():
    """Half a lot could go before dust is left: nothing goes, and the rest goes whole."""
    desk, auction = opened(msgspec.structs.replace(SALE, dust=21 * 9_588 * LOT // 2))
    take(desk, auction, 989)
    assert refused(take(desk, auction, 1)) == "auction_leaves_dust"
    (less,) = desk.of(AuctionsReduced, take(desk, auction, 11))
    assert unpack(less.closed).tolist() == [1]


def test_a_late_bid_finds_the_auction_stale():
    desk, auction = opened()
    desk.later(10)
    assert not desk.of(Rejected, take(desk, auction, 1))
    desk.now += 1
    assert refused(take(desk, auction, 1)) == "auction_needs_reset"


# Pricing anew, and the end ---------------------------------------------------------------------


@pytest.mark.parametrize(("later", "again"), [(10, False), (10.000000001, True)])
def test_the_tail_prices_anew_from_the_mark(later, again):
    desk, auction = opened()
    found = desk.of(AuctionsReset, desk.later(later).price(9_350))
    assert bool(found) == again
    if again:
        assert found[0].reason == "tail"
        assert unpack(found[0].auction).tolist() == [auction]
        assert price_now(desk) == 9_350 * 102 // 100


@pytest.mark.parametrize(("more", "again"), [(0, False), (1, True)])
def test_the_cusp_is_strict(more, again):
    """After two drops 9,588 ticks are 9,398, rounded up: that share itself is not below it."""
    share = 9_398 * PPM // 9_588
    desk, _ = opened(msgspec.structs.replace(SALE, cusp=share + more))
    found = desk.of(AuctionsReset, desk.tick(2))
    assert [f.reason for f in found] == ["cusp"] * again


@pytest.mark.parametrize(("mark", "again"), [(9_306, False), (9_305, True)])
def test_a_mark_that_left_prices_anew_at_once(mark, again):
    desk, _ = opened(msgspec.structs.replace(SALE, drift=10_000))
    found = desk.of(AuctionsReset, desk.later(1).price(mark))
    assert [f.reason for f in found] == ["drift"] * again


def test_while_the_price_is_not_good_enough_nothing_is_touched():
    """A stale mark neither prices anew nor sends to the book; the next good one does."""
    desk, _ = opened(oracle=OracleGuard(age_max_ns=30 * SECOND))
    effects = desk.tick(41)
    assert not desk.of(AuctionsReset, effects)
    assert not desk.of(OrdersPlaced, effects)
    assert desk.of(OrdersPlaced, desk.later(1).price(9_400))


def test_an_account_that_recovers_is_let_go():
    route = msgspec.structs.replace(SALE, release=1_500_000)
    desk, auction = opened(route)
    due = 1_000 * 9_400 * LOT * 75 // 1_000
    short = due - (10**9 - 600 * 1_000 * LOT)
    desk.send(Deposited(ts=desk.now, account=U, amount=short - 1))
    assert not desk.of(AuctionsReduced, desk.tick())
    desk.send(Deposited(ts=desk.now, account=U, amount=1))
    (gone,) = desk.of(AuctionsReduced, desk.tick())
    assert gone.reason == "recovered"
    assert not desk.state.book.in_flight.any()
    assert refused(take(desk, auction, 1)) == "auction_unknown"
    audit(desk.state)


def test_what_nobody_takes_goes_to_the_book_and_no_lower_than_the_floor():
    """No bidder at all: the price stops at its floor, and in the end the book gets the lots."""
    desk, auction = opened(msgspec.structs.replace(SALE, spread=PPM, adjustment=PPM))
    seen = []
    for _ in range(40):
        desk.tick(1)
        seen.append(price_now(desk))
    assert min(seen) >= 9_400 - 470
    desk.now += 1
    effects = desk.tick()
    (gone,) = desk.of(AuctionsReduced, effects)
    (placed,) = desk.of(OrdersPlaced, effects)
    assert (gone.reason, placed.route) == ("unsold", "auction")
    assert unpack(placed.lots).tolist() == [-1_000]
    assert 1 < unpack(placed.limit)[0] < 9_400
    assert desk.state.book.in_flight[0] == -1_000
    audit(desk.state)
    fill = {"order": pack(column(placed.first)), "lots": placed.lots, "price": placed.limit}
    desk.send(OrdersFilled(ts=desk.now, **fill))
    assert refused(take(desk, auction, 1)) == "auction_unknown"
    audit(desk.state)


def test_an_order_that_expires_leads_to_the_next_auction():
    desk, _ = opened()
    desk.later(40).now += 1
    (placed,) = desk.of(OrdersPlaced, desk.tick())
    desk.send(OrdersExpired(ts=desk.now, order=pack(column(placed.first)), reason="gone"))
    assert desk.of(AuctionsOpened, desk.tick(1))


# The breaker -----------------------------------------------------------------------------------


def ladder(rung: str) -> LadderBreaker:
    return LadderBreaker(steps=(Step(rung=rung, distressed=1),))


def test_auctions_go_on_where_the_order_book_is_left_alone():
    halted = ladder("auction_only")
    assert not (desk := desk_of(BookRoute(), breaker=halted)).of(OrdersPlaced, desk.price(9_400))
    desk, auction = opened(breaker=halted)
    assert not desk.of(Rejected, take(desk, auction, 100))
    desk.later(40).now += 1
    effects = desk.tick()
    assert not desk.of(OrdersPlaced, effects), "nothing goes to the book on this rung"
    assert [e.reason for e in desk.of(AuctionsReset, effects)] == ["tail"]


def test_a_halt_stops_opening_taking_and_pricing():
    desk, auction = opened()
    stack = msgspec.structs.replace(desk.stack.declaration, breaker=ladder("halt"))
    desk.stack = type(desk.stack).bind(stack, desk.venue)
    desk.later(11)
    effects = desk.price(9_300)
    assert not desk.of(AuctionsReset, effects)
    assert not desk.of(AuctionsOpened, effects)
    assert refused(take(desk, auction, 1)) == "auction_halted"


# Who is paid -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("incentive", "share", "paid"),
    [(0, 500_000, 0), (7, 500_000, 7), (10**12, 500_000, 47 * 10**6), (10**12, 0, 0)],
)
def test_the_incentive_never_exceeds_its_share_of_the_penalty(incentive, share, paid):
    """The penalty of 1,000 lots at 9,400 is 94 million Money (over two takes)."""
    route = msgspec.structs.replace(SALE, incentive=incentive, incentive_share=share)
    desk, auction = opened(route)
    assert not [e for e in desk.of(Posted, take(desk, auction, 400)) if e.reason == "incentive"]
    effects = take(desk, auction, 600, bidder=U + 1)
    earned = [e for e in desk.of(Posted, effects) if e.reason == "incentive"]
    assert sum(e.amount for e in earned) == paid
    assert all((e.debit, e.credit) == (FUND, U + 1) for e in earned)


@pytest.mark.parametrize("held", [1, 10**7])
def test_the_incentive_never_overdraws_the_fund(held):
    """The fund has paid deficits since the first take: what it holds now is the most it pays."""
    route = msgspec.structs.replace(SALE, incentive=10**12, incentive_share=500_000)
    desk, auction = opened(route)
    take(desk, auction, 999)
    last = 9_400 * LOT // 100  # the penalty of the last lot, which the fund gets first
    cash = desk.state.book.cash
    gone = cash[FUND] + last - held
    cash[FUND] -= gone
    cash[EXTERNAL] += gone
    effects = take(desk, auction, 1, bidder=U + 1)
    (earned,) = [e for e in desk.of(Posted, effects) if e.reason == "incentive"]
    assert earned.amount == held
    assert desk.state.book.cash[FUND] == 0


@given(st.integers(0, 10**12), st.integers(0, PPM - 1), st.integers(1, 1_000))
def test_taking_ones_own_auction_with_another_account_never_pays(incentive, share, part):
    """Whoever owns both accounts loses the penalty and earns less than it, whatever is set."""
    route = msgspec.structs.replace(SALE, incentive=incentive, incentive_share=share)
    desk, auction = opened(route)
    before = int(desk.state.book.cash[FUND])
    take(desk, auction, part, bidder=U + 1)
    take(desk, auction, 1_000, bidder=U + 1)
    assert desk.state.book.cash[FUND] > before


# A storefront ----------------------------------------------------------------------------------


def test_a_storefront_sells_at_todays_mark_less_its_discount():
    route = FixedSpreadRoute(discount=20_000, floor=50_000, life_ns=60 * SECOND)
    desk, auction = opened(route)
    assert price_now(desk) == 9_400 - 188
    desk.later(5).price(9_350)
    assert price_now(desk) == 9_350 - 187
    assert not desk.of(Rejected, take(desk, auction, 10, limit=9_163))
    desk.later(1).price(9_110)  # less 2 % lies below the limit: the limit follows
    assert price_now(desk) == 9_110 - 182


@pytest.mark.parametrize(("mark", "again"), [(9_112, False), (9_111, True)])
def test_a_storefront_is_priced_anew_below_its_limit_and_not_at_it(mark, again):
    """The limit of 9,400 less 5 % is 8,930, which is 9,112 less 2 %."""
    desk, _ = opened(FixedSpreadRoute(discount=20_000, floor=50_000, life_ns=60 * SECOND))
    found = desk.of(AuctionsReset, desk.later(1).price(mark))
    assert [f.reason for f in found] == ["drift"] * again


# Purchases, snapshots, bad input ---------------------------------------------------------------


def test_a_short_is_bought_back_from_below():
    desk = Desk(venue_of(perp()), route=SALE, margin=rules(flat()), waterfall=FUNDED)
    desk.price(10_000)
    desk.users((10**9,), [(0, 0, -1_000, 10_000)])
    (one,) = desk.of(AuctionsOpened, desk.price(10_600))
    assert unpack(one.limit).tolist() == [11_000]  # beyond it more than its equity would be gone
    first = price_now(desk)
    assert first == 10_392  # the mark over 1.02
    rising = [price_now(desk.later(1)) for _ in range(9)]
    assert rising == sorted(rising)
    assert refused(take(desk, one.first, 1, limit=10**6)) == "auction_price_beyond_limit"
    (moved,) = desk.of(PositionsMoved, take(desk, one.first, 1_000, limit=1))
    assert unpack(moved.lots).tolist() == [1_000, -1_000]


def test_a_snapshot_keeps_the_auctions():
    desk, auction = opened()
    take(desk, auction, 100)
    again = State.load(desk.state.dump(), desk.stack)
    assert again.digest() == desk.state.digest()
    desk.state = again
    assert [o.lots for o in offers(again, desk.now, desk.stack)] == [-900]
    assert not desk.of(Rejected, take(desk, auction, 900))


def test_deciding_changes_nothing():
    desk, auction = opened()
    before = desk.state.digest()
    event = AuctionTaken(ts=desk.now, auction=auction, bidder=0, lots=5, limit=10**6)
    assert desk.ask(event) == desk.ask(event)
    assert desk.state.digest() == before


BAD = [
    ({"curve": "spiral"}, "route.curve"),
    ({"cut": PPM}, "route.cut"),
    ({"cut": 0}, "route.cut"),
    ({"step_ns": 0}, "route.step_ns"),
    ({"step_ns": 1}, "route.step_ns"),
    ({"floor": 0}, "route.floor"),
    ({"floor": PPM}, "route.floor"),
    ({"cusp": PPM}, "route.cusp"),
    ({"buffer": -1}, "route.buffer"),
    ({"buffer": PPM + 1}, "route.buffer"),
    ({"tail_ns": 2, "life_ns": 1}, "route.life_ns"),
    ({"release": PPM - 1}, "route.release"),
    ({"incentive_share": PPM}, "route.incentive_share"),
    ({"adjustment": PPM - 1}, "route.adjustment"),
    ({"dust": 2, "in_flight_max": 1}, "route.dust"),
    ({"dust": -1}, "route.dust"),
]


@pytest.mark.parametrize(("change", "where"), BAD)
def test_a_rule_that_cannot_work_is_refused(change, where):
    with pytest.raises(ConfigInvalid) as e:
        AuctionRoute(**change)
    assert e.value.where == where


def test_a_discount_beyond_the_floor_is_refused():
    assert FixedSpreadRoute(discount=50_000).describe()
    with pytest.raises(ConfigInvalid, match=r"0\.\.floor"):
        FixedSpreadRoute(discount=50_001)


@pytest.mark.parametrize("kind", ["auction", "fixed_spread"])
def test_a_stack_file_selects_the_route(tmp_path, kind):
    path = tmp_path / "stack.toml"
    path.write_text(f'name = "x"\n[route]\nkind = "{kind}"\nfloor = 40_000\n')
    stack = SafeguardStack.load(path)
    assert stack.route.name == kind
    assert any("order book" in said for said in stack.describe())


def test_explain_follows_an_auction_from_its_opening_to_its_take():
    desk, records = desk_of(SALE), []

    def kept(event):
        record = Record(desk.state.seq, event, tuple(decide(desk.state, event, desk.stack)))
        apply(desk.state, event, record.effects)
        records.append(record)
        return record.effects

    def last() -> str:
        return "\n".join(explain(records, U, desk.state.seq, desk.stack, ("",) * U + ("anna",)))

    desk.send = kept
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    assert f"{one.first}: bidders may make the account sell 100.0 PERP at 89.30 or more" in last()
    desk.later(2).price(9_390)
    assert "bidders may make" in last(), "a price that changes nothing is not told of"
    desk.send(AuctionTaken(ts=desk.now, auction=one.first, bidder=0, lots=300, limit=10**6))
    assert "sold 30.0 PERP at 93.98, in its auction" in last()


def test_a_planner_that_stages_auctions_too():
    """The planner's share and the budget both hold: what is offered is the smaller."""
    desk = desk_of(planner=StagedPlanner(close_fraction=250_000))
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    assert unpack(one.lots).tolist() == [-250]
