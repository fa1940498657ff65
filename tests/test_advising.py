"""Shadow mode: nothing leaves, everything is answered, and what was sent is never forgotten."""

import pytest

from crash_world import feed, stack_of
from desk import column
from tidegate.adapters.advising import ADVISING, ARMED, HALTED, SHIFT, Advising, Switch
from tidegate.adapters.compared import Compared
from tidegate.adapters.memory import MemoryJournal
from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import ClockTicked, LiquidationReported, OrdersExpired, OrdersFilled
from tidegate.domain.units import SECOND, Nanos, pack, unpack
from tidegate.drivers.live import Crank
from tidegate.ports import Record
from tidegate.testing.contracts import DurableVenueContract


FEED, STACK = feed(240, seed=5), stack_of()


def orders(first, lots=(-5, 3, -1), account=(20, 21, 22)):
    n = len(lots)
    return OrdersPlaced(
        first=first,
        route="book",
        account=pack(column(*account[:n])),
        instrument=pack(column(*[0] * n)),
        lots=pack(column(*lots)),
        limit=pack(column(*[1_000] * n)),
        share=pack(column(*[0] * n)),
        at=Nanos(0),
    )


class Filling:
    """A venue that fills everything at its limit with the next poll, and remembers what it sold."""

    def __init__(self, sold=None):
        self.sold = {} if sold is None else sold
        self.due = {}

    def submit(self, now, orders):
        lots, limits = unpack(orders.lots).tolist(), unpack(orders.limit).tolist()
        for k, (n, limit) in enumerate(zip(lots, limits, strict=True)):
            self.due.setdefault(orders.first + k, (now, n, limit))
            self.sold.setdefault(orders.first + k, n)

    def poll(self, now):
        due, self.due = sorted(self.due.items()), {}
        return [
            OrdersFilled(ts=at, order=pack(column(k)), lots=pack(column(n)), price=pack(column(p)))
            for k, (at, n, p) in due
            if at <= now
        ]


class TestAdvisingIsAVenue(DurableVenueContract):
    def make(self):
        return Advising()

    def reconnect(self, venue):
        del venue
        return Advising()

    def orders(self, first):
        return orders(first)


class TestAdvisingThatHolds(TestAdvisingIsAVenue):
    def make(self):
        return Advising(hold_ns=3 * SECOND)


class TestAHaltedSwitchIsAVenue(TestAdvisingIsAVenue):
    def make(self):
        return Switch(Filling(), mode=HALTED)

    def reconnect(self, venue):
        del venue
        return Switch(Filling(), mode=HALTED)


class TestAnArmedSwitchIsAVenue(TestAdvisingIsAVenue):
    def make(self):
        return Switch(Filling(), mode=ARMED)

    def reconnect(self, venue):
        del venue
        return Switch(Filling(), mode=ARMED)


