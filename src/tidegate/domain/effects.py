"""What the engine decided. Every change of state is one of these, and nothing else is.

`Posted` and `PostedBatch` are the only way cash and assets move; `PositionsMoved` the only way lots
and their cost do. An effect is applied without further thought. Columns are `units.pack` bytes.
"""

from typing import Final, TypeAlias

import msgspec

from tidegate.domain.payers import (
    BurdenMoved,
    CapacityMoved,
    ClaimsMoved,
    DeficitWatched,
    DeleveragingCompared,
    EarlyMoved,
    LastMarketKept,
    StakeMoved,
    UnstakeKept,
)
from tidegate.domain.units import Amount, Money, Nanos, Ppm, Ticks


class Effect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A decision, already taken: applying it needs no further thought."""


class Rejected(Effect, frozen=True, kw_only=True):
    """An input was refused. ``code`` is stable and documented; ``detail`` is for people."""

    code: str
    detail: str


class AccountsOpened(Effect, frozen=True, kw_only=True):
    """Accounts took the next free rows, in this order."""

    names: tuple[str, ...]
    owner: bytes  # [accounts] rows


class Posted(Effect, frozen=True, kw_only=True):
    """An amount of one asset moved from ``debit`` to ``credit``. ``asset`` -1 is cash."""

    debit: int
    credit: int
    asset: int
    amount: Amount
    reason: str


class PostedBatch(Effect, frozen=True, kw_only=True):
    """``counter`` paid each account its amount; a negative amount was paid to it."""

    counter: int
    asset: int
    account: bytes
    amount: bytes
    reason: str


class PositionsMoved(Effect, frozen=True, kw_only=True):
    """Positions changed by these lots and costs; lots sum to zero in every instrument.

    ``cost`` is what the account paid, less what was realised; the realised part is posted.
    ``price`` is for readers: ticks of the execution, rounded to the nearest.
    """

    account: bytes
    instrument: bytes
    lots: bytes
    cost: bytes
    price: bytes
    reason: str


class ObservationKept(Effect, frozen=True, kw_only=True):
    """The oracle guard remembers this observation of one source."""

    instrument: int
    source: int
    price: Ticks
    confidence: Ticks
    published: Nanos


class MarkMoved(Effect, frozen=True, kw_only=True):
    """The mark moved to ``price``; the truth is believed to lie within ``low``..``high``.

    ``quality`` is a `Quality`; ``pending`` is the observation that waits for the oracle's delay.
    """

    instrument: int
    price: Ticks
    low: Ticks
    high: Ticks
    index: Ticks
    basis: int  # smoothed venue price minus index, in 1/1024 ticks
    pending: Ticks
    pending_at: Nanos
    quality: int
    at: Nanos
    average: int = 0  # time-weighted average of the price, in 1/1024 ticks
    reason: str = ""


class VolatilityMoved(Effect, frozen=True, kw_only=True):
    """The estimate of variance moved: ppm squared per second, around an anchor price."""

    instrument: int
    variance: int
    anchor: Ticks
    anchored_at: Nanos
    deviations: Ppm  # the move since the anchor, in standard deviations


class DepthMoved(Effect, frozen=True, kw_only=True):
    """The measured order book of one instrument."""

    instrument: int
    bid_price: bytes
    bid_lots: bytes
    ask_price: bytes
    ask_lots: bytes


class ProfileMoved(Effect, frozen=True, kw_only=True):
    """The cascade profile of one instrument: n in ppm for each price bucket, down and up."""

    instrument: int
    down: bytes
    up: bytes
    near: Ppm  # cumulative n within the near range, worse side


class HealthMoved(Effect, frozen=True, kw_only=True):
    """What the last sweep found over all accounts; Money, except the counts."""

    liquidatable: int
    bankrupt: int
    required: Money  # maintenance of everybody
    distressed: Money  # maintenance of the liquidatable
    deficit: Money  # how far the bankrupt are below zero, together


class BreakerMoved(Effect, frozen=True, kw_only=True):
    """The breaker changed rung, or its calm began anew (``calm_since``)."""

    rung: int
    calm_since: Nanos
    reason: str
    value: int


class ThrottleMoved(Effect, frozen=True, kw_only=True):
    """The leaky bucket of one instrument and side (0 sells, 1 buys): lots not yet drained."""

    instrument: int
    side: int
    spent: int
    at: Nanos


class LotsReleased(Effect, frozen=True, kw_only=True):
    """Lots of one instrument and side were ordered; windows remember them for ``keep``."""

    instrument: int
    side: int
    lots: int
    keep: Nanos
    at: Nanos


class ScheduleKept(Effect, frozen=True, kw_only=True):
    """A schedule entered: how many lots each interval may release from ``at`` on."""

    instrument: int
    side: int
    slices: bytes
    interval: Nanos
    regime: int  # index into `domain.pace.REGIMES`
    model: str
    version: str
    at: Nanos


class SeedKept(Effect, frozen=True, kw_only=True):
    """A seed was drawn outside: sizes and times of slices come from it from now on."""

    seed: bytes
    at: Nanos


class StageCut(Effect, frozen=True, kw_only=True):
    """Stages were cut up: one row a position, ``lots`` the signed trade of the whole stage."""

    account: bytes
    instrument: bytes
    lots: bytes
    secret: bytes  # [rows] what the account's sizes and times are drawn from
    at: Nanos


class SliceTaken(Effect, frozen=True, kw_only=True):
    """Parts of cut stages were netted or ordered; one row a position, signed lots."""

    account: bytes
    instrument: bytes
    lots: bytes
    at: Nanos


class CutDropped(Effect, frozen=True, kw_only=True):
    """What was left of these accounts' cut stages is not needed any more: they are healthy."""

    account: bytes
    at: Nanos


