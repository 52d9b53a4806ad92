"""The runner as a process: its limits, and how each job that it works on ends."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text, update

from app.jobs import Jobs
from app.settings import Settings
from app.store import Store
from app.tables import jobs
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, Dataset, TrainingConfig
from tests.app.answers import CSV, EMILY
from tests.app.processes import children, is_alive, only_child
from tests.app.training import BRIEF, ENDLESS, cancel_all, enqueue, show, start, train
from tests.databases import Databases
from tests.server import UNMEASURED, Server, wait_for


@pytest.fixture(scope="module")
def hasty(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server whose jobs may take a second."""
    limits = UNMEASURED | {
        "OFFSETNET_TRAINING_SECONDS": "1",
        "OFFSETNET_BEAT_SECONDS": "0.1",
    }
    data_dir = tmp_path_factory.mktemp("hasty") / "data"
    with Server(data_dir, environment=limits | databases.new(engine)) as running:
        yield running


@pytest.fixture(scope="module")
def overdue_job(hasty: Server) -> dict[str, Any]:
    """A job that took too long."""
    return train(hasty, **ENDLESS)


def test_c9_a_job_that_takes_too_long_fails(overdue_job: dict[str, Any]) -> None:
    assert (overdue_job["state"], overdue_job["reason"]) == ("failed", "timeout")


def test_c9_nothing_comes_of_a_job_that_took_too_long(
    hasty: Server, overdue_job: dict[str, Any]
) -> None:
    models = hasty.client.get("/models").json()

    assert (overdue_job["outcome"], overdue_job["model_version"]) == (None, None)
    assert ([one["version"] for one in models["models"]], models["generation"]) == (
        [1],
        1,
    )


def test_the_time_limit_is_logged(hasty: Server, overdue_job: dict[str, Any]) -> None:
    line = f"job {overdue_job['id']} ends with this process: timeout"

    wait_for(lambda: line in hasty.log())


def test_c9_an_epoch_that_does_not_end_is_ended(hasty: Server) -> None:
    people = Dataset(X=np.ones((300_000, 2)), y=np.arange(3e5)[:, None] % 2)
    config = TrainingConfig(batch_size=1, epochs=1, holdout=0, shuffle=False)
    store = Store(hasty.settings())

    job = hasty.wait_for_job(enqueue(store, people, config))

    store.close()
    assert (job["state"], job["reason"]) == ("failed", "timeout")


