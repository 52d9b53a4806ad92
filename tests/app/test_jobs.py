"""Jobs from enqueued to finished, on real databases and with real concurrency."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import Table, delete, select, update
from sqlalchemy.exc import IntegrityError, StatementError

from app.claims import Claim, Claims, LostJobError, Progress, Result, StaleChampionError
from app.engines import has_safe_wal
from app.gate import PROMOTED, Decision
from app.job_words import Promote
from app.jobs import Jobs, QueueFullError, Submission, UnknownJobError
from app.metrics import Metrics
from app.registry import Registry
from app.settings import Settings
from app.store import Store, StoreError
from app.tables import active, datasets, jobs, metadata, models
from app.versions import Versions
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, ArtifactError, Dataset, load_shipped
from tests.databases import URL, Databases
from tests.server import wait_for

THREADS: Final = 4
PROGRESS: Final = Progress(3, 0.5, None, ((3, 0.5, None),))
ME: Final = "me"
SUCCESS: Final = Result(load_shipped(), None, PROMOTED, 1)
KEPT: Final = SUCCESS._replace(decision=Decision("kept"))

T = TypeVar("T")


@pytest.fixture(scope="module")
def url(databases: Databases, engine: str) -> str | None:
    """The address of a database for one test after the other, None for SQLite."""
    return databases.new(engine).get(URL)


@pytest.fixture
def settings(tmp_path: Path, url: str | None) -> Iterator[Settings]:
    """Settings under which an owner may be silent for 0.3 s, and twice."""
    chosen = Settings(
        data_dir=tmp_path,
        database_url=SecretStr(url) if url else None,
        lease_seconds=0.3,
        beat_seconds=0.05,
        max_attempts=2,
        queue_limit=20,
    )
    yield chosen
    store = Store(chosen)
    with store.write() as connection:
        metadata.drop_all(connection)
    store.close()


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store with the shipped version."""
    opened = Store(settings)
    Versions(opened, settings).prepare()
    yield opened
    opened.close()


@pytest.fixture
def claim(queue: Jobs, claims: Claims) -> Claim:
    """A job that is claimed."""
    _enqueue(queue)
    return _taken(claims)


@pytest.fixture
def lost_claim(claim: Claim, claims: Claims) -> Claim:
    """A claim whose job went to another owner."""
    wait_for(lambda: claims.take(ME))
    return claim


def _submission(promote: Promote = "always", weight: float = 0) -> Submission:
    """Make a request to train on the article's people and one more."""
    return Submission(
        data=Dataset(
            X=np.vstack([ARTICLE_PEOPLE.X, [weight, 0]]),
            y=np.vstack([ARTICLE_PEOPLE.y, [1]]),
        ),
        config=ARTICLE_CONFIG,
        promote=promote,
        note=None,
        warnings=(),
    )


def _enqueue(
    queue: Jobs, promote: Promote = "always", weight: float = 0
) -> dict[str, Any]:
    return queue.enqueue(_submission(promote, weight))[0]


def _taken(claims: Claims) -> Claim:
    claim = claims.take(ME)
    assert claim is not None
    return claim


def _has_succeeded(claims: Claims, claim: Claim, generation: int) -> bool:
    """Finish a job, unless the active version was set meanwhile."""
    try:
        claims.succeed(claim, PROGRESS, SUCCESS._replace(generation=generation))
    except StaleChampionError:
        return False
    return True


def _write_half(store: Store) -> None:
    """Change every job and fail before the end."""
    with store.write() as connection:
        connection.execute(update(jobs).values(state="failed"))
        raise RuntimeError


def _rows(store: Store, *tables: Table) -> list[list[Any]]:
    """Return all that stands in these tables."""
    with store.read() as connection:
        return [list(map(tuple, connection.execute(select(one)))) for one in tables]


def _at_once(settings: Settings, work: Callable[[Store], T]) -> list[T]:
    """Do the same in several threads at once, each with a store of its own."""
    barrier = threading.Barrier(THREADS)

    def one(_: int) -> T:
        barrier.wait()
        opened = Store(settings)
        try:
            return work(opened)
        finally:
            opened.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