class OrdersPlaced(Effect, frozen=True, kw_only=True):
    """The venue is asked to trade ``lots`` (signed: the trade, not the position) within a limit.

    Ids are ``first`` plus the row number: a function of the event's sequence number alone.
    """

    first: int
    route: str
    account: bytes
    instrument: bytes
    lots: bytes
    limit: bytes  # Ticks
    share: bytes  # [orders] Ppm of the account this stage closes, for readers
    at: Nanos


class OrdersReduced(Effect, frozen=True, kw_only=True):
    """Orders in flight shrank by these lots (signed as ordered), through a fill or an expiry."""

    order: bytes
    lots: bytes
    closed: bytes  # 1 where nothing is left and the order's slot is free again


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

    ``reason`` is taken, cleared, recovered or unsold; ``price`` and ``bidder`` are for readers.
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


class StagesTaken(Effect, frozen=True, kw_only=True):
    """Accounts entered a liquidation stage: what they had, what they needed, how much goes."""

    account: bytes
    equity: bytes
    required: bytes
    share: bytes  # Ppm of the account that this stage closes
    at: Nanos
    waiting: int  # positions that wanted more than the budget gave


class Deleveraged(Effect, frozen=True, kw_only=True):
    """The receipt of one deleveraging: who was closed against whom, at what price, and why.

    All bankrupt positions of one instrument and side are closed at once, at one price for every
    winner. The lots and money move in the `PositionsMoved` and `PostedBatch` beside it.
    """

    instrument: int
    bankrupt: bytes  # accounts closed out, deepest first
    closed: bytes  # signed change of each
    price: Ticks  # execution, nearest tick
    mark: Ticks
    deficit: Money  # what the bankrupt lacked for the closed lots
    fund: Money  # what the fund held at that moment
    fund_paid: Money  # what it paid of the deficit; the winners gave up the rest
    account: bytes  # winners, in the order they were taken
    lots: bytes  # signed change of each winner
    forgone: bytes  # Money each winner gives up against the mark
    rank: bytes  # place in the queue, 1 first
    candidates: int  # how many could have been taken
    rule: str


class DeficitFound(Effect, frozen=True, kw_only=True):
    """An account is bankrupt by ``amount`` and nothing of it is left to sell."""

    account: int
    amount: Money
    fund: Money
    socialised: Money
    uncovered: Money


class PeakMoved(Effect, frozen=True, kw_only=True):
    """The fund's reference level for its drawdown."""

    peak: Money
    at: Nanos


class SignalKept(Effect, frozen=True, kw_only=True):
    """A signal entered, clamped to what governance allows it to say."""

    slot: int
    value: int
    said: int
    at: Nanos


class PriceNoted(Effect, frozen=True, kw_only=True):
    """A rolling window of one instrument took a price: what its cell now holds."""

    instrument: int
    ring: int  # see `domain.restraint`
    cell: int
    at: Nanos
    low: Ticks
    high: Ticks
    total: int
    count: int


class BandMoved(Effect, frozen=True, kw_only=True):
    """The price band of one instrument, or whether it may trade, changed."""

    instrument: int
    reference: Ticks
    reference_at: Nanos
    low: Ticks
    high: Ticks
    phase: int  # 0 normal, 1 at the band, 2 paused
    since: Nanos
    until: Nanos  # end of a pause
    emptied: bool  # the rolling windows begin anew
    reason: str


class MarketMoved(Effect, frozen=True, kw_only=True):
    """The market-wide levels: a window began, or a level was reached and everything pauses."""

    level: int
    anchor: Ticks
    anchored_at: Nanos
    until: Nanos
    reason: str


class StableMoved(Effect, frozen=True, kw_only=True):
    """The stable price of one instrument moved; see `kernels.stable_price`."""

    instrument: int
    cells: bytes  # [5]
    delays: bytes  # [DELAYS]


class RungHeld(Effect, frozen=True, kw_only=True):
    """Since when the ladder stands on its rung, and the rung it may not pass until a time."""

    since: Nanos
    ceiling: int
    until: Nanos


class MarginFollowed(Effect, frozen=True, kw_only=True):
    """The rate that volatility makes the least an instrument's tiers ask for."""

    instrument: int
    calculated: Ppm
    charged: Ppm


