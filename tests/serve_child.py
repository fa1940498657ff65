"""Forks processes of `tidegate serve`: importing and compiling cost seconds, and are paid once.

    python serve_child.py STACK VENUE

It reads one JSON object a line and answers with one. ``{"words": [...], "log": PATH}`` begins a
process that runs the command line with these words, and answers its number; ``limit`` is the
largest file, in bytes, that it may write. ``{"ended": NUMBER}`` answers its exit code, or null
while it lives.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.cli.main import run
from tidegate.cli.stacks import bind_stack, load_venue_file
from tidegate.drivers.live import Crank
from tidegate.service import serving  # noqa: F401 (imported here, so that no child must)


def warm(stack: str, venue: str) -> None:
    """Have every kernel at hand that a falling price needs."""
    from crash_world import feed  # noqa: PLC0415 (it lies beside this file)

    bound = bind_stack(stack, load_venue_file(Path(venue)))
    crank = Crank(MemoryJournal(), bound, Outbox())
    crank.start()
    crank.feed(feed(300, seed=3))


def forked(order: dict) -> int:
    """Begin a process; return its number."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, number)
        if limit := order.get("limit"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        code = run(order["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(child: int) -> int | None:
    """Return the exit code of a process, negative for a signal; None while it lives."""
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def main() -> None:
    """Warm up, then serve."""
    warm(*sys.argv[1:3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        say({"answer": ended(order["ended"]) if "ended" in order else forked(order)})


def say(what: dict) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
