"""The door for books: common names are known, gaps are completed aloud, the rest is refused."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress_books import loans, positions
from tidegate.cli.stacks import load_stack, load_venue_file
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid
from tidegate.domain.instrument import Linear, Spot
from tidegate.domain.units import unpack
from tidegate.drivers.recording import load
from tidegate.drivers.recording_write import venue_text
from tidegate.drivers.synthetic import make
from tidegate.lab.opening import Opening
from tidegate.lab.rescale import holdings
from tidegate.lab.tables import Given, read_book, read_parameters, read_prices
from tidegate.lab.tables.given import GivenMarket
from tidegate.lab.tables.names import LOANS, POSITIONS, recognised
from tidegate.lab.tables.venue import DEPTH_OF_INTEREST


PRICES = {"ETH": 4_000.0}


def cell(frame, column, row, value):
    """Return the frame with one cell replaced."""
    values = frame[column].astype(object).tolist()
    values[row] = value
    return frame.assign(**{column: values})


def said(book):
    return "\n".join(book.opening.notes)


def equity(book):
    """Return every account's equity at the marks, in the numeraire, by name."""
    found = holdings(book.opening).equity / 1e6
    return dict(zip(book.opening.book.names, found.tolist(), strict=True))


def test_names_of_columns_are_known_however_they_are_spelt():
    columns = ["User Address", "COIN", "Position Size", "entryPx", "mark_price", "accountValue"]
    assert recognised(columns, POSITIONS) == dict(
        zip(("account", "instrument", "quantity", "entry", "mark", "equity"), columns, strict=True)
    )
    both = recognised(["account", "collateral", "debt", "threshold", "healthf"], LOANS)
    assert both["health"] == "healthf"
    assert "collateral_asset" not in both


def test_a_table_of_positions_becomes_a_book_with_the_equity_it_says():
    frame = positions()
    book = read_book(frame)
    assert book.opening.symbols == ("BTC", "ETH")
    assert all(isinstance(i, Linear) for i in book.opening.venue.instruments)
    tick = [float(i.tick_size) for i in book.opening.venue.instruments]
    assert (book.opening.marks * tick).tolist() == [100_000.0, 4_000.0]
    stated = dict(zip(frame["user"], frame["accountValue"], strict=True))
    found = equity(book)
    # An entry is rounded to a tick, which is worth at most tick x size.
    assert {n: found[n] for n in stated} == pytest.approx(stated, abs=5.0)


def test_what_was_inferred_of_the_venue_is_said_and_can_be_written_and_given_back(tmp_path):
    book = read_book(positions())
    assert f"{100 * DEPTH_OF_INTEREST:.3g} % of open interest" in said(book)
    (market, _) = book.opening.venue.markets
    assert market.depth == round(1.5 * 100_000 * DEPTH_OF_INTEREST * 1e6)
    file = tmp_path / "venue.toml"
    file.write_text(venue_text(book.opening.venue), encoding="utf-8")
    again = read_book(positions(), venue=load_venue_file(file))
    assert again.opening.book == book.opening.book
    assert again.opening.digest == book.opening.digest


@pytest.mark.parametrize(
    ("columns", "backed"),
    [
        ({"balance": [500.0] * 12}, "balance"),
        ({"isolated_margin": [500.0] * 12}, "sum of isolated_margin"),
    ],
)
def test_accounts_are_backed_by_what_the_table_has(columns, backed):
    book = read_book(positions(accountValue=None, **columns))
    assert backed in said(book)
    assert set(unpack(book.opening.book.cash).tolist()) == {500_000_000}


@pytest.mark.parametrize(
    ("columns", "stated"),
    [
        ({"marginUsed": [500.0] * 12}, (500.0, 500.0)),
        ({"initialMargin": [700.0] * 12}, (700.0, 700.0)),
        ({"leverage": [20.0] * 12}, (2_500.0, 2_000.0)),
    ],
)
def test_requirements_are_equity_at_the_mark_on_which_no_profit_comes_on_top(columns, stated):
    book = read_book(positions(accountValue=None, **columns))
    assert "equity at the mark is taken to be" in said(book)
    # An entry is rounded to a tick, which is worth at most tick x size.
    assert list(equity(book).values()) == pytest.approx([*stated] * 6, abs=5.0)


