"""The queue by itself, from the submitters' side and from the owners', on SQLite."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import delete, insert, select, text, update

from app.claims import Claim, Claims, LostJobError, Progress, Result, StaleChampionError
from app.gate import PROMOTED, Comparison, Decision
from app.job_words import FINAL
from app.jobs import (
    ANYBODY,
    CallerLimitError,
    FinishedJobError,
    Jobs,
    KeyReusedError,
    Origin,
    QueueFullError,
    Submission,
    UnknownJobError,
    change,
)
from app.purging import KEY_SECONDS, PURGED_DATASETS, PURGED_JOBS, purge, sweep
from app.settings import Settings
from app.store import Store
from app.tables import datasets, jobs, now
from app.versions import Versions
from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    SHIPPED_SHA256,
    Dataset,
    Metrics,
    load_shipped,
)

KEEP_SECONDS: Final = 100.0
OTHERS: Final = Dataset(X=ARTICLE_PEOPLE.X + 1, y=ARTICLE_PEOPLE.y)
REQUEST: Final = Submission(
    data=ARTICLE_PEOPLE,
    config=ARTICLE_CONFIG,
    promote="if_better",
    note="a note",
    warnings=("a warning",),
)
METRICS: Final = Metrics(mse=0.1, log_loss=0.2, accuracy=0.9, calibration_error=0.03)
COMPARISON: Final = Comparison(METRICS, METRICS, 7)
ALICE: Final = Origin("alice", "her key")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a short queue."""
    return Settings(
        data_dir=tmp_path,
        queue_limit=4,
        caller_limit=2,
        keep_jobs_seconds=KEEP_SECONDS,
        keep_versions=2,
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An empty store."""
    opened = Store(settings)
    opened.prepare()
    yield opened
    opened.close()


def _enqueue(queue: Jobs, origin: Origin = ANYBODY) -> int:
    job_id: int = queue.enqueue(REQUEST, origin)[0]["id"]
    return job_id


def _set(store: Store, job_id: int, **values: object) -> None:
    """Write into a job's row."""
    with store.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def _row(store: Store, job_id: int) -> dict[str, Any]:
    with store.read() as connection:
        query = select(jobs).where(jobs.c.id == job_id)
        return dict(connection.execute(query).mappings().one())


def test_a_job_holds_what_was_asked_for(store: Store, queue: Jobs) -> None:
    job, was_there = queue.enqueue(REQUEST, ALICE)

    row = _row(store, job["id"])
    assert not was_there
    assert {name: row[name] for name in ("state", "rows", "warnings", "attempt")} == {
        "state": "queued",
        "rows": 4,
        "warnings": ["a warning"],
        "attempt": 0,
    }
    assert (row["promote"], row["note"]) == ("if_better", "a note")
    assert (row["dataset_sha256"], row["config"]) == (
        ARTICLE_PEOPLE.sha256,
        ARTICLE_CONFIG.to_dict(),
    )
    assert (row["caller"], row["idempotency_key"]) == ("alice", "her key")
    assert job == row | {"now": job["now"]}
    assert 0 <= job["now"] - row["created_at"] < 5


def test_the_people_of_a_job_are_stored_beside_it(store: Store, queue: Jobs) -> None:
    _enqueue(queue)

    with store.read() as connection:
        stored = connection.execute(select(datasets)).one()
    assert tuple(stored) == (ARTICLE_PEOPLE.sha256, 4, ARTICLE_PEOPLE.to_buffer())


def test_the_same_request_under_a_key_is_the_same_job(queue: Jobs) -> None:
    first = _enqueue(queue, ALICE)

    again, was_there = queue.enqueue(REQUEST, ALICE)

    assert (again["id"], was_there) == (first, True)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(REQUEST, data=OTHERS), id="people"),
        pytest.param(
            replace(REQUEST, config=replace(ARTICLE_CONFIG, seed=1)), id="config"
        ),
        pytest.param(replace(REQUEST, promote="always"), id="promote"),
        pytest.param(replace(REQUEST, note=None), id="note"),
    ],
)
def test_a_key_belongs_to_one_request(queue: Jobs, other: Submission) -> None:
    _enqueue(queue, ALICE)

    with pytest.raises(KeyReusedError) as refusal:
        queue.enqueue(other, ALICE)

    assert str(refusal.value) == "this key came with another request before"


