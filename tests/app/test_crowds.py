"""A thousand clients who follow one job, or stand still, with the bounds as set."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Final

import pytest

from benchmarks.load import Usage
from tests.app.answers import EMILY
from tests.app.processes import allow_descriptors
from tests.app.training import ENDLESS, start
from tests.server import Server, wait_for

CLIENTS: Final = 1000
LIMIT: Final = 100  # streams of a process
SECONDS: Final = 60.0
FORGED: Final = ("-1", "1e30", "text", "9" * 1_000, "")
REQUEST: Final = (
    b"GET /train/1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Last-Event-ID: %b\r\n\r\n"
)
HEAD: Final = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
HALVES: Final = (b"", HEAD, HEAD + b"Content-Length: 40\r\n\r\n{")
LIVE_SECONDS: Final = 0.05
ALL_SLOTS: Final = {200: LIMIT, 503: CLIENTS - LIMIT}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that trains without end."""
    allow_descriptors(2 * CLIENTS)
    with Server(tmp_path_factory.mktemp("followed") / "data") as running:
        assert start(running, **ENDLESS) == 1
        yield running


def _crowd(server: Server, forged: Sequence[str] = ("0",)) -> tuple[Counter[int], int]:
    """Let all come at once and read no further than how they are answered.

    Returns:
        How often each status came, and that of a prediction meanwhile.
    """

    async def come(number: int) -> tuple[int, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        seen = forged[number % len(forged)]
        writer.write(REQUEST % seen.encode())
        line = await reader.readline()
        return int(line[9:12]), writer

    async def all_come() -> tuple[Counter[int], int]:
        async with asyncio.timeout(SECONDS):
            clients = await asyncio.gather(*map(come, range(CLIENTS)))
            meanwhile = await asyncio.to_thread(
                server.client.post, "/predict", json=EMILY
            )
        for _, writer in clients:
            writer.close()
        return Counter(status for status, _ in clients), meanwhile.status_code

    return asyncio.run(all_come())


def test_f13_of_a_thousand_clients_a_hundred_follow_and_again_when_they_left(
    followed: Server,
) -> None:
    first = _crowd(followed)

    assert first == (ALL_SLOTS, 200)
    wait_for(lambda: _crowd(followed, FORGED) == first)


def test_b9_a_thousand_clients_that_stand_still_leave_honest_ones_alone(
    followed: Server,
) -> None:
    pid, address = followed.process.pid, ("127.0.0.1", followed.port)
    before = Usage.of(pid)

    with ExitStack() as slow:
        for number in range(CLIENTS):
            one = slow.enter_context(socket.create_connection(address, timeout=30))
            one.sendall(HALVES[number % len(HALVES)])
        wait_for(lambda: Usage.of(pid).descriptors >= before.descriptors + CLIENTS, 4)
        honest = [
            followed.client.request(method, path, json=body)
            for _ in range(100)
            for method, path, body in (
                ("GET", "/livez", None),
                ("POST", "/predict", EMILY),
            )
        ]

    assert {answer.status_code for answer in honest} == {200}
    lasted = median(answer.elapsed.total_seconds() for answer in honest[::2])
    assert lasted < LIVE_SECONDS
