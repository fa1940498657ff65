"""Trials of parameters: on the live book at once, over the last days in a process of its own."""

import hashlib
import queue
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

import msgspec

from tidegate.api.checks import (
    AccountOnTrial,
    LiveTrial,
    ParameterChange,
    PastTrial,
    ShadowAnswer,
    ShadowAsk,
)
from tidegate.domain.units import SECOND
from tidegate.drivers.live import identity
from tidegate.drivers.shadow import Affected, shadow
from tidegate.engine.state import State
from tidegate.lab.farm_code import code_digest
from tidegate.lab.sealed import unsealed, write_sealed
from tidegate.safeguards.stack import Stack
from tidegate.service.apart import apart
from tidegate.service.pretrade_say import money
from tidegate.service.rerun import Readable, Trial, read_journal, rerun
from tidegate.service.runner import Busy


_NAME: Final = re.compile(r"[0-9a-f]{32}")

DAY: Final = 86_400 * SECOND
TICKS_MAX: Final = 50_000  # of the rerun's clock, unless a step is asked for
SHOWN: Final = 500  # accounts named of the live book
WAITING_MAX: Final = 16  # trials; one takes minutes to hours
KEPT_MAX: Final = 200  # trials in memory; the folder keeps all
WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"


def live_trial(state: State, stack: Stack, changes: Sequence[ParameterChange]) -> LiveTrial:
    """Return who the changes would liquidate on a copy of the live book, of `copy_for_base`.

    Raise ConfigInvalid for a change that the engine would refuse.
    """
    found = shadow(state, stack, [(c.name, c.value) for c in changes])

    def told(a: Affected) -> AccountOnTrial:
        return AccountOnTrial(
            account=a.name,
            equity=money(a.equity),
            maintenance=money(a.before),
            maintenance_after=money(a.after),
            lacks=money(max(0, a.after - a.equity)),
            open=money(a.open),
        )

    return LiveTrial(
        seq=state.seq - 1,
        ts=state.now,
        liquidated=[told(a) for a in found.liquidated[:SHOWN]],
        saved=[told(a) for a in found.saved[:SHOWN]],
        n_liquidated=len(found.liquidated),
        n_saved=len(found.saved),
        already=found.already,
        short=money(found.short),
        required=money(found.required[0]),
        required_after=money(found.required[1]),
    )


def in_words(answer: ShadowAnswer) -> str:
    """Return a finished trial in one sentence, for whoever is to approve the change."""
    said: list[str] = []
    if answer.live is not None:
        live = answer.live
        said.append(
            f"on the live book after record {live.seq:,}: {live.n_liquidated:,} accounts "
            f"liquidated only by it, {live.n_saved:,} saved"
        )
    if answer.past is not None:
        past = answer.past
        before, after = past.verdict, past.verdict_after
        said.append(
            f"in a rerun of {answer.days:g} days: {before['accounts_liquidated']:,} accounts "
            f"liquidated before and {after['accounts_liquidated']:,} after, bad debt "
            f"{before['bad_debt']:,.2f} and {after['bad_debt']:,.2f}, {past.differ:,} accounts "
            "fared otherwise"
        )
    return "; ".join(said)


@dataclass(slots=True)
class _Job:
    """One trial under way."""

    answer: ShadowAnswer
    trial: Trial | None
    stop: Event = field(default_factory=Event)


