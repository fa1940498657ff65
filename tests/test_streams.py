"""The stream loses nothing, doubles nothing, and nobody waits for a client that does not read."""

import asyncio
import json
import random
import time
from contextlib import suppress
from decimal import Decimal
from functools import cache

import msgspec
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from names import reading
from strategies import BARE, GUARDED, SHARED, STACKS, drawn, recorded
from streaming import Follower, Service, feed_in, history, narrow
from tidegate.domain.book import FUND
from tidegate.domain.errors import CapacityExceeded
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.ports import Record
from tidegate.service.reading import Names
from tidegate.service.streams import Hub, Settings
from tidegate.service.streams_frames import (
    CONFLATED,
    RECORDED,
    Book,
    and_more,
    encoded,
    frame_of,
    newest_only,
    topics_of,
)
from tidegate.service.streams_past import Catching
from tidegate.service.streams_socket import GOING, SLOW, Refusal, wanted


EXACT = "orders,rungs,fund,deleveragings,auctions,events"


@pytest.fixture(scope="module")
def crash():
    return history(1_000)


@pytest.fixture(scope="module")
def book(crash) -> Book:
    _, state, stack = crash
    return Book(stack, Names(state))


def expected(records, topics: str, book: Book, after: int = -1) -> list[dict]:
    wanted_topics = topics.split(",")
    return [
        json.loads(encoded(frame_of(record, topic, book)))
        for record in records
        if record.seq > after
        for topic in topics_of(record)
        if topic in wanted_topics
    ]


@cache
def toys() -> list:
    """Return what would be recorded of worlds in which everything happens."""
    found = []
    for which in (GUARDED, SHARED, BARE):
        for seed in range(4):
            stack, records = STACKS[which], []
            state = State.genesis(stack)
            for event in recorded(drawn(seed, 150, which)):
                with suppress(CapacityExceeded):
                    effects = tuple(step(state, event, stack))
                    records.append(Record(state.seq - 1, event, effects))
            found.append((records, state, stack))
    return found


def without_more(frames: list[dict]) -> list[dict]:
    return [{k: v for k, v in frame.items() if k != "more"} for frame in frames]


# Frames are a pure function of records.


def test_every_record_speaks_to_the_topics_it_names(crash, book):
    seen = set()
    for record in crash[0]:
        topics = topics_of(record)
        assert topics == sorted(set(topics), key=RECORDED.index)
        for topic in topics:
            frame = json.loads(encoded(frame_of(record, topic, book)))
            assert (frame["topic"], frame["seq"], frame["ts"]) == (
                topic,
                record.seq,
                record.event.ts,
            )
            assert frame["data"]
            seen.add(topic)
    assert seen >= {"marks", "health", "profile", "orders", "events"}


def test_orders_placed_less_reduced_are_those_in_flight(crash, book):
    records, state, _ = crash
    live = {}
    for frame in expected(records, "orders", book):
        live |= {one["order"]: one for one in frame["data"]["placed"]}
        for one in frame["data"]["reduced"]:
            if one["closed"]:
                del live[one["order"]]
    assert set(live) == set(state.orders.key[state.orders.key >= 0].tolist())


def test_changes_of_the_fund_add_up_to_its_balance():
    moves = 0
    for records, state, stack in toys():
        begun, moved = State.genesis(stack).book.cash, {}
        for frame in expected(records, "fund", Book(stack, Names(state))):
            for change in frame["data"]["changes"]:
                moves += 1
                moved[change["tranche"]] = moved.get(change["tranche"], 0) + Decimal(
                    change["change"]
                )
        for k, tranche in enumerate(stack.declaration.waterfall.tranches):
            change = moved.get(f"venue:fund:{tranche.name}", 0) * 1_000_000
            assert change == int(state.book.cash[FUND + k] - begun[FUND + k])
    assert moves > 20


def test_every_topic_speaks_of_whatever_can_happen():
    seen = set()
    for records, state, stack in toys():
        for frame in expected(records, ",".join(RECORDED), Book(stack, Names(state))):
            seen.add(frame["topic"])
            assert frame["data"]
    assert seen >= set(RECORDED) - {"auctions"}


