"""What older releases left in their databases is whole under this one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from sqlalchemy import text, update

from app.settings import Settings
from app.store import Store
from app.tables import schema
from app.upgrades import SCHEMA_VERSION
from tests.app.answers import EMILY
from tests.app.processes import runner_of
from tests.app.training import BRIEF, train
from tests.databases import URL, Databases
from tests.schemas.frozen import KEY, WAITING, answers, ask, restore, shape
from tests.server import Server, wait_for

EVER: Final = {"OFFSETNET_KEEP_JOBS_SECONDS": "1e11"}  # what was frozen grows old
SCHEMAS: Final = range(1, SCHEMA_VERSION + 1)


class Old(NamedTuple):
    """A server of this release on a database of an older one."""

    number: int
    engine: str
    server: Server


@pytest.fixture(scope="module", params=SCHEMAS, ids="schema {}".format)
def old(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    databases: Databases,
    engine: str,
) -> Iterator[Old]:
    """Each schema that was ever released, with each engine."""
    folder = tmp_path_factory.mktemp("old") / "data"
    environment = restore(databases, engine, request.param, folder)
    with Server(folder, environment={**environment, **EVER}) as server:
        yield Old(request.param, engine, server)


def _as_it_was(before: Any, now: Any) -> None:
    """Check that all that was said is still said, whatever is said besides."""
    if isinstance(before, dict):
        assert before.keys() <= now.keys()
        for name, value in before.items():
            _as_it_was(value, now[name])
    elif isinstance(before, float):
        assert now == pytest.approx(before, rel=0, abs=1e-12)  # computed elsewhere
    else:
        assert now == before


def test_versions_jobs_and_predictions_are_as_they_were(old: Old) -> None:
    _as_it_was(answers(old.number, old.engine), ask(old.server.client))


def test_a_job_that_waited_is_done_and_answers_to_its_key(old: Old) -> None:
    again = old.server.client.post("/train", json=WAITING, headers=KEY)

    job = old.server.wait_for_job(again.json()["id"])

    assert again.headers["Idempotency-Replayed"] == "true"
    assert (job["id"], job["state"], job["note"]) == (3, "succeeded", "waits")


def test_a_new_training_goes_on_counting(old: Old) -> None:
    job = train(old.server, **BRIEF)

    assert (job["id"], job["state"]) == (5, "succeeded")
    assert job["model_version"] == 5


@pytest.fixture
def upgraded_meanwhile(old: Old) -> Iterator[Server]:
    """The server while its database has a schema that it does not know."""
    _set_number(old.server, SCHEMA_VERSION + 1)
    yield old.server
    _set_number(old.server, SCHEMA_VERSION)


def _set_number(server: Server, number: int) -> None:
    store = Store(server.settings())
    with store.write() as connection:
        connection.execute(update(schema).values(version=number))
    store.close()


def test_beside_a_newer_release_a_server_goes_on_but_a_new_runner_refuses(
    upgraded_meanwhile: Server,
) -> None:
    server = upgraded_meanwhile

    os.kill(runner_of(server.process.pid), signal.SIGKILL)
    wait_for(lambda: "start a newer release" in server.log())
    job = server.client.post("/train", json=BRIEF).json()

    assert job["state"] == "queued"
    assert server.client.post("/predict", json=EMILY).is_success
    assert server.client.delete(f"/train/{job['id']}").json()["state"] == "cancelled"


@pytest.mark.parametrize("number", SCHEMAS)
def test_upgraded_tables_are_those_of_an_empty_database(
    tmp_path: Path, databases: Databases, engine: str, number: int
) -> None:
    environment = restore(databases, engine, number, tmp_path / "old")

    upgraded = _shape(tmp_path / "old", environment)

    assert upgraded == _shape(tmp_path / "new", databases.new(engine))


def test_an_index_that_was_made_by_hand_before_the_upgrade_is_taken(
    tmp_path: Path, databases: Databases, engine: str
) -> None:
    environment = restore(databases, engine, 1, tmp_path / "old")
    by_hand = Store(_settings(tmp_path / "old", environment))
    with by_hand.write() as connection:
        connection.execute(text("CREATE INDEX jobs_by_end ON jobs (finished_at)"))
    by_hand.close()

    upgraded = _shape(tmp_path / "old", environment)

    assert upgraded == _shape(tmp_path / "new", databases.new(engine))


def _shape(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Return the shape of the tables in a database that this release has opened."""
    store = Store(_settings(folder, environment))
    store.prepare()
    with store.read() as connection:
        found = shape(connection)
    store.close()
    return found


def _settings(folder: Path, environment: dict[str, str]) -> Settings:
    url = environment.get(URL)
    return Settings.model_validate({"data_dir": folder, "database_url": url})
