"""`offsetnet runner`: a machine that only trains."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from app.job_words import FINAL
from app.jobs import Jobs
from app.settings import Settings
from app.store import Store
from app.versions import Versions
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, Dataset
from tests.app import training
from tests.app.processes import children, only_child
from tests.app.training import enqueue
from tests.databases import URL, Databases
from tests.server import UNMEASURED, Server, wait_for

BRIEF: Final = replace(ARTICLE_CONFIG, epochs=5)
ENDLESS: Final = replace(ARTICLE_CONFIG, epochs=10_000, momentum=0.5)
MANY: Final = Dataset(
    X=np.tile(ARTICLE_PEOPLE.X, (50, 1)), y=np.tile(ARTICLE_PEOPLE.y, (50, 1))
)


class Machine:
    """A process of `offsetnet runner`, and its database, without any server."""

    def __init__(self, data_dir: Path, url: str | None) -> None:
        """Make the database as a server makes it, and start the process."""
        self._settings = Settings.model_validate(
            {"data_dir": data_dir, "database_url": url}
        )
        self.store = Store(self._settings)
        self.jobs = Jobs(self.store, self._settings)
        Versions(self.store, self._settings).prepare()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "runner"],
            env={**os.environ, **UNMEASURED, **self._settings.runner_environment()},
            stdin=subprocess.DEVNULL,
        )

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        self.store.close()

    def start(self) -> int:
        """Enqueue an endless job and return its number once it runs."""
        job_id = enqueue(self.store, MANY, ENDLESS)
        wait_for(lambda: self.is_running(job_id, attempt=1))
        return job_id

    def is_running(self, job_id: int, attempt: int) -> bool:
        """Whether a job is being tried for the nth time."""
        job = self.jobs.get(job_id)
        return (job["state"], job["attempt"]) == ("running", attempt)

    def wait_for_job(self, job_id: int) -> dict[str, Any]:
        """Return a job once it is final."""
        wait_for(lambda: self.jobs.get(job_id)["state"] in FINAL)
        return self.jobs.get(job_id)


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Machine]:
    """A machine that only trains, with each engine in turn."""
    url = databases.new(engine).get(URL)
    running = Machine(tmp_path_factory.mktemp("machine") / "data", url)
    yield running
    running.close()


def test_a_machine_without_a_server_trains(machine: Machine) -> None:
    job = machine.wait_for_job(enqueue(machine.store, ARTICLE_PEOPLE, BRIEF))

    assert (job["state"], job["outcome"]) == ("succeeded", "kept")
    assert (job["attempt"], job["model_version"]) == (1, 2)


def test_a_machine_s_killed_process_is_replaced_and_its_job_retried(
    machine: Machine,
) -> None:
    job_id = machine.start()
    killed = only_child(machine.process.pid)

    os.kill(killed, signal.SIGKILL)

    wait_for(lambda: machine.is_running(job_id, attempt=2))
    assert only_child(machine.process.pid) != killed
    machine.jobs.cancel(job_id)


def test_a_machine_that_is_told_to_stop_hands_its_job_back(machine: Machine) -> None:
    job_id = machine.start()

    machine.process.send_signal(signal.SIGTERM)

    assert machine.process.wait(60) == 0
    job = machine.jobs.get(job_id)
    assert (job["state"], job["attempt"], job["owner"]) == ("queued", 0, None)


def test_a_server_without_a_runner_leaves_its_jobs_to_others(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--no-runner") as server:
        job = server.client.post("/train", json=training.BRIEF).json()
        with _only_training(server):
            ended = server.wait_for_job(job["id"])
        beside = children(server.process.pid)

    assert ended["state"] == "succeeded"
    assert beside == []


@contextmanager
def _only_training(server: Server) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "runner"],
        env={**os.environ, **UNMEASURED, **server.settings().runner_environment()},
        stdin=subprocess.DEVNULL,
    )
    yield
    process.terminate()
    process.wait(60)
