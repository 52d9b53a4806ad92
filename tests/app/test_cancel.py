"""DELETE /train/{id}: a job is cancelled in whatever state it is."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import numpy as np
import pytest
from sqlalchemy import func, select

from app.claims import Claim, Claims, LostJobError, Progress, Result
from app.gate import PROMOTED
from app.jobs import FinishedJobError, Jobs, Submission
from app.settings import Settings
from app.store import Store
from app.tables import models
from app.versions import Versions
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, load_shipped
from tests.app.answers import EMILY, assert_problem
from tests.app.processes import children, is_alive
from tests.app.training import BRIEF, FOUR, train
from tests.databases import URL, Databases
from tests.server import Server, wait_for

ROUNDS: Final = 20
ENDLESS: Final = {
    "examples": FOUR * 50,
    "config": {"epochs": 10_000, "batch_size": 1, "holdout": 0},
}


class Story(NamedTuple):
    """What a server said while one job ran, one waited, and both were cancelled.

    Attributes:
        before: The versions that there were.
        waiting: The answer to cancelling the job that waited.
        running: The answer to cancelling the job that ran.
        seconds: Until that was seen to be cancelled.
        prediction: The answer to a prediction right afterwards.
        again: The answers to cancelling both again.
        cancelled: Both jobs as they are shown and listed in the end.
        listed: The cancelled jobs as they are listed.
        following: The job after them, at its end.
        after: The versions that there are.
    """

    before: dict[str, Any]
    waiting: httpx.Response
    running: httpx.Response
    seconds: float
    prediction: httpx.Response
    again: list[httpx.Response]
    cancelled: list[dict[str, Any]]
    listed: list[dict[str, Any]]
    following: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def story(trainer: Server) -> Story:
    """Two jobs that were cancelled, on each engine."""
    client = trainer.client
    ids = [_submit(trainer, ENDLESS), _submit(trainer, BRIEF)]
    wait_for(lambda: _get(trainer, ids[0])["state"] == "running")
    (runner,) = children(trainer.process.pid)
    before = client.get("/models").json()
    waiting, began = _cancel(trainer, ids[1]), time.monotonic()
    running = _cancel(trainer, ids[0])
    wait_for(lambda: _get(trainer, ids[0])["state"] == "cancelled")
    seconds = time.monotonic() - began
    prediction = client.post("/predict", json=EMILY)
    wait_for(lambda: not is_alive(runner))
    following = trainer.wait_for_job(_submit(trainer, BRIEF))
    return Story(
        before=before,
        waiting=waiting,
        running=running,
        seconds=seconds,
        prediction=prediction,
        again=[_cancel(trainer, job_id) for job_id in ids],
        cancelled=[_get(trainer, job_id) for job_id in ids],
        listed=client.get("/train?state=cancelled").json()["jobs"],
        following=following,
        after=client.get("/models").json(),
    )


def _submit(server: Server, request: dict[str, Any]) -> int:
    job_id: int = server.client.post("/train", json=request).json()["id"]
    return job_id


def _cancel(server: Server, job_id: int) -> httpx.Response:
    return server.client.delete(f"/train/{job_id}")


def _get(server: Server, job_id: int) -> dict[str, Any]:
    job: dict[str, Any] = server.client.get(f"/train/{job_id}").json()
    return job


def test_c14_a_job_that_waits_is_cancelled_at_once(story: Story) -> None:
    job = story.waiting.json()

    assert (story.waiting.status_code, job["state"]) == (200, "cancelled")
    assert (job["attempt"], job["started_at"]) == (0, None)
    assert job["finished_at"] > job["created_at"]


def test_c14_a_running_job_is_cancelled_while_its_runner_stops(story: Story) -> None:
    # The fixture has seen it cancelled, and the runner gone.
    assert story.running.status_code == 202
    assert story.running.json()["state"] in {"running", "cancelled"}
    assert story.seconds < 2


def test_predictions_go_on_while_a_job_is_cancelled(story: Story) -> None:
    assert story.prediction.status_code == 200


def test_the_next_job_runs_after_a_cancelled_one(story: Story) -> None:
    assert (story.following["state"], story.following["attempt"]) == ("succeeded", 1)


def test_c14_nothing_comes_of_a_cancelled_job(story: Story) -> None:
    for job in story.cancelled:
        assert (job["outcome"], job["reason"], job["metrics"]) == (None, None, None)
        assert (job["model_version"], job["links"]["model"]) == (None, None)
        assert job["eta_seconds"] is None
    following, *others = story.after["models"]
    assert following["job"] == story.following["id"]
    assert all(model in story.before["models"] for model in others)
    assert story.after["generation"] == story.before["generation"]


def test_c14_a_job_may_be_cancelled_again(story: Story) -> None:
    assert [answer.status_code for answer in story.again] == [200, 200]
    assert [answer.json() for answer in story.again] == story.cancelled


def test_cancelled_jobs_are_listed_as_such(story: Story) -> None:
    assert story.listed[:2] == story.cancelled[::-1]


def test_c14_a_job_that_succeeded_stays_so(trainer: Server) -> None:
    job = train(trainer, **BRIEF)

    response = _cancel(trainer, job["id"])

    assert_problem(response, 409, "job-finished")
    assert _get(trainer, job["id"]) == job


def test_c14_a_job_that_failed_stays_so(trainer: Server) -> None:
    job = _failed(trainer)

    response = _cancel(trainer, job["id"])

    assert_problem(response, 409, "job-finished")
    assert _get(trainer, job["id"]) == job


def _failed(server: Server) -> dict[str, Any]:
    """Return a job that diverged, as no request could ask for."""
    config = replace(ARTICLE_CONFIG, learning_rate=1e308, momentum=0.9)
    store = Store(server.settings())
    job, _ = Jobs(store, server.settings()).enqueue(_submission(config=config))
    store.close()
    _submit(server, BRIEF)  # which wakes the runner
    failed = server.wait_for_job(job["id"])
    assert failed["state"] == "failed"
    return failed


def _submission(**changes: Any) -> Submission:
    submission = Submission(
        data=ARTICLE_PEOPLE,
        config=ARTICLE_CONFIG,
        promote="always",
        note=None,
        warnings=(),
    )
    return replace(submission, **changes)


@pytest.mark.parametrize("number", ["999999", "0", "-1", "x", "1.0", "9" * 1000])
def test_an_unknown_job_cannot_be_cancelled(trainer: Server, number: str) -> None:
    response = trainer.client.delete(f"/train/{number}")

    assert_problem(response, 404, "not-found")


def test_c14_a_cancel_that_races_with_completion_has_one_outcome(
    trainer: Server,
) -> None:
    request = {"promote": "never", "config": {"epochs": 20}}

    for polls in np.random.default_rng(0).integers(6, size=ROUNDS // 2):
        job_id = _submit(trainer, request)
        assert any(_get(trainer, job_id)["state"] != "queued" for _ in range(5000))
        for _ in range(polls):
            _get(trainer, job_id)
        cancel = _cancel(trainer, job_id)

        job = trainer.wait_for_job(job_id)
        assert (cancel.status_code, job["state"], job["model_version"] is None) in {
            (202, "cancelled", True),
            (409, "succeeded", False),
        }


@pytest.fixture
def settings(tmp_path: Path, databases: Databases, engine: str) -> Settings:
    """Settings with a database of their own, on each engine."""
    url = databases.new(engine).get(URL)
    return Settings.model_validate({"data_dir": tmp_path, "database_url": url})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store with the shipped version."""
    opened = Store(settings)
    Versions(opened, settings).prepare()
    yield opened
    opened.close()


