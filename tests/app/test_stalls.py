"""A training that does not compute any more, though its process lives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.app.answers import EMILY
from tests.app.training import BRIEF, train
from tests.databases import Databases
from tests.server import Server


@pytest.fixture(scope="module")
def stalling(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server whose every training waits for a lock that it holds itself."""
    environment = {
        "PYTHONPATH": str(Path(__file__).parent / "stalling"),
        "OFFSETNET_STALL_SECONDS": "1",
        "OFFSETNET_BEAT_SECONDS": "0.1",
    }
    data_dir = tmp_path_factory.mktemp("stalling") / "data"
    with Server(data_dir, environment=environment | databases.new(engine)) as running:
        yield running


@pytest.fixture(scope="module")
def stalled_job(stalling: Server) -> dict[str, Any]:
    """A job that was tried as often as may be."""
    return train(stalling, **BRIEF)


def test_a_training_that_does_not_compute_fails_after_its_tries(
    stalled_job: dict[str, Any],
) -> None:
    assert (stalled_job["state"], stalled_job["reason"]) == ("failed", "stalled")
    assert stalled_job["attempt"] == Settings().max_attempts


def test_each_stalled_try_is_logged(
    stalling: Server, stalled_job: dict[str, Any]
) -> None:
    line = f"job {stalled_job['id']} ends with this process: stalled"

    assert stalling.log().count(line) == stalled_job["attempt"]


@pytest.mark.usefixtures("stalled_job")
def test_predictions_know_nothing_of_a_stalled_training(stalling: Server) -> None:
    response = stalling.client.post("/predict", json=EMILY)

    assert (response.status_code, response.json()["model_version"]) == (200, 1)
