"""A recording that is right: every file becomes the events it stands for, in one order."""

from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import SECOND, START, VENUE, at, tables
from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import (
    BookImported,
    Deposited,
    DepthObserved,
    FundingPaid,
    InterestAccrued,
    LiquidationReported,
    ParameterChanged,
    PriceObserved,
    Traded,
    Withdrawn,
)
from tidegate.domain.units import unpack
from tidegate.domain.venue import Limits
from tidegate.drivers.recording import load, write_recording
from tidegate.drivers.recording_check import plain_language, report
from tidegate.drivers.recording_door import parts
from tidegate.drivers.recording_sheet import Sheet
from tidegate.drivers.recording_streams import HOUR, accruals
from tidegate.drivers.recording_write import venue_text


@pytest.fixture
def full(tmp_path):
    """Return the recording in which every file is there."""
    write_recording(tmp_path, VENUE, tables())
    return load(tmp_path)


def of_kind(recording, kind, **options):
    return [e for e in recording.events(**options) if type(e) is kind]


def test_names_take_rows_in_order_of_first_appearance(full):
    """Accounts, positions, loans, their sub-accounts, and whoever comes with a flow."""
    assert full.names == (
        *("ann", "bob", "carl", "dora", "eve"),
        *("carl/BTC-PERP", "eve/ETH", "eve/ETH2", "fred"),
    )
    assert full.row("ann") == FIRST_USER
    assert full.row("fred") == FIRST_USER + 8
    with pytest.raises(KeyError):
        full.row("nobody")


def test_the_opening_book_is_the_first_event(full):
    book = next(full.events())
    assert isinstance(book, BookImported)
    assert book.ts == START == full.begins
    assert unpack(book.owner).tolist() == [0, 1, 2, 3, 4, 2, 4, 4, 8]
    cash = dict(zip(book.names, unpack(book.cash).tolist(), strict=True))
    assert cash["ann"] == 1_000_000_000
    assert cash["bob"] == 500_500_000
    assert cash["carl"] == 0, "the margin of an isolated position is its sub-account's"
    assert cash["carl/BTC-PERP"] == 700_000_000
    assert cash["dora"] == -2_000_000_000, "a debt in the numeraire is negative cash"
    assert (cash["eve/ETH"], cash["eve/ETH2"]) == (-100_000_000, -200_000_000)
    columns = (book.account, book.instrument, book.lots, book.entry)
    rows = list(zip(*(unpack(c).tolist() for c in columns), strict=True))
    held = [(book.names[a], i, lots, entry) for a, i, lots, entry in rows]
    assert held == [
        ("ann", 0, 1_500, 98_000),
        ("ann", 1, 2_500_000, 0),
        ("bob", 0, -1_000, 99_000),
        ("dora", 1, 10_000_000, 0),
        ("carl/BTC-PERP", 0, -500, 101_000),
        ("eve/ETH", 1, 1_000_000, 0),
        ("eve/ETH2", 1, 2_000_000, 0),
    ]


def test_balances_and_collateral_of_one_asset_are_one_holding(tmp_path):
    t = tables()
    t["loans"] = pa.table(
        {
            "account": ["ann", "ann"],
            "market": ["M", "M"],
            "collateral_asset": ["ETH", "ETH"],
            "collateral": [1.0, 0.0],
            "debt_asset": ["USD", "ETH"],
            "debt": [10.0, 0.25],
        }
    )
    t["flows"] = t["flows"].slice(0, 0)
    write_recording(tmp_path, VENUE, t)
    book = next(load(tmp_path).events())
    columns = (book.account, book.instrument, book.lots)
    rows = zip(*(unpack(c).tolist() for c in columns), strict=True)
    assert (book.names.index("ann"), 1, 2_500_000 + 1_000_000 - 250_000) in list(rows)
    assert unpack(book.cash)[book.names.index("ann")] == 990_000_000


