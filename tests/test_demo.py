"""The demonstration: a recording told over the API gives what a replay of it gives."""

import asyncio
import socket
import time
from collections import Counter

import msgspec
import numpy as np
import pytest

from service_world import KEYS, engine_of, house, served, service_of
from strategies import ALL, drawn, unfold
from tidegate.adapters.memory import MemoryJournal
from tidegate.api import asks
from tidegate.domain.book import EXTERNAL, FIRST_USER
from tidegate.domain.effects import AuctionsReduced, Rejected
from tidegate.domain.errors import AskInvalid, CapacityExceeded
from tidegate.domain.events import (
    AccountOpened,
    AuctionTaken,
    BidCommitted,
    BidPlaced,
    BidRevealed,
    BookImported,
    ClockTicked,
    CommitmentMade,
    FundStaked,
    OrdersExpired,
    OrdersFilled,
    PoolJoined,
    PoolLeft,
    Traded,
    Unstaked,
    UnstakeRequested,
)
from tidegate.domain.instrument import Spot
from tidegate.domain.units import SECOND, pack, unpack
from tidegate.drivers.recording import load
from tidegate.drivers.replay import Replay
from tidegate.drivers.shelf import load_stack
from tidegate.drivers.synthetic import make
from tidegate.drivers.verdict import Meter
from tidegate.engine.state import State
from tidegate.engine.step import apply
from tidegate.safeguards.stack import Stack
from tidegate.service import demo, read_routes
from tidegate.service.demo_clock import LATE_S, DemoClock
from tidegate.service.door import Door
from tidegate.service.outcomes import outcome_of
from tidegate.service.player import Player
from tidegate.service.reading import Names
from tidegate.service.serving import bound
from tidegate.service.undoor import Undoor, Unsayable


# The way back through the door ------------------------------------------------------------------


def there_and_back(ask, door, rows, ts):
    """Return the event of an ask that crosses the wire as JSON."""
    sent = msgspec.json.decode(msgspec.json.encode(ask), type=asks.AnyAsk)
    return door.prepare(sent).build(rows, ts)


def sized(stack):
    """Return the stack with an ETH whose smallest unit agrees with what a lot of it is worth."""
    venue = stack.venue
    right = tuple(
        msgspec.structs.replace(i, lot_size="0.000001") if isinstance(i, Spot) else i
        for i in venue.instruments
    )
    return Stack.bind(stack.declaration, msgspec.structs.replace(venue, instruments=right))


def there_and_back_again(history, kinds):
    """Count the kinds of events that came back the same; fail for one that did not."""
    stack = sized(history.stack)
    door, names = Door(stack), None
    for world, event in unfold(history):
        names = names or Names(world.state)
        if len(set(names.all)) < len(names.all):
            return  # the toy imports a book twice; the service opens no name twice
        try:
            built = there_and_back(Undoor(stack, names).ask(event), door, names, event.ts)
        except (Unsayable, IndexError, ValueError, AskInvalid, msgspec.ValidationError) as error:
            built = error  # most events that fail are malformed on purpose
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        if any(isinstance(e, Rejected) for e in effects):
            continue
        if isinstance(built, Unsayable | msgspec.ValidationError):
            continue  # the schema refuses what the engine only clamps
        assert built == _as_it_counts(event, stack)
        kinds[type(event).__name__] += 1


def test_what_is_said_of_an_event_becomes_the_same_event():
    """Every event that the engine has nothing against, in histories of everything that happens."""
    kinds = Counter()
    for seed in range(24):
        there_and_back_again(drawn(seed, 60, ALL[seed % len(ALL)]), kinds)
    often = {"PriceObserved", "DepthObserved", "Deposited", "Traded", "FundingPaid", "OrdersFilled"}
    rare = {"BookImported", "AccountOpened", "OrdersExpired", "InterestAccrued", "SignalObserved"}
    assert {"Withdrawn", "Transferred", "LiquidationReported", *often, *rare} <= set(kinds), kinds


def _as_it_counts(event, stack):
    """Return an event without what the engine ignores: entry prices of balances, odd no-owners."""
    if isinstance(event, AccountOpened):
        return msgspec.structs.replace(event, owner=max(-1, event.owner))
    if not isinstance(event, BookImported):
        return event
    spot = [isinstance(stack.venue.instruments[i], Spot) for i in unpack(event.instrument)]
    return msgspec.structs.replace(event, entry=pack(np.where(spot, 0, unpack(event.entry))))


