"""`tidegate stack shadow`: says who would be liquidated by a change of parameters."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.say import identity, progress, show


if TYPE_CHECKING:
    from tidegate.drivers.shadow import Affected, Shadow

SHOWN = 20
SECOND = 1_000_000_000


@click.command(name="shadow")
@click.argument("recording", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--stack", "wanted", required=True, metavar="FILE", help="The stack as it is.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="NAME=VALUE",
    help="A change, for instance maintenance.BTC-PERP.0=12_500; repeat it for several.",
)
@click.option(
    "--after",
    type=float,
    help="Look so many seconds after the recording begins, not at its end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def shadow_command(
    recording: Path, wanted: str, changes: tuple[str, ...], after: float | None, *, as_json: bool
) -> None:
    """Replay RECORDING and say who would be liquidated if parameters changed at that moment.

    The replay runs under the stack as it is, up to the moment asked for. Nothing is changed: every
    account is judged by both sets of parameters at the same believed prices.
    """
    from tidegate.cli.stacks import bind_stacks  # noqa: PLC0415 - numpy, numba
    from tidegate.drivers.recording import load  # noqa: PLC0415 - pyarrow
    from tidegate.drivers.replay import Replay  # noqa: PLC0415 - ditto
    from tidegate.drivers.shadow import changed_facts, shadow  # noqa: PLC0415 - ditto

    loaded = load(recording)
    (bound,) = bind_stacks([wanted], loaded.venue)
    asked = [_change(text) for text in changes]
    changed_facts(bound.facts, bound, asked)  # a wrong name is found before the replay
    names = {f"stack_{bound.name}": bound.digest}
    identity(recording=f"{recording.name} {loaded.digest}", **names)
    run = Replay(recording=loaded, stack=bound)
    with progress("events", loaded.count()) as tick:
        run.run(tick, None if after is None else round(after * SECOND))
    found = shadow(run.state, bound, asked)
    if as_json:
        said = asdict(found) | {"short": found.short, "at": run.state.now}
        click.echo(json.dumps(said, indent=2))
        return
    show("\n".join(_told(found, loaded.venue.numeraire)))


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
