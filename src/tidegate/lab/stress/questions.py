"""What a board asks beside the distribution: how far until the fund is gone, where the cliff is.

Both are scripted shocks on the same book (`lab.breaking`): a minute down, a minute there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from tidegate.lab.breaking import SHAPE, Bench, Breaking, Place, Probe, along
from tidegate.lab.outcome import Outcome
from tidegate.lab.sample import Piece
from tidegate.lab.stress.plan import Plan
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
    places: list[Place] = []
    pieces: list[Piece] = []
    for stack, move, depth in product(plan.stacks, moves, depths):
        shock = replace(
            SHAPE, depth=depth, moves=tuple((s, move) for s in plan.book.opening.symbols)
        )
        places.append((stack.name, move, depth))
        pieces.append(Piece(plan.book.opening, (stack,), shock, plan.root, PATH))
    found = turned(pieces, workers=workers, cluster=cluster, keep=keep, done=done)
    return dict(zip(places, found, strict=True))


def breaking_points(plan: Plan, *, done: Counted = nobody) -> list[Point]:
    """Return how far all prices can move together, either way, before each fund is gone.

    A book of loans is asked downwards only: what its accounts hold is what falls.
    """
    ways = ("down",) if plan.book.loans else ("down", "up")
    out: list[Point] = []
    tried = 0

    def probed(_: Probe) -> None:
        nonlocal tried
        tried += 1
        done(tried, 0)

    for stack, way in product(plan.stacks, ways):
        out.append(_point(plan, stack, way, probed))
    return out


def _point(plan: Plan, stack: SafeguardStack, way: str, probed: Callable[[Probe], None]) -> Point:
    bench = Bench(plan.book.opening, stack, plan.root, on_probe=probed)
    furthest = FURTHEST[way]
    unit = np.full(len(plan.book.opening.symbols), np.sign(furthest))
    most = abs(float(np.log1p(furthest)))
    found: Breaking = along(bench, unit, most=most, tolerance=TOLERANCE, coarse=COARSE)
    sign = float(np.sign(furthest))
    broke = None if np.isinf(found.size) else float(np.expm1(sign * found.size))
    return Point(
        stack=stack.name,
        direction=way,
        move=broke,
        solid=float(np.expm1(sign * found.solid)),
        furthest=furthest,
        monotone=found.monotone,
    )
