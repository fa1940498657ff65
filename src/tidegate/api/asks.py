"""What a venue, a feed or a keeper may tell the service; strict, names instead of row numbers."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta


Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
Decimal: TypeAlias = Annotated[str, Meta(pattern=r"^-?\d{1,30}(\.\d{1,18})?$")]
Positive: TypeAlias = Annotated[str, Meta(pattern=r"^\d{1,30}(\.\d{1,18})?$")]
Time: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]  # nanoseconds since the epoch, UTC
Hex: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){1,128}$")]
Share: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000)]  # parts per million
Whole: TypeAlias = Annotated[int, Meta(ge=-(2**62), le=2**62)]


def _tag(name: str) -> str:
    return "".join("_" * (c.isupper() and n > 0) + c.lower() for n, c in enumerate(name))


class Ask(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag=_tag,
    tag_field="type",
    forbid_unknown_fields=True,
):
    """Something that happened. ``ts`` is venue time; left out, it is the time of arrival."""

    ts: Time | None = None


class Price(Ask, frozen=True, kw_only=True):
    """A source published a price; ``confidence`` is its half-width."""

    instrument: Name
    source: Name
    price: Positive
    published: Time | None = None  # left out: ``ts``
    confidence: Positive = "0"


class Depth(Ask, frozen=True, kw_only=True):
    """The order book of one instrument: [price, quantity] from the touch outwards."""

    instrument: Name
    bids: Annotated[list[tuple[Positive, Positive]], Meta(max_length=1_000)]
    asks: Annotated[list[tuple[Positive, Positive]], Meta(max_length=1_000)]


class Account(Ask, frozen=True, kw_only=True):
    """A new account; ``owner`` names the account that an isolated position belongs to."""

    name: Name
    owner: Name | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account of a book that is imported."""

    name: Name
    cash: Decimal = "0"
    owner: Name | None = None


class Holds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One position or balance of a book that is imported."""

    account: Name
    instrument: Name
    quantity: Decimal
    entry: Positive = "0"  # ignored for balances of spot instruments


class Book(Ask, frozen=True, kw_only=True):
    """A whole book at once: accounts and positions."""

    accounts: list[Holding]
    positions: list[Holds] = []


class Deposit(Ask, frozen=True, kw_only=True):
    """An asset arrived; ``asset`` left out is cash."""

    account: Name
    amount: Positive
    asset: Name | None = None


class Withdrawal(Ask, frozen=True, kw_only=True):
    """An asset is asked for. ``settled``: the venue has paid already, it is booked, not refused."""

    account: Name
    amount: Positive
    asset: Name | None = None
    settled: bool = False


class Transfer(Ask, frozen=True, kw_only=True):
    """Cash moves between two accounts of one owner."""

    source: Name
    target: Name
    amount: Positive


class Trade(Ask, frozen=True, kw_only=True):
    """Two accounts traded; ``quantity`` is signed from the taker's side, no maker is the world.

    ``settled``: the venue has matched it already, it is booked, not refused.
    """

    instrument: Name
    taker: Name
    maker: Name | None = None
    quantity: Decimal
    price: Positive
    settled: bool = True


class Funding(Ask, frozen=True, kw_only=True):
    """Funding fell due; ``rate`` in parts per billion, longs pay where it is positive."""

    instrument: Name
    rate: Whole


class Interest(Ask, frozen=True, kw_only=True):
    """Interest fell due on debts in ``asset`` (left out: cash); ``rate`` in parts per billion."""

    rate: Whole
    asset: Name | None = None


class Signal(Ask, frozen=True, kw_only=True):
    """A model outside made a forecast or a measurement; the stack clamps what it may do."""

    name: Name
    model: Name
    version: Name
    value: Whole
    confidence: Share = 1_000_000


class Liquidation(Ask, frozen=True, kw_only=True):
    """The venue itself liquidated: ``quantity`` left the account for ``cash``."""

    account: Name
    instrument: Name
    quantity: Decimal
    cash: Decimal


class Fill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One execution of one of our orders; ``left`` is what the order still has open after it."""

    order: Annotated[int, Meta(ge=0, le=2**62)]
    quantity: Decimal
    price: Positive
    left: Decimal | None = None


