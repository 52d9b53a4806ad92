"""What nobody sends by mistake: endless bodies, odd requests, and leaving halfway."""

import gzip
import re
import select
import socket
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import pytest

from benchmarks.load import Usage
from tests.app.answers import CSV, EMILY, JSON
from tests.app.processes import peak_bytes
from tests.app.training import newest
from tests.app.wire import chunk, exchange
from tests.server import Server, wait_for

MIB: Final = 1 << 20
INFER: Final = "/v2/models/offsetnet/infer"
HEAD: Final = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PERSON: Final = b'{"weight_offset":-7,"height_offset":-3}'
LENGTH: Final = b"Content-Length: %d\r\n" % len(PERSON)


def _flood(server: Server, head: bytes, part: bytes) -> tuple[bytes, int]:
    """Send parts until cut, 1,000 at most; return the answer and the bytes sent."""
    address, sent = ("127.0.0.1", server.port), 0
    with socket.create_connection(address, timeout=30) as connection:
        try:
            connection.sendall(head)
            for _ in range(1_000):
                connection.sendall(part)
                sent += len(part)
        except OSError:
            pass
        try:
            heard = connection.recv(65_536)
        except ConnectionResetError:  # the answer came, and Linux threw it away
            heard = b""
    return heard, sent


def _cost(server: Server, act: Callable[[], None]) -> tuple[float, int]:
    """Return the processor time that an act costs the server, and how far memory rose.

    It is done three times, since the server does other things, too.
    """
    costs, pid = [], server.process.pid
    for _ in range(3):
        peak_bytes(pid)
        before = Usage.of(pid)
        act()
        seconds = Usage.of(pid).cpu_seconds - before.cpu_seconds
        costs.append((seconds, peak_bytes(pid) - before.rss_bytes))
    return min(seconds for seconds, _ in costs), min(rise for _, rise in costs)


@pytest.mark.parametrize(
    ("head", "part", "status", "seconds"),
    [
        pytest.param(
            HEAD + b"Content-Length: 1000000000\r\n\r\n",
            b"x" * MIB,
            413,
            0.05,
            id="B1 1 GB",
        ),
        pytest.param(CHUNKED, chunk(b"x" * MIB), 413, 0.05, id="B2 1 GB in chunks"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 10_000, 400, 0.3, id="B3 small chunks"),
        pytest.param(CHUNKED + b"1;x=", b"y" * MIB, 400, 0.05, id="B4 extension"),
        pytest.param(
            CHUNKED + chunk(PERSON) + b"0\r\na: ",
            b"y" * MIB,
            400,
            0.05,
            id="B4 trailer",
        ),
    ],
)
def test_b1_b2_b3_b4_a_flood_is_refused_and_cut_and_costs_nothing(
    server: Server, head: bytes, part: bytes, status: int, seconds: float
) -> None:
    def flood() -> None:
        heard, sent = _flood(server, head, part)
        assert heard[:13] in {b"HTTP/1.1 %d " % status, b""}
        assert sent < 20 * MIB  # with what Linux has in its buffers

    cpu_seconds, risen = _cost(server, flood)

    assert cpu_seconds < seconds
    assert risen < 2 * MIB


BOMB: Final = b'{"weight_offset":-7,' + b" " * 64 * MIB + b'"height_offset":-3}'
PACKED: Final = {"gzip": gzip.compress(BOMB), "deflate": zlib.compress(BOMB)}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/train", INFER])
@pytest.mark.parametrize("coding", PACKED)
def test_b5_a_bomb_of_64_mib_is_not_inflated(
    server: Server, path: str, coding: str
) -> None:
    def explode() -> None:
        answer = server.client.post(
            path, content=PACKED[coding], headers={**JSON, "Content-Encoding": coding}
        )
        assert answer.status_code == 415
        assert answer.headers["Accept-Encoding"] == "identity"

    cpu_seconds, risen = _cost(server, explode)

    assert len(PACKED[coding]) < 70_000
    assert cpu_seconds < 0.05
    assert risen < 2 * MIB


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(HEAD + b"Content-Length: 1000000000\r\n\r\n", 413, id="B1"),
        pytest.param(CHUNKED + chunk(b" " * 300_000), 413, id="B2"),
        pytest.param(CHUNKED + b"1\r\n \r\n" * 60_000, 400, id="B3"),
        pytest.param(CHUNKED + b"1;" + b"y" * 600_000, 400, id="B4"),
    ],
)
def test_b1_b2_b3_b4_who_sends_too_much_is_told_why(
    server: Server, head: bytes, status: int
) -> None:
    heard = exchange(server.port, head)

    assert heard.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close\r\n" in heard.lower()
    assert b"\r\ncontent-type: application/problem+json\r\n" in heard


