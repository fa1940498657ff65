"""Models of the lab: limits, identities and orders that hold whatever the numbers."""

from math import exp, inf, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.units import PPM
from tidegate.drivers.streams import Streams
from tidegate.kernels.procyclical import buffered
from tidegate.lab import backtests, cascades, estimators, networks, options, tails


# ------------------------------------------------------------------------------- cascades


@pytest.mark.parametrize("n", [0.0, 0.3, 0.6])
def test_borel_is_a_law_with_the_moments_it_names(n):
    sizes = np.arange(1, 401)
    pmf = cascades.borel(n, 400)
    mean, variance, fano = cascades.borel_moments(n)
    assert pmf.sum() == pytest.approx(1, abs=1e-9)
    assert pmf @ sizes == pytest.approx(mean, rel=1e-6)
    assert pmf @ (sizes - mean) ** 2 == pytest.approx(variance, rel=1e-5, abs=1e-12)
    assert fano == pytest.approx(mean**2)


def test_at_one_and_above_there_is_no_bound():
    assert cascades.amplification(1.0) == cascades.amplification(1.5) == inf
    assert cascades.borel_moments(1.0) == (inf, inf, inf)
    assert cascades.borel(1.5, 400).sum() < 0.5, "some cascades never end"
    radius, totals = cascades.spectral([[0.5, 0.6], [0.6, 0.5]])
    assert radius == pytest.approx(1.1)
    assert (totals == inf).all()
    assert cascades.branching_ratio(1.0, 0.0) == inf


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.0, 0.2))
def test_a_deeper_market_never_falls_further(depth, more, shock):
    rungs = [98, 97, 96, 95, 94, 93]
    args = (100.0, shock, rungs, [3.0] * 6)
    thin, deep = (cascades.ladder(*args, 100.0 * d, 50) for d in (depth, depth + more))
    assert 0 <= thin.price <= deep.price <= 100
    assert thin.units >= deep.units
    assert len(cascades.ladder(*args, 100.0 * depth, 1).rounds) <= 1


def test_impact_is_what_it_was_calibrated_to():
    beta = cascades.impact_rate(0.05)
    assert cascades.exponential_price(beta, 0.05) == pytest.approx(0.95)
    assert cascades.exponential_price(beta, 0.0) == 1.0
    assert cascades.bounded_impact(1e30, 1.0, 0.5) == 0.5
    assert cascades.bounded_impact(1e-6, 1.0, 0.5) == pytest.approx(1e-6, rel=1e-5)
    assert cascades.bounded_impact(1.0, 1.0, 1.0) == 0.0


def test_a_threshold_sells_nothing_on_the_line_and_everything_when_bankrupt():
    on = cascades.threshold_deleveraging(60, 40, 4, 25, 20)
    above = cascades.threshold_deleveraging(60, 40, 3.99, 25, 20)
    assert on.sale == 0
    assert above.after == pytest.approx(20)
    assert cascades.threshold_deleveraging(60, 40, 0, 25, 20).sale == 40
    assert cascades.threshold_deleveraging(100, 0, 1, 25, 20).sale == 0


@given(st.floats(100, 2_000), st.floats(1, 80), st.floats(1, 100), st.floats(1, 20))
def test_a_cleared_market_holds_all_shares(noise, wealth, beta, most):
    found = cascades.leverage_clearing(1_000, 1.0, noise, wealth, beta, most)
    held = (noise + found.leverage * wealth) / found.price
    assert held == pytest.approx(1_000)
    assert 0 <= found.leverage <= most * (1 + 1e-12)


# ------------------------------------------------------------------------------- backtests


def test_what_is_expected_is_never_rejected():
    for days, rate in ((255, 0.05), (510, 0.01), (1_000, 0.025)):
        low, high = backtests.kupiec_region(days, rate)
        assert low <= days * rate <= high
        assert backtests.kupiec(days, low, rate)[1] >= 0.05
        assert backtests.kupiec(days, high + 1, rate)[1] < 0.05
    assert backtests.kupiec(200, 10, 0.05) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


