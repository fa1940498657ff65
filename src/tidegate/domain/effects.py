"""What the engine decided. Every change of state is one of these, and nothing else is.

`Posted` and `PostedBatch` are the only way cash and assets move; `PositionsMoved` the only way lots
and their cost do. An effect is applied without further thought. Columns are `units.pack` bytes.
"""

from typing import Final, TypeAlias

from tidegate.domain.effect import Effect
from tidegate.domain.effects_auctions import (
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    BidKept,
    BidsCleared,
)
from tidegate.domain.effects_backing import (
    CommitmentKept,
    DepositMoved,
    GuardMoved,
    PoolMoved,
    TakenOver,
    WaitingMoved,
)
from tidegate.domain.effects_bands import (
    BandsBelieved,
    BandsLaid,
    BandsLeft,
    BandsMoved,
    BandsOffered,
)
from tidegate.domain.effects_cadence import Judged, JudgementOwed
from tidegate.domain.effects_governed import (
    CapMoved,
    HealthBreached,
    LimitsHeld,
    MarginFollowed,
    ParameterMoved,
    ParameterScheduled,
    ParameterSettled,
)
from tidegate.domain.effects_pace import (
    CutDropped,
    LotsReleased,
    ScheduleKept,
    SeedKept,
    SliceTaken,
    StageCut,
)
from tidegate.domain.effects_restraint import (
    BandMoved,
    MarketMoved,
    PriceNoted,
    RungHeld,
    StableMoved,
)
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
    | JudgementOwed
    | Judged
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
