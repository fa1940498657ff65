"""The embedded journal: one SQLite file, one row a batch, chained by hash.

Beside the file lie SQLite's own ``-wal`` and ``-shm`` while it is open, ``-head`` (`witness`) and
``-writer``, an empty database whose lock says that somebody is writing. The operating system drops
that lock when a process dies, however it dies; it needs no cleaning up.
"""

import os
import sqlite3
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from tidegate.adapters.codec import (
    ORIGIN,
    Sealed,
    corrupt,
    decode,
    encode_batch,
    follow,
    open_batch,
)
from tidegate.adapters.memory import same_owner
from tidegate.adapters.witness import Witness
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid, JournalCorrupt, TidegateError
from tidegate.domain.events import ENDOGENOUS
from tidegate.ports import Receipt, Record, Snapshot


FORMAT: Final = 1
SNAPSHOTS_KEPT: Final = 3

_SCHEMA: Final = """
PRAGMA page_size = 8192;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE batches (first INTEGER PRIMARY KEY, frame BLOB NOT NULL);
CREATE TABLE snapshots (
    seq INTEGER PRIMARY KEY, digest TEXT NOT NULL, state BLOB NOT NULL, checksum BLOB NOT NULL
);
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    format INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    identity TEXT NOT NULL,
    link BLOB NOT NULL,
    checksum BLOB NOT NULL
);
"""


class Head(NamedTuple):
    """Where the journal ends; rewritten in the same transaction as every batch."""

    seq: int
    taken: int
    identity: str  # whose journal it is; empty until somebody claims it
    link: bytes

    @property
    def checksum(self) -> bytes:
        """Cover the row, format included: this row's shape is the same in every format."""
        return _checksum(FORMAT, *self)


