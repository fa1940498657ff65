"""Parameters change with notice, in steps, over a ramp and with grace; and a change on trial."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, facts_of, flat, marks_of, perp, rules, venue_of
from tidegate.cli.journals import new_journal
from tidegate.cli.shadow import shadow_command
from tidegate.cli.stacks import load_stack
from tidegate.domain.effects import (
    OrdersPlaced,
    ParameterMoved,
    ParameterScheduled,
    ParameterSettled,
    Rejected,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import ParameterChanged, ParameterProposed
from tidegate.domain.pending import SLOTS
from tidegate.domain.units import SECOND, unbounded
from tidegate.drivers.recording import load
from tidegate.drivers.replay import Replay
from tidegate.drivers.shadow import changed_facts, parameter_names, shadow
from tidegate.engine.governance import moves_of, with_values
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.kernels.ramp import ramped
from tidegate.safeguards.governance import LONGEST, Governance
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.stack import Stack


MM = "maintenance.PERP"
STEPS = MarginModel(
    instruments={
        "*": Requirement(
            tiers=(
                Tier(initial=100_000, maintenance=50_000),
                Tier(floor=1_000_000_000, initial=200_000, maintenance=100_000),
            )
        )
    }
)


def desk(margin=None, **changes) -> Desk:
    """One long of 100 lots at 1,000 ticks (1e8 Money) with 10 % of equity, at twice maintenance."""
    d = Desk(venue_of(perp()), margin=margin or rules(flat()), governance=Governance(**changes))
    d.users([10**7, 10**12], [(0, 0, 100, 1_000)])
    d.price(1_000)
    return d


def propose(d: Desk, value: int, seconds: float, name: str = MM) -> list:
    at = d.now + int(seconds * SECOND)
    return d.send(ParameterProposed(ts=d.now, name=name, value=value, effective_at=at))


def change(d: Desk, value: int, name: str = MM) -> list:
    return d.send(ParameterChanged(ts=d.now, name=name, value=value))


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def rate(d: Desk, k: int = 0) -> int:
    return int(d.state.facts.tier_maintenance[k])


# ------------------------------------------------------------------------------- the ramp


@pytest.mark.parametrize(
    ("start", "target", "elapsed", "value"),
    [
        (100, 200, -1, 100),
        (100, 200, 0, 100),
        (100, 200, 1, 115),  # a seventh is 14.28 up, of which the rest is rounded down
        (100, 200, 6, 186),
        (100, 200, 7, 200),
        (200, 100, 1, 185),
        (200, 100, 7, 100),
        (5, 5, 3, 5),
    ],
)
def test_a_ramp_is_a_line_rounded_towards_its_end(start, target, elapsed, value):
    assert ramped(start, target, elapsed, 7) == value
    assert unbounded(ramped)(start, target, elapsed, 7) == value


def test_a_ramp_of_no_length_is_a_step():
    assert [ramped(1, 9, t, 0) for t in (-1, 0, 1)] == [1, 9, 9]


@settings(max_examples=80)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**18), st.data())
def test_a_ramp_never_turns_back_and_never_leaves_its_ends(start, target, duration, data):
    times = sorted(data.draw(st.lists(st.integers(-5, 10**18), min_size=2, max_size=5)))
    seen = [unbounded(ramped)(start, target, t, duration) for t in times]
    assert seen == [ramped(start, target, t, duration) for t in times]
    assert seen == sorted(seen, reverse=target < start)
    assert all(min(start, target) <= v <= max(start, target) for v in seen)


# ------------------------------------------------------------------------------- notice


def test_the_neutral_setting_changes_at_once_and_schedules_nothing():
    d = desk()
    found = change(d, 60_000)
    assert [type(e) for e in found] == [ParameterMoved]
    assert rate(d) == 60_000
    assert [type(e) for e in propose(d, 61_000, 0)] == [ParameterMoved]
    assert codes(propose(d, 62_000, -1)) == ["notice_too_short"]


@pytest.mark.parametrize(("seconds", "code"), [(9.999, "notice_too_short"), (10, ""), (11, "")])
def test_notice_is_at_least_what_governance_asks_for(seconds, code):
    d = desk(notice_ns=10 * SECOND)
    found = propose(d, 60_000, seconds)
    assert codes(found) == ([code] if code else [])
    assert rate(d) == 50_000
    if code:
        return
    assert len(d.of(ParameterScheduled, found)) == 1
    d.tick(seconds - 0.001)
    assert rate(d) == 50_000
    effects = d.tick(0.001)
    assert [e.value for e in d.of(ParameterMoved, effects)] == [60_000]
    assert len(d.of(ParameterSettled, effects)) == 1
    assert rate(d) == 60_000
    audit(d.state)


def test_a_dated_change_is_announced_when_it_is_dated():
    d = desk(notice_ns=10 * SECOND)
    (scheduled,) = change(d, 60_000)
    assert (scheduled.start, scheduled.target) == (50_000, 60_000)
    assert scheduled.at == d.now + 10 * SECOND
    d.tick(10)
    assert rate(d) == 60_000


def test_one_change_of_a_cell_at_a_time_and_it_can_be_withdrawn_before_it_begins():
    d = desk(notice_ns=10 * SECOND)
    propose(d, 60_000, 10)
    assert codes(propose(d, 70_000, 20)) == ["parameter_is_pending"]
    before = rate(d)
    assert [type(e) for e in propose(d, before, 20)] == [ParameterSettled]
    d.tick(30)
    assert rate(d) == 50_000
    assert codes(propose(d, 70_000, 20)) == []


@pytest.mark.parametrize(("later", "kind"), [(-1, ParameterSettled), (0, Rejected)])
def test_what_has_begun_can_no_longer_be_withdrawn(later, kind):
    d = desk(notice_ns=10 * SECOND)
    propose(d, 60_000, 10)
    d.now += 10 * SECOND + later
    (answer,) = change(d, 50_000)
    assert isinstance(answer, kind)


def test_a_flag_needs_no_notice():
    """Whoever has to stop something has no ten seconds; a date in the past is none for a flag."""
    d = desk(notice_ns=10 * SECOND)
    assert [type(e) for e in change(d, 1, "pause.open.PERP")] == [ParameterMoved]
    assert codes(d.ask(d.trade(0, 1, 1_000))) == ["action_paused"]
    assert [type(e) for e in propose(d, 0, 5, "pause.open.PERP")] == [ParameterScheduled]
    assert codes(propose(d, 1, -1, "pause.close.PERP")) == ["notice_too_short"]
    d.tick(5)
    assert "action_paused" not in codes(d.ask(d.trade(0, 1, 1_000)))


@pytest.mark.parametrize(
    ("value", "code"), [(55_000, ""), (55_001, "parameter_step_too_large"), (44_999, "")]
)
def test_steps_are_bounded_in_the_columns_own_unit(value, code):
    d = desk(step_max={"tier_maintenance": 5_000})
    if value < 50_000:
        code = "parameter_step_too_large"
    assert codes(change(d, value)) == ([code] if code else [])
    assert codes(change(d, 500_000, "penalty.PERP")) == [], "another column may jump"


def test_slots_run_out_with_a_code():
    d = Desk(
        venue_of(*(perp(f"P{n}", price_max=1_000) for n in range(SLOTS + 1))),
        governance=Governance(notice_ns=SECOND),
    )
    found = [codes(change(d, 1, f"penalty.P{n}")) for n in range(SLOTS + 1)]
    assert found == [[]] * SLOTS + [["too_many_parameters_pending"]]
    d.tick(1)
    assert codes(change(d, 1, f"penalty.P{SLOTS}")) == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("maintenance.PERP.0", 100_000, ""),  # on the line: initial is 100_000 as well
        ("maintenance.PERP.0", 100_001, "tiers_must_rise"),
        ("maintenance.PERP.1", 49_999, "tiers_must_rise"),
        ("maintenance.PERP.1", 50_000, ""),  # as much as the tier below it
        ("maintenance.PERP.1", 200_000, ""),
        ("maintenance.PERP.1", 200_001, "tiers_must_rise"),
        ("initial.PERP.0", 49_999, "tiers_must_rise"),
        ("initial.PERP.1", 1_000_000, ""),
        ("initial.PERP.1", 1_000_001, "rate_out_of_range"),
        ("maintenance.PERP.2", 1, "parameter_unknown"),
        ("maintenance.PERP.x", 1, "parameter_unknown"),
        ("maintenance.NONE", 1, "parameter_unknown"),
    ],
)
def test_rates_of_tiers_keep_their_order(name, value, code):
    d = desk(STEPS)
    assert codes(change(d, value, name)) == ([code] if code else [])
    audit(d.state)


def test_a_tiers_deductions_follow_its_rate():
    """What a change leaves is what a stack file with those rates would have said."""
    d = desk(STEPS)
    change(d, 70_000, "maintenance.PERP.0")
    change(d, 150_000, "initial.PERP.0")
    tiers = (
        Tier(initial=150_000, maintenance=70_000),
        Tier(floor=1_000_000_000, initial=200_000, maintenance=100_000),
    )
    fresh = facts_of(d.venue, MarginModel(instruments={"*": Requirement(tiers=tiers)}))
    assert all((a == b).all() for a, b in zip(d.state.facts, fresh, strict=True))
    again = with_values(facts_of(d.venue, STEPS), [("tier_maintenance", 0, 70_000)])
    assert again.tier_maintenance_cum.tolist() == fresh.tier_maintenance_cum.tolist()
    assert [m.column for m in moves_of(d.state.facts, "penalty", 0, 1)] == ["penalty"]


# ------------------------------------------------------------------------------- grace, ramp


def test_who_is_liquidatable_only_by_the_change_has_grace():
    """Equity is 10 % of notional; 11 % is asked from now on."""
    orders = {}
    for grace in (0, 60):
        d = desk(rules(flat(200_000, 50_000)), grace_ns=grace * SECOND)
        change(d, 110_000)
        orders[grace] = [len(d.of(OrdersPlaced, d.tick(1)))]
        orders[grace] += [len(d.of(OrdersPlaced, d.tick(s))) for s in (58, 0.9, 0.1, 1)]
    assert orders == {0: [1, 0, 0, 0, 0], 60: [0, 0, 0, 1, 0]}


def test_who_falls_below_the_old_rule_has_none():
    for price, ordered in ((948, 0), (947, 1)):  # 4.8 of 94.8 is above 5 %, 4.7 of 94.7 below
        d = desk(rules(flat(200_000, 50_000)), grace_ns=60 * SECOND)
        change(d, 110_000)
        assert len(d.of(OrdersPlaced, d.later(1).price(price))) == ordered


def test_new_positions_are_opened_by_the_new_rule():
    d = desk(rules(flat(110_000, 50_000)), grace_ns=60 * SECOND)
    change(d, 110_000)
    assert codes(d.ask(d.trade(0, 1, 1_000))) == ["below_initial_margin"]


def test_what_loosens_acts_at_once():
    d = desk(ramp_ns=60 * SECOND, grace_ns=60 * SECOND)
    assert [type(e) for e in change(d, 40_000)] == [ParameterMoved]
    assert rate(d) == 40_000


def test_stricter_maintenance_ramps_and_the_slot_is_freed_after_ramp_and_grace():
    d = desk(rules(flat(200_000, 50_000)), ramp_ns=10 * SECOND, grace_ns=5 * SECOND)
    change(d, 60_000)
    seen = []
    for _ in range(17):
        effects = d.tick(1)
        seen.append((rate(d), len(d.of(ParameterSettled, effects))))
    ramp = [51_000 + 1_000 * k for k in range(9)]
    assert seen == [(v, 0) for v in ramp] + [(60_000, 0)] * 5 + [(60_000, 1)] + [(60_000, 0)] * 2
    assert not d.state.pending.live


def test_a_state_in_the_middle_of_a_change_survives_a_snapshot():
    d = desk(rules(flat(200_000, 50_000)), notice_ns=5 * SECOND, ramp_ns=10 * SECOND)
    quiet = d.state.digest()
    change(d, 60_000)
    assert d.state.digest() != quiet
    d.tick(7)
    again = State.load(d.state.dump(), d.stack)
    assert again.digest() == d.state.digest()
    assert again.pending.live == [0]
    d.state = again
    d.tick(8)
    assert rate(d) == 60_000


def test_a_change_that_no_longer_fits_is_given_up():
    d = desk(rules(flat(100_000, 50_000)), notice_ns=5 * SECOND)
    change(d, 90_000)
    change(d, 80_000, "initial.PERP")
    found = d.tick(5)
    assert codes(found) == ["tiers_must_rise"]
    assert not d.state.pending.live
    assert (rate(d), d.state.facts.tier_initial[0]) == (90_000, 100_000), "the first one stands"
    audit(d.state)


@pytest.mark.parametrize(
    "wrong",
    [
        {"notice_ns": -1},
        {"grace_ns": LONGEST + 1},
        {"step_max": {"nothing": 1}},
        {"step_max": {"penalty": 0}},
    ],
)
def test_absurd_rules_are_refused(wrong):
    with pytest.raises(ConfigInvalid, match="governance"):
        Governance(**wrong)


def test_plain_language():
    said = Governance(
        notice_ns=7 * 86_400 * SECOND,
        ramp_ns=2 * 3_600 * SECOND,
        grace_ns=90 * SECOND,
        step_max={"penalty": 5_000},
    ).describe()
    assert ["7 days" in said[0], "2 hours" in said[1], "90 seconds" in said[2]] == [True] * 3
    assert "5,000" in said[3]
    assert Governance().describe() == []


# ------------------------------------------------------------------------------- on trial


def test_a_shadow_run_names_exactly_those_whom_the_next_price_would_liquidate():
    d = desk(rules(flat(200_000, 50_000)))
    found = shadow(d.state, d.stack, [(MM, 110_000)])
    (one,) = found.liquidated
    assert (one.account, one.name, one.equity) == (U, "user 0", 10**7)
    assert (one.before, one.after, one.open) == (5 * 10**6, 11 * 10**6, 10**8)
    assert (found.saved, found.already, found.short) == ([], 0, 10**6)
    assert found.required == (5 * 10**6, 11 * 10**6)
    before = d.state.digest()
    assert shadow(d.state, d.stack, [(MM, 100_000)]).liquidated == [], "on the line"
    assert d.state.digest() == before
    change(d, 110_000)
    (orders,) = d.of(OrdersPlaced, d.tick(1))
    assert np.frombuffer(orders.account, np.int64).tolist() == [U]
    back = shadow(d.state, d.stack, [(MM, 50_000)])
    assert [a.account for a in back.saved] == [U]
    assert shadow(d.state, d.stack, [(MM, 120_000)]).already == 1


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("maintenance.PREP", 1, "did you mean maintenance.PERP"),
        (MM, 1_000_001, "0..1_000_000"),
        (MM, 100_001, "an order in which"),
    ],
)
def test_an_impossible_change_is_refused_with_a_hint(name, value, text):
    d = desk()
    with pytest.raises(ConfigInvalid) as e:
        changed_facts(d.state.facts, d.stack, [(name, value)])
    assert text in f"{e.value.what} {e.value.hint}"
    assert MM + ".0" in parameter_names(d.state.facts, d.stack)
    mark, low, high = marks_of(1_000)
    changed = changed_facts(d.state.facts, d.stack, [("initial.PERP", 200_000), (MM, 150_000)])
    health = d.stack.declaration.margin.assess(d.state.book, changed, mark=mark, low=low, high=high)
    assert health.required[U] == 15 * 10**6


def bound_to(folder) -> Stack:
    return Stack.bind(load_stack("bare"), load(folder).venue)


def test_the_command_says_who(tmp_path):
    from tidegate.drivers.synthetic import make  # noqa: PLC0415 - where it is used

    make(tmp_path, accounts=100, seed=3, scenario="gap")
    asked = [str(tmp_path), "--stack", "bare", "--after", "2"]
    names = CliRunner().invoke(shadow_command, [*asked, "--set", "maintenance.NONE=1"])
    assert isinstance(names.exception, ConfigInvalid)
    wrong = CliRunner().invoke(shadow_command, [*asked, "--set", "maintenance.BTC"])
    assert wrong.exit_code == 2
    tiers = len(load_stack("bare").margin.instruments["BTC"].tiers)
    half = [f"{which}.BTC.{k}=500_000" for which in ("initial", "maintenance")
            for k in reversed(range(tiers))]  # fmt: skip
    strict = [word for change in half for word in ("--set", change)]
    said = []
    for changes in (["--set", "penalty.BTC=0"], strict):
        found = CliRunner().invoke(shadow_command, [*asked, *changes, "--json"])
        if found.exception:
            raise found.exception
        said.append(json.loads(found.stdout))
    assert said[0]["liquidated"] == []
    assert said[0]["required"][0] == said[0]["required"][1] == said[1]["required"][0] > 0
    assert said[1]["liquidated"]
    assert all(a["before"] <= a["equity"] < a["after"] for a in said[1]["liquidated"])
    journal = tmp_path / "run.db"
    with new_journal(journal, load_stack("bare"), load(tmp_path)) as book:
        Replay(recording=load(tmp_path), stack=bound_to(tmp_path), journal=book).run()
    for history, option in ((journal, []), (tmp_path, ["--stack", "bare"])):
        words = [str(history), *option, *strict, "--json"]
        said.append(json.loads(CliRunner().invoke(shadow_command, words).stdout))
    assert said[2] == said[3], "a journal's last state is the replay's"
    early = CliRunner().invoke(shadow_command, [str(journal), "--after", "2", *strict, "--json"])
    assert json.loads(early.stdout)["required"] == said[1]["required"]
    table = CliRunner().invoke(shadow_command, [*asked, *strict]).stdout
    assert f"{len(said[1]['liquidated'])} accounts would be liquidated" in table
    assert said[1]["liquidated"][0]["name"] in table
