"""A feed from a real nats-server: nothing twice, no gap unseen, whatever dies in between."""

import asyncio
import contextlib
import signal

import nats
import pytest

from servers import private_nats
from tidegate.adapters.nats import JetStream, digest, shown
from tidegate.domain.errors import ConfigInvalid, FeedBroken


PATIENCE = 20.0


@pytest.fixture(scope="module")
def server():
    """Return a nats-server that may be killed, and is started again for whoever is next."""
    one = private_nats()
    yield one
    one.close()


class World:
    """A stream of its own for one test, and what is done to it."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    @contextlib.asynccontextmanager
    async def js(self):
        client = await nats.connect(self.server.url, max_reconnect_attempts=3)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def make(self, **config):
        async with self.js() as js:
            await js.add_stream(name=self.name, subjects=[f"{self.name}.*"], **config)

    async def say(self, *texts, subject="a"):
        async with self.js() as js:
            for text in texts:
                await js.publish(f"{self.name}.{subject}", text.encode())

    def feed(self, **more):
        return JetStream(self.server.url, self.name, backoff_max_s=0.2, **more)


@pytest.fixture
def world(server, request):
    return World(server, request.node.name.replace("[", "-").replace("]", "")[:60])


async def take(feed, n, *, acknowledge=True, patience=PATIENCE):
    """Return the next ``n`` messages; ``acknowledge`` each batch, as after a commit."""
    taken = []
    async with asyncio.timeout(patience), contextlib.aclosing(feed.batches()) as batches:
        async for batch in batches:
            taken += batch
            if acknowledge:
                await feed.acknowledge(batch[-1].sequence)
            if len(taken) >= n:
                break
    return [(m.sequence, m.data.decode()) for m in taken]


async def silent(feed, for_s=0.5):
    """Prove that nothing comes."""
    with pytest.raises(TimeoutError):
        await take(feed, 1, patience=for_s)


def test_messages_come_in_order_and_are_acknowledged_when_they_are_durable(world):
    async def run():
        await world.make()
        await world.say("a", "b", "c")
        feed = world.feed(batch_max=2)
        assert feed.trouble
        taken = []
        async with contextlib.aclosing(feed.batches()) as batches:
            async for batch in batches:
                assert not feed.trouble
                taken += [(m.sequence, m.data) for m in batch]
                if len(taken) == 3:
                    break
            async with world.js() as js:
                waiting = (await js.consumer_info(world.name, "tidegate")).num_ack_pending
                assert waiting == 3, "nothing is acknowledged before its commit"
                await feed.acknowledge(2)
                await asyncio.sleep(0.1)
                waiting = (await js.consumer_info(world.name, "tidegate")).num_ack_pending
                assert waiting == 1
        assert taken == [(1, b"a"), (2, b"b"), (3, b"c")]
        assert feed.behind == 0

    asyncio.run(run())


def test_a_reader_that_dies_between_commit_and_acknowledgement_goes_on_behind_it(world):
    async def run():
        await world.make()
        await world.say("a", "b", "c")
        assert await take(world.feed(), 3, acknowledge=False) == [(1, "a"), (2, "b"), (3, "c")]
        await world.say("d")
        assert await take(world.feed(after=3), 1) == [(4, "d")]

    asyncio.run(run())


def test_a_reader_that_dies_before_its_commit_is_told_again(world):
    async def run():
        await world.make()
        await world.say("a", "b", "c")
        await take(world.feed(), 3, acknowledge=False)
        assert await take(world.feed(after=1), 2) == [(2, "b"), (3, "c")]

    asyncio.run(run())


@pytest.mark.parametrize("retention", ["limits", "workqueue"])
def test_what_the_server_tells_again_is_not_handed_out_again(world, retention):
    async def run():
        await world.make(retention=retention)
        first = world.feed(ack_wait_s=0.3)
        await world.say("a", "b")
        assert await take(first, 2, acknowledge=False) == [(1, "a"), (2, "b")]
        second = world.feed(after=2, ack_wait_s=0.3)
        await silent(second, 0.8)
        await world.say("c")
        assert await take(second, 1) == [(3, "c")]
        async with world.js() as js:
            assert (await js.consumer_info(world.name, "tidegate")).num_ack_pending == 0

    asyncio.run(run())


def test_a_commit_slower_than_the_server_s_patience_doubles_nothing(world):
    async def run():
        await world.make()
        await world.say("a", "b")
        feed = world.feed(ack_wait_s=0.2)
        heard = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0), contextlib.aclosing(feed.batches()) as batches:
                async for batch in batches:
                    heard += [m.sequence for m in batch]
        assert heard == [1, 2]

    asyncio.run(run())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_dies_is_waited_for(world, server, how):
    async def run():
        await world.make()
        await world.say("a")
        feed, heard = world.feed(), []

        async def reading():
            async with contextlib.aclosing(feed.batches()) as batches:
                async for batch in batches:
                    heard.extend(m.data.decode() for m in batch)
                    await feed.acknowledge(batch[-1].sequence)

        task = asyncio.create_task(reading())
        try:
            await until(lambda: heard == ["a"])
            server.stop(how)
            await until(lambda: feed.trouble)
            server.start()
            await world.say("b", "c")
            await until(lambda: heard == ["a", "b", "c"])
            assert not feed.trouble
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


def test_messages_that_the_stream_s_limits_removed_are_a_gap(world):
    async def run():
        await world.make(max_msgs=2)
        await world.say("a")
        assert await take(world.feed(), 1) == [(1, "a")]
        await world.say("b", "c", "d")  # two of four are kept: 3 and 4
        feed = world.feed(after=1)
        with pytest.raises(FeedBroken, match=r"2\.\.2 are missing|messages 2\.\.2"):
            await take(feed, 1)
        assert feed.gap == (2, 2)
        assert "missing" in feed.trouble
        assert feed.skip() == 2
        assert await take(feed, 2) == [(3, "c"), (4, "d")]

    asyncio.run(run())


def test_a_message_that_was_deleted_is_a_gap_after_what_came_before_it(world):
    async def run():
        await world.make()
        await world.say("a", "b", "c", "d")
        async with world.js() as js:
            await js.delete_msg(world.name, 3)
        feed, heard = world.feed(), []

        async def reading():
            async with asyncio.timeout(PATIENCE), contextlib.aclosing(feed.batches()) as batches:
                async for batch in batches:
                    heard.extend(m.sequence for m in batch)

        with pytest.raises(FeedBroken, match=r"3\.\.3"):
            await reading()
        assert heard == [1, 2]
        feed.skip()
        assert await take(feed, 1) == [(4, "d")]

    asyncio.run(run())


def test_other_subjects_are_no_gap_and_what_was_deleted_among_them_may_be(world):
    async def run():
        await world.make()
        for n in range(3):
            await world.say(f"a{n}")
            await world.say(f"b{n}", subject="b")
        feed = world.feed(subject=f"{world.name}.a")
        assert await take(feed, 3) == [(1, "a0"), (3, "a1"), (5, "a2")]
        async with world.js() as js:
            await js.delete_msg(world.name, 2)
        with pytest.raises(FeedBroken, match="other subjects"):
            await take(world.feed(subject=f"{world.name}.a", after=1), 1)

    asyncio.run(run())


def test_a_stream_that_keeps_only_what_somebody_waits_for_is_refused(world):
    async def run():
        await world.make(retention="interest")
        with pytest.raises(ConfigInvalid, match="would be lost unseen"):
            await take(world.feed(), 1)

    asyncio.run(run())


def test_one_subject_of_a_work_queue_cannot_be_read(world):
    async def run():
        await world.make(retention="workqueue")
        with pytest.raises(ConfigInvalid, match="by limits"):
            await take(world.feed(subject=f"{world.name}.a"), 1)

    asyncio.run(run())


def test_a_stream_that_lost_its_end_is_not_read_on(world):
    async def run():
        await world.make()
        await world.say("a", "b", "c")
        async with world.js() as js:
            await js.delete_stream(world.name)
        await world.make()
        await world.say("x")
        with pytest.raises(FeedBroken, match="ends at 1"):
            await take(world.feed(after=3), 1)
        await world.say("y", "z", "new")
        with pytest.raises(FeedBroken, match="says something else at 3"):
            await take(world.feed(after=3, proof=digest(b"c")), 1)
        assert await take(world.feed(after=3, proof=digest(b"z")), 1) == [(4, "new")]

    asyncio.run(run())


def test_a_stream_that_is_not_there_yet_is_waited_for_and_nothing_secret_is_said(server):
    async def run():
        url = server.url.replace("nats://", "nats://somebody:hush@")
        feed = JetStream(url, "later", backoff_max_s=0.1)
        assert "hush" not in repr(feed)
        assert shown(url) == server.url.removeprefix("nats://")
        task = asyncio.create_task(take(feed, 1))
        await until(lambda: "not found" in feed.trouble)
        assert "hush" not in feed.trouble
        later = World(server, "later")
        await later.make()
        await later.say("a")
        assert await task == [(1, "a")]

    asyncio.run(run())
