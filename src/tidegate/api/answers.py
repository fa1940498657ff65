"""What the service answers: the venue, its accounts, its auctions, as they stand after ``seq``."""

from typing import Any, Literal

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that is answered."""


class Problem(Answer, frozen=True, kw_only=True):
    """What went wrong, as RFC 9457 has it; ``hint`` says what to do."""

    type: str  # "about:blank", or the address of a page of the reference
    title: str
    status: int
    detail: str = ""
    code: str = ""  # stable
    where: str = ""
    hint: str = ""


class Outcome(Answer, frozen=True, kw_only=True):
    """What became of one event: its record, and the codes under which anything was refused.

    A bidder reads what it has got at once, or the number under which its bid is kept.
    """

    seq: int
    refused: list[str] = []
    details: list[str] = []
    bid: int | None = None
    got: str | None = None  # quantity, signed as the bidder's own trade
    price: str | None = None  # of what it got


class Taken(Answer, frozen=True, kw_only=True):
    """Events are durable. ``again``: they were already, and this repeats the first answer."""

    first: int
    last: int
    again: bool = False
    outcomes: list[Outcome] = []  # empty where the request is answered again


class Tranche(Answer, frozen=True, kw_only=True):
    """One layer of the insurance fund."""

    name: str
    balance: str
    initial: str


class VenueNow(Answer, frozen=True, kw_only=True):
    """The whole venue after ``seq``."""

    name: str
    numeraire: str
    account_label: str
    stack: str
    stack_digest: str
    version: str
    seq: int  # of the last record; -1: none
    ts: int
    mode: str  # armed, advising, halted
    leader: bool
    epoch: int
    rung: int
    rungs: int
    rung_name: str
    rung_reason: str
    rung_value: int
    rung_since: int
    branching: float  # the largest near branching ratio of all instruments
    accounts: int
    positions: int
    liquidatable: int
    bankrupt: int
    required: str  # maintenance of everybody
    distressed: str  # maintenance of the liquidatable
    deficit: str
    fund: str
    fund_peak: str
    lost: str  # cumulative deficits
    tranches: list[Tranche]
    in_flight: int  # orders


class InstrumentNow(Answer, frozen=True, kw_only=True):
    """One instrument after ``seq``."""

    symbol: str
    kind: str
    tick_size: str
    lot_size: str
    mark: str  # "0" before the first price
    low: str
    high: str
    index: str
    quality: str
    marked_at: int
    branching: float
    deviations: float  # the move in the window, in standard deviations
    volatility: float  # per square root of a day, as a share
    long_open: str
    short_open: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    spent_sells: str  # in the throttle's bucket
    spent_buys: str
    budget: str | None  # of sells: what the bucket holds at most, where the stack throttles
    budget_buys: str | None
    band_low: str
    band_high: str
    phase: str
    paused: list[str]  # actions paused by a dated change


class Profile(Answer, frozen=True, kw_only=True):
    """The cascade profile of one instrument: n for each bucket away from the mark."""

    symbol: str
    seq: int
    ts: int
    mark: str
    width: float  # of a bucket, as a share of the mark
    near: float
    down: list[float]
    up: list[float]


class ProfileHistory(Answer, frozen=True, kw_only=True):
    """The cascade profile over time: row k was measured at ``ts[k]``."""

    symbol: str
    width: float
    ts: list[int]
    mark: list[float]
    near: list[float]
    down: list[list[float]]
    up: list[list[float]]


class LiquidationMap(Answer, frozen=True, kw_only=True):
    """Where liquidations wait, by price, against the depth that would meet them.

    Bucket k below the mark spans ``mark * (1 - (k + 1) * width)`` to ``mark * (1 - k * width)``;
    quantities are in the instrument's units.
    """

    symbol: str
    seq: int
    ts: int
    mark: float
    width: float
    forced_down: list[float]  # forced sales released in each bucket below the mark
    forced_up: list[float]  # forced purchases released above it
    bid_depth: list[float]
    ask_depth: list[float]


class PositionNow(Answer, frozen=True, kw_only=True):
    """One position or balance."""

    instrument: str
    quantity: str
    entry: str
    mark: str
    value: str
    pnl: str
    in_flight: str
    liquidation_price: str | None  # where the account becomes liquidatable by this price alone


class AccountNow(Answer, frozen=True, kw_only=True):
    """One account after ``seq``."""

    name: str
    owner: str
    seq: int
    ts: int
    cash: str
    equity: str
    maintenance: str
    initial: str
    margin_ratio: float | None  # maintenance over equity; None without positions or equity
    liquidatable: bool
    bankrupt: bool
    distance: float | None  # equity less maintenance, over notional
    positions: list[PositionNow]
    orders: list["OrderNow"]


class AccountColumns(Answer, frozen=True, kw_only=True):
    """Accounts with positions, nearest to liquidation first, as columns."""

    seq: int
    ts: int
    total: int  # accounts that hold positions
    offset: int
    account: list[str]
    equity: list[float]
    maintenance: list[float]
    notional: list[float]
    distance: list[float]  # equity less maintenance, over notional


class OrderNow(Answer, frozen=True, kw_only=True):
    """One order in flight: sell where the quantity is negative, never beyond the limit."""

    order: int
    account: str
    instrument: str
    quantity: str
    limit: str
    route: str
    placed_at: int


class AuctionNow(Answer, frozen=True, kw_only=True):
    """One open auction: what is sold and at what price a taker would get it at ``ts``.

    ``quantity`` is what the bidder gets: positive, it buys. ``asking`` is None where bids are
    collected until ``closes_at``; sealed ones are revealed from then until ``reveal_at``. The price
    at any moment follows from ``base``, ``limit``, the time since ``began`` and the `Sale`.
    """

    auction: int
    kind: str  # dutch, fixed_spread, batch, sealed
    instrument: str
    quantity: str
    asking: str | None
    mark: str
    opened_at: int
    closes_at: int | None
    reveal_at: int | None
    bids: int
    began: int = 0  # when the price was last set, or the window opened
    base: str = "0"  # the mark from which it was set
    limit: str = "0"  # the best price that a bidder can hope for


class Sale(Answer, frozen=True, kw_only=True):
    """How auctions go here: with an auction, all there is to know of its price at any moment.

    Times are nanoseconds, shares parts per million. What a kind has no use for is zero.
    """

    kind: str  # dutch, fixed_spread, batch, sealed
    life_ns: int  # after its opening, what is left goes to the order book
    curve: str = ""  # of a Dutch auction: linear, stair, exponential, halving
    buffer: int = 0
    step_ns: int = 0
    cut: int = 0
    tail_ns: int = 0
    cusp: int = 0
    drift: int = 0
    discount: int = 0  # of a fixed spread
    window_ns: int = 0  # bids are taken for so long ...
    reveal_ns: int = 0  # ... revealed within this ...
    jitter_ns: int = 0  # ... and cleared within this
    bond: str = "0"  # held while a bid is sealed
    dust: str = "0"  # a take leaves this much or nothing
    incentive: str = "0"  # to who takes the last lot ...
    incentive_share: int = 0  # ... but no more than this share of the penalty


class Grid(Answer, frozen=True, kw_only=True):
    """One instrument as a bidder needs it: what one tick and one lot are, and the mark."""

    symbol: str
    tick_size: str
    lot_size: str
    mark: str


class KeeperNow(Answer, frozen=True, kw_only=True):
    """The desk of a keeper after ``seq``: go on with the stream after it.

    ``row`` is the number that stands for ``account`` in a seal; 0 is the world outside. ``clock``
    is the service's, by which what arrives is dated.
    """

    seq: int
    ts: int
    clock: int
    account: str | None
    row: int
    sale: Sale | None  # None: nothing is sold by auction here
    instruments: list[Grid]
    auctions: list[AuctionNow]


class BidNow(Answer, frozen=True, kw_only=True):
    """One bid, and what has become of it.

    ``status`` is sealed (reveal it from ``reveal_from`` until before ``reveal_until``), waiting,
    won, lost, ended (its auction was called off), forfeited (never revealed: the bond is lost) or
    refused, with its ``code``.
    """

    seq: int  # its record
    ts: int  # 0: it came before what is remembered
    kind: str  # take, bid, sealed
    status: str
    auction: int
    instrument: str  # empty where there is no such auction
    side: str  # buy, sell; empty with it
    bid: int | None = None  # its number
    quantity: str | None = None  # None while it is sealed
    limit: str | None = None
    got: str = "0"
    price: str | None = None
    bond: str = "0"
    reveal_from: int | None = None
    reveal_until: int | None = None
    code: str = ""
    detail: str = ""


class Settlement(Answer, frozen=True, kw_only=True):
    """What a keeper got out of one auction at one moment: its receipt."""

    seq: int
    ts: int
    auction: int
    bid: int | None  # None: it was taken
    instrument: str
    quantity: str  # negative: it sold
    price: str
    mark: str
    worth: str  # of the quantity at the price
    incentive: str  # paid on top
    bond: str  # that came back


class Receipt(Answer, frozen=True, kw_only=True):
    """One deleveraging: who was closed against whom, and at what price."""

    seq: int
    ts: int
    instrument: str
    bankrupt: list[str]
    price: str
    mark: str
    deficit: str
    fund: str
    fund_paid: str
    forgone: str
    candidates: int
    rule: str
    winners: list["Winner"]


class Winner(Answer, frozen=True, kw_only=True):
    """One winner that was closed."""

    account: str
    quantity: str
    forgone: str
    rank: int


class Flow(Answer, frozen=True, kw_only=True):
    """Forced flow of one instrument over time, against what the throttle lets through."""

    symbol: str
    ts: list[int]
    ordered: list[float]  # numeraire, placed since the row before
    filled: list[float]
    waiting: list[float]  # in flight
    spent: list[float]  # in the throttle's bucket, numeraire
    budget: list[float | None]


class Logged(Answer, frozen=True, kw_only=True):
    """One record in one line of words."""

    seq: int
    ts: int
    kind: str  # of the event
    what: str
    accounts: list[str] = []
    effects: dict[str, int] = {}  # how many of each kind
    refused: list[str] = []


class Explained(Answer, frozen=True, kw_only=True):
    """Why an account was touched, from the order back to the observation."""

    account: str
    seq: int
    lines: list[str]


class Alert(Answer, frozen=True, kw_only=True):
    """Something a person should know; ``code`` has a place in the runbook."""

    code: str
    detail: str
    since: int
    severity: str  # page, warn, info


class Ticket(Answer, frozen=True, kw_only=True):
    """A ticket for ``?ticket=`` of a WebSocket: good once, for so many seconds."""

    ticket: str
    seconds: float


class FeedNow(Answer, frozen=True, kw_only=True):
    """One feed that the service fetches itself."""

    name: str
    state: str  # running, away, stopped
    trouble: str  # in words; empty while all is well
    place: str  # up to which everything is durable
    behind: int  # messages that are known to wait on the other side
    taken: int  # events, since the start
    dead: int  # dead letters, since the start


class ClockNow(Answer, frozen=True, kw_only=True):
    """The time that the service goes by."""

    now: int
    jump_ns: int  # by which the wall clock is not believed; 0: it is


class Ready(Answer, frozen=True, kw_only=True):
    """Whether this process is well; ``reasons`` are codes of alerts, or `not_leader`."""

    ok: bool
    reasons: list[str] = []


class AlertMoved(Alert, frozen=True, kw_only=True):
    """What a frame of the topic `alerts` says: an alert has opened, or closed."""

    moved: Literal["opened", "closed"]


class Frame(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """One message of a stream. ``seq`` is the record it came from: resume after the largest one.

    There is one frame a record and topic. ``more`` says that frames of other topics of the same
    record follow: only after the last of them is that record a place to resume from. A frame that
    shows a state and no record has the seq -1.
    """

    topic: str
    seq: int
    ts: int
    data: Any
    more: bool = False


class RungMoved(Answer, frozen=True, kw_only=True):
    """The ladder came to a rung, and why: the alarm that said so, and its value."""

    seq: int
    ts: int
    rung: int
    name: str
    reason: str
    value: int


class FundHistory(Answer, frozen=True, kw_only=True):
    """The insurance fund over time: ``balance[k]`` is a row of all tranches at ``ts[k]``."""

    tranches: list[Tranche]  # now
    ts: list[int]
    balance: list[list[float]]
    lost: list[float]  # cumulative deficits