def test_a_leverage_that_is_assumed_is_said():
    frame = positions(accountValue=None)
    book = read_book(frame, parameters=Given(leverage=10.0))
    assert "assumed to be its notional over 10" in said(book)
    assert set(np.rint(list(equity(book).values()))) == {4_000.0, 5_000.0}


def test_a_side_gives_the_sign_and_an_entry_that_is_missing_is_the_mark():
    frame = positions()
    frame = frame.assign(side=["LONG" if q > 0 else "short" for q in frame["szi"]])
    sided = read_book(frame.assign(szi=frame["szi"].abs()))
    assert sided.opening.book == read_book(positions()).opening.book
    open_now = read_book(positions(entryPx=None))
    assert "12 positions without an entry price" in said(open_now)


@pytest.mark.parametrize("both", ["BOTH", "net"])
def test_one_side_for_both_leaves_the_sign_to_the_quantity(both):
    book = read_book(positions(positionSide=[both] * 11 + ["SHORT"]))
    assert book.opening.book == read_book(positions()).opening.book


def test_a_column_that_is_there_twice_is_refused_by_name(tmp_path):
    frame = positions()
    frame.columns = ["user", "coin", "szi", "szi", "markPx", "accountValue"]
    frame.to_csv(tmp_path / "b.csv", index=False)
    table = pa.table([pa.array(frame.iloc[:, n]) for n in range(6)], list(frame.columns))
    pq.write_table(table, tmp_path / "b.parquet")
    for source in (frame, tmp_path / "b.csv", tmp_path / "b.parquet"):
        with pytest.raises(RecordingInvalid, match=r"column szi.*2 columns.*(?s:.)*rename or drop"):
            read_book(source)


def test_longs_without_shorts_are_refused_or_balanced_with_the_house():
    frame = positions().drop(index=2)  # a short of 0.5 BTC
    with pytest.raises(RecordingInvalid, match=r"instrument BTC.*1\.5 long and 1 short") as refused:
        read_book(frame)
    assert "--balance-with house" in refused.value.hint
    book = read_book(frame, balance_with="house")
    assert "the account house takes 0.5 short" in said(book)
    assert equity(book)["house"] == pytest.approx(50_000.0)
    lots, which = unpack(book.opening.book.lots), unpack(book.opening.book.instrument)
    assert [int(lots[which == i].sum()) for i in range(2)] == [0, 0]


def test_longs_and_shorts_are_matched_after_the_bankrupt_have_left():
    frame = cell(positions(), "accountValue", 0, -5.0)  # the first of three longs of 0.5 BTC
    with pytest.raises(RecordingInvalid, match=r"instrument BTC.*1 long and 1\.5 short") as refused:
        read_book(frame, leave_out=["bankrupt"])
    assert "--balance-with house" in refused.value.hint
    book = read_book(frame, leave_out=["bankrupt"], balance_with="house")
    assert "the account house takes 0.5 long" in said(book)
    assert "trader-00" not in book.opening.book.names
    lots, which = unpack(book.opening.book.lots), unpack(book.opening.book.instrument)
    assert [int(lots[which == i].sum()) for i in range(2)] == [0, 0]


@given(
    sizes=st.lists(
        st.tuples(st.floats(0.001, 5e4), st.booleans(), st.floats(0.5, 2.0), st.floats(0.0, 1e6)),
        min_size=1,
        max_size=12,
    ),
    price=st.floats(1e-4, 2e5),
)
def test_any_matched_book_keeps_its_equity_to_the_tick_and_its_lots_to_the_lot(sizes, price):
    rows = [
        (f"a{n}", "X", q if up else -q, price * e, price, m)
        for n, (q, up, e, m) in enumerate(sizes)
    ]
    names = ["account", "symbol", "quantity", "entry_price", "mark_price", "balance"]
    try:
        book = read_book(pd.DataFrame(rows, columns=names), balance_with="house")
    except RecordingInvalid as error:
        # All of it below a lot, or an account below zero from the start: both are said.
        assert re.search("worth more than it owes|at least one lot", str(error))  # noqa: PT017
        return
    (instrument,) = book.opening.venue.instruments
    tick, lot = float(instrument.tick_size), float(instrument.lot_size)
    held = holdings(book.opening)
    for row, name in zip(held.account.tolist(), held.lots.tolist(), strict=True):
        if row < len(rows):
            assert abs(name * lot - rows[row][2]) <= lot * (1 + 1e-6)
    for n, (_, _, quantity, entry, mark, balance) in enumerate(rows):
        found = held.equity[n] / 1e6
        exact = balance + quantity * (mark - entry)
        slack = 1e-5 + abs(quantity) * tick + abs(mark - entry) * lot + 1e-9 * abs(exact)
        assert abs(found - exact) <= slack


