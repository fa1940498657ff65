"""The records of a journal as a Parquet file that any tool reads: one row a record."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from tidegate.adapters.arrow import pa, pq
from tidegate.ports import Record


ROWS: Final = 50_000  # of one row group

_JSON: Final = msgspec.json.Encoder(order="deterministic")


def export(records: Iterable[Record], path: Path) -> int:
    """Write ``records`` to a new file at ``path``; return how many.

    Columns: ``seq``, ``ts`` (UTC), ``kind`` of the event, ``effects`` (how many), and ``payload``,
    the event and its effects as JSON with columns in base64, as `msgspec` writes bytes.
    """
    schema = pa.schema(
        [
            ("seq", pa.int64()),
            ("ts", pa.timestamp("ns", tz="UTC")),
            ("kind", pa.string()),
            ("effects", pa.int32()),
            ("payload", pa.string()),
        ]
    )
    written, source = 0, iter(records)
    with path.open("xb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while rows := [_row(record) for record in islice(source, ROWS)]:
            columns = [list(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(columns, schema=schema))
            written += len(rows)
    return written


def _row(record: Record) -> tuple[Any, ...]:
    event, effects = record.event, record.effects
    payload = _JSON.encode({"event": event, "effects": effects}).decode()
    return record.seq, event.ts, type(event).__name__, len(effects), payload
