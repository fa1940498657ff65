"""An auditor: reads a journal and says whether every change of a parameter was signed for.

It trusts nobody who ran the service. All it needs beside the journal is the stack, the venue, and
the file of governors that ought to have been in force.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tidegate.domain.effects import ParameterMoved
from tidegate.domain.events import Attested, ParameterChanged, ParameterProposed
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack, copied, parameter_cell
from tidegate.service.acts import KINDS, read_act
from tidegate.service.governance import Governance, Heard
from tidegate.service.overrides import Overrides
from tidegate.service.proposals import Proposal
from tidegate.service.rules import Rules


# What was refused at the door can enter by a race; what is forged cannot.
FORGED: Final = frozenset(
    {
        "body_unreadable",
        "body_not_canonical",
        "kind_is_another",
        "signer_unknown",
        "signer_is_another",
        "signature_invalid",
        "signature_not_expected",
        "wrong_venue",
        "wrong_stack",
        "not_approved",
        "lock_runs",
        "not_yet",
        "nobody_governs",
    }
)


class Finding(NamedTuple):
    """Something in the journal that nobody can stand for."""

    seq: int
    code: str
    what: str


@dataclass(slots=True)
class Audited:
    """What an auditor saw."""

    governance: Governance
    overrides: Overrides
    records: int = 0
    signatures: int = 0  # verified
    unsigned: int = 0  # statements of operators whom the service alone has authenticated
    changes: int = 0  # parameter events that somebody stands for
    rules: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    ignored: list[Heard] = field(default_factory=list[Heard])
    findings: list[Finding] = field(default_factory=list[Finding])


def audit(records: Iterable[Record], stack: Stack, accepted: Sequence[Rules] = ()) -> Audited:
    """Read a journal from its first record, and verify whatever was ever signed in it.

    Parameters
    ----------
    records
        All of the journal; its hash chain is verified by who reads it.
    stack
        What the journal was made under.
    accepted
        The rules that may have been in force. None: the first ones that the journal names are
        taken at its word, and any others are findings.
    """
    seen = Audited(Governance.of(stack), Overrides.of(stack))
    known = {rules.digest for rules in accepted}
    values = _Values(stack)
    for record in records:
        seen.records += 1
        event = record.event
        heard = [*seen.governance.hear([record]), *seen.overrides.hear([record])]
        if isinstance(event, Attested) and event.kind in KINDS:
            _statement(seen, event, record.seq, heard, known, pinned=bool(accepted))
        elif isinstance(event, Attested):
            seen.findings.append(Finding(record.seq, "kind_unknown", event.kind))
        for h in heard:
            if h.kind == "activate" and not h.code:
                seen.findings += values.moved(record.seq, seen.governance.proposals[h.about])
        if isinstance(event, ParameterChanged | ParameterProposed):
            if record.seq in {seen.governance.followed, seen.overrides.followed}:
                seen.changes += 1
            else:
                said = f"{event.name} = {event.value}"
                seen.findings.append(Finding(record.seq, "parameter_without_approval", said))
        values.hear(record)
    return seen


def _statement(
    seen: Audited, event: Attested, seq: int, heard: list[Heard], known: set[str], *, pinned: bool
) -> None:
    """Note one statement: whether its signature holds, and whether it counted."""
    for h in heard:
        if h.code in FORGED:
            said = f"{h.kind} by {h.signer}" + f" about {h.about}" * bool(h.about)
            seen.findings.append(Finding(seq, h.code, said))
        elif h.code:
            seen.ignored.append(h)
        elif event.signature:
            seen.signatures += 1
        elif h.kind in {"override", "confirm"}:
            seen.unsigned += 1
    if event.kind != "govern":
        return
    act, _ = read_act(event.kind, event.body)
    digest = str(getattr(getattr(act, "rules", None), "digest", ""))
    if not pinned and not seen.rules:
        known.add(digest)
    seen.rules.append((seq, digest))
    if digest not in known:
        seen.findings.append(Finding(seq, "rules_are_others", f"rules {digest[:16]}"))


class _Values:
    """What every parameter is, from the stack and from what the engine has moved since."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._facts = copied(stack.facts)
        self._pause: dict[int, int] = {}

    def hear(self, record: Record) -> None:
        for effect in record.effects:
            if not isinstance(effect, ParameterMoved):
                continue
            if effect.column == "pause":
                self._pause[effect.row] = effect.value
            else:
                getattr(self._facts, effect.column)[effect.row] = effect.value

    def moved(self, seq: int, proposal: Proposal) -> list[Finding]:
        """Return the changes of an activation that did not start from what they had said."""
        found: list[Finding] = []
        for change in proposal.body.changes:
            now = self._of(change.name)
            if now != change.before:
                said = f"{proposal.id}: {change.name} was {now}, not {change.before}"
                found.append(Finding(seq, "values_have_moved", said))
        return found

    def _of(self, name: str) -> int | None:
        cell = parameter_cell(self._facts, self._stack.venue, name)
        if cell is None:
            return None
        column, row = cell
        return (
            self._pause.get(row, 0) if column == "pause" else int(getattr(self._facts, column)[row])
        )
