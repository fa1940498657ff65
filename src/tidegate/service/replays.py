"""The replay room: recordings under one stack or two, each replay in a process of its own.

A replay is named by all that it depends on: what is asked again is answered at once. What is
finished lies in a folder and survives a restart; what is not is asked for anew.
"""

import hashlib
import queue
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final

import msgspec

from tidegate.api.replaying import Frames, ReplayAsk, ReplayNow, Shelf, VerdictRow
from tidegate.domain.errors import AskInvalid
from tidegate.drivers.shelf import load_shipped, shipped
from tidegate.lab.farm_code import code_digest
from tidegate.lab.sealed import unsealed, write_sealed
from tidegate.safeguards.stack import Stack
from tidegate.service.apart import apart
from tidegate.service.calls import NotFound
from tidegate.service.filming import Film, Seen, extend, film, no_frames, part
from tidegate.service.runner import Busy
from tidegate.service.shelf import Recordings
from tidegate.service.verdict_rows import rows_of


WAITING_MAX: Final = 8
KEPT_MAX: Final = 100  # finished replays; the oldest goes first
OPEN_MAX: Final = 4  # finished replays whose rows are held in memory


@dataclass(slots=True)
class _Job:
    """One replay."""

    now: ReplayNow
    film: Film | None = None  # None: finished in another life
    frames: dict[str, Frames] = field(default_factory=dict[str, Frames])
    stop: Event = field(default_factory=Event)


