"""The path kernels as the cheap level: near the engine, and a rare loss estimated by both."""

import numpy as np
import pytest

from tidegate.cli.stacks import load_stack, shipped
from tidegate.drivers.recording import load
from tidegate.drivers.synthetic import make
from tidegate.lab.levels import Cheap, plainer, rare_loss
from tidegate.lab.opening import Opening
from tidegate.lab.path_model import refuse
from tidegate.lab.tilted import TiltedJumps
from tidegate.lab.turn import turn
from tidegate.lab.weather import Weather
from tidegate.safeguards.stack import Stack


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    folder = tmp_path_factory.mktemp("levels") / "book"
    make(folder, accounts=100, seed=7)
    return Opening.of(load(folder))


def gaps(sizes, instruments=5):
    """Return a fall in one step for each size, and two steps there."""
    line = np.stack([[1.0, to, to, to] for to in sizes])
    price = line[:, :, None] * np.ones(instruments)
    return Weather(price, np.ones_like(price), 300 * 10**9)


@pytest.mark.parametrize("name", [n for n in shipped() if n not in {"loans", "soft", "maker"}])
def test_kernels_follow_what_is_left_of_every_shipped_stack(name, opening):
    stack = Stack.bind(plainer(load_stack(name)), opening.venue)
    refuse(stack, stack.facts)
    assert plainer(load_stack(name)).margin.instruments == load_stack(name).margin.instruments


def test_the_cheap_level_is_near_the_engine_where_prices_gap(opening):
    """Whole fills at the mark: the engine loses as much and its impact on top, never less."""
    sizes = (0.97, 0.8, 0.6)
    weather = gaps(sizes)
    cheap = Cheap.of(opening, load_stack("neutral")).losses(weather)
    dear = [
        turn(opening, load_stack("neutral"), weather.path(n), root=1, path=n).loss
        for n in range(len(sizes))
    ]
    assert cheap[0] == 0 < cheap[1] < cheap[2]
    assert np.all(cheap <= dear)
    assert cheap[1:] == pytest.approx(dear[1:], rel=0.1)


def test_a_loss_that_no_plain_sample_sees_is_estimated_by_both_levels(opening):
    law = TiltedJumps(
        vol=1.0, steps=6, step_ns=300 * 10**9, intensity=2.0, jump_mean=-0.1, jump_deviation=0.08
    )
    found = rare_loss(
        opening, law, load_stack("neutral"), 3e11, root=1, many=400, pairs=range(4), pilots=200
    )
    assert found.found.reached
    assert found.found.tilt.intensity > 100  # only a jump can do it
    assert 0 < found.cheap.probability.value < 1e-4
    assert found.cheap.hits > 100
    both = found.both
    assert both.estimate.value == pytest.approx(both.cheap + both.correction)
    assert both.cheap == pytest.approx(found.cheap.probability.value)
    assert found.study.paths == (0, 1, 2, 3)
    assert found.dear.paths == 4
