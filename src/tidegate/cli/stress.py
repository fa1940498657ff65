"""`tidegate stress`: a book in worlds that have not happened, and what breaks it."""

import json
import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.say import show, words


if TYPE_CHECKING:
    from tidegate.lab.stress import Hearer, Plan
    from tidegate.lab.tables import Book
    from tidegate.report.stress_lines import Lines
    from tidegate.report.stress_result import StressResult


FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog="tidegate stress BOOK --show-venue says what is inferred, and stops.")
@click.argument("book", type=click.Path(path_type=Path))
@click.option("--venue", type=FILE, help="A venue.toml, instead of the one that is inferred.")
@click.option("--stack", "stacks", multiple=True, metavar="FILE", help="Stack file, or name.")
@click.option("--world", "worlds", multiple=True, metavar="SPEC", help="Such as v:fall=0.3.")
@click.option("--agents", multiple=True, metavar="SPEC", help="Who acts, such as trend:count=100.")
@click.option("--paths", type=click.IntRange(1), help="For each world and stack.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--path", type=click.IntRange(0), help="Turn this one path alone.")
@click.option("--prices", type=FILE, help="A table: instrument, price.")
@click.option("--parameters", type=FILE, help="What a table lacks, as TOML.")
@click.option("--balance-with", type=click.Choice(["house"]), help="Who takes what does not match.")
@click.option(
    "--leave-out",
    multiple=True,
    type=click.Choice(["bankrupt", "unpriced"]),
    help="Go on without accounts that cannot be judged.",
)
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Keep these rows of a table.")
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores if not said.")
@click.option("--cluster", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where finished paths are kept.")
@click.option("--no-questions", is_flag=True, help="Leave out the cliff and the breaking points.")
@click.option("--show-venue", is_flag=True, help="Say what is inferred of the book, and stop.")
@click.option("--write-venue", type=FILE, help="Write the venue as a file to edit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--report", type=FILE, help="Write HTML here.")
def stress(book: Path, **said: Any) -> None:  # noqa: ANN401 - the options above, by name
    """Stress BOOK: what breaks it, how likely, what it costs, and who carries it.

    BOOK is the folder of a recording, or a table of positions or of loans as .parquet or .csv.
    Finished paths are kept: the same command after an interrupt goes on where it was.
    """
    from tidegate.cli.stress_say import Told, inferred, table  # noqa: PLC0415 - numba, pandas

    read = _book(book, said)
    for line in inferred(read):
        words(line)
    if said["write_venue"] is not None:
        from tidegate.drivers.recording_write import venue_text  # noqa: PLC0415 - pyarrow

        said["write_venue"].write_text(venue_text(read.opening.venue), encoding="utf-8")
        words(f"venue: {said['write_venue'].resolve()}")
    if said["show_venue"]:
        return
    with Told() as hearer:
        result = _turned(book, read, said, hearer)
    if said["as_json"]:
        click.echo(json.dumps(as_object(result), indent=2, allow_nan=False))
    else:
        show(table(result))
    if said["report"] is not None:
        words(f"report: {result.report(said['report']).resolve()}")


def _book(path: Path, said: dict[str, Any]) -> "Book":
    from tidegate.lab.tables import (  # noqa: PLC0415 - pyarrow, numba
        read_book,
        read_parameters,
        read_prices,
    )
    from tidegate.report.stress_face import venue_of  # noqa: PLC0415 - ditto

    return read_book(
        path,
        venue=venue_of(said["venue"]),
        prices=read_prices(said["prices"]) if said["prices"] else None,
        parameters=read_parameters(said["parameters"]) if said["parameters"] else None,
        balance_with=said["balance_with"],
        leave_out=said["leave_out"],
        where=_pairs(said["where"]),
    )


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        column, equals, value = text.partition("=")
        if not equals:
            message = f"--where must be COLUMN=VALUE, found {text!r}"
            raise click.UsageError(message)
        pairs[column] = value
    return pairs


def _turned(path: Path, book: "Book", said: dict[str, Any], hearer: "Hearer") -> "StressResult":
    from tidegate.lab.stress import plan_of, stressed  # noqa: PLC0415 - numba, pandas
    from tidegate.report.stress_result import StressResult  # noqa: PLC0415 - matplotlib

    if said["path"] is not None and said["paths"] is not None:
        message = "--path turns one path alone: leave --paths out"
        raise click.UsageError(message)
    plan = plan_of(
        book,
        worlds=said["worlds"] or None,
        stacks=said["stacks"] or None,
        paths=said["paths"] if said["path"] is None else [said["path"]],
        seed=said["seed"],
        agents=said["agents"],
    )
    found = stressed(
        plan,
        workers=said["workers"] or _cores(),
        cluster=said["cluster"],
        keep=said["keep"] or _kept(),
        hearer=hearer,
        questions=said["path"] is None and not said["no_questions"],
    )
    return StressResult(found, lines_of(path, said, plan))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kept() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tidegate" / "stress"


def lines_of(book: Path, said: dict[str, Any], plan: "Plan") -> "Lines":
    """Return the lines that do this again; stacks by the words that were said for them."""
    from tidegate.report.stress_lines import (  # noqa: PLC0415 - beside its only use
        BOOK_OPTIONS,
        PLAN_OPTIONS,
        Lines,
        options,
    )

    names = [stack.name for stack in plan.stacks]
    called = dict(zip(names, said["stacks"] or names, strict=True))
    completed, _ = options(said, BOOK_OPTIONS)
    planned, _ = options(said, PLAN_OPTIONS)
    return Lines((str(book), *completed), planned, called)


def as_object(result: "StressResult") -> dict[str, Any]:
    """Return what --json prints: amounts in the numeraire, rates as shares, no infinities."""
    from tidegate import __version__  # noqa: PLC0415 - beside its only use
    from tidegate.lab.stress.frames import records  # noqa: PLC0415 - pandas

    plan = result.found.plan
    opening = plan.book.opening
    frames = {
        "summary": result.summary,
        "outcomes": result.outcomes,
        "burden": result.burden,
        "funds": result.funds(),
        "by_account": result.by_account,
        "by_market": result.by_market,
        "cliff": result.cliff,
        "breaking": result.breaking,
    }
    return {
        "tidegate": __version__,
        "book": {
            "name": opening.venue.name,
            "digest": opening.digest,
            "numeraire": opening.venue.numeraire,
            "accounts": len(opening.book.names),
            "notes": list(opening.notes),
        },
        "seed": plan.root,
        "paths": list(plan.paths),
        "worlds": {world.name: world.describe() for world in plan.worlds},
        "agents": list(plan.agents),
        "stacks": {stack.name: stack.digest for stack in plan.stacks},
        "words": result.words(),
        "command": result.lines.whole,
        **{name: [_plain(row) for row in records(frame)] for name, frame in frames.items()},
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a frame without what JSON has no word for."""
    plain = {key: v.item() if hasattr(v, "item") else v for key, v in row.items()}
    unknown = {k for k, v in plain.items() if isinstance(v, float) and not isfinite(v)}
    return {key: None if key in unknown else value for key, value in plain.items()}
