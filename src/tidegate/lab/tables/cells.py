"""A table of somebody's book as it lies on disk: Parquet or CSV, its columns as text or numbers.

Rows are counted from 0 below the header, as every data frame library shows them; a refusal names
file, row and column.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters.arrow import Table, csv, pa, pc, pq
from tidegate.domain.errors import RecordingInvalid
from tidegate.drivers.recording_sheet import Sheet


F64: TypeAlias = NDArray[np.float64]
DataFrame: TypeAlias = Any  # a pandas.DataFrame, whose import costs a second


def read_table(path: Path, where: Mapping[str, str] | None = None) -> Sheet:
    """Read a table; keep the rows whose columns equal ``where``. Raise RecordingInvalid."""
    ending = path.suffix.lower()
    if ending not in {".csv", ".parquet", ".pq"}:
        raise RecordingInvalid(
            where=str(path),
            what="must be a recording's folder, or a table as .parquet or .csv",
            found=repr(path.suffix or path.name),
        )
    try:
        if ending != ".csv":
            _refuse_twin_columns(path.name, pq.read_schema(path).names)
        table = csv.read_csv(path) if ending == ".csv" else pq.read_table(path)
    except FileNotFoundError:
        raise RecordingInvalid(where=str(path), what="must exist", found="no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise RecordingInvalid(
            where=path.name,
            what="must be a whole table that Arrow can read",
            found=" ".join(str(error).split())[:200],
            hint="write it again as CSV, or with columns of at most 64 bits",
        ) from None
    _refuse_twin_columns(path.name, table.column_names)
    return _chosen(Sheet(path.name, table), where)


def read_frame(frame: DataFrame, where: Mapping[str, str] | None = None) -> Sheet:
    """Take a data frame as a table; its index is no column."""
    _refuse_twin_columns("data frame", [str(name) for name in frame.columns])
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException:
        # Cells of several kinds in one column: as text, the one that does not fit is found by row.
        table = pa.table({str(name): pa.array(_spelt(frame[name])) for name in frame.columns})
    return _chosen(Sheet("data frame", table), where)


def _refuse_twin_columns(file: str, columns: Sequence[str]) -> None:
    for name in columns:
        if columns.count(name) > 1:
            raise RecordingInvalid(
                where=f"{file}: column {name}",
                what="must be there once",
                found=f"{columns.count(name)} columns of that name",
                hint="rename or drop all but the one that is meant",
            )


def _spelt(cells: Iterable[object]) -> list[str | None]:
    """Return cells as text; what is empty, or no number, stays empty."""
    texts = [None if cell is None else str(cell) for cell in cells]
    return [None if text in {"nan", "NaT", "<NA>"} else text for text in texts]


def _chosen(sheet: Sheet, where: Mapping[str, str] | None) -> Sheet:
    for column, wanted in (where or {}).items():
        sheet = _kept(sheet, column, wanted)
    if not sheet.rows:
        raise RecordingInvalid(where=sheet.file, what="must hold at least one row", found="none")
    return sheet


def _kept(sheet: Sheet, column: str, wanted: str) -> Sheet:
    if column not in sheet.table.column_names:
        raise RecordingInvalid(
            where=f"--where {column}={wanted}",
            what="must name a column of the table",
            found=f"columns {', '.join(sheet.table.column_names)}",
        )
    texts = sheet.table.column(column).cast(pa.string())
    kept: Table = sheet.table.filter(pc.equal(texts, wanted))
    if not kept.num_rows:
        seen = sorted(set(texts.drop_null().unique().to_pylist()))[:12]
        raise RecordingInvalid(
            where=f"--where {column}={wanted}",
            what="must leave at least one row",
            found=f"values {', '.join(seen)}",
        )
    return Sheet(f"{sheet.file} where {column}={wanted}", kept)


def texts(sheet: Sheet, column: str) -> list[str]:
    """Return a column as text without outer blanks; refuse an empty cell."""
    found: list[str | None] = sheet.table.column(column).cast(pa.string()).to_pylist()
    for row, cell in enumerate(found):
        if cell is None or not cell.strip():
            sheet.refuse(row, column, "must have a value", "an empty cell")
    return [str(cell).strip() for cell in found]


def numbers(sheet: Sheet, column: str, *, empty: bool = False) -> F64:
    """Return a column as float64; refuse text, an infinity and, unless ``empty``, an empty cell.

    Where ``empty`` is allowed it comes back as NaN, and so does a NaN that was written out.
    """
    data = sheet.table.column(column)
    if pa.types.is_null(data.type):
        values = np.full(sheet.rows, np.nan)
    elif pa.types.is_integer(data.type) or pa.types.is_floating(data.type):
        values = np.array(data.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    else:
        values = _parsed(sheet, column)
    bad = np.isinf(values) | (np.isnan(values) & (not empty))
    sheet.refuse_first(bad, column, "must be a finite number")
    return values


def _parsed(sheet: Sheet, column: str) -> F64:
    values = np.full(sheet.rows, np.nan)
    cells: list[object] = sheet.table.column(column).to_pylist()
    for row, cell in enumerate(cells):
        if cell is None or not str(cell).strip():
            continue
        try:
            values[row] = float(str(cell).replace("_", ""))
        except ValueError:
            sheet.refuse(row, column, "must be a number", repr(cell), "a decimal point, no commas")
    return values
