"""Backup and restore: one verified copy of a journal, from any store into any store."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from tidegate.adapters.chain import Chain, Checked
from tidegate.adapters.chained import ChainedJournal
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.journals import open_journal
from tidegate.domain.errors import ConfigInvalid


def stored(address: Path | str, *, readonly: bool) -> ChainedJournal:
    """Open a journal that outlives the process; ConfigInvalid for one in memory."""
    journal = open_journal(address, readonly=readonly)
    if isinstance(journal, ChainedJournal):
        return journal
    raise ConfigInvalid(where=str(address), what="must be a journal that is kept", found="memory")


def backup(source: Chain, path: Path) -> Checked:
    """Copy ``source``, as it is at this moment, into a new file at ``path``; return what it holds.

    The writer goes on meanwhile. Every record is verified on its way out, and the copy is read
    from beginning to end before it is called one.
    """
    if path.exists():
        raise ConfigInvalid(
            where=str(path), what="must be a new file: a backup is never written over", found="it"
        )
    target = SqliteJournal(path)  # refused where traces of another journal lie
    try:
        return _copied(source, target)
    except BaseException:
        for part in ("", "-wal", "-shm", "-head", "-writer"):
            path.with_name(path.name + part).unlink(missing_ok=True)
        raise


def restore(copy: Chain, address: Path | str) -> Checked:
    """Make the journal at ``address`` out of a backup; return what it holds then.

    Raise ConfigInvalid unless there is none yet: what is there is never written over.
    """
    copy.check()
    return _copied(copy, stored(address, readonly=False))


def drill(copy: Chain) -> Checked:
    """Restore a backup into a folder that is thrown away: the proof that it could be restored."""
    with TemporaryDirectory() as folder:
        return restore(copy, Path(folder) / "drill")


def _copied(source: Chain, target: ChainedJournal) -> Checked:
    with closing(target):
        target.adopt(source)
        return target.check()
