"""Reading the journal for a client that goes back beyond the ring: in a thread of its own."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Final, NamedTuple, Self

from tidegate.ports import Record
from tidegate.service.streams import Past
from tidegate.service.streams_frames import (
    Book,
    and_more,
    encoded,
    frame_of,
    newest_only,
    topics_of,
)


CHUNK: Final = 256  # records that are read and put into words at a time


class Chunk(NamedTuple):
    """What some records say: messages in order, each with the record after which to resume."""

    messages: list[str]
    done: list[int]  # for each message the record that is complete with it; -1: none yet
    last: int  # the last record that was looked at
    read: int  # records; 0: the journal has no more


class Catching:
    """One way through the journal. Its connection is opened, used and closed in one thread."""

    def __init__(self, past: Past, after: int, topics: frozenset[str], book: Book) -> None:
        self._past, self._after, self._topics, self._book = past, after, topics, book
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stream-past")
        self._records: Iterator[Record] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing belongs to the thread that opened; whoever leaves does not wait for a long read.
        self._worker.submit(self._close)
        self._worker.shutdown(wait=False)

    async def next(self) -> Chunk:
        """Return the next chunk."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._read)

    def _read(self) -> Chunk:
        if self._records is None:
            self._records = self._past(self._after)
        records = list(islice(self._records, CHUNK))
        last = records[-1].seq if records else self._after
        self._after = last
        return Chunk(*said_by(records, self._topics, self._book), last, len(records))

    def _close(self) -> None:
        close = getattr(self._records, "close", None)
        if close is not None:
            close()


def said_by(
    records: list[Record], topics: frozenset[str], book: Book
) -> tuple[list[str], list[int]]:
    """Return the messages of records for some topics, and which record each of them completes."""
    pairs = [(r, topic) for r in records for topic in topics_of(r) if topic in topics]
    kept = newest_only(pairs)
    messages: list[str] = []
    done: list[int] = []
    for n, (record, topic) in enumerate(kept):
        more = n + 1 < len(kept) and kept[n + 1][0] is record
        message = encoded(frame_of(record, topic, book))
        messages.append(and_more(message) if more else message)
        done.append(-1 if more else record.seq)
    return messages, done
