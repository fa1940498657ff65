"""What a shadow replay found against history: run it, shape it for JSON, and say it to people."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from tidegate.cli.say import progress
from tidegate.drivers.against import hold_against
from tidegate.drivers.recording import Recording
from tidegate.report.numbers import percent
from tidegate.safeguards.stack import Stack


Json: TypeAlias = dict[str, Any]


def held(recording: Recording, stack: Stack) -> Json:
    """Replay in shadow mode, with progress, and return how the flags compare with history."""
    label = f"{stack.name}, against history"
    with progress(label, recording.count(shadow=True)) as tick:
        return hold_against(recording, stack, on_progress=tick)


def shaped(found: Mapping[str, Json]) -> Json:
    """Return what stands under ``against``: the first stack's result, and all by name if several.

    One stack is the usual case, and its numbers are then found without knowing its name.
    """
    if not found:
        return {}
    first = next(iter(found))
    shape: Json = {"stack": first, **found[first]}
    return shape if len(found) == 1 else shape | {"stacks": dict(found)}


def told(name: str, found: Json) -> list[str]:
    """Return the result of one stack in a few lines for people."""
    lines = [f"{name} against {found['reports']:,} recorded liquidations", *_figures(found)]
    for n, half in enumerate(found["halves"], 1):
        lines += [f"half {n} of the recording", *_figures(half)]
    return lines


def _figures(found: Json) -> list[str]:
    split = found["split"]
    error = ", ".join(f"{q}: {h:+.2f}" for q, h in found["time_error_hours"].items())
    false = ", ".join(f"{split[k]:,} {k}" for k in ("edge", "rescued", "unexplained"))
    return [
        f"  recall       {_share(found['recall'])} of {found['episodes']:,} episodes",
        f"  precision    {_share(found['precision'])} of {found['alarms']:,} alarms",
        f"  false alarms {false} ({_share(found['unexplained_share'])} of all unexplained)",
        f"  hours late   {error or '-'} (by quantile)",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value, 2)
