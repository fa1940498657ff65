"""Laws of weather: a path is a function of (root, path), and its moments are those on paper.

Statistical tests fix their root, so none of them can flicker; their bands are five standard errors
wide (one in two million a side), so that another root would pass as well.
"""

from dataclasses import replace
from math import exp, inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.worlds import shocks
from tidegate.lab.worlds.brownian import Brownian
from tidegate.lab.worlds.catalogue import changes, names, world
from tidegate.lab.worlds.combine import Finer, Scaled, stressed_correlation
from tidegate.lab.worlds.factor import Factor, fitted_loadings
from tidegate.lab.worlds.garch import Gjr, Terms, heavy, walked
from tidegate.lab.worlds.ground import DAY, HOUR, MINUTE, YEAR, Clock, normals
from tidegate.lab.worlds.jumps import ExponentialJumps, JumpDiffusion, NormalJumps
from tidegate.lab.worlds.liquidity import Withdrawal, with_depth
from tidegate.lab.worlds.options import Options
from tidegate.lab.worlds.regimes import Regime, Regimes


THREE = ("BTC", "ETH", "SOL")
LAWS = [
    "gbm:vol=120%,vol.SOL=2,loading.ETH=-0.4",
    "merton:rate=40,shared=0.3",
    "kou:rate=40,step=5min",
    "gjr:df=3,steps=20",
    "regimes:storm_for=5min,calm_for=10min",
    "cliff:0.5,only=BTC,noise=0.5",
    "gap",
    "bleed",
    "v:noise=1",
    "depeg:only=SOL",
    "calm",
    "kou:rate=9+withdraw:gone=3+depth:0.5+scaled:size=2,speed=3+stressed:1+finer:3",
]
TAKEN = 1_000


def near(found, expected, sample):
    """Whether the mean of ``sample`` is ``expected`` within five of its standard errors."""
    assert np.isclose(found, np.mean(sample))
    return abs(found - expected) <= 5 * np.std(sample) / sqrt(len(sample))


def ends(law, paths=TAKEN, symbols=("BTC",), root=11):
    return np.log(law.weather(root, range(paths), symbols).price[:, -1])


@pytest.mark.parametrize("spec", LAWS)
@settings(max_examples=5)
@given(root=st.integers(0, 2**40), paths=st.lists(st.integers(0, 2**31), min_size=1, max_size=4))
def test_a_batch_is_its_paths_one_by_one(spec, root, paths):
    law = world(spec)
    batch = law.weather(root, paths, THREE)
    assert batch.price.shape == batch.depth.shape
    assert (batch.price[:, 0] == 1.0).all()
    for n, path in enumerate(paths):
        alone = law.weather(root, [path], THREE)
        assert alone.step_ns == batch.step_ns
        assert np.array_equal(alone.price[0], batch.price[n])
        assert np.array_equal(alone.depth[0], batch.depth[n])


@pytest.mark.parametrize("spec", [s for s in LAWS if s.split(":")[0] in {"gbm", "kou", "gjr"}])
def test_two_roots_and_two_paths_are_two_histories(spec):
    law = world(spec)
    one, two = (law.weather(root, [0, 1], THREE).price[:, -1] for root in (1, 2))
    assert len({*one[:, 0].tolist(), *two[:, 0].tolist()}) == 4


def test_brownian_moments():
    law = Brownian(Clock(6, 2 * HOUR), vol=1.5, drift=0.7, vols=(("ETH", 0.9),))
    end = ends(law, symbols=THREE)
    years = 12 * HOUR / YEAR
    for column, vol in enumerate((1.5, 0.9, 1.5)):
        logs = end[:, column]
        assert near(logs.mean(), (0.7 - vol**2 / 2) * years, logs)
        squares = (logs - (0.7 - vol**2 / 2) * years) ** 2
        assert near(squares.mean(), vol**2 * years, squares)
        assert near(np.exp(logs).mean(), exp(0.7 * years), np.exp(logs))
        assert stats.kstest(logs / vol, stats.norm(logs.mean() / vol, sqrt(years)).cdf)[1] > 1e-4
    seen = np.corrcoef(end, rowvar=False)[np.triu_indices(3, 1)]
    band = 5 * (1 - 0.6**2) / sqrt(TAKEN)
    assert np.abs(seen - 0.6).max() < band


