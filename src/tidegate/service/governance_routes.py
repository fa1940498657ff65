"""Governance, overrides and reconciliation over HTTP: what was signed comes in, where it stands."""

import asyncio
from typing import Any

import msgspec

from tidegate.api.answers import Taken
from tidegate.api.governing import (
    Corrections,
    Drift,
    GovernanceNow,
    Moved,
    OverrideNow,
    OverridesNow,
    ProposalNow,
    Reconcile,
    Statement,
)
from tidegate.domain.errors import AskInvalid
from tidegate.domain.events import Attested
from tidegate.domain.units import Nanos
from tidegate.service.acts import KINDS
from tidegate.service.calls import Call, Forbidden, NotFound, Route
from tidegate.service.desk import Desk
from tidegate.service.governance import Governance
from tidegate.service.overrides import Order, Overrides
from tidegate.service.proposals import Proposal
from tidegate.service.reading import Reading
from tidegate.service.reconcile import Reconciler, copy_of


def routes() -> list[Route]:
    """Return the rows; the service has a `Desk` and a `Reconciler` among its parts."""
    tag = "governance"
    signed: dict[str, Any] = {"ask": Statement, "answer": Taken, "tag": tag}
    return [
        Route(
            "GET",
            "/v1/proposals",
            proposals,
            "Who governs, and every proposal.",
            answer=GovernanceNow,
            tag=tag,
        ),
        Route(
            "GET",
            "/v1/proposals/{id}",
            proposal,
            "One proposal.",
            answer=ProposalNow,
            tag=tag,
        ),
        _post("/v1/proposals", "propose", "Propose changes, or the way back.", **signed),
        _post("/v1/proposals/{id}/approvals", "approve", "Approve a proposal.", **signed),
        _post("/v1/proposals/{id}/withdraw", "withdraw", "Object to a proposal.", **signed),
        _post("/v1/proposals/{id}/activate", "activate", "Let it begin, lock over.", **signed),
        Route(
            "POST",
            "/v1/proposals/{id}/rollback",
            roll_back,
            "Propose the values that were there before an activated proposal.",
            role="governor",
            **signed,
        ),
        Route(
            "GET", "/v1/overrides", overrides, "What operators hold.", answer=OverridesNow, tag=tag
        ),
        _post("/v1/overrides", "override", "Pause, resume, halt or arm.", "operator", **signed),
        _post("/v1/overrides/{id}/confirm", "confirm", "Agree with it.", "operator", **signed),
        Route(
            "POST",
            "/v1/reconcile",
            reconcile,
            "Hold our book against the venue's.",
            role="operator",
            ask=Reconcile,
            answer=Drift,
            tag="reconciliation",
        ),
        Route(
            "GET",
            "/v1/reconcile/corrections",
            corrections,
            "What would remove the differences found last.",
            role="operator",
            answer=Corrections,
            tag="reconciliation",
        ),
    ]


def _post(path: str, kind: str, summary: str, role: Any = "governor", **more: Any) -> Route:  # noqa: ANN401 - fields of a row
    async def handler(call: Call) -> Taken:
        return await _sent(call, kind)

    handler.__name__ = f"{kind}_signed"
    return Route("POST", path, handler, summary, role=role, **more)


async def _sent(call: Call, kind: str) -> Taken:
    """Take a signed statement of one kind about the thing that the path names."""
    assert kind in KINDS
    statement: Statement = call.body
    # Without a key of their own, operators are who the service has authenticated.
    if not statement.signature and statement.signer != call.caller.name:
        msg = f"signer: without a signature it must be {call.caller.name}, who calls"
        raise Forbidden(msg)
    body = statement.body.encode()
    named = call.path.get("id")
    if named is not None and _about(body) != named:
        raise AskInvalid(where="body", what=f"must be about {named!r}", found=repr(_about(body)))
    event = Attested(
        ts=Nanos(0),
        kind=kind,
        signer=statement.signer,
        body=body,
        signature=bytes.fromhex(statement.signature),
    )
    return await call.service.part(Desk).send(event)


class _About(msgspec.Struct):
    proposal: str = ""
    override: str = ""
    undoes: str = ""


def _about(body: bytes, *, undone: bool = False) -> str:
    """Return the proposal or override that a body names; unreadable ones name none."""
    try:
        about = msgspec.json.decode(body, type=_About)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return about.undoes if undone else about.proposal or about.override