class SqliteJournal:
    """A `Journal` for one machine: no server, WAL, an fsync before every return of `append`.

    One process writes; any number may read beside it with ``readonly``. A writer that finds
    another one raises ConfigInvalid, and so does an unknown format or, to a reader, a missing file.
    """

    def __init__(self, path: Path | str, *, readonly: bool = False) -> None:
        self.path = Path(path).absolute()
        self._witness = Witness.beside(self.path)
        self._lock: sqlite3.Connection | None = None
        self._db: sqlite3.Connection | None = None
        self._broken = readonly
        try:
            if not readonly:
                self._lock = _lock(self.path)
            seen = self._witness.seen()
            with self._guarded():
                self._db = self._connected(seen, readonly=readonly)
                self._head = self._verified_head(seen)
        except BaseException:
            self.close()
            raise
        if not readonly:
            self._witness.note(self._head.seq, self._head.link)

    @property
    def head(self) -> int:
        """The last durable ``seq``; see `Journal.head`."""
        return self._head.seq

    @property
    def taken(self) -> int:
        """How many of the records came from the feed and not from the venue."""
        return self._head.taken

    def claim(self, identity: str) -> None:
        """Belong to ``identity``; ConfigInvalid when the journal belongs to another one."""
        if self._head.identity:
            same_owner(self.path, self._head.identity, identity)
            return
        self._must_write()
        head = self._head._replace(identity=identity)
        with self._guarded():
            self._connection().execute("BEGIN IMMEDIATE")
            self._move_head(head)
            self._commit()
        self._head = head

    def append(self, records: Sequence[Record], receipts: Sequence[Receipt] = ()) -> None:
        """Make the records durable in one transaction; see `Journal.append`.

        After a failure the journal takes nothing more: whether the batch became durable is then
        known only to whoever opens the file anew. A full disk raises CapacityExceeded.
        """
        self._must_write()
        assert not receipts, "kept from format 2 on"
        follow(records, self._head.seq)
        if not records:
            return
        frame, link = encode_batch(records, self._head.link)
        taken = sum(not isinstance(record.event, ENDOGENOUS) for record in records)
        head = Head(records[-1].seq, self._head.taken + taken, self._head.identity, link)
        self._broken = True
        with self._guarded():
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO batches VALUES (?, ?)", (records[0].seq, frame))
            self._move_head(head)
            self._commit()
        self._broken = False
        self._head = head
        self._witness.note(head.seq, head.link)

    def receipt(self, source: str, key: str) -> Receipt | None:
        """Return what was taken under this key; see `Journal.receipt`."""
        del source, key

    def place(self, source: str) -> str | None:
        """Return where a stream goes on; see `Journal.place`."""
        del source

    def read(self, after: int = -1) -> Iterator[Record]:
        """Yield verified records; see `Journal.read`.

        The chain is verified from record 0 whatever ``after`` is; only what is asked for is
        decoded. Records appended after the first one was asked for are not part of the reading.
        """
        for sealed in self._sealed(self._head):
            if sealed.seq > after:
                yield decode(sealed)

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot durably, and the two before it."""
        state = zlib.compress(snapshot.state, 1)
        checksum = _checksum(snapshot.seq, snapshot.digest, state)
        with self._guarded():
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
                (snapshot.seq, snapshot.digest, state, checksum),
            )
            db.execute(
                "DELETE FROM snapshots WHERE seq NOT IN "
                "(SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)",
                (SNAPSHOTS_KEPT,),
            )
            db.execute("COMMIT")

    def latest(self) -> Snapshot | None:
        """Return the newest snapshot within reach; JournalCorrupt when it is damaged."""
        with self._guarded():
            row = (
                self._connection()
                .execute(
                    "SELECT * FROM snapshots WHERE seq <= ? ORDER BY seq DESC LIMIT 1",
                    (self._head.seq,),
                )
                .fetchone()
            )
        if row is None:
            return None
        seq, digest, state, checksum = row
        if checksum != _checksum(seq, digest, state):
            raise corrupt(seq, "the snapshot taken after it does not match its checksum")
        return Snapshot(seq, digest, zlib.decompress(state))

    def close(self) -> None:
        """Release the file and let others write; every append was already durable."""
        self._broken = True
        self._witness.close()
        for connection in (self._db, self._lock):
            if connection is not None:
                connection.close()
        self._db = self._lock = None

    def _must_write(self) -> None:
        if self._broken:
            msg = f"{self.path}: it is open for reading only, or an append has failed\n"
            raise TidegateError(msg + "hint: start again from the journal")

    def _move_head(self, head: Head) -> None:
        moved = self._connection().execute(
            "UPDATE head SET seq = ?, taken = ?, identity = ?, link = ?, checksum = ?"
            " WHERE seq = ?",
            (*head, head.checksum, self._head.seq),
        )
        if moved.rowcount != 1:
            raise corrupt(self._head.seq + 1, "somebody else has written to this journal")

    def _commit(self) -> None:
        """Pass the one moment from which the batch is durable."""
        self._connection().execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            msg = f"{self.path}: the journal is closed"
            raise TidegateError(msg)
        return self._db

    def _sealed(self, head: Head) -> Iterator[Sealed]:
        expected, link = 0, ORIGIN
        while expected <= head.seq:
            with self._guarded():
                row = (
                    self._connection()
                    .execute(
                        "SELECT first, frame FROM batches WHERE first >= ? ORDER BY first LIMIT 1",
                        (expected,),
                    )
                    .fetchone()
                )
            if row is None:
                raise corrupt(expected, f"it is missing, and so is every one up to {head.seq}")
            if row[0] != expected:
                raise corrupt(expected, f"it is missing; the next batch begins at {row[0]}")
            for sealed in open_batch(row[1], expected, link):
                yield sealed
                expected, link = sealed.seq + 1, sealed.link
        if (expected - 1, link) != (head.seq, head.link):
            raise corrupt(head.seq, "the journal does not end with it as its head says")

    def _connected(self, seen: tuple[int, bytes], *, readonly: bool) -> sqlite3.Connection:
        if not self.path.exists():
            self._witness.check(*seen, -1, ORIGIN)
            if readonly:
                raise ConfigInvalid(
                    where=str(self.path), what="must be a journal", found="no such file"
                )
            _create(self.path)
        db = sqlite3.connect(
            f"{self.path.as_uri()}?mode={'ro' if readonly else 'rw'}",
            uri=True,
            isolation_level=None,
        )
        try:
            # A damaged page shall be an error and never an answer.
            db.execute("PRAGMA cell_size_check = ON")
            db.execute("PRAGMA trusted_schema = OFF")
            if not readonly:
                db.execute("PRAGMA synchronous = FULL")
        except BaseException:
            db.close()
            raise
        return db

    def _verified_head(self, seen: tuple[int, bytes]) -> Head:
        """Return the head, after holding the last batch and the witness against it.

        ``seen`` was read first: beside a writer, the journal may only have grown since.
        """
        db = self._connection()
        db.execute("BEGIN")
        rows = db.execute("SELECT * FROM head").fetchall()
        last = db.execute("SELECT first, frame FROM batches ORDER BY first DESC LIMIT 1").fetchone()
        db.execute("COMMIT")
        head = _head_in(rows, self.path)
        ends, link = -1, ORIGIN
        if last is not None:
            for sealed in open_batch(last[1], last[0], None):
                ends, link = sealed.seq, sealed.link
        if ends != head.seq:
            what = f"the journal ends with record {ends}, and its head says {head.seq}"
            raise corrupt(min(head.seq, ends) + 1, what)
        if link != head.link:
            raise corrupt(head.seq, "the journal does not end with it as its head says")
        self._witness.check(*seen, head.seq, head.link)
        return head

    @contextmanager
    def _guarded(self) -> Generator[None]:
        """Say in our own words what SQLite could not do, and leave no transaction open."""
        try:
            yield
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise _translated(self.path, error) from error
        finally:
            if self._db is not None and self._db.in_transaction:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")


def _head_in(rows: list[tuple[Any, ...]], path: Path) -> Head:
    """Return the one row of the table `head`, verified."""
    if len(rows) != 1 or len(rows[0]) != 7 or rows[0][6] != _checksum(*rows[0][1:6]):
        msg = f"{path}: the row that says where the journal ends is damaged"
        raise JournalCorrupt(msg)
    if rows[0][1] != FORMAT:
        raise ConfigInvalid(
            where=str(path),
            what=f"the journal's format must be {FORMAT}",
            found=str(rows[0][1]),
            hint="open it with the version that wrote it",
        )
    return Head(*rows[0][2:6])


def _checksum(*parts: object) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.digest()


def _translated(path: Path, error: Exception) -> TidegateError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL:
        return CapacityExceeded(f"{path}: the disk is full; nothing of this batch was kept")
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return ConfigInvalid(
            where=str(path), what="only this process may write", found="another one that does"
        )
    if primary in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return ConfigInvalid(where=str(path), what="must be ours to write", found=str(error))
    return JournalCorrupt(f"{path}: SQLite cannot read it ({error})")


def _lock(path: Path) -> sqlite3.Connection:
    """Become the only writer of ``path`` for as long as the connection lives."""
    name = path.with_name(f"{path.name}-writer")
    try:
        lock = sqlite3.connect(name, isolation_level=None, timeout=0.0)
    except sqlite3.Error as error:
        raise _translated(name, error) from error
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        raise ConfigInvalid(
            where=str(path),
            what="only one process may write a journal",
            found=f"another one that holds {name.name} ({error})",
            hint="stop it, or open the journal for reading only",
        ) from error
    return lock


def _create(path: Path) -> None:
    """Make an empty journal appear at once, so that a file is a journal or was damaged."""
    new = path.with_name(f"{path.name}-new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.executescript(_SCHEMA)
        head = Head(-1, 0, "", ORIGIN)
        db.execute("INSERT INTO head VALUES (1, ?, ?, ?, ?, ?, ?)", (FORMAT, *head, head.checksum))
        db.execute("COMMIT")
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
