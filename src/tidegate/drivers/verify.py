"""Turn a journal's crank again and hold every effect against the one that was journalled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.domain.effects import Decision
from tidegate.domain.errors import ReplayDiverged
from tidegate.domain.units import unpack
from tidegate.engine.state import State
from tidegate.engine.step import apply, decide
from tidegate.ports import Journal, Record
from tidegate.safeguards.stack import Stack


SHOWN_MAX: Final = 6  # cells of a column that an error prints, from the first that differs on


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where a replay ended."""

    events: int
    digest: str


def verify(journal: Journal, stack: Stack) -> Replayed:
    """Decide every event of ``journal`` anew and return where that ends.

    Raise ReplayDiverged, naming the record and both sides, at the first effect that differs.
    Snapshots are not looked at. It costs what the run cost, without waiting for anybody.
    """
    state = State.genesis(stack)
    for record in journal.read():
        compare(record, decide(state, record.event, stack))
        apply(state, record.event, record.effects)
    return Replayed(events=state.seq, digest=state.digest())


def compare(record: Record, decided: Sequence[Decision]) -> None:
    """Raise ReplayDiverged when ``decided`` are not the effects of ``record``, in their order."""
    journalled = record.effects
    if tuple(decided) == journalled:
        return
    count = max(len(decided), len(journalled))
    both = [
        (n, _at(journalled, n), _at(decided, n))
        for n in range(count)
        if _at(journalled, n) != _at(decided, n)
    ]
    n, was, found = both[0]
    was_text, found_text = _told(was, found), _told(found, was)
    msg = (
        f"record {record.seq} ({type(record.event).__name__} at {record.event.ts}): "
        f"effect {n + 1} of {count} differs\n"
        f"  journal: {was_text}\n"
        f"  replay:  {found_text}\n"
        "hint: the same version, stack and venue that wrote the journal give the same effects"
    )
    raise ReplayDiverged(msg)


def _at(effects: Sequence[Decision], n: int) -> Decision | None:
    return effects[n] if n < len(effects) else None


def _told(effect: Decision | None, other: Decision | None) -> str:
    """Return ``effect`` in words: all of it, or only the fields in which ``other`` differs."""
    if effect is None:
        return "nothing"
    name, alike = type(effect).__name__, type(effect) is type(other)
    parts: list[str] = []
    for field in effect.__struct_fields__:
        value = getattr(effect, field)
        against = getattr(other, field) if alike else None
        if not alike or value != against:
            parts.append(f"{field} {_shown(value, against)}")
    return f"{name} with {', '.join(parts)}" if parts else name


def _shown(value: Any, against: Any) -> str:  # noqa: ANN401 - any field of any effect
    if not isinstance(value, bytes) or len(value) % 8:
        return repr(value)
    cells: list[int] = unpack(value).tolist()
    other: list[int] = unpack(against).tolist() if isinstance(against, bytes) else []
    same = (k for k, (a, b) in enumerate(zip(cells, other, strict=False)) if a != b)
    first = next(same, min(len(cells), len(other)))
    shown = cells[first : first + SHOWN_MAX]
    more = ", ..." if first + SHOWN_MAX < len(cells) else ""
    where = f" from cell {first} on" if first else ""
    return f"{len(cells)} cells,{where} [{', '.join(map(str, shown))}{more}]"
