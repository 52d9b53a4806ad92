"""Runners that are killed, freeze or fall silent for good, and what becomes of jobs."""

import os
import signal
from collections.abc import Iterator
from typing import Final

import pytest
from sqlalchemy import update

from app.store import Store
from app.tables import jobs
from tests.app.processes import is_alive, only_child
from tests.app.training import (
    BRIEF,
    ENDLESS,
    cancel_all,
    running_again,
    start,
    train,
)
from tests.databases import Databases
from tests.server import Server, wait_for

ATTEMPTS: Final = 2


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


def _kill(server: Server) -> int:
    """Kill a server's runner and return which it was."""
    runner = only_child(server.process.pid)
    os.kill(runner, signal.SIGKILL)
    return runner


def test_a_killed_runner_s_job_is_retried_long_before_its_lease_ends(
    patient: Server,
) -> None:
    job_id = start(patient, **ENDLESS)

    killed = _kill(patient)

    wait_for(lambda: running_again(patient, job_id, attempt=2), seconds=10)
    assert only_child(patient.process.pid) != killed


def test_a_job_whose_every_runner_is_killed_fails(patient: Server) -> None:
    job_id = start(patient, **ENDLESS)

    _kill(patient)
    wait_for(lambda: running_again(patient, job_id, attempt=ATTEMPTS))
    _kill(patient)

    job = patient.wait_for_job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "killed")
    assert (job["attempt"], job["outcome"], job["model_version"]) == (2, None, None)


def test_a_job_whose_owner_fell_silent_for_good_is_lost(patient: Server) -> None:
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


def test_a_frozen_runner_is_ended_and_its_job_retried(patient: Server) -> None:
    job_id = start(patient, **ENDLESS)
    frozen = only_child(patient.process.pid)

    os.kill(frozen, signal.SIGSTOP)  # D17

    wait_for(lambda: running_again(patient, job_id, attempt=2))
    assert not is_alive(frozen)
