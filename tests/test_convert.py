"""Converting candles and the tables of 2025-10-10: what is derived, assumed, and must add up."""

import json
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tidegate.adapters.candles import (
    Candles,
    grid_of,
    path_inside,
    read_candles,
    venue_of,
)
from tidegate.adapters.hyperliquid import Knobs, bursts_of, find_tables, price_path, read_table
from tidegate.cli.data import data
from tidegate.cli.main import run
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid
from tidegate.domain.units import MONEY_MAX, unpack
from tidegate.drivers.convert import convert_candles
from tidegate.drivers.october import RANGE, convert_october
from tidegate.drivers.recording import load


MINUTE = 60_000_000_000
START = 1_621_382_400_000_000_000  # 2021-05-19 00:00 UTC


def candles(n=120, symbol="BTCUSDT", venue="binance_spot", price=40_000.0, tick=0.01, start=START):
    """Return a table of candles that fall, rise and fall again."""
    draw = np.arange(n)
    close = np.round((price * (1 - 0.1 * np.sin(draw / 20))) / tick) * tick
    opened = np.r_[close[:1], close[:-1]]
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    return pa.table(
        {
            "venue": [venue] * n,
            "symbol": [symbol] * n,
            "ts": pa.array(start + draw * MINUTE).cast(pa.timestamp("ns")).cast(pa.timestamp("us")),
            "open": opened,
            "high": np.round(high, 2),
            "low": np.round(low, 2),
            "close": close,
            "volume": np.full(n, 3.5),
        }
    )


def written(tmp_path, *tables, name="candles.parquet"):
    path = tmp_path / name
    pq.write_table(pa.concat_tables(tables), path)
    return path


def test_a_candle_becomes_four_prices_on_the_shorter_path():
    """Low before high in a candle that rises, high before low in one that falls."""
    one = Candles(
        *("X", "v", np.array([0, 100]), 100),
        open=np.array([10.0, 12.0]),
        high=np.array([13.0, 13.0]),
        low=np.array([9.0, 9.0]),
        close=np.array([12.0, 10.0]),
        volume=np.ones(2),
        decimals=0,
    )
    ts, price = path_inside(one)
    assert ts.tolist() == [0, 25, 50, 75, 100, 125, 150, 175]
    assert price.tolist() == [10, 9, 13, 12, 12, 13, 9, 10]


def test_candles_become_a_recording(tmp_path):
    file = written(tmp_path, candles(), candles(symbol="ETHUSDT", price=2_500.0))
    recording = convert_candles([file], symbols=[], out=tmp_path / "out")
    assert recording.rows == {"prices": 2 * 4 * 120}
    assert [i.symbol for i in recording.venue.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert recording.venue.numeraire == "USDT"
    btc = recording.venue.instruments[0]
    assert (btc.tick_size, btc.lot_size, btc.tick_value) == ("0.01", "0.0001", 1)
    market = recording.venue.markets[0]
    day = 3.5 * np.sum(candles()["close"].to_numpy())
    assert market.daily_volume == pytest.approx(day * 1e6)
    assert market.depth == pytest.approx(0.005 * day * 1e6)
    notes = " ".join(recording.venue.notes)
    assert "reconstructed from candles" in notes
    assert "0.50%" in notes
    assert "weather only" in notes


def test_the_same_candles_give_the_same_bytes(tmp_path):
    file = written(tmp_path, candles())
    digests = {convert_candles([file], symbols=[], out=tmp_path / x).digest for x in "ab"}
    assert len(digests) == 1


def test_symbols_venues_and_times_are_chosen(tmp_path):
    file = written(tmp_path, candles(), candles(venue="kucoin_spot"), candles(symbol="ETHUSDT"))
    with pytest.raises(RecordingInvalid, match="as in --venue binance_spot"):
        read_candles([file], ["BTCUSDT"])
    with pytest.raises(RecordingInvalid, match="must have candles of DOGEUSDT"):
        read_candles([file], ["DOGEUSDT"])
    since, until = START + 10 * MINUTE, START + 20 * MINUTE
    (one,) = read_candles([file], ["BTCUSDT"], "kucoin_spot", since=since, until=until)
    assert (one.venue, one.ts.size) == ("kucoin_spot", 10)
    assert one.ts[0] == since, "the first moment is included, the last is not"


def test_files_of_one_symbol_are_joined(tmp_path):
    """They may overlap, as daily and monthly archives do; they must not disagree."""
    first = written(tmp_path, candles(60), name="a.parquet")
    whole = written(tmp_path, candles(120), name="b.parquet")
    (one,) = read_candles([first, whole], [])
    assert one.ts.size == 120
    other = candles(60).set_column(7, "volume", pa.array(np.full(60, 4.0)))
    second = written(tmp_path, other, name="c.parquet")
    with pytest.raises(RecordingInvalid, match="two files disagree about one candle"):
        read_candles([first, second], [])


def test_a_float32_price_is_read_as_the_decimal_it_means(tmp_path):
    table = candles(tick=0.1)
    for place, name in enumerate(("open", "high", "low", "close"), 3):
        narrow = table.column(name).cast(pa.float32())
        table = table.set_column(place, name, narrow)
    (one,) = read_candles([written(tmp_path, table)], [])
    assert one.close[0] == 40_000.0
    assert grid_of(one).tick.as_tuple().exponent >= -2


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("low", 50_000.0, "0 < low <= open"),
        ("high", float("nan"), "0 < low <= open"),
        ("low", 0.0, "0 < low <= open"),
        ("volume", -1.0, "volume >= 0"),
        ("volume", 1e12, "--volume-in quote"),
    ],
)
def test_a_spoiled_candle_is_refused(tmp_path, column, value, says):
    table = candles()
    values = table.column(column).to_pylist()
    values[7 if value < 1e11 or value != value else 0] = value  # noqa: PLR0124 (nan is unequal to itself)
    if value == 1e12:
        values = [value] * len(values)
    place = table.column_names.index(column)
    file = written(tmp_path, table.set_column(place, column, pa.array(values)))
    with pytest.raises(RecordingInvalid, match=says):
        convert_candles([file], symbols=[], out=tmp_path / "out")


