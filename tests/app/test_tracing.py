"""Tracing: spans at a collector, and what never gets there."""

import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.app.answers import CSV, EMILY, JSON
from tests.app.processes import runner_of
from tests.app.training import train
from tests.collector import Collector, Span
from tests.server import Server, serve_in_vain, wait_for

PARENT: Final = "b7ad6b7169203331"
WEIGHT: Final = 4242.12345
PERSON: Final = {"weight_offset": WEIGHT, "height_offset": -3}
NO_EXTRA: Final = """
import sys
sys.modules["opentelemetry.sdk"] = None
"""
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "a prediction": {"method": "POST", "url": "/predict", "json": EMILY},
    "an explanation": {"method": "POST", "url": "/predict?explain=true", "json": EMILY},
    "a bad value": {
        "method": "POST",
        "url": "/predict",
        "json": {"weight_offset": "7"},
    },
    "no JSON": {"method": "POST", "url": "/predict", "content": b"{", "headers": JSON},
    "a bad parameter": {"method": "POST", "url": "/predict?explain=7", "json": EMILY},
    "too large": {"method": "POST", "url": "/predict", "content": b"1" * 300_000},
    "a batch": {
        "method": "POST",
        "url": "/predict/batch",
        "content": "weight_lb,height_in\n128,63\n",
        "headers": CSV,
    },
    "a protocol": {
        "method": "POST",
        "url": "/v1/models/offsetnet:predict",
        "json": {"instances": [[-7, -3]]},
    },
    "HEAD": {"method": "HEAD", "url": "/models/1"},
    "HEAD of a page": {"method": "HEAD", "url": "/docs"},
    "a page": {"method": "GET", "url": "/docs"},
    "weights": {"method": "GET", "url": "/models/1/weights"},
    "a wrong method": {"method": "PATCH", "url": "/predict"},
    "another wrong method": {"method": "GET", "url": "/predict"},
    "no such page": {"method": "GET", "url": "/nowhere"},
    "no such page of a protocol": {"method": "GET", "url": "/v2/nowhere"},
    "no such version": {"method": "GET", "url": "/models/99"},
    "no such number": {"method": "GET", "url": "/models/x"},
    "a foreign page": {
        "method": "POST",
        "url": "/train",
        "headers": {"Origin": "http://evil"},
    },
    "a foreign host": {"method": "GET", "url": "/", "headers": {"Host": "evil"}},
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector that all servers of this module send to."""
    with Collector() as listening:
        yield listening


@pytest.fixture(scope="module")
def traced(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that traces."""
    data_dir = tmp_path_factory.mktemp("traced") / "data"
    with Server(data_dir, environment=collector.environment) as running:
        yield running


def _send(server: Server, **request: Any) -> tuple[httpx.Response, str]:
    """Send a request of a new trace, and return the answer and the trace's id."""
    trace_id = secrets.token_hex(16)
    parent = {"traceparent": f"00-{trace_id}-{PARENT}-01"}
    headers = {**request.pop("headers", {}), **parent}
    return server.client.request(**request, headers=headers), trace_id


def _span(server: Server, collector: Collector, **request: Any) -> Span:
    _, trace_id = _send(server, **request)
    return collector.wait_for_span(trace_id)


def test_a_span_continues_the_trace_of_the_caller(
    traced: Server, collector: Collector
) -> None:
    response, trace_id = _send(traced, method="POST", url="/predict", json=EMILY)

    span = collector.wait_for_span(trace_id)

    assert response.json()["label"] == "F"
    assert (span.name, span.service) == ("POST /predict", "offsetnet")
    assert span.parent_id == PARENT
    assert span.attributes["http.request.method"] == "POST"
    assert span.attributes["http.route"] == "/predict"
    assert span.attributes["http.response.status_code"] == 200


def test_the_route_of_a_span_is_its_template(
    traced: Server, collector: Collector
) -> None:
    span = _span(traced, collector, method="GET", url="/models/99")

    assert span.attributes["http.route"] == "/models/{version}"
    assert span.attributes["http.response.status_code"] == 404


@pytest.mark.parametrize(
    "path", ["/v1/models/offsetnet:predict", "/v2/models/offsetnet/infer"]
)
def test_the_route_of_a_span_is_the_one_that_is_measured(
    traced: Server, collector: Collector, path: str
) -> None:
    span = _span(traced, collector, method="POST", url=path, json={})

    assert span.attributes["http.route"] == path


def test_a_caller_may_leave_its_trace_out(traced: Server, collector: Collector) -> None:
    unsampled = secrets.token_hex(16)
    headers = {"traceparent": f"00-{unsampled}-{PARENT}-00"}
    traced.client.post("/predict", json=EMILY, headers=headers)

    _span(traced, collector, method="POST", url="/predict", json=EMILY)

    assert unsampled not in {span.trace_id for span in collector.spans()}


def test_a_malformed_traceparent_starts_a_trace(
    traced: Server, collector: Collector
) -> None:
    headers = {"traceparent": "00-xyz", "tracestate": "=" * 5000}

    response = traced.client.get("/models/777", headers=headers)

    (span,) = wait_for(
        lambda: [
            span
            for span in collector.spans()
            if span.attributes["url.path"] == "/models/777"
        ]
    )
    assert (response.status_code, span.parent_id) == (404, "")


