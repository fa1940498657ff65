"""Who was liquidated and who was deleveraged: by leverage, by size, and by name."""

# matplotlib's own annotations leave keyword arguments open.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from tidegate.domain.book import FIRST_USER
from tidegate.domain.units import I64, PPM
from tidegate.drivers.casualties import Casualties
from tidegate.report.numbers import amount, brief
from tidegate.report.run import Run
from tidegate.report.theme import Key, Picture, colour, picture, plain, stack_colours, tidy


LEVERAGE: Final = (0, 2, 5, 10, 20, 50)  # times equity, lower ends
TOP: Final = 12  # rows of a table
MANY: Final = 5  # accounts that make a distribution


@dataclass(frozen=True, slots=True)
class Row:
    """One account of a table: its name, what it had, and one text for each stack."""

    name: str
    notional: str
    leverage: str
    cells: tuple[str, ...]


def people_picture(runs: Sequence[Run], label: str) -> Picture | None:
    """Draw the share liquidated by opening leverage and by opening size.

    None where hardly anybody was there at the opening: shares of so few would say nothing. Buckets
    count the accounts that held anything at the opening, the same under every stack.
    """
    first = runs[0].casualties
    held = np.flatnonzero(first.notional > 0)
    if held.size < max(MANY, runs[0].verdict.accounts // 10):
        return None
    leverage = np.digitize(leverages(first)[held], LEVERAGE) - 1
    sizes = _size_edges(first.notional[held])
    size = np.digitize(first.notional[held] / PPM, sizes) - 1
    panels = (
        ("by leverage at the opening", leverage, _leverage_names()),
        ("by size at the opening", size, _size_names(sizes)),
    )
    colours = stack_colours([run.name for run in runs])

    def draw(figure: Figure, narrow: bool) -> None:  # noqa: FBT001 - the signature of `picture`
        shape = (2, 1) if narrow else (1, 2)
        for axes, (title, bucket, names) in zip(
            figure.subplots(*shape, squeeze=False).ravel(), panels, strict=True
        ):
            count = np.bincount(bucket, minlength=len(names))
            used = np.flatnonzero(count)
            wide = 0.8 / len(runs)
            for n, (run, name) in enumerate(zip(runs, colours, strict=True)):
                hit = run.casualties.first[held] > 0
                share = np.bincount(bucket[hit], minlength=len(names))[used] / count[used]
                at = np.arange(used.size) - 0.4 + wide * (n + 0.5)
                axes.bar(at, 100 * share, width=wide * 0.9, color=colour(name), linewidth=0)
            tidy(axes)
            plain(axes, lambda v: f"{v:.0f} %")
            axes.set_title(f"{label}s liquidated, {title}")
            axes.set_xticks(
                np.arange(used.size), [f"{names[b]}\n{count[b]:,}" for b in used.tolist()]
            )
            axes.tick_params(axis="x", length=0)
            top = axes.get_ylim()[1]
            axes.set_ylim(0, 100 if top > 80 else max(5.0, top))

    return picture(
        draw,
        name="people",
        alt="Share of accounts liquidated by leverage and by size under each stack",
        height=2.9,
        narrow_height=5.4,
        keys=tuple(Key(n, run.name) for run, n in zip(runs, colours, strict=True)),
    )


def liquidated_rows(runs: Sequence[Run], names: Sequence[str]) -> list[Row]:
    """Return the accounts from which most was closed by force under any stack."""
    return _rows(runs, names, "forced")


def deleveraged_rows(runs: Sequence[Run], names: Sequence[str]) -> list[Row]:
    """Return the winners who gave up most profit under any stack."""
    return _rows(runs, names, "forgone")


def leverages(casualties: Casualties) -> np.ndarray:
    """Return each account's notional over its equity at the opening; huge without equity."""
    equity = np.maximum(casualties.equity, 1)
    return casualties.notional / equity


def _rows(runs: Sequence[Run], names: Sequence[str], column: str) -> list[Row]:
    values: list[I64] = [getattr(run.casualties, column) for run in runs]
    most = np.max(values, axis=0)
    ranked = np.argsort(-most, kind="stable")[:TOP]
    first = runs[0].casualties
    leverage = leverages(first)
    return [
        Row(
            name=_name(names, row),
            notional=amount(int(first.notional[row])) if first.notional[row] else "-",
            leverage=f"{leverage[row]:,.1f}x" if first.equity[row] > 0 else "-",
            cells=tuple(amount(int(v[row])) if v[row] else "-" for v in values),
        )
        for row in ranked.tolist()
        if most[row] > 0
    ]


def _name(names: Sequence[str], row: int) -> str:
    place = row - FIRST_USER
    return names[place] if 0 <= place < len(names) else f"row {row}"


def _leverage_names() -> list[str]:
    ends = [*LEVERAGE[1:], None]
    return [f"{a}-{b}x" if b else f"over {a}x" for a, b in zip(LEVERAGE, ends, strict=True)]


def _size_edges(notional: I64) -> list[float]:
    """Return powers of ten that cover nearly everybody, six at most."""
    units = np.sort(notional) / PPM
    top = int(np.floor(np.log10(max(float(units[-1]), 1.0))))
    low = max(int(np.floor(np.log10(max(float(units[units.size // 50]), 1.0)))), top - 5)
    return [0.0, *(10.0**e for e in range(low + 1, top + 1))]


def _short(units: float) -> str:
    return brief(units * PPM)


def _size_names(edges: Sequence[float]) -> list[str]:
    if len(edges) == 1:
        return ["all"]
    names = [f"under {_short(edges[1])}"]
    names += [f"{_short(a)}-{_short(b)}" for a, b in pairwise(edges[1:])]
    return [*names, f"over {_short(edges[-1])}"]
