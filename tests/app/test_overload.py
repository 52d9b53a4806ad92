"""More requests than can be answered."""

import asyncio
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from app.admission import (
    CALM_SECONDS,
    LASTING_SECONDS,
    LEAST_IN_A_TURN,
    TURN_SECONDS,
    WAIT_SECONDS,
    Admission,
)
from tests.app.answers import EMILY
from tests.app.wire import chunked, exchange
from tests.faults.overload import flood
from tests.server import Server

SHEDDING: Final = """
from app.__main__ import main
from app.admission import Admission

Admission.is_shedding = property(lambda _: True, lambda *_: None)
main()
"""


class Clock:
    """A time of the day and a time of work that pass as they are told."""

    def __init__(self) -> None:
        self.now, self.computed = 100.0, 0.0
        self.admission = Admission(lambda: self.now, lambda: self.computed)

    def answer(self, requests: int, seconds: float, *, busy: float = 1.0) -> None:
        """Answer requests that all waited too long, each in so many seconds."""
        for _ in range(requests):
            self.now += seconds
            self.computed += busy * seconds
            self.admission.note(self.now - 2 * WAIT_SECONDS)

    def turns(self, requests: int, number: int = 1) -> list[list[bool]]:
        """Return which of the requests of each turn of the loop are admitted."""

        async def turn() -> list[bool]:
            await asyncio.sleep(0)
            return [self.admission.admits() for _ in range(requests)]

        async def each() -> list[list[bool]]:
            return [await turn() for _ in range(number)]

        return asyncio.run(each())


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_f17_a_burst_is_no_overload_however_late(clock: Clock) -> None:
    clock.answer(1000, 0.9 * LASTING_SECONDS / 1000)

    assert not clock.admission.is_shedding


def test_f17_each_turn_gets_what_was_answered_in_as_long(clock: Clock) -> None:
    clock.answer(200, TURN_SECONDS / 10.01)

    few = [True] * 10 + [False] * 90
    assert clock.turns(100, 2) == [few, few]


def test_f17_slow_requests_leave_room_for_few(clock: Clock) -> None:
    clock.answer(10, 0.1)

    assert clock.turns(9) == [[True] * LEAST_IN_A_TURN + [False] * 5]


@pytest.mark.parametrize(("busy", "is_overload"), [(0.74, False), (0.76, True)])
def test_f17_a_process_without_a_processor_turns_nobody_away(
    clock: Clock, busy: float, *, is_overload: bool
) -> None:
    clock.answer(1000, 0.002, busy=busy)

    assert clock.admission.is_shedding is is_overload


def test_f17_who_is_turned_away_waits_for_no_processor(clock: Clock) -> None:
    clock.answer(100, 0.01)
    clock.now += 2 * LASTING_SECONDS  # in which another program had the processor

    assert clock.turns(100)[0].count(False) == 0


def test_f17_who_comes_in_time_is_no_sign_of_overload(clock: Clock) -> None:
    for _ in range(1000):
        clock.now += 0.001
        clock.computed += 0.001
        clock.admission.note(clock.now - 0.9 * WAIT_SECONDS)

    assert not clock.admission.is_shedding


def test_f17_after_a_calm_all_are_admitted_again(clock: Clock) -> None:
    clock.answer(100, 0.01)
    clock.now += 1.01 * CALM_SECONDS

    assert clock.turns(100) == [[True] * 100]


def test_f17_it_lasts_while_requests_are_turned_away(clock: Clock) -> None:
    clock.answer(100, 0.01)

    for _ in range(10):
        clock.now += 0.9 * CALM_SECONDS
        clock.computed += 0.9 * CALM_SECONDS
        assert False in clock.turns(100)[0]


def test_f17_a_flood_is_answered_or_turned_away_for_now(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        seen = asyncio.run(flood(server.port, 2))

        after = server.client.post("/predict", json=EMILY)
        metrics = server.client.get("/metrics").text

    assert 200 in seen.statuses
    assert seen.statuses.keys() <= {200, 503}
    assert seen.without_retry == 0
    assert seen.live
    assert after.status_code == 200
    assert f'sheds_total{{reason="overloaded"}} {seen.turned_away}.0' in metrics


def test_f17_what_comes_behind_a_request_turned_away_is_no_error(
    tmp_path: Path,
) -> None:
    host = b" HTTP/1.1\r\nHost: localhost\r\n"
    large = b"POST /predict/batch" + host + b"Transfer-Encoding: chunked\r\n\r\n"
    last = b"GET /livez" + host + b"Connection: close\r\n\r\n"
    heard = []
    with Server(tmp_path / "data") as server, ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(asyncio.run, flood(server.port, 2))

        while not flooding.done():
            heard.append(exchange(server.port, large + chunked(b"{}") + last))

        log = server.log()

    assert heard
    for answers in heard:
        is_turned_away = answers.startswith(b"HTTP/1.1 503 ")
        assert answers.count(b"HTTP/1.1 ") == (1 if is_turned_away else 2)
    assert "Traceback" not in log


def test_what_came_before_an_error_is_answered_while_too_much_comes(
    tmp_path: Path,
) -> None:
    command = (sys.executable, "-c", SHEDDING, "serve")
    live = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Server(tmp_path / "data", command=command) as server:
        heard = exchange(server.port, 3 * live + b"no HTTP\r\n\r\n")

    assert re.findall(rb"HTTP/1.1 (\d+) ", heard) == [b"200", b"200", b"200", b"400"]