@pytest.fixture(scope="module")
def limited_server(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server whose jobs may take 256 MiB, with frequent beats, not polling."""
    limits = UNMEASURED | {
        "OFFSETNET_TRAINING_MEMORY_BYTES": str(1 << 28),
        "OFFSETNET_BEAT_SECONDS": "0.1",
        "OFFSETNET_LEASE_SECONDS": "1",
        "OFFSETNET_POLL_SECONDS": "1000",
    }
    data_dir = tmp_path_factory.mktemp("limited") / "data"
    with Server(data_dir, environment=limits | databases.new(engine)) as running:
        yield running


@pytest.fixture
def limited(limited_server: Server) -> Iterator[Server]:
    """That server, with its runner started, and without jobs afterwards."""
    only_child(limited_server.process.pid)
    yield limited_server
    cancel_all(limited_server)


@pytest.fixture(scope="module")
def store(limited_server: Server) -> Iterator[Store]:
    """The database of that server."""
    opened = Store(limited_server.settings())
    yield opened
    opened.close()


def test_d2_predictions_and_training_are_taken_while_the_runner_is_gone(
    limited: Server,
) -> None:
    os.kill(only_child(limited.process.pid), signal.SIGKILL)
    wait_for(lambda: not children(limited.process.pid))

    prediction = limited.client.post("/predict", json=EMILY)
    training = limited.client.post(
        "/train", json=BRIEF, headers={"Connection": "close"}
    )

    assert prediction.status_code == 200
    assert training.status_code == 202
    assert limited.wait_for_job(training.json()["id"])["state"] == "succeeded"


def test_a_server_learns_of_a_new_version_from_its_runner(limited: Server) -> None:
    job = train(limited, promote="always", config={"epochs": 5})

    limited.wait_for_version(job["model_version"])


def test_d4_a_job_that_needs_too_much_memory_fails_and_the_next_succeeds(
    limited: Server,
) -> None:
    rows = "weight_offset,height_offset,label\n" + "1,1,F\n2,2,M\n" * 100_000
    query = "hidden_units=64&batch_size=1000000&epochs=1"

    response = limited.client.post(f"/train?{query}", content=rows, headers=CSV)
    predictions = [limited.client.post("/predict", json=EMILY) for _ in range(100)]
    following = train(limited, **BRIEF)

    job = limited.wait_for_job(response.json()["id"])
    assert (job["state"], job["reason"]) == ("failed", "out-of-memory")
    assert {answer.status_code for answer in predictions} == {200}
    assert following["state"] == "succeeded"


def test_c6_a_training_that_diverges_fails_without_a_version(
    limited: Server, store: Store
) -> None:
    before = limited.client.get("/models").json()
    config = replace(ARTICLE_CONFIG, learning_rate=1e308, momentum=0.9)

    job = limited.wait_for_job(enqueue(store, ARTICLE_PEOPLE, config))

    assert (job["state"], job["reason"]) == ("failed", "diverged")
    assert limited.client.get("/models").json() == before


def test_an_unforeseen_error_ends_the_job_alone(limited: Server, store: Store) -> None:
    config = replace(ARTICLE_CONFIG, hidden_units=-1)

    job = limited.wait_for_job(enqueue(store, ARTICLE_PEOPLE, config))

    assert (job["state"], job["reason"]) == ("failed", "error")
    assert train(limited, **BRIEF)["state"] == "succeeded"


def test_d4_data_that_does_not_fit_into_memory_fails_its_job(
    limited: Server, store: Store
) -> None:
    people = Dataset(X=np.ones((1_000_000, 2)), y=np.arange(1e6)[:, None] % 2)
    config = TrainingConfig(hidden_units=64, batch_size=1_000_000, epochs=1)

    job = limited.wait_for_job(enqueue(store, people, config))

    assert (job["state"], job["reason"]) == ("failed", "out-of-memory")
    assert train(limited, **BRIEF)["state"] == "succeeded"


def test_a_job_that_cannot_be_read_fails_and_holds_no_other_up(
    limited: Server, store: Store
) -> None:
    running = start(limited, **ENDLESS)
    job_id = enqueue(store, ARTICLE_PEOPLE, ARTICLE_CONFIG)
    with store.write() as connection:
        config = {**ARTICLE_CONFIG.to_dict(), "of": "another release"}
        statement = update(jobs).where(jobs.c.id == job_id)
        connection.execute(statement.values(config=config))

    limited.client.delete(f"/train/{running}")

    assert train(limited, **BRIEF)["state"] == "succeeded"
    job = limited.wait_for_job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "error")


def test_d17_a_runner_that_lost_its_job_stops_working_on_it(
    limited: Server, store: Store
) -> None:
    job_id = start(limited, **ENDLESS)
    runner = only_child(limited.process.pid)

    _give_away(store, job_id)

    wait_for(lambda: not is_alive(runner))
    line = f"job {job_id} ends with this process: cancelled, or another's now"
    assert line in limited.log()
    assert _owner(store, job_id) == "another.1"


def _give_away(store: Store, job_id: int) -> None:
    """Let another runner have a running job, as after a lease that ran out."""
    with store.write() as connection:
        statement = update(jobs).where(jobs.c.id == job_id)
        connection.execute(statement.values(owner="another.1", lease_until=4e9))


def _owner(store: Store, job_id: int) -> str | None:
    owner: str | None = Jobs(store, Settings()).get(job_id)["owner"]
    return owner


def test_a_beat_that_the_database_does_not_take_costs_no_job(
    limited: Server, store: Store
) -> None:
    job_id = start(limited, **ENDLESS)
    missed = limited.log().count("a beat is missed")

    _run(store, "ALTER TABLE jobs RENAME TO jobs_aside")
    wait_for(lambda: limited.log().count("a beat is missed") > missed)
    _run(store, "ALTER TABLE jobs_aside RENAME TO jobs")

    epoch = show(limited, job_id)["epoch"]
    wait_for(lambda: show(limited, job_id)["epoch"] > epoch)
    assert show(limited, job_id)["attempt"] == 1


def _run(store: Store, statement: str) -> None:
    with store.write() as connection:
        connection.execute(text(statement))


def test_d6_a_runner_that_floods_its_output_harms_nobody(tmp_path: Path) -> None:
    shouting = {"PYTHONPATH": str(Path(__file__).parent / "shouting"), **UNMEASURED}
    with Server(tmp_path / "data", environment=shouting) as server:
        status = Path(f"/proc/{server.process.pid}/status")
        before = _peak_bytes(status)

        job = train(server, **BRIEF)
        wait_for(lambda: server.log_path.stat().st_size > 64 << 20)
        answer = server.client.post("/predict", json=EMILY)

        assert (job["state"], answer.status_code) == ("succeeded", 200)
        assert _peak_bytes(status) < before + (16 << 20)


def _peak_bytes(status: Path) -> int:
    """Return the most memory that a process ever had at once."""
    (line,) = (one for one in status.read_text().splitlines() if "VmHWM" in one)
    return int(line.split()[1]) << 10
