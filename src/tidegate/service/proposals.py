"""One proposal on its way from the first signature to the engine, and back again."""

from dataclasses import dataclass, field
from typing import Final

from tidegate.service.acts import Propose


# States of a proposal. A lock that runs and one that is over are told apart by the time alone.
PROPOSED: Final = "proposed"  # somebody has signed it
SHADOWED: Final = "shadowed"  # a shadow run is attached; it can be approved
APPROVED: Final = "approved"  # enough have signed; until `unlocks_at` it is waiting
ACTIVATED: Final = "activated"  # the changes are the engine's
ROLLED_BACK: Final = "rolled_back"  # a later one took them back
EXPIRED: Final = "expired"
WITHDRAWN: Final = "withdrawn"
REFUSED: Final = "refused"  # the engine would not take them; `codes` says why

OPEN: Final = (PROPOSED, SHADOWED, APPROVED)
WAITING: Final = "waiting"  # what an approved one is called while its lock runs


@dataclass(slots=True)
class Proposal:
    """What the journal says about one proposal."""

    body: Propose
    digest: str  # of the body's bytes
    raw: bytes
    proposer: str
    seq: int
    ts: int
    rules: str  # digest of the rules it was made under
    needed: int
    lock_ns: int
    state: str = PROPOSED
    shadow: str = ""  # digest of the shadow run
    shadow_words: str = ""
    approvals: dict[str, int] = field(default_factory=dict[str, int])  # who, when
    objections: dict[str, int] = field(default_factory=dict[str, int])
    unlocks_at: int = -1
    closed_at: int = -1
    activated_at: int = -1
    activated_by: str = ""
    taken: list[str] = field(default_factory=list[str])  # names that the engine took
    codes: list[str] = field(default_factory=list[str])
    undone_by: str = ""

    @property
    def id(self) -> str:
        """The name its proposer gave it; never used twice."""
        return self.body.proposal

    def stage(self, now: int) -> str:
        """Return the state at ``now``, what time alone does to it included."""
        if self.state in OPEN and now > self.body.expires:
            return EXPIRED
        if self.state == APPROVED and now < self.unlocks_at:
            return WAITING
        return self.state

    def close(self, state: str, ts: int, *codes: str) -> None:
        """Let nothing more happen to it."""
        self.state, self.closed_at = state, ts
        self.codes += codes
