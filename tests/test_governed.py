"""Parameters change when enough people have signed the same thing, and not a moment earlier."""

import asyncio

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governed import (
    DUST,
    FOUND,
    IM,
    LOCK,
    MM,
    STACK,
    Crashed,
    Engine,
    Writer,
    key_of,
    noticed,
    person,
    rules,
    signed,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Attested, ParameterChanged, ParameterProposed
from tidegate.domain.units import SECOND, Nanos
from tidegate.engine.state import State
from tidegate.ports import Record
from tidegate.service.acts import Shadow, attested, read_act
from tidegate.service.desk import Refusal, rehearse, value_of
from tidegate.service.governance import Governance, events_of
from tidegate.service.governance_audit import audit
from tidegate.service.rules import Change, Person, Rules, Tightening, tightens
from tidegate.service.signing import canonical, digest_of, load_key, public_hex, save_key, verified


W = Writer()


def run(coroutine):
    return asyncio.run(coroutine)


async def governed(engine, **more):
    await engine.desk.govern(rules(**more))


async def approved(engine, act, who=("ann", "bob"), by="ann"):
    """Take a proposal up to its majority."""
    await engine.desk.send(signed(act, by))
    await engine.desk.shadow(act.proposal, FOUND, "nobody would be liquidated")
    for name in who:
        await engine.desk.send(signed(W.approve(act), name))


async def activated(engine, act, **more):
    await approved(engine, act, **more)
    engine.wait(LOCK)
    return await engine.desk.tick()


def parameters(engine):
    return [
        (r.event.name, r.event.value)
        for r in engine.journal.read()
        if isinstance(r.event, ParameterProposed | ParameterChanged)
    ]


async def refused(engine, event):
    with pytest.raises(Refusal) as info:
        await engine.desk.send(event)
    return info.value.code


# ------------------------------------------------------------------------------- the way


def test_a_change_goes_its_whole_way():
    engine = Engine()
    act = W.propose("more-margin", (MM, 50_000, 60_000))

    async def day():
        await governed(engine)
        stages = []
        of = engine.governance.proposals
        await engine.desk.send(signed(act, "ann"))
        stages.append(of["more-margin"].stage(engine.now))
        await engine.desk.shadow("more-margin", FOUND, "three accounts")
        stages.append(of["more-margin"].stage(engine.now))
        await engine.desk.send(signed(W.approve(act), "cyd"))
        stages.append(of["more-margin"].stage(engine.now))
        await engine.desk.send(signed(W.approve(act), "bob"))
        stages.append(of["more-margin"].stage(engine.now))
        engine.wait(LOCK - 1)
        assert await engine.desk.tick() == []
        engine.wait(1)
        stages.append(of["more-margin"].stage(engine.now))
        assert await engine.desk.tick() == ["activate:more-margin"]
        stages.append(of["more-margin"].stage(engine.now))
        return stages

    stages = ["proposed", "shadowed", "shadowed", "waiting", "approved", "activated"]
    assert run(day()) == stages
    assert parameters(engine) == [(MM, 60_000)]
    assert value_of(engine.state, STACK, MM) == 60_000
    held = engine.governance.proposals["more-margin"]
    assert (held.taken, held.codes, held.activated_by) == ([MM], [], "service")
    found = audit(engine.journal.read(), STACK, [rules()])
    assert not found.findings
    assert (found.signatures, found.changes, found.records) == (3, 1, engine.head + 1)


def test_the_stacks_own_notice_is_kept():
    stack = noticed(600)
    engine, write = Engine(stack), Writer(stack)
    engine.drift = 3

    async def day():
        await governed(engine, threshold=1)
        act = write.propose("later", (MM, 50_000, 60_000))
        await engine.desk.send(signed(act, "ann"))
        await engine.desk.shadow("later", FOUND, "")
        await engine.desk.send(signed(write.approve(act), "ann"))
        engine.wait(LOCK)
        await engine.desk.tick()

    run(day())
    event = next(r.event for r in engine.journal.read() if isinstance(r.event, ParameterProposed))
    assert event.effective_at == event.ts + 600 * SECOND
    assert engine.governance.proposals["later"].state == "activated"
    assert value_of(engine.state, stack, MM) == 50_000  # announced
    assert not audit(engine.journal.read(), stack).findings


def test_any_governor_may_begin_it_and_nobody_twice():
    engine = Engine()

    async def day():
        await governed(engine)
        act = W.propose("once", (DUST, 0, 7))
        await approved(engine, act)
        assert await refused(engine, signed(W.activate(act), "cyd")) == "lock_runs"
        engine.wait(LOCK)
        await engine.desk.send(signed(W.activate(act), "cyd"))
        assert await engine.desk.tick() == []
        assert await refused(engine, signed(W.activate(act), "ann")) == "proposal_is_closed"

    run(day())
    assert parameters(engine) == [(DUST, 7)]
    assert engine.governance.proposals["once"].activated_by == "cyd"


# ------------------------------------------------------------------------------- refusals


def changed(act, **fields):
    return msgspec.structs.replace(act, **fields)


def test_what_is_refused_and_why():
    engine = Engine()
    act = W.propose("p", (DUST, 0, 7), expires=2_000 * SECOND + LOCK * SECOND)

    async def day():
        assert await refused(engine, signed(act, "ann")) == "nobody_governs"
        await governed(engine)
        tries = {
            "signer_unknown": signed(act, "eve"),
            "signature_invalid": signed(act, "ann", key="eve"),
            "wrong_venue": signed(changed(act, venue="elsewhere"), "ann"),
            "wrong_stack": signed(changed(act, stack="0" * 16), "ann"),
            "refers_to_the_future": signed(changed(act, after=10_000), "ann"),
            "expired": signed(changed(act, expires=3), "ann"),
            "changes_nothing": signed(W.propose("p", (DUST, 0, 0)), "ann"),
            "changed_twice": signed(W.propose("p", (DUST, 0, 1), (DUST, 1, 2)), "ann"),
            "values_have_moved": signed(W.propose("p", (DUST, 1, 2)), "ann"),
            "nothing_to_roll_back": signed(W.propose("p", (DUST, 0, 1), undoes="no"), "ann"),
            "proposal_unknown": signed(W.approve(act), "ann"),
        }
        for code, event in tries.items():
            assert await refused(engine, event) == code
        await engine.desk.send(signed(act, "ann"))
        assert await refused(engine, signed(act, "ann")) == "proposal_exists"
        assert await refused(engine, signed(act, "bob")) == "proposal_exists"
        assert await refused(engine, signed(W.approve(act), "ann")) == "not_shadowed"
        await engine.desk.shadow("p", FOUND, "")
        other = W.propose("p", (DUST, 0, 8))
        assert await refused(engine, signed(W.approve(other), "ann")) == "digest_is_another"
        blind = W.approve(act, shadow="0" * 64)
        assert await refused(engine, signed(blind, "ann")) == "shadow_is_another"
        await engine.desk.send(signed(W.approve(act), "ann"))
        assert await refused(engine, signed(W.approve(act), "ann")) == "signed_already"
        late = W.approve(act, expires=5_000 * SECOND)
        assert await refused(engine, signed(late, "ann")) == "signed_already"
        assert await refused(engine, signed(W.activate(act), "ann")) == "not_approved"
        with pytest.raises(Refusal, match="approved already"):
            await engine.desk.shadow("p", digest_of(b"another"), "")
        with pytest.raises(Refusal, match="proposal unknown"):
            await engine.desk.shadow("q", FOUND, "")
        said = Shadow(**W.ours, proposal="p", digest=digest_of(canonical(act)), found=FOUND)
        assert await refused(engine, attested(said, "service")) == "signer_unknown"
        assert await refused(engine, signed(said, "ann")) == "signer_unknown"
        engine.wait(2_000 + LOCK)
        assert engine.governance.proposals["p"].stage(engine.now) == "expired"
        assert await refused(engine, signed(W.approve(act), "bob")) == "expired"

    run(day())
    assert not parameters(engine)
    assert not audit(engine.journal.read(), STACK).findings


def test_a_body_has_one_spelling():
    event = signed(W.propose("p", (DUST, 0, 7)), "ann")
    for body, code in (
        (event.body.replace(b'"p"', b'"p" '), "body_not_canonical"),
        (event.body + b"\n", "body_not_canonical"),
        (
            event.body.replace(b'"proposal":"p"', b'"proposal":"p","proposal":"p"'),
            "body_not_canonical",
        ),
        (b"{}", "body_unreadable"),
        (b"\xff", "body_unreadable"),
        (event.body.replace(b'"reason"', b'"treason"'), "body_unreadable"),
    ):
        assert read_act("propose", body) == (None, code)
    assert read_act("approve", event.body) == (None, "kind_is_another")


def test_a_proposal_is_withdrawn_by_its_proposer_or_by_as_many_as_could_block_it():
    engine = Engine()

    async def day():
        await governed(engine, threshold=2, names=("ann", "bob", "cyd", "dan"))
        own, voted = W.propose("own", (DUST, 0, 7)), W.propose("voted", (DUST, 0, 8))
        for act in (own, voted):
            await approved(engine, act)
        await engine.desk.send(signed(W.withdraw(own), "ann"))
        of = engine.governance.proposals
        assert of["own"].state == "withdrawn"
        for name in ("bob", "cyd"):
            await engine.desk.send(signed(W.withdraw(voted), name))
        assert await refused(engine, signed(W.withdraw(voted), "cyd")) == "signed_already"
        assert of["voted"].stage(engine.now) == "waiting"
        await engine.desk.send(signed(W.withdraw(voted), "dan"))  # 4 - 2 + 1
        assert of["voted"].state == "withdrawn"
        engine.wait(LOCK)
        assert await engine.desk.tick() == []

    run(day())


def test_new_rules_end_what_was_begun_under_the_old_ones():
    engine = Engine()

    async def day():
        await governed(engine)
        act = W.propose("p", (DUST, 0, 7))
        await approved(engine, act)
        head = engine.head
        await governed(engine)
        assert engine.head == head, "the same rules are not said twice"
        await governed(engine, threshold=3)
        held = engine.governance.proposals["p"]
        assert (held.state, held.codes) == ("expired", ["rules_changed"])

    run(day())


def test_what_the_engine_would_refuse_is_refused_before_anything_is_half_done():
    engine = Engine()

    async def day():
        await governed(engine)
        act = W.propose("too-much", (DUST, 0, 7), (MM, 50_000, 200_000))  # above initial
        await activated(engine, act)

    run(day())
    held = engine.governance.proposals["too-much"]
    assert (held.state, held.codes) == ("refused", ["tiers_must_rise"])
    assert not parameters(engine)


def test_values_that_moved_while_the_lock_ran_refuse_the_activation():
    engine = Engine()

    async def day():
        await governed(engine)
        one, two = W.propose("one", (DUST, 0, 7)), W.propose("two", (DUST, 0, 8))
        await approved(engine, one)
        await approved(engine, two)
        engine.wait(LOCK)
        assert await engine.desk.tick() == ["activate:one", "activate:two"]

    run(day())
    held = engine.governance.proposals["two"]
    assert (held.state, held.codes) == ("refused", ["values_have_moved"])
    assert parameters(engine) == [(DUST, 7)]


# ------------------------------------------------------------------------------- tightening


@pytest.mark.parametrize(
    ("name", "before", "value", "less"),
    [
        ("initial.PERP.0", 100_000, 120_000, True),
        ("initial.PERP.0", 120_000, 100_000, False),
        ("maintenance.PERP.0", 50_000, 60_000, False),  # stricter, and a weapon
        ("debt_initial.COIN", 1, 2, True),
        ("debt_maintenance.COIN", 1, 2, False),
        ("cash_debt.initial", 1, 2, True),
        ("cash_debt.maintenance", 1, 2, False),
        ("premium.PERP", 1, 2, False),
        ("penalty.PERP", 1, 2, False),
        ("dust.PERP", 1, 2, False),
        ("open_low.PERP", 0, 5, True),
        ("open_low.PERP", 5, 4, True),
        ("open_low.PERP", 5, 6, False),
        ("open_low.PERP", 5, 0, False),
        ("pause.open.PERP", 0, 1, True),
        ("pause.open.PERP", 1, 0, False),
        ("pause.close.PERP", 0, 1, False),
        ("pause.liquidate.PERP", 0, 1, False),
    ],
)
def test_tightening_is_what_can_liquidate_nobody(name, before, value, less):
    assert tightens(Change(name=name, before=before, value=value)) is less


def test_tightening_needs_fewer_and_one_other_change_needs_all():
    held = rules(threshold=3, tightening=Tightening(threshold=1, lock_seconds=5))
    up = Change(name=IM, before=100_000, value=120_000)
    down = Change(name=DUST, before=0, value=7)
    assert (held.needed((up,)), held.lock((up,))) == (1, 5 * SECOND)
    assert (held.needed((up, down)), held.lock((up, down))) == (3, LOCK * SECOND)
    engine = Engine()

    async def day():
        await engine.desk.govern(held)
        await approved(engine, W.propose("tight", (IM, 100_000, 120_000)), who=("bob",))
        engine.wait(5)
        await engine.desk.tick()

    run(day())
    assert value_of(engine.state, STACK, IM) == 120_000


# ------------------------------------------------------------------------------- roll back


@settings(max_examples=12)
@given(st.integers(1, 99_999), st.integers(100_001, 10**6), st.integers(1, 10**9), st.data())
def test_a_roll_back_restores_exactly_the_earlier_values(mm, im, dust, data):
    engine = Engine()
    values = [(IM, 100_000, im), (DUST, 0, dust)] + [(MM, 50_000, mm)] * (mm != 50_000)
    changes = data.draw(st.permutations(values))
    before = [column.copy() for column in engine.state.facts]

    async def day():
        await governed(engine)
        act = W.propose("there", *changes)
        await activated(engine, act)
        held = engine.governance.proposals["there"]
        assert held.state == "activated"
        back = W.propose(
            "back",
            *((c.name, c.before, c.value) for c in engine.governance.undoing(held)),
            undoes="there",
        )
        wrong = W.propose("back", *changes, undoes="there")
        engine_code = await refused(engine, signed(wrong, "ann"))
        assert engine_code == "values_are_others"
        await approved(engine, back, who=("cyd",))
        assert engine.governance.proposals["back"].stage(engine.now) == "shadowed", "k again"
        await engine.desk.send(signed(W.approve(back), "bob"))
        assert await engine.desk.tick() == [], "and the lock again"
        engine.wait(LOCK)
        await engine.desk.tick()

    run(day())
    assert all(np.array_equal(a, b) for a, b in zip(before, engine.state.facts, strict=True))
    of = engine.governance.proposals
    assert (of["there"].state, of["there"].undone_by) == ("rolled_back", "back")
    assert of["back"].state == "activated"
    assert not audit(engine.journal.read(), STACK, [rules()]).findings


# ------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_the_activation_neither_loses_nor_doubles_it(when):
    """The process dies just before or just after the commit; the next one reads the journal."""
    engine = Engine()

    async def first():
        await governed(engine)
        await approved(engine, W.propose("p", (DUST, 0, 7), (MM, 50_000, 60_000)))
        engine.wait(LOCK)
        engine.crash = when
        with pytest.raises(Crashed):
            await engine.desk.tick()

    run(first())
    again = Engine(journal=engine.journal)
    again.now = engine.now
    assert run(again.desk.tick()) == (["activate:p"] if when == "before" else [])
    assert parameters(again) == [(DUST, 7), (MM, 60_000)]
    assert again.governance.proposals["p"].state == "activated"
    assert not audit(again.journal.read(), STACK).findings


def test_a_full_queue_only_puts_off_what_is_due():
    """What nobody waits for must not end the process that would have to do it."""
    engine = Engine()

    async def day():
        engine.busy = 2
        await governed(engine)
        assert engine.busy == 0
        await approved(engine, W.propose("p", (DUST, 0, 7)))
        engine.wait(LOCK)
        engine.busy = 1
        assert await engine.desk.tick() == []
        assert parameters(engine) == []
        assert await engine.desk.tick() == ["activate:p"]

    run(day())
    assert parameters(engine) == [(DUST, 7)]


def test_a_fold_that_lags_behind_cannot_activate_twice():
    """The journal's own receipt stands between an old projection and a second activation."""
    engine = Engine()

    async def day():
        await governed(engine)
        await approved(engine, W.propose("p", (DUST, 0, 7)))
        engine.wait(LOCK)
        engine.heard = len  # hears nothing
        assert await engine.desk.tick() == ["activate:p"]
        assert await engine.desk.tick() == ["activate:p"]

    run(day())
    assert parameters(engine) == [(DUST, 7)]


def test_what_was_kept_is_enough_to_begin_again():
    """After a start from a snapshot only the newest records are heard; the kept ones fill in."""
    engine = Engine()

    async def day():
        await governed(engine)
        await activated(engine, W.propose("p", (DUST, 0, 7)))
        await approved(engine, W.propose("q", (DUST, 7, 9), after=engine.head))

    run(day())
    records = list(engine.journal.read())
    other = Governance.of(STACK)
    other.hear(engine.governance.kept)
    other.hear(records[-2:])
    assert other.proposals == engine.governance.proposals
    assert len(engine.governance.kept) < len(records) + 1


# ------------------------------------------------------------------------------- no way around


MUTATIONS = ("none", "forged", "stolen", "venue", "stack", "expired", "digest", "shadow")


@settings(max_examples=40)
@given(st.randoms(use_true_random=False))
def test_no_sequence_of_messages_activates_without_a_majority_or_before_its_lock(rng):
    """An attacker sends anything in any order, and replays whatever was sent before.

    A naive model counts, for every proposal, who has really signed an approval of just these bytes.
    """
    k = rng.randint(1, 3)
    held = rules(threshold=k, lock=10)
    fold = Governance.of(STACK)
    records, signers, met = [], {}, {}
    acts = {n: W.propose(n, (DUST, 0, v)) for n, v in (("a", 1), ("b", 2))}
    now, sent = 0, []

    def push(event, effects=()):
        record = Record(len(records), event, effects)
        records.append(record)
        return fold.hear([record])

    push(attested(_govern(held), "service"))
    if rng.randint(0, 3):  # an honest beginning, so that many runs come to the end
        push(signed(acts["a"], "ann"))
        push(_found(acts["a"]))
    for _ in range(rng.randint(10, 50)):
        now += rng.choice([0, 0, 2, 10]) * SECOND
        if sent and not rng.randrange(5):
            event = msgspec.structs.replace(rng.choice(sent), ts=now)
        else:
            event = _drawn(rng, acts, now)
            sent.append(event)
        heard = push(event)
        code = heard[0].code if heard else ""
        act, _ = read_act(event.kind, event.body)
        if event.kind == "approve" and not code:
            assert verified(public_hex(key_of(event.signer)), event.body, event.signature)
            assert event.signer in {"ann", "bob", "cyd"}
            assert act.digest == digest_of(canonical(acts[act.proposal]))
            who = signers.setdefault(act.proposal, {})
            who.setdefault(event.signer, now)
            if len(who) >= k:
                met.setdefault(act.proposal, now)
        if event.kind == "activate" and not code:
            assert len(signers[act.proposal]) >= k
            assert now >= met[act.proposal] + 10 * SECOND
            for follows in events_of(fold.proposals[act.proposal], Nanos(now), fold):
                push(follows)
    for proposal in fold.proposals.values():
        if proposal.state == "activated":
            assert len(set(proposal.approvals)) >= k
            assert proposal.activated_at >= sorted(proposal.approvals.values())[k - 1] + 10 * SECOND
    found = audit(records, STACK, [held])
    assert not [f for f in found.findings if f.code == "parameter_without_approval"]


def _govern(held):
    from tidegate.service.acts import Govern  # noqa: PLC0415 - used here alone

    return Govern(**W.ours, rules=held)


def _found(act, who="service", ts=0):
    digest = digest_of(canonical(act))
    return attested(Shadow(**W.ours, proposal=act.proposal, digest=digest, found=FOUND), who, ts=ts)


def _drawn(rng, acts, now):
    target = acts[rng.choice("aab")]
    kind = rng.choice(["approve", "activate", "approve", "activate", "propose", "shadow"])
    kind = kind if rng.randrange(20) else "withdraw"
    who = rng.choice(["ann", "ann", "bob", "cyd", "eve", "service"])
    how = rng.choice(MUTATIONS) if rng.randrange(2) else "none"
    if kind == "shadow":
        return _found(target, rng.choice(["service", "eve"]), now)
    act = target if kind == "propose" else getattr(W, kind)(target)
    match how:
        case "venue":
            act = changed(act, venue="elsewhere")
        case "stack":
            act = changed(act, stack="0" * 16)
        case "expired":
            act = changed(act, expires=max(0, now - 1))
        case "digest" if kind != "propose":
            act = changed(act, digest="0" * 64)
        case "shadow" if kind == "approve":
            act = changed(act, shadow="0" * 64)
    if who == "service":
        return attested(act, who, ts=now)
    event = signed(act, who, now, key="eve" if how == "forged" else None)
    return msgspec.structs.replace(event, signer="ann") if how == "stolen" else event


# ------------------------------------------------------------------------------- the auditor


@pytest.fixture(scope="module")
def lived():
    """Return the records of a venue that was governed as it should be."""
    engine = Engine()

    async def day():
        await governed(engine)
        await activated(engine, W.propose("p", (DUST, 0, 7), (MM, 50_000, 60_000)))
        stop = W.override("halt", "ola", pauses=("pause.open.PERP",), mode="halted")
        await engine.desk.send(signed(stop, "ola"))
        await engine.desk.send(signed(W.confirm(stop, "pia"), "pia"))

    run(day())
    return list(engine.journal.read())


def index_of(records, kind, n=0):
    found = [r.seq for r in records if getattr(r.event, "kind", type(r.event).__name__) == kind]
    return found[n]


def tampered(records, at, event, *, drop=False):
    kept = [r for r in records if not (drop and r.seq == at)]
    return [
        Record(k, event if event is not None and r.seq == at else r.event, r.effects)
        for k, r in enumerate(kept)
    ]


def replaced(records, kind, n=0, **fields):
    at = index_of(records, kind, n)
    return tampered(records, at, msgspec.structs.replace(records[at].event, **fields))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("signature", "signature_invalid"),
        ("signer", "signature_invalid"),
        ("body", "signature_invalid"),
        ("approval dropped", "parameter_without_approval"),
        ("activation dropped", "parameter_without_approval"),
        ("value", "parameter_without_approval"),
        ("sooner", "parameter_without_approval"),
        ("rules", "rules_are_others"),
        ("confirmation dropped", "parameter_without_approval"),
        ("one person", "signer_is_another"),
        ("slipped in", "parameter_without_approval"),
        ("before", "values_have_moved"),
    ],
)
def test_a_journal_that_was_tampered_with_is_found_out(lived, name, code):
    """As if the hash chain had been computed anew by whoever did it."""
    at = {"approve": index_of(lived, "approve", 1), "confirm": index_of(lived, "confirm")}
    confirm = lived[at["confirm"]].event
    govern = lived[0].event
    other = canonical(_govern(rules(threshold=1)))
    first = lived[index_of(lived, "ParameterProposed")]
    records = {
        "signature": lambda: replaced(lived, "approve", 1, signature=bytes(64)),
        "signer": lambda: replaced(lived, "approve", 1, signer="cyd"),
        "body": lambda: replaced(
            lived,
            "propose",
            body=lived[index_of(lived, "propose")].event.body.replace(b'"value":7', b'"value":8'),
        ),
        "approval dropped": lambda: tampered(lived, at["approve"], None, drop=True),
        "activation dropped": lambda: tampered(lived, index_of(lived, "activate"), None, drop=True),
        "value": lambda: replaced(lived, "ParameterProposed", value=8),
        "sooner": lambda: replaced(lived, "ParameterProposed", effective_at=first.event.ts + 1),
        "rules": lambda: tampered(lived, 0, msgspec.structs.replace(govern, body=other)),
        "confirmation dropped": lambda: tampered(lived, at["confirm"], None, drop=True),
        "one person": lambda: tampered(
            lived, at["confirm"], msgspec.structs.replace(confirm, signer="ola")
        ),
        "slipped in": lambda: [
            *lived,
            Record(len(lived), ParameterChanged(ts=Nanos(2**61), name=DUST, value=0), ()),
        ],
        "before": lambda: [
            Record(r.seq, r.event, () if r.seq == first.seq else r.effects) for r in _twice()
        ],
    }[name]()
    found = audit(records, STACK, [rules()])
    assert code in {f.code for f in found.findings}, found.findings


