"""What the engine decided about auctions and bids."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Money, Nanos, Ticks


class AuctionsOpened(Effect, frozen=True, kw_only=True):
    """Bidders are offered ``lots`` (signed: the account's trade), at prices that begin at ``base``.

    Ids are ``first`` plus the row number. No price is ever worse for the account than ``limit``.
    """

    first: int
    route: str
    account: bytes
    instrument: bytes
    lots: bytes
    base: bytes  # Ticks, the mark
    limit: bytes  # Ticks
    share: bytes  # [auctions] Ppm of the account this stage closes, for readers
    at: Nanos


class AuctionsReset(Effect, frozen=True, kw_only=True):
    """Auctions begin anew at the mark; ``reason`` is tail, cusp, drift or window."""

    auction: bytes
    base: bytes
    limit: bytes
    at: Nanos
    reason: str


class AuctionsReduced(Effect, frozen=True, kw_only=True):
    """Auctions shrank by these lots (signed as offered); ``penalty`` is what was collected.

    ``reason`` is taken, cleared, recovered, unsold, or closed: the position is gone. ``price`` and
    ``bidder`` are for readers.
    """

    auction: bytes
    lots: bytes
    penalty: bytes
    closed: bytes  # 1 where the auction is over and its slot is free again
    reason: str
    price: Ticks = Ticks(0)
    bidder: int = 0


class BidKept(Effect, frozen=True, kw_only=True):
    """A bid waits for its auction to clear; one that was sealed before is now revealed."""

    bid: int
    auction: int
    bidder: int
    lots: int  # 0 while it is sealed
    limit: Ticks
    bond: Money
    nonce: int = 0
    seal: bytes = b""  # the commitment, empty for an open bid


class BidsCleared(Effect, frozen=True, kw_only=True):
    """These bids are answered and gone: how many lots each got, at the one price of its auction."""

    bid: bytes
    lots: bytes  # [bids] positive; 0: nothing
    price: bytes  # [bids] Ticks; 0 where nothing was sold
    reason: str  # cleared, or why the auction ended without
