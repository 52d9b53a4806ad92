"""The log: its two formats, the line of a request, and what never stands there."""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from app.access_log import AccessLog
from app.logs import JsonFormatter
from tests.app.answers import EMILY
from tests.app.processes import only_child
from tests.app.training import train
from tests.app.wire import exchange
from tests.server import Server, wait_for

KEY: Final = "s3cret-key"
WEIGHT: Final = 4242.12345
FORGED: Final = "/x%0a%7B%22level%22%7D%0d%1b[31m%00%e2%80%a8%ff"
HOSTILE: Final = [
    b"\x1b[31m",
    b'"}{"level":"INFO","logger":"app"}',
    b"\xe2\x80\xa8",
    b"\xff\xfe",
    b"a\tb",
    b"%0d%0a%00",
    b"x" * 15_000,
    b"y" * 1_000_000,
]
TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
REQUEST_FIELDS: Final = {
    *("time", "level", "logger", "message", "request_id", "method", "path"),
    *("route", "client", "status", "duration_seconds"),
}
FLAGS: Final = ("--access-log", "--log-format")


@pytest.fixture(scope="module", params=["text", "json"])
def logged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that logs each request, in either format."""
    data_dir = tmp_path_factory.mktemp(request.param) / "data"
    environment = {"OFFSETNET_ADMIN_KEY": KEY, "OFFSETNET_PREDICT_KEY": f"{KEY}-too"}
    with Server(data_dir, *FLAGS, request.param, environment=environment) as running:
        running.client.headers["X-API-Key"] = KEY
        yield running


@pytest.fixture(scope="module")
def as_json(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two processes that log each request as JSON, as the environment says."""
    data_dir = tmp_path_factory.mktemp("as-json") / "data"
    environment = {"OFFSETNET_ACCESS_LOG": "1", "OFFSETNET_LOG_FORMAT": "json"}
    with Server(data_dir, "--workers", "2", environment=environment) as running:
        yield running


def _line_of(server: Server, request_id: str) -> str:
    """Return the line of a request, once it is over."""
    lines = wait_for(
        lambda: [line for line in server.log().splitlines() if request_id in line]
    )
    (line,) = lines
    return line


def _facts_of(server: Server, request_id: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(_line_of(server, request_id))
    return facts


def test_a_request_is_one_readable_line(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--access-log") as server:
        response = server.client.post("/predict?key=k", json=EMILY)
        request_id = response.headers["X-Request-ID"]

        line = _line_of(server, request_id)

    expected = rf"{TIME} 127\.0\.0\.1 POST /predict 200 \d+\.\d\d ms {request_id}"
    assert re.fullmatch(expected, line)


def test_a_request_is_one_object(as_json: Server) -> None:
    headers = {"X-Request-ID": "one.object"}
    as_json.client.get("/models/1?a=b", headers=headers)

    facts = _facts_of(as_json, "one.object")

    age = datetime.now(UTC) - datetime.fromisoformat(facts["time"])
    assert timedelta(0) < age < timedelta(minutes=1)
    assert re.fullmatch(TIME, facts["time"])
    assert facts.keys() == REQUEST_FIELDS
    assert (facts["method"], facts["path"]) == ("GET", "/models/1")
    assert (facts["route"], facts["status"]) == ("/models/{version}", 200)
    assert (facts["client"], facts["level"]) == ("127.0.0.1", "INFO")
    assert 0 < facts["duration_seconds"] < 60


def test_every_line_of_every_process_is_an_object(as_json: Server) -> None:
    job = train(as_json, promote="never", config={"epochs": 5})
    wait_for(lambda: f"job {job['id']} succeeded" in as_json.log())
    exchange(as_json.port, b"NONSENSE\r\n\r\n")
    wait_for(lambda: "is refused" in as_json.log())

    objects = [json.loads(line) for line in as_json.log().splitlines()]

    assert all(
        {"time", "level", "logger", "message"} <= each.keys() for each in objects
    )
    assert {"app.trainer", "app.registry", "app.access_log", "app.shedding"} <= {
        each["logger"] for each in objects
    }
    assert ("WARNING", "app.access_log") not in {
        (each["level"], each["logger"]) for each in objects
    }


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("HEAD", "/models/active", "/models/active", 200),
        ("GET", "/models/99", "/models/{version}", 404),
        ("PATCH", "/predict", "/predict", 405),
        ("GET", "/nowhere", None, 404),
        ("GET", "/", "/", 200),
    ],
)
def test_the_route_is_a_template(
    as_json: Server, method: str, path: str, route: str | None, status: int
) -> None:
    response = as_json.client.request(method, path)

    facts = _facts_of(as_json, response.headers["X-Request-ID"])

    assert (facts["method"], facts["path"]) == (method, path)
    assert (facts["route"], facts["status"]) == (route, status)


