"""Losses in scenarios: the fused pass against sums made one by one, its tail, and who bears it."""

import numpy as np
import pytest

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.bench import scenarios
from tidegate.lab.bench.path_world import guarded, populated, venue_of
from tidegate.lab.kernels.scenarios import BLOCK
from tidegate.lab.scenario_losses import Exposures, scenario_losses, tail_of, tail_shares
from tidegate.safeguards.stack import Stack


def drawn(accounts=97, counts=(0, 1, 2, 3, 4, 7), scenarios_=BLOCK + 37, factors=9, seed=3):
    """Return a book with accounts of every number of positions, and returns that ruin some."""
    g = np.random.default_rng(seed)
    count = g.choice(counts, accounts)
    start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    value = g.normal(0, 1_000, start[-1])
    slot = g.integers(0, factors, start[-1]).astype(np.uint8)
    equity = g.normal(100, 200, accounts)  # some owe already
    return Exposures(equity, start, slot, value), g.normal(0, 0.2, (scenarios_, factors))


def one_by_one(book, returns):
    """Return each account's loss in each scenario, [accounts, scenarios], in plain loops."""
    out = np.zeros((book.equity.size, len(returns)))
    for a in range(book.equity.size):
        for s, move in enumerate(returns):
            left = float(book.equity[a])
            for p in range(book.start[a], book.start[a + 1]):
                left += float(book.value[p]) * float(move[book.slot[p]])
            out[a, s] = max(0.0, -left)
    return out


def test_the_fused_pass_is_the_sum_of_single_losses():
    book, returns = drawn()
    expected = one_by_one(book, returns).sum(axis=0)
    assert (expected > 0).all()
    np.testing.assert_allclose(scenario_losses(book, returns), expected, rtol=1e-12)


def test_neither_threads_nor_neighbours_change_a_bit_of_a_scenario():
    book, returns = drawn(scenarios_=3 * BLOCK + 5)
    whole = scenario_losses(book, returns, threads=1)
    assert (scenario_losses(book, returns, threads=3) == whole).all()
    assert (scenario_losses(book, returns[BLOCK + 11 :]) == whole[BLOCK + 11 :]).all()


def test_progress_counts_every_block():
    book, returns = drawn(scenarios_=2 * BLOCK + 1)
    seen = []
    scenario_losses(book, returns, threads=2, progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_tail_is_its_worst_scenarios_and_no_rounding_adds_one():
    losses = np.array([5.0, 1.0, 9.0, 9.0, 2.0] * 20)
    tail = tail_of(losses, 0.99)
    assert tail.scenarios.tolist() == [2]
    assert (tail.var, tail.shortfall) == (9.0, 9.0)
    half = tail_of(losses, 0.5)
    assert half.scenarios.size == 50
    assert half.var == 5.0
    assert half.shortfall == pytest.approx((40 * 9 + 10 * 5) / 50)
    assert tail_of(losses[:3], 0.999).scenarios.tolist() == [2]


def test_the_shares_of_a_tail_are_what_each_account_loses_there_and_sum_to_the_shortfall():
    book, returns = drawn()
    losses = scenario_losses(book, returns)
    tail = tail_of(losses, 0.9)
    expected = one_by_one(book, returns[tail.scenarios]).mean(axis=1)
    shares = tail_shares(book, returns, tail, threads=2)
    np.testing.assert_allclose(shares, expected, rtol=1e-12, atol=1e-9)
    assert shares.sum() == pytest.approx(tail.shortfall, rel=1e-12)
    assert (tail_shares(book, returns, tail, threads=1) == shares).all()


def test_a_book_of_the_engine_loses_what_its_positions_say():
    state, price = populated(Stack.bind(guarded(10**9), venue_of(40, 3)), 40, near=0.05)
    book = Exposures.of(state.book, state.facts, state.mark)
    fall = np.full((1, 3), -0.3)
    total = 0
    first = state.book.accounts - 40
    for a in range(first, state.book.accounts):
        rows = np.flatnonzero(state.book.account[: state.book.high] == a)
        equity = int(state.book.cash[a]) - int(state.book.cost[rows].sum())
        worth = state.book.lots[rows] * price[state.book.instrument[rows]] * 10
        total += max(0.0, -(equity + 0.7 * float(worth.sum())))
    assert total > 0
    assert scenario_losses(book, fall)[0] == pytest.approx(total, rel=1e-12)


def test_what_is_not_linear_is_refused():
    state, _ = populated(Stack.bind(guarded(10**9), venue_of(5, 2)), 5, near=0.05)
    facts = state.facts._replace(kind=state.facts.kind + 1)
    with pytest.raises(ConfigInvalid, match="linear"):
        Exposures.of(state.book, facts, state.mark)


@pytest.mark.usefixtures("frozen")
def test_the_benchmark_compares_before_it_times():
    (found,) = scenarios.measure(0.002)
    assert found.name == scenarios.NAMES[0]
    assert set(found.yardsticks) == {"blas_f64", "scipy_csr", "numpy_gathers"}
    assert found.ratio == pytest.approx(min(found.yardsticks.values()) / found.seconds)