def test_a_missing_column_of_candles_is_named(tmp_path):
    file = written(tmp_path, candles().drop_columns(["high"]))
    with pytest.raises(RecordingInvalid, match="candles must have a column 'high'"):
        read_candles([file], [])


@pytest.mark.parametrize(
    ("scale", "unit"), [(10**9, "seconds"), (10**6, "milliseconds"), (10**3, "microseconds")]
)
def test_whole_numbers_in_another_unit_than_nanoseconds_are_refused(tmp_path, scale, unit):
    table = candles(3)
    nanos = table.column("ts").cast(pa.timestamp("ns")).cast(pa.int64())
    place = table.column_names.index("ts")
    same = read_candles([written(tmp_path, table.set_column(place, "ts", nanos))], [])
    assert same[0].ts.tolist() == [START, START + MINUTE, START + 2 * MINUTE]
    other = written(tmp_path, table.set_column(place, "ts", pc.divide(nanos, scale)))
    with pytest.raises(RecordingInvalid, match=rf"(?s)row 0, column ts.*look like {unit}"):
        read_candles([other], [])


@given(st.floats(1e-6, 1e6), st.floats(1.0, 50.0), st.integers(1, 30))
def test_any_price_range_gives_a_venue_that_can_be_valued(price, spread, n):
    """Tick, lot and limits follow from the data; the venue's own proof of range accepts them."""
    close = np.linspace(price, price * spread, 10)
    one = Candles(
        *("X", "v", START + np.arange(10) * MINUTE, MINUTE),
        *(close, close, close, close, np.ones(10)),
        decimals=9,
    )
    many = [one._replace(symbol=f"X{k}") for k in range(n)]
    venue = venue_of(many, [grid_of(x) for x in many])
    for instrument in venue.instruments:
        assert instrument.tick_value >= 1
        assert instrument.value_max(instrument.lots_max) <= MONEY_MAX
        ticks = float(close.max()) / float(instrument.tick_size)
        assert ticks <= instrument.price_max
        assert float(close.min()) / float(instrument.tick_size) >= 1