def test_the_newest_mark_is_the_state_s(crash, book):
    records, state, stack = crash
    last = {}
    for frame in expected(records, "marks", book):
        last |= {one["instrument"]: one["mark"] for one in frame["data"]}
    for i, of in enumerate(stack.venue.instruments):
        assert Decimal(last[of.symbol]) == Decimal(of.tick_size) * int(state.mark[i])


def test_of_what_is_conflated_the_newest_of_each_key_stays(crash):
    pairs = [(r, topic) for r in crash[0][-300:] for topic in topics_of(r)]
    kept = newest_only(pairs)
    assert [p for p in kept if p[1] not in CONFLATED] == [p for p in pairs if p[1] not in CONFLATED]
    for topic in CONFLATED:
        of = [r.seq for r, t in pairs if t == topic]
        assert max(of) == max(r.seq for r, t in kept if t == topic)
        assert sum(t == topic for _, t in kept) <= 2  # two instruments
    assert kept == sorted(kept, key=pairs.index)


def test_a_note_that_more_follows_is_still_json(book, crash):
    message = encoded(frame_of(crash[0][0], "events", book))
    assert json.loads(and_more(message)) == {**json.loads(message), "more": True}


def test_the_log_speaks_of_accounts_and_refusals(crash, book):
    lines = [f["data"] for f in expected(crash[0], "events", book)]
    assert any("placed by the" in one["what"] and one["accounts"] for one in lines)
    assert all(one["refused"] for one in lines if "refused" in one["what"])
    assert any(one["refused"] for one in lines)
    assert all(len(one["what"]) < 400 for one in lines)


# What is asked for.


@pytest.mark.parametrize(
    ("topics", "after"),
    [
        ("", None),
        ("nothing", None),
        ("marks,marks2", "1"),
        (",", None),
        ("marks", "x"),
        ("marks", "-2"),
        ("marks", "9" * 40),
        ("marks", ""),
        ("marks", "1.5"),
        ("marks", "--1"),
    ],
)
def test_queries_that_make_no_sense_are_refused(topics, after):
    with pytest.raises(Refusal):
        wanted(topics, after)


def test_queries_that_do():
    assert wanted("marks,orders", "-1") == (frozenset({"marks", "orders"}), -1)
    assert wanted("venue", None) == (frozenset({"venue"}), None)


# A real server, real clients.


def test_who_comes_and_goes_under_load_loses_and_doubles_nothing(tmp_path, crash, book):
    """Connections are torn down at random moments; the ring is short, so the journal helps."""
    records, state, stack = crash
    draw = random.Random(3)
    with Service(tmp_path, state, stack, ring=64, lag_max=1_000) as service:
        service.append(records[:200])
        clients = [Follower(service, EXACT, -1), Follower(service, "orders,fund,marks", 150)]
        crank = feed_in(service, records[200:])

        async def all_of_them() -> None:
            last = records[-1].seq
            await asyncio.gather(
                clients[0].follow(last, drop=lambda: draw.randrange(1, 150)),
                clients[1].follow(
                    _last(records, "orders,fund"), drop=lambda: draw.randrange(1, 60)
                ),
            )

        asyncio.run(asyncio.wait_for(all_of_them(), 60))
        crank.join()
        assert service.opened > 3
    assert clients[0].connections > 5
    assert clients[1].connections > 5
    assert without_more(clients[0].frames) == expected(records, EXACT, book)
    exact = [f for f in without_more(clients[1].frames) if f["topic"] in {"orders", "fund"}]
    assert exact == [
        f for f in expected(records, "orders,fund", book, 150) if f["seq"] <= clients[1].place
    ]
    marks = [f["seq"] for f in clients[1].frames if f["topic"] == "marks"]
    assert marks == sorted(set(marks))


def _last(records, topics: str) -> int:
    named = set(topics.split(","))
    return max(r.seq for r in records if named & set(topics_of(r)))


