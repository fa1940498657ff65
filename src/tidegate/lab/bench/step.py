"""What a whole step on a price costs, from the oracle guard to the invariants."""

from tidegate.domain.events import PriceObserved
from tidegate.domain.units import SECOND, Nanos, Ticks
from tidegate.engine.step import step
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import repeated
from tidegate.lab.bench.world import HELD, PRICE, world


NAMES = ("step_100k",)
STEPS = 11  # of one run: a few milliseconds each


def measure(scale: float) -> list[Result]:
    """Time a step. Nothing else does the same work, so nothing stands beside it."""
    accounts = max(64, round(100_000 * scale))
    state, stack = world(accounts)
    seconds = iter(range(1, 10**9))

    def one() -> None:
        n = next(seconds)
        ts, price = Nanos(n * SECOND), Ticks(PRICE - n % 50)
        event = PriceObserved(ts=ts, instrument=n % HELD, source=0, price=price, published=ts)
        step(state, event, stack)

    t = repeated(one, times=STEPS)
    said = f"{accounts:,} accounts, {HELD * accounts:,} positions, guarded stack; every account"
    said += " is judged on a price, and the invariants are checked; work is a step"
    return [found("step_100k", t.median, work=1, conditions=said)]
