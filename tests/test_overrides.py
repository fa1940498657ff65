"""The brakes: one person may stop for a while, two may stop for good, and nobody starts alone."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from governed import DUST, FOUND, LOCK, STACK, VENUE, Engine, Writer, rules, signed
from test_advising import Filling, orders, seq
from tidegate.adapters.advising import ARMED, HALTED, Switch
from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.events import ClockTicked, ParameterChanged
from tidegate.domain.restraint import ACTIONS
from tidegate.domain.units import Nanos
from tidegate.ports import Record
from tidegate.service.acts import attested
from tidegate.service.desk import Refusal, listener
from tidegate.service.governance import Governance
from tidegate.service.governance_audit import audit
from tidegate.service.kept import keep, recall
from tidegate.service.overrides import REDUCING, STOPPED, Overrides, pauses_of
from tidegate.service.rules import Stopping


W = Writer()
OPEN, BORROW, CLOSE = "pause.open.PERP", "pause.borrow.PERP", "pause.close.PERP"
WAITS = Stopping(confirm_seconds=100, alone_seconds=300, rest_seconds=1_000)


def run(coroutine):
    return asyncio.run(coroutine)


async def begun(engine, **more):
    await engine.desk.govern(rules(overrides=WAITS, **more))


async def ask(engine, name, by="ola", **more):
    act = W.override(name, by, **more)
    await engine.desk.send(signed(act, by))
    return act


async def confirm(engine, act, by="pia"):
    await engine.desk.send(signed(W.confirm(act, by), by))


async def refused(engine, event):
    with pytest.raises(Refusal) as info:
        await engine.desk.send(event)
    return info.value.code


def flags(engine):
    """Return the pauses that are on."""
    state = engine.state
    return {
        f"pause.{a}.{i.symbol}"
        for n, i in enumerate(VENUE.instruments)
        for a in ACTIONS
        if state.restraint.flagged(n, a)
    }


def honest(engine):
    found = audit(engine.journal.read(), STACK)
    assert not found.findings
    return found


# ------------------------------------------------------------------------------- two persons


def test_what_two_agree_on_stands_until_two_lift_it():
    engine = Engine()

    async def day():
        await begun(engine)
        act = await ask(engine, "calm", pauses=(OPEN, BORROW), mode="halted")
        assert (flags(engine), engine.overrides.mode) == (set(), "advising")
        assert await refused(engine, signed(W.confirm(act, "ola"), "ola")) == "needs_two_persons"
        await confirm(engine, act)
        assert (flags(engine), engine.overrides.mode) == ({OPEN, BORROW}, "halted")
        assert engine.stops == 1
        engine.wait(100_000)
        assert await engine.desk.tick() == []
        order = engine.overrides.orders["calm"]
        assert (order.state, order.by, order.confirmed_by) == ("standing", "ola", "pia")
        alone = W.override("go", "ola", resumes=(OPEN,), alone=True)
        assert await refused(engine, signed(alone, "ola")) == "needs_two_persons"
        half = await ask(engine, "half", resumes=(OPEN,))
        assert flags(engine) == {OPEN, BORROW}
        await confirm(engine, half)
        assert flags(engine) == {BORROW}
        rest = await ask(engine, "rest", by="pia", resumes=(BORROW,), mode="armed")
        await confirm(engine, rest, "ola")
        assert (flags(engine), engine.overrides.mode) == (set(), "armed")
        assert order.state == "lifted"

    run(day())
    assert honest(engine).signatures == 6


def test_a_request_that_nobody_confirms_in_time_is_none():
    engine = Engine()

    async def day():
        await begun(engine)
        act = await ask(engine, "late", pauses=(OPEN,))
        engine.wait(101)
        event = signed(W.confirm(act, "pia"), "pia")
        assert await refused(engine, event) == "override_is_closed"
        assert engine.overrides.orders["late"].stage(engine.now) == "expired"

    run(day())
    assert not flags(engine)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, "changes_nothing"),
        ({"pauses": (OPEN, OPEN)}, "changed_twice"),
        ({"pauses": (OPEN,), "resumes": (OPEN,)}, "changed_twice"),
        ({"pauses": (DUST,)}, "parameter_unknown"),
        ({"pauses": (CLOSE,)}, "reduction_not_asked_for"),
        ({"pauses": (CLOSE,), "alone": True, "reduces": True}, "needs_two_persons"),
        ({"resumes": (OPEN,), "alone": True}, "needs_two_persons"),
        ({"mode": "armed", "alone": True}, "needs_two_persons"),
        ({"mode": "advising", "alone": True}, "needs_two_persons"),
        ({"pauses": (OPEN,), "expires": 3}, "expired"),
    ],
)
def test_what_is_refused(more, code):
    engine = Engine()

    async def day():
        await begun(engine)
        assert await refused(engine, signed(W.override("x", "ola", **more), "ola")) == code

    run(day())


def test_who_is_refused():
    engine = Engine()

    async def day():
        await begun(engine)
        act = W.override("x", "ola", pauses=(OPEN,))
        assert await refused(engine, signed(act, "eve")) == "signer_is_another"
        other = W.override("x", "eve", pauses=(OPEN,))
        assert await refused(engine, signed(other, "eve")) == "signer_unknown"
        assert await refused(engine, signed(act, "ola", key="eve")) == "signature_invalid"
        assert await refused(engine, attested(act, "ola")) == "signature_invalid"
        await engine.desk.send(signed(act, "ola"))
        assert await refused(engine, signed(act, "ola")) == "override_exists"
        another = W.override("x", "ola", pauses=(BORROW,))
        event = signed(W.confirm(another, "pia"), "pia")
        assert await refused(engine, event) == "digest_is_another"
        unknown = W.override("y", "ola", pauses=(OPEN,))
        event = signed(W.confirm(unknown, "pia"), "pia")
        assert await refused(engine, event) == "override_unknown"

    run(day())


def test_operators_without_keys_are_two_authenticated_names():
    """A kill switch must work where nobody has set up governors."""
    engine = Engine()

    async def day():
        act = W.override("halt", "key-1", mode="halted", alone=True)
        await engine.desk.send(attested(act, "key-1"))
        assert engine.overrides.mode == "halted"
        own = W.confirm(act, "key-1")
        assert await refused(engine, attested(own, "key-1")) == "needs_two_persons"
        await engine.desk.send(attested(W.confirm(act, "key-2"), "key-2"))

    run(day())
    assert engine.overrides.orders["halt"].state == "standing"
    assert honest(engine).unsigned == 2


# ------------------------------------------------------------------------------- alone


def test_a_stop_by_one_person_acts_at_once_and_lapses():
    engine = Engine()

    async def day():
        await begun(engine)
        await ask(engine, "panic", pauses=(OPEN,), mode="halted", alone=True)
        assert (flags(engine), engine.overrides.mode, engine.stops) == ({OPEN}, "halted", 1)
        engine.wait(299)
        assert await engine.desk.tick() == []
        engine.wait(1)
        assert await engine.desk.tick() == ["lapse:panic"]
        assert (flags(engine), engine.overrides.mode) == (set(), "advising")
        again = W.override("again", "ola", pauses=(OPEN,), alone=True)
        assert await refused(engine, signed(again, "ola")) == "stopped_alone_before"
        await ask(engine, "pia", by="pia", pauses=(OPEN,), alone=True)
        engine.wait(1_000)
        await engine.desk.tick()
        await engine.desk.send(signed(again, "ola"))
        third = W.override("third", "ola", pauses=(BORROW,), alone=True)
        assert await refused(engine, signed(third, "ola")) == "stops_alone_already"

    run(day())
    honest(engine)


def test_a_confirmed_stop_does_not_lapse():
    engine = Engine()

    async def day():
        await begun(engine)
        act = await ask(engine, "panic", pauses=(OPEN,), alone=True)
        engine.wait(250)
        await confirm(engine, act)
        engine.wait(10_000)
        assert await engine.desk.tick() == []

    run(day())
    assert flags(engine) == {OPEN}


def test_what_lapses_takes_nothing_from_others():
    """A pause that two persons want stays on when the one that began it lapses."""
    engine = Engine()

    async def day():
        await begun(engine)
        await ask(engine, "panic", pauses=(OPEN, BORROW), alone=True)
        act = await ask(engine, "calm", by="pia", pauses=(OPEN,))
        await confirm(engine, act, "ola")
        engine.wait(300)
        await engine.desk.tick()
        assert flags(engine) == {OPEN}
        assert engine.overrides.orders["calm"].held == [OPEN]
        back = await ask(engine, "back", resumes=(OPEN,))
        await confirm(engine, back)

    run(day())
    assert not flags(engine)
    honest(engine)


def test_a_pause_of_the_governors_outlives_the_operators():
    engine = Engine()

    async def day():
        await begun(engine, lock=0)
        act = W.propose("shut", (OPEN, 0, 1))
        await engine.desk.send(signed(act, "ann"))
        await engine.desk.shadow("shut", FOUND, "")
        for name in ("ann", "bob"):
            await engine.desk.send(signed(W.approve(act), name))
        await engine.desk.tick()
        assert flags(engine) == {OPEN}
        await ask(engine, "panic", pauses=(OPEN, BORROW), alone=True)
        engine.wait(300)
        await engine.desk.tick()
        assert flags(engine) == {OPEN}
        event = signed(W.override("go", "ola", resumes=(OPEN,)), "ola")
        assert await refused(engine, event) == "paused_by_governors"

    run(day())
    honest(engine)


def test_an_announced_change_does_not_keep_a_brake_from_being_pulled():
    engine = Engine()

    async def day():
        await begun(engine, lock=0)
        late = engine.now + 10**15
        act = W.propose("shut-later", (OPEN, 0, 1), effective_at=late)
        await engine.desk.send(signed(act, "ann"))
        await engine.desk.shadow("shut-later", FOUND, "")
        for name in ("ann", "bob"):
            await engine.desk.send(signed(W.approve(act), name))
        await engine.desk.tick()
        assert not flags(engine)
        await ask(engine, "panic", pauses=(OPEN,), alone=True)

    run(day())
    assert flags(engine) == {OPEN}
    honest(engine)


def test_a_pause_that_does_not_exist_is_told():
    engine = Engine()

    async def day():
        await begun(engine)
        await ask(engine, "typo", pauses=("pause.open.NOPE",), alone=True)

    run(day())
    assert engine.overrides.orders["typo"].codes == ["parameter_unknown: pause.open.NOPE"]


def test_a_kill_switch_leaves_people_their_way_out():
    assert not set(STOPPED) & set(REDUCING)
    assert pauses_of(VENUE, ["open"], ["*"]) == ("pause.open.PERP", "pause.open.OTHER")
    assert pauses_of(VENUE, ["open", "borrow"], ["PERP", "PERP"]) == (OPEN, BORROW)


# ------------------------------------------------------------------------------- and the switch


def test_the_switch_follows_the_journal_and_holds_before_it():
    engine = Engine()
    inner = Filling()
    switch = Switch(inner, mode=ARMED)
    engine.overrides.settled = ARMED
    hear = listener(engine.governance, engine.overrides, switch.turn)
    engine.heard = lambda records: hear(records, None)
    engine.desk._stop = switch.stop

    async def day():
        await begun(engine)
        switch.submit(1, orders(seq(engine.head), lots=(-5,)))
        assert len(inner.sold) == 1
        await ask(engine, "halt", mode="halted", alone=True)
        switch.submit(2, orders(seq(engine.head + 1), lots=(-5,)))
        assert (len(inner.sold), switch.mode) == (1, HALTED)
        engine.wait(300)
        await engine.desk.tick()
        switch.submit(3, orders(seq(engine.head + 1), lots=(-5,)))
        assert (len(inner.sold), switch.mode) == (2, ARMED)

    run(day())
    again = Switch(Filling(), mode=ARMED, turns=engine.overrides.turns)
    assert again.mode == ARMED


# ------------------------------------------------------------------------------- keeping


def test_what_is_kept_beside_the_journal_saves_reading_it(tmp_path):
    engine = Engine()
    path = tmp_path / "kept"

    async def day():
        await begun(engine)
        await ask(engine, "panic", pauses=(OPEN,), mode="halted", alone=True)
        keep(path, engine.journal, engine.governance, engine.overrides)
        engine.wait(LOCK)
        await engine.desk.tick()

    run(day())
    for there, read in ((True, 2), (False, engine.head + 1)):
        governance, overrides = Governance.of(STACK), Overrides.of(STACK)
        assert recall(path, engine.journal, governance, overrides) == read
        assert overrides.orders == engine.overrides.orders
        assert overrides.turns == engine.overrides.turns
        assert governance.rules == engine.governance.rules
        if there:
            path.write_bytes(b"damaged")


def test_what_was_kept_is_trusted_beside_its_own_journal_only(tmp_path):
    """Its start is not read again, however long it is; another journal is read from its start."""
    path = tmp_path / "kept"
    ticks = [Record(n, ClockTicked(ts=Nanos(n)), ()) for n in range(9)]
    other = [Record(n, ClockTicked(ts=Nanos(100 + n)), ()) for n in range(9)]
    for name, records in (("own", ticks), ("other", other)):
        with closing(SqliteJournal(tmp_path / name)) as journal:
            journal.append(records[:3])
            journal.append(records[3:7])
            if name == "own":
                governance, overrides = Governance.of(STACK), Overrides.of(STACK)
                assert recall(path, journal, governance, overrides) == 7
                keep(path, journal, governance, overrides)
            journal.append(records[7:])
    with closing(sqlite3.connect(tmp_path / "own")) as db:
        db.execute("UPDATE batches SET frame = x'00' WHERE first = 0")
        db.commit()
    for name, read in (("own", 2), ("other", 9)):
        governance, overrides = Governance.of(STACK), Overrides.of(STACK)
        with closing(SqliteJournal(tmp_path / name, readonly=True)) as journal:
            assert recall(path, journal, governance, overrides) == read
            assert (governance.head, overrides.head) == (8, 8)
            assert recall(path, journal, governance, overrides) == 0, "as for a standby"


def test_pauses_of_operators_are_dated_changes():
    engine = Engine()

    async def day():
        await begun(engine)
        await ask(engine, "panic", pauses=(OPEN,), alone=True)

    run(day())
    events = [r.event for r in engine.journal.read() if isinstance(r.event, ParameterChanged)]
    assert [(e.name, e.value) for e in events] == [(OPEN, 1)]
