"""The journal on a server: PostgreSQL, the same frames in the same tables, one schema a journal.

The leader holds an advisory lock on the very connection that it writes with, so that the server
drops both together. Behind the lock stands the fence of every journal (`chained`): the epoch is
read under a row lock in the transaction of each batch.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, LiteralString, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

from tidegate.adapters.chain import FORMAT, Head, NoJournal, Rows
from tidegate.adapters.chained import RECEIPTS_KEPT, ChainedJournal, WriterElsewhere
from tidegate.adapters.codec import ORIGIN
from tidegate.domain.errors import (
    CapacityExceeded,
    ConfigInvalid,
    JournalCorrupt,
    JournalGone,
    TidegateError,
)


SCHEMA: Final = "tidegate"  # where a journal lies when its address does not say it
CONNECT_S: Final = 10
# A server that vanished without a word is noticed after about this long.
SILENCE_S: Final = 10
NOTICED: Final = {
    "tcp_keepalives_idle": SILENCE_S // 2,
    "tcp_keepalives_interval": 1,
    "tcp_keepalives_count": SILENCE_S // 2,
    "tcp_user_timeout": 1_000 * SILENCE_S,
}

_TABLES: Final = """
CREATE TABLE batches (first bigint PRIMARY KEY, frame bytea NOT NULL, epoch bigint NOT NULL);
ALTER TABLE batches ALTER COLUMN frame SET STORAGE EXTERNAL;
CREATE TABLE snapshots (
    seq bigint PRIMARY KEY, digest text NOT NULL, state bytea NOT NULL, link bytea NOT NULL,
    checksum bytea NOT NULL
);
ALTER TABLE snapshots ALTER COLUMN state SET STORAGE EXTERNAL;
CREATE TABLE receipts (
    source bytea NOT NULL, number bigint NOT NULL, key bytea NOT NULL, first bigint NOT NULL,
    last bigint NOT NULL, ask bytea NOT NULL, checksum bytea NOT NULL,
    tag bytea NOT NULL UNIQUE, PRIMARY KEY (source, number)
);
CREATE TABLE leader (id integer PRIMARY KEY CHECK (id = 1), epoch bigint NOT NULL);
INSERT INTO leader VALUES (1, 0);
CREATE TABLE head (
    id integer PRIMARY KEY CHECK (id = 1), format integer NOT NULL, seq bigint NOT NULL,
    taken bigint NOT NULL, identity text NOT NULL, link bytea NOT NULL, checksum bytea NOT NULL
);
"""


class PostgresJournal(ChainedJournal):
    """A `Journal` that any host may read, and one process at a time may write.

    Parameters
    ----------
    url
        ``postgresql://user:password@host:port/database``, as libpq reads it; ``schema=NAME`` among
        its parameters names the journal within the database. The password is never shown.
    readonly
        Whether it only reads, beside whoever leads.
    receipts_kept
        Receipts kept of each source, newest first.
    """

    BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    FENCE = "SELECT epoch FROM leader FOR UPDATE"

    def __init__(
        self, url: str, *, readonly: bool = False, receipts_kept: int = RECEIPTS_KEPT
    ) -> None:
        self.url = url
        conninfo, self.schema, name = addressed(url)
        super().__init__(name, readonly=readonly, receipts_kept=receipts_kept)
        self._db: psycopg.Connection[Any] | None = None
        try:
            with self._guarded():
                self._db = self._connected(conninfo)
                if not readonly:
                    self._lead()
                self._found()
            self._opened()
        except BaseException:
            self.close()
            raise

    @property
    def backend(self) -> int:
        """The server's process that serves this journal: ending it deposes a leader."""
        return self._connection().info.backend_pid

    def close(self) -> None:
        """Release the connection, and with it the lock; every append was already durable."""
        self._broken = True
        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.close()
            self._db = None

    def _run(self, statement: str, *values: object) -> Rows:
        # The statements are constants of this package; values travel beside them.
        text = cast("LiteralString", statement.replace("?", "%b"))
        return self._connection().execute(text, values or None, binary=True)

    def _run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        text = cast("LiteralString", statement.replace("?", "%b"))
        with self._connection().cursor() as cursor:
            cursor.executemany(text, rows)

    def _insert(self, first: int, frame: bytes) -> None:
        with (
            self._connection().cursor() as cursor,
            cursor.copy("COPY batches (first, frame, epoch) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(("int8", "bytea", "int8"))
            copy.write_row((first, frame, self._epoch))

    def _rollback(self) -> None:
        db = self._db
        if db is not None and db.info.transaction_status not in {
            psycopg.pq.TransactionStatus.IDLE,
            psycopg.pq.TransactionStatus.UNKNOWN,
        }:
            with suppress(psycopg.Error):
                db.execute("ROLLBACK")

    def _translated(self, error: Exception) -> TidegateError | None:
        return translated(self.name, error) if isinstance(error, psycopg.Error) else None

    def _connection(self) -> psycopg.Connection[Any]:
        if self._db is None:
            msg = f"{self.name}: the journal is closed"
            raise TidegateError(msg)
        return self._db

    def _connected(self, conninfo: str) -> psycopg.Connection[Any]:
        db = psycopg.connect(
            conninfo,
            autocommit=True,
            connect_timeout=CONNECT_S,
            keepalives_idle=SILENCE_S // 2,
            keepalives_interval=1,
            keepalives_count=SILENCE_S // 2,
            tcp_user_timeout=1_000 * SILENCE_S,
            application_name="tidegate",
        )
        try:
            db.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self.schema)))
            if self._readonly:
                db.execute("SET default_transaction_read_only = on")
            else:
                self._durable(db)
        except BaseException:
            db.close()
            raise
        return db

    def _durable(self, db: psycopg.Connection[Any]) -> None:
        """See to it that a commit is a commit; refuse a server on which it cannot be."""
        rows = db.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
            " pg_is_in_recovery()"
        ).fetchone()
        assert rows is not None, "a SELECT without FROM has one row"
        fsync, commit, standby = rows
        if standby:
            raise ConfigInvalid(
                where=self.name, what="a writer needs the primary server", found="a replica of it"
            )
        if fsync != "on":
            raise ConfigInvalid(
                where=self.name,
                what="the server must run with fsync = on: acknowledged means durable",
                found=f"fsync = {fsync}",
            )
        if commit not in {"on", "remote_apply"}:
            db.execute("SET synchronous_commit = on")
        # A host that vanished says no good-bye: the server shall notice, too, or it would hold the
        # lock for that host, and keep every standby waiting, for hours.
        for name, value in NOTICED.items():
            db.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), value))

    def _lead(self) -> None:
        """Become the only writer for as long as the connection lives."""
        key = int.from_bytes(
            blake2b(f"tidegate journal {self.schema}".encode(), digest_size=8).digest(),
            "big",
            signed=True,
        )
        (led,) = self._run("SELECT pg_try_advisory_lock(?::bigint)", key).fetchone()
        if not led:
            raise WriterElsewhere(
                where=self.name,
                what="only one process may write a journal",
                found="another one that holds its advisory lock",
                hint="stop it, stand by, or open the journal for reading only",
            )

    def _found(self) -> None:
        """Make an empty journal appear at once, or refuse to read what is not there."""
        (there,) = self._run(
            "SELECT to_regclass(?) IS NOT NULL", f'"{self.schema}".head'
        ).fetchone()
        if there:
            return
        if self._readonly:
            raise NoJournal(where=self.name, what="must be a journal", found="no such schema")
        db, head = self._connection(), Head(-1, 0, "", ORIGIN)
        with db.transaction():
            db.execute(
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema))
            )
            db.execute(_TABLES)
            self._run("INSERT INTO head VALUES (1, ?, ?, ?, ?, ?, ?)", FORMAT, *head, head.checksum)


