"""Traces, where somebody wants them: from an offer over its batch and its commit to the answer.

Nothing of it is loaded, and nothing is paid, unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set and the
extra `otel` is installed. Spans are made after the fact, from times that are measured anyway. All
other settings are OpenTelemetry's own variables (``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``);
without a sampler one trace in twenty is kept.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final

from tidegate.domain.errors import ConfigInvalid
from tidegate.service.observing import Commit, Settled


if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer


ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SHARE: Final = 0.05

_HERE: ContextVar["Journey | None"] = ContextVar("journey", default=None)


class Journey:
    """The trace of one offer; a request opens it and ends it, or the engine does both."""

    __slots__ = ("_token", "durable", "root", "tracing")

    def __init__(self, tracing: "Tracing", root: "Span", *, asked: bool) -> None:
        self.tracing, self.root = tracing, root
        self.durable = 0  # when its last batch was; nanoseconds, 0: it took none
        self._token: Token[Journey | None] | None = _HERE.set(self) if asked else None

    @property
    def asked(self) -> bool:
        """Whether a request waits for it, which will end it."""
        return self._token is not None

    def ended(self, name: str, status: int) -> None:
        """End the trace of a request, with the span of its answer."""
        if self._token is not None:
            _HERE.reset(self._token)
        self.root.update_name(name)
        self.root.set_attribute("http.response.status_code", status)
        now = time.time_ns()
        if self.durable:
            self.tracing.span("answer", self.root, self.durable, now)
        self.root.end(now)


class Tracing:
    """Makes the spans; an `observing.Observer`, and `committed` hears a timed journal."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415 - only where the extra is installed

        self._trace = trace
        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("tidegate")
        self._commit: Commit | None = None

    def request(self) -> Journey:
        """Open the trace of a request, on the event loop; see `timing.Timing`."""
        server = self._trace.SpanKind.SERVER
        return Journey(self, self._tracer.start_span("request", kind=server), asked=True)

    def offered(self) -> Journey:
        """Return the trace of the request that offers, or a new one for a feed's."""
        here = _HERE.get()
        return here or Journey(self, self._tracer.start_span("offer"), asked=False)

    def committed(self, commit: Commit) -> None:
        """Keep the times of the newest commit, for the batch that is told next."""
        if commit.what == "append":
            self._commit = commit

    def settled(self, batch: Settled) -> None:
        """Make the spans of a batch: one for each of its requests that is traced."""
        shift = time.time_ns() - time.perf_counter_ns()
        began, durable = _ns(batch.began, shift), _ns(batch.durable, shift)
        for at, kept in batch.requests:
            assert isinstance(kept, Journey)
            if kept.root.is_recording():
                self.span("queue", kept.root, _ns(at, shift), began)
                inner = self.span("batch", kept.root, began, durable, events=batch.events)
                if self._commit is not None:
                    commit = self._commit
                    ended = min(_ns(commit.ended, shift), durable)
                    self.span("commit", inner, _ns(commit.begun, shift), ended)
            kept.durable = durable
            if not kept.asked:
                kept.root.end(durable)

    def span(self, name: str, parent: "Span", begun: int, ended: int, **facts: Any) -> "Span":  # noqa: ANN401 - attributes are anything
        """Make a span that is over already."""
        inside = self._trace.set_span_in_context(parent)
        made = self._tracer.start_span(name, inside, start_time=begun, attributes=facts)
        made.end(ended)
        return made

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


def _ns(at: float, shift: int) -> int:
    return int(at * 1e9) + shift


def tracing_of(environ: Mapping[str, str]) -> Tracing | None:
    """Return the tracing that the environment asks for, None for none.

    Raise ConfigInvalid where it is asked for and the extra is not installed.
    """
    if not environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.sampling import (  # noqa: PLC0415 - an extra
            ParentBased,
            TraceIdRatioBased,
        )
    except ImportError:
        raise ConfigInvalid(
            where=ENDPOINT,
            what="needs the extra `otel`",
            found="a package that is not installed",
            hint="pip install 'tidegate[otel]', or unset it",
        ) from None
    sampler = None if environ.get(SAMPLER) else ParentBased(TraceIdRatioBased(SHARE))
    resource = Resource.create({"service.name": environ.get("OTEL_SERVICE_NAME", "tidegate")})
    provider = TracerProvider(sampler=sampler, resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
