"""Bids cleared together at one price: open ones and sealed ones, their bonds and their moment."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.desk import U, column
from tests.sales import LOT, desk_of, opened, refused, take

from tidegate.domain.book import EXTERNAL, FUND, TREASURY
from tidegate.domain.commitments import bid_payload, commitment, nonce_of, seed_of
from tidegate.domain.effects import (
    AuctionsReduced,
    AuctionsReset,
    BidKept,
    BidsCleared,
    OrdersPlaced,
    PositionsMoved,
    Posted,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import BidCommitted, BidPlaced, BidRevealed
from tidegate.domain.units import SECOND, pack, unpack
from tidegate.engine.auctions import offers
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.safeguards.auctions import BatchRoute, SealedRoute
from tidegate.safeguards.stack import SafeguardStack


BATCH = BatchRoute(window_ns=5 * SECOND, life_ns=20 * SECOND, floor=50_000)
BOND = 1_000_000
SEALED = SealedRoute(
    window_ns=5 * SECOND,
    reveal_ns=2 * SECOND,
    jitter_ns=4 * SECOND,
    life_ns=20 * SECOND,
    floor=50_000,
    bond=BOND,
)
SALT = b"sixteen bytes ok"


def bid(desk, auction, lots, limit, bidder=EXTERNAL):
    return desk.send(BidPlaced(ts=desk.now, auction=auction, bidder=bidder, lots=lots, limit=limit))


def commit(desk, auction, lots, limit, bidder=EXTERNAL, salt=SALT):
    """Hand in a sealed bid; return its number and the event that will open it."""
    seal = commitment(salt, bid_payload(auction, bidder, lots, limit))
    effects = desk.send(BidCommitted(ts=desk.now, auction=auction, bidder=bidder, seal=seal))
    (kept,) = desk.of(BidKept, effects)
    return kept.bid, BidRevealed(ts=desk.now, bid=kept.bid, lots=lots, limit=limit, salt=salt)


def reveal(desk, said, **changes):
    return desk.send(msgspec.structs.replace(said, ts=desk.now, **changes))


def got(desk, effects) -> dict[int, tuple[int, int]]:
    """Return (lots, price) of each bid that was answered."""
    found = {}
    for e in desk.of(BidsCleared, effects):
        columns = (unpack(c).tolist() for c in (e.bid, e.lots, e.price))
        found |= {one: (lots, price) for one, lots, price in zip(*columns, strict=True)}
    return found


def cleared(desk, seconds=5):
    effects = desk.tick(seconds)
    audit(desk.state)
    return effects


# Open bids -------------------------------------------------------------------------------------


def test_all_bids_meet_at_one_price():
    """600 at 9,350 and 600 at 9,300 compete for 1,000: both pay 9,300, the lower share the rest."""
    desk, auction = opened(BATCH)
    bid(desk, auction, 600, 9_350)
    bid(desk, auction, 300, 9_300)
    bid(desk, auction, 500, 9_300)
    bid(desk, auction, 100, 8_929)  # below the reserve of 8,930: never counts
    effects = cleared(desk)
    assert list(got(desk, effects).values()) == [
        (600, 9_300),
        (150, 9_300),
        (250, 9_300),
        (0, 0),
    ]
    (moved,) = desk.of(PositionsMoved, effects)
    assert (moved.reason, unpack(moved.lots).tolist()) == ("auctioned", [-1_000, 1_000])
    assert not offers(desk.state, desk.now, desk.stack)
    assert not (desk.state.bids.key >= 0).any()


def test_being_first_is_worth_nothing():
    prices = []
    for order in ((0, 1), (1, 0)):
        desk, auction = opened(BATCH)
        bids = ((700, 9_300), (700, 9_300))
        for n in order:
            bid(desk, auction, *bids[n])
            desk.later(1)
        prices.append(sorted(got(desk, cleared(desk, 3)).values()))
    assert prices[0] == prices[1] == [(500, 9_300), (500, 9_300)]


@pytest.mark.parametrize(("seconds", "closed"), [(4.999999999, False), (5, True)])
def test_the_window_closes_for_bids_as_it_opens_for_clearing(seconds, closed):
    desk, auction = opened(BATCH)
    bid(desk, auction, 1_000, 9_300)
    desk.later(seconds)
    late = bid(desk, auction, 1, 9_300)
    assert (refused(late) == "auction_window_closed") if closed else desk.of(BidKept, late)
    assert bool(desk.of(BidsCleared, desk.tick())) == closed


def test_what_is_left_is_offered_again_from_the_mark():
    desk, auction = opened(BATCH)
    bid(desk, auction, 400, 9_300)
    desk.later(1).price(9_350)
    effects = cleared(desk, 4)
    (less,) = desk.of(AuctionsReduced, effects)
    (again,) = desk.of(AuctionsReset, effects)
    assert unpack(less.lots).tolist() == [-400]
    assert (again.reason, unpack(again.base).tolist()) == ("window", [9_350])
    bid(desk, auction, 600, 9_200)
    assert list(got(desk, cleared(desk)).values()) == [(600, 9_200)]


def test_without_bids_the_book_gets_it_in_the_end_and_bids_come_first():
    desk, auction = opened(BATCH)
    for _ in range(4):
        assert not desk.of(OrdersPlaced, cleared(desk))
    bid(desk, auction, 1_000, 9_300)
    desk.now += 1
    assert not desk.of(OrdersPlaced, desk.tick(1)), "life is over, but somebody has bid"
    assert desk.of(BidsCleared, cleared(desk, 4))
    desk, _ = opened(BATCH)
    desk.later(20).now += 1
    assert desk.of(OrdersPlaced, desk.tick())


def test_a_user_bids_once_with_margin_for_it():
    desk, auction = opened(BATCH)
    poor = desk.state.book.accounts
    desk.users((10**6,))
    assert desk.of(BidKept, bid(desk, auction, 500, 9_300, U + 1))
    assert refused(bid(desk, auction, 1, 9_300, U + 1)) == "bid_twice"
    assert desk.of(BidKept, bid(desk, auction, 500, 9_400, poor))
    assert refused(bid(desk, auction, 1, 9_300, U)) == "trade_with_itself"
    effects = cleared(desk)
    assert sorted(got(desk, effects).values()) == [(0, 0), (500, 9_300)]
    both = desk.of(PositionsMoved, effects)
    assert [m.reason for m in both] == ["auctioned", "trade"]
    assert unpack(both[1].account)[0] == U + 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"auction": 1}, "auction_unknown"),
        ({"bidder": 44}, "account_unknown"),
        ({"lots": 0}, "amount_exceeds_limit"),
        ({"lots": 10**6 + 1}, "amount_exceeds_limit"),
        ({"limit": 0}, "price_out_of_range"),
        ({"limit": 10**6 + 1}, "price_out_of_range"),
    ],
)
def test_bids_that_cannot_be_are_refused(change, code):
    desk, auction = opened(BATCH)
    asked = {"auction": auction, "lots": 1, "limit": 9_300} | change
    assert refused(bid(desk, **asked)) == code


def test_routes_take_only_their_own_kind_of_bid():
    desk, auction = opened(BATCH)
    assert refused(take(desk, auction, 1)) == "auction_takes_bids_only"
    sealed = BidCommitted(ts=desk.now, auction=auction, bidder=EXTERNAL, seal=bytes(32))
    assert refused(desk.send(sealed)) == "auction_takes_no_such_bid"
    desk, auction = opened(SEALED)
    assert refused(bid(desk, auction, 1, 9_300)) == "auction_takes_no_such_bid"
    desk, auction = opened()
    assert refused(bid(desk, auction, 1, 9_300)) == "auction_takes_no_such_bid"


def test_bids_have_a_capacity():
    desk, auction = opened(BATCH)
    for _ in range(desk.venue.limits.orders_max):
        assert desk.of(BidKept, bid(desk, auction, 1, 9_300))
    assert refused(bid(desk, auction, 1, 9_300)) == "bids_full"
    assert len(got(desk, cleared(desk))) == desk.venue.limits.orders_max


@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(8_800, 9_500)), max_size=8),
)
def test_no_batch_sells_below_its_reserve_nor_more_than_there_is(bids):
    desk, auction = opened(BATCH)
    limits = {}
    for lots, limit in bids:
        (kept,) = desk.of(BidKept, bid(desk, auction, lots, limit))
        limits[kept.bid] = (lots, limit)
    answers = got(desk, cleared(desk))
    assert answers.keys() == limits.keys()
    assert len({price for lots, price in answers.values() if lots}) <= 1
    assert sum(lots for lots, _ in answers.values()) == min(
        1_000, sum(lots for lots, limit in bids if limit >= 8_930)
    )
    for one, (lots, price) in answers.items():
        assert lots <= limits[one][0]
        assert not lots or 8_930 <= price <= limits[one][1]


# Sealed bids -----------------------------------------------------------------------------------


def test_a_sealed_bid_costs_a_bond_and_gets_it_back():
    desk, auction = opened(SEALED)
    before = int(desk.state.book.cash[U + 1])
    _, said = commit(desk, auction, 1_000, 9_300, U + 1)
    assert desk.state.book.cash[U + 1] == before - BOND
    assert desk.state.book.cash[TREASURY] == BOND
    desk.later(5)
    assert desk.of(BidKept, reveal(desk, said))
    effects = desk.tick(6)
    assert list(got(desk, effects).values()) == [(1_000, 9_300)]
    assert desk.state.book.cash[TREASURY] == 0
    assert desk.state.book.cash[U + 1] == before
    audit(desk.state)


def test_who_does_not_reveal_loses_the_bond_to_the_fund():
    desk, auction = opened(SEALED)
    commit(desk, auction, 1_000, 9_300, U + 1)
    fund = int(desk.state.book.cash[FUND])
    effects = desk.tick(11)
    assert list(got(desk, effects).values()) == [(0, 0)]
    assert [(e.reason, e.credit) for e in desk.of(Posted, effects)] == [("forfeit", FUND)]
    assert desk.state.book.cash[FUND] == fund + BOND
    audit(desk.state)


def test_an_auction_that_is_called_off_gives_every_bond_back():
    desk, auction = opened(msgspec.structs.replace(SEALED, release=1_000_000))
    before = int(desk.state.book.cash[U + 1])
    commit(desk, auction, 1_000, 9_300, U + 1)
    effects = desk.later(1).price(9_900)
    assert [e.reason for e in desk.of(AuctionsReduced, effects)] == ["recovered"]
    assert desk.state.book.cash[U + 1] == before
    assert not (desk.state.bids.key >= 0).any()


@pytest.mark.parametrize(
    ("seconds", "good"), [(4.999999999, False), (5, True), (6.999999999, True), (7, False)]
)
def test_bids_are_revealed_only_between_window_and_clearing(seconds, good):
    desk, auction = opened(SEALED)
    _, said = commit(desk, auction, 1_000, 9_300)
    desk.later(seconds)
    effects = reveal(desk, said)
    assert desk.of(BidKept, effects) if good else refused(effects) == "auction_window_closed"


@pytest.mark.parametrize(
    "change",
    [{"lots": 999}, {"limit": 9_301}, {"salt": b"sixteen bytes no"}, {"salt": b"short"}],
)
def test_what_is_revealed_must_be_what_was_sealed(change):
    desk, auction = opened(SEALED)
    _, said = commit(desk, auction, 1_000, 9_300)
    desk.later(5)
    assert refused(reveal(desk, said, **change)) == "bid_does_not_match"
    assert desk.of(BidKept, reveal(desk, said))
    assert refused(reveal(desk, said)) == "bid_unknown", "once is enough"
    assert refused(reveal(desk, said, bid=3)) == "bid_unknown"


def test_a_seal_is_32_bytes_and_a_bond_needs_margin():
    desk, auction = opened(SEALED)
    short = BidCommitted(ts=desk.now, auction=auction, bidder=EXTERNAL, seal=bytes(31))
    assert refused(desk.send(short)) == "bid_does_not_match"
    poor = desk.state.book.accounts
    desk.users((BOND - 1,))
    sealed = BidCommitted(ts=desk.now, auction=auction, bidder=poor, seal=bytes(32))
    assert refused(desk.send(sealed)).startswith("below")


def test_the_moment_depends_on_every_revealed_salt():
    """Until the last reveal nobody knows it, and the same salts always give the same moment."""
    moments = set()
    for n in range(6):
        desk, auction = opened(SEALED)
        salts = [bytes([n]) * 16, b"b" * 16]
        said = [commit(desk, auction, 500, 9_300, salt=salt)[1] for salt in salts]
        desk.later(5)
        for one in said:
            reveal(desk, one)
        nonces = pack(np.array([nonce_of(salt) for salt in salts]))
        wait = 7 * SECOND + seed_of(nonces, SEALED.jitter_ns) - 5 * SECOND
        desk.now += wait - 1
        assert not desk.of(BidsCleared, desk.tick())
        desk.now += 1
        assert desk.of(BidsCleared, desk.tick())
        moments.add(wait)
    assert len(moments) == 6


def test_who_knows_all_salts_but_one_guesses_the_moment_no_better_than_chance():
    """The adversary reads every commitment and all reveals but one, and must name a sixteenth.

    Over 4,096 salts of the last bidder the moments fall evenly: chi-square of 15 degrees of freedom
    below its 99 % point, so that no sixteenth is a better guess than another.
    """
    known = [nonce_of(bytes([n]) * 16) for n in range(5)]
    cells = np.zeros(16)
    for n in range(4_096):
        nonces = pack(np.array([*known, nonce_of(n.to_bytes(16, "little"))]))
        cells[16 * seed_of(nonces, SEALED.jitter_ns) // SEALED.jitter_ns] += 1
    assert ((cells - 256) ** 2 / 256).sum() < 30.58


def test_a_snapshot_keeps_bids_and_seals():
    desk, auction = opened(SEALED)
    _, said = commit(desk, auction, 1_000, 9_300, U + 1)
    again = State.load(desk.state.dump(), desk.stack)
    assert again.digest() == desk.state.digest()
    desk.state = again
    desk.later(5)
    assert desk.of(BidKept, reveal(desk, said))


HUGE = (2**63, 2**70, -(2**70))


@pytest.mark.parametrize("number", HUGE)
def test_no_number_is_too_large_to_be_refused(number):
    for route in (BATCH, SEALED):
        desk, auction = opened(route)
        _, said = commit(desk, auction, 9, 9_300) if route.sealed else (0, None)
        for event in (
            BidPlaced(ts=desk.now, auction=number, bidder=number, lots=number, limit=number),
            BidPlaced(ts=desk.now, auction=auction, bidder=EXTERNAL, lots=number, limit=9_300),
            BidPlaced(ts=desk.now, auction=auction, bidder=EXTERNAL, lots=1, limit=number),
            BidCommitted(ts=desk.now, auction=auction, bidder=number, seal=bytes(32)),
            BidRevealed(ts=desk.now, bid=number, lots=1, limit=1, salt=SALT),
        ):
            refused(desk.send(event))
        if said is not None:
            desk.later(5)
            assert refused(reveal(desk, said, lots=number)) == "amount_exceeds_limit"
            assert refused(reveal(desk, said, limit=number)) == "price_out_of_range"
    desk, auction = opened()
    assert refused(take(desk, number, 1)) == "auction_unknown"
    if number > 0:
        (less,) = desk.of(AuctionsReduced, take(desk, auction, number, limit=number))
        assert unpack(less.lots).tolist() == [-1_000]


# Bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change", "where"),
    [
        (BatchRoute, {"window_ns": 0}, "route.window_ns"),
        (BatchRoute, {"window_ns": 9, "life_ns": 8}, "route.life_ns"),
        (BatchRoute, {"incentive": 1}, "route.incentive"),
        (SealedRoute, {"bond": 0}, "route.bond"),
        (SealedRoute, {"reveal_ns": 0}, "route.reveal_ns"),
        (SealedRoute, {"jitter_ns": -1}, "route.jitter_ns"),
        (SealedRoute, {"life_ns": 8_999_999_999}, "route.life_ns"),
    ],
)
def test_phases_that_cannot_work_are_refused(kind, change, where):
    with pytest.raises(ConfigInvalid) as e:
        kind(**change)
    assert e.value.where == where


@pytest.mark.parametrize("kind", ["batch", "sealed"])
def test_a_stack_file_selects_the_route(tmp_path, kind):
    path = tmp_path / "stack.toml"
    path.write_text(f'name = "x"\n[route]\nkind = "{kind}"\n')
    stack = SafeguardStack.load(path)
    assert stack.route.name == kind
    assert any("one price" in said for said in stack.describe())


def test_the_penalty_of_a_batch_is_that_of_any_sale():
    desk = desk_of(BATCH)
    desk.price(9_400)
    (one,) = offers(desk.state, desk.now, desk.stack)
    bid(desk, one.auction, 1_000, 9_300)
    fund = int(desk.state.book.cash[FUND])
    cleared(desk)
    assert desk.state.book.cash[FUND] == fund + 1_000 * 9_400 * LOT // 100
    assert column(*held_by(desk, U)).sum() == 0


def held_by(desk, account):
    book = desk.state.book
    return book.lots[(book.account == account) & (book.lots != 0)].tolist()
