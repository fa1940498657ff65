"""`tidegate journal`: verify, check, back up, restore, export and upgrade a journal."""

import json
from contextlib import closing
from pathlib import Path

import click

from tidegate.cli.say import identity, words


@click.group()
def journal() -> None:
    """Verify, check, back up, restore and export a journal."""


@journal.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--stack", metavar="FILE", help="The stack; by default the one described beside it.")
@click.option(
    "--venue",
    type=click.Path(path_type=Path, exists=True),
    help="The venue file or recording; by default the one described beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(file: Path, stack: str | None, venue: Path | None, *, as_json: bool) -> None:
    """Decide every event of journal FILE again; exit 1 at the first effect that differs.

    Checks the hash chain of every record on the way: a gap or a flipped bit is refused by number.
    """
    from tidegate.adapters.journal import SqliteJournal  # noqa: PLC0415 - sqlite
    from tidegate.cli.journals import stack_of  # noqa: PLC0415 - numba
    from tidegate.drivers.verify import verify as verified  # noqa: PLC0415 - numba

    bound = stack_of(file, stack, venue)
    with closing(SqliteJournal(file, readonly=True)) as held:
        identity(journal=f"{file.name} head {held.head:,}", stack=f"{bound.name} {bound.digest}")
        done = verified(held, bound)
    if as_json:
        click.echo(json.dumps({"events": done.events, "digest": done.digest}))
    else:
        click.echo(f"{done.events:,} events give the journalled effects; state {done.digest}")


@journal.command()
@click.argument("address")
def check(address: str) -> None:
    """Verify every byte of the journal at ADDRESS: the whole hash chain, receipts, snapshots.

    ADDRESS is a file, sqlite:///PATH or postgresql://... A writer may go on meanwhile.
    """
    from tidegate.adapters.backup import stored  # noqa: PLC0415 - sqlite, psycopg

    with closing(stored(address, readonly=True)) as held:
        found = held.check()
        click.echo(
            f"{held.name}: format {held.format}, epoch {held.epoch}; {found.records:,} records "
            f"from record 0, {found.receipts:,} receipts, {found.snapshots} snapshots, all whole"
        )


@journal.command()
@click.argument("address")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(address: str, file: Path) -> None:
    """Copy the journal at ADDRESS, as it is at this moment, into the new file FILE.

    The writer goes on meanwhile. The copy is a journal like any other, and verified.
    """
    from tidegate.adapters.backup import backup as copied  # noqa: PLC0415 - sqlite
    from tidegate.adapters.backup import stored  # noqa: PLC0415 - sqlite, psycopg

    with closing(stored(address, readonly=True)) as held:
        found = copied(held, file)
    click.echo(f"{file}: {found.records:,} records, {found.receipts:,} receipts, verified")


@journal.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("address", required=False)
@click.option("--drill", is_flag=True, help="Only prove that it could be done; keep nothing.")
def restore(file: Path, address: str | None, *, drill: bool) -> None:
    """Make the journal at ADDRESS out of the backup FILE, unless there is one already.

    The backup is verified first and the journal afterwards. With --drill both happen in a folder
    that is thrown away: do it regularly, a backup that was never restored is a hope.
    """
    from tidegate.adapters.backup import drill as drilled  # noqa: PLC0415 - sqlite
    from tidegate.adapters.backup import restore as restored  # noqa: PLC0415 - sqlite, psycopg
    from tidegate.adapters.journal import SqliteJournal  # noqa: PLC0415 - sqlite

    if drill == (address is not None):
        msg = "name either the journal to be made, or --drill"
        raise click.UsageError(msg)
    with closing(SqliteJournal(file, readonly=True)) as copy:
        found = drilled(copy) if address is None else restored(copy, address)
    said = "could be restored" if drill else "restored"
    click.echo(f"{said}: {found.records:,} records, {found.receipts:,} receipts, verified")


@journal.command()
@click.argument("address")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--after", type=click.IntRange(-1), metavar="SEQ", help="Only records after this one."
)
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last N records.")
def export(address: str, file: Path, after: int | None, last: int | None) -> None:
    """Write records of the journal at ADDRESS to the new Parquet file FILE, one row each.

    Columns: seq, ts, kind, effects (how many) and payload (event and effects as JSON).
    """
    from tidegate.adapters.backup import stored  # noqa: PLC0415 - sqlite, psycopg
    from tidegate.adapters.tail import export as exported  # noqa: PLC0415 - pyarrow
    from tidegate.domain.errors import ConfigInvalid  # noqa: PLC0415 - next to its use

    if file.exists():
        raise ConfigInvalid(where=str(file), what="must be a new file", found="one that is there")
    with closing(stored(address, readonly=True)) as held:
        begin = -1 if after is None else after
        if last is not None:
            begin = max(begin, held.head - last)
        rows = exported(held.read(begin), file)
    click.echo(f"{file}: {rows:,} records")


@journal.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def upgrade(file: Path) -> None:
    """Bring the journal FILE to this version's format; the old file is kept beside it.

    Nobody may be writing it. The chain is verified first; records stay as they were written.
    """
    from tidegate.adapters.upgrade import upgrade as upgraded  # noqa: PLC0415 - sqlite

    kept = upgraded(file)
    words(f"the journal as it was: {kept}")
    click.echo(f"{file}: upgraded")
