"""Alerts open when they should, close when it is over, do not flap, and are in the runbook."""

import ast
import asyncio
import json
import re
from pathlib import Path

import pytest

from crash_world import BEGIN, stack_of
from operated import crash, operated
from service_world import SetClock
from tidegate.api.answers import Alert
from tidegate.domain.events import PriceObserved
from tidegate.domain.units import SECOND
from tidegate.safeguards.oracle import Quality
from tidegate.service.alert_rules import Bounds, Parts, Rules
from tidegate.service.alerts import KINDS, Alerts
from tidegate.service.clock import GuardedClock
from tidegate.service.feed_routes import Feeds
from tidegate.service.feeds import FeedNow
from tidegate.service.metrics import Loss, Metrics, Probes
from tidegate.service.reconcile import Reconciler
from tidegate.service.sight import Age, Sight
from tidegate.service.silence import Silence, expected
from tidegate.service.streams import Client, Hub


ROOT = Path(__file__).parents[1]
CALM = Sight(
    at=0.0,
    now=BEGIN,
    head=0,
    epoch=1,
    mode="armed",
    leader=True,
    waiting=0,
    rung=0,
    near=(0.1, 0.2),
    quality=(0, 0),
    held=(True, True),
    tranches=(100.0,),
    fund=100.0,
    peak=100.0,
    lost=0.0,
    in_flight=0,
    oldest=0.0,
    ages=(),
    accounts=1,
    used={"accounts": 0.1, "positions": 0.1, "orders": 0.0},
)


class Steady:
    """A steady clock that somebody else winds."""

    time = 100.0

    def __call__(self):
        return self.time


def alerts_of():
    steady, told = Steady(), []
    return Alerts(SetClock(), tell=told.append, steady=steady), steady, told


def moves(told):
    return [(one.code, one.moved) for one in told]


# ---------------------------------------------------------------- opening and closing


def test_an_alert_opens_once_and_closes_after_its_quiet_time():
    alerts, steady, told = alerts_of()
    quiet = KINDS["rung_raised"].closes_s
    for _ in range(5):
        alerts.settle({"rung_raised": "caution"})
        steady.time += 1
    assert moves(told) == [("rung_raised", "opened")]
    steady.time += quiet - 2
    assert not alerts.settle({}), "it has not been quiet for long enough"
    steady.time += 2
    assert moves(alerts.settle({})) == [("rung_raised", "closed")]
    assert alerts.active() == []


def test_what_comes_and_goes_is_one_alert():
    alerts, steady, told = alerts_of()
    for n in range(200):
        alerts.settle({"rung_raised": "caution"} if n % 2 else {})
        steady.time += 1
    assert moves(told) == [("rung_raised", "opened")]


def test_what_must_hold_for_a_while_does_not_open_for_a_blink():
    alerts, steady, told = alerts_of()
    hold = KINDS["source_doubtful"].opens_s
    for _ in range(20):
        alerts.settle({"source_doubtful": "BTC-PERP is doubtful"})
        steady.time += hold / 2
        alerts.settle({})
        steady.time += hold / 2
    assert told == []
    for _ in range(int(hold) + 1):
        alerts.settle({"source_doubtful": "BTC-PERP is doubtful"})
        steady.time += 1
    assert moves(told) == [("source_doubtful", "opened")]


def test_what_a_part_tells_stays_open_for_a_while():
    alerts, steady, told = alerts_of()
    alerts.raised("dead_letter", "x" * 5_000)
    alerts.settle({})
    assert moves(told) == [("dead_letter", "opened")]
    assert len(told[0].detail) == 500
    steady.time += KINDS["dead_letter"].closes_s
    alerts.settle({})
    assert moves(told)[-1] == ("dead_letter", "closed")


def test_a_code_that_no_table_knows_is_still_told_but_not_without_end():
    alerts, _, told = alerts_of()
    for n in range(500):
        alerts.raised(f"made_up_{n}", "")
    alerts.settle({})
    assert 1 <= len(told) <= 32
    assert all(one.severity == "warn" for one in told)


def test_the_worst_comes_first():
    alerts, _, _ = alerts_of()
    alerts.settle({"rung_raised": "r", "deficit_found": "d", "audit_lost": "a"})
    assert [a.code for a in alerts.active()] == ["deficit_found", "audit_lost", "rung_raised"]
    assert alerts.active()[0] == Alert(
        code="deficit_found", detail="d", since=BEGIN, severity="page"
    )
    table = {code: is_open for code, _, is_open in alerts.table()}
    assert set(table) == set(KINDS)
    assert table["deficit_found"]
    assert not table["disk_low"]


