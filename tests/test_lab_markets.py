"""Markets of the lab: depth from books and candles, pools, venues, a chain under pressure."""

from dataclasses import replace
from math import exp, sqrt

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.adapters.candles import Candles, daily
from tidegate.cli.stacks import load_stack
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, SECOND
from tidegate.domain.venue import Market, VenueModel
from tidegate.drivers.depth import Ladder
from tidegate.drivers.recording import load
from tidegate.drivers.synthetic import make
from tidegate.kernels.cpmm import cpmm_out, cpmm_sale_max
from tidegate.lab.opening import Opening
from tidegate.lab.turn import turn
from tidegate.lab.weather import Weather
from tidegate.lab.worlds.books import REACHES, books
from tidegate.lab.worlds.catalogue import world
from tidegate.lab.worlds.congestion import Congestion, LateSources, slowed
from tidegate.lab.worlds.depth_law import SPOT_2024, DepthLaw, dispersion, fitted_coefficient
from tidegate.lab.worlds.ground import HOUR, MINUTE, YEAR
from tidegate.lab.worlds.history import candle_file
from tidegate.lab.worlds.pools import Pool, Reached, joined


SNAPSHOTS = "data/lob_1s_top20_binance_20240808_09.parquet"
HOURLY = "data/binance_1h_core12_2020_04_to_2025_09.parquet"


def snapshots(folder, symbol="XUSDT", price=100.0, scale=(1.0, 2.0, 6.0)):
    """Write a book with ``r`` units within each reach ``r`` on both sides, times a scale."""
    columns = {"venue": ["v"] * 3, "symbol": [symbol] * 3, "ts": [1, 2, 3]}
    columns |= {"best_bid": [price * 0.999] * 3, "best_ask": [price * 1.001] * 3}
    for r in REACHES:
        columns |= {f"{s}_qty_{r}bp": [r * k for k in scale] for s in ("bid", "ask")}
    pq.write_table(pa.table(columns), folder / "book.parquet")
    return folder / "book.parquet"


def test_a_book_is_its_median_over_snapshots(tmp_path):
    (found,) = books(snapshots(tmp_path))
    assert found.within == pytest.approx([r * 2 * 100.0 for r in REACHES])
    assert found.unevenness() == pytest.approx(np.ones(8))
    market = found.market(50)
    assert (market.depth, market.depth_range) == (10_000 * PPM, 5_000)
    even = Ladder.even(float(market.depth), market.depth_range, market.levels)
    assert np.interp(0.0025, even.edge[1:], np.cumsum(even.resting)) == pytest.approx(5_000 * PPM)
    with pytest.raises(ConfigInvalid, match="basis points"):
        found.market(30)


def test_a_coin_margined_book_counts_contracts(tmp_path):
    (found,) = books(snapshots(tmp_path, "BTCUSD_PERP", 60_000.0))
    assert found.within[-1] == pytest.approx(200 * 2 * 100.0)


def test_snapshots_without_a_reach_are_refused(tmp_path):
    file = snapshots(tmp_path)
    pq.write_table(pq.read_table(file).drop_columns(["ask_qty_25bp"]), file)
    with pytest.raises(ConfigInvalid, match="ask_qty_25bp"):
        books(file)


def test_a_depth_law_finds_its_own_coefficient_and_error():
    volume, volatility = np.array([1e9, 3e8, 5e7, 2e6]), np.array([0.03, 0.05, 0.04, 0.1])
    noise = np.array([0.2, -0.2, 0.1, -0.1])
    for power in (0.0, 1.0):
        seen = 0.004 * volume * volatility**-power * np.exp(noise)
        found, spread = fitted_coefficient(seen, volume, volatility, power)
        assert found == pytest.approx(0.004)
        assert spread == pytest.approx(noise.std(ddof=1))
    assert dispersion(volume, np.exp(-noise) / volume) == pytest.approx(noise.std(ddof=1))
    with pytest.raises(ConfigInvalid, match="two books"):
        fitted_coefficient([1.0], [1.0], [1.0], 0.0)


