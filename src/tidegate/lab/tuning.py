"""A search for better numbers of a stack: tail loss against margin asked against harm to users.

Optuna's TPE proposes, the true engine answers, the journal of the search lies on disk. Nothing of
it depends on when it was interrupted or on how many work: trials come in batches of a fixed size,
and each is drawn with a seed of its own from what all batches before it have found.
"""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM
from tidegate.drivers.streams import Streams
from tidegate.lab.farm import hands
from tidegate.lab.farm_code import code_digest
from tidegate.lab.measures import LEVEL, expected_shortfall
from tidegate.lab.opening import Opening
from tidegate.lab.rescale import levered
from tidegate.lab.sample import Piece, outcomes_of
from tidegate.lab.study import Study
from tidegate.lab.tunable import Parameter, in_order, with_values
from tidegate.lab.tunable_marks import SCALE
from tidegate.lab.weather import World
from tidegate.safeguards.stack import SafeguardStack


BATCH: Final = 4  # trials that do not see one another; a number of the search, not of the machine
MARGIN_GRAIN: Final = 100  # ppm: what a path moves the average by is no efficiency
HELD_OUT: Final = 1_000_000  # the first path that no search sees
BENEATH: Final = ("optuna", "arch")  # beside those of `code_digest`
DONE: Final = (TrialState.COMPLETE, TrialState.FAIL)
OBJECTIVES: Final = ("tail", "margin", "harm")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Question:
    """Everything the answer depends on, the number of trials aside."""

    opening: Opening
    stack: SafeguardStack
    parameters: tuple[Parameter, ...]
    worlds: tuple[World, ...]
    root: int
    paths: tuple[int, ...]
    level: float = LEVEL
    response: float = 1.0  # how far leverage follows margins: 0 not at all, 1 all the way

    def book(self, scale: int) -> Opening:
        """Return the book once everybody has answered to margins times ``scale`` ppm.

        A book is what its margins let it be. With a response of 1 each account keeps its distance
        from its requirement: half the margin, twice the leverage. With 0 nobody reacts, lower
        margins then look free, and higher ones liquidate people on the spot.
        """
        factor = (PPM / scale) ** self.response
        return self.opening if factor == 1 else levered(self.opening, factor)

    @property
    def digest(self) -> str:
        """Identity of the question: a search goes on only where it is the same.

        A world counts with all that it holds, such as what was fitted to a file: the same words
        over other data are another question. So are other versions of what proposes and fits.
        """
        facts = (
            self.opening.digest,
            self.stack.digest,
            [tuple(p) for p in self.parameters],
            [(w.name, w.describe(), pickle.dumps(w, protocol=5)) for w in self.worlds],
            self.root,
            self.paths,
            self.level,
            self.response,
            BATCH,
            [(package, version(package)) for package in BENEATH],
            code_digest(),
        )
        encoded = msgspec.msgpack.Encoder(order="deterministic").encode(facts)
        return hashlib.blake2b(encoded, digest_size=8).hexdigest()


class Scores(NamedTuple):
    """What a stack is judged by; less is better in each."""

    tail: float  # Money, expected shortfall of the loss, in the worst of the worlds
    margin: float  # ppm, average initial margin: what capital efficiency costs
    harm: float  # Money, mean harm to users, in the worst of the worlds


