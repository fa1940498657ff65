"""`tidegate tune`: better numbers for a stack, searched for, held out, and proposed."""

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tidegate.cli.say import progress, show, words


if TYPE_CHECKING:
    from tidegate.lab.held_out import Judged
    from tidegate.lab.tunable import Parameter
    from tidegate.lab.tuning import Question, Search
    from tidegate.lab.weather import World


# What is tuned on, and what is kept for the judgement: half an hour to an hour of minutes each.
WORLDS: Final = ("kou:vol=120%,rate=24,drop=0.08,steps=30+withdraw", "v:fall=0.25,noise=150%")
HELD_OUT: Final = ("regimes:start=storm,storm=400%,steps=30+withdraw", "gap:fall=0.2,noise=150%")

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(epilog="tidegate tune BOOK --stack S.toml --list says what can be tuned.")
@click.argument("book", type=click.Path(path_type=Path, exists=True))
@click.option("--stack", required=True, metavar="FILE", help="The stack file, or a shipped name.")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="KEY[=LOW..HIGH]",
    help="Tune this; without any, everything that is marked tunable.",
)
@click.option("--world", "worlds", multiple=True, metavar="SPEC", help="Tune on it.")
@click.option("--held-out", multiple=True, metavar="SPEC", help="Judge in it, never tune on it.")
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True)
@click.option("--paths", type=click.IntRange(2), default=16, show_default=True, help="Of a world.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--level", type=click.FloatRange(0.5, 0.9999), default=0.8, show_default=True,
    help="The tail is what lies beyond it.",
)  # fmt: skip
@click.option(
    "--response", type=click.FloatRange(0, 1), default=1.0, show_default=True,
    help="How far leverage follows margin.scale: 0 nobody reacts.",
)  # fmt: skip
@click.option("--judge", type=click.IntRange(2), help="Unseen paths of a world; 4 times --paths.")
@click.option("--pick", type=click.IntRange(0), help="Propose this trial instead.")
@click.option("--out", type=FOLDER, default=Path("out/tune"), show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores if not said.")
@click.option("--cluster", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")
@click.option("--list", "list_", is_flag=True, help="List what can be tuned, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the evidence as one JSON object.")
def tune(book: Path, **said: Any) -> None:  # noqa: ANN401 - the options above, by name
    """Search better numbers for a stack on BOOK, and propose them with evidence.

    Tail loss, margin asked and harm to users are weighed against one another. What is proposed is
    tried on paths and in worlds that the search has not seen. Nothing is changed: the proposal, the
    evidence and a stack file are written into --out. The same command after an interrupt goes on
    where it was; with more --trials it goes further.
    """
    if said["list_"]:
        _listed(said["stack"], said["parameters"], as_json=said["as_json"])
        return
    question, unseen = _question(book, said)
    out: Path = said["out"]
    words(
        f"tune: {question.stack.name} {question.stack.digest}, {len(question.parameters)} numbers, "
        f"{len(question.worlds)} worlds of {len(question.paths)} paths, question {question.digest}"
    )
    try:
        search = _searched(question, out, said)
        judged = _judged(search, unseen, said)
    except KeyboardInterrupt:
        words(f"interrupted: finished trials are in {out}; the same command goes on from there")
        raise
    command = _command(book, said)
    _written(out, search, judged, book.resolve().name, command)
    if said["as_json"]:
        from tidegate.lab.held_out import encoded, evidence  # noqa: PLC0415 - after the run

        click.echo(encoded(evidence(search, judged, command)).decode())
    else:
        from tidegate.report.tuning_words import explained, trials_said  # noqa: PLC0415 - ditto

        show("\n".join([*explained(search, judged), trials_said(search)]))


def _listed(stack: str, wanted: Sequence[str], *, as_json: bool) -> None:
    from tidegate.cli.stacks import load_stack  # noqa: PLC0415 - numpy, numba
    from tidegate.lab.tunable import asked, parameters  # noqa: PLC0415 - ditto

    declared = load_stack(stack)
    found = asked(declared, wanted)
    if as_json:
        numbers = {"marked": [p._asdict() for p in found], "all": parameters(declared)}
        click.echo(json.dumps(numbers, indent=2))
        return
    for p in found:
        show(f"{p.key:<48}{p.now:>18,}  {p.low:,} to {p.high:,}{' by ratio' if p.log else ''}")
    others = len(parameters(declared)) - len(found)
    words(f"{others} other numbers can be named with a range of their own: KEY=LOW..HIGH (--json)")


def _question(book: Path, said: dict[str, Any]) -> "tuple[Question, list[World]]":
    from tidegate.cli.stacks import load_stack  # noqa: PLC0415 - numpy, numba
    from tidegate.domain.errors import ConfigInvalid  # noqa: PLC0415 - beside its only use
    from tidegate.lab.tables import read_book  # noqa: PLC0415 - pyarrow, numba
    from tidegate.lab.tunable import asked  # noqa: PLC0415 - ditto
    from tidegate.lab.tuning import Question  # noqa: PLC0415 - optuna
    from tidegate.lab.worlds.catalogue import world  # noqa: PLC0415 - ditto

    read = read_book(book)
    stack = read.completed(load_stack(said["stack"]))
    chosen: list[Parameter] = asked(stack, said["parameters"])
    if not chosen:
        raise ConfigInvalid(
            where="--parameter",
            what="must name numbers: this stack has none that are marked tunable",
            found="none",
            hint=f"tidegate tune {book} --stack {said['stack']} --list --json shows all",
        )
    question = Question(
        opening=read.opening,
        stack=stack,
        parameters=tuple(chosen),
        worlds=tuple(world(spec) for spec in said["worlds"] or WORLDS),
        root=said["seed"],
        paths=tuple(range(said["paths"])),
        level=said["level"],
        response=said["response"],
    )
    return question, [world(spec) for spec in said["held_out"] or HELD_OUT]


def _searched(question: "Question", out: Path, said: dict[str, Any]) -> "Search":
    from tidegate.lab.tuning import BATCH, search  # noqa: PLC0415 - optuna

    whole = -(-said["trials"] // BATCH) * BATCH
    with progress("search", whole, "trials") as tick:
        return search(
            question,
            out / "search.log",
            trials=said["trials"],
            workers=said["workers"] or os.cpu_count() or 1,
            cluster=said["cluster"],
            on_done=lambda done, _: tick(done),
        )


def _judged(search: "Search", unseen: "list[World]", said: dict[str, Any]) -> "Judged | None":
    from tidegate.domain.errors import ConfigInvalid  # noqa: PLC0415 - beside its only use
    from tidegate.lab.held_out import judge  # noqa: PLC0415 - optuna

    pick = search.pick if said["pick"] is None else said["pick"]
    if pick is None:
        return None
    if pick >= len(search.trials) or search.trials[pick].scores is None:
        raise ConfigInvalid(
            where="--pick",
            what="must be the number of a trial that was scored",
            found=f"{pick} of {len(search.trials)}",
            hint=f"on the front are {', '.join(map(str, search.front))}",
        )
    total = 2 * len(search.question.worlds) + len(unseen)
    with progress("held out", total, "worlds") as tick:
        return judge(
            search,
            pick,
            unseen,
            paths=said["judge"] or 4 * len(search.question.paths),
            workers=said["workers"] or os.cpu_count() or 1,
            cluster=said["cluster"],
            on_done=lambda done, _: tick(done),
            kept=said["out"] / "held-out",
        )


def _written(out: Path, search: "Search", judged: "Judged | None", book: str, command: str) -> None:
    from tidegate.lab.held_out import encoded, evidence  # noqa: PLC0415 - after the run
    from tidegate.lab.tunable import write_stack  # noqa: PLC0415 - ditto
    from tidegate.report.tuning import write_proposal  # noqa: PLC0415 - matplotlib

    files = [*write_proposal(out, search, judged, book=book, command=command)]
    files.append(out / "evidence.json")
    files[-1].write_bytes(encoded(evidence(search, judged, command)))
    if judged is not None:
        old = search.question.stack
        files.append(out / f"{judged.stack.name}.toml")
        said = [
            f"Proposed from {old.name} (digest {old.digest}) by trial {judged.number}.",
            f"{command}",
            "What differs from the neutral stack is written here; proposal.md says what changed.",
        ]
        write_stack(judged.stack, files[-1], said)
    words("written: " + ", ".join(str(file) for file in files))


def _command(book: Path, said: dict[str, Any]) -> str:
    """Return the line that does this again; whoever computes is no part of it."""
    line = ["tidegate", "tune", str(book), "--stack", said["stack"]]
    for option, values in (
        ("--parameter", said["parameters"]),
        ("--world", said["worlds"] or WORLDS),
        ("--held-out", said["held_out"] or HELD_OUT),
    ):
        for value in values:
            line += [option, value]
    for option in ("trials", "paths", "judge", "seed", "level", "response", "pick"):
        if said[option] is not None:
            line += [f"--{option}", str(said[option])]
    return shlex.join(line)
