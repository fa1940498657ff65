"""Small books as data frames: two markets with longs and shorts that match, and a few loans."""

import pandas as pd


def positions(**changed):
    """Return twelve accounts, half of them long; columns replaced, or left out where None."""
    rows = []
    for n in range(12):
        symbol, price, unit = (("BTC", 100_000.0, 0.5), ("ETH", 4_000.0, 10.0))[n % 2]
        long = n % 4 < 2
        rows.append(
            {
                "user": f"trader-{n:02d}",
                "coin": symbol,
                "szi": unit if long else -unit,
                "entryPx": price * (1.0 + 0.002 * (n - 6)),
                "markPx": price,
                "accountValue": unit * price * (0.04 + 0.01 * n),
            }
        )
    frame = pd.DataFrame(rows)
    for name, values in changed.items():
        frame = frame.drop(columns=name) if values is None else frame.assign(**{name: values})
    return frame


def loans():
    """Return loans against ETH: one with two debts on which the collateral is repeated."""
    return pd.DataFrame(
        {
            "borrower": ["ann", "ann", "bob", "cid"],
            "collateral_symbol": ["ETH"] * 4,
            "collateral_amount": [10.0, 10.0, 5.0, 2.0],
            "borrowed_symbol": ["USDC", "DAI", "USDC", "USDC"],
            "borrow_balance": [20_000.0, 9_000.0, 15_500.0, 1_000.0],
            "liquidation_threshold": [8_300, 8_300, 8_300, 8_300],
        }
    )
