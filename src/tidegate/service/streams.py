"""The hub of the stream: what was said lately, who listens, and where each of them goes on.

Records arrive from the crank thread and are kept in a ring. Every client has a place of its own in
it and is served from there, so that nobody waits for anybody: who falls too far behind is cut off
with its place. What is older than the ring is read from the journal, in a thread. A frame is made
and encoded once, when the first client wants it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tidegate.api.answers import Frame
from tidegate.ports import Record
from tidegate.service.reading import Reading
from tidegate.service.streams_frames import (
    SHOWN,
    Book,
    encoded,
    frame_of,
    topics_of,
)


RING: Final = 4_096  # records
SHOWN_KEPT: Final = 256  # frames of a topic that shows a state
HEARTBEAT_S: Final = 15.0
SEND_S: Final = 10.0  # a client that takes nothing for so long does not read
CLIENTS_MAX: Final = 1_000

Past = Callable[[int], Iterator[Record]]  # records after one, from the journal, in a thread


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept, and how patient the hub is."""

    ring: int = RING
    lag_max: int = RING // 2  # records that may arrive while a client is being served
    conflate_at: int = 64  # records behind, from which only the newest mark is sent
    heartbeat_s: float = HEARTBEAT_S
    send_s: float = SEND_S
    clients_max: int = CLIENTS_MAX
    catch_up_max: int = 1_000_000  # records that are read from the journal for one client
    reading_max: int = 2  # clients for whom the journal is read at the same moment


@dataclass(slots=True)
class Entry:
    """One record of the ring, with the frames that somebody has asked for."""

    record: Record
    topics: list[str]
    messages: dict[str, str] = field(default_factory=dict[str, str])

    def message(self, topic: str, book: Book) -> str:
        """Return the encoded frame of a topic, made at the first call."""
        found = self.messages.get(topic)
        if found is None:
            found = self.messages[topic] = encoded(frame_of(self.record, topic, book))
        return found


@dataclass(eq=False, slots=True)
class Client:
    """One listener: its topics, how far it was served, and what wakes it."""

    topics: frozenset[str]
    cursor: int  # the last record of which it has everything
    shown: dict[str, int] = field(default_factory=dict[str, int])  # newest shown, by topic
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Keeps the newest records and frames, and wakes who wants them.

    `listen` belongs to the crank thread, everything else to the event loop given to `attach`.
    ``past`` opens the journal for reading; without it a client cannot go back beyond the ring.
    """

    def __init__(self, past: Past | None = None, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.past = past
        self.book: Book | None = None
        self.clients: set[Client] = set()
        self.cut_off = 0  # clients, for not reading
        self.closing = asyncio.Event()
        self.reading = asyncio.Semaphore(self.settings.reading_max)  # held for one chunk at a time
        self.newest = -1  # the last record that arrived
        self._ring: deque[Entry] = deque(maxlen=self.settings.ring)
        self._shown: dict[str, deque[tuple[int, str]]] = {
            topic: deque(maxlen=SHOWN_KEPT) for topic in SHOWN
        }
        self._versions = 0
        self._inbox: deque[Record | int] = deque(maxlen=self.settings.ring)  # int: a head
        self._due = False  # a drain is on its way
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, records: Sequence[Record], reading: Reading) -> None:
        """Take durable records from the crank thread: quick, and never raises."""
        if self.book is None:
            self.book = Book(reading.stack, reading.names)
        if records:
            self._inbox.extend(records)
        else:
            self._inbox.append(reading.head)  # at start-up: where we stand, whatever was replayed
        loop = self._loop
        if loop is not None and not self._due:
            self._due = True
            try:
                loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop has ended: nobody listens any more
                self._due = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve from this loop from now on; a client that comes does it, if nobody did before."""
        if self._loop is not loop:
            self._loop = loop
            self._drain()

    def show(self, topic: str, ts: int, data: Any) -> None:  # noqa: ANN401 - any answer can be a frame's data
        """Publish a state that is no record; from the event loop."""
        self._versions += 1
        frame = encoded(Frame(topic=topic, seq=-1, ts=ts, data=data))
        self._shown[topic].append((self._versions, frame))
        self._wake({topic})

    def close(self) -> None:
        """Let every client go, each with its place."""
        self.closing.set()
        self._wake(None)

    @property
    def first(self) -> int:
        """The oldest record in the ring; one beyond the newest where it is empty."""
        return self._ring[0].record.seq if self._ring else self.newest + 1

    def after(self, cursor: int, topics: frozenset[str]) -> list[tuple[Entry, list[str]]]:
        """Return what the ring says to ``topics`` after a record, oldest first."""
        found: list[tuple[Entry, list[str]]] = []
        skip = max(0, cursor + 1 - self.first)
        for n in range(skip, len(self._ring)):
            entry = self._ring[n]
            if wanted := [topic for topic in entry.topics if topic in topics]:
                found.append((entry, wanted))
        return found

    def states(self, client: Client) -> list[str]:
        """Return the states that a client has not been shown; of all but alerts only the newest."""
        messages: list[str] = []
        for topic in SHOWN:
            if topic not in client.topics:
                continue
            seen = client.shown.get(topic, 0)
            news = [(v, message) for v, message in self._shown[topic] if v > seen]
            if news:
                client.shown[topic] = news[-1][0]
                kept = news if topic == "alerts" else news[-1:]
                messages += [message for _, message in kept]
        return messages

    def _drain(self) -> None:
        self._due = False
        said: set[str] = set()
        while self._inbox:
            record = self._inbox.popleft()
            if isinstance(record, int):
                if record > self.newest:
                    self._ring.clear()
                    self.newest = record
                continue
            if record.seq <= self.newest:
                continue
            if record.seq != self.newest + 1:
                self._ring.clear()  # the loop stood still for longer than the inbox is long
            entry = Entry(record, topics_of(record))
            self._ring.append(entry)
            self.newest = record.seq
            said.update(entry.topics)
        if said:
            self._wake(said)

    def _wake(self, topics: set[str] | None) -> None:
        for client in self.clients:
            if topics is None or not client.topics.isdisjoint(topics):
                client.wake.set()
