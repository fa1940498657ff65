"""What happened outside. Past tense, immutable, integers only, one timestamp each.

Accounts are rows and instruments are columns: the door (a recording's loader, a service) turns
names into numbers once. Columns of batch events are little-endian int64 bytes, see `units.pack`.

Exogenous events are the weather. Endogenous ones (`ENDOGENOUS`) answer the engine's own orders and
offers; a counterfactual replay drops them and lets the venue model answer anew.
"""

from typing import Final, TypeAlias

import msgspec

from tidegate.domain.units import Amount, Lots, Money, Nanos, Ppb, Ppm, Ticks


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something the world told us, at venue time ``ts``."""

    ts: Nanos


class BookImported(Event, frozen=True, kw_only=True):
    """A whole book arrived at once: accounts, cash, balances and positions as columns.

    ``names[k]`` becomes the next free row plus k. ``owner`` is an index into ``names``: an isolated
    position is an account of its own that names the owner it belongs to.
    """

    names: tuple[str, ...]
    owner: bytes  # [accounts] index into `names`
    cash: bytes  # [accounts] Money
    account: bytes  # [positions] index into `names`
    instrument: bytes  # [positions]
    lots: bytes  # [positions] signed
    entry: bytes  # [positions] Ticks; ignored for spot balances


class AccountOpened(Event, frozen=True, kw_only=True):
    """A new account; it gets the next row. ``owner`` is its owner's row, or -1 for itself."""

    name: str
    owner: int = -1


class Deposited(Event, frozen=True, kw_only=True):
    """An asset arrived from outside: a deposit, or a loan repaid. ``asset`` -1 is cash."""

    account: int
    amount: Amount
    asset: int = -1


class Withdrawn(Event, frozen=True, kw_only=True):
    """An asset was asked for: a withdrawal, or the drawing of a loan; refused below initial.

    ``settled`` marks what a recorded venue has already allowed: it is booked, never refused.
    """

    account: int
    amount: Amount
    asset: int = -1
    settled: bool = False


class Transferred(Event, frozen=True, kw_only=True):
    """Cash moved between two accounts of one owner: isolated margin was added or taken out."""

    source: int
    target: int
    amount: Money


class Traded(Event, frozen=True, kw_only=True):
    """Two accounts exchanged a position; ``lots`` is signed from the taker's side.

    ``maker`` 0 is the world outside. ``settled`` as in `Withdrawn`. ``reduces`` asks for no more
    than the taker still holds: what a recorded close may do after another stack came first.
    """

    instrument: int
    taker: int
    maker: int
    lots: Lots
    price: Ticks
    settled: bool = False
    reduces: bool = False


class PriceObserved(Event, frozen=True, kw_only=True):
    """A source published a price at ``published``; ``confidence`` is its half-width."""

    instrument: int
    source: int
    price: Ticks
    published: Nanos
    confidence: Ticks = Ticks(0)


class DepthObserved(Event, frozen=True, kw_only=True):
    """The order book of one instrument: price levels from the touch outwards, with their lots."""

    instrument: int
    bid_price: bytes
    bid_lots: bytes
    ask_price: bytes
    ask_lots: bytes


class FundingPaid(Event, frozen=True, kw_only=True):
    """Funding fell due: longs pay ``rate`` of their value to shorts; negative, the other way."""

    instrument: int
    rate: Ppb


class InterestAccrued(Event, frozen=True, kw_only=True):
    """Interest fell due on debts in ``asset`` (-1: cash), at ``rate`` for the period just ended."""

    rate: Ppb
    asset: int = -1


class ParameterChanged(Event, frozen=True, kw_only=True):
    """A dated change of one named venue parameter; names are listed in `safeguards/stack.py`."""

    name: str
    value: int


class ParameterProposed(Event, frozen=True, kw_only=True):
    """A change of one named venue parameter was announced, to take effect at ``effective_at``.

    Refused with less notice than the stack's governance asks for. Proposing the value that stands
    withdraws a change that has not begun.
    """

    name: str
    value: int
    effective_at: Nanos


class SignalObserved(Event, frozen=True, kw_only=True):
    """A model outside the core made a forecast or a measurement; clamped before it acts."""

    name: str
    model: str
    version: str
    value: int
    confidence: Ppm = Ppm(1_000_000)


class ScheduleObserved(Event, frozen=True, kw_only=True):
    """A solver outside the core says how fast one instrument and side may be sold.

    ``slices`` are lots per ``interval``, the first from now on; ``regime`` is one of
    `domain.pace.REGIMES`. Clamped before it acts: it can only slow a stack down.
    """

    instrument: int
    side: int  # 0: forced sales, 1: forced purchases
    slices: bytes
    interval: Nanos
    regime: str
    model: str
    version: str
    confidence: Ppm = Ppm(1_000_000)


class SeedDrawn(Event, frozen=True, kw_only=True):
    """A seed of 32 bytes for the sizes and times of slices, drawn where watchers cannot see it."""

    seed: bytes


class ClockTicked(Event, frozen=True, kw_only=True):
    """Time passed and nothing else happened."""


