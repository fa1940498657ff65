"""Governed parameters: a fold over the journal that knows every proposal and what it still lacks.

Whatever enters is judged twice by the same code: before it is offered to the engine, and when its
record is heard. Only the second counts, so that a race, a crash or a forged record changes nothing:
what does not hold is kept in the journal, and ignored with a code.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from tidegate.domain.effects import Rejected
from tidegate.domain.events import Attested, ParameterProposed
from tidegate.domain.units import Nanos
from tidegate.drivers.live import identity
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.acts import (
    KINDS,
    OF_GOVERNORS,
    OF_OPERATORS,
    Activate,
    AnyAct,
    Approve,
    Govern,
    Propose,
    Refuse,
    Shadow,
    Signed,
    Withdraw,
    read_act,
)
from tidegate.service.proposals import (
    ACTIVATED,
    APPROVED,
    EXPIRED,
    OPEN,
    REFUSED,
    ROLLED_BACK,
    SHADOWED,
    WITHDRAWN,
    Proposal,
)
from tidegate.service.rules import SERVICE, Change, Rules
from tidegate.service.signing import digest_of, verified


class Heard(NamedTuple):
    """What became of one record: "" where it counts, or why it does not."""

    seq: int
    kind: str
    signer: str
    about: str  # proposal or override
    code: str


class Governance:
    """All proposals of one journal.

    Parameters
    ----------
    venue, stack
        Whose bodies are taken; see `of`.
    notice_ns
        What the stack's own governance asks for between an announcement and its effect.
    """

    def __init__(self, venue: str, stack: str, notice_ns: int = 0) -> None:
        self.venue, self.stack, self.notice_ns = venue, stack, notice_ns
        self.rules: Rules | None = None
        self.proposals: dict[str, Proposal] = {}
        self.head = -1
        self.followed = -1  # the last parameter event that an activation had announced
        self.kept: list[
            Record
        ] = []  # all that this was made of, for whoever starts without the rest
        self._awaited: tuple[Proposal, list[ParameterProposed]] | None = None

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Return the governance of the journals that belong to ``stack``."""
        return cls(stack.venue.name, identity(stack), stack.declaration.governance.notice_ns)

    # ------------------------------------------------------------------------ hearing

    def hear(self, records: Iterable[Record]) -> list[Heard]:
        """Take records in order; return what became of those that concern governors.

        A record that was heard before is skipped, so that what was kept elsewhere and the journal
        may overlap.
        """
        found: list[Heard] = []
        for record in records:
            if record.seq > self.head:
                heard = self._one(record)
                if heard is not None:
                    found.append(heard)
        return found

    def _one(self, record: Record) -> Heard | None:
        event = record.event
        self.head = record.seq - 1  # of what was kept elsewhere, the records between are missing
        mine = isinstance(event, ParameterProposed) and self._follows(event, record)
        if mine:
            self.followed = record.seq
        else:
            self._cut_short(event.ts)
        heard = None
        if isinstance(event, Attested) and event.kind in KINDS:
            heard = self._attested(event, record)
        if mine or heard is not None:
            self.kept.append(record)
        self.head = record.seq
        return heard

    def _attested(self, event: Attested, record: Record) -> Heard | None:
        act, code = read_act(event.kind, event.body)
        if isinstance(act, OF_OPERATORS) or event.kind == "lapse":
            return None
        about = str(getattr(act, "proposal", ""))
        refused = next((e.code for e in record.effects if isinstance(e, Rejected)), "")
        code = code or refused or self.judge(event)
        if not code:
            assert act is not None, "judged as good"
            self._apply(act, event, record.seq)
        return Heard(record.seq, event.kind, event.signer, about, code)

    def _follows(self, event: ParameterProposed, record: Record) -> bool:
        """Take an event that an activation has announced; False when it is not the next of them."""
        if self._awaited is None:
            return False
        proposal, coming = self._awaited
        expected = coming[0]
        effective = max(expected.effective_at, event.ts + self.notice_of(expected.name))
        wanted = (expected.name, expected.value, effective)
        if (event.name, event.value, event.effective_at) != wanted:
            return False
        codes = [e.code for e in record.effects if isinstance(e, Rejected)]
        proposal.codes += codes
        proposal.taken += [] if codes else [event.name]
        del coming[0]
        if not coming:
            self._awaited = None
            self._done(proposal, event.ts)
        return True

    def _cut_short(self, ts: int) -> None:
        """Close an activation whose events did not all follow it."""
        if self._awaited is not None:
            proposal, _ = self._awaited
            self._awaited = None
            proposal.codes.append("activation_cut_short")
            self._done(proposal, ts)

    def _done(self, proposal: Proposal, ts: int) -> None:
        proposal.close(REFUSED if proposal.codes else ACTIVATED, ts)
        undone = self.proposals.get(proposal.body.undoes)
        if proposal.state == ACTIVATED and undone is not None:
            undone.state, undone.undone_by = ROLLED_BACK, proposal.id

    def notice_of(self, name: str) -> int:
        """Return the notice that the stack asks for: none for pauses, which are brakes."""
        return 0 if name.startswith("pause.") else self.notice_ns

    # ------------------------------------------------------------------------ judging

    def judge(self, event: Attested) -> str:
        """Return why ``event`` does not count if it is the next record, or ""."""
        act, code = read_act(event.kind, event.body)
        if act is None:
            return code
        if (act.venue, act.stack) != (self.venue, self.stack):
            return "wrong_venue" if act.venue != self.venue else "wrong_stack"
        if isinstance(act, OF_OPERATORS) or event.kind == "lapse":
            return "kind_is_another"
        if isinstance(act, Govern):
            return "" if event.signer == SERVICE else "signer_unknown"
        if self.rules is None:
            return "nobody_governs"
        code = self._signature(act, event)
        if code:
            return code
        return self._new(act) if isinstance(act, Propose) else self._known(act, event)

    def _signature(self, act: AnyAct, event: Attested) -> str:
        """Return what is wrong with signer and signature, with age and place of a signed body."""
        assert self.rules is not None
        timer = isinstance(act, Activate) and event.signer == SERVICE
        if timer or not isinstance(act, OF_GOVERNORS):
            return "" if event.signer == SERVICE and not event.signature else "signer_unknown"
        key = self.rules.governor(event.signer)
        if key is None:
            return "signer_unknown"
        if not verified(key, event.body, event.signature):
            return "signature_invalid"
        return stale(act, event.ts, self.head)

    def _new(self, act: Propose) -> str:
        if act.proposal in self.proposals:
            return "proposal_exists"
        names = [c.name for c in act.changes]
        if len(set(names)) < len(names):
            return "changed_twice"
        if any(c.before == c.value for c in act.changes):
            return "changes_nothing"
        if not act.undoes:
            return ""
        undone = self.proposals.get(act.undoes)
        if undone is None or undone.state != ACTIVATED:
            return "nothing_to_roll_back"
        return "" if set(act.changes) == set(inverse(undone.body.changes)) else "values_are_others"

    def _known(self, act: AnyAct, event: Attested) -> str:
        assert isinstance(act, Shadow | Refuse | Approve | Withdraw | Activate)
        proposal = self.proposals.get(act.proposal)
        if proposal is None:
            return "proposal_unknown"
        if proposal.digest != act.digest:
            return "digest_is_another"
        if proposal.stage(event.ts) == EXPIRED:
            return "expired"
        if proposal.state not in OPEN:
            return "proposal_is_closed"
        match act:
            case Shadow():
                return "approved_already" if proposal.approvals else ""
            case Approve():
                return self._approval(act, event, proposal)
            case Withdraw():
                return "signed_already" if event.signer in proposal.objections else ""
            case Activate() | Refuse():
                if proposal.state != APPROVED:
                    return "not_approved"
                return "lock_runs" if event.ts < proposal.unlocks_at else ""

    def _approval(self, act: Approve, event: Attested, proposal: Proposal) -> str:
        if not proposal.shadow:
            return "not_shadowed"
        if act.shadow != proposal.shadow:
            return "shadow_is_another"
        return "signed_already" if event.signer in proposal.approvals else ""

    # ------------------------------------------------------------------------ applying

    def _apply(self, act: AnyAct, event: Attested, seq: int) -> None:
        match act:
            case Govern():
                self._govern(act.rules, event.ts)
            case Propose():
                self._propose(act, event, seq)
            case Shadow():
                proposal = self.proposals[act.proposal]
                proposal.state, proposal.shadow = SHADOWED, act.found
                proposal.shadow_words = act.words
            case Approve():
                self._approve(self.proposals[act.proposal], event)
            case Withdraw():
                self._object(self.proposals[act.proposal], event)
            case Refuse():
                self.proposals[act.proposal].close(REFUSED, event.ts, *act.codes)
            case Activate():
                self._activate(self.proposals[act.proposal], event)
            case _:
                raise AssertionError(act)

    def _govern(self, rules: Rules, ts: int) -> None:
        """Take new rules; what was begun under others is not finished under these."""
        if self.rules is not None and rules.digest != self.rules.digest:
            for proposal in self.proposals.values():
                if proposal.state in OPEN:
                    proposal.close(EXPIRED, ts, "rules_changed")
        self.rules = rules

    def _propose(self, act: Propose, event: Attested, seq: int) -> None:
        assert self.rules is not None
        self.proposals[act.proposal] = Proposal(
            body=act,
            digest=digest_of(event.body),
            raw=event.body,
            proposer=event.signer,
            seq=seq,
            ts=event.ts,
            rules=self.rules.digest,
            needed=self.rules.needed(act.changes),
            lock_ns=self.rules.lock(act.changes),
        )

    def _approve(self, proposal: Proposal, event: Attested) -> None:
        proposal.approvals[event.signer] = event.ts
        if proposal.state == SHADOWED and len(proposal.approvals) >= proposal.needed:
            proposal.state, proposal.unlocks_at = APPROVED, event.ts + proposal.lock_ns

    def _object(self, proposal: Proposal, event: Attested) -> None:
        """Close it when its proposer says so, or as many as could have denied it a majority."""
        assert self.rules is not None
        proposal.objections[event.signer] = event.ts
        enough = len(self.rules.governors) - proposal.needed + 1
        if event.signer == proposal.proposer or len(proposal.objections) >= enough:
            proposal.close(WITHDRAWN, event.ts)

    def _activate(self, proposal: Proposal, event: Attested) -> None:
        proposal.activated_at, proposal.activated_by = event.ts, event.signer
        self._awaited = (proposal, events_of(proposal, Nanos(event.ts), self))

    # ------------------------------------------------------------------------ asking

    def due(self, now: int) -> list[Proposal]:
        """Return the proposals whose lock is over at ``now``, in the order they were made."""
        ready = [p for p in self.proposals.values() if p.stage(now) == APPROVED]
        return [p for p in ready if self._awaited is None or p is not self._awaited[0]]

    def undoing(self, proposal: Proposal) -> tuple[Change, ...]:
        """Return the changes that take ``proposal`` back."""
        return inverse(proposal.body.changes)


def stale(act: Signed, ts: int, head: int) -> str:
    """Return why a signed body comes too late or too early, or ""."""
    if ts > act.expires:
        return "expired"
    return "refers_to_the_future" if act.after > head else ""


def inverse(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes that take these back, last first: tiers must fit at every moment."""
    return tuple(Change(name=c.name, before=c.value, value=c.before) for c in reversed(changes))


def events_of(proposal: Proposal, ts: Nanos, of: Governance) -> list[ParameterProposed]:
    """Return what an activation at ``ts`` tells the engine, with the notice its stack asks for."""
    return [
        ParameterProposed(
            ts=ts,
            name=c.name,
            value=c.value,
            effective_at=Nanos(max(proposal.body.effective_at, ts + of.notice_of(c.name))),
        )
        for c in proposal.body.changes
    ]
