"""Tasks that tests give to workers: a worker imports them from here, as it would a user's."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from tidegate.drivers.streams import Streams


def drawn(chunk: tuple[int, int]) -> int:
    """Return the sum of draws of the paths in a piece."""
    return sum(
        int(Streams(7, path)["prices"].integers(0, 10**9, 5).sum()) for path in range(*chunk)
    )


def total(column: np.ndarray) -> int:
    return int(column.sum())


def dies_once(chunk: tuple[str, int]) -> int:
    """Kill the worker that begins chunk 3 for the first time, in the middle of it."""
    folder, n = chunk
    begun = Path(folder) / f"begun-{n}"
    first = not begun.exists()
    begun.touch()
    if n == 3 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def dies_always(chunk: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return chunk


def refuses(chunk: int) -> int:
    if chunk == 2:
        return int("not a number")
    return chunk


def slow_or_refuses(chunk: int) -> int:
    if chunk > 2:
        time.sleep(chunk)
    return refuses(chunk)


def unpicklable(chunk: int) -> object:
    return lambda: chunk


def counted(chunk: tuple[str, int]) -> tuple[int, int]:
    """Return the chunk's number squared, leaving a trace of each time that it is computed."""
    folder, n = chunk
    with (Path(folder) / "computed").open("a") as log:
        log.write(f"{n}\n")
    return n, n * n


def slow(chunk: float) -> int:
    time.sleep(chunk)
    return os.getpid()


def whose(chunk: int) -> tuple[int, int]:
    return chunk, os.getpid()
