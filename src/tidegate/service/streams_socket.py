"""One WebSocket of the stream: from its query to its last frame."""

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from tidegate.api.answers import Frame, Problem
from tidegate.service.asgi import IDENTITY
from tidegate.service.auth import Identity
from tidegate.service.streams import Client, Entry, Hub
from tidegate.service.streams_frames import BOUND, TOPICS, and_more, encoded, newest_only
from tidegate.service.streams_past import Catching


GOING: Final = 1012  # service restart: connect again and resume
SLOW: Final = 4008  # it did not read fast enough: resume after the record in the reason
UNKNOWN: Final = 4009  # its place is not in this journal
TOO_FAR: Final = 4010  # its place lies too far back to be streamed: take an export
SEQ_MAX: Final = 2**62
YIELD_EVERY: Final = 64  # messages, after which others get their turn
CLOSE_S: Final = 2.0
WAITS, WAIT_S = 20, 0.05


class Wanted(NamedTuple):
    """What a client asks for."""

    topics: frozenset[str]
    after: int | None  # None: from now on


class Refusal(Exception):
    """A query that makes no sense."""


class Gone(Exception):
    """The connection is to be closed with a code, and says why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def wanted(topics: str, after: str | None) -> Wanted:
    """Return what the query asks for; raise Refusal."""
    named = [name for name in topics.split(",") if name]
    unknown = sorted(set(named) - set(TOPICS))
    if unknown or not named:
        what = f"unknown: {', '.join(unknown)[:200]}" if unknown else "none is named"
        msg = f"topics must be some of {','.join(TOPICS)}; {what}"
        raise Refusal(msg)
    if after is None:
        return Wanted(frozenset(named), None)
    if not (after.isascii() and after.removeprefix("-").isdigit() and len(after) < 20):
        msg = "after must be the number of a record, or -1 for all"
        raise Refusal(msg)
    place = int(after)
    if not -1 <= place <= SEQ_MAX:
        msg = "after must be the number of a record, or -1 for all"
        raise Refusal(msg)
    return Wanted(frozenset(named), place)


async def stream(websocket: WebSocket, hub: Hub) -> None:
    """Serve one client until either side leaves.

    Whoever calls has authenticated it. A query that makes no sense is answered 400 in place of the
    handshake, too many clients or a hub that ends with 503.
    """
    hub.attach(asyncio.get_running_loop())
    query = websocket.query_params
    try:
        asked = wanted(query.get("topics", ""), query.get("after"))
    except Refusal as refusal:
        await _denied(websocket, 400, str(refusal))
        return
    caller: Identity | None = websocket.scope.get(IDENTITY)
    if caller is not None and caller.bound and not asked.topics <= BOUND:
        detail = f"this key may follow {', '.join(sorted(BOUND))}: the others name accounts"
        await _denied(websocket, 403, detail)
        return
    full = len(hub.clients) >= hub.settings.clients_max
    if full or hub.closing.is_set() or hub.book is None:
        await _denied(websocket, 503, "too many clients" if full else "starting or stopping")
        return
    await websocket.accept()
    start = hub.newest if asked.after is None else asked.after
    client = Client(asked.topics, start)
    hub.clients.add(client)
    try:
        await _serve(websocket, hub, client)
    finally:
        hub.clients.discard(client)


async def _denied(websocket: WebSocket, status: int, detail: str) -> None:
    problem = Problem(type="about:blank", title="stream refused", status=status, detail=detail)
    body = msgspec.json.encode(problem)
    response = Response(body, status, media_type="application/problem+json")
    if status == 503:
        response.headers["Retry-After"] = "1"
    await websocket.send_denial_response(response)


async def _serve(websocket: WebSocket, hub: Hub, client: Client) -> None:
    sending = asyncio.create_task(_Sender(websocket, hub, client).run())
    leaving = asyncio.create_task(_until_gone(websocket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        ended = (await asyncio.gather(sending, leaving, return_exceptions=True))[0]
    if isinstance(ended, Gone):
        # A client that does not read cannot be told: its socket is then closed without a code.
        with suppress(TimeoutError, WebSocketDisconnect, ClientDisconnect, RuntimeError, OSError):
            async with asyncio.timeout(CLOSE_S):
                await websocket.close(ended.code, ended.reason)
    elif isinstance(ended, Exception) and not isinstance(
        ended, (WebSocketDisconnect, ClientDisconnect, OSError)
    ):
        raise ended


async def _until_gone(websocket: WebSocket) -> None:
    """Return when the client leaves; what it says meanwhile is nobody's business."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