class Trial(NamedTuple):
    """One set of numbers that was tried."""

    number: int
    values: dict[str, int]
    scores: Scores | None  # None where the stack was refused
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search has found so far."""

    question: Question
    now: Scores  # the stack as it is
    trials: tuple[Trial, ...]
    front: tuple[int, ...]  # numbers of trials that no other beats in everything

    def stack(self, number: int) -> SafeguardStack:
        """Return the stack of a trial, under a name of its own."""
        named = f"{self.question.stack.name}-tuned"
        tried = with_values(self.question.stack, self.trials[number].values)
        return msgspec.structs.replace(tried, name=named)

    @property
    def pick(self) -> int | None:
        """Return the trial to propose; None where the present stack stands unbeaten.

        Among those no worse in any objective, the one that improves most, summed over objectives as
        shares of the present score. Where there is none, the same among all of the front: it then
        buys something with something else, and the proposal has to say what.
        """
        tried = [(n, self.trials[n].scores) for n in self.front]
        gains = {n: gains_of(self.now, s) for n, s in tried if s is not None}
        never_worse = {n: g for n, g in gains.items() if min(g) >= 0 and max(g) > 0}
        ranked = never_worse or {n: g for n, g in gains.items() if sum(g) > 0}
        return max(ranked, key=lambda n: (sum(ranked[n]), -n)) if ranked else None


def gains_of(now: Scores, scores: Scores) -> tuple[float, float, float]:
    """Return by which share each objective is better than now; negative where it is worse."""

    def gain(before: float, after: float) -> float:
        return (before - after) / before if before else -float(after > 0)

    return (
        gain(now.tail, scores.tail),
        gain(now.margin, scores.margin),
        gain(now.harm, scores.harm),
    )


class Job(NamedTuple):
    """One stack in one world, for whoever computes it."""

    question: Question
    stack: SafeguardStack
    scale: int  # of its margins, ppm of the present ones
    world: int


def study_of(job: Job) -> Study:
    """Return the study of one stack in one of the question's worlds."""
    asked, world = job.question, job.question.worlds[job.world]
    book = asked.book(job.scale)
    found = [
        outcomes_of(Piece(book, (job.stack,), world, asked.root, path))[0] for path in asked.paths
    ]
    return Study(
        opening_digest=book.digest,
        world=world.name,
        stacks=(job.stack.name,),
        root=asked.root,
        outcomes={job.stack.name: found},
    )


def scored(studies: Sequence[Study], level: float) -> Scores:
    """Return the scores of one stack from its studies, one a world."""
    tails, harms, margins = list[float](), list[float](), list[float]()
    for study in studies:
        name = study.stacks[0]
        tails.append(expected_shortfall(study.losses(name), level).value)
        harms.append(float(study.column(name, "user_harm").mean()))
        margins.append(float(study.column(name, "initial_margin").mean()))
    grained = round(float(np.mean(margins)) / MARGIN_GRAIN) * MARGIN_GRAIN
    return Scores(max(tails), float(grained), max(harms))