def test_every_row_becomes_its_event(full):
    """Prices, depth, flows, trades, funding and parameters, with units and signs."""
    first, second, *_ = of_kind(full, PriceObserved)
    assert (first.instrument, first.source, first.price, first.confidence) == (0, 0, 100_000, 10)
    assert (second.source, second.price) == (1, 100_001)
    assert [e.confidence for e in of_kind(full, PriceObserved)] == [10, 0, 0, 2, 0], "rounded up"
    (depth,) = of_kind(full, DepthObserved)
    assert unpack(depth.bid_price).tolist() == [99_990, 99_980]
    assert unpack(depth.bid_lots).tolist() == [1_000, 2_000]
    assert unpack(depth.ask_lots).tolist() == [1_000], "half a lot is no depth"
    fred, bob, dora = full.row("fred"), full.row("bob"), full.row("dora")
    assert of_kind(full, Deposited) == [Deposited(ts=at(1)[0], account=fred, amount=300_000_000)]
    (borrowed,) = of_kind(full, Withdrawn)
    assert borrowed == Withdrawn(ts=at(3)[0], account=dora, amount=50_000_000, settled=True)
    traded = [(e.taker, e.maker, e.lots, e.price, e.settled) for e in of_kind(full, Traded)]
    assert traded == [
        (fred, 0, 20, 100_000, True),
        (fred, 0, -10, 99_900, True),
        (bob, 0, 1_000, 99_800, True),
        (0, 0, -250, 99_500, False),
    ]
    assert [e.rate for e in of_kind(full, FundingPaid)] == [100_000]
    (change,) = of_kind(full, ParameterChanged)
    assert (change.name, change.value) == ("margin.maintenance.BTC-PERP", 5_000)


