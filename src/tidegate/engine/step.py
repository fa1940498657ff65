"""The crank. `decide` reads and never writes; `evolve` writes and never thinks.

This is the only file that knows the order of things.
"""

from collections.abc import Iterable, Sequence

from tidegate.domain.effects import Decision, ParameterMoved, Rejected, SignalKept
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.events import (
    AccountOpened,
    AuctionTaken,
    BidCommitted,
    BidPlaced,
    BidRevealed,
    BookImported,
    ClockTicked,
    Deposited,
    DepthObserved,
    FundingPaid,
    Input,
    InterestAccrued,
    LiquidationReported,
    OrdersExpired,
    OrdersFilled,
    ParameterChanged,
    PriceObserved,
    SignalObserved,
    Traded,
    Transferred,
    Withdrawn,
)
from tidegate.domain.units import Nanos
from tidegate.engine.answers import on_expiry, on_fills
from tidegate.engine.auctions import on_take, tend
from tidegate.engine.batches import clear, on_bid
from tidegate.engine.deficits import settle
from tidegate.engine.evolve import evolve
from tidegate.engine.invariants import check
from tidegate.engine.ledger import (
    on_deposit,
    on_funding,
    on_import,
    on_interest,
    on_open,
    on_reported,
    on_trade,
    on_transfer,
    on_withdrawal,
)
from tidegate.engine.liquidation import liquidate
from tidegate.engine.market import View, grow_stale, measure_depth, observe, roll_windows
from tidegate.engine.room import room_for
from tidegate.engine.state import State
from tidegate.engine.watch import watch
from tidegate.safeguards.stack import Stack, parameter_cell, parameter_max


NANOS_MAX = 2**62  # the year 2116: no sum of two times can wrap

# What is asked of us may be refused; what already happened can only be booked.
REQUESTS = (
    BookImported,
    Deposited,
    Withdrawn,
    Transferred,
    Traded,
    LiquidationReported,
    AuctionTaken,
    BidPlaced,
    BidCommitted,
    BidRevealed,
)


def step(state: State, event: Input, stack: Stack) -> list[Decision]:
    """Take one event through the whole stack, apply what was decided, and return it."""
    effects = decide(state, event, stack)
    apply(state, event, effects)
    return effects


def apply(state: State, event: Input, effects: Sequence[Decision]) -> None:
    """Apply the effects of one event, count it, and check every invariant it could have broken."""
    for effect in effects:
        evolve(state, effect)
    state.seq += 1
    if event.ts <= NANOS_MAX:
        state.now = max(state.now, event.ts)
    check(state, effects)


def decide(state: State, event: Input, stack: Stack) -> list[Decision]:
    """Return the effects of ``event``; ``state`` is left as it was.

    Raise CapacityExceeded, with nothing decided, where they would not fit into a declared limit.
    """
    if event.ts < state.now:
        return [Rejected(code="time_runs_backwards", detail=f"{event.ts} after {state.now}")]
    if event.ts > NANOS_MAX:
        return [Rejected(code="time_out_of_range", detail=f"{event.ts} after {NANOS_MAX}")]
    effects = respond(state, event, stack)
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


def respond(state: State, event: Input, stack: Stack) -> list[Decision]:
    """Return what each kind of event calls for, whether or not there is room for it."""
    match event:
        case PriceObserved():
            return on_price(state, event, stack)
        case ClockTicked():
            return on_clock(state, event, stack)
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
        case ParameterChanged():
            return on_parameter(state, event, stack)
        case _:
            return on_account(state, event, stack)


def on_price(state: State, event: PriceObserved, stack: Stack) -> list[Decision]:
    """Oracle guard, then everything that follows from a price that moved."""
    seen = observe(state, event, stack)
    view = View.of(state).after(seen)
    if view.moved < 0:
        return seen
    return seen + protect(state, view, event.ts, stack)


def on_clock(state: State, event: ClockTicked, stack: Stack) -> list[Decision]:
    """Let prices grow stale, windows roll and stages come due."""
    aged = grow_stale(state, event.ts, stack) + roll_windows(state, event.ts, stack)
    return aged + protect(state, View.of(state).after(aged), event.ts, stack)


def protect(state: State, view: View, now: Nanos, stack: Stack) -> list[Decision]:
    """Margin, breaker, waterfall, planner, route: the sentence this package exists to say."""
    watched = watch(state, view, now, stack)
    paid = settle(state, view, watched.health, watched.rung, stack)
    cleared = clear(state, view, watched.rung, now, stack)
    tended = tend(state, view, watched.health, watched.rung, now, stack, cleared)
    orders = liquidate(state, view, watched.health, watched.rung, now, stack)
    return [*watched.effects, *paid, *cleared, *tended, *orders]


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


def on_parameter(state: State, event: ParameterChanged, stack: Stack) -> list[Decision]:
    """Change one cell of the venue's parameter columns, from now on."""
    cell = parameter_cell(state.facts, stack.venue, event.name)
    if cell is None:
        return [Rejected(code="parameter_unknown", detail=event.name)]
    if not 0 <= event.value <= parameter_max(stack, *cell):
        return [Rejected(code="rate_out_of_range", detail=f"{event.name} = {event.value}")]
    return [ParameterMoved(column=cell[0], row=cell[1], value=event.value)]


def on_account(state: State, event: Input, stack: Stack) -> list[Decision]:
    """Book what accounts did."""
    match event:
        case BookImported():
            return on_import(state, event, stack)
        case AccountOpened():
            return on_open(state, event, stack)
        case Deposited():
            return on_deposit(state, event, stack)
        case Withdrawn():
            return on_withdrawal(state, event, stack)
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
        case _:
            raise AssertionError(event)


def replay(inputs: Iterable[Input], stack: Stack) -> State:
    """Return the state after ``inputs``."""
    state = State.genesis(stack)
    for event in inputs:
        step(state, event, stack)
    return state
