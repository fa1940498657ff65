"""What the engine decided about who pays: beside the receipt, gates, stakes, claims and memory."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Money, Nanos, Ppm


class Decided(Effect, frozen=True, kw_only=True):
    """A decision, already taken, as every effect is."""


class DeleveragingCompared(Decided, frozen=True, kw_only=True):
    """What else could have been done in the `Deleveraged` beside it, for whom it was done to.

    The neutral rule is pro rata by size among the same candidates. Columns have one row a winner.
    """

    instrument: int
    account: bytes  # winners, as in the receipt
    neutral: bytes  # signed change that the neutral rule would have made to each
    hedged: bytes  # lots of each close that were the hedge of another leg
    neutral_accounts: int  # how many the neutral rule would have touched
    spared: int  # lots that the rule left alone because they were hedges
    next_account: int  # who would have been next; -1: nobody was left
    next_rank: int  # its place in the queue; 0: nobody was left


class BurdenMoved(Decided, frozen=True, kw_only=True):
    """What accounts have borne weighs in the next round: their new weights in ppm."""

    account: bytes
    weight: bytes


class EarlyMoved(Decided, frozen=True, kw_only=True):
    """The fund's fall from its peak turned early deleveraging on or off."""

    active: int
    fall: Ppm
    fund: Money


class DeficitWatched(Decided, frozen=True, kw_only=True):
    """The withdrawal gate's clock: whether somebody owes more than they have, and seen when."""

    at: Nanos  # the last time a deficit was open
    open: int


class CapacityMoved(Decided, frozen=True, kw_only=True):
    """What may still be withdrawn from the venue at this moment; it refills with time."""

    capacity: Money
    at: Nanos


class StakeMoved(Decided, frozen=True, kw_only=True):
    """An account's shares of a tranche changed."""

    account: int
    tranche: int
    shares: int  # signed


class UnstakeKept(Decided, frozen=True, kw_only=True):
    """An account asked for shares back, worth ``value`` then; no shares: it no longer asks."""

    account: int
    tranche: int
    shares: int
    value: Money
    at: Nanos


class ClaimsMoved(Decided, frozen=True, kw_only=True):
    """What a defaulter owes to those who paid its deficit; negative amounts were repaid."""

    debtor: int
    payer: bytes
    amount: bytes  # Money


class LastMarketKept(Decided, frozen=True, kw_only=True):
    """The instruments that accounts left by force, which their deficits will belong to."""

    account: bytes
    instrument: bytes