def test_the_oldest_job_is_taken_first(queue: Jobs, claims: Claims) -> None:
    ids = [_enqueue(queue)["id"] for _ in range(3)]

    taken = [_taken(claims).id for _ in range(3)]

    assert taken == ids


def test_without_jobs_there_is_nothing_to_take(claims: Claims) -> None:
    assert claims.take(ME) is None


def test_a_claim_holds_what_was_submitted(queue: Jobs, claims: Claims) -> None:
    submission = _submission(promote="never")
    queue.enqueue(submission)

    claim = _taken(claims)

    assert claims.read(claim) == (bytes(submission.data.to_buffer()), submission.config)
    assert claim.promote == "never"
    assert claim.attempt == 1


def test_a_taken_job_is_running(queue: Jobs, claim: Claim) -> None:
    job = queue.get(claim.id)

    assert (job["state"], job["attempt"]) == ("running", 1)
    assert job["started_at"] >= job["created_at"]


def test_e7_two_claimers_never_get_the_same_job(
    settings: Settings, queue: Jobs
) -> None:
    settings = settings.model_copy(update={"lease_seconds": 60.0})
    ids = [_enqueue(queue)["id"] for _ in range(20)]

    def take_all(store: Store) -> list[int]:
        claims, taken = Claims(store, settings), []
        while claim := claims.take(ME):
            taken.append(claim.id)
        return taken

    taken = _at_once(settings, take_all)

    assert sorted(chain.from_iterable(taken)) == ids


@pytest.mark.usefixtures("store")
def test_the_queue_s_bound_holds_under_concurrency(settings: Settings) -> None:
    settings = settings.model_copy(update={"queue_limit": 5})

    def enqueue_all(store: Store) -> int:
        queue, accepted = Jobs(store, settings), 0
        with suppress(QueueFullError):
            while True:
                _enqueue(queue)
                accepted += 1
        return accepted

    accepted = _at_once(settings, enqueue_all)

    assert sum(accepted) == 5


def test_servers_that_start_at_once_ship_one_version(settings: Settings) -> None:
    def ship(store: Store) -> list[int]:
        versions = Versions(store, settings)
        versions.prepare()
        return [row["version"] for row in versions.describe_all()[0]]

    assert _at_once(settings, ship) == [[1]] * THREADS


def test_running_jobs_do_not_count_as_waiting(settings: Settings, store: Store) -> None:
    settings = settings.model_copy(update={"queue_limit": 1})
    queue, claims = Jobs(store, settings), Claims(store, settings)
    _enqueue(queue)
    _taken(claims)

    job = _enqueue(queue)

    assert job["state"] == "queued"


def test_a_full_queue_stores_nothing(settings: Settings, store: Store) -> None:
    settings = settings.model_copy(update={"queue_limit": 1})
    queue = Jobs(store, settings)
    _enqueue(queue)
    before = _rows(store, jobs, datasets)

    with pytest.raises(QueueFullError):
        _enqueue(queue, weight=1)

    assert _rows(store, jobs, datasets) == before


def test_a_silent_owner_loses_its_job(claim: Claim, claims: Claims) -> None:
    second = wait_for(lambda: claims.take(ME))

    assert (second.id, second.attempt) == (claim.id, 2)
    assert second.owner != claim.owner


def test_an_owner_that_beats_keeps_its_job(
    settings: Settings, store: Store, queue: Jobs
) -> None:
    claims = Claims(store, settings.model_copy(update={"lease_seconds": 0.8}))
    _enqueue(queue)
    claim = _taken(claims)
    end = time.monotonic() + 1.2

    while time.monotonic() < end:
        assert claims.beat(claim, PROGRESS)
        assert claims.take(ME) is None


def test_a_beat_reports_the_progress(queue: Jobs, claim: Claim, claims: Claims) -> None:
    claims.beat(claim, PROGRESS)

    job = queue.get(claim.id)
    assert (job["epoch"], job["train_loss"]) == (3, 0.5)
    assert job["history"] == [[3, 0.5, None]]


def test_a_new_attempt_starts_without_progress(
    queue: Jobs, claim: Claim, claims: Claims
) -> None:
    claims.beat(claim, PROGRESS)

    wait_for(lambda: claims.take(ME))

    job = queue.get(claim.id)
    assert (job["epoch"], job["train_loss"], job["history"]) == (0, None, [])


