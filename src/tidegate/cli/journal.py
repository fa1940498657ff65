"""`tidegate journal`: prove that a journal still gives the effects that were journalled."""

import json
from contextlib import closing
from pathlib import Path

import click

from tidegate.cli.say import identity


@click.group()
def journal() -> None:
    """Verify what a replay or a live run has journalled."""


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
