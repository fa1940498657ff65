"""What operators and their machines ask: metrics, health, readiness, alerts."""

import ipaddress
from typing import Final

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from tidegate.api.answers import Alert, Ready
from tidegate.service.alerts import Alerts
from tidegate.service.calls import Call, Forbidden, Route
from tidegate.service.metrics import Metrics
from tidegate.service.watching import Watch


DEAD_S: Final = 60.0  # a crank that says nothing for so long will not speak again
OPEN_PATHS: Final = ("/metrics", "/healthz", "/readyz")  # that the gate lets through without a key


def routes() -> list[Route]:
    """Return the rows of operations."""
    return [
        Route(
            "GET",
            "/metrics",
            metrics,
            "Measurements, as Prometheus reads them; without a key on the loopback address only.",
            role=None,
            answer=str,
            media="text/plain",
        ),
        Route("GET", "/healthz", health, "Whether this process is alive.", role=None, answer=Ready),
        Route("GET", "/readyz", ready, "Whether it should get work.", role=None, answer=Ready),
        Route("GET", "/v1/alerts", alerts, "What a person should know now.", answer=list[Alert]),
    ]


async def metrics(call: Call) -> Response:
    """Answer all measurements; of the engine those of this moment, or the last ones it showed."""
    if not call.caller.may("viewer") and not loopback(call.client):
        msg = "from another machine /metrics needs a key"
        raise Forbidden(msg)
    await call.service.part(Watch).look()
    body = generate_latest(call.service.part(Metrics).registry)
    return Response(body, media_type=CONTENT_TYPE_LATEST)


async def health(call: Call) -> Response:
    """Answer 200 as long as starting anew would not help."""
    watch, reasons = call.service.part(Watch), list[str]()
    if call.service.engine.failed is not None:
        reasons = ["crank_stopped"]
    elif await watch.look() is None and watch.unanswered >= DEAD_S:
        reasons = ["crank_stuck"]
    return _said(reasons)


async def ready(call: Call) -> Response:
    """Answer 200 where this process leads, turns, commits and hears its feeds."""
    return _said(await call.service.part(Watch).reasons())


async def alerts(call: Call) -> list[Alert]:
    """Answer what is open, the worst first."""
    return call.service.part(Alerts).active()


def waiting_app(metrics: Metrics) -> Starlette:
    """Return what a standby serves while it waits: it is alive, not ready, and can be measured."""

    async def said(request: Request) -> Response:
        return _said(["standby"] if request.url.path == "/readyz" else [])

    async def measured(request: Request) -> Response:
        if not loopback(request.client.host if request.client else ""):
            return Response("from another machine a standby shows nothing", 403)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    here = [Path("/healthz", said), Path("/readyz", said), Path("/metrics", measured)]
    return Starlette(routes=here)


def loopback(address: str) -> bool:
    """Tell whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _said(reasons: list[str]) -> Response:
    body = msgspec.json.encode(Ready(ok=not reasons, reasons=reasons))
    return Response(body, 503 if reasons else 200, media_type="application/json")