@pytest.mark.parametrize(
    "origin",
    [Origin("bob", "her key"), Origin("alice", "another"), Origin("alice")],
    ids=["another-caller", "another-key", "no-key"],
)
def test_another_caller_or_key_is_another_job(queue: Jobs, origin: Origin) -> None:
    first = _enqueue(queue, ALICE)

    assert _enqueue(queue, origin) != first


def test_without_keys_equal_requests_are_two_jobs(queue: Jobs) -> None:
    assert _enqueue(queue) != _enqueue(queue)


def test_a_full_queue_says_how_many_wait(queue: Jobs) -> None:
    for _ in range(4):
        _enqueue(queue)

    with pytest.raises(QueueFullError) as refusal:
        _enqueue(queue)

    assert str(refusal.value) == "4 jobs are waiting"


def test_a_caller_at_its_limit_is_told_so_and_others_are_not(queue: Jobs) -> None:
    for key in "ab":
        _enqueue(queue, Origin("alice", key))

    with pytest.raises(CallerLimitError) as refusal:
        _enqueue(queue, Origin("alice", "c"))

    assert str(refusal.value) == "2 jobs of this key are waiting"
    assert _enqueue(queue, Origin("bob"))


def test_without_a_name_callers_share_the_queue_alone(queue: Jobs) -> None:
    assert len({_enqueue(queue) for _ in range(4)}) == 4


def test_a_job_is_newer_than_every_other_revision(queue: Jobs) -> None:
    first, _ = _enqueue(queue), _enqueue(queue)
    seen = queue.get(first)["revision"]

    newer = queue.newer(first, seen - 1)

    assert newer is not None
    assert (newer["id"], newer["revision"]) == (first, seen)
    assert queue.newer(first, seen) is None


def test_each_change_is_a_revision(store: Store, queue: Jobs) -> None:
    job_id = _enqueue(queue)

    for _ in range(2):
        with store.write() as connection:
            connection.execute(change(note="new").where(jobs.c.id == job_id))

    assert _row(store, job_id)["revision"] == 3


def test_a_job_that_is_not_there_is_named(queue: Jobs) -> None:
    with pytest.raises(UnknownJobError) as refusal:
        queue.get(7)

    assert str(refusal.value) == "there is no job 7"


def test_a_page_that_holds_all_has_no_next(queue: Jobs) -> None:
    ids = [_enqueue(queue) for _ in range(3)]

    page, following = queue.page(state=None, before=None, limit=3)

    assert ([job["id"] for job in page], following) == (ids[::-1], None)


def test_a_page_goes_on_below_its_last_job(queue: Jobs) -> None:
    ids = [_enqueue(queue) for _ in range(3)]

    page, following = queue.page(state=None, before=None, limit=2)
    last, end = queue.page(state=None, before=following, limit=2)

    assert following == page[-1]["id"] == ids[1]
    assert ([job["id"] for job in last], end) == (ids[:1], None)


def test_a_job_that_waits_is_cancelled_for_good(store: Store, queue: Jobs) -> None:
    job_id, other = _enqueue(queue), _enqueue(queue)

    job, is_running = queue.cancel(job_id)

    assert (job["state"], is_running) == ("cancelled", False)
    assert 0 <= job["now"] - job["finished_at"] < 5
    assert _row(store, other)["state"] == "queued"


def test_a_job_that_runs_is_cancelled_while_somebody_works_on_it(
    queue: Jobs, claims: Claims
) -> None:
    job_id = _enqueue(queue)
    claims.take("me")

    job, is_running = queue.cancel(job_id)

    assert (job["state"], is_running) == ("cancelled", True)
    assert (job["owner"], job["lease_until"]) == (None, None)


def test_cancelling_again_changes_nothing(store: Store, queue: Jobs) -> None:
    job_id = _enqueue(queue)
    queue.cancel(job_id)
    before = _row(store, job_id)

    _, is_running = queue.cancel(job_id)

    assert (_row(store, job_id), is_running) == (before, False)


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_what_has_ended_is_not_cancelled(store: Store, queue: Jobs, state: str) -> None:
    job_id = _enqueue(queue)
    _set(store, job_id, state=state)

    with pytest.raises(FinishedJobError) as refusal:
        queue.cancel(job_id)

    assert str(refusal.value) == f"the job has {state}"
    assert _row(store, job_id)["state"] == state


