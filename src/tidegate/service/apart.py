"""Long work in a process of its own, begun afresh, that gives way to everything else."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Event
from typing import Any, Final

import numba

from tidegate.domain.errors import TidegateError


POLL_S: Final = 0.2
FOUND, FAILED, SAID = "found", "failed", "said"

Say = Callable[[object], None]
Work = Callable[[Any, Say], object]


def apart(
    work: Work, asked: object, stopped: Event, hear: Callable[[Any], None]
) -> tuple[str, Any]:
    """Do ``work(asked, say)`` in another process; return (error, what it returned).

    ``work`` stands at the top of a module; what goes in and comes out is pickled. ``hear`` is told
    whatever it says. The process ends with the work, when ``stopped`` is set, or with ours.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, asked), daemon=True)
    process.start()
    theirs.close()
    try:
        while not stopped.is_set():
            if not ours.poll(POLL_S):
                continue
            word, value = ours.recv()
            if word == SAID:
                hear(value)
            elif word == FOUND:
                return "", value
            else:
                return value, None
    except EOFError:
        return "its process died", None
    finally:
        process.terminate()
        process.join()
        process.close()
        ours.close()
    return "it was cancelled", None


def humble() -> None:
    """Let everything else on this machine go first: what is done apart is never urgent."""
    os.nice(10)


def _serve(pipe: Connection, work: Work, asked: object) -> None:
    """Do the work; the life of its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is our parent's to answer
    humble()
    numba.set_num_threads(1)
    try:
        pipe.send((FOUND, work(asked, lambda value: pipe.send((SAID, value)))))
    except TidegateError as error:
        pipe.send((FAILED, str(error)))
    except BrokenPipeError:
        pass  # nobody is interested any more
    except Exception as error:  # noqa: BLE001 - whatever it is, the work has failed and says so
        pipe.send((FAILED, f"{type(error).__name__}: {error}"))
