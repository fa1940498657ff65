"""Worlds made of history: fits that find their truth, blocks, filters, crashes on other books."""

from dataclasses import replace
from importlib import import_module
from math import sqrt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.errors import ConfigInvalid
from tidegate.drivers.recording import load
from tidegate.drivers.synthetic import make
from tidegate.lab.opening import Opening
from tidegate.lab.worlds import fitting
from tidegate.lab.worlds.bootstrap import Bootstrap
from tidegate.lab.worlds.catalogue import world
from tidegate.lab.worlds.factor import Factor
from tidegate.lab.worlds.filtered import Filtered
from tidegate.lab.worlds.garch import Gjr, Terms
from tidegate.lab.worlds.ground import HOUR, Clock
from tidegate.lab.worlds.history import History, candle_file
from tidegate.lab.worlds.matching import Matching, coin
from tidegate.lab.worlds.transplant import Track, Transplant


TRUTH = Terms(1e-4, 2e-6, 0.06, 0.08, 0.86, 6.0, 4e-5)
COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
BOOK = ("BTC", "ETH-PERP", "SOL/USDC")
BEGIN = 1_700_000_000_000_000_000 // (24 * HOUR) * 24 * HOUR


def candles_of(close, folder, *, volume=(1.0, 5.0, 2.0), missing=()):
    """Write hourly candles of three symbols whose extremes lie a tenth of a percent outside."""
    rows = []
    for n, symbol in enumerate(COINS):
        for t in range(1, close.shape[0]):
            if (n, t) in missing:
                continue
            begin, end = close[t - 1, n], close[t, n]
            rows.append((symbol, BEGIN + t * HOUR, begin, max(begin, end) * 1.001,
                         min(begin, end) * 0.999, end, volume[n] / end))  # fmt: skip
    names = ("symbol", "ts", "open", "high", "low", "close", "volume")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["ts"] = pa.array(columns["ts"], pa.timestamp("ns"))
    file = folder / "candles.parquet"
    pq.write_table(pa.table(columns), file)
    return file


@pytest.fixture(scope="module")
def closes():
    law = Gjr((TRUTH,), Clock(3_000, HOUR), Factor(0.5))
    return 100.0 * law.weather(5, [0], COINS).price[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory, closes):
    return candles_of(closes, tmp_path_factory.mktemp("candles"))


@pytest.fixture(scope="module")
def history(file):
    return History.of(candle_file(str(file)), "made")


def test_history_is_the_candles_returns(history, closes):
    assert np.allclose(history.returns, np.diff(np.log(closes[1:]), axis=0))
    assert history.symbols == COINS
    assert history.largest_first().symbols == ("ETHUSDT", "SOLUSDT", "BTCUSDT")
    assert np.array_equal(history.largest_first().returns[:, 0], history.returns[:, 1])
    assert "2,999 returns of 1 h" in str(history)
    part = history.between(10, 20)
    assert np.array_equal(part.returns, history.returns[10:20])


def test_a_missing_candle_costs_every_symbol_two_returns(closes, tmp_path):
    thin = History.of(candle_file(str(candles_of(closes[:101], tmp_path, missing={(1, 50)}))))
    assert thin.returns.shape == (97, 3)
    assert not set((BEGIN + np.array([51, 52]) * HOUR).tolist()) & set(thin.ts.tolist())


def test_a_fit_finds_the_truth_that_made_it(history):
    """Each within five standard errors, as `arch` estimates them."""
    arch_model = import_module("arch").arch_model
    returns = np.ascontiguousarray(history.returns[:, 0])
    found = fitting.fitted_terms(returns)
    size = returns.std()
    model = arch_model(returns / size, p=1, o=1, q=1, dist="t", rescale=False)
    errors = model.fit(disp="off").std_err.to_dict()
    for name, key in (("alpha", "alpha[1]"), ("gamma", "gamma[1]"), ("beta", "beta[1]"),
                      ("df", "nu")):  # fmt: skip
        assert abs(getattr(found, name) - getattr(TRUTH, name)) < 5 * errors[key], name
    assert abs(found.omega - TRUTH.omega) < 5 * errors["omega"] * size**2
    assert abs(found.mean - TRUTH.mean) < 5 * errors["mu"] * size


