"""One Parquet file of a recording, read strictly: every refusal names file, row and column.

Rows are counted from 0, as every data frame library shows them. Work is done by whole columns; a
single row is looked at only to name it in a refusal.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters import times
from tidegate.adapters.arrow import Column as ArrowColumn
from tidegate.adapters.arrow import Table, pa, pc, pq
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.units import I64
from tidegate.drivers.recording_schema import Column, FileSpec


Mask: TypeAlias = NDArray[np.bool_]


class Codes(NamedTuple):
    """A text column as numbers: ``values[codes[row]]``; -1 where the cell is empty."""

    codes: I64
    values: list[str]


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint that lists what is known, and what ``name`` may have been meant to be."""
    close = get_close_matches(name, known, n=1)
    listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {listed or 'none'}"


class Sheet:
    """A table whose columns are known to be there, and to be of the right kind."""

    def __init__(self, file: str, table: Table) -> None:
        self.file = file
        self.table = table
        self.rows = int(table.num_rows)

    def refuse(
        self, row: int, column: str, what: str, found: object, hint: str | None = None
    ) -> NoReturn:
        """Raise RecordingInvalid for one cell."""
        where = f"{self.file}: row {row:_}, column {column}"
        raise RecordingInvalid(where=where, what=what, found=str(found), hint=hint)

    def refuse_first(self, bad: Mask, column: str, what: str, *, hint: str | None = None) -> None:
        """Refuse the first row that ``bad`` marks, showing the cell as the file has it."""
        rows = np.flatnonzero(bad)
        if rows.size:
            self.refuse(int(rows[0]), column, what, self.cell(int(rows[0]), column), hint)

    def cell(self, row: int, column: str) -> str:
        """Return one cell as text, as the file has it."""
        return repr(self.table.column(column)[row].as_py())

    def has(self, column: str) -> bool:
        """Tell whether an optional column is there."""
        return column in self.table.column_names

    def present(self, column: str) -> Mask:
        """Return a mask of the rows in which an optional column has a value."""
        if not self.has(column):
            return np.zeros(self.rows, bool)
        return pc.is_valid(self.table.column(column)).to_numpy()

    def texts(self, column: str) -> Codes:
        """Return a text column as codes; values are in order of first appearance."""
        if not self.has(column):
            return Codes(np.full(self.rows, -1, np.int64), [])
        encoded = self.table.column(column).combine_chunks().dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return Codes(codes, encoded.dictionary.to_pylist())

    def lookup(self, column: str, known: Sequence[str], what: str) -> I64:
        """Return each cell's index in ``known``, -1 for an empty cell; refuse any other text."""
        codes, values = self.texts(column)
        place = {name: n for n, name in enumerate(known)}
        table = np.array([*(place.get(value, -2) for value in values), -1], np.int64)
        found = table[codes]
        rows = np.flatnonzero(found == -2)
        if rows.size:
            row = int(rows[0])
            name = values[int(codes[row])]
            self.refuse(row, column, what, repr(name), nearest(name, known))
        return found

    def integers(self, column: str) -> I64:
        """Return an integer column."""
        return self.table.column(column).to_numpy().astype(np.int64)

    def times(self) -> I64:
        """Return ``ts`` as nanoseconds; refuse other units and a time before its predecessor."""
        ts: I64 = self.table.column("ts").to_numpy().astype(np.int64)
        wrong = times.first_wrong(ts)
        if wrong is not None:
            self.refuse(wrong, "ts", times.NEEDED, ts[wrong], times.remedy(int(ts[wrong])))
        back = np.flatnonzero(np.diff(ts) < 0)
        if back.size:
            row = int(back[0]) + 1
            what = f"timestamps must not decrease, {int(ts[row - 1])} came before"
            self.refuse(row, "ts", what, ts[row], "sort the file by ts (and seq)")
        return ts

    def sequence(self, ts: I64) -> I64:
        """Return ``seq``; refuse rows of one ts whose ``seq`` does not rise."""
        seq = self.integers("seq")
        tied = np.flatnonzero((np.diff(ts) == 0) & (np.diff(seq) <= 0))
        if tied.size:
            row = int(tied[0]) + 1
            what = f"seq must rise within one ts, {int(seq[row - 1])} came before"
            self.refuse(row, "seq", what, seq[row], "ties in time are ordered by seq")
        return seq

    def unique(self, keys: Sequence[I64], names: Sequence[str], what: str) -> None:
        """Refuse the first row whose ``keys`` were all seen before, in file order."""
        if self.rows < 2:
            return
        order = np.lexsort(tuple(reversed([*keys])))
        same = np.ones(self.rows - 1, bool)
        for key in keys:
            same &= np.diff(np.asarray(key)[order]) == 0
        repeated = order[1:][same]  # lexsort is stable: the later of two rows
        if repeated.size:
            row = int(repeated.min())
            found = ", ".join(f"{name} {self.cell(row, name)}" for name in names)
            self.refuse(row, names[-1], what, found, "keep one row of each")