def test_a_book_brings_accounts(tmp_path):
    book = tmp_path / "book.parquet"
    cash = tmp_path / "cash.parquet"
    position = {"account": ["ann"], "instrument": ["BTCUSDT"], "quantity": [0.5]}
    pq.write_table(pa.table({**position, "entry_price": [39_000.0]}), book)
    pq.write_table(pa.table({"account": ["ann"], "asset": ["USDT"], "balance": [900.0]}), cash)
    file = written(tmp_path, candles())
    recording = convert_candles([file], symbols=[], book=[book, cash], out=tmp_path / "out")
    event = next(recording.events())
    assert unpack(event.lots).tolist() == [5_000]
    assert unpack(event.cash).tolist() == [900_000_000]
    with pytest.raises(RecordingInvalid, match="must hold accounts, positions or loans"):
        convert_candles([file], symbols=[], book=[file], out=tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "symbols", "venue"),
    [
        ("crash_20210519_ohlcv_1m_binance_spot", ["BTCUSDT", "DOGEUSDT"], None),
        ("crash_202206_ohlcv_5m_binance_perp", [], None),
        ("crash_202303_usdc_depeg_ohlcv_1m", ["BTCUSDC"], "kraken_spot"),
        ("binance_1h_all_symbols_crash_windows", ["1000SHIBUSDT"], "binance_perp"),
        ("binance_1h_core12_2020_04_to_2025_09", ["ETHUSDT"], "binance_spot"),
    ],
)
def test_real_crashes_convert(shared, tmp_path, name, symbols, venue):
    file = shared / "data" / f"{name}.parquet"
    recording = convert_candles([file], symbols=symbols, venue=venue, out=tmp_path)
    assert recording.rows["prices"] > 1_000
    assert recording.n_events == recording.rows["prices"] + 1


def test_usd_volume_is_told_from_base_volume(shared, tmp_path):
    file = shared / "data" / "crash_202201_ohlcv_1m_btc_perp.parquet"
    with pytest.raises(RecordingInvalid, match="--volume-in quote"):
        convert_candles([file], symbols=[], out=tmp_path)
    recording = convert_candles([file], symbols=[], out=tmp_path, volume_in="quote")
    assert 1e9 < recording.venue.markets[0].daily_volume / 1e6 < 1e11


# 2025-10-10, from the public tables of that event.


@pytest.fixture(scope="module")
def positions(request):
    folder = request.getfixturevalue("shared") / "data"
    return folder / "hl_20251010_positions_SOL.parquet"


@pytest.fixture(scope="module")
def tables(positions):
    files = find_tables({"positions": positions})
    return {name: read_table(name, path) for name, path in files.items()}


@pytest.fixture(scope="module")
def october(positions, tmp_path_factory):
    return convert_october({"positions": positions}, out=tmp_path_factory.mktemp("october"))


def test_published_prices_and_quantities_confirm_one_another(tables):
    """A burst's notional over its price is a whole number of lots: the price is exact."""
    exact = [burst for burst in bursts_of(tables, "SOL") if burst.exact]
    lots = np.array([100 * burst.notional / burst.price for burst in exact])
    assert np.abs(lots - np.rint(lots)).max() < 0.01
    assert [burst.price for burst in exact] == [
        *(174.44, 173.05, 168.21, 162.74, 160.58, 159.99),
        *(156.42, 155.22, 152.99, 148.46, 147.56),
    ]


def test_the_path_passes_every_known_price(tables):
    path = price_path(tables, "SOL", Knobs())
    prices = dict(zip(path.ts.tolist(), path.price.tolist(), strict=True))
    for burst in path.bursts:
        if burst.exact:
            assert prices[burst.ts] == pytest.approx(burst.price, abs=1e-9)
    assert path.price[0] == pytest.approx(184.72)
    assert path.price.min() == pytest.approx(138.37)
    assert path.price[-1] == pytest.approx(169.36)
    falls = path.ts <= path.ts[int(np.argmin(path.price))]
    assert np.all(np.diff(path.price[falls]) <= 1e-9), "one way down, one way up"
    assert np.all(np.diff(path.price[~falls]) >= -1e-9)


def test_what_was_deleveraged_is_what_was_published(october, tables):
    """By burst to the dollar; in all within 0.1 % (the rest fell in small bursts on the way up)."""
    happened = october.liquidations()
    adl = happened.filter(pc.equal(happened.column("kind"), "adl"))
    lots, price = adl.column("quantity").to_numpy(), adl.column("price").to_numpy()
    assert np.all(lots < 0), "deleveraged shorts: the lots that left are negative"
    coin = tables["coins"].filter(pc.equal(tables["coins"].column("coin"), "SOL"))
    assert -lots.sum() == pytest.approx(coin.column("net_volume")[0].as_py(), rel=1e-3)
    assert -(lots * price).sum() == pytest.approx(coin.column("adl_notional")[0].as_py(), rel=1e-3)
    by_burst = defaultdict(float)
    for ts, worth in zip(adl.column("ts").to_pylist(), -lots * price, strict=True):
        by_burst[ts] += worth
    path = price_path(tables, "SOL", Knobs())
    for burst in path.bursts:
        slack = 2 * burst.price + burst.notional * 1e-4  # two lots of rounding to an account
        assert by_burst[burst.ts] == pytest.approx(burst.notional, abs=slack)