def addressed(url: str) -> tuple[str, str, str]:
    """Return libpq's part of ``url``, the schema, and a name that holds no secret."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema = query.pop("schema", SCHEMA)
    conninfo = urlunsplit(parts._replace(query=urlencode(query)))
    user = f"{parts.username}@" if parts.username else ""
    place = parts.netloc.rpartition("@")[2] or query.get("host", "")
    name = f"{parts.scheme}://{user}{place}{parts.path}?schema={schema}"
    if not schema or len(schema.encode()) > 63 or '"' in schema or "\0" in schema:
        raise ConfigInvalid(
            where="the journal's address",
            what="schema must be a name of at most 63 bytes without quotes",
            found=repr(schema),
        )
    try:
        conninfo_to_dict(conninfo)
    except psycopg.Error:
        # Its own words would repeat the address, and with it the password.
        raise ConfigInvalid(
            where="the journal's address",
            what="must be as libpq reads it: postgresql://user:password@host:port/database",
            found=name,
        ) from None
    return conninfo, schema, name


def translated(name: str, error: psycopg.Error) -> TidegateError:
    """Return what the server says in our words: who must act, and whether a batch is in doubt."""
    said = str(error).strip().replace("\n", " ")
    if isinstance(error, errors.DiskFull):
        return CapacityExceeded(f"{name}: the disk is full; nothing of this batch was kept")
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
        return JournalCorrupt(f"{name}: the server finds it damaged ({said})")
    if isinstance(
        error,
        errors.InsufficientPrivilege
        | errors.InvalidPassword
        | errors.InvalidAuthorizationSpecification
        | errors.UndefinedTable
        | errors.UndefinedColumn
        | errors.InvalidCatalogName
        | errors.ReadOnlySqlTransaction,
    ):
        return ConfigInvalid(where=name, what="must be ours to use", found=said)
    return JournalGone(
        f"{name}: the server cannot be used ({said}); a batch under way may be durable or not\n"
        "hint: start again from the journal once the server is back"
    )
