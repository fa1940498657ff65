"""What is asked before a trade or a change of parameters, and what is answered."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.api.answers import Answer
from tidegate.api.asks import Name, Trade, Whole, Withdrawal


class PreTrade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Would this order be allowed? Nothing is booked, whatever its ``settled`` says."""

    order: Trade | Withdrawal


class Reason(Answer, frozen=True, kw_only=True):
    """Why an order is refused: a stable code, and the words for it."""

    code: str
    detail: str = ""


class AccountAfter(Answer, frozen=True, kw_only=True):
    """One account as the order would leave it, at the marks of now."""

    account: str
    equity_before: str
    equity: str
    maintenance: str
    initial: str  # as the breaker scales it, the price of waiting included
    distance: float | None  # equity less maintenance, over notional; None without positions
    liquidation_move: float | None  # of the traded instrument alone, as a share; None: never


class TailAdded(Answer, frozen=True, kw_only=True):
    """What the order adds to the venue's tail; amounts in the numeraire, no interval is claimed."""

    level: float
    horizon_s: float
    scenarios: int
    seq: int  # of the record after which the base was taken
    ts: int
    age_s: float
    stale: list[str]  # why the base should not be trusted; empty: it may
    shortfall: float  # expected bad debt of the worst scenarios, the order left out
    shortfall_after: float
    added: float
    added_at_975: float  # the same at 97.5 %
    share: float  # Euler shares of the order's accounts in the shortfall
    share_after: float


class BranchingAdded(Answer, frozen=True, kw_only=True):
    """What the order does to one instrument's cascade profile; ppm of depth."""

    symbol: str
    near: int
    near_after: int
    added: int
    peak: int  # the largest n of any bucket with depth
    peak_after: int


class PreTradeAnswer(Answer, frozen=True, kw_only=True):
    """The engine's own answer, the account after the order, and what the order adds to the tail."""

    allowed: bool
    reduces: bool  # such an order is never refused for the tail
    reasons: list[Reason]
    seq: int
    ts: int
    accounts: list[AccountAfter] = msgspec.field(default_factory=list[AccountAfter])
    tail: TailAdded | None = None  # None until the first base was made
    # Of the instruments that the order's accounts hold, and of others that it moves.
    branching: list[BranchingAdded] = msgspec.field(default_factory=list[BranchingAdded])
    radius: int | None = None  # spectral radius over all instruments, ppm
    radius_after: int | None = None


class ParameterChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One parameter on trial, by its name in the reference of parameters."""

    name: Name
    value: Whole


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of the last days are rerun."""

    days: Annotated[float, Meta(ge=0, le=366)] = 30.0  # 0: the live book alone
    # Between two ticks of the rerun's clock; left out: 50,000 ticks in the window.
    step_s: Annotated[float, Meta(ge=0.001, le=86_400)] | None = None


class ShadowAsk(Window, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put changes on trial: on the live book, and in a rerun of the last ``days``."""

    changes: Annotated[list[ParameterChange], Meta(min_length=1, max_length=64)]


class AccountOnTrial(Answer, frozen=True, kw_only=True):
    """One account that the change would make liquidatable, or save, on the live book."""

    account: str
    equity: str
    maintenance: str
    maintenance_after: str
    lacks: str
    open: str


class LiveTrial(Answer, frozen=True, kw_only=True):
    """What the change would do if it acted after ``seq``."""

    seq: int
    ts: int
    liquidated: list[AccountOnTrial]
    saved: list[AccountOnTrial]
    n_liquidated: int  # the lists name the largest only
    n_saved: int
    already: int
    short: str  # what those liquidated by it would have to add
    required: str
    required_after: str


class Fate(Answer, frozen=True, kw_only=True):
    """One account whose last days would have been others; amounts in the numeraire."""

    account: str
    liquidated: bool
    liquidated_after: bool
    forced: float
    forced_after: float
    deficit: float
    deficit_after: float
    lost: float  # taken from it as a winner
    lost_after: float


class PastTrial(Answer, frozen=True, kw_only=True):
    """The last days twice, as they were governed and as they would be, by one model."""

    first: int  # records
    last: int
    begins: int
    ends: int
    step_s: float
    events: int  # exogenous ones, replayed
    dropped: dict[str, int]  # by kind: what answered the old orders, and what the rerun says itself
    changed_within: list[str]  # parameters that history itself changed
    overridden: list[str]  # those of them that are on trial: history's change is left out
    without_market: list[str]  # instruments of no declared depth: forced orders expire there
    regenerated: float  # share of the events of the rerun that the model made
    regenerated_after: float
    verdict: dict[str, Any]
    verdict_after: dict[str, Any]
    differ: int  # accounts
    accounts: list[Fate]  # the largest only


class ShadowAnswer(Answer, frozen=True, kw_only=True):
    """A trial and how far it is. ``digest`` names the finished result, to be cited."""

    trial: str  # what is asked, of which book: asked twice, it is one trial
    status: str  # waiting, running, done, failed, cancelled
    progress: float  # 0..1
    changes: list[ParameterChange]
    days: float
    live: LiveTrial | None = None
    past: PastTrial | None = None
    digest: str = ""
    error: str = ""
