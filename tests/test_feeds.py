"""Feeds into a running engine: exactly once, in order, whoever dies; and what stops them."""

import asyncio
import contextlib
import json

import msgspec
import nats
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crash_world import BEGIN, stack_of
from servers import private_nats
from service_world import SetClock, engine_of, warm
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.parquet_tail import ParquetTail
from tidegate.domain.errors import AskInvalid, JournalGone
from tidegate.domain.events import AccountOpened, Attested, ClockTicked, PriceObserved
from tidegate.domain.units import SECOND
from tidegate.drivers.recording_tail import reader
from tidegate.service import feeds
from tidegate.service.door import Door
from tidegate.service.feeds import Feed, FolderSource, NatsSource
from tidegate.service.runner import Stopped
from tidegate.service.timekeeper import Timekeeper


STACK = stack_of()
DOOR = Door(STACK)
PATIENCE = 20.0


class Told:
    """Alerts, as a list."""

    def __init__(self):
        self.codes, self.details = [], []

    def raised(self, code, detail):
        self.codes.append(code)
        self.details.append(detail)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    warm()


@pytest.fixture(scope="module")
def server():
    one = private_nats()
    yield one
    one.close()


class Stream:
    """A stream of its own for one test."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    @contextlib.asynccontextmanager
    async def js(self):
        client = await nats.connect(self.server.url)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def make(self, **config):
        async with self.js() as js:
            await js.add_stream(name=self.name, subjects=[self.name], **config)

    async def say(self, *bodies):
        async with self.js() as js:
            for body in bodies:
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                await js.publish(self.name, raw)

    def source(self, **more):
        return NatsSource(self.server.url, self.name, DOOR, backoff_max_s=0.2, **more)


@pytest.fixture
def stream(server, request):
    return Stream(server, request.node.name.replace("[", "-").replace("]", "")[:60])


def price(k, n=1):
    """Return a message of ``n`` prices; each is known by the time of its publication."""
    one = {"type": "price", "instrument": "BTC-PERP", "source": "index", "price": "100000.0"}
    return {"events": [{**one, "published": BEGIN + k * 100 + i} for i in range(n)]}


def published(journal):
    return [r.event.published - BEGIN for r in journal.read() if isinstance(r.event, PriceObserved)]


def notes(journal):
    return [
        (r.event.kind, msgspec.json.decode(r.event.body))
        for r in journal.read()
        if isinstance(r.event, Attested)
    ]


@contextlib.asynccontextmanager
async def running(feed):
    """Run a feed until the end of the block; then it is gone, as if its process had died."""
    task = asyncio.create_task(feed.run())
    try:
        yield task
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(ended, asyncio.CancelledError):
            raise ended  # why what was waited for did not come


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def test_messages_are_acknowledged_after_their_commit_and_the_place_is_in_it(stream):
    async def run():
        journal, told = MemoryJournal(), Told()
        await stream.make()
        await stream.say(price(1), price(2, n=3))
        with engine_of(journal) as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                await until(lambda: feed.now.place == "2")
                assert feed.now.state == "running"
                assert feed.now.taken == 4
            async with stream.js() as js:
                info = await js.consumer_info(stream.name, "tidegate")
                assert info.num_ack_pending == 0
            name = f"nats:{stream.name}"
            assert journal.place(name) == "2"
            kept = journal.receipt(name, "2")
            assert (kept.first, kept.last) == (1, 3)
        assert published(journal) == [100, 200, 201, 202]
        assert told.codes == []

    asyncio.run(run())


class Deaf(NatsSource):
    """The process dies after its commit: nobody is ever told."""

    async def taken(self, place):
        del place


@pytest.mark.parametrize("deaths", [3])
def test_whoever_dies_between_commit_and_acknowledgement_doubles_nothing(stream, tmp_path, deaths):
    async def run():
        await stream.make()
        for k in range(deaths):
            journal = SqliteJournal(tmp_path / "j.db")
            await stream.say(*(price(10 * k + i) for i in range(10)))
            with engine_of(journal) as engine:
                source = Deaf(stream.server.url, stream.name, DOOR, backoff_max_s=0.2)
                feed = Feed(source, engine, Told())
                async with running(feed):
                    await until(lambda f=feed, n=k: f.now.place == str(10 * n + 10))
        journal = SqliteJournal(tmp_path / "j.db")
        with contextlib.closing(journal):
            assert published(journal) == [100 * k for k in range(10 * deaths)]

    asyncio.run(run())


def test_a_server_that_is_killed_loses_and_doubles_nothing(stream, server):
    async def run():
        journal, told = MemoryJournal(), Told()
        await stream.make()
        with engine_of(journal) as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                for k in range(3):
                    await stream.say(*(price(5 * k + i) for i in range(5)))
                    server.stop(9)
                    await until(lambda: feed.now.state == "away")
                    server.start()
                await until(lambda: feed.now.place == "15")
        assert published(journal) == [100 * k for k in range(15)]

    asyncio.run(run())


def test_people_are_told_once_when_a_server_stays_away(stream, server, monkeypatch):
    monkeypatch.setattr(feeds, "AWAY_S", 0.1)

    async def run():
        told = Told()
        await stream.make()
        with engine_of() as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                await until(lambda: feed.now.state == "running")
                server.stop(9)
                try:
                    await until(lambda: told.codes)
                    await asyncio.sleep(0.3)
                finally:
                    server.start()
                await until(lambda: feed.now.state == "running")
        assert told.codes == ["feed_away"]

    asyncio.run(run())


BAD = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[]",
    b'{"events": []}',
    b'{"events": [{"type": "nonsense"}]}',
    b'{"events": [{"type": "price"}]}',
    b'{"events": [], "more": 1}',
    json.dumps({"events": [{"type": "deposit", "account": "a", "amount": "1e9"}]}).encode(),
    json.dumps(
        {"events": [*price(1)["events"], {**price(1)["events"][0], "price": "0.01"}]}
    ).encode(),
    json.dumps(
        {"events": [{"type": "take", "auction": 1, "quantity": "1", "limit": "1"}]}
    ).encode(),
]


def test_what_is_no_event_becomes_a_dead_letter_and_the_feed_goes_on(stream):
    async def run():
        journal, told = MemoryJournal(), Told()
        await stream.make()
        await stream.say(price(1), *BAD, price(2))
        last = str(len(BAD) + 2)
        with engine_of(journal) as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                await until(lambda: feed.now.place == last)
                assert feed.now.dead == len(BAD)
            assert journal.place(f"nats:{stream.name}") == last
        assert published(journal) == [100, 200]
        letters = notes(journal)
        assert {kind for kind, _ in letters} == {"dead_letter"}
        assert [said["place"] for _, said in letters] == [str(n + 2) for n in range(len(BAD))]
        assert [said["bytes"] for _, said in letters] == [len(raw) for raw in BAD]
        assert all(said["why"] for _, said in letters)
        assert told.codes == ["dead_letter"] * len(BAD)

    asyncio.run(run())


def test_an_account_that_is_open_already_makes_a_dead_letter_too(stream):
    async def run():
        journal, told = MemoryJournal(), Told()
        await stream.make()
        opened = {"events": [{"type": "account", "name": "alice"}]}
        await stream.say(opened, opened, price(1))
        with engine_of(journal) as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                await until(lambda: feed.now.place == "3")
        assert sum(isinstance(r.event, AccountOpened) for r in journal.read()) == 1
        assert [said["place"] for _, said in notes(journal)] == ["2"]

    asyncio.run(run())


def test_a_gap_stops_the_feed_until_somebody_accepts_it(stream):
    async def run():
        journal, told = MemoryJournal(), Told()
        await stream.make()
        await stream.say(price(1), price(2), price(3))
        async with stream.js() as js:
            await js.delete_msg(stream.name, 2)
        with engine_of(journal) as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                await until(lambda: feed.now.state == "stopped")
                assert feed.now.place == "1"
                assert "2..2" in feed.now.trouble
                assert told.codes == ["feed_stopped"]
                await asyncio.sleep(0.1)
                assert published(journal) == [100], "nothing behind the gap is taken"
                assert await feed.accept("olga") == "2"
                await until(lambda: feed.now.place == "3")
                with pytest.raises(AskInvalid, match="a feed that goes on"):
                    await feed.accept("olga")
        assert published(journal) == [100, 300]
        ((kind, said),) = notes(journal)
        assert (kind, said["place"]) == ("gap_accepted", "2")
        signer = next(r.event.signer for r in journal.read() if isinstance(r.event, Attested))
        assert signer == "olga"

    asyncio.run(run())


def test_a_stream_that_was_made_anew_is_not_taken_for_the_old_one(stream):
    async def run():
        journal, told = MemoryJournal(), Told()
        await stream.make()
        await stream.say(price(1), price(2))
        with engine_of(journal) as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                await until(lambda: feed.now.place == "2")
            async with stream.js() as js:
                await js.delete_stream(stream.name)
            await stream.make()
            await stream.say(*(price(k) for k in range(7, 11)))
            again = Feed(stream.source(), engine, told)
            async with running(again):
                await until(lambda: again.now.state == "stopped")
                assert "says something else at 2" in again.now.trouble
                with pytest.raises(AskInvalid):
                    await again.accept("olga")
            anew = Feed(stream.source(name="nats:second"), engine, told)
            async with running(anew):
                await until(lambda: anew.now.place == "4")
        assert published(journal) == [100, 200, 700, 800, 900, 1000]

    asyncio.run(run())


def test_a_full_queue_slows_the_feed_and_loses_nothing(stream):
    class Slow(MemoryJournal):
        def append(self, records, receipts=()):
            import time  # noqa: PLC0415 - a disk under load

            time.sleep(0.01)
            super().append(records, receipts)

    async def run():
        journal = Slow()
        await stream.make()
        await stream.say(*(price(k, n=5) for k in range(60)))
        with engine_of(journal, queue_max=20, batch_max=10) as engine:
            feed = Feed(stream.source(), engine, Told(), window=8)
            most = 0
            async with running(feed):
                while feed.now.place != "60":
                    most = max(most, engine.waiting)
                    await asyncio.sleep(0.001)
            assert most <= 20
        assert published(journal) == [100 * k + i for k in range(60) for i in range(5)]

    asyncio.run(run())


def test_a_time_ahead_of_our_clock_is_waited_for_and_then_given_up(stream, monkeypatch):
    async def run():
        journal, told, clock = MemoryJournal(), Told(), SetClock(BEGIN + 100 * SECOND)
        await stream.make()
        early = price(1)
        early["events"][0]["ts"] = BEGIN + 106 * SECOND
        await stream.say(early)
        with engine_of(journal, clock=clock) as engine:
            feed = Feed(stream.source(), engine, told)
            async with running(feed):
                await asyncio.sleep(0.3)
                assert published(journal) == []
                clock.time += SECOND
                await until(lambda: feed.now.place == "1")
                monkeypatch.setattr(feeds, "AHEAD_WAIT_S", 0.1)
                far = price(2)
                far["events"][0]["ts"] = BEGIN + 10**6 * SECOND
                await stream.say(far, price(3))
                await until(lambda: feed.now.place == "3")
        assert published(journal) == [100, 300]
        assert told.codes == ["dead_letter"]

    asyncio.run(run())


def test_a_journal_that_is_gone_ends_the_feed(stream):
    class Gone(MemoryJournal):
        def append(self, records, receipts=()):
            del records, receipts
            msg = "the server has gone"
            raise JournalGone(msg)

    async def run():
        await stream.make()
        await stream.say(price(1))
        with engine_of(Gone()) as engine:
            feed = Feed(stream.source(), engine, Told())
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(Stopped, match="has gone"):
                    await feed.run()
            assert feed.now.place == ""
        async with stream.js() as js:
            info = await js.consumer_info(stream.name, "tidegate")
            assert info.ack_floor.stream_seq == 0, "nothing was acknowledged"

    asyncio.run(run())


# Folders.


def folder(path):
    def tail(after):
        return ParquetTail(path, reader(STACK.venue), after=after, look_every_s=0.01, chunk_max=2)

    return FolderSource(tail, DOOR, "folder:feed")


def put(path, number, *prices, source="index"):
    n = len(prices)
    at = [BEGIN + number * 100 + k for k in range(n)]
    columns = {"ts": at, "instrument": ["BTC-PERP"] * n, "source": [source] * n, "price": prices}
    part = path / f"{number:04}.part"
    pq.write_table(pa.table(columns), part)
    part.rename(path / f"{number:04}.prices.parquet")


def test_a_folder_is_taken_once_and_a_bad_row_stops_it_by_name(tmp_path):
    path = tmp_path / "feed"
    path.mkdir()

    async def run():
        told = Told()
        put(path, 1, "100000.0", "100001.0", "100002.0")
        put(path, 2, "100000.0", "-5")
        put(path, 3, "100003.0")
        with engine_of(SqliteJournal(tmp_path / "j.db")) as engine:
            feed = Feed(folder(path), engine, told)
            async with running(feed):
                await until(lambda: feed.now.state == "stopped")
                assert "0002.prices.parquet: row 1, column price" in feed.now.trouble
                assert told.codes == ["feed_stopped"]
                assert feed.now.place == "0001.prices.parquet:3"
        with engine_of(SqliteJournal(tmp_path / "j.db")) as engine:
            feed = Feed(folder(path), engine, told)
            async with running(feed):
                await until(lambda: feed.now.state == "stopped")
                put(path, 2, "100000.0", "100005.0")  # mended
                feed.resume()
                await until(lambda: feed.now.place == "0003.prices.parquet:1")
                put(path, 4, "-5")
                await until(lambda: feed.now.state == "stopped")
                assert await feed.accept("olga") == "0004.prices.parquet:-1"
                put(path, 5, "100006.0")
                await until(lambda: feed.now.place == "0005.prices.parquet:1")
        with engine_of(SqliteJournal(tmp_path / "j.db")) as engine:
            feed = Feed(folder(path), engine, told)
            async with running(feed):
                put(path, 6, "100007.0")
                await until(lambda: feed.now.place == "0006.prices.parquet:1")
        with contextlib.closing(SqliteJournal(tmp_path / "j.db")) as journal:
            assert published(journal) == [100, 101, 102, 200, 201, 300, 500, 600]

    asyncio.run(run())


def test_flows_of_a_folder_name_accounts(tmp_path):
    async def run():
        journal = MemoryJournal()
        pq.write_table(
            pa.table(
                {
                    "ts": [BEGIN],
                    "seq": [0],
                    "account": ["alice"],
                    "kind": ["deposit"],
                    "instrument": pa.array([None], pa.string()),
                    "asset": pa.array([None], pa.string()),
                    "quantity": ["12.5"],
                    "price": pa.array([None], pa.string()),
                }
            ),
            tmp_path / "0001.flows.parquet",
        )
        with engine_of(journal) as engine:
            await engine.take([DOOR.prepare(feeds.asks.Account(name="alice"))], source="x")
            feed = Feed(folder(tmp_path), engine, Told())
            async with running(feed):
                await until(lambda: feed.now.place == "0001.flows.parquet:1")
        last = list(journal.read())[-1].event
        assert last.amount == 12_500_000

    asyncio.run(run())


# Ticks.


def test_ticks_go_on_and_never_pile_up():
    async def run():
        journal, clock = MemoryJournal(), SetClock(BEGIN)

        async def moving():
            while True:
                clock.time += SECOND
                await asyncio.sleep(0.005)

        with engine_of(journal, clock=clock) as engine:
            tasks = [asyncio.create_task(Timekeeper(engine, 10_000_000, Told()).run())]
            tasks.append(asyncio.create_task(moving()))
            await until(lambda: journal.head >= 5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        events = [r.event for r in journal.read()]
        assert all(isinstance(e, ClockTicked) for e in events)
        assert [e.ts for e in events] == sorted(e.ts for e in events)

    asyncio.run(run())


def test_a_tick_behind_the_venue_s_time_does_not_turn_it_back():
    async def run():
        journal, clock = MemoryJournal(), SetClock(BEGIN + 10 * SECOND)
        with engine_of(journal, clock=clock) as engine:
            ahead = feeds.asks.Price(
                ts=BEGIN + 14 * SECOND, instrument="BTC-PERP", source="index", price="100000.0"
            )
            await engine.take([DOOR.prepare(ahead)], source="x")
            task = asyncio.create_task(Timekeeper(engine, 10_000_000, Told()).run())
            await until(lambda: journal.head >= 3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        records = list(journal.read())
        assert {r.event.ts for r in records} == {BEGIN + 14 * SECOND}
        assert not any("Rejected" in type(e).__name__ for r in records for e in r.effects)

    asyncio.run(run())
