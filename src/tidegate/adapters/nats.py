"""A stream of NATS JetStream, read in order from a place of ours: nothing twice, no gap unseen.

The place up to which everything was taken lies in our journal, in the same commit as what was
taken; the server's own memory of us is only a convenience. So at every start and after every lost
connection a fresh consumer begins right after that place, and a message is acknowledged to the
server once our commit is through, never before. What the server tells again is known by its
sequence and is acknowledged without being handed out.

A server that is gone is tried again for ever. Messages that are gone are another matter: limits of
the stream may have removed them before we came, or a crash of the server may have lost what it had
acknowledged. Then `batches` raises FeedBroken, and somebody has to decide.
"""

import asyncio
import contextlib
import hashlib
import importlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import msgspec
import nats.errors
import nats.js.errors
import tenacity
from nats.aio.msg import Msg
from nats.js import api

from tidegate.domain.errors import ConfigInvalid, FeedBroken


BATCH_MAX: Final = 256
WAIT_S: Final = 1.0  # how long a request for messages stays open at the server
ANSWER_S: Final = 5.0
ACK_WAIT_S: Final = 60.0  # after which the server tells again what was not acknowledged
FIRST_WAIT_S: Final = 0.05
BACKOFF_MAX_S: Final = 5.0

# What nats-py is to a type checker: half unknown. It is said here, once.
_Untyped: TypeAlias = Any
_NATS: Final[Any] = importlib.import_module("nats")

_PREFIX: Final = "$JS.API"
_AWAY: Final = (nats.errors.Error, OSError, TimeoutError)


class Delivered(NamedTuple):
    """One message: its place in the stream, and what it says."""

    sequence: int
    data: bytes


class _State(msgspec.Struct, frozen=True, kw_only=True):
    first_seq: int
    last_seq: int
    num_deleted: int = 0
    deleted: tuple[int, ...] = ()
    lost: Any = None  # what a server found missing when it recovered


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    subjects: tuple[str, ...] = ()
    retention: str = "limits"


class _Info(msgspec.Struct, frozen=True, kw_only=True):
    config: _Config | None = None
    state: _State | None = None
    created: str = ""
    error: dict[str, Any] | None = None


class _Again(Exception):
    """The connection is of no more use; begin another one."""


