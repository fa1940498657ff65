"""What a keeper is told, what it computes from it, and what nobody else is told of it."""

import random

import msgspec
import pytest
from tests.desk import Desk, U, flat, perp, rules, venue_of
from tests.sales import FUNDED, SALE, desk_of, opened
from tests.test_batches import BATCH, BOND, SALT, SEALED, bid, commit, reveal

from names import reading
from tidegate.client.desk import Desk as Seen
from tidegate.client.keeper import Memory, Sealed
from tidegate.domain.commitments import bid_payload, commitment
from tidegate.domain.effects import BidKept
from tidegate.domain.events import AuctionTaken, BidCommitted, BidRevealed
from tidegate.domain.units import SECOND
from tidegate.engine.auctions import offer_of, offers
from tidegate.engine.state import SHIFT
from tidegate.ports import Record
from tidegate.safeguards.auctions import FixedSpreadRoute
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.service.bidding import Bidding
from tidegate.service.calls import NotFound
from tidegate.service.keeper_routes import keeper_now
from tidegate.service.streams_frames import Book, frame_of, topics_of


class Heard:
    """A desk of the engine whose records are heard, as the service's listeners hear them."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.records = desk, []
        self.bidding = Bidding(desk.stack)
        self.bidding.listen([], self.now())
        send = desk.send

        def heard(event):
            effects = send(event)
            record = Record(desk.state.seq - 1, event, tuple(effects))
            self.records.append(record)
            self.bidding.listen([record], self.now())
            return effects

        desk.send = heard

    def now(self):
        return reading(self.desk.state, self.desk.stack)

    def frames(self, topics=("auctions", "marks"), since=0):
        book = Book(self.desk.stack, self.now().names)
        for record in self.records[since:]:
            for topic in topics_of(record):
                if topic in topics:
                    yield frame_of(record, topic, book)

    def seen(self, name=None) -> Seen:
        return Seen(keeper_now(self.now(), name, self.desk.now))

    def mine(self, user: int):
        """Return (kind, status, code) of a user's bids, oldest first."""
        found = self.bidding.bids(U + user, 2**62, 100)
        return [(b.kind, b.status, b.code) for b in found][::-1]


def short_of(route) -> Desk:
    """Return a desk on which somebody is short 1,000 lots and must buy: bidders sell."""
    margin = rules(flat(penalty=10_000))
    off = NeverWorse(mode="off")
    desk = Desk(venue_of(perp()), route=route, waterfall=FUNDED, margin=margin, never_worse=off)
    desk.price(10_000)
    desk.users((10**9, 10**11, 10**11), [(0, 0, -1_000, 10_000)])
    desk.price(10_600)
    return desk


BLANK = BidRevealed(ts=0, bid=0, lots=0, limit=0, salt=b"")
CURVED = [
    msgspec.structs.replace(SALE, curve=curve, **changes)
    for curve, changes in (
        ("stair", {"cut": 997_003}),
        ("linear", {"step_ns": 30 * SECOND, "drift": 3_000}),
        ("exponential", {"cusp": 970_000}),
        ("halving", {"step_ns": 200 * SECOND}),
    )
]


@pytest.mark.parametrize("route", [*CURVED, FixedSpreadRoute(discount=12_345, floor=13_000)])
@pytest.mark.parametrize("make", [lambda r: opened(r)[0], short_of], ids=["selling", "buying"])
def test_prices_computed_by_a_keeper_are_the_engine_s(route, make):
    """To the last tick, at any moment, and it knows when nobody can take."""
    desk = make(route)
    heard, draw, stale = Heard(desk), random.Random(4), set()
    for _ in range(150):
        mark = int(desk.state.mark[0]) + draw.randrange(-40, 41)
        desk.later(draw.random() / 8).price(mark)
        (offer,) = heard.seen().offers.values()
        now = desk.now + draw.randrange(12 * SECOND)
        seen = heard.seen()
        seen.marks["PERP"] = mark = mark + draw.randrange(-60, 61)  # news that both have heard
        engine = offer_of(desk.state, 0, now, mark, desk.stack.auctions)
        assert seen.price(offer, now) == engine.price
        assert seen.stale(offer, now) == engine.stale
        stale.add(engine.stale)
        if not offers(desk.state, desk.now, desk.stack):
            break
    assert len(stale) > 1