def test_a_lost_owner_s_beat_tells_so_and_changes_nothing(
    store: Store, lost_claim: Claim, claims: Claims
) -> None:
    before = _rows(store, jobs)

    is_mine = claims.beat(lost_claim, PROGRESS)

    assert not is_mine
    assert _rows(store, jobs) == before


def _set_clock(store: Store, seconds: float) -> None:
    """Let the database's clock jump: move all that was timed by it the other way."""
    times = ("created_at", "started_at", "lease_until")
    with store.write() as connection:
        moved = {name: jobs.c[name] - seconds for name in times}
        connection.execute(update(jobs).values(moved))


def test_d15_a_clock_that_jumps_a_day_ahead_costs_one_attempt(
    store: Store, settings: Settings, queue: Jobs
) -> None:
    claims = Claims(store, settings.model_copy(update={"lease_seconds": 15}))
    _enqueue(queue)
    first = _taken(claims)

    _set_clock(store, 86_400)

    second = _taken(claims)
    assert (second.id, second.attempt) == (first.id, 2)
    with pytest.raises(LostJobError):
        claims.succeed(first, PROGRESS, SUCCESS)
    assert claims.beat(second, PROGRESS)
    assert claims.take(ME) is None


def test_d15_a_clock_that_is_set_back_delays_recovery_and_makes_no_two_winners(
    store: Store, settings: Settings, queue: Jobs
) -> None:
    claims = Claims(store, settings.model_copy(update={"lease_seconds": 15}))
    older = _enqueue(queue)["id"]
    silent = _taken(claims)

    _set_clock(store, -3_600)

    newer = _enqueue(queue, weight=1)["id"]
    assert _taken(claims).id == newer  # the silent one's lease still runs
    _set_clock(store, 3_600 + 60)
    assert _taken(claims).id == older
    with pytest.raises(LostJobError):
        claims.succeed(silent, PROGRESS, SUCCESS)