class ParameterScheduled(Effect, frozen=True, kw_only=True):
    """A change of one parameter cell was announced, or begins its ramp or grace period."""

    slot: int
    column: str
    row: int
    start: int
    target: int
    at: Nanos  # when it begins to take effect


class ParameterSettled(Effect, frozen=True, kw_only=True):
    """A change is complete, its grace period included, or was withdrawn: its slot is free."""

    slot: int


class ParameterMoved(Effect, frozen=True, kw_only=True):
    """One cell of the venue's parameter columns changed."""

    column: str
    row: int
    value: int


class LimitsHeld(Effect, frozen=True, kw_only=True):
    """The orders placed from ``first`` on cannot make their accounts worse; Money, one row each.

    Equity, maintenance and gross notional before, and after a fill at the limit. ``fate``: 0 kept,
    1 moved towards the mark, 2 of an insolvent account, 3 worse even at the mark, which it got.
    """

    first: int
    fate: bytes
    equity: bytes
    required: bytes
    notional: bytes
    equity_after: bytes
    required_after: bytes
    notional_after: bytes


class HealthBreached(Effect, frozen=True, kw_only=True):
    """Fills left these accounts worse than they found them; no penalty was charged for that."""

    account: bytes
    equity: bytes
    required: bytes
    notional: bytes
    equity_after: bytes
    required_after: bytes
    notional_after: bytes


class CapMoved(Effect, frozen=True, kw_only=True):
    """An expanding limit of one capped asset moved: its debt ceiling or its supply floor."""

    slot: int  # ceilings in the order of the caps, then floors
    limit: Money
    at: Nanos


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


class BandsBelieved(Effect, frozen=True, kw_only=True):
    """The oracle price that bands in one instrument believe, and the fee for its last moves."""

    instrument: int
    price: int  # Money a trading lot
    fee: Ppm
    at: Nanos


class BandsLaid(Effect, frozen=True, kw_only=True):
    """An account near the line laid its collateral into bands, from the price ``top`` downwards."""

    account: int
    instrument: int
    top: int  # Money a trading lot
    y: bytes  # [bands] smallest units of the collateral
    debt: Money


class BandsOffered(Effect, frozen=True, kw_only=True):
    """What bands would trade now, for whoever takes it; nothing happens until somebody does.

    ``lots`` is the change of the accounts' collateral (negative: sold) and ``paid`` what they pay
    for it (negative: receive), together.
    """

    instrument: int
    lots: int
    paid: Money
    accounts: int


class BandsMoved(Effect, frozen=True, kw_only=True):
    """What the bands of these accounts hold after a trade, row by row."""

    account: bytes
    active: bytes
    x: bytes  # [accounts x bands] Money
    y: bytes  # [accounts x bands] smallest units


class BandsLeft(Effect, frozen=True, kw_only=True):
    """An account is in bands no longer: what they held is its own again, as it was anyway."""

    account: int
    reason: str


Decision: TypeAlias = (
    Rejected
    | AccountsOpened
    | Posted
    | PostedBatch
    | PositionsMoved
    | ObservationKept
    | MarkMoved
    | VolatilityMoved
    | DepthMoved
    | ProfileMoved
    | HealthMoved
    | BreakerMoved
    | ThrottleMoved
    | LotsReleased
    | ScheduleKept
    | SeedKept
    | StageCut
    | SliceTaken
    | CutDropped
    | OrdersPlaced
    | OrdersReduced
    | AuctionsOpened
    | AuctionsReset
    | AuctionsReduced
    | BidKept
    | BidsCleared
    | StagesTaken
    | Deleveraged
    | DeficitFound
    | PeakMoved
    | SignalKept
    | ParameterMoved
    | DeleveragingCompared
    | BurdenMoved
    | EarlyMoved
    | DeficitWatched
    | CapacityMoved
    | StakeMoved
    | UnstakeKept
    | ClaimsMoved
    | LastMarketKept
    | PriceNoted
    | BandMoved
    | MarketMoved
    | StableMoved
    | RungHeld
    | LimitsHeld
    | HealthBreached
    | CommitmentKept
    | WaitingMoved
    | TakenOver
    | GuardMoved
    | DepositMoved
    | PoolMoved
    | MarginFollowed
    | ParameterScheduled
    | ParameterSettled
    | CapMoved
    | BandsBelieved
    | BandsLaid
    | BandsOffered
    | BandsMoved
    | BandsLeft
)

# Every reason a `Posted`, `PostedBatch` or `PositionsMoved` may carry.
REASONS: Final = (
    "import",
    "deposit",
    "withdraw",
    "transfer",
    "trade",
    "fill",
    "auctioned",
    "incentive",
    "bond",
    "forfeit",
    "netted",
    "deleveraged",
    "realised",
    "rounding",
    "funding",
    "interest",
    "penalty",
    "fund",
    "socialised",
    "bad_debt",
    "reported",
    "stake",
    "unstake",
    "repaid",
    "backstop",
    "pool",
    "redistributed",
    "bands",
)
