"""A small recording that is right in every respect, for tests to read and to spoil."""

import pyarrow as pa

from tidegate.domain.instrument import Linear, Spot
from tidegate.domain.venue import Limits, Market, Venue


START = 1_600_000_000_000_000_000
SECOND = 1_000_000_000

VENUE = Venue(
    name="tests",
    numeraire="USD",
    instruments=(
        Linear(
            symbol="BTC-PERP",
            tick_size="0.1",
            lot_size="0.001",
            tick_value=100,
            price_max=10_000_000,
            lots_max=1_000_000_000,
            open_interest_max=4_000_000_000,
        ),
        Spot(
            symbol="ETH",
            tick_size="0.01",
            lot_size="0.000001",
            units=1_000,
            tick_value=10,
            price_max=10_000_000,
            lots_max=1_000_000_000_000,
            open_interest_max=1_000_000_000_000,
        ),
    ),
    limits=Limits(accounts_max=64, positions_max=128),
    sources=("index", "venue"),
    markets=(Market(symbol="BTC-PERP", depth=1_000_000_000_000),),
)


def at(*seconds):
    """Return timestamps, in seconds after the start."""
    return [START + int(s * SECOND) for s in seconds]


def tables():
    """Return one valid table for every file of a recording."""
    return {
        "prices": pa.table(
            {
                "ts": at(0, 0, 0, 10, 20),
                "instrument": ["BTC-PERP", "BTC-PERP", "ETH", "BTC-PERP", "ETH"],
                "source": ["index", "venue", "index", "index", "index"],
                "price": [10_000.0, 10_000.1, 400.0, 9_900.0, 390.0],
                "confidence": [1.0, None, None, 0.11, None],
            }
        ),
        "accounts": pa.table(
            {
                "account": ["ann", "bob", "ann"],
                "asset": ["USD", "USD", "ETH"],
                "balance": [1_000.0, 500.5, 2.5],
            }
        ),
        "positions": pa.table(
            {
                "account": ["ann", "bob", "carl"],
                "instrument": ["BTC-PERP"] * 3,
                "quantity": [1.5, -1.0, -0.5],
                "entry_price": [9_800.0, 9_900.0, 10_100.0],
                "isolated_margin": [None, None, 700.0],
            }
        ),
        "loans": pa.table(
            {
                "account": ["dora", "eve", "eve"],
                "market": ["ETH", "ETH", "ETH2"],
                "collateral_asset": ["ETH", "ETH", "ETH"],
                "collateral": [10.0, 1.0, 2.0],
                "debt_asset": ["USD", "USD", "USD"],
                "debt": [2_000.0, 100.0, 200.0],
            }
        ),
        "trades": pa.table(
            {
                "ts": at(5),
                "instrument": ["BTC-PERP"],
                "price": [9_950.0],
                "quantity": [0.25],
                "aggressor": ["sell"],
            }
        ),
        "depth": pa.table(
            {
                "ts": at(0, 0, 0, 0),
                "instrument": ["BTC-PERP"] * 4,
                "side": ["bid", "bid", "ask", "ask"],
                "level": [0, 1, 0, 1],
                "price": [9_999.0, 9_998.0, 10_001.0, 10_002.0],
                "quantity": [1.0, 2.0, 1.0, 0.0005],
            }
        ),
        "flows": pa.table(
            {
                "ts": at(1, 1, 2, 3, 4),
                "seq": [0, 1, 2, 3, 4],
                "account": ["fred", "fred", "fred", "dora", "bob"],
                "kind": ["deposit", "open", "close", "borrow", "close"],
                "instrument": [None, "BTC-PERP", "BTC-PERP", None, "BTC-PERP"],
                "asset": [None, None, None, "USD", None],
                "quantity": [300.0, 0.02, 0.01, 50.0, 1.0],
                "price": [None, 10_000.0, 9_990.0, None, 9_980.0],
            }
        ),
        "parameters": pa.table(
            {
                "ts": at(0, 0, 8_000),
                "seq": [0, 1, 2],
                "name": ["interest.CASH", "margin.maintenance.BTC-PERP", "interest.CASH"],
                "value": [10_000, 5_000, 0],
            }
        ),
        "funding": pa.table({"ts": at(6), "instrument": ["BTC-PERP"], "rate": [0.0001]}),
        "liquidations": pa.table(
            {
                "ts": at(10),
                "account": ["ann"],
                "instrument": ["BTC-PERP"],
                "quantity": [0.5],
                "price": [9_900.0],
                "kind": ["market"],
            }
        ),
    }