def test_independence_finds_clusters_and_forgives_none():
    assert backtests.independence(90, 5, 5, 0)[1] > 0.3
    assert backtests.independence(90, 2, 2, 6)[1] < 1e-4
    assert backtests.independence(100, 0, 0, 0) == (0, 1)


def test_zones_begin_where_the_table_says():
    yellow, red, cdf = backtests.traffic_light(250, 0.01)
    assert (yellow, red) == (5, 10)
    assert cdf.size == 11
    assert cdf[yellow - 1] < backtests.YELLOW <= cdf[yellow]


def test_the_shortfall_test_has_its_size():
    """Of true models, as many are rejected as the level says; draws depend on the seed alone."""
    args = (500, 0.025, None, 4_000)
    one, again, other = (backtests.z2_under(*args, Streams(r, 0)) for r in (1, 1, 2))
    assert (one == again).all()
    assert one.mean() == pytest.approx(0, abs=0.02)
    assert (other <= np.quantile(one, 0.05)).mean() == pytest.approx(0.05, abs=0.015)
    var, shortfall = backtests.tail_normal(0.025)
    drawn = Streams(5, 0)["returns"].standard_normal((400, 500))
    whole = [backtests.z2(r, [var] * 500, [shortfall] * 500, 0.025) for r in drawn]
    assert np.std(whole) == pytest.approx(one.std(), rel=0.15), "the short way is the long way"


def test_students_tail_becomes_the_normal_one():
    assert backtests.tail_student(0.025, 1e7) == pytest.approx(backtests.tail_normal(0.025))
    assert backtests.tail_student(0.025, 1)[1] == inf


# ------------------------------------------------------------------------------- tails


def test_filtered_history_follows_the_last_days():
    calm, storm = [0.1, -0.1] * 200, [1.0, -1.0] * 20
    after_storm = tails.filtered_history(calm + storm, 0.94, 0.01, 25)
    after_calm = tails.filtered_history(storm + calm, 0.94, 0.01, 25)
    assert after_storm.volatility > 5 * after_calm.volatility
    assert after_storm.var > after_calm.var
    assert after_calm.unfiltered == after_storm.unfiltered == 1.0
    assert after_calm.var <= after_calm.shortfall
    assert tails.decay_of(1) == 0.5


def test_the_pareto_tail_has_its_limits():
    thin = tails.peaks_over_threshold(2, 0.8, 0.0, 2_000, 100, 0.995)
    near = tails.peaks_over_threshold(2, 0.8, 1e-9, 2_000, 100, 0.995)
    assert thin == pytest.approx(near, rel=1e-6)
    assert thin[1] - thin[0] == pytest.approx(0.8)
    assert tails.peaks_over_threshold(2, 0.8, 1.0, 2_000, 100, 0.995)[1] == inf
    assert tails.peaks_over_threshold(2, 0.8, 0.3, 2_000, 100, 0.95)[0] == pytest.approx(2)


def test_a_buffer_makes_margin_less_procyclical_and_dearer_on_average():
    path = [100_000] * 10 + [105_000, 112_000, 118_000, 125_000] + [100_000] * 10
    charged, held = -1, []
    for calculated in path:
        charged = buffered(charged, calculated, 250_000, PPM)
        held.append(charged)
    plain, kept = tails.procyclicality(path, 3), tails.procyclicality(held, 3)
    assert (plain.peak_to_trough, kept.peak_to_trough) == (1.25, 1.0)
    assert (plain.increase, kept.increase) == (20_000, 0)
    assert sum(held) > sum(path)


# ------------------------------------------------------------------------------- options