class ShadowRuns:
    """Trials, one after the other, each in a process that gives way to everything else.

    ``folder`` keeps finished trials and passes: what is asked again is answered at once, and after
    a restart a trial begins where its last finished pass ended. ``journal`` is an address that
    ``opened``, a function at the top of a module, opens for reading.
    """

    def __init__(
        self,
        stack: Stack,
        journal: str,
        folder: Path | None = None,
        opened: Callable[[str], Readable] = read_journal,
    ) -> None:
        self._stack, self._journal, self._folder, self._opened = stack, journal, folder, opened
        self._jobs: dict[str, _Job] = {}
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None

    def ask(self, asked: ShadowAsk, book: State) -> ShadowAnswer:
        """Begin a trial of a copy of the book, or return the one that was asked for before.

        Judging the live book takes two sweeps and is done here; call it beside the crank. Raise
        Busy while too many trials wait.
        """
        live = live_trial(book, self._stack, asked.changes)
        window = round(asked.days * DAY)
        step = round(asked.step_s * SECOND) if asked.step_s else self._step(window)
        said = (identity(self._stack), self._stack.digest, self._journal, str(live.seq), str(step))
        what = msgspec.json.encode(asked) + "\n".join((*said, code_digest())).encode()
        name = hashlib.blake2b(what, digest_size=16).hexdigest()
        with self._lock:
            known = self._jobs.get(name)
            if known is not None and known.answer.status not in {FAILED, CANCELLED}:
                return known.answer
            answer = self._read(name) or ShadowAnswer(
                trial=name,
                status=WAITING,
                progress=0.0,
                changes=asked.changes,
                days=asked.days,
                live=live,
            )
            self._refuse_too_many()
            self._forget()
            trial = None
            if window and answer.status != DONE:
                trial = Trial(
                    journal=self._journal,
                    opened=self._opened,
                    stack=self._stack,
                    changes=tuple((c.name, c.value) for c in asked.changes),
                    begins=live.ts - window,
                    head=live.seq,
                    step_ns=step,
                    folder=self._folder,
                )
            job = self._jobs[name] = _Job(answer, trial)
            if trial is None and answer.status != DONE:
                self._finish(job, None)
            elif trial is not None:
                self._queue.put(name)
                self._begin()
            return job.answer

    def get(self, name: str) -> ShadowAnswer | None:
        """Return a trial by its name; None for one that nobody asked for."""
        with self._lock:
            job = self._jobs.get(name)
            return job.answer if job is not None else self._read(name)

    def all(self) -> list[ShadowAnswer]:
        """Return the trials of this process, in the order in which they were asked for."""
        with self._lock:
            return [job.answer for job in self._jobs.values()]

    def cancel(self, name: str) -> ShadowAnswer | None:
        """End a trial that is not finished; None for one that nobody asked for."""
        with self._lock:
            job = self._jobs.get(name)
            if job is None:
                return None
            if job.answer.status in {WAITING, RUNNING}:
                job.stop.set()
                self._say(job, status=CANCELLED)
            return job.answer

    def close(self) -> None:
        """End every trial and the thread that runs them."""
        for answer in self.all():
            self.cancel(answer.trial)
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _forget(self) -> None:
        """Make room in memory: what ended longest ago goes."""
        ended = [n for n, j in self._jobs.items() if j.answer.status not in {WAITING, RUNNING}]
        for name in ended[: max(0, len(self._jobs) + 1 - KEPT_MAX)]:
            del self._jobs[name]

    def _refuse_too_many(self) -> None:
        many = sum(job.answer.status == WAITING for job in self._jobs.values())
        if many >= WAITING_MAX:
            msg = f"{many} trials are waiting\nhint: cancel one, or ask again later"
            raise Busy(msg)

    def _step(self, window: int) -> int:
        return max(int(self._stack.venue.step_ns), window // TICKS_MAX)

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, name="tidegate-trials", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            job = self._jobs[name]
            if job.trial is None or job.stop.is_set():
                continue
            with self._lock:
                self._say(job, status=RUNNING)
            error, found = self._run(job, job.trial)
            with self._lock:
                if job.stop.is_set():
                    continue
                if found is None:
                    self._say(job, status=FAILED, error=error)
                else:
                    self._finish(job, found)

    def _run(self, job: _Job, trial: Trial) -> tuple[str, PastTrial | None]:
        """Run one trial to its end, or until it is cancelled; return (error, result)."""

        def hear(progress: float) -> None:
            with self._lock:
                self._say(job, progress=progress)

        error, found = apart(_rerun, trial, job.stop, hear)
        return error, None if found is None else msgspec.json.decode(found, type=PastTrial)

    def _finish(self, job: _Job, past: PastTrial | None) -> None:
        self._say(job, status=DONE, progress=1.0, past=past)
        a = job.answer
        content = msgspec.json.encode((a.changes, a.days, a.live, a.past), order="deterministic")
        self._say(job, digest=hashlib.blake2b(content, digest_size=32).hexdigest())
        if self._folder is not None:
            write_sealed(self._folder / f"{a.trial}.trial", msgspec.json.encode(job.answer))

    def _read(self, name: str) -> ShadowAnswer | None:
        if self._folder is None or not _NAME.fullmatch(name):
            return None
        file = self._folder / f"{name}.trial"
        content = unsealed(file.read_bytes()) if file.exists() else None
        return msgspec.json.decode(content, type=ShadowAnswer) if content else None

    @staticmethod
    def _say(job: _Job, **changes: object) -> None:
        job.answer = msgspec.structs.replace(job.answer, **changes)


def _rerun(trial: Trial, say: Callable[[float], None]) -> bytes:
    """Rerun one trial, in a process of its own."""
    said = [0.0]

    def tell(progress: float) -> None:
        if progress - said[0] >= 0.002:
            said[0] = progress
            say(progress)

    return msgspec.json.encode(rerun(trial, tell))