def test_f6_neither_keys_nor_input_are_in_the_log(logged: Server) -> None:
    person = {"weight_offset": WEIGHT, "height_offset": -3}
    examples = [{**person, "label": "F"}, {**EMILY, "label": "M"}]
    for bearer in (f"Bearer {KEY}", f"Bearer {KEY}-wrong"):
        headers = {"Authorization": bearer}
        for path, body in {
            "/predict": person,
            f"/predict?explain={WEIGHT}&key={KEY}": {"weight_offset": f"{WEIGHT}"},
            "/predict/batch": {"instances": [person, {"a": WEIGHT}]},
            "/train": {"examples": examples, "promote": "never"},
            "/v1/models/offsetnet:predict": {"instances": [[WEIGHT, "x"]]},
        }.items():
            last = logged.client.post(path, json=body, headers=headers)
    _line_of(logged, last.headers["X-Request-ID"])
    train(logged, examples=examples, promote="never")

    log = logged.log()

    assert "/predict/batch" in log
    assert not re.search(r"4242\.1|s3cret|key", log)


def test_f7_a_path_forges_no_line(logged: Server) -> None:
    request = f"GET {FORGED} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    exchange(logged.port, f"{request}X-Request-ID: forged\r\n\r\n".encode())

    line = _line_of(logged, "forged")

    assert logged.log().isascii()
    assert all(character.isprintable() for character in line)
    assert "/x%0A%7B%22level%22%7D%0D%1B%5B31m%00%E2%80%A8" in line


def test_f7_a_long_path_is_cut(logged: Server) -> None:
    response = logged.client.get("/" + "a%20" * 1_000)

    line = _line_of(logged, response.headers["X-Request-ID"])

    assert 2000 < len(line) < 4096


@pytest.mark.parametrize("forged", [b'1.2.3.4" 200\xe9 {}', b"x" * 500])
def test_f7_f16_a_proxy_forges_no_line(logged: Server, forged: bytes) -> None:
    response = logged.client.get("/", headers=[(b"X-Forwarded-For", forged)])

    line = _line_of(logged, response.headers["X-Request-ID"])

    assert re.search(r"1\.2\.3\.4%22%20200%C3%A9%20%7B%7D|\bx{100}\b", line)


def test_f16_a_stranger_does_not_say_who_asks(logged: Server) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=transport, base_url=logged.client.base_url) as stranger:
        forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        response = stranger.get("/", headers=forged)

    line = _line_of(logged, response.headers["X-Request-ID"])

    assert "127.0.0.2" in line
    assert "203.0.113.9" not in line


def test_a_client_that_leaves_has_its_line(as_json: Server) -> None:
    with socket.create_connection(("127.0.0.1", as_json.port)) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
            b"X-Request-ID: who.leaves\r\n\r\n{"
        )

    facts = _facts_of(as_json, "who.leaves")

    assert (facts["route"], facts["status"]) == ("/predict", 499)


