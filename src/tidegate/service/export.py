"""Accounts, positions and records as CSV, Parquet or JSON lines, a chunk at a time.

Decimals are exact: text in CSV and JSON, decimal columns in Parquet.
"""

import io
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from tidegate.adapters.arrow import Table, csv, pa, pq
from tidegate.domain.book import FIRST_USER
from tidegate.domain.units import I32, I64
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Names, Reading
from tidegate.service.views_health import health_now
from tidegate.service.views_words import account_name, decimal_text, money_text, price_text


CHUNK: Final = 20_000  # rows that are put into words at a time
RECORDS_CHUNK: Final = 500
MEDIA: Final = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "json": "application/x-ndjson",
}
COLUMNS: Final[dict[str, dict[str, str]]] = {
    "accounts": {
        "account": "text",
        "owner": "text",
        "cash": "decimal",
        "equity": "decimal",
        "maintenance": "decimal",
        "liquidatable": "flag",
    },
    "positions": {
        "account": "text",
        "instrument": "text",
        "quantity": "decimal",
        "cost": "decimal",
        "in_flight": "decimal",
        "mark": "decimal",
    },
    "records": {
        "seq": "count",
        "ts": "count",
        "event": "text",
        "effects": "text",
    },
}
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_LINES: Final = msgspec.json.Encoder()


class Accounts(NamedTuple):
    """A copy of what an export of accounts needs."""

    cash: I64
    owner: I32
    equity: I64
    required: I64
    best: I64


class Positions(NamedTuple):
    """A copy of what an export of positions needs: rows that hold something."""

    account: I32
    instrument: I32
    lots: I64
    cost: I64
    in_flight: I64
    mark: I64


def accounts_of(reading: Reading) -> Accounts:
    """Copy all accounts, the venue's own included; on the crank's thread."""
    state, n = reading.state, reading.state.book.accounts
    health = health_now(state, reading.stack)
    return Accounts(
        state.book.cash[:n].copy(),
        state.book.owner[:n].copy(),
        health.equity,
        health.required,
        health.best,
    )


def positions_of(reading: Reading) -> Positions:
    """Copy all positions that hold something; on the crank's thread."""
    book = reading.state.book
    rows = slice(0, book.high)
    held = (book.lots[rows] != 0) | (book.cost[rows] != 0)
    return Positions(
        book.account[rows][held],
        book.instrument[rows][held],
        book.lots[rows][held],
        book.cost[rows][held],
        book.in_flight[rows][held],
        reading.state.mark.copy(),
    )


def account_rows(copy: Accounts, names: Names, stack: Stack) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of an export of accounts, in chunks."""
    for begin in range(0, copy.cash.size, CHUNK):
        part = slice(begin, begin + CHUNK)
        columns: list[list[int]] = [column[part].tolist() for column in copy]
        yield [
            (
                account_name(names, begin + n, stack),
                account_name(names, owner, stack),
                money_text(cash),
                money_text(equity),
                money_text(required),
                best < 0 and begin + n >= FIRST_USER,
            )
            for n, (cash, owner, equity, required, best) in enumerate(zip(*columns, strict=True))
        ]


def position_rows(copy: Positions, names: Names, stack: Stack) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of an export of positions, in chunks; costs in what each is settled in."""
    instruments = stack.venue.instruments
    marks = [price_text(of, int(n)) for of, n in zip(instruments, copy.mark, strict=True)]
    cost_size = [_cost_size(stack, i) for i in range(len(instruments))]
    order = np.lexsort((copy.instrument, copy.account))
    for begin in range(0, order.size, CHUNK):
        part = order[begin : begin + CHUNK]
        account: list[int] = copy.account[part].tolist()
        instrument: list[int] = copy.instrument[part].tolist()
        lots: list[int] = copy.lots[part].tolist()
        cost: list[int] = copy.cost[part].tolist()
        flying: list[int] = copy.in_flight[part].tolist()
        yield [
            (
                account_name(names, a, stack),
                instruments[i].symbol,
                decimal_text(held, instruments[i].lot_size),
                decimal_text(paid, cost_size[i]),
                decimal_text(sent, instruments[i].lot_size),
                marks[i],
            )
            for a, i, held, paid, sent in zip(account, instrument, lots, cost, flying, strict=True)
        ]


def _cost_size(stack: Stack, i: int) -> str:
    coin = int(stack.facts.coin[i])
    return "0.000001" if coin < 0 else stack.venue.instruments[coin].lot_size


def record_rows(records: Iterator[Record], limit: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of an export of records, in chunks; columns of effects are base64."""
    left = limit
    while left > 0 and (some := list(islice(records, min(left, RECORDS_CHUNK)))):
        left -= len(some)
        yield [
            (
                record.seq,
                record.event.ts,
                _ENCODER.encode(record.event).decode(),
                _ENCODER.encode(record.effects).decode(),
            )
            for record in some
        ]


def written(
    what: str, form: str, rows: Callable[[], Iterator[list[tuple[Any, ...]]]]
) -> Iterator[bytes]:
    """Yield the bytes of an export, as they are made."""
    kinds = COLUMNS[what]
    if form == "json":
        for some in rows():
            lines = (_LINES.encode(dict(zip(kinds, row, strict=True))) for row in some)
            yield b"\n".join(lines) + b"\n"
        return
    yield from (_csv if form == "csv" else _parquet)(kinds, rows())


def _csv(kinds: dict[str, str], rows: Iterator[list[tuple[Any, ...]]]) -> Iterator[bytes]:
    texts = dict.fromkeys(kinds, "text") | {k: v for k, v in kinds.items() if v != "decimal"}
    yield (",".join(f'"{name}"' for name in kinds) + "\n").encode()
    for some in rows:
        sink = io.BytesIO()
        options = csv.WriteOptions(include_header=False)
        csv.write_csv(_table(texts, some), sink, options)
        yield sink.getvalue()


def _parquet(kinds: dict[str, str], rows: Iterator[list[tuple[Any, ...]]]) -> Iterator[bytes]:
    sink = _Drained()
    schema = pa.schema([(name, _type(kind)) for name, kind in kinds.items()])
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for some in rows:
            writer.write_table(_table(kinds, some))
            yield sink.drain()
    yield sink.drain()


def _type(kind: str) -> Any:  # noqa: ANN401 - Arrow has no types of its own, see `adapters.arrow`
    named = {"text": pa.string(), "count": pa.int64(), "flag": pa.bool_()}
    return named.get(kind) or pa.decimal128(38, 18)


def _table(kinds: dict[str, str], rows: list[tuple[Any, ...]]) -> Table:
    columns: list[Any] = []
    for kind, cells in zip(kinds.values(), zip(*rows, strict=True), strict=True):
        if kind == "decimal":
            columns.append(pa.array(cells, pa.string()).cast(_type(kind)))
        else:
            columns.append(pa.array(cells, _type(kind)))
    return pa.table(columns, names=list(kinds))


class _Drained(io.RawIOBase):
    """A file that gives away what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return how much was written in all."""
        return self._size

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - whatever has a buffer
        """Keep a copy until it is drained."""
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def drain(self) -> bytes:
        """Return what was written since the last time."""
        drained, self._parts = b"".join(self._parts), []
        return drained
