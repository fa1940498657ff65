"""The checks of the lab's models are checked themselves: on laws whose answer is on paper."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.cascades import borel
from tidegate.lab.checks.cascade_sizes import Dominoes, against_borel
from tidegate.lab.checks.coverage import covered
from tidegate.lab.checks.forecasts import ALPHAS, MAKERS, PATHS, days, rolling, tail
from tidegate.lab.checks.stylised import autocorrelation, facts, hill
from tidegate.lab.worlds import fitting
from tidegate.lab.worlds.brownian import Brownian
from tidegate.lab.worlds.catalogue import world
from tidegate.lab.worlds.ground import DAY, HOUR, YEAR, Clock, normals, uniforms
from tidegate.lab.worlds.history import History


def test_the_tail_index_of_a_pareto_is_found():
    sizes = uniforms(1, [0], "u", 50_000)[0] ** (-1 / 3.0)
    found, error = hill(sizes, share=0.05)
    assert abs(found - 3.0) < 5 * error
    assert error == pytest.approx(3.0 / sqrt(2_500), rel=0.1)
    assert hill(np.abs(normals(1, [0], "z", 50_000)[0]))[0] > 6


def test_autocorrelation_is_that_of_an_autoregression():
    shock, x = normals(2, [0], "z", 20_000)[0], np.zeros(20_000)
    for t in range(1, x.size):
        x[t] = 0.6 * x[t - 1] + shock[t]
    assert autocorrelation(x, 1) == pytest.approx(0.6, abs=5 / sqrt(x.size))
    assert autocorrelation(x, 3) == pytest.approx(0.6**3, abs=10 / sqrt(x.size))


def test_worlds_with_memory_show_it_and_those_without_do_not():
    def found(spec):
        price = world(spec).weather(3, [0], ("BTC",)).price[0, :, 0]
        return facts(np.diff(np.log(price)))

    plain = found("gbm:steps=8000,step=1h")
    assert abs(plain.clustering[0]) < 2 * plain.band
    assert plain.kurtosis == pytest.approx(3.0, abs=5 * sqrt(24 / 8_000))
    assert plain.left > 5
    heavy = found("gjr:steps=8000,step=1h,df=4")
    assert heavy.clustering[0] > 5 * heavy.band
    assert abs(heavy.linear) < 3 * heavy.band  # sizes are remembered, directions are not
    assert heavy.left < 4.5
    assert heavy.kurtosis > 5.0
    storms = found("regimes:steps=8000,step=1h,calm_for=2d,storm_for=10h")
    assert storms.clustering[1] > 5 * storms.band


@pytest.mark.parametrize("n", [0.3, 0.7])
def test_rows_of_dominoes_fall_by_borels_law(n):
    sizes = np.array([Dominoes.drawn(n, 300, 4, k).by_ladder() for k in range(800)])
    _, cells, p = against_borel(sizes, n)
    assert cells >= 4
    assert p > 1e-3
    _, _, wrong = against_borel(sizes, n + 0.15)
    assert wrong < 1e-3
    assert abs(sizes.mean() - 1 / (1 - n)) < 5 * sqrt(n / (1 - n) ** 3 / 800)


def test_a_ladder_is_the_ballot_count():
    """S falls when the k-th fallen reaches no further: the first k with gap[k] > k."""
    for path in range(200):
        row = Dominoes.drawn(0.8, 100, 5, path)
        beyond = np.flatnonzero(row.gap[1:] > np.arange(1, 100))
        assert row.by_ladder() == (int(beyond[0]) + 1 if beyond.size else 100)


def test_the_engine_fells_the_rows_that_the_ladder_fells():
    rows = [Dominoes.drawn(0.8, 60, 6, path) for path in range(12)]
    chosen = sorted(rows, key=lambda row: -row.by_ladder())[:3] + rows[:2]
    assert chosen[0].by_ladder() > 5
    for row in chosen:
        assert row.by_engine(30) == row.by_ladder()


def test_dominoes_that_never_end_are_refused():
    for n in (0.0, 1.0):
        with pytest.raises(ConfigInvalid, match=r"dominoes\.n"):
            Dominoes.drawn(n, 10, 0, 0)


def test_cells_are_pooled_until_five_are_expected():
    """Of 40 rows at n = 0.5: 24.3, 7.4 and 3.3 are expected of sizes 1, 2, 3: two cells, a rest."""
    sizes = np.array([1] * 24 + [2] * 7 + [3] * 3 + [4, 4, 5, 6, 7, 9])
    chi, cells, p = against_borel(sizes, 0.5)
    one, two = (40 * borel(0.5, 2)).tolist()
    rest = 40 - one - two
    assert cells == 2
    assert chi == pytest.approx(
        (24 - one) ** 2 / one + (7 - two) ** 2 / two + (9 - rest) ** 2 / rest
    )
    assert p > 0.8


def test_the_tail_of_a_sample_is_its_order_statistics():
    simulated = np.column_stack([np.arange(999) / 100.0 - 5, np.arange(999)[::-1] / 10.0])
    var, shortfall = tail(simulated, 0.01)
    assert var == pytest.approx([5 - 0.09, -0.9])  # the tenth worst of 999
    assert shortfall == pytest.approx([5 - 0.045, -0.45])
    assert np.array_equal(tail(simulated[:50], 0.001), tail(simulated[:50], 0.01))
    assert all((alpha * (PATHS + 1)).is_integer() for alpha in ALPHAS)  # exact, not interpolated


@pytest.fixture(scope="module")
def history():
    """200 days of hours of a Brownian pair, from midnight, with one hour missing on day 150."""
    law = Brownian(Clock(24 * 200, HOUR), vol=0.8, vols=(("B", 1.2),))
    returns = np.diff(np.log(law.weather(8, [0], ("A", "B")).price[0]), axis=0)
    begin = 1_700_000_000_000_000_000 // DAY * DAY
    ts = begin + np.arange(1, returns.shape[0] + 1, dtype=np.int64) * HOUR
    kept = np.arange(returns.shape[0]) != 150 * 24 + 5
    return History(("A", "B"), HOUR, ts[kept], returns[kept], np.ones(2), "made")


def test_days_begin_at_midnight_and_are_whole(history):
    found = list(days(history, 24 * 11 + 3))
    ends = (history.ts[np.array(found) - 1] // DAY - history.ts[0] // DAY).tolist()
    assert (history.ts[np.array(found) - 1] % DAY == 0).all()
    assert set(range(12, 199)) - set(ends) == {150}


def test_forecasts_of_the_true_law_pass_and_know_nothing_of_the_day(history):
    made = {"gbm": MAKERS["gbm"]}
    (told,) = rolling(history, window=24 * 60, refit=400, root=2, makers=made, paths=199)
    assert told.var.shape == (2, told.ts.size, 3)
    vol = np.array([0.8, 1.2]) * sqrt(DAY / YEAR)
    for a, quantile in ((0, 2.326), (1, 1.960)):
        assert told.var[a, :, :2].mean(axis=0) == pytest.approx(quantile * vol, rel=0.08)
    assert (told.shortfall > told.var).all()
    assert (told.var[0] > told.var[1]).all()
    for column in range(3):
        args = (told.realised[:, column], told.var[1, :, column], told.shortfall[1, :, column])
        assert covered(*args, 0.025, root=1).passes(0.001)
    after = history.ts > told.ts[20]
    changed = replace(history, returns=np.where(after[:, None], 3.0, 1.0) * history.returns)
    part = changed.between(0, 24 * 85)
    (other,) = rolling(part, window=24 * 60, refit=99, root=2, makers=made, paths=199)
    assert np.array_equal(other.var[:, :21], told.var[:, :21])
    assert (other.var[:, 21] != told.var[:, 21]).all()


def test_every_world_on_trial_says_something_of_every_day(history):
    part = history.between(0, 24 * 16)
    told = rolling(part, window=24 * 13, refit=2, root=3, paths=199)
    assert [forecast.name for forecast in told] == list(MAKERS)
    for forecast in told:
        assert np.array_equal(forecast.realised, told[0].realised)
        assert (forecast.var > 0).all()
        assert forecast.ts.size == 3 - 1
        last = forecast.realised[:, 2]
        assert last == pytest.approx(forecast.realised[:, :2].mean(axis=1))
    for bad in ({"window": 100, "refit": 1}, {"window": 24 * 13, "refit": 0}):
        with pytest.raises(ConfigInvalid, match="forecasts"):
            rolling(part, root=1, **bad)


def test_a_desk_whose_fit_fails_keeps_its_last_terms(history, monkeypatch):
    part, fits = history.between(0, 24 * 17), []
    fit = fitting.all_terms

    def moody(known):
        fits.append(known)
        if len(fits) == 2:
            raise ConfigInvalid(where="fit", what="must converge", found="flag 8")
        return fit(known)

    monkeypatch.setattr(fitting, "all_terms", moody)
    made = {"gjr": MAKERS["gjr"]}
    (told,) = rolling(part, window=24 * 13, refit=1, root=3, makers=made, paths=199)
    assert (len(fits), told.kept) == (told.ts.size, 1)
    fits[:] = [part]
    with pytest.raises(ConfigInvalid, match="converge"):  # there was nothing to keep
        rolling(part, window=24 * 13, refit=1, root=3, makers=made, paths=199)


def test_coverage_sees_too_many_in_a_row_and_too_deep():
    fair = normals(9, [0], "z", 2_000)[0]
    var, short = np.full(2_000, 1.96), np.full(2_000, 2.338)
    good = covered(fair, var, short, 0.025, root=1)
    assert good.passes(0.001)
    assert good.breaches == int((fair < -1.96).sum())
    assert good.expected == 50
    many = covered(fair, 0.8 * var, 0.8 * short, 0.025, root=1)
    assert many.kupiec < 1e-4 > many.conditional
    assert many.z2 < good.z2
    ordered = covered(np.sort(fair), var, short, 0.025, root=1)
    assert ordered.independent < 1e-6 < good.independent
    assert ordered.kupiec == good.kupiec
    deep = covered(np.where(fair < -1.96, 5 * fair, fair), var, short, 0.025, root=1)
    assert deep.kupiec == good.kupiec
    assert deep.z2_p < 1e-3 < good.z2_p
    assert not deep.passes()
