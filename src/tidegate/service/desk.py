"""What governors and operators have signed becomes events: offered once, in one batch, by one hand.

Everything here happens between a look at the state and an offer to the engine, one at a time, so
that no other change of a parameter can come between. What a crash interrupts is done by the next
process, and the key under which it is offered keeps it from being done twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from tidegate.domain.effects import Rejected
from tidegate.domain.events import Attested, Input, ParameterChanged, ParameterProposed
from tidegate.domain.pending import Pending
from tidegate.domain.units import Nanos
from tidegate.engine.evolve import evolve
from tidegate.engine.governance import on_parameter
from tidegate.engine.state import State
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack, copied, parameter_cell
from tidegate.service.acts import (
    KINDS,
    Activate,
    Confirm,
    Govern,
    Lapse,
    Override,
    Propose,
    Refuse,
    Shadow,
    attested,
    read_act,
)
from tidegate.service.door import Prepared, Rows
from tidegate.service.governance import Governance, events_of
from tidegate.service.overrides import Order, Overrides
from tidegate.service.proposals import Proposal
from tidegate.service.reading import Listener, Reading
from tidegate.service.rules import SERVICE, Change, Rules
from tidegate.service.runner import Busy, Conflict
from tidegate.service.signing import digest_of


T = TypeVar("T")
SOURCE = "governance"
RETRY_S = 0.05


class Refusal(Conflict):
    """What was signed does not count; ``code`` says why."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(where="body", what=code.replace("_", " "), found=detail or code)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as what it is."""
        return type(self), (self.code, self.detail)


class Looking(Protocol):
    """What a read may look at, on the crank's thread; see `runner.Reading`."""

    @property
    def state(self) -> State:
        """The state after the last batch."""
        ...

    @property
    def head(self) -> int:
        """The last durable record."""
        ...


class Turning(Protocol):
    """The part of the engine that is used here; see `runner.Engine`."""

    @property
    def stack(self) -> Stack:
        """What it runs under."""
        ...

    def ask(self, read: Callable[[Any], T]) -> Awaitable[T]:
        """Read on the crank's thread, between two batches."""
        ...

    def take(
        self, asks: Sequence[Any], *, source: str, key: str = "", digest: str = ""
    ) -> Awaitable[Any]:
        """Offer events to be journalled together, once under this key."""
        ...


class Batch(NamedTuple):
    """What is offered together, and the key under which it is offered once."""

    asks: list[Prepared]
    key: str
    digest: str


