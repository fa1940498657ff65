"""`tidegate demo`: from nothing to a verdict in one command, on a crash that comes with us."""

import shlex
from pathlib import Path
from textwrap import fill
from typing import Final

import click

from tidegate.cli.say import identity, show, words


STACKS: Final = ("bare", "neutral", "guarded")
ACCOUNTS: Final = 4_000
SEED: Final = 7
WIDTH: Final = 96


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/demo"),
    show_default=True,
    help="Where the recording and the report go.",
)
@click.option(
    "--accounts",
    type=click.IntRange(100, 1_000_000),
    default=ACCOUNTS,
    show_default=True,
    help="How many accounts the synthetic venue has.",
)
def demo(out: Path, accounts: int) -> None:
    """Make a synthetic crash, replay it under three stacks, and write the report.

    The crash is calibrated to the published aggregates of a real one; `bare` is what a named
    venue publishes about itself, `neutral` has everything off, `guarded` everything on.
    """
    from tidegate.cli.replay import write_report  # noqa: PLC0415 - numpy, numba
    from tidegate.cli.runs import Session  # noqa: PLC0415 - ditto
    from tidegate.cli.stacks import bind_stacks  # noqa: PLC0415 - ditto
    from tidegate.cli.table import table  # noqa: PLC0415 - ditto
    from tidegate.drivers.recording import load  # noqa: PLC0415 - pyarrow
    from tidegate.drivers.synthetic import make  # noqa: PLC0415 - ditto
    from tidegate.report import unbroken, verdict_words  # noqa: PLC0415 - matplotlib

    folder = out / f"october-{accounts}"
    identity(recording=f"synthetic, {accounts:,} accounts, seed {SEED}")
    make(folder, accounts=accounts, seed=SEED)
    loaded = load(folder)
    words(f"recording: {folder}, {loaded.n_events:,} events, digest {loaded.digest}")
    session = Session(loaded)
    for stack in bind_stacks(STACKS, loaded.venue):
        session.take(stack, shock=True, verify=False)
    names = [run.name for run in session.runs]
    verdicts = [run.verdict for run in session.runs]
    unit = loaded.venue.numeraire
    show(table(names, verdicts, unit))
    for sentence in verdict_words(names, verdicts, unit, loaded.venue.account_label):
        click.echo()
        click.echo(fill(unbroken(sentence), WIDTH).replace(chr(160), " "))
    report = out / "report.html"
    wanted = " ".join(f"--stack {name}" for name in STACKS)
    command = f"tidegate replay {shlex.quote(str(folder))} {wanted} --report {report.name}"
    write_report(session, report, command)
    click.echo()
    click.echo(f"the report lies at {report.resolve()}")
