"""What a tuned stack is worth where it was not tuned: on paths and in worlds it has never seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import optuna

from tidegate import __version__
from tidegate.domain.units import PPM
from tidegate.lab.farm import keep_for, run
from tidegate.lab.measures import (
    CONFIDENCE,
    Estimate,
    Tail,
    mean,
    probability,
    saved,
    shortfall_saved,
    tail,
)
from tidegate.lab.sample import Piece, outcomes_of
from tidegate.lab.study import Study
from tidegate.lab.tunable_marks import SCALE
from tidegate.lab.tuning import OBJECTIVES, Question, Search, fresh_paths
from tidegate.lab.weather import World
from tidegate.safeguards.stack import SafeguardStack


SEEN: Final = "tuned on"
NEW_PATHS: Final = "same world, unseen paths"
NEW_WORLD: Final = "unseen world"


class Row(NamedTuple):
    """Both stacks on the same paths of one world; amounts are Money, margins ppm."""

    kind: str
    world: str
    before: Tail
    after: Tail
    tail_saved: Estimate  # paired
    harm_saved: Estimate  # paired
    harm_before: Estimate
    harm_after: Estimate
    insolvency_before: Estimate
    insolvency_after: Estimate
    margin_before: float
    margin_after: float
    first_path: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A proposal and how it fared, in the worlds it was tuned on and in those it was not."""

    number: int  # the trial
    stack: SafeguardStack
    rows: tuple[Row, ...]

    def unseen(self) -> list[Row]:
        """Return what counts: everything that the search did not see."""
        return [row for row in self.rows if row.kind != SEEN]


class _Pair(NamedTuple):
    question: Question
    stacks: tuple[SafeguardStack, SafeguardStack]
    scale: int  # of the second one's margins, ppm of the first's
    world: World
    paths: tuple[int, ...]


def _study(pair: _Pair) -> Study:
    names = tuple(stack.name for stack in pair.stacks)
    asked, root = pair.question, pair.question.root
    books = asked.opening, asked.book(pair.scale)
    found = [
        [
            outcomes_of(Piece(book, (stack,), pair.world, root, path))[0]
            for book, stack in zip(books, pair.stacks, strict=True)
        ]
        for path in pair.paths
    ]
    return Study(
        opening_digest=asked.opening.digest,
        world=pair.world.name,
        stacks=names,
        root=root,
        outcomes={name: [each[k] for each in found] for k, name in enumerate(names)},
    )


def judge(
    search: Search,
    number: int,
    worlds: Sequence[World],
    *,
    paths: int,
    workers: int = 1,
    cluster: str | None = None,
    on_done: Callable[[int, int], None] | None = None,
    kept: Path | None = None,
) -> Judged:
    """Return how the stack of a trial fares against the present one; ``worlds`` are the unseen.

    Finished worlds are ``kept`` in that folder, so that an interrupt loses one at most.
    """
    asked = search.question
    stack = search.stack(number)
    fresh = fresh_paths(asked, paths)
    plan: list[tuple[str, World, tuple[int, ...]]] = []
    plan += [(SEEN, world, asked.paths) for world in asked.worlds]
    plan += [(NEW_PATHS, world, fresh) for world in asked.worlds]
    plan += [(NEW_WORLD, world, fresh) for world in worlds]
    scale = search.trials[number].values.get(SCALE, PPM)
    pairs = [_Pair(asked, (asked.stack, stack), scale, world, which) for _, world, which in plan]
    found = run(
        _study,
        pairs,
        workers=workers,
        cluster=cluster,
        on_done=on_done,
        keep=keep_for(kept, _study, pairs) if kept is not None else None,
    )
    kinds = [kind for kind, _, _ in plan]
    rows = [_row(kind, found[n], asked.level) for n, kind in enumerate(kinds)]
    return Judged(number, stack, tuple(rows))


def _row(kind: str, study: Study, level: float) -> Row:
    before, after = study.stacks
    losses = study.losses(before), study.losses(after)
    return Row(
        kind=kind,
        world=study.world,
        before=tail(losses[0], None, level),
        after=tail(losses[1], None, level),
        tail_saved=shortfall_saved(losses[1], losses[0], level),
        harm_saved=saved(study, after, before, "user_harm"),
        harm_before=mean(study.column(before, "user_harm")),
        harm_after=mean(study.column(after, "user_harm")),
        insolvency_before=probability(study.column(before, "insolvent") > 0),
        insolvency_after=probability(study.column(after, "insolvent") > 0),
        margin_before=float(study.column(before, "initial_margin").mean()),
        margin_after=float(study.column(after, "initial_margin").mean()),
        first_path=study.paths[0],
    )


def evidence(search: Search, judged: Judged | None, command: str) -> dict[str, Any]:
    """Return everything a sceptic needs as JSON: digests, seeds, every trial, every interval."""
    asked = search.question
    return {
        "tidegate": __version__,
        "optuna": optuna.__version__,
        "question": asked.digest,
        "book": asked.opening.digest,
        "assumed": list(asked.opening.notes),
        "stack": {"name": asked.stack.name, "digest": asked.stack.digest},
        "objectives": list(OBJECTIVES),
        "level": asked.level,
        "response": asked.response,
        "confidence": CONFIDENCE,
        "seed": asked.root,
        "paths": list(asked.paths),
        "worlds": [world.name for world in asked.worlds],
        "parameters": [p._asdict() for p in asked.parameters],
        "now": search.now._asdict(),
        "trials": [
            {
                "number": t.number,
                "values": t.values,
                "scores": t.scores._asdict() if t.scores else None,
                "refused": t.refused,
            }
            for t in search.trials
        ],
        "front": list(search.front),
        "proposed": _proposed(judged) if judged else None,
        "command": command,
    }


def _proposed(judged: Judged) -> dict[str, Any]:
    return {
        "trial": judged.number,
        "name": judged.stack.name,
        "digest": judged.stack.digest,
        "held_out": [_plain(row) for row in judged.rows],
    }


def _plain(row: Row) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if isinstance(value, Tail):
            out[name] = {k: _ends(v) for k, v in value._asdict().items()}
        else:
            out[name] = _ends(value)
    return out


def _ends(value: object) -> object:
    """Return a number as JSON can say it: an interval by its ends, an infinite one as null."""
    if isinstance(value, Estimate):
        return {k: _ends(v) for k, v in value._asdict().items()}
    return None if isinstance(value, float) and not isfinite(value) else value


def encoded(found: dict[str, Any]) -> bytes:
    """Return evidence as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2)
