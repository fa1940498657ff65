"""The three policies count: on the same crash each of them changes what a replay does."""

from importlib.resources import as_file, files
from itertools import takewhile

import msgspec
import pytest

from desk import Desk, U, flat, perp, rules, venue_of
from tidegate.domain.effects import LimitsHeld, OrdersPlaced
from tidegate.domain.events import OrdersFilled
from tidegate.domain.units import SECOND, pack
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import Replay
from tidegate.drivers.synthetic import make
from tidegate.drivers.verdict import Meter
from tidegate.engine.explain import explain
from tidegate.engine.invariants import audit
from tidegate.ports import Record
from tidegate.safeguards.caps import Cap, Caps
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.penalty import HealthPenalty, LinearPenalty, RisingPenalty
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


SECONDS = 200
change = msgspec.structs.replace


@pytest.fixture(scope="module")
def crash(tmp_path_factory) -> Recording:
    folder = tmp_path_factory.mktemp("crash") / "october"
    make(folder, accounts=100, seed=7)
    return load(folder)


@pytest.fixture(scope="module")
def bare() -> SafeguardStack:
    """Return the shipped bare stack with a penalty of one percent."""
    with as_file(files("tidegate.stacks") / "bare.toml") as path:
        stack = SafeguardStack.load(path)
    dearer = {k: change(r, penalty=10_000) for k, r in stack.margin.instruments.items()}
    return change(stack, margin=change(stack.margin, instruments=dearer))


def after(recording: Recording, stack: SafeguardStack) -> str:
    """Return the state's digest after the first minutes of the crash."""
    turning = Replay(recording=recording, stack=Stack.bind(stack, recording.venue))
    until = recording.begins + SECONDS * SECOND
    for event in takewhile(lambda e: e.ts <= until, recording.events()):
        turning.until(event.ts)
        turning._exogenous(event)
    audit(turning.state)
    return turning.state.digest()


POLICIES = {
    "linear": {"penalty": LinearPenalty()},
    "health to price": {"penalty": HealthPenalty()},
    "rising": {"penalty": RisingPenalty(per_distress=1_000_000)},
    "incentives": {"never_worse": NeverWorse(mode="incentives")},
    "limits": {"never_worse": NeverWorse(mode="limits")},
    "handed over": {"never_worse": NeverWorse(mode="limits", insolvent="deleverage")},
}


def test_every_policy_changes_the_crash(crash, bare):
    """And no two of them in the same way, but for who takes insolvents that are taken anyway."""
    found = {name: after(crash, change(bare, **fields)) for name, fields in POLICIES.items()}
    plain = after(crash, bare)
    assert plain not in found.values()
    assert len(set(found.values())) >= len(found) - 1
    # Nobody opens anything in this crash: a cap that refuses only requests leaves it alone.
    capped = change(bare, caps=Caps(markets={"*": Cap(open_interest_max=1)}))
    assert after(crash, capped) == plain


def test_a_verdict_counts_penalties_and_breaches():
    """Half is closed in two fills: one at the mark, one a tick below what was offered."""
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat(100_000, 50_000, penalty=20_000)),
        planner=StagedPlanner(close_fraction=500_000),
        waterfall=Waterfall(tranches=(Tranche(name="fund", initial=0),)),
        never_worse=NeverWorse(mode="limits"),
    )
    meter = Meter(desk.stack)

    def take(event) -> list:
        effects = desk.send(event)
        meter.observe(0, event, effects, desk.state, [0])
        return effects

    desk.users([140_000], [(0, 0, 10, 100)])
    (order,) = (e for e in take(desk.priced(90)) if isinstance(e, OrdersPlaced))
    for lots, price in ((-2, 90), (-3, 85)):
        columns = {"order": order.first, "lots": lots, "price": price}
        take(OrdersFilled(ts=desk.now, **{n: pack([v]) for n, v in columns.items()}))
    verdict = meter.verdict(desk.state)
    assert (verdict.penalties, verdict.health_breaches) == (3_600, 1)
    said = verdict.to_json()
    assert (said["penalties"], said["health_breaches"]) == (0.0036, 1)


# ----------------------------------------------------------------------- in plain words


def told(fill_at: int) -> tuple[str, str]:
    """Return what is said of an order held at its limit, and of its fill."""
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat(100_000, 50_000, penalty=20_000)),
        planner=StagedPlanner(close_fraction=500_000),
        never_worse=NeverWorse(mode="limits"),
    )
    records = []

    def take(event) -> list:
        effects = desk.send(event)
        records.append(Record(len(records), event, tuple(effects)))
        return effects

    desk.users([140_000], [(0, 0, 10, 100)])
    effects = take(desk.priced(90))
    (order,) = (e for e in effects if isinstance(e, OrdersPlaced))
    assert any(isinstance(e, LimitsHeld) for e in effects)
    first = explain(records, U, 0, desk.stack, ("anna",))
    columns = {"order": order.first, "lots": -5, "price": fill_at}
    take(OrdersFilled(ts=desk.now, **{n: pack([v]) for n, v in columns.items()}))
    return "\n".join(first), "\n".join(explain(records, U, 1, desk.stack, ("anna",)))


def test_a_held_limit_and_a_breach_are_explained():
    order, fill = told(85)
    assert "moved towards the mark" in order
    assert "breach" in fill
    assert "no penalty" in fill
    assert "breach" not in told(86)[1]
