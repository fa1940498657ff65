"""The model of a visible level: what must hold in it whatever its numbers are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.drivers.streams import Streams
from tidegate.lab.magnet import Crowd, outcome


def found(rule: str, **changes):
    return outcome(Crowd(seconds=1_200, **changes), rule, Streams(7, 0), paths=120)


def test_a_level_that_nobody_runs_from_is_reached_as_often_as_without_it():
    assert found("halt").reached == found("none").reached


@settings(max_examples=8, deadline=None)
@given(st.floats(0.0, 0.04), st.floats(0.002, 0.03))
def test_a_larger_crowd_never_reaches_its_level_less_often(fleeing, nearness):
    less = found("halt", fleeing=fleeing, nearness=nearness)
    more = found("halt", fleeing=fleeing + 0.02, nearness=nearness)
    assert more.reached >= less.reached
    assert more.deepest <= less.deepest + 1e-12


def test_a_speed_limit_has_no_level_to_run_to():
    assert found("smooth", fleeing=0.04) == found("smooth")


def test_a_speed_limit_makes_the_forced_wait_longer_and_fall_less_deep():
    bare, slow = found("none", forced=1.0), found("smooth", forced=1.0)
    assert slow.waited > bare.waited
    assert slow.deepest >= bare.deepest


@pytest.mark.parametrize("rule", ["none", "halt", "smooth"])
def test_without_forced_sales_no_rule_changes_a_price(rule):
    quiet = found(rule, forced=0.0)
    assert (quiet.unsold, quiet.waited) == (0.0, 0.0)
    assert quiet.deepest <= -0.02
    if rule == "smooth":
        assert quiet == found("none", forced=0.0)
