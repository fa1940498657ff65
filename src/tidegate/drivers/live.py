"""The live crank: decide, journal durably, evolve, act; and the recovery that is its only start.

Events are stepped in memory, batch by batch, because the effects of one depend on the one before.
What a batch decided stays inside until the batch is durable: nothing is acknowledged, and no order
leaves, before the journal has it. If it cannot be made durable the crank stops; the state in memory
is then ahead of the journal and is thrown away with the process.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np

from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.errors import TidegateError
from tidegate.domain.events import ENDOGENOUS, Input
from tidegate.domain.units import Nanos, pack
from tidegate.drivers.verify import compare
from tidegate.engine.lens import Lens
from tidegate.engine.state import State
from tidegate.engine.step import apply, decide, step
from tidegate.ports import Journal, Receipt, Record, Snapshot, Venue
from tidegate.safeguards.stack import Stack


BATCH_MAX: Final = 256
SNAPSHOT_EVERY: Final = 10_000


class LiveJournal(Journal, Protocol):
    """A journal that also knows whose it is, and where the feed goes on."""

    @property
    def taken(self) -> int:
        """How many of the records came from the feed; the others are answers of the venue."""
        ...

    @property
    def link(self) -> bytes:
        """The link of the last record; `read` may go on from it."""
        ...

    @property
    def epoch(self) -> int:
        """How many writers there were so far, this one included."""
        ...

    def claim(self, identity: str) -> None:
        """Belong to ``identity`` from now on; ConfigInvalid when it belongs to another one."""
        ...

    def refresh(self) -> int:
        """Look again how far the writer has come, as a reader beside it; return the head."""
        ...


class Recovered(NamedTuple):
    """What `Crank.start` found and did."""

    head: int  # last durable record
    taken: int  # the feed goes on after this many of its events
    snapshot: int  # record after which the state was at hand; -1: none was of use
    replayed: int  # records applied after it
    resubmitted: int  # orders in flight that the venue was told of again


class Rebuilt(NamedTuple):
    """A state that stands after record ``seq`` of a journal, whose link was ``link``."""

    state: State
    seq: int
    link: bytes


def restored(journal: Journal, stack: Stack) -> Rebuilt:
    """Load the newest snapshot, or begin at the beginning.

    The journal has verified its bytes. A state that does not come out as it went in was saved
    under other limits or by another version: the journal is the authority, and rebuilds it.
    """
    snapshot = journal.latest()
    if snapshot is not None:
        try:
            state = State.load(snapshot.state, stack)
            fits = state.seq == snapshot.seq + 1 and state.digest() == snapshot.digest
        except (ValueError, LookupError, TypeError, AttributeError, msgspec.MsgspecError):
            pass
        else:
            if fits:
                return Rebuilt(state, snapshot.seq, snapshot.link)
    return Rebuilt(State.genesis(stack), -1, b"")


class Intake(Protocol):
    """A batch of requests, each of one event or several that belong together."""

    def events(self) -> Iterator[Input]:
        """Yield the events, each after the one before it was stepped."""
        ...

    def receipts(self, records: Sequence[Record]) -> Sequence[Receipt]:
        """Return what ``records`` were made of; they are the first ones, and whole requests."""
        ...

    def whole(self, records: int) -> int:
        """Return how many of the first ``records`` records belong to requests that are complete."""
        ...


class Crank:
    """One engine beside one venue.

    Call `start` first: it rebuilds the state from the journal, which is the same work after a clean
    stop, a crash and on the first day. Then `feed` what happened and `pump` what the venue answers,
    from one thread. After any exception the crank is stopped; a new one starts from the journal.

    Parameters
    ----------
    journal, stack, venue
        The journal is closed by `close`; stack and venue are the caller's.
    batch_max
        Events made durable together at most. More is faster and holds orders back for longer.
    snapshot_every
        Records between two snapshots. Recovery replays about this many.
    lens
        Makes judgements of large books faster, and changes nothing that is decided.
    """

    def __init__(
        self,
        journal: LiveJournal,
        stack: Stack,
        venue: Venue,
        *,
        batch_max: int = BATCH_MAX,
        snapshot_every: int = SNAPSHOT_EVERY,
        lens: Lens | None = None,
    ) -> None:
        assert batch_max >= 1
        assert snapshot_every >= 1
        self._journal, self._stack, self._venue = journal, stack, venue
        self._batch_max, self._snapshot_every = batch_max, snapshot_every
        self._state, self._lens = State.genesis(stack), lens
        self._kept = -1  # record of the last snapshot
        self._turning = False

    @property
    def state(self) -> State:
        """The state after the last event; to be read only."""
        return self._state

    @property
    def head(self) -> int:
        """The last acknowledged record: it is durable, and what it decided has left."""
        return self._journal.head

    @property
    def taken(self) -> int:
        """How many events of the feed are acknowledged."""
        return self._journal.taken

    def start(
        self,
        *,
        check: bool = False,
        hear: Callable[[Record, State], None] | None = None,
        warm: Rebuilt | None = None,
    ) -> Recovered:
        """Rebuild the state, tell the venue of every order in flight, and begin to turn.

        ``hear`` is told every record that is applied, with the state after it. The hash chain is
        verified from the snapshot on. ``check`` verifies it from record 0, also decides every
        replayed event anew and raises ReplayDiverged where the effects differ; without it the
        journal is taken at its word. ``warm`` is a state that has followed this journal already;
        it belongs to the crank from now on. Raise ConfigInvalid when the journal was written under
        another stack or venue; limits may be raised between two starts.
        """
        assert not self._turning, "a crank is started once"
        self._journal.claim(identity(self._stack))
        begin = warm or restored(self._journal, self._stack)
        self._state, snapshot, replayed = begin.state, begin.seq, 0
        for record in self._journal.read(snapshot, b"" if check else begin.link):
            if check:
                compare(record, decide(self._state, record.event, self._stack))
            apply(self._state, record.event, record.effects)
            if hear is not None:
                hear(record, self._state)
            replayed += 1
        assert self._state.seq == self._journal.head + 1, "a journal yields all it has"
        self._kept, self._turning = snapshot, True
        resubmitted = 0
        for orders in in_flight(self._state, self._stack):
            self._venue.submit(Nanos(self._state.now), orders)
            resubmitted += len(orders.lots) // 8
        return Recovered(self._journal.head, self._journal.taken, snapshot, replayed, resubmitted)

    def feed(self, events: Iterable[Input]) -> int:
        """Take what happened outside; return the last acknowledged record.

        Everything handed over is durable when this returns, in batches of ``batch_max``. Answers of
        the venue do not belong here: `pump` fetches them.
        """
        source = iter(events)
        while batch := list(islice(source, self._batch_max)):
            assert not any(isinstance(e, ENDOGENOUS) for e in batch), "answers come through pump"
            self._turn(batch)
        return self.head

    def take(self, intake: Intake) -> list[Record]:
        """Take requests of any kind, made durable together with their receipts; return the records.

        Events are asked for one at a time, each after the one before it was stepped: whoever makes
        them may look at `state`. A request that fails in its middle leaves nothing behind.
        """
        return self._turn(intake.events(), intake)

    def pump(self, now: Nanos) -> int:
        """Take what the venue has answered up to ``now``; return the last acknowledged record."""
        self.answers(now)
        return self.head

    def answers(self, now: Nanos) -> list[Record]:
        """Take what the venue has answered up to ``now``; return the records.

        An answer older than the last event is dated to that one: it happened before, and it is
        heard only now. The whole answer is one batch, so that it is never half heard.
        """
        self._must_turn()
        heard = self._venue.poll(now)
        assert all(isinstance(e, ENDOGENOUS) for e in heard), "a venue answers, it does not observe"
        if heard:
            late = self._state.now
            return self._turn(
                [e if e.ts >= late else msgspec.structs.replace(e, ts=late) for e in heard]
            )
        return []

    def snapshot(self) -> None:
        """Keep the state, so that the next start replays from here."""
        self._must_turn()
        head = self._journal.head
        if head > self._kept:
            self._journal.save(Snapshot(head, self._state.digest(), self._state.dump()))
            self._kept = head

    def close(self) -> None:
        """Stop and release the journal. Nothing needs to be saved: it already was."""
        self._turning = False
        self._journal.close()

    def _must_turn(self) -> None:
        if not self._turning:
            msg = "the crank stands still\nhint: `start` a new one from the journal"
            raise TidegateError(msg)

    def _turn(self, batch: Iterable[Input], intake: Intake | None = None) -> list[Record]:
        """Step a batch in memory, make it durable, then let its orders leave."""
        self._must_turn()
        self._turning = False  # until the batch is through: an exception leaves it so
        before = Nanos(self._state.now)
        records: list[Record] = []
        try:
            for event in batch:
                seq = self._state.seq
                effects = step(self._state, event, self._stack, self._lens)
                records.append(Record(seq, event, tuple(effects)))
        except BaseException:
            # What came before the culprit was decided in full. Keeping it makes the culprit the
            # first thing that a new start will be given, and nothing else is decided twice.
            whole = len(records) if intake is None else intake.whole(len(records))
            self._settle(records[:whole], before, intake)
            raise
        self._settle(records, before, intake)
        self._turning = True
        if self._journal.head - self._kept >= self._snapshot_every:
            self.snapshot()
        return records

    def _settle(self, records: Sequence[Record], before: Nanos, intake: Intake | None) -> None:
        """Make ``records`` durable, then submit at the venue time a recovery would submit at."""
        if not records:
            return
        now = Nanos(max(before, *(r.event.ts for r in records)))
        self._journal.append(records, intake.receipts(records) if intake is not None else ())
        for record in records:
            for effect in record.effects:
                if isinstance(effect, OrdersPlaced):
                    self._venue.submit(now, effect)


def identity(stack: Stack) -> str:
    """Return what a journal belongs to: declaration and venue, without the limits that may grow."""
    encoder = msgspec.msgpack.Encoder(order="deterministic")
    facts = {
        name: getattr(stack.venue, name)
        for name in stack.venue.__struct_fields__
        if name in {"name", "numeraire", "instruments", "sources"}
    }
    both = encoder.encode(stack.declaration) + encoder.encode(facts)
    return hashlib.blake2b(both, digest_size=8).hexdigest()


def in_flight(state: State, stack: Stack) -> Iterator[OrdersPlaced]:
    """Yield the orders in flight, oldest id first, with the lots that are still open.

    A venue that knows an order takes the open lots for what we have heard of it, and answers again
    what we have not; one that does not know it trades just these lots.
    """
    orders, book = state.orders, state.book
    live = np.flatnonzero(orders.key >= 0)
    live = live[np.argsort(orders.key[live])]
    keys = orders.key[live]
    for run in np.split(live, np.flatnonzero(np.diff(keys) != 1) + 1):
        if not run.size:
            continue
        row = orders.row[run]
        yield OrdersPlaced(
            first=int(orders.key[run[0]]),
            route=stack.declaration.route.name,
            account=pack(book.account[row]),
            instrument=pack(book.instrument[row]),
            lots=pack(orders.lots[run]),
            limit=pack(orders.limit[run]),
            share=pack(np.zeros(run.size)),
            at=Nanos(int(orders.placed[run[0]])),
        )