class _Sender:
    """Sends one client what it has not got, in the order of records."""

    def __init__(self, websocket: WebSocket, hub: Hub, client: Client) -> None:
        self._websocket, self._hub, self._client = websocket, hub, client
        self._sent = 0

    async def run(self) -> None:
        """Serve until `Gone`."""
        hub, client = self._hub, self._client
        await self._known()
        await self._beat()
        while not hub.closing.is_set():
            client.wake.clear()
            if client.cursor + 1 < hub.first:
                await self._catch_up()
                continue
            await self._from_ring()
            for message in hub.states(client):
                await self._send(message)
            if client.cursor >= hub.newest and not client.wake.is_set():
                await self._rest()
        raise Gone(GOING, self._place("the service stops"))

    async def _known(self) -> None:
        """Wait a moment for a place that is only just durable; one that is not is refused."""
        for _ in range(WAITS):
            if self._client.cursor <= self._hub.newest:
                return
            await asyncio.sleep(WAIT_S)
        reason = (
            f"the journal ends with record {self._hub.newest}: {self._client.cursor} is unknown"
        )
        raise Gone(UNKNOWN, reason)

    async def _rest(self) -> None:
        """Wait for news; say that all is well where there is none."""
        try:
            async with asyncio.timeout(self._hub.settings.heartbeat_s):
                await self._client.wake.wait()
        except TimeoutError:
            # What has arrived meanwhile was not for this client, or it would have been woken.
            self._client.cursor = max(self._client.cursor, self._hub.newest)
            await self._beat()

    async def _beat(self) -> None:
        """Say up to which record the client has everything."""
        newest = self._hub.newest
        data = {"head": newest, "topics": sorted(self._client.topics)}
        frame = Frame(topic="heartbeat", seq=self._client.cursor, ts=0, data=data)
        await self._send(encoded(frame))

    async def _from_ring(self) -> None:
        """Send everything that the ring holds at this moment."""
        hub, client = self._hub, self._client
        assert hub.book is not None, "clients are served from a hub that was attached"
        upto = hub.newest
        found = hub.after(client.cursor, client.topics)
        for entry, topics in self._thinned(found, upto):
            last = topics[-1]
            for topic in topics:
                message = entry.message(topic, hub.book)
                await self._send(message if topic == last else and_more(message))
            client.cursor = entry.record.seq
            if hub.newest - upto > hub.settings.lag_max:
                hub.cut_off += 1
                raise Gone(SLOW, self._place("too slow"))
        client.cursor = max(client.cursor, upto)  # the journal may have been ahead of the ring

    def _thinned(
        self, found: list[tuple[Entry, list[str]]], upto: int
    ) -> list[tuple[Entry, list[str]]]:
        """Return ``found``; of a client that lags without marks that later ones have made old."""
        if upto - self._client.cursor <= self._hub.settings.conflate_at:
            return found
        kept = newest_only((entry.record, topic) for entry, topics in found for topic in topics)
        left: dict[int, list[str]] = {}
        for record, topic in kept:
            left.setdefault(record.seq, []).append(topic)
        return [(e, left[e.record.seq]) for e, _ in found if e.record.seq in left]

    async def _catch_up(self) -> None:
        """Send from the journal until the ring can go on."""
        hub, client = self._hub, self._client
        behind = hub.newest - client.cursor
        if hub.past is None:
            raise Gone(UNKNOWN, self._place(f"only records from {hub.first} on are kept"))
        if behind > hub.settings.catch_up_max:
            raise Gone(TOO_FAR, self._place(f"{behind} records back: take an export"))
        assert hub.book is not None, "clients are served from a hub that was attached"
        async with Catching(hub.past, client.cursor, client.topics, hub.book) as past:
            begun = client.cursor
            while client.cursor + 1 < hub.first and not hub.closing.is_set():
                async with hub.reading:  # whoever is far behind takes turns with the others
                    chunk = await past.next()
                for message, done in zip(chunk.messages, chunk.done, strict=True):
                    await self._send(message)
                    if done >= 0:
                        client.cursor = done
                if not chunk.read and client.cursor == begun:
                    raise Gone(UNKNOWN, self._place("the journal has nothing after it"))
                if not chunk.read:
                    return  # read anew: the journal has grown meanwhile
                client.cursor = chunk.last

    async def _send(self, message: str) -> None:
        try:
            async with asyncio.timeout(self._hub.settings.send_s):
                await self._websocket.send_text(message)
        except TimeoutError as error:
            self._hub.cut_off += 1
            raise Gone(SLOW, self._place("nothing was read")) from error
        self._sent += 1
        if self._sent % YIELD_EVERY == 0:
            await asyncio.sleep(0)

    def _place(self, why: str) -> str:
        return f"{why}; after={self._client.cursor}"
