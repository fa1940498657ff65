"""A rerun of the last days under changed parameters, beside the same rerun without the change."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from tidegate.adapters.journals import open_journal
from tidegate.api.checks import Fate, PastTrial
from tidegate.domain.book import FIRST_USER
from tidegate.domain.units import PPM, SECOND
from tidegate.drivers.casualties import Casualties
from tidegate.drivers.live import identity
from tidegate.drivers.past import JournalPast, forked, state_at, warm, with_markets
from tidegate.drivers.replay import Replay
from tidegate.drivers.verdict import Meter
from tidegate.engine.state import State
from tidegate.lab.farm_code import code_digest
from tidegate.lab.sealed import unsealed, write_sealed
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack


FATES_MAX: Final = 200  # accounts named in an answer
FORWARD: Final = 0.1  # share of the progress that leads to where the window begins

Tell = Callable[[float], None]


class Readable(Protocol):
    """What a rerun asks of a journal."""

    def read(self, after: int = -1) -> Iterator[Record]:
        """Yield records in order; see `ports.Journal.read`."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


def read_journal(address: str) -> Readable:
    """Open a journal beside its writer: a file, or a database by its address."""
    return open_journal(address, readonly=True)


@dataclass(frozen=True)
class Trial:
    """All that another process needs; it pickles."""

    journal: str
    opened: Callable[[str], Readable]  # at the top of a module
    stack: Stack
    changes: tuple[tuple[str, int], ...]
    begins: int  # Nanos: records from here on are rerun
    head: int  # the last record
    step_ns: int
    folder: Path | None  # where finished passes are kept


class _Pass(msgspec.Struct, frozen=True):
    """What came of one rerun; rows of accounts that anything was done to."""

    verdict: dict[str, Any]
    first: int
    last: int
    begins: int
    ends: int
    told: int
    dropped: dict[str, int]
    changed: list[str]
    overridden: list[str]
    without: list[str]
    names: list[str]
    row: list[int]
    hit: list[bool]
    forced: list[int]
    deficit: list[int]
    lost: list[int]


def rerun(trial: Trial, tell: Tell) -> PastTrial:
    """Return what the window would have been, both ways; ``tell`` hears the progress, 0 to 1.

    A pass that was finished before is not made again: a trial that was interrupted goes on, and
    trials of one window share the pass without a change.
    """
    opening: list[State] = []

    def begin() -> State:
        if not opening:
            with closing(trial.opened(trial.journal)) as journal:
                head = max(1, trial.head)
                state = state_at(
                    _until(journal.read(), trial.head),
                    trial.stack,
                    trial.begins,
                    lambda seq: tell(FORWARD * seq / head) if seq % 1_024 == 0 else None,
                )
            opening.append(state)
        return opening[0]

    passes: list[_Pass] = []
    for n, changes in enumerate(((), trial.changes)):
        low = FORWARD + (1 - FORWARD) * n / 2

        def part(share: float, low: float = low) -> None:
            tell(low + (1 - FORWARD) / 2 * share)

        passes.append(_kept(trial, changes, begin, part))
    return _compared(trial, *passes)


def _until(records: Iterator[Record], head: int) -> Iterator[Record]:
    return takewhile(lambda record: record.seq <= head, records)


def _kept(
    trial: Trial, changes: tuple[tuple[str, int], ...], begin: Callable[[], State], tell: Tell
) -> _Pass:
    """Return the pass from the folder, or make it and keep it there."""
    if trial.folder is None:
        return _made(trial, changes, begin(), tell)
    said = (
        identity(trial.stack),
        trial.stack.digest,
        trial.journal,
        str((trial.begins, trial.head, trial.step_ns, changes)),
        code_digest(),
    )
    digest = hashlib.blake2b("\n".join(said).encode(), digest_size=16).hexdigest()
    file = trial.folder / f"{digest}.pass"
    content = unsealed(file.read_bytes()) if file.exists() else None
    if content is not None:
        return msgspec.msgpack.decode(content, type=_Pass)
    found = _made(trial, changes, begin(), tell)
    write_sealed(file, msgspec.msgpack.encode(found))
    return found


