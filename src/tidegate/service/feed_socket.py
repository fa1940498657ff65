"""Ingestion over one WebSocket: messages in, and each answered in order once it is durable.

A message is ``{"key": "...", "events": [...]}``; its key works like the header Idempotency-Key, in
the same space. Up to `WINDOW` messages are on their way; when they are, or when the engine's queue
is full, nothing more is read from the socket, and TCP tells the sender to wait. A message that is
refused is answered with its problem, and the socket stays open for the next one.
"""

import asyncio
import contextlib
from concurrent.futures import Future
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.routing import WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from tidegate.api.answers import Answer, Outcome, Problem, Taken
from tidegate.api.asks import FEED_ASKS
from tidegate.domain.errors import TidegateError
from tidegate.service.app import Refusal, refusal_of
from tidegate.service.asgi import IDENTITY, POLICY
from tidegate.service.auth import Identity
from tidegate.service.intake_routes import digest_of
from tidegate.service.runner import Busy, Stopped
from tidegate.service.service import Service


WINDOW: Final = 64
RETRY_S: Final = 0.005
GOING_AWAY: Final = 1001


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message of a feed."""

    key: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[ -~]*$")]
    events: Annotated[list[FEED_ASKS], Meta(min_length=1, max_length=10_000)]


class Heard(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one message: its records, or its problem."""

    key: str
    first: int = -1
    last: int = -1
    again: bool = False
    outcomes: tuple[Outcome, ...] = ()  # of what the engine refused
    problem: Problem | None = None


class _Named(msgspec.Struct):
    key: str = ""


_TOLD: Final = msgspec.json.Decoder(Told)
_NAMED: Final = msgspec.json.Decoder(_Named)
_ENCODER: Final = msgspec.json.Encoder()


def feed_socket(service: Service, *, window: int = WINDOW) -> WebSocketRoute:
    """Return the route of ``/v1/feed``."""

    async def endpoint(socket: WebSocket) -> None:
        identity: Identity | None = socket.scope.get(IDENTITY)
        if identity is None or not identity.may("feed"):
            await socket.close(POLICY, "this needs the role feed")
            return
        await socket.accept()
        await _Feeding(service, socket, identity, window).run()

    return WebSocketRoute("/v1/feed", endpoint)


class _Ended(Exception):
    """Nothing can be taken any more."""


class _Feeding:
    def __init__(self, service: Service, socket: WebSocket, who: Identity, window: int) -> None:
        self._service, self._socket = service, socket
        self._source = f"http:{who.name}"
        self._due: asyncio.Queue[tuple[str, Future[Taken] | Refusal] | None]
        self._due = asyncio.Queue(window)

    async def run(self) -> None:
        """Read and answer until one side goes; what was taken is answered if somebody listens."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._answer())
                while (message := await self._socket.receive())["type"] == "websocket.receive":
                    await self._due.put(await self._hear(message))
                await self._due.put(None)
        except* (_Ended, WebSocketDisconnect, RuntimeError):  # whoever would hear of it has gone
            pass

    async def _hear(self, message: Message) -> "tuple[str, Future[Taken] | Refusal]":
        text: str | None = message.get("text")
        raw: bytes = message.get("bytes") or b"" if text is None else _bytes(text)
        try:
            told = _TOLD.decode(raw)
        except (msgspec.MsgspecError, UnicodeError) as error:
            return _key_of(raw), refusal_of(error)
        try:
            prepared = self._service.door.prepare_all(told.events)
            digest = digest_of(told.events)
            while True:
                try:
                    return told.key, self._service.engine.offer(
                        prepared, source=self._source, key=told.key, digest=digest
                    )
                except Busy:
                    await asyncio.sleep(RETRY_S)
        except TidegateError as error:
            return told.key, refusal_of(error)

    async def _answer(self) -> None:
        while (item := await self._due.get()) is not None:
            key, answer = item
            ended = False
            if isinstance(answer, Refusal):
                heard = Heard(key=key, problem=answer.problem)
            else:
                try:
                    heard = _taken(key, await asyncio.wrap_future(answer))
                except TidegateError as error:
                    heard = Heard(key=key, problem=refusal_of(error).problem)
                    ended = isinstance(error, Stopped)
            await self._socket.send_text(_ENCODER.encode(heard).decode())
            if ended:
                await self._socket.close(GOING_AWAY, "the engine has stopped")
                raise _Ended


def _taken(key: str, taken: Taken) -> Heard:
    refused = tuple(outcome for outcome in taken.outcomes if outcome.refused)
    return Heard(key=key, first=taken.first, last=taken.last, again=taken.again, outcomes=refused)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # not UTF-8 then: the decoder refuses it


def _key_of(raw: bytes) -> str:
    """Return the key of a message that is wrong otherwise, so that its sender knows it again."""
    found: Any = ""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeError):
        found = _NAMED.decode(raw).key
    return found[:128]