@settings(max_examples=50)
@given(st.floats(50, 200), st.floats(50, 200), st.floats(0.05, 2), st.floats(0.1, 1.5))
def test_calls_and_puts_agree(spot, strike, years, vol):
    terms = {"spot": spot, "strike": strike, "years": years, "rate": 0.03, "carry": 0.01}
    call, put = (options.black_scholes(call=c, **terms, vol=vol) for c in (True, False))
    forward = spot * exp(-0.01 * years) - strike * exp(-0.03 * years)
    assert call.price - put.price == pytest.approx(forward, abs=1e-8)
    assert call.gamma == put.gamma >= 0
    assert call.delta - put.delta == pytest.approx(exp(-0.01 * years))
    moved = options.black_scholes(call=True, **(terms | {"spot": spot + 1e-4}), vol=vol)
    guess = options.delta_gamma_vega(call.delta, call.gamma, call.vega, 1e-4, 0.0)
    assert moved.price - call.price == pytest.approx(guess, abs=1e-9)


def test_a_flat_slice_is_the_lognormal_density():
    flat = options.Svi(a=0.04, b=0.0, rho=0.0, m=0.0, sigma=0.1)
    k = np.linspace(-1, 1, 5)
    assert flat.variance(k) == pytest.approx(0.04)
    assert flat.density(k) == pytest.approx(1.0)
    assert flat.arbitraged(-1, 1) is None
    ssvi = options.Ssvi(0.04, 1e-9, 0.0)
    assert ssvi.variance(k) == pytest.approx(0.04)
    assert ssvi.butterfly()[0] < 4


def test_an_arbitraged_slice_is_negative_between_the_ends_it_names_and_nowhere_else():
    vogt = options.Svi(a=-0.041, b=0.1331, rho=0.306, m=0.3586, sigma=0.4153)
    low, high = vogt.arbitraged(-1.5, 1.5)
    inside = np.linspace(low, high, 50)[1:-1]
    assert (vogt.density(inside) < 0).all()
    assert vogt.density([low, high]) == pytest.approx(0, abs=1e-9)
    assert vogt.worst_density(-1.5, 1.5)[1] == pytest.approx(vogt.density(inside).min(), rel=1e-2)
    assert vogt.arbitraged(0.8, 1.0) == (0.8, 1.0), "the range ends before the zeros"


def test_a_shock_of_volatility_shrinks_with_the_tenor():
    assert options.tenor_multiplier(30, 0.3) == 1
    assert options.tenor_multiplier(0, 0.5) == sqrt(30)
    assert log(options.tenor_multiplier(60, 0.5)) == pytest.approx(-0.5 * log(2))


# ------------------------------------------------------------------------------- estimators


def test_a_fitted_model_is_where_its_likelihood_is_flat():
    r = Streams(3, 0)["returns"].standard_normal(600) * 0.01 + 0.001
    found = estimators.garch_fit(r)
    assert found.estimate[0] == pytest.approx(r.mean(), abs=3 * found.error[0])
    assert (found.error > 0).all()
    level = estimators.garch_variance(found.estimate, r).mean()
    assert level == pytest.approx(r.var(), rel=0.1)
    flat = estimators.egarch_variance([0.0, 0.0, 0.0, 1.0, 0.0], r)
    assert flat == pytest.approx((r**2).mean()), "nothing moves it"


def test_forecasts_decay_to_the_long_run():
    found = estimators.garch_forecast(0.1, 0.1, 0.8, 3.0, 200)
    assert found.path[0] == 3.0
    assert found.path[-1] == pytest.approx(found.long_run)
    assert (np.diff(found.path) <= 0).all()
    assert estimators.garch_forecast(0.1, 0.2, 0.8, 3.0, 3).path.tolist() == [3.0, 3.1, 3.2]
    assert estimators.half_life(0.5) == 1
    assert estimators.ewma([2.0, 0.0], 0.5, 1.0).tolist() == [2.5, 1.25]


