"""Value at risk, shortfall and insolvency: closed forms, exact ranks, weights, and exact sums."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidegate.domain.errors import ConfigInvalid
from tidegate.drivers.streams import Streams
from tidegate.lab import measures
from tidegate.lab.measures import (
    clopper_pearson,
    expected_shortfall,
    insolvency,
    measured,
    paths_for,
    paths_for_shortfall,
    paths_for_var,
    probability,
    saved,
    shortfall_by_bootstrap,
    shortfall_saved,
    tail_weights,
    value_at_risk,
    wilson,
)
from tidegate.lab.outcome import Outcome
from tidegate.lab.study import Study


BLANK = {
    f.name: 0 for f in msgspec.structs.fields(Outcome) if f.name not in {"digest", "profits"}
} | {"digest": "", "sufferers": b"", "deficits": b""}


def outcome(path, loss, **more):
    return Outcome(**{**BLANK, "path": path, "bad_debt": loss, **more})


def study(losses, fund=50, weights=(), stacks=("bare",)):
    found = {
        stack: [outcome(k, loss // (1 + s), fund_at_start=fund) for k, loss in enumerate(losses)]
        for s, stack in enumerate(stacks)
    }
    return Study(
        opening_digest="book", world="w", stacks=stacks, root=1, outcomes=found,
        weights=list(weights),
    )  # fmt: skip


def normal(n, seed=1):
    return Streams(seed, 0)["x"].standard_normal(n)


def test_the_tail_of_a_normal_is_found():
    x = normal(40_000)
    var, low, high = value_at_risk(x, 0.99)
    es = expected_shortfall(x, 0.99)
    assert low < 2.3263 < high
    assert abs(var - 2.3263) < 0.05
    assert es.low < 2.6652 < es.high
    assert abs(es.value - 2.6652) < 0.05


def test_the_interval_of_a_quantile_covers_as_often_as_it_says():
    """Exact by construction: never less than the confidence, and not much more."""
    truth, inside = float(stats.norm.ppf(0.9)), 0
    for k in range(400):
        _, low, high = value_at_risk(normal(120, seed=k), 0.9)
        inside += low <= truth <= high
    assert 0.94 <= inside / 400 <= 0.995


def test_a_small_sample_has_no_upper_end():
    _, low, high = value_at_risk(np.arange(20.0), 0.99)
    assert high == np.inf
    assert low < 19


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, -0.1])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(ConfigInvalid, match="level"):
        value_at_risk(np.arange(5.0), level)


values = st.lists(st.integers(0, 20), min_size=1, max_size=40)


@given(values, st.floats(0.05, 0.99))
def test_the_shortfall_is_the_sum_of_its_paths(drawn, level):
    """Atoms are split: weights sum to one, and reproduce the Rockafellar-Uryasev value."""
    x = np.array(drawn, np.float64)
    weight = tail_weights(x, level)
    assert weight.min() >= 0
    assert weight.sum() == pytest.approx(1)
    assert weight @ x == pytest.approx(expected_shortfall(x, level).value)
    least = min(c + np.maximum(x - c, 0).mean() / (1 - level) for c in drawn)
    assert weight @ x == pytest.approx(least)


@given(values, st.integers(0, 10**6))
def test_weights_count_like_repeated_paths(drawn, seed):
    x = np.array(drawn, np.float64)
    times = np.random.default_rng(seed).integers(1, 4, x.size)
    repeated, w = np.repeat(x, times), times * x.size / times.sum()
    for level in (0.5, 0.83):
        one, many = value_at_risk(x, level, w).value, value_at_risk(repeated, level).value
        # Where exactly that share lies above the lower of the two, rounding decides between them.
        assert one == many or np.isclose((repeated > min(one, many)).mean(), 1 - level)
        assert tail_weights(x, level, w) @ x == pytest.approx(
            tail_weights(repeated, level) @ repeated
        )


def test_importance_weights_give_the_tail_of_the_other_law():
    shift = 2.5
    x = normal(20_000) + shift
    w = np.exp(-shift * x + shift**2 / 2)
    var = value_at_risk(x, 0.999, w)
    es = expected_shortfall(x, 0.999, w)
    assert var.low < 3.0902 < var.high
    assert var.high - var.low < 0.1
    assert es.low < 3.3670 < es.high


def test_the_bootstrap_and_the_influence_function_agree():
    x = normal(2_000)
    one = expected_shortfall(x, 0.95)
    two = shortfall_by_bootstrap(x, 0.95, Streams(1, 0), draws=400)
    assert one.value == pytest.approx(two.value)
    assert two.low == pytest.approx(one.low, abs=0.05)
    assert two.high == pytest.approx(one.high, abs=0.05)


def test_intervals_of_a_share_are_the_published_ones():
    """Newcombe (1998), table I: 15 of 148, and 0 of 20."""
    one = wilson(15, 148)
    assert (round(one.low, 4), round(one.high, 4)) == (0.0624, 0.1605)
    exact = clopper_pearson(15, 148)
    assert (round(exact.low, 4), round(exact.high, 4)) == (0.0578, 0.1617)
    none = wilson(0, 20)
    assert (none.low, round(none.high, 4)) == (0, 0.1611)
    assert clopper_pearson(20, 20).high == 1


def test_what_was_never_hit_is_bounded_only_for_equal_weights():
    nothing = np.zeros(300, np.bool_)
    assert probability(nothing).high == pytest.approx(0.0122, abs=1e-4)
    assert probability(nothing, np.full(300, 0.5)) == (0, 0, 1)
    assert paths_for(1e-2) == 299


def test_a_study_is_measured_by_stack_and_number():
    made = study([0, 0, 40, 100], stacks=("bare", "guarded"))
    table = measured(made, ("loss",), level=0.75).set_index("stack")
    assert table.loc["bare", "shortfall"] == 100
    assert table.loc["guarded", "shortfall"] == 50
    assert table.loc["bare", "most"] == 100
    chance = insolvency(made).set_index("stack")
    assert (chance.loc["bare", "probability"], chance.loc["guarded", "probability"]) == (0.25, 0)
    assert saved(made, "guarded", "bare").value == 17.5
    less, more = made.losses("guarded"), made.losses("bare")
    assert shortfall_saved(less, more, 0.75).value == pytest.approx(50)
    assert shortfall_saved(more, more, 0.75) == (0, -np.inf, np.inf)  # one path in its tail


def test_what_two_stacks_suffer_alike_cancels():
    """A stack that saves 1 of every loss: the pair knows to a hair what the intervals do not."""
    x = 10 + normal(400)
    both = expected_shortfall(x, 0.9)
    pair = shortfall_saved(x - 1, x, 0.9)
    assert both.high - both.low > 0.2
    assert pair == pytest.approx((1, 1, 1))
    assert expected_shortfall(x[:50], 0.9).high == np.inf


def test_a_weighted_study_weighs():
    made = study([0, 100], weights=[1.5, 0.5])
    assert measures.tail(made.losses("bare"), made.weight, 0.5).mean.value == 25
    assert measures.effective(made.weight) == pytest.approx(1.6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stacks": ("bare", "other")}, "same paths"),
        ({"outcomes": {"bare": []}}, "no path"),
        ({"weights": [1.0]}, "one finite number"),
        ({"weights": [1.0, -1.0]}, "one finite number"),
    ],
)
def test_a_study_refuses_what_cannot_be_compared(change, said):
    made = study([1, 2])
    with pytest.raises(ConfigInvalid, match=said):
        msgspec.structs.replace(made, **change)


def test_a_study_survives_its_encoding_and_names_its_paths():
    made = study([1, 2], weights=[0.5, 2.0])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Study) == made
    assert made.paths == (0, 1)
    assert made.repeat(1) == "--world w --seed 1 --path 1"


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_the_paths_that_an_interval_takes_are_the_fewest_that_have_one(level):
    for count, estimate in (
        (paths_for_var(level), value_at_risk),
        (paths_for_shortfall(level), expected_shortfall),
    ):
        values = np.arange(count, dtype=float)
        assert np.isfinite(estimate(values, level)).all()
        assert not np.isfinite(estimate(values[1:], level)).all()