def test_c14_of_a_cancel_and_a_success_at_once_one_wins(
    store: Store, settings: Settings
) -> None:
    queue, claims = Jobs(store, settings), Claims(store, settings)

    for _ in range(ROUNDS):
        queue.enqueue(_submission())
        claim = claims.take("me")
        assert claim is not None
        generation = Versions(store, settings).champion().generation
        before = _count_versions(store)
        is_cancelled, has_succeeded = _at_once(queue, claims, claim, generation)

        job = queue.get(claim.id)
        assert is_cancelled != has_succeeded
        assert job["state"] == ("cancelled" if is_cancelled else "succeeded")
        assert (job["model_version"] is None) == is_cancelled
        assert _count_versions(store) == before + has_succeeded


def _at_once(
    queue: Jobs, claims: Claims, claim: Claim, generation: int
) -> tuple[bool, bool]:
    """Cancel and finish a job in two threads; tell which of the two was possible."""
    barrier = threading.Barrier(2)
    result = Result(load_shipped(), None, PROMOTED, generation)

    def cancel() -> bool:
        barrier.wait()
        try:
            queue.cancel(claim.id)
        except FinishedJobError:
            return False
        return True

    def succeed() -> bool:
        barrier.wait()
        try:
            claims.succeed(claim, Progress(), result)
        except LostJobError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        cancelled, succeeded = pool.submit(cancel), pool.submit(succeed)
    return cancelled.result(), succeeded.result()


def _count_versions(store: Store) -> int:
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(models)) or 0
