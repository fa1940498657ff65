"""The live crank: what it holds back, what it lets go, and how it finds its way back."""

import re

import msgspec
import numpy as np
import pytest

from crash_world import DECLARATION, feed, stack_of, venue_of
from exchange import LATENCY, FileVenue, accepted
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.memory import MemoryJournal
from tidegate.domain.effects import HealthMoved, OrdersPlaced, Posted, Rejected
from tidegate.domain.errors import (
    CapacityExceeded,
    ConfigInvalid,
    JournalCorrupt,
    ReplayDiverged,
    TidegateError,
)
from tidegate.domain.events import BookImported, ClockTicked, OrdersExpired, OrdersFilled
from tidegate.domain.units import pack, unpack
from tidegate.drivers import live
from tidegate.drivers.live import Crank, identity, in_flight
from tidegate.drivers.verify import Replayed, verify
from tidegate.ports import Record, Snapshot
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import Stack


N = 240
FEED = feed(N, seed=5)
STACK = stack_of()


class SilentVenue:
    """Takes orders and never answers; remembers in which order things reached it."""

    def __init__(self, diary=None):
        self.diary = [] if diary is None else diary
        self.news = []

    def submit(self, now, orders):
        self.diary.append(("submit", now, orders))

    def poll(self, now):
        del now
        news, self.news = self.news, []
        return news

    @property
    def submitted(self):
        return [row for row in self.diary if row[0] == "submit"]


class Diary(MemoryJournal):
    """Writes what is appended into the venue's diary, and fails when it is told to."""

    def __init__(self, diary):
        super().__init__()
        self.diary, self.full = diary, False

    def append(self, records, receipts=()):
        if self.full:
            raise CapacityExceeded("the disk is full")  # noqa: TRY003, EM101 - as a journal says it
        super().append(records, receipts)
        self.diary.append(("append", records[0].seq, len(records)))


def started(journal, venue, stack=STACK, **options):
    crank = Crank(journal, stack, venue, **options)
    crank.start()
    return crank


