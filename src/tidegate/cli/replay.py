"""`tidegate replay`: one recording, one stack or several, one verdict."""

import json
import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.say import identity, show, words


if TYPE_CHECKING:
    from tidegate.cli.runs import Session
    from tidegate.drivers.recording import Recording
    from tidegate.ports import Journal


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--stack",
    "stacks",
    multiple=True,
    required=True,
    metavar="FILE",
    help="A stack file, or the name of a shipped one; repeat it to compare.",
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write HTML here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--verify", is_flag=True, help="Run every stack twice and prove that both agree.")
@click.option(
    "--against",
    type=click.Choice(["liquidations"]),
    help="Hold the flags of each stack against what really happened.",
)
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep every event and effect; with several stacks, one file each.",
)
@click.option(
    "--no-shock",
    is_flag=True,
    help="Save half the time: cascade_ratio is then null, for it needs a run without impact.",
)
def replay(
    recording: Path,
    stacks: tuple[str, ...],
    report: Path | None,
    *,
    as_json: bool,
    verify: bool,
    against: str | None,
    journal: Path | None,
    no_shock: bool,
) -> None:
    """Replay RECORDING under every stack on the same weather and judge each.

    Prints a table, or with --json one object with a key for each stack. The recording is a folder
    as `tidegate data` makes it.
    """
    from tidegate.cli.runs import Session  # noqa: PLC0415 - numpy, numba, pyarrow
    from tidegate.cli.stacks import bind_stacks  # noqa: PLC0415 - ditto
    from tidegate.drivers.recording import load  # noqa: PLC0415 - ditto

    loaded = load(recording)
    bound = bind_stacks(stacks, loaded.venue)
    identity(
        recording=f"{recording.name} {loaded.digest}",
        **{f"stack_{stack.name}": stack.digest for stack in bound},
    )
    session = Session(loaded)
    held: dict[str, Any] = {}
    stopped = False
    try:
        for stack, wanted in zip(bound, stacks, strict=True):
            book = _journal(journal, wanted, loaded, alone=len(bound) == 1)
            session.take(stack, shock=not no_shock, verify=verify, journal=book)
            if against:
                from tidegate.cli.against import held as hold  # noqa: PLC0415 - where it is asked

                held[stack.name] = hold(loaded, stack)
    except KeyboardInterrupt:
        stopped = True
        words(f"interrupted: {len(session.runs)} of {len(bound)} stacks are complete")
    if session.runs:
        _tell(session, held, recording, stacks, report, as_json=as_json)
    if stopped:
        raise KeyboardInterrupt


def _tell(
    session: "Session",
    held: dict[str, Any],
    folder: Path,
    stacks: tuple[str, ...],
    report: Path | None,
    *,
    as_json: bool,
) -> None:
    loaded, runs = session.recording, session.runs
    if as_json:
        click.echo(json.dumps(as_object(session, held), indent=2, allow_nan=False))
    else:
        from tidegate.cli.table import table  # noqa: PLC0415 - after the run

        verdicts = [run.verdict for run in runs]
        show(table([run.name for run in runs], verdicts, loaded.venue.numeraire))
        for name, found in held.items():
            from tidegate.cli.against import told  # noqa: PLC0415 - where it is asked

            click.echo("\n" + "\n".join(told(name, found)))
    if report is not None:
        wanted = " ".join(f"--stack {shlex.quote(each)}" for each in stacks)
        target = f"--report {shlex.quote(report.name)}"
        command = f"tidegate replay {shlex.quote(str(folder))} {wanted} {target}"
        write_report(session, report, command)


def write_report(session: "Session", target: Path, command: str) -> None:
    """Write the HTML report of a session and say where it lies."""
    from tidegate.report import Subject, write  # noqa: PLC0415 - matplotlib, a second

    loaded = session.recording
    subject = Subject(
        title=loaded.path.resolve().name,
        digest=loaded.digest,
        venue=loaded.venue,
        names=loaded.names,
        command=command,
    )
    write(target, session.runs, subject)
    words(f"report: {target.resolve()}")


def as_object(session: "Session", held: dict[str, Any]) -> dict[str, Any]:
    """Return what --json prints."""
    from tidegate import __version__  # noqa: PLC0415 - beside its only use
    from tidegate.cli.against import shaped  # noqa: PLC0415 - ditto
    from tidegate.report.metrics import baseline, loss_share  # noqa: PLC0415 - ditto

    loaded, runs = session.recording, session.runs
    names = [run.name for run in runs]
    bare = runs[baseline(names)].verdict
    return {
        "tidegate": __version__,
        "recording": {
            "name": loaded.path.resolve().name,
            "digest": loaded.digest,
            "numeraire": loaded.venue.numeraire,
            "notes": list(loaded.venue.notes),
        },
        "stacks": {
            run.name: {
                **run.verdict.to_json(),
                "loss_share_of_bare": loss_share(run.verdict, bare),
                "stack_digest": run.stack.digest,
            }
            for run in runs
        },
        "against": shaped(held),
    }


def _journal(
    path: Path | None, stack: str, loaded: "Recording", *, alone: bool
) -> "AbstractContextManager[Journal | None]":
    if path is None:
        return nullcontext()
    from tidegate.cli.journals import new_journal  # noqa: PLC0415 - sqlite
    from tidegate.cli.stacks import load_stack  # noqa: PLC0415 - numba

    declared = load_stack(stack)
    if not alone:
        path = path.with_name(f"{path.stem}.{declared.name}{path.suffix}")
    return new_journal(path, declared, loaded)
