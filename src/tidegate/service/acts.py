"""What is signed and kept in the journal: a shape of body for each act, with one spelling."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from tidegate.domain.events import Attested
from tidegate.service.rules import Change, Rules
from tidegate.service.signing import canonical


Id: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
Digest: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Time: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Seq: TypeAlias = Annotated[int, Meta(ge=-1, le=2**62)]
Named: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
Words: TypeAlias = Annotated[str, Meta(max_length=2_000)]


def _tag(name: str) -> str:
    return name.lower()


class Act(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag=_tag,
    tag_field="action",
    forbid_unknown_fields=True,
):
    """Base of every body. ``stack`` is whose journal it belongs to, see `drivers.live.identity`."""

    version: Literal[1] = 1
    venue: str
    stack: str


class Signed(Act, frozen=True, kw_only=True):
    """What a person signs: it was written knowing the journal up to ``after``."""

    after: Seq
    expires: Time  # not to be taken later than this


class Propose(Signed, frozen=True, kw_only=True):
    """These parameters should change; ``undoes`` names the proposal whose values are taken back.

    The proposal must be activated before ``expires``. ``effective_at`` may ask for a later time
    than the notice that the stack gives.
    """

    proposal: Id
    changes: Annotated[tuple[Change, ...], Meta(min_length=1, max_length=64)]
    effective_at: Time = 0
    undoes: Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9-]{0,47})?$")] = ""
    reason: Words = ""


class Approve(Signed, frozen=True, kw_only=True):
    """I have read the proposal with this digest, and the shadow run with that one: do it."""

    proposal: Id
    digest: Digest
    shadow: Digest


class Withdraw(Signed, frozen=True, kw_only=True):
    """The proposal with this digest should not be activated."""

    proposal: Id
    digest: Digest


class Activate(Signed, frozen=True, kw_only=True):
    """The lock is over: let the changes begin. A governor says so, or the service's timer."""

    proposal: Id
    digest: Digest


class Shadow(Act, frozen=True, kw_only=True):
    """The service has run the proposal beside the live book; what it found has this digest."""

    proposal: Id
    digest: Digest
    found: Digest
    words: Words = ""


class Refuse(Act, frozen=True, kw_only=True):
    """The service tried the changes on a copy, and the engine would not take them."""

    proposal: Id
    digest: Digest
    codes: tuple[str, ...]


class Govern(Act, frozen=True, kw_only=True):
    """From here on these rules are in force: the file of governors that the service runs with."""

    rules: Rules


class Override(Signed, frozen=True, kw_only=True):
    """An operator asks to pause and to resume actions, or for another mode.

    ``alone``: to act at once, for a while; only what stops can be asked for like that. ``reduces``
    must be set to pause what lets people reduce their risk.
    """

    override: Id
    by: Named
    pauses: Annotated[tuple[Named, ...], Meta(max_length=1_024)] = ()
    resumes: Annotated[tuple[Named, ...], Meta(max_length=1_024)] = ()
    mode: Literal["", "armed", "advising", "halted"] = ""
    alone: bool = False
    reduces: bool = False
    reason: Words = ""


class Confirm(Signed, frozen=True, kw_only=True):
    """Another operator agrees with the request that has this digest."""

    override: Id
    by: Named
    digest: Digest


class Lapse(Act, frozen=True, kw_only=True):
    """Nobody confirmed a stop by one person in time: the service takes it back."""

    override: Id


AnyAct: TypeAlias = (
    Propose | Approve | Withdraw | Activate | Shadow | Refuse | Govern | Override | Confirm | Lapse
)
KINDS: Final[frozenset[str]] = frozenset(
    {
        "propose",
        "approve",
        "withdraw",
        "activate",
        "shadow",
        "refuse",
        "govern",
        "override",
        "confirm",
        "lapse",
    }
)
OF_GOVERNORS: Final = (Propose, Approve, Withdraw, Activate)
OF_OPERATORS: Final = (Override, Confirm)

_DECODER: Final[msgspec.json.Decoder[AnyAct]] = msgspec.json.Decoder(AnyAct)


def kind_of(act: Act) -> str:
    """Return the kind under which an act is journalled: its tag."""
    tag = act.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def read_act(kind: str, body: bytes) -> tuple[AnyAct | None, str]:
    """Return the act that ``body`` spells and "", or None and the code of what is wrong with it.

    Each act has one spelling: a body that reads the same and is written otherwise is another
    body, and is refused.
    """
    try:
        act = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None, "body_unreadable"
    if kind_of(act) != kind:
        return None, "kind_is_another"
    if canonical(act) != body:
        return None, "body_not_canonical"
    return act, ""


def attested(act: Act, signer: str, signature: bytes = b"", ts: int = 0) -> Attested:
    """Return the event that keeps ``act``; whoever takes it in sets the time."""
    fields: dict[str, Any] = {"ts": ts, "kind": kind_of(act), "signer": signer}
    return Attested(**fields, body=canonical(act), signature=signature)
