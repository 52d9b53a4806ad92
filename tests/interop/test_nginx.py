"""The shipped nginx configuration: what it passes on, and what never gets through."""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import pytest
import yaml
from httpx_sse import EventSource
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import Usage
from tests.app.answers import CSV, EMILY
from tests.app.training import ENDLESS, SAMPLE
from tests.app.wire import chunk, exchange
from tests.nginx import CONFIGURATION, Nginx, nginx, prepare, program
from tests.server import Server, wait_for

HOST: Final = "offsetnet.example"
KEY: Final = {"X-API-Key": "secret"}
HEAD: Final = f"POST /predict HTTP/1.1\r\nHost: {HOST}\r\n".encode()
CHUNKED: Final = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
PERSON: Final = b'{"weight_offset":-7,"height_offset":-3}'
LENGTH: Final = b"Content-Length: %d\r\n" % len(PERSON)
CERTIFY: Final = (
    "req -x509 -newkey rsa:2048 -nodes -batch -keyout privkey.pem -out fullchain.pem"
)
MIB: Final = 1 << 20


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as it is meant to stand behind a proxy."""
    environment = {
        "OFFSETNET_ADMIN_KEY": KEY["X-API-Key"],
        "OFFSETNET_ALLOWED_HOSTS": HOST,
        "OFFSETNET_ACCESS_LOG": "true",
    }
    data_dir = tmp_path_factory.mktemp("behind") / "data"
    with Server(data_dir, environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, behind: Server) -> Iterator[Nginx]:
    """The shipped configuration before it."""
    with nginx(tmp_path_factory.mktemp("nginx"), [behind.port], HOST) as running:
        yield running


def test_the_configuration_is_sound(tmp_path: Path) -> None:
    command = prepare(tmp_path, CONFIGURATION.read_text())

    done = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_its_part_about_tls_is_sound(tmp_path: Path) -> None:
    subprocess.run(
        [program("openssl"), *CERTIFY.split()],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    written = re.sub(
        r"^( +)# (\w.*;)$", r"\1\2", CONFIGURATION.read_text(), flags=re.MULTILINE
    )
    with_tls = re.sub(r"/etc/ssl/offsetnet", str(tmp_path), written)
    with_tls = re.sub(r"listen .*80;", "", with_tls)

    command = prepare(tmp_path, with_tls)
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)

    assert "ssl_certificate_key" in with_tls
    assert done.returncode == 0, done.stderr


def test_compose_puts_it_before_its_replicas(tmp_path: Path) -> None:
    compose = yaml.safe_load((CONFIGURATION.parents[1] / "compose.yaml").read_text())
    service = compose["services"]["nginx"]
    (mount,), (*shell, script) = service["volumes"], service["command"]
    shipped, _, _ = mount.removeprefix(".").partition(":")
    edit, _, _ = script.partition(" && ")
    written = tmp_path / "written.conf"
    edit = edit.replace(" /offsetnet.conf", f" {CONFIGURATION}")
    edit = edit.replace("/etc/nginx/conf.d/offsetnet.conf", str(written))

    subprocess.run([*shell, edit], check=True)
    here = written.read_text().replace("replica:8000", "127.0.0.1:8000")
    done = subprocess.run(
        [*prepare(tmp_path, here), "-t"], capture_output=True, text=True, check=False
    )

    assert str(CONFIGURATION).endswith(shipped)
    assert "server replica:8000;" in written.read_text()
    assert "listen 80;" in here
    assert "listen [" not in here.partition("# TLS")[0]
    assert done.returncode == 0, done.stderr


def test_a_prediction_passes(proxy: Nginx, behind: Server) -> None:
    answer = proxy.client.post("/predict", json=EMILY)

    direct = behind.client.post("/predict", json=EMILY)
    assert (answer.status_code, answer.content) == (200, direct.content)


def test_a_large_csv_passes(proxy: Nginx) -> None:
    header, rows = SAMPLE.split("\n", 1)
    content = f"{header}\n{rows * (5 * MIB // len(rows))}"

    answer = proxy.client.post(
        "/train?dry_run=true", content=content, headers=CSV | KEY
    )

    assert answer.status_code == 200
    assert answer.json()["rows"] > 100_000


def test_a_training_and_its_events_pass_as_they_come(proxy: Nginx) -> None:
    submitted = proxy.client.post("/train", json=ENDLESS, headers=KEY)
    path = submitted.headers["Location"]

    with proxy.client.stream("GET", f"{path}/events") as stream:
        events = EventSource(stream).iter_sse()
        first = next(events)  # though the job does not end
        proxy.client.delete(path, headers=KEY)
        *_, last = events

    assert submitted.status_code == 202
    assert (first.event, last.event) == ("progress", "cancelled")


def test_who_claims_to_be_local_is_not(proxy: Nginx, behind: Server) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.7",
        "Forwarded": "for=203.0.113.7",
        "X-Request-ID": "forged",
    }

    training = proxy.client.post("/train", headers=forged)
    proxy.client.get("/livez", headers=forged)

    assert training.status_code == 401
    wait_for(lambda: "GET /livez 200" in behind.log())
    assert "203.0.113.7" not in behind.log()
    assert re.search(r" 127\.0\.0\.1 POST /train 401 .* forged", behind.log())


def test_a_large_body_ends_at_the_proxy(proxy: Nginx, behind: Server) -> None:
    before = _requests(behind)

    answers = [
        proxy.client.post("/predict", content=b" " * 300_000),
        proxy.client.post("/train", content=b" " * (65 * MIB), headers=CSV | KEY),
    ]

    assert [answer.status_code for answer in answers] == [413, 413]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == 413
        assert "nginx/" not in answer.headers["Server"]
    assert _requests(behind) == before


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(
            CHUNKED.replace(b"\r\n\r\n", b"\r\n%b\r\n" % LENGTH)
            + chunk(PERSON)
            + chunk(b""),
            400,
            id="length and chunks",
        ),
        pytest.param(HEAD + LENGTH + LENGTH + b"\r\n" + PERSON, 400, id="two lengths"),
        pytest.param(HEAD + b"Content-Length: +3\r\n\r\n{ }", 400, id="length +3"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", 400, id="length -1"),
        pytest.param(
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, id="coded chunks"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 501, id="odd chunks"
        ),
        pytest.param(CHUNKED + b"3\r\n{ }XX0\r\n\r\n", 400, id="bad end of a chunk"),
        pytest.param(CHUNKED + b"z\r\n", 400, id="bad size of a chunk"),
        pytest.param(CHUNKED + b"f" * 20 + b"\r\n", 400, id="endless chunk"),
        pytest.param(HEAD + b"X: a\r\n b\r\n\r\n", 400, id="folded line"),
        pytest.param(HEAD + b"X: a\x00b\r\n\r\n", 400, id="NUL"),
        pytest.param(HEAD + b"Host: localhost\r\n\r\n", 400, id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, id="TLS"),
        pytest.param(HEAD + b"X: " + b"y" * 40_000 + b"\r\n\r\n", 431, id="long head"),
    ],
)
def test_b11_what_can_be_read_in_two_ways_ends_at_the_proxy(
    proxy: Nginx, behind: Server, sent: bytes, status: int
) -> None:
    before = _requests(behind)

    heard = exchange(proxy.port, sent)

    assert heard.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in heard
    assert b'"status":%d' % status in heard
    assert _requests(behind) == before


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            (HEAD + LENGTH + b"Connection: close\r\n\r\n").replace(b"\r\n", b"\n")
            + PERSON,
            id="bare LF",
        ),
        pytest.param(
            CHUNKED + b"27;x=y\r\n" + PERSON + b"\r\n0\r\n\r\n", id="extension"
        ),
        pytest.param(
            CHUNKED + chunk(PERSON) + b"0\r\nContent-Length: 5\r\nHost: a\r\n\r\n",
            id="trailers",
        ),
        pytest.param(
            CHUNKED + b"".join(chunk(b"%c" % byte) for byte in PERSON) + chunk(b""),
            id="small chunks",
        ),
    ],
)
def test_b11_the_proxy_writes_a_request_anew(
    proxy: Nginx, behind: Server, sent: bytes
) -> None:
    before = _requests(behind)

    heard = exchange(proxy.port, sent)

    assert heard.count(b"HTTP/1.1 ") == heard.count(b"HTTP/1.1 200 ") == 1
    wait_for(lambda: _requests(behind) == before + 1)


@pytest.mark.parametrize(
    ("flood", "status"),
    [
        pytest.param((CHUNKED, b"1\r\nx\r\n" * 20_000, b""), 413, id="B3 small chunks"),
        pytest.param(
            (CHUNKED + b"27;x=", b"y" * MIB, b"\r\n%b\r\n0\r\n\r\n" % PERSON),
            200,
            id="B4 extension",
        ),
        pytest.param(
            (CHUNKED + chunk(PERSON) + b"0\r\n", b"a: b\r\n" * 200_000, b"\r\n"),
            200,
            id="B4 trailers",
        ),
    ],
)
def test_b3_b4_the_proxy_takes_a_flood_upon_itself(
    proxy: Nginx, behind: Server, flood: tuple[bytes, bytes, bytes], status: int
) -> None:
    head, part, tail = flood
    before, service = Usage.of(proxy.pid), Usage.of(behind.process.pid)

    heard = exchange(proxy.port, head + part * 50 + tail)

    after = Usage.of(proxy.pid)
    assert heard.startswith(b"HTTP/1.1 %d " % status)
    assert after.cpu_seconds - before.cpu_seconds < 2  # of what is 50 MB
    assert after.rss_bytes - before.rss_bytes < 4 * MIB
    assert Usage.of(behind.process.pid).cpu_seconds - service.cpu_seconds < 1


def test_one_address_has_a_share_of_connections_and_of_trainings(proxy: Nginx) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            address = ("127.0.0.1", proxy.port)
            held = stack.enter_context(socket.create_connection(address, timeout=30))
            held.sendall(HEAD + LENGTH + b"\r\n{")
        crowded = wait_for(lambda: _refused(proxy.client.get("/livez")))
    wait_for(lambda: proxy.client.get("/livez").is_success)
    *_, flooded = [proxy.client.post("/train") for _ in range(30)]  # without a key

    for answer in (crowded, flooded):
        assert (answer.status_code, answer.json()["status"]) == (429, 429)
        assert answer.headers["Retry-After"] == "1"
    assert proxy.client.get("/train").is_success


def _refused(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.is_error else None


def _requests(server: Server) -> float:
    """Return how many requests a server has counted, those that only read apart."""
    told = server.client.get("/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
        if sample.name == "http_server_request_duration_seconds_count"
        and sample.labels["http_request_method"] != "GET"
    )
