"""Trials of parameters over a journal: the same days, twice, by one model."""

import time
from contextlib import closing

import msgspec
import pytest

from tidegate.adapters.journal import SqliteJournal
from tidegate.api.checks import ParameterChange, ShadowAnswer, ShadowAsk
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import (
    Attested,
    ClockTicked,
    Deposited,
    LiquidationReported,
    OrdersExpired,
    ParameterChanged,
    ParameterProposed,
    SignalObserved,
)
from tidegate.domain.units import SECOND
from tidegate.drivers.live import in_flight
from tidegate.drivers.past import JournalPast, forked, state_at, warm, with_markets
from tidegate.drivers.recording import load
from tidegate.drivers.replay import Replay
from tidegate.drivers.shadow import shadow
from tidegate.drivers.shelf import load_stack
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.drivers.synthetic import make
from tidegate.engine.evolve import evolve
from tidegate.engine.step import decide
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.rerun import Trial, read_journal, rerun
from tidegate.service.runner import Busy
from tidegate.service.shadowrun import ShadowRuns, in_words, live_trial


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    """A journal of a crash's first minutes beside a venue that answers, and its stack."""
    folder = tmp_path_factory.mktemp("crash")
    make(folder / "recording", accounts=100, seed=3, scenario="gap")
    recording = load(folder / "recording")
    stack = Stack.bind(load_stack("bare"), recording.venue)
    path = folder / "run.db"
    with closing(SqliteJournal(path)) as journal:
        run = Replay(recording=recording, stack=stack, journal=journal)
        run.run(stop_after=80 * SECOND)
    return path, stack, run.state


def trial_of(crash, changes, tmp_path=None, begins=0, head=None, step=SECOND):
    path, stack, state = crash
    return Trial(
        journal=str(path),
        opened=read_journal,
        stack=stack,
        changes=changes,
        begins=begins,
        head=state.seq - 1 if head is None else head,
        step_ns=step,
        folder=tmp_path,
    )


def records_of(path):
    with closing(SqliteJournal(path, readonly=True)) as journal:
        return list(journal.read())


def test_a_change_that_changes_nothing_differs_in_nothing(crash):
    _, stack, state = crash
    now = int(state.facts.tier_maintenance[0])
    name = f"maintenance.{stack.venue.instruments[0].symbol}.0"
    said = []
    found = rerun(trial_of(crash, ((name, now),)), said.append)
    assert found.differ == 0
    assert found.verdict == found.verdict_after
    assert found.verdict["accounts_liquidated"] > 0
    assert 0 < found.regenerated < 1
    assert said == sorted(said)
    assert said[-1] > 0.9


def test_stricter_maintenance_would_have_liquidated_more(crash, tmp_path):
    path, _, state = crash
    strict = (("initial.SOL.0", 400_000), ("maintenance.SOL.0", 100_000))
    found = rerun(trial_of(crash, strict, tmp_path), lambda _: None)
    assert found.verdict_after["accounts_liquidated"] > found.verdict["accounts_liquidated"]
    assert found.differ >= 1
    only = [a for a in found.accounts if a.liquidated_after and not a.liquidated]
    assert len(only) >= 1
    assert found.accounts[0].forced != found.accounts[0].forced_after
    assert found.last == state.seq - 1
    assert found.first == 0
    kinds = {type(r.event).__name__ for r in records_of(path)}
    assert set(found.dropped) <= kinds
    assert found.dropped["ClockTicked"] > 50
    assert found.events + sum(found.dropped.values()) == state.seq
    # The pass without a change is shared by every trial of the window, and kept.
    again = rerun(trial_of(crash, strict, tmp_path), lambda _: None)
    assert again == found
    assert len(list(tmp_path.glob("*.pass"))) == 2
    rerun(trial_of(crash, (("penalty.BTC", 0),), tmp_path), lambda _: None)
    assert len(list(tmp_path.glob("*.pass"))) == 3


def test_a_window_begins_with_the_state_and_with_its_orders_in_flight(crash):
    path, stack, _ = crash
    records = records_of(path)
    placed = next(r for r in records if any(type(e).__name__ == "OrdersPlaced" for e in r.effects))
    begins = placed.event.ts + 1
    state = state_at(iter(records), stack, begins, lambda _: None)
    flying = list(in_flight(state, stack))
    assert flying
    venue = with_markets(stack.venue, state, SECOND)
    market = SimVenue(venue, Streams(7, 0))
    warm(market, state, stack)
    assert market.mid(0, state.now) in state.market.seen_price[0].tolist()
    assert market.next_due() is not None, "what is in flight will be answered"
    found = rerun(trial_of(crash, (), begins=begins), lambda _: None)
    assert found.first == state.seq
    assert found.differ == 0
    assert found.begins == begins


def past_of(events, held=()):
    records = [Record(n, event, ()) for n, event in enumerate(events)]
    return JournalPast(venue=None, records=lambda: iter(records), held=held)


def test_what_answered_old_orders_is_dropped_and_counted():
    events = [
        Deposited(ts=1, account=12, amount=5),
        ClockTicked(ts=2),
        OrdersExpired(ts=3, order=b"", reason="timeout"),
        LiquidationReported(ts=4, account=12, instrument=0, lots=1, cash=1),
        SignalObserved(ts=5, name="spectral_radius", model="m", version="1", value=3),
        SignalObserved(ts=6, name="volatility", model="m", version="1", value=3),
        Attested(ts=7, kind="approval", signer="a", body=b"", signature=b""),
        ParameterChanged(ts=8, name="penalty.BTC", value=1),
        ParameterProposed(ts=9, name="dust.BTC", value=1, effective_at=20),
    ]
    past = past_of(events, held={"penalty.BTC"})
    assert list(past.events()) == [events[0], events[5], events[8]]
    assert dict(past.dropped) == {
        "ClockTicked": 1,
        "OrdersExpired": 1,
        "LiquidationReported": 1,
        "SignalObserved": 1,
    }
    assert list(past.changed) == ["penalty.BTC", "dust.BTC"]
    assert list(past.overridden) == ["penalty.BTC"]
    assert (past.told, past.last, past.ends) == (3, 8, 9)
    assert events[3] in list(past_of(events).events(shadow=True))


