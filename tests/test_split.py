"""One close over two routes, what happens on failure, and any history under any of the routes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.desk import Desk, U, column, flat, perp, rules, venue_of
from tests.sales import FUNDED, LOT, SALE, desk_of, take

from tidegate.domain.book import EXTERNAL
from tidegate.domain.effects import AuctionsOpened, OrdersPlaced
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import (
    AuctionTaken,
    BidCommitted,
    BidPlaced,
    BidRevealed,
    Deposited,
    OrdersExpired,
    OrdersFilled,
    Traded,
)
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.engine.auctions import offers
from tidegate.engine.invariants import audit
from tidegate.safeguards.auctions import AuctionRoute, BatchRoute, FixedSpreadRoute, SealedRoute
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.split import SplitRoute
from tidegate.safeguards.stack import SafeguardStack
from tidegate.testing import check_policy


BIDS = [(9_399, 100), (9_306, 200), (9_200, 5_000)]  # 0.01 %, exactly 1 % and 2.1 % away


def split(**changes) -> SplitRoute:
    return SplitRoute(**({"sale": SALE, "book": BookRoute(spread=PPM)} | changes))


def parts(desk: Desk, effects) -> tuple[int, int]:
    """Return the lots that were ordered and those that were offered."""
    ordered = sum(int(unpack(e.lots).sum()) for e in desk.of(OrdersPlaced, effects))
    return -ordered, -sum(int(unpack(e.lots).sum()) for e in desk.of(AuctionsOpened, effects))


@pytest.mark.parametrize(
    ("changes", "book", "sale"),
    [
        ({}, 500, 500),
        ({"book_share": 1}, 0, 1_000),
        ({"book_share": 999_999}, 999, 1),
        ({"book_share": PPM, "book_reach": 9_999}, 100, 900),
        ({"book_share": PPM, "book_reach": 10_000}, 300, 700),
        ({"book_share": 200_000, "book_reach": 10_000}, 200, 800),
        ({"book_max": 7 * 9_400 * LOT}, 7, 993),
        ({"book_max": 600 * 9_400 * LOT}, 500, 500),
        ({"book_max": 7 * 9_400 * LOT - 1}, 6, 994),
        ({"book_share": PPM, "book_reach": 100_000}, 1_000, 0),
    ],
)
def test_the_book_gets_what_is_cheap_there(changes, book, sale):
    desk = desk_of(split(**changes))
    desk.depth(BIDS)
    effects = desk.price(9_400)
    assert parts(desk, effects) == (book, sale)
    assert desk.state.book.in_flight[0] == -1_000
    audit(desk.state)


@pytest.mark.parametrize(("spill", "book"), [(False, 500), (True, 700)])
def test_what_the_budget_refuses_waits_or_goes_to_the_book(spill, book):
    sale = msgspec.structs.replace(SALE, in_flight_max=300 * 9_400 * LOT * 101 // 100)
    desk = desk_of(split(sale=sale, spill=spill))
    assert parts(desk, desk.price(9_400)) == (book, 300)


def test_each_part_is_answered_on_its_own_and_a_failure_leads_to_the_next_route():
    desk = desk_of(split())
    effects = desk.price(9_400)
    (order,), (auction,) = desk.of(OrdersPlaced, effects), desk.of(AuctionsOpened, effects)
    assert order.route == "split"
    desk.send(OrdersExpired(ts=desk.now, order=pack(column(order.first)), reason="refused"))
    assert desk.state.book.in_flight[0] == -500
    take(desk, auction.first, 200)
    desk.later(40).now += 1
    (left,) = desk.of(OrdersPlaced, desk.tick())
    assert unpack(left.lots).tolist() == [-300]
    desk.send(OrdersExpired(ts=desk.now, order=pack(column(left.first)), reason="refused"))
    assert parts(desk, desk.price(9_300)) == (400, 400), "and what failed twice is closed anew"
    audit(desk.state)


def test_two_orders_of_one_step_have_names_of_their_own():
    """What nobody took and what is new may be ordered by the same event."""
    desk = Desk(venue_of(perp()), route=split(), margin=rules(flat()), waterfall=FUNDED)
    desk.price(10_000)
    desk.users((10**9, 2 * 10**9), [(0, 0, 1_000, 10_000), (1, 0, 1_000, 10_900)])
    (first,) = desk.of(OrdersPlaced, desk.price(9_400))
    both = {}
    desk.later(40).now += 1
    for placed in desk.of(OrdersPlaced, desk.price(9_300)):
        both |= {placed.first + n: 1 for n in range(len(placed.lots) // 8)}
    assert len(both) >= 1
    assert first.first not in both
    audit(desk.state)


def test_the_auction_rung_offers_everything():
    ladder = LadderBreaker(steps=(Step(rung="auction_only", distressed=1),))
    desk = desk_of(split(spill=True), breaker=ladder)
    assert parts(desk, desk.price(9_400)) == (0, 1_000)


def test_on_the_auction_rung_nothing_spills():
    ladder = LadderBreaker(steps=(Step(rung="auction_only", distressed=1),))
    sale = msgspec.structs.replace(SALE, in_flight_max=300 * 9_400 * LOT * 101 // 100)
    desk = desk_of(split(sale=sale, spill=True), breaker=ladder)
    assert parts(desk, desk.price(9_400)) == (0, 300)


def test_two_closes_share_what_the_book_holds():
    """Three hundred lots rest within 1 %: the second close finds none of them left."""
    route = split(book_share=PPM, book_reach=10_000)
    desk = Desk(venue_of(perp()), route=route, margin=rules(flat()), waterfall=FUNDED)
    desk.price(10_000)
    desk.users((10**9, 10**9), [(0, 0, 1_000, 10_000), (1, 0, 1_000, 10_000)])
    desk.depth(BIDS)
    assert parts(desk, desk.price(9_400)) == (300, 1_700)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"book_share": 0}, "route.book_share"),
        ({"book_share": PPM + 1}, "route.book_share"),
        ({"book_share": PPM}, "route.book_share"),
        ({"book_reach": PPM}, "route.book_reach"),
        ({"book_reach": -1}, "route.book_reach"),
        ({"book_max": -1}, "route.book_max"),
    ],
)
def test_a_split_that_is_none_is_refused(change, where):
    with pytest.raises(ConfigInvalid) as e:
        split(**change)
    assert e.value.where == where


def test_a_stack_file_selects_the_split(tmp_path):
    path = tmp_path / "stack.toml"
    path.write_text(
        'name = "x"\n[route]\nkind = "split"\n[route.book]\nspread = 9\n'
        '[route.sale]\nkind = "batch"\n'
    )
    route = SafeguardStack.load(path).route
    assert (route.name, route.book.spread, route.sale.name) == ("split", 9, "batch")
    check_policy(route)
    assert any("bidders" in line for line in route.describe())


# Any history -----------------------------------------------------------------------------------


ANY = {
    "auction": SALE,
    "cusp": AuctionRoute(curve="halving", step_ns=30 * SECOND, cusp=950_000, dust=10**8, drift=9),
    "fixed_spread": FixedSpreadRoute(incentive=10**9, incentive_share=PPM - 1, release=PPM),
    "batch": BatchRoute(window_ns=2 * SECOND, life_ns=9 * SECOND),
    "sealed": SealedRoute(window_ns=SECOND, reveal_ns=SECOND, jitter_ns=SECOND, life_ns=9 * SECOND),
    "split": split(sale=BatchRoute(window_ns=SECOND), spill=True),
}
moves = st.tuples(
    st.sampled_from(("price", "tick", "take", "bid", "commit", "reveal", "answer", "user")),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


@pytest.mark.parametrize("name", list(ANY))
@given(steps=st.lists(moves, max_size=25))
def test_every_invariant_holds_after_any_history(name, steps):
    """Money, lots and flights balance after every event; no flight ever opens a position."""
    desk = desk_of(ANY[name])
    live: list[OrdersPlaced] = []
    for what, a, b in steps:
        event = event_of(desk, what, a, b, live)
        held = desk.state.book.lots[0]
        effects = [] if event is None else desk.send(event)
        live += desk.of(OrdersPlaced, effects)
        audit(desk.state)
        assert desk.state.book.cash.sum() == 0
        assert abs(desk.state.book.in_flight[0]) <= abs(desk.state.book.lots[0])
        if what in {"take", "answer"}:
            assert abs(desk.state.book.lots[0]) <= abs(held), "a forced sale only reduces"


def event_of(desk: Desk, what: str, a: int, b: int, live: list):
    """Return an event drawn from two numbers; None where there is nothing to answer."""
    open_now = offers(desk.state, desk.now, desk.stack)
    auction = open_now[a % len(open_now)].auction if open_now else 7
    bidder = (EXTERNAL, U + 1, U + 2, U)[b % 4]
    desk.later((a % 7) / 2)
    lots, limit = b % 1_100, 8_800 + a % 1_000
    match what:
        case "price":
            return desk.priced(9_000 + a % 1_200)
        case "take":
            asked = {"auction": auction, "bidder": bidder, "lots": lots, "limit": limit + 900}
            return AuctionTaken(ts=desk.now, **asked)
        case "bid":
            asked = {"auction": auction, "bidder": bidder, "lots": lots, "limit": limit}
            return BidPlaced(ts=desk.now, **asked)
        case "commit":
            seal = bytes([b % 256]) * (32 - (a % 9 == 0))
            return BidCommitted(ts=desk.now, auction=auction, bidder=bidder, seal=seal)
        case "reveal":
            return BidRevealed(ts=desk.now, bid=a, lots=lots, limit=limit, salt=bytes(16))
        case "answer" if live:
            placed = live[a % len(live)]
            row = {"order": pack(column(placed.first))}
            if b % 2:
                return OrdersExpired(ts=desk.now, **row, reason="gone")
            part = int(unpack(placed.lots)[0]) * (1 + b % 3) // 3
            return OrdersFilled(
                ts=desk.now, **row, lots=pack(column(part)), price=pack(column(limit))
            )
        case "user" if b % 2:
            return Deposited(ts=desk.now, account=U, amount=1 + a)
        case "user":
            trade = {"instrument": 0, "taker": U, "maker": EXTERNAL}
            return Traded(ts=desk.now, **trade, lots=a % 300 - 200, price=9_400)
        case _:
            return None
