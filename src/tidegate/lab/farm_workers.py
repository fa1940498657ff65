"""Processes that compute chunks: begun afresh, replaced when they die, gone when we are."""

import multiprocessing
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Self, TypeVar, cast

import numba

from tidegate.domain.errors import WorkerLost


T = TypeVar("T")
R = TypeVar("R")
TRIES_MAX: Final = 3  # of one chunk, before we believe that the chunk kills its workers
CLOSING_SECONDS: Final = 2.0

_Answer = tuple[bool, Any]  # whether it went well; the result, or the error


def _serve(pipe: Connection, threads: int) -> None:
    """Compute what arrives until nobody is at the other end; a worker's whole life."""
    numba.set_num_threads(threads)
    while True:
        try:
            message = pipe.recv_bytes()
        except EOFError:
            return
        try:
            task, chunk = pickle.loads(message)  # noqa: S301 - from our own parent
            answer: _Answer = (True, task(chunk))
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
            error.add_note("in a worker:\n" + traceback.format_exc())
            answer = (False, error)
        try:
            pipe.send_bytes(_packed(answer))
        except BrokenPipeError:
            return


def _packed(answer: _Answer) -> bytes:
    try:
        return pickle.dumps(answer, protocol=5)
    except Exception as error:  # noqa: BLE001 - pickle raises whatever an object's own code raises
        well, what = answer
        told = error if well else RuntimeError(repr(what))
        for note in [] if well else getattr(what, "__notes__", []):
            told.add_note(note)
        told.add_note("a worker's answer must pickle")
        return pickle.dumps((False, told), protocol=5)


def _opened(content: bytes) -> Any:  # noqa: ANN401 - whatever the task returned
    """Return a worker's result, or raise its error."""
    well, result = cast("_Answer", pickle.loads(content))  # noqa: S301 - our own child
    if not well:
        raise result
    return result


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, threads), daemon=True
        )
        resource_tracker.ensure_running()  # it unblocks interrupts once it has begun
        # An interrupt is ours to answer: a worker never sees one, from its first moment on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.busy = -1  # the chunk it computes; -1 for none

    def give(self, n: int, message: bytes) -> None:
        """Hand it a chunk; a worker that is already dead is found out when we wait for it."""
        self.busy = n
        try:
            self.pipe.send_bytes(message)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self) -> bytes | None:
        """Return what it answers, or None when it has died."""
        try:
            return self.pipe.recv_bytes()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return None

    def end(self) -> None:
        """Let it go, whatever it is doing."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(CLOSING_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


class Here:
    """The process we are in, with the face of a `Crew`; what it would have sent is not counted."""

    sent = received = 0
    size = 1

    def __enter__(self) -> Self:
        """Return it; there is nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave; there is nothing to end."""

    def run(
        self,
        task: Callable[[T], R],
        chunks: Sequence[T],
        which: Sequence[int],
        finished: Callable[[int, R], None],
        *,
        pinned: bool = False,
    ) -> None:
        """Compute the chunks numbered ``which``, one after the other."""
        del pinned
        for n in which:
            finished(n, task(chunks[n]))


class Crew:
    """A fixed number of workers, for one run or for many; leaving the block ends them all.

    ``sent`` and ``received`` count the bytes of all messages, without the pipe's own framing.
    """

    def __init__(self, workers: int) -> None:
        assert workers >= 1
        # The cores are shared out; how many threads a kernel has never changes its answer.
        self._threads = max(1, numba.get_num_threads() // workers)
        self._workers = [_Worker(self._threads) for _ in range(workers)]
        self.sent = self.received = self.deaths = 0

    def __enter__(self) -> Self:
        """Return the crew."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.end()

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def processes(self) -> tuple[int | None, ...]:
        """Their process ids, as they are now."""
        return tuple(worker.process.pid for worker in self._workers)

    def run(
        self,
        task: Callable[[T], R],
        chunks: Sequence[T],
        which: Sequence[int],
        finished: Callable[[int, R], None],
        *,
        pinned: bool = False,
    ) -> None:
        """Compute the chunks numbered ``which`` and call ``finished`` for each as it comes.

        ``pinned`` gives chunk n to worker n modulo their number, always: what a worker has loaded
        for a chunk is there the next time. Otherwise whoever is free takes the next one.
        """
        queues = self._queues(which, pinned=pinned)
        tries = dict.fromkeys(which, 0)
        left = len(tries)
        try:
            while left:
                self._give(task, chunks, queues)
                for at in self._ready():
                    worker = self._workers[at]
                    n, answer = worker.busy, worker.answer()
                    worker.busy = -1
                    if answer is None:
                        tries[n] += 1
                        self._replace(at, n, tries[n])
                        queues[at].appendleft(n)
                        continue
                    self.received += len(answer)
                    result = _opened(answer)
                    left -= 1
                    finished(n, result)
        except BaseException:
            self._abandon()
            raise

    def _queues(self, which: Sequence[int], *, pinned: bool) -> list[deque[int]]:
        """Return what each worker has before it: a queue of its own, or one for all."""
        count = len(self._workers)
        if pinned:
            return [deque(n for n in which if n % count == at) for at in range(count)]
        return [deque(which)] * count

    def _give(
        self, task: Callable[[T], R], chunks: Sequence[T], queues: Sequence[deque[int]]
    ) -> None:
        """Hand every idle worker the next chunk of its queue."""
        for worker, queue in zip(self._workers, queues, strict=True):
            if worker.busy < 0 and queue:
                n = queue.popleft()
                message = pickle.dumps((task, chunks[n]), protocol=5)
                self.sent += len(message)
                worker.give(n, message)

    def _ready(self) -> list[int]:
        """Wait until somebody has answered or died; return who, as places in the crew."""
        pipes = {w.pipe: at for at, w in enumerate(self._workers) if w.busy >= 0}
        return [pipes[cast("Connection", pipe)] for pipe in wait(list(pipes))]

    def _abandon(self) -> None:
        """Replace whoever still computes: nobody wants that answer, nor may the next run get it."""
        for at, worker in enumerate(self._workers):
            if worker.busy >= 0:
                worker.end()
                self._workers[at] = _Worker(self._threads)

    def _replace(self, at: int, n: int, tries: int) -> None:
        """Begin another worker in the place of a dead one."""
        dead = self._workers[at].process
        dead.join(CLOSING_SECONDS)
        self.deaths += 1
        if tries >= TRIES_MAX:
            raise WorkerLost(chunk=n, tries=tries, code=dead.exitcode)
        self._workers[at].end()
        self._workers[at] = _Worker(self._threads)