def test_a_law_predicts_a_market_and_the_ends_of_its_band():
    law = DepthLaw(0.01, 1.0, 100, 0.5)
    depth, low, high = law.predicted(1e6, 0.04)
    assert depth == pytest.approx(0.01 * 1e6 / 0.04)
    assert (low * high, high / low) == pytest.approx((depth**2, exp(2 * 1.645 * 0.5)))
    ts = np.arange(48, dtype=np.int64) * HOUR
    close = 100.0 * np.exp(0.01 * (np.arange(48) % 2))
    candles = Candles("X", "v", ts, HOUR, close, close, close, close, np.full(48, 10.0), 2)
    market, least, most = law.market(candles)
    volume, volatility = daily(candles)
    assert market.depth == round(law.predicted(volume, volatility)[0] * PPM)
    assert (least, most) == pytest.approx((exp(-1.645 * 0.5), exp(1.645 * 0.5)))
    assert market.depth_range == 10_000


def test_the_one_place_with_both_books_and_candles_lies_in_the_band(shared):
    """The coefficient is that of these very two books: what is tested is that it still is."""
    seen, volume, volatility = [], [], []
    for book in books(shared / SNAPSHOTS):
        if book.venue == "binance_spot":
            one = candle_file(str(shared / HOURLY), (book.symbol,), venue=book.venue,
                                 since="2024-07-26", until="2024-08-09")[0]  # fmt: skip
            traded, moves = daily(one)
            seen.append(book.within[-1])
            volume.append(traded)
            volatility.append(moves)
            _, low, high = SPOT_2024.predicted(traded, moves)
            assert low < book.within[-1] < high
    found, spread = fitted_coefficient(seen, volume, volatility, SPOT_2024.power)
    assert found == pytest.approx(SPOT_2024.coefficient, rel=0.01)
    assert spread < SPOT_2024.error


def test_the_error_of_the_law_is_how_far_markets_lie_apart(shared):
    table = pq.read_table(shared / "data/hyperliquid_all_dexs_asset_ctxs_snapshot.parquet")
    rows = table.to_pandas().query("dex == '' and day_ntl_vlm > 1e6")
    impact = (rows.impact_ask_px - rows.impact_bid_px) / rows.mid_px / 2
    assert len(rows) == 65
    found = dispersion(rows.day_ntl_vlm.to_numpy(), impact.to_numpy())
    assert found == pytest.approx(SPOT_2024.error, abs=0.01)


@given(
    fall=st.floats(0.001, 0.5), reserve=st.floats(1e4, 1e8), fee=st.sampled_from([0.0, 0.003, 0.01])
)
def test_a_pool_pays_what_the_kernel_pays(fall, reserve, fee):
    """At the end of the reach; half way down a pool has paid less than half, a ladder just that."""
    scale = 10**6
    drop, units = round(fall * scale), round(reserve)
    sold = cpmm_sale_max(units * 1000, drop, scale)
    paid = cpmm_out(units * 1000, units * 1000, sold, 0, scale) / 1000
    pool = Pool("X", reserve, fee, reach=drop / scale)
    assert pool.proceeds(drop / scale) == pytest.approx(paid, rel=2e-3)
    market = pool.market()
    assert market.depth == pytest.approx(paid * (1 - fee) * PPM, rel=2e-3)
    assert pool.proceeds(fall / 2) <= pool.proceeds(fall) / 2


def test_a_pool_heals_by_arbitrage_and_keeps_nothing():
    market = Pool("X", 1e6, arbitrage_ns=30 * SECOND).market()
    assert (market.permanent, market.resilience_ns, market.impact) == (0, 30 * SECOND, "linear")
    for bad in ({"reserve": 0.0}, {"fee": 0.6}, {"reach": 0.95}):
        with pytest.raises(ConfigInvalid, match="pool"):
            Pool(**({"symbol": "X", "reserve": 1.0} | bad))