class Replays:
    """Replays of the recordings below ``recordings``, finished ones kept in ``folder``.

    ``workers`` run at the same time. ``anybody``: whoever may view may also begin one, in a
    demonstration. ``now`` dates them.
    """

    def __init__(
        self,
        recordings: Path,
        folder: Path,
        *,
        now: Callable[[], int],
        workers: int = 1,
        anybody: bool = False,
    ) -> None:
        assert workers >= 1
        self.recordings, self.anybody = Recordings(recordings), anybody
        self._folder, self._now, self._workers = folder, now, workers
        self._lock = Lock()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads: list[Thread] = []
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._recall()

    # ------------------------------------------------------------ asking

    def shelf(self) -> Shelf:
        """Return what may be replayed; reads what is new, so call it beside the loop."""
        held, refused = self.recordings.look()
        return Shelf(recordings=held, stacks=shipped(), refused=refused)

    def ask(self, asked: ReplayAsk) -> ReplayNow:
        """Begin a replay, or return the one that was asked for before; call it beside the loop.

        Raise NotFound for a recording that is not there, AskInvalid or ConfigInvalid for a stack
        that is none or does not fit the venue, Busy while too many wait.
        """
        held = self.recordings.get(asked.recording)
        known = shipped()
        for n, name in enumerate(asked.stacks):
            if name not in known or name in asked.stacks[:n]:
                raise AskInvalid(
                    where=f"stacks[{n}]",
                    what=f"must be another one of {', '.join(known)}",
                    found=repr(name),
                )
        stacks = tuple(load_shipped(name) for name in asked.stacks)
        digests = [Stack.bind(stack, held.venue).digest for stack in stacks]
        said = "\n".join((held.now.digest, *asked.stacks, *digests, code_digest()))
        name = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
        with self._lock:
            job = self._jobs.get(name)
            if job is not None and job.now.state != "failed":
                return job.now
            waiting = sum(job.now.state == "running" for job in self._jobs.values())
            if waiting >= WAITING_MAX + self._workers:
                msg = f"{waiting} replays are waiting\nhint: cancel one, or ask again later"
                raise Busy(msg)
            now = ReplayNow(
                id=name,
                recording=asked.recording,
                digest=held.now.digest,
                stacks=asked.stacks,
                state="running",
                progress=0.0,
                frames=0,
                begin=held.now.begin,
                end=held.now.end,
                numeraire=held.venue.numeraire,
                asked_at=self._now(),
            )
            symbols = [i.symbol for i in held.venue.instruments]
            frames = {stack: no_frames(symbols) for stack in asked.stacks}
            self._jobs.pop(name, None)
            self._jobs[name] = _Job(now, Film(held.path, held.now.digest, stacks), frames)
            self._begin()
            self._queue.put(name)
            return now

    def all(self) -> list[ReplayNow]:
        """Return every replay, newest first."""
        with self._lock:
            return [job.now for job in reversed(self._jobs.values())]

    def get(self, name: str) -> ReplayNow:
        """Return one replay; raise NotFound."""
        with self._lock:
            return self._job(name).now

    def frames(self, name: str, stack: str, after: int, limit: int) -> Frames:
        """Return rows of one stack; reads a file where they are not held. Raise NotFound."""
        with self._lock:
            job = self._job(name)
            if stack not in job.now.stacks:
                msg = f"this replay has no stack {stack!r}"
                raise NotFound(msg)
            if not job.frames:
                job.frames = self._read(name)
                self._forget()
            return part(job.frames[stack], after, limit)

    def remove(self, name: str) -> ReplayNow:
        """End a replay, or throw a finished one away; raise NotFound."""
        with self._lock:
            job = self._job(name)
            self._drop(name)
            return msgspec.structs.replace(job.now, state="failed", detail="it was cancelled")

    def close(self) -> None:
        """End every replay and the threads that run them."""
        with self._lock:
            for job in self._jobs.values():
                job.stop.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    # ------------------------------------------------------------ running

    def _begin(self) -> None:
        while len(self._threads) < self._workers:
            name = f"tidegate-replays-{len(self._threads)}"
            self._threads.append(Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            with self._lock:
                job = self._jobs.get(name)
            if job is not None and job.film is not None and not job.stop.is_set():
                self._run(job, job.film)

    def _run(self, job: _Job, asked: Film) -> None:
        def hear(seen: Seen) -> None:
            with self._lock:
                extend(job.frames[seen.stack], seen.rows)
                rows = max(len(frames.ts) for frames in job.frames.values())
                self._say(job, progress=seen.progress, frames=rows)

        error, found = apart(film, asked, job.stop, hear)
        with self._lock:
            if job.stop.is_set():
                return
            if found is None:
                self._say(job, state="failed", detail=error)
                return
            verdicts: dict[str, dict[str, Any]] = found
            rows = rows_of(verdicts, job.now.numeraire)
            self._finish(job, rows)

    def _finish(self, job: _Job, verdict: Sequence[VerdictRow]) -> None:
        now = msgspec.structs.replace(job.now, state="done", progress=1.0, verdict=list(verdict))
        # The rows first: what is listed has rows.
        write_sealed(self._file(now.id, "frames"), msgspec.msgpack.encode(job.frames))
        write_sealed(self._file(now.id, "replay"), msgspec.json.encode(now))
        job.now, job.film = now, None
        self._forget()

    # ------------------------------------------------------------ keeping

    def _job(self, name: str) -> _Job:
        job = self._jobs.get(name)
        if job is None:
            msg = "no replay of that name"
            raise NotFound(msg)
        return job

    def _file(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"

    def _recall(self) -> None:
        """List what was finished in another life, oldest first."""
        found: list[ReplayNow] = []
        for file in self._folder.glob("*.replay"):
            content = unsealed(file.read_bytes())
            if content is not None and self._file(file.stem, "frames").exists():
                found.append(msgspec.json.decode(content, type=ReplayNow))
        for now in sorted(found, key=lambda now: now.asked_at):
            self._jobs[now.id] = _Job(now)
        self._forget()

    def _read(self, name: str) -> dict[str, Frames]:
        content = unsealed(self._file(name, "frames").read_bytes())
        if content is None:
            self._drop(name)
            msg = (
                "the rows of this replay are damaged; it was thrown away, and can be asked for anew"
            )
            raise NotFound(msg)
        return msgspec.msgpack.decode(content, type=dict[str, Frames])

    def _forget(self) -> None:
        """Hold the rows of few finished replays, and keep not too many of these."""
        done = [name for name, job in self._jobs.items() if job.now.state == "done"]
        for name in done[: max(0, len(done) - KEPT_MAX)]:
            self._drop(name)
        held = [name for name in done if name in self._jobs and self._jobs[name].frames]
        for name in held[: max(0, len(held) - OPEN_MAX)]:
            self._jobs[name].frames = {}

    def _drop(self, name: str) -> None:
        self._jobs.pop(name).stop.set()
        for kind in ("replay", "frames"):
            self._file(name, kind).unlink(missing_ok=True)

    @staticmethod
    def _say(job: _Job, **changes: object) -> None:
        job.now = msgspec.structs.replace(job.now, **changes)
