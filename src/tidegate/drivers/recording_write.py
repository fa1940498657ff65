"""Write a recording: Parquet tables and venue.toml, whole or not at all, always the same bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import msgspec
import tomli_w

from tidegate.adapters.arrow import Table, pq
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.venue import Venue
from tidegate.drivers.recording_schema import FILES, VENUE_FILE
from tidegate.drivers.recording_sheet import nearest


Toml: TypeAlias = Any  # what msgspec.to_builtins makes of a struct


def write_recording(path: Path, venue: Venue, tables: Mapping[str, Table]) -> None:
    """Write ``venue.toml`` and one zstd Parquet file for each of ``tables`` into folder ``path``.

    ``tables`` maps file names without ending ("prices", "positions", ...) to `pyarrow.Table`. Files
    of an earlier recording in the same folder are removed. ``venue.toml`` goes first and comes
    last: an interrupted write leaves a folder that is refused, never a mixture of two recordings.
    The bytes depend on the arguments only. Only names of files and columns are proved; `load` does
    the rest.
    """
    for name, table in tables.items():
        _prove_columns(name, table)
    if path.exists() and not path.is_dir():
        raise RecordingInvalid(
            where=str(path), what="must be a folder", found="a file", hint="name another --out"
        )
    path.mkdir(parents=True, exist_ok=True)
    (path / VENUE_FILE).unlink(missing_ok=True)
    for name in FILES:
        (path / f"{name}.parquet").unlink(missing_ok=True)
    for name, table in tables.items():
        plain = table.replace_schema_metadata(None)
        place = path / f"{name}.parquet"
        part = place.with_suffix(".part")
        pq.write_table(plain, part, compression="zstd", write_page_checksum=True)
        part.replace(place)
    part = path / f"{VENUE_FILE}.part"
    part.write_text(venue_text(venue), encoding="utf-8")
    part.replace(path / VENUE_FILE)


def venue_text(venue: Venue) -> str:
    """Return ``venue`` as the TOML text that `recording.load` reads back."""
    return tomli_w.dumps(_without_none(msgspec.to_builtins(venue)), multiline_strings=True)


def _without_none(value: Toml) -> Toml:
    # TOML has no null: a key that is left out takes its default, which is what None stands for.
    if isinstance(value, dict):
        known = cast("dict[str, Any]", value)
        return {key: _without_none(item) for key, item in known.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in cast("list[Any]", value)]
    return value


def _prove_columns(name: str, table: Table) -> None:
    if name not in FILES:
        raise RecordingInvalid(
            where=name,
            what="is no file of a recording",
            found=repr(name),
            hint=nearest(name, list(FILES)),
        )
    known = [column.name for column in FILES[name].columns]
    for column in table.column_names:
        if column not in known:
            hint = nearest(column, known)
            raise RecordingInvalid(
                where=name, what="has a column that is not known", found=repr(column), hint=hint
            )
