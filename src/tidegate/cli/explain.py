"""`tidegate explain`: why an account was touched, from the order back to the observation."""

import json
from collections.abc import Sequence
from contextlib import closing, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.say import identity, progress


if TYPE_CHECKING:
    from tidegate.domain.effects import Decision
    from tidegate.domain.events import Input
    from tidegate.engine.state import State
    from tidegate.engine.trail import Trail


class _Enough(Exception):
    """The record that was asked for has been seen."""


@click.command()
@click.argument("history", type=click.Path(path_type=Path, exists=True))
@click.argument("where", metavar="ACCOUNT@SEQ")
@click.option(
    "--stack",
    metavar="FILE",
    help="The stack: a file or a shipped name. Needed for a recording; a journal knows its own.",
)
@click.option(
    "--venue",
    type=click.Path(path_type=Path, exists=True),
    help="Venue file or recording of a journal that has no description beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(
    history: Path, where: str, stack: str | None, venue: Path | None, *, as_json: bool
) -> None:
    """Say why an account was touched, with the numbers, from the order back to the observation.

    HISTORY is a recording, which is replayed under --stack as far as needed, or a journal. Without
    @SEQ the last time that anything was done to ACCOUNT is explained. ACCOUNT is a name.
    """
    from tidegate.engine.explain import END  # noqa: PLC0415 - numpy

    account, seq = _asked(where, END)
    lines = (
        _from_recording(history, account, seq, stack)
        if history.is_dir()
        else _from_journal(history, account, seq, stack, venue)
    )
    if as_json:
        click.echo(json.dumps({"account": account, "lines": lines}, indent=2))
        return
    for line in lines:
        click.echo(line)


def _asked(where: str, end: int) -> tuple[str, int]:
    account, at, seq = where.rpartition("@")
    if not at:
        return where, end
    try:
        number = int(seq.replace(",", "").replace("_", ""))
    except ValueError:
        number = -1
    if number < 0 or not account:
        msg = f"{where!r} must be ACCOUNT@SEQ, for example alice@4711"
        raise click.BadParameter(msg, param_hint="ACCOUNT@SEQ")
    return account, number


def _from_recording(folder: Path, account: str, seq: int, stack: str | None) -> list[str]:
    from tidegate.cli.stacks import bind_stack  # noqa: PLC0415 - numpy, numba
    from tidegate.domain.errors import ConfigInvalid  # noqa: PLC0415 - beside its use
    from tidegate.drivers.recording import load  # noqa: PLC0415 - pyarrow
    from tidegate.drivers.replay import replay  # noqa: PLC0415 - numba
    from tidegate.engine.explain import told  # noqa: PLC0415 - numpy
    from tidegate.engine.trail import Trail  # noqa: PLC0415 - numpy

    loaded = load(folder)
    if stack is None:
        raise ConfigInvalid(
            where="--stack",
            what="must name the stack under which the recording is replayed",
            found="nothing",
            hint="for example --stack guarded",
        )
    bound = bind_stack(stack, loaded.venue)
    row = _row(account, loaded.names)
    identity(recording=f"{folder.name} {loaded.digest}", stack=f"{bound.name} {bound.digest}")
    trail = Trail(row)
    with progress(f"{bound.name} up to seq", loaded.n_events) as tick, suppress(_Enough):
        replay(loaded, bound, observers=[_Follower(trail, seq)], on_progress=tick)
    return told(trail, seq, bound, loaded.names)


class _Follower:
    """Feeds a trail from a running replay and stops it once the record was seen."""

    def __init__(self, trail: "Trail", seq: int) -> None:
        self._trail, self._seq = trail, seq

    def __call__(
        self,
        seq: int,
        event: "Input",
        effects: "Sequence[Decision]",
        state: "State",
        impact_ppm: Sequence[int],
    ) -> None:
        from tidegate.ports import Record  # noqa: PLC0415 - numpy

        del state, impact_ppm
        self._trail.follow(Record(seq, event, tuple(effects)))
        if seq >= self._seq:
            raise _Enough


def _from_journal(
    path: Path, account: str, seq: int, stack: str | None, venue: Path | None
) -> list[str]:
    from tidegate.adapters.journal import SqliteJournal  # noqa: PLC0415 - sqlite
    from tidegate.cli.journals import account_names, stack_of  # noqa: PLC0415 - numba
    from tidegate.engine.explain import explain as told_of  # noqa: PLC0415 - numpy

    bound = stack_of(path, stack, venue)
    with closing(SqliteJournal(path, readonly=True)) as journal:
        identity(journal=f"{path.name} head {journal.head:,}", stack=f"{bound.name} {bound.digest}")
        names = account_names(journal.read())
        return told_of(journal.read(), _row(account, names), seq, bound, names)


def _row(account: str, names: Sequence[str]) -> int:
    from tidegate.domain.book import FIRST_USER  # noqa: PLC0415 - numba

    if account in names:
        return list(names).index(account) + FIRST_USER
    close = get_close_matches(account, names, n=3)
    hint = f"; did you mean {', '.join(close)}?" if close else ""
    msg = f"no account is named {account!r} among {len(names):,}{hint}"
    raise click.BadParameter(msg, param_hint="ACCOUNT@SEQ")