# what is wrong: (the table, what it is read with, where the refusal points, what it says)
WRONG = {
    "no account": (positions(user=None), {}, "data frame", "a column for the account"),
    "no backing": (positions(accountValue=None), {}, "data frame", "balance, equity, margin"),
    "no price": (positions(markPx=None), {}, "row 0", "found none for BTC, ETH.*--prices"),
    "two prices": (
        cell(positions(), "markPx", 4, 99_000.0),
        {},
        "row 4, column markPx",
        "BTC stood at 100000 before.*--prices",
    ),
    "an impossible price": (
        cell(positions(), "entryPx", 3, -1.0),
        {},
        "row 3, column entryPx",
        "above 0, found -1",
    ),
    "no number": (
        cell(positions(), "szi", 2, "much"),
        {},
        "column szi",
        "must be a number, found 'much'",
    ),
    "an empty account": (
        cell(positions(), "user", 5, None),
        {},
        "row 5, column user",
        "must have a value",
    ),
    "a position twice": (
        pd.concat([positions(), positions().head(1)], ignore_index=True),
        {},
        "row 12, column user",
        "row 0 holds it",
    ),
    "a side that is none": (
        positions().assign(side="up"),
        {},
        "row 0, column side",
        "long or short",
    ),
    "a negative long": (
        positions(szi=[-1.0] * 12).assign(side="long"),
        {},
        "row 0, column szi",
        "a long must not be negative",
    ),
    "equity that differs": (
        pd.concat(
            [positions(), positions().head(1).assign(coin="ETH", markPx=4_000.0, accountValue=1.0)]
        ),
        {},
        "row 12, column accountValue",
        "must be the same in every row of trader-00",
    ),
    "below zero": (
        cell(positions(), "accountValue", 1, -5.0),
        {},
        "row 1",
        "1 account below zero by 5 USD.*--leave-out bankrupt",
    ),
    "nobody is left": (
        positions(accountValue=[-1.0] * 12),
        {"leave_out": ["bankrupt"]},
        "data frame",
        "must keep an account.*all 12 accounts below zero",
    ),
    "a user named house": (
        cell(positions(), "user", 3, "house"),
        {"balance_with": "house"},
        "row 3",
        "found 'house'.*rename it",
    ),
    "a margin that is missing": (
        positions(accountValue=None, marginUsed=[*[500.0] * 7, None, *[500.0] * 4]),
        {},
        "row 7, column marginUsed",
        "an open position must have a value here.*fill it in",
    ),
    "a leverage that is missing": (
        positions(accountValue=None, leverage=[None, *[5.0] * 11]),
        {},
        "row 0, column leverage",
        "an open position must have a value here.*fill it in",
    ),
    "only zeros": (positions(szi=[0.0] * 12), {}, "data frame", "must hold an open position"),
    "an unknown filter": (positions(), {"where": {"venue": "a"}}, "--where venue=a", "a column"),
    "a filter without rows": (
        positions(),
        {"where": {"coin": "SOL"}},
        "--where coin=SOL",
        "values BTC, ETH",
    ),
    "loans without prices": (loans(), {}, "row 0", "found none for ETH.*--leave-out unpriced"),
    "negative debt": (
        cell(loans(), "borrow_balance", 2, -1.0),
        {"prices": PRICES},
        "row 2, column borrow_balance",
        "must not be negative",
    ),
    "a loan twice": (
        pd.concat([loans(), loans().tail(1)], ignore_index=True),
        {"prices": PRICES},
        "row 4",
        "repeats another row whole",
    ),
    "a threshold of 900 %": (
        cell(loans(), "liquidation_threshold", 0, 90_000),
        {"prices": PRICES},
        "row 0, column liquidation_threshold",
        "a share, per cent or bps",
    ),
    "loans below water": (
        cell(loans(), "borrow_balance", 3, 9_000.0),
        {"prices": PRICES},
        "row 3",
        "below zero by 1,000 USD",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_with_its_row_and_a_remedy(name):
    frame, options, where, what = WRONG[name]
    with pytest.raises((RecordingInvalid, ConfigInvalid)) as refused:
        read_book(frame, **options)
    assert where in refused.value.where
    assert re.search(what, str(refused.value), re.DOTALL)


def test_a_table_at_a_given_venue_must_fit_it():
    venue = read_book(positions()).opening.venue
    other = positions(coin=["ETC" if c == "ETH" else c for c in positions()["coin"]])
    with pytest.raises(RecordingInvalid, match=r"row 1.*derivative of the venue, found 'ETC'"):
        read_book(other, venue=venue)
    lot = float(venue.instruments[0].lot_size)
    broken = positions(szi=[q * (1 + lot / 3) for q in positions()["szi"]])
    with pytest.raises(RecordingInvalid, match=r"row 0.*whole lots of") as refused:
        read_book(broken, venue=venue)
    assert "finer lot_size" in refused.value.hint


def test_loans_count_what_is_repeated_once_and_take_dollars_as_cash():
    book = read_book(loans(), prices=PRICES)
    assert book.loans
    assert all(isinstance(i, Spot) for i in book.opening.venue.instruments)
    assert equity(book) == pytest.approx(
        {"ann": 11_000.0, "bob": 4_500.0, "cid": 7_000.0}, abs=0.01
    )
    assert "repeated on 1 further row" in said(book)
    assert "taken as one USD each, and as cash: DAI, USDC" in said(book)


def test_thresholds_of_a_table_become_margins_of_stacks_that_do_not_name_its_assets():
    book = read_book(loans(), prices=PRICES)
    stack = book.completed(load_stack("loans"))
    tier = stack.margin.instruments["ETH"].tiers[0]
    assert (tier.maintenance, tier.initial) == (170_000, 220_000)
    assert stack.margin.instruments["ETH"].penalty == 50_000  # the stack's own word stays
    given = Given(all=GivenMarket(threshold=0.75, penalty=0.1))
    other = read_book(loans(), prices=PRICES, parameters=given).completed(load_stack("loans"))
    assert other.margin.instruments["ETH"].tiers[0].maintenance == 250_000
    assert other.margin.instruments["ETH"].penalty == 100_000


def test_a_worth_of_collateral_without_an_asset_is_one_asset_at_price_one():
    frame = pd.DataFrame({"user": ["a", "b"], "collateral": [100.0, 80.0], "debt": [60.0, 50.0]})
    book = read_book(frame)
    assert book.opening.symbols == ("COLLATERAL",)
    assert equity(book) == pytest.approx({"a": 40.0, "b": 30.0}, abs=1e-3)
    assert "no liquidation thresholds" in said(book)


@pytest.mark.parametrize("owed", ["debt_usd", "debtValue"])
def test_a_worth_beside_an_asset_is_divided_by_its_price(owed):
    frame = pd.DataFrame(
        {
            "user": ["a", "b"],
            "collateral_symbol": ["ETH", "ETH"],
            "collateral_usd": [20_000.0, 8_000.0],
            "debt_symbol": ["USDC", "WBTC"],
            owed: [9_000.0, 6_000.0],
        }
    )
    book = read_book(frame, prices=PRICES | {"WBTC": 60_000.0})
    assert equity(book) == pytest.approx({"a": 11_000.0, "b": 2_000.0}, abs=0.01)
    assert f"{owed} is taken as a worth in USD" in said(book)
    # The table's own price says how much there is; the operator's what it is worth now.
    own = frame.assign(collateral_price=[5_000.0, None])
    moved = read_book(own, prices=PRICES | {"WBTC": 60_000.0})
    assert equity(moved) == pytest.approx({"a": 7_000.0, "b": 2_000.0}, abs=0.01)
    with pytest.raises(RecordingInvalid, match=r"row 0.*found none for ETH"):
        read_book(frame.head(1))


def test_loans_in_assets_nobody_priced_can_be_left_out_aloud():
    frame = pd.concat(
        [
            loans(),
            pd.DataFrame(
                [("dee", "PEPE", 1e6, "USDC", 10.0, 5_000)], columns=list(loans().columns)
            ),
        ]
    )
    book = read_book(frame, prices=PRICES, leave_out=["unpriced"])
    assert "dee" not in book.opening.book.names
    assert "1 account with assets that nobody priced left out: PEPE" in said(book)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("leverage = -1", "leverage.*must lie within"),
        ("[all]\nthreshold = 83", r"all.threshold.*share within 0..1.*0.83"),
        ("[instruments.BTC]\ninitial = 0.01\nmaintenance = 0.02", "must not lie above initial"),
        ("[instruments.BTC]\ndepth = -1.0", "finite and >= 0"),
        ("lever = 3", "has no key of that name"),
    ],
)
def test_impossible_parameters_are_refused_with_file_and_key(tmp_path, text, what):
    file = tmp_path / "p.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=rf"(?s)p\.toml.*{what}"):
        read_parameters(file)