@pytest.mark.parametrize("law", [NormalJumps(-0.04, 0.03), ExponentialJumps(0.3, 0.02, 0.05)])
def test_jump_diffusions_have_the_cumulants_on_paper(law):
    diffusion = JumpDiffusion(Clock(24, HOUR), law, vol=0.5, drift=0.3, rate=6.0, shared=0.4)
    end = ends(diffusion, paths=4 * TAKEN, symbols=("BTC", "ETH"))
    one, two, three, four = diffusion.cumulants(DAY / YEAR, 0.5)
    for logs in end.T:
        assert near(logs.mean(), one, logs)
        for power, expected in ((2, two), (3, three), (4, four + 3 * two**2)):
            moment = (logs - one) ** power
            assert near(moment.mean(), expected, moment)
        assert near(np.exp(logs).mean(), exp(0.3 * DAY / YEAR), np.exp(logs))
    # Between instruments: the Brownian halves by the factor, and the jumps that hit both.
    _, second, *_ = law.moments()
    both = (end[:, 0] - one) * (end[:, 1] - one)
    assert near(both.mean(), 0.6 * 0.25 * DAY / YEAR + 6.0 * 0.4 * second, both)


def test_jumps_that_are_shared_hit_everybody_at_once():
    law = JumpDiffusion(vol=0.0, rate=300.0, shared=1.0)
    moved = np.diff(np.log(law.weather(3, range(20), THREE).price), axis=1)
    assert np.allclose(moved[:, :, 0], moved[:, :, 2])
    alone = replace(law, shared=0.0).weather(3, range(20), THREE).price
    assert not np.allclose(alone[:, -1, 0], alone[:, -1, 2])


def test_regimes_spend_their_time_and_move_as_the_chain_says():
    law = Regimes(
        (Regime(0.4), Regime(3.0, factor=Factor(0.95), depth=0.2), Regime(1.0)),
        ((0.90, 0.02, 0.08), (0.30, 0.60, 0.10), (0.10, 0.10, 0.80)),
        Clock(30, MINUTE),
    )
    share = law.long_run()
    assert np.allclose(share @ np.array(law.chances), share)
    states = law.states(5, range(2 * TAKEN))
    for step in (0, 29):  # the start is drawn from the long run, so every step has it
        seen = np.bincount(states[:, step], minlength=3) / states.shape[0]
        assert (np.abs(seen - share) < 5 * np.sqrt(share * (1 - share) / states.shape[0])).all()
    weather = law.weather(5, range(2 * TAKEN), THREE)
    assert np.array_equal(np.unique(weather.depth[:, 1:][states == 1]), [0.2])
    last = np.diff(np.log(weather.price), axis=1)[:, -1, 0]
    vol = np.array([0.4, 3.0, 1.0])
    assert near((last**2).mean(), share @ vol**2 * MINUTE / YEAR, last**2)
    again = replace(law, start=1).states(5, range(50))
    assert (again[:, 0] == 1).all()


def test_a_storm_binds_prices_together():
    law = Regimes((Regime(1.0, factor=Factor(0.1)), Regime(1.0, factor=Factor(0.95))),
                  ((0.5, 0.5), (0.5, 0.5)), Clock(50))  # fmt: skip
    moved = np.diff(np.log(law.weather(1, range(200), THREE).price), axis=1)
    states = law.states(1, range(200))
    calm, storm = (np.corrcoef(moved[states == s], rowvar=False)[0, 1] for s in (0, 1))
    assert calm == pytest.approx(0.1, abs=5 / sqrt(5_000))
    assert storm == pytest.approx(0.95, abs=5 * (1 - 0.95**2) / sqrt(4_000))


TERMS = Terms(0.0, 2e-6, 0.08, 0.06, 0.85, 8.0, 4e-4)


def test_gjr_variance_goes_back_to_its_long_run():
    shocks_ = heavy(
        2, range(4 * TAKEN), normals(2, range(4 * TAKEN), "z", 12, 1), np.array([TERMS.df])
    )
    squares = walked([TERMS], shocks_)[:, :, 0] ** 2
    for step in (0, 3, 11):
        away = TERMS.persistence**step * (TERMS.now - TERMS.long_run)
        assert near(squares[:, step].mean(), TERMS.long_run + away, squares[:, step])


