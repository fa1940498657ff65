"""Feeds that the service fetches itself: pulled when there is room, and never taken twice.

What a feed hands out is offered to the engine under its place in the feed. The place becomes
durable in the same commit, and only then is the other side told. Order is kept by offering in
order: up to `WINDOW` offers may be on their way. What is no event (malformed, refused at the door)
is kept in the journal as a dead letter under its place, and the feed goes on. Where something is
missing, or a file cannot be believed, the feed stops and people are told: somebody must `accept`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple, Protocol

import msgspec

from tidegate.adapters.nats import JetStream
from tidegate.adapters.nats import digest as digest_of
from tidegate.adapters.parquet_tail import ParquetTail
from tidegate.api import asks
from tidegate.api.answers import FeedNow, Taken
from tidegate.domain.errors import AskInvalid, FeedBroken, RecordingInvalid
from tidegate.domain.events import Attested, Event, Input
from tidegate.drivers.recording_tail import Item
from tidegate.ports import Alerts
from tidegate.service.door import Door, Prepared
from tidegate.service.runner import Busy, Conflict, Engine


WINDOW: Final = 512  # offers on their way
RETRY_S: Final = 0.005
RETRY_MAX_S: Final = 0.1
AHEAD_WAIT_S: Final = 10.0  # how long a time ahead of our clock is waited for
AWAY_S: Final = 5.0  # how long a feed may be in trouble before people are told
LETTER_MAX: Final = 65_536  # bytes of a dead letter that are kept

STOPPED, AWAY, DEAD = "feed_stopped", "feed_away", "dead_letter"


class Offer(NamedTuple):
    """What one place in a feed says: events, or why there are none."""

    place: str
    events: Sequence[Prepared | Input]
    digest: str = ""
    raw: bytes = b""
    refused: str = ""  # in words: then it is a dead letter


class Source(Protocol):
    """Something that hands out offers, and goes on from a place."""

    name: str  # of its receipts, such as "nats:events"

    async def begin(self, place: str | None, proof: str) -> None:
        """Go on after ``place``; ``proof`` is the digest of what was taken there."""
        ...

    def offers(self) -> AsyncGenerator[Offer]:
        """Yield offers for ever; raise FeedBroken or RecordingInvalid where it cannot go on."""
        ...

    async def taken(self, place: str) -> None:
        """Hear that everything up to ``place`` is durable."""
        ...

    def skip(self) -> str | None:
        """Leave out what could not be taken; return the place behind it, None: it cannot be."""
        ...

    @property
    def trouble(self) -> str:
        """Why nothing comes, in words; empty while all is well."""
        ...

    @property
    def behind(self) -> int:
        """How much is known to wait on the other side."""
        ...


class Feed:
    """One source on its way into the engine; `run` it as a task for as long as this process leads.

    Parameters
    ----------
    window
        Offers on their way at most: what a crash makes the source tell again.
    """

    def __init__(
        self, source: Source, engine: Engine, alerts: Alerts, *, window: int = WINDOW
    ) -> None:
        self._source, self._engine, self._alerts = source, engine, alerts
        self._window = window
        self._place, self._taken, self._dead = "", 0, 0
        self._stopped = ""
        self._decided = asyncio.Event()
        self._told_away = False

    @property
    def name(self) -> str:
        """The name of its source."""
        return self._source.name

    @property
    def now(self) -> FeedNow:
        """How it is."""
        trouble = self._stopped or self._source.trouble
        state = "stopped" if self._stopped else "away" if trouble else "running"
        return FeedNow(
            name=self._source.name,
            state=state,
            trouble=trouble,
            place=self._place,
            behind=self._source.behind,
            taken=self._taken,
            dead=self._dead,
        )

    async def run(self) -> None:
        """Take what comes, until the engine stops; raise what stopped it."""
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                await self._begin()
                try:
                    await self._take()
                except (FeedBroken, RecordingInvalid) as error:
                    await self._stop(error)
        finally:
            watching.cancel()

    async def accept(self, who: str) -> str:
        """Go on behind what stopped the feed; return the place behind it.

        It is journalled who said so. Raise AskInvalid where nothing has stopped, or where going on
        would mean to guess.
        """
        place = self._source.skip() if self._stopped else None
        if place is None:
            raise AskInvalid(
                where=f"feeds.{self._source.name}",
                what="must have stopped at something that can be left out",
                found=self._stopped or "a feed that goes on",
            )
        said = {"feed": self._source.name, "place": place, "left_out": self._stopped}
        await self._kept("gap_accepted", who, said, place, digest="")
        self._place = place
        self.resume()
        return place

    def resume(self) -> None:
        """Try again where the feed has stopped: what was wrong has been mended."""
        self._stopped = ""
        self._decided.set()

    async def _begin(self) -> None:
        name, journal = self._source.name, self._engine.journal

        def found(_reading: object) -> tuple[str | None, str]:
            place = journal.place(name)
            receipt = journal.receipt(name, place) if place is not None else None
            return place, receipt.ask if receipt is not None else ""

        place, proof = await self._engine.ask(found)
        self._place = place or ""
        await self._source.begin(place, proof)

    async def _take(self) -> None:
        """Offer what comes; end when the source does, after all that was offered is settled."""
        waiting: asyncio.Queue[tuple[Offer, Future[Taken]] | None] = asyncio.Queue(self._window)
        broken: FeedBroken | RecordingInvalid | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._settle(waiting))
                try:
                    async with contextlib.aclosing(self._source.offers()) as offers:
                        async for offer in offers:
                            await waiting.put((offer, await self._offer(offer)))
                except (FeedBroken, RecordingInvalid) as error:
                    broken = error
                await waiting.put(None)
        except BaseExceptionGroup as group:  # of one: the first failure ends both
            raise group.exceptions[0] from None
        if broken is not None:
            raise broken

    async def _settle(self, waiting: "asyncio.Queue[tuple[Offer, Future[Taken]] | None]") -> None:
        """Wait for commits in order, and tell the source."""
        while (item := await waiting.get()) is not None:
            offer, answer = item
            try:
                await asyncio.wrap_future(answer)
            except Conflict as error:
                if error.where == "Idempotency-Key":
                    raise FeedBroken(
                        where=f"{self._source.name} at {offer.place}",
                        what="must say what it said when it was taken",
                        found="something else",
                        hint="it was made anew; give the feed another name to begin anew",
                    ) from None
                await self._letter(offer, str(error))
            self._taken += len(offer.events)
            self._place = offer.place
            await self._source.taken(offer.place)

    async def _offer(self, offer: Offer) -> "Future[Taken]":
        """Hand over, as soon as there is room."""
        if offer.refused:
            return await self._dead_letter(offer, offer.refused)
        begun, pause = asyncio.get_running_loop().time(), RETRY_S
        while True:
            try:
                return self._engine.offer(
                    offer.events, source=self._source.name, key=offer.place, digest=offer.digest
                )
            except Busy:
                await asyncio.sleep(pause)
                pause = min(RETRY_MAX_S, 2 * pause)
            except AskInvalid as error:  # its time lies ahead of our clock
                if asyncio.get_running_loop().time() - begun > AHEAD_WAIT_S:
                    return await self._dead_letter(offer, str(error))
                await asyncio.sleep(RETRY_MAX_S)

    async def _letter(self, offer: Offer, why: str) -> None:
        await asyncio.wrap_future(await self._dead_letter(offer, why))

    async def _dead_letter(self, offer: Offer, why: str) -> "Future[Taken]":
        self._dead += 1
        self._alerts.raised(DEAD, f"{self._source.name} at {offer.place}: {why}")
        said = {
            "feed": self._source.name,
            "place": offer.place,
            "why": why,
            "bytes": len(offer.raw),
            "digest": offer.digest,
            "said": offer.raw[:LETTER_MAX],
        }
        return await self._noted(DEAD, self._source.name, said, offer.place, offer.digest)

    async def _kept(
        self, kind: str, who: str, said: Mapping[str, object], place: str, digest: str
    ) -> None:
        await asyncio.wrap_future(await self._noted(kind, who, said, place, digest))

    async def _noted(
        self, kind: str, who: str, said: Mapping[str, object], place: str, digest: str
    ) -> "Future[Taken]":
        """Journal what is no event, under its place."""
        body = msgspec.json.encode(said)
        note = Attested(
            ts=self._engine.clock.now(), kind=kind, signer=who, body=body, signature=b""
        )
        while True:
            try:
                return self._engine.offer(
                    [note], source=self._source.name, key=place, digest=digest
                )
            except Busy:
                await asyncio.sleep(RETRY_MAX_S)

    async def _stop(self, error: FeedBroken | RecordingInvalid) -> None:
        self._stopped = str(error)
        self._alerts.raised(STOPPED, f"{self._source.name}: {error}")
        self._decided.clear()
        await self._decided.wait()

    async def _watch(self) -> None:
        """Tell people, once, when a source stays away for long."""
        since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(AWAY_S / 10)
            trouble = "" if self._stopped else self._source.trouble
            if not trouble:
                since, self._told_away = None, False
                continue
            since = loop.time() if since is None else since
            if loop.time() - since >= AWAY_S and not self._told_away:
                self._told_away = True
                self._alerts.raised(AWAY, f"{self._source.name}: {trouble}")


class NatsSource:
    """Messages of a JetStream stream: each one `asks.Events`, journalled whole or not at all."""

    def __init__(
        self, url: str, stream: str, door: Door, *, name: str = "", **more: object
    ) -> None:
        self.name = name or f"nats:{stream}"
        self._make: Callable[[int | None, str], JetStream] = lambda after, proof: JetStream(
            url,
            stream,
            after=after,
            proof=proof,
            **more,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - its own options
        )
        self._door, self._stream = door, self._make(None, "")
        self._decoder = msgspec.json.Decoder(asks.Events)

    async def begin(self, place: str | None, proof: str) -> None:
        """See `Source`."""
        self._stream = self._make(None if place is None else int(place), proof)

    async def offers(self) -> AsyncGenerator[Offer]:
        """See `Source`."""
        async with contextlib.aclosing(self._stream.batches()) as batches:
            async for batch in batches:
                for message in batch:
                    yield self._read(str(message.sequence), message.data)

    async def taken(self, place: str) -> None:
        """See `Source`."""
        await self._stream.acknowledge(int(place))

    def skip(self) -> str | None:
        """See `Source`."""
        return str(self._stream.skip()) if self._stream.gap is not None else None

    @property
    def trouble(self) -> str:
        """See `Source`."""
        return self._stream.trouble

    @property
    def behind(self) -> int:
        """See `Source`."""
        return self._stream.behind

    def _read(self, place: str, data: bytes) -> Offer:
        digest = digest_of(data)
        try:
            events = self._door.prepare_all(self._decoder.decode(data).events)
        except (msgspec.MsgspecError, UnicodeDecodeError, AskInvalid) as error:
            return Offer(place, (), digest, data, str(error))
        return Offer(place, events, digest, data)


class FolderSource:
    """Files of a growing recording; see `adapters.parquet_tail` and `drivers.recording_tail`."""

    def __init__(
        self, tail: Callable[[str | None], ParquetTail[Item]], door: Door, name: str
    ) -> None:
        self.name, self._make, self._door = name, tail, door
        self._tail = tail(None)

    async def begin(self, place: str | None, proof: str) -> None:
        """See `Source`."""
        del proof
        self._tail = self._make(place)

    async def offers(self) -> AsyncGenerator[Offer]:
        """See `Source`."""
        async with contextlib.aclosing(self._tail.chunks()) as chunks:
            async for chunk in chunks:
                yield Offer(chunk.place, [self._read(item) for item in chunk.items])

    async def taken(self, place: str) -> None:
        """Nobody on the other side wants to know."""
        del place

    def skip(self) -> str | None:
        """See `Source`."""
        return self._tail.skip()

    @property
    def trouble(self) -> str:
        """See `Source`."""
        return self._tail.trouble

    @property
    def behind(self) -> int:
        """It is not known how much is in a file before it is read."""
        return 0

    def _read(self, item: Item) -> Prepared | Input:
        if isinstance(item, Event):
            return item
        try:
            return self._door.prepare(item)
        except AskInvalid as error:
            raise RecordingInvalid(
                where=f"{self._tail.file}: {error.where}",
                what=error.what,
                found=error.found,
                hint=error.hint,
            ) from None


async def every(seconds: float) -> AsyncIterator[None]:
    """Yield about every so often, without catching up on what was missed."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        yield
        due = max(due + seconds, loop.time())
        await asyncio.sleep(due - loop.time())