def test_a_fit_that_does_not_converge_is_tried_again_and_then_refused(history, monkeypatch):
    class Lost:
        convergence_flag, tries = 8, 0

        def fit(self, **_):
            Lost.tries += 1
            return self

    monkeypatch.setattr(import_module("arch"), "arch_model", lambda *_, **__: Lost())
    with pytest.raises(ConfigInvalid, match="flag 8 from two starts"):
        fitting.fitted_terms(history.returns[:, 0])
    assert Lost.tries == 2


def test_our_filter_is_the_librarys(history):
    arch_model = import_module("arch").arch_model
    returns = np.ascontiguousarray(history.returns[:, 1])
    size = returns.std()
    model = arch_model(returns / size, p=1, o=1, q=1, dist="t", rescale=False)
    result = model.fit(disp="off")
    theirs = np.asarray(result.conditional_volatility) * size
    terms = fitting.fitted_terms(returns)
    ours = terms.variances(returns, theirs[0] ** 2)
    assert np.allclose(np.sqrt(ours[:-1]), theirs, rtol=1e-9)
    ahead = result.forecast(horizon=1, reindex=False).variance.iloc[-1, 0] * size**2
    assert ours[-1] == pytest.approx(ahead, rel=1e-9)
    assert terms.now == pytest.approx(ahead, rel=1e-9)


def test_residuals_are_the_shocks_that_made_the_returns(history):
    z, now = fitting.residuals(TRUTH, history.returns[:, 0])
    assert z.mean() == pytest.approx(0.0, abs=1e-12)
    assert z.std() == pytest.approx(1.0)
    assert np.abs(np.corrcoef(np.abs(z[1:]), np.abs(z[:-1]))[0, 1]) < 5 / sqrt(z.size)
    assert now.now == TRUTH.variances(history.returns[:, 0], history.returns[:, 0].var())[-1]


def test_a_fitted_brownian_has_the_volatility_and_correlation_of_its_history(history):
    law = fitting.fitted_brownian(history, 50)
    moved = np.diff(np.log(law.weather(1, range(400), BOOK).price), axis=1).reshape(-1, 3)
    vol = history.returns.std(axis=0)
    assert np.allclose(moved.std(axis=0), vol, rtol=5 / sqrt(2 * moved.shape[0]))
    seen, made = (np.corrcoef(x, rowvar=False)[0, 1:] for x in (history.returns, moved))
    assert np.allclose(made, seen, atol=0.04)  # one factor of three correlations is exact


def test_filtered_shocks_come_together_at_their_own_volatility():
    z = np.column_stack([np.linspace(-1, 1, 50), -np.linspace(-1, 1, 50)])
    flat = Terms(0.0, 1e-4, 0.0, 0.0, 0.0, 5.0, 1e-4)
    law = Filtered((flat, replace(flat, omega=4e-4, now=4e-4)), z, Clock(9, HOUR),
                   Matching(("A", "B")))  # fmt: skip
    moved = np.diff(np.log(law.weather(3, range(40), ("A", "B")).price), axis=1)
    assert np.allclose(moved[:, :, 1], -2 * moved[:, :, 0])
    assert set(np.round(moved[:, :, 0] / 0.01, 9).ravel()) <= set(np.round(z[:, 0], 9))
    with pytest.raises(ConfigInvalid, match="moments, symbols"):
        Filtered((flat,), z, Clock(9, HOUR), Matching(("A", "B")))


def test_blocks_are_stretches_of_history(history):
    law = Bootstrap(history, 60, 7.0, "circular")
    rows = law.rows(1, range(30))
    assert ((np.diff(rows, axis=1) % 2_999 == 1) | (np.arange(1, 60) % 7 == 0)).all()
    assert len(set(rows[:, 0].tolist())) > 25
    moved = np.diff(np.log(law.weather(1, range(30), BOOK).price), axis=1)
    assert np.allclose(moved, history.returns[rows])


