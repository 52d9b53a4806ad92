"""More requests than can be answered."""

import asyncio
import select
import time
from contextlib import suppress
from pathlib import Path

import pytest

from app.admission import LATE_IN_A_ROW, Admission, OverloadedError
from tests.app.answers import EMILY
from tests.faults.overload import flood
from tests.server import Server, wait_for


def long_ago() -> float:
    return time.perf_counter() - 1


def is_refused(admission: Admission) -> bool:
    """Whether a late request is refused."""
    with suppress(OverloadedError):
        admission.admit(long_ago())
        return False
    return True


@pytest.fixture
def overloaded() -> Admission:
    """What is remembered when all have been late for a while."""
    admission, end = Admission(), time.monotonic() + 30
    while not is_refused(admission):
        assert time.monotonic() < end
    return admission


def test_a_burst_is_admitted_however_late() -> None:
    admission = Admission()

    assert not any(is_refused(admission) for _ in range(1000))


def test_a_few_are_admitted_in_each_turn(overloaded: Admission) -> None:
    overloaded.admit(time.perf_counter())

    refused = [is_refused(overloaded) for _ in range(LATE_IN_A_ROW + 1)]

    assert refused == [False] * LATE_IN_A_ROW + [True]


def test_a_process_without_a_processor_turns_nobody_away() -> None:
    admission, end = Admission(), time.monotonic() + 0.5

    def admit_and_wait() -> bool:
        assert not is_refused(admission)
        select.select([], [], [], 0.005)
        return time.monotonic() > end

    wait_for(admit_and_wait)


def test_who_comes_in_time_is_admitted(overloaded: Admission) -> None:
    for _ in range(100):
        overloaded.admit(time.perf_counter())


def test_after_a_calm_a_burst_is_admitted_again(overloaded: Admission) -> None:
    overloaded.admit(time.perf_counter())
    calm = time.monotonic() + 0.6
    wait_for(lambda: time.monotonic() > calm)

    assert not any(is_refused(overloaded) for _ in range(100))


def test_a_flood_is_answered_or_turned_away_for_now(tmp_path: Path) -> None:  # F17
    with Server(tmp_path / "data") as server:
        seen = asyncio.run(flood(server.port, 2))

        after = server.client.post("/predict", json=EMILY)
        metrics = server.client.get("/metrics").text

    assert 200 in seen.statuses
    assert seen.statuses.keys() <= {200, 503}
    assert seen.without_retry == 0
    assert seen.live
    assert after.status_code == 200
    assert f'sheds_total{{reason="overloaded"}} {seen.statuses[503]}.0' in metrics