def test_a_copy_on_trial_leaves_the_original_and_calls_off_what_is_on_its_way(crash):
    _, stack, state = crash
    digest = state.digest()
    changed = forked(state, stack, (("penalty.BTC", 7_777),))
    assert int(changed.facts.penalty[0]) == 7_777
    assert forked(state, stack).digest() == digest == state.digest()
    with pytest.raises(ConfigInvalid):
        forked(state, stack, (("penalty.NONE", 1),))
    coming = forked(state, stack)
    at = coming.now + 3_600 * SECOND
    for name in ("penalty.BTC", "penalty.ETH"):
        event = ParameterProposed(ts=coming.now, name=name, value=1_234, effective_at=at)
        for effect in decide(coming, event, stack):
            evolve(coming, effect)
    assert len(coming.pending.live) == 2
    assert len(forked(coming, stack, (("penalty.BTC", 7_777),)).pending.live) == 1


def test_an_undeclared_market_gets_the_depth_that_was_seen(crash):
    _, stack, state = crash
    bare = msgspec.structs.replace(stack.venue, markets=())
    made = with_markets(bare, state, 5 * SECOND)
    assert {m.symbol for m in made.markets} == {m.symbol for m in stack.venue.markets}
    assert made.step_ns == 5 * SECOND
    declared = {m.symbol: m.depth for m in stack.venue.markets}
    for m in made.markets:
        assert 0.1 < m.depth / declared[m.symbol] <= 1.5
    state = forked(state, stack)
    state.market.levels[:] = 0
    assert with_markets(bare, state, SECOND).markets == ()


def test_the_live_half_is_the_shadow_of_a_copy(crash):
    _, stack, state = crash
    changes = [("initial.SOL.0", 500_000), ("maintenance.SOL.0", 500_000)]
    asked = [ParameterChange(name=n, value=v) for n, v in changes]
    found, told = shadow(state, stack, changes), live_trial(state, stack, asked)
    assert told.n_liquidated == len(found.liquidated) > 0
    assert [a.account for a in told.liquidated] == [a.name for a in found.liquidated]
    assert float(told.short) == pytest.approx(found.short / 1e6)
    assert told.seq == state.seq - 1
    with pytest.raises(ConfigInvalid):
        live_trial(state, stack, [ParameterChange(name="nothing.SOL", value=1)])


def waited(runs, name, *, until=("done", "failed", "cancelled"), seconds=120.0):
    end = time.monotonic() + seconds
    while (found := runs.get(name)).status not in until:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_a_trial_runs_in_a_process_is_kept_and_is_found_again(crash, tmp_path):
    path, stack, state = crash
    asked = ShadowAsk(changes=[ParameterChange(name="penalty.BTC", value=20_000)], days=1.0)
    runs = ShadowRuns(stack, str(path), tmp_path)
    try:
        first = runs.ask(asked, state)
        assert first.status in {"waiting", "running"}
        assert first.live.seq == state.seq - 1
        assert runs.ask(asked, state).trial == first.trial, "asked twice, it is one trial"
        done = waited(runs, first.trial)
        assert (done.status, done.error, done.progress) == ("done", "", 1.0)
        assert done.past.step_s == pytest.approx(86_400 / 50_000)
        assert done.past.verdict["accounts_liquidated"] > 0
        assert len(done.digest) == 64
        words = in_words(done)
        assert "on the live book after record" in words
        assert f"{done.past.verdict['accounts_liquidated']} accounts liquidated before" in words
    finally:
        runs.close()
    later = ShadowRuns(stack, str(path), tmp_path)
    assert later.get(first.trial) == done
    assert later.ask(asked, state) == done
    assert msgspec.json.decode(msgspec.json.encode(done), type=ShadowAnswer) == done
    assert later.get("0" * 32) is None
    assert later.get("../" + first.trial) is None
    later.close()


def test_a_trial_can_be_cancelled_and_a_failed_one_says_why(crash, tmp_path):
    _, stack, state = crash
    runs = ShadowRuns(stack, str(tmp_path / "nothing.db"))
    one = ParameterChange(name="penalty.BTC", value=1)
    try:
        failed = runs.ask(ShadowAsk(changes=[one], days=1.0), state)
        next_ = runs.ask(ShadowAsk(changes=[one], days=2.0), state)
        refused = 0
        for day in range(3, 30):
            try:
                runs.ask(ShadowAsk(changes=[one], days=day), state)
            except Busy:
                refused += 1
        assert refused in {12, 13}, "sixteen wait at most, the first may run already"
        for answer in runs.all()[2:]:
            assert runs.cancel(answer.trial).status == "cancelled"
        cancelled = runs.cancel(next_.trial)
        assert cancelled.status == "cancelled"
        assert runs.cancel("unknown") is None
        found = waited(runs, failed.trial)
        assert found.status == "failed"
        assert "nothing.db" in found.error
        assert "Traceback" not in found.error
        alone = runs.ask(ShadowAsk(changes=[one], days=0.0), state)
        assert alone.status == "done"
        assert alone.past is None
        assert alone.digest
        assert {a.status for a in runs.all()} == {"failed", "cancelled", "done"}
    finally:
        runs.close()
