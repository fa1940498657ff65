"""One process of the service: it stands by or leads, serves, and ends as it should.

The port is open from the first moment: while the process stands by or recovers, a doorman answers.
Whatever stops the crank ends the process, with words; starting again is the only repair.
"""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import structlog
import uvicorn

from tidegate.adapters.journals import open_journal
from tidegate.adapters.outbox import Outbox
from tidegate.domain.errors import ConfigInvalid, LeaderLost, TidegateError
from tidegate.drivers.live import Crank, LiveJournal
from tidegate.drivers.standby import Standby
from tidegate.engine.state import State
from tidegate.ports import Clock, Record, Venue
from tidegate.safeguards.stack import Stack
from tidegate.service import kept
from tidegate.service.auth import Identity, read_keys
from tidegate.service.calls import Route
from tidegate.service.doorman import Doorman
from tidegate.service.governance import Governance
from tidegate.service.layers import UVICORN
from tidegate.service.metrics import Metrics
from tidegate.service.observing import timed
from tidegate.service.ops_routes import waiting_app
from tidegate.service.overrides import Overrides
from tidegate.service.rules import Rules
from tidegate.service.runner import Stopped
from tidegate.service.service import Service
from tidegate.service.settings import Places, Tuning
from tidegate.service.site import FOLDED, Folds, Site, file_of, fresh, kept_records, lens_of
from tidegate.service.tracing import Tracing


FINE, MENDED, AGAIN = 0, 2, 75  # told to end; the operator's; start again, another one leads
GRACE_S: Final = 5  # for answers that are on their way when it ends

_LOG: Final = structlog.get_logger("tidegate.serve")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one process shall be."""

    stack: Stack
    places: Places
    tuning: Tuning
    host: str = "127.0.0.1"
    port: int = 8700
    mode: str = "advising"
    standby: bool = False
    venue: Venue | None = None
    clock: Clock | None = None
    anonymous: Identity | None = None
    tracing: Tracing | None = None
    rows: Callable[[Service], Sequence[Route]] = lambda _: ()
    beside: Callable[[Site], "asyncio.Future[None]"] | None = None  # one more task, as in a demo


def run(wanted: Wanted) -> int:
    """Serve until told to end by a signal; return the exit code.

    Raise ConfigInvalid where the address cannot be listened on: then nothing has been opened.
    """
    with bound(wanted.host, wanted.port) as listening:
        _LOG.info("listening", address=f"http://{wanted.host}:{wanted.port}")
        return asyncio.run(_serve(wanted, listening))


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise ConfigInvalid where the address is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        raise ConfigInvalid(
            where="--listen",
            what="must be a free address of this machine",
            found=f"{host}:{port} ({error.strerror or error})",
            hint="end what listens there, or name another port",
        ) from error
    # Sockets that are accepted inherit it. Without it the body of an answer waits 40 ms for the
    # other side to acknowledge the headers; asyncio sets it only on sockets that it makes itself.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


async def _serve(wanted: Wanted, listening: socket.socket) -> int:
    doorman, ending = Doorman(), threading.Event()
    config = uvicorn.Config(
        doorman,
        log_config=None,
        lifespan="off",
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        **UVICORN,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, partial(_end, server, doorman, ending))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    leading = asyncio.create_task(_lead(wanted, doorman, ending))
    done, _ = await asyncio.wait({serving, leading}, return_when=asyncio.FIRST_COMPLETED)
    ending.set()
    server.should_exit = True
    if leading not in done:
        leading.cancel()
    await asyncio.wait({serving})
    with contextlib.suppress(asyncio.CancelledError):
        code = await leading
        return code if serving in done or code else FINE
    return FINE


class _Server(uvicorn.Server):
    """A server whose signals are ours: the crank ends after the last answer."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield


def _end(server: uvicorn.Server, doorman: Doorman, ending: threading.Event) -> None:
    _LOG.info("ending")
    ending.set()
    doorman.leave()  # who follows a stream is told where to go on before the sockets close
    server.should_exit = True


async def _lead(wanted: Wanted, doorman: Doorman, ending: threading.Event) -> int:
    """Stand by if asked to, then lead until cancelled or stopped; return the exit code."""
    try:
        site = await asyncio.to_thread(_site, wanted, doorman, ending)
    except (TidegateError, OSError) as error:  # of the system: a folder, a file
        _LOG.error("not started", error=str(error))
        return MENDED
    if site is None:
        return FINE
    try:
        await asyncio.to_thread(site.start)
        doorman.leave = site.hub.close
        doorman.inner = site.app
        _LOG.info("leading", epoch=int(getattr(site.engine.journal, "epoch", 0)))
        await _keep(wanted, site)
    except asyncio.CancelledError:
        return FINE
    except Exception as error:  # noqa: BLE001 (said, and the process ends)
        return _ended(site, error)
    finally:
        doorman.inner, doorman.why = None, "ending"
        site.hub.close()
        await asyncio.to_thread(site.stop)
    return FINE


