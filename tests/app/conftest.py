"""What the tests of the service share beside the server that nobody trains on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from app.claims import Claims
from app.jobs import Jobs
from app.settings import Settings
from app.store import Store
from app.versions import Versions
from tests.app.training import SAMPLE, activate, cancel_all, train_on_csv
from tests.databases import Databases
from tests.server import Server


@pytest.fixture(scope="session")
def trainers(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> Iterator[Callable[[str], Server]]:
    """Servers that tests train on, one with each engine, started when first needed."""
    with ExitStack() as running:

        @cache
        def with_engine(engine: str) -> Server:
            data_dir = tmp_path_factory.mktemp("trainer") / "data"
            server = Server(data_dir, environment=databases.new(engine))
            return running.enter_context(server)

        yield with_engine


@pytest.fixture(scope="module")
def trainer(trainers: Callable[[str], Server], engine: str) -> Iterator[Server]:
    """A server that a module trains on, with each engine in turn.

    Modules before it did so too. It has no job to do and serves the shipped version.
    """
    server = trainers(engine)
    yield server
    cancel_all(server)
    activate(server, 1)


@pytest.fixture(scope="module")
def article_job(trainer: Server) -> dict[str, Any]:
    """A finished job that trained the article's network."""
    return trainer.wait_for_job(trainer.client.post("/train").json()["id"])


@pytest.fixture(scope="module")
def sample_job(trainer: Server) -> dict[str, Any]:
    """A finished job that trained on 2,000 people and left the active version."""
    return train_on_csv(trainer, SAMPLE, epochs=20, promote="never")


@pytest.fixture
def queue(store: Store, settings: Settings) -> Jobs:
    """The jobs as their submitters see them, in a module's own store."""
    return Jobs(store, settings)


@pytest.fixture
def claims(store: Store, settings: Settings) -> Claims:
    """The same jobs as their owners see them."""
    return Claims(store, settings)


@pytest.fixture
def versions(store: Store, settings: Settings) -> Versions:
    """The versions in that store."""
    return Versions(store, settings)
