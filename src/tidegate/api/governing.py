"""What governors, operators and whoever reconciles may ask of the service, and its answers."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from tidegate.api.answers import Answer
from tidegate.api.asks import Decimal, Name, Positive, Whole


Body: TypeAlias = Annotated[str, Meta(min_length=2, max_length=65_536)]
Signature: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9a-f]{128})?$")]
Index: TypeAlias = Annotated[int, Meta(ge=0, le=2**31)]


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that was signed: ``body`` is the very text over which the signature was made."""

    signer: Name
    body: Body
    signature: Signature = ""


class Moved(Answer, frozen=True, kw_only=True):
    """One parameter from what it was to what it should be."""

    name: str
    before: int
    value: int


class ProposalNow(Answer, frozen=True, kw_only=True):
    """One proposal; ``digest`` and ``shadow`` are what an approval must name."""

    proposal: str
    state: str  # as of now: "waiting" while the time lock runs
    changes: list[Moved]
    reason: str
    proposer: str
    digest: str
    seq: int
    ts: int
    expires: int
    shadow: str
    shadow_words: str
    needed: int
    approvals: dict[str, int]  # who, when
    objections: dict[str, int]
    unlocks_at: int  # -1: not approved yet
    effective_at: int  # asked for; 0: as soon as the stack's notice allows
    activated_at: int
    activated_by: str
    codes: list[str]  # why it was refused
    undoes: str
    undone_by: str
    body: str


class GovernanceNow(Answer, frozen=True, kw_only=True):
    """Who governs, and every proposal so far; ``venue`` and ``stack`` belong into each body."""

    venue: str
    stack: str
    head: int
    rules: str  # digest; "" where nobody governs
    threshold: int
    lock_seconds: int
    governors: dict[str, str]  # public keys
    proposals: list[ProposalNow]


class OverrideNow(Answer, frozen=True, kw_only=True):
    """One override; ``digest`` is what its confirmation must name."""

    override: str
    state: str
    by: str
    ts: int
    seq: int
    confirmed_by: str
    confirmed_at: int
    until: int  # when it lapses or expires without a second person
    pauses: list[str]
    resumes: list[str]
    held: list[str]
    mode: str
    reason: str
    codes: list[str]
    digest: str
    body: str


class OverridesNow(Answer, frozen=True, kw_only=True):
    """The mode in force, and every override so far."""

    venue: str
    stack: str
    head: int
    mode: str
    overrides: list[OverrideNow]


class Reconcile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The venue's own book, as columns: what it holds for each account.

    ``holder`` and ``market`` are places in ``accounts`` and ``markets``. ``complete``: what is not
    named is held to be nothing; else only what is named is compared, and a large book may be sent
    in parts.
    """

    seq: Annotated[int, Meta(ge=-1, le=2**62)]  # our record up to which the venue's book goes
    accounts: Annotated[list[Name], Meta(max_length=4_000_000)]
    cash: list[Decimal]
    markets: list[Name] = []
    holder: list[Index] = []
    market: list[Index] = []
    quantity: list[Decimal] = []
    tolerance: Positive = "0"  # a difference of cash up to this is none
    complete: bool = True


class Difference(Answer, frozen=True, kw_only=True):
    """One account in one instrument (or ``cash``): our book against the venue's."""

    account: str
    instrument: str
    ours: str
    theirs: str
    worth: float  # of the difference at our mark, in the numeraire
    again: bool  # it was found last time, too, and was just the same


class Drift(Answer, frozen=True, kw_only=True):
    """How far our book is from the venue's; the largest differences first."""

    seq: int  # of our book
    behind: int  # records between the venue's book and ours
    ts: int
    accounts: int  # compared
    differences: int
    again: int  # of them, found twice in a row
    worth: float  # of all, added up without sign, in the numeraire
    strangers: list[str]  # accounts that we do not know, at most 100 of them
    strangers_total: int
    largest: list[Difference]  # at most 1,000
    alarm: bool


class Correction(Answer, frozen=True, kw_only=True):
    """An event that would remove a difference: for somebody to review and to send as a feed."""

    account: str
    instrument: str
    change: Whole
    event: dict[str, str | bool]


class Corrections(Answer, frozen=True, kw_only=True):
    """What would make our book the venue's; nothing of it has been done."""

    seq: int
    corrections: list[Correction]
