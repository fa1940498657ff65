"""How long a pre-trade check takes, and what its base costs: print the table of the docs.

`python bench/service_pretrade.py [accounts] [checks]`
"""

import sys
import time

import numpy as np

from tidegate.domain.book import EXTERNAL, FIRST_USER
from tidegate.domain.events import Traded
from tidegate.drivers.streams import Streams
from tidegate.lab.bench.world import PRICE, world
from tidegate.lab.marginal import copy_for_base
from tidegate.service.pretrade import Desk, PreTradeSettings, look
from tidegate.service.pretrade_say import answered


ACCOUNTS, CHECKS, WARM = 100_000, 2_000, 50


def pretrade(accounts=ACCOUNTS, checks=CHECKS):
    """Return milliseconds by name: p50 and p99 of each part, and single durations."""
    state, stack = world(accounts)
    desk = Desk(stack, PreTradeSettings(es_add_max=1e6))
    begun = time.perf_counter()
    copy = copy_for_base(state)
    copied = time.perf_counter() - begun
    desk.renew(copy)  # compiles
    begun = time.perf_counter()
    desk.renew(copy)
    renewed = time.perf_counter() - begun
    draw = Streams(7, 0)["bench pretrade"]
    account = draw.integers(0, accounts, checks + WARM)
    lots = draw.integers(1, 500, checks + WARM) * draw.choice((-1, 1), checks + WARM)
    crank, beside = [], []
    for k in range(checks + WARM):
        order = Traded(
            ts=state.now,
            instrument=k % 3,
            taker=FIRST_USER + int(account[k]),
            maker=EXTERNAL,
            lots=int(lots[k]),
            price=PRICE,
        )
        begun = time.perf_counter()
        seen = look(state, stack, order)
        middle = time.perf_counter()
        answered(desk, seen, state.names)
        crank.append(middle - begun)
        beside.append(time.perf_counter() - middle)
    parts = {"on the crank thread": crank, "beside it": beside}
    parts["together"] = [a + b for a, b in zip(crank, beside, strict=True)]
    found = {
        name: [1e3 * float(np.quantile(values[WARM:], q)) for q in (0.5, 0.99)]
        for name, values in parts.items()
    }
    return found | {"copy for a base": [1e3 * copied], "base": [1e3 * renewed]}


def main():
    given = [int(word) for word in sys.argv[1:]]
    accounts = given[0] if given else ACCOUNTS
    print(f"| {accounts:,} accounts, three positions each | p50 ms | p99 ms |")
    print("|---|---|---|")
    for name, values in pretrade(*given).items():
        cells = [f"{v:.2f}" for v in values] + [""] * (2 - len(values))
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
