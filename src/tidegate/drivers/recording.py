"""A recorded history, validated at the door and read lazily: `load`, and `write_recording`.

A recording is a folder of Parquet files and one venue.toml (see `recording_schema` and the docs).
Names become rows and columns, decimals become integers, and whatever does not fit is refused with
file, row, column, what was found and a way out, before anything runs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from tidegate.adapters.arrow import Table
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid
from tidegate.domain.events import Input
from tidegate.domain.units import I64
from tidegate.domain.venue import Venue
from tidegate.drivers import recording_door as door
from tidegate.drivers import recording_flows as flows
from tidegate.drivers import recording_streams as streams
from tidegate.drivers.recording_book import OpeningBook, opening_book
from tidegate.drivers.recording_commitments import commitment_stream
from tidegate.drivers.recording_schema import FILES, VENUE_FILE
from tidegate.drivers.recording_sheet import Sheet, nearest, read_sheet
from tidegate.drivers.recording_write import write_recording


@dataclass(frozen=True)
class Recording:
    """One validated recording. Its events are made anew, and equal, at every call of `events`."""

    path: Path
    venue: Venue
    names: tuple[str, ...]  # user accounts in row order: row = FIRST_USER + k
    digest: str  # of the bytes of all files
    begins: int  # ns, the first timestamp of any file
    ends: int  # ns, the last one
    n_events: int  # exact count of what events() yields
    rows: dict[str, int]  # rows of each file that is there
    _book: OpeningBook = field(repr=False)
    _streams: tuple[streams.Stream, ...] = field(repr=False)
    _history: streams.Stream | None = field(repr=False)
    _liquidations: Table = field(repr=False)

    def events(self, *, shadow: bool = False) -> Iterator[Input]:
        """Yield the exogenous events by (ts, seq); the first one is the whole opening book.

        With ``shadow``, recorded liquidations are among them as `LiquidationReported`; `count` says
        how many events that makes.
        """
        yield self._book.event(self.begins)
        extra = (self._history,) if shadow and self._history is not None else ()
        yield from streams.merged((*self._streams, *extra))

    def count(self, *, shadow: bool = False) -> int:
        """Return how many events `events` will yield."""
        extra = self._history.ts.size if shadow and self._history is not None else 0
        return self.n_events + int(extra)

    def liquidations(self) -> Table | None:
        """Return liquidations.parquet as a `pyarrow.Table`; None when the recording has none."""
        return self._liquidations

    def row(self, name: str) -> int:
        """Return the ledger row of an account; raise KeyError for a name that is not known."""
        return self._book.names.place[name] + FIRST_USER


def load(path: Path) -> Recording:
    """Open the recording in folder ``path`` and prove all of it.

    Raise RecordingInvalid, or ConfigInvalid for the venue's own facts, at the first thing that is
    wrong: unknown files, keys or columns, wrong types or units, values that are not finite or do
    not fit, decreasing times, duplicates, unknown names, more than the declared capacity.
    """
    venue = load_venue(path)
    scales = door.scales_of(venue, VENUE_FILE)
    sheets = _sheets(path)
    book = opening_book(sheets, venue, scales)
    made: list[streams.Stream] = [streams.price_stream(sheets["prices"], venue, scales)]
    if not made[0].ts.size:
        raise RecordingInvalid(
            where="prices.parquet", what="must hold at least one price", found="no rows"
        )
    if "trades" in sheets:
        made.append(streams.trade_stream(sheets["trades"], venue, scales))
    if "funding" in sheets:
        made.append(streams.funding_stream(sheets["funding"], venue))
    if "depth" in sheets:
        made.append(streams.depth_stream(sheets["depth"], venue, scales))
    moves, history = None, None
    if "liquidations" in sheets:
        moves, cash = flows.liquidation_moves(sheets["liquidations"], book.names, venue, scales)
        history = flows.liquidation_stream(moves, cash)
    touched: list[flows.Moves] = []
    if "flows" in sheets:
        stream, moved = flows.flow_stream(sheets["flows"], book, venue, scales, moves)
        made.append(stream)
        touched.append(moved)
    if "commitments" in sheets:
        stream, moved = commitment_stream(sheets["commitments"], book.names, venue, scales)
        made.append(stream)
        touched.append(moved)
    dated = [s.ts for s in made] + ([moves.ts] if moves else [])
    if "parameters" in sheets:
        dated.append(sheets["parameters"].times())
    begins = min(int(ts[0]) for ts in dated if ts.size)
    ends = max(int(ts[-1]) for ts in dated if ts.size)
    if "parameters" in sheets:
        made += streams.parameter_streams(sheets["parameters"], venue, ends)
    _prove_positions(book, touched, venue)
    return Recording(
        path=path,
        venue=venue,
        names=tuple(book.names.names),
        digest=_digest(path, sheets),
        begins=begins,
        ends=ends,
        n_events=1 + sum(int(s.ts.size) for s in made),
        rows={name: sheet.rows for name, sheet in sheets.items()},
        _book=book,
        _streams=tuple(made),
        _history=history,
        _liquidations=sheets["liquidations"].table if "liquidations" in sheets else None,
    )


def load_venue(path: Path) -> Venue:
    """Read ``venue.toml`` of a recording strictly: an unknown key or a wrong type is refused."""
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise RecordingInvalid(
            where=str(path), what="must be the folder of a recording", found=found, hint=_MAKE
        )
    try:
        text = (path / VENUE_FILE).read_bytes()
    except FileNotFoundError:
        raise RecordingInvalid(
            where=VENUE_FILE, what=f"must be in {path}", found="no such file", hint=_MAKE
        ) from None
    try:
        venue = msgspec.toml.decode(text, type=Venue)
    except ConfigInvalid as error:
        raise ConfigInvalid(
            where=f"{VENUE_FILE}: {error.where}",
            what=error.what,
            found=error.found,
            hint=error.hint,
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what, _, place = str(error).partition(" - at `$")
        where = f"{VENUE_FILE}: {place.strip('`.')}" if place else VENUE_FILE
        hint = "see the reference of venue.toml in the docs"
        raise ConfigInvalid(
            where=where, what="must follow the schema of a venue", found=what, hint=hint
        ) from None
    _prove_venue(venue)
    return venue


_MAKE = "tidegate data make, fetch and convert make recordings"


def _prove_venue(venue: Venue) -> None:
    symbols = [i.symbol for i in venue.instruments]
    if not symbols:
        where = f"{VENUE_FILE}: instruments"
        raise ConfigInvalid(where=where, what="must declare an instrument", found="none")
    if not venue.sources or len(set(venue.sources)) < len(venue.sources):
        where = f"{VENUE_FILE}: sources"
        what = "must be different names, at least one"
        raise ConfigInvalid(where=where, what=what, found=repr(list(venue.sources)))
    if venue.numeraire in symbols:
        where = f"{VENUE_FILE}: numeraire"
        what = "must not be an instrument: cash is a column of its own"
        raise ConfigInvalid(where=where, what=what, found=repr(venue.numeraire))
    for n, market in enumerate(venue.markets):
        if market.symbol not in symbols:
            raise ConfigInvalid(
                where=f"{VENUE_FILE}: markets[{n}].symbol",
                what="must name an instrument",
                found=repr(market.symbol),
                hint=nearest(market.symbol, symbols),
            )


def _sheets(path: Path) -> dict[str, Sheet]:
    known = list(FILES)
    for file in sorted(path.glob("*.parquet")):
        if file.stem not in FILES:
            raise RecordingInvalid(
                where=file.name,
                what="is no file of a recording",
                found=repr(file.stem),
                hint=nearest(file.stem, known),
            )
    sheets: dict[str, Sheet] = {}
    for name, spec in FILES.items():
        file = path / f"{name}.parquet"
        if file.exists():
            sheets[name] = read_sheet(file, spec)
        elif spec.required:
            raise RecordingInvalid(
                where=file.name, what=f"must be in {path}", found="no such file", hint=_MAKE
            )
    return sheets


def _prove_positions(book: OpeningBook, touched: Sequence[flows.Moves], venue: Venue) -> None:
    # Every holding that the history can open needs a row, and so do the venue's own accounts.
    keys: list[I64] = [book.holdings.account << 32 | book.holdings.asset]
    keys += [moved.account << 32 | moved.instrument for moved in touched]
    pairs = int(np.unique(np.concatenate(keys)).size)
    due = pairs + FIRST_USER * len(venue.instruments)
    if due > venue.limits.positions_max:
        own = due - pairs
        raise RecordingInvalid(
            where=f"{VENUE_FILE}: limits.positions_max",
            what=f"must hold {pairs:_} positions and {own:_} of the venue's own",
            found=f"{venue.limits.positions_max:_}",
            hint=f"positions_max = {due:_} would fit",
        )


def _digest(path: Path, sheets: dict[str, Sheet]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted([VENUE_FILE, *(f"{name}.parquet" for name in sheets)]):
        with (path / name).open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
        digest.update(f"{name}:{content.hexdigest()}\n".encode())
    return digest.hexdigest()


__all__ = ["Recording", "load", "load_venue", "write_recording"]
