"""From format 1 of the SQLite journal to format 2: frames stay as they are, tables are added."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from tidegate.adapters.chain import FORMAT, Head, checksum
from tidegate.adapters.journal import ADDED, SqliteJournal, connected, lock, synced, translated
from tidegate.domain.errors import ConfigInvalid


OLD: Final = 1


def upgrade(path: Path) -> Path:
    """Bring the journal at ``path`` to the format of this version; return where the old one is.

    The whole chain is verified first, and a copy of the file as it was is made durable beside it,
    so that moving the copy back undoes everything. Then one transaction adds what is new: it
    happens, or it does not. Raise ConfigInvalid where the journal needs no upgrade or somebody
    writes it.
    """
    path = path.absolute()
    with closing(SqliteJournal(path, readonly=True)) as journal:
        if journal.format != OLD:
            raise ConfigInvalid(
                where=str(path),
                what=f"only a journal of format {OLD} is upgraded",
                found=str(journal.format),
            )
    with closing(lock(path)), closing(SqliteJournal(path, readonly=True)) as journal:
        links = {seq: journal.link_of(seq) for seq in journal.snapshots()}
        head = journal.end
        journal.check()
        kept = path.with_name(f"{path.name}-format{OLD}")
        with closing(connected(path, readonly=False)) as db:
            try:
                _copied(db, kept)
                _added(db, head, links)
            except sqlite3.Error as error:
                raise translated(path, error) from error
    return kept


def _copied(db: sqlite3.Connection, kept: Path) -> None:
    if kept.exists():
        raise ConfigInvalid(
            where=str(kept),
            what="must not be there yet: the journal as it was is kept under this name",
            found="a file",
        )
    new = kept.with_name(f"{kept.name}-new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as copy:
        db.backup(copy)
    new.replace(kept)
    synced(kept.parent)


def _added(db: sqlite3.Connection, head: Head, links: dict[int, bytes]) -> None:
    db.executescript(f"BEGIN IMMEDIATE; {ADDED}")
    for seq, link in links.items():
        row = db.execute("SELECT seq, digest, state FROM snapshots WHERE seq = ?", (seq,))
        db.execute(
            "UPDATE snapshots SET link = ?, checksum = ? WHERE seq = ?",
            (link, checksum(*row.fetchone(), link), seq),
        )
    db.execute("UPDATE head SET format = ?, checksum = ?", (FORMAT, head.checksum))
    db.execute("COMMIT")
