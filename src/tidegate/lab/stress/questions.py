"""What a board asks beside the distribution: how far until the fund is gone, where the cliff is.

Both are scripted shocks on the same book (`lab.breaking`): a minute down, a minute there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, log2
from pathlib import Path
from typing import Final

import numpy as np

from tidegate.lab import farm
from tidegate.lab.breaking import SHAPE, Bench, Breaking, Place, along
from tidegate.lab.farm import Keep, keep_for
from tidegate.lab.opening import Opening
from tidegate.lab.outcome import Outcome
from tidegate.lab.sample import Piece
from tidegate.lab.stress.kept import Kept
from tidegate.lab.stress.plan import Beside, Plan
from tidegate.lab.stress.run import Counted, nobody, turned
from tidegate.safeguards.stack import SafeguardStack


MOVES: Final = (-0.05, -0.1, -0.2, -0.3, -0.4, -0.6)
DEPTHS: Final = (1.0, 0.5, 0.25, 0.1)
FURTHEST: Final = {"down": -0.9, "up": 2.0}  # relative; further is not asked for
TOLERANCE: Final = 0.02  # of the logarithm of a price
COARSE: Final = 6
PATH: Final = 0


@dataclass(frozen=True, slots=True)
class Point:
    """Where a stack breaks when every price moves alike: the fund is gone at ``move``."""

    stack: str
    direction: str
    move: float | None  # relative; None where nothing up to the furthest broke it
    solid: float  # the largest move below it that did not
    furthest: float
    monotone: bool


def cliff_map(
    plan: Plan,
    *,
    moves: Sequence[float] = MOVES,
    depths: Sequence[float] = DEPTHS,
    workers: int = 1,
    cluster: str | None = None,
    keep: Path | None = None,
    done: Counted = nobody,
) -> dict[Place, Outcome]:
    """Return what each move costs at each share of depth, for every stack of the plan."""
    shocks = _shocks(plan, moves, depths)
    found = turned(list(shocks.values()), workers=workers, cluster=cluster, keep=keep, done=done)
    return dict(zip(shocks, found, strict=True))


def _shocks(plan: Plan, moves: Sequence[float], depths: Sequence[float]) -> dict[Place, Piece]:
    pieces: dict[Place, Piece] = {}
    for stack, move, depth in product(plan.stacks, moves, depths):
        shock = replace(
            SHAPE, depth=depth, moves=tuple((s, move) for s in plan.book.opening.symbols)
        )
        piece = Piece(plan.book.opening, (stack,), shock, plan.root, PATH)
        pieces[stack.name, move, depth] = piece
    return pieces


@dataclass(frozen=True, slots=True)
class Question:
    """How far all prices may move one way under one stack: everything its answer depends on."""

    opening: Opening
    stack: SafeguardStack
    root: int
    direction: str


def breaking_points(
    plan: Plan,
    *,
    workers: int = 1,
    cluster: str | None = None,
    keep: Path | None = None,
    done: Counted = nobody,
) -> list[Point]:
    """Return how far all prices can move together, either way, before each fund is gone.

    A book of loans is asked downwards only: what its accounts hold is what falls.
    """
    asked = _asked(plan)
    store = _store(asked, keep)
    return farm.run(answered, asked, workers=workers, cluster=cluster, on_done=done, keep=store)


def _asked(plan: Plan) -> list[Question]:
    ways = ("down",) if plan.book.loans else ("down", "up")
    return [
        Question(plan.book.opening, stack, plan.root, way)
        for stack, way in product(plan.stacks, ways)
    ]


def _store(asked: Sequence[Question], keep: Path | None) -> Keep | None:
    return None if keep is None else keep_for(keep / "points", answered, asked)


def answered(question: Question) -> Point:
    """Return the breaking point along one direction; a task for `farm.run`."""
    bench = Bench(question.opening, question.stack, question.root)
    furthest = FURTHEST[question.direction]
    unit = np.full(len(question.opening.symbols), np.sign(furthest))
    most = abs(float(np.log1p(furthest)))
    found: Breaking = along(bench, unit, most=most, tolerance=TOLERANCE, coarse=COARSE)
    sign = float(np.sign(furthest))
    broke = None if np.isinf(found.size) else float(np.expm1(sign * found.size))
    return Point(
        stack=question.stack.name,
        direction=question.direction,
        move=broke,
        solid=float(np.expm1(sign * found.solid)),
        furthest=furthest,
        monotone=found.monotone,
    )


def runs_beside(plan: Plan, *, workers: int = 1, keep: Path | None = None) -> Beside:
    """Return how many runs the cliff and the breaking points take at most; kept ones are done.

    A run is taken to cost what a path of the first world costs, step for step.
    """
    store = Kept(keep)
    shocks = sum(store.get(each) is None for each in _shocks(plan, MOVES, DEPTHS).values())
    asked = _asked(plan)
    points = _store(asked, keep)
    open_ = [q for n, q in enumerate(asked) if points is None or points.get(n) is None]
    probes = [_probes(question) for question in open_]
    runs, busy = shocks + sum(probes), max(1, workers)
    longest = -(-shocks // busy) + -(-len(probes) // busy) * max(probes, default=0)
    symbols = plan.book.opening.symbols
    steps = plan.worlds[0].weather(plan.root, [plan.paths[0]], symbols).steps
    return Beside(runs, min(runs, longest) * (SHAPE.fall + SHAPE.hold) / max(1, steps))


def _probes(question: Question) -> int:
    """Return the most runs that one breaking point takes: equal steps, then halvings."""
    interval = abs(float(np.log1p(FURTHEST[question.direction]))) / COARSE
    return COARSE + max(0, ceil(log2(interval / TOLERANCE)))