def test_b10_requests_sent_far_ahead_wait_at_their_client(server: Server) -> None:
    request, before = HEAD + LENGTH + b"\r\n" + PERSON, Usage.of(server.process.pid)
    address, heard = ("127.0.0.1", server.port), b""

    with (
        ThreadPoolExecutor(1) as pool,
        socket.create_connection(address, timeout=30) as connection,
    ):
        sent = pool.submit(connection.sendall, request * 200_000)
        while heard.count(b"HTTP/1.1 200 ") < 1_000:
            heard += connection.recv(65_536)
        after = Usage.of(server.process.pid)
        connection.shutdown(socket.SHUT_RDWR)

    assert isinstance(sent.exception(), OSError)  # it was not all taken
    assert after.rss_bytes - before.rss_bytes < 32 * MIB


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        pytest.param(
            [b"CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n"], 405, id="tunnel"
        ),
        pytest.param(
            [
                HEAD + LENGTH + b"Connection: upgrade\r\nUpg",
                b"rade: h2c\r\n\r\n" + PERSON,
            ],
            400,
            id="offer in two parts",
        ),
    ],
)
def test_b12_who_would_speak_another_protocol_is_told_no_once(
    server: Server, parts: list[bytes], status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            select.select([connection], [], [], 0.2)  # so that it is read apart
        heard = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert heard.startswith(b"HTTP/1.1 %d " % status)
    assert heard.count(b"HTTP/1.1 ") == heard.count(b"\r\nconnection: close\r\n") == 1
    assert "Traceback" not in server.log()


UPLOAD: Final = (
    b"POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 9999\r\n"
)
AHEAD: Final = HEAD + b"Content-Length: 9999\r\n\r\n" + PERSON.ljust(9999)
OFFER: Final = b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "statuses"),
    [
        pytest.param([UPLOAD + OFFER[:25], OFFER[25:]], [400], id="in two parts"),
        pytest.param([UPLOAD + OFFER.upper()], [400], id="in capitals"),
        pytest.param([AHEAD + UPLOAD + OFFER], [200, 400], id="behind a large one"),
    ],
)
def test_no_job_is_made_of_a_body_that_an_offer_hides(
    server: Server, parts: list[bytes], statuses: list[int]
) -> None:
    before = newest(server.client)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            select.select([connection], [], [], 0.2)  # so that it is read apart
        heard = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert [*map(int, re.findall(rb"HTTP/1.1 (\d+) ", heard))] == statuses
    assert newest(server.client) == before


def test_who_sends_no_chunk_is_not_told_to_go_on(server: Server) -> None:
    expecting = HEAD + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"

    heard = exchange(server.port, expecting + b"no chunk\r\n")

    assert heard.startswith(b"HTTP/1.1 400 ")
    assert heard.count(b"HTTP/1.1 ") == 1
    assert "this is a bug" not in server.log()


def test_b18_who_asks_before_a_terabyte_is_not_told_to_go_on(server: Server) -> None:
    heard = exchange(
        server.port,
        HEAD + b"Content-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n",
    )

    assert heard.startswith(b"HTTP/1.1 413 ")
    assert heard.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(PERSON),
            id="coded chunks",
        ),
        pytest.param(HEAD + LENGTH + LENGTH + b"\r\n" + PERSON, id="length twice"),
        pytest.param(CHUNKED + b"3\r\n{ }XX0\r\n\r\n", id="bad end of a chunk"),
        pytest.param(CHUNKED + b"3\n{ }\n0\n\n", id="bare LF in chunks"),
        pytest.param(
            (HEAD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + PERSON, id="bare LF"
        ),
        pytest.param(
            HEAD + b"X: a\r\n b\r\n" + LENGTH + b"\r\n" + PERSON, id="obs-fold"
        ),
        pytest.param(b"GET /livez HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: \r\n\r\n", id="no name"),
        pytest.param(HEAD + b"Host: localhost:1\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /livez\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"FOO /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", id="B16 FOO"),
    ],
)
def test_b11_b16_what_could_be_read_in_two_ways_is_refused_and_cut(
    server: Server, sent: bytes
) -> None:
    heard = exchange(server.port, sent)

    assert heard.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nconnection: close\r\n" in heard
    assert heard.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "LOCK", "PURGE"])
