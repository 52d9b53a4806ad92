"""What the tests of the service share beside the server that nobody trains on."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.training import SAMPLE, train_on_csv
from tests.server import Server


@pytest.fixture(scope="session")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests train on: its jobs and its active version change."""
    with Server(tmp_path_factory.mktemp("trainer") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def article_job(trainer: Server) -> dict[str, Any]:
    """A finished job that trained the article's network."""
    return trainer.wait_for_job(trainer.client.post("/train").json()["id"])


@pytest.fixture(scope="session")
def sample_job(trainer: Server) -> dict[str, Any]:
    """A finished job that trained on 2,000 people and left the active version."""
    return train_on_csv(trainer, SAMPLE, epochs=20, promote="never")
