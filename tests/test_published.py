"""The models of published results, each against a plain twin and against what is on paper."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from tidegate.domain.errors import ConfigInvalid
from tidegate.drivers.streams import Streams
from tidegate.lab.cascades import leverage_clearing
from tidegate.lab.checks.cascade_sizes import Dominoes
from tidegate.lab.checks.stylised import facts
from tidegate.lab.kernels import value_funds
from tidegate.lab.published import amplification, fire_sales, fund_leverage, lending_grid
from tidegate.lab.worlds.ground import normals


# ---------------------------------------------------------------------------- lending


def one_path(loans, rules, volatility, debt_over_volume, shocks):
    """One path, loan by loan."""
    daily = volatility / sqrt(365)
    depth = rules.depth_c / debt_over_volume / daily
    debt, coins = loans.debt.tolist(), loans.collateral.tolist()
    level, moved = 0.0, 0.0
    for z in shocks.tolist():
        step = daily * sqrt(rules.days / rules.steps)
        level += step * z - step**2 / 2
        moved *= 0.5 ** (rules.days / rules.steps / rules.half_life_days)
        price = exp(level - moved)
        wanted = []
        for d, c in zip(debt, coins, strict=True):
            open_ = rules.incentive > 0 and rules.factor * c * price < d
            most = min(rules.close * d * (1 + rules.incentive), c * price)
            wanted.append(most if open_ else 0.0)
        if not sum(wanted):
            continue
        share = min(1.0, depth * log(1 + rules.incentive) / sum(wanted))
        for k, w in enumerate(wanted):
            debt[k] -= share * w / (1 + rules.incentive)
            coins[k] -= share * w / price
        moved += share * sum(wanted) / depth
    last = exp(level if rules.recovered else level - moved)
    return sum(d for d, c in zip(debt, coins, strict=True) if c * last < d)


@pytest.mark.parametrize(
    ("volatility", "ratio", "recovered"),
    [(4.0, 30.0, False), (2.0, 20.0, False), (4.0, 0.1, False), (4.0, 30.0, True)],
)
def test_all_paths_at_once_are_one_path_after_another(volatility, ratio, recovered):
    rules = lending_grid.Rules(steps=40, recovered=recovered)
    loans = lending_grid.Loans.drawn(12, rules, 3)
    shocks = normals(3, range(25), "grid", rules.steps)
    found = lending_grid.uncovered(loans, rules, volatility, ratio, shocks)
    plain = [one_path(loans, rules, volatility, ratio, row) for row in shocks]
    assert found == pytest.approx(plain, rel=1e-9, abs=1e-12)
    if ratio > 1:
        assert 0 < lending_grid.failed(found).sum() < 25


def test_without_liquidators_it_is_the_chance_that_the_price_ends_below():
    rules = lending_grid.Rules(incentive=0.0, steps=10)
    loans = lending_grid.Loans(np.array([1.0]), np.array([1.4]))
    shocks = normals(4, range(4_000), "grid", rules.steps)
    hit = lending_grid.failed(lending_grid.uncovered(loans, rules, 4.0, 1.0, shocks)).mean()
    deviation = 4.0 * sqrt(rules.days / 365)
    chance = stats.norm.cdf((log(1 / 1.4) + deviation**2 / 2) / deviation)
    assert hit == pytest.approx(chance, abs=4 * sqrt(chance * (1 - chance) / 4_000))


def test_a_sale_stops_where_the_last_coin_fetches_its_cost():
    """A market so thin that half the loan is too much: the price falls by the incentive."""
    rules = lending_grid.Rules(steps=1, days=1.0)
    loans = lending_grid.Loans(np.array([1.0]), np.array([1.3]))  # below the line at 1.333
    daily = 0.01
    found = lending_grid.uncovered(loans, rules, daily * sqrt(365), 1e4, np.array([[0.0]]))
    depth = rules.depth_c * 1e-4 / daily
    price = exp(-(daily**2) / 2)
    sold = depth * log(1.08)
    debt, worth = 1 - sold / 1.08, (1.3 - sold / price) * price / 1.08
    assert worth > debt
    assert found[0] == 0.0
    fallen = lending_grid.Loans(np.array([1.0]), np.array([1.07]))
    left = lending_grid.uncovered(fallen, rules, daily * sqrt(365), 1e4, np.array([[0.0]]))
    assert left[0] == pytest.approx(debt)


def test_a_market_without_movement_or_volume_is_refused():
    rules = lending_grid.Rules(steps=1)
    loans = lending_grid.Loans.drawn(3, rules, 1)
    for terms in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ConfigInvalid, match="lending"):
            lending_grid.uncovered(loans, rules, *terms, np.zeros((1, 1)))


# ---------------------------------------------------------------------------- funds


@pytest.mark.parametrize(
    ("noise", "most", "capped"), [(900.0, 20.0, False), (500.0, 3.0, True), (1_100.0, 5.0, False)]
)
def test_one_fund_with_cash_alone_clears_as_on_paper(noise, most, capped):
    held = np.array([[40.0], [0.0]])
    found = value_funds.clearing(1.0, noise, np.array([10.0]), most, 1_000.0, held)
    paper = leverage_clearing(1_000.0, 1.0, noise, 40.0, 10.0, most)
    assert paper.capped is capped
    assert found == pytest.approx(paper.price, rel=1e-9)


def naive_course(market, shocks):
    """Fund by fund, with a root finder of another library."""
    funds = [{"cash": market.wealth, "shares": 0.0, "past": 0.0, "away": 0} for _ in market.betas]
    prices, log_xi = [1.0], log(market.shares)

    def stake(fund, beta, p):
        wealth = fund["cash"] + fund["shares"] * p
        return min(beta * max(1 - p, 0.0), market.cap) * max(wealth, 0.0)

    def beyond(p):
        wanted = sum(stake(f, b, p) for f, b in zip(funds, market.betas, strict=True))
        return exp(log_xi) + wanted - market.shares * p

    for z in shocks.tolist():
        mean = (1 - market.memory) * log(market.shares)
        log_xi = market.memory * log_xi + market.noise * z + mean
        last = prices[-1]
        step = 1.002 if beyond(last) > 0 else 1 / 1.002
        far = last * step
        while beyond(far) * beyond(last) > 0:
            far *= step
        price = brentq(beyond, far / step, far, xtol=1e-14)
        for f, beta in zip(funds, market.betas, strict=True):
            if f["away"]:
                f["away"] -= 1
                if not f["away"]:
                    f.update(cash=market.wealth, shares=0.0, past=0.0)
                continue
            before = f["cash"] + f["shares"] * last
            wealth = f["cash"] + f["shares"] * price
            earned = wealth / before - 1
            f["past"] = (1 - market.smoothing) * f["past"] + market.smoothing * earned
            inflow = max(market.flow * (f["past"] - market.benchmark), -1.0) * wealth
            if wealth + inflow < market.ruin * market.wealth:
                f.update(cash=0.0, shares=0.0, away=market.away)
            else:
                value = stake(f, beta, price)
                f.update(shares=value / price, cash=wealth - value + inflow)
        prices.append(price)
    return np.array(prices)


def test_the_compiled_course_is_the_naive_one():
    market = fund_leverage.Market(cap=10.0, away=20)
    shocks = Streams(5, 0)["noise"].standard_normal(1_500)
    plain = naive_course(market, shocks)
    found, cheap = fund_leverage.returns(market, 1_400, 5, 0, burn=100)
    assert found == pytest.approx(np.diff(np.log(plain[100:])), abs=1e-6)
    assert cheap == pytest.approx(1 - plain[100:-1], abs=1e-6)


def test_a_cap_on_leverage_makes_tails_fat_and_its_absence_leaves_noise_alone():
    calm, _ = fund_leverage.returns(fund_leverage.Market(cap=0.001), 20_000, 6, 0)
    assert facts(calm).kurtosis == pytest.approx(3.0, abs=6 * sqrt(24 / 20_000))
    wild, _ = fund_leverage.returns(fund_leverage.Market(cap=10.0), 20_000, 6, 0)
    assert facts(wild).kurtosis > 6.0
    assert wild.std() < calm.std()  # funds calm the market, until they do not
    assert facts(wild).left < facts(calm).left - 1.5


def test_a_price_that_nobody_holds_up_ends_at_the_bottom():
    held = np.array([[-2_000.0], [900.0]])
    assert value_funds.clearing(1.0, 1e-9, np.array([10.0]), 5.0, 1_000.0, held) == 1e-6


# ---------------------------------------------------------------------------- fire sales


def banks():
    return fire_sales.Banks.drawn(15, 4, 8)


def test_nobody_sells_before_the_first_threshold():
    some = banks()
    most, target = np.full(15, 100 / 3), np.full(15, 25.0)
    depth = 30 * some.securities.sum(axis=0)
    first = float(fire_sales.first_sale_at(some, 100 / 3).min())
    before = fire_sales.threshold_sale(some, first * (1 - 1e-9), most, target, depth, 0.5)
    assert (before.sellers, before.rounds) == (0, 0)
    assert np.abs(before.losses).max() < 1e-12
    after = fire_sales.threshold_sale(some, first * (1 + 1e-9), most, target, depth, 0.5)
    assert after.sellers >= 1
    assert (after.losses > 0).all()


def test_a_small_shock_under_one_sided_targets_costs_the_geometric_series():
    """All banks alike: a round's losses are n times the shock's, n = (L - 1) / k, and so on."""
    k, leverage = 40.0, 20.0
    same = fire_sales.Banks(np.full(3, 60.0), np.full((3, 2), 20.0), np.full(3, 100 / leverage))
    depth = k * same.securities.sum(axis=0)
    shock = 1e-7
    n = (leverage - 1) / k
    level = np.full(3, leverage)
    found = fire_sales.threshold_sale(same, shock, level, level, depth, 0.0).losses
    assert found == pytest.approx(100 * shock * n / (1 - n), rel=1e-3)
    assert fire_sales.targeting_losses(same, shock, depth) == pytest.approx(100 * shock * n)


def naive_sale(banks, shock, most, target, depth, floor):
    """Bank by bank, class by class, with cash accounts instead of sums."""
    books = [
        {
            "loans": loans - shock * total,
            "own": list(own),
            "cash": 0.0,
            "debt": total - equity,
            "began": sum(own),
        }
        for loans, own, total, equity in zip(
            banks.loans, banks.securities.tolist(), banks.assets, banks.equity, strict=True
        )
    ]
    price, sold = [1.0] * len(depth), [0.0] * len(depth)
    while True:
        orders = []
        for book, limit, aim in zip(books, most, target, strict=True):
            worth = sum(x * p for x, p in zip(book["own"], price, strict=True))
            equity = book["loans"] + worth + book["cash"] - book["debt"]
            # Cash repays debt at once.
            assets = book["loans"] + worth
            share = 0.0
            if worth > 0 and equity <= 0:
                share = 1.0
            elif worth > 0 and assets / equity > limit:
                share = min(1.0, max(0.0, (assets - aim * equity) / worth))
            orders.append([share * x for x in book["own"]])
        if not any(map(any, orders)):
            return [
                b["began"] - b["cash"] - sum(x * p for x, p in zip(b["own"], price, strict=True))
                for b in books
            ]
        sold = [q + sum(o[j] for o in orders) for j, q in enumerate(sold)]
        after = [
            1 - (1 - floor) * (1 - exp(-q / ((1 - floor) * d)))
            for q, d in zip(sold, depth, strict=True)
        ]
        for book, order in zip(books, orders, strict=True):
            book["cash"] += sum(
                x * (p + q) / 2 for x, p, q in zip(order, price, after, strict=True)
            )
            book["own"] = [x - y for x, y in zip(book["own"], order, strict=True)]
        price = after


@pytest.mark.parametrize("shock", [0.012, 0.02, 0.06])
def test_all_banks_at_once_are_one_after_another(shock):
    some = banks()
    most, target = np.full(15, 100 / 3), np.full(15, 25.0)
    depth = 20 * some.securities.sum(axis=0)
    found = fire_sales.threshold_sale(some, shock, most, target, depth, 0.5)
    assert found.losses == pytest.approx(
        naive_sale(some, shock, most, target, depth, 0.5), rel=1e-9
    )
    assert found.sellers > 0
    fall = some.securities @ (1 - found.price)  # what holding on would have cost
    assert (found.losses <= fall * (1 + 1e-12)).all()


# ---------------------------------------------------------------------------- amplification


@pytest.mark.parametrize("n", [0.3, 0.8])
def test_rows_at_once_are_rows_one_by_one(n):
    found = amplification.total_moves(n, 60, 100, 9)
    assert found.tolist() == [Dominoes.drawn(n, 100, 9, k).by_ladder() for k in range(60)]


def test_a_push_travels_as_far_as_the_series_says():
    found = amplification.total_moves(0.5, 4_000, 300, 9)
    assert found.mean() == pytest.approx(2.0, abs=4 * sqrt(0.5 / 0.5**3 / 4_000))
    assert amplification.total_moves(0.9, 600, 5, 9).max() == 5  # cut, not lost
    with pytest.raises(ConfigInvalid, match="amplification"):
        amplification.total_moves(1.0, 1, 10, 9)