def read_sheet(path: Path, spec: FileSpec) -> Sheet:
    """Read one file and prove its columns: names, kinds, no empty or non-finite cells.

    Raise RecordingInvalid for anything else, a truncated or damaged file included.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise RecordingInvalid(
            where=path.name,
            what="must be a whole Parquet file",
            found=" ".join(str(error).split())[:200],
            hint="it is truncated or damaged: write or fetch it again",
        ) from None
    names = [column.name for column in spec.columns]
    for name in table.column_names:
        if name not in names:
            raise RecordingInvalid(
                where=path.name,
                what="has a column that is not known",
                found=repr(name),
                hint=nearest(name, names),
            )
        if table.column_names.count(name) > 1:
            raise RecordingInvalid(
                where=path.name, what="columns must differ", found=f"two {name!r}"
            )
    for column in spec.columns:
        if column.name in table.column_names:
            table = _checked(path.name, table, column)
        elif not column.optional:
            missing = f"columns {', '.join(table.column_names)}"
            raise RecordingInvalid(
                where=path.name, what=f"must have a column {column.name!r}", found=missing
            )
    return Sheet(path.name, table)


def _checked(file: str, table: Table, column: Column) -> Table:
    data = table.column(column.name)
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    try:
        data = _as_kind(file, data, column)
    except pa.ArrowException as error:
        raise RecordingInvalid(
            where=f"{file}: column {column.name}",
            what="must fit 64 bits",
            found=" ".join(str(error).split())[:200],
        ) from None
    place = table.column_names.index(column.name)
    table = table.set_column(place, column.name, data)
    if data.null_count and not column.nullable:
        row = int(np.flatnonzero(pc.is_null(data).to_numpy())[0])
        Sheet(file, table).refuse(row, column.name, "must have a value", "an empty cell")
    if pa.types.is_floating(data.type):
        finite = pc.is_finite(data.fill_null(0.0)).to_numpy()
        Sheet(file, table).refuse_first(~finite, column.name, "must be a finite number")
    return table


def _as_kind(file: str, data: ArrowColumn, column: Column) -> ArrowColumn:
    kind, found = column.kind, data.type
    types = pa.types
    text = types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)
    if types.is_null(found) and column.nullable:
        to = {"text": pa.large_string(), "decimal": pa.float64()}.get(kind, pa.int64())
        return data.cast(to)
    if kind == "text" and text:
        return data.cast(pa.large_string())
    if kind == "time" and types.is_timestamp(found):
        return data.cast(pa.timestamp("ns", found.tz)).cast(pa.int64())
    if kind in ("time", "integer") and types.is_integer(found):
        return data.cast(pa.int64())
    if kind == "decimal":
        if types.is_floating(found):
            return data.cast(pa.float64())
        if text:
            return data.cast(pa.large_string())
        if types.is_decimal(found) or types.is_integer(found):
            return data.cast(pa.string()).cast(pa.large_string())
    wanted = {
        "time": "int64 nanoseconds or a timestamp",
        "text": "text",
        "decimal": "float64, or decimals as text",
        "integer": "int64",
    }[kind]
    raise RecordingInvalid(
        where=f"{file}: column {column.name}", what=f"must hold {wanted}", found=f"type {found}"
    )