@pytest.mark.parametrize(
    ("state", "age", "is_kept"),
    [
        *((state, KEEP_SECONDS + 9, False) for state in FINAL),
        *((state, KEEP_SECONDS - 9, True) for state in FINAL),
        ("queued", KEEP_SECONDS + 9, True),
        ("running", KEEP_SECONDS + 9, True),
    ],
)
def test_jobs_that_ended_long_ago_are_forgotten(
    store: Store, queue: Jobs, state: str, age: float, *, is_kept: bool
) -> None:
    job_id = _enqueue(queue)
    _set(store, job_id, state=state, finished_at=now() - age, created_at=now() - age)

    purge(store, KEEP_SECONDS)

    found, _ = queue.page(state=None, before=None, limit=9)
    assert [job["id"] for job in found] == [job_id] * is_kept


@pytest.mark.parametrize(
    ("age", "is_kept"), [(KEY_SECONDS - 9, True), (KEY_SECONDS + 9, False)]
)
def test_a_job_with_a_key_is_kept_for_a_day(
    store: Store, queue: Jobs, age: float, *, is_kept: bool
) -> None:
    job_id = _enqueue(queue, ALICE)
    long_ago = now() - KEEP_SECONDS - 9
    _set(store, job_id, state="failed", finished_at=long_ago, created_at=now() - age)

    purge(store, KEEP_SECONDS)

    found, _ = queue.page(state=None, before=None, limit=9)
    assert [job["id"] for job in found] == [job_id] * is_kept


def test_people_are_kept_for_as_long_as_a_job_needs_them(
    store: Store, queue: Jobs
) -> None:
    old, _ = _enqueue(queue), queue.enqueue(replace(REQUEST, data=OTHERS))
    _set(store, old, state="failed", finished_at=now() - KEEP_SECONDS - 9)

    purge(store, KEEP_SECONDS)

    with store.read() as connection:
        kept = connection.scalars(select(datasets.c.sha256)).all()
    assert kept == [OTHERS.sha256]


def test_jobs_are_forgotten_oldest_first_until_none_is_left(
    store: Store, queue: Jobs
) -> None:
    row = _row(store, _enqueue(queue)) | {"state": "failed", "finished_at": 0}
    del row["id"]
    with store.write() as connection:
        connection.execute(delete(jobs))
        connection.execute(insert(jobs), [row] * (PURGED_JOBS + 1))

    goes_on = purge(store, KEEP_SECONDS)
    left, _ = queue.page(state=None, before=None, limit=9)
    is_over = not purge(store, KEEP_SECONDS)

    with store.read() as connection:
        newest = connection.scalar(text("SELECT seq FROM sqlite_sequence"))
        assert connection.scalars(select(jobs.c.id)).all() == []
    assert (goes_on, [job["id"] for job in left], is_over) == (True, [newest], True)


def test_people_that_nobody_needs_are_forgotten_until_none_is_left(
    store: Store,
) -> None:
    rows = [
        {"sha256": str(number), "rows": 0, "content": b""}
        for number in range(PURGED_DATASETS + 1)
    ]
    with store.write() as connection:
        connection.execute(insert(datasets), rows)

    last = str(PURGED_DATASETS)
    places = [sweep(store, after) for after in ("", str(PURGED_DATASETS - 1), last)]

    assert places == [rows[-2]["sha256"], last, ""]

    with store.read() as connection:
        assert connection.scalars(select(datasets.c.sha256)).all() == []


