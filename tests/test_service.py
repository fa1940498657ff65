"""The crank's thread and the door: what is taken, what is refused, and what nobody ever loses."""

import threading
import time
from concurrent.futures import wait

import msgspec
import pytest

from crash_world import BEGIN, feed, stack_of
from service_world import KEYS, SetClock, engine_of, service_of, site_of
from tidegate.adapters.memory import MemoryJournal
from tidegate.api import asks
from tidegate.api.answers import Taken
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import AskInvalid, CapacityExceeded, JournalGone
from tidegate.domain.events import ClockTicked
from tidegate.domain.units import SECOND, Nanos, unpack
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.service.door import Door
from tidegate.service.reading import Names
from tidegate.service.runner import AHEAD_MAX, Busy, Conflict, Stopped


STACK = stack_of()
DOOR = Door(STACK)
PATIENCE = 90  # seconds: the first step of all may have to compile
PRICE = {"type": "price", "instrument": "BTC-PERP", "source": "index", "price": "100000.0"}


def price(text="100000.0", **more):
    return asks.Price(instrument="BTC-PERP", source="index", price=text, **more)


def account(name="alice"):
    return asks.Account(name=name)


def deposit(amount="5", name="alice"):
    return asks.Deposit(account=name, amount=amount)


def prepared(*many):
    return DOOR.prepare_all(many)


def taken(engine, *many, **more):
    return engine.offer(prepared(*many), source="test", **more).result(PATIENCE)


# ---------------------------------------------------------------- the door


def built(ask, names=None, ts=BEGIN):
    return DOOR.prepare(ask).build(names or Names(State.genesis(STACK)), Nanos(ts))


def test_decimals_become_ticks_lots_and_money():
    event = built(price("100000.1", published=5, confidence="0.01"))
    assert (event.price, event.published, event.confidence) == (1_000_001, 5, 1)
    trade = built(asks.Trade(instrument="ETH-PERP", taker="a", quantity="-0.003", price="0.1"))
    assert (trade.lots, trade.price, trade.instrument, trade.maker) == (-3, 1, 1, 0)
    assert built(deposit("0.000001")).amount == 1


