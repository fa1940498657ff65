"""What folds over the whole journal keep beside it, so that a start need not read all of it again.

The file is no authority: signatures in it are verified like those of the journal, and without it
everything is read from the first record.
"""

from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec

from tidegate.adapters.whole import replace_file
from tidegate.domain.effects import Decision
from tidegate.domain.errors import JournalCorrupt
from tidegate.domain.events import Input
from tidegate.drivers.live import LiveJournal
from tidegate.ports import Record
from tidegate.service.governance import Governance
from tidegate.service.overrides import Overrides


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The records that concern governors and operators, up to ``head``."""

    stack: str
    head: int
    records: list[tuple[int, Input, tuple[Decision, ...]]]
    link: bytes = b""  # of record ``head``: the chain is verified from there on


_NOTHING: Final = Kept(stack="", head=-1, records=[])
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Kept]] = msgspec.msgpack.Decoder(Kept)


def keep(path: Path, journal: LiveJournal, governance: Governance, overrides: Overrides) -> None:
    """Write what both have kept, whole or not at all; both have heard the same records."""
    both = {r.seq: r for r in (*governance.kept, *overrides.kept)}
    head = min(governance.head, overrides.head)
    kept = Kept(
        stack=governance.stack,
        head=head,
        records=[(seq, both[seq].event, both[seq].effects) for seq in sorted(both)],
        link=journal.link if journal.head == head else b"",
    )
    replace_file(path, _ENCODER.encode(kept))


def recall(path: Path, journal: LiveJournal, governance: Governance, overrides: Overrides) -> int:
    """Bring both up to the journal's head; return how many of its records had to be read.

    What both have heard of this journal already is not read again.
    """
    if governance.head == overrides.head == journal.head:
        return 0
    try:
        kept = _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        kept = _NOTHING
    if kept.stack != governance.stack or kept.head > journal.head:
        kept = _NOTHING
    tail = journal.read(kept.head, kept.link)
    try:
        first = list(islice(tail, 1))
    except JournalCorrupt:
        # It was kept beside another journal, or this one is damaged: read all to know.
        kept, tail, first = _NOTHING, journal.read(), []
    records = [Record(*r) for r in kept.records]
    governance.hear(records)
    overrides.hear(records)
    count = 0
    for record in chain(first, tail):
        governance.hear([record])
        overrides.hear([record])
        count += 1
    # Where nothing of theirs came last, they have heard it all the same.
    governance.head = overrides.head = journal.head
    return count
