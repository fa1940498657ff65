"""What is remembered over time agrees with what was recorded, and stays within its bounds."""

import pytest
from tests.test_streams import toys

from names import reading
from strategies import GUARDED, SHARED, STACKS
from tidegate.domain.effects import (
    AuctionsOpened,
    BreakerMoved,
    Deleveraged,
    OrdersPlaced,
    PositionsMoved,
    ProfileMoved,
)
from tidegate.domain.units import PPM, SECOND, unpack
from tidegate.engine.reading import notional_of
from tidegate.service.projections import Kept, Projections
from tidegate.service.views import venue_now
from tidegate.service.views_words import price_float


def heard(said, state, stack, *, batch: int = 7, **kept) -> Projections:
    """Return what a listener knows after hearing it all; the state is that of the end."""
    told, now = Projections(stack, Kept(**kept)), reading(state, stack)
    for begin in range(0, len(said), batch):
        told.listen(said[begin : begin + batch], now)
    return told


@pytest.fixture(scope="module", params=range(8))
def world(request):
    return toys()[request.param]


def effects_of(records, *kinds):
    return [(r, e) for r in records for e in r.effects if isinstance(e, kinds)]


def test_the_profile_of_each_second_is_its_worst(world):
    records, state, stack = world
    told = heard(records, state, stack)
    for i, of in enumerate(stack.venue.instruments):
        worst = {}
        for record, effect in effects_of(records, ProfileMoved):
            if effect.instrument == i:
                second = record.event.ts // SECOND
                worst[second] = max(worst.get(second, 0), effect.near)
        found = told.profile(i)
        assert [n * PPM for n in found.near] == pytest.approx([worst[s] for s in sorted(worst)])
        assert found.ts == sorted(found.ts)
        assert all(len(row) == stack.declaration.profile.buckets for row in found.down)
        if found.ts:
            assert found.mark[-1] <= price_float(of, of.price_max)
            later = told.profile(i, since=found.ts[len(found.ts) // 2])
            assert later.ts == found.ts[len(found.ts) // 2 + 1 :]
            thin = told.profile(i, rows=3)
            assert len(thin.ts) == min(3, len(found.ts))
            assert max(thin.near) == max(found.near)


def test_flow_adds_up_to_all_that_was_ordered_and_filled(world):
    records, state, stack = world
    told = heard(records, state, stack)
    told.listen([], reading(state, stack))
    told._close_row(reading(state, stack))  # the second that has not ended
    for i, of in enumerate(stack.venue.instruments):
        flow = told.flow(i)
        filled = 0
        for _, effect in effects_of(records, PositionsMoved):
            if effect.reason in {"fill", "auctioned"}:
                rows = zip(
                    *(unpack(c) for c in (effect.instrument, effect.lots, effect.price)),
                    strict=True,
                )
                filled += sum(notional_of(of, int(n), int(p)) / 2 for j, n, p in rows if j == i)
        assert sum(flow.filled) * PPM == pytest.approx(filled, rel=1e-6, abs=1_000)
        assert all(n >= 0 for n in flow.waiting + flow.ordered)
        assert len(flow.ts) == len(flow.budget)
    ordered = sum(sum(told.flow(i).ordered) for i in range(len(stack.venue.instruments)))
    assert (ordered > 0) == bool(effects_of(records, OrdersPlaced, AuctionsOpened))


def test_rungs_are_moves_and_no_calms(world):
    records, state, stack = world
    told = heard(records, state, stack)
    moves = [r for r, _ in pairwise_changes(effects_of(records, BreakerMoved))]
    assert [one.seq for one in told.rungs] == moves
    if told.rungs:
        assert told.rungs[-1].rung == state.rung
    found = venue_now(reading(state, stack), told.health, told.rung, told.rung_since)
    assert found.rung == state.rung
    assert found.rung_since == (told.rungs[-1].ts if told.rungs else 0)


def pairwise_changes(moves):
    before = None
    for record, effect in moves:
        if effect.rung != before:
            yield record.seq, effect.rung
        before = effect.rung


def test_receipts_and_log_come_newest_first_in_pages(world):
    records, state, stack = world
    now, told = reading(state, stack), heard(records, state, stack)
    wanted = [r.seq for r, _ in effects_of(records, Deleveraged)]
    assert [one.seq for one in told.receipts_before(2**62, 1_000)] == wanted[::-1]
    for one in told.receipts:
        assert one.winners
        assert one.bankrupt
    lines = told.log(now, 2**62, 10_000)
    assert [one.seq for one in lines] == [r.seq for r in records][::-1]
    assert told.log(now, 5, 2) == [one for one in lines if one.seq < 5][:2]


def test_memory_is_bounded(world):
    records, state, stack = world
    told = heard(records, state, stack, rows=5, receipts=1, records=10, rungs=2)
    assert len(told.log(reading(state, stack), 2**62, 10_000)) == min(10, len(records))
    assert len(told.receipts) <= 1
    assert len(told.rungs) <= 2
    for i in range(len(stack.venue.instruments)):
        assert len(told.profile(i).ts) <= 5
        assert len(told.flow(i).ts) <= 5


def test_a_calm_takes_two_rows_however_long_it_lasts():
    stack = STACKS[GUARDED]
    records, state, _ = toys()[0]
    told, now = Projections(stack), reading(state, stack)
    for second in range(50):
        state.now = records[-1].event.ts + second * SECOND
        told.listen(records[-1:], now)
    busy = sum(1 for n in told.flow(3).waiting if n)
    assert len(told.flow(3).ts) <= busy + 3 or busy
    assert len(told.fund(now).ts) == 2


def test_histories_of_guards_and_sharing_are_both_drawn():
    assert {id(stack) for _, _, stack in toys()[:8]} == {id(STACKS[GUARDED]), id(STACKS[SHARED])}
    assert any(effects_of(records, Deleveraged) for records, _, _ in toys())
