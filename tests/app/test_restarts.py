"""Servers that are stopped or killed while a job runs, and what is there afterwards."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.app.processes import is_alive, only_child
from tests.app.training import start, stored_job, train
from tests.databases import Databases
from tests.server import UNMEASURED, Server, wait_for

SECONDS_LONG: Final = {"promote": "never", "config": {"epochs": 5000, "momentum": 0.5}}
EXIT_SECONDS: Final = 2.0  # of which one is for a busy machine
LASTING: Final = ("/models/1", "/models/active", "/models/2/weights", "/train/1")


class Interrupted:
    """What a server said before it was stopped, and how it ended.

    Attributes:
        data_dir: Its data folder.
        environment: What leads to its database.
        answers: What it answered last, by path.
        job_id: The job that it was training.
        exit_status: How it ended.
        is_runner_alive: Whether its runner was left behind.
        stored: That job's state, attempt and owner in the database afterwards.
    """

    def __init__(self, data_dir: Path, environment: dict[str, str]) -> None:
        """Train one version, start a second job, and stop the server."""
        self.data_dir, self.environment = data_dir, environment
        with Server(data_dir, environment=environment) as server:
            train(server, promote="always", config={"epochs": 20}, note="kept")
            self.answers = {path: server.client.get(path).content for path in LASTING}
            self.job_id = start(server, **SECONDS_LONG)
            runner = only_child(server.process.pid)
            self.exit_status = server.stop()
        self.is_runner_alive = is_alive(runner)
        self.stored = stored_job(server, self.job_id)


@pytest.fixture(scope="module")
def interrupted(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Interrupted:
    """A server that was stopped while it trained."""
    data_dir = tmp_path_factory.mktemp("interrupted") / "data"
    return Interrupted(data_dir, UNMEASURED | databases.new(engine))


@pytest.fixture(scope="module")
def restarted(interrupted: Interrupted) -> Iterator[Server]:
    """A server that goes on where that one stopped."""
    environment = interrupted.environment
    with Server(interrupted.data_dir, environment=environment) as running:
        yield running


def test_d16_a_server_that_is_told_to_stop_ends_with_0(
    interrupted: Interrupted,
) -> None:
    assert interrupted.exit_status == 0


def test_d16_a_stop_hands_the_running_job_back(interrupted: Interrupted) -> None:
    assert interrupted.stored == ("queued", 0, None)


def test_d16_a_stop_leaves_no_runner_behind(interrupted: Interrupted) -> None:
    assert not interrupted.is_runner_alive


@pytest.mark.parametrize("path", LASTING)
def test_jobs_and_versions_survive_a_restart(
    interrupted: Interrupted, restarted: Server, path: str
) -> None:
    assert restarted.client.get(path).content == interrupted.answers[path]


def test_a_job_that_was_handed_back_succeeds_after_the_restart(
    interrupted: Interrupted, restarted: Server
) -> None:
    job = restarted.wait_for_job(interrupted.job_id)

    assert (job["state"], job["attempt"]) == ("succeeded", 1)


def test_d1_d3_a_killed_server_s_job_finishes_after_the_next_start(
    restarted: Server,
) -> None:
    job_id = start(restarted, **SECONDS_LONG)
    runner = only_child(restarted.process.pid)

    restarted.stop(signal.SIGKILL)

    wait_for(lambda: not is_alive(runner), EXIT_SECONDS)
    with Server(restarted.data_dir, environment=restarted.environment) as server:
        assert server.wait_for_job(job_id)["state"] == "succeeded"
