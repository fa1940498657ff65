"""A journal by its address: a path, sqlite:///PATH, postgresql://..., or memory: for none."""

from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from tidegate.adapters.chained import RECEIPTS_KEPT, ChainedJournal
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.memory import MemoryJournal
from tidegate.domain.errors import ConfigInvalid


OpenJournal: TypeAlias = ChainedJournal | MemoryJournal


def open_journal(
    where: Path | str, *, readonly: bool = False, receipts_kept: int = RECEIPTS_KEPT
) -> OpenJournal:
    """Open the journal at ``where``; a writer makes a new one where there is none.

    A plain path is a SQLite file, and so is ``sqlite:///relative`` or ``sqlite:////absolute``.
    ``memory:`` forgets everything when it is closed. Raise ConfigInvalid for an address of another
    kind, WriterElsewhere where another process writes, JournalGone where a server is away.
    """
    text = str(where)
    scheme, mark, rest = text.partition(":")
    if isinstance(where, Path) or not mark or "/" in scheme:
        return SqliteJournal(where, readonly=readonly, receipts_kept=receipts_kept)
    if scheme == "memory" and not rest.strip("/"):
        return MemoryJournal()
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        path = unquote(rest.removeprefix("///"))
        return SqliteJournal(path, readonly=readonly, receipts_kept=receipts_kept)
    if scheme in {"postgresql", "postgres"} and rest.startswith("//"):
        from tidegate.adapters.postgres import PostgresJournal  # noqa: PLC0415 - psycopg is slow

        return PostgresJournal(text, readonly=readonly, receipts_kept=receipts_kept)
    raise ConfigInvalid(
        where="the journal's address",
        what="must be a path, sqlite:///PATH, postgresql://HOST/DATABASE or memory:",
        # Whatever follows may hold a password.
        found=f"{scheme}:...",
    )
