"""What the engine tells whoever measures it: how each batch went, in times of one steady clock."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

from tidegate.drivers.live import LiveJournal
from tidegate.ports import Receipt, Record, Snapshot


class Offered(NamedTuple):
    """One request of a batch: when it was offered, and what the observer kept with it then."""

    at: float  # `time.perf_counter`, as all times here
    kept: object


class Settled(NamedTuple):
    """One batch that is durable and answered."""

    events: int
    began: float  # to be stepped
    durable: float
    requests: Sequence[Offered]


class Observer(Protocol):
    """Somebody who measures: quick, and never raises."""

    def offered(self) -> object:
        """Return what to keep with a request; on the thread of whoever offers it."""
        ...

    def settled(self, batch: Settled) -> None:
        """Hear of a batch; on the crank's thread."""
        ...


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def offered(self) -> object:
        """See `Observer`."""
        return tuple(o.offered() for o in self._observers)

    def settled(self, batch: Settled) -> None:
        """See `Observer`."""
        for n, observer in enumerate(self._observers):
            mine = [Offered(at, cast("tuple[object, ...]", kept)[n]) for at, kept in batch.requests]
            observer.settled(batch._replace(requests=mine))


class Commit(NamedTuple):
    """One call of the journal: what it was, when it began and ended, and what went wrong."""

    what: str  # append, save
    begun: float
    ended: float
    failure: str


class _Timed:
    """A journal whose commits and snapshots are timed; all else is the journal's own affair."""

    def __init__(self, journal: LiveJournal, hear: Callable[[Commit], None]) -> None:
        self._journal, self._hear = journal, hear

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the journal has
        return getattr(self._journal, name)

    def append(self, records: Sequence[Record], receipts: Sequence[Receipt] = ()) -> None:
        begun = time.perf_counter()
        try:
            self._journal.append(records, receipts)
        except BaseException as error:
            self._hear(Commit("append", begun, time.perf_counter(), str(error) or repr(error)))
            raise
        self._hear(Commit("append", begun, time.perf_counter(), ""))

    def save(self, snapshot: Snapshot) -> None:
        begun = time.perf_counter()
        try:
            self._journal.save(snapshot)
        except BaseException as error:
            self._hear(Commit("save", begun, time.perf_counter(), str(error) or repr(error)))
            raise
        self._hear(Commit("save", begun, time.perf_counter(), ""))


def timed(journal: LiveJournal, *hear: Callable[[Commit], None]) -> LiveJournal:
    """Return ``journal`` with its commits told to ``hear``, on the thread that commits."""

    def told(commit: Commit) -> None:
        for one in hear:
            one(commit)

    return cast("LiveJournal", _Timed(journal, told))
