"""Runners that are killed, freeze or hang, and what becomes of their jobs.

A freeze is noticed after 10 s and three hung tries take as long. Both begin before the
other tests, on servers of their own, and are looked at afterwards.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from sqlalchemy import update

from app.settings import Settings
from app.store import Store
from app.tables import jobs
from tests.app.answers import EMILY
from tests.app.processes import is_alive, only_child
from tests.app.training import BRIEF, ENDLESS, cancel_all, running_again, start, train
from tests.databases import Databases
from tests.server import UNMEASURED, Server, wait_for

ATTEMPTS: Final = 2


class Trouble(NamedTuple):
    """A server whose runner cannot go on.

    Attributes:
        server: The server.
        job_id: The job that the runner works on.
        runner: The runner's process id.
    """

    server: Server
    job_id: int
    runner: int


@pytest.fixture(scope="module", autouse=True)
def frozen(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Trouble]:
    """A server whose runner is frozen."""
    data_dir = tmp_path_factory.mktemp("frozen") / "data"
    environment = UNMEASURED | databases.new(engine)
    with Server(data_dir, environment=environment) as server:
        trouble = Trouble(
            server, start(server, **ENDLESS), only_child(server.process.pid)
        )
        os.kill(trouble.runner, signal.SIGSTOP)
        yield trouble


@pytest.fixture(scope="module", autouse=True)
def hung(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Trouble]:
    """A server whose every training waits for a lock that it holds itself."""
    environment = {
        **UNMEASURED,
        "PYTHONPATH": str(Path(__file__).parent / "stalling"),
        "OFFSETNET_STALL_SECONDS": "1",
        "OFFSETNET_BEAT_SECONDS": "0.1",
    }
    data_dir = tmp_path_factory.mktemp("hung") / "data"
    with Server(data_dir, environment=environment | databases.new(engine)) as server:
        yield Trouble(server, start(server, **BRIEF), only_child(server.process.pid))


@pytest.fixture(scope="module")
def patient_server(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server with the default lease of 15 s, which tries each job twice."""
    limits = {"OFFSETNET_MAX_ATTEMPTS": str(ATTEMPTS)}
    data_dir = tmp_path_factory.mktemp("patient") / "data"
    with Server(data_dir, environment=limits | databases.new(engine)) as running:
        yield running


@pytest.fixture
def patient(patient_server: Server) -> Iterator[Server]:
    """That server, without jobs afterwards."""
    yield patient_server
    cancel_all(patient_server)


def test_d1_a_job_whose_owner_fell_silent_for_good_is_lost(patient: Server) -> None:
    job_id = train(patient, **BRIEF)["id"]
    store = Store(patient.settings())

    _give_to_nobody(store, job_id)

    store.close()
    job = patient.wait_for_job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "lost")


def _give_to_nobody(store: Store, job_id: int) -> None:
    """Make a job one whose last try is long overdue."""
    with store.write() as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(
                state="running",
                attempt=ATTEMPTS,
                owner="nobody.1",
                lease_until=jobs.c.started_at - 1,
                finished_at=None,
            )
        )


def _kill(server: Server) -> int:
    """Kill a server's runner and return which it was."""
    runner = only_child(server.process.pid)
    os.kill(runner, signal.SIGKILL)
    return runner


def test_d2_a_killed_runner_s_job_is_retried_long_before_its_lease_ends(
    patient: Server,
) -> None:
    job_id = start(patient, **ENDLESS)

    killed = _kill(patient)

    wait_for(lambda: running_again(patient, job_id, attempt=2))
    assert only_child(patient.process.pid) != killed


def test_d2_d4_a_job_whose_every_runner_is_killed_fails(patient: Server) -> None:
    job_id = start(patient, **ENDLESS)

    _kill(patient)
    wait_for(lambda: running_again(patient, job_id, attempt=ATTEMPTS))
    _kill(patient)

    job = patient.wait_for_job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "killed")
    assert (job["attempt"], job["outcome"], job["model_version"]) == (2, None, None)


def test_d17_a_frozen_runner_is_ended_and_its_job_retried(frozen: Trouble) -> None:
    wait_for(lambda: running_again(frozen.server, frozen.job_id, attempt=2))

    assert not is_alive(frozen.runner)


def test_d5_a_training_that_computes_nothing_fails_after_its_tries(
    hung: Trouble,
) -> None:
    job = hung.server.wait_for_job(hung.job_id)

    assert (job["state"], job["reason"]) == ("failed", "stalled")
    assert job["attempt"] == Settings().max_attempts


def test_each_try_that_computes_nothing_is_logged(hung: Trouble) -> None:
    attempts = hung.server.wait_for_job(hung.job_id)["attempt"]

    line = f"job {hung.job_id} ends with this process: stalled"
    wait_for(lambda: hung.server.log().count(line) == attempts)


def test_predictions_know_nothing_of_a_hung_training(hung: Trouble) -> None:
    response = hung.server.client.post("/predict", json=EMILY)

    assert (response.status_code, response.json()["model_version"]) == (200, 1)
