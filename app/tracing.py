"""Tracing: each request as a span, sent to a collector by OTLP over HTTP.

FastAPI makes the spans; here is where they go and what they must not carry. Of this
module's imports the extra `telemetry` brings those of `sdk` and `exporter`.
"""

import asyncio
import logging
import threading
from typing import Final

from fastapi.telemetry import TelemetryConfig
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CLOSE_SECONDS: Final = 4  # for the last spans, where the collector is slow or away
QUERY: Final = "url.query"

_TELLING: Final = ("baggage", "trace", "attributes")  # what a client sent, in warnings


class Tracing:
    """Where the spans of one process go; `OTEL_*` variables say the rest."""

    def __init__(self) -> None:
        """Make spans; none is sent before the service is open."""
        for name in _TELLING:
            logging.getLogger(f"opentelemetry.{name}").setLevel(logging.ERROR)
        named = Resource({SERVICE_NAME: "offsetnet"})
        self._provider = TracerProvider(
            resource=Resource.create()
            .merge(named)
            .merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(_Redaction())

    @property
    def telemetry(self) -> TelemetryConfig:
        """What FastAPI needs; its logs would carry the messages of exceptions."""
        return {
            "tracer_provider": self._provider,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        }

    def send(self) -> None:
        """Send spans from here on."""
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    async def close(self) -> None:
        """Send the last spans, if the collector takes them soon."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, CLOSE_SECONDS)


class _Redaction(SpanProcessor):
    """Takes the query out of spans: a client may have put a key or data there."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        del parent_context
        if QUERY in (span.attributes or ()):
            span.set_attribute(QUERY, "REDACTED")
