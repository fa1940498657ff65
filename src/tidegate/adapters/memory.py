"""A journal that forgets when the process ends: for tests, and for runs nobody must recover."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate.adapters.codec import follow
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import ENDOGENOUS
from tidegate.ports import Receipt, Record, Snapshot


class MemoryJournal:
    """A `Journal` in a list. Records are immutable, so they are kept as they come."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._snapshots: dict[int, Snapshot] = {}
        self._receipts: dict[tuple[str, str], Receipt] = {}
        self._places: dict[str, str] = {}
        self._taken = 0
        self._identity = ""

    def claim(self, identity: str) -> None:
        """Belong to ``identity``; ConfigInvalid when the journal belongs to another one."""
        same_owner("the journal in memory", self._identity or identity, identity)
        self._identity = identity

    def append(self, records: Sequence[Record], receipts: Sequence[Receipt] = ()) -> None:
        """Keep the records; see `Journal.append`."""
        follow(records, self.head)
        self._records += records
        self._receipts |= {(r.source, r.key): r for r in receipts}
        self._places |= {r.source: r.key for r in receipts}
        self._taken += sum(not isinstance(record.event, ENDOGENOUS) for record in records)

    def receipt(self, source: str, key: str) -> Receipt | None:
        """Return what was taken under this key; see `Journal.receipt`."""
        return self._receipts.get((source, key))

    def place(self, source: str) -> str | None:
        """Return where a stream goes on; see `Journal.place`."""
        return self._places.get(source)

    def read(self, after: int = -1, link: bytes = b"") -> Iterator[Record]:
        """Yield the records kept so far; see `Journal.read`. There is no chain to verify."""
        del link
        yield from self._records[after + 1 :]

    @property
    def head(self) -> int:
        """The last ``seq``; see `Journal.head`."""
        return len(self._records) - 1

    @property
    def link(self) -> bytes:
        """Nothing: a list needs no chain."""
        return b""

    @property
    def epoch(self) -> int:
        """One: nobody else can write to this memory."""
        return 1

    def refresh(self) -> int:
        """Return the head: whoever reads here sees what is written at once."""
        return self.head

    @property
    def taken(self) -> int:
        """How many of the records came from the feed and not from the venue."""
        return self._taken

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot and forget all older ones."""
        self._snapshots = {snapshot.seq: snapshot}

    def latest(self) -> Snapshot | None:
        """Return the newest snapshot within reach; see `Journal.latest`."""
        within = [seq for seq in self._snapshots if seq <= self.head]
        return self._snapshots[max(within)] if within else None

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def same_owner(journal: Path | str, owner: str, identity: str) -> None:
    """Refuse to go on under another stack: its past would mean something else."""
    if owner != identity:
        raise ConfigInvalid(
            where=str(journal),
            what=f"it was written under the stack and venue {owner}",
            found=identity,
            hint="start with the files it was written under; another stack needs a new journal",
        )