def test_the_reconstructed_book_is_plausible(october):
    """Longs and shorts nearly balance, and nobody is bankrupt before it begins."""
    book = next(october.events())
    lots, entry = unpack(book.lots), unpack(book.entry)
    cash, account = unpack(book.cash), unpack(book.account)
    long, short = lots[lots > 0].sum(), -lots[lots < 0].sum()
    assert 0.8 < long / short < 1.25
    first = 18_472
    equity = cash[account] + lots * (first - entry) * 100
    assert equity.min() > 0
    assert np.all(cash >= 0)


def test_every_assumption_is_in_the_notes(october):
    notes = "\n".join(october.venue.notes)
    for word in ("price:", "deleveraged:", "liquidated longs:", "cash:", "left out:", "market:"):
        assert word in notes
    assert "not for price levels" in notes


def test_a_liquidated_long_falls_below_maintenance_where_it_was_liquidated(october):
    """At the recorded price equity is two thirds of 2.5 % of value, to the rounding of a cent."""
    event = next(october.events())
    place = {name: n for n, name in enumerate(event.names)}
    rows = {int(a): k for k, a in enumerate(unpack(event.account))}
    lots, entry, cash = unpack(event.lots), unpack(event.entry), unpack(event.cash)
    happened = october.liquidations()
    market = happened.filter(pc.equal(happened.column("kind"), "market")).to_pylist()
    assert len(market) > 1_000
    for row in market:
        if row["quantity"] < 10:
            continue  # a cent of rounding is too much of a small position
        k = rows[place[row["account"]]]
        ticks = round(row["price"] * 100)
        equity = cash[place[row["account"]]] + lots[k] * (ticks - entry[k]) * 100
        value = lots[k] * ticks * 100
        assert equity / value == pytest.approx(0.025 * 2 / 3, abs=2e-4)


def test_the_same_tables_give_the_same_bytes(october, positions, tmp_path):
    assert convert_october({"positions": positions}, out=tmp_path).digest == october.digest


@pytest.mark.parametrize(("knob", "values"), RANGE.items())
def test_every_knob_turns_and_still_gives_a_recording(october, positions, tmp_path, knob, values):
    for value in values:
        knobs = Knobs()._replace(**{knob: value})
        turned = convert_october({"positions": positions}, out=tmp_path, knobs=knobs)
        assert turned.digest != october.digest


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("leverage_scale", 0.0),
        ("leverage_scale", float("nan")),
        ("recovery_s", 0.5),
        ("liquidated_share", -1.0),
        ("depth_usd", 1.0),
        ("price_low", 150.0),
        ("price_low", -1.0),
    ],
)
def test_a_knob_out_of_range_is_refused(positions, tmp_path, knob, value):
    with pytest.raises(ConfigInvalid, match="must lie"):
        convert_october(
            {"positions": positions}, out=tmp_path, knobs=Knobs()._replace(**{knob: value})
        )


def test_a_table_that_is_not_there_is_named(positions, tmp_path):
    alone = tmp_path / positions.name
    alone.write_bytes(positions.read_bytes())
    with pytest.raises(RecordingInvalid, match="--timeline: must name a table of the event"):
        convert_october({"positions": alone}, out=tmp_path / "out")


def test_the_command_prints_every_assumption(positions, tmp_path):
    arguments = ["convert", "october", "--positions", str(positions), "--recovery", "30"]
    done = CliRunner().invoke(data, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for note in load(tmp_path).venue.notes:
        assert f"assumed: {note}" in done.stderr
    assert "every 30 s" in done.stderr
    assert done.stdout.count("\n") == 1, "stdout is data"


def test_check_exits_with_two_where_a_replay_would(tmp_path, capsys):
    file = written(tmp_path, candles())
    convert_candles([file], symbols=[], out=tmp_path / "out")
    assert run(["data", "check", str(tmp_path / "out")]) == 0
    assert "a valid recording" in capsys.readouterr().out
    (tmp_path / "out" / "prices.parquet").unlink()
    assert run(["data", "check", str(tmp_path / "out")]) == 2
    assert "prices.parquet: must be in" in capsys.readouterr().err
    assert run(["data", "check", str(tmp_path / "out"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["where"] == "prices.parquet"