def test_the_stationary_bootstrap_keeps_mean_variance_and_memory(history):
    """Politis and Romano: autocovariance at lag k is the circular one times (1 - 1/L)^k."""
    length, size = 6.0, history.returns[:, 0] ** 2
    law = Bootstrap(history, 20, length)
    rows = law.rows(9, range(4_000))
    drawn = size[rows]
    for step in (0, 19):
        assert abs(drawn[:, step].mean() - size.mean()) < 5 * size.std() / sqrt(4_000)
    jumps = (np.diff(rows, axis=1) % 2_999 != 1).mean()
    assert jumps == pytest.approx(1 / length, abs=5 * sqrt(1 / length / rows.size))
    centred = size - size.mean()
    for lag in (1, 3):
        theirs = (centred * np.roll(centred, -lag)).mean() * (1 - 1 / length) ** lag
        products = (drawn[:, 5] - size.mean()) * (drawn[:, 5 + lag] - size.mean())
        assert abs(products.mean() - theirs) < 5 * products.std() / sqrt(4_000)


def test_the_block_length_is_the_librarys(history):
    optimal_block_length = import_module("arch.bootstrap").optimal_block_length
    found = optimal_block_length(history.returns**2)
    assert fitting.block_length(history, "circular") == pytest.approx(found["circular"].max())
    assert 1.0 <= fitting.block_length(history) <= 3_000 / 4


SPECS = [
    "fhs:{},steps=12",
    "gjr:candles={},steps=12",
    "gbm:candles={},steps=12,map=rank",
    "bootstrap:{},steps=12,length=5",
    "crash:{},steps=40,spread=0.3",
    "bootstrap:{},steps=9,length=auto,from=2023-12-01,symbols=SOLUSDT,map=rank+finer:2+withdraw",
]


@pytest.fixture(scope="module", params=SPECS)
def law(request, file):
    return world(request.param.format(file))


@settings(max_examples=5)
@given(root=st.integers(0, 2**40), paths=st.lists(st.integers(0, 2**31), min_size=1, max_size=4))
def test_a_batch_is_its_paths_one_by_one(law, root, paths):
    batch = law.weather(root, paths, BOOK)
    assert (batch.price[:, 0] == 1.0).all()
    assert len(law.describe()) > 30
    for n, path in enumerate(paths):
        alone = law.weather(root, [path], BOOK)
        assert np.array_equal(alone.price[0], batch.price[n])
        assert np.array_equal(alone.depth[0], batch.depth[n])


def test_a_crash_is_what_happened_then(file, closes):
    track = Track.of_candles(candle_file(str(file), COINS[:2]), "made")
    assert track.price.shape == (4 * 3_000, 2)
    law = Transplant(track)
    once = law.weather(0, [0, 7], ("BTC", "ETH"))
    assert np.allclose(once.price[1, :, 0], track.price[:, 0] / track.price[0, 0])
    assert np.allclose(once.price[0, 3::4, 1], closes[1:, 1] / track.price[0, 1])
    twice = replace(law, size=2.0, speed=3.0).weather(0, [0], ("BTC", "ETH"))
    assert np.allclose(twice.price, once.price[:1] ** 2)
    assert twice.step_ns == HOUR // 4 // 3
    spread = np.log(replace(law, spread=0.5).weather(0, range(500), ("BTC",)).price)
    sizes = np.log(spread[:, 40, 0] / np.log(once.price[0, 40, 0]))
    assert sizes.std() == pytest.approx(0.5, abs=5 * 0.5 / sqrt(1_000))


def test_the_deepest_window_is_found_by_looking_at_all(file):
    track = Track.of_candles(candle_file(str(file), COINS[:2]), "made")
    path, steps = np.log(track.price[:400]), 30
    part = Track(track.symbols, track.step_ns, track.price[:400], "part")
    falls = [(path[s : s + steps + 1] - path[s]).min(axis=0).mean() for s in range(400 - steps)]
    start = int(np.argmin(falls))
    assert np.array_equal(part.deepest(steps).price, part.price[start : start + steps + 1])
    assert part.deepest(399).price.shape == part.deepest(9_999).price.shape == (400, 2)


