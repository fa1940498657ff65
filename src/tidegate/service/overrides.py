"""The operators' brakes: who paused what, who has the engine halted, since when, and by how many.

A fold over the journal like `governance`: what two operators agree on stands until two lift it, and
what one of them stopped alone lapses. What stops may be quick; what starts again never is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from tidegate.domain.effects import ParameterSettled, Rejected
from tidegate.domain.events import Attested, ParameterChanged, ParameterProposed
from tidegate.domain.restraint import ACTIONS
from tidegate.domain.units import SECOND
from tidegate.domain.venue import Venue
from tidegate.drivers.live import identity
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.acts import (
    AnyAct,
    Confirm,
    Govern,
    Lapse,
    Override,
    read_act,
)
from tidegate.service.governance import Heard, stale
from tidegate.service.rules import SERVICE, Rules, Stopping
from tidegate.service.signing import digest_of, verified


REDUCING: Final = ("close", "deposit")  # what lets people reduce their risk
STOPPED: Final = tuple(a for a in ACTIONS if a not in REDUCING)  # by a stop that names no actions

REQUESTED: Final = "requested"  # waits for somebody else
ALONE: Final = "alone"  # acts, by one person, until `until`
STANDING: Final = "standing"  # acts, by two persons
LIFTED: Final = "lifted"  # nothing of it acts any more, or it only let things go on
LAPSED: Final = "lapsed"  # nobody confirmed it in time
EXPIRED: Final = "expired"

MODES: Final = ("armed", "advising", "halted")
KINDS: Final = ("override", "confirm", "lapse", "govern")


class Turn(NamedTuple):
    """The engine's mode for the orders of all records after ``seq``; said with every override."""

    seq: int
    mode: str


@dataclass(slots=True)
class Order:
    """What operators asked for, and what became of it."""

    body: Override
    digest: str
    raw: bytes
    by: str
    seq: int
    ts: int
    state: str
    until: int  # when it lapses or expires without a second person
    confirmed_by: str = ""
    confirmed_at: int = -1
    closed_at: int = -1
    wants: list[str] = field(default_factory=list[str])  # pauses that nobody has lifted since
    held: list[str] = field(default_factory=list[str])  # those of them that were off before it
    halts: bool = False
    codes: list[str] = field(default_factory=list[str])

    @property
    def acting(self) -> bool:
        """Whether what it asked for is in force."""
        return self.state in {ALONE, STANDING}

    def stage(self, now: int) -> str:
        """Return the state at ``now``."""
        return EXPIRED if self.state == REQUESTED and now > self.until else self.state


