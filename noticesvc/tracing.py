"""Traces: which log lines, and with OpenTelemetry which spans, belong to one request or to one notice.

A request has the trace id of its W3C `traceparent` header, or a fresh one. An attempt has the id of its notice, a UUID and so
a valid trace id: whoever knows the notice finds everything about it. Nothing but our own ids and words of closed lists stands
in a span. `export` turns OpenTelemetry on; without it spans cost next to nothing and only mark log lines.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import structlog

from noticesvc.errors import ConfigurationError

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_NO_SPAN = "0" * 15 + "1"  # the parent of a span whose trace was begun by nobody who exports
_Start = Callable[[str, str, str, dict[str, str]], AbstractContextManager[Any]]
_start: list[_Start] = []


def parse(header: str | None, fresh: Callable[[], str]) -> tuple[str, str]:
    """Trace id and parent span id of a `traceparent` header (W3C Trace Context); fresh ones if there is none or it is broken."""
    match = _TRACEPARENT.fullmatch(header or "")
    return (match[1], match[2]) if match else (fresh(), _NO_SPAN)


class _Marked:
    """Marks log lines and nothing else; a class, since a generator costs every call of a provider three times as much."""

    __slots__ = ("_before", "_trace_id")

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id

    def __enter__(self) -> None:
        self._before = structlog.contextvars.bind_contextvars(trace_id=self._trace_id)

    def __exit__(self, *_: object) -> None:
        structlog.contextvars.reset_contextvars(**self._before)


def span(name: str, trace_id: str, parent: str = _NO_SPAN, **attributes: str) -> AbstractContextManager[None]:
    """Whatever is logged inside carries this trace id (32 hex digits; a UUID's dashes are taken out)."""
    trace_id = trace_id.replace("-", "")
    return _exported(name, trace_id, parent, attributes) if _start else _Marked(trace_id)


@contextlib.contextmanager
def _exported(name: str, trace_id: str, parent: str, attributes: dict[str, str]) -> Iterator[None]:
    with _Marked(trace_id), _start[0](name, trace_id, parent, attributes):
        yield


def export(otlp_url: str, service: str) -> Callable[[], None]:
    """Send spans to an OpenTelemetry collector (OTLP over HTTP, `…/v1/traces`); answers how to end it.

    ConfigurationError if the extra `telemetry` is not installed.
    """
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError("telemetry.otlp_url needs the extra: pip install 'noticesvc[telemetry]'; or leave it empty.") from None
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(otlp_url, timeout=5)))
    tracer = provider.get_tracer("noticesvc")

    def start(name: str, trace_id: str, parent: str, attributes: dict[str, str]) -> AbstractContextManager[Any]:
        origin = trace.SpanContext(int(trace_id, 16), int(parent, 16), is_remote=True, trace_flags=trace.TraceFlags(1))
        context = trace.set_span_in_context(trace.NonRecordingSpan(origin))
        # What an exception says may repeat what a caller sent; its type is in the log.
        return tracer.start_as_current_span(name, context, attributes=attributes, record_exception=False, set_status_on_exception=False)

    def end() -> None:
        _start.clear()
        provider.shutdown()

    _start[:] = [start]
    return end
