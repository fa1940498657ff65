"""`tidegate incident`: re-enact what went wrong elsewhere, under a bare rule and under ours."""

import json
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.say import show, words


if TYPE_CHECKING:
    from tidegate.incidents.frame import Held, Incident, Played


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME | FILE.py]...")
@click.option("--list", "only_list", is_flag=True, help="Say which incidents there are.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of words.")
def incident(names: tuple[str, ...], *, only_list: bool, as_json: bool) -> int:
    """Re-enact incidents and hold each against its published figures.

    All that come with the package, or those that are named; a Python file of your own is run as
    one, with its words in a TOML file beside it. Exits 1 where a claim does not hold.
    """
    from tidegate.incidents.frame import held, play, shipped  # noqa: PLC0415 - numba
    from tidegate.incidents.frame import incident as find  # noqa: PLC0415 - numba

    wanted = [find(name) for name in names or shipped()]
    if only_list:
        width = max(len(one.name) for one in wanted)
        for one in wanted:
            click.echo(f"{one.name:<{width}}  {one.words.when}  {one.words.title}")
        return 0
    told: dict[str, Any] = {}
    sound = True
    for one in wanted:
        words(f"re-enacting {one.name}")
        runs = {stack: play(one, stack) for stack in ("bare", "ours")}
        claims = held(one, runs)
        sound &= all(each.holds for each in claims)
        told[one.name] = _object(one, runs, claims)
        if not as_json:
            _tell(one, claims)
    if as_json:
        click.echo(json.dumps(told, indent=2, allow_nan=False))
    return 0 if sound else 1


def _object(one: "Incident", runs: dict[str, "Played"], claims: list["Held"]) -> dict[str, Any]:
    return {
        "title": one.words.title,
        "when": one.words.when.isoformat(),
        "measures": {stack: run.measures for stack, run in runs.items()},
        "claims": [
            {
                "stack": each.claim.stack,
                "measure": each.claim.measure,
                "found": each.found,
                "low": each.claim.low,
                "high": each.claim.high,
                "holds": each.holds,
                "why": each.claim.why,
            }
            for each in claims
        ],
    }


def _tell(one: "Incident", claims: list["Held"]) -> None:
    show(f"{one.words.title}, {one.words.when}")
    for each in claims:
        low, high = (figure(bound) for bound in (each.claim.low, each.claim.high))
        claimed = low if low == high else f"{low} to {high}"
        show(
            f"  {'holds' if each.holds else 'FAILS'}  {each.claim.stack}  {each.claim.measure} "
            f"{figure(each.found)} ({claimed}): {each.claim.why}"
        )


def figure(value: float) -> str:
    """Return a figure as people write it: no more digits than it has to say."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.4g}"
