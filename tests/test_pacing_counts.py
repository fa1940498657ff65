"""Each way of pacing counts: a stack selects it, and a replay's effects change because of it."""

from importlib.resources import as_file, files
from itertools import takewhile

import msgspec
import pytest

from tidegate.domain.effects import (
    Decision,
    LotsReleased,
    OrdersPlaced,
    ScheduleKept,
    SliceTaken,
)
from tidegate.domain.units import SECOND, unpack
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import Replay
from tidegate.drivers.synthetic import make
from tidegate.safeguards.planner import Level
from tidegate.safeguards.rate import OptimalRate
from tidegate.safeguards.slices import Slicing
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.throttle import FundThrottle, StaticThrottle, WindowThrottle
from tidegate.safeguards.wait import WaitMargin


SECONDS = 110
change = msgspec.structs.replace


@pytest.fixture(scope="module")
def crash(tmp_path_factory) -> Recording:
    folder = tmp_path_factory.mktemp("crash") / "october"
    make(folder, accounts=100, seed=7)
    return load(folder)


@pytest.fixture(scope="module")
def plain() -> SafeguardStack:
    """Return the guarded stack without its own throttle, so that each kind stands alone."""
    with as_file(files("tidegate.stacks") / "guarded.toml") as path:
        stack = SafeguardStack.load(path)
    return change(stack, planner=change(stack.planner, depth_share=0))


def replayed(
    recording: Recording, stack: SafeguardStack, seconds: int = SECONDS
) -> tuple[str, list[list[Decision]]]:
    """Return the state's digest and the effects of the first minutes of the crash."""
    taken: list[list[Decision]] = []
    turning = Replay(
        recording=recording,
        stack=Stack.bind(stack, recording.venue),
        observers=[lambda _seq, _event, effects, _state, _impact: taken.append(list(effects))],
    )
    until = recording.begins + seconds * SECOND
    for event in takewhile(lambda e: e.ts <= until, recording.events()):
        turning.until(event.ts)
        turning._exogenous(event)
    return turning.state.digest(), taken


@pytest.fixture(scope="module")
def reference(crash, plain) -> tuple[str, list[list[Decision]]]:
    return replayed(crash, plain)


AMOUNT = 20_000_000_000_000  # at the scale of the published venue
RATE = OptimalRate(confidence=900_000, horizon_ns=20 * SECOND, interval_ns=2 * SECOND)
LOTS = {"BTC": 1_000, "ETH": 1_000, "SOL": 1_000}
PACED = {
    "static": {"throttle": StaticThrottle(amount=AMOUNT)},
    "window": {"throttle": WindowThrottle(amount=AMOUNT)},
    "fund": {"throttle": FundThrottle(slow=10_000, fast=50_000, reach=20_000)},
    "rate": {"rate": RATE},
    "slices": {"slices": Slicing(count=5, horizon_ns=10 * SECOND)},
    "wait": {"throttle": WindowThrottle(lots=LOTS), "wait": WaitMargin(risk=2_000, cost=10**9)},
}


@pytest.fixture(scope="module")
def throttled(crash, plain) -> tuple[str, list[list[Decision]]]:
    return replayed(crash, change(plain, **PACED["static"]))


@pytest.mark.parametrize("name", [n for n in PACED if n != "wait"])
def test_pacing_changes_what_happens(name, crash, plain, reference, throttled):
    paced = throttled if name == "static" else replayed(crash, change(plain, **PACED[name]))
    digest, effects = paced
    assert digest != reference[0]
    marks = {"rate": ScheduleKept, "slices": SliceTaken}.get(name, LotsReleased)
    assert any(isinstance(e, marks) for step in effects for e in step)


def test_seeds_and_schedules_repeat_bit_by_bit(crash, plain):
    both = change(plain, **PACED["slices"], **PACED["rate"])
    assert replayed(crash, both)[0] == replayed(crash, both)[0]


def test_a_priced_wait_counts_beside_its_throttle(crash, plain):
    bare = change(plain, throttle=WindowThrottle(lots=LOTS))
    assert replayed(crash, bare)[0] != replayed(crash, change(bare, **PACED["wait"]))[0]


@pytest.mark.parametrize(
    "planner",
    [
        {"priority": "branching"},
        {"priority": "deficit"},
        {"target": 0, "levels": (Level(below=500_000, fraction=10_000),)},
    ],
    ids=["branching", "deficit", "levels"],
)
def test_who_is_served_and_by_how_much_changes_what_happens(planner, crash, plain, throttled):
    both = change(plain, planner=change(plain.planner, **planner), **PACED["static"])
    assert replayed(crash, both)[0] != throttled[0]


def test_the_replay_never_breaks_a_window(crash, plain):
    """Recomputed from the orders of a whole crash: every rolling window, instrument and side."""
    throttle = WindowThrottle(lots={"BTC": 40, "ETH": 300, "SOL": 2_000}, window_ns=7 * SECOND)
    _, effects = replayed(crash, change(plain, throttle=throttle), 200)
    symbols = [i.symbol for i in crash.venue.instruments]
    scaled = throttle.scaled(crash.venue)
    placed: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for step in effects:
        for order in step:
            if isinstance(order, OrdersPlaced):
                columns = (unpack(order.instrument).tolist(), unpack(order.lots).tolist())
                for i, lots in zip(*columns, strict=True):
                    placed.setdefault((i, int(lots > 0)), []).append((order.at, abs(lots)))
    bound = 0
    for (i, _), sold in placed.items():
        most = scaled.lots.get(symbols[i])
        for now, _ in sold if most else ():
            within = sum(n for t, n in sold if now - 7 * SECOND < t <= now)
            assert within <= most
            bound += within == most
    assert bound, "the throttle was never felt"
