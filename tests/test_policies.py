"""One contract, every policy: the package's own pass it, and ones that break a promise do not."""

from importlib.resources import as_file, files

import msgspec
import numpy as np
import pytest

from desk import flat, rules
from tidegate.domain.units import PPM, SECOND
from tidegate.safeguards.breaker import Alarms, LadderBreaker, Rung, Step
from tidegate.safeguards.margin import MarginModel
from tidegate.safeguards.oracle import OracleGuard, Quality, Seen, Source
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.signals import SignalBound, SignalGate
from tidegate.safeguards.stack import SafeguardStack
from tidegate.safeguards.waterfall import Tranche, Waterfall
from tidegate.testing import check_policy
from tidegate.testing.policies import counter


LADDER = (
    Step(rung="caution", deviations=PPM, initial_scale=2 * PPM, band=50_000),
    Step(rung="halt", distressed=PPM, deviations=3 * PPM, initial_scale=3 * PPM, pace=0, band=1),
)
FUND = (Tranche(name="first", initial=5), Tranche(name="second", initial=5, attachment=3))
POLICIES = [
    OracleGuard(),
    OracleGuard(outlier_max=50_000, step_max=10_000, confidence_max=10_000, sources_min=3),
    OracleGuard(
        sources=(Source(name="a"), Source(name="b", weight=3), Source(name="v", role="venue")),
        divergence_max=20_000,
        smoothing_ns=SECOND,
        age_max_ns=2,
        average_ns=SECOND,
        average_max=1,
        stale_band=PPM,
    ),
    MarginModel(),
    MarginModel(cash_debt_maintenance=300_000, cash_debt_initial=500_000),
    rules(flat(premium=50_000, open_high=10**9, penalty=5_000, dust=10**6)),
    LadderBreaker(),
    LadderBreaker(steps=LADDER, reserved=100_000),
    StagedPlanner(),
    *(StagedPlanner(priority=p) for p in ("deepest", "largest", "oldest", "savable")),
    StagedPlanner(netting=True, close_fraction=300_000, target=1_250_000, whole_below=10**6),
    StagedPlanner(depth_share=300_000, in_flight_max=10**6, interval_ns=SECOND, first_stage=1),
    BookRoute(),
    BookRoute(spread=2 * PPM, adjustment=3 * PPM),
    Waterfall(),
    *(Waterfall(deleverage=d, socialise=s) for d in ("queue", "pro_rata") for s in ("profit",)),
    *(Waterfall(deleverage="queue", score=s) for s in ("leverage_profit", "profit", "size")),
    Waterfall(tranches=FUND, socialise="equity", fund_pays_first=True, fund_share=1),
    SignalGate(),
    SignalGate(bounds=(SignalBound(name="a"), SignalBound(name="b", neutral=5, tightest=5))),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: type(p).__name__)
def test_our_own_policies(policy):
    check_policy(policy)


@pytest.mark.parametrize("name", ["bare", "guarded", "neutral"])
def test_every_policy_of_a_bundled_stack(name):
    with as_file(files("tidegate.stacks") / f"{name}.toml") as path:
        stack = SafeguardStack.load(path)
    for part in ("oracle", "margin", "breaker", "planner", "route", "waterfall", "signals"):
        check_policy(getattr(stack, part))
    assert all(line.split(":")[0] for line in stack.describe())


# Whoever breaks a promise is told which -------------------------------------------------------


class Wide(OracleGuard, frozen=True):
    def believe(self, *args, **asked):
        found = super().believe(*args, **asked)
        return found and msgspec.structs.replace(found, low=found.price + 1)


class Lenient(OracleGuard, frozen=True):
    def admits(self, action, quality):
        del action
        return quality != Quality.GOOD


class Generous(MarginModel, frozen=True):
    def assess(self, *args, **asked):
        health = super().assess(*args, **asked)
        health.best[:] = -1
        return health


class Greedy(MarginModel, frozen=True):
    def assess(self, book, *args, **asked):
        book.cash[-1] += 1
        return super().assess(book, *args, **asked)


class Nervous(LadderBreaker, frozen=True):
    def climb(self, alarms, **asked):
        found = super().climb(alarms, **asked)
        return (4 - found[0], *found[1:])


class Doubling(StagedPlanner, frozen=True):
    def plan(self, *args, **asked):
        found = super().plan(*args, **asked)
        if found is not None:
            found.ordered[:] *= 2
        return found


class Hasty(StagedPlanner, frozen=True):
    def plan(self, *args, room_sell, room_buy, **asked):
        rooms = {"room_sell": room_sell.copy(), "room_buy": room_buy.copy()}
        return super().plan(*args, **rooms, **asked)


class Reckless(BookRoute, frozen=True):
    def limits(self, *args, **asked):
        return super().limits(*args, **asked) * 0


class Boundless(BookRoute, frozen=True):
    def limits(self, *args, band, **asked):
        return super().limits(*args, band=band * 2, **asked)


