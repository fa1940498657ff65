"""The demonstration: a crash that comes with us, played at a chosen speed through the real API."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from tidegate.client import Client
from tidegate.domain.errors import TidegateError
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.synthetic import make
from tidegate.safeguards.stack import Stack
from tidegate.service.demo_clock import DemoClock
from tidegate.service.player import Played, Player


ACCOUNTS: Final = 1_000
SEED: Final = 7
SPEED: Final = 10.0  # seconds of the recording in one second
STACK: Final = "guarded"
PATIENCE_S: Final = 60.0  # for which a service that is busy is asked again
TOLD_EVERY_S: Final = 10.0

_LOG: Final = structlog.get_logger("tidegate.demo")


def prepared(folder: Path, accounts: int = ACCOUNTS) -> Recording:
    """Return the synthetic crash in ``folder``, made there if it is not."""
    path = folder / f"october-{accounts}"
    if path.exists():
        with suppress(TidegateError):  # of an older version, or left half written: made anew
            return load(path)
    make(path, accounts=accounts, seed=SEED)
    return load(path)


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
            # The thread ends after the request that it is in.
            with suppress(BaseException):
                await running
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