def test_parameters_of_strangers_are_refused():
    given = Given(instruments={"BTX": GivenMarket(depth=1.0)})
    with pytest.raises(ConfigInvalid, match=r"instruments.BTX.*(?s:.)*did you mean 'BTC'"):
        read_book(positions(), parameters=given)


@pytest.mark.parametrize(
    ("frame", "prices", "what"),
    [
        (positions(), {"BTCUSDT": 1.0}, "prices: BTCUSDT.*did you mean 'BTC'"),
        (positions(), {"btc": 1.0}, "prices: btc.*known: BTC, ETH"),
        (loans(), PRICES | {"WETH": 1.0}, "prices: WETH.*did you mean 'ETH'"),
        (loans(), PRICES | {"eth": 1.0}, "prices: eth.*one price an asset: ETH stood at 4000"),
    ],
)
def test_prices_of_strangers_and_two_of_one_asset_are_refused(frame, prices, what):
    with pytest.raises(ConfigInvalid, match=rf"(?s){what}"):
        read_book(frame, prices=prices)
    # An asset of loans is the same however it is spelt.
    assert read_book(loans(), prices={"eth": 4_000.0}).opening.symbols == ("ETH",)


def test_prices_come_from_a_table_that_says_one_of_each(tmp_path):
    file = tmp_path / "prices.csv"
    file.write_text("token,usd\nETH,4000\nBTC,1\nETH,4000\n", encoding="utf-8")
    assert read_prices(file) == {"ETH": 4_000.0, "BTC": 1.0}
    file.write_text("token,usd\nBTC,1\nETH,1\nETH,4000\n", encoding="utf-8")
    with pytest.raises(RecordingInvalid, match=r"row 2, column usd: one price.*ETH stood at 1"):
        read_prices(file)
    file.write_text("token,usd\nETH,0\n", encoding="utf-8")
    with pytest.raises(RecordingInvalid, match="row 0, column usd: a price must be above 0"):
        read_prices(file)