async def _keep(wanted: Wanted, site: Site) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(site.run())
            if wanted.beside is not None:
                group.create_task(_beside(wanted.beside(site)))
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


async def _beside(task: "asyncio.Future[None]") -> None:
    await task


def _first(failure: BaseException) -> BaseException:
    while isinstance(failure, BaseExceptionGroup):
        failure = cast("BaseExceptionGroup[BaseException]", failure).exceptions[0]
    return failure


def _ended(site: Site, error: Exception) -> int:
    """Say why the crank, or a task beside it, has stopped; return the exit code."""
    cause = site.engine.failed or error
    if isinstance(cause, LeaderLost):
        _LOG.warning("another process leads now", error=str(cause))
        return AGAIN
    if isinstance(cause, TidegateError) and not isinstance(cause, Stopped):
        _LOG.error("stopped", error=str(cause))
        return MENDED
    _LOG.error("stopped by a bug", exc_info=cause)
    return MENDED


def _site(wanted: Wanted, doorman: Doorman, ending: threading.Event) -> Site | None:
    """Open the journal, or wait for it; return the site that leads, None when told to end."""
    make = partial(_made, wanted)
    _ready(wanted.places)
    if (file := file_of(wanted.places.journal)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    if not wanted.standby:
        return make(open_journal(wanted.places.journal))
    heard = kept_records()
    followed: list[tuple[Governance, Overrides]] = []

    def hear(record: Record, state: State) -> None:
        del state
        heard.append(record)
        if not followed:
            followed.append(_recalled(wanted))
        for fold in followed[0]:
            fold.hear([record])

    folds: list[Folds] = []
    metrics = Metrics(wanted.stack)

    def crank(journal: LiveJournal) -> Crank:
        folds.append(_folds(wanted, journal, followed[0] if followed else None))
        tuning = wanted.tuning
        return Crank(
            timed(journal, metrics.committed),
            wanted.stack,
            folds[-1].switch,
            batch_max=tuning.batch_max,
            snapshot_every=tuning.snapshot_every,
            lens=lens_of(wanted.stack),
        )

    doorman.why = "standing by: another process leads"
    _LOG.info("standing by")
    opens = partial(_opened, wanted.places.journal)
    waiting = Standby(opens, wanted.stack, hear=hear)
    metrics.probes.head = lambda: waiting.head
    doorman.beside = waiting_app(metrics)
    try:
        led = waiting.wait(crank, ending.wait)
    finally:
        waiting.close()
    if led is None:
        return None
    _LOG.info("taking over", head=led.recovered.head, resubmitted=led.recovered.resubmitted)
    site = make(led.journal, folds=folds[-1], crank=led.crank, heard=tuple(heard), metrics=metrics)
    said = f"this process has taken over, at record {led.recovered.head}"
    site.alerts.raised("leader_changed", said)
    return site


def _ready(places: Places) -> None:
    """Read what a leader needs already now: a standby must not find at its turn that it cannot."""
    places.state.mkdir(parents=True, exist_ok=True)
    if places.keys is not None:
        read_keys(places.keys)
    if places.governors is not None:
        Rules.load(places.governors)


def _opened(address: str, *, readonly: bool) -> LiveJournal:
    return open_journal(address, readonly=readonly)


def _recalled(wanted: Wanted) -> tuple[Governance, Overrides]:
    """Return folds of all that the journal says, read while there is time for it."""
    both = fresh(wanted.stack, wanted.mode)
    with contextlib.closing(open_journal(wanted.places.journal, readonly=True)) as journal:
        kept.recall(wanted.places.state / FOLDED, journal, *both)
    return both


def _folds(
    wanted: Wanted, journal: LiveJournal, heard: tuple[Governance, Overrides] | None = None
) -> Folds:
    venue = wanted.venue or Outbox()
    return Folds(wanted.stack, journal, wanted.places.state, venue, wanted.mode, heard=heard)


def _made(
    wanted: Wanted,
    journal: LiveJournal,
    *,
    folds: Folds | None = None,
    crank: Crank | None = None,
    heard: Sequence[Record] = (),
    metrics: Metrics | None = None,
) -> Site:
    try:
        return Site(
            wanted.stack,
            journal,
            wanted.places,
            wanted.tuning,
            folds=folds or _folds(wanted, journal),
            clock=wanted.clock,
            crank=crank,
            heard=heard,
            anonymous=wanted.anonymous,
            tracing=wanted.tracing,
            metrics=metrics,
            rows=wanted.rows,
        )
    except BaseException:
        journal.close()
        raise
