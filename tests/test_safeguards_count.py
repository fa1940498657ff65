"""A safeguard counts only when a stack file selects it and a replay's effects change because of it.

Each case turns one safeguard of the shipped guarded stack to its neutral setting and demands other
effects on the same weather. What this crash never calls upon has a weather of its own below.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import as_file, files
from itertools import takewhile

import msgspec
import pytest

from tidegate.domain.units import SECOND
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import Replay
from tidegate.drivers.synthetic import make
from tidegate.safeguards.breaker import LadderBreaker
from tidegate.safeguards.cadence import Cadence
from tidegate.safeguards.margin import MarginModel
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Waterfall


ACCOUNTS, SECONDS = 250, 420
change = msgspec.structs.replace


@pytest.fixture(scope="module")
def crash(tmp_path_factory) -> Recording:
    folder = tmp_path_factory.mktemp("crash") / "october"
    make(folder, accounts=ACCOUNTS, seed=7)
    return load(folder)


@pytest.fixture(scope="module")
def guarded() -> SafeguardStack:
    with as_file(files("tidegate.stacks") / "guarded.toml") as path:
        return SafeguardStack.load(path)


def digest_of(recording: Recording, stack: SafeguardStack) -> str:
    """Return the state's digest after the first minutes of the crash."""
    return replayed(recording, stack).state.digest()


def replayed(recording: Recording, stack: SafeguardStack) -> Replay:
    """Return the replay after the first minutes of the crash."""
    turning = Replay(recording=recording, stack=Stack.bind(stack, recording.venue))
    events = recording.events()
    until = recording.begins + SECONDS * SECOND
    for event in takewhile(lambda e: e.ts <= until, events):
        turning.until(event.ts)
        turning._exogenous(event)
    return turning


@pytest.fixture(scope="module")
def reference(crash, guarded) -> str:
    return digest_of(crash, guarded)


def planner(**fields: object) -> Callable[[SafeguardStack], SafeguardStack]:
    return lambda s: change(s, planner=change(s.planner, **fields))


def waterfall(**fields: object) -> Callable[[SafeguardStack], SafeguardStack]:
    return lambda s: change(s, waterfall=change(s.waterfall, **fields))


def each_step(**fields: object) -> Callable[[SafeguardStack], SafeguardStack]:
    return lambda s: change(
        s,
        breaker=change(s.breaker, steps=tuple(change(x, **fields) for x in s.breaker.steps)),
    )


SOLD = NeverWorse()  # the insolvent are sold: where nobody is deleveraged, nobody takes them over


def without_penalty(stack: SafeguardStack) -> SafeguardStack:
    rules = {k: change(r, penalty=0) for k, r in stack.margin.instruments.items()}
    return change(stack, margin=MarginModel(instruments=rules))


NEUTRAL: dict[str, Callable[[SafeguardStack], SafeguardStack]] = {
    "oracle guard": lambda s: change(s, oracle=OracleGuard()),
    "smoothing": lambda s: change(s, oracle=change(s.oracle, smoothing_ns=0)),
    "step limit": lambda s: change(s, oracle=change(s.oracle, step_max=0)),
    "penalty": without_penalty,
    "breaker": lambda s: change(s, breaker=LadderBreaker()),
    "reserved lane": lambda s: change(s, breaker=change(s.breaker, reserved=0)),
    "target sizing": planner(target=0),
    "netting": planner(netting=False),
    "throttle": planner(depth_share=0),
    "interval": planner(interval_ns=20 * SECOND),  # orders in flight already space the stages
    "priority": planner(priority="largest"),
    "route": lambda s: change(s, route=BookRoute()),
    "waterfall": lambda s: change(s, waterfall=Waterfall(), never_worse=SOLD),
    "deleveraging": lambda s: waterfall(deleverage="none")(change(s, never_worse=SOLD)),
    "sharing rule": waterfall(deleverage="queue"),
    "fund pays first": waterfall(fund_pays_first=False),
    "never worse": lambda s: change(s, never_worse=NeverWorse(mode="off")),
    "handing over": lambda s: change(s, never_worse=SOLD),
}


# What another safeguard of the stack covers in this crash counts where that one is off.
COVERED: dict[str, tuple[NeverWorse, Callable[[SafeguardStack], SafeguardStack]]] = {
    "bands": (NeverWorse(mode="off"), each_step(band=0)),
    "fund at risk": (SOLD, waterfall(deleverage_when="bankrupt")),
}


@pytest.mark.parametrize("name", COVERED)
def test_what_is_covered_by_another_counts_without_it(name, crash, guarded):
    rule, neutral = COVERED[name]
    alone = change(guarded, never_worse=rule)
    assert digest_of(crash, neutral(alone)) != digest_of(crash, alone)


@pytest.mark.parametrize("name", NEUTRAL)
def test_taking_a_safeguard_away_changes_what_happens(name, crash, guarded, reference):
    assert digest_of(crash, NEUTRAL[name](guarded)) != reference


def test_a_cadence_changes_what_is_forced(crash, guarded):
    """Not only what is remembered: somebody is sold at another moment, so cash differs."""
    slow = change(guarded, cadence=Cadence(judge_every_ns=5 * SECOND, judge_move=20_000))
    cash = [replayed(crash, stack).state.book.cash for stack in (guarded, slow)]
    assert (cash[0] != cash[1]).any()


def test_the_same_stack_gives_the_same_state(crash, guarded, reference):
    assert digest_of(crash, guarded) == reference


def test_a_venue_without_depth_is_another_weather(crash, guarded, reference):
    """The control of the controls: the market matters, not only the stack."""
    thin = tuple(change(m, depth=m.depth // 10) for m in crash.venue.markets)
    other = replace(crash, venue=change(crash.venue, markets=thin))
    assert digest_of(other, guarded) != reference