# ---------------------------------------------------------------- rules


class World:
    """Rules over made up moments."""

    def __init__(self, stack, **parts):
        self.alerts, self.steady, self.told = alerts_of()
        self.metrics = Metrics(stack, queue_max=100)
        self.rules = Rules(self.metrics, self.alerts, Parts(**parts))

    def look(self, **changed):
        found = self.rules.judge(CALM._replace(**changed))
        self.alerts.settle(found)
        self.steady.time += 1
        return found


@pytest.fixture(scope="module")
def stack():
    return stack_of()


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("rung_raised", {"rung": 1}),
        ("rung_raised", {"rung": 2}),
        ("rung_high", {"rung": 3}),
        ("branching_near_one", {"near": (0.2, 0.95)}),
        ("fund_below", {"fund": 49.0}),
        ("orders_unanswered", {"in_flight": 3, "oldest": 31.0}),
        ("kill_switch_on", {"mode": "halted"}),
        ("source_doubtful", {"quality": (0, int(Quality.STALE))}),
        ("source_stale", {"ages": (Age("BTC-PERP", "index", 61.0),)}),
        ("queue_near_full", {"waiting": 80}),
        ("book_near_full", {"used": {"positions": 0.95}}),
    ],
)
def test_each_moment_that_is_not_calm_has_its_code(stack, code, changed):
    world = World(stack)
    assert world.look() == {}
    assert set(world.look(**changed)) == {code}


def test_a_doubtful_price_that_nobody_holds_alarms_nobody(stack):
    assert World(stack).look(quality=(3, 3), held=(False, False)) == {}


@pytest.mark.parametrize(
    ("code", "opens", "between", "calm"),
    [
        ("branching_near_one", {"near": (0.9,)}, {"near": (0.85,)}, {"near": (0.79,)}),
        ("fund_below", {"fund": 49.0}, {"fund": 55.0}, {"fund": 61.0}),
        ("queue_near_full", {"waiting": 80}, {"waiting": 60}, {"waiting": 49}),
    ],
)
def test_thresholds_have_hysteresis(stack, code, opens, between, calm):
    world = World(stack)
    assert code not in world.look(**between), "from below it opens at the higher threshold"
    for _ in range(5):
        world.look(**opens)
    assert world.alerts.is_open(code)
    assert code in world.look(**between), "once open it closes at the lower one"
    assert code not in world.look(**calm)


def test_losses_are_told_once_each(stack):
    world = World(stack)
    world.metrics.losses["rung"] = Loss(1.0, "rung", "halt: deviations at 9")
    world.metrics.losses["deficit_found"] = Loss(2.0, "deficit_found", "alice is short by 5.00")
    assert world.look(rung=4) == {
        "rung_high": "halt: deviations at 9",
        "deficit_found": "alice is short by 5.00",
    }
    assert set(world.look(rung=4)) == {"rung_high"}
    assert world.alerts.is_open("deficit_found"), "it stays open until somebody had time to look"


def test_a_flood_of_deficits_does_not_wash_a_deleveraging_away(stack):
    world = World(stack)
    world.metrics._lost("deleveraged", "3 winners in BTC-PERP were closed")
    for n in range(1_000):
        world.metrics._lost("deficit_found", f"account {n} is short by 5.00")
    assert {"deleveraged", "deficit_found"} <= set(world.look())
    assert len(world.metrics.losses) == 2


def test_parts_and_probes_are_asked(stack):
    class Feed:
        name, state, trouble = "nats:events", "stopped", "sequence 5 is missing"

    silent = [("BTC-PERP", f"source {n}") for n in range(7)]
    parts = {"feeds": lambda: [Feed], "silent": lambda: silent, "jump": lambda: -2 * 10**9}
    world = World(stack, **parts, drifting=lambda: True)
    world.metrics.probes = Probes(drift=lambda: 3.5, disk_free=lambda: 2**20, lag=lambda: 20_000)
    world.metrics.snapshot_failure = "no space"
    found = world.look()
    assert set(found) == {
        *("feed_stopped", "feed_silent", "clock_jumped", "book_drifts", "disk_low"),
        *("standby_behind", "snapshot_failed"),
    }
    assert "sequence 5 is missing" in found["feed_stopped"]
    assert found["feed_silent"].endswith("and 2 more")
    assert "-2.000 s" in found["clock_jumped"]


