"""What the service answers over the wire: small reads a second, and how late a frame is.

`python bench/service_http.py` serves a book of 20,000 accounts from a process of its own, behind
every layer, with a SQLite journal; asks it from a few kept connections; then posts a price ten
times a second and times its frame at each of a hundred clients, from before it was posted. Clients
share the machine with the service: the last line says how busy it was.
"""

import asyncio
import json
import multiprocessing
import socket
import tempfile
import time
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import click
import httpx
import numpy as np
import uvicorn
import uvloop
from service import opening, venue_of
from websockets.asyncio.client import connect

from tidegate.adapters.clock import WallClock
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.outbox import Outbox
from tidegate.lab.bench.timing import Load
from tidegate.lab.bench.world import shipped
from tidegate.safeguards.stack import Stack
from tidegate.service import feed_routes, intake_routes, logs, ops_routes, read_routes
from tidegate.service.app import build
from tidegate.service.audit import AuditLog
from tidegate.service.auth import KeyRing, Keys, new_key, write_keys
from tidegate.service.door import Door
from tidegate.service.layers import UVICORN, Limits, layered
from tidegate.service.metrics import Metrics
from tidegate.service.observing import timed
from tidegate.service.runner import Engine
from tidegate.service.service import Service
from tidegate.service.tickets import Tickets
from tidegate.service.timing import Timing
from tidegate.service.watching import watched


WIDE = Limits(reads="1000000/second", writes="1000000/second", sockets_max=10_000)
PATHS = ("/healthz", "/v1/venue", "/v1/instruments/M00")


def served(folder: str, accounts: int, key: object, told: Connection) -> None:
    """Serve until the parent says so; in a process of its own."""
    logs.configure(level="CRITICAL")
    home = Path(folder)
    write_keys(home / "keys.json", Keys(keys=(key,)))
    draw = np.random.default_rng(7)
    stack = Stack.bind(shipped("guarded"), venue_of(accounts))
    metrics = Metrics(stack)
    journal = timed(SqliteJournal(home / "journal"), metrics.committed)
    engine = Engine(journal, stack, Outbox(), WallClock())
    service = Service(engine, Door(stack))
    service.add(metrics)
    hub = read_routes.equip(service)
    watch = watched(service, journal=home / "journal")
    engine.start()
    events = list(opening(accounts, draw.integers(100_000, 900_000, 50), draw))
    engine.offer(events, source="bench").result(600)
    ring = KeyRing(home / "keys.json")
    tickets = service.add(Tickets(ring))
    rows = [*intake_routes.routes(), *read_routes.routes(), *ops_routes.routes()]
    rows += feed_routes.routes(service)
    inner = build(service, rows, more=read_routes.socket_routes(service))
    log = AuditLog(home / "audit.jsonl")
    app = Timing(
        layered(
            inner, ring=ring, tickets=tickets, log=log, bounds=WIDE,
            open_paths=ops_routes.OPEN_PATHS,
        ),
        answered=metrics.answered,
    )  # fmt: skip
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", **UVICORN))

    newest: list[int] = []

    async def run() -> None:
        hub.attach(asyncio.get_running_loop())
        looking = asyncio.create_task(watch.run())
        serving = asyncio.create_task(server.serve([listening]))
        told.send(listening.getsockname()[1])
        newest.append(await asyncio.to_thread(told.recv))
        hub.close()
        looking.cancel()
        server.should_exit = True
        await serving

    uvloop.run(run())
    delays = np.array(engine.delays)[-newest[0] :] * 1e3
    told.send([float(x) for x in np.percentile(delays, [50, 99])])
    engine.stop()
    log.close()


async def asked(port: int, path: str, token: str, seconds: float, connections: int) -> list[float]:
    """Return seconds of each request, asked one after another on some kept connections."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    took: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ends = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < ends:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            took.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


async def fanned(
    port: int, token: str, mark: float, clients: int, rate: int, seconds: float
) -> list[float]:
    """Return how late each frame of a price was at each client, from before it was posted."""
    headers = {"Authorization": f"Bearer {token}"}
    url = f"ws://127.0.0.1:{port}/v1/stream?topics=marks"
    posted: dict[int, float] = {}  # by record
    heard: list[tuple[int, float]] = []

    async def listening(one: connect) -> None:
        async for message in one:
            now = time.perf_counter()
            heard.append((json.loads(message)["seq"], now))

    async with AsyncExitStack() as stack:
        made = [connect(url, additional_headers=headers) for _ in range(clients)]
        sockets = [await stack.enter_async_context(one) for one in made]
        hearing = [asyncio.create_task(listening(one)) for one in sockets]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun = time.perf_counter()
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + n / rate - time.perf_counter()))
            price = f"{mark + n % 2 * 0.1:.1f}"
            event = {"type": "price", "instrument": "M00", "source": "index", "price": price}
            body = json.dumps({"events": [event]}).encode()
            sent = time.perf_counter()
            writer.write(
                f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            posted[json.loads(await reader.readexactly(length))["first"]] = sent
        await asyncio.sleep(0.5)
        writer.close()
        for task in hearing:
            task.cancel()
    return [now - posted[seq] for seq, now in heard if seq in posted]


@click.command()
@click.option("--accounts", default=20_000, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement.")
@click.option("--connections", default=4, show_default=True)
@click.option("--clients", default=100, show_default=True, help="WebSockets.")
@click.option("--rate", default=10, show_default=True, help="Prices a second.")
def main(accounts: int, seconds: float, connections: int, clients: int, rate: int) -> None:
    """Measure the service over the wire."""
    key, token = new_key("bench", ["feed", "viewer"], now=0.0)
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder, Load() as load:
        context = multiprocessing.get_context("spawn")
        child = context.Process(target=served, args=(folder, accounts, key, there))
        child.start()
        port = here.recv()
        for path in PATHS:
            asyncio.run(asked(port, path, token.reveal(), 0.5, connections))
            took = asyncio.run(asked(port, path, token.reveal(), seconds, connections))
            p50, p99 = np.percentile(np.array(took) * 1e3, [50, 99])
            click.echo(
                f"GET {path}: {len(took) / seconds:,.0f} requests/s on {connections} connections, "
                f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
            )
        mark = float(
            httpx.get(
                f"http://127.0.0.1:{port}{PATHS[-1]}",
                headers={"Authorization": f"Bearer {token.reveal()}"},
            ).json()["mark"]
        )
        asyncio.run(fanned(port, token.reveal(), mark, 2, rate, 1.0))  # compile
        found = asyncio.run(fanned(port, token.reveal(), mark, clients, rate, seconds))
        late = np.array(found) * 1e3
        due = int(rate * seconds) * clients
        p50, p99 = np.percentile(late, [50, 99])
        click.echo(
            f"stream: {late.size:,} of {due:,} frames at {clients} clients, {rate} prices/s, "
            f"posted to received: p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {late.max():.1f} ms"
        )
        here.send(int(rate * seconds))
        p50, p99 = here.recv()
        click.echo(f"of which offered to durable: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        child.join(60)
    click.echo(load.words)


if __name__ == "__main__":
    main()