async def roll_back(call: Call) -> Taken:
    """Take a proposal that undoes the one of the path."""
    body = call.body.body.encode()
    named = call.path["id"]
    if _about(body, undone=True) != named:
        raise AskInvalid(
            where="body.undoes",
            what=f"must be {named!r}",
            found=repr(_about(body, undone=True)),
            hint="a roll back is a proposal of the earlier values, signed like any other",
        )
    event = Attested(
        ts=Nanos(0),
        kind="propose",
        signer=call.body.signer,
        body=body,
        signature=bytes.fromhex(call.body.signature),
    )
    return await call.service.part(Desk).send(event)


async def proposals(call: Call) -> GovernanceNow:
    """Return every proposal as it stands now."""
    desk = call.service.part(Desk)
    now = desk.now()
    return await call.service.engine.ask(lambda _: governance_now(desk.governance, now))


async def proposal(call: Call) -> ProposalNow:
    """Return one proposal as it stands now."""
    desk = call.service.part(Desk)
    now, name = desk.now(), call.path["id"]

    def read(_: Reading) -> ProposalNow | None:
        held = desk.governance.proposals.get(name)
        return None if held is None else proposal_now(held, now)

    found = await call.service.engine.ask(read)
    if found is None:
        msg = f"no proposal {name!r}"
        raise NotFound(msg)
    return found


async def overrides(call: Call) -> OverridesNow:
    """Return every override as it stands now."""
    desk = call.service.part(Desk)
    now = desk.now()
    return await call.service.engine.ask(lambda _: overrides_now(desk.overrides, now))


async def reconcile(call: Call) -> Drift:
    """Compare books: copied on the crank's thread, compared on another one."""
    ours = await call.service.engine.ask(copy_of)
    reconciler = call.service.part(Reconciler)
    async with reconciler.one:
        return await asyncio.to_thread(reconciler.compare, call.body, ours)


async def corrections(call: Call) -> Corrections:
    """Return what would remove the differences found last."""
    reconciler = call.service.part(Reconciler)
    async with reconciler.one:
        return await asyncio.to_thread(reconciler.corrections)


def governance_now(of: Governance, now: int) -> GovernanceNow:
    """Return the answer about all proposals."""
    rules = of.rules
    return GovernanceNow(
        venue=of.venue,
        stack=of.stack,
        head=of.head,
        rules=rules.digest if rules else "",
        threshold=rules.threshold if rules else 0,
        lock_seconds=rules.lock_seconds if rules else 0,
        governors={g.name: g.key for g in rules.governors} if rules else {},
        proposals=[proposal_now(p, now) for p in of.proposals.values()],
    )


def proposal_now(held: Proposal, now: int) -> ProposalNow:
    """Return the answer about one proposal."""
    return ProposalNow(
        proposal=held.id,
        state=held.stage(now),
        changes=[Moved(name=c.name, before=c.before, value=c.value) for c in held.body.changes],
        reason=held.body.reason,
        proposer=held.proposer,
        digest=held.digest,
        seq=held.seq,
        ts=held.ts,
        expires=held.body.expires,
        shadow=held.shadow,
        shadow_words=held.shadow_words,
        needed=held.needed,
        approvals=dict(held.approvals),
        objections=dict(held.objections),
        unlocks_at=held.unlocks_at,
        effective_at=held.body.effective_at,
        activated_at=held.activated_at,
        activated_by=held.activated_by,
        codes=list(held.codes),
        undoes=held.body.undoes,
        undone_by=held.undone_by,
        body=held.raw.decode(),
    )


def overrides_now(of: Overrides, now: int) -> OverridesNow:
    """Return the answer about all overrides."""
    return OverridesNow(
        venue=of.venue,
        stack=of.stack,
        head=of.head,
        mode=of.mode,
        overrides=[_override_now(o, now) for o in of.orders.values()],
    )


def _override_now(order: Order, now: int) -> OverrideNow:
    return OverrideNow(
        override=order.body.override,
        state=order.stage(now),
        by=order.by,
        ts=order.ts,
        seq=order.seq,
        confirmed_by=order.confirmed_by,
        confirmed_at=order.confirmed_at,
        until=order.until,
        pauses=list(order.body.pauses),
        resumes=list(order.body.resumes),
        held=list(order.held),
        mode=order.body.mode,
        reason=order.body.reason,
        codes=list(order.codes),
        digest=order.digest,
        body=order.raw.decode(),
    )