def test_who_does_not_read_is_cut_off_and_the_others_do_not_wait(tmp_path, crash, book):
    records, state, stack = crash
    settings = {"ring": 4_096, "lag_max": 300, "send_s": 0.5}
    with Service(tmp_path, state, stack, **settings) as service:
        quick, slow = Follower(service, EXACT, -1), Follower(service, "events,orders", -1)
        service.append(records[:1])
        arrived: list[float] = []

        async def asleep() -> tuple[int, int]:
            """Connect, read one frame, then nothing until it has been cut off."""
            place = -1
            url = service.url(slow.topics, -1)
            async with connect(url, sock=narrow(service), max_queue=1) as socket:
                await socket.recv()
                while not service.hub.cut_off:  # noqa: ASYNC110 (it belongs to another loop)
                    await asyncio.sleep(0.01)
                try:
                    while True:
                        frame = json.loads(await socket.recv())
                        if not frame.get("more"):
                            place = max(place, frame["seq"])
                except ConnectionClosed as closed:
                    return place, closed.rcvd.code if closed.rcvd else 1006

        async def run() -> tuple[int, int]:
            sleeper = asyncio.create_task(asleep())
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            crank = feed_in(service, records[1:], wait=0.001)
            await quick.follow(records[-1].seq)
            arrived.append(time.monotonic() - begun)
            crank.join()
            return await sleeper

        place, code = asyncio.run(asyncio.wait_for(run(), 60))
        assert service.hub.cut_off == 1
        assert code in {SLOW, 1006}  # who takes nothing at all cannot be told the code either
        assert without_more(quick.frames) == expected(records, EXACT, book)
        assert quick.connections == 1
        slow.place = place
        asyncio.run(asyncio.wait_for(slow.follow(records[-1].seq), 30))
        events = [f["seq"] for f in slow.frames if f["topic"] == "events"]
        assert events == list(range(place + 1, len(records)))
    assert arrived[0] < 20


def test_who_reads_too_slowly_is_told_its_place(tmp_path, crash):
    """It reads, but less than there is: 4008, and the reason names where to go on."""
    records, state, stack = crash
    with Service(tmp_path, state, stack, ring=2_000, lag_max=100) as service:
        service.append(records[:1])

        async def run() -> tuple[int, ConnectionClosed]:
            url = service.url("events,orders", 0)
            async with connect(url, sock=narrow(service), max_queue=1) as socket:
                await socket.recv()
                crank = feed_in(service, records[1:], wait=0.0005)
                seen = 0
                try:
                    while True:
                        frame = json.loads(await socket.recv())
                        if not frame.get("more"):
                            seen = max(seen, frame["seq"])
                        await asyncio.sleep(0.002)
                except ConnectionClosed as closed:
                    return seen, closed
                finally:
                    crank.join()

        seen, closed = asyncio.run(asyncio.wait_for(run(), 60))
        assert closed.rcvd.code == SLOW
        assert closed.rcvd.reason.endswith(f"after={seen}")


def test_a_client_that_lags_gets_the_newest_marks_and_every_order(tmp_path, crash, book):
    records, state, stack = crash
    with Service(tmp_path, state, stack, conflate_at=50) as service:
        service.append(records)
        client = Follower(service, "marks,orders", -1)
        asyncio.run(asyncio.wait_for(client.follow(_last(records, "marks")), 30))
    got = without_more(client.frames)
    full = expected(records, "marks,orders", book)
    assert [f for f in got if f["topic"] == "orders"] == [f for f in full if f["topic"] == "orders"]
    marks = [f for f in got if f["topic"] == "marks"]
    assert len(marks) < 10
    assert marks[-1] == [f for f in full if f["topic"] == "marks"][-1]


def test_the_journal_is_read_for_a_few_at_a_time(tmp_path, crash, book, monkeypatch):
    """Each reader is a thread that competes with the crank's: the others take turns."""
    records, state, stack = crash
    honest, now, most = Catching._read, [], []

    def counted(self):
        now.append(1)
        most.append(len(now))
        time.sleep(0.002)
        try:
            return honest(self)
        finally:
            now.pop()

    monkeypatch.setattr(Catching, "_read", counted)
    with Service(tmp_path, state, stack, ring=64) as service:
        service.append(records)
        clients = [Follower(service, "events", -1) for _ in range(6)]

        async def everybody():
            await asyncio.gather(*(c.follow(records[-1].seq) for c in clients))

        asyncio.run(asyncio.wait_for(everybody(), 60))
    assert max(most) == Settings().reading_max
    full = expected(records, "events", book)
    assert all(without_more(c.frames) == full for c in clients)


