"""Where two mechanisms meet: what a review of them together found, on both sides of each line."""

import pytest
from tests.desk import Desk, flat, perp, rules, venue_of

from tidegate.domain.effects import ParameterMoved, Rejected
from tidegate.domain.events import ParameterChanged, ParameterProposed
from tidegate.domain.units import SECOND
from tidegate.engine.state import State
from tidegate.safeguards.governance import Governance


# Governance and pauses -------------------------------------------------------------------------


@pytest.mark.parametrize("notice", [0, SECOND])
@pytest.mark.parametrize("value", [1, 0])
def test_a_pause_acts_at_once_whatever_the_notice(notice, value):
    desk = Desk(venue_of(perp()), margin=rules(flat()), governance=Governance(notice_ns=notice))
    desk.price(10_000)
    (moved,) = desk.send(ParameterChanged(ts=desk.now, name="pause.open.PERP", value=value))
    assert isinstance(moved, ParameterMoved)
    assert desk.state.restraint.flagged(0, "open") == bool(value)
    assert State.load(desk.state.dump(), desk.stack).digest() == desk.state.digest()


def test_a_pause_is_no_change_to_announce():
    desk = Desk(venue_of(perp()), margin=rules(flat()))
    event = ParameterProposed(
        ts=desk.now, name="pause.open.cash", value=1, effective_at=desk.now + SECOND
    )
    (said,) = desk.send(event)
    assert isinstance(said, Rejected)
    assert said.code == "parameter_unknown"
