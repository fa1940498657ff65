"""The same sweep by other means: each returns exact equity and maintenance of every account.

All take the same columns, hold them in their own form beforehand, and are timed from new marks to
both answers per account. The tiers, which all markets share here, may be written as constants.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from tidegate.domain.units import I64, PPM
from tidegate.engine.packed import Share
from tidegate.lab.bench.crowd import HELD, INSTRUMENTS, TICK_VALUE, Crowd
from tidegate.lab.bench.timing import installed


Sums = tuple[I64, I64]
Yardstick = Callable[[I64], Sums]


def yardsticks(crowd: Crowd, share: Share) -> dict[str, Yardstick]:
    """Return every yardstick whose library is here, ready to be timed."""
    makers: dict[str, Callable[[], Yardstick]] = {
        "numba_csr": lambda: numba_csr(crowd, share),
        "numpy": lambda: by_numpy(crowd),
        "scipy": lambda: by_scipy(crowd),
        "polars": lambda: by_polars(crowd),
        "duckdb": lambda: by_duckdb(crowd),
        "pandas": lambda: by_pandas(crowd),
    }
    return {
        name: make()
        for name, make in makers.items()
        if name in {"numba_csr", "numpy"} or installed(name)
    }


def _tiers(crowd: Crowd) -> tuple[I64, I64, I64]:
    """Return floors, rates and deductions of any market: they are all alike."""
    f, end = crowd.facts, int(crowd.facts.tier_start[1])
    return f.tier_floor[:end], f.tier_maintenance[:end], f.tier_maintenance_cum[:end]


def _rows(
    start: I64, instrument: I64, lots: I64, cost: I64, cash: I64, value: I64, floor: I64,
    rate: I64, cum: I64, first: int, last: int, equity: I64, required: I64,
) -> None:  # fmt: skip
    for account in range(first, last):
        own, due = cash[account], 0
        for p in range(start[account], start[account + 1]):
            gain = lots[p] * value[instrument[p]]
            size = abs(gain)
            tier = 0
            while tier + 1 < floor.size and size >= floor[tier + 1]:
                tier += 1
            own += gain - cost[p]
            due += -(-size * rate[tier] // PPM) - cum[tier]
        equity[account], required[account] = own, due


_csr = njit(nogil=True)(_rows)  # not cached: a yardstick is compiled when it is asked for


def numba_csr(crowd: Crowd, share: Share) -> Yardstick:
    """Return the plain compiled loop over rows of positions, shared among the same threads."""
    start = np.arange(crowd.accounts + 1) * HELD
    out = np.empty(crowd.accounts, np.int64), np.empty(crowd.accounts, np.int64)
    columns = start, crowd.instrument, crowd.lots, crowd.cost, crowd.cash

    def sweep(mark: I64) -> Sums:
        args = (*columns, mark * int(TICK_VALUE), *_tiers(crowd))
        share(lambda a, b: _csr(*args, a, b, *out), crowd.accounts)
        return out

    return sweep


def _due(size: I64, floor: I64, rate: I64, cum: I64) -> I64:
    """Return maintenance position by position, as NumPy would."""
    tier = np.searchsorted(floor, size, side="right") - 1
    return -(-size * rate[tier] // PPM) - cum[tier]


def by_numpy(crowd: Crowd) -> Yardstick:
    """Return whole columns, and sums over the rows of each account."""
    starts = np.arange(crowd.accounts) * HELD
    paid = crowd.cash - np.add.reduceat(crowd.cost, starts)

    def sweep(mark: I64) -> Sums:
        gain = crowd.lots * (mark * int(TICK_VALUE))[crowd.instrument]
        due = _due(np.abs(gain), *_tiers(crowd))
        return paid + np.add.reduceat(gain, starts), np.add.reduceat(due, starts)

    return sweep


def by_scipy(crowd: Crowd) -> Yardstick:
    """Return equity as one sparse product, exact in float64 here; tiers position by position."""
    sparse: Any = importlib.import_module("scipy.sparse")
    starts = np.arange(crowd.accounts + 1) * HELD
    shape = crowd.accounts, INSTRUMENTS
    # Copies: a matrix shares memory with its inputs, and some operations sort them in place.
    held = sparse.csr_matrix(
        (crowd.lots.astype(np.float64), crowd.instrument.copy(), starts), shape=shape
    )
    paid = crowd.cash - np.add.reduceat(crowd.cost, starts[:-1])

    def sweep(mark: I64) -> Sums:
        value = mark * int(TICK_VALUE)
        equity = paid + (held @ value.astype(np.float64)).astype(np.int64)
        due = _due(np.abs(crowd.lots) * value[crowd.instrument], *_tiers(crowd))
        return equity, np.add.reduceat(due, starts[:-1])

    return sweep


def by_polars(crowd: Crowd) -> Yardstick:
    """Return a lazy join with the marks and one group-by."""
    pl: Any = importlib.import_module("polars")
    columns = ("account", "instrument", "lots", "cost")
    frame = pl.DataFrame({c: getattr(crowd, c) for c in columns})
    size = (pl.col("lots") * pl.col("value")).abs()
    dues = [-(-size * int(r) // PPM) - int(c) for _, r, c in zip(*_tiers(crowd), strict=True)]
    ask = [
        (pl.col("lots") * pl.col("value") - pl.col("cost")).sum().alias("gain"),
        pl.max_horizontal(dues).sum().alias("due"),
    ]

    def sweep(mark: I64) -> Sums:
        value = pl.DataFrame({"instrument": np.arange(INSTRUMENTS), "value": mark * TICK_VALUE})
        plan = frame.lazy().join(value.lazy(), on="instrument").group_by("account").agg(ask)
        found = plan.sort("account").collect()
        return crowd.cash + found["gain"].to_numpy(), found["due"].to_numpy()

    return sweep


def by_duckdb(crowd: Crowd) -> Yardstick:
    """Return one SQL statement over prebuilt tables."""
    duckdb: Any = importlib.import_module("duckdb")
    arrow: Any = importlib.import_module("pyarrow")
    columns = ("account", "instrument", "lots", "cost")
    base = duckdb.connect()
    base.register("positions_in", arrow.table({c: getattr(crowd, c) for c in columns}))
    base.execute("create table positions as select * from positions_in")
    base.execute("create table marks(instrument bigint, value bigint)")
    dues = ", ".join(
        f"(abs(lots * value) * {int(r)} + {PPM - 1}) // {PPM} - {int(c)}"
        for _, r, c in zip(*_tiers(crowd), strict=True)
    )
    statement = (
        "select account, sum(lots * value - cost)::bigint gain, "  # noqa: S608 (numbers of our own)
        f"sum(greatest({dues}))::bigint due "
        "from positions join marks using (instrument) group by account order by account"
    )

    def sweep(mark: I64) -> Sums:
        rows = [(i, int(v)) for i, v in enumerate((mark * int(TICK_VALUE)).tolist())]
        base.execute("delete from marks")
        base.executemany("insert into marks values (?, ?)", rows)
        found = base.execute(statement).fetchnumpy()
        return crowd.cash + np.asarray(found["gain"]), np.asarray(found["due"])

    return sweep


def by_pandas(crowd: Crowd) -> Yardstick:
    """Return columns of a frame and one group-by."""
    pd: Any = importlib.import_module("pandas")
    frame = pd.DataFrame({"account": crowd.account})

    def sweep(mark: I64) -> Sums:
        gain = crowd.lots * (mark * int(TICK_VALUE))[crowd.instrument]
        frame["gain"] = gain - crowd.cost
        frame["due"] = _due(np.abs(gain), *_tiers(crowd))
        found = frame.groupby("account", sort=True)[["gain", "due"]].sum()
        return crowd.cash + found["gain"].to_numpy(), found["due"].to_numpy()

    return sweep
