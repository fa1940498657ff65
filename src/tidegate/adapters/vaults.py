"""Read what a lending protocol's indexer exports: vault events and dated parameter changes.

Events are (block_number, ts, vault, event, amount), in ETH for collateral and in DAI for debt;
parameters are (timestamp, parameter, ilk, to_value). Files may overlap: what two of them say alike
is taken once. Anything else that does not fit is refused with file, row and column.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters.arrow import Column, Table, pa, pq
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.units import I64


F64: TypeAlias = NDArray[np.float64]

# Within one block what helps a vault comes before what burdens it, see `drivers.vault_ledger`.
KINDS: Final = (
    "open",
    "deposit_eth",
    "repay_dai",
    "draw_dai",
    "withdraw_eth",
    "liquidate_dai",
    "liquidate_eth",
)
OPEN, DEPOSIT, REPAY, DRAW, WITHDRAW, LIQUIDATE_DEBT, LIQUIDATE_COLLATERAL = range(len(KINDS))
AMOUNT_MAX: Final = 1e11  # DAI or ETH: more means another unit


class VaultEvents(NamedTuple):
    """Events of all vaults as columns, by (ts, block, vault), then in the order of the files."""

    ts: I64  # nanoseconds UTC
    block: I64
    vault: I64
    kind: I64  # index into `KINDS`
    amount: F64  # DAI or ETH; 0 for "open"


class Dated(NamedTuple):
    """One value from ``ts`` on."""

    ts: int
    value: float


def read_events(files: Sequence[Path]) -> VaultEvents:
    """Return the events of all ``files`` in one order.

    Raise RecordingInvalid for a missing column, an unknown event, an amount that is negative, not
    finite or missing, and when there is no event at all.
    """
    read = [_read_events(file) for file in files]
    if not any(e.ts.size for e in read):
        raise RecordingInvalid(
            where=", ".join(file.name for file in files) or "events",
            what="must hold at least one event",
            found="none",
            hint="--events FILE",
        )
    source = np.concatenate([np.full(e.ts.size, n) for n, e in enumerate(read)])
    ts, block = np.concatenate([e.ts for e in read]), np.concatenate([e.block for e in read])
    vault, kind = np.concatenate([e.vault for e in read]), np.concatenate([e.kind for e in read])
    amount = np.concatenate([e.amount for e in read])
    order = np.lexsort((source, vault, block, ts))  # stable: file order within one source
    events = VaultEvents(ts[order], block[order], vault[order], kind[order], amount[order])
    keep = order[_said_once(source[order], events)]
    return VaultEvents(ts[keep], block[keep], vault[keep], kind[keep], amount[keep])


def _read_events(file: Path) -> VaultEvents:
    table = _read(file, ("block_number", "ts", "vault", "event", "amount"))
    names: list[str] = table.column("event").to_pylist()
    place = {name: n for n, name in enumerate(KINDS)}
    kind = np.array([place.get(name, -1) for name in names], np.int64)
    _refuse(file, kind < 0, "event", f"must be one of {', '.join(KINDS)}", names)
    amount: F64 = table.column("amount").cast(pa.float64()).fill_null(float("nan")).to_numpy()
    absent = np.isnan(amount)
    missing = absent & (kind != OPEN)
    _refuse(file, missing, "amount", "must be a finite number", amount.tolist())
    wrong = ~absent & ((amount < 0) | (amount > AMOUNT_MAX))
    what = f"must lie within 0..{AMOUNT_MAX:.0e}"
    _refuse(file, wrong, "amount", what, amount.tolist())
    return VaultEvents(
        ts=_times(file, table.column("ts")),
        block=_whole(file, table, "block_number"),
        vault=_whole(file, table, "vault"),
        kind=kind,
        amount=np.where(absent, 0.0, amount),
    )


def _said_once(source: I64, events: VaultEvents) -> NDArray[np.bool_]:
    """Return which of the sorted rows to keep where several files speak of one vault and block.

    An event that two files tell is taken as often as the file that tells it most often.
    """
    keep = np.ones(source.size, bool)
    new = (np.diff(events.block) != 0) | (np.diff(events.vault) != 0)
    first = np.flatnonzero(np.r_[True, new])
    ends: list[int] = np.r_[first[1:], source.size].tolist()
    for start, end in zip(first.tolist(), ends, strict=True):
        if source[start] == source[end - 1]:
            continue
        taken: Counter[tuple[int, float]] = Counter()
        told: Counter[tuple[int, int, float]] = Counter()
        for row in range(start, end):
            event = (int(events.kind[row]), float(events.amount[row]))
            mine = (int(source[row]), *event)
            told[mine] += 1
            keep[row] = told[mine] > taken[event]
            taken[event] += keep[row]
    return keep


def read_parameters(file: Path) -> dict[str, list[Dated]]:
    """Return every numeric parameter's dated values, in time order, of the file's one ilk.

    Raise RecordingInvalid for a missing column, a timestamp that is none, or several ilks.
    """
    table = _read(file, ("timestamp", "parameter", "ilk", "to_value"))
    ilks = sorted({str(ilk) for ilk in table.column("ilk").to_pylist() if ilk})
    if len(ilks) > 1:
        raise RecordingInvalid(
            where=f"{file.name}: column ilk",
            what="must name one type of vault",
            found=", ".join(ilks),
            hint="keep the rows of the vaults that the events are about",
        )
    found: dict[str, list[Dated]] = {}
    rows = zip(
        table.column("timestamp").to_pylist(),
        table.column("parameter").to_pylist(),
        table.column("to_value").to_pylist(),
        strict=True,
    )
    for row, (when, name, value) in enumerate(rows):
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue  # an address, say: no parameter that margin could depend on
        found.setdefault(str(name), []).append(Dated(_moment(file, row, when), number))
    return {name: sorted(values) for name, values in found.items()}


def ilk_of(file: Path) -> str:
    """Return the name of the vault type that the parameter file is about; empty when it has none.

    Raise RecordingInvalid as `read_parameters` does.
    """
    names = [str(ilk) for ilk in _read(file, ("ilk",)).column("ilk").to_pylist() if ilk]
    return names[0] if names else ""


def _moment(file: Path, row: int, when: object) -> int:
    if isinstance(when, datetime):
        moment = when if when.tzinfo else when.replace(tzinfo=UTC)
    else:
        try:
            moment = datetime.strptime(str(when), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            raise RecordingInvalid(
                where=f"{file.name}: row {row}, column timestamp",
                what="must be a time such as 2021-01-27 1:03:47 (UTC)",
                found=repr(when),
            ) from None
    return int(moment.timestamp()) * 1_000_000_000


def _read(file: Path, columns: Sequence[str]) -> Table:
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise RecordingInvalid(
            where=file.name, what="must be a Parquet file", found=str(error)[:200]
        ) from None
    for name in columns:
        if name not in table.column_names:
            raise RecordingInvalid(
                where=file.name,
                what=f"must have a column {name!r}",
                found=f"columns {', '.join(table.column_names)}",
            )
    return table


def _whole(file: Path, table: Table, name: str) -> I64:
    column = table.column(name)
    if column.null_count or not pa.types.is_integer(column.type):
        raise RecordingInvalid(
            where=f"{file.name}: column {name}",
            what="must hold whole numbers, none of them empty",
            found=f"{column.type}, {column.null_count} empty",
        )
    return column.cast(pa.int64()).to_numpy()


def _times(file: Path, column: Column) -> I64:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz))
    if column.null_count or not (
        pa.types.is_timestamp(column.type) or pa.types.is_int64(column.type)
    ):
        raise RecordingInvalid(
            where=f"{file.name}: column ts",
            what="must be timestamps (or int64 nanoseconds), none of them empty",
            found=f"{column.type}, {column.null_count} empty",
        )
    return column.cast(pa.int64()).to_numpy()


def _refuse(
    file: Path, wrong: NDArray[np.bool_], column: str, what: str, values: Sequence[object]
) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        row = int(rows[0])
        raise RecordingInvalid(
            where=f"{file.name}: row {row}, column {column}", what=what, found=repr(values[row])
        )