def test_a_job_that_is_handed_back_has_no_owner(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    job_id = _enqueue(queue)
    claims.take("me")

    handed_back = claims.release("me")

    row = _row(store, job_id)
    assert (handed_back, row["state"]) == (1, "queued")
    assert (row["owner"], row["lease_until"], row["started_at"]) == (None, None, None)


def _claim(queue: Jobs, claims: Claims) -> Claim:
    """Enqueue a job and take it."""
    _enqueue(queue)
    claim = claims.take("me")
    assert claim is not None
    return claim


def _result(decision: Decision = PROMOTED, generation: int = 0) -> Result:
    return Result(load_shipped(), COMPARISON, decision, generation)


def test_a_claim_names_its_runner_and_says_what_is_wanted(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    claim = _claim(queue, claims)

    row = _row(store, claim.id)
    assert re.fullmatch("me\\.[0-9a-f]{16}", claim.owner)
    assert [*claim] == [row["id"], row["owner"], 1, "if_better", "a note"]
    assert row["lease_until"] - row["started_at"] == pytest.approx(15, abs=1)


@pytest.mark.parametrize("first", ["silent", "waiting"])
def test_the_oldest_is_taken_be_it_silent_or_waiting(
    store: Store, queue: Jobs, claims: Claims, first: str
) -> None:
    ids = [_enqueue(queue), _enqueue(queue)]
    silent = ids[first == "waiting"]
    _set(store, silent, state="running", owner="you.1", lease_until=0, attempt=1)

    claim = claims.take("me")

    assert claim is not None
    assert (claim.id, claim.attempt) == (ids[0], 1 + (first == "silent"))


LAST_TRY: Final[dict[str, Any]] = {"attempt": 3, "owner": "you.1"}


@pytest.mark.parametrize(
    ("state", "lease_seconds", "becomes"),
    [
        ("succeeded", None, ("succeeded", None)),
        ("running", 9, ("running", None)),
        ("running", -9, ("failed", "lost")),
    ],
    ids=["succeeded", "beating", "silent"],
)
def test_only_who_fell_silent_in_its_last_try_is_lost(  # noqa: PLR0913, PLR0917 - a table
    store: Store,
    queue: Jobs,
    claims: Claims,
    state: str,
    lease_seconds: float | None,
    becomes: tuple[str, str | None],
) -> None:
    job_id = _enqueue(queue)
    until = None if lease_seconds is None else now() + lease_seconds
    _set(store, job_id, **LAST_TRY, state=state, lease_until=until)
    _enqueue(queue)

    claims.take("me")

    row = _row(store, job_id)
    assert (row["state"], row["reason"]) == becomes


def test_who_abandons_its_jobs_leaves_the_last_try_of_others_alone(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    mine, yours = _enqueue(queue), _enqueue(queue)
    until = now() + 9
    _set(store, yours, **LAST_TRY, state="running", lease_until=until)
    _set(store, mine, attempt=3, owner="me.1", state="running", lease_until=until)

    claims.abandon("me", "killed")

    states = [_row(store, job_id)["state"] for job_id in (mine, yours)]
    assert (states, _row(store, mine)["reason"]) == (["failed", "running"], "killed")


def test_a_success_holds_what_came_of_the_job(
    store: Store, queue: Jobs, claims: Claims, versions: Versions
) -> None:
    claim = _claim(queue, claims)
    progress = Progress(3, 0.5, 0.25, ((3, 0.5, 0.25),))

    claims.succeed(claim, progress, _result(Decision("rejected", "not-better")))

    row, version = _row(store, claim.id), versions.describe(1)
    assert {name: row[name] for name in ("state", "outcome", "reason", "metrics")} == {
        "state": "succeeded",
        "outcome": "rejected",
        "reason": "not-better",
        "metrics": COMPARISON.to_dict(),
    }
    assert (row["epoch"], row["train_loss"], row["holdout_loss"]) == (3, 0.5, 0.25)
    assert (row["model_version"], row["owner"], row["lease_until"]) == (1, None, None)
    assert (version["job"], version["note"]) == (claim.id, "a note")
    assert version["sha256"] == SHIPPED_SHA256


def test_where_nothing_serves_the_first_success_does(
    queue: Jobs, claims: Claims, versions: Versions
) -> None:
    claims.succeed(_claim(queue, claims), Progress(), _result())

    version, generation = versions.describe_active()
    assert (version["version"], version["parent"], generation) == (1, None, 1)


def test_a_success_leaves_no_more_versions_than_are_kept(
    queue: Jobs, claims: Claims, versions: Versions
) -> None:
    for _ in range(4):
        claims.succeed(_claim(queue, claims), Progress(), _result(Decision("kept")))

    kept = [version["version"] for version in versions.describe_all()[0]]
    assert kept == [4, 3, 1]  # the newest two, and the number of the shipped one


def test_a_decision_against_another_champion_is_stale(
    queue: Jobs, claims: Claims
) -> None:
    with pytest.raises(StaleChampionError) as refusal:
        claims.succeed(_claim(queue, claims), Progress(), _result(generation=1))

    assert str(refusal.value) == "the active version was set meanwhile"


def test_who_lost_a_job_is_told_which(queue: Jobs, claims: Claims) -> None:
    claim = _claim(queue, claims)
    claims.release("me")

    with pytest.raises(LostJobError) as refusal:
        claims.fail(claim, "diverged")

    assert str(refusal.value) == f"job {claim.id} has another owner"