class Desk:
    """Judges what is sent, offers what counts, and does what has become due."""

    def __init__(
        self,
        engine: Turning,
        governance: Governance,
        overrides: Overrides,
        clock: Callable[[], int],
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine, self.governance, self.overrides = engine, governance, overrides
        self._clock = clock
        self._stop = stop  # keeps orders from leaving, before anything is journalled
        self._one = asyncio.Lock()

    def now(self) -> int:
        """Return what time it is for whoever asks where something stands."""
        return self._clock()

    async def send(self, event: Attested) -> Any:  # noqa: ANN401 - the engine's own answer
        """Take what somebody has signed, and what follows from it at once; raise Refusal."""
        if event.signer == SERVICE:
            code = "signer_unknown"
            raise Refusal(code, "nobody speaks for the service")
        return await self._send(event)

    async def _send(self, event: Attested) -> Any:  # noqa: ANN401 - the engine's own answer
        async with self._one:
            batch = await self.engine.ask(lambda reading: self._batch(event, reading))
            if isinstance(batch, Refusal):
                raise batch
            return await self._offer(batch)

    async def govern(self, rules: Rules) -> None:
        """Let the journal say which rules are in force, where it says otherwise."""
        async with self._one:
            if self.governance.rules != rules:
                said = Govern(venue=self.governance.venue, stack=self.governance.stack, rules=rules)
                batch = Batch([_said(said)], f"govern:{self.governance.head}", "")
                # Nobody sets an event when a queue has room again.
                while not await self._offered(batch):  # noqa: ASYNC110 - ditto
                    await asyncio.sleep(RETRY_S)

    async def shadow(self, proposal: str, found: str, words: str) -> Any:  # noqa: ANN401 - ditto
        """Attach what a shadow run of ``proposal`` has found, by its digest."""
        held = self.governance.proposals.get(proposal)
        if held is None:
            code = "proposal_unknown"
            raise Refusal(code, proposal)
        act = Shadow(
            venue=self.governance.venue,
            stack=self.governance.stack,
            proposal=proposal,
            digest=held.digest,
            found=found,
            words=words,
        )
        return await self._send(attested(act, SERVICE))

    async def tick(self) -> list[str]:
        """Activate what is due, and let lapse what nobody confirmed; return the keys offered.

        What finds the queue full is due again at the next look.
        """
        done: list[str] = []
        async with self._one:
            # One at a time: each changes what the next one starts from.
            while (batch := await self.engine.ask(self._due)) and batch.key not in done:
                if not await self._offered(batch):
                    break
                done.append(batch.key)
        return done

    async def _offered(self, batch: Batch) -> bool:
        """Offer what nobody waits for; return whether there was room."""
        try:
            await self._offer(batch)
        except Busy:
            return False
        return True

    async def _offer(self, batch: Batch) -> Any:  # noqa: ANN401 - the engine's own answer
        return await self.engine.take(batch.asks, source=SOURCE, key=batch.key, digest=batch.digest)

    # ------------------------------------------------------------------ on the crank's thread

    def _batch(self, event: Attested, reading: Looking) -> "Batch | Refusal":
        """Return what to offer for ``event``, or why nothing is."""
        now = Nanos(max(self._clock(), reading.state.now))
        event = _at(event, now)
        fold = self.overrides if event.kind in {"override", "confirm", "lapse"} else self.governance
        if event.kind not in KINDS:
            return Refusal("kind_unknown", event.kind)
        code = fold.judge(event)
        if code:
            return Refusal(code)
        act, _ = read_act(event.kind, event.body)
        assert act is not None, "judged as good"
        digest = digest_of(event.body)
        match act:
            case Propose():
                moved = moved_since(reading.state, self.engine.stack, act.changes)
                if moved:
                    return Refusal("values_have_moved", moved)
                return Batch([_kept(event)], f"propose:{act.proposal}", digest)
            case Activate():
                return self._activation(self.governance.proposals[act.proposal], event, reading)
            case Override() | Confirm():
                return self._override(act, event, reading)
            case Lapse():
                return self._lapse(self.overrides.orders[act.override])
            case _:
                return Batch([_kept(event)], f"{event.kind}:{event.signer}:{digest}", digest)

    def _activation(self, proposal: Proposal, event: Attested, reading: Looking) -> Batch:
        """Return an activation and its events; where the engine would refuse one, the refusal."""
        stack, state = self.engine.stack, reading.state
        events = events_of(proposal, event.ts, self.governance)
        codes = rehearse(state, stack, events)
        moved = moved_since(state, stack, proposal.body.changes)
        if moved:
            codes = ["values_have_moved", *codes]
        key = f"activate:{proposal.id}"
        if codes:
            act = Refuse(
                venue=self.governance.venue,
                stack=self.governance.stack,
                proposal=proposal.id,
                digest=proposal.digest,
                codes=tuple(dict.fromkeys(codes)),
            )
            return Batch([_said(act)], key, proposal.digest)

        def made(k: int) -> Callable[[Nanos], Input]:
            return lambda now: events_of(proposal, now, self.governance)[k]

        return Batch(
            [_kept(event), *(_made(made(k)) for k in range(len(events)))],
            key,
            proposal.digest,
        )

    def _override(self, act: Override | Confirm, event: Attested, reading: Looking) -> Batch:
        """Return a request or its confirmation, and the pauses that are pulled or released."""
        digest = digest_of(event.body)
        if isinstance(act, Override):
            wanted = [*((n, 1) for n in act.pauses), *((n, 0) for n in act.resumes)]
            begins, mode = act.alone, act.mode
        else:
            order = self.overrides.orders[act.override]
            wanted, mode = self.overrides.wanted(order), order.body.mode
            begins = not order.acting
        if begins and mode in {"halted", "advising"}:
            # Before it is durable: an order that left meanwhile would be taken for a held one. If
            # it cannot be made durable, orders stay held until the next word of an operator.
            self._stop()
        pulled = self._pulled(wanted, reading) if begins else []
        return Batch([_kept(event), *pulled], f"{event.kind}:{act.override}", digest)

    def _pulled(self, wanted: Sequence[tuple[str, int]], reading: Looking) -> list[Prepared]:
        """Return the changes that are none yet, after withdrawing those that stand in their way."""
        state, stack = reading.state, self.engine.stack
        asks: list[Prepared] = []
        for name, value in wanted:
            now = value_of(state, stack, name)
            if now == value:
                continue
            trial = ParameterChanged(ts=Nanos(state.now), name=name, value=value)
            if "parameter_is_pending" in rehearse(state, stack, [trial]) and now is not None:
                asks.append(_changed(name, now))
            asks.append(_changed(name, value))
        return asks

    def _lapse(self, order: Order) -> Batch:
        act = Lapse(
            venue=self.overrides.venue, stack=self.overrides.stack, override=order.body.override
        )
        clears = [_changed(name, 0) for name in self.overrides.clears(order)]
        return Batch([_said(act), *clears], f"lapse:{order.body.override}", order.digest)

    def _due(self, reading: Looking) -> Batch | None:
        """Return what time alone asks for next: a lapse before an activation."""
        now = Nanos(max(self._clock(), reading.state.now))
        for order in self.overrides.due(now):
            return self._lapse(order)
        for proposal in self.governance.due(now):
            act = Activate(
                venue=self.governance.venue,
                stack=self.governance.stack,
                after=reading.head,
                expires=proposal.body.expires,
                proposal=proposal.id,
                digest=proposal.digest,
            )
            return self._activation(proposal, attested(act, SERVICE, ts=now), reading)
        return None


def listener(
    governance: Governance, overrides: Overrides, turn: Callable[[int, str], None]
) -> Listener:
    """Return what keeps both folds up to date, and tells ``turn`` which mode orders follow."""

    def hear(records: Sequence[Record], reading: Reading) -> None:
        del reading
        governance.hear(records)
        told = len(overrides.turns)
        overrides.hear(records)
        for seq, mode in overrides.turns[told:]:
            turn(seq, mode)

    return hear


def rehearse(state: State, stack: Stack, events: Sequence[Input]) -> list[str]:
    """Return the codes under which the engine would refuse ``events``, one after another.

    Only what parameters touch is copied; ``state`` stays as it is.
    """
    twin = replace(
        state,
        facts=copied(state.facts),
        pending=Pending(*(column.copy() for column in state.pending)),
        restraint=state.restraint._replace(pause=state.restraint.pause.copy()),
    )
    codes: list[str] = []
    for event in events:
        assert isinstance(event, ParameterChanged | ParameterProposed)
        for effect in on_parameter(twin, event, stack):
            if isinstance(effect, Rejected):
                codes.append(effect.code)
            else:
                evolve(twin, effect)
    return codes


def value_of(state: State, stack: Stack, name: str) -> int | None:
    """Return what a parameter is now; None where there is none of that name."""
    cell = parameter_cell(state.facts, stack.venue, name)
    if cell is None:
        return None
    column, row = cell
    return int((state.restraint.pause if column == "pause" else getattr(state.facts, column))[row])


def moved_since(state: State, stack: Stack, changes: Sequence[Change]) -> str:
    """Return in words the first change that does not start from what its parameter is, or ""."""
    for change in changes:
        now = value_of(state, stack, change.name)
        if now != change.before:
            return f"{change.name} is {now}, not {change.before}"
    return ""


def _at(event: Attested, now: Nanos) -> Attested:
    return Attested(
        ts=now,
        kind=event.kind,
        signer=event.signer,
        body=event.body,
        signature=event.signature,
    )


def _kept(event: Attested) -> Prepared:
    return _made(lambda now: _at(event, now), alone=True)


def _said(act: Govern | Refuse | Lapse) -> Prepared:
    return _made(lambda now: attested(act, SERVICE, ts=now), alone=True)


def _changed(name: str, value: int) -> Prepared:
    return _made(lambda now: ParameterChanged(ts=now, name=name, value=value))


def _made(make: Callable[[Nanos], Input], *, alone: bool = False) -> Prepared:
    """Return an ask that becomes an event at the moment of stepping."""

    def build(_: Rows, now: Nanos) -> Input:
        return make(now)

    return Prepared(None, build, alone=alone)
