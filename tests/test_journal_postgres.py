"""The journal on a server: what it insists on, what it never shows, what a lost server means."""

import contextlib
import os
import signal
from contextlib import closing

import psycopg
import pytest

import servers
from tidegate.adapters.chained import WriterElsewhere
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.journals import open_journal
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.postgres import NOTICED, PostgresJournal, addressed
from tidegate.domain.errors import (
    CapacityExceeded,
    ConfigInvalid,
    JournalCorrupt,
    JournalGone,
    TidegateError,
)
from tidegate.ports import Receipt
from tidegate.testing import history


@pytest.fixture
def url(postgres_url, request):
    """Yield the address of a schema of this test's own."""
    schema = f"journal_{os.getpid()}_{abs(hash(request.node.nodeid)) % 10**9}"
    yield f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema={schema}"
    with psycopg.connect(postgres_url) as db:
        db.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def told(url, statement, *values):
    """Run a statement behind the journal's back, in its schema."""
    base, _, schema = url.rpartition("schema=")
    with psycopg.connect(base.rstrip("?&"), autocommit=True) as db:
        db.execute(f"SET search_path = {schema}")
        return db.execute(statement, values or None)


# ---------------------------------------------------------------- what a commit is


@pytest.mark.parametrize(
    ("setting", "becomes"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")],
)
def test_every_append_waits_for_the_disk(url, setting, becomes):
    spelled = f"{url}&options=-csynchronous_commit%3D{setting}"
    with closing(PostgresJournal(spelled)) as journal:
        found = journal._run("SHOW synchronous_commit").fetchone()
        assert found == (becomes,)


def test_the_frames_are_the_ones_of_a_file(url, tmp_path):
    """One codec: what a server keeps is byte for byte what a file keeps."""
    with closing(PostgresJournal(url)) as there, closing(SqliteJournal(tmp_path / "j")) as here:
        for journal in (there, here):
            journal.append(history(3))
            journal.append(history(9, first=3))
        assert list(there.frames()) == list(here.frames())
        assert there.link == here.link
        epochs = there._run("SELECT DISTINCT epoch FROM batches").fetchall()
        assert epochs == [(1,)]


def test_two_journals_of_one_database_are_two(url):
    with closing(PostgresJournal(url)) as one, closing(PostgresJournal(f"{url}_b")) as two:
        one.append(history(2))
        assert (one.head, two.head) == (1, -1)
    told(f"{url}_b", f"DROP SCHEMA {url.rpartition('schema=')[2]}_b CASCADE")


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM batches WHERE first = 3", "record 3: it is missing"),
        ("UPDATE batches SET frame = set_byte(frame, 70, 0) WHERE first = 3", "record 3:"),
        ("DELETE FROM batches WHERE first = 7", "record 7: the journal ends with record 6"),
        ("UPDATE head SET seq = 6", "says where the journal ends is damaged"),
        ("DELETE FROM head", "says where the journal ends is damaged"),
    ],
)
def test_damage_is_named(url, statement, named):
    with closing(PostgresJournal(url)) as journal:
        for first, count in ((0, 3), (3, 4), (7, 2)):
            journal.append(history(count, first=first))
    told(url, statement)
    with pytest.raises(JournalCorrupt, match=named), closing(PostgresJournal(url)) as journal:
        list(journal.read())


def test_a_changed_receipt_or_snapshot_is_refused(url):
    with closing(PostgresJournal(url)) as journal:
        journal.append(history(3), [Receipt("feed", "a", 0, 2)])
        told(url, "UPDATE receipts SET last = 9")
        with pytest.raises(JournalCorrupt, match="the receipt of b'feed'"):
            journal.receipt("feed", "a")


# ---------------------------------------------------------------- what is refused


def test_another_format_is_refused(url):
    PostgresJournal(url).close()
    told(url, "ALTER TABLE head ALTER format DROP NOT NULL")
    told(url, "UPDATE head SET format = 3, checksum = %b", _sealed_head(3))
    with pytest.raises(ConfigInvalid, match="format must be 2, found 3"):
        PostgresJournal(url)


def _sealed_head(number):
    from tidegate.adapters.chain import checksum  # noqa: PLC0415 - only here
    from tidegate.adapters.codec import ORIGIN  # noqa: PLC0415 - only here

    return checksum(number, -1, 0, "", ORIGIN)


def test_a_reader_creates_nothing(url):
    with pytest.raises(ConfigInvalid, match="must be a journal, found no such schema"):
        PostgresJournal(url, readonly=True)
    schema = url.rpartition("schema=")[2]
    found = told(url, "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", schema)
    assert found.rowcount == 0


