"""The synthetic October against the published aggregates of the real one, as a table.

`python bench/calibration.py [ACCOUNTS] [SEEDS]` makes the recording, replays it under the bare
stack and prints Markdown for docs/concepts/simulated-venue.md: published, the first seed, and the
range over all seeds. Published numbers are read from the test vectors, never typed here.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tidegate.drivers.aftermath import Aftermath
from tidegate.drivers.recording import load
from tidegate.drivers.replay import replay
from tidegate.drivers.synthetic import PUBLISHED_ACCOUNTS, make
from tidegate.safeguards.stack import SafeguardStack, Stack


HERE = Path(__file__).parent.parent
MILLION = 1e12  # Money


def published():
    """Return the published numbers by the name they have in our table."""
    text = (HERE / "tests/vectors/event_calibration_oct10.json").read_text(encoding="utf-8")
    vectors = {v["id"][-3:]: v["expected"] for v in json.loads(text)["vectors"]}
    notional, ticker, users, debt = (vectors[n] for n in ("002", "003", "004", "005"))
    liquidated, adl = notional["liquidated_usd"], notional["adl_usd"]
    five = [ticker[s] for s in ("BTC", "ETH", "SOL", "HYPE", "XPL")]
    return {
        "liquidated, the deleveraged side included (million)": liquidated / 1e6,
        "deleveraged (million)": adl / 1e6,
        "deleveraged over both (%)": 100 * notional["adl_share_of_total"],
        "  BTC, of the five (%)": 100 * five[0] / sum(five),
        "  ETH": 100 * five[1] / sum(five),
        "  SOL": 100 * five[2] / sum(five),
        "  HYPE": 100 * five[3] / sum(five),
        "  XPL": 100 * five[4] / sum(five),
        "first deleveraging after the first liquidation (s)": 61.0,
        "last deleveraging after the first liquidation (s)": vectors["009"][
            "last_adl_s_after_start"
        ],
        "shortfall of accounts below zero (million)": -debt["negative_equity_usd"] / 1e6,
        "shortfall over liquidated (%)": -100 * debt["negative_equity_usd"] / liquidated,
        "accounts below zero": debt["negative_equity_accounts"],
        "winners deleveraged, accounts": users["accounts"],
        "median leverage of the deleveraged": users["median_leverage"],
        "longs, of liquidated (%)": None,
        "shorts, of the deleveraged winners (%)": None,
        "deepest price impact of forced trades (%)": None,
    }


def ours(accounts, seed, folder):
    """Return the same numbers of one synthetic crash, money and accounts at the venue's scale."""
    make(folder, accounts=accounts, seed=seed)
    history = load(folder)
    stack = Stack.bind(SafeguardStack.load(HERE / "src/tidegate/stacks/bare.toml"), history.venue)
    after = Aftermath(len(history.venue.instruments))
    run = replay(history, stack, observers=[after.observe])
    scale = PUBLISHED_ACCOUNTS / accounts
    adl = after.deleveraged.sum()
    five = 100 * after.deleveraged / adl
    last = (after.deleveraged_until - after.ordered_at) / 1e9
    return [
        after.forced * scale / MILLION,
        adl * scale / MILLION,
        100 * after.deleveraged_share,
        *five.tolist(),
        after.delay,
        last,
        after.shortfall * scale / MILLION,
        100 * after.shortfall / after.forced,
        len(after.bankrupt) * scale,
        len(after.winners) * scale,
        float(np.median(after.leverage)),
        100 * after.longs / after.forced,
        100 * after.winners_short / adl,
        run.verdict.peak_impact_ppm / 1e4,
    ]


def main():
    """Print the table."""
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seeds = [7, *range(1, int(sys.argv[2]) if len(sys.argv) > 2 else 4)]
    with tempfile.TemporaryDirectory() as folder:
        runs = np.array([ours(accounts, seed, Path(folder) / str(seed)) for seed in seeds])
    print(f"| | published | seed {seeds[0]} | {len(seeds)} seeds |\n|---|---|---|---|")
    for n, (name, said) in enumerate(published().items()):
        low, high = runs[:, n].min(), runs[:, n].max()
        digits = 2 if high < 10 else 0 if high >= 1_000 else 1
        shown = "-" if said is None else f"{said:,.{digits}f}"
        first, low, high = (f"{x:,.{digits}f}" for x in (runs[0, n], low, high))
        print(f"| {name} | {shown} | {first} | {low} .. {high} |")


if __name__ == "__main__":
    main()
