"""`tidegate data`: make, fetch, convert and check recordings."""

import json
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import click

from tidegate.cli.data_convert import convert
from tidegate.cli.data_fetch import fetch
from tidegate.cli.say import words
from tidegate.domain.errors import Refused


WIDTH: Final = 96
REFUSED: Final = 2


@click.group()
def data() -> None:
    """Make, fetch, convert and check recordings.

    A recording is a folder of Parquet files and one venue.toml: what `tidegate replay` reads.
    """


data.add_command(fetch)
data.add_command(convert)


@data.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder."
)
@click.option("--accounts", type=click.IntRange(100, 1_000_000), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True)
@click.option(
    "--kind",
    type=click.Choice(["crash", "loans"]),
    default="crash",
    show_default=True,
    help="Perpetuals in a crash, or a lending market.",
)
@click.option(
    "--scenario", help="Which story (default: october, or recovery); a wrong name lists them."
)
@click.option(
    "--providers",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Accounts that stand behind the markets of a crash, for stacks with a backstop.",
)
def make(
    out: Path, accounts: int, seed: int, kind: str, scenario: str | None, providers: int
) -> None:
    """Make a synthetic crash with a crowded book, or loans; the same seed gives the same bytes."""
    from tidegate.drivers.recording import load  # noqa: PLC0415 - numpy, numba, pyarrow
    from tidegate.drivers.synthetic import make as synthetic  # noqa: PLC0415 - ditto
    from tidegate.drivers.synthetic_loans import make_loans  # noqa: PLC0415 - ditto

    def tell(done: int, of: int) -> None:
        words(f"step {done} of {of}")

    common: dict[str, Any] = {"accounts": accounts, "seed": seed, "on_progress": tell}
    if kind == "crash":
        synthetic(out, scenario=scenario or "october", providers=providers, **common)
    elif providers:
        msg = "a lending market has no providers"
        raise click.BadParameter(msg, param_hint="--providers")
    else:
        make_loans(out, scenario=scenario or "recovery", **common)
    made = load(out)
    click.echo(
        f"{out}: {len(made.names):,} accounts, {made.n_events:,} events, digest {made.digest}"
    )


@data.command()
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(recording: Path, *, as_json: bool) -> int:
    """Validate RECORDING and say what is there, what is missing and what that means.

    Exit code 0 when a replay will accept it, 2 when not.
    """
    from tidegate.drivers.recording import load  # noqa: PLC0415 - numpy, numba, pyarrow
    from tidegate.drivers.recording_check import plain_language, report  # noqa: PLC0415 - ditto

    try:
        loaded = load(recording)
    except Refused as error:
        if not as_json:
            raise
        refused = {
            "valid": False,
            "where": error.where,
            "what": error.what,
            "found": error.found,
            "hint": error.hint,
        }
        click.echo(json.dumps(refused, indent=2))
        return REFUSED
    if as_json:
        click.echo(json.dumps({"valid": True, **report(loaded)}, indent=2))
        return 0
    for line in plain_language(loaded):
        indent = " " * (len(line) - len(line.lstrip()))
        click.echo(fill(line, WIDTH, initial_indent="", subsequent_indent=f"{indent}  "))
    return 0