class Overdrawn(Waterfall, frozen=True):
    def draws(self, deficit, *, balance, lost):
        return [deficit + 1 + lost for _ in balance]


class Taxing(Waterfall, frozen=True):
    def shares(self, deficit, health, cash):
        payers, paid = super().shares(deficit, health, cash)
        return payers, paid * 2


CALLS: list[int] = []  # what a policy has no business to remember


class Moody(LadderBreaker, frozen=True):
    def climb(self, alarms, **asked):
        CALLS.append(1)
        return (*super().climb(alarms, **asked)[:3], len(CALLS))


class Mute(SignalGate, frozen=True):
    def describe(self):
        return []


class Technical(SignalGate, frozen=True):
    def describe(self):
        return [f"{self.bounds!r} <{object.__name__}>"]


@pytest.mark.parametrize(
    ("policy", "promise"),
    [
        (Wide(), "a mark lies in its interval"),
        (Lenient(), "worse is never admitted sooner"),
        (Generous(), "doubt never liquidates"),
        (Greedy(), "writes to nothing"),
        (Nervous(steps=LADDER), "louder alarm"),
        (Moody(steps=LADDER), "same answer"),
        (Doubling(), "no more is closed than is held"),
        (Hasty(), "drawn from its room"),
        (Reckless(), "a limit is a price"),
        (Boundless(), "bands bind"),
        (Overdrawn(tranches=FUND), "more than the deficit"),
        (Taxing(socialise="equity"), "shared than is left"),
        (Mute(), "read back"),
        (Technical(), "plain words"),
        (object(), "one of these methods"),
    ],
    ids=lambda p: type(p).__name__ if not isinstance(p, str) else "",
)
def test_a_broken_promise_is_named(policy, promise):
    with pytest.raises(AssertionError, match=promise):
        check_policy(policy)


# Neutral: a setting that does nothing ---------------------------------------------------------


@pytest.mark.parametrize("price", [1, 99, 10**9])
def test_a_neutral_guard_believes_anything(price):
    seen = [Seen(0, price, price - 1, 0)]
    found = OracleGuard().believe(seen, mark=50, basis=0, now=10**18, elapsed=SECOND)
    assert (found.price, found.low, found.high) == (price, price, price)
    assert found.quality == Quality.GOOD


def test_neutral_margin_asks_for_nothing():
    at = counter(40)
    model = MarginModel()
    facts = model.columns(at.venue)
    health = model.assess(at.book, facts, mark=at.mark, low=at.mark, high=at.mark)
    assert not health.required.any()
    assert health.liquidatable.tolist() == np.flatnonzero(health.equity < 0).tolist()


@pytest.mark.parametrize("rung", list(Rung))
def test_a_neutral_breaker_stays_where_it_is(rung):
    loud = Alarms(**dict.fromkeys(Alarms.__struct_fields__, 2**61))
    found = LadderBreaker().climb(loud, rung=0, calm_since=-1, now=5)
    assert found[:2] == (0, -1)
    step = LadderBreaker().at(int(rung))
    assert (step.pace, step.initial_scale, step.band) == (PPM, PPM, 0)


def test_a_neutral_planner_closes_everything_at_once():
    at = counter(40)
    asked = {"mark": at.mark, "gate": np.ones(2, np.int64), "now": 0}
    planner = StagedPlanner()
    room = planner.capacity(depth_lots=0, lot_value=1, pace=PPM, reserved=0)
    plan = planner.plan(
        at.book,
        at.facts,
        at.health,
        staged_at=np.zeros(at.book.accounts, np.int64),
        room_sell=np.full(2, room),
        room_buy=np.full(2, room),
        **asked,
    )
    assert (plan.ordered == -at.book.lots[plan.row]).all()
    assert not plan.netted.any()
    assert plan.waiting == 0
    who = set(at.book.account[plan.row].tolist())
    sick = set(at.health.liquidatable.tolist())
    assert who == {a for a in sick if at.book.head[a] >= 0}


def test_a_neutral_route_takes_any_price():
    at = counter(40)
    row = np.flatnonzero(at.book.account >= 12)
    ordered = -at.book.lots[row]
    limits = BookRoute().limits(
        at.book, at.facts, at.health, mark=at.mark, row=row, ordered=ordered, band=0
    )
    assert limits.tolist() == np.where(ordered < 0, 1, 10_000).tolist()


def test_a_neutral_waterfall_lets_a_deficit_lie():
    at = counter(40)
    neutral = Waterfall()
    assert neutral.draws(100, balance=[], lost=0) == []
    assert not neutral.shares(100, at.health, at.book.cash)[0].size
    assert neutral.deleverage == "none"
    assert neutral.fund(at.book) == 0


def test_a_neutral_gate_listens_to_nobody():
    assert SignalGate().slot("spectral_radius") == -1
