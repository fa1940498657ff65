"""Paths through the true engine, spread by the farm: one worker against two."""

import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tidegate.domain.units import SECOND
from tidegate.drivers.recording import load
from tidegate.drivers.streams import Streams
from tidegate.drivers.synthetic import ACCOUNTS, make
from tidegate.lab import farm
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import timed
from tidegate.lab.bench.world import shipped
from tidegate.lab.opening import Opening
from tidegate.lab.outcome import Outcome
from tidegate.lab.turn import turn
from tidegate.lab.weather import Weather
from tidegate.safeguards.stack import SafeguardStack


NAMES = ("spread",)
PATHS: Final = 8
STEPS: Final = 12
FALL: Final = 0.3  # of every price, beside noise


class Chunk(NamedTuple):
    """One path: everything that it depends on."""

    opening: Opening
    stack: SafeguardStack
    path: int


def turned(chunk: Chunk) -> Outcome:
    """Return what came of one path; a worker's task."""
    opening, stack, path = chunk
    shape = (1, STEPS + 1, opening.marks.size)
    noise = Streams(7, path)["bench weather"].normal(0.0, 0.01, shape)
    noise[:, 0] = 0.0
    line = np.linspace(1.0, 1.0 - FALL, STEPS + 1)[None, :, None]
    weather = Weather(line * np.exp(noise), np.ones(shape), 10 * SECOND)
    return turn(opening, stack, weather, root=7, path=path)


def measure(scale: float) -> list[Result]:
    """Time the same paths here and on two workers, and half of them here.

    All outcomes are compared before anything is timed. Beginning the workers is timed apart: a long
    run pays for it once.
    """
    accounts = max(ACCOUNTS[0], round(400 * scale))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "book", accounts=accounts, seed=7)
        opening = Opening.of(load(Path(folder) / "book"))
    stack = shipped("guarded")
    chunks = [Chunk(opening, stack, path) for path in range(PATHS)]
    begun = time.perf_counter()
    with farm.hands(2) as crew:
        spread: dict[int, Outcome] = {}

        def two() -> None:
            spread.clear()
            crew.run(turned, chunks, range(PATHS), spread.__setitem__)

        two()
        begin = time.perf_counter() - begun
        here = farm.run(turned, chunks)
        assert [spread[n] for n in range(PATHS)] == here, "two workers differ from one process"
        sent, received = crew.sent, crew.received
        strong = timed(two).median
    one = timed(lambda: farm.run(turned, chunks)).median
    weak = timed(lambda: farm.run(turned, chunks[: PATHS // 2])).median
    also = {
        "strong_1_ms": 1e3 * one,
        "strong_2_ms": 1e3 * strong,
        "strong_efficiency": one / (2 * strong),
        "weak_1_ms": 1e3 * weak,
        "weak_2_ms": 1e3 * strong,
        "weak_efficiency": weak / strong,
        "bytes_out_a_path": sent / PATHS,
        "bytes_back_a_path": received / PATHS,
        "first_run_with_begin_ms": 1e3 * begin,
    }
    said = f"{PATHS} paths of {STEPS} steps through the engine, {accounts:,} accounts, guarded"
    said += " stack, 2 worker processes that are already there; work is a path"
    yardsticks = {"one process": one}
    result = found("spread", strong, work=PATHS, conditions=said, yardsticks=yardsticks, also=also)
    return [result]
