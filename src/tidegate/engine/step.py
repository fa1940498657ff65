"""The crank. `decide` reads and never writes; `evolve` writes and never thinks.

This is the only file that knows the order of things.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tidegate.domain.effects import Decision, Rejected, SignalKept
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.events import (
    AccountOpened,
    Attested,
    AuctionTaken,
    BandsTaken,
    BidCommitted,
    BidPlaced,
    BidRevealed,
    BookImported,
    ClockTicked,
    CommitmentMade,
    Deposited,
    DepthObserved,
    FundingPaid,
    FundStaked,
    Input,
    InterestAccrued,
    LiquidationReported,
    OrdersExpired,
    OrdersFilled,
    ParameterChanged,
    ParameterProposed,
    PoolJoined,
    PoolLeft,
    PriceObserved,
    ScheduleObserved,
    SeedDrawn,
    SignalObserved,
    Traded,
    Transferred,
    Unstaked,
    UnstakeRequested,
    Withdrawn,
)
from tidegate.domain.units import Nanos
from tidegate.engine.accruals import on_funding, on_interest, on_reported
from tidegate.engine.answers import on_expiry, on_fills
from tidegate.engine.auctions import on_take, tend
from tidegate.engine.backstop import take_over
from tidegate.engine.batches import clear, on_bid
from tidegate.engine.cadence import waiting
from tidegate.engine.commitments import on_commitment
from tidegate.engine.deficits import settle
from tidegate.engine.evolve import evolve
from tidegate.engine.following import follow
from tidegate.engine.gates import deficit_watched, on_claimed_deposit, on_gated_withdrawal
from tidegate.engine.governance import due_parameters, on_parameter
from tidegate.engine.invariants import check
from tidegate.engine.ledger import (
    on_import,
    on_open,
    on_trade,
    on_transfer,
)
from tidegate.engine.lens import Lens
from tidegate.engine.liquidation import liquidate
from tidegate.engine.market import View, grow_stale, measure_depth, observe, roll_windows
from tidegate.engine.pace import on_schedule, on_seed
from tidegate.engine.pool import on_join, on_leave
from tidegate.engine.restraint import restrain
from tidegate.engine.room import room_for
from tidegate.engine.soft import on_taken
from tidegate.engine.stakes import on_stake, on_unstake_request, on_unstaked
from tidegate.engine.state import State
from tidegate.engine.turns import last_markets
from tidegate.engine.watch import watch
from tidegate.safeguards.stack import Stack


NANOS_MAX = 2**62  # the year 2116: no sum of two times can wrap

# What is asked of us may be refused; what already happened can only be booked.
REQUESTS = (
    BookImported,
    Deposited,
    Withdrawn,
    Transferred,
    Traded,
    LiquidationReported,
    FundStaked,
    UnstakeRequested,
    Unstaked,
    PoolJoined,
    PoolLeft,
    BandsTaken,
    AuctionTaken,
    BidPlaced,
    BidCommitted,
    BidRevealed,
)


def step(state: State, event: Input, stack: Stack, lens: Lens | None = None) -> list[Decision]:
    """Take one event through the whole stack, apply what was decided, and return it.

    A ``lens`` makes judgements of large books faster, and nothing else: see `engine.lens`.
    """
    effects = decide(state, event, stack, lens)
    apply(state, event, effects)
    if lens is not None:
        lens.follow(state, effects)
    return effects


def apply(state: State, event: Input, effects: Sequence[Decision]) -> None:
    """Apply the effects of one event, count it, and check every invariant it could have broken."""
    for effect in effects:
        evolve(state, effect)
    state.seq += 1
    if event.ts <= NANOS_MAX:
        state.now = max(state.now, event.ts)
    check(state, effects)


def decide(state: State, event: Input, stack: Stack, lens: Lens | None = None) -> list[Decision]:
    """Return the effects of ``event``; ``state`` is left as it was.

    Raise CapacityExceeded, with nothing decided, where they would not fit into a declared limit.
    """
    if event.ts < state.now:
        return [Rejected(code="time_runs_backwards", detail=f"{event.ts} after {state.now}")]
    if event.ts > NANOS_MAX:
        return [Rejected(code="time_out_of_range", detail=f"{event.ts} after {NANOS_MAX}")]
    effects = respond(state, event, stack, lens)
    effects += last_markets(effects, stack)
    room = room_for(state, effects, stack)
    if room.beyond and isinstance(event, REQUESTS):
        return [Rejected(code="amount_exceeds_limit", detail=room.beyond)]
    if room.beyond:
        raise CapacityExceeded(room.beyond)
    if room.rows > state.book.rows_left:
        msg = (
            f"positions_max = {state.book.lots.size:_} has {state.book.rows_left:_} rows left and "
            f"this event needs {room.rows:_}; raise limits.positions_max and restart"
        )
        raise CapacityExceeded(msg)
    return effects


def respond(state: State, event: Input, stack: Stack, lens: Lens | None = None) -> list[Decision]:
    """Return what each kind of event calls for, whether or not there is room for it."""
    match event:
        case PriceObserved():
            return on_price(state, event, stack, lens)
        case ClockTicked():
            return on_clock(state, event, stack, lens)
        case DepthObserved():
            return measure_depth(state, event, stack)
        case OrdersFilled():
            return on_fills(state, event, stack)
        case OrdersExpired():
            return on_expiry(state, event, stack)
        case AuctionTaken():
            return on_take(state, event, stack)
        case BidPlaced() | BidCommitted() | BidRevealed():
            return on_bid(state, event, stack)
        case SignalObserved():
            return on_signal(state, event, stack)
        case ScheduleObserved():
            return on_schedule(event, stack)
        case SeedDrawn():
            return on_seed(event, stack)
        case BandsTaken():
            return on_taken(state, event, stack)
        case ParameterChanged() | ParameterProposed():
            return on_parameter(state, event, stack)
        case Attested():
            return []
        case _:
            return on_account(state, event, stack)


def on_price(
    state: State, event: PriceObserved, stack: Stack, lens: Lens | None = None
) -> list[Decision]:
    """Oracle guard, then everything that follows from a price that moved; some of it may wait."""
    seen = observe(state, event, stack)
    view = View.of(state).after(seen)
    if view.moved < 0:
        return seen
    seen += follow(state, seen, stack)
    seen += restrain(state, view, event.ts, stack)
    if owed := waiting(state, view, seen, event.ts, stack):
        return [*seen, *owed, *due_parameters(state, event.ts, stack)]
    return seen + protect(state, view.held(state, seen), event.ts, stack, lens)


def on_clock(
    state: State, event: ClockTicked, stack: Stack, lens: Lens | None = None
) -> list[Decision]:
    """Let prices grow stale, windows roll and stages come due."""
    aged = grow_stale(state, event.ts, stack) + roll_windows(state, event.ts, stack)
    aged += follow(state, aged, stack)
    view = View.of(state).after(aged)
    held = restrain(state, view, event.ts, stack)
    return aged + held + protect(state, view.held(state, held), event.ts, stack, lens)


def protect(
    state: State, view: View, now: Nanos, stack: Stack, lens: Lens | None = None
) -> list[Decision]:
    """Margin, breaker, backstop, waterfall, planner, route: the sentence we exist to say."""
    watched = watch(state, view, now, stack, lens)
    view = replace(view, pace=watched.pace)
    taken = take_over(state, view, watched.health, watched.rung, now, stack)
    paid = settle(state, view, watched.health, watched.rung, stack, now)
    seen = deficit_watched(state, [*watched.effects, *paid], now, stack)
    moved = [*taken, *paid]
    cleared = clear(state, view, watched.health, watched.rung, now, stack, moved)
    tended = tend(state, view, watched.health, watched.rung, now, stack, cleared)
    orders = liquidate(state, view, watched.health, watched.rung, now, stack, tended)
    due = due_parameters(state, now, stack)
    return [*watched.effects, *taken, *paid, *seen, *cleared, *tended, *orders, *due]


def on_signal(state: State, event: SignalObserved, stack: Stack) -> list[Decision]:
    """Keep a signal, clamped to what governance allows it to say."""
    del state
    gate = stack.declaration.signals
    slot = gate.slot(event.name)
    if slot < 0:
        return []
    bound = gate.bounds[slot]
    if event.confidence < bound.confidence_min:
        detail = f"{event.name} by {event.model} {event.version}: {event.confidence} ppm"
        return [Rejected(code="signal_not_confident", detail=detail)]
    return [SignalKept(slot=slot, value=bound.clamp(event.value), said=event.value, at=event.ts)]


def on_account(state: State, event: Input, stack: Stack) -> list[Decision]:
    """Book what accounts did."""
    match event:
        case BookImported():
            return on_import(state, event, stack)
        case AccountOpened():
            return on_open(state, event, stack)
        case Deposited():
            return on_claimed_deposit(state, event, stack)
        case Withdrawn():
            return on_gated_withdrawal(state, event, stack)
        case Transferred():
            return on_transfer(state, event, stack)
        case Traded():
            return on_trade(state, event, stack)
        case FundingPaid():
            return on_funding(state, event, stack)
        case InterestAccrued():
            return on_interest(state, event, stack)
        case LiquidationReported():
            return on_reported(state, event, stack)
        case FundStaked():
            return on_stake(state, event, stack)
        case UnstakeRequested():
            return on_unstake_request(state, event, stack)
        case Unstaked():
            return on_unstaked(state, event, stack)
        case CommitmentMade():
            return on_commitment(state, event, stack)
        case PoolJoined():
            return on_join(state, event, stack)
        case PoolLeft():
            return on_leave(state, event, stack)
        case _:
            raise AssertionError(event)


def replay(inputs: Iterable[Input], stack: Stack) -> State:
    """Return the state after ``inputs``."""
    state = State.genesis(stack)
    for event in inputs:
        step(state, event, stack)
    return state
