"""The process that is killed: one crank beside one exchange, and a server that forks it.

Importing and compiling cost seconds, so one process pays them once and forks a child for every
life. It reads one JSON object a line and answers with one: how the child ended.

    {"folder": F, "site": S, "visit": K, "delay_us": D, "seed": N, "check": false}

A child that visits its site for the K-th time kills itself with SIGKILL, or, where the site is
"during_commit", tells the server, which kills it D microseconds later, from outside, while the
commit is under way. Site "any_time" is killed from outside D microseconds after the fork, and site
"never" lives to its end. There is nothing to clean up afterwards: that is the point.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from crash_world import feed, stack_of
from exchange import LATENCY, FileVenue
from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.events import Input
from tidegate.drivers import live
from tidegate.drivers.live import Crank


EVENTS = 1_200
BLOCK = 24  # events between two looks at the venue
BATCH = 8  # events made durable together: a block is three commits
SNAPSHOT_EVERY = 90
DRAINED = 8  # looks at the venue after the last event: three latencies and some


class Trap:
    """Ends this process at the chosen visit of the chosen site; ``visit`` is called everywhere."""

    def __init__(self, site: str, visit: int, bell: int = -1) -> None:
        self._site, self._left, self._bell = site, visit, bell

    def visit(self, site: str) -> None:
        if site != self._site:
            return
        self._left -= 1
        if self._left:
            return
        if site == "during_commit":
            os.write(self._bell, b"!")  # whoever hears it kills us, wherever we are by then
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def survive(self) -> None:
        """Say that the commit is over, if its bell was rung: the kill did not fall inside it."""
        if self._site == "during_commit" and self._left <= 0:
            os.write(self._bell, b".")


class TrappedJournal(SqliteJournal):
    """The real journal, with a trap on either side of its commit and of its snapshots."""

    def __init__(self, path: Path, trap: Trap) -> None:
        self._trap = trap
        super().__init__(path)

    def _commit(self) -> None:
        self._trap.visit("before_commit")
        self._trap.visit("during_commit")
        super()._commit()
        self._trap.survive()
        self._trap.visit("after_commit")

    def save(self, snapshot) -> None:
        self._trap.visit("before_snapshot")
        super().save(snapshot)
        self._trap.visit("after_snapshot")


class TrappedVenue(FileVenue):
    """The real exchange, with a trap between the commit and the first order."""

    def __init__(self, path: Path, trap: Trap) -> None:
        self._trap = trap
        super().__init__(path, between=lambda: trap.visit("between_orders"))

    def submit(self, now, orders) -> None:
        self._trap.visit("before_submit")
        super().submit(now, orders)
        self._trap.visit("after_submit")


def recorded(folder: Path, seed: int) -> list:
    """Return the input, which is a file like any other: written once, read in every life."""
    path = folder / "feed"
    if not path.exists():
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.msgpack.encode(feed(EVENTS, seed)))
        new.replace(path)
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Input])


def life(folder: Path, trap: Trap, seed: int, *, check: bool) -> None:
    """Recover, go on where the journal ends, and write down how it all came out."""
    events = recorded(folder, seed)
    acks = os.open(folder / "acks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    crank = Crank(
        TrappedJournal(folder / "journal", trap),
        stack_of(),
        TrappedVenue(folder / "orders", trap),
        batch_max=BATCH,
        snapshot_every=SNAPSHOT_EVERY,
    )

    def source(begin: int, end: int):
        for event in events[begin:end]:
            trap.visit("mid_batch")
            yield event

    def acknowledged(head: int) -> None:
        os.write(acks, b"%d\n" % head)

    crank.start(check=check)
    at = crank.taken
    while at < EVENTS:
        if at % BLOCK == 0:
            acknowledged(crank.pump(events[at].ts))
        end = min(at + BATCH, EVENTS)
        acknowledged(crank.feed(source(at, end)))
        at = end
    for k in range(DRAINED):
        acknowledged(crank.pump(events[-1].ts + k * LATENCY))
    result = {"digest": crank.state.digest(), "head": crank.head, "taken": crank.taken}
    result["in_flight"] = int((crank.state.orders.key >= 0).sum())
    (folder / "result").write_text(json.dumps(result))
    crank.close()


def forked(order: dict) -> dict:
    """Fork a child, kill it as ordered, and return how it ended."""
    ear, bell = os.pipe()
    child = os.fork()
    if not child:
        os.close(ear)
        code = 1
        with contextlib.suppress(BrokenPipeError):
            trap = Trap(order["site"], order["visit"], bell)
            trap_steps(trap)
            life(Path(order["folder"]), trap, order["seed"], check=order["check"])
            code = 0
        os._exit(code)
    os.close(bell)
    if order["site"] == "any_time" or (order["site"] == "during_commit" and os.read(ear, 1)):
        time.sleep(order["delay_us"] / 1e6)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    inside = order["site"] == "during_commit" and not os.read(ear, 1)
    os.close(ear)
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {"signal": killed, "status": status, "inside": bool(killed and inside)}


def trap_steps(trap: Trap) -> None:
    """Put a trap after every event stepped in memory, when nothing of its batch is durable."""
    real = live.step

    def step(state, event, stack, lens):
        effects = real(state, event, stack, lens)
        trap.visit("mid_batch")
        return effects

    live.step = step


def main() -> None:
    """Warm up by living one whole life here, then serve."""
    warm = Path(sys.argv[1])
    life(warm, Trap("never", 0), int(sys.argv[2]), check=True)
    say({"ready": True})
    for line in sys.stdin:
        say(forked(json.loads(line)))


def say(what: dict) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