def test_venues_behind_one_door_add_up_as_far_as_an_order_reaches():
    near = Market(symbol="X", depth=100, depth_range=10_000, daily_volume=5, resilience_ns=7)
    wide = Market(symbol="X", depth=600, depth_range=30_000, daily_volume=8, resilience_ns=9)
    model = VenueModel(latency_ns=1, order_life_ns=1_000)
    market, slow = joined([Reached(market=near, latency_ns=10), Reached(market=wide, latency_ns=50),
                           Reached(market=near, latency_ns=2_000)], model)  # fmt: skip
    assert (market.depth, market.depth_range, market.daily_volume) == (300, 10_000, 13)
    assert (market.resilience_ns, slow.latency_ns) == (9, 50)
    other = msgspec.structs.replace(near, symbol="Y")
    far = [Reached(market=near, latency_ns=2_000)]
    mixed = [Reached(market=near, latency_ns=1), Reached(market=other, latency_ns=1)]
    for venues in ([], far, mixed):
        with pytest.raises(ConfigInvalid, match="one symbol"):
            joined(venues, model)


def jump(steps=40, at=10, to=0.8, instruments=1):
    price = np.ones((1, steps + 1, instruments))
    price[0, at:] = to
    return Weather(price, np.ones_like(price), 12 * SECOND)


def test_fees_rise_with_the_move_and_are_forgotten():
    chain = Congestion(elasticity=1.0, half_life_ns=MINUTE, fee_max=50.0)
    pressure = chain.pressure(jump())
    assert (pressure.fee[:10] == 1.0).all()
    kept = 2.0 ** (-12 / 60)
    variance = 0.8**2 * kept**10 + (1 - kept) * np.log(0.8) ** 2 / (12 * SECOND / YEAR)
    assert pressure.fee[10] == min(50.0, sqrt(variance) / 0.8) == 50.0
    assert replace(chain, fee_max=1e4).pressure(jump()).fee[10] == pytest.approx(
        sqrt(variance) / 0.8
    )
    assert (np.diff(pressure.fee[10:]) <= 0).all()
    assert pressure.delay_ns[0] == 12 * SECOND
    assert pressure.delay_ns[10] == 600 * SECOND
    assert "blocks of 12 s" in chain.describe()


@pytest.mark.parametrize("key", ["block_ns", "usual", "fee_max", "half_life_ns", "elasticity"])
def test_a_chain_that_cannot_be_is_refused(key):
    with pytest.raises(ConfigInvalid, match="congestion"):
        Congestion(**{key: -1})


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opening") / "book"
    make(folder, accounts=100, seed=7)
    return Opening.of(load(folder))


def test_orders_are_as_late_as_the_chain(opening):
    chain, weather = Congestion(), jump(instruments=opening.marks.size)
    slow = chain.opening(opening, weather)
    late = int(chain.pressure(weather).delay_ns.mean())
    assert slow.venue.model.latency_ns == opening.venue.model.latency_ns + late
    assert slow.venue.model.order_life_ns == opening.venue.model.order_life_ns + late
    assert slowed(opening.venue, 0) == opening.venue


def test_a_world_with_a_withdrawing_book_turns_through_the_engine(opening):
    law = world("gbm:vol=40,steps=12,step=10s+withdraw:gone=20,half_life=1min")
    weather = law.weather(3, [2], opening.symbols)
    thin = turn(opening, load_stack("neutral"), weather, root=3, path=2)
    whole = weather._replace(depth=np.ones_like(weather.depth))
    full = turn(opening, load_stack("neutral"), whole, root=3, path=2)
    assert thin.accounts_liquidated > 0
    assert weather.depth.min() < 0.5
    assert thin.digest != full.digest


def test_late_sources_say_what_was_true_when_they_sent_it(opening):
    weather = jump(steps=20, at=4, to=0.7, instruments=opening.marks.size)
    chain = Congestion(block_ns=24 * SECOND, elasticity=0.0)
    late = LateSources(chain)
    kept = turn(opening, load_stack("neutral"), weather, root=1, path=0, crowd=[late])
    assert kept.profits == {}
    own = opening.venue.sources.index("venue")
    fallen, before = (int(late._desk.fair(step)[0]) for step in (4, 3))
    assert [late.said(step, 0, 0, fallen) for step in (4, 5, 6)] == [before, before, fallen]
    assert late.said(4, 0, own, fallen) == fallen
    half = replace(late, lagging=400_000)
    half.begin(late._desk)
    said = [half.said(4, 0, source, fallen) for source in range(len(opening.venue.sources))]
    assert said.count(before) == 1  # of three outside sources
