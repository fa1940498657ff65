"""What the engine decided about providers, the pool and sharing."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Money, Nanos, Ppm


class CommitmentKept(Effect, frozen=True, kw_only=True):
    """A provider's commitment was written into its slot."""

    slot: int
    account: int
    instrument: int
    long_max: int
    short_max: int
    discount: Ppm
    slope: Ppm


class WaitingMoved(Effect, frozen=True, kw_only=True):
    """Accounts fell below maintenance at ``at``, and others are no longer below."""

    begun: bytes
    over: bytes
    at: Nanos


class TakenOver(Effect, frozen=True, kw_only=True):
    """The receipt of one step's takeovers by providers, one row a fill.

    The lots and money move in the `PositionsMoved` and `PostedBatch` beside it.
    """

    account: bytes
    provider: bytes
    instrument: bytes
    lots: bytes  # signed change of the account
    discount: bytes  # Ppm of the mark
    forgone: bytes  # Money the account gives up against the mark, what feeds the fund included
    fed: bytes  # Money of it that feeds the fund
    mark: bytes  # Ticks


class GuardMoved(Effect, frozen=True, kw_only=True):
    """What the backstop's guards have in their buckets, in Money, per instrument and per owner."""

    instrument: bytes
    market_spent: bytes
    owner: bytes
    owner_spent: bytes
    at: Nanos


class DepositMoved(Effect, frozen=True, kw_only=True):
    """A depositor's slot of the pool as it is now; ``deposits`` is what all have together."""

    slot: int
    account: int
    deposit: Money
    product: int
    scale: int
    sums: bytes  # [instruments]
    deposits: Money


class PoolMoved(Effect, frozen=True, kw_only=True):
    """The pool took a loan over: it repaid ``debt`` of ``account`` for ``lots`` of its assets."""

    account: int
    debt: Money
    asset: bytes
    lots: bytes
    deposits: Money
    product: int
    scale: int
    at_scale: int  # where the sums belong: the scale before this loss
    sums: bytes  # [assets] of this takeover
    kept: bytes  # [assets] units that rounding kept back for the next gain
