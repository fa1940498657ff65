"""Say in plain language what a recording holds, what is missing, and what that means."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tidegate.adapters.arrow import pa, pc, pq
from tidegate.drivers.recording import Recording
from tidegate.drivers.recording_schema import FILES, INTEREST


class FileReport(NamedTuple):
    """One file that is there: rows, its first and last time, and the range of its numbers."""

    rows: int
    begins: str | None
    ends: str | None
    ranges: dict[str, tuple[str, str]]
    counts: dict[str, int]  # distinct texts by column, where they are few


def report(recording: Recording) -> dict[str, Any]:
    """Return what `tidegate data check --json` prints."""
    venue = recording.venue
    missing = [name for name in FILES if name not in recording.rows]
    return {
        "path": str(recording.path),
        "digest": recording.digest,
        "venue": venue.name,
        "numeraire": venue.numeraire,
        "instruments": [i.symbol for i in venue.instruments],
        "sources": list(venue.sources),
        "begins": moment(recording.begins),
        "ends": moment(recording.ends),
        "seconds": (recording.ends - recording.begins) / 1e9,
        "accounts": len(recording.names),
        "events": recording.n_events,
        "files": {name: _file(recording, name)._asdict() for name in recording.rows},
        "missing": {name: FILES[name].without for name in missing},
        "warnings": list(_warnings(recording)),
        "notes": list(venue.notes),
    }


def moment(ts: int) -> str:
    """Return a time in nanoseconds as ISO 8601 UTC, to the millisecond."""
    whole = datetime.fromtimestamp(ts // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    rest = ts % 10**9 // 10**6
    return f"{whole}.{rest:03d}Z" if rest else f"{whole}Z"


def _file(recording: Recording, name: str) -> FileReport:
    table: Any = pq.read_table(recording.path / f"{name}.parquet")
    times: list[str] = []
    ranges: dict[str, tuple[str, str]] = {}
    counts: dict[str, int] = {}
    for column in FILES[name].columns:
        if column.name not in table.column_names or not table.num_rows:
            continue
        data = table.column(column.name)
        if column.kind == "time":
            if pa.types.is_timestamp(data.type):
                data = data.cast(pa.timestamp("ns", data.type.tz)).cast(pa.int64())
            times = [moment(int(data[0].as_py())), moment(int(data[-1].as_py()))]
        elif column.kind == "decimal":
            if not pa.types.is_floating(data.type):
                data = data.cast(pa.string()).cast(pa.float64())
            found = pc.min_max(data).as_py()
            if found["min"] is not None:
                ranges[column.name] = (f"{found['min']:,.10g}", f"{found['max']:,.10g}")
        elif column.kind == "text":
            counts[column.name] = len(pc.unique(data.drop_null()))
    begins, ends = times or (None, None)
    return FileReport(table.num_rows, begins, ends, ranges, counts)


def _warnings(recording: Recording) -> Iterator[str]:
    """Yield what is allowed and still worth knowing."""
    venue, rows = recording.venue, recording.rows
    priced = set(_texts(recording, "prices", "instrument"))
    for instrument in venue.instruments:
        if instrument.symbol not in priced:
            yield (
                f"{instrument.symbol} has no price: what is held in it cannot be valued, and every "
                "trade in it will be rejected"
            )
    sources = set(_texts(recording, "prices", "source"))
    for source in venue.sources:
        if source not in sources:
            yield f"the source {source!r} of venue.toml publishes nothing"
    markets = {market.symbol for market in venue.markets}
    deep = set(_texts(recording, "depth", "instrument"))
    traded = [i.symbol for i in venue.instruments if i.symbol in priced]
    for symbol in traded:
        if symbol not in markets and symbol not in deep:
            yield (
                f"{symbol} has neither depth nor a [[markets]] entry: forced sales in it find no "
                "buyer and expire"
            )
    if not recording.names:
        yield "there are no accounts: a replay shows prices, and nobody to liquidate"
    if "parameters" in rows:
        names = _texts(recording, "parameters", "name")
        if not any(name.startswith(INTEREST) for name in names) and "loans" in rows:
            yield "there are loans and no interest.* parameters: debts do not grow"


def _texts(recording: Recording, name: str, column: str) -> list[str]:
    if name not in recording.rows:
        return []
    table: Any = pq.read_table(recording.path / f"{name}.parquet", columns=[column])
    return pc.unique(table.column(column).cast(pa.string())).to_pylist()


def plain_language(recording: Recording) -> Iterator[str]:
    """Yield the lines of the report for people."""
    found = report(recording)
    hours = found["seconds"] / 3600
    span = f"{hours:,.1f} hours" if hours >= 1 else f"{found['seconds']:,.0f} seconds"
    yield f"{found['venue']}: a valid recording (digest {found['digest']})"
    yield (
        f"{found['begins']} to {found['ends']}, {span}; {found['accounts']:,} accounts, "
        f"{found['events']:,} events"
    )
    yield f"instruments: {', '.join(found['instruments'])}; values in {found['numeraire']}"
    yield ""
    yield "there is"
    for name, file in found["files"].items():
        yield f"  {name}: {file['rows']:,} {FILES[name].holds}{_details(file)}"
    if found["missing"]:
        yield "there is no"
        for name, meaning in found["missing"].items():
            yield f"  {name}: {meaning}"
    if found["warnings"]:
        yield "worth knowing"
        yield from (f"  {line}" for line in found["warnings"])
    if found["notes"]:
        yield "reconstructed or assumed"
        yield from (f"  {line}" for line in found["notes"])


def _details(file: dict[str, Any]) -> str:
    parts = [f"{name} {low} to {high}" for name, (low, high) in file["ranges"].items()]
    if file["begins"]:
        parts.append(f"{file['begins']} to {file['ends']}")
    return f" ({'; '.join(parts)})" if parts else ""