def search(
    question: Question,
    journal: Path,
    *,
    trials: int,
    workers: int = 1,
    cluster: str | None = None,
    on_done: Progress | None = None,
) -> Search:
    """Return what ``trials`` (rounded up to whole batches) found; what ``journal`` holds is kept.

    An interrupt loses the trials that are being computed, which are computed again; asking for more
    trials later goes on from there. Results are the same for any number of workers.
    """
    if not question.parameters or not question.worlds or not question.paths or trials < 1:
        raise ConfigInvalid(
            where="tune", what="needs parameters, worlds, paths and trials", found="none of one"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=question.digest,
        directions=[StudyDirection.MINIMIZE for _ in OBJECTIVES],
        load_if_exists=True,
    )
    whole = -(-trials // BATCH) * BATCH
    with hands(workers, cluster) as crew:
        hunt = _Hunt(question, study, crew)
        now = hunt.now()
        if on_done is not None:
            on_done(min(len(hunt.finished()), whole), whole)
        while hunt.left() or hunt.asked() < whole:
            hunt.batch()
            if on_done is not None:
                on_done(len(hunt.finished()), whole)
    found = tuple(hunt.told(t) for t in study.get_trials(deepcopy=False)[:whole])
    return Search(question, now, found, front_of(found))


@dataclass(slots=True)
class _Hunt:
    """A search as it goes: asks for batches, has them computed, tells what came of them."""

    question: Question
    study: optuna.Study
    crew: Any  # Here, a Crew or a Cluster: they have one face

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that were answered, those that were refused included."""
        return self.study.get_trials(deepcopy=False, states=DONE)

    def left(self) -> list[FrozenTrial]:
        """Return the trials that were asked for and not answered."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def asked(self) -> int:
        """Return how many trials were ever asked for; what is only enqueued was not."""
        drawn = (*DONE, TrialState.RUNNING)
        return len(self.study.get_trials(deepcopy=False, states=drawn))

    def now(self) -> Scores:
        """Return the scores of the present stack, computed once for each journal."""
        kept = self.study.user_attrs.get("now")
        if kept is None:
            kept = list(self._scores([(self.question.stack, PPM)])[0])
            self.study.set_user_attr("now", kept)
        return Scores(*kept)

    def batch(self) -> None:
        """Answer what an interrupt left open, or else the next batch; begin with the present."""
        count, asked = self.asked(), self.question.parameters
        if not self.study.get_trials(deepcopy=False) and all(
            p.low <= p.now <= p.high for p in asked
        ):
            self.study.enqueue_trial({p.key: p.now for p in asked})
        while count % BATCH or not self.left():
            self._ask(count)
            count += 1
            if count % BATCH == 0:
                break
        able: list[tuple[int, tuple[SafeguardStack, int]]] = []
        for trial in self.left():
            told = self.told(trial)
            if told.refused:
                self.study.tell(trial.number, state=TrialState.FAIL)
            else:
                tried = with_values(self.question.stack, told.values)
                able.append((trial.number, (tried, told.values.get(SCALE, PPM))))
        for (number, _), scores in zip(able, self._scores([s for _, s in able]), strict=True):
            self.study.tell(number, list(scores))

    def _ask(self, number: int) -> None:
        seed = Streams(self.question.root, number)["tuning"].integers(2**31)
        self.study.sampler = TPESampler(seed=int(seed))
        space: dict[str, BaseDistribution] = {
            p.key: IntDistribution(p.low, p.high, log=p.log) for p in self.question.parameters
        }
        self.study.ask(space)

    def told(self, trial: FrozenTrial) -> Trial:
        """Return a trial as it is known outside: what was tried, and how it was answered."""
        asked, drawn = self.question, dict(trial.params)
        if len(drawn) < len(asked.parameters):  # killed between two of its numbers
            return Trial(trial.number, {}, None, "interrupted while it was drawn")
        values = in_order(asked.stack, {key: int(value) for key, value in drawn.items()})
        try:
            with_values(asked.stack, values)
        except ConfigInvalid as e:
            return Trial(trial.number, values, None, str(e))
        scores = Scores(*trial.values) if trial.state == TrialState.COMPLETE else None
        return Trial(trial.number, values, scores)

    def _scores(self, stacks: Sequence[tuple[SafeguardStack, int]]) -> list[Scores]:
        worlds = range(len(self.question.worlds))
        jobs = [Job(self.question, *each, world) for each in stacks for world in worlds]
        found: dict[int, Study] = {}
        self.crew.run(study_of, jobs, range(len(jobs)), found.__setitem__)
        each = len(worlds)
        return [
            scored([found[k * each + w] for w in worlds], self.question.level)
            for k in range(len(stacks))
        ]


def front_of(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Return the trials that no other is as good as in everything and better in something.

    Of trials with the same scores the first stands for all; the order is that of their tail loss.
    """
    seen: dict[Scores, int] = {}
    for trial in trials:
        if trial.scores is not None:
            seen.setdefault(trial.scores, trial.number)
    points = list(seen)
    best = [
        s
        for s in points
        if not any(o != s and all(a <= b for a, b in zip(o, s, strict=True)) for o in points)
    ]
    return tuple(seen[s] for s in sorted(best))


def fresh_paths(question: Question, count: int) -> tuple[int, ...]:
    """Return numbers of paths that the search has not seen, the same for the same question."""
    begin = max(HELD_OUT, max(question.paths) + 1)
    return tuple(range(begin, begin + count))