class Overrides:
    """All overrides of one journal. ``mode`` is the engine's while nobody has said otherwise."""

    def __init__(self, venue: str, stack: str, *, mode: str = "advising") -> None:
        assert mode in MODES
        self.venue, self.stack = venue, stack
        self.rules: Rules | None = None
        self.orders: dict[str, Order] = {}
        self.settled = mode  # what two persons (or the settings) have agreed on
        self.turns: list[Turn] = []
        self.head = -1
        self.followed = -1
        self.kept: list[Record] = []
        self.governed: set[str] = set()  # pauses that governors have decided on
        self._lapsed: dict[str, int] = {}  # who stopped alone and was not followed, when
        self._awaited: tuple[Order, list[tuple[str, int]]] | None = None

    @classmethod
    def of(cls, stack: Stack, *, mode: str = "advising") -> Self:
        """Return the overrides of the journals that belong to ``stack``."""
        return cls(stack.venue.name, identity(stack), mode=mode)

    @property
    def mode(self) -> str:
        """The mode in force: a halt beats everything."""
        return "halted" if any(o.halts and o.acting for o in self.orders.values()) else self.settled

    @property
    def waits(self) -> Stopping:
        """How long operators have for what."""
        return self.rules.overrides if self.rules is not None else Stopping()

    # ------------------------------------------------------------------------ hearing

    def hear(self, records: Iterable[Record]) -> list[Heard]:
        """Take records in order; return what became of those that concern operators."""
        found: list[Heard] = []
        for record in records:
            if record.seq > self.head:
                heard = self._one(record)
                if heard is not None:
                    found.append(heard)
                if heard is not None and not heard.code:
                    self.turns.append(Turn(record.seq, self.mode))
        return found

    def _one(self, record: Record) -> Heard | None:
        event = record.event
        self.head = record.seq - 1
        mine = isinstance(event, ParameterChanged) and self._follows(event, record)
        decided = isinstance(event, ParameterProposed) and self._decided(event, record)
        if mine:
            self.followed = record.seq
        else:
            self._awaited = None
        heard = None
        if isinstance(event, Attested) and event.kind in KINDS:
            heard = self._attested(event, record)
        if mine or decided or heard is not None:
            self.kept.append(record)
        self.head = record.seq
        return heard if heard is None or heard.kind != "govern" else None

    def _attested(self, event: Attested, record: Record) -> Heard:
        act, code = read_act(event.kind, event.body)
        refused = next((e.code for e in record.effects if isinstance(e, Rejected)), "")
        code = code or refused or self.judge(event)
        if not code:
            assert act is not None, "judged as good"
            self._apply(act, event, record.seq)
        about = str(getattr(act, "override", ""))
        return Heard(record.seq, event.kind, event.signer, about, code)

    def _decided(self, event: ParameterProposed, record: Record) -> bool:
        """Note what governors have decided about a pause: operators do not lift that."""
        if not is_pause(event.name) or any(isinstance(e, Rejected) for e in record.effects):
            return False
        (self.governed.add if event.value else self.governed.discard)(event.name)
        return True

    def _follows(self, event: ParameterChanged, record: Record) -> bool:
        """Take a pause that an override has announced: in its order, those already so left out.

        Before a pause is pulled, a change of it that governors have announced may be withdrawn.
        """
        if self._awaited is None:
            return False
        order, coming = self._awaited
        here = (event.name, event.value)
        if here not in coming:
            settled = all(isinstance(e, ParameterSettled) for e in record.effects)
            return settled and bool(record.effects) and (event.name, 1) in coming
        del coming[: coming.index(here) + 1]
        codes = [f"{e.code}: {event.name}" for e in record.effects if isinstance(e, Rejected)]
        order.codes += codes
        if not codes and event.value and event.name not in order.held:
            order.held.append(event.name)
        return True

    # ------------------------------------------------------------------------ judging

    def judge(self, event: Attested) -> str:
        """Return why ``event`` does not count if it is the next record, or ""."""
        act, code = read_act(event.kind, event.body)
        if act is None:
            return code
        if (act.venue, act.stack) != (self.venue, self.stack):
            return "wrong_venue" if act.venue != self.venue else "wrong_stack"
        match act:
            case Govern():
                return "" if event.signer == SERVICE else "signer_unknown"
            case Lapse():
                return self._lapse_code(act, event)
            case Override() | Confirm():
                return (
                    self._signature(act, event)
                    or stale(act, event.ts, self.head)
                    or (
                        self._request_code(act, event)
                        if isinstance(act, Override)
                        else self._confirm_code(act, event)
                    )
                )
            case _:
                return "kind_is_another"

    def _signature(self, act: Override | Confirm, event: Attested) -> str:
        if act.by != event.signer or event.signer == SERVICE:
            return "signer_is_another"
        key = self.rules.operator(act.by) if self.rules is not None else ""
        if key is None:
            return "signer_unknown"
        if not key:
            return "signature_not_expected" if event.signature else ""
        return "" if verified(key, event.body, event.signature) else "signature_invalid"

    def _request_code(self, act: Override, event: Attested) -> str:
        if act.override in self.orders:
            return "override_exists"
        if not (act.pauses or act.resumes or act.mode):
            return "changes_nothing"
        names = [*act.pauses, *act.resumes]
        if len(set(names)) < len(names):
            return "changed_twice"
        if not all(map(is_pause, names)):
            return "parameter_unknown"
        if self.governed & set(act.resumes):
            return "paused_by_governors"
        reduces = any(n.split(".")[1] in REDUCING for n in act.pauses)
        if reduces and not act.reduces:
            return "reduction_not_asked_for"
        if not act.alone:
            return ""
        if act.resumes or reduces or act.mode not in {"", "halted"}:
            return "needs_two_persons"
        rested = self._lapsed.get(act.by, -1)
        if rested >= 0 and event.ts < rested + self.waits.rest_seconds * SECOND:
            return "stopped_alone_before"
        alone = [o for o in self.orders.values() if o.state == ALONE and o.by == act.by]
        return "stops_alone_already" if alone else ""

    def _confirm_code(self, act: Confirm, event: Attested) -> str:
        order = self.orders.get(act.override)
        if order is None:
            return "override_unknown"
        if order.digest != act.digest:
            return "digest_is_another"
        if order.state not in {REQUESTED, ALONE} or order.stage(event.ts) == EXPIRED:
            return "override_is_closed"
        return "needs_two_persons" if order.by == act.by or self._same_key(order.by, act.by) else ""

    def _same_key(self, one: str, other: str) -> bool:
        if self.rules is None:
            return False
        keys = [self.rules.operator(name) for name in (one, other)]
        return bool(keys[0]) and keys[0] == keys[1]

    def _lapse_code(self, act: Lapse, event: Attested) -> str:
        if event.signer != SERVICE or event.signature:
            return "signer_unknown"
        order = self.orders.get(act.override)
        if order is None:
            return "override_unknown"
        if order.state != ALONE:
            return "override_is_closed"
        return "not_yet" if event.ts < order.until else ""

    # ------------------------------------------------------------------------ applying

    def _apply(self, act: AnyAct, event: Attested, seq: int) -> None:
        match act:
            case Govern():
                self.rules = act.rules
            case Override():
                self._request(act, event, seq)
            case Confirm():
                order = self.orders[act.override]
                order.confirmed_by, order.confirmed_at = event.signer, event.ts
                begins = order.state == REQUESTED
                order.state = STANDING
                if begins:
                    self._begin(order, event.ts)
            case Lapse():
                self._lapse(self.orders[act.override], event.ts)
            case _:
                raise AssertionError(act)

    def _request(self, act: Override, event: Attested, seq: int) -> None:
        waits = self.waits
        seconds = waits.alone_seconds if act.alone else waits.confirm_seconds
        order = Order(
            body=act,
            digest=digest_of(event.body),
            raw=event.body,
            by=event.signer,
            seq=seq,
            ts=event.ts,
            state=ALONE if act.alone else REQUESTED,
            until=event.ts + seconds * SECOND,
        )
        self.orders[act.override] = order
        if act.alone:
            self._begin(order, event.ts)

    def _begin(self, order: Order, ts: int) -> None:
        """Let it act: modes at once, pauses by the events that follow."""
        body = order.body
        if body.mode == "halted":
            order.halts = True
        elif body.mode:
            self.settled = body.mode
            for other in self.orders.values():
                other.halts = False
        order.wants = list(body.pauses)
        for other in self.orders.values():
            other.wants = [n for n in other.wants if n not in body.resumes]
            other.held = [n for n in other.held if n not in body.resumes]
            if other.acting and not other.wants and not other.halts:
                other.state, other.closed_at = LIFTED, ts
        self._awaited = (order, self.wanted(order))

    def _lapse(self, order: Order, ts: int) -> None:
        clears = self.clears(order)
        for name in order.held:
            if name not in clears:  # somebody else wants it, and has it from now on
                next(o for o in self._others(order) if name in o.wants).held.append(name)
        order.state, order.closed_at, order.halts = LAPSED, ts, False
        order.held, order.wants = [], []
        self._lapsed[order.by] = ts
        self._awaited = (order, [(name, 0) for name in clears])

    def _others(self, order: Order) -> list[Order]:
        return [o for o in self.orders.values() if o is not order and o.acting]

    # ------------------------------------------------------------------------ asking

    def wanted(self, order: Order) -> list[tuple[str, int]]:
        """Return the pauses to be pulled and released when ``order`` begins to act."""
        body = order.body
        return [*((n, 1) for n in body.pauses), *((n, 0) for n in body.resumes)]

    def clears(self, order: Order) -> list[str]:
        """Return the pauses that end when ``order`` lapses: those nobody else wants."""
        kept = {n for o in self._others(order) for n in o.wants}
        return [n for n in order.held if n not in kept]

    def due(self, now: int) -> list[Order]:
        """Return the stops by one person whose time is over."""
        return [o for o in self.orders.values() if o.state == ALONE and now >= o.until]

    def current(self) -> list[Order]:
        """Return what acts at this moment."""
        return [o for o in self.orders.values() if o.acting]


def is_pause(name: str) -> bool:
    """Return whether ``name`` is spelt like a pause; whether it exists, the engine knows."""
    parts = name.split(".", 2)
    return len(parts) == 3 and parts[0] == "pause" and parts[1] in ACTIONS and bool(parts[2])


def pauses_of(venue: Venue, actions: Iterable[str], symbols: Iterable[str]) -> tuple[str, ...]:
    """Return the names of these pauses; the symbol ``*`` is every instrument of the venue."""
    known = [i.symbol for i in venue.instruments]
    chosen = [s for symbol in symbols for s in (known if symbol == "*" else [symbol])]
    return tuple(f"pause.{a}.{s}" for a in actions for s in dict.fromkeys(chosen))
