"""What the tests of the service share beside the server that nobody trains on."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.training import SAMPLE, train_on_csv
from tests.databases import Databases
from tests.server import Server


@pytest.fixture(scope="module")
def trainer(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server that the tests of a module train on, with each engine in turn."""
    data_dir = tmp_path_factory.mktemp("trainer") / "data"
    with Server(data_dir, environment=databases.new(engine)) as running:
        yield running


@pytest.fixture(scope="module")
def article_job(trainer: Server) -> dict[str, Any]:
    """A finished job that trained the article's network."""
    return trainer.wait_for_job(trainer.client.post("/train").json()["id"])


@pytest.fixture(scope="module")
def sample_job(trainer: Server) -> dict[str, Any]:
    """A finished job that trained on 2,000 people and left the active version."""
    return train_on_csv(trainer, SAMPLE, epochs=20, promote="never")