class LiquidationReported(Event, frozen=True, kw_only=True):
    """A recorded venue liquidated: ``lots`` left the account for ``cash``. Booked, never decided.

    ``cash`` is what the account was credited for them (for a loan: the debt that was extinguished).
    """

    account: int
    instrument: int
    lots: Lots
    cash: Money


class CommitmentMade(Event, frozen=True, kw_only=True):
    """An account stands ready to take liquidated positions over, until it holds so many lots.

    ``discount`` is asked on the mark with nothing held, ``slope`` more at the largest position. A
    new commitment in the same instrument replaces the old one; none on both sides withdraws it.
    """

    account: int
    instrument: int
    long_max: Lots
    short_max: Lots  # positive
    discount: Ppm
    slope: Ppm = Ppm(0)


class PoolJoined(Event, frozen=True, kw_only=True):
    """An account put cash into the pool that repays liquidated loans."""

    account: int
    amount: Money


class PoolLeft(Event, frozen=True, kw_only=True):
    """An account asked for cash back, at most what is left of it, with all that it has gained."""

    account: int
    amount: Money


class OrdersFilled(Event, frozen=True, kw_only=True):
    """The venue executed parts of our orders: one row a fill, at most one price each.

    ``left`` is what the order still has open after the fill, as the venue counts (LeavesQty of
    FIX): with it a fill that is told twice is known for what it is. Empty: the venue does not say.
    """

    order: bytes  # [fills] order ids
    lots: bytes  # [fills] signed as ordered
    price: bytes  # [fills] Ticks
    left: bytes = b""  # [fills] lots, signed as ordered


class OrdersExpired(Event, frozen=True, kw_only=True):
    """The unfilled rest of these orders is gone: refused, cancelled or timed out."""

    order: bytes
    reason: str


class FundStaked(Event, frozen=True, kw_only=True):
    """An account puts cash into a tranche of the fund, for shares of it."""

    account: int
    tranche: int
    amount: Money


class UnstakeRequested(Event, frozen=True, kw_only=True):
    """An account wants ``shares`` of a tranche back after the delay; 0: it no longer does."""

    account: int
    tranche: int
    shares: int


class Unstaked(Event, frozen=True, kw_only=True):
    """The delay is over, and an account asks to be paid what it wanted back."""

    account: int
    tranche: int


class BandsTaken(Event, frozen=True, kw_only=True):
    """Somebody outside trades with the bands of one instrument, as they offered.

    ``lots`` is the change of the accounts' collateral: negative, they sell. Of an offer that has
    shrunk, what is left is taken. ``limit`` is the most Money the taker pays for all of ``lots``,
    or the least it receives; for fewer, in proportion.
    """

    instrument: int
    lots: Lots
    limit: Money


class AuctionTaken(Event, frozen=True, kw_only=True):
    """A bidder asked for up to ``lots`` (positive) of an auction, at ``limit`` or better for it."""

    auction: int
    bidder: int  # a user's row, or 0 for the world outside
    lots: Lots
    limit: Ticks


class BidPlaced(Event, frozen=True, kw_only=True):
    """A bidder asked a batch for up to ``lots`` (positive), at ``limit`` or better for it."""

    auction: int
    bidder: int  # a user's row, or 0 for the world outside
    lots: Lots
    limit: Ticks


class BidCommitted(Event, frozen=True, kw_only=True):
    """A bidder handed in a sealed bid: the hash of a salt and of what `BidRevealed` will say."""

    auction: int
    bidder: int
    seal: bytes  # 32 bytes, see `domain.commitments`


class BidRevealed(Event, frozen=True, kw_only=True):
    """A bidder opened its sealed bid. ``bid`` is the number that it was kept under."""

    bid: int
    lots: Lots
    limit: Ticks
    salt: bytes  # 16 bytes or more


class Attested(Event, frozen=True, kw_only=True):
    """Somebody signed something: a proposal, an approval, an order to stop.

    Kept for whoever audits, and never decided on: what follows from it enters as an event of its
    own. ``body`` is what was signed, byte for byte; ``signature`` is the signer's, and was verified
    outside.
    """

    kind: str
    signer: str
    body: bytes
    signature: bytes


Input: TypeAlias = (
    BookImported
    | AccountOpened
    | Deposited
    | Withdrawn
    | Transferred
    | Traded
    | PriceObserved
    | DepthObserved
    | FundingPaid
    | InterestAccrued
    | ParameterChanged
    | ParameterProposed
    | SignalObserved
    | ScheduleObserved
    | SeedDrawn
    | ClockTicked
    | LiquidationReported
    | CommitmentMade
    | PoolJoined
    | PoolLeft
    | OrdersFilled
    | OrdersExpired
    | FundStaked
    | UnstakeRequested
    | Unstaked
    | BandsTaken
    | AuctionTaken
    | BidPlaced
    | BidCommitted
    | BidRevealed
    | Attested
)

ENDOGENOUS: Final = (
    OrdersFilled,
    OrdersExpired,
    BandsTaken,
    AuctionTaken,
    BidPlaced,
    BidCommitted,
    BidRevealed,
)
