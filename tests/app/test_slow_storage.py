"""PostgreSQL that answers slowly, has no connection left, or dies as it commits."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest

from tests.app.answers import EMILY, assert_problem
from tests.app.training import BRIEF, train
from tests.databases import URL, Databases
from tests.middleman import Middleman
from tests.server import UNMEASURED, Server, wait_for

ASKING: Final = 8
REQUESTS: Final = (("POST", "/train"), ("GET", "/train"))
ANSWER_SECONDS: Final = 6.0  # which should take 5
PREDICTION_SECONDS: Final = 1.0


@pytest.fixture(scope="module")
def admin(databases: Databases) -> Iterator[psycopg.Connection]:
    """Whom PostgreSQL always has a connection for."""
    url = databases.postgresql.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE clerk LOGIN")
        connection.execute("GRANT ALL ON SCHEMA public TO clerk")
        yield connection


@pytest.fixture(scope="module")
def middleman(admin: psycopg.Connection) -> Iterator[Middleman]:
    """What answers go through."""
    with (
        tempfile.TemporaryDirectory(prefix="offsetnet-") as folder,
        closing(Middleman(Path(admin.info.host), Path(folder))) as between,
    ):
        yield between


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    admin: psycopg.Connection,
    middleman: Middleman,
) -> Iterator[Server]:
    """A server whose database is that of the clerk, through the middleman."""
    url = f"postgresql://clerk@/{admin.info.dbname}?host={middleman.folder}"
    data_dir = tmp_path_factory.mktemp("slow") / "data"
    with Server(data_dir, environment={**UNMEASURED, URL: url}) as running:
        yield running


@contextmanager
def _exhausted(admin: psycopg.Connection) -> Iterator[None]:
    """Leave the clerk no connection while the block runs."""
    admin.execute("ALTER ROLE clerk CONNECTION LIMIT 0")
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'clerk'"
    )
    try:
        yield
    finally:
        admin.execute("ALTER ROLE clerk CONNECTION LIMIT -1")


def _ask(server: Server) -> tuple[list[httpx.Response], list[httpx.Response]]:
    """Train and list jobs, and predict until all that is answered."""
    predictions: list[httpx.Response] = []
    with ThreadPoolExecutor(ASKING) as pool:
        asked = [
            pool.submit(server.client.request, *REQUESTS[number % 2])
            for number in range(ASKING)
        ]
        while not all(one.done() for one in asked) or len(predictions) < ASKING:
            predictions.append(server.client.post("/predict", json=EMILY))
            predictions.append(server.client.get("/livez"))
    return [one.result() for one in asked], predictions


def _check(server: Server, trouble: AbstractContextManager[None]) -> None:
    """Ask in trouble: who needs the database is told in time, others notice nothing."""
    stored = _jobs(server)

    with trouble:
        refused, predictions = _ask(server)
        degraded = wait_for(lambda: server.client.get("/readyz").json()["degraded"])

    for answer in refused:
        assert_problem(answer, 503, "storage")
        assert answer.headers["Retry-After"] == "1"
        assert answer.elapsed.total_seconds() < ANSWER_SECONDS
    assert {answer.status_code for answer in predictions} == {200}
    assert max(a.elapsed.total_seconds() for a in predictions) < PREDICTION_SECONDS
    assert degraded
    wait_for(lambda: not server.client.get("/readyz").json()["degraded"])
    assert [job_id for job_id in _jobs(server) if job_id not in stored] == []
    assert train(server, **BRIEF)["state"] == "succeeded"


def _jobs(server: Server) -> list[int]:
    """Return the jobs that are stored, where the server can tell."""
    answer = server.client.get("/train")
    return [job["id"] for job in answer.json()["jobs"]] if answer.is_success else []


def test_d14_while_the_database_takes_2_s_for_an_answer_predictions_go_on(
    server: Server, middleman: Middleman
) -> None:
    _check(server, middleman.slow(2))


def test_d14_while_no_connection_is_left_predictions_go_on(
    server: Server, admin: psycopg.Connection
) -> None:
    _check(server, _exhausted(admin))


def test_d14_a_database_that_takes_a_moment_is_waited_for(
    server: Server, middleman: Middleman
) -> None:
    with middleman.slow(0.1):
        assert server.client.post("/train", json=BRIEF).status_code == 202


def test_d14_a_job_whose_commit_was_not_heard_of_is_found_by_its_key(
    server: Server, middleman: Middleman
) -> None:
    key = {"Idempotency-Key": "once"}

    with middleman.losing_commit_after(b"INSERT INTO jobs"):
        unheard = server.client.post("/train", json=BRIEF, headers=key)
    again = server.client.post("/train", json=BRIEF, headers=key)

    assert_problem(unheard, 503, "storage")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert server.wait_for_job(again.json()["id"])["state"] == "succeeded"


def test_d14_a_result_whose_commit_was_not_heard_of_is_stored_once(
    server: Server, middleman: Middleman
) -> None:
    before = server.client.get("/models").json()

    with middleman.losing_commit_after(b"INSERT INTO models"):
        job = train(server, promote="always", config={"epochs": 5})
    following = train(server, **BRIEF)

    after = server.client.get("/models").json()
    made = [model["job"] for model in after["models"] if model["job"] == job["id"]]
    assert (job["state"], job["attempt"], job["outcome"]) == (
        "succeeded",
        1,
        "promoted",
    )
    assert len(made) == 1
    assert after["generation"] == before["generation"] + 1
    assert following["state"] == "succeeded"