class Two:
    """Two accounts; every order and auction is in the first instrument."""

    def row(self, name):
        return {"ann": FIRST_USER, "bob": FIRST_USER + 1}.get(name, -1)

    def name(self, row):
        return ("ann", "bob")[row - FIRST_USER]

    def ordered_in(self, order):
        del order
        return 0

    sold_in = ordered_in


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    """A small recording whose price gaps within the first minute."""
    folder = tmp_path_factory.mktemp("demo") / "gap"
    make(folder, accounts=200, seed=3, scenario="gap")
    return load(folder)


@pytest.fixture(scope="module")
def stack(crash):
    return Stack.bind(load_stack("guarded"), crash.venue)


@pytest.mark.parametrize(
    "event",
    [
        AuctionTaken(ts=9, auction=5, bidder=EXTERNAL, lots=3, limit=70),
        BidPlaced(ts=9, auction=5, bidder=FIRST_USER + 1, lots=3, limit=70),
        BidCommitted(ts=9, auction=5, bidder=FIRST_USER, seal=bytes(range(32))),
        CommitmentMade(
            ts=9, account=FIRST_USER, instrument=1, long_max=4, short_max=0, discount=7, slope=1
        ),
        FundStaked(ts=9, account=FIRST_USER, tranche=1, amount=1),
        UnstakeRequested(ts=9, account=FIRST_USER, tranche=0, shares=12),
        Unstaked(ts=9, account=FIRST_USER, tranche=1),
        PoolJoined(ts=9, account=FIRST_USER, amount=10**12 + 1),
        PoolLeft(ts=9, account=FIRST_USER, amount=5),
    ],
    ids=lambda event: type(event).__name__,
)
def test_rare_events_go_there_and_back(event, stack):
    assert there_and_back(Undoor(stack, Two()).ask(event), Door(stack), Two(), 9) == event


def test_a_sealed_bid_is_opened_in_words(stack):
    event = BidRevealed(ts=9, bid=2, lots=3, limit=70, salt=b"s" * 16)
    assert there_and_back(Undoor(stack, Two()).reveal(event, 5), Door(stack), Two(), 9) == event


@pytest.mark.parametrize(
    "event",
    [
        ClockTicked(ts=9),
        Traded(ts=9, instrument=0, taker=FIRST_USER, maker=0, lots=1, price=1, reduces=True),
    ],
)
def test_what_no_feed_may_tell_is_not_told_as_something_else(event, stack):
    with pytest.raises(Unsayable):
        Undoor(stack, Two()).ask(event)


# The clock --------------------------------------------------------------------------------------


