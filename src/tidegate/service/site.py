"""One running service, put together: the engine, the parts around it, and the tasks that keep them.

Made when this process leads, never before. What belongs to governors and operators is folded from
the journal first, because it says whether orders may leave; then the engine recovers; then the
doors open.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from starlette.types import ASGIApp

from tidegate.adapters.advising import Switch
from tidegate.adapters.clock import WallClock
from tidegate.adapters.journals import open_journal
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.adapters.parquet_tail import ParquetTail
from tidegate.api.answers import VenueNow
from tidegate.drivers.live import Crank, LiveJournal
from tidegate.drivers.recording_tail import reader
from tidegate.drivers.threads import Threads
from tidegate.engine.lens import Lens
from tidegate.ports import Clock, Record, Venue
from tidegate.safeguards.stack import Stack
from tidegate.service import (
    check_routes,
    feed_routes,
    governance_routes,
    intake_routes,
    kept,
    ops_routes,
    pages,
    read_routes,
    replay_routes,
)
from tidegate.service.alerts import Alerts
from tidegate.service.app import build
from tidegate.service.audit import AuditLog
from tidegate.service.auth import Identity, KeyRing
from tidegate.service.calls import Route
from tidegate.service.checks import Checks
from tidegate.service.clock import GuardedClock
from tidegate.service.desk import Desk, listener
from tidegate.service.door import Door
from tidegate.service.feed_routes import Feeds
from tidegate.service.feed_socket import feed_socket
from tidegate.service.feeds import Feed, FolderSource, NatsSource
from tidegate.service.governance import Governance
from tidegate.service.layers import layered, open_paths
from tidegate.service.metrics import Metrics
from tidegate.service.observing import timed
from tidegate.service.overrides import Overrides
from tidegate.service.pretrade import Desk as PreTradeDesk
from tidegate.service.projections import Projections
from tidegate.service.reading import Reading
from tidegate.service.reconcile import Reconciler
from tidegate.service.replays import Replays
from tidegate.service.rules import Rules
from tidegate.service.runner import Engine
from tidegate.service.service import Service
from tidegate.service.settings import Places, Tuning
from tidegate.service.shadowrun import ShadowRuns
from tidegate.service.silence import Silence, expected
from tidegate.service.tickets import Tickets
from tidegate.service.timekeeper import Timekeeper
from tidegate.service.timing import Timing
from tidegate.service.tracing import Tracing
from tidegate.service.views import venue_now
from tidegate.service.watching import Watch, watched


HOLD_NS: Final = 10_000_000_000  # how long an order that is not sent counts as in flight
SHOW_S: Final = 1.0  # how often the venue as a whole is told to the stream
FOLDED: Final = "governed.msgpack"
LARGE: Final = 32_768  # accounts for which a packed copy of the book is kept
HEARD: Final = 50_000  # records that a standby keeps for the memory of the views

_LOG: Final = structlog.get_logger("tidegate.service")


class Folds:
    """What the journal says of governors and operators, and the venue that obeys it."""

    def __init__(
        self, stack: Stack, journal: LiveJournal, folder: Path, venue: Venue, mode: str
    ) -> None:
        self._file = folder / FOLDED
        self.governance = Governance.of(stack)
        self.overrides = Overrides.of(stack, mode=mode)
        kept.recall(self._file, journal, self.governance, self.overrides)
        turns = self.overrides.turns
        self.switch = Switch(venue, mode=mode, turns=turns, hold_ns=HOLD_NS)

    def keep(self) -> None:
        """Write down what was folded, so that the next start need not read all of it again."""
        kept.keep(self._file, self.governance, self.overrides)


class Site:
    """Everything of one leading process; `start`, serve `app`, `run` its tasks, `stop`.

    Parameters
    ----------
    journal
        Open for writing; the site closes it.
    venue
        Where orders go when they may; None: they wait to be fetched (`Outbox`).
    clock
        None: the wall clock, guarded against jumps.
    crank, heard
        Of a standby that has taken over: its warm crank, with the folds it was made with, and the
        newest records that it has applied.
    anonymous
        Who a request without a key is; for a demonstration only.
    """

    def __init__(
        self,
        stack: Stack,
        journal: LiveJournal,
        places: Places,
        tuning: Tuning,
        *,
        mode: str = "advising",
        venue: Venue | None = None,
        clock: Clock | None = None,
        folds: Folds | None = None,
        crank: Crank | None = None,
        heard: Sequence[Record] = (),
        anonymous: Identity | None = None,
        tracing: Tracing | None = None,
        metrics: Metrics | None = None,
        rows: Callable[[Service], Sequence[Route]] = lambda _: (),
    ) -> None:
        places.state.mkdir(parents=True, exist_ok=True)
        self._places, self._tuning, self._heard = places, tuning, heard
        self.alerts = Alerts()
        guarded = GuardedClock(self.alerts) if clock is None else None
        self.folds = folds or Folds(stack, journal, places.state, venue or Outbox(), mode)
        metrics = metrics or Metrics(stack)
        self.engine = Engine(
            timed(journal, metrics.committed, *([tracing.committed] if tracing else [])),
            stack,
            self.folds.switch,
            clock or guarded or WallClock(),
            queue_max=tuning.queue_max,
            batch_max=tuning.batch_max,
            snapshot_every=tuning.snapshot_every,
            crank=crank,
            lens=lens_of(stack) if crank is None else None,
        )
        self.service = Service(self.engine, Door(stack))
        self.service.add(metrics)
        self.service.add(self.alerts)
        if guarded is not None:
            self.service.add(guarded)
        self.audit = AuditLog(
            places.state / "audit.jsonl", troubled=partial(self.alerts.raised, "audit_lost")
        )
        self.ring = (
            KeyRing(places.keys, troubled=partial(self.alerts.raised, "keys_unreadable"))
            if places.keys is not None
            else None
        )
        tickets = self.service.add(Tickets(self.ring, anonymous=anonymous))
        self.hub = read_routes.equip(
            self.service, _past(journal, places.journal), settings=tuning.streams
        )
        self._govern()
        self._check()
        self._feed()
        watched(
            self.service,
            journal=file_of(places.journal),
            bounds=tuning.alerts,
            tracing=tracing,
        )
        self.room = self._replay(anybody=anonymous is not None)
        self.app = self._app(tickets, anonymous, tracing, rows)

    # ------------------------------------------------------------ parts

    def _govern(self) -> None:
        folds, engine = self.folds, self.engine
        engine.listen(listener(folds.governance, folds.overrides, folds.switch.turn))
        engine.listen(_Keeper(folds, self._tuning.snapshot_every).listen)
        now = engine.clock.now
        desk = Desk(engine, folds.governance, folds.overrides, now, folds.switch.stop)
        self.service.add(desk)
        self.service.add(Reconciler(engine.stack, self.alerts))

    def _check(self) -> None:
        stack, places = self.engine.stack, self._places
        self.runs = ShadowRuns(stack, places.journal, places.state / "trials")
        desk = PreTradeDesk(stack, self._tuning.pretrade)
        self.service.add(Checks(self.engine, desk, self.runs))

    def _feed(self) -> None:
        places, door, venue = self._places, self.service.door, self.engine.stack.venue
        feeds: list[Feed] = []
        if places.nats:
            source = NatsSource(places.nats, places.nats_stream, door)
            feeds.append(Feed(source, self.engine, self.alerts))
        if places.tail is not None:
            folder, read = places.tail, reader(venue)
            tail = FolderSource(
                lambda after: ParquetTail(folder, read, after=after), door, f"tail:{folder.name}"
            )
            feeds.append(Feed(tail, self.engine, self.alerts))
        self.service.add(Feeds(feeds))
        silence = Silence(expected(venue), venue, self.alerts, after_s=self._tuning.silent_s)
        self.engine.listen(self.service.add(silence).listen)

    def _replay(self, *, anybody: bool) -> Replays | None:
        places = self._places
        if places.recordings is None:
            return None
        kept, wall = places.state / "replays", WallClock()
        room = Replays(places.recordings, kept, now=wall.now, anybody=anybody)
        return self.service.add(room)

    def _app(
        self,
        tickets: Tickets,
        anonymous: Identity | None,
        tracing: Tracing | None,
        rows: Callable[[Service], Sequence[Route]],
    ) -> ASGIApp:
        service = self.service
        routes = [
            *intake_routes.routes(),
            *read_routes.routes(),
            *ops_routes.routes(),
            *feed_routes.routes(service),
            *check_routes.routes(),
            *check_routes.proposal_routes(),
            *governance_routes.routes(),
            *(replay_routes.routes() if self.room is not None else ()),
            *rows(service),
        ]
        dashboard = pages.routes()
        more = [*read_routes.socket_routes(service), feed_socket(service), *dashboard]
        guarded = layered(
            build(service, routes, more=more),
            ring=self.ring,
            tickets=tickets,
            log=self.audit,
            open_paths=["/openapi.json", *open_paths(routes), *pages.open_paths()],
            anonymous=anonymous,
            bounds=self._tuning.limits,
        )
        trace = tracing.request if tracing is not None else None
        return Timing(guarded, answered=service.part(Metrics).answered, trace=trace)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Recover from the journal and begin to turn; blocks until it does."""
        found = self.engine.start(heard=self._heard)
        _LOG.info(
            "recovered",
            head=found.head,
            snapshot=found.snapshot,
            replayed=found.replayed,
            resubmitted=found.resubmitted,
            mode=self.engine.mode,
        )

    async def run(self) -> None:
        """Run every task of the service until one of them fails or the crank stops."""
        service, desk = self.service, self.service.part(Desk)
        self.hub.attach(asyncio.get_running_loop())
        if self._places.governors is not None:
            await desk.govern(Rules.load(self._places.governors))
        tasks = [
            Timekeeper(self.engine, self._tuning.tick_ns, self.alerts).run(),
            service.part(Watch).run(),
            service.part(Checks).keep(),
            service.part(Feeds).run(),
            self._tend(),
        ]
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)

    async def _tend(self) -> None:
        """Do what is due by the clock, and tell the stream how the venue stands."""
        desk, told = self.service.part(Desk), self.service.part(Projections)

        def venue(reading: Reading) -> VenueNow:
            return venue_now(reading, told.health, told.rung, told.rung_since)

        while True:
            await desk.tick()
            now = await self.engine.ask(venue)
            self.hub.show("venue", now.ts, now)
            await asyncio.sleep(SHOW_S)

    def stop(self) -> None:
        """End in order: nobody new is heard, what waits is taken, the journal is released."""
        self.engine.stop()
        self.runs.close()
        if self.room is not None:
            self.room.close()
        with contextlib.suppress(OSError):
            self.folds.keep()
        self.audit.close()


