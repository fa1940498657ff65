"""Schedules of the literature: limits, identities, and programs they must agree with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tidegate.lab.two_step import two_steps
from tidegate.signals import schedules_perpetual
from tidegate.signals.schedules import LinearImpact, almgren_chriss, at_once, expected_cost
from tidegate.signals.schedules_perpetual import PerpetualMarket, perpetual_rate
from tidegate.signals.schedules_solvent import (
    ANY,
    CONSTRAINED,
    INFEASIBLE,
    best_constant_horizon,
    best_power_horizon,
    solvency_constrained,
)
from tidegate.signals.schedules_transient import (
    alfonsi_fruth_schied,
    obizhaeva_wang,
    propagator,
)
from tidegate.signals.toxicity import frontiers, health_after_step


PAPER = LinearImpact(sigma=0.95, temporary=2.5e-6, permanent=2.5e-7, spread=0.0625)
SIZE, DAYS = 1e6, 5


@given(st.floats(0, 1e3), st.integers(1, 40))
def test_a_schedule_sells_everything_and_never_buys(aversion, intervals):
    s = almgren_chriss(SIZE, DAYS, intervals, PAPER, aversion)
    assert s.holdings[0] == pytest.approx(SIZE)
    assert s.holdings[-1] == 0
    assert (s.trades >= 0).all()
    assert s.trades.sum() == pytest.approx(SIZE)
    assert np.isfinite(s.cost + s.variance)


def test_more_aversion_costs_more_and_risks_less():
    family = [almgren_chriss(SIZE, DAYS, DAYS, PAPER, a) for a in np.geomspace(1e-9, 1e-4, 30)]
    cost, variance = [s.cost for s in family], [s.variance for s in family]
    assert cost == sorted(cost)
    assert variance == sorted(variance, reverse=True)
    ends = almgren_chriss(SIZE, DAYS, DAYS, PAPER, 0.0), at_once(SIZE, DAYS, DAYS, PAPER)
    assert ends[0].cost <= cost[0]
    assert ends[1].cost >= cost[-1]
    assert ends[1].variance == 0


def test_no_other_course_is_better():
    """A general optimiser over all courses finds the closed form."""
    aversion, tau = 1e-6, 1.0
    best = almgren_chriss(SIZE, DAYS, DAYS, PAPER, aversion)

    def utility(x):
        held = np.array([1.0, *x, 0.0]) * SIZE
        cost = expected_cost(SIZE, held[:-1] - held[1:], tau, PAPER)
        return (cost + aversion * PAPER.sigma**2 * tau * (held[1:] ** 2).sum()) / 1e6

    found = minimize(utility, np.linspace(0.8, 0.2, 4), method="BFGS", options={"gtol": 1e-9})
    assert found.x * SIZE == pytest.approx(best.holdings[1:-1], rel=1e-4)


def test_an_ill_posed_market_is_refused():
    with pytest.raises(ValueError, match="must exceed"):
        almgren_chriss(1, 1, 1, LinearImpact(1, 0.5, 1.0), 0.0)
    with pytest.raises(ValueError, match="branching"):
        PAPER.grown(1.0)
    assert PAPER.grown(0.5).permanent == 2 * PAPER.permanent


@pytest.mark.parametrize(
    ("debt", "regime"),
    [(47.0e6, ANY), (47.9e6, CONSTRAINED), (48.122e6, CONSTRAINED), (48.124e6, INFEASIBLE)],
)
def test_three_regimes_of_a_debt(debt, regime):
    found = solvency_constrained(SIZE, 50, debt, DAYS, DAYS, PAPER, 1.645)
    assert found.regime == regime
    assert found.capacity == pytest.approx(48.1228e6, rel=1e-5)
    if regime == CONSTRAINED:
        assert found.at_risk == pytest.approx(SIZE * 50 - debt, rel=1e-9)
        slower = almgren_chriss(SIZE, DAYS, DAYS, PAPER, found.aversion * 0.99)
        assert slower.at_risk(1.645) > found.at_risk
    if regime == INFEASIBLE:
        assert found.at_risk > SIZE * 50 - debt


@given(st.floats(0.5, 3.0))
def test_a_constant_rate_has_no_better_horizon(z):
    horizon, at_risk = best_constant_horizon(SIZE, PAPER, z)
    fixed = PAPER.permanent * SIZE**2 / 2 + PAPER.spread * SIZE

    def loss(t):
        risk = z * PAPER.sigma * SIZE * (t / 3) ** 0.5
        return fixed + PAPER.temporary * SIZE**2 / t + risk

    assert at_risk == pytest.approx(loss(horizon))
    assert min(loss(horizon * 0.99), loss(horizon * 1.01)) > at_risk
    t, fraction = best_power_horizon(0.142, 0.6, 0.1, 0.0157, z)
    near = [0.142 * 0.0157 * (0.1 / x) ** 0.6 + z * 0.0157 * (x / 3) ** 0.5 for x in (t * 0.99, t)]
    assert near[1] == pytest.approx(fraction)
    assert near[0] > fraction


def test_discrete_blocks_near_the_continuous_ones():
    block, rate = obizhaeva_wang(100_000, 2.0, 1.0)
    assert 2 * block + rate == pytest.approx(100_000)
    trades = alfonsi_fruth_schied(100_000, 2.0, 1.0, 2_000)
    assert trades.sum() == pytest.approx(100_000)
    assert trades[0] == pytest.approx(block, rel=1e-3)
    assert trades[1] * 2_000 == pytest.approx(rate, rel=1e-2)


def test_a_propagator_sells_in_a_u_and_never_buys():
    times = np.linspace(0, 1, 11)
    power = propagator(1.0, times, lambda d: (1 + d) ** -0.5)
    assert power.sum() == pytest.approx(1)
    assert power == pytest.approx(power[::-1])
    assert power[0] > power[1] > power[5] > 0
    exponential = propagator(1e5, times, lambda d: np.exp(-2 * d))
    assert exponential == pytest.approx(alfonsi_fruth_schied(1e5, 2.0, 1.0, 10))
    bump = propagator(1.0, times, lambda d: np.exp(-((2 * d) ** 2)))  # its free answer buys
    assert (bump >= 0).all()
    assert bump.sum() == pytest.approx(1)


@given(st.floats(0.01, 1.0), st.floats(0, 5), st.floats(0.05, 2), st.floats(-2, 2))
def test_the_perpetual_closed_form_and_its_equations(k, beta, left, premium):
    market = PerpetualMarket(k, 0.1, 3.0, 0.5, beta)
    closed = perpetual_rate(market, left, 0.0, 10.0, premium)
    solved = schedules_perpetual._without_closed_form(market, left, 10.0, premium)
    assert solved.rate == pytest.approx(closed.rate, rel=1e-6)
    assert solved.xi == pytest.approx(closed.xi, rel=1e-6)
    assert solved.pi == pytest.approx(closed.pi, rel=1e-5, abs=1e-7)


def test_without_permanent_impact_the_limit_is_taken():
    flat = perpetual_rate(PerpetualMarket(0.1, 0.0, 3.0, 0.5, 5), 1.0, 0.0, 10.0, 1.0)
    near = perpetual_rate(PerpetualMarket(0.1, 1e-6, 3.0, 0.5, 5), 1.0, 0.0, 10.0, 1.0)
    assert flat.rate == pytest.approx(near.rate, rel=1e-4)
    with pytest.raises(ValueError, match="above half"):
        perpetual_rate(PerpetualMarket(0.1, 1.0, 0.5, 0.5, 5), 1.0, 0.0, 10.0, 1.0)


@given(st.floats(0.3, 0.95), st.floats(0.0, 0.2), st.floats(1.0, 2.0))
def test_frontiers_are_ordered(threshold, incentive, slippage):
    f = frontiers(slippage, threshold, incentive)
    assert f.fixed <= f.without_impact + 1e-12
    assert f.fixed <= f.dynamic + 1e-12


def test_a_step_turns_toxic_at_the_frontier():
    """A small step raises health below 1 / ((1 + i) lambda), lowers it above."""
    collateral, reserve, incentive = 1e6, 20e6, 0.05
    line = frontiers(1 + 2 * collateral / reserve, 0.75, incentive).fixed
    for part, better in ((0.999, True), (1.001, False)):
        debt = collateral * line * part
        before, after = health_after_step(
            collateral, 1.0, debt, 0.75, incentive, (reserve, reserve), 1.0
        )
        assert (after > before) is better


def test_two_steps_pay_only_where_they_can():
    found = two_steps(1_000, 780, 0.75, 0.08, 0.5)
    assert found.profit > found.profit_of_one
    # After the first step health stands at exactly one.
    assert 0.75 * (1_000 - 1.08 * found.first) == pytest.approx(780 - found.first)
    with pytest.raises(ValueError, match="liquidatable"):
        two_steps(1_000, 700, 0.75, 0.08, 0.5)
    with pytest.raises(ValueError, match="below one"):
        two_steps(1_000, 980, 0.95, 0.08, 0.5)