def test_gjr_is_its_naive_recursion():
    shocks_ = normals(3, range(2), "z", 30, 2)
    found = walked([TERMS, replace(TERMS, mean=0.01)], shocks_)
    h = TERMS.now
    for step in range(30):
        e = sqrt(h) * shocks_[1, step, 1]
        assert found[1, step, 1] == pytest.approx(0.01 + e, rel=1e-12)
        h = TERMS.omega + (TERMS.alpha + TERMS.gamma * (e < 0)) * e**2 + TERMS.beta * h
    seen = TERMS.variances(found[1, :, 0], TERMS.now)
    assert np.allclose(found[1, :, 0] / np.sqrt(seen[:-1]), shocks_[1, :, 0])


def test_shocks_are_students_t_and_heavy_together():
    plain = Factor(0.0).normals(4, range(400), 10, THREE)
    found = heavy(4, range(400), plain, np.array([3.0, 3.0, inf]))
    for column, law in ((0, stats.t(3)), (1, stats.t(3)), (2, stats.norm)):
        scale = 1.0 if column == 2 else 1 / sqrt(3.0)  # a t of 3 has variance 3
        assert stats.kstest(found[:, :, column].ravel() / scale, law.cdf)[1] > 1e-4
    both = np.abs(found).reshape(-1, 3) > 3.0
    assert (both[:, 0] & both[:, 1]).mean() > 4 * both[:, 0].mean() * both[:, 1].mean()


def test_correlations_are_loadings_multiplied_and_stress_takes_them_to_one():
    factor = Factor(0.5, (("SOL", -0.3),))
    assert factor.matrix(THREE)[0, 2] == pytest.approx(-0.3 * sqrt(0.5))
    assert np.allclose(np.abs(replace(factor, stress=1.0).matrix(THREE)), 1.0)
    law = stressed_correlation(world("gbm:correlation=0.2+depth:0.5+scaled:size=2"), 1.0)
    moved = np.diff(np.log(law.weather(0, [0], THREE).price[0]), axis=0)
    assert np.allclose(np.corrcoef(moved, rowvar=False), 1.0)
    with pytest.raises(ConfigInvalid, match="common factor"):
        stressed_correlation(Finer(Scaled(NoFactor())), 0.5)


class NoFactor:
    name = "history"


def test_loadings_are_found_again_from_what_they_made():
    truth = (("A", 0.9), ("B", 0.5), ("C", -0.6), ("D", 0.8))
    symbols = [name for name, _ in truth]
    made = Factor(loadings=truth).normals(1, [0], 20_000, symbols)[0]
    found = dict(fitted_loadings(made, symbols))
    assert all(abs(found[name] - loading) < 0.03 for name, loading in truth)
    pair = fitted_loadings(made[:, [0, 2]], ["A", "C"])
    assert pair[0][1] * pair[1][1] == pytest.approx(np.corrcoef(made[:, [0, 2]].T)[0, 1])
    assert fitted_loadings(made[:, :1], ["A"]) == (("A", 0.0),)
    still = np.column_stack([made, np.zeros(made.shape[0])])
    loose = dict(fitted_loadings(still, [*symbols, "PEG"]))
    assert loose["PEG"] == 0.0
    assert loose["A"] == pytest.approx(found["A"])


CLOCK = Clock(100, MINUTE)


