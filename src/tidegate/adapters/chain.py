"""How every durable journal is read: a chain of frames, a head, receipts, snapshots.

A store brings a connection, its way of beginning a transaction and its own words for errors. The
statements are the same everywhere, and so is what they mean. Texts that clients choose are kept as
UTF-8 bytes: a store may refuse some texts, and no store refuses bytes.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

from tidegate.adapters.codec import ORIGIN, Sealed, corrupt, count_of, decode, open_batch
from tidegate.domain.errors import ConfigInvalid, JournalCorrupt, TidegateError
from tidegate.ports import Receipt, Record, Snapshot


FORMAT: Final = 2
PAGE: Final = 16  # batches fetched at once


class NoJournal(ConfigInvalid):
    """There is no journal at this place yet: a reader finds nothing, a writer begins one."""


class Head(NamedTuple):
    """Where the journal ends; rewritten in the same transaction as every batch."""

    seq: int
    taken: int
    identity: str  # whose journal it is; empty until somebody claims it
    link: bytes

    @property
    def checksum(self) -> bytes:
        """Cover the row, format included: this row's shape is the same in every format."""
        return checksum(FORMAT, *self)


class Checked(NamedTuple):
    """What `Chain.check` has found whole."""

    records: int
    receipts: int
    snapshots: int