def _made(trial: Trial, changes: tuple[tuple[str, int], ...], opening: State, tell: Tell) -> _Pass:
    """Turn the crank over the window once."""
    stack, first = trial.stack, opening.seq
    state = forked(opening, stack, changes)
    venue = with_markets(stack.venue, state, trial.step_ns)
    with closing(trial.opened(trial.journal)) as journal:
        past = JournalPast(
            venue=venue,
            records=lambda: _until(journal.read(after=first - 1), trial.head),
            held=frozenset(name for name, _ in changes),
        )
        meter = Meter(stack)
        run = Replay(
            recording=past,
            stack=stack,
            observers=[meter.observe],
            opening=state,
        )
        if first:
            meter.resume(state)
            warm(run.market, state, stack)
        many = max(1, trial.head - first + 1)
        run.run(lambda _: tell(min(1.0, (past.last - first + 1) / many)))
    hit = _touched(meter.casualties)
    named = {m.symbol for m in venue.markets}
    return _Pass(
        verdict=meter.verdict(run.state).to_json(),
        first=first,
        last=past.last,
        begins=opening.now,
        ends=past.ends,
        told=past.told,
        dropped=dict(sorted(past.dropped.items())),
        changed=list(past.changed),
        overridden=list(past.overridden),
        without=[i.symbol for i in stack.venue.instruments if i.symbol not in named],
        names=run.state.names,
        row=hit.tolist(),
        hit=(meter.casualties.first[hit] > 0).tolist(),
        forced=meter.casualties.forced[hit].tolist(),
        deficit=meter.casualties.deficit[hit].tolist(),
        lost=meter.casualties.lost[hit].tolist(),
    )


def _touched(c: Casualties) -> "np.ndarray[Any, np.dtype[np.int64]]":
    some = (c.first > 0) | (c.forced != 0) | (c.deficit != 0) | (c.lost != 0)
    some[:FIRST_USER] = False
    return np.flatnonzero(some).astype(np.int64)


def _compared(trial: Trial, before: _Pass, after: _Pass) -> PastTrial:
    fates = _fates(before, after)
    return PastTrial(
        first=before.first,
        last=before.last,
        begins=max(before.begins, trial.begins),
        ends=before.ends,
        step_s=trial.step_ns / SECOND,
        events=before.told,
        dropped=before.dropped,
        changed_within=before.changed,
        overridden=after.overridden,
        without_market=before.without,
        regenerated=before.verdict["regenerated_share"],
        regenerated_after=after.verdict["regenerated_share"],
        verdict=before.verdict,
        verdict_after=after.verdict,
        differ=len(fates),
        accounts=fates[:FATES_MAX],
    )


def _fates(before: _Pass, after: _Pass) -> list[Fate]:
    """Return the accounts that fared otherwise, the largest difference first."""
    tables = [
        {
            row: (hit, forced, deficit, lost)
            for row, hit, forced, deficit, lost in zip(
                p.row, p.hit, p.forced, p.deficit, p.lost, strict=True
            )
        }
        for p in (before, after)
    ]
    nothing = (False, 0, 0, 0)
    found: list[tuple[int, int]] = []
    for row in sorted({*before.row, *after.row}):
        was, will = (table.get(row, nothing) for table in tables)
        if was != will:
            found.append((-sum(abs(a - b) for a, b in zip(was[1:], will[1:], strict=True)), row))
    fates: list[Fate] = []
    for _, row in sorted(found):
        was, will = (table.get(row, nothing) for table in tables)
        fates.append(
            Fate(
                account=before.names[row - FIRST_USER],
                liquidated=was[0],
                liquidated_after=will[0],
                forced=was[1] / PPM,
                forced_after=will[1] / PPM,
                deficit=was[2] / PPM,
                deficit_after=will[2] / PPM,
                lost=was[3] / PPM,
                lost_after=will[3] / PPM,
            )
        )
    return fates
