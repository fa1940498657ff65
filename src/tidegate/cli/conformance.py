"""`tidegate conformance`: hold our rules against published numbers of other systems."""

import json
from pathlib import Path
from typing import Final

import click

from tidegate.cli.say import progress, show, words


FAILURES_SHOWN: Final = 20


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--rule", "prefix", default="", help="Only rules whose name begins with this.")
def conformance(folder: Path, prefix: str, *, as_json: bool) -> int:
    """Run the conformance vectors in FOLDER (*.json) through our public kernels and policies.

    Exit code 1 when a vector of a supported rule fails.
    """
    from tidegate.conformance.suite import run, vectors_in  # noqa: PLC0415 - loads every kernel

    vectors = [v for _, v in vectors_in(folder) if v["rule"].startswith(prefix)]
    with progress("conformance", len(vectors), "vectors") as tick:
        outcome = run(vectors, tick)
    if as_json:
        report = {
            "total": outcome.total,
            "passed": outcome.passed,
            "failed": [
                {
                    "id": f.id,
                    "rule": f.rule,
                    "where": f.where,
                    "expected": f.expected,
                    "found": f.found,
                }
                for f in outcome.failed
            ],
            "unsupported": dict(sorted(outcome.unsupported.items())),
            "reasons": dict(sorted(outcome.reasons.items())),
        }
        show(json.dumps(report, indent=1))
        return int(bool(outcome.failed))
    for failure in outcome.failed[:FAILURES_SHOWN]:
        show(
            f"failed: {failure.id} ({failure.rule}) {failure.where}: "
            f"expected {failure.expected}, found {failure.found}"
        )
    hidden = len(outcome.failed) - FAILURES_SHOWN
    if hidden > 0:
        show(f"... and {hidden} more")
    for rule, count in sorted(outcome.unsupported.items()):
        show(f"unsupported: {rule}, {count} vectors: {outcome.reasons[rule]}")
    words(f"{outcome.total} vectors, {outcome.supported} of supported rules")
    failed, other = len(outcome.failed), outcome.unsupported.total()
    show(f"{outcome.passed} passed, {failed} failed, {other} unsupported")
    return int(bool(outcome.failed))
