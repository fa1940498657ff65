"""Words on stderr, who is running and how far it is; styled text where a terminal reads it."""

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from tidegate import __version__


LINE_EVERY: Final = 5.0  # seconds between two lines where there is no terminal

Tick = Callable[[int], None]


def words(text: str) -> None:
    """Print one line for people."""
    click.echo(text, err=True)


def show(text: str) -> None:
    """Print styled text on stdout; styles go where there is no terminal, or where NO_COLOR asks."""
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)


def identity(**facts: str) -> None:
    """Print what is running on what: the version first, then each fact."""
    said = [f"{name.replace('_', ' ')} {value}" for name, value in facts.items()]
    words(", ".join([f"tidegate {__version__}", *said]))
    cache = Path(os.environ.get("NUMBA_CACHE_DIR", ""))
    if not any(cache.rglob("*.nbi")):  # the folder itself is there as soon as numba is imported
        words("compiling the kernels; only the first run does that, and it takes about a minute")


@contextmanager
def progress(label: str, total: int, of: str = "events") -> Generator[Tick]:
    """Show how far one run is; the yielded function is told how many (of what) are done.

    A bar on a terminal; otherwise a line every few seconds, so that a log stays readable.
    """
    if sys.stderr.isatty():
        with _bar(label, total) as tick:
            yield tick
    else:
        with _lines(label, total, of) as tick:
            yield tick


@contextmanager
def _bar(label: str, total: int) -> Generator[Tick]:
    from rich.console import Console  # noqa: PLC0415 - 0.2 s that --help should not pay
    from rich.progress import (  # noqa: PLC0415 - ditto
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)

        def tick(done: int) -> None:
            bar.update(task, completed=done)

        yield tick
        tick(total)


@contextmanager
def _lines(label: str, total: int, of: str) -> Generator[Tick]:
    begun = said = time.monotonic()
    first = -1  # what was done before anybody counted says nothing of the pace

    def tick(done: int) -> None:
        nonlocal said, first
        now = time.monotonic()
        first = done if first < 0 else first
        if now - said >= LINE_EVERY:
            said = now
            share = 100 * done / total if total else 100
            left = (now - begun) * (total - done) / (done - first) if done > first else 0.0
            more = f", about {left:.0f} s left" if left else ""
            words(f"{label}: {share:.0f} % of {total:,} {of}, {now - begun:.0f} s{more}")

    yield tick
    words(f"{label}: {total:,} {of} in {time.monotonic() - begun:.1f} s")