class Rows(Protocol):
    """What a store answers to a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 - a row is what the statement asked for
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        ...


class Chain(ABC):
    """A journal in some store, as it is read; a store fills in the abstract methods."""

    BEGIN_READING = "BEGIN"

    def __init__(self, name: str, *, readonly: bool) -> None:
        self.name = name  # what errors call it; it holds no secret
        self._readonly = readonly
        self._format, self._epoch = FORMAT, 0
        self._head = Head(-1, 0, "", ORIGIN)
        self._depth = 0  # how many `_guarded` blocks are open: the outermost one ends transactions

    # ------------------------------------------------------------ what a store brings

    @abstractmethod
    def _run(self, statement: str, *values: object) -> Rows:
        """Run one statement; ``?`` stands for each value."""

    @abstractmethod
    def _rollback(self) -> None:
        """Leave no transaction open; raise nothing."""

    @abstractmethod
    def _translated(self, error: Exception) -> TidegateError | None:
        """Return the store's error in our words; None where it is none of the store's."""

    @abstractmethod
    def close(self) -> None:
        """Release file or connection; every append was already durable."""

    # ------------------------------------------------------------ where it stands

    @property
    def head(self) -> int:
        """The last durable ``seq``; see `Journal.head`."""
        return self._head.seq

    @property
    def link(self) -> bytes:
        """The link of the last durable record: whoever has read so far may go on from it."""
        return self._head.link

    @property
    def taken(self) -> int:
        """How many of the records came from the feed and not from the venue."""
        return self._head.taken

    @property
    def epoch(self) -> int:
        """The number of writers so far, this one included; a reader sees the last one's."""
        return self._epoch

    @property
    def format(self) -> int:
        """The number of the format it is kept in."""
        return self._format

    @property
    def end(self) -> Head:
        """The whole row that says where the journal ends."""
        return self._head

    @property
    def identity(self) -> str:
        """Whose journal it is; empty until somebody claimed it."""
        return self._head.identity

    def refresh(self) -> int:
        """Look again how far the writer has come; return the head. For readers."""
        if self._readonly:
            self._opened()
        return self._head.seq

    @contextmanager
    def _guarded(self) -> Generator[None]:
        """Say in our own words what the store could not do, and leave no transaction open."""
        self._depth += 1
        try:
            yield
        except Exception as error:
            told = self._translated(error)
            if told is None:
                raise
            raise told from error
        finally:
            self._depth -= 1
            if not self._depth:
                self._rollback()

    @contextmanager
    def steady(self) -> Generator[None]:
        """Hold everything as it is at this moment: what is read inside belongs together."""
        with self._guarded():
            self._run(self.BEGIN_READING)
            self._head = self._verified(*self._ends())
            yield

    # ------------------------------------------------------------ its end

    def _opened(self) -> None:
        """Verify the end of the journal, before anything else is asked of it."""
        self._head = self._verified_head()
        if self._format >= FORMAT:
            with self._guarded():
                (self._epoch,) = self._run("SELECT epoch FROM leader").fetchone()
                # Tables that were lost shall be missed now, and not at the first receipt.
                self._run("SELECT number FROM receipts ORDER BY source, number LIMIT 1").fetchone()
                self._run("SELECT tag FROM receipts ORDER BY tag LIMIT 1").fetchone()

    def _verified_head(self) -> Head:
        """Return the head, after holding the last batch against it."""
        with self._guarded():
            self._run(self.BEGIN_READING)
            found = self._ends()
            self._run("COMMIT")
        return self._verified(*found)

    def _ends(self) -> tuple[list[Any], Any]:
        """Return the rows of the table `head` and the last batch, as they are."""
        rows = self._run("SELECT format, seq, taken, identity, link, checksum FROM head").fetchall()
        last = self._run("SELECT first, frame FROM batches ORDER BY first DESC LIMIT 1").fetchone()
        return rows, last

    def _verified(self, rows: list[Any], last: Any) -> Head:  # noqa: ANN401 - a row, or none
        head = self._head_in(rows)
        ends, link = -1, ORIGIN
        if last is not None:
            for sealed in open_batch(last[1], last[0], None):
                ends, link = sealed.seq, sealed.link
        if ends != head.seq:
            what = f"the journal ends with record {ends}, and its head says {head.seq}"
            raise corrupt(min(head.seq, ends) + 1, what)
        if link != head.link:
            raise corrupt(head.seq, "the journal does not end with it as its head says")
        return head

    def _head_in(self, rows: list[Any]) -> Head:
        """Return the one row of the table `head`, verified."""
        if len(rows) != 1 or rows[0][-1] != checksum(*rows[0][:-1]):
            msg = f"{self.name}: the row that says where the journal ends is damaged"
            raise JournalCorrupt(msg)
        self._format = rows[0][0]
        self._must_know(self._format)
        return Head(*rows[0][1:5])

    def _must_know(self, found: int) -> None:
        if found != FORMAT:
            raise ConfigInvalid(
                where=self.name,
                what=f"the journal's format must be {FORMAT}",
                found=str(found),
                hint="open it with the version that wrote it",
            )

    # ------------------------------------------------------------ reading

    def receipt(self, source: str, key: str) -> Receipt | None:
        """Return what was taken under this key; see `Journal.receipt`."""
        return self._one_receipt(
            "SELECT source, number, key, first, last, ask, checksum FROM receipts WHERE tag = ?",
            tag_of(source, key),
        )

    def place(self, source: str) -> str | None:
        """Return where a stream goes on; see `Journal.place`."""
        newest = self._one_receipt(
            "SELECT source, number, key, first, last, ask, checksum FROM receipts"
            " WHERE source = ? ORDER BY number DESC LIMIT 1",
            source.encode(),
        )
        return newest.key if newest is not None else None

    def receipts(self) -> Iterator[Receipt]:
        """Yield all receipts, source by source, oldest first; each verified."""
        with self._guarded():
            rows = self._run(
                "SELECT source, number, key, first, last, ask, checksum FROM receipts"
                " ORDER BY source, number"
            ).fetchall()
        yield from map(self._receipt_in, rows)

    def _one_receipt(self, statement: str, *values: object) -> Receipt | None:
        if self._format < FORMAT:
            return None
        with self._guarded():
            row = self._run(statement, *values).fetchone()
        return self._receipt_in(row) if row is not None else None

    def _receipt_in(self, row: Any) -> Receipt:  # noqa: ANN401 - a row of the table `receipts`
        source, _, key, first, last, ask, whole = row
        if whole != checksum(*row[:-1]):
            msg = f"{self.name}: the receipt of {source!r} under {key!r} is damaged"
            raise JournalCorrupt(msg)
        return Receipt(source.decode(), key.decode(), first, last, ask.decode())

    def read(self, after: int = -1, link: bytes = b"") -> Iterator[Record]:
        """Yield verified records; see `Journal.read`.

        Without ``link`` the chain is verified from record 0 whatever ``after`` is; only what is
        asked for is decoded. Records appended after the first one was asked for are not part of the
        reading.
        """
        for sealed in self._sealed(self._head, after, link):
            if sealed.seq > after:
                yield decode(sealed)

    def check(self) -> Checked:
        """Verify everything, the whole chain from record 0 included; raise where it is damaged."""
        records = sum(1 for _ in self._sealed(self._head))
        kept = sum(1 for _ in self.receipts()) if self._format >= FORMAT else 0
        seqs = self.snapshots()
        for seq in seqs:
            found = self.snapshot(seq)
            if found is not None and found.link and found.link != self.link_of(found.seq):
                raise corrupt(found.seq, "the snapshot taken after it was taken of another journal")
        return Checked(records, kept, len(seqs))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield (first record, frame) of every batch up to the head, the chain verified."""
        expected, link = 0, ORIGIN
        while expected <= self._head.seq:
            for first, frame in self._page(expected, self._head):
                for sealed in open_batch(frame, first, link):
                    expected, link = sealed.seq + 1, sealed.link
                yield first, frame

    def latest(self) -> Snapshot | None:
        """Return the newest snapshot within reach; JournalCorrupt when it is damaged."""
        return self.snapshot(self._head.seq)

    def snapshots(self) -> list[int]:
        """Return the records after which snapshots were taken, oldest first."""
        with self._guarded():
            rows = self._run("SELECT seq FROM snapshots ORDER BY seq").fetchall()
        return [row[0] for row in rows]

    def snapshot(self, within: int) -> Snapshot | None:
        """Return the newest snapshot taken after record ``within`` or earlier."""
        link = "link" if self._format >= FORMAT else "NULL"
        with self._guarded():
            row = self._run(
                f"SELECT seq, digest, state, {link}, checksum FROM snapshots"  # noqa: S608 - ours
                " WHERE seq <= ? ORDER BY seq DESC LIMIT 1",
                within,
            ).fetchone()
        if row is None:
            return None
        *said, whole = row
        if whole != checksum(*(said if said[3] is not None else said[:3])):
            raise corrupt(said[0], "the snapshot taken after it does not match its checksum")
        return Snapshot(said[0], said[1], zlib.decompress(said[2]), said[3] or b"")

    def link_of(self, seq: int) -> bytes:
        """Return the link of record ``seq`` as its own batch has it; nothing beyond the head."""
        if seq == self._head.seq:
            return self._head.link
        if not 0 <= seq < self._head.seq:
            return b""
        return next(s.link for s in self._holding(seq) if s.seq == seq)

    def _holding(self, seq: int) -> Iterator[Sealed]:
        """Yield the records of the batch that holds record ``seq``."""
        with self._guarded():
            row = self._run(
                "SELECT first, frame FROM batches WHERE first <= ? ORDER BY first DESC LIMIT 1", seq
            ).fetchone()
        last = -1
        for sealed in open_batch(row[1], row[0], None) if row is not None else ():
            yield sealed
            last = sealed.seq
        if last < seq:
            raise corrupt(seq, "it is missing")

    def _page(self, expected: int, head: Head) -> Iterator[tuple[int, bytes]]:
        """Yield the next batches, the first of which must begin with record ``expected``."""
        with self._guarded():
            rows = self._run(
                "SELECT first, frame FROM batches WHERE first >= ? AND first <= ?"
                " ORDER BY first LIMIT ?",
                *(expected, head.seq, PAGE),
            ).fetchall()
        if not rows:
            raise corrupt(expected, f"it is missing, and so is every one up to {head.seq}")
        for first, frame in rows:
            if first != expected:
                raise corrupt(expected, f"it is missing; the next batch begins at {first}")
            yield first, frame
            expected = first + count_of(frame)

    def _sealed(self, head: Head, after: int = -1, trusted: bytes = b"") -> Iterator[Sealed]:
        """Yield records up to ``head``: all, or those after one whose link is ``trusted``."""
        expected, link = 0, ORIGIN
        if trusted and after >= 0:
            for sealed in self._holding(after):
                if sealed.seq == after and sealed.link != trusted:
                    raise corrupt(after, "it is not the one that was seen here before")
                if sealed.seq > after:
                    yield sealed
                if sealed.seq >= after:
                    expected, link = sealed.seq + 1, sealed.link
        while expected <= head.seq:
            for first, frame in self._page(expected, head):
                for sealed in open_batch(frame, first, link):
                    yield sealed
                    expected, link = sealed.seq + 1, sealed.link
        if (expected - 1, link) != (head.seq, head.link) and after <= head.seq:
            raise corrupt(head.seq, "the journal does not end with it as its head says")


def tag_of(source: str, key: str) -> bytes:
    """Return what a receipt is found by: short, however long a client makes its keys."""
    return checksum(source.encode(), key.encode())


def checksum(*parts: object) -> bytes:
    """Return 16 bytes that cover ``parts`` one by one: no two lists of them run together."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.digest()
