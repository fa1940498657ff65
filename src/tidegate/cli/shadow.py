"""`tidegate stack shadow`: says who would be liquidated by a change of parameters."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.say import identity, progress, show


if TYPE_CHECKING:
    from tidegate.drivers.shadow import Affected, Shadow
    from tidegate.engine.state import State
    from tidegate.safeguards.stack import Stack

SHOWN = 20
SECOND = 1_000_000_000


@click.command(name="shadow")
@click.argument("history", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--stack",
    "wanted",
    metavar="FILE",
    help="The stack as it is. Needed for a recording; a journal knows its own.",
)
@click.option(
    "--venue",
    type=click.Path(path_type=Path, exists=True),
    help="Venue file or recording of a journal that has no description beside it.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="NAME=VALUE",
    help="A change, for instance maintenance.BTC-PERP.0=12_500; repeat it for several.",
)
@click.option(
    "--after", type=float, help="Look so many seconds after HISTORY begins, not at its end."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def shadow_command(
    history: Path,
    wanted: str | None,
    venue: Path | None,
    changes: tuple[str, ...],
    after: float | None,
    *,
    as_json: bool,
) -> None:
    """Say who would be liquidated if parameters changed at the end of HISTORY.

    HISTORY is a recording, which is replayed under --stack, or a journal, which is taken at its
    word. Nothing is changed: every account is judged by both sets of parameters at the same
    believed prices.
    """
    from tidegate.drivers.shadow import changed_facts, shadow  # noqa: PLC0415 - numba

    asked = [_change(text) for text in changes]
    stop = None if after is None else round(after * SECOND)
    take = _from_recording if history.is_dir() else _from_journal
    bound, state_of = take(history, wanted, venue)
    changed_facts(bound.facts, bound, asked)  # a wrong name is found before the replay
    state = state_of(stop)
    found = shadow(state, bound, asked)
    if as_json:
        click.echo(json.dumps(asdict(found) | {"short": found.short, "at": state.now}, indent=2))
        return
    show("\n".join(_told(found, bound.venue.numeraire)))


def _from_recording(
    folder: Path, wanted: str | None, venue: Path | None
) -> "tuple[Stack, Callable[[int | None], State]]":
    from tidegate.cli.stacks import bind_stacks  # noqa: PLC0415 - numpy, numba
    from tidegate.drivers.recording import load  # noqa: PLC0415 - pyarrow
    from tidegate.drivers.replay import Replay  # noqa: PLC0415 - ditto

    del venue  # the recording's own
    if wanted is None:
        message = "a recording is replayed under a stack, for example --stack bare"
        raise click.BadParameter(message, param_hint="--stack")
    loaded = load(folder)
    (bound,) = bind_stacks([wanted], loaded.venue)
    identity(recording=f"{folder.name} {loaded.digest}", stack=f"{bound.name} {bound.digest}")

    def state_of(stop: int | None) -> "State":
        run = Replay(recording=loaded, stack=bound)
        with progress("events", loaded.count()) as tick:
            run.run(tick, stop)
        return run.state

    return bound, state_of


def _from_journal(
    path: Path, wanted: str | None, venue: Path | None
) -> "tuple[Stack, Callable[[int | None], State]]":
    from tidegate.adapters.journal import SqliteJournal  # noqa: PLC0415 - sqlite
    from tidegate.cli.journals import stack_of  # noqa: PLC0415 - numba
    from tidegate.engine.state import State  # noqa: PLC0415 - ditto
    from tidegate.engine.step import apply  # noqa: PLC0415 - ditto

    bound = stack_of(path, wanted, venue)

    def state_of(stop: int | None) -> "State":
        state, begins = State.genesis(bound), -1
        with closing(SqliteJournal(path, readonly=True)) as journal:
            said = {"journal": f"{path.name} head {journal.head:,}"}
            identity(**said, stack=f"{bound.name} {bound.digest}")
            for record in journal.read():
                begins = record.event.ts if begins < 0 else begins
                if stop is not None and record.event.ts > begins + stop:
                    break
                apply(state, record.event, record.effects)
        return state

    return bound, state_of


def _change(text: str) -> tuple[str, int]:
    name, given, value = text.partition("=")
    try:
        return name.strip(), int(value)
    except ValueError:
        found = value if given else text
        message = f"must be NAME=VALUE with a whole VALUE, found {found!r}"
        raise click.BadParameter(message, param_hint="--set") from None


def _told(found: "Shadow", unit: str) -> list[str]:
    def money(amount: int) -> str:
        return f"{amount / 1e6:,.2f}"

    def row(a: "Affected") -> str:
        cells = (a.equity, a.before, a.after, a.after - a.equity, a.open)
        return f"{a.name:<28}" + "".join(f"{money(c):>18}" for c in cells)

    before, after = found.required
    said = [
        f"{len(found.liquidated):,} accounts would be liquidated only by this change",
        f"they lack {money(found.short)} {unit} together",
        f"{len(found.saved):,} would be saved by it; {found.already:,} are liquidatable either way",
        f"maintenance of everybody: {money(before)} before, {money(after)} after",
    ]
    if found.liquidated:
        head = ("equity", "maintenance", "would be", "lacks", "open")
        said += ["", f"{'account':<28}" + "".join(f"{h:>18}" for h in head)]
        said += [row(a) for a in found.liquidated[:SHOWN]]
    if len(found.liquidated) > SHOWN:
        said.append(f"and {len(found.liquidated) - SHOWN:,} more; --json names them all")
    return said