def test_parquet_and_csv_are_read_alike(tmp_path):
    frame = positions()
    frame.to_csv(tmp_path / "b.csv", index=False)
    frame.to_parquet(tmp_path / "b.parquet")
    first, second = (read_book(tmp_path / f"b.{end}") for end in ("csv", "parquet"))
    assert first.opening.book == second.opening.book
    for name, what in (("b.txt", "as .parquet or .csv"), ("none.csv", "must exist")):
        with pytest.raises(RecordingInvalid, match=what):
            read_book(tmp_path / name)


def test_a_recording_is_a_book_as_it_is(tmp_path):
    make(tmp_path / "r", accounts=100, seed=7)
    book = read_book(tmp_path / "r")
    assert book.opening.digest == Opening.of(load(tmp_path / "r")).digest
    with pytest.raises(ConfigInvalid, match="these options complete tables"):
        read_book(tmp_path / "r", balance_with="house")
    venue = read_book(positions()).opening.venue
    with pytest.raises(ConfigInvalid, match="must list the recording's instruments"):
        read_book(tmp_path / "r", venue=venue)


def test_a_real_table_that_arrow_cannot_read_is_refused_with_a_way_out(shared):
    file = shared / "data/aave_v2_steth_vs_stable_positions_2023_06.parquet"
    with pytest.raises(RecordingInvalid, match="write it again as CSV"):
        read_book(file)


def test_the_borrowers_of_2023_are_as_healthy_as_their_table_says(shared, tmp_path):
    for name in ("aave_v2_steth_positions_2023_06", "aave_v3_wsteth_positions_2023_06"):
        table = pl.read_parquet(shared / f"data/{name}.parquet")
        table.write_csv(tmp_path / f"{name}.csv")
        book = read_book(tmp_path / f"{name}.csv")
        worth = (table["collateral"] - table["debt"]).to_list()
        found = [equity(book)[user] for user in table["user"].to_list()]
        assert found == pytest.approx(worth, abs=2e-4)


def test_loans_have_no_other_side_to_balance():
    with pytest.raises(ConfigInvalid, match="loans have no other side"):
        read_book(loans(), balance_with="house")