def test_f6_no_input_is_in_what_is_sent(traced: Server, collector: Collector) -> None:
    requests: list[dict[str, Any]] = [
        {"url": "/predict", "json": PERSON},
        {"url": "/predict", "json": {**PERSON, "height_offset": "so tall"}},
        {"url": "/predict", "json": {"weight_offset": f"{WEIGHT}"}},
        {"url": "/predict", "content": f"{WEIGHT}{{".encode()},
        {"url": f"/predict?explain={WEIGHT}&key=s3cret", "json": PERSON},
        {"url": "/predict/batch", "json": {"instances": [PERSON, {"a": WEIGHT}]}},
        {"url": "/train", "json": {"examples": [PERSON]}},
        {"url": f"/train?epochs={WEIGHT}", "content": "s3cret", "headers": CSV},
        {"url": "/models/1/infer", "json": PERSON},
        {"url": "/predict", "headers": {"X-API-Key": "s3cret"}},
    ]
    for request in requests:
        span = _span(traced, collector, method="POST", **request)
        assert span.attributes.get("url.query", "REDACTED") == "REDACTED"

    sent = b"".join(collector.received)
    assert b"/predict" in sent
    number = struct.pack("<d", WEIGHT)
    inputs = (b"4242.123", number, b"so tall", b"s3cret")
    assert not [each for each in inputs if each in sent]


@pytest.mark.parametrize("name", REQUESTS)
def test_answers_are_the_same_with_tracing(
    server: Server, traced: Server, name: str
) -> None:
    request: dict[str, Any] = REQUESTS[name]
    headers = {**request.get("headers", {}), "X-Request-ID": "same"}

    plain, traced_too = (
        each.client.request(**{**request, "headers": headers})
        for each in (server, traced)
    )

    assert traced_too.status_code == plain.status_code
    assert traced_too.content == plain.content
    for answer in (plain, traced_too):
        del answer.headers["Date"]
    assert sorted(traced_too.headers.multi_items()) == sorted(
        plain.headers.multi_items()
    )


def test_the_line_of_a_request_names_its_trace(
    collector: Collector, tmp_path: Path
) -> None:
    flags = ("--access-log", "--log-format", "json", "--tracing")
    environment = collector.environment | {"OFFSETNET_TRACING": "false"}
    with Server(tmp_path / "data", *flags, environment=environment) as server:
        _, trace_id = _send(server, method="POST", url="/predict", json=EMILY)
        wait_for(lambda: trace_id in server.log())

    lines = [json.loads(line) for line in server.log().splitlines()]
    (line,) = [line for line in lines if line.get("trace_id") == trace_id]
    assert line["route"] == "/predict"


def test_every_worker_sends_its_last_spans_as_it_stops(
    collector: Collector, tmp_path: Path
) -> None:
    environment = collector.environment | {
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
        "OTEL_SERVICE_NAME": "two of them",
    }
    with Server(tmp_path / "data", "--workers", "2", environment=environment) as server:
        traces = {
            _send(server, method="POST", url="/predict", json=EMILY)[1]
            for _ in range(10)
        }

    spans = [span for span in collector.spans() if span.trace_id in traces]
    assert {span.trace_id for span in spans} == traces
    assert {span.service for span in spans} == {"two of them"}


def test_a_silent_collector_holds_up_neither_answers_nor_the_stop(
    collector: Collector, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which accepts nothing
        environment = collector.environment | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
        }
        with Server(tmp_path / "data", environment=environment) as server:
            response = server.client.post("/predict", json=EMILY)
            os.kill(runner_of(server.process.pid), signal.SIGSTOP)  # for 5 s
            began = time.monotonic()
            status = server.stop(signal.SIGTERM)

    assert (response.status_code, status) == (200, 0)
    assert time.monotonic() - began < 8  # the collector is waited for meanwhile


def test_without_a_collector_the_log_says_so_and_trainings_go_on(
    collector: Collector, tmp_path: Path
) -> None:
    environment = collector.environment | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OFFSETNET_LOG_FORMAT": "json",
    }
    with Server(tmp_path / "data", environment=environment) as server:
        job = train(server, promote="never", config={"epochs": 5})
        wait_for(lambda: "opentelemetry.exporter" in server.log())

    assert job["state"] == "succeeded"
    assert [json.loads(line) for line in server.log().splitlines()]


def test_without_the_extra_tracing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_EXTRA)

    ended = serve_in_vain(
        tmp_path / "data", OFFSETNET_TRACING="true", PYTHONPATH=str(tmp_path)
    )

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "OFFSETNET_TRACING" in ended.stderr
    assert "offsetnet[telemetry]" in ended.stderr


def test_the_service_without_the_extra_serves(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_EXTRA)

    with Server(tmp_path / "data", environment={"PYTHONPATH": str(tmp_path)}) as server:
        response = server.client.post("/predict", json=EMILY)

    assert response.status_code == 200


LIFESPAN: Final = """
import asyncio, sys
from pathlib import Path
from app.access_log import create_app as logged
from app.main import create_app
from app.settings import Settings

async def live():
    app = create_app(Settings(data_dir=Path(sys.argv[1])))
    events = iter(["startup", "shutdown"])
    async def receive():
        return {"type": "lifespan." + next(events)}
    async def send(message):
        print(message["type"])
    await app({"type": "lifespan", "state": {}}, receive, send)

asyncio.run(live())
print([name for name in sys.modules
       if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "google"))])
"""


@pytest.mark.parametrize("variable", ["FASTAPI_OTEL_AUTO_CONFIGURE", "UNUSED"])
def test_without_the_setting_nothing_for_sending_is_imported(
    tmp_path: Path, variable: str
) -> None:
    inherited = {k: v for k, v in os.environ.items() if "OFFSETNET" not in k}
    done = subprocess.run(
        [sys.executable, "-c", LIFESPAN, str(tmp_path)],
        env=inherited
        | {variable: "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
        "[]",
    ]
