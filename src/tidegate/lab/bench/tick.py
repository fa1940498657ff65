"""One tick of the safe-distance index over a million accounts, beside the sweeps it replaces."""

from dataclasses import dataclass

import numba
import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.units import I64
from tidegate.domain.venue import Limits
from tidegate.drivers.threads import Threads
from tidegate.engine.packed import PackedBook
from tidegate.engine.safe_distance import SafeDistance
from tidegate.lab.bench.crowd import HELD, INSTRUMENTS, Crowd, crowd, scaled
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.sweep import cpu, packed
from tidegate.lab.bench.sweep_yardsticks import numba_csr
from tidegate.lab.bench.timing import repeated, timed


NAMES = ("tick_1m",)
MOVE = 0.005
TICKS = 200  # of one run
RUNS = 11


@dataclass(frozen=True, slots=True)
class Ticking:
    """A crowd, its packed book, and an index anchored at the crowd's marks."""

    people: Crowd
    book: PackedBook
    index: SafeDistance

    def look(self, mark: I64) -> I64:
        """Return whom one tick finds."""
        self.index.looked = 0  # always the same tick: this is not what makes an anchor old
        return self.index.tick(self.people.facts, mark=mark, low=mark, high=mark)


def ticking(accounts: int, threads: int) -> Ticking:
    """Return the index over a crowd of so many accounts."""
    people = crowd(accounts)
    index = SafeDistance(Book.empty(Limits(accounts_max=accounts, positions_max=8), INSTRUMENTS))
    book = packed(people)
    with Threads(threads) as share:
        index.start(
            book, people.facts, mark=people.mark, low=people.mark, high=people.mark, share=share
        )
    return Ticking(people, book, index)


def measure(scale: float) -> list[Result]:
    """Time a 0.5 % tick: the move, the search, the exact check of whom it passed, the list."""
    threads = numba.get_num_threads()
    of = ticking(scaled(1_000_000, scale), threads)
    people, prices = of.people, of.people.moved(MOVE, "tick")
    args = {"mark": prices, "low": prices, "high": prices}
    with Threads(threads) as share:
        csr = numba_csr(people, share)
        full = of.book.liquidatable(people.facts, **args, share=share)
        assert of.look(prices).tolist() == full.tolist(), "another list than the sweep's"
        assert full.tolist() == np.flatnonzero(np.less(*csr(prices))).tolist()
        checked = of.index.checked
        tick = repeated(lambda: of.look(prices), times=TICKS, runs=RUNS)
        others = {
            "packed_sweep": timed(
                lambda: of.book.liquidatable(people.facts, **args, share=share)
            ).median,
            "numba_csr": timed(lambda: np.flatnonzero(np.less(*csr(prices)))).median,
        }
        also = {"fastest": tick.fastest, "cpu": cpu(lambda: of.look(prices), TICKS)}
        for part in (0.001, 0.02):
            there = people.moved(part, "tick")
            found_there = of.book.liquidatable(people.facts, mark=there, low=there, high=there)
            assert of.look(there).tolist() == found_there.tolist()
            also[f"move_{part:g}"] = repeated(lambda m=there: of.look(m), times=20).median
        also["anchor"] = timed(
            lambda: of.index.anchor_here(
                people.facts, mark=people.mark, low=people.mark, high=people.mark, share=share
            )
        ).median
    said = (
        f"{people.accounts:,} accounts x {HELD} positions, {INSTRUMENTS} markets that move by up "
        f"to {100 * MOVE:g} % each by itself; {checked:,} accounts checked exactly, {full.size:,} "
        "liquidatable; one thread; anchoring "
        f"anew takes {threads} threads; yardsticks make the same list"
    )
    return [
        found(
            "tick_1m",
            tick.median,
            work=people.accounts,
            conditions=said,
            yardsticks=others,
            also=also,
        )
    ]
