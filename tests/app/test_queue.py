"""GET /train, the list of jobs, and the bound of the queue."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.app.answers import EMILY, assert_problem, faults
from tests.app.training import BRIEF, ENDLESS, newest, start
from tests.server import Server, wait_for


def test_jobs_are_listed_newest_first_page_by_page(trainer: Server) -> None:
    client = trainer.client
    first, second, third = (client.post("/train", json=BRIEF).json() for _ in range(3))

    page = client.get("/train?limit=2").json()
    following = client.get(f"/train?limit=2&before={page['next']}").json()

    assert [job["id"] for job in page["jobs"]] == [third["id"], second["id"]]
    assert following["jobs"][0]["id"] == first["id"]


def test_the_last_page_has_no_next(trainer: Server) -> None:
    trainer.client.post("/train", json=BRIEF)

    page = trainer.client.get("/train?limit=100&before=50").json()

    assert page["next"] is None


@pytest.mark.usefixtures("article_job")
def test_jobs_are_listed_by_state(trainer: Server) -> None:
    succeeded = trainer.client.get("/train?state=succeeded").json()["jobs"]
    failed = trainer.client.get("/train?state=failed").json()["jobs"]

    assert {job["state"] for job in succeeded} == {"succeeded"}
    assert {job["state"] for job in failed} <= {"failed"}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("state=done", "state"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("before=-1", "before"),
        ("before=x", "before"),
        ("before=99999999999", "before"),
    ],
)
def test_a_bad_query_of_the_list_is_refused(
    client: httpx.Client, query: str, parameter: str
) -> None:
    response = client.get(f"/train?{query}")

    assert_problem(response, 422, "invalid")
    assert faults(response)[0][0] == parameter


@pytest.mark.parametrize("path", ["/train/{}", "/models/{}", "/models/{}/weights"])
@pytest.mark.parametrize(
    "number",
    [
        "999999",
        "0",
        "-1",
        "abc",
        "1.5",
        "1.0",
        "+1",
        "%201",
        "1e0",
        "%D9%A1",
        "%00",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f",
        "2147483648",
        "9" * 1000,
    ],
    ids=lambda number: number[:20],
)
@pytest.mark.usefixtures("article_job")  # so that there is a job 1
def test_what_names_no_job_or_version_is_not_found(
    trainer: Server, path: str, number: str
) -> None:
    response = trainer.client.get(path.format(number))

    assert_problem(response, 404, "not-found")


@pytest.fixture(scope="module")
def full_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that trains, with one job waiting, which is all that may."""
    data_dir = tmp_path_factory.mktemp("full") / "data"
    with Server(data_dir, environment={"OFFSETNET_QUEUE_LIMIT": "1"}) as running:
        start(running, **ENDLESS)
        running.client.post("/train", json=ENDLESS)
        yield running


def test_c10_a_full_queue_takes_no_job(full_server: Server) -> None:
    before = newest(full_server.client)

    response = full_server.client.post("/train")

    assert_problem(response, 503, "queue-full")
    assert response.headers["Retry-After"] == "1"
    assert newest(full_server.client) == before


def test_a_full_queue_does_not_disturb_predictions(full_server: Server) -> None:
    response = full_server.client.post("/predict", json=EMILY)

    assert response.status_code == 200


def test_a_running_job_tells_how_far_it_is(full_server: Server) -> None:
    client = full_server.client

    job = wait_for(lambda: _with_progress(client.get("/train/1").json()))

    assert 0 < job["progress"] < 1
    assert job["eta_seconds"] > 0
    assert job["history"][-1][0] == job["epoch"]


def _with_progress(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["epoch"] else None