def test_a_conformal_band_covers():
    draw = Streams(1, 0)["scores"].random(2_000)
    k, score = estimators.conformal(draw[:999], 0.1)
    assert k == 900
    assert (draw[1_000:] <= score).mean() == pytest.approx(0.9, abs=0.03)
    assert estimators.conformal([0.1], 0.1)[1] == inf
    path = estimators.adaptive(0.1, 0.05, [0, 1])
    assert path.tolist() == pytest.approx([0.1, 0.105, 0.06])


def test_impact_is_the_slope_it_was_made_with():
    flow = np.array([1.0, -2.0, 3.0, 0.5])
    assert estimators.least_squares(0.2 + 0.03 * flow, flow) == pytest.approx([0.2, 0.03])
    found = estimators.kyle_single(4.0, 10.0)
    assert found.beta * found.impact == pytest.approx(0.5), "half of what is known is revealed"
    days = Streams(2, 0)["variance"].random(200)
    assert estimators.heterogeneous(np.full(60, 2.0)).sum() > 0
    assert estimators.heterogeneous(days).size == 4
    assert estimators.amihud([0.01, -0.01], [1e6, 2e6]) == pytest.approx(7.5e-9)


# ------------------------------------------------------------------------------- networks


def claims(n: int):
    cell = st.floats(0, 10)
    return st.lists(st.lists(cell, min_size=n, max_size=n), min_size=n, max_size=n)


@settings(max_examples=60, deadline=None)
@given(claims(4), st.lists(st.floats(0, 20), min_size=4, max_size=4), st.floats(0, 20))
def test_a_clearing_vector_clears_and_more_assets_never_pay_less(owed, outside, more):
    owed = np.array(owed) * (1 - np.eye(4))
    found = networks.clearing(owed, outside)
    total = owed.sum(axis=1)
    share = np.divide(owed, total[:, None], out=np.zeros_like(owed), where=total[:, None] > 0)
    have = np.array(outside) + share.T @ found.payments
    assert found.payments == pytest.approx(np.minimum(total, have), abs=1e-6)
    richer = networks.clearing(owed, np.add(outside, [more, 0, 0, 0]))
    assert (richer.payments >= found.payments - 1e-6).all()
    costly = networks.clearing(owed, outside, alpha=0.5, beta=0.5)
    assert (costly.payments <= found.payments + 1e-6).all()
    assert set(found.defaults) <= set(costly.defaults)
    assert ((found.recovery >= 0) & (found.recovery <= 1 + 1e-9)).all()


def test_nobody_sells_who_can_pay_and_everything_goes_where_nothing_is_enough():
    owed = [[0, 5], [0, 0]]
    rich = networks.clearing_with_sales(owed, [5, 0], [3, 3], 0.1)
    assert (rich.price, rich.sold.tolist()) == (1.0, [0.0, 0.0])
    poor = networks.clearing_with_sales(owed, [0, 0], [3, 3], 0.1)
    assert poor.sold.tolist() == [3.0, 0.0]
    assert poor.price == pytest.approx(exp(-0.3))
    assert poor.cleared.defaults == [0]


def test_distress_is_passed_on_once_and_never_exceeds_failure():
    ring = [[0, 1.0], [1.0, 0]]
    distress, rank = networks.debt_rank(ring, [0.5, 0.5], [0.4, 0])
    assert distress.tolist() == [0.8, 0.4]
    assert rank == pytest.approx(0.4)
    assert networks.debt_rank(ring, [0.5, 0.5], [0, 0])[1] == 0


def test_the_most_even_matrix_has_its_sums_and_an_empty_diagonal():
    rows, columns = [7.0, 5, 3], [4.0, 5, 6]
    m = networks.maximum_entropy(rows, columns)
    assert m.sum(axis=1) == pytest.approx(rows)
    assert m.sum(axis=0) == pytest.approx(columns)
    assert np.diag(m).tolist() == [0, 0, 0]
