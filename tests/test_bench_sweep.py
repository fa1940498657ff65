"""Benchmarks of sweep, tick and profile prove their answers before they time them."""

import numpy as np
import pytest

from tidegate.engine.packed import alone
from tidegate.lab.bench import profile, sweep, tick
from tidegate.lab.bench.crowd import DISTRESSED_EVERY, HELD, crowd
from tidegate.lab.bench.sweep_yardsticks import yardsticks
from tidegate.lab.bench.timing import installed


@pytest.fixture(scope="module")
def people():
    return crowd(1_000)


def test_a_crowd_is_the_same_every_time_and_holds_one_position_a_market(people):
    again = crowd(1_000)
    assert (again.lots == people.lots).all()
    markets = np.sort(people.instrument.reshape(-1, HELD), axis=1)
    assert (np.diff(markets, axis=1) > 0).all()
    there = people.moved(0.005, "test")
    assert np.abs(there / people.mark - 1).max() == pytest.approx(0.005, rel=1e-2)


def test_every_yardstick_that_is_here_gives_the_sweeps_answer(people):
    """And one that does not is named."""
    others = yardsticks(people, alone)
    libraries = {"scipy", "polars", "duckdb", "pandas"}
    assert set(others) == {"numba_csr", "numpy"} | {x for x in libraries if installed(x)}
    book, mark = sweep.packed(people), people.moved(0.005, "test")
    sweep.prove(book, people, mark, others)

    def off(mark):
        equity, required = others["numpy"](mark)
        return equity, required + (np.arange(required.size) == 7)

    with pytest.raises(AssertionError, match="wrong has another requirement"):
        sweep.prove(book, people, mark, {"wrong": off})


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("module", [tick, profile])
def test_a_small_run_proves_and_measures(module):
    (result,) = module.measure(0.001)
    assert result.name == module.NAMES[0]
    assert result.seconds > 0
    assert result.yardsticks
    assert result.per_second == pytest.approx(1_000 / result.seconds)


def test_a_tick_checks_few_accounts_exactly(people):
    of = tick.ticking(1_000, 1)
    mark = people.moved(0.005, "test")
    found = of.look(mark)
    assert set(range(0, 1_000, DISTRESSED_EVERY)) <= set(found.tolist())
    assert found.size <= of.index.checked < 100
