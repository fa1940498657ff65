"""The holes in the wall: what the engine needs from outside, and what it promises in return."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from tidegate.domain.effects import Decision, OrdersPlaced
from tidegate.domain.events import Input
from tidegate.domain.units import Nanos


class Record(NamedTuple):
    """One line of the journal: an input and everything it caused."""

    seq: int
    event: Input
    effects: tuple[Decision, ...]


class Snapshot(NamedTuple):
    """The state after ``seq``, as bytes that only `engine.state` can read.

    A journal that chains its records fills in ``link``, the link of record ``seq``.
    """

    seq: int
    digest: str
    state: bytes
    link: bytes = b""


class Receipt(NamedTuple):
    """Where a record came from, durable with it: what was taken once is never taken again.

    ``source`` is a client or a stream; ``key`` is the client's idempotency key, or the place in the
    stream up to which everything was taken. ``ask`` is a digest of what was asked under the key.
    """

    source: str
    key: str
    first: int  # records that were made of it
    last: int
    ask: str = ""


class Feed(Protocol):
    """Where inputs come from, in an order that never changes once they were handed out."""

    def read(self, limit: int) -> Sequence[Input]:
        """Return at most ``limit`` inputs in order; empty when there is no news."""
        ...


class Clock(Protocol):
    """What time it is; only drivers ask."""

    def now(self) -> Nanos:
        """Return UTC time in nanoseconds."""
        ...


class Alerts(Protocol):
    """How people are told."""

    def raised(self, code: str, detail: str) -> None:
        """Tell somebody; never raise."""
        ...


class Venue(Protocol):
    """Where liquidations are executed.

    The engine runs at its own pace: it submits a batch, and later *polls* for what became of it.
    A venue never calls back. `submit` must be idempotent in order ids: after a crash the engine
    submits its unresolved orders again.
    """

    def submit(self, now: Nanos, orders: OrdersPlaced) -> None:
        """Hand over a batch. Raise nothing: a refusal comes back as an event."""
        ...

    def poll(self, now: Nanos) -> Sequence[Input]:
        """Return what has happened up to ``now``, in venue order; empty when there is no news."""
        ...


class Journal(Protocol):
    """The durable order of events: the authority from which all state can be rebuilt.

    Every implementation passes `tidegate.testing.JournalContract`.
    """

    def append(self, records: Sequence[Record], receipts: Sequence[Receipt] = ()) -> None:
        """Make the records durable, all or none, before returning (one group commit).

        ``receipts`` become durable in the same commit. Raise JournalCorrupt when the first ``seq``
        does not follow the last one, LeaderLost when another process has taken the journal over.
        """
        ...

    def receipt(self, source: str, key: str) -> Receipt | None:
        """Return what was taken of ``source`` under ``key``; None when nothing was."""
        ...

    def place(self, source: str) -> str | None:
        """Return the key of the newest receipt of ``source``: where its stream goes on."""
        ...

    def read(self, after: int = -1, link: bytes = b"") -> Iterator[Record]:
        """Yield records with ``seq > after`` in order, each verified against the hash chain.

        With the ``link`` of record ``after``, as a snapshot or an earlier reading had it, the chain
        is verified from there on, and without it from record 0 on. Raise JournalCorrupt, naming the
        record, at the first gap or mismatch; never skip one.
        """
        ...

    @property
    def head(self) -> int:
        """The last durable ``seq``; -1 for an empty journal."""
        ...

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; the newest ones are enough."""
        ...

    def latest(self) -> Snapshot | None:
        """Return the newest snapshot whose ``seq`` the journal reaches, or None."""
        ...

    def close(self) -> None:
        """Release the file or connection; every append was already durable."""
        ...
