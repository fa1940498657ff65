"""The breaking point, its direction, the cliff and the worst scenario, on laws known by heart."""

import numpy as np
import pytest

from test_measures import outcome
from tidegate.cli.stacks import load_stack
from tidegate.domain.errors import ConfigInvalid
from tidegate.drivers.recording import load
from tidegate.drivers.synthetic import make
from tidegate.lab import adversarial, breaking
from tidegate.lab.adversarial import Plausible, hardest
from tidegate.lab.breaking import Bench, along, candidates, cliff, mapped, strike, worst_direction
from tidegate.lab.opening import Opening
from tidegate.lab.shock import Shock, shock_of


FUND = 1_000


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    folder = tmp_path_factory.mktemp("breaking") / "book"
    make(folder, accounts=100, seed=7)
    return Opening.of(load(folder))


@pytest.fixture
def struck(monkeypatch):
    """Return a function that replaces the engine by a law: log moves to loss."""

    def replace(law):
        def fake(opening, stack, shape, moves, root):
            del opening, stack, root
            return outcome(0, int(law(np.log1p(moves), shape)), fund_at_start=FUND)

        monkeypatch.setattr(breaking, "strike", fake)

    return replace


def bench(opening):
    return Bench(opening, load_stack("bare"))


def test_the_breaking_point_of_a_line_is_where_it_crosses(opening, struck):
    struck(lambda moves, _: 5_000 * -moves[0])
    seen = []
    tool = bench(opening)
    tool.on_probe = seen.append
    found = along(tool, np.full(5, -1.0), most=1.0, tolerance=0.01)
    assert found.solid <= 0.2 < found.size <= found.solid + 0.01
    assert found.monotone
    assert found.moves == pytest.approx([np.expm1(-found.size)] * 5)
    assert [p.size for p in found.probes] == sorted(p.size for p in seen)
    assert len(tool.tried) == len(seen) == len(found.probes)


def test_larger_shocks_that_do_not_break_are_said(opening, struck):
    """Between 0.5 and 0.7 a halt saves the fund: the first break counts, the hole is told."""

    def law(moves, _):
        size = -moves[0]
        return 0 if size < 0.3 or 0.5 < size < 0.7 else 2 * FUND

    struck(law)
    found = along(bench(opening), np.full(5, -1.0), most=0.8, tolerance=0.01)
    assert found.solid < 0.3 <= found.size < 0.31
    assert found.holes == pytest.approx((0.6,))


def test_what_never_breaks_has_no_size(opening, struck):
    struck(lambda *_: FUND)
    found = along(bench(opening), np.full(5, -1.0), most=2.0, tolerance=0.1)
    assert (found.size, found.solid) == (np.inf, 2.0)
    with pytest.raises(ConfigInvalid, match="tolerance"):
        along(bench(opening), np.full(5, -1.0), most=1.0, tolerance=2.0)


def test_the_worst_direction_of_a_linear_law_is_found(opening, struck):
    """Loss a.m breaks at distance fund / |L'a|, in the direction L'a: nothing comes closer."""
    weights = np.array([-3_000.0, -1_000.0, 500.0, 0.0, -2_000.0])
    struck(lambda moves, _: max(0.0, weights @ moves))
    spread = 0.1**2 * (0.4 * np.eye(5) + 0.6)
    ideal = np.linalg.cholesky(spread).T @ weights
    least = FUND / np.linalg.norm(ideal)
    found = worst_direction(bench(opening), spread, most=10, tolerance=0.02, tries=60)
    down = candidates(spread, opening.symbols)[0][1]
    assert least - 0.03 <= found.breaking.size < least * 1.1
    assert found.unit @ ideal / np.linalg.norm(ideal) > 0.97 > down @ ideal / np.linalg.norm(ideal)
    assert np.linalg.norm(found.unit) == pytest.approx(1)


def test_a_cliff_goes_on_where_it_was(opening, struck):
    struck(lambda moves, shape: 100 * -moves[0] / shape.depth)
    stacks = [load_stack("bare")]
    told = []
    known = {("bare", -0.5, 1.0): outcome(0, 7, fund_at_start=1)}
    found = cliff(
        opening, stacks, [-0.1, -0.5], [1.0, 0.5], known=known,
        on_place=lambda place, _: told.append(place),
    )  # fmt: skip
    assert told == [("bare", -0.1, 1.0), ("bare", -0.1, 0.5), ("bare", -0.5, 0.5)]
    table = mapped(found).set_index(["move", "depth"])
    assert table.loc[(-0.5, 1.0), "loss"] == 7
    assert table.loc[(-0.1, 0.5), "loss"] == 2 * table.loc[(-0.1, 1.0), "loss"] + 1


