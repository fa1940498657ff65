"""How a tick's cost grows with the book: the safe-distance index beside two full sweeps.

`python bench/growth.py` measures 10,000 to 10,000,000 accounts, prints the table and writes
docs/images/tick-growth.svg; sizes may be given as arguments. Costs are CPU time of all threads
together, which other jobs on the machine move little.
"""

import gc
import os
import sys
from pathlib import Path

import matplotlib as mpl
import numba
import numpy as np
from matplotlib import pyplot as plt

from tidegate.drivers.threads import Threads
from tidegate.lab.bench.sweep import cpu
from tidegate.lab.bench.sweep_yardsticks import numba_csr
from tidegate.lab.bench.tick import MOVE, ticking


HERE = Path(__file__).parent.parent
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
NAMES = ("safe-distance tick", "packed sweep", "compiled loop over rows")
COLOURS = ("#0b7285", "#5c940d", "#d9480f")


def costs(accounts: int) -> tuple[list[float], int]:
    """Return CPU seconds of a 0.5 % tick by each way, all with the same list; who was checked."""
    of = ticking(accounts, numba.get_num_threads())
    people, prices = of.people, of.people.moved(MOVE, "tick")
    facts, args = people.facts, {"mark": prices, "low": prices, "high": prices}
    with Threads(numba.get_num_threads()) as share:
        csr = numba_csr(people, share)
        full = of.book.liquidatable(facts, **args, share=share)
        assert of.look(prices).tolist() == full.tolist()
        assert full.tolist() == np.flatnonzero(np.less(*csr(prices))).tolist()
        return [
            cpu(lambda: of.look(prices), 1_001),
            cpu(lambda: of.book.liquidatable(facts, **args, share=share), 21),
            cpu(lambda: np.flatnonzero(np.less(*csr(prices))), 11),
        ], of.index.checked


def draw(sizes: list[int], rows: list[list[float]]) -> None:
    """Write the picture."""
    mpl.rcParams |= {"svg.hashsalt": "tidegate", "font.size": 9, "svg.fonttype": "none"}
    fig, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for name, colour, line in zip(NAMES, COLOURS, zip(*rows, strict=True), strict=True):
        axis.plot(sizes, [1e6 * s for s in line], "o-", color=colour, lw=1.8, label=name)
    axis.set(xscale="log", yscale="log", xlabel="accounts, three positions each")
    axis.set_title("CPU microseconds for one tick of 0.5 %", fontsize=9, loc="left")
    axis.grid(visible=True, alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    fig.savefig(HERE / "docs/images/tick-growth.svg", metadata={"Date": None})


def main() -> None:
    """Measure, print, draw."""
    sizes = [int(size) for size in sys.argv[1:]] or list(SIZES)
    rows = []
    print(f"{'accounts':>12}" + "".join(f"{name:>26}" for name in NAMES) + f"{'checked':>10}")
    for size in sizes:
        row, checked = costs(size)
        rows.append(row)
        cells = "".join(f"{1e6 * seconds:>23,.1f} us" for seconds in row)
        print(f"{size:>12,}{cells}{checked:>10,}", flush=True)
        gc.collect()
    print(f"CPU time of all threads; load average {os.getloadavg()[0]:.1f}")
    draw(sizes, rows)


if __name__ == "__main__":
    main()
