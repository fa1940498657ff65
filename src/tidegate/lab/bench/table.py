"""Benchmark results as a table for people: ours, the best of the others, the target."""

from collections.abc import Sequence
from typing import Final

from tidegate.lab.bench.result import Result
from tidegate.lab.bench.targets import TARGETS


UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
HEAD: Final = ("benchmark", "ours", "work/s", "best yardstick", "ratio", "target", "met")


def duration(seconds: float) -> str:
    """Return seconds with three figures, in the unit that suits them."""
    size, unit = next(((s, u) for s, u in UNITS if seconds >= s), UNITS[-1])
    return f"{figures(seconds / size)} {unit}"


def figures(value: float) -> str:
    """Return a number with three figures: 1.23, 12.3, 123, 1,230."""
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{digits}f}"


def compared(result: Result) -> str:
    """Return the yardstick that the ratio is taken to; empty where there is none."""
    ratio = result.ratio
    if ratio is None:
        return ""
    return min(result.yardsticks, key=lambda n: abs(result.yardsticks[n] / result.seconds - ratio))


def rows(results: Sequence[Result], scale: float) -> list[tuple[str, ...]]:
    """Return the cells of the table below `HEAD`; targets are for full size and need it."""
    out: list[tuple[str, ...]] = []
    for r in results:
        target = TARGETS.get(r.name)
        best = compared(r)
        met = "" if target is None or scale != 1 else "yes" if target.met(r) else "NO"
        out.append(
            (
                r.name,
                duration(r.seconds),
                figures(r.per_second),
                f"{best} {duration(r.yardsticks[best])}" if best else "",
                f"{figures(r.ratio)}" if r.ratio is not None else "",
                target.words if target else "",
                met,
            )
        )
    return out


def table(results: Sequence[Result], scale: float) -> str:
    """Return the table with the conditions of each line below it."""
    cells = [HEAD, *rows(results, scale)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(HEAD))]
    right = {1, 2, 4}
    lines = [
        "  ".join(
            f"{cell:>{widths[n]}}" if n in right else f"{cell:<{widths[n]}}"
            for n, cell in enumerate(row)
        ).rstrip()
        for row in cells
    ]
    for r in results:
        lines += ["", f"{r.name}: {r.conditions}"]
        others = sorted(r.yardsticks.items(), key=lambda pair: pair[1])
        if others:
            lines.append("  beside: " + ", ".join(f"{n} {duration(s)}" for n, s in others))
        if r.also:
            lines.append("  also: " + ", ".join(f"{n} {figures(v)}" for n, v in r.also.items()))
    if scale != 1:
        lines += ["", f"sizes times {scale:g}: targets are for full size and are not judged"]
    return "\n".join(lines)
