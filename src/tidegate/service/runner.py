"""The crank's thread: requests in, durable records out, and reads between two batches.

Everything that touches the state happens on this one thread, in one order: take what waits (at most
a batch), step it, make it durable, answer; then look. So reads never race with writes, and nobody
needs a lock. What waits is bounded in events: a full queue refuses at once, with `Busy`, instead of
growing. After any failure of the crank the thread ends and everybody who waits is told; the process
is then started anew from the journal, which is the only way there is to start.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Final, TypeVar

import structlog

from tidegate.api.answers import Taken
from tidegate.domain.errors import AskInvalid, TidegateError
from tidegate.domain.events import Input
from tidegate.domain.units import SECOND
from tidegate.drivers.live import Crank, LiveJournal, Recovered
from tidegate.engine.lens import Lens
from tidegate.engine.state import State
from tidegate.ports import Clock, Record, Venue
from tidegate.safeguards.stack import Stack
from tidegate.service.door import Prepared
from tidegate.service.observing import Observer, Offered, Settled
from tidegate.service.outcomes import taken_of
from tidegate.service.reading import Listener, Names, Reading
from tidegate.service.requests import Batch, Read, Request


T = TypeVar("T")

QUEUE_MAX: Final = 20_000  # events that may wait
BATCH_MAX: Final = 1_000  # events made durable together
SNAPSHOT_EVERY: Final = 200_000
AHEAD_MAX: Final = 5 * SECOND  # a time further ahead of our clock is refused
READ_S: Final = 0.01  # seconds of reads between two batches while events wait; one read at least
IDLE: Final = 0.05  # seconds after which the venue is asked again although nothing has come

_LOG: Final = structlog.get_logger("tidegate.crank")


class Busy(TidegateError):
    """The queue is full: nothing of the request was taken, and it may be sent again."""


class Stopped(TidegateError):
    """The crank has stopped: whether the request was taken is known to whoever asks again."""


class Conflict(AskInvalid):
    """The request contradicts what was taken before; it will not be taken later either."""


class Engine:
    """One crank on its own thread.

    Parameters
    ----------
    journal, stack, venue, clock
        As for `Crank`; the clock dates what comes without a time.
    queue_max, batch_max
        Events that may wait, and that are made durable together.
    crank
        A warm one that turns already, of a standby that has taken over.
    lens
        For large books; see `engine.lens`.
    """

    def __init__(
        self,
        journal: LiveJournal,
        stack: Stack,
        venue: Venue,
        clock: Clock,
        *,
        queue_max: int = QUEUE_MAX,
        batch_max: int = BATCH_MAX,
        snapshot_every: int = SNAPSHOT_EVERY,
        crank: Crank | None = None,
        lens: Lens | None = None,
    ) -> None:
        self.stack, self.clock, self.venue, self.journal = stack, clock, venue, journal
        self.failed: BaseException | None = None
        self.observer: Observer | None = None  # set before the start
        self._crank = crank or Crank(
            journal,
            stack,
            venue,
            batch_max=batch_max,
            snapshot_every=snapshot_every,
            lens=lens,
        )
        self._warm = crank is not None
        self._queue_max, self._batch_max = queue_max, batch_max
        self._waiting: deque[Request] = deque()
        self._reads: deque[Read] = deque()
        self._events = 0  # in `_waiting`
        self._bell = threading.Condition()
        self._stopping = False
        self._listeners: list[tuple[Listener, bool]] = []
        self._names = Names(self._crank.state)
        self._thread = threading.Thread(target=self._turn, name="crank", daemon=True)

    # ------------------------------------------------------------ beginning and end

    def listen(self, listener: Listener, *, vital: bool = False) -> None:
        """Call ``listener`` on the crank's thread after each durable batch, and at start-up.

        One that raises is a bug: it is logged, and only a ``vital`` one stops the crank. What only
        shows must not end what protects, all the less as a new start hears the same records again.
        """
        self._listeners.append((listener, vital))

    def start(self, *, check: bool = False, heard: Sequence[Record] = ()) -> Recovered:
        """Recover from the journal, let listeners hear what was replayed, and begin to turn.

        ``heard`` are the newest records that a warm crank has applied already.
        """
        if self._warm:
            found = Recovered(self._crank.head, self._crank.taken, -1, 0, 0)
        else:
            found = self._crank.start(check=check, hear=self._hear_old)
        self._names = Names(self._crank.state)
        if heard:
            self._tell(heard)
        self._tell(())  # that was all of the past
        self._thread.start()
        return found

    def stop(self, wait: float = 30.0) -> None:
        """Take what waits, keep a snapshot, release the journal and end the thread."""
        with self._bell:
            self._stopping = True
            self._bell.notify()
        if self._thread.is_alive():
            self._thread.join(wait)
        if self.failed is None and not self._thread.is_alive():
            self._crank.close()

    @property
    def mode(self) -> str:
        """Whether our orders leave: armed, advising or halted."""
        return str(getattr(self.venue, "mode", "armed"))

    # ------------------------------------------------------------ asking

    def offer(
        self,
        asks: Sequence[Prepared | Input],
        *,
        source: str,
        key: str = "",
        digest: str = "",
    ) -> "Future[Taken]":
        """Hand over events that belong together; the future is done when they are durable.

        With a ``key``, what was taken under it once is not taken again: the first answer is
        repeated. ``digest`` is that of the request: another one under the same key is refused.
        Raise Busy when the queue is full, Stopped when the crank has ended, AskInvalid for a time
        too far ahead of our clock.
        """
        now = self.clock.now()
        for n, ask in enumerate(asks):
            if ask.ts is not None and ask.ts > now + AHEAD_MAX:
                raise AskInvalid(
                    where=f"events[{n}].ts",
                    what=f"must be at most {AHEAD_MAX // SECOND} s ahead of this clock ({now})",
                    found=str(ask.ts),
                    hint="set one of the two clocks right",
                )
        kept = self.observer.offered() if self.observer is not None else None
        made = [ask for ask in asks if isinstance(ask, Prepared)]
        request = Request(
            asks,
            source,
            key,
            digest,
            arrived=now,
            begun=time.perf_counter(),
            kept=kept,
            alone=any(ask.alone for ask in made),
            opens=[name for ask in made for name in ask.opens],
        )
        with self._bell:
            self._must_turn()
            if self._events + len(asks) > self._queue_max and self._events:
                msg = f"{self._events:,} events wait already; send again later"
                raise Busy(msg)
            self._waiting.append(request)
            self._events += len(asks)
            self._bell.notify()
        return request.answer

    async def take(
        self,
        asks: Sequence[Prepared | Input],
        *,
        source: str,
        key: str = "",
        digest: str = "",
    ) -> Taken:
        """Offer, and wait until it is durable; see `offer`."""
        return await asyncio.wrap_future(self.offer(asks, source=source, key=key, digest=digest))

    async def ask(self, read: Callable[[Reading], T]) -> T:
        """Return what ``read`` finds, on the crank's thread between two batches."""
        return await asyncio.wrap_future(self.look(read))

    def look(self, read: Callable[[Reading], T]) -> "Future[T]":
        """Do as `ask` does, for callers without an event loop."""
        wanted = Read(read)
        with self._bell:
            self._must_turn()
            self._reads.append(wanted)
            self._bell.notify()
        return wanted.answer  # type: ignore[return-value]  # pyright: ignore[reportReturnType] (its own T)

    @property
    def queue_max(self) -> int:
        """How many events may wait."""
        return self._queue_max

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return self._events

    def room(self) -> int:
        """Return how many more events may wait: what a polling feed may fetch."""
        return max(0, self._queue_max - self._events)

    def _must_turn(self) -> None:
        if self._stopping or self.failed is not None:
            msg = "the crank has stopped" + (f": {self.failed}" if self.failed else "")
            raise Stopped(msg)

    # ------------------------------------------------------------ the thread

    def _turn(self) -> None:
        reads = deque[Read]()
        try:
            while True:
                with self._bell:
                    if not (self._waiting or self._reads or self._stopping):
                        self._bell.wait(IDLE)
                    batch, reads = self._due()
                    over = self._stopping and not (batch or reads)
                if over:
                    self._crank.snapshot()
                    return
                if batch:
                    self._take(batch)
                heard = self._crank.answers(self.clock.now())
                if heard:
                    self._tell(heard)
                self._look_until(time.perf_counter() + READ_S, reads)
        except BaseException as error:  # noqa: BLE001 (told to everybody who waits)
            self._fail(error, reads)

    def _look_until(self, due: float, reads: "deque[Read]") -> None:
        """Answer reads in their order; past ``due`` the rest waits, where events wait already."""
        while reads:
            self._read(reads.popleft())
            if self._waiting and time.perf_counter() > due:
                break
        if reads:
            with self._bell:
                self._reads.extendleft(reversed(reads))
            reads.clear()

    def _due(self) -> "tuple[list[Request], deque[Read]]":
        """Return the requests of the next batch and all reads; at least one request whole."""
        batch: list[Request] = []
        events, opened = 0, set[str]()
        while self._waiting:
            request = self._waiting[0]
            if batch and (
                events + len(request.asks) > self._batch_max
                or request.alone
                or batch[-1].alone
                or (request.opens and not self._free(request.opens, opened))
            ):
                break
            events += len(request.asks)
            opened.update(request.opens)
            batch.append(self._waiting.popleft())
        self._events -= events
        reads, self._reads = self._reads, deque[Read]()
        return batch, reads

    def _free(self, names: Sequence[str], opened: set[str]) -> bool:
        """Return whether accounts can be opened even if all of ``opened`` are.

        Where they cannot, they wait for the next batch: by then it is known which of them are.
        """
        book = self._crank.state.book
        fit = book.accounts + len(opened) + len(names) <= book.cash.size
        return fit and opened.isdisjoint(names)

    def _take(self, requests: list[Request]) -> None:
        try:
            self._taken(requests)
        except BaseException as error:
            # Whatever it was, the journal's own included: nobody who waits is forgotten.
            for request in requests:
                _fail(request.answer, Stopped(str(error)))
            raise

    def _taken(self, requests: list[Request]) -> None:
        again: list[tuple[Request, Request]] = []  # the same key twice in one batch
        fresh: list[Request] = []
        known: dict[tuple[str, str], Request] = {}
        for request in requests:
            if request.key and (first := known.get((request.source, request.key))):
                again.append((request, first))
            elif not self._answered(request) and not self._refused(request):
                fresh.append(request)
                known[request.source, request.key] = request
        batch = Batch(fresh, self._crank.head + 1, self._names, self._crank.state)
        began = time.perf_counter()
        records = self._crank.take(batch) if fresh else []
        done = time.perf_counter()
        for request, begin, end in batch.spans(len(records)):
            request.taken = taken_of(records[begin:end], self.stack)
            _done(request.answer, request.taken)
        for request, first in again:
            self._repeat(request, first)
        if records:
            if self.observer is not None:
                told = [Offered(r.begun, r.kept) for r in fresh]
                self.observer.settled(Settled(len(records), began, done, told))
            self._tell(records)

    def _answered(self, request: Request) -> bool:
        """Answer a request whose key was taken before; return whether it was."""
        if not request.key:
            return False
        kept = self.journal.receipt(request.source, request.key)
        if kept is None:
            return False
        if kept.ask != request.digest:
            _fail(request.answer, _used(request.key))
        else:
            _done(request.answer, Taken(first=kept.first, last=kept.last, again=True))
        return True

    def _refused(self, request: Request) -> bool:
        """Refuse a request that opens accounts that are there, or too many; return whether."""
        book, opens, mine = self._crank.state.book, request.opens, set[str]()
        for name in opens:
            if name in mine or self._names.row(name) >= 0:
                error = Conflict(where="name", what="must be new", found=f"{name!r}, which is open")
                break
            mine.add(name)
        else:
            if not opens or book.accounts + len(opens) <= book.cash.size:
                return False
            error = Conflict(
                where="name",
                what=f"must fit into limits.accounts_max = {book.cash.size:,}",
                found=f"{len(opens):,} more than the {book.accounts:,} that are open",
                hint="raise the limit in the venue's file and start again",
            )
        _fail(request.answer, error)
        return True

    def _repeat(self, request: Request, first: Request) -> None:
        if request.digest != first.digest:
            _fail(request.answer, _used(request.key))
            return
        taken = first.taken
        assert taken is not None, "what is fresh was taken, or the crank has stopped"
        _done(request.answer, Taken(first=taken.first, last=taken.last, again=True))

    def _reading(self) -> Reading:
        return Reading(
            state=self._crank.state,
            stack=self.stack,
            names=self._names,
            head=self._crank.head,
            mode=self.mode,
            epoch=int(getattr(self.journal, "epoch", 0)),
            leader=True,
            waiting=self._events,
        )

    def _tell(self, records: Sequence[Record]) -> None:
        reading = self._reading()
        for listener, vital in self._listeners:
            try:
                listener(records, reading)
            except Exception:
                if vital:
                    raise
                _LOG.exception("a listener failed", first=records[0].seq if records else -1)

    def _hear_old(self, record: Record, state: State) -> None:
        if not self._names.of(state):  # a snapshot was restored: another state than at first
            self._names = Names(state)
        self._tell([record])

    def _read(self, wanted: Read) -> None:
        if not wanted.answer.set_running_or_notify_cancel():
            return
        try:
            found = wanted.read(self._reading())
        except Exception as error:  # noqa: BLE001 (the reader's own: it hears of it)
            wanted.answer.set_exception(error)
        else:
            wanted.answer.set_result(found)

    def _fail(self, error: BaseException, asked: Iterable[Read]) -> None:
        with self._bell:
            self.failed = error
            left, reads = list(self._waiting), [*asked, *self._reads]
            self._waiting.clear()
            self._reads.clear()
        for request in left:
            _fail(request.answer, Stopped(str(error)))
        for wanted in reads:
            _fail(wanted.answer, Stopped(str(error)))


def _used(key: str) -> Conflict:
    return Conflict(
        where="Idempotency-Key",
        what="must be new for another request",
        found=f"{key!r}, under which something else was taken",
    )


def _done(answer: "Future[Taken]", taken: Taken) -> None:
    if not answer.done() and answer.set_running_or_notify_cancel():
        answer.set_result(taken)


def _fail(answer: "Future[T]", error: Exception) -> None:
    if not answer.done() and answer.set_running_or_notify_cancel():
        answer.set_exception(error)
