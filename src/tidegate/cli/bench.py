"""`tidegate bench`: what the engine and the lab cost here, beside other libraries."""

import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tidegate.cli.say import identity, show, words


if TYPE_CHECKING:
    from tidegate.lab.bench.registry import Part
    from tidegate.lab.bench.result import Result

FINE, FINDING, INTERRUPTED = 0, 1, 130  # as `cli.main` says
# Thread pools read these once, when they are first imported: before anything heavy is.
POOLS: Final = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--out", type=click.Path(path_type=Path), help="Write that object to a file, too.")
@click.option("--only", multiple=True, metavar="NAME", help="Run this one; repeat it for more.")
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply all sizes; targets are judged at 1 only.",
)
@click.option("--threads", type=click.IntRange(min=1), help="For every library; default: all cores")
def bench(
    only: tuple[str, ...], scale: float, threads: int | None, out: Path | None, *, as_json: bool
) -> int:
    """Measure every figure beside yardsticks doing the same work in the same run.

    Medians of at least five runs; answers are checked equal before they are timed. An interrupt
    keeps what is done. Exit code 1 when answers differ.
    """
    if threads is not None:
        os.environ.update(dict.fromkeys(POOLS, str(threads)))
    from tidegate.lab.bench.registry import parts, use_threads  # noqa: PLC0415 - numpy, numba
    from tidegate.lab.bench.result import Report  # noqa: PLC0415 - ditto
    from tidegate.lab.bench.table import table  # noqa: PLC0415 - ditto
    from tidegate.lab.bench.timing import machine  # noqa: PLC0415 - ditto

    wanted, used = parts(only), use_threads(threads)
    identity(threads=str(used), scale=f"{scale:g}")
    report = Report(results=[], machine=machine(used, scale))

    def keep(found: "list[Result]") -> None:
        report.results.extend(found)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(report.encoded())

    code = FINDING
    try:
        code = _measure(wanted, scale, keep)
    finally:
        if as_json:
            show(report.encoded().decode())
        elif report.results:
            show(table(report.results, scale))
    return code


def _measure(wanted: "Sequence[Part]", scale: float, keep: "Callable[[list[Result]], None]") -> int:
    """Run part by part and hand each one's results to ``keep``; return the exit code."""
    from tidegate.lab.bench.registry import measured  # noqa: PLC0415 - numpy, numba

    code, begun = FINE, time.monotonic()
    for n, part in enumerate(wanted, 1):
        names = ", ".join(part.names)
        if part.missing:
            words(f"{n} of {len(wanted)}: {names} left out, {part.module} is not installed")
            continue
        words(f"{n} of {len(wanted)}: {names}, after {time.monotonic() - begun:.0f} s")
        try:
            keep(measured(part, scale))
        except KeyboardInterrupt:
            words("interrupted; what is done follows")
            return INTERRUPTED
        except AssertionError:
            # The other figures are worth having, and this one is not.
            traceback.print_exc()
            words(f"error: {names}: answers differ or a belief was wrong; see above")
            code = FINDING
    return code
