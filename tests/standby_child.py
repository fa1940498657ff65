"""One of two processes beside one exchange: it stands by, leads when it can, and may be killed.

    python standby_child.py JOURNAL FOLDER

It says a line at every turn: `standing by at N`, `leads from N at EPOCH in S seconds`, `ack N`
after each batch that is durable and whose orders have left, `done DIGEST`, or `fenced KIND`. The
feed is a file in the folder; whoever leads goes on where the journal ends, up to as many events as
the file `limit` says at that moment.
"""

import sys
import time
from functools import partial
from pathlib import Path

import msgspec

from crash_world import stack_of
from exchange import LATENCY, FileVenue
from tidegate.adapters.journals import open_journal
from tidegate.domain.errors import JournalGone, LeaderLost
from tidegate.domain.events import Input
from tidegate.drivers.live import Crank
from tidegate.drivers.standby import Standby


BLOCK = 24  # events between two looks at the venue
BATCH = 8
DRAINED = 8


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def allowed(folder: Path) -> int:
    return int((folder / "limit").read_text())


def main(address: str, folder: Path) -> None:
    events = msgspec.msgpack.decode((folder / "feed").read_bytes(), type=list[Input])
    stack = stack_of()
    standby = Standby(partial(open_journal, address), stack)
    told = time.perf_counter()

    def sleep(_: float) -> bool:
        nonlocal told
        say(f"standing by at {standby.head}")
        time.sleep(0.02)
        told = time.perf_counter()
        return False

    def make(journal) -> Crank:
        return Crank(
            journal, stack, FileVenue(folder / "orders"), batch_max=BATCH, snapshot_every=200
        )

    led = standby.wait(make, sleep)
    crank = led.crank
    seconds = time.perf_counter() - told
    say(f"leads from {crank.head} at {led.journal.epoch} in {seconds:.6f} seconds")
    try:
        at = crank.taken
        while at < len(events):
            if at >= allowed(folder):
                say("waits")
            while at >= allowed(folder):
                time.sleep(0.005)
            if at % BLOCK == 0:
                say(f"ack {crank.pump(events[at].ts)}")
            end = min(at + BATCH, len(events))
            say(f"ack {crank.feed(events[at:end])}")
            at = end
        for k in range(DRAINED):
            say(f"ack {crank.pump(events[-1].ts + k * LATENCY)}")
    except (JournalGone, LeaderLost) as error:
        say(f"fenced {type(error).__name__}")
        return
    say(f"done {crank.state.digest()}")
    crank.close()


main(sys.argv[1], Path(sys.argv[2]))
