"""Logs and traces: one chain, nothing secret, and nothing paid where nobody asked."""

import io
import json
import logging
import subprocess
import sys
import time

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from operated import crash, operated
from service_world import KEYS
from tidegate.service import logs
from tidegate.service.tracing import Tracing, tracing_of


@pytest.fixture
def lines():
    """Yield a function that returns what was logged, as objects."""
    root, out = logging.getLogger(), io.StringIO()
    kept = root.handlers, root.level
    logs.configure(stream=out, machine=True)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    root.handlers, root.level = kept
    structlog.reset_defaults()


def test_a_line_is_one_object_with_a_time_a_level_and_the_request(lines):
    with structlog.contextvars.bound_contextvars(request="r-1"):
        structlog.get_logger("tidegate.test").warning("alert_opened", code="disk_low")
    logging.getLogger("uvicorn.error").info(
        "Started %s", "now", extra={"more": 1, "color_message": "c"}
    )
    ours, theirs = lines()
    assert ours["event"] == "alert_opened"
    assert (ours["level"], ours["request"], ours["code"]) == ("warning", "r-1", "disk_low")
    assert ours["at"].endswith("Z")
    assert theirs["event"] == "Started now"
    assert (theirs["logger"], theirs["more"]) == ("uvicorn.error", 1)
    assert "color_message" not in theirs


def test_no_secret_is_logged_wherever_it_stands(lines):
    token, log = KEYS["operator"], structlog.get_logger("tidegate.test")
    log.info(token, where={"deep": [token]}, raw=token.encode())
    log.info("opening postgresql://tide:hunter2@db/tidegate", url="nats://u:hunter2@host:4222")
    logging.getLogger("uvicorn.error").warning('"GET /v1/stream?ticket=%s&after=1"', "hunter2")
    try:
        int(token)
    except ValueError:
        log.exception("failed", password="password=hunter2")
    text = json.dumps(lines())
    secret = token.rsplit("_", 1)[1]
    assert secret not in text
    assert "hunter2" not in text
    assert "postgresql://tide:***@db/tidegate" in text
    assert "ValueError" in text, "what happened is still told"


def test_on_a_terminal_lines_are_for_people():
    root, out = logging.getLogger(), io.StringIO()
    kept = root.handlers, root.level
    logs.configure(stream=out, machine=False)
    structlog.get_logger("tidegate.test").info("started", url="postgresql://a:hunter2@b/c")
    root.handlers, root.level = kept
    structlog.reset_defaults()
    assert "started" in out.getvalue()
    assert "hunter2" not in out.getvalue()
    assert not out.getvalue().startswith("{")


def ended(kept, n):
    """Return spans; a request's own ends just after its answer was sent."""
    until = time.monotonic() + 10
    while len(kept.get_finished_spans()) < n and time.monotonic() < until:
        time.sleep(0.005)
    return kept.get_finished_spans()


def test_an_offer_is_traced_from_its_request_to_its_answer(tmp_path):
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing = Tracing(provider)
    with operated(tracing=tracing) as made:
        made.take(crash(60), of=60)
        assert [s.name for s in kept.get_finished_spans()] == ["queue", "batch", "commit", "offer"]
        kept.clear()
        with made.site(tmp_path, tracing) as client:
            key = {"Authorization": f"Bearer {KEYS['feed']}"}
            body = {"events": [{"type": "account", "name": "traced"}]}
            assert client.post("/v1/events", json=body, headers=key).status_code == 200
            spans = {s.name: s for s in ended(kept, 5)}
            kept.clear()
            assert client.get("/healthz").status_code == 200
            assert [s.name for s in ended(kept, 1)] == ["GET /healthz"]
        assert len(made.metrics._requests) == 2
    root = spans["POST /v1/events"]
    assert set(spans) == {"POST /v1/events", "queue", "batch", "commit", "answer"}
    assert root.attributes["http.response.status_code"] == 200
    parents = {name: s.parent and s.parent.span_id for name, s in spans.items()}
    assert parents["POST /v1/events"] is None
    for name in ("queue", "batch", "answer"):
        assert parents[name] == root.context.span_id
    assert parents["commit"] == spans["batch"].context.span_id
    assert spans["batch"].attributes["events"] == 1
    times = [root.start_time, *(spans[n].start_time for n in ("queue", "batch", "commit"))]
    assert times == sorted(times)
    assert spans["commit"].end_time <= spans["batch"].end_time == spans["answer"].start_time
    assert spans["answer"].end_time <= root.end_time
    tracing.close()


def test_off_means_that_nothing_is_loaded():
    assert tracing_of({}) is None
    assert tracing_of({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}) is None
    look = "import sys, tidegate.service.watching, tidegate.service.tracing as t; t.tracing_of({});"
    look += "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_on_it_exports_and_keeps_one_in_twenty():
    tracing = tracing_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert tracing is not None
    sampled = sum(tracing.offered().root.is_recording() for _ in range(2_000))
    assert 30 < sampled < 200
    tracing.close()