def test_scripted_shocks_go_where_their_words_say():
    def path(shock, n=0):
        return shock.weather(1, [0], THREE).price[0, :, n]

    cliff = shocks.cliff(CLOCK)
    assert path(cliff)[[0, 1, 100]] == pytest.approx([1.0, 0.1, 0.1])
    assert cliff.weather(1, [0], THREE).depth[0, [0, 1, 100], 0] == pytest.approx([1, 0, 0])
    gap = path(shocks.gap(CLOCK, fall=0.3, back=0.5))
    assert gap[[1, 100]] == pytest.approx([0.7, sqrt(0.7)])
    bleed = path(shocks.bleed(CLOCK, fall=0.5))
    assert bleed[-1] == pytest.approx(0.5)
    assert np.allclose(np.diff(np.log(bleed)), np.log(0.5) / 100)
    vee = path(shocks.vee(CLOCK, fall=0.4))
    assert vee[[25, 35, 75, 100]] == pytest.approx([0.6, 0.6, 1.0, 1.0])
    depeg = replace(shocks.depeg(CLOCK), only=("ETH",))
    assert (path(depeg) == 1.0).all()
    assert path(depeg, 1)[[30, 60, 100]] == pytest.approx([0.87, 0.87, 0.87**0.03])
    assert (depeg.weather(1, [0], THREE).depth[0, :, 0] == 1.0).all()
    rise = path(shocks.cliff(CLOCK, fall=-1.0))
    assert rise[1] == pytest.approx(2.0)


def test_noise_changes_the_road_and_not_the_destination():
    shock = replace(shocks.bleed(CLOCK, fall=0.5), noise=1.0, falls=(("SOL", 0.2),))
    price = shock.weather(1, range(300), THREE).price
    assert price[:, -1, 1] == pytest.approx(0.5)
    assert price[:, -1, 2] == pytest.approx(0.8)
    middle = np.log(price[:, 50, 0]) - np.log(0.5) / 2
    assert near((middle**2).mean(), 100 * MINUTE / YEAR / 4, middle**2)  # a bridge: t (1 - t)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_story_survives_a_horizon_too_short_for_it(steps):
    for make in (shocks.cliff, shocks.gap, shocks.bleed, shocks.vee, shocks.depeg):
        assert np.isfinite(make(Clock(steps)).weather(1, [0], ("BTC",)).price).all()


def test_scaling_multiplies_logarithms_and_divides_time():
    bare, law = world("gbm"), world("gbm+scaled:size=-2,speed=4")
    one, two = (w.weather(3, [5], THREE) for w in (bare, law))
    assert np.allclose(np.log(two.price), -2 * np.log(one.price))
    assert two.step_ns * 4 == one.step_ns


def test_a_finer_world_stands_where_the_coarse_one_stood():
    bare, law = world("gbm:vol=2"), world("gbm:vol=2+finer:5")
    one, two = (w.weather(3, range(200), THREE) for w in (bare, law))
    assert np.array_equal(two.price[:, ::5], one.price)
    assert two.step_ns * 5 == one.step_ns
    inside = np.diff(np.log(two.price), axis=1) ** 2
    whole = np.diff(np.log(one.price), axis=1) ** 2
    # E[sum of squares | move m] = m^2 / parts + m^2 (1 - 1 / parts) = m^2
    per_path = inside.sum(axis=1)[:, 0] / whole.sum(axis=1)[:, 0]
    assert near(per_path.mean(), 1.0, per_path)


def test_makers_leave_with_the_move_and_know_nothing_of_the_next():
    price = np.ones((1, 40, 1))
    price[0, 10:] = 0.8
    leave = Withdrawal(usual=0.8, half_life_ns=2 * MINUTE, gone=60.0)
    share = leave.share(price, MINUTE)[0, :, 0]
    assert (share[:10] == 1.0).all()
    assert share[10] == 0.0
    assert 0.0 < share[15] < share[30] < 1.0
    changed = price.copy()
    changed[0, 25:] = 0.4
    assert np.array_equal(leave.share(changed, MINUTE)[0, :25, 0], share[:25])
    kept = 2.0**-0.5
    times = sqrt(kept**10 + (1 - kept) * np.log(0.8) ** 2 / (MINUTE / YEAR) / 0.8**2)
    held = replace(leave, gone=1e9, power=0.5).share(price, MINUTE)
    assert held[0, 10, 0] == pytest.approx(times**-0.5)
    assert replace(leave, gone=1e9, least=0.3).share(price, MINUTE).min() == 0.3


def test_depths_of_worlds_multiply():
    law = with_depth(with_depth(world("regimes:storm_depth=0.5,start=storm"), 0.4), Withdrawal())
    assert law.weather(0, [0], THREE).depth[0, 0, 0] == 0.4
    assert law.weather(0, [0], THREE).depth.max() <= 0.4


