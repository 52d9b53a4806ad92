"""What the tests share: one server for those that do not change its settings."""

from collections.abc import Iterator

import httpx
import pytest

from tests.databases import ENGINES, Databases
from tests.databases import databases as open_databases
from tests.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with default settings, shared by all tests."""
    with Server(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    """A client of the shared server."""
    return server.client


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Databases of either engine."""
    with open_databases() as made:
        yield made


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each database engine in turn."""
    name: str = request.param
    return name