def day(crank, venue_looks=24):
    for at in range(0, N, venue_looks):
        crank.pump(FEED[at].ts)
        crank.feed(FEED[at : at + venue_looks])


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Return a journal of one day with everything in it, and the state at its end."""
    journal = MemoryJournal()
    venue = FileVenue(tmp_path_factory.mktemp("lived") / "orders")
    crank = started(journal, venue, batch_max=7, snapshot_every=50)
    day(crank)
    venue.close()
    return journal, crank.state


def up_to_the_first_orders(journal, venue, more=0, rows=1):
    """Return a crank that has just placed ``rows`` orders at once, and these orders."""
    crank = started(journal, venue, batch_max=1)
    asked = []
    for event in FEED:
        crank.feed([event])
        effects = next(journal.read(after=crank.head - 1)).effects
        asked = [e for e in effects if isinstance(e, OrdersPlaced) and len(e.lots) >= 8 * rows]
        if asked:
            break
    crank.feed(FEED[crank.taken : crank.taken + more])
    return crank, asked[0]


def copy_of(journal):
    copy = MemoryJournal()
    copy.claim(identity(STACK))
    copy.append(list(journal.read()))
    return copy


# ---------------------------------------------------------------- turning


def test_a_batch_is_durable_before_its_orders_leave():
    diary = []
    crank = started(Diary(diary), SilentVenue(diary), batch_max=5)
    crank.feed(FEED[:60])
    durable = -1
    for what, at, how in diary:
        if what == "append":
            durable = at + how - 1
        else:
            assert how.first >> 20 <= durable
    assert sum(what == "submit" for what, *_ in diary) > 1
    assert [at for what, at, _ in diary if what == "append"] == list(range(0, 60, 5))


def test_what_was_decided_is_what_leaves(lived):
    journal, _ = lived
    decided = [
        e for r in journal.read() for e in r.effects if isinstance(e, OrdersPlaced) and r.seq < 40
    ]
    venue = SilentVenue()
    crank = started(MemoryJournal(), venue)
    crank.feed(FEED[:24])
    sent = [orders for _, _, orders in venue.submitted]
    assert sent
    assert sent == decided[: len(sent)]


def test_nothing_leaves_when_the_batch_cannot_be_made_durable():
    diary = []
    journal, venue = Diary(diary), SilentVenue(diary)
    crank = started(journal, venue, batch_max=8)
    crank.feed(FEED[:1])
    before = len(diary)
    journal.full = True
    with pytest.raises(CapacityExceeded, match="disk is full"):
        crank.feed(FEED[1:])
    assert len(diary) == before
    for act in (lambda: crank.feed(FEED[1:]), lambda: crank.pump(FEED[1].ts), crank.snapshot):
        with pytest.raises(TidegateError, match=r"stands still\nhint: `start` a new one"):
            act()
    journal.full = False
    again = started(journal, venue, batch_max=8)
    assert again.head == 0
    again.feed(FEED[again.taken :])
    assert (again.head, again.taken) == (N - 1, N)


def test_the_events_before_a_fatal_one_are_kept_and_acted_on(monkeypatch):
    journal, venue, real = MemoryJournal(), SilentVenue(), live.step

    probe, _ = up_to_the_first_orders(MemoryJournal(), SilentVenue())
    fatal = probe.taken

    def step(state, event, stack, lens):
        if event is FEED[fatal]:
            raise AssertionError("the culprit")  # noqa: TRY003, EM101 - as `check` says it
        return real(state, event, stack, lens)

    monkeypatch.setattr(live, "step", step)
    crank = started(journal, venue, batch_max=fatal + 5)
    with pytest.raises(AssertionError, match="the culprit"):
        crank.feed(FEED)
    assert (journal.head, journal.taken) == (fatal - 1, fatal)
    assert venue.submitted
    with pytest.raises(TidegateError, match="stands still"):
        crank.feed(FEED[fatal + 1 :])
    monkeypatch.setattr(live, "step", real)
    again = started(journal, SilentVenue())
    again.feed(FEED[again.taken :])
    assert again.head == N - 1


def test_how_events_are_batched_is_no_part_of_the_answer():
    """With a venue that says nothing, nothing depends on when a batch ends."""
    digests = set()
    for batch_max in (1, 7, 1_000):
        crank = started(MemoryJournal(), SilentVenue(), batch_max=batch_max, snapshot_every=13)
        crank.feed(FEED)
        digests.add(crank.state.digest())
    assert len(digests) == 1


def test_an_answer_that_comes_late_is_dated_to_when_it_is_heard():
    journal, venue = MemoryJournal(), SilentVenue()
    crank, orders = up_to_the_first_orders(journal, venue, more=9)
    at = crank.taken
    answer = OrdersFilled(
        ts=FEED[at - 9].ts,
        order=pack(np.array([orders.first])),
        lots=orders.lots[:8],
        price=orders.limit[:8],
    )
    venue.news = [answer, msgspec.structs.replace(answer, ts=FEED[at].ts)]
    crank.pump(FEED[at].ts)
    first, second = list(journal.read(after=at - 1))
    assert first.event.ts == FEED[at - 1].ts
    assert not any(isinstance(e, Rejected) for e in first.effects)
    assert second.event.ts == FEED[at].ts
    assert [type(e) for e in second.effects] == [Rejected], "an answer twice is refused"
    assert (crank.head, crank.taken) == (at + 1, at)


def test_answers_and_observations_come_through_their_own_doors():
    venue = SilentVenue()
    crank = started(MemoryJournal(), venue)
    with pytest.raises(AssertionError, match="answers come through pump"):
        crank.feed([OrdersExpired(ts=0, order=b"", reason="")])
    venue.news = [ClockTicked(ts=0)]
    with pytest.raises(AssertionError, match="does not observe"):
        crank.pump(0)
    assert crank.head == -1


def test_a_crank_is_started_once_and_before_anything_else():
    crank = Crank(MemoryJournal(), STACK, SilentVenue())
    with pytest.raises(TidegateError, match="stands still"):
        crank.feed(FEED)
    crank.start()
    with pytest.raises(AssertionError, match="started once"):
        crank.start()
    crank.close()
    with pytest.raises(TidegateError, match="stands still"):
        crank.pump(0)


# ---------------------------------------------------------------- recovery


def test_recovery_gives_the_same_state_from_a_snapshot_and_from_the_beginning(lived):
    journal, state = lived
    snapshot = journal.latest()
    assert 0 < snapshot.seq < journal.head
    crank = Crank(journal, STACK, SilentVenue())
    found = crank.start(check=True)
    assert crank.state.digest() == state.digest()
    assert found.snapshot == snapshot.seq
    assert found.replayed == journal.head - snapshot.seq <= 57
    assert (found.head, found.taken) == (journal.head, N)
    fresh = Crank(copy_of(journal), STACK, SilentVenue())
    whole = fresh.start(check=True)
    assert (whole.snapshot, whole.replayed) == (-1, journal.head + 1)
    assert fresh.state.digest() == state.digest()


def test_orders_in_flight_are_submitted_again_with_their_open_lots():
    venue = SilentVenue()
    journal = MemoryJournal()
    crank, asked = up_to_the_first_orders(journal, venue, rows=4)
    first, lots, now = asked.first, unpack(asked.lots), FEED[crank.taken].ts
    part = np.array([first, first + 1])
    filled = np.array([lots[0], np.sign(lots[1])])
    venue.news = [
        OrdersFilled(ts=now, order=pack(part), lots=pack(filled), price=asked.limit[:16]),
        OrdersExpired(ts=now, order=pack(np.array([first + 3])), reason="gone"),
    ]
    crank.pump(now)
    left = {first + k: int(n) for k, n in enumerate(lots)}
    left[first + 1] -= int(filled[1])
    del left[first], left[first + 3]
    left = {order: n for order, n in left.items() if n}
    again = SilentVenue()
    found = Crank(journal, STACK, again).start()
    told = {}
    for _, at, orders in again.submitted:
        assert at == now
        assert orders.at == asked.at or orders.first >> 20 != first >> 20
        columns = (unpack(c).tolist() for c in (orders.lots, orders.account, orders.limit))
        for k, row in enumerate(zip(*columns, strict=True)):
            told[orders.first + k] = row
    account, limit = unpack(asked.account), unpack(asked.limit)
    mine = {order: row for order, row in told.items() if order >> 20 == first >> 20}
    assert mine == {o: (n, account[o - first], limit[o - first]) for o, n in left.items()}
    assert found.resubmitted == len(told)
    assert len(again.submitted) > 1, "a gap in the ids begins another batch"


def test_there_is_nothing_to_submit_when_nothing_is_in_flight():
    assert list(in_flight(Crank(MemoryJournal(), STACK, SilentVenue()).state, STACK)) == []


def test_a_venue_that_remembers_is_asked_about_what_was_not_heard(tmp_path):
    """The process dies after a poll and before its commit: the fills are told once more."""
    log = tmp_path / "orders"
    journal, venue = MemoryJournal(), FileVenue(log)
    crank, _ = up_to_the_first_orders(journal, venue)
    later = crank.state.now + 4 * LATENCY
    assert venue.poll(later), "heard by nobody"
    assert venue.poll(later) == []
    venue.close()
    reconnected = FileVenue(log)
    again = started(journal, reconnected)
    sent, head = accepted(log), again.head
    again.pump(later)
    reconnected.close()
    assert again.head > head
    assert accepted(log) == sent
    assert not list(in_flight(again.state, STACK)), "every order was answered for"


def test_limits_may_be_raised_between_two_starts(lived):
    """The way out of CapacityExceeded: snapshots of other capacities are rebuilt from record 0."""
    journal, state = lived
    wide = stack_of(positions_max=4_096, orders_max=2_048, accounts_max=256)
    crank = Crank(journal, wide, SilentVenue())
    found = crank.start(check=True)
    assert (found.snapshot, found.replayed) == (-1, journal.head + 1)
    assert crank.state.book.cash[:80].tolist() == state.book.cash[:80].tolist()


def test_a_snapshot_that_does_not_come_out_as_it_went_in_is_rebuilt(lived):
    journal, state = lived
    for bad in (
        Snapshot(journal.head, state.digest(), b"not a state"),
        Snapshot(journal.head, "another digest", state.dump()),
        Snapshot(journal.head - 1, state.digest(), state.dump()),
    ):
        copy = copy_of(journal)
        copy.save(bad)
        crank = Crank(copy, STACK, SilentVenue())
        assert crank.start().snapshot == -1
        assert crank.state.digest() == state.digest()


def test_another_stack_is_refused(lived):
    journal, _ = lived
    other = msgspec.structs.replace(DECLARATION, planner=StagedPlanner(close_fraction=1_000))
    with pytest.raises(ConfigInvalid, match="another stack needs a new journal"):
        Crank(journal, Stack.bind(other, venue_of()), SilentVenue()).start()


def test_a_journal_that_forgot_a_decision_is_caught_by_check(lived):
    journal, _ = lived
    doctored = changed(journal, 100, lambda effects: effects[:-1])
    Crank(doctored, STACK, SilentVenue())
    with pytest.raises(ReplayDiverged, match="record 100"):
        Crank(doctored, STACK, SilentVenue()).start(check=True)


def test_snapshots_are_taken_as_often_as_asked(tmp_path):
    journal = SqliteJournal(tmp_path / "j")
    crank = started(journal, SilentVenue(), batch_max=10, snapshot_every=40)
    for end, expected in ((30, None), (40, 39), (70, 39), (80, 79)):
        crank.feed(FEED[journal.taken : end])
        snapshot = journal.latest()
        assert (snapshot and snapshot.seq) == expected
    crank.close()


@pytest.mark.parametrize(("gone", "check"), [(80, False), (80, True), (30, True)])
def test_a_corrupt_journal_does_not_start(tmp_path, gone, check):
    """What a snapshot stands for is verified on request; what follows it, always."""
    journal = SqliteJournal(tmp_path / "j")
    crank = started(journal, SilentVenue(), batch_max=10, snapshot_every=40)
    crank.feed(FEED[:100])
    journal._db.execute("DELETE FROM batches WHERE first = ?", (gone,))
    crank.close()
    again = SqliteJournal(tmp_path / "j")
    with pytest.raises(JournalCorrupt, match=f"record {gone}: it is missing"):
        Crank(again, STACK, SilentVenue()).start(check=check)
    again.close()


# ---------------------------------------------------------------- verification


def changed(journal, seq, change):
    copy = MemoryJournal()
    copy.claim(identity(STACK))
    copy.append(
        [r._replace(effects=change(r.effects)) if r.seq == seq else r for r in journal.read()]
    )
    return copy


def test_a_history_verifies(lived):
    journal, state = lived
    assert verify(journal, STACK) == Replayed(events=journal.head + 1, digest=state.digest())


def test_the_first_effect_that_differs_is_named_with_both_sides(lived):
    journal, _ = lived
    seq, n, orders = next(
        (r.seq, n, e)
        for r in journal.read()
        for n, e in enumerate(r.effects)
        if isinstance(e, OrdersPlaced) and r.seq > 20
    )
    lots = unpack(orders.lots).copy()
    lots[-1] += 1
    other = msgspec.structs.replace(orders, lots=pack(lots))
    doctored = changed(journal, seq, lambda e: (*e[:n], other, *e[n + 1 :]))
    with pytest.raises(ReplayDiverged) as caught:
        verify(doctored, STACK)
    first, was, found, hint = str(caught.value).split("\n")
    assert first.startswith(f"record {seq} (")
    assert f"effect {n + 1} of" in first
    cells = f"{lots.size} cells," + (f" from cell {lots.size - 1} on" if lots.size > 1 else "")
    assert was == f"  journal: OrdersPlaced with lots {cells} [{lots[-1]}]"
    assert found == f"  replay:  OrdersPlaced with lots {cells} [{lots[-1] - 1}]"
    assert hint.startswith("hint:")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[:-1], r"effect (\d+) of \1 differs\n  journal: nothing\n  replay:  \w+"),
        (
            lambda e: (*e, Posted(debit=0, credit=1, asset=-1, amount=5, reason="x")),
            r"journal: Posted with debit 0, credit 1, asset -1, amount 5, .*\n  replay:  nothing",
        ),
        (
            lambda e: (
                HealthMoved(liquidatable=9, bankrupt=0, required=0, distressed=0, deficit=0),
                *e[1:],
            ),
            r"effect 1 of \d+ differs\n  journal: HealthMoved with liquidatable 9, .*\n  replay: ",
        ),
    ],
    ids=["missing", "invented", "of another kind"],
)
def test_a_missing_an_invented_and_another_effect_read_well(lived, change, message):
    journal, _ = lived
    with pytest.raises(ReplayDiverged) as caught:
        verify(changed(journal, 100, change), STACK)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_an_event_that_was_changed_is_noticed(lived):
    """Verification needs no trust in the stored effects: they follow from the events."""
    journal, _ = lived
    records = list(journal.read())
    assert isinstance(records[0].event, BookImported)
    cash = unpack(records[0].event.cash).copy()
    cash[0] += 1
    event = msgspec.structs.replace(records[0].event, cash=pack(cash))
    copy = MemoryJournal()
    copy.append([Record(0, event, records[0].effects), *records[1:]])
    with pytest.raises(ReplayDiverged, match=r"record 0 \(BookImported"):
        verify(copy, STACK)