def test_the_engine_is_struck_by_what_was_asked(opening):
    """On the true engine: a small shock costs nothing, a large one more than a smaller one."""
    shape = Shock(moves=(("", 0.0),), fall=2, hold=2)
    lost = [
        strike(opening, load_stack("bare"), shape, [move] * 5, 1).loss
        for move in (-0.001, -0.3, -0.6)
    ]
    assert lost[0] == 0 < lost[1] < lost[2]


def test_the_worst_scenario_stays_inside_its_bounds(opening, monkeypatch):
    """It hurts where ETH leaves BTC behind and depth is gone, which nobody thinks of at first."""

    def law(opening, stack, weather, *, root, path):
        del opening, stack, root, path
        apart = (weather.price[0, :, 1] - weather.price[0, :, 0]).max()
        gone = 1 - weather.depth.min()
        return outcome(0, int(FUND * 1_000 * max(0.0, apart) * gone), fund_at_start=FUND)

    monkeypatch.setattr(adversarial, "turn", law)
    bounds = Plausible(
        covariance=0.8**2 * (0.3 * np.eye(5) + 0.7), distance=8, fall=(2, 20), depth=(0.2, 1.0)
    )
    worst = hardest(opening, load_stack("bare"), bounds, tries=40, root=5)
    for each in worst.tried:
        assert each.distance <= 8 + 1e-9
        assert each.distance == pytest.approx(
            bounds.far(np.log1p([m for _, m in each.shock.moves]), each.shock.fall)
        )
        assert 0.2 <= each.shock.depth <= 1
        assert 2 <= each.shock.fall <= 20
    plain = worst.tried[0]  # everything down together, as everybody thinks of
    assert {symbol for symbol, move in plain.shock.moves if move < 0} == set(opening.symbols)
    assert plain.harm == 0
    # The most two of them can part at 8 deviations within the longest fall, and depth at its least.
    most = 8 * 0.8 * np.sqrt(2 * 0.3) * np.sqrt(20 * bounds.step_ns / adversarial.YEAR_NS)
    assert 0.4 * most < worst.found.harm / 1_000 / 0.8 < 1.02 * most
    moves = dict(worst.found.shock.moves)
    assert moves["BTC"] < moves["ETH"]
    again = hardest(opening, load_stack("bare"), bounds, tries=5, root=5)
    assert [t.shock for t in again.tried] == [t.shock for t in worst.tried[:5]]
    line = worst.line("book", "bare.toml")
    assert shock_of(line.split("'")[1]) == worst.found.shock


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fall": (5, 2)}, "fall"),
        ({"distance": 0.0}, "distance"),
        ({"covariance": -np.eye(5)}, "positive definite"),
    ],
)
def test_bounds_that_are_none_are_refused(change, said):
    with pytest.raises(ConfigInvalid, match=said):
        Plausible(**{"covariance": np.eye(5), **change})


def test_bounds_must_fit_the_book(opening):
    with pytest.raises(ConfigInvalid, match="instruments"):
        hardest(opening, load_stack("bare"), Plausible(covariance=np.eye(2)), tries=1)


def test_a_shock_says_its_name_and_is_made_from_it():
    shock = Shock(
        moves=(("BTC", -0.4), ("ETH", 0.1)), fall=3, hold=1, rebound=0.5, back=2, depth=0.2
    )
    assert shock_of(shock.name) == shock
    assert shock_of("shock:BTC=-0.4").moves == (("BTC", -0.4),)
    assert "BTC -40.0%" in shock.describe()
    weather = shock.weather(1, [0, 9], ["ETH", "SOL", "BTC"])
    assert weather.price.shape == (2, 7, 3)
    assert weather.price[0, 3] == pytest.approx([1.1, 1.0, 0.6])
    assert weather.price[0, -1, 2] == pytest.approx(0.6**0.5)
    assert weather.depth[0, :, 0] == pytest.approx(
        [1, 1 - 0.8 / 3, 1 - 1.6 / 3, 0.2, 0.2, 0.4, 0.6]
    )
    assert (weather.price[0] == weather.price[1]).all()


@pytest.mark.parametrize(
    "word", ["shock:BTC", "gap:BTC=1", "shock:BTC=-0.4,fall=1.5", "shock:BTC=-2"]
)
def test_a_word_that_is_no_shock_is_refused(word):
    with pytest.raises(ConfigInvalid, match="shock"):
        shock_of(word)


def test_a_shock_of_strangers_is_refused():
    with pytest.raises(ConfigInvalid, match="DOGE"):
        Shock(moves=(("DOGE", -0.1),)).weather(1, [0], ["BTC"])