class JetStream:
    """One stream, or one subject of it.

    Parameters
    ----------
    url
        ``nats://[user:password@]host:port``, several with commas between them. What is secret in it
        is in no message of ours.
    stream, subject
        ``subject`` narrows what is read; it needs a stream that keeps messages by limits.
    durable
        The consumer's name at the server; two readers of one stream need two names.
    after
        The last sequence that was taken; None begins with the oldest message that is there.
    proof
        `digest` of that last message, if known. A stream that says something else at this place has
        lost its end in a crash and was written on: FeedBroken.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        *,
        subject: str | None = None,
        durable: str = "tidegate",
        after: int | None = None,
        proof: str = "",
        batch_max: int = BATCH_MAX,
        ack_wait_s: float = ACK_WAIT_S,
        backoff_max_s: float = BACKOFF_MAX_S,
    ) -> None:
        self._url, self.stream, self._subject, self._durable = url, stream, subject, durable
        self._batch_max, self._ack_wait_s = batch_max, ack_wait_s
        self._backoff_max_s = backoff_max_s
        self._handed = self._kept = after
        self._proof = proof
        self._created = ""  # of the stream, as first seen
        self._pending: dict[int, Msg] = {}  # handed out and not yet acknowledged
        self._heard = 0  # deliveries of the present consumer
        self.trouble = "not connected yet"  # in words, as long as nothing can be read
        self.behind = 0  # messages at the server after the last one handed out
        self.gap: tuple[int, int] | None = None  # first and last sequence that are missing

    def __repr__(self) -> str:
        return f"JetStream({self.stream!r} at {shown(self._url)}, after {self._handed})"

    async def batches(self) -> AsyncGenerator[Sequence[Delivered]]:
        """Yield what is new, in order, for ever; close the generator to end.

        Raise FeedBroken at a gap, after all that lies before it was yielded. `skip` takes it over,
        and `batches` may be called again.
        """
        while True:
            async with self._connection() as (client, subscription):
                with contextlib.suppress(_Again, *_AWAY):
                    while True:
                        fresh = await self._fresh(await self._fetch(client, subscription))
                        before, gap = await self._until_gap(client, fresh)
                        if before:
                            self._handed = before[-1].sequence
                            self._proof = digest(before[-1].data)
                            yield before
                        if gap is not None:
                            raise self._broken(*gap)
            await asyncio.sleep(FIRST_WAIT_S)

    async def acknowledge(self, through: int) -> None:
        """Tell the server that everything up to ``through`` is durable here.

        If it does not hear so, it tells again later; that is harmless.
        """
        self._kept = max(through, self._kept or 0)
        for sequence in [s for s in self._pending if s <= through]:
            with contextlib.suppress(*_AWAY):
                await self._pending.pop(sequence).ack()

    def skip(self) -> int:
        """Go on behind the gap; return the last sequence of it, which is now the place."""
        assert self.gap is not None, "only a gap that was found can be skipped"
        self._handed = self._kept = self.gap[1]
        self.gap, self._proof = None, ""
        return self._handed

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[tuple[_Untyped, _Untyped]]:
        """Begin a fresh consumer; try as long as it takes, ever more slowly."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((_Again, *_AWAY)),
            wait=tenacity.wait_exponential(multiplier=FIRST_WAIT_S, max=self._backoff_max_s)
            + tenacity.wait_random(0, FIRST_WAIT_S),
            before_sleep=self._troubled,
            sleep=asyncio.sleep,
        )
        opened: tuple[_Untyped, _Untyped] = await retrying(self._open)
        client, subscription = opened
        try:
            self.trouble = ""
            yield client, subscription
        finally:
            self.trouble = self.trouble or "the connection was lost"
            self._pending.clear()  # acknowledgements belong to the connection they came by
            with contextlib.suppress(*_AWAY):
                await client.close()

    def _troubled(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.trouble = self._clean(f"{type(error).__name__}: {error}")

    async def _open(self) -> tuple[_Untyped, _Untyped]:
        client = await _NATS.connect(
            [one.strip() for one in self._url.split(",")],
            name="tidegate",
            allow_reconnect=False,  # one way to begin, whether for the first time or again
            max_reconnect_attempts=1,
            connect_timeout=5,
            error_cb=_unheard,
        )
        try:
            js = client.jetstream(timeout=ANSWER_S)
            info = await self._info(client)
            await self._prove_place(js, info)
            return client, await self._consumer(js, info)
        except BaseException:
            await client.close()
            raise

    async def _consumer(self, js: _Untyped, info: _Info) -> _Untyped:
        """Replace the consumer by one that begins right after our place."""
        assert self._handed is not None
        with contextlib.suppress(nats.js.errors.NotFoundError):
            await js.delete_consumer(self.stream, self._durable)
        # A work queue drops what is acknowledged and lets nobody begin in the middle; there, what
        # was taken and not yet acknowledged comes again, and is known by its sequence.
        queue = info.config is not None and info.config.retention == "workqueue"
        config = api.ConsumerConfig(
            durable_name=self._durable,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=self._ack_wait_s,
            max_ack_pending=8 * self._batch_max,
            deliver_policy=api.DeliverPolicy.ALL if queue else api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if queue else self._handed + 1,
            filter_subject=self._subject,
        )
        await js.add_consumer(self.stream, config)
        self._heard = 0
        return await js.pull_subscribe_bind(self._durable, self.stream)

    async def _fetch(self, client: _Untyped, subscription: _Untyped) -> list[Msg]:
        """Return what is there, at least one message unless there was none for `WAIT_S`."""
        try:
            # One message ends the wait; whatever else is there already is fetched without any.
            first: list[Msg] = await subscription.fetch(1, timeout=WAIT_S)
        except TimeoutError:  # nats-py derives its own from it
            if not client.is_connected:
                raise _Again from None
            return []
        if self._batch_max == 1 or not first[0].metadata.num_pending:
            return first
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                first += await subscription.fetch(self._batch_max - 1, timeout=None)
        return first

    async def _fresh(self, messages: Sequence[Msg]) -> list[Delivered]:
        """Return what was not handed out before; acknowledge what is durable already."""
        assert self._handed is not None
        fresh: list[Delivered] = []
        newest = self._handed
        for message in messages:
            facts = message.metadata
            self._heard += 1
            if facts.sequence.consumer != self._heard:
                raise _Again  # one was dropped on the way to us: it is told again
            sequence = facts.sequence.stream
            if sequence <= (self._kept or 0):
                await message.ack()
                continue
            self._pending[sequence] = message  # the newest delivery is the one to acknowledge
            if sequence > newest:
                newest = sequence
                fresh.append(Delivered(sequence, message.data))
                self.behind = facts.num_pending
        return fresh

    async def _until_gap(
        self, client: _Untyped, fresh: Sequence[Delivered]
    ) -> tuple[Sequence[Delivered], tuple[int, int] | None]:
        """Return the messages before the first gap, and that gap."""
        assert self._handed is not None
        before = self._handed
        info: _Info | None = None
        for n, one in enumerate(fresh):
            if one.sequence > before + 1:
                if self._subject is not None and info is None:
                    info = await self._info(client, deleted=True)
                if self._missing(before + 1, one.sequence - 1, info):
                    return fresh[:n], (before + 1, one.sequence - 1)
            before = one.sequence
        return fresh, None

    def _missing(self, first: int, last: int, info: _Info | None) -> bool:
        """Tell whether messages between two deliveries are gone, and not of another subject."""
        if self._subject is None:
            return True
        assert info is not None
        assert info.state is not None
        state = info.state
        return (
            first < state.first_seq
            or any(first <= s <= last for s in state.deleted)
            or state.lost is not None
        )

    async def _info(self, client: _Untyped, *, deleted: bool = False) -> _Info:
        """Ask for the state of the stream; nats-py cannot ask for what was deleted."""
        asked = msgspec.json.encode({"deleted_details": deleted})
        answer = await client.request(
            f"{_PREFIX}.STREAM.INFO.{self.stream}", asked, timeout=ANSWER_S
        )
        info = msgspec.json.decode(answer.data, type=_Info)
        if info.error is not None or info.state is None:
            msg = f"{self.stream}: {(info.error or {}).get('description')}"
            raise nats.errors.Error(msg)
        return info

    async def _prove_place(self, js: _Untyped, info: _Info) -> None:
        """Refuse to begin where something between our place and the stream's end is not there."""
        assert info.state is not None
        assert info.config is not None
        self._prove_subject(info.config)
        first, last = info.state.first_seq, info.state.last_seq
        if self._handed is None:
            self._handed = self._kept = max(0, first - 1)
        if last < self._handed or (self._created and info.created != self._created):
            raise self._replaced(last)
        self._created = info.created
        if first > self._handed + 1:
            raise self._broken(self._handed + 1, first - 1)
        if self._proof:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                held = await js.get_msg(self.stream, seq=self._handed)
                if digest(held.data or b"") != self._proof:
                    raise self._replaced()

    def _prove_subject(self, config: _Config) -> None:
        if self._subject is not None and self._subject in config.subjects[:1] == config.subjects:
            self._subject = None  # all that is in it
        if config.retention == "interest":
            raise ConfigInvalid(
                where=f"nats: stream {self.stream}",
                what="must keep messages by limits, or as a work queue",
                found="retention interest",
                hint="what is said while no consumer is there would be lost unseen",
            )
        if self._subject is not None and config.retention != "limits":
            raise ConfigInvalid(
                where=f"nats: stream {self.stream}",
                what="must keep messages by limits if only one subject of it is read",
                found=f"retention {config.retention}",
                hint="other readers remove messages there, so that a gap could not be told",
            )

    def _broken(self, first: int, last: int) -> FeedBroken:
        self.gap = (first, last)
        self.trouble = f"messages {first:_}..{last:_} are missing"
        may = "" if self._subject is None else ", some of which may be of other subjects"
        return FeedBroken(
            where=f"nats: stream {self.stream}",
            what=f"must still have messages {first:_}..{last:_}{may}",
            found="they are gone",
            hint="bring the book in agreement with the venue, then accept the gap",
        )

    def _replaced(self, last: int | None = None) -> FeedBroken:
        other = f"says something else at {self._handed:_}"
        found = other if last is None else f"ends at {last:_}"
        self.gap = None
        self.trouble = f"the stream was replaced: it {found}, and {self._handed:_} was taken"
        return FeedBroken(
            where=f"nats: stream {self.stream}",
            what=f"must be the stream of which {self._handed:_} was taken last",
            found=f"one that {found}",
            hint="it lost its end or was made anew; give the feed another name to begin anew",
        )

    def _clean(self, text: str) -> str:
        for one in self._url.split(","):
            parts = urlsplit(one.strip())
            for secret in (parts.password, parts.username):
                text = text.replace(secret, "***") if secret else text
        return text


async def _unheard(_error: Exception) -> None:
    """Hear the library's own reports; what they are about reaches us as an exception as well."""


def digest(data: bytes) -> str:
    """Return what a message is known by."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def shown(url: str) -> str:
    """Return an address without who logs in there."""
    hosts = [one.strip().rpartition("@")[2].removeprefix("nats://") for one in url.split(",")]
    return ", ".join(hosts)
