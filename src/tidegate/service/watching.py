"""The look that is taken once a second: numbers for the metrics, rules for the alerts."""

import asyncio
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tidegate.service.alert_rules import Bounds, Parts, Rules
from tidegate.service.alerts import Alerts
from tidegate.service.metrics import Metrics, Probes
from tidegate.service.observing import Observer, Observers
from tidegate.service.runner import Engine, Stopped
from tidegate.service.service import Service
from tidegate.service.sight import Sight, sight_of


EVERY_S: Final = 1.0
FEEDING: Final = frozenset({"feed_silent", "feed_stopped", "source_stale", "source_doubtful"})


class Watch:
    """Looks at the engine and at the parts around it; see `run`."""

    def __init__(self, engine: Engine, metrics: Metrics, alerts: Alerts, rules: Rules) -> None:
        self._engine, self._metrics, self._alerts, self._rules = engine, metrics, alerts, rules
        self._answered = time.monotonic()

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
            await self.once(patience)
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
    probes: Probes | None = None,
    parts: Parts | None = None,
    bounds: Bounds | None = None,
    alerts: Alerts | None = None,
    tracing: Observer | None = None,
) -> Watch:
    """Give a service its metrics, alerts and watch; before the engine starts.

    ``alerts`` is handed in where other parts were given it before, to raise theirs. ``tracing`` is
    one more observer beside the metrics. The parts are found under `Metrics`, `Alerts`, `Watch`.
    """
    engine = service.engine
    metrics = service.parts.get(Metrics) or service.add(Metrics(engine.stack))
    metrics.queue_max = engine.queue_max
    alerts = service.add(alerts or Alerts(engine.clock))
    metrics.probes = probes or metrics.probes
    metrics.probes.open_alerts = alerts.table
    engine.listen(metrics.listen)
    engine.observer = metrics if tracing is None else Observers(metrics, tracing)
    rules = Rules(metrics, alerts, parts or Parts(), bounds)
    return service.add(Watch(engine, metrics, alerts, rules))


def disk_free(path: Path) -> Callable[[], int | None]:
    """Return a probe of the bytes left beside a file; None where they cannot be known."""

    def probe() -> int | None:
        try:
            return shutil.disk_usage(path.parent).free
        except OSError:
            return None

    return probe
