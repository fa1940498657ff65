"""A desk on which one long account is about to be sold to bidders."""

from tests.desk import Desk, flat, perp, rules, venue_of

from tidegate.domain.book import EXTERNAL
from tidegate.domain.effects import AuctionsOpened, Rejected
from tidegate.domain.events import AuctionTaken
from tidegate.domain.units import SECOND, unpack
from tidegate.engine.auctions import offers
from tidegate.engine.invariants import audit
from tidegate.safeguards.auctions import AuctionRoute
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.waterfall import Tranche, Waterfall


LOT = 1_000  # Money of one lot at one tick
SALE = AuctionRoute(
    buffer=20_000,
    cut=990_000,
    step_ns=SECOND,
    tail_ns=10 * SECOND,
    life_ns=40 * SECOND,
    floor=50_000,
)
FUNDED = Waterfall(tranches=(Tranche(name="fund", initial=10**9),))


def desk_of(route=SALE, **policies) -> Desk:
    """Return a desk on which one account holds 1,000 lots long and can no longer at 9,400."""
    policies = {"waterfall": FUNDED, "margin": rules(flat(penalty=10_000))} | policies
    free = {"never_worse": NeverWorse(mode="off")}  # these tables are about the route's own limits
    desk = Desk(venue_of(perp()), route=route, **(free | policies))
    desk.price(10_000)
    desk.users((10**9, 10**11, 10**11), [(0, 0, 1_000, 10_000)])
    return desk


def opened(route=SALE, **policies) -> tuple[Desk, int]:
    """Return a desk with that account's auction, and its id."""
    desk = desk_of(route, **policies)
    (one,) = desk.of(AuctionsOpened, desk.price(9_400))
    assert unpack(one.lots).tolist() == [-1_000]
    return desk, one.first


def take(desk: Desk, auction: int, lots: int, limit: int = 10**6, bidder: int = EXTERNAL) -> list:
    event = AuctionTaken(ts=desk.now, auction=auction, bidder=bidder, lots=lots, limit=limit)
    effects = desk.send(event)
    audit(desk.state)
    return effects


def refused(effects: list) -> str:
    (said,) = effects
    assert isinstance(said, Rejected)
    return said.code


def price_now(desk: Desk) -> int:
    (one,) = offers(desk.state, desk.now, desk.stack)
    return one.price
