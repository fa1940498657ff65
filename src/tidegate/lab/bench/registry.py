"""Which module measures what: an explicit table, imported only as far as it is asked for."""

import importlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Final, NamedTuple, cast

import msgspec
import numba

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.bench.result import Result
from tidegate.lab.bench.timing import Load


# name: module below tidegate.lab.bench, in the order in which they are run and printed
BENCHES: Final[dict[str, str]] = {
    "sweep_1m": "sweep",
    "tick_1m": "tick",
    "profile_1m": "profile",
    "scenarios": "scenarios",
    "paths_single": "paths",
    "paths_multi": "paths",
    "decide_50k": "decide",
    "journal": "journal",
    "first_run": "first_run",
    "step_100k": "step",
    "replay": "replay",
    "scale": "scale",
}


class Part(NamedTuple):
    """One module's share of a run."""

    names: tuple[str, ...]  # asked of it
    module: str

    @property
    def missing(self) -> bool:
        """Whether this installation lacks the module."""
        return find_spec(self.module) is None


def parts(only: Sequence[str]) -> list[Part]:
    """Return the modules to run for these names (all where there are none), each of them once."""
    for name in only:
        if name not in BENCHES:
            raise ConfigInvalid(
                where="--only", what=f"must be one of {', '.join(BENCHES)}", found=repr(name)
            )
    asked: dict[str, list[str]] = {}
    for name, module in BENCHES.items():
        if not only or name in only:
            asked.setdefault(module, []).append(name)
    return [Part(tuple(names), f"{__package__}.{module}") for module, names in asked.items()]


def measured(part: Part, scale: float) -> list[Result]:
    """Run one module and return what it found of what was asked, how busy the machine was included.

    ``scale`` multiplies the sizes; targets hold at 1 only. A module measures all its names, because
    they share a book.
    """
    module = importlib.import_module(part.module)
    measure = cast("Callable[[float], list[Result]]", module.measure)
    with Load() as load:
        results = measure(scale)
    assert [r.name for r in results] == list(module.NAMES), f"{part.module} names other results"
    return [
        msgspec.structs.replace(r, conditions=f"{r.conditions}; {load.words}")
        for r in results
        if r.name in part.names
    ]


def use_threads(threads: int | None) -> int:
    """Let kernels use so many threads, if numba began with as many; return how many they have."""
    if threads is not None:
        with suppress(ValueError):  # more than there were when numba was imported
            numba.set_num_threads(threads)
    return numba.get_num_threads()
