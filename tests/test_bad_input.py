"""Recordings that are wrong in one respect each: refused with file, row, column and a hint."""

import re

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recordings import START, VENUE, at, tables
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid, Refused
from tidegate.domain.venue import Limits
from tidegate.drivers.recording import load, write_recording


def put(table, name, values):
    """Return the table with one column replaced."""
    place = table.column_names.index(name)
    column = values if isinstance(values, pa.Array) else pa.array(values)
    return table.set_column(place, name, column)


def cell(table, name, row, value):
    """Return the table with one cell replaced."""
    values = table.column(name).to_pylist()
    values[row] = value
    return put(table, name, values)


def twice(table, row):
    """Return the table with one row repeated behind it."""
    parts = [table.slice(0, row + 1), table.slice(row, 1), table.slice(row + 1)]
    return pa.concat_tables(parts)


NAN, INF = float("nan"), float("inf")

# what is wrong: (file, how its table is spoiled, where the refusal must point, what it must say)
SPOILED = {
    "an unknown column": (
        "prices",
        lambda t: t.append_column("colour", pa.array(["red"] * 5)),
        "prices.parquet",
        "has a column that is not known, found 'colour'",
    ),
    "a misspelt column": (
        "prices",
        lambda t: t.rename_columns(["ts", "instrument", "source", "prise", "confidence"]),
        "prices.parquet",
        "did you mean 'price'?",
    ),
    "a missing column": (
        "positions",
        lambda t: t.drop_columns(["entry_price"]),
        "positions.parquet",
        "must have a column 'entry_price'",
    ),
    "text where a number belongs": (
        "depth",
        lambda t: put(t, "level", ["a", "b", "c", "d"]),
        "depth.parquet: column level",
        "must hold int64",
    ),
    "a float where a time belongs": (
        "trades",
        lambda t: put(t, "ts", [1.6e18]),
        "trades.parquet: column ts",
        "must hold int64 nanoseconds",
    ),
    "words where a decimal belongs": (
        "accounts",
        lambda t: put(t, "balance", ["1.5", "a lot", "2"]),
        "accounts.parquet: row 1, column balance",
        "must be a finite decimal number, found 'a lot'",
    ),
    "NaN": (
        "prices",
        lambda t: cell(t, "price", 3, NAN),
        "prices.parquet: row 3, column price",
        "must be a finite number, found nan",
    ),
    "NaN in an optional column": (
        "prices",
        lambda t: cell(t, "confidence", 2, NAN),
        "prices.parquet: row 2, column confidence",
        "finite",
    ),
    "infinity": (
        "accounts",
        lambda t: cell(t, "balance", 2, INF),
        "accounts.parquet: row 2, column balance",
        "finite",
    ),
    "NaN as text": (
        "accounts",
        lambda t: put(t, "balance", ["1", "2", "NaN"]),
        "accounts.parquet: row 2, column balance",
        "finite",
    ),
    "an empty cell": (
        "prices",
        lambda t: cell(t, "price", 1, None),
        "prices.parquet: row 1, column price",
        "must have a value",
    ),
    "an account without a name": (
        "positions",
        lambda t: cell(t, "account", 1, ""),
        "positions.parquet: row 1, column account",
        "must have a name",
    ),
    "milliseconds": (
        "prices",
        lambda t: put(t, "ts", [x // 10**6 for x in at(0, 0, 0, 10, 20)]),
        "prices.parquet: row 0, column ts",
        "these look like milliseconds",
    ),
    "seconds": (
        "funding",
        lambda t: put(t, "ts", [START // 10**9]),
        "funding.parquet: row 0, column ts",
        "these look like seconds",
    ),
    "a number beyond 64 bits": (
        "flows",
        lambda t: put(t, "seq", pa.array([0, 1, 2, 3, 2**64 - 1], pa.uint64())),
        "flows.parquet: column seq",
        "must fit 64 bits",
    ),
    "a year beyond nanoseconds": (
        "funding",
        lambda t: put(t, "ts", pa.array([250_000_000_000_000_000], pa.timestamp("us"))),
        "funding.parquet: column ts",
        "must fit 64 bits",
    ),
    "a decreasing timestamp": (
        "prices",
        lambda t: put(t, "ts", at(0, 0, 0, 20, 10)),
        "prices.parquet: row 4, column ts",
        "must not decrease",
    ),
    "a decreasing timestamp in flows": (
        "flows",
        lambda t: put(t, "ts", at(1, 1, 2, 4, 3)),
        "flows.parquet: row 4, column ts",
        "must not decrease",
    ),
    "a repeated seq": (
        "flows",
        lambda t: put(t, "seq", [0, 0, 1, 2, 3]),
        "flows.parquet: row 1, column seq",
        "seq must rise",
    ),
    "a duplicate price": (
        "prices",
        lambda t: twice(t, 3),
        "prices.parquet: row 4, column source",
        "one price per instrument and time",
    ),
    "a price of zero": (
        "prices",
        lambda t: cell(t, "price", 0, 0.0),
        "prices.parquet: row 0, column price",
        "at least one tick",
    ),
    "a negative price": (
        "prices",
        lambda t: cell(t, "price", 0, -1.0),
        "prices.parquet: row 0, column price",
        "at least one tick",
    ),
    "a price beyond the venue's range": (
        "prices",
        lambda t: cell(t, "price", 0, 2e6),
        "prices.parquet: row 0, column price",
        "price_max = 20_000_000 would fit",
    ),
    "a number too large to count": (
        "accounts",
        lambda t: cell(t, "balance", 0, 1e300),
        "accounts.parquet: row 0, column balance",
        "too large",
    ),
    "a price of an unknown instrument": (
        "prices",
        lambda t: cell(t, "instrument", 1, "BTC-PREP"),
        "prices.parquet: row 1, column instrument",
        "did you mean 'BTC-PERP'?",
    ),
    "a price of an unknown source": (
        "prices",
        lambda t: cell(t, "source", 1, "rumour"),
        "prices.parquet: row 1, column source",
        "one of the sources of venue.toml",
    ),
    "a negative confidence": (
        "prices",
        lambda t: cell(t, "confidence", 0, -1.0),
        "prices.parquet: row 0, column confidence",
        "must not be negative",
    ),
    "an account trading an unknown instrument": (
        "flows",
        lambda t: cell(t, "instrument", 1, "DOGE"),
        "flows.parquet: row 1, column instrument",
        "must name an instrument of venue.toml, found 'DOGE'",
    ),
    "a position in an unknown instrument": (
        "positions",
        lambda t: cell(t, "instrument", 2, "DOGE"),
        "positions.parquet: row 2, column instrument",
        "found 'DOGE'",
    ),
    "a position in a spot asset": (
        "positions",
        lambda t: cell(t, "instrument", 2, "ETH"),
        "positions.parquet: row 2, column instrument",
        "accounts.parquet",
    ),
    "two positions in one instrument": (
        "positions",
        lambda t: twice(t, 0),
        "positions.parquet: row 1, column instrument",
        "one position per instrument",
    ),
    "a position of nothing": (
        "positions",
        lambda t: cell(t, "quantity", 0, 0.0),
        "positions.parquet: row 0, column quantity",
        "at least one lot",
    ),
    "a position beyond the venue's range": (
        "positions",
        lambda t: cell(t, "quantity", 0, 2e6),
        "positions.parquet: account ann, BTC-PERP",
        "lots_max = 2_000_000_000 would fit",
    ),
    "a part of a lot": (
        "positions",
        lambda t: cell(t, "quantity", 0, 1.5005),
        "positions.parquet: row 0, column quantity",
        "must be whole lots of 0.001, found 1.5005",
    ),
    "a negative isolated margin": (
        "positions",
        lambda t: cell(t, "isolated_margin", 2, -700.0),
        "positions.parquet: row 2, column isolated_margin",
        "must not be negative",
    ),
    "an account that is called like a sub-account": (
        "accounts",
        lambda t: cell(t, "account", 1, "carl/BTC-PERP"),
        "positions.parquet: row 2, column account",
        "needed for a sub-account",
    ),
    "a balance in an unknown asset": (
        "accounts",
        lambda t: cell(t, "asset", 2, "EHT"),
        "accounts.parquet: row 2, column asset",
        "did you mean 'ETH'?",
    ),
    "two balances in one asset": (
        "accounts",
        lambda t: twice(t, 1),
        "accounts.parquet: row 2, column asset",
        "one balance per asset",
    ),
    "a balance beyond the venue's range": (
        "accounts",
        lambda t: cell(t, "balance", 0, 5e9),
        "accounts.parquet: account ann",
        "balance_max = 5_000_000_000_000_000 would fit",
    ),
    "negative collateral": (
        "loans",
        lambda t: cell(t, "collateral", 0, -1.0),
        "loans.parquet: row 0, column collateral",
        "must not be negative",
    ),
    "negative debt": (
        "loans",
        lambda t: cell(t, "debt", 0, -1.0),
        "loans.parquet: row 0, column debt",
        "must not be negative",
    ),
    "a loan given twice": (
        "loans",
        lambda t: twice(t, 2),
        "loans.parquet: row 3, column debt_asset",
        "one loan per account",
    ),
    "a trade of nothing": (
        "trades",
        lambda t: put(t, "quantity", [0.0]),
        "trades.parquet: row 0, column quantity",
        "must have a size",
    ),
    "a negative trade": (
        "trades",
        lambda t: put(t, "quantity", [-0.25]),
        "trades.parquet: row 0, column quantity",
        "must not be negative",
    ),
    "an aggressor of neither side": (
        "trades",
        lambda t: put(t, "aggressor", ["SELL"]),
        "trades.parquet: row 0, column aggressor",
        "known: buy, sell",
    ),
    "negative depth": (
        "depth",
        lambda t: cell(t, "quantity", 1, -2.0),
        "depth.parquet: row 1, column quantity",
        "must not be negative",
    ),
    "a level given twice": (
        "depth",
        lambda t: twice(t, 1),
        "depth.parquet: row 2, column level",
        "each level once",
    ),
    "a negative level": (
        "depth",
        lambda t: cell(t, "level", 0, -1),
        "depth.parquet: row 0, column level",
        "from 0",
    ),
    "levels that lead towards the touch": (
        "depth",
        lambda t: cell(t, "price", 1, 9_999.5),
        "depth.parquet: row 1, column price",
        "away from the touch",
    ),
    "a crossed book": (
        "depth",
        lambda t: put(t, "price", [9_999.0, 9_998.0, 9_998.5, 10_002.0]),
        "depth.parquet: row 2, column price",
        "crossed",
    ),
    "a locked book": (
        "depth",
        lambda t: put(t, "price", [9_999.0, 9_998.0, 9_999.0, 10_002.0]),
        "depth.parquet: row 2, column price",
        "crossed",
    ),
    "a flow of an unknown kind": (
        "flows",
        lambda t: cell(t, "kind", 0, "gift"),
        "flows.parquet: row 0, column kind",
        "must be a kind of flow",
    ),
    "a negative deposit": (
        "flows",
        lambda t: cell(t, "quantity", 0, -300.0),
        "flows.parquet: row 0, column quantity",
        "must not be negative",
    ),
    "a negative close": (
        "flows",
        lambda t: cell(t, "quantity", 2, -0.01),
        "flows.parquet: row 2, column quantity",
        "must not be negative",
    ),
    "an open without an instrument": (
        "flows",
        lambda t: cell(t, "instrument", 1, None),
        "flows.parquet: row 1, column instrument",
        "must name an instrument",
    ),
    "an open without a price": (
        "flows",
        lambda t: cell(t, "price", 1, None),
        "flows.parquet: row 1, column price",
        "must have a price",
    ),
    "an open of nothing": (
        "flows",
        lambda t: cell(t, "quantity", 1, 0.0),
        "flows.parquet: row 1, column quantity",
        "must have a size",
    ),
    "a close of more than is open": (
        "flows",
        lambda t: cell(t, "quantity", 2, 0.03),
        "flows.parquet: row 2, column quantity",
        "closes more than the 20 lots that are open",
    ),
    "an unknown account that begins with a withdrawal": (
        "flows",
        lambda t: put(t, "kind", ["withdraw", "open", "close", "borrow", "close"]),
        "flows.parquet: row 0, column kind",
        "not in the opening book",
    ),
    "a repayment that does not say which loan": (
        "flows",
        lambda t: cell(cell(t, "account", 3, "eve"), "kind", 3, "repay"),
        "flows.parquet: row 3, column account",
        "ACCOUNT/MARKET",
    ),
    "a liquidation of an unknown account": (
        "liquidations",
        lambda t: put(t, "account", ["anne"]),
        "liquidations.parquet: row 0, column account",
        "did you mean 'ann'?",
    ),
    "a liquidation of an unknown kind": (
        "liquidations",
        lambda t: put(t, "kind", ["bankruptcy"]),
        "liquidations.parquet: row 0, column kind",
        "known: market, backstop, adl, auction",
    ),
    "a liquidation without price or cash": (
        "liquidations",
        lambda t: put(t, "price", pa.array([None], pa.float64())),
        "liquidations.parquet: row 0, column price",
        "needs a price, or the cash",
    ),
    "a parameter that is not whole": (
        "parameters",
        lambda t: put(t, "value", [0.5, 1.5, 2.5]),
        "parameters.parquet: column value",
        "must hold int64",
    ),
    "negative interest": (
        "parameters",
        lambda t: cell(t, "value", 0, -1),
        "parameters.parquet: row 0, column value",
        "0..1e9 ppb",
    ),
    "interest on an unknown asset": (
        "parameters",
        lambda t: cell(t, "name", 2, "interest.DOGE"),
        "parameters.parquet: row 2, column name",
        "known: interest.CASH",
    ),
    "a funding rate in percent": (
        "funding",
        lambda t: put(t, "rate", [1.5]),
        "funding.parquet: row 0, column rate",
        "rates are fractions",
    ),
    "no prices at all": (
        "prices",
        lambda t: t.slice(0, 0),
        "prices.parquet",
        "at least one price",
    ),
}


@pytest.mark.parametrize("wrong", SPOILED)
def test_a_spoiled_table_is_refused(tmp_path, wrong):
    """One cell, column or row is wrong; the refusal says which, what was found and a way out."""
    file, spoil, where, says = SPOILED[wrong]
    t = tables()
    t[file] = spoil(t[file])
    write_columns(tmp_path, t)
    with pytest.raises(RecordingInvalid) as refused:
        load(tmp_path)
    assert refused.value.where == where
    assert says in str(refused.value)


def write_columns(path, found):
    """Write the tables as they are: `write_recording` would refuse some of them itself."""
    write_recording(path, VENUE, {"prices": tables()["prices"]})
    for name, table in found.items():
        pq.write_table(table, path / f"{name}.parquet", write_page_checksum=True)


def test_the_spoiled_tables_begin_right(tmp_path):
    """Twin of the table above: unspoiled, the same recording is accepted."""
    write_columns(tmp_path, tables())
    load(tmp_path)


def test_a_price_is_rounded_to_the_nearest_tick_and_a_quantity_is_not(tmp_path):
    t = tables()
    t["prices"] = cell(t["prices"], "price", 0, 10_000.04)
    write_columns(tmp_path, t)
    prices = [e.price for e in load(tmp_path).events() if type(e).__name__ == "PriceObserved"]
    assert prices[0] == 100_000


@pytest.mark.parametrize(("part", "fits"), [(0.0000009, True), (0.0000011, False)])
def test_a_millionth_of_a_lot_is_the_noise_of_a_float(tmp_path, part, fits):
    """Boundary: on the inner side of 1e-6 lots a quantity is whole, on the outer it is refused."""
    t = tables()
    t["positions"] = cell(t["positions"], "quantity", 0, 1.5 + part * 0.001)
    write_columns(tmp_path, t)
    if fits:
        load(tmp_path)
    else:
        with pytest.raises(RecordingInvalid, match="whole lots"):
            load(tmp_path)


@pytest.mark.parametrize("file", ["prices.parquet", "venue.toml"])
def test_a_missing_file_is_named(tmp_path, file):
    write_columns(tmp_path, tables())
    (tmp_path / file).unlink()
    with pytest.raises(RecordingInvalid, match=f"{file}: must be in"):
        load(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordingInvalid, match="must be the folder of a recording, found nothing"):
        load(tmp_path / "nowhere")


def test_a_file_that_is_not_known_is_named(tmp_path):
    """`price.parquet` would otherwise be ignored in silence."""
    write_columns(tmp_path, tables())
    (tmp_path / "price.parquet").write_bytes(b"")
    with pytest.raises(RecordingInvalid, match="did you mean 'prices'"):
        load(tmp_path)


@pytest.mark.parametrize("kept", [0, 3, 200, -9])
def test_a_truncated_file_is_named(tmp_path, kept):
    write_columns(tmp_path, tables())
    file = tmp_path / "flows.parquet"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(RecordingInvalid, match=re.escape("flows.parquet: must be a whole")):
        load(tmp_path)


def test_no_single_flipped_bit_changes_what_is_read(tmp_path):
    """Every byte of a file is flipped in turn: refused, or read as before; never other numbers."""
    write_recording(tmp_path, VENUE, {"prices": tables()["prices"]})
    good = list(load(tmp_path).events())
    file = tmp_path / "prices.parquet"
    whole = file.read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            found = list(load(tmp_path).events())
        except Refused:
            refused += 1
            continue
        assert found == good, f"byte {place}"
    assert refused > len(whole) // 7 // 4


VENUES = {
    "an unknown key": (
        lambda s: s + "\ncolour = 1\n",
        "Object contains unknown field `colour`",
    ),
    "a wrong type": (
        lambda s: s.replace("price_max = 10000000", 'price_max = "high"', 1),
        "Expected `int`, got `str`",
    ),
    "a missing key": (
        lambda s: s.replace('tick_size = "0.1"\n', "", 1),
        "missing required field `tick_size`",
    ),
    "an unknown kind of instrument": (
        lambda s: s.replace('"linear"', '"perpetual"', 1),
        "Invalid value 'perpetual'",
    ),
    "not TOML": (lambda s: s + "=", "must follow the schema"),
    "a tick that is no number": (
        lambda s: s.replace('tick_size = "0.1"', 'tick_size = "ten"', 1),
        "must be a positive decimal, found 'ten'",
    ),
    "a tick value in another unit": (
        lambda s: s.replace("tick_value = 100", "tick_value = 1", 1),
        "tick_value = 100 agrees with tick_size and lot_size",
    ),
    "a market of an unknown instrument": (
        lambda s: s.replace('[[markets]]\nsymbol = "BTC-PERP"', '[[markets]]\nsymbol = "BTC"'),
        "known: BTC-PERP, ETH",
    ),
    "two sources of one name": (
        lambda s: s.replace('"venue",', '"index",'),
        "must be different names",
    ),
    "two instruments of one name": (
        lambda s: s.replace('symbol = "ETH"', 'symbol = "BTC-PERP"'),
        "symbols must differ",
    ),
    "the numeraire as an instrument": (
        lambda s: s.replace('numeraire = "USD"', 'numeraire = "ETH"'),
        "must not be an instrument",
    ),
}


@pytest.mark.parametrize("wrong", VENUES)
def test_a_spoiled_venue_is_refused(tmp_path, wrong):
    spoil, says = VENUES[wrong]
    write_recording(tmp_path, VENUE, {"prices": tables()["prices"]})
    file = tmp_path / "venue.toml"
    text = file.read_text(encoding="utf-8")
    # A key at the end would belong to the last table: the top level comes first.
    spoiled = "colour = 1\n" + text if wrong == "an unknown key" else spoil(text)
    assert spoiled != text
    file.write_text(spoiled, encoding="utf-8")
    with pytest.raises(ConfigInvalid) as refused:
        load(tmp_path)
    assert "venue.toml" in refused.value.where
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        (Limits(accounts_max=21, positions_max=128), None),
        (Limits(accounts_max=20, positions_max=128), "accounts_max = 21 would fit"),
        (Limits(accounts_max=21, positions_max=32), None),
        (Limits(accounts_max=21, positions_max=31), "positions_max = 32 would fit"),
    ],
)
def test_a_capacity_that_is_exceeded_says_what_would_fit(tmp_path, limits, fits):
    """9 accounts and 12 of the venue's; 7 holdings, fred's, and 12 for each of 2 instruments."""
    write_recording(tmp_path, msgspec.structs.replace(VENUE, limits=limits), tables())
    if fits is None:
        load(tmp_path)
    else:
        with pytest.raises(RecordingInvalid, match=fits):
            load(tmp_path)


def test_writing_refuses_what_reading_would(tmp_path):
    with pytest.raises(RecordingInvalid, match="did you mean 'prices'"):
        write_recording(tmp_path, VENUE, {"price": tables()["prices"]})
    odd = tables()["prices"].append_column("colour", pa.array(["red"] * 5))
    with pytest.raises(RecordingInvalid, match="'colour'"):
        write_recording(tmp_path, VENUE, {"prices": odd})
    assert list(tmp_path.iterdir()) == [], "nothing was written"
