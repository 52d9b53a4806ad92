"""A collector of spans, which takes OTLP over HTTP and keeps what it gets."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from tests.server import wait_for


class Span(NamedTuple):
    """What is looked at of a span."""

    name: str
    trace_id: str
    parent_id: str
    service: str
    attributes: dict[str, str | int]


class Collector:
    """Listens on a free port of loopback."""

    def __init__(self) -> None:
        """Take a port."""
        self.received: Final[list[bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What leads a server's spans here, soon."""
        return {
            "OFFSETNET_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def wait_for_span(self, trace_id: str) -> Span:
        """Return the one span of this trace."""
        (span,) = wait_for(lambda: [s for s in self.spans() if s.trace_id == trace_id])
        return span

    def spans(self) -> list[Span]:
        """Return what came so far."""
        requests = map(ExportTraceServiceRequest.FromString, self.received)
        return [
            Span(
                name=span.name,
                trace_id=span.trace_id.hex(),
                parent_id=span.parent_span_id.hex(),
                service=str(_values(of_process.resource)["service.name"]),
                attributes=_values(span),
            )
            for request in requests
            for of_process in request.resource_spans
            for of_library in of_process.scope_spans
            for span in of_library.spans
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
                """Print nothing."""

        return Handler


def _values(part: Any) -> dict[str, str | int]:
    """Return a message's attributes, which are texts or numbers here."""
    return {
        attribute.key: attribute.value.string_value or attribute.value.int_value
        for attribute in part.attributes
    }