def test_a_reader_is_read_only_to_the_server_too(url):
    PostgresJournal(url).close()
    with (
        closing(PostgresJournal(url, readonly=True)) as reader,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        reader._run("DELETE FROM head")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:se%63ret@127.0.0.1:9/db?schema=x",
        "postgresql://user:secret@127.0.0.1:9/db?sslmode=nonsense",
        "postgresql://user:secret@127.0.0.1:notaport/db",
        "postgresql://user:secret@127.0.0.1:9/db?schema=a%22b",
        "postgresql://127.0.0.1:9/db?user=user&password=secret",
        "postgresql:/user:secret@there",
        "mysql://user:secret@there/db",
    ],
)
def test_a_password_is_never_shown(address):
    with pytest.raises(TidegateError) as caught:
        open_journal(address)
    error = caught.value
    while error is not None:
        assert "secret" not in str(error)
        assert "se%63ret" not in str(error)
        error = error.__cause__


def test_a_name_says_which_journal_it_is():
    conninfo, schema, name = addressed(
        "postgresql://me:pw@db.example:5433/risk?schema=btc&connect_timeout=3"
    )
    assert (schema, name) == ("btc", "postgresql://me@db.example:5433/risk?schema=btc")
    assert conninfo == "postgresql://me:pw@db.example:5433/risk?connect_timeout=3"


def test_journals_are_opened_by_address(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    for address in (f"sqlite:///{tmp_path}/a", tmp_path / "a", f"{tmp_path}/a", "sqlite:///a", "a"):
        with closing(open_journal(address)) as journal:
            assert isinstance(journal, SqliteJournal)
            assert journal.path == tmp_path / "a"
    assert isinstance(open_journal("memory:"), MemoryJournal)
    with closing(open_journal(url, receipts_kept=7)) as journal:
        assert isinstance(journal, PostgresJournal)
    for wrong in ("memory:x", "sqlite://a", "sqlite:///", "redis://a"):
        with pytest.raises(ConfigInvalid, match="must be a path, sqlite"):
            open_journal(wrong)


# ---------------------------------------------------------------- faults


def test_a_full_disk_keeps_nothing_and_stops_the_journal(url):
    """The server's own code for it, raised where a real one would: at the batch."""
    with closing(PostgresJournal(url)) as journal:
        journal.append(history(3))
        told(
            url,
            """
            CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER no_room BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION no_room();
            """,
        )
        with pytest.raises(CapacityExceeded, match="the disk is full"):
            journal.append(history(2, first=3), [Receipt("feed", "a", 3, 4)])
        with pytest.raises(TidegateError, match="an append has failed"):
            journal.append(history(2, first=3))
    told(url, "DROP TRIGGER no_room ON batches")
    with closing(PostgresJournal(url)) as journal:
        assert (journal.head, journal.receipt("feed", "a")) == (2, None)
        journal.append(history(2, first=3))
        assert list(journal.read()) == history(5)


def test_a_leader_whose_connection_was_ended_is_no_leader_any_more(url):
    with closing(PostgresJournal(url)) as journal:
        journal.append(history(3))
        told(url, "SELECT pg_terminate_backend(%s)", journal.backend)
        with pytest.raises(JournalGone, match="may be durable or not"):
            journal.append(history(1, first=3))
        with pytest.raises(TidegateError, match="an append has failed"):
            journal.append(history(1, first=3))
        with closing(PostgresJournal(url)) as again:
            assert (again.epoch, list(again.read())) == (2, history(3))


def test_the_server_notices_a_leader_whose_host_has_vanished(monkeypatch):
    """It says no good-bye: by the server's own settings its lock would stand for two hours."""
    port = servers.free_port()
    monkeypatch.setenv("PGPORT", str(port))
    server = servers.private_postgres()
    try:
        server.stop()
        server.start("-c", "listen_addresses=127.0.0.1")
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with closing(PostgresJournal(url)) as journal:
            found = [journal._run(f"SHOW {name}").fetchone()[0] for name in NOTICED]
        assert found == ["5", "1", "5", "10000"]
    finally:
        server.close()


def test_a_server_that_dies_and_comes_back():
    """Everything that was acknowledged is there; the batch under way is there whole or not."""
    server = servers.private_postgres()
    try:
        journal = PostgresJournal(server.url)
        reader = PostgresJournal(server.url, readonly=True)
        journal.append(history(20), [Receipt("feed", "a", 0, 19)])
        server.stop(signal.SIGQUIT)
        for act in (
            lambda: journal.append(history(1, first=20)),
            reader.refresh,
            lambda: PostgresJournal(server.url),
            lambda: PostgresJournal(server.url, readonly=True),
        ):
            with pytest.raises(JournalGone):
                act()
        journal.close()
        reader.close()
        server.start()
        with closing(PostgresJournal(server.url)) as again:
            assert (again.head, again.epoch, again.place("feed")) == (19, 2, "a")
            assert list(again.read()) == history(20)
            again.append(history(5, first=20))
            with pytest.raises(WriterElsewhere, match="only one process may write"):
                PostgresJournal(server.url)
        server.stop()
        server.start("-c", "fsync=off")
        with pytest.raises(ConfigInvalid, match="fsync = on: acknowledged means durable"):
            PostgresJournal(server.url)
        with closing(PostgresJournal(server.url, readonly=True)) as held:
            assert held.head == 24
    finally:
        with contextlib.suppress(UnboundLocalError):
            journal.close()
        server.close()