def test_without_the_flag_no_request_is_logged(tmp_path: Path) -> None:
    environment = {"OFFSETNET_ACCESS_LOG": "1"}
    with Server(
        tmp_path / "data", "--no-access-log", environment=environment
    ) as server:
        server.client.post("/predict", json=EMILY)
        status = server.stop()

    assert status == 0
    assert "startup complete" in server.log()
    assert not re.search("predict|readyz|POST", server.log())


def test_a_machine_that_only_trains_logs_in_the_format_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app", "runner", "--log-format", "json"]
    log = tmp_path / "log"
    with Server(tmp_path / "data") as server, log.open("wb") as file:
        train(server, promote="never", config={"epochs": 1})  # its runner is there
        folder = ("--data-dir", str(server.data_dir))
        with subprocess.Popen([*command, *folder], stderr=file) as runner:
            wait_for(lambda: "waiting for it" in log.read_text())
            os.kill(only_child(runner.pid), signal.SIGKILL)
            wait_for(lambda: "ended with status" in log.read_text())
            runner.terminate()

    objects = [json.loads(line) for line in log.read_text().splitlines()]
    assert {each["logger"] for each in objects} == {"app.runner", "app.supervisor"}


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", environment={"OFFSETNET_LOG_FORMAT": "xml"})

    assert server.process.wait(60) == 1
    assert "OFFSETNET_LOG_FORMAT" in server.log()
    server.client.close()


def test_f7_an_exception_stays_on_its_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        float("two\nlines")
    except ValueError:
        logging.getLogger("app").exception("a %s\nb", "bug")

    line = JsonFormatter().format(caplog.records[0])

    facts = json.loads(line)
    assert "\n" not in line
    assert facts["message"] == "a bug\nb"
    assert facts["exception"].startswith("Traceback")


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\x00\u2028" * 9_999, "😀" * 5_000])
def test_f7_an_endless_text_is_cut(caplog: pytest.LogCaptureFixture, text: str) -> None:
    try:
        float(f"begin {text} end")
    except ValueError:
        logging.getLogger("app").exception("first %s last", text)

    line = JsonFormatter().format(caplog.records[0])

    facts = json.loads(line)
    assert len(line) <= 8_192
    assert re.fullmatch("first .+ \\.\\.\\. .+ last", facts["message"], re.DOTALL)
    assert facts["exception"].startswith("Traceback")
    assert facts["exception"].endswith(" end'")


def test_f7_whatever_is_sent_each_line_is_an_object(as_json: Server) -> None:
    for number, value in enumerate(HOSTILE):
        for head in (
            b"GET /%b HTTP/1.1\r\nHost: localhost\r\n" % value,
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %b\r\n" % value,
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: %b\r\n" % value,
            b"%b / HTTP/1.1\r\nHost: localhost\r\n" % value,
        ):
            exchange(as_json.port, head + b"Connection: close\r\n\r\n")
        note = {"note": value.decode("latin-1"), "promote": "never"}
        last = as_json.client.post(
            "/train?dry_run=true", json=note, headers={"X-Request-ID": f"n{number}"}
        )
    _line_of(as_json, last.headers["X-Request-ID"])

    lines = as_json.log_path.read_bytes().splitlines()

    assert all(json.loads(line)["logger"] for line in lines)
    assert max(map(len, lines)) <= 8_192
    assert all(line.isascii() and line.decode().isprintable() for line in lines)


def test_a_request_that_nobody_answers_has_its_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        scope["state"]["request_id"] = b"broken"
        raise RuntimeError

    nothing: Any = None
    scope: Any = {
        "type": "http",
        "path": "/",
        "method": "GET",
        "client": None,
        "state": {},
    }
    caplog.set_level(logging.INFO, "app.access_log")

    with pytest.raises(RuntimeError):
        asyncio.run(AccessLog(breaks, [])(scope, nothing, nothing))

    (record,) = caplog.records
    facts = json.loads(JsonFormatter().format(record))
    assert (facts["request_id"], facts["status"]) == ("broken", None)
