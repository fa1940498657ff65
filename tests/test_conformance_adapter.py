"""How published numbers are compared when they carry fewer digits than ours."""

import pytest

from tidegate.conformance.adapter import Shown, Within
from tidegate.conformance.suite import differs


EXACT = {"rel": 0, "abs": 0}


@pytest.mark.parametrize(
    ("found", "published", "agrees"),
    [
        (1_090_909, "1090000", True),
        (1_099_999, "1090000", True),
        (1_100_000, "1090000", False),
        (1_089_999, "1090000", False),
        (1_090_909, "1090909", True),
        (1_090_909, "1090908", False),
        (0, "0", True),
        (1, "0", False),
    ],
)
def test_digits_that_are_shown_must_be_ours(found, published, agrees):
    assert (differs({"x": Shown(found)}, {"x": published}, EXACT) is None) == agrees
    # A plain number is held to every digit.
    exact = differs({"x": found}, {"x": published}, EXACT) is None
    assert exact == (str(found) == published)


@pytest.mark.parametrize(("found", "agrees"), [(1_000, True), (1_020, True), (1_021, False)])
def test_a_tolerance_may_be_a_decimal_string(found, agrees):
    """As the largest ones are written."""
    assert (differs(found, "1000", {"rel": 0, "abs": "20"}) is None) == agrees


@pytest.mark.parametrize(
    ("found", "agrees"), [(98, False), (99, True), (100.1, True), (100.2, False)]
)
def test_a_range_holds_its_ends(found, agrees):
    assert (differs({"x": Within(found)}, {"x": [99, 100.1]}, EXACT) is None) == agrees
