"""The full sweep of a million accounts, beside six other ways to compute it."""

import statistics
import time
from collections.abc import Callable

import numba
import numpy as np

from tidegate.domain.units import I64
from tidegate.drivers.threads import Threads
from tidegate.engine.packed import PackedBook, Share, alone
from tidegate.kernels.packing import pack_columns
from tidegate.lab.bench.crowd import HELD, INSTRUMENTS, Crowd, crowd, scaled
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.sweep_yardsticks import Yardstick, yardsticks
from tidegate.lab.bench.timing import timed


NAMES = ("sweep_1m",)
RUNS = 21  # of ours; others take five


def packed(of: Crowd) -> PackedBook:
    """Return a crowd in packed form."""
    return PackedBook.of(
        pack_columns(
            cash=of.cash,
            account=of.account,
            instrument=of.instrument,
            lots=of.lots,
            cost=of.cost,
            facts=of.facts,
            mark=of.mark,
        )
    )


def measure(scale: float) -> list[Result]:
    """Time the list of liquidatable accounts, and all outputs; every answer compared first."""
    people = crowd(scaled(1_000_000, scale))
    book, mark = packed(people), people.moved(0.005, "sweep")
    prices = {"mark": mark, "low": mark, "high": mark}
    with Threads(numba.get_num_threads()) as share:
        others = yardsticks(people, share)
        prove(book, people, mark, others, share)
        took = {
            name: timed(lambda way=way: np.flatnonzero(np.less(*way(mark)))).median
            for name, way in others.items()
        }
        listed = timed(
            lambda: book.liquidatable(people.facts, **prices, share=share), runs=RUNS, warm=3
        )
        full = timed(lambda: book.assess(people.facts, **prices, share=share), runs=RUNS, warm=3)
        one = timed(lambda: book.liquidatable(people.facts, **prices, share=alone), runs=RUNS)
        one_full = timed(lambda: book.assess(people.facts, **prices, share=alone), runs=RUNS)
        also = {
            "all_outputs": full.median,
            "list_cpu": cpu(lambda: book.liquidatable(people.facts, **prices, share=alone)),
            "all_outputs_cpu": cpu(lambda: book.assess(people.facts, **prices, share=alone)),
            "numba_csr_cpu": cpu(lambda: others["numba_csr"](mark)),
            "list_fastest": listed.fastest,
            "all_outputs_fastest": full.fastest,
            "list_one_thread": one.median,
            "all_outputs_one_thread": one_full.median,
            "numba_csr_all_outputs": timed(lambda: others["numba_csr"](mark)).median,
        }
        threads = share.n
    lots, slot = book.packed.lots.dtype, book.packed.slot.dtype
    said = (
        f"{people.accounts:,} accounts x {HELD} positions, {INSTRUMENTS} markets, 6 tiers, exact; "
        f"list of the liquidatable ones, {threads} threads, {lots} lots and {slot} slots; "
        "all outputs in packed order; yardsticks make the same list from both sums"
    )
    return [
        found(
            "sweep_1m",
            listed.median,
            work=people.accounts,
            conditions=said,
            yardsticks=took,
            also=also,
        )
    ]


def cpu(work: Callable[[], object], runs: int = RUNS) -> float:
    """Return the median CPU seconds of ``work``, all threads together: little moved by other jobs.

    Divided by the threads it is what the work would take on a machine of its own, at the best.
    """
    taken: list[float] = []
    for _ in range(runs):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return statistics.median(taken)


def prove(
    book: PackedBook, of: Crowd, mark: I64, others: dict[str, Yardstick], share: Share = alone
) -> None:
    """Assert that everybody computes the same, account by account."""
    ours = book.assess(of.facts, mark=mark, low=mark, high=mark, share=share)
    equity, required = np.empty_like(of.cash), np.empty_like(of.cash)
    equity[ours.account], required[ours.account] = ours.equity, ours.required
    listed = book.liquidatable(of.facts, mark=mark, low=mark, high=mark, share=share)
    assert listed.tolist() == np.flatnonzero(equity < required).tolist()
    assert listed.size, "a benchmark in which nobody is found proves nothing"
    for name, way in others.items():
        theirs = way(mark)
        assert (theirs[0] == equity).all(), f"{name} has another equity"
        assert (theirs[1] == required).all(), f"{name} has another requirement"
