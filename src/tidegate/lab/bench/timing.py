"""Stopwatches: the median of several runs, and how much of the machine somebody else had."""

import gc
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, Self

from tidegate.lab.bench.result import Machine


RUNS_MIN: Final = 5
NAMED: Final = ("numpy", "numba", "scipy", "polars", "duckdb", "pandas", "distributed")
_STEAL: Final = 7  # the eighth figure of the first line of /proc/stat


class Timing(NamedTuple):
    """Seconds of several runs of the same work."""

    median: float
    fastest: float
    slowest: float
    runs: int


def timed(
    work: Callable[[], object],
    *,
    runs: int = RUNS_MIN,
    warm: int = 1,
    before: Callable[[], object] | None = None,
) -> Timing:
    """Run ``work`` and return what it took; ``before`` prepares each run and is not counted.

    The first ``warm`` runs count for nothing: they compile and fill caches. The garbage collector
    rests while the clock runs, and clears up between two runs instead.
    """
    assert runs >= RUNS_MIN, f"a median of fewer than {RUNS_MIN} runs says little"
    taken: list[float] = []
    for n in range(warm + runs):
        if before is not None:
            before()
        gc.collect()
        resting = gc.isenabled()
        gc.disable()
        try:
            begun = time.perf_counter()
            work()
            seconds = time.perf_counter() - begun
        finally:
            if resting:
                gc.enable()
        if n >= warm:
            taken.append(seconds)
    return Timing(statistics.median(taken), min(taken), max(taken), runs)


def repeated(work: Callable[[], object], *, times: int, runs: int = RUNS_MIN) -> Timing:
    """Return what one call takes of work too short for a clock: each run makes ``times`` calls."""

    def many() -> None:
        for _ in range(times):
            work()

    t = timed(many, runs=runs)
    return Timing(t.median / times, t.fastest / times, t.slowest / times, runs)


def installed(package: str) -> bool:
    """Return whether a yardstick's package is here; a benchmark leaves out what is not.

    Yardsticks are no dependencies of ours: they are imported by `importlib.import_module`, after
    this was asked.
    """
    return find_spec(package) is not None


class Load:
    """Watches the machine while a benchmark runs; `words` say who else was at work.

    Where the system keeps no /proc/stat, only the load average is known.
    """

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._begun, self._ticks, self._own = time.perf_counter(), _ticks(), _own_seconds()
        self.words = ""
        return self

    def __exit__(self, *_: object) -> None:
        """Put into words what was seen."""
        seconds = max(time.perf_counter() - self._begun, 1e-9)
        said = [f"load average {os.getloadavg()[0]:.1f}"] if hasattr(os, "getloadavg") else []
        if self._ticks and (after := _ticks()):
            busy, stolen = after[0] - self._ticks[0], after[1] - self._ticks[1]
            others = max(0.0, (busy - (_own_seconds() - self._own)) / seconds)
            said.append(f"others took {others:.1f} of {os.cpu_count()} cores")
            said.append(f"{100 * stolen / seconds / (os.cpu_count() or 1):.0f} % stolen")
        self.words = ", ".join(said)


def _own_seconds() -> float:
    """Return the CPU seconds of this process and of the children it has waited for."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _ticks() -> tuple[float, float] | None:
    """Return CPU seconds that all processes have used so far and those the host kept; or None."""
    with suppress(OSError, ValueError):
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
        user, nice, system, _, _, *rest = (int(cell) for cell in first.split()[1:])
        hertz = os.sysconf("SC_CLK_TCK")
        interrupts, stolen = sum(rest[:2]), rest[_STEAL - 5]
        return (user + nice + system + interrupts) / hertz, stolen / hertz
    return None


def machine(threads: int, scale: float) -> Machine:
    """Return this machine; ``threads`` is what kernels were allowed."""
    versions: dict[str, str] = {}
    for package in NAMED:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=threads,
        scale=scale,
        memory_gib=round(pages / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=versions,
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
