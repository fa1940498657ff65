"""Turn a plan: first what is kept, then pilots here to judge the rest by, then the workers."""

import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from tidegate.lab.farm import hands
from tidegate.lab.outcome import Outcome
from tidegate.lab.sample import Piece, outcomes_of
from tidegate.lab.stress.kept import Kept
from tidegate.lab.stress.plan import NOTHING, Beside, Forecast, Plan, forecast
from tidegate.lab.study import Study


PILOTS: Final = 2  # the first path loads what is compiled; the second one is judged by


Counted = Callable[[int, int], None]
Ready = Callable[[int, int, float, Outcome | None], None]


def nobody(_done: int, _of: int) -> None:
    """Tell nobody."""


class Hearer:
    """Who is told how a stress goes; this one listens to nothing."""

    def begins(self, plan: Plan, found: Forecast) -> None:
        """Hear what is left to do, once: after the pilots, before the bulk."""

    def done(self, paths: int, of: int) -> None:
        """Hear how many paths are finished, those that were kept included."""

    def asked(self, what: str, done: int, of: int) -> None:
        """Hear of what is asked beside the paths: how much of it is done."""


NOBODY: Final = Hearer()


def run(
    plan: Plan,
    *,
    workers: int = 1,
    cluster: str | None = None,
    keep: Path | None = None,
    hearer: Hearer = NOBODY,
    beside: Beside = NOTHING,
) -> tuple[Study, ...]:
    """Return a study of every world of the plan, in its order.

    Parameters
    ----------
    plan
        From `planned`.
    workers, cluster
        Who computes, see `farm.run`; the answer is the same.
    keep
        Where finished paths are kept: the same plan, or a larger one, goes on from them. An
        interrupt loses only the paths that were being turned.
    hearer
        Told the forecast, and the progress.
    beside
        What is asked of the same workers afterwards: it is part of the forecast.
    """
    pieces = plan.pieces()

    def ready(kept: int, pilots: int, seconds: float, sample: Outcome | None) -> None:
        left = len(pieces) - kept - pilots
        found = forecast(
            plan,
            kept=kept,
            pilots=pilots,
            seconds=seconds,
            workers=min(workers, max(1, left, beside.runs)),
            process=_resident(),
            sample=sample,
            beside=beside,
        )
        hearer.begins(plan, found)

    found = turned(
        pieces, workers=workers, cluster=cluster, keep=keep, ready=ready, done=hearer.done
    )
    return _studies(plan, pieces, found)


def turned(
    pieces: Sequence[Piece],
    *,
    workers: int = 1,
    cluster: str | None = None,
    keep: Path | None = None,
    ready: Ready | None = None,
    done: Counted = nobody,
) -> list[Outcome]:
    """Return the outcome of every piece, each of one stack; finished ones are kept.

    ``ready`` is told, before the bulk begins, how many were kept, how many were turned as pilots,
    the seconds that the last of them took, and an outcome; ``done`` how many of how many are
    finished.
    """
    store = Kept(keep)
    found: dict[int, Outcome] = {}
    for n, piece in enumerate(pieces):
        known = store.get(piece)
        if known is not None:
            found[n] = known
    left = [n for n in range(len(pieces)) if n not in found]

    def finished(n: int, outcomes: list[Outcome]) -> None:
        (found[n],) = outcomes
        store.put(pieces[n], outcomes[0])
        done(len(found), len(pieces))

    seconds = 0.0
    for n in left[:PILOTS]:
        begun = perf_counter()
        outcomes = outcomes_of(pieces[n])
        seconds = perf_counter() - begun
        finished(n, outcomes)
    if ready is not None:
        pilots = len(left[:PILOTS])
        ready(len(found) - pilots, pilots, seconds, next(iter(found.values()), None))
    rest = left[PILOTS:]
    if rest:
        with hands(min(workers, len(rest)), cluster) as crew:
            crew.run(outcomes_of, pieces, rest, finished)
    return [found[n] for n in range(len(pieces))]


def _resident() -> int:
    """Return the most memory that this process has held, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1_024


def _studies(plan: Plan, pieces: Sequence[Piece], found: Sequence[Outcome]) -> tuple[Study, ...]:
    by: dict[tuple[str, str], list[Outcome]] = {}
    for piece, outcome in zip(pieces, found, strict=True):
        by.setdefault((piece.world.name, piece.stacks[0].name), []).append(outcome)
    names = tuple(stack.name for stack in plan.stacks)
    return tuple(
        Study(
            opening_digest=plan.book.opening.digest,
            world=world.name,
            stacks=names,
            root=plan.root,
            outcomes={name: by[world.name, name] for name in names},
        )
        for world in plan.worlds
    )