def _twice():
    """Return the journal with a second proposal that starts from the first one's value."""
    engine = Engine()

    async def day():
        await governed(engine)
        await activated(engine, W.propose("p", (DUST, 0, 7)))
        await activated(engine, W.propose("q", (DUST, 7, 9)))

    run(day())
    return list(engine.journal.read())


def test_an_honest_journal_has_no_findings(lived):
    found = audit(lived, STACK, [rules()])
    assert not found.findings
    assert not found.ignored
    assert found.changes == 3
    assert found.signatures == 5
    assert not audit(lived, STACK).findings, "and the first rules are taken at its word"


# ------------------------------------------------------------------------------- rules and keys


@pytest.mark.parametrize(
    ("where", "make"),
    [
        ("threshold", lambda: rules(threshold=0)),
        ("threshold", lambda: rules(threshold=4)),
        ("lock_seconds", lambda: rules(lock=-1)),
        ("governors", lambda: rules(names=("ann", "ann"))),
        ("governors", lambda: rules(names=("ann", "service"))),
        ("governors.bob.key", lambda: _with(Person(name="bob", key=person("ann").key))),
        ("governors.bob.key", lambda: _with(Person(name="bob", key="zz"))),
        ("governors.bob.key", lambda: _with(Person(name="bob", key=person("bob").key.upper()))),
        ("governors.bob.key", lambda: _with(Person(name="bob"))),
        ("tightening.threshold", lambda: rules(tightening=Tightening(threshold=3))),
    ],
)
def test_unclear_rules_are_refused(where, make):
    with pytest.raises(ConfigInvalid) as info:
        make()
    assert info.value.where == where


