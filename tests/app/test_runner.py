"""The runner as a process: kills, stops, limits, and several servers on one folder."""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from sqlalchemy import text

from app.jobs import Jobs, Submission
from app.settings import Settings
from app.store import Store
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, Dataset, TrainingConfig
from tests.app.answers import CSV, EMILY
from tests.app.processes import children, is_alive
from tests.app.training import FOUR, train
from tests.server import Server, wait_for

UVICORN: Final = (sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory")
BRISK: Final = {"OFFSETNET_BEAT_SECONDS": "0.1", "OFFSETNET_LEASE_SECONDS": "1"}
SECONDS_LONG: Final = {"promote": "never", "config": {"epochs": 2000}}
LASTING: Final = ("/models/1", "/models/active", "/models/2/weights", "/train/1")
ENDLESS: Final = {
    "examples": FOUR * 50,
    "config": {"epochs": 10_000, "batch_size": 1, "holdout": 0},
}


@pytest.fixture(scope="module")
def limited_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose jobs may take 3 s and 256 MiB, with short leases, not polling."""
    limits = {
        "OFFSETNET_TRAINING_SECONDS": "3",
        "OFFSETNET_TRAINING_MEMORY_BYTES": str(1 << 28),
        "OFFSETNET_POLL_SECONDS": "1000",
    }
    data_dir = tmp_path_factory.mktemp("limited") / "data"
    with Server(data_dir, environment={**BRISK, **limits}) as running:
        yield running


@pytest.fixture
def limited(limited_server: Server) -> Server:
    """That server, with its runner started."""
    _runner(limited_server)
    return limited_server


@pytest.fixture(scope="module")
def store(limited_server: Server) -> Iterator[Store]:
    """The database of that server."""
    opened = Store(Settings(data_dir=limited_server.data_dir).database_path)
    yield opened
    opened.close()


def _submit(server: Server, request: dict[str, Any]) -> int:
    """Submit a job and return its number once it runs."""
    job_id: int = server.client.post("/train", json=request).json()["id"]
    wait_for(lambda: _state(server, job_id) == "running")
    return job_id


def _state(server: Server, job_id: int) -> str:
    state: str = server.client.get(f"/train/{job_id}").json()["state"]
    return state


def _runner(server: Server) -> int:
    """Return the process id of a server's runner."""
    (found,) = wait_for(lambda: children(server.process.pid))
    return found


def _enqueue(store: Store, data: Dataset, config: TrainingConfig) -> int:
    """Enqueue what no request could ask for."""
    submission = Submission(
        data=data, config=config, promote="always", note=None, warnings=()
    )
    job_id: int = Jobs(store, Settings()).enqueue(submission)["id"]
    return job_id


def test_a_killed_runner_is_replaced_and_its_job_retried(limited: Server) -> None:
    job_id = _submit(limited, {"config": {"epochs": 500}})
    killed = _runner(limited)

    os.kill(killed, signal.SIGKILL)

    job = limited.wait_for_job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert _runner(limited) != killed


def test_predictions_and_training_are_taken_while_the_runner_is_gone(
    limited: Server,
) -> None:
    os.kill(_runner(limited), signal.SIGKILL)
    wait_for(lambda: not children(limited.process.pid))

    prediction = limited.client.post("/predict", json=EMILY)
    training = limited.client.post(
        "/train", json={"config": {"epochs": 5}}, headers={"Connection": "close"}
    )

    assert prediction.status_code == 200
    assert training.status_code == 202
    assert limited.wait_for_job(training.json()["id"])["state"] == "succeeded"


def test_a_server_learns_of_a_new_version_from_its_runner(limited: Server) -> None:
    job = train(limited, config={"epochs": 5})

    limited.wait_for_version(job["model_version"])


def test_a_job_that_takes_too_long_fails(limited: Server) -> None:
    before = limited.client.get("/models").json()

    job = train(limited, **ENDLESS)

    assert (job["state"], job["reason"]) == ("failed", "timeout")
    assert (job["outcome"], job["model_version"]) == (None, None)
    assert limited.client.get("/models").json() == before


def test_an_epoch_that_does_not_end_is_ended(limited: Server, store: Store) -> None:
    people = Dataset(X=np.ones((700_000, 2)), y=np.arange(7e5)[:, None] % 2)
    config = TrainingConfig(batch_size=1, epochs=1, holdout=0, shuffle=False)

    job = limited.wait_for_job(_enqueue(store, people, config))

    assert (job["state"], job["reason"]) == ("failed", "timeout")


def test_a_job_that_needs_too_much_memory_fails_and_the_next_succeeds(
    limited: Server,
) -> None:
    rows = "weight_offset,height_offset,label\n" + "1,1,F\n2,2,M\n" * 100_000
    query = "hidden_units=64&batch_size=1000000&epochs=1"

    response = limited.client.post(f"/train?{query}", content=rows, headers=CSV)
    following = train(limited, config={"epochs": 5})

    job = limited.wait_for_job(response.json()["id"])
    assert (job["state"], job["reason"]) == ("failed", "out-of-memory")
    assert following["state"] == "succeeded"


def test_a_training_that_diverges_fails_without_a_version(
    limited: Server, store: Store
) -> None:
    before = limited.client.get("/models").json()
    config = replace(ARTICLE_CONFIG, learning_rate=1e308, momentum=0.9)

    job = limited.wait_for_job(_enqueue(store, ARTICLE_PEOPLE, config))  # C6

    assert (job["state"], job["reason"]) == ("failed", "diverged")
    assert limited.client.get("/models").json() == before


def test_an_unforeseen_error_ends_the_job_alone(limited: Server, store: Store) -> None:
    config = replace(ARTICLE_CONFIG, hidden_units=-1)

    job = limited.wait_for_job(_enqueue(store, ARTICLE_PEOPLE, config))

    assert (job["state"], job["reason"]) == ("failed", "error")
    assert train(limited, config={"epochs": 5})["state"] == "succeeded"


def test_a_runner_that_lost_its_job_stops_working_on_it(
    limited: Server, store: Store
) -> None:
    job_id = _submit(limited, ENDLESS)

    with store.write() as connection:
        connection.execute(
            text("UPDATE jobs SET state = 'cancelled', owner = NULL WHERE id = :id"),
            {"id": job_id},
        )

    assert train(limited, config={"epochs": 5})["state"] == "succeeded"
    assert _state(limited, job_id) == "cancelled"
    assert f"job {job_id} has another owner now" in limited.log()


def test_a_beat_that_the_database_does_not_take_costs_no_job(
    limited: Server, store: Store
) -> None:
    job_id = _submit(limited, {"config": {"epochs": 1000}})
    missed = limited.log().count("a beat is missed")

    _run(store, "ALTER TABLE jobs RENAME TO jobs_aside")
    wait_for(lambda: limited.log().count("a beat is missed") > missed)
    _run(store, "ALTER TABLE jobs_aside RENAME TO jobs")

    assert limited.wait_for_job(job_id)["attempt"] == 1


def _run(store: Store, statement: str) -> None:
    with store.write() as connection:
        connection.execute(text(statement))


class Interrupted:
    """What a server said before it was stopped, and how it ended.

    Attributes:
        data_dir: Its data folder.
        answers: What it answered last, by path.
        job_id: The job that it was training.
        exit_status: How it ended.
        is_runner_alive: Whether its runner was left behind.
        stored: That job's state and attempt in the database afterwards.
    """

    def __init__(self, data_dir: Path) -> None:
        """Train one version, start a second job, and stop the server."""
        self.data_dir = data_dir
        with Server(data_dir) as server:
            train(server, config={"epochs": 20}, note="kept")
            self.job_id = _submit(server, SECONDS_LONG)
            self.answers = {path: server.client.get(path).content for path in LASTING}
            runner = _runner(server)
            self.exit_status = server.stop()
        self.is_runner_alive = is_alive(runner)
        self.stored = _stored_job(data_dir, self.job_id)


def _stored_job(data_dir: Path, job_id: int) -> tuple[str, int, None]:
    connection = sqlite3.connect(data_dir / "offsetnet.sqlite3")
    query = "SELECT state, attempt, owner FROM jobs WHERE id = ?"
    row: tuple[str, int, None] = connection.execute(query, (job_id,)).fetchone()
    connection.close()
    return row


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """A server that was stopped while it trained."""
    return Interrupted(tmp_path_factory.mktemp("interrupted") / "data")


@pytest.fixture(scope="module")
def restarted(interrupted: Interrupted) -> Iterator[Server]:
    """A server that goes on where that one stopped."""
    with Server(interrupted.data_dir) as running:
        yield running


def test_a_server_that_is_told_to_stop_ends_with_0(interrupted: Interrupted) -> None:
    assert interrupted.exit_status == 0


def test_a_stop_hands_the_running_job_back(interrupted: Interrupted) -> None:
    assert interrupted.stored == ("queued", 0, None)  # D16


def test_a_stop_leaves_no_runner_behind(interrupted: Interrupted) -> None:
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


def test_a_killed_server_s_job_finishes_after_the_next_start(
    restarted: Server,
) -> None:
    job_id = _submit(restarted, SECONDS_LONG)
    runner = _runner(restarted)

    restarted.stop(signal.SIGKILL)  # D1, D3

    wait_for(lambda: not is_alive(runner), seconds=5)
    with Server(restarted.data_dir) as server:
        assert server.wait_for_job(job_id)["state"] == "succeeded"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server under plain uvicorn, whose runner has the folder's lock."""
    data_dir = tmp_path_factory.mktemp("plain") / "data"
    with Server(data_dir, command=UVICORN) as running:
        wait_for(lambda: "runner: version 1 is loaded" in running.log())
        yield running


@pytest.fixture(scope="module")
def neighbour(
    plain: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Two processes of `offsetnet serve` on the same folder, with their own log."""
    log = tmp_path_factory.mktemp("neighbour") / "log"
    folder = ("--data-dir", str(plain.data_dir))
    with Server(log, "--workers", "2", *folder) as running:
        yield running


def test_plain_uvicorn_retrains_too(plain: Server) -> None:
    job = train(plain, config={"epochs": 20})

    plain.wait_for_version(job["model_version"])

    assert job["state"] == "succeeded"


def test_servers_on_one_folder_share_jobs_and_versions(
    plain: Server, neighbour: Server
) -> None:
    job = train(neighbour, config={"epochs": 20})

    assert plain.client.get(f"/train/{job['id']}").json() == job
    plain.wait_for_version(job["model_version"])


def test_only_one_runner_of_a_folder_works(plain: Server, neighbour: Server) -> None:
    jobs = [train(server, config={"epochs": 5}) for server in (plain, neighbour)]

    for job in jobs:
        assert f"job {job['id']}: attempt 1" in plain.log()
    assert "attempt" not in neighbour.log()


def test_every_process_comes_to_answer_with_a_new_version(
    neighbour: Server,
) -> None:
    job = train(neighbour, config={"epochs": 5})

    wait_for(_all_answer_with(neighbour, job["model_version"]))


def _all_answer_with(server: Server, version: int) -> Callable[[], bool]:
    """Ask on so many fresh connections that each process answers some."""

    def look() -> bool:
        answers = [
            server.client.post("/predict", json=EMILY, headers={"Connection": "close"})
            for _ in range(30)
        ]
        return {answer.json()["model_version"] for answer in answers} == {version}

    return look


def test_a_frozen_runner_ends_with_its_server_and_the_other_s_takes_over(
    plain: Server, neighbour: Server
) -> None:
    os.kill(_runner(plain), signal.SIGSTOP)  # D17
    plain.stop()

    job = train(neighbour, config={"epochs": 5})

    assert job["state"] == "succeeded"
    assert f"job {job['id']}: attempt 1" in neighbour.log()
