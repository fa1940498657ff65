"""Read what a lending protocol's indexer exports: vault events and dated parameter changes.

Events are (block_number, ts, vault, event, amount), in ETH for collateral and in DAI for debt;
parameters are (timestamp, parameter, ilk, to_value). Files may overlap: what two of them say alike
is taken once. Anything else that does not fit is refused with file, row and column.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters.arrow import Column, Table, pa, pq
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.units import I64


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
    amount: NDArray[np.float64]  # DAI or ETH; 0 for "open"


class Dated(NamedTuple):
    """One value from ``ts`` on."""

    ts: int
    value: float


def read_events(files: Sequence[Path]) -> VaultEvents:
    """Return the events of all ``files`` in one order.

    Raise RecordingInvalid for a missing column, an unknown event, an amount that is negative, not
    finite or missing, and for two files that disagree about a vault's events in one block.
    """
    read = [_read_events(file) for file in files]
    if not read:
        raise RecordingInvalid(
            where="events", what="must name at least one file", found="none", hint="--events FILE"
        )
    source = np.concatenate([np.full(e.ts.size, n) for n, e in enumerate(read)])
    ts, block, vault, kind, amount = (
        np.concatenate([e[k] for e in read]) for k in range(len(VaultEvents._fields))
    )
    order = np.lexsort((source, vault, block, ts))  # stable: file order within one source
    keep = order[_said_once(files, source[order], block[order], vault[order], amount[order])]
    return VaultEvents(ts[keep], block[keep], vault[keep], kind[keep], amount[keep])


def _read_events(file: Path) -> VaultEvents:
    table = _read(file, ("block_number", "ts", "vault", "event", "amount"))
    names: list[str] = table.column("event").to_pylist()
    place = {name: n for n, name in enumerate(KINDS)}
    kind = np.array([place.get(name, -1) for name in names], np.int64)
    _refuse(file, kind < 0, "event", f"must be one of {', '.join(KINDS)}", names)
    amount = _numbers(table.column("amount"), pa.float64()).astype(np.float64)
    absent = np.isnan(amount)
    missing = absent & (kind != OPEN)
    _refuse(file, missing, "amount", "must be a finite number", amount.tolist())
    wrong = ~absent & ((amount < 0) | (amount > AMOUNT_MAX))
    what = f"must lie within 0..{AMOUNT_MAX:.0e}"
    _refuse(file, wrong, "amount", what, amount.tolist())
    return VaultEvents(
        ts=_times(file, table.column("ts")),
        block=_numbers(table.column("block_number"), pa.int64()),
        vault=_numbers(table.column("vault"), pa.int64()),
        kind=kind,
        amount=np.where(absent, 0.0, amount),
    )


def _said_once(
    files: Sequence[Path], source: I64, block: I64, vault: I64, amount: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which of the sorted rows to keep: of one vault and block, those of one file."""
    keep = np.ones(source.size, bool)
    first = np.flatnonzero(np.r_[True, (np.diff(block) != 0) | (np.diff(vault) != 0)])
    for start, end in zip(first, np.r_[first[1:], source.size], strict=True):
        if source[start] == source[end - 1]:
            continue
        alike = [np.sort(amount[start:end][source[start:end] == n]) for n in range(len(files))]
        said = [a for a in alike if a.size]
        if any(a.size != said[0].size or not np.array_equal(a, said[0]) for a in said):
            raise RecordingInvalid(
                where=f"{files[source[end - 1]].name}: block {block[start]}, vault {vault[start]}",
                what="two files disagree about a vault's events in one block",
                found=f"{[a.tolist() for a in said]}"[:200],
                hint="files that overlap must repeat their rows exactly",
            )
        keep[start:end] = source[start:end] == source[start]
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


def _numbers(column: Column, kind: object) -> NDArray[np.generic]:
    cast = column.cast(kind)
    if kind == pa.float64():
        cast = cast.fill_null(float("nan"))
    return cast.to_numpy()


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