def test_from_now_on_heartbeats_and_an_orderly_end(tmp_path, crash):
    records, state, stack = crash
    with Service(tmp_path, state, stack, heartbeat_s=0.1) as service:
        service.append(records[:100])

        async def run() -> ConnectionClosed:
            async with connect(service.url("deleveragings,alerts,venue")) as socket:
                first = json.loads(await socket.recv())
                assert (first["topic"], first["seq"], first["data"]["head"]) == (
                    "heartbeat",
                    99,
                    99,
                )
                await asyncio.to_thread(service.append, records[100:120])
                beat = first
                while beat["seq"] < 119:  # nothing was for this client, and it is told so
                    beat = json.loads(await socket.recv())
                    assert beat["topic"] == "heartbeat"
                for n in range(3):
                    service.loop.call_soon_threadsafe(service.hub.show, "alerts", 1, {"code": n})
                codes = []
                while len(codes) < 3:
                    frame = json.loads(await socket.recv())
                    if frame["topic"] == "alerts":
                        codes.append(frame["data"]["code"])
                        assert frame["seq"] == -1
                assert codes == [0, 1, 2]
                service.loop.call_soon_threadsafe(service.hub.close)
                try:
                    while True:
                        await socket.recv()
                except ConnectionClosed as closed:
                    return closed

        closed = asyncio.run(asyncio.wait_for(run(), 30))
        assert closed.rcvd.code == GOING
        assert "after=119" in closed.rcvd.reason


def test_nonsense_is_answered_without_harm(tmp_path, crash):
    records, state, stack = crash
    with Service(tmp_path, state, stack, clients_max=2) as service:
        service.append(records[:50])

        async def status(url: str) -> tuple[int, dict]:
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url):
                    pass
            response = refused.value.response
            return response.status_code, json.loads(response.body)

        async def ended(socket) -> int:
            try:
                while True:
                    await socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

        async def run() -> None:
            code, problem = await status(service.url("nothing"))
            assert code == problem["status"] == 400
            assert "marks" in problem["detail"]
            code, _ = await status(service.url("marks") + "&after=yesterday")
            assert code == 400
            async with connect(service.url("marks", 10_000)) as socket:
                assert await ended(socket) == 4009
            garbage = random.Random(9)
            for _ in range(20):  # bytes that are no frames
                async with connect(service.url("events")) as socket:
                    socket.transport.write(garbage.randbytes(200))
                    await ended(socket)
            async with connect(service.url("events")) as one, connect(service.url("events")) as two:
                await one.recv()
                await two.recv()
                await one.send("what?")  # a client has nothing to say
                await one.send(b"\x00" * 1_000)
                assert (await status(service.url("events")))[0] == 503
                await asyncio.to_thread(service.append, records[50:51])
                assert json.loads(await one.recv())["seq"] == 50

        asyncio.run(asyncio.wait_for(run(), 60))


def test_a_loop_that_stood_still_gives_up_its_ring_and_nothing_else(crash):
    """More arrived than the inbox holds: clients then go through the journal."""
    records, state, stack = crash

    async def run() -> None:
        hub = Hub(None, Settings(ring=16))
        hub.attach(asyncio.get_running_loop())
        now = reading(state, stack)
        hub.listen(records[:10], now)
        hub.listen(records[10:50], now)
        assert hub.newest == -1
        await asyncio.sleep(0.01)
        assert (hub.first, hub.newest) == (34, 49)
        hub.listen(records[40:60], now)  # some of it again
        await asyncio.sleep(0.01)
        assert (hub.first, hub.newest) == (44, 59)
        assert [e.record.seq for e, _ in hub.after(56, frozenset({"events"}))] == [57, 58, 59]
        assert hub.after(59, frozenset({"events"})) == []
        hub.listen([], now._replace(head=70))
        await asyncio.sleep(0.01)
        assert (hub.first, hub.newest) == (71, 70)

    asyncio.run(run())


def test_columns_of_every_frame_are_plain(crash, book):
    """Nothing of numpy reaches the encoder."""
    for record in crash[0][:200]:
        for topic in topics_of(record):
            data = msgspec.to_builtins(frame_of(record, topic, book))
            assert not any(isinstance(v, np.generic) for v in data.values())