class _Keeper:
    """Writes the folds down as often as the engine keeps a snapshot, on the crank's thread."""

    def __init__(self, folds: Folds, every: int) -> None:
        self._folds, self._every, self._last = folds, every, -1

    def listen(self, records: Sequence[Record], reading: Reading) -> None:
        """Hear a batch; see `reading.Listener`."""
        del records
        if reading.head - self._last >= self._every:
            self._last = reading.head
            with contextlib.suppress(OSError):  # it only makes the next start faster
                self._folds.keep()


def lens_of(stack: Stack) -> Lens | None:
    """Return a lens over threads that live as long as the process; None for a book that needs none.

    Packing pays from some ten thousand accounts on.
    """
    if stack.venue.limits.accounts_max < LARGE:
        return None
    return Lens(Threads().__enter__())


def kept_records() -> "deque[Record]":
    """Return where a standby keeps the newest records it has applied."""
    return deque(maxlen=HEARD)


def _past(journal: LiveJournal, address: str) -> Callable[[int], Iterator[Record]]:
    """Return what reads the journal beside its writer, in the thread that asks."""
    if isinstance(journal, MemoryJournal):
        return journal.read

    def past(after: int) -> Iterator[Record]:
        with contextlib.closing(open_journal(address, readonly=True)) as opened:
            yield from opened.read(after)

    return past


def file_of(address: str) -> Path | None:
    """Return the file of an embedded journal; None for one on a server, or in memory."""
    if address.startswith("sqlite:///"):
        return Path(address.removeprefix("sqlite:///"))
    return Path(address) if ":" not in address else None