def played(route, seed: int) -> Heard:
    """Return a desk on which much was opened, taken, bid, revealed, cleared and priced anew."""
    venue, margin = venue_of(perp(), perp("OTHER")), rules(flat(penalty=10_000))
    off = NeverWorse(mode="off")
    desk = Desk(venue, route=route, waterfall=FUNDED, margin=margin, never_worse=off)
    heard, draw, sealed = Heard(desk), random.Random(seed), []
    desk.price(10_000)
    desk.price(10_000, 1)
    held = [(k, k % 2, 400 if k < 6 else -400, 10_000) for k in range(8)]
    desk.users((10**8,) * 8 + (10**11,) * 3, held)
    seen = heard.seen()
    for _ in range(140):
        since = len(heard.records)
        bidder, lots = U + draw.randrange(8, 11), draw.randrange(1, 400)
        auction = draw.choice([*seen.offers] or [7])
        match draw.randrange(5):
            case 0:
                i = draw.randrange(2)
                desk.price(int(10_000 * draw.uniform(0.75, 1.01)), i)
            case 1 if route is SALE:
                event = AuctionTaken(
                    ts=desk.now, auction=auction, bidder=bidder, lots=lots, limit=10**6
                )
                desk.send(event)
            case 1 if route is BATCH:
                bid(desk, auction, lots, draw.randrange(7_000, 10_500), bidder)
            case 1 | 2 if route is SEALED:
                salt = draw.randbytes(16)
                price = draw.randrange(7_000, 10_500)
                seal = commitment(salt, bid_payload(auction, bidder, lots, price))
                event = BidCommitted(ts=desk.now, auction=auction, bidder=bidder, seal=seal)
                kept = desk.of(BidKept, desk.send(event))
                sealed += [(k.bid, lots, price, salt) for k in kept]
            case _:
                desk.tick(draw.choice((0.5, 1, 2)))
        for number, n, price, salt in sealed:
            said = {"bid": number, "lots": n, "limit": price, "salt": salt}
            reveal(desk, BLANK, **said)
        for frame in heard.frames(since=since):
            seen.hear(frame)
        fresh = heard.seen()
        assert seen.offers == fresh.offers
        assert seen.marks == fresh.marks
    return heard


@pytest.mark.parametrize("route", [SALE, BATCH, SEALED], ids=["dutch", "batch", "sealed"])
def test_a_keeper_that_follows_sees_what_one_that_asks_sees(route):
    heard = played(route, 3)
    said = [f.data for f in heard.frames(("auctions",))]
    reasons = {one["reason"] for data in said for one in data["reduced"]}
    assert ("taken" if route is SALE else "cleared") in reasons
    prices = {one["ticks"] for data in said for one in data["reduced"] if one["lots"]}
    assert prices - {0}
    got = {one["ticks"] for data in said for one in data["cleared"] if one["lots"]}
    assert got <= prices
    # Receipts are what the book holds: nothing was bought that is not written down, nor twice.
    for name, row in ((f"user {n}", U + n) for n in (8, 9, 10)):
        bought = heard.bidding.settlements(row, 2**62, 1_000)
        lots = sum(heard.seen().count(s.instrument, s.quantity) for s in bought)
        book = heard.desk.state.book
        assert lots == int(book.lots[book.account == row].sum()), name


def test_a_competitor_does_not_hear_who_sealed_what():
    """Before the batch is cleared its frames are the same whoever bid, and whatever it said."""
    told = []
    for bidder, lots, limit, salt in ((U + 1, 100, 9_300, SALT), (U + 2, 250, 9_250, SALT[::-1])):
        desk, auction = opened(SEALED)
        heard = Heard(desk)
        _, later = commit(desk, auction, lots, limit, bidder, salt)
        reveal(desk.later(5), later)
        told.append([msgspec.json.encode(f) for f in heard.frames(("auctions", "marks"))])
    assert told[0] == told[1]
    assert len(told[0]) == 2


# What became of bids ---------------------------------------------------------------------------


def test_takes_are_won_or_refused():
    desk, auction = opened()
    heard = Heard(desk)
    desk.later(3)
    for number, limit in ((auction, 10**6), (auction, 1), (5, 10**6)):
        desk.send(AuctionTaken(ts=desk.now, auction=number, bidder=U + 1, lots=400, limit=limit))
    assert heard.mine(1) == [
        ("take", "won", ""),
        ("take", "refused", "auction_price_beyond_limit"),
        ("take", "refused", "auction_unknown"),
    ]
    (receipt,) = heard.bidding.settlements(U + 1, 2**62, 10)
    assert (receipt.quantity, receipt.price, receipt.worth) == ("40", "93.04", "3721.6")
    assert (receipt.mark, receipt.instrument, receipt.bid) == ("94", "PERP", None)
    unknown = heard.bidding.bids(U + 1, 2**62, 1)[0]
    assert (unknown.instrument, unknown.side, unknown.quantity) == ("", "", None)
    assert not heard.bidding.bids(U + 2, 2**62, 10)


