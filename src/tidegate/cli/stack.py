"""`tidegate stack`: validate stack files and read them back in plain language."""

import json
from pathlib import Path
from textwrap import fill
from typing import Final

import click

from tidegate.cli.shadow import shadow_command


WIDTH: Final = 96


@click.group()
def stack() -> None:
    """Check stack files, read them back in plain language, and try changes on a recording."""


stack.add_command(shadow_command)


@stack.command()
@click.argument("file")
@click.option(
    "--venue",
    type=click.Path(path_type=Path, exists=True),
    help="Also prove that it fits this venue: a venue file, or the folder of a recording.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: str, venue: Path | None, *, as_json: bool) -> None:
    """Validate FILE, a stack file or the name of a shipped stack, and say what it does.

    The reading is generated from the parameters that will decide, never from comments.
    """
    from tidegate.cli.stacks import bind_stack, load_stack, load_venue_file  # noqa: PLC0415 - numpy, numba

    declared = load_stack(file)
    bound = bind_stack(file, load_venue_file(venue)) if venue else None
    reading = declared.describe()
    if as_json:
        said = {
            "name": declared.name,
            "about": declared.about,
            "digest": declared.digest,
            "bound_digest": bound.digest if bound else None,
            "reading": reading,
        }
        click.echo(json.dumps(said, indent=2))
        return
    click.echo(f"{declared.name}, digest {declared.digest}")
    if declared.about:
        click.echo(declared.about)
    click.echo()
    room = ""
    for line in reading:
        topic, _, text = line.partition(": ")
        if topic != room:
            click.echo(topic)
            room = topic
        click.echo(fill(text, WIDTH, initial_indent="  ", subsequent_indent="    "))
    click.echo()
    if bound is not None:
        count = len(bound.venue.instruments)
        click.echo(
            f"valid, and fits venue {bound.venue.name} with {count} instruments "
            f"(together digest {bound.digest})"
        )
    else:
        click.echo("valid by itself; add --venue to prove that it fits a venue and its instruments")


@stack.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(*, as_json: bool) -> None:
    """List the stacks that come with the package; each name can stand where a file can."""
    from tidegate.cli.stacks import load_stack, shipped  # noqa: PLC0415 - numpy, numba

    about = {name: load_stack(name).about for name in shipped()}
    if as_json:
        click.echo(json.dumps(about, indent=2))
        return
    for name, text in about.items():
        click.echo(f"{name:<12}{text}")
