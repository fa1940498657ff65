"""A small service with everything that operators look at: metrics, alerts, health, request ids."""

from contextlib import contextmanager

from crash_world import BEGIN, feed, stack_of
from service_world import SetClock, house, served, service_of
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.service.metrics import Metrics
from tidegate.service.observing import timed
from tidegate.service.ops_routes import OPEN_PATHS, routes
from tidegate.service.runner import Engine
from tidegate.service.timing import Timing
from tidegate.service.watching import watched


PATIENCE = 300  # seconds: the first step of all may have to compile


class Operated:
    """One service with its parts at hand."""

    def __init__(self, engine, service, watch, clock):
        self.engine, self.service, self.watch, self.clock = engine, service, watch, clock
        self.metrics = service.part(Metrics)

    @contextmanager
    def app(self, folder, tracing=None):
        """Yield the application as it is served."""
        trace = tracing.request if tracing is not None else None
        with house(self.service, folder, routes=routes(), open_paths=OPEN_PATHS) as app:
            yield Timing(app, answered=self.metrics.answered, trace=trace)

    @contextmanager
    def site(self, folder, tracing=None):
        """Yield a client of a real server."""
        with self.app(folder, tracing) as app, served(app) as client:
            yield client

    def take(self, events, of=20):
        """Offer events in requests of some size, and wait; the clock goes along."""
        self.clock.time = max(self.clock.time, events[-1].ts)
        asked = [
            self.engine.offer(events[n : n + of], source="test") for n in range(0, len(events), of)
        ]
        return [one.result(PATIENCE) for one in asked]


@contextmanager
def operated(journal=None, tracing=None, probes=None, bounds=None, parts=(), heard=(), **options):
    """Yield a running service; what time it is, its clock is told."""
    stack, clock = stack_of(), SetClock(BEGIN)
    metrics = Metrics(stack)
    hear = [metrics.committed, *([tracing.committed] if tracing is not None else [])]
    engine = Engine(timed(journal or MemoryJournal(), *hear), stack, Outbox(), clock, **options)
    service = service_of(engine)
    service.add(metrics)
    for part in parts:
        service.add(part)
    watch = watched(service, bounds=bounds, tracing=tracing)
    for name, probe in (probes or {}).items():
        setattr(metrics.probes, name, probe)
    engine.start(heard=heard)
    try:
        yield Operated(engine, service, watch, clock)
    finally:
        engine.stop()


def crash(n=600):
    """Return a day on which somebody is liquidated in every stretch."""
    return feed(n, seed=3)