def test_bids_wait_and_are_answered():
    desk, auction = opened(BATCH)
    heard = Heard(desk)
    bid(desk, auction, 1_000, 9_300, U + 1)
    bid(desk, auction, 1_000, 9_200, U + 2)
    bid(desk, auction, 1, 9_300, U + 2)
    assert heard.mine(1) == [("bid", "waiting", "")]
    assert heard.mine(2) == [("bid", "waiting", ""), ("bid", "refused", "bid_twice")]
    desk.tick(5)
    assert heard.mine(1) == [("bid", "won", "")]
    assert heard.mine(2)[0] == ("bid", "lost", "")
    (won,) = heard.bidding.bids(U + 1, 2**62, 10)
    assert (won.got, won.price, won.side) == ("100", won.limit, "buy")


def test_sealed_bids_are_revealed_forfeited_or_called_off():
    desk, auction = opened(SEALED)
    heard = Heard(desk)
    number, later = commit(desk, auction, 400, 9_300, U + 1)
    commit(desk, auction, 300, 9_200, U + 2)
    (one,) = heard.bidding.bids(U + 1, 2**62, 10)
    assert (one.status, one.bid, one.quantity, one.bond) == ("sealed", number, None, "1")
    began = heard.seen().offers[auction].began
    assert one.reveal_from == began + 5 * SECOND
    assert one.reveal_until == began + 7 * SECOND
    reveal(desk.later(5), later, salt=SALT[::-1])
    assert heard.mine(1) == [("sealed", "sealed", "")], "a stranger's try is not ours"
    reveal(desk, later)
    assert heard.mine(1) == [("sealed", "waiting", "")]
    desk.tick(7)
    assert heard.mine(1) == [("sealed", "won", "")]
    assert heard.mine(2) == [("sealed", "forfeited", "")]
    (receipt,) = heard.bidding.settlements(U + 1, 2**62, 10)
    assert (receipt.bid, receipt.bond) == (number, "1")
    assert BOND == 1_000_000
    desk, auction = opened(msgspec.structs.replace(SEALED, release=1_000_000))
    heard = Heard(desk)
    commit(desk, auction, 400, 9_300, U + 1)
    desk.later(1).price(10_000)
    assert heard.mine(1) == [("sealed", "ended", "recovered")]


def test_what_waits_is_known_after_a_restart():
    desk, auction = opened(SEALED)
    number, later = commit(desk, auction, 400, 9_300, U + 1)
    heard = Heard(desk)  # begins with the state, and has heard nothing before
    (one,) = heard.bidding.bids(U + 1, 2**62, 10)
    assert (one.bid, one.seq, one.status, one.ts) == (number, number >> SHIFT, "sealed", 0)
    reveal(desk.later(5), later)
    desk.tick(7)
    assert heard.mine(1) == [("sealed", "won", "")]
    assert len(heard.bidding.settlements(U + 1, 2**62, 10)) == 1


def test_a_desk_is_somebody_s():
    heard = Heard(desk_of())
    assert keeper_now(heard.now(), "user 1", 5).row == U + 1
    assert keeper_now(heard.now(), None, 5).row == 0
    with pytest.raises(NotFound):
        keeper_now(heard.now(), "nobody", 5)


# Seals -----------------------------------------------------------------------------------------


def test_what_is_sealed_here_is_what_the_engine_opens_and_survives_a_restart(tmp_path):
    desk, auction = opened(SEALED)
    seen = Heard(desk).seen("user 1")
    at = {"auction": auction, "began": 0, "closes": 0, "until": 0, "bidder": "user 1"}
    said = {"quantity": "40", "limit": "93.00", "salt": SALT.hex()}
    sealed = Sealed(row=seen.row, lots=400, ticks=9_300, **at, **said)
    event = BidCommitted(
        ts=desk.now, auction=auction, bidder=U + 1, seal=bytes.fromhex(sealed.seal)
    )
    (kept,) = desk.of(BidKept, desk.send(event))
    file = tmp_path / "sealed.json"
    Memory(file).keep(sealed)
    Memory(file).keep(msgspec.structs.replace(sealed, bid=kept.bid))
    (again,) = Memory(file).all()
    assert (again.bid, again.key) == (kept.bid, sealed.key)
    assert file.stat().st_mode & 0o77 == 0, "whoever reads it can bid against us"
    opened_by = {"bid": again.bid, "lots": again.lots, "limit": again.ticks}
    effects = reveal(desk.later(5), BLANK, **opened_by, salt=bytes.fromhex(again.salt))
    assert desk.of(BidKept, effects)
    memory = Memory(file)
    memory.drop(again)
    assert not Memory(file).all()