def test_d15_jobs_are_in_the_order_of_their_numbers_whatever_the_clock_says(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    first = _enqueue(queue)["id"]
    _set_clock(store, -3_600)
    second = _enqueue(queue, weight=1)["id"]

    listed, _ = queue.page(state=None, before=None, limit=10)

    assert [job["id"] for job in listed] == [second, first]
    assert _taken(claims).id == first


@pytest.mark.parametrize(
    "finish",
    [
        pytest.param(
            lambda claims, claim: claims.succeed(claim, PROGRESS, SUCCESS), id="succeed"
        ),
        pytest.param(lambda claims, claim: claims.fail(claim, "error"), id="fail"),
    ],
)
def test_d3_a_lost_owner_finishes_nothing(
    store: Store,
    lost_claim: Claim,
    claims: Claims,
    finish: Callable[[Claims, Claim], None],
) -> None:
    before = _rows(store, jobs, models, active)

    with pytest.raises(LostJobError):
        finish(claims, lost_claim)

    assert _rows(store, jobs, models, active) == before


def test_a_process_releases_no_other_s_job(
    store: Store, claim: Claim, claims: Claims
) -> None:
    assert claim.owner.startswith(ME)
    before = _rows(store, jobs)

    claims.release("another")

    assert _rows(store, jobs) == before


def test_a_final_job_stays_as_it_is(store: Store, claim: Claim, claims: Claims) -> None:
    claims.succeed(claim, PROGRESS, SUCCESS)
    before = _rows(store, jobs, models, active)

    with pytest.raises(LostJobError):
        claims.fail(claim, "error")

    assert _rows(store, jobs, models, active) == before


def test_after_its_last_attempt_a_job_is_lost(
    queue: Jobs, lost_claim: Claim, claims: Claims
) -> None:
    def job_when_final() -> dict[str, Any] | None:
        assert claims.take(ME) is None
        job = queue.get(lost_claim.id)
        return job if job["state"] != "running" else None

    job = wait_for(job_when_final)

    assert (job["state"], job["reason"], job["attempt"]) == ("failed", "lost", 2)
    assert job["finished_at"] is not None


def test_a_lost_job_does_not_hold_the_others_up(
    queue: Jobs, lost_claim: Claim, claims: Claims
) -> None:
    following = _enqueue(queue)

    taken = wait_for(lambda: claims.take(ME))

    assert taken.id == following["id"] > lost_claim.id


def test_a_released_job_waits_again_and_the_try_does_not_count(
    queue: Jobs, claim: Claim, claims: Claims
) -> None:
    claims.release(ME)

    job = queue.get(claim.id)
    assert (job["state"], job["attempt"], job["started_at"]) == ("queued", 0, None)
    assert _taken(claims).attempt == 1


def test_an_abandoned_job_waits_again_and_the_try_counts(
    queue: Jobs, claim: Claim, claims: Claims
) -> None:
    claims.beat(claim, PROGRESS)

    claims.abandon(ME, "killed")

    job = queue.get(claim.id)
    assert (job["state"], job["attempt"], job["epoch"]) == ("queued", 1, 0)
    assert _taken(claims).attempt == 2


def test_a_job_that_is_abandoned_in_its_last_attempt_fails(
    queue: Jobs, claim: Claim, claims: Claims
) -> None:
    claims.abandon(ME, "killed")
    _taken(claims)

    claims.abandon(ME, "stalled")

    job = queue.get(claim.id)
    assert (job["state"], job["reason"], job["attempt"]) == ("failed", "stalled", 2)


def test_a_process_abandons_no_other_s_job(
    store: Store, claim: Claim, claims: Claims
) -> None:
    assert claim.owner.startswith(ME)
    before = _rows(store, jobs)

    claims.abandon("another", "killed")

    assert _rows(store, jobs) == before


def test_a_failed_job_tells_why_and_leaves_no_version(
    store: Store, queue: Jobs, claim: Claim, claims: Claims
) -> None:
    before = _rows(store, models, active)

    claims.fail(claim, "diverged")

    job = queue.get(claim.id)
    assert (job["state"], job["reason"]) == ("failed", "diverged")
    assert (job["outcome"], job["model_version"]) == (None, None)
    assert _rows(store, models, active) == before


def test_success_stores_activates_and_ends_the_job(
    versions: Versions, queue: Jobs, claim: Claim, claims: Claims
) -> None:
    claims.succeed(claim, PROGRESS, SUCCESS)

    job = queue.get(claim.id)
    row, generation = versions.describe_active()
    assert (job["state"], job["outcome"], job["epoch"]) == ("succeeded", "promoted", 3)
    assert (row["version"], row["previous"], generation) == (job["model_version"], 1, 2)
    assert (row["parent"], row["job"]) == (1, claim.id)


def test_success_without_promotion_leaves_the_active_version(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    _enqueue(queue, promote="never")
    claim = _taken(claims)

    claims.succeed(claim, PROGRESS, KEPT)

    assert queue.get(claim.id)["outcome"] == "kept"
    assert _rows(store, active) == [[(1, 1, None, 1)]]


@pytest.mark.parametrize(
    ("progress", "result", "error"),
    [
        pytest.param(
            PROGRESS, SUCCESS._replace(weights=b"?"), ArtifactError, id="damaged"
        ),
        pytest.param(
            PROGRESS, SUCCESS._replace(generation=7), StaleChampionError, id="stale"
        ),
        pytest.param(
            PROGRESS._replace(history=(object(),)),  # type: ignore[arg-type] # no JSON
            SUCCESS,
            (StatementError, TypeError),
            id="last statement fails",
        ),
    ],
)
def test_success_is_whole_or_not_at_all(  # noqa: PLR0913, PLR0917 - fixtures
    store: Store,
    claim: Claim,
    claims: Claims,
    progress: Progress,
    result: Result,
    error: type[Exception] | tuple[type[Exception], ...],
) -> None:
    before = _rows(store, jobs, models, active)

    with pytest.raises(error):
        claims.succeed(claim, progress, result)

    assert _rows(store, jobs, models, active) == before


def test_e8_versions_under_concurrent_finishing_are_unique(
    settings: Settings, versions: Versions, queue: Jobs
) -> None:
    settings = settings.model_copy(update={"lease_seconds": 60.0})
    for _ in range(THREADS):
        _enqueue(queue)

    def finish_one(store: Store) -> None:
        claims, versions = Claims(store, settings), Versions(store, settings)
        claim = _taken(claims)
        wait_for(lambda: _has_succeeded(claims, claim, versions.champion().generation))

    _at_once(settings, finish_one)

    described, generation = versions.describe_all()
    assert [row["version"] for row in described] == [5, 4, 3, 2, 1]
    assert generation == 1 + THREADS


def test_e8_the_number_of_a_deleted_version_is_not_given_again(
    versions: Versions, queue: Jobs, claims: Claims
) -> None:
    for _ in range(2):
        _enqueue(queue, promote="never")
    claims.succeed(_taken(claims), PROGRESS, KEPT)
    versions.delete(2)

    claims.succeed(_taken(claims), PROGRESS, KEPT)

    assert [row["version"] for row in versions.describe_all()[0]] == [3, 1]


def test_the_active_version_cannot_vanish(store: Store, versions: Versions) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(delete(models))

    registry = Registry(store, versions, Metrics((), ()))
    registry.open()
    assert registry.active.version == 1


def test_a_dataset_is_stored_once(store: Store, queue: Jobs) -> None:
    first, second, other = (_enqueue(queue, weight=weight) for weight in (0, 0, 1))

    stored = [row[0] for row in _rows(store, datasets)[0]]
    assert first["dataset_sha256"] == second["dataset_sha256"]
    assert sorted(stored) == sorted([first["dataset_sha256"], other["dataset_sha256"]])


def test_a_page_ends_where_the_next_begins(queue: Jobs) -> None:
    ids = [_enqueue(queue)["id"] for _ in range(5)]

    first, following = queue.page(state=None, before=None, limit=3)
    second, end = queue.page(state=None, before=following, limit=3)

    assert [job["id"] for job in first + second] == ids[::-1]
    assert end is None


def test_a_page_holds_one_state_where_asked(queue: Jobs, claim: Claim) -> None:
    waiting = _enqueue(queue)

    queued, _ = queue.page(state="queued", before=None, limit=9)
    running, _ = queue.page(state="running", before=None, limit=9)

    assert [job["id"] for job in queued] == [waiting["id"]]
    assert [job["id"] for job in running] == [claim.id]


def test_an_unknown_job_is_not_found(queue: Jobs) -> None:
    with pytest.raises(UnknownJobError):
        queue.get(1)


@pytest.mark.usefixtures("claim")
def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    before = _rows(store, jobs)

    with pytest.raises(RuntimeError):
        _write_half(store)

    assert _rows(store, jobs) == before


def test_a_store_survives_its_closing(
    settings: Settings, store: Store, queue: Jobs
) -> None:
    job = _enqueue(queue)
    store.close()

    reopened = Store(settings)
    found = Jobs(reopened, settings).get(job["id"])
    reopened.close()

    assert found["dataset_sha256"] == job["dataset_sha256"]


def test_the_store_s_clock_is_the_time(queue: Jobs) -> None:
    job = _enqueue(queue)

    assert job["created_at"] == pytest.approx(time.time(), abs=5)
    assert job["now"] == pytest.approx(job["created_at"], abs=5)


def test_d13_what_is_not_a_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "offsetnet.sqlite3"
    path.write_text("not a database\n" * 100)

    with pytest.raises(StoreError, match="not a database"):
        Store(Settings(data_dir=tmp_path)).prepare()

    assert path.read_text() == "not a database\n" * 100


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="Not a directory"):
        Store(Settings(data_dir=tmp_path / "file" / "data")).prepare()


def test_d19_sqlite_syncs_what_it_commits(tmp_path: Path) -> None:
    store = Store(Settings(data_dir=tmp_path))
    store.prepare()

    with store.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        level = connection.exec_driver_sql("PRAGMA synchronous").scalar()

    store.close()
    assert (mode, level) in {("wal", 2), ("truncate", 3)}  # FULL, EXTRA


def test_every_table_is_made(store: Store) -> None:
    assert len(_rows(store, *metadata.sorted_tables)) == 5


@pytest.mark.parametrize(
    ("version", "is_safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
    ids=str,
)
def test_a_write_ahead_log_is_kept_where_sqlite_is_mended(
    version: tuple[int, ...], *, is_safe: bool
) -> None:
    assert has_safe_wal(version) is is_safe
