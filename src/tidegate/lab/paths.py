"""Many paths of one venue: what each of them comes to, whatever the chunks and threads."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from queue import SimpleQueue
from typing import Self, TypeAlias

import numpy as np

from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.units import I64, SECOND
from tidegate.drivers.threads import cores
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk
from tidegate.lab.kernels.rng import F64, key_of
from tidegate.lab.kernels.run import run_path
from tidegate.lab.kernels.walk import walk
from tidegate.lab.path_model import PathModel, another, become
from tidegate.lab.workers import Progress, in_threads


@dataclass(frozen=True, slots=True)
class Walks:
    """Correlated geometric random walks: path n is a function of (root, n, stream) alone."""

    root: int
    paths: int
    steps: int
    first: I64  # [instruments] Ticks
    drift: F64  # [instruments] log return a step
    load: F64  # [instruments, factors] of a step's standard normals
    begin: int = 0  # number of the first path: chunks of a larger run name theirs
    stream: str = "price"

    def path(self, n: int, price_max: I64) -> I64:
        """Return the prices of path ``begin + n``, [steps, instruments] ticks."""
        out = np.empty((self.steps, self.first.size), np.int64)
        # Python's integers have no width: without this every other key would be taken for signed.
        key = np.uint64(key_of(self.root, self.begin + n, zlib.crc32(self.stream.encode())))
        walk(key, self.first, self.drift, self.load, price_max, out)
        return out


Prices: TypeAlias = I64 | Walks  # [paths, steps, instruments] ticks, or how to draw them


@dataclass(frozen=True, slots=True)
class PathTotals:
    """What each path came to; [paths], Money unless said otherwise."""

    bad_debt: I64  # what nobody paid
    fund_used: I64  # paid by the tranches
    socialised: I64
    deleveraged: I64  # notional of winners' positions closed
    forgone: I64  # by those winners, against the mark
    forced: I64  # notional sold or bought at the venue
    netted: I64  # notional of closes that met one another
    penalties: I64
    stages: I64  # a count
    liquidated: I64  # accounts ever closed by force, a count
    rung_max: I64  # the breaker's highest rung
    fund_left: I64
    events: I64  # prices that moved a mark, a count
    looks: I64  # exact looks at an account, a count: what pruning left to do

    @classmethod
    def of(cls, totals: I64) -> Self:
        """Return the columns of [paths, TOTALS] by name."""
        assert len(fields(cls)) == c.TOTALS
        return cls(*np.ascontiguousarray(totals.T))


def run_paths(
    model: PathModel,
    prices: Prices,
    *,
    step_ns: int = SECOND,
    threads: int | None = None,
    chunk: int = 8,
    progress: Progress | None = None,
) -> PathTotals:
    """Run every path from the model's first moment; steps are ``step_ns`` apart.

    Prices are without the displacement of forced trades, which the model's laws add. ``progress``
    is called as (chunks done, of) after each ``chunk`` of paths. Neither chunks nor threads are
    part of the answer. Raise CapacityExceeded where a step's orders do not fit the venue's slots.
    """
    paths = _paths(model, prices)
    out = np.zeros((paths, c.TOTALS), np.int64)
    spare: SimpleQueue[Desk] = SimpleQueue()
    for _ in range(threads or cores()):
        spare.put(another(model.first))

    def work(first: int) -> None:
        desk = spare.get()
        try:
            for n in range(first, min(first + chunk, paths)):
                become(desk, model.first)
                _run(model, desk, _path(model, prices, n), step_ns)
                out[n] = desk.total
        finally:
            spare.put(desk)  # or those who wait for one would wait for ever

    in_threads(work, range(0, paths, chunk), threads, progress)
    return PathTotals.of(out)


def trail_of(model: PathModel, price: I64, *, step_ns: int = SECOND) -> tuple[I64, Desk]:
    """Return the trail of one path of [steps, instruments] prices, and the desk it ended with.

    Rows are (kind, ...) as `kernels.cells` names them.
    """
    rows = 1_024
    while True:
        desk = another(model.first)._replace(trail=np.zeros((rows, c.TRAIL_WIDTH), np.int64))
        _run(model, desk, price, step_ns)
        used = int(desk.cell[c.N_TRAIL])
        if used <= rows:
            return desk.trail[:used], desk
        rows = 2 * used


def split(paths: int, parts: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, many) of nearly equal chunks, for workers that each run a part."""
    cuts = np.linspace(0, paths, parts + 1).astype(int).tolist()
    yield from ((a, b - a) for a, b in pairwise(cuts))


def _paths(model: PathModel, prices: Prices) -> int:
    given = prices.first.size if isinstance(prices, Walks) else prices.shape[2]
    if given != model.instruments:
        raise ConfigInvalid(
            where="prices", what=f"must be of {model.instruments} instruments", found=str(given)
        )
    if isinstance(prices, Walks):
        return prices.paths
    most = model.first.fact[:, c.PRICE_MAX]
    if prices.size and not (prices.min() > 0 and (prices <= most).all()):
        raise ConfigInvalid(where="prices", what="must lie within 1..price_max", found="one beyond")
    return prices.shape[0]


def _path(model: PathModel, prices: Prices, n: int) -> I64:
    if isinstance(prices, Walks):
        return prices.path(n, np.ascontiguousarray(model.first.fact[:, c.PRICE_MAX]))
    return np.ascontiguousarray(prices[n])


def _run(model: PathModel, desk: Desk, price: I64, step_ns: int) -> None:
    if run_path(desk, price, model.now, step_ns):
        slots = int(desk.rule[c.ORDERS_MAX])
        msg = f"orders_max = {slots:_} slots are fewer than one step's orders"
        raise CapacityExceeded(msg)