def test_b16_a_method_of_other_services_is_told_what_is_allowed(
    server: Server, method: str
) -> None:
    head = f"{method} /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    heard = exchange(server.port, head.encode())

    assert heard.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: GET, HEAD\r\n" in heard


@pytest.mark.parametrize("host", ["a/../?x", "evil.example", "localhost@evil.example"])
@pytest.mark.parametrize("prefix", ["", "http://localhost", "http://evil.example"])
def test_b15_the_host_decides_whatever_the_target_says(
    server: Server, prefix: str, host: str
) -> None:
    head = f"GET {prefix}/livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"

    heard = exchange(server.port, head.encode())

    assert heard.startswith(b"HTTP/1.1 400 ")
    assert b"foreign-host" in heard


@pytest.mark.parametrize("prefix", ["", "http://localhost", "http://a/../?x"])
def test_b15_an_absolute_target_needs_the_key_that_its_path_needs(
    server: Server, prefix: str
) -> None:
    head = f"POST {prefix}/train HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"

    heard = exchange(
        server.port, f"{head}X-Forwarded-For: 203.0.113.7\r\n\r\n".encode()
    )

    assert not heard.startswith(b"HTTP/1.1 2")
    assert heard.startswith(b"HTTP/1.1 401 ") or "?" in prefix


@pytest.mark.parametrize("path", ["/predict/", "/predict/batch/", "/train/"])
def test_b17_a_slash_too_many_is_not_found_and_leads_nowhere(
    client: httpx.Client, path: str
) -> None:
    answer = client.post(path, json=EMILY, headers={"Host": "localhost"})

    assert (answer.status_code, "location" in answer.headers) == (404, False)


TRAIN: Final = (
    b"POST /train?promote=never&epochs=1 HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: text/csv\r\nContent-Length: %d\r\n\r\n"
)
ROWS: Final = b"weight_lb,height_in,label\n133,65,F\n160,72,M\n"


def _leave(server: Server, sent: bytes) -> None:
    """Send this and go, before any answer."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(sent)


@pytest.mark.parametrize("size", [0, 10, len(ROWS) - 1], ids=["head", "half", "most"])
def test_b13_who_leaves_before_the_end_leaves_no_job(
    trainer: Server, size: int
) -> None:
    before, logged = newest(trainer.client), len(trainer.log())

    for _ in range(5):
        _leave(trainer, TRAIN % len(ROWS) + ROWS[:size])
    trainer.client.post("/train?dry_run=true", content=ROWS, headers=CSV)

    assert newest(trainer.client) == before
    assert "Traceback" not in trainer.log()[logged:]


def test_b13_who_leaves_before_the_answer_leaves_a_whole_job(trainer: Server) -> None:
    before = newest(trainer.client)

    _leave(trainer, TRAIN % len(ROWS) + ROWS)

    wait_for(lambda: newest(trainer.client) != before)
    job = trainer.wait_for_job(newest(trainer.client)[0])
    assert (job["state"], job["rows"]) == ("succeeded", 2)


@pytest.mark.parametrize("size", [0, 10, len(PERSON)], ids=["head", "half", "whole"])
def test_b13_who_leaves_a_prediction_is_no_error(server: Server, size: int) -> None:
    logged = len(server.log())

    for _ in range(5):
        _leave(server, HEAD + LENGTH + b"\r\n" + PERSON[:size])
    server.client.post("/predict", json=EMILY)

    log = server.log()[logged:]
    assert "Traceback" not in log
    assert not re.search("^ERROR", log, re.MULTILINE)
