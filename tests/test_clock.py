"""A clock that is not believed when it jumps, and an ear for silence."""

import threading

import pytest

from crash_world import venue_of
from tidegate.domain.events import ClockTicked, DepthObserved, PriceObserved
from tidegate.ports import Record
from tidegate.service.clock import ANCHOR_NS, GuardedClock
from tidegate.service.silence import Silence, expected


SECOND = 10**9
T0 = 1_900_000_000 * SECOND


class Told:
    def __init__(self):
        self.said = []

    def raised(self, code, detail):
        self.said.append((code, detail))


class World:
    """Two clocks that are set by hand, and the one that watches them."""

    def __init__(self):
        self.wall, self.steady, self.told = T0, 500, Told()
        self.clock = GuardedClock(self.told, wall=lambda: self.wall, steady=lambda: self.steady)

    def passes(self, ns, wall=None):
        self.steady += ns
        self.wall += ns if wall is None else wall
        return self.clock.now() - T0


def test_a_wall_clock_that_agrees_is_followed():
    world = World()
    assert world.passes(SECOND) == SECOND
    assert world.passes(SECOND, SECOND + 200_000) == 2 * SECOND + 200_000, "slewed"
    assert world.told.said == []


@pytest.mark.parametrize("jump", [-3600 * SECOND, -1 * SECOND - 1, SECOND + 1, 3600 * SECOND])
def test_a_jump_is_told_once_and_not_followed(jump):
    world = World()
    world.passes(SECOND)
    assert world.passes(SECOND, SECOND + jump) == 2 * SECOND
    assert world.passes(SECOND) == 3 * SECOND
    assert [code for code, _ in world.told.said] == ["clock_jumped"]
    assert f"{jump / 1e9:+.3f} s" in world.told.said[0][1]
    assert world.clock.jump == jump


@pytest.mark.parametrize("jump", [-SECOND, SECOND])
def test_a_jump_within_the_tolerance_is_followed_and_time_never_goes_back(jump):
    world = World()
    world.passes(2 * SECOND)
    assert world.passes(0, jump) == max(2 * SECOND, 2 * SECOND + jump)
    assert world.told.said == []


def test_small_jumps_add_up():
    world = World()
    for _ in range(3):
        world.passes(SECOND, SECOND + SECOND // 2)
    assert [code for code, _ in world.told.said] == ["clock_jumped"]


def test_a_slewed_clock_is_followed_for_ever():
    world = World()
    for _ in range(100):  # 500 ppm, for 100 minutes
        world.passes(ANCHOR_NS, ANCHOR_NS + ANCHOR_NS // 2_000)
    assert world.told.said == []
    assert world.clock.now() == world.wall


def test_a_clock_that_comes_back_is_believed_again():
    world = World()
    world.passes(0, 10 * SECOND)
    world.passes(SECOND, SECOND - 10 * SECOND)
    assert world.clock.jump == 0
    assert world.clock.now() == world.wall
    world.passes(0, 10 * SECOND)
    assert len(world.told.said) == 2, "the next jump is another one"


def test_an_operator_may_confirm_a_jump():
    world = World()
    world.passes(0, 3600 * SECOND)
    assert world.clock.confirm() == 3600 * SECOND
    assert world.passes(SECOND) == 3601 * SECOND
    world.passes(0, -60 * SECOND)
    assert world.clock.confirm() == -60 * SECOND
    assert world.passes(SECOND) == 3601 * SECOND, "it stands until the wall clock has caught up"
    assert world.passes(60 * SECOND) == 3602 * SECOND


def test_many_threads_see_one_time():
    clock = GuardedClock(Told())
    seen = []

    def ask():
        mine = [clock.now() for _ in range(2_000)]
        seen.append(mine == sorted(mine))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4


# Silence.

VENUE = venue_of()


def record(event):
    return Record(0, event, ())


def spoken(instrument=0, source=0):
    return record(PriceObserved(ts=T0, instrument=instrument, source=source, price=1, published=T0))


def test_a_source_that_is_silent_is_told_of_once():
    at, told = [0.0], Told()
    ear = Silence(expected(VENUE), VENUE, told, after_s=10, steady=lambda: at[0])
    everyone = [(i, s) for i in range(len(VENUE.instruments)) for s in range(len(VENUE.sources))]
    ear.listen([spoken(i, s) for i, s in everyone])
    at[0] = 9.9
    assert ear.check() == []
    ear.listen([spoken(i, s) for i, s in everyone if (i, s) != (1, 0)])
    at[0] = 10
    silent = (VENUE.instruments[1].symbol, VENUE.sources[0])
    assert ear.check() == [silent]
    assert ear.check() == [silent]
    assert [code for code, _ in told.said] == ["feed_silent"]
    assert silent[0] in told.said[0][1]
    ear.listen([spoken(1, 0)])
    assert ear.check() == []
    assert ear.ages()[silent] == 0
    at[0] = 20
    assert len(ear.check()) == len(everyone)
    assert len(told.said) == 1 + len(everyone), "each of its own"


def test_only_what_is_expected_counts_and_nonsense_breaks_nothing():
    at, told = [0.0], Told()
    symbol = VENUE.instruments[0].symbol
    ear = Silence([(symbol, "depth")], VENUE, told, after_s=10, steady=lambda: at[0])
    at[0] = 9
    ear.listen([spoken(), spoken(99, 0), spoken(0, 99), spoken(-1, -1)])
    ear.listen([record(ClockTicked(ts=T0))])
    at[0] = 11
    assert ear.check() == [(symbol, "depth")]
    empty = {"bid_price": b"", "bid_lots": b"", "ask_price": b"", "ask_lots": b""}
    ear.listen([record(DepthObserved(ts=T0, instrument=0, **empty))])
    assert ear.check() == []
    assert (symbol, "depth") in expected(VENUE, depth=True)
