"""The look that is taken once a second: numbers for the metrics, rules for the alerts."""

import asyncio
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from tidegate.api.answers import AlertMoved
from tidegate.service.alert_rules import Bounds, Parts, Rules
from tidegate.service.alerts import Alerts
from tidegate.service.clock import GuardedClock
from tidegate.service.feed_routes import Feeds
from tidegate.service.metrics import Metrics, Probes
from tidegate.service.observing import Observer, Observers
from tidegate.service.reconcile import Reconciler
from tidegate.service.runner import Engine, Stopped
from tidegate.service.service import Service
from tidegate.service.sight import Sight, sight_of
from tidegate.service.silence import Silence
from tidegate.service.streams import Hub


EVERY_S: Final = 1.0
FEEDING: Final = frozenset({"feed_silent", "feed_stopped", "source_stale", "source_doubtful"})


class Watch:
    """Looks at the engine and at the parts around it; see `run`."""

    def __init__(self, engine: Engine, metrics: Metrics, alerts: Alerts, rules: Rules) -> None:
        self._engine, self._metrics, self._alerts, self._rules = engine, metrics, alerts, rules
        self._answered = time.monotonic()
        self._log = structlog.get_logger("tidegate.watch")

    @property
    def unanswered(self) -> float:
        """Seconds since the crank last answered."""
        return time.monotonic() - self._answered

    async def look(self, patience: float = EVERY_S) -> Sight | None:
        """Return the moment; None where the crank does not answer within ``patience``."""
        read = partial(sight_of, clock=self._engine.clock)
        try:
            async with asyncio.timeout(patience):
                sight = await self._engine.ask(read)
        except (TimeoutError, Stopped):
            return None
        self._answered = time.monotonic()
        self._metrics.sight = sight
        return sight

    async def once(self, patience: float = EVERY_S) -> None:
        """Look once, and let alerts follow."""
        sight = await self.look(patience)
        failure = str(self._engine.failed) if self._engine.failed is not None else ""
        self._alerts.settle(self._rules.judge(sight, failure))

    async def run(self, every_s: float = EVERY_S) -> None:
        """Look for ever; a task of the service for as long as it is up."""
        loop = asyncio.get_running_loop()
        patience = self._rules.bounds.stuck_s
        while True:
            begun = loop.time()
            try:
                await self.once(patience)
            except Exception:  # noqa: BLE001 (what only looks must not end what it looks at)
                self._log.exception("a look failed")
            await asyncio.sleep(max(0.0, every_s - (loop.time() - begun)))

    async def reasons(self) -> list[str]:
        """Return why this process should get no work now; empty: it should."""
        sight = await self.look()
        if self._engine.failed is not None:
            return ["crank_stopped"]
        if sight is None:
            return ["crank_stuck"]
        found = [] if sight.leader else ["not_leader"]
        active = {alert.code for alert in self._alerts.active()}
        found += sorted(active & (FEEDING | {"disk_low"}))
        return found


def watched(
    service: Service,
    *,
    journal: Path | None = None,
    bounds: Bounds | None = None,
    tracing: Observer | None = None,
) -> Watch:
    """Give a service its metrics, alerts and watch; before the engine starts.

    Of the other parts (hub, feeds, silence, guarded clock, reconciler) those are asked that the
    service has by the time of each look. `Metrics` and `Alerts` that it has already are used.
    ``journal`` is the file of an embedded one, ``tracing`` one more observer beside the metrics.
    """
    engine = service.engine
    metrics = service.parts.get(Metrics) or service.add(Metrics(engine.stack))
    alerts = service.parts.get(Alerts) or service.add(Alerts())
    alerts.clock = engine.clock
    alerts.tell = partial(_shown, service)
    metrics.queue_max = engine.queue_max
    metrics.probes = probes_of(service, alerts, journal)
    engine.listen(metrics.listen)
    engine.observer = metrics if tracing is None else Observers(metrics, tracing)
    rules = Rules(metrics, alerts, parts_of(service), bounds)
    return service.add(Watch(engine, metrics, alerts, rules))


def _shown(service: Service, moved: AlertMoved) -> None:
    if service.has(Hub):
        service.part(Hub).show("alerts", moved.since, moved)


def probes_of(service: Service, alerts: Alerts, journal: Path | None) -> Probes:
    """Return what metrics ask of the other parts."""
    part = service.parts.get
    return Probes(
        clients=lambda: len(hub.clients) if (hub := part(Hub)) else 0,
        cut=lambda: hub.cut_off if (hub := part(Hub)) else 0,
        drift=lambda: reconciler.drift if (reconciler := part(Reconciler)) else None,
        disk_free=disk_free(journal) if journal is not None else lambda: None,
        behind=lambda: [(f.name, f.behind) for f in feeds.now()] if (feeds := part(Feeds)) else (),
        open_alerts=alerts.table,
    )


def parts_of(service: Service) -> Parts:
    """Return what rules ask of the other parts."""
    part = service.parts.get
    return Parts(
        feeds=lambda: feeds.now() if (feeds := part(Feeds)) else (),
        silent=lambda: silence.check() if (silence := part(Silence)) else (),
        jump=lambda: clock.jump if (clock := part(GuardedClock)) else 0,
        drifting=lambda: bool((reconciler := part(Reconciler)) and reconciler.raised),
    )


def disk_free(path: Path) -> Callable[[], int | None]:
    """Return a probe of the bytes left beside a file; None where they cannot be known."""

    def probe() -> int | None:
        try:
            return shutil.disk_usage(path.parent).free
        except OSError:
            return None

    return probe