def test_interest_accrues_at_full_hours_and_before_each_new_rate(full):
    """10,000 ppb an hour, from 12:26:40 until the rate becomes 0 at 14:40."""
    accrued = [((e.ts - START) // SECOND, e.rate) for e in of_kind(full, InterestAccrued)]
    assert accrued == [(2_000, 5_555), (5_600, 10_000), (8_000, 6_667)]
    assert sum(rate for _, rate in accrued) == 10_000 * 8_000 // 3_600


@given(st.lists(st.tuples(st.integers(1, 3 * HOUR), st.integers(0, 10**7)), max_size=6))
def test_accruals_never_lose_a_ppb(steps):
    """Whatever the rates and periods, what accrued is what was due, rounded down once."""
    now, changes, due = START, [], 0
    for wait, rate in steps:
        changes.append((now, rate))
        due += rate * wait
        now += wait
    assert sum(ppb for _, ppb in accruals(changes, now)) == due // HOUR


@pytest.mark.parametrize(("rate", "waits"), [(1, 1), (2, 2), (0, 0)])
def test_exactly_one_ppb_is_paid_when_it_is_due(rate, waits):
    """Boundary: one ppb an hour is due after one full hour, not after the next."""
    begin = START // HOUR * HOUR
    paid = list(accruals([(begin, rate)], begin + HOUR))
    assert paid == ([(begin + HOUR, waits)] if waits else [])


@pytest.mark.parametrize(
    ("balance", "money"),
    [
        *[("1.0000009", 1_000_000), ("1.000001", 1_000_001), ("-1.0000009", -1_000_001)],
        *[("0.0000006", 0), ("-0.0000001", -1), ("0.9999999999999", 1_000_000)],
    ],
)
def test_cash_is_rounded_down_to_money(tmp_path, balance, money):
    """Against the account by less than one Money; a millionth of one is noise."""
    t = {"prices": tables()["prices"]}
    t["accounts"] = pa.table({"account": ["ann"], "asset": ["USD"], "balance": [balance]})
    write_recording(tmp_path, VENUE, t)
    assert unpack(next(load(tmp_path).events()).cash).tolist() == [money]


def test_liquidations_are_history_unless_shadowed(full):
    assert full.liquidations().num_rows == 1
    assert of_kind(full, LiquidationReported) == []
    (booked,) = of_kind(full, LiquidationReported, shadow=True)
    assert booked == LiquidationReported(
        ts=at(10)[0], account=full.row("ann"), instrument=0, lots=500, cash=4_950_000_000
    )


def test_counts_are_exact(full):
    assert len(list(full.events())) == full.n_events == full.count()
    assert len(list(full.events(shadow=True))) == full.count(shadow=True) == full.n_events + 1


def test_events_come_in_time_order_and_ties_in_the_stated_one(full):
    events = list(full.events())
    times = [e.ts for e in events]
    assert times == sorted(times)
    at_start = [type(e).__name__ for e in events if e.ts == START]
    assert at_start == [
        *("BookImported", "ParameterChanged", "DepthObserved"),
        *("PriceObserved", "PriceObserved", "PriceObserved"),
    ]
    assert list(full.events()) == events, "a recording can be read again"


def test_flows_and_liquidations_share_one_sequence(tmp_path):
    """A repayment after a liquidation in the same block must stay behind it."""
    t = tables()
    t["flows"] = pa.table(
        {
            "ts": at(10, 10),
            "seq": [1, 3],
            "account": ["ann", "ann"],
            "kind": ["deposit", "withdraw"],
            "quantity": [1.0, 2.0],
        }
    )
    t["liquidations"] = t["liquidations"].append_column("seq", pa.array([2]))
    write_recording(tmp_path, VENUE, t)
    events = list(load(tmp_path).events(shadow=True))
    kinds = [type(e) for e in events if e.ts == at(10)[0]]
    assert kinds == [Deposited, LiquidationReported, Withdrawn, PriceObserved]


def test_a_liquidation_may_state_its_cash_instead_of_a_price(tmp_path):
    """A vault's bite extinguishes a debt; no market price is part of it."""
    t = tables()
    t["liquidations"] = pa.table(
        {
            "ts": at(10, 11),
            "account": ["dora", "dora"],
            "instrument": ["ETH", "ETH"],
            "quantity": [4.0, 0.0],
            "price": pa.array([None, None], pa.float64()),
            "kind": ["auction", "auction"],
            "cash": [1_000.0, 25.5],
        }
    )
    write_recording(tmp_path, VENUE, t)
    booked = of_kind(load(tmp_path), LiquidationReported, shadow=True)
    assert [(e.lots, e.cash) for e in booked] == [(4_000_000, 1_000_000_000), (0, 25_500_000)]


def test_a_close_after_a_recorded_liquidation_takes_the_other_side(tmp_path):
    """Ann's long was liquidated, she went short; her close then buys."""
    t = tables()
    t["liquidations"] = t["liquidations"].set_column(3, "quantity", pa.array([1.5]))
    t["flows"] = pa.table(
        {
            "ts": at(11, 12),
            "seq": [0, 1],
            "account": ["ann", "ann"],
            "kind": ["open", "close"],
            "instrument": ["BTC-PERP"] * 2,
            "quantity": [-0.5, 0.5],
            "price": [9_900.0, 9_800.0],
        }
    )
    write_recording(tmp_path, VENUE, t)
    trades = [e.lots for e in of_kind(load(tmp_path), Traded) if e.taker]
    assert trades == [-500, 500]


def spelled(table, numbers):
    """Return the table with its decimal columns written as text."""
    for name in numbers:
        values = [None if v is None else f"{v:.6f}" for v in table.column(name).to_pylist()]
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(values))
    return table


def test_text_and_float_decimals_mean_the_same(tmp_path, full):
    t = tables()
    numbers = ("price", "confidence", "balance", "quantity", "entry_price", "isolated_margin")
    numbers += ("collateral", "debt", "rate")
    text = {n: spelled(x, [c for c in numbers if c in x.column_names]) for n, x in t.items()}
    write_recording(tmp_path / "text", VENUE, text)
    assert list(load(tmp_path / "text").events()) == list(full.events())


def test_arrow_timestamps_dictionaries_and_decimals_are_read(tmp_path, full):
    t = tables()
    prices = t["prices"]
    ts = prices.column("ts").cast(pa.timestamp("ns")).cast(pa.timestamp("us"))
    exact = prices.column("price").cast(pa.decimal128(18, 4))
    t["prices"] = (
        prices.set_column(0, "ts", ts)
        .set_column(1, "instrument", prices.column("instrument").dictionary_encode())
        .set_column(3, "price", exact)
    )
    write_recording(tmp_path / "other", VENUE, t)
    assert list(load(tmp_path / "other").events()) == list(full.events())


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=20),
    st.sampled_from(["0.001", "0.01", "0.05", "0.1", "0.25", "1", "5"]),
)
def test_whole_lots_survive_float64(lots, size):
    """The door gives back the integers that a decimal column was made from, for any lot size."""
    values = [float(Decimal(n) * Decimal(size)) for n in lots]
    sheet = Sheet("x.parquet", pa.table({"quantity": values}))
    split = parts(sheet, "quantity", [Decimal(size)], np.zeros(len(lots), np.int64))
    assert split.whole.tolist() == lots
    assert np.all(np.abs(split.rest) <= split.slack())