@pytest.mark.parametrize(
    ("ask", "where"),
    [
        (price("100000.05"), "price"),
        (price("1" + "0" * 29), "price"),
        (asks.Price(instrument="DOGE", source="index", price="1"), "instrument"),
        (asks.Price(instrument="BTC-PERP", source="nobody", price="1"), "source"),
        (deposit("0.0000001"), "amount"),
        (asks.Deposit(account="a", amount="1", asset="BTC-PERP"), "asset"),
        (asks.Trade(instrument="BTC-PERP", taker="a", quantity="0.0001", price="1"), "quantity"),
        (asks.Depth(instrument="BTC-PERP", bids=[("1.05", "1")], asks=[]), "bids[0][0]"),
        (asks.Stake(account="a", tranche="gold", amount="1"), "tranche"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(ask, where):
    with pytest.raises(AskInvalid) as caught:
        DOOR.prepare_all([price(), ask])
    assert caught.value.where == f"events[1].{where}"


def test_depth_is_never_made_deeper():
    event = built(asks.Depth(instrument="BTC-PERP", bids=[("1.0", "0.0029")], asks=[]))
    assert unpack(event.bid_lots).tolist() == [2]


def test_a_stranger_becomes_an_event_that_the_engine_rejects():
    """Nothing is dropped at the door: who is unknown is for the journal to say."""
    with engine_of() as engine:
        done = taken(engine, deposit(name="nobody"), asks.Account(name="a", owner="nobody"))
        assert [o.refused for o in done.outcomes] == [["account_unknown"], ["account_unknown"]]
        assert engine.look(lambda r: r.names.all).result(PATIENCE) == []


def test_of_a_name_that_stands_twice_the_first_account_is_meant():
    """A recorded book may hold one twice; the crank must not look for the second for ever."""
    state = State.genesis(STACK)
    state.names += ["ann", "bob", "ann", "carl"]
    names = Names(state)
    assert [names.row(n) for n in ("ann", "bob", "carl", "dora")] == [
        FIRST_USER,
        FIRST_USER + 1,
        FIRST_USER + 3,
        -1,
    ]


# ---------------------------------------------------------------- taking


def held_up(engine):
    """Hold the crank's thread up; return what lets it go, and the future of its going."""
    gate, inside = threading.Event(), threading.Event()
    held = engine.look(lambda _: (inside.set(), gate.wait(PATIENCE)))
    assert inside.wait(PATIENCE)
    return gate, held


def test_a_request_sees_what_it_did_before():
    """An account that is opened can be paid in by the next event of the same request."""
    with engine_of() as engine:
        done = taken(engine, account(), deposit("7.5"))
        assert (done.first, done.last, done.again) == (0, 1, False)
        assert all(not o.refused for o in done.outcomes)
        cash = engine.look(lambda r: int(r.state.book.cash[r.names.row("alice")])).result(PATIENCE)
        assert cash == 7_500_000


def test_the_crank_gives_what_stepping_alone_gives():
    """A whole day through the queue: the very state that a bare loop comes to."""
    events = feed(200, seed=3)
    state = State.genesis(STACK)
    for event in events:
        step(state, event, STACK)
    with engine_of(batch_max=7) as engine:
        futures = [engine.offer([event], source="test") for event in events]
        assert all(not wait(futures, PATIENCE).not_done for _ in [0])
        assert engine.look(lambda r: r.state.digest()).result(PATIENCE) == state.digest()


def test_a_name_is_opened_once():
    with engine_of() as engine:
        taken(engine, account())
        for again in ([account()], [account("bob"), account("bob")]):
            with pytest.raises(Conflict, match="must be new"):
                taken(engine, *again)
        assert engine.look(lambda r: r.head).result(PATIENCE) == 0


def test_a_name_that_was_refused_in_the_same_batch_can_still_be_opened():
    """Whether the one before succeeds is known after its step: nobody is refused for a guess."""
    with engine_of() as engine:
        gate, held = held_up(engine)
        orphan = asks.Account(name="alice", owner="nobody")
        tries = [engine.offer(prepared(one), source="t") for one in (orphan, account(), account())]
        gate.set()
        held.result(PATIENCE)
        assert tries[0].result(PATIENCE).outcomes[0].refused == ["account_unknown"]
        assert not tries[1].result(PATIENCE).outcomes[0].refused
        with pytest.raises(Conflict, match="must be new"):
            tries[2].result(PATIENCE)


def test_a_key_counts_once_and_its_answer_is_repeated():
    with engine_of() as engine:
        first = taken(engine, account(), deposit(), key="k", digest="d")
        again = taken(engine, account(), deposit(), key="k", digest="d")
        assert (again.first, again.last, again.again) == (first.first, first.last, True)
        with pytest.raises(Conflict, match="something else"):
            taken(engine, deposit(), key="k", digest="other")
        other = engine.offer(prepared(deposit()), source="else", key="k", digest="d").result(
            PATIENCE
        )
        assert not other.again, "keys of two sources are two keys"
        assert engine.look(lambda r: r.head).result(PATIENCE) == 2


def test_a_key_counts_once_within_one_batch():
    """Two copies that wait together are one: neither has a receipt to find yet."""
    with engine_of() as engine:
        gate, held = held_up(engine)
        asked = {"source": "s", "key": "k"}
        copies = [engine.offer(prepared(account()), **asked, digest=d) for d in ("d", "d", "e")]
        gate.set()
        held.result(PATIENCE)
        first, again = copies[0].result(PATIENCE), copies[1].result(PATIENCE)
        assert (first.again, again.again, again.first) == (False, True, first.first)
        with pytest.raises(Conflict):
            copies[2].result(PATIENCE)


def test_whoever_gives_up_waiting_stops_nobody():
    """A caller that hangs up cancels its future: its events are taken all the same."""
    with engine_of() as engine:
        gate, held = held_up(engine)
        asked = {"source": "s", "key": "k"}
        left = engine.offer(prepared(account()), **asked)
        copy = engine.offer(prepared(account()), **asked)
        assert left.cancel()
        gate.set()
        held.result(PATIENCE)
        assert copy.result(PATIENCE).again
        assert taken(engine, deposit()).first == 1


def test_time_never_runs_backwards_inside():
    """What is heard late is dated to now; a price keeps the time at which it was published."""
    clock = SetClock(BEGIN + 100 * SECOND)
    journal = MemoryJournal()
    with engine_of(journal, clock=clock) as engine:
        engine.offer([ClockTicked(ts=BEGIN + 50 * SECOND)], source="t").result(PATIENCE)
        taken(engine, price(ts=BEGIN), price())
        old, new = [r.event for r in journal.read(after=0)]
    assert (old.ts, old.published) == (BEGIN + 50 * SECOND, BEGIN + 50 * SECOND)
    assert new.ts == BEGIN + 100 * SECOND


@pytest.mark.parametrize(("ahead", "fits"), [(AHEAD_MAX, True), (AHEAD_MAX + 1, False)])
def test_a_time_too_far_ahead_is_refused(ahead, fits):
    clock = SetClock()
    with engine_of(clock=clock) as engine:
        if fits:
            assert taken(engine, price(ts=BEGIN + ahead)).first == 0
            return
        with pytest.raises(AskInvalid, match="ahead of this clock"):
            taken(engine, price(ts=BEGIN + ahead))


@pytest.mark.parametrize(("more", "fits"), [(2, True), (3, False)])
def test_a_full_queue_refuses_at_once(more, fits):
    with engine_of(queue_max=5) as engine:
        gate, held = held_up(engine)
        waiting = engine.offer(prepared(*[price()] * 3), source="t")
        assert (engine.waiting, engine.room()) == (3, 2)
        if fits:
            engine.offer(prepared(*[price()] * more), source="t")
        else:
            with pytest.raises(Busy, match="3 events wait"):
                engine.offer(prepared(*[price()] * more), source="t")
        gate.set()
        assert held.result(PATIENCE)
        assert waiting.result(PATIENCE).last == 2


class FullAt(MemoryJournal):
    """Fails when it is told to."""

    broken = False

    def append(self, records, receipts=()):
        if self.broken:
            raise CapacityExceeded("the disk is full")  # noqa: TRY003, EM101 - as a journal says it
        super().append(records, receipts)


def test_what_is_not_durable_is_never_acknowledged():
    journal = FullAt()
    with engine_of(journal) as engine:
        taken(engine, account())
        journal.broken = True
        with pytest.raises(Stopped, match="disk is full"):
            taken(engine, deposit(), key="k")
        with pytest.raises(Stopped):
            taken(engine, deposit())
        assert (journal.head, journal.receipt("test", "k")) == (0, None)
        assert isinstance(engine.failed, CapacityExceeded)


def trade(name, instrument):
    return asks.Trade(instrument=instrument, taker=name, quantity="0.001", price="100000.0")


def test_a_request_that_fails_in_its_middle_leaves_nothing_behind():
    """The trades before the one too many came in one request with it: none of them is kept."""
    journal = MemoryJournal()
    stack = stack_of(positions_max=2)
    door = Door(stack)
    with engine_of(journal, stack) as engine:
        engine.offer(door.prepare_all([account("a"), account("b")]), source="t").result(PATIENCE)
        gate, held = held_up(engine)
        whole = engine.offer(door.prepare_all([price()]), source="t", key="2")
        three = [trade("a", "BTC-PERP"), trade("a", "ETH-PERP"), trade("b", "BTC-PERP")]
        torn = engine.offer(door.prepare_all(three), source="t", key="3")
        gate.set()
        held.result(PATIENCE)
        for answer in (whole, torn):  # the batch is in doubt for whoever waits, and they ask again
            with pytest.raises(Stopped, match="positions_max"):
                answer.result(PATIENCE)
    assert journal.head == 2
    assert journal.receipt("t", "2").last == 2
    assert journal.receipt("t", "3") is None
    assert journal.head == 2


def test_accounts_beyond_the_limit_are_refused_and_stop_nobody():
    """Whoever opens accounts must not be able to end the process with one too many."""
    stack = stack_of(accounts_max=FIRST_USER + 2)
    door = Door(stack)
    with engine_of(stack=stack) as engine:
        gate, held = held_up(engine)
        first = engine.offer(door.prepare_all([account("a")]), source="t")
        torn = engine.offer(door.prepare_all([account("b"), account("c")]), source="t", key="3")
        last = engine.offer(door.prepare_all([account("b")]), source="t", key="3")
        gate.set()
        held.result(PATIENCE)
        assert first.result(PATIENCE).last == 0
        with pytest.raises(Conflict, match="accounts_max"):
            torn.result(PATIENCE)
        assert last.result(PATIENCE).last == 1, "what was refused has used its key up for nothing"


class GoneAt(FullAt):
    """Its server goes away when it is told to, already for whoever asks for a receipt."""

    def receipt(self, source, key):
        if self.broken:
            raise JournalGone("the server is away")  # noqa: TRY003, EM101 - as a journal says it
        return super().receipt(source, key)


@pytest.mark.parametrize(
    ("journal", "error"), [(GoneAt(), JournalGone), (FullAt(), CapacityExceeded)]
)
def test_whoever_waits_is_told_whatever_breaks_and_whoever_was_answered_before(journal, error):
    """One that is answered already shares the batch: the others must hear all the same."""
    with engine_of(journal) as engine:
        taken(engine, account(), key="k")
        gate, held = held_up(engine)
        again = engine.offer(prepared(account()), source="test", key="k")
        others = [engine.offer(prepared(price()), source="test", key=k) for k in ("", "l", "l")]
        journal.broken = True
        gate.set()
        held.result(PATIENCE)
        for other in others:
            with pytest.raises(Stopped):
                other.result(PATIENCE)
        assert again.done()
        assert isinstance(engine.failed, error), "whoever ends the process must know the reason"


def test_what_only_shows_does_not_end_what_protects():
    heard = []

    def broken(records, reading):
        del records, reading
        raise ZeroDivisionError

    with engine_of() as engine:
        engine.listen(broken)
        engine.listen(lambda records, _: heard.extend(r.seq for r in records))
        assert [taken(engine, price()).last for _ in range(2)] == [0, 1]
        assert engine.look(lambda _: heard.copy()).result(PATIENCE) == [0, 1]
        engine.listen(broken, vital=True)
        assert taken(engine, price()).last == 2, "it was durable"
        with pytest.raises(Stopped):
            taken(engine, price())
        assert isinstance(engine.failed, ZeroDivisionError)


def test_what_is_alone_shares_no_batch():
    """Orders that later events of its batch place would leave before its listeners have heard."""
    batches = []
    with engine_of() as engine:
        engine.listen(lambda records, _: batches.append([r.seq for r in records]))
        gate, held = held_up(engine)
        one = prepared(price())
        alone = [one[0]._replace(alone=True), *one]
        many = [engine.offer(asked, source="t") for asked in (one, one, alone, one, one)]
        gate.set()
        held.result(PATIENCE)
        wait(many, PATIENCE)
    assert batches == [[0, 1], [2, 3], [4, 5]]


def test_a_name_that_a_journal_holds_twice_is_found_once():
    state = State.genesis(STACK)
    state.names += ["a", "b", "a", "c"]
    names = Names(state)
    assert [names.row(n) - FIRST_USER for n in ("a", "b", "c")] == [0, 1, 3]
    assert names.row("d") == -1


def test_listeners_hear_every_record_once():
    heard = []
    with engine_of() as engine:
        engine.listen(lambda records, reading: heard.extend((r.seq, reading.head) for r in records))
        for event in feed(30, seed=1):
            engine.offer([event], source="t").result(PATIENCE)
    assert [seq for seq, _ in heard] == list(range(30))
    assert all(seq <= head for seq, head in heard)


def test_many_slow_reads_do_not_keep_events_waiting():
    seen, taken = [], []
    with engine_of() as engine:
        early, late = feed(2, seed=1)
        engine.offer([early], source="t").result(PATIENCE)
        gate = threading.Event()

        def slow(reading):
            if not seen:
                taken.append(engine.offer([late], source="t"))
            seen.append(reading.head)
            time.sleep(0.02)

        first = engine.look(lambda _: gate.wait(PATIENCE))
        reads = [engine.look(slow) for _ in range(20)]
        gate.set()
        for one in (first, *reads, *taken):
            one.result(PATIENCE)
    assert seen == [0] + [1] * 19, "the event had its turn, and no read was forgotten"


# ---------------------------------------------------------------- over HTTP


@pytest.fixture
def client(tmp_path):
    with engine_of() as engine, site_of(service_of(engine), tmp_path) as made:
        made.engine = engine
        yield made


def post(client, body, role="feed", path="/v1/events", **headers):
    headers = {"Authorization": f"Bearer {KEYS[role]}"} | headers
    if isinstance(body, bytes):
        return client.post(path, content=body, headers=headers)
    return client.post(path, json=body, headers=headers)


def test_events_are_answered_when_they_are_durable(client):
    answer = post(client, {"events": [PRICE, PRICE]})
    done = msgspec.json.decode(answer.content, type=Taken)
    assert (answer.status_code, done.first, done.last) == (200, 0, 1)


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"{", {"Content-Type": "application/json"}, 400, "JSON"),
        (b"\xff", {"Content-Type": "application/json"}, 400, "JSON"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "JSON"),
        ({}, {}, 422, "events"),
        ({"events": []}, {}, 422, "length"),
        ({"events": [{"type": "none"}]}, {}, 422, "none"),
        ({"events": [PRICE | {"more": 1}]}, {}, 422, "more"),
        ({"events": [PRICE | {"price": "1e9"}]}, {}, 422, "price"),
        ({"events": [PRICE | {"price": "0.05"}]}, {}, 422, "whole number"),
        ({"events": [PRICE]}, {"Idempotency-Key": "k" * 129}, 422, "128"),
        ({"events": [PRICE]}, {"Authorization": "Bearer nonsense"}, 401, "wrong"),
        ({"events": [PRICE]}, {"Authorization": f"Bearer {KEYS['viewer']}"}, 403, "feed"),
        (b" " * (16 * 2**20 + 1), {"Content-Type": "application/json"}, 413, "bytes"),
    ],
)
def test_what_is_wrong_with_a_call_is_a_problem(client, body, headers, status, says):
    answer = post(client, body, **headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.text
    assert "Traceback" not in answer.text


def test_a_key_used_twice_is_a_conflict(client):
    bodies = [{"events": [PRICE]}, {"events": [PRICE]}, {"events": [PRICE, PRICE]}]
    answers = [post(client, body, **{"Idempotency-Key": "one"}) for body in bodies]
    assert [a.status_code for a in answers] == [200, 200, 409]
    assert answers[1].json()["again"]


def test_a_stopped_crank_is_not_an_error_of_the_caller(client):
    client.engine.stop()
    answer = post(client, {"events": [PRICE]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_the_document_says_what_the_routes_are(client):
    said = client.get("/openapi.json").json()
    assert set(said["paths"]) == {"/v1/events", "/v1/bids"}
    post = said["paths"]["/v1/events"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Events")
    assert {"200", "401", "403", "409", "422", "503"} <= set(post["responses"])