def test_a_crank_that_is_away_is_told(stack):
    world = World(stack)
    assert set(world.rules.judge(None)) == {"crank_stuck"}
    assert world.rules.judge(None, "the disk is full") == {"crank_stopped": "the disk is full"}


def test_leadership_that_changes_is_told(stack):
    world = World(stack)
    assert world.look(epoch=4) == {}
    assert set(world.look(epoch=5)) == {"leader_changed"}
    assert world.look(epoch=5) == {}


# ---------------------------------------------------------------- a running service


def test_a_crash_in_a_running_service_raises_its_alerts():
    told = []
    with operated(bounds=Bounds(order_age_s=10.0)) as made:
        made.watch._alerts.tell = told.append
        asyncio.run(made.watch.once())
        assert told == []
        made.take(crash(600), of=50)
        made.clock.time += 20 * SECOND
        asyncio.run(made.watch.once())
        opened = {code for code, moved in moves(told) if moved == "opened"}
        found = set(made.watch._alerts._states)
        assert "orders_unanswered" in found, "nobody answers the orders of this venue"
        assert "source_stale" not in found, "an age is not yet that of another minute"
        assert opened <= set(KINDS)
        made.clock.time += 61 * SECOND
        asyncio.run(made.watch.once())
        assert "source_stale" in made.watch._alerts._states
        price = made.engine.look(lambda r: int(r.state.mark[0])).result(5)
        now = made.clock.time
        for i in range(2):
            quote = PriceObserved(ts=now, instrument=i, source=0, price=price, published=now)
            made.engine.offer([quote], source="test").result(10)
        assert "source_stale" not in made.watch._rules.judge(asyncio.run(made.watch.look()))


class Away:
    """A feed that cannot be reached, as `Feed.now` tells it."""

    name = "nats:events"
    now = FeedNow(
        name="nats:events",
        state="away",
        trouble="no server answers",
        place="",
        behind=3,
        taken=0,
        dead=0,
    )


def test_the_parts_of_a_service_are_asked_and_the_stream_is_told():
    hub = Hub()
    walls = iter([0, 0, *[5 * 10**9] * 50])

    with operated(parts=[hub, Feeds([Away()])]) as made:
        alerts = made.service.part(Alerts)
        made.service.add(GuardedClock(alerts, wall=lambda: next(walls), steady=lambda: 0)).now()
        venue = made.engine.stack.venue
        hours = iter(range(0, 10**6, 3_600))
        made.service.add(Silence(expected(venue), venue, alerts, steady=lambda: next(hours)))
        reconciler = made.service.add(Reconciler(made.engine.stack))
        reconciler.raised, reconciler.drift = True, 12.5
        made.service.part(GuardedClock).now()
        asyncio.run(made.watch.once())
        active = {alert.code: alert.detail for alert in alerts.active()}
    assert set(active) == {"feed_away", "clock_jumped", "feed_silent", "book_drifts"}
    assert "12.50" in active["book_drifts"]
    assert made.metrics.probes.drift() == 12.5
    assert list(made.metrics.probes.behind()) == [("nats:events", 3)]
    frames = [json.loads(m) for m in hub.states(Client(frozenset({"alerts"}), -1))]
    assert {(f["topic"], f["data"]["moved"]) for f in frames} == {("alerts", "opened")}
    assert {f["data"]["code"] for f in frames} == set(active)


# ---------------------------------------------------------------- pages


def test_every_code_has_a_place_in_the_runbook_and_no_place_is_empty():
    text = (ROOT / "docs/guides/runbook.md").read_text(encoding="utf-8")
    parts = re.split(r"^### `(\w+)`.*$", text, flags=re.MULTILINE)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(named) == set(KINDS)
    for code, words in named.items():
        assert f"**{KINDS[code].severity}**" in words, f"{code} is a {KINDS[code].severity}"
        for question in ("Means", "First", "Do", "Escalate"):
            assert f"**{question}.**" in words, f"{code}: {question}"


def test_every_code_that_a_part_raises_is_in_the_table():
    raised = set()
    for path in (ROOT / "src/tidegate").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text if ".raised(" in text else "")
        named = {
            target.id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Constant)
            for target in ([node.target] if isinstance(node, ast.AnnAssign) else node.targets)
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="raised"), args=[ast.Constant(value=c), _]):
                    raised.add(c)
                case ast.Call(func=ast.Attribute(attr="raised"), args=[ast.Name(id=name), _]):
                    if isinstance(named.get(name), str):
                        raised.add(named[name])
    assert raised <= set(KINDS), raised - set(KINDS)
