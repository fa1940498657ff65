"""Tails below 1e-4: closed forms of a diffusion with jumps, exact weights, and two levels."""

from math import log, sqrt

import numpy as np
import pytest
from scipy.stats import norm, poisson

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND
from tidegate.drivers.streams import Streams
from tidegate.lab.rare import disagreement, rare, tilt_for, two_levels
from tidegate.lab.tilted import Tilt, TiltedJumps


HOUR = 3_600 * SECOND
DAYS = 1 / 365
CALM = TiltedJumps(vol=0.8, steps=12, step_ns=2 * HOUR)
JUMPY = TiltedJumps(
    vol=0.5, steps=12, step_ns=2 * HOUR, intensity=2.0, jump_mean=-0.1, jump_deviation=0.05
)
BTC = ["BTC"]


def fallen(weather):
    return 1 - weather.price[:, -1, 0]


def exact(law, fall):
    """Return P(S_T < (1 - fall) S_0) after a day: a Poisson mixture of normals (Merton 1976)."""
    mean = log(1 - fall) + law.vol**2 / 2 * DAYS
    return sum(
        poisson.pmf(k, law.intensity * DAYS)
        * norm.cdf((mean - k * law.jump_mean) / sqrt(law.vol**2 * DAYS + k * law.jump_deviation**2))
        for k in range(12)
    )


@pytest.mark.parametrize(("law", "fall"), [(CALM, 0.2), (JUMPY, 0.3), (JUMPY, 0.4)])
def test_a_probability_that_no_plain_sample_sees_is_found(law, fall):
    truth = exact(law, fall)
    assert truth < 1e-5
    found = tilt_for(law, fallen, fall, BTC, root=1, paths=500)
    assert found.reached
    world, paths = law.under(found.tilt), range(10**6, 10**6 + 2_000)
    seen = rare(fallen(world.weather(2, paths, BTC)), world.weights(2, paths), fall)
    # Three standard errors; a weight that is wrong is off by orders of magnitude down here.
    assert abs(seen.probability.value / truth - 1) < 3 * seen.relative_error < 0.6
    assert seen.hits > 500
    assert seen.effective > 30


def test_weights_have_mean_one_and_the_neutral_tilt_weighs_nothing():
    paths = range(4_000)
    assert (JUMPY.weights(1, paths) == 1).all()
    mild = JUMPY.under(Tilt(drift=-0.1, intensity=3.0, jump=-0.02)).weights(1, paths)
    assert mild.std() > 0.1
    assert abs(mild.mean() - 1) < 4 * mild.std() / sqrt(4_000)


def test_a_tilt_is_no_part_of_the_law():
    tilted = JUMPY.under(Tilt(drift=-1.0))
    assert tilted.name == JUMPY.name
    assert "2 common jumps a year" in JUMPY.describe()


def test_a_path_depends_on_its_number_alone():
    law = TiltedJumps(vol=1, steps=5, step_ns=HOUR, correlation=0.5, tilt=Tilt(drift=-1))
    many = law.weather(3, [4, 7, 9], ["A", "B"])
    one = law.weather(3, [7], ["A", "B"])
    assert (many.price[1] == one.price[0]).all()
    assert law.weights(3, [4, 7])[1] == law.weights(3, [7])[0]
    assert not np.allclose(one.price[0, -1, 0], one.price[0, -1, 1])


@pytest.mark.parametrize(
    "change",
    [{"vol": -1}, {"steps": 0}, {"correlation": 1.5}, {"tilt": Tilt(intensity=0)}],
)
def test_a_law_that_is_none_is_refused(change):
    with pytest.raises(ConfigInvalid, match="tilted"):
        TiltedJumps(**{"vol": 1, "steps": 5, "step_ns": HOUR, **change})


def test_a_fixed_jump_cannot_be_tilted_into_another():
    with pytest.raises(ConfigInvalid, match="jumps that vary"):
        TiltedJumps(vol=1, steps=5, step_ns=HOUR, jump_deviation=0.0, tilt=Tilt(jump=-0.1))


def test_a_tilt_that_cannot_reach_says_so():
    found = tilt_for(CALM, fallen, 0.9, BTC, root=1, paths=100, rounds=2)
    assert not found.reached
    assert len(found.thresholds) == 2


def test_nothing_hit_is_no_proof():
    seen = rare(np.zeros(10), np.ones(10), 1.0)
    assert seen.probability == (0, 0, 1)
    assert (seen.hits, seen.relative_error) == (0, np.inf)


def test_two_levels_are_unbiased_and_cheaper():
    """dear = x^2, cheap = 0.9 x^2 + noise: the mean is 1 whatever the cheap level says."""
    draw = Streams(1, 0)["levels"]
    many, pairs = draw.standard_normal(40_000), draw.standard_normal(400)

    def cheap(x):
        return 0.9 * x**2 + 5

    found = two_levels(cheap(many), cheap(pairs), pairs**2)
    assert found.estimate.low < 1 < found.estimate.high
    assert found.variance_ratio > 10
    assert found.correction == pytest.approx(-4.9, abs=0.1)


def test_two_levels_need_pairs():
    with pytest.raises(ConfigInvalid, match="two_levels"):
        two_levels(np.ones(5), np.ones(3), np.ones(2))


def test_levels_that_always_agreed_may_still_differ():
    yes = np.ones(100, np.bool_)
    assert disagreement(yes, yes).high == pytest.approx(0.0362, abs=1e-3)
    assert disagreement(yes, ~yes).value == 1
