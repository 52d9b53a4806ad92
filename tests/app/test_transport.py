"""Clients that are silent, slow, boundless, or speak something else."""

import re
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.app.answers import EMILY
from tests.app.training import ENDLESS
from tests.app.wire import chunk, exchange
from tests.server import Server, wait_for

IDLE: Final = 1.0
WHOLE: Final = 3.0
STALL: Final = 2.0
MARGIN: Final = 3.0  # for a busy machine
HEAD: Final = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
BODY: Final = HEAD + b"Content-Length: 40\r\n\r\n"
PERSON: Final = b'{"weight_offset":-7,"height_offset":-3}'


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits briefly."""
    environment = {
        "OFFSETNET_CLIENT_IDLE_SECONDS": str(IDLE),
        "OFFSETNET_CLIENT_REQUEST_SECONDS": str(WHOLE),
        "OFFSETNET_CLIENT_STALL_SECONDS": str(STALL),
    }
    data_dir = tmp_path_factory.mktemp("impatient") / "data"
    with Server(data_dir, environment=environment) as running:
        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def cut_after(connection: socket.socket, drip: bytes = b"") -> tuple[float, bytes]:
    """Return after how long the server closed, and what it said.

    Meanwhile the drip is sent again and again, five times a second.
    """
    started, heard = time.monotonic(), b""
    while time.monotonic() - started < 30:
        readable, _, _ = select.select([connection], [], [], 0.2)
        if readable:
            part = connection.recv(65_536)
            if not part:
                break
            heard += part
        elif drip:
            connection.send(drip)
    else:
        raise AssertionError("the server never closed")
    return time.monotonic() - started, heard


@pytest.mark.parametrize(
    ("sent", "drip", "limit", "status"),
    [
        pytest.param(b"", b"", IDLE, None, id="silent"),
        pytest.param(HEAD, b"", IDLE, 408, id="half a head"),
        pytest.param(HEAD, b"X: y\r\n", IDLE, 408, id="dripping head"),
        pytest.param(BODY, b"", IDLE, 408, id="no body"),
        pytest.param(BODY + b"{", b"", IDLE, 408, id="half a body"),
        pytest.param(BODY, b" ", WHOLE, 408, id="dripping body"),
        pytest.param(BODY + PERSON + b" G", b"", IDLE, 200, id="half a next head"),
        pytest.param(
            HEAD.replace(b"/predict", b"/train") + b"Content-Length: 99\r\n\r\n{}",
            b" ",
            WHOLE,
            408,
            id="dripping body of a training",
        ),
    ],
)
def test_b7_b8_a_client_that_stands_still_is_cut(
    impatient: Server, sent: bytes, drip: bytes, limit: float, status: int | None
) -> None:
    with connect(impatient) as connection:
        connection.sendall(sent)

        seconds, heard = cut_after(connection, drip)

    assert limit - 0.6 < seconds < limit + MARGIN
    assert heard.startswith(b"HTTP/1.1 %d " % status) if status else heard == b""
    if status == 408:
        assert b"\r\nconnection: close\r\n" in heard
        assert b'"code":"too-slow"' in heard


def test_b8_a_body_that_drips_on_after_its_answer_is_cut(impatient: Server) -> None:
    with connect(impatient) as connection:
        head = HEAD.replace(b"/predict", b"/nowhere")
        connection.sendall(head + b"Content-Length: 99999\r\n\r\n")

        seconds, heard = cut_after(connection, b" ")

    assert WHOLE - 0.6 < seconds < WHOLE + MARGIN
    assert heard.count(b"HTTP/1.1 ") == heard.count(b"HTTP/1.1 404 ") == 1


def test_a_head_in_two_parts_is_answered_and_no_more_is_said(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: loc")
        select.select([], [], [], 0.2)  # so that it is read apart
        connection.sendall(b"alhost\r\n\r\n")

        _, heard = cut_after(connection)

    assert heard.count(b"HTTP/1.1 ") == heard.count(b"HTTP/1.1 200 ") == 1


def test_b1_a_body_for_nobody_is_not_read(server: Server) -> None:
    head = HEAD.replace(b"/predict", b"/nowhere")
    with connect(server) as connection:
        connection.sendall(head + b"Content-Length: 1000000000\r\n\r\n")

        assert _sent_until_cut(connection, b"y" * 1_000_000) < 20


def test_b1_an_answer_before_a_long_body_ends_the_connection(server: Server) -> None:
    head = HEAD.replace(b"/predict", b"/nowhere")
    with connect(server) as connection:
        connection.sendall(head + b"Content-Length: 1100000\r\n\r\n")
        answer = connection.recv(65_536)
        with suppress(OSError):  # it may have been cut already
            connection.sendall(b"y" * 1_100_000)
            answer += connection.recv(65_536)

    assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 404 ") == 1
    assert answer.count(b"\r\nconnection: close\r\n") == 1


def test_b2_a_body_that_is_too_large_is_read_on_so_that_its_answer_arrives(
    server: Server,
) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(chunk(b" " * 900_000))

        heard = _read_all(connection)
        wait_for(lambda: not _is_held(server, connection))

        assert heard.startswith(b"HTTP/1.1 413 ")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_b1_a_short_body_for_nobody_leaves_the_connection(server: Server) -> None:
    head = HEAD.replace(b"/predict", b"/nowhere")
    last = HEAD + b"Connection: close\r\nContent-Length: 39\r\n\r\n" + PERSON
    with connect(server) as connection:
        connection.sendall(head + b"Content-Length: 900000\r\n\r\n")
        first = connection.recv(65_536)
        connection.sendall(b"y" * 900_000 + last)
        heard = first + _read_all(connection)

    assert re.findall(rb"HTTP/1.1 (\d+) ", heard) == [b"404", b"200"]
    assert heard.count(b"\r\nconnection: close\r\n") == 1


def test_b1_where_answers_are_logged_it_says_that_it_closes(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--access-log") as server, connect(server) as it:
        head = HEAD.replace(b"/predict", b"/nowhere")
        it.sendall(head + b"Content-Length: 1100000\r\n\r\n")

        _, heard = cut_after(it)

    assert heard.count(b"HTTP/1.1 ") == heard.count(b"HTTP/1.1 404 ") == 1
    assert heard.count(b"\r\nconnection: close\r\n") == 1


def test_d16_a_request_that_meets_a_stop_is_answered(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, connect(server) as connection:
        connection.sendall(BODY + PERSON + b" ")
        first = connection.recv(65_536)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "Shutting down" in server.log())
        connection.sendall(BODY + PERSON + b" ")
        _, second = cut_after(connection)

        status = server.process.wait(30)

    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" not in first
    assert second.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in second
    assert status == 0


def test_d16_a_connection_without_a_request_ends_soon(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data") as server,
        connect(server) as new,
        connect(server) as kept,
    ):
        kept.sendall(BODY + PERSON + b" ")
        kept.recv(65_536)
        server.process.send_signal(signal.SIGTERM)

        seconds = [cut_after(connection)[0] for connection in (new, kept)]

    assert all(second < 1 + MARGIN for second in seconds)


@pytest.mark.parametrize("path", ["/train", "/models", "/models/active"])
def test_who_says_that_nothing_more_comes_is_answered(
    server: Server, path: str
) -> None:
    with connect(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)

        seconds, heard = cut_after(connection)

    assert heard.startswith(b"HTTP/1.1 200 ")
    assert seconds < MARGIN


def test_who_says_so_in_the_middle_of_an_answer_gets_the_rest(server: Server) -> None:
    path = "/static/swagger-ui/swagger-ui-bundle.js"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        heard = connection.recv(1)
        connection.shutdown(socket.SHUT_WR)
        heard += _read_all(connection)

    assert heard.endswith(b"\r\n\r\n" + server.client.get(path).content)


def test_empty_lines_keep_no_connection_open(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(BODY + PERSON + b" ")

        seconds, _ = cut_after(connection, b"\r\n")

    assert seconds < 5 + MARGIN  # the time of a kept connection


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"a: b\r\n" * 10_000, id="trailers"),
        pytest.param(b"x" * 60_000, id="one trailer"),
    ],
)
def test_b4_a_flood_behind_a_body_is_cut(server: Server, flood: bytes) -> None:
    before = _resident_bytes(server)
    with connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n%b\r\n0\r\n" % (len(PERSON), PERSON))

        assert _sent_until_cut(connection, flood) < 100

    assert _resident_bytes(server) - before < 16 * 1024 * 1024


def test_b4_a_flood_of_chunk_extensions_is_cut(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=")

        assert _sent_until_cut(connection, b"y" * 1_000_000) < 20


def test_a_body_in_small_chunks_is_read(server: Server) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in PERSON)
    head = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

    heard = exchange(server.port, head + chunks + b"0\r\n\r\n")

    assert heard.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("rest", [1, 20, 60, 100, 139])
def test_requests_at_once_may_end_anywhere(server: Server, rest: int) -> None:
    one = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(PERSON), PERSON)
    last = one.replace(b"Host", b"Connection: close\r\nHost")
    with connect(server) as connection:
        connection.sendall(one * 300 + last[:rest])
        heard = part = connection.recv(65_536)
        while part and heard.count(b"HTTP/1.1 ") < 300:
            heard += (part := connection.recv(65_536))
        connection.sendall(last[rest:])
        heard += _read_all(connection)

    assert heard.count(b"HTTP/1.1 200 ") == 301


@pytest.mark.parametrize(
    "garbage", [b"\x00garbage\r\n\r\n", HEAD + b"X: y\r\n" * 100 + b"\r\n"]
)
def test_requests_before_garbage_are_answered(server: Server, garbage: bytes) -> None:
    slow = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    one = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(PERSON), PERSON)

    heard = exchange(server.port, slow + one + slow + garbage)

    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", heard)
    assert statuses[:3] == [b"200"] * 3
    assert statuses[3] in {b"400", b"431"}
    assert "Traceback" not in server.log()


def test_half_a_request_behind_a_stream_leaves_it_alone(impatient: Server) -> None:
    job = impatient.client.post("/train", json=ENDLESS).json()["id"]
    stream = b"GET /train/%d/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % job
    with connect(impatient) as connection:
        connection.sendall(stream + BODY + b"{")
        heard, started = b"", time.monotonic()
        while time.monotonic() - started < 2 * WHOLE:
            heard += connection.recv(65_536)
    impatient.client.delete(f"/train/{job}")

    assert heard.count(b"HTTP/1.1 ") == 1
    assert heard.count(b"event: progress") > 2


def test_an_offer_to_upgrade_is_passed_over(server: Server) -> None:
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    )
    head = HEAD + offer + b"Content-Length: %d\r\n\r\n" % len(PERSON)
    with connect(server) as connection:
        connection.sendall(head)
        connection.sendall(PERSON)

        heard = connection.recv(65_536)

    assert heard.startswith(b"HTTP/1.1 200 ")


def test_a_refusal_of_a_body_has_the_request_s_id(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(HEAD + b"X-Request-ID: mine\r\nContent-Length: 9\r\n\r\n{")

        _, heard = cut_after(connection)

    assert b"\r\nx-request-id: mine\r\n" in heard


def test_a_connection_is_kept_as_long_as_it_is_said(tmp_path: Path) -> None:
    environment = {
        "OFFSETNET_KEEP_ALIVE_SECONDS": "8",
        "OFFSETNET_CLIENT_IDLE_SECONDS": "1",
    }
    with (
        Server(tmp_path / "data", environment=environment) as server,
        connect(server) as connection,
    ):
        connection.sendall(BODY + PERSON + b" ")

        seconds, heard = cut_after(connection)

    assert heard.startswith(b"HTTP/1.1 200 ")
    assert 7 < seconds < 8 + MARGIN


def test_b14_a_client_that_never_reads_is_cut(impatient: Server) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request * 200)
        wait_for(lambda: _is_held(impatient, connection))

        wait_for(lambda: not _is_held(impatient, connection), STALL + 5 * MARGIN)

    assert impatient.client.get("/livez").status_code == 200


def test_an_honest_upload_outlasts_the_limit_of_a_request(impatient: Server) -> None:
    row = b"128,63,F\n155,68,M\n" * 6_000
    table, rows = b"weight_lb,height_in,label\n", [row] * 40  # of 4 MiB
    length = len(table) + sum(map(len, rows))
    started = time.monotonic()
    with connect(impatient) as connection:
        connection.sendall(
            b"POST /train?dry_run=true HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: text/csv\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (length, table)
        )
        for part in rows:
            select.select([], [], [], 0.1)  # a slow line
            connection.sendall(part)
        heard = _read_all(connection)

    assert heard.startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - started > WHOLE


def test_a_silent_stream_is_not_cut(impatient: Server) -> None:
    job = impatient.client.post("/train", json=ENDLESS).json()["links"]["self"]
    with impatient.client.stream("GET", f"{job}/events") as stream:
        lines = stream.iter_lines()
        started = time.monotonic()
        while time.monotonic() - started < 2 * WHOLE:
            next(lines)
        impatient.client.delete(job)

        assert "event: cancelled" in list(lines)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(
            HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n", id="a header of 20 kB"
        ),
        pytest.param(HEAD + b"X: y\r\n" * 100 + b"\r\n", id="100 headers"),
        pytest.param(HEAD + b"X: y\r\n" * 100_000, id="100,000 headers"),
        pytest.param(b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\n\r\n", id="URL of 5 kB"),
        pytest.param(b"GET /" + b"x" * 100_000, id="URL of 100 kB"),
        pytest.param(HEAD + b"X" * 30_000, id="a name without end"),
    ],
)
def test_b6_a_head_without_bounds_is_refused(
    server: Server, request_bytes: bytes
) -> None:
    heard = exchange(server.port, request_bytes)

    assert heard.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"head-too-large"' in heard


def test_b6_a_header_of_200_mb_takes_no_memory(server: Server) -> None:
    before = _resident_bytes(server)
    with connect(server) as connection:
        connection.sendall(HEAD + b"X: ")

        assert _sent_until_cut(connection, b"y" * 1_000_000) < 20

    assert _resident_bytes(server) - before < 8 * 1024 * 1024


def test_the_largest_head_is_taken(server: Server) -> None:
    filled = b"".join(b"X-%02d: %b\r\n" % (n, b"y" * 250) for n in range(60))
    request_bytes = HEAD + filled + b"Connection: close\r\nContent-Length: 39\r\n\r\n"
    assert 15_000 < len(request_bytes) < 16_384

    heard = exchange(server.port, request_bytes + PERSON)

    assert heard.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"\x00\xff\x13\x37" * 50, id="noise"),
        pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", id="no colon"),
        pytest.param(
            HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", id="two lengths"
        ),
        pytest.param(HEAD + b"Content-Length: +23\r\n\r\n", id="length +23"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", id="length -1"),
        pytest.param(
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nz\r\n", id="bad chunk"),
        pytest.param(b"GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n", id="bytes in path"),
    ],
)
def test_b11_b12_what_is_not_http_is_refused_and_cut(
    server: Server, sent: bytes
) -> None:
    heard = exchange(server.port, sent)

    assert heard.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nconnection: close\r\n" in heard
    assert b"\r\ncontent-type: application/problem+json\r\n" in heard
    assert re.search(rb'"request_id":"[0-9a-f]{16}"', heard)


def test_b12_noise_leaves_few_lines_in_the_log(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        before, began = len(server.log().splitlines()), time.monotonic()
        for _ in range(200):
            exchange(server.port, b"\x00noise\r\n\r\n")

        lines = server.log().splitlines()[before:]
        tens = (time.monotonic() - began) // 10  # a busy machine takes more of them

    refusals = [line for line in lines if "a request of 127.0.0.1 is refused" in line]
    assert 1 <= len(refusals) <= 2 + tens


def test_b10_1001_requests_at_once_are_answered_in_order(server: Server) -> None:
    people = [PERSON.replace(b"-7", b"%d" % (n % 10)) for n in range(1_001)]
    requests = [HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(p), p) for p in people]
    last = requests[-1].replace(b"Host", b"Connection: close\r\nHost")

    heard = exchange(server.port, b"".join([*requests[:-1], last]))

    found = re.findall(rb'"probability":([0-9.e-]+)', heard)
    alone = {
        n: server.client.post("/predict", json=EMILY | {"weight_offset": n}).json()
        for n in range(10)
    }
    assert [float(p) for p in found] == [
        alone[n % 10]["probability"] for n in range(1_001)
    ]


def test_b9_many_slow_clients_leave_room_for_an_honest_one(impatient: Server) -> None:
    slow = [connect(impatient) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall((b"", HEAD, BODY, BODY + b"{")[number % 4])

    answers = [impatient.client.post("/predict", json=EMILY) for _ in range(200)]

    assert {answer.status_code for answer in answers} == {200}
    for connection in slow:
        with connection:
            cut_after(connection)


def _read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def _sent_until_cut(connection: socket.socket, part: bytes) -> int:
    """Return how many parts of 200 were taken."""
    for number in range(200):
        try:
            connection.sendall(part)
        except OSError:
            return number
    return 200


def _is_held(server: Server, connection: socket.socket) -> bool:
    """Whether the server has its end of a connection open, as Linux tells it."""
    here = f"{server.port:04X}", f"{connection.getsockname()[1]:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(
        (local[-4:], remote[-4:]) == here and inode != "0"
        for _, local, remote, *_, inode in (row[:10] for row in rows)
    )


def _resident_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024
