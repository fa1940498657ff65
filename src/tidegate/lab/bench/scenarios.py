"""Ten thousand scenarios of a hundred thousand accounts: one pass beside products of matrices."""

import importlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from tidegate.drivers.streams import Streams
from tidegate.drivers.threads import cores
from tidegate.lab.bench.processor import cpu_seconds
from tidegate.lab.bench.result import Result
from tidegate.lab.bench.timing import timed
from tidegate.lab.kernels.scenarios import BLOCK, F64
from tidegate.lab.scenario_losses import Exposures, scenario_losses, tail_of, tail_shares


NAMES: Final[tuple[str, ...]] = ("scenarios",)
SCENARIOS, ACCOUNTS, FACTORS, LEVEL = 10_000, 100_000, 50, 0.99
AGREED: Final = 1e-11  # relative difference of any scenario's loss that counts as equal
LOOPED: Final = 1_000  # accounts a NumPy pass takes at once


class World(NamedTuple):
    """A book and what its factors do in each scenario."""

    book: Exposures
    returns: F64  # [scenarios, factors]


def world(scenarios: int, accounts: int) -> World:
    """Return a book of one to five positions an account, and fat-tailed factor returns."""
    draw = Streams(7, 0)
    g = draw["book"]
    count = g.integers(1, 6, accounts)
    start = np.concatenate([[0], np.cumsum(count)])
    value = g.normal(0.0, 1e4, int(start[-1]))
    slot = g.integers(0, FACTORS, value.size).astype(np.uint8)
    gross = np.add.reduceat(np.abs(value), start[:-1])
    equity = gross * np.exp(g.normal(np.log(0.12), 0.8, accounts))
    w = draw["weather"]
    shock = w.standard_t(4, (scenarios, 1)) * 0.02 + w.standard_t(4, (scenarios, FACTORS)) * 0.02
    return World(Exposures(equity, start.astype(np.int64), slot, value), shock)


def dense(book: Exposures) -> F64:
    """Return the book as a matrix of accounts and factors."""
    out = np.zeros((book.equity.size, FACTORS))
    account = np.repeat(np.arange(book.equity.size), np.diff(book.start))
    np.add.at(out, (account, book.slot), book.value)
    return out


def by_product(w: World, matrix: Any) -> F64:  # noqa: ANN401 - an array or a sparse matrix
    """Return the losses by matrix products of blocks of scenarios, dense or sparse."""
    out = np.zeros(w.returns.shape[0])
    for s in range(0, out.size, 250):
        left = matrix @ w.returns[s : s + 250].T
        left += w.book.equity[:, None]
        np.minimum(left, 0.0, out=left)
        out[s : s + 250] = -left.sum(axis=0)
    return out


def by_gathers(w: World) -> F64:
    """Return the losses by NumPy's own means: gathered returns, summed by account."""
    out = np.zeros(w.returns.shape[0])
    book, move = w.book, np.ascontiguousarray(w.returns.T)
    for a in range(0, book.equity.size, LOOPED):
        begin, end = book.start[a], book.start[min(a + LOOPED, book.equity.size)]
        gain = book.value[begin:end, None] * move[book.slot[begin:end]]
        left = np.add.reduceat(gain, book.start[a : a + LOOPED] - begin, axis=0)
        left += book.equity[a : a + LOOPED, None]
        out -= np.minimum(left, 0.0).sum(axis=0)
    return out


def measure(scale: float = 1.0) -> list[Result]:
    """Check that all answers agree, then time ours and the others."""
    w = world(max(BLOCK, int(SCENARIOS * scale)), max(2 * LOOPED, int(ACCOUNTS * scale)))
    ours = scenario_losses(w.book, w.returns)
    matrix, sparse = dense(w.book), importlib.import_module("scipy.sparse")
    rows = sparse.csr_matrix(matrix)
    others: dict[str, Callable[[], F64]] = {
        "blas_f64": lambda: by_product(w, matrix),
        "scipy_csr": lambda: by_product(w, rows),
    }
    fewer = World(w.book, w.returns[: max(BLOCK, len(w.returns) // 20)])
    worst = 0.0
    for other in [*others.values(), lambda: by_gathers(fewer)]:
        said = other()
        worst = max(worst, float(np.abs(said / ours[: said.size] - 1).max()))
    assert worst < AGREED, f"the losses differ by {worst:.1e}"
    t = timed(lambda: scenario_losses(w.book, w.returns))
    times = {name: timed(other).median for name, other in others.items()}
    part = len(w.returns) / len(fewer.returns)
    times["numpy_gathers"] = timed(lambda: by_gathers(fewer)).median * part
    tail = tail_of(ours, LEVEL)
    shares = timed(lambda: tail_shares(w.book, w.returns, tail))
    cells = float(w.returns.shape[0] * w.book.equity.size)
    return [
        Result(
            name="scenarios",
            seconds=t.median,
            per_second=cells / t.median,
            yardsticks=times,
            ratio=min(times.values()) / t.median,
            conditions=(
                f"{w.returns.shape[0]:,} scenarios x {w.book.equity.size:,} accounts "
                f"({w.book.value.size:,} positions, {FACTORS} factors), float64, "
                f"{cores()} threads, cells/s; losses agree to {worst:.0e}; "
                f"numpy_gathers on 1/{part:.0f} of the scenarios, times that; "
                f"fastest {t.fastest:.3f} s"
            ),
            also={
                "var99": tail.var,
                "es99": tail.shortfall,
                "tail_shares_seconds": shares.median,
                "cpu_seconds": cpu_seconds(lambda: scenario_losses(w.book, w.returns)),
            },
        )
    ]
