"""The embedded journal: one SQLite file, one row a batch, chained by hash.

Beside the file lie SQLite's own ``-wal`` and ``-shm`` while it is open, ``-head`` (`witness`) and
``-writer``, an empty database whose lock says that somebody is writing. The operating system drops
that lock when a process dies, however it dies; it needs no cleaning up.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from tidegate.adapters.chain import FORMAT, Checked, Head, NoJournal, Rows
from tidegate.adapters.chained import RECEIPTS_KEPT, ChainedJournal, WriterElsewhere
from tidegate.adapters.codec import ORIGIN
from tidegate.adapters.witness import Witness
from tidegate.domain.errors import (
    CapacityExceeded,
    ConfigInvalid,
    JournalCorrupt,
    JournalGone,
    TidegateError,
)


READABLE: Final = (1, FORMAT)  # only the newest is written

# What format 2 has and format 1 had not; `upgrade` runs it on an old file.
ADDED: Final = """
CREATE TABLE leader (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL);
INSERT INTO leader VALUES (1, 0);
CREATE TABLE receipts (
    source BLOB NOT NULL, number INTEGER NOT NULL, key BLOB NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, ask BLOB NOT NULL, checksum BLOB NOT NULL,
    tag BLOB NOT NULL UNIQUE, PRIMARY KEY (source, number)
) WITHOUT ROWID;
ALTER TABLE batches ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE snapshots ADD COLUMN link BLOB NOT NULL DEFAULT x'';
"""
_SCHEMA: Final = f"""
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
{ADDED}"""


class SqliteJournal(ChainedJournal):
    """A `Journal` for one machine: no server, WAL, an fsync before every return of `append`.

    One process writes; any number may read beside it with ``readonly``. A writer that finds
    another one raises WriterElsewhere, and an unknown format or, to a reader, a missing file is
    ConfigInvalid. A file of format 1 can be read; `upgrade` makes it writable.
    """

    BEGIN_WRITING = "BEGIN IMMEDIATE"

    def __init__(
        self, path: Path | str, *, readonly: bool = False, receipts_kept: int = RECEIPTS_KEPT
    ) -> None:
        self.path = Path(path).absolute()
        super().__init__(str(self.path), readonly=readonly, receipts_kept=receipts_kept)
        self._witness = Witness.beside(self.path)
        self._lock: sqlite3.Connection | None = None
        self._db: sqlite3.Connection | None = None
        try:
            if not readonly:
                self._lock = lock(self.path)
            with self._guarded():
                self._db = self._connected()
            self._opened()
        except BaseException:
            self.close()
            raise
        if not readonly:
            self._witness.note(self._head.seq, self._head.link)

    def check(self) -> Checked:
        """Verify everything, the pages and indexes of the file included."""
        with self._guarded():
            (found,) = self._run("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            msg = f"{self.name}: SQLite finds the file damaged ({found})"
            raise JournalCorrupt(msg)
        return super().check()

    def close(self) -> None:
        """Release the file and let others write; every append was already durable."""
        self._broken = True
        self._witness.close()
        for connection in (self._db, self._lock):
            if connection is not None:
                connection.close()
        self._db = self._lock = None

    def _run(self, statement: str, *values: object) -> Rows:
        return self._connection().execute(statement, values)

    def _run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection().executemany(statement, rows)

    def _rollback(self) -> None:
        if self._db is not None and self._db.in_transaction:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    def _translated(self, error: Exception) -> TidegateError | None:
        if isinstance(error, sqlite3.Error | OverflowError | UnicodeDecodeError):
            return translated(self.path, error)
        return None

    def _noted(self, head: Head) -> None:
        self._witness.note(head.seq, head.link)

    def _verified_head(self) -> Head:
        # What was seen committed is asked first: beside a writer, the journal may only grow since.
        seen = self._witness.seen()
        head = super()._verified_head()
        self._witness.check(*seen, head.seq, head.link)
        return head

    def _must_know(self, found: int) -> None:
        if found in READABLE and (self._readonly or found == FORMAT):
            return
        old = found in READABLE
        raise ConfigInvalid(
            where=self.name,
            what=f"the journal's format must be {FORMAT}",
            found=str(found),
            hint=f"tidegate journal upgrade {self.path.name}"
            if old
            else "open it with the version that wrote it",
        )

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            msg = f"{self.path}: the journal is closed"
            raise TidegateError(msg)
        return self._db

    def _connected(self) -> sqlite3.Connection:
        if not self.path.exists():
            self._witness.check(*self._witness.seen(), -1, ORIGIN)
            if self._readonly:
                raise NoJournal(
                    where=str(self.path), what="must be a journal", found="no such file"
                )
            create(self.path)
        return connected(self.path, readonly=self._readonly)


def connected(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """Return a connection that refuses damaged pages and, when it writes, waits for the disk.

    It may be handed from one thread to another; two never use it at once.
    """
    db = sqlite3.connect(
        f"{path.as_uri()}?mode={'ro' if readonly else 'rw'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
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


def translated(path: Path, error: Exception) -> TidegateError:
    """Return what SQLite says in our words: who must act, and whether anything may be in doubt."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL:
        return CapacityExceeded(f"{path}: the disk is full; nothing of this batch was kept")
    if code in {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC}:
        return JournalGone(f"{path}: the disk does not take what is written ({error})")
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return WriterElsewhere(
            where=str(path), what="only this process may write", found="another one that does"
        )
    if primary in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return ConfigInvalid(where=str(path), what="must be ours to write", found=str(error))
    return JournalCorrupt(f"{path}: SQLite cannot read it ({error})")


def lock(path: Path) -> sqlite3.Connection:
    """Become the only writer of ``path`` for as long as the connection lives."""
    name = path.with_name(f"{path.name}-writer")
    try:
        held = sqlite3.connect(name, isolation_level=None, timeout=0.0, check_same_thread=False)
    except sqlite3.Error as error:
        raise translated(name, error) from error
    try:
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        held.close()
        raise WriterElsewhere(
            where=str(path),
            what="only one process may write a journal",
            found=f"another one that holds {name.name} ({error})",
            hint="stop it, or open the journal for reading only",
        ) from error
    return held


def create(path: Path) -> None:
    """Make an empty journal appear at once, so that a file is a journal or was damaged."""
    new = path.with_name(f"{path.name}-new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.executescript(_SCHEMA)
        head = Head(-1, 0, "", ORIGIN)
        db.execute("INSERT INTO head VALUES (1, ?, ?, ?, ?, ?, ?)", (FORMAT, *head, head.checksum))
        db.execute("COMMIT")
    new.replace(path)
    synced(path.parent)


def synced(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    held = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