def _with(second):
    return Rules(threshold=1, lock_seconds=0, governors=(person("ann"), second))


def test_a_file_of_governors_names_its_mistakes(tmp_path):
    file = tmp_path / "governors.toml"
    file.write_text(
        "threshold = 3\nlock_seconds = 60\n[[governors]]\n"
        f'name = "ann"\nkey = "{person("ann").key}"\n'
    )
    with pytest.raises(ConfigInvalid, match=r"governors.toml: threshold: must lie within 1..1"):
        Rules.load(file)
    file.write_text(file.read_text().replace("threshold = 3", "threshold = 1"))
    assert Rules.load(file).governors[0].name == "ann"


def test_a_private_key_is_its_owners_alone(tmp_path):
    file = tmp_path / "ann.key"
    save_key(file, key_of("ann"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert public_hex(load_key(file)) == person("ann").key
    with pytest.raises(ConfigInvalid, match="must be a new file"):
        save_key(file, key_of("bob"))
    file.chmod(0o640)
    with pytest.raises(ConfigInvalid, match="readable by its owner alone"):
        load_key(file)
    other = tmp_path / "other"
    other.write_text("no key")
    other.chmod(0o600)
    with pytest.raises(ConfigInvalid, match="must be a private key"):
        load_key(other)


def test_a_rehearsal_leaves_the_state_as_it_was():
    state = State.genesis(STACK)
    digest = state.digest()
    event = ParameterProposed(ts=Nanos(5), name=DUST, value=9, effective_at=Nanos(5))
    pause = ParameterChanged(ts=Nanos(5), name="pause.open.PERP", value=1)
    later = ParameterProposed(ts=Nanos(5), name=MM, value=60_000, effective_at=Nanos(50))
    assert rehearse(state, STACK, [event, pause, later, later]) == ["parameter_is_pending"]
    assert state.digest() == digest


def test_a_statement_that_the_engine_did_not_take_does_not_count():
    """An event from before the last one is refused by the engine; nothing of it holds."""
    from tidegate.domain.effects import Rejected  # noqa: PLC0415 - used here alone

    fold = Governance.of(STACK)
    event = attested(_govern(rules()), "service")
    code = "time_runs_backwards"
    heard = fold.hear([Record(0, event, (Rejected(code=code, detail=""),))])
    assert [h.code for h in heard] == [code]
    assert fold.rules is None
    assert isinstance(event, Attested)
