"""A sharded book that answers prices: each worker keeps its shards, the totals are joined.

Shards lie in a folder that every worker can read, and a worker loads those that are its own once. A
price then costs what its messages hold: marks out, totals and the liquidatable accounts back. Who
answers is no part of the answer: a worker that dies is replaced, and its successor loads again.
"""

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64
from tidegate.lab import farm
from tidegate.lab.farm_code import code_digest
from tidegate.lab.shards import Assess, Prepare, Shard, Totals, cut, joined, totals


class Question(NamedTuple):
    """Some shards and one moment's prices."""

    folder: str
    digest: str
    numbers: tuple[int, ...]
    mark: I64  # [instruments]
    low: I64
    high: I64


class Answer(NamedTuple):
    """What all accounts come to at one moment, and who is liquidatable."""

    totals: Totals
    account: I64  # rows of the liquidatable in the whole book, ascending
    equity: I64  # theirs, Money, and so on
    required: I64
    best: I64


class _Resident(NamedTuple):
    digest: str
    shards: dict[int, tuple[I64, Assess]]


# What this process has loaded: of one book at a time, or the shards of books gone by would stay.
_resident = _Resident("", {})


def answer(question: Question) -> Answer:
    """Assess some shards; a worker's task. A shard is loaded when it is met for the first time."""
    return joined_answers([_answer(question, number) for number in question.numbers])


def _answer(question: Question, number: int) -> Answer:
    rows, assess = _loaded(question.folder, question.digest, number)
    health = assess(question.mark, question.low, question.high)
    found = FIRST_USER + np.flatnonzero(health.best[FIRST_USER:] < 0)
    columns = (health.equity[found], health.required[found], health.best[found])
    return Answer(totals(health), rows[found], *columns)


def joined_answers(answers: Sequence[Answer]) -> Answer:
    """Return one answer for all: totals added, accounts in the order of the whole book."""
    account = np.concatenate([a.account for a in answers])
    order = np.argsort(account)
    equity, required, best = (
        np.concatenate([getattr(a, name) for a in answers])[order]
        for name in ("equity", "required", "best")
    )
    return Answer(joined(a.totals for a in answers), account[order], equity, required, best)


def _loaded(folder: str, digest: str, number: int) -> tuple[I64, Assess]:
    global _resident  # noqa: PLW0603 - a worker's memory between two questions
    if _resident.digest != digest:
        _resident = _Resident(digest, {})
    if number not in _resident.shards:
        kept = farm.Keep(Path(folder), digest).get(number)
        if kept is None:
            raise ConfigInvalid(
                where=folder,
                what=f"every worker must be able to read shard {number}",
                found="nothing, or a damaged file",
            )
        shard, prepare = kept
        _resident.shards[number] = (shard.rows, prepare(shard.book, shard.facts))
    return _resident.shards[number]


class ShardedBook:
    """A book in shards and the workers that hold them; a `with` block ends the workers."""

    def __init__(
        self,
        book: Book,
        facts: Facts,
        prepare: Prepare,
        *,
        shards: int,
        folder: Path,
        workers: int = 1,
        cluster: str | None = None,
    ) -> None:
        """Write the shards and begin the workers.

        ``prepare`` must pickle: a function at the top of a module, or a frozen object of one.
        """
        self._folder = folder
        parts = cut(book, facts, shards)
        self.digest = _digest(parts, prepare)
        keep = farm.Keep(folder, self.digest)
        for n, part in enumerate(parts):
            if keep.get(n) is None:
                keep.put(n, (part, prepare))
        self._crew: Any = farm.hands(workers, cluster)
        groups = self._crew.size
        numbers = [tuple(range(k, shards, groups)) for k in range(min(groups, shards))]
        self._groups = numbers  # one message for all shards of a worker

    def __enter__(self) -> Self:
        """Return the book."""
        self._crew.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers."""
        self._crew.__exit__(kind, error, trace)

    @property
    def sent(self) -> int:
        """Bytes of all questions so far; none where everything is computed here."""
        return self._crew.sent

    @property
    def received(self) -> int:
        """Bytes of all answers so far."""
        return self._crew.received

    def assess(self, *, mark: I64, low: I64, high: I64) -> Answer:
        """Return what the whole book comes to at these prices."""
        questions = [
            Question(str(self._folder), self.digest, numbers, mark, low, high)
            for numbers in self._groups
        ]
        found: dict[int, Answer] = {}
        which = range(len(questions))
        self._crew.run(answer, questions, which, found.__setitem__, pinned=True)
        return joined_answers([found[n] for n in which])


def _digest(parts: list[Shard], prepare: Prepare) -> str:
    """Return a name for these shards, this layout and this code."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(code_digest().encode())
    digest.update(pickle.dumps(prepare, protocol=5))
    for part in parts:
        for column in (part.rows, *part.book, *part.facts):
            digest.update(f"{column.dtype} {column.size}\n".encode())
            digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
