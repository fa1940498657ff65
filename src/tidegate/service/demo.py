"""The demonstration: a crash that comes with us, played at a chosen speed through the real API.

The service is the ordinary one, armed, with a journal of its own that is thrown away at the end.
Its clock follows the recording, and whoever comes without a key may look.
"""

import asyncio
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from tidegate.client import Client
from tidegate.domain.errors import TidegateError
from tidegate.domain.units import SECOND
from tidegate.domain.venue import Venue
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import Replay
from tidegate.drivers.shelf import load_stack
from tidegate.drivers.synthetic import make
from tidegate.safeguards.stack import Stack
from tidegate.service.auth import Identity, Keys, new_key, write_keys
from tidegate.service.demo_clock import DemoClock
from tidegate.service.layers import Limits
from tidegate.service.logs import configure
from tidegate.service.player import Played, Player
from tidegate.service.serving import Wanted, run
from tidegate.service.settings import Places, Tuning
from tidegate.service.site import Site


ACCOUNTS: Final = 1_000
SEED: Final = 7
PATIENCE_S: Final = 60.0  # for which a service that is busy is asked again
TOLD_EVERY_S: Final = 10.0
WARM_NS: Final = 150 * SECOND  # of the crash: by then every kernel was needed
TICK_MIN_NS: Final = 20_000_000
READS: Final = "100000/10 second"  # the player asks for orders at every step
ANYBODY: Final = Identity("demo", "anybody", ("viewer",))

_LOG: Final = structlog.get_logger("tidegate.demo")


def prepared(folder: Path, accounts: int = ACCOUNTS) -> Recording:
    """Return the synthetic crash in ``folder``, made there if it is not."""
    path = folder / f"october-{accounts}"
    if path.exists():
        with suppress(TidegateError):  # of an older version, or left half written: made anew
            return load(path)
    make(path, accounts=accounts, seed=SEED)
    return load(path)


def demonstrate(
    host: str,
    port: int,
    folder: Path,
    *,
    speed: float,
    stack: str,
    log_level: str = "INFO",
    accounts: int = ACCOUNTS,
) -> int:
    """Serve a venue that lives through the crash, until told to end; return the exit code.

    The recording lies in ``folder`` afterwards, for the next time and for the replay page.
    """
    configure(level=log_level)
    recordings = folder / "recordings"
    recording = prepared(recordings, accounts)
    bound = Stack.bind(load_stack(stack), roomy(recording.venue))
    _LOG.info("warming_up", seconds="about a minute the first time, while kernels are compiled")
    Replay(recording=recording, stack=bound).run(stop_after=WARM_NS)
    clock = DemoClock(recording.begins, speed)
    state = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    try:
        feed, keeper = _keys(state / "keys.json")
        address = f"http://{_reachable(host)}:{port}"

        def beside(site: Site) -> "asyncio.Future[None]":
            del site
            return asyncio.ensure_future(_perform(address, feed, keeper, recording, bound, clock))

        _LOG.info("demonstration", address=address, stack=bound.name, speed=speed)
        return run(
            Wanted(
                stack=bound,
                places=Places(
                    journal=str(state / "journal.db"),
                    state=state,
                    keys=state / "keys.json",
                    recordings=recordings,
                ),
                tuning=Tuning(
                    tick_ns=max(TICK_MIN_NS, round(min(recording.venue.step_ns, SECOND) / speed)),
                    limits=Limits(reads=READS),
                ),
                host=host,
                port=port,
                mode="armed",
                clock=clock,
                anonymous=ANYBODY,
                beside=beside,
            )
        )
    finally:
        shutil.rmtree(state, ignore_errors=True)


def roomy(venue: Venue) -> Venue:
    """Return the venue with room to spare: a recording declares what it needs, and no more."""
    limits = venue.limits
    more = msgspec.structs.replace(
        limits,
        accounts_max=2 * limits.accounts_max,
        positions_max=2 * limits.positions_max,
        orders_max=2 * limits.orders_max,
    )
    return msgspec.structs.replace(venue, limits=more)


def _keys(file: Path) -> tuple[str, str]:
    """Write a key file for this run; return the tokens of the feed and of the keeper."""
    made = [new_key(f"demo-{role}", [role], now=time.time()) for role in ("feed", "keeper")]
    write_keys(file, Keys(keys=tuple(key for key, _ in made)))
    feed, keeper = (token.reveal() for _, token in made)
    return feed, keeper


def _reachable(host: str) -> str:
    """Return where this machine reaches a server that listens on ``host``."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (told apart, not bound)
    return f"[{own}]" if ":" in own else own


async def _perform(
    address: str, feed: str, keeper: str, recording: Recording, stack: Stack, clock: DemoClock
) -> None:
    """Play once; then time stands still, and everything can be looked at."""
    await play(address, feed, keeper, recording, stack, clock)


async def play(
    address: str,
    feed: str,
    keeper: str,
    recording: Recording,
    stack: Stack,
    clock: DemoClock,
) -> Played:
    """Play ``recording`` into the service at ``address``, whose clock is ``clock``; see `Player`.

    ``feed`` and ``keeper`` are tokens. Returns when the recording is over; time then stands still.
    Cancel it to stop. Raise Refused or Unreachable where the service does not take what is told.
    """
    stopped = threading.Event()
    with (
        Client(address, feed, patience=PATIENCE_S) as told,
        Client(address, keeper, patience=PATIENCE_S) as bid,
    ):
        player = Player(told, bid, recording, stack, clock, stopped.is_set)
        running = asyncio.create_task(asyncio.to_thread(player.run))
        watching = asyncio.create_task(_watch(clock))
        try:
            played = await asyncio.shield(running)
        finally:
            stopped.set()
            watching.cancel()
            # The thread is in a request, or asks a service that has gone once more: not any longer.
            told.close()
            bid.close()
            await asyncio.wait({running})
            running.exception()  # it was cut off: what it says of that is of no interest
    _LOG.info(
        "demonstration_over",
        complete=played.complete,
        told=sum(played.told.values()),
        orders=played.orders,
        pace=round(clock.pace, 2),
    )
    return played


async def _watch(clock: DemoClock) -> None:
    """Say when the service cannot keep up with the speed that was asked for."""
    slips = 0
    while True:
        await asyncio.sleep(TOLD_EVERY_S)
        if clock.slips > slips:
            slips = clock.slips
            _LOG.warning("cannot_keep_up", speed=clock.speed, pace=round(clock.pace, 2))