def test_an_advising_engine_decides_and_sends_nothing():
    """The real engine in a crash: orders are placed, each expires with the reason, none is sold."""
    journal = MemoryJournal()
    crank = Crank(journal, STACK, Advising(hold_ns=SECOND), batch_max=16)
    crank.start()
    for event in FEED:
        crank.pump(event.ts)
        crank.feed([event])
    crank.pump(Nanos(FEED[-1].ts + 10 * SECOND))
    placed, gone = set(), set()
    for record in journal.read():
        if isinstance(record.event, OrdersExpired):
            assert record.event.reason == "advising"
            gone |= set(unpack(record.event.order).tolist())
        for effect in record.effects:
            if isinstance(effect, OrdersPlaced):
                placed |= set(range(effect.first, effect.first + len(effect.lots) // 8))
    assert placed
    assert placed == gone
    assert not crank.state.orders.counts[1], "nothing is left in flight"


# ------------------------------------------------------------------------------- the switch


def seq(n):
    return n << SHIFT


def test_orders_go_where_the_last_turn_before_them_says():
    inner = Filling()
    switch = Switch(inner, mode=ADVISING)
    switch.submit(Nanos(1), orders(seq(3)))
    assert not inner.sold
    switch.turn(5, ARMED)
    switch.submit(Nanos(2), orders(seq(6)))
    switch.stop()
    assert switch.mode == HALTED
    switch.submit(Nanos(3), orders(seq(7)))
    switch.turn(8, HALTED)
    switch.submit(Nanos(4), orders(seq(9)))
    heard = switch.poll(Nanos(5))
    assert set(inner.sold) == {seq(6), seq(6) + 1, seq(6) + 2}
    assert [
        (e.reason, unpack(e.order)[0] >> SHIFT) for e in heard if isinstance(e, OrdersExpired)
    ] == [
        ("advising", 3),
        ("halted", 7),
        ("halted", 9),
    ]


@pytest.mark.parametrize("mode_now", [ADVISING, HALTED])
def test_after_a_restart_what_was_sent_is_asked_about_and_what_was_held_is_not_sent(mode_now):
    """The venue may have sold it: a new process must hear of that, whatever the mode is by now."""
    turns = [(5, ARMED), (8, mode_now)]
    inner = Filling()
    switch = Switch(inner, mode=ADVISING, turns=turns)
    for at in (3, 6, 9):  # in flight, as a crank resubmits them, oldest first
        switch.submit(Nanos(10), orders(seq(at), lots=(-5,)))
    assert set(inner.sold) == {seq(6)}
    reasons = [e.reason for e in switch.poll(Nanos(11)) if isinstance(e, OrdersExpired)]
    assert reasons == ["advising", mode_now]


def test_what_a_stop_holds_back_is_over_before_the_stop_is_journalled():
    """Else a new process would take it for an order that was sent, and send it after the stop."""
    inner = Filling()
    switch = Switch(inner, mode=ARMED, hold_ns=10 * SECOND)
    switch.stop()
    switch.submit(Nanos(3 * SECOND), orders(seq(7)))  # venue time may be ahead of the clock
    (expired,) = switch.poll(Nanos(2))
    assert (expired.reason, unpack(expired.order)[0] >> SHIFT) == ("halted", 7)
    switch.turn(8, HALTED)
    switch.submit(Nanos(3 * SECOND), orders(seq(9)))
    assert not switch.poll(Nanos(4 * SECOND)), "from then on it is held as long as always"
    assert not inner.sold


def test_an_order_of_the_record_that_turns_the_switch_belongs_to_the_time_before():
    inner = Filling()
    switch = Switch(inner, mode=ARMED, turns=[(6, HALTED)])
    switch.submit(Nanos(1), orders(seq(6), lots=(-5,)))
    assert set(inner.sold) == {seq(6)}


# ------------------------------------------------------------------------------- comparison


def placed(number, ts, **how):
    return Record(number, ClockTicked(ts=Nanos(ts)), (orders(seq(number), **how),))


def reported(number, ts, account, lots):
    event = LiquidationReported(ts=Nanos(ts), account=account, instrument=0, lots=lots, cash=0)
    return Record(number, event, ())


def test_advice_is_held_against_what_the_venue_did():
    compared = Compared()
    compared.hear(
        [
            placed(0, 100, lots=(-5, -2), account=(20, 21)),
            placed(1, 110, lots=(-7,), account=(20,)),
            reported(2, 160, 20, -6),  # 60 after the first advice
            reported(3, 170, 20, -1),  # a further stage of the same
            reported(4, 180, 30, -9),  # never advised
            placed(5, 200, lots=(-1,), account=(30,)),
            reported(6, 220, 30, -1),
        ]
    )
    found = compared.summary()
    assert (found.both, found.missed, found.open) == (2, 1, 1)
    assert (found.lead_median, found.lead_least) == (40, 20)
    assert (found.advised_lots, found.reported_lots) == (8, 8)
    first = compared.episodes()[0]
    assert (first.advised_at, first.advised, first.orders, first.lead) == (100, -7, 2, 60)
    assert [e.account for e in compared.episodes()] == [20, 30, 30, 21]
    assert compared.episodes()[1].lead is None


def test_nothing_was_advised_and_nothing_reported():
    assert Compared().summary() == (0, 0, 0, None, None, 0, 0)
