"""One price that makes 50,000 accounts liquidatable at once: deciding, applying and checking."""

from typing import Final, NamedTuple

import numpy as np

from tidegate.domain.effects import Decision, OrdersPlaced, StagesTaken
from tidegate.domain.events import BookImported, DepthObserved, PriceObserved
from tidegate.domain.instrument import Linear
from tidegate.domain.units import I64, SECOND, Lots, Money, Nanos, Ticks, pack
from tidegate.domain.venue import Limits, Venue
from tidegate.drivers.streams import Streams
from tidegate.engine.evolve import evolve
from tidegate.engine.invariants import check
from tidegate.engine.state import State
from tidegate.engine.step import decide, step
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import timed
from tidegate.lab.bench.world import LEVELS, PRICE, shipped
from tidegate.safeguards.stack import Stack


NAMES: Final = ("decide_50k",)
ACCOUNTS: Final = 200_000
FALLING: Final = 50_000  # of them, that the price makes liquidatable
INSTRUMENTS, HELD = 10, 3
TO: Final = Ticks(PRICE * 96 // 100)  # the oracle guard lets no single price do more than 5 %
LINE: Final = 0.0125  # the lowest maintenance rate of all stacks: below it everywhere
BEFORE: Final = Nanos(0)


class Parts(NamedTuple):
    """Seconds of the three parts of one step, medians, and what was decided."""

    decided: float
    applied: float
    checked: float
    effects: list[Decision]


def measure(scale: float = 1.0) -> list[Result]:
    """Time the step under three stacks, with nobody bankrupt and with a fifth of the fallen so.

    The result is that of the guarded stack with nobody bankrupt: sweep, planner, netting, throttle
    and orders of all. Nothing else does the same work, so nothing stands beside it.
    """
    falling = max(16, round(FALLING * scale))
    also: dict[str, float] = {}
    for name in ("neutral", "bare", "guarded"):
        for bankrupt in (0.0, 0.2):
            parts = _parts(name, max(64, round(ACCOUNTS * scale)), falling, bankrupt)
            said = f"{name}{'_bankrupt' if bankrupt else ''}"
            also[f"{said}_decide_ms"] = 1e3 * parts.decided
            also[f"{said}_evolve_ms"] = 1e3 * parts.applied
            also[f"{said}_check_ms"] = 1e3 * parts.checked
            _must_close(parts.effects, falling, bankrupt)
    seconds = also["guarded_decide_ms"] / 1e3
    conditions = (
        f"{falling:,} of {round(ACCOUNTS * scale):,} accounts, {HELD} positions each over "
        f"{INSTRUMENTS} instruments, become liquidatable with one price; guarded stack, nobody "
        "bankrupt; effects are columns. Also: stacks with everything off and as a venue publishes "
        "it, and each with a fifth of the fallen bankrupt, who are deleveraged; work is an account"
    )
    return [found("decide_50k", seconds, work=falling, conditions=conditions, also=also)]


def _parts(name: str, accounts: int, falling: int, bankrupt: float) -> Parts:
    state, stack = fallen(name, accounts, falling, bankrupt)
    at = Nanos(SECOND)
    event = PriceObserved(ts=at, instrument=0, source=0, price=TO, published=at)
    decided = timed(lambda: decide(state, event, stack))
    effects, image = decide(state, event, stack), state.dump()
    fresh = [state]

    def renew() -> None:
        fresh[0] = State.load(image, stack)

    def apply() -> None:
        for effect in effects:
            evolve(fresh[0], effect)

    applied = timed(apply, before=renew)
    checked = timed(lambda: check(fresh[0], effects))
    return Parts(decided.median, applied.median, checked.median, effects)


def _must_close(effects: list[Decision], falling: int, bankrupt: float) -> None:
    """Make sure that the step that was timed did what it is timed for."""
    staged = sum(len(e.account) // 8 for e in effects if isinstance(e, StagesTaken))
    ordered = sum(len(e.account) // 8 for e in effects if isinstance(e, OrdersPlaced))
    assert ordered > 0, "no orders"
    least = falling - round(falling * bankrupt * 1.1) - 8
    assert least <= staged <= falling, f"{staged:,} staged of {falling:,}"


def fallen(name: str, accounts: int, falling: int, bankrupt: float) -> tuple[State, Stack]:
    """Return a venue of which ``falling`` accounts are liquidatable once instrument 0 is at `TO`.

    They are long of it and have just the cash that this leaves them below every stack's
    maintenance, a ``bankrupt`` share of them below zero; the others keep several times theirs.
    """
    stack = Stack.bind(shipped(name), _venue(accounts))
    state = State.genesis(stack)
    away, lots = 400 * np.arange(1, LEVELS + 1), pack(np.full(LEVELS, accounts * 400))
    for i in range(INSTRUMENTS):
        price = PriceObserved(ts=BEFORE, instrument=i, source=0, price=PRICE, published=BEFORE)
        depth = DepthObserved(
            ts=BEFORE,
            instrument=i,
            bid_price=pack(PRICE - away),
            bid_lots=lots,
            ask_price=pack(PRICE + away),
            ask_lots=lots,
        )
        step(state, price, stack)
        step(state, depth, stack)
    step(state, _book(accounts, falling, bankrupt), stack)
    return state, stack


def _venue(accounts: int) -> Venue:
    instruments = tuple(
        Linear(
            symbol=f"M{i}",
            tick_size="0.1",
            lot_size="0.001",
            price_max=Ticks(10**7),
            lots_max=Lots(10**7),
            open_interest_max=Lots(10**10 // 4),
            tick_value=Money(100),
        )
        for i in range(INSTRUMENTS)
    )
    rows = HELD * accounts + 64
    limits = Limits(accounts_max=accounts + 64, positions_max=rows, orders_max=rows)
    return Venue(name="bench", instruments=instruments, sources=("index", "venue"), limits=limits)


def _book(accounts: int, falling: int, bankrupt: float) -> BookImported:
    """Return the book, in an order by chance: the fallen stand anywhere in it."""
    draw = Streams(7, 0)["bench book"]
    others = np.argsort(draw.random((accounts, INSTRUMENTS - 1)), axis=1)[:, : HELD - 1] + 1
    instrument = np.concatenate([np.zeros((accounts, 1), np.int64), others], axis=1)
    lots = draw.integers(1, 1_001, (accounts, HELD)) * draw.choice([-1, 1], (accounts, HELD))
    lots[:falling, 0] = np.abs(lots[:falling, 0])
    lots[:falling, 1:] //= 20
    lots[lots == 0] = 1
    tick_value = 100
    size = np.abs(lots).sum(1) * PRICE * tick_value
    lost = lots[:, 0] * (PRICE - TO) * tick_value
    cash = np.maximum(lost, 0) + size * draw.uniform(0.06, 0.6, accounts)
    share = draw.uniform(0.01, 0.75, falling)  # of the lowest maintenance, that is left to them
    share[draw.random(falling) < bankrupt] *= -1
    cash[:falling] = lost[:falling] + share * LINE * size[:falling]
    place = draw.permutation(accounts)
    return BookImported(
        ts=BEFORE,
        names=tuple(map(str, range(accounts))),
        owner=pack(np.arange(accounts)),
        cash=pack(_column(cash[place])),
        account=pack(np.repeat(np.arange(accounts), HELD)),
        instrument=pack(instrument[place].ravel()),
        lots=pack(lots[place].ravel()),
        entry=pack(np.full(accounts * HELD, PRICE)),
    )


def _column(amounts: np.ndarray) -> I64:
    return amounts.astype(np.int64)