def test_the_bytes_depend_on_the_contents_only(tmp_path):
    for name in ("one", "two"):
        write_recording(tmp_path / name, VENUE, tables())
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one.digest == two.digest
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    changed = tables()
    changed["accounts"] = changed["accounts"].slice(0, 2)
    write_recording(tmp_path / "two", VENUE, changed)
    assert load(tmp_path / "two").digest != one.digest


def test_writing_again_leaves_nothing_of_the_old_recording(tmp_path):
    write_recording(tmp_path, VENUE, tables())
    write_recording(tmp_path, VENUE, {"prices": tables()["prices"]})
    assert sorted(f.name for f in tmp_path.iterdir()) == ["prices.parquet", "venue.toml"]
    assert load(tmp_path).names == ()


def test_the_venue_survives_its_toml(tmp_path):
    write_recording(tmp_path, VENUE, {"prices": tables()["prices"]})
    assert load(tmp_path).venue == VENUE
    perp = msgspec.structs.replace(VENUE.instruments[0], lots_max=10**6, open_interest_max=None)
    silent = msgspec.structs.replace(VENUE, instruments=(perp,), markets=())
    assert "open_interest_max" not in venue_text(silent), "TOML has no null"


def test_the_check_says_what_is_missing_and_what_that_means(tmp_path):
    write_recording(tmp_path, VENUE, {"prices": tables()["prices"]})
    recording = load(tmp_path)
    found = report(recording)
    assert found["files"]["prices"]["rows"] == 5
    assert found["files"]["prices"]["ranges"]["price"] == ("390", "10,000.1")
    assert "model ladder" in found["missing"]["depth"]
    assert any("nobody to liquidate" in line for line in found["warnings"])
    text = "\n".join(plain_language(recording))
    assert "there is no" in text
    assert "2020-09-13T12:26:40Z to 2020-09-13T12:27:00Z, 20 seconds" in text


def test_a_large_book_is_read_by_columns(tmp_path):
    """100,000 accounts: nothing in here may be a loop over objects that a minute would not hold."""
    n = 100_000
    names = [f"account-{k:06d}" for k in range(n)]
    draw = np.arange(n)
    t = {"prices": tables()["prices"]}
    t["accounts"] = pa.table({"account": names, "asset": ["USD"] * n, "balance": draw * 0.5 + 1})
    t["positions"] = pa.table(
        {
            "account": names,
            "instrument": ["BTC-PERP"] * n,
            "quantity": (draw % 50 + 1) * 0.001 * np.where(draw % 2, 1, -1),
            "entry_price": 9_000 + (draw % 1_000) * 0.1,
        }
    )
    limits = Limits(accounts_max=n + FIRST_USER, positions_max=n + 2 * FIRST_USER)
    write_recording(tmp_path, msgspec.structs.replace(VENUE, limits=limits), t)
    recording = load(tmp_path)
    book = next(recording.events())
    assert len(book.names) == n
    assert unpack(book.lots).tolist()[:3] == [-1, 2, -3]
    assert recording.row(names[-1]) == FIRST_USER + n - 1


def test_pages_carry_checksums(tmp_path):
    """A flipped bit in a page is refused, not decoded into another number."""
    write_recording(tmp_path, VENUE, tables())
    metadata = pq.ParquetFile(tmp_path / "prices.parquet").metadata
    assert metadata.row_group(0).column(0).compression == "ZSTD"