class Watch:
    """A stop watch that a test winds."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def never():
    return False


def test_time_passes_at_its_speed_and_never_ahead_of_the_player():
    watch = Watch()
    clock = DemoClock(1_000 * SECOND, 10.0, steady=watch)
    assert clock.now() == 1_000 * SECOND
    assert clock.wait(1_000 * SECOND, never)
    watch.time += 0.25
    assert clock.now() == 1_000 * SECOND  # it has been told no further
    assert clock.wait(1_002 * SECOND, never)
    assert clock.now() == 1_002 * SECOND
    assert clock.slips == 0


def test_a_player_that_is_late_slows_time_down():
    watch = Watch()
    clock = DemoClock(0, 10.0, steady=watch)
    clock.wait(0, never)
    watch.time += 1 + 2 * LATE_S
    assert clock.wait(10 * SECOND, never)
    assert (clock.slips, clock.now()) == (1, 10 * SECOND)
    watch.time += 1.0  # from there on at the speed again, with nothing to catch up on
    assert clock.wait(20 * SECOND, never)
    assert (clock.slips, clock.pace) == (1, 20 / 3)


def test_in_a_pause_time_stands_still():
    watch = Watch()
    clock = DemoClock(0, 1.0, steady=watch)
    clock.wait(0, never)
    watch.time += 2
    clock.wait(1 * SECOND, never)
    clock.pause()
    watch.time += 100
    assert clock.now() == 1 * SECOND
    asked = []
    assert not clock.wait(2 * SECOND, lambda: asked.append(1) or len(asked) > 2)
    clock.resume()
    clock.set_speed(2.0)
    watch.time += 0.5
    assert clock.wait(2 * SECOND, never)
    assert clock.pace == pytest.approx(2 / 2.5)


def test_as_fast_as_it_can_nobody_waits():
    clock = DemoClock(0, float("inf"), steady=Watch())
    assert clock.wait(10**15, never)
    assert (clock.now(), clock.slips) == (10**15, 0)


# The performance --------------------------------------------------------------------------------

SECONDS = 70


def judged(records, stack):
    state, meter = State.genesis(stack), Meter(stack)
    for r in records:
        apply(state, r.event, r.effects)
        meter.observe(r.seq, r.event, r.effects, state, [0] * len(stack.venue.instruments))
    return meter.verdict(state)


def performed(crash, stack, folder, speed):
    """Play the first seconds of the crash through a real server; return it and its journal."""
    clock, journal = DemoClock(crash.begins, speed), MemoryJournal()
    over = crash.begins + SECONDS * SECOND
    with engine_of(journal, stack, clock=clock) as engine:
        service = service_of(engine)
        with (
            house(service, folder, rows=lambda _: read_routes.routes()) as app,
            served(app) as client,
            demo.Client(str(client.base_url), KEYS["feed"]) as feed,
            demo.Client(str(client.base_url), KEYS["keeper"]) as keeper,
        ):
            player = Player(feed, keeper, crash, stack, clock, lambda: clock.now() >= over)
            return player.run(), list(journal.read()), clock


def plainly(crash, stack):
    meter = Meter(stack)
    run = Replay(recording=crash, stack=stack, observers=[meter.observe])
    run.run(stop_after=SECONDS * SECOND)
    return meter.verdict(run.state)


def test_played_over_the_api_the_crash_is_the_one_of_a_replay(crash, stack, tmp_path):
    """Nothing is refused, nothing is lost on the way, and the venue fares alike."""
    played, records, clock = performed(crash, stack, tmp_path, 60.0)
    told = [n for first, last in played.records for n in range(first, last + 1)]
    assert told == list(range(len(records)))  # what was told is the journal, in its order
    assert sum(played.told.values()) == len(records)
    assert not played.refused
    assert not played.left_out
    assert not played.complete  # it was stopped
    assert clock.pace <= 60.5
    kinds = Counter(type(r.event) for r in records)
    assert kinds[OrdersFilled] + kinds[OrdersExpired] > 0
    assert played.orders > 0
    mine, plain = judged(records, stack), plainly(crash, stack)
    assert mine.accounts_liquidated == pytest.approx(plain.accounts_liquidated, rel=0.2)
    assert plain.loss / 2 < mine.loss < plain.loss * 2
    assert plain.loss > 0
    assert mine.forced_volume == pytest.approx(plain.forced_volume, rel=0.2)


def test_keepers_bid_over_the_api_and_hear_what_they_got(crash, tmp_path):
    """What is taken in the journal is what bidders were told, and they lose races only."""
    stack = Stack.bind(load_stack("auction"), crash.venue)
    played, records, _ = performed(crash, stack, tmp_path, float("inf"))
    takes = [r for r in records if isinstance(r.event, AuctionTaken)]
    assert len(takes) == played.told["Take"] > 0
    told = [outcome_of(r, stack) for r in takes]
    got = [one for one in told if one.got is not None]
    assert len(got) + sum(bool(one.refused) for one in told) == len(takes)
    assert all(one.price is not None for one in got)
    bought = sum(
        -int(unpack(e.lots)[0]) * (e.reason == "taken")
        for r in takes
        for e in r.effects
        if isinstance(e, AuctionsReduced) and unpack(e.closed)[0] == 0
    )
    assert bought != 0
    assert set(played.refused) <= {
        "auction_unknown",
        "auction_price_beyond_limit",
        "auction_leaves_dust",
        "auction_needs_reset",
    }
    assert len(got) > len(takes) / 2
    mine, plain = judged(records, stack), plainly(crash, stack)
    assert plain.loss / 3 < mine.loss < plain.loss * 3


def test_it_ends_at_once_although_nobody_answers(crash, stack):
    """A service that has gone is asked again for a minute; who cancels does not wait for it."""

    async def ended():
        playing = demo.play("http://127.0.0.1:9", "a", "b", crash, stack, DemoClock(0))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(playing, 0.5)

    began = time.monotonic()
    asyncio.run(ended())
    assert time.monotonic() - began < 5


def test_answers_leave_at_once():
    """What a socket accepts does not hold an answer's body back until its headers are heard of."""
    with bound("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
