"""Insolvency and tail loss as a function of volatility, collateral quality and leverage."""

# pandas declares no types: only its stubs are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd

from tidegate.lab.measures import CONFIDENCE, LEVEL, probability, tail
from tidegate.lab.opening import Opening
from tidegate.lab.rescale import Louder, levered, poorer
from tidegate.lab.sample import sample
from tidegate.lab.study import Study
from tidegate.lab.weather import World
from tidegate.safeguards.stack import SafeguardStack


class Cell(NamedTuple):
    """One point of the grid; 1.0 is the book and the world as they are."""

    volatility: float = 1.0
    quality: float = 1.0
    leverage: float = 1.0


def grid(
    volatilities: Sequence[float] = (1.0,),
    qualities: Sequence[float] = (1.0,),
    leverages: Sequence[float] = (1.0,),
) -> list[Cell]:
    """Return every combination, in the order of the arguments."""
    return [Cell(*each) for each in product(volatilities, qualities, leverages)]


def sweep(
    opening: Opening,
    world: World,
    stacks: Sequence[SafeguardStack],
    cells: Sequence[Cell],
    *,
    root: int,
    paths: Sequence[int],
    known: Mapping[Cell, Study] | None = None,
    on_cell: Callable[[Cell, Study], None] | None = None,
) -> dict[Cell, Study]:
    """Return a study of every cell, all on the same random numbers.

    ``known`` holds cells that an interrupted sweep has finished; ``on_cell`` is told of each new
    one, so that it can be kept.
    """
    found = dict(known or {})
    for cell in cells:
        if cell in found:
            continue
        book = opening
        if cell.quality != 1:
            book = poorer(book, cell.quality)
        if cell.leverage != 1:
            book = levered(book, cell.leverage)
        law = Louder(world, cell.volatility) if cell.volatility != 1 else world
        found[cell] = sample(book, law, stacks, root=root, paths=paths)
        if on_cell is not None:
            on_cell(cell, found[cell])
    return {cell: found[cell] for cell in cells}


def swept(
    cells: Mapping[Cell, Study], level: float = LEVEL, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Return one row for each cell and stack: chance of insolvency, VaR and ES with intervals.

    Amounts are Money, 1e-6 of the numeraire.
    """
    rows: list[dict[str, object]] = []
    for cell, study in cells.items():
        for stack in study.stacks:
            chance = probability(study.column(stack, "insolvent") > 0, study.weight, confidence)
            loss = tail(study.losses(stack), study.weight, level, confidence)
            row: dict[str, object] = {**cell._asdict(), "stack": stack}
            for name, each in (
                ("insolvency", chance),
                ("loss", loss.mean),
                ("var", loss.var),
                ("shortfall", loss.shortfall),
            ):
                row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
            rows.append(row | {"paths": loss.paths, "beyond": loss.beyond})
    return pd.DataFrame(rows)