def test_the_catalogue_says_what_it_has():
    assert {"gbm", "merton", "kou", "gjr", "fhs", "bootstrap", "regimes", "crash"} <= set(names())
    assert {"cliff", "depeg", "gap", "bleed", "v"} <= set(names())
    assert all(about and "\n" not in about for about in (names() | changes()).values())
    for spec in LAWS:
        law = world(spec)
        assert law.name == spec
        assert "\n" not in law.describe()
        assert len(law.describe()) > 20


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gmb", "did you mean gbm"),
        ("", "must be one of"),
        ("gbm:vool=1", "did you mean vol"),
        ("gbm:vol=quick", "must be a number.*'quick'"),
        ("gbm:vol=1,vol=2", "once"),
        ("gbm:vol", "key=value"),
        ("gbm:steps=2.5", "whole number"),
        ("gbm:step=10x", "duration"),
        ("gbm:step=-1", "duration"),
        ("gbm:for=1h,steps=9", "not both"),
        ("gbm+withdrw:gone=2", "did you mean withdraw"),
        ("gbm+stressed:bye=1", "did you mean by"),
        ("gbm:vol=-1", "gbm.vol.*found -1"),
        ("gbm:vol=nan", "gbm.vol.*found nan"),
        ("gbm:correlation=1.1", "world.correlation"),
        ("gbm:loading.BTC=2", "world.loading.BTC"),
        ("gbm:steps=0", "world.steps"),
        ("merton:rate=-1", "merton.rate"),
        ("kou:rise=1", "jumps.rise.*strictly between"),
        ("gjr:beta=0.95", "gjr.omega|persistence"),
        ("gjr:df=2", "gjr.df"),
        ("regimes:start=never", "must be one of any, calm, storm"),
        ("regimes:storm_for=0s", "regimes.storm_lasting"),
        ("cliff:fall=1", "cliff.fall"),
        ("v:bottom=2", "v.moment"),
        ("gap:noise=99", "gap.noise"),
        ("fhs", "candles"),
        ("fhs:nowhere.parquet", "candles.*nowhere"),
        ("crash", "recording"),
        ("gbm+depth:-1", "depth.share"),
        ("gbm+withdraw:least=2", "withdraw.least"),
        ("gbm+scaled:speed=0", "scaled.speed"),
        ("gbm+finer:0", "finer.parts"),
        ("gbm+stressed:2", "stressed.by"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(spec, said):
    with pytest.raises(ConfigInvalid, match=said):
        world(spec)


@pytest.mark.parametrize("spec", ["gbm:vol.XRP=1", "gbm:loading.XRP=0", "gap:only=XRP"])
def test_a_symbol_that_the_venue_lacks_is_refused(spec):
    with pytest.raises(ConfigInvalid, match=r"XRP.*BTC, ETH, SOL|BTC, ETH, SOL.*XRP"):
        world(spec).weather(0, [0], THREE)


def test_a_world_that_explodes_is_refused_and_not_passed_on():
    with pytest.raises(ConfigInvalid, match="finite"):
        world("bleed:fall=-99,steps=4+scaled:size=100+scaled:size=2").weather(0, [0], ("BTC",))


@pytest.mark.parametrize(
    ("chances", "said"),
    [(((1.0,), (1.0,)), "one row"), (((0.5, 0.4), (0.5, 0.5)), "sum to 1")],
)
def test_what_is_no_chain_is_refused(chances, said):
    with pytest.raises(ConfigInvalid, match=said):
        Regimes((Regime(1.0), Regime(2.0)), chances)


def test_gjr_terms_belong_to_instruments():
    law = Gjr((TERMS, TERMS), Clock(5))
    with pytest.raises(ConfigInvalid, match="one for each of 3"):
        law.weather(0, [0], THREE)
    with pytest.raises(ConfigInvalid, match="must not be empty"):
        Gjr((), Clock(5))


@pytest.mark.parametrize(
    ("text", "ns"),
    [("10s", 10**10), ("500ms", 5 * 10**8), ("5min", 3 * 10**11), ("5m", 3 * 10**11),
     ("1.5h", 54 * 10**11), ("2d", 2 * DAY), ("7", 7 * 10**9)],
)  # fmt: skip
def test_durations_are_read(text, ns):
    assert Options.of("x", f"step={text}").duration("step", 0) == ns
