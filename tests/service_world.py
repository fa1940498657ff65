"""A small service for tests: the venue of `crash_world`, whose clock stands where one puts it."""

import socket
import threading
import time
from contextlib import closing, contextmanager

import httpx
import uvicorn

from crash_world import BEGIN, stack_of
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.api import asks
from tidegate.domain.units import SECOND, Nanos
from tidegate.service.app import build
from tidegate.service.audit import AuditLog
from tidegate.service.auth import ROLES, KeyRing, Keys, new_key, write_keys
from tidegate.service.door import Door
from tidegate.service.intake_routes import routes as intake_routes
from tidegate.service.layers import layered
from tidegate.service.runner import Engine
from tidegate.service.service import Service
from tidegate.service.tickets import Tickets


_MADE = {role: new_key(f"the-{role}", [role], now=0.0) for role in ROLES}
KEYS = {role: token.reveal() for role, (_, token) in _MADE.items()}


class SetClock:
    """A clock that somebody else sets."""

    def __init__(self, now=BEGIN):
        self.time = now

    def now(self):
        return Nanos(self.time)


@contextmanager
def engine_of(journal=None, stack=None, venue=None, clock=None, **options):
    """Yield a running engine over a journal that is closed at the end."""
    made = Engine(
        journal or MemoryJournal(),
        stack or stack_of(),
        venue or Outbox(),
        clock or SetClock(BEGIN + 3_600 * SECOND),
        **options,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def warm():
    """Compile what a price needs, so that no test waits for it with its own patience."""
    with engine_of() as engine:
        one = asks.Price(instrument="BTC-PERP", source="index", price="100000.0")
        engine.offer([Door(engine.stack).prepare(one)], source="warm").result(300)


def service_of(engine):
    return Service(engine, Door(engine.stack))


@contextmanager
def house(service, folder, routes=(), rows=None, bounds=None, open_paths=(), **options):
    """Yield the application of the service behind all its layers, with a key for each role.

    ``rows`` makes more routes of the service, once it has its tickets.
    """
    write_keys(folder / "keys.json", Keys(keys=tuple(key for key, _ in _MADE.values())))
    ring = KeyRing(folder / "keys.json")
    tickets = service.add(Tickets(ring))
    made = [*intake_routes(), *routes, *(rows(service) if rows else ())]
    with closing(AuditLog(folder / "audit.jsonl")) as log:
        yield layered(
            build(service, made, **options),
            ring=ring,
            tickets=tickets,
            log=log,
            open_paths=("/openapi.json", *open_paths),
            bounds=bounds,
        )


@contextmanager
def site_of(service, folder, routes=(), more=(), bounds=None, **options):
    """Yield a client of the service behind all its layers, which a real server serves."""
    options |= {"routes": routes, "more": more, "bounds": bounds}
    with house(service, folder, **options) as app, served(app) as client:
        yield client


@contextmanager
def served(app, lifespan="off", **options):
    """Yield a client of ``app``, which a real server serves on a free port until the end."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", lifespan=lifespan, **options)
        )
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(10)
