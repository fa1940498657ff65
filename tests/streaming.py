"""A service of nothing but its stream: a real server, a crank thread that appends, and clients."""

import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from crash_world import feed, stack_of
from names import reading
from tidegate.adapters.journal import SqliteJournal
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.ports import Record
from tidegate.service.streams import Hub, Settings
from tidegate.service.streams_socket import stream


def history(events: int, seed: int = 5) -> tuple[list[Record], State, object]:
    """Return what a crank would have recorded of a sinking market."""
    stack = stack_of()
    state = State.genesis(stack)
    records = [
        Record(state.seq, event, tuple(step(state, event, stack))) for event in feed(events, seed)
    ]
    return records, state, stack


class Service:
    """Uvicorn in a thread; `append` is what the crank thread does after each batch."""

    def __init__(self, folder: Path, state: State, stack, **settings) -> None:
        self.path = folder / "journal.tidegate"
        self.crank = ThreadPoolExecutor(1)  # a connection belongs to its thread
        self.journal = self.crank.submit(SqliteJournal, self.path).result()
        self.reading = reading(state, stack)
        self.hub = Hub(self.past, Settings(**settings))
        self.hub.listen([], self.reading._replace(head=-1))
        self.opened = 0  # how often somebody has read the journal
        app = Starlette(
            routes=[WebSocketRoute("/v1/stream", self._stream)], lifespan=self._lifespan
        )
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        # Whoever does not read is noticed after kilobytes and not after megabytes.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        self.port = self.socket.getsockname()[1]
        config = uvicorn.Config(
            app, log_level="error", ws_per_message_deflate=False, loop="asyncio"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)

    async def _stream(self, websocket) -> None:
        await stream(websocket, self.hub)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app):
        self.loop = asyncio.get_running_loop()
        self.hub.attach(self.loop)
        yield
        self.hub.close()

    def past(self, after: int):
        self.opened += 1
        with contextlib.closing(SqliteJournal(self.path, readonly=True)) as journal:
            yield from journal.read(after)

    def append(self, records: Sequence[Record]) -> None:
        self.crank.submit(self._append, records).result()

    def _append(self, records: Sequence[Record]) -> None:
        self.journal.append(records)
        self.hub.listen(records, self.reading)

    def __enter__(self):
        self.thread.start()
        until = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < until
            assert self.thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *_why) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive(), "the server does not stop"
        self.crank.submit(self.journal.close).result()
        self.crank.shutdown()

    def url(self, topics: str, after: int | None = None) -> str:
        place = "" if after is None else f"&after={after}"
        return f"ws://127.0.0.1:{self.port}/v1/stream?topics={topics}{place}"


def narrow(service: Service) -> socket.socket:
    """Return a connected socket of which the kernel keeps little that nobody has read."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    small.connect(("127.0.0.1", service.port))
    small.settimeout(0)
    return small


class Follower:
    """A client by the book: it keeps a record's frames only once the last of them has come."""

    def __init__(self, service: Service, topics: str, after: int) -> None:
        self.service, self.topics, self.place = service, topics, after
        self.frames: list[dict] = []
        self.shown: list[dict] = []
        self.connections = 0
        self.codes: list[int] = []

    async def follow(self, until: int, *, drop=None, pause: float = 0.0) -> None:
        """Read until record ``until`` is known of; ``drop()`` says after how many to hang up."""
        while self.place < until:
            self.connections += 1
            with contextlib.suppress(ConnectionClosed):
                url = self.service.url(self.topics, self.place)
                async with connect(url, close_timeout=0.1) as socket:
                    await self._read(socket, until, drop() if drop else 0, pause)

    async def _read(self, socket, until: int, hang_up: int, pause: float) -> None:
        half: list[dict] = []
        count = 0
        try:
            while self.place < until:
                frame = json.loads(await socket.recv())
                count += 1
                if hang_up and count >= hang_up:
                    socket.transport.abort()
                    return
                if frame["seq"] < 0:
                    self.shown.append(frame)
                    continue
                if frame["topic"] != "heartbeat":
                    half.append(frame)
                if frame.get("more"):
                    continue
                self.frames += half
                half = []
                self.place = max(self.place, frame["seq"])
                if pause:
                    await asyncio.sleep(pause)
        except ConnectionClosed as closed:
            self.codes.append(closed.rcvd.code if closed.rcvd else 1006)
            raise


def feed_in(service: Service, records: Sequence[Record], seed: int = 1, wait: float = 0.002):
    """Append in batches of a random size, as a crank does; return the thread."""
    draw = random.Random(seed)

    def work() -> None:
        at = 0
        while at < len(records):
            n = draw.randrange(1, 40)
            service.append(records[at : at + n])
            at += n
            time.sleep(wait * draw.random())

    thread = threading.Thread(target=work)
    thread.start()
    return thread