def test_a_track_keeps_the_longest_stretch_without_a_gap(closes, tmp_path):
    kept = candle_file(str(candles_of(closes[:101], tmp_path, missing={(0, 30), (2, 40)})))
    track = Track.of_candles(kept, "gaps")
    assert track.price.shape[0] == 4 * 60
    assert track.price[0, 1] == pytest.approx(closes[40, 1])


def test_a_recording_is_a_crash_too(tmp_path):
    make(tmp_path / "r", accounts=100, seed=7, scenario="gap")
    opening = Opening.of(load(tmp_path / "r"))
    track = Track.of_recording(tmp_path / "r")
    assert track.symbols == opening.symbols
    assert np.array_equal(track.price[0], opening.marks)
    law = world(f"crash:{tmp_path / 'r'},steps=500")
    price = law.weather(0, [0], ("BTC", "XPL")).price[0]
    assert price[-1] == pytest.approx([0.905, 0.71], abs=0.02)  # the scenario's own numbers
    assert np.abs(np.log(price[1:] / price[:-1])[:, 1]).max() > 0.25  # in one step


def test_instruments_find_their_history_by_name_or_by_rank():
    by_name = Matching(("BTCUSDT", "ETHUSDT"))
    assert by_name.columns(("ETH-PERP", "BTC/USD", "ETHUSDT")) == [1, 0, 1]
    assert Matching(("BTCUSDT", "ETHUSDT"), "rank").columns(("X", "Y", "Z")) == [0, 1, 1]
    with pytest.raises(ConfigInvalid, match=r"ETHX.*(?s:.)*map=rank"):
        by_name.columns(("BTC", "ETHX"))
    with pytest.raises(ConfigInvalid, match="rank"):
        Matching(("A",), "size")
    with pytest.raises(ConfigInvalid, match="symbol"):
        Matching(())


@pytest.mark.parametrize(
    ("symbol", "bare"),
    [("BTC", "BTC"), ("btc-perp", "BTC"), ("BTC_USDC", "BTC"), ("USDT", "USDT"),
     ("USDCUSDT", "USDC"), ("ETHBTC", "ETH")],
)  # fmt: skip
def test_a_coin_is_a_symbol_without_its_quote(symbol, bare):
    assert coin(symbol) == bare


def test_what_is_too_short_still_or_elsewhere_is_refused(closes, tmp_path, history):
    short = candle_file(str(candles_of(closes[:20], tmp_path)))
    with pytest.raises(ConfigInvalid, match="at least 30"):
        History.of(short)
    with pytest.raises(ConfigInvalid, match="at least 250"):
        fitting.fitted_terms(history.returns[:100, 0])
    with pytest.raises(ConfigInvalid, match="moves"):
        fitting.fitted_terms(np.zeros(300))
    with pytest.raises(ConfigInvalid, match=r"bootstrap\.length"):
        Bootstrap(history, 10, 0.5)
    with pytest.raises(ConfigInvalid, match=r"bootstrap\.kind"):
        Bootstrap(history, 10, 5.0, "round")
    with pytest.raises(ConfigInvalid, match=r"crash\.size"):
        Transplant(Track(("A",), HOUR, np.ones((3, 1)), "x"), size=11.0)
    minutes = [short[0], short[1]._replace(interval=HOUR // 60)]
    for door in (History.of, lambda c: Track.of_candles(c, "x")):
        with pytest.raises(ConfigInvalid, match="one interval"):
            door(minutes)
    with pytest.raises(ConfigInvalid, match=r"world\.from.*2021-13"):
        world(f"fhs:{tmp_path / 'candles.parquet'},from=2021-13-01")


def test_real_candles_of_a_crash_fall_on_another_book(shared):
    file = shared / "data/crash_20210519_ohlcv_1m_binance_spot.parquet"
    law = world(f"crash:{file},symbols=BTCUSDT,map=rank,from=2021-05-19,until=2021-05-20,steps=960")
    price = law.weather(0, [0], ("A", "B")).price[0]
    assert np.array_equal(price[:, 0], price[:, 1])
    assert price.min() < 0.80  # BTC fell from 38 to 30 thousand within four hours
    assert law.weather(0, [0], ("A",)).step_ns == 15_000_000_000