class Fills(Ask, frozen=True, kw_only=True):
    """The venue executed parts of our orders: all fills name ``left``, or none does."""

    fills: Annotated[list[Fill], Meta(min_length=1, max_length=10_000)]


class Expired(Ask, frozen=True, kw_only=True):
    """The unfilled rest of these orders is gone."""

    orders: Annotated[list[Annotated[int, Meta(ge=0, le=2**62)]], Meta(min_length=1)]
    reason: Name


class Take(Ask, frozen=True, kw_only=True):
    """A keeper asks for up to ``quantity`` of an open auction at ``limit`` or better for it."""

    auction: Annotated[int, Meta(ge=0, le=2**62)]
    quantity: Positive
    limit: Positive
    bidder: Name | None = None  # left out: the world outside


class Bid(Ask, frozen=True, kw_only=True):
    """A keeper bids in a batch auction, for up to ``quantity`` at ``limit`` or better for it."""

    auction: Annotated[int, Meta(ge=0, le=2**62)]
    quantity: Positive
    limit: Positive
    bidder: Name | None = None


class SealedBid(Ask, frozen=True, kw_only=True):
    """A keeper hands in the seal (64 hex digits) of a bid that it will reveal."""

    auction: Annotated[int, Meta(ge=0, le=2**62)]
    seal: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    bidder: Name | None = None


class Reveal(Ask, frozen=True, kw_only=True):
    """A keeper opens its sealed bid; ``auction`` again, so that the instrument is known."""

    bid: Annotated[int, Meta(ge=0, le=2**62)]
    auction: Annotated[int, Meta(ge=0, le=2**62)]
    quantity: Positive
    limit: Positive
    salt: Hex


class Stake(Ask, frozen=True, kw_only=True):
    """An account puts cash into a tranche of the fund."""

    account: Name
    tranche: Name
    amount: Positive


class UnstakeRequest(Ask, frozen=True, kw_only=True):
    """An account wants shares of a tranche back after the delay; none: it no longer does."""

    account: Name
    tranche: Name
    shares: Annotated[int, Meta(ge=0, le=2**62)]


class Unstake(Ask, frozen=True, kw_only=True):
    """The delay is over: an account asks to be paid what it wanted back."""

    account: Name
    tranche: Name


class PoolJoin(Ask, frozen=True, kw_only=True):
    """An account puts cash into the pool that repays liquidated loans."""

    account: Name
    amount: Positive


class PoolLeave(Ask, frozen=True, kw_only=True):
    """An account asks for its share of the pool back, up to an amount."""

    account: Name
    amount: Positive


class Commitment(Ask, frozen=True, kw_only=True):
    """An account stands ready to take liquidated positions over; nothing on both sides ends it."""

    account: Name
    instrument: Name
    long_max: Positive = "0"
    short_max: Positive = "0"
    discount: Share
    slope: Share = 0


# Who may send what: the role of the key, and its asks.
FEED_ASKS: TypeAlias = (
    Price
    | Depth
    | Account
    | Book
    | Deposit
    | Withdrawal
    | Transfer
    | Trade
    | Funding
    | Interest
    | Signal
    | Liquidation
    | Fills
    | Expired
    | Commitment
    | Stake
    | UnstakeRequest
    | Unstake
    | PoolJoin
    | PoolLeave
)
KEEPER_ASKS: TypeAlias = Take | Bid | SealedBid | Reveal
AnyAsk: TypeAlias = FEED_ASKS | KEEPER_ASKS


class Events(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of an ingestion: events in order, journalled together or not at all."""

    events: Annotated[list[FEED_ASKS], Meta(min_length=1, max_length=10_000)]


class Bids(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of what a keeper sends."""

    bids: Annotated[list[KEEPER_ASKS], Meta(min_length=1, max_length=1_000)]
