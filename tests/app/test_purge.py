"""What is kept of old jobs, their data and old versions, and what is not."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from app.claims import Claim, Claims, Progress, Result
from app.gate import Decision
from app.jobs import ANYBODY, Jobs, Origin, Submission
from app.purging import (
    PURGED_DATASETS,
    PURGED_JOBS,
    SWEPT_DATASETS,
    old_jobs,
    purge,
    sweep,
)
from app.settings import Settings
from app.store import Store
from app.tables import datasets, jobs
from app.versions import Versions
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, Dataset, load, load_shipped
from tests.app.training import BRIEF, FOUR
from tests.databases import URL, Databases
from tests.server import Server, wait_for

HOUR: Final = 3_600.0
WEEK: Final = 7 * 24 * HOUR
ROWS: Final = len(ARTICLE_PEOPLE) + 1  # of a job here
KEYED: Final = Origin(caller="someone", idempotency_key="key")
HOLD: Final = "CREATE TABLE hold (sha256 VARCHAR(64) REFERENCES datasets (sha256))"
ORPHAN: Final[dict[str, Any]] = {"sha256": "f" * 64, "rows": 4, "content": b"people"}
PLANS: Final = {
    "sqlite": (
        "EXPLAIN QUERY PLAN",
        "SEARCH jobs USING INDEX jobs_by_end (finished_at<?)",
    ),
    "postgresql": ("EXPLAIN", "Index Cond: (finished_at < "),
}


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Settings:
    """Settings with a database of their own, on each engine."""
    folder, url = tmp_path_factory.mktemp("store"), databases.new(engine).get(URL)
    return Settings.model_validate({"data_dir": folder, "database_url": url})


@pytest.fixture(scope="module")
def opened(settings: Settings) -> Iterator[Store]:
    """An open store with the shipped version."""
    store = Store(settings)
    Versions(store, settings).prepare()
    yield store
    store.close()


@pytest.fixture
def store(opened: Store) -> Store:
    """That store without any job or dataset."""
    with opened.write() as connection:
        connection.execute(delete(jobs))
        connection.execute(delete(datasets))
    return opened


def _enqueue(queue: Jobs, weight: float = 0, origin: Origin = ANYBODY) -> int:
    """Enqueue a job on the article's people and one more."""
    data = Dataset(
        X=np.vstack([ARTICLE_PEOPLE.X, [weight, 0]]),
        y=np.vstack([ARTICLE_PEOPLE.y, [1]]),
    )
    submission = Submission(
        data=data, config=ARTICLE_CONFIG, promote="never", note=None, warnings=()
    )
    job, _ = queue.enqueue(submission, origin)
    job_id: int = job["id"]
    return job_id


def _take(claims: Claims) -> Claim:
    claim = claims.take("me")
    assert claim is not None
    return claim


def _succeed(claims: Claims) -> None:
    result = Result(load_shipped(), None, Decision("kept"), generation=1)
    claims.succeed(_take(claims), Progress(), result)


def _age(store: Store, seconds: float) -> None:
    """Make every job as old as if it had been submitted so much earlier."""
    times = ("created_at", "started_at", "finished_at", "lease_until")
    with store.write() as connection:
        connection.execute(
            update(jobs).values({name: jobs.c[name] - seconds for name in times})
        )


def _jobs(store: Store) -> list[int]:
    with store.read() as connection:
        return list(connection.scalars(select(jobs.c.id).order_by(jobs.c.id)))


def _datasets(store: Store) -> set[str]:
    with store.read() as connection:
        return set(connection.scalars(select(datasets.c.sha256)))


def test_a_job_that_ended_long_ago_goes_with_its_data(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    _enqueue(queue)
    _succeed(claims)
    _age(store, WEEK + 60)

    purge(store, WEEK)

    assert (_jobs(store), _datasets(store)) == ([], set())


@pytest.mark.parametrize("end", ["fail", "cancel", "cancel while running"])
def test_it_goes_however_it_ended(
    store: Store, queue: Jobs, claims: Claims, end: str
) -> None:
    job_id = _enqueue(queue)
    claim = None if end == "cancel" else _take(claims)
    if claim and end == "fail":
        claims.fail(claim, "error")
    else:
        queue.cancel(job_id)
    _age(store, WEEK + 60)

    purge(store, WEEK)

    assert (_jobs(store), _datasets(store)) == ([], set())


def test_a_job_that_ended_lately_stays(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    job_id = _enqueue(queue)
    _succeed(claims)
    _age(store, WEEK - 60)

    purge(store, WEEK)

    assert _jobs(store) == [job_id]
    assert _datasets(store) == {queue.get(job_id)["dataset_sha256"]}


def test_a_job_counts_from_its_end(store: Store, queue: Jobs, claims: Claims) -> None:
    job_id = _enqueue(queue)
    _age(store, 2 * WEEK)
    _succeed(claims)

    purge(store, WEEK)

    assert _jobs(store) == [job_id]


def test_a_job_that_has_not_ended_is_never_too_old(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    running, waiting = _enqueue(queue, 1), _enqueue(queue, 2)
    _take(claims)
    _age(store, 100 * WEEK)

    purge(store, WEEK)

    assert _jobs(store) == [running, waiting]
    assert len(_datasets(store)) == 2
    assert queue.get(running)["state"] == "running"
    assert queue.get(waiting)["state"] == "queued"


def test_a_dataset_stays_for_as_long_as_any_job_needs_it(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    _enqueue(queue)
    _succeed(claims)
    _age(store, WEEK + 60)
    needing = _enqueue(queue)

    purge(store, WEEK)

    assert _jobs(store) == [needing]
    assert claims.read(_take(claims)).content == _content(store)


def _content(store: Store) -> bytes:
    """Return the one dataset's bytes."""
    with store.read() as connection:
        return bytes(connection.scalars(select(datasets.c.content)).one())


def test_a_dataset_goes_with_the_last_of_its_jobs(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    for _ in range(2):
        _enqueue(queue)
        _succeed(claims)
    other = _enqueue(queue, weight=1)
    _age(store, WEEK + 60)

    purge(store, WEEK)

    assert _datasets(store) == {queue.get(other)["dataset_sha256"]}


@pytest.mark.parametrize(
    ("hours", "is_kept"), [(23, True), (25, False)], ids=["23 h", "25 h"]
)
def test_a_job_with_a_key_is_kept_for_a_day_at_least(
    store: Store, queue: Jobs, claims: Claims, *, hours: float, is_kept: bool
) -> None:
    keyed, plain = _enqueue(queue, 1, KEYED), _enqueue(queue, 2)
    for _ in range(2):
        _succeed(claims)
    _age(store, hours * HOUR)

    purge(store, 1.0)

    assert _jobs(store) == ([keyed] if is_kept else [])
    assert plain not in _jobs(store)
    assert len(_datasets(store)) == is_kept


def test_after_a_day_a_key_still_lasts_as_long_as_its_job(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    job_id = _enqueue(queue, origin=KEYED)
    _succeed(claims)
    _age(store, WEEK - 60)

    purge(store, WEEK)

    assert _enqueue(queue, origin=KEYED) == job_id


def test_a_purge_leaves_the_versions(
    store: Store, queue: Jobs, claims: Claims, settings: Settings
) -> None:
    job_id = _enqueue(queue)
    _succeed(claims)
    versions, _ = Versions(store, settings).describe_all()
    _age(store, WEEK + 60)

    purge(store, WEEK)

    after, _ = Versions(store, settings).describe_all()
    assert after == versions
    assert after[0]["job"] == job_id


def test_the_number_of_a_purged_job_is_not_given_again(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    first = _enqueue(queue)
    _succeed(claims)
    _age(store, WEEK + 60)
    purge(store, WEEK)

    assert _enqueue(queue) > first


def test_many_jobs_and_datasets_go_in_parts(
    store: Store, queue: Jobs, claims: Claims
) -> None:
    for weight in range(10):
        queue.cancel(_enqueue(queue, weight))
    kept = _enqueue(queue, weight=-1)
    _multiply(store, *[{}] * PURGED_JOBS)
    _age(store, WEEK + 60)

    parts = [
        (purge(store, WEEK, 8 * ROWS), len(_jobs(store)), len(_datasets(store)))
        for _ in "123"
    ]

    assert parts == [(True, 11, 11), (True, 3, 3), (False, 1, 1)]
    assert _jobs(store) == [kept]
    assert claims.read(_take(claims)).content == _content(store)


def _multiply(store: Store, *changes: dict[str, Any]) -> None:
    """Copy a job that has ended for each of the changes."""
    with store.write() as connection:
        is_over = jobs.c.state == "cancelled"
        query = select(jobs).where(is_over).order_by(jobs.c.id)
        row = connection.execute(query).mappings().first()
        assert row is not None
        copy = {name: value for name, value in row.items() if name != "id"}
        connection.execute(insert(jobs), [copy | change for change in changes])


def test_those_that_ended_first_go_first(store: Store, queue: Jobs) -> None:
    last, first = _enqueue(queue, 1), _enqueue(queue, 2)
    for job_id in (first, last):
        queue.cancel(job_id)
    _age(store, WEEK + 60)
    with store.write() as connection:
        later = jobs.c.finished_at + 1  # than the clock can tell
        connection.execute(
            update(jobs).values(finished_at=later).where(jobs.c.id == last)
        )

    purge(store, WEEK, ROWS)

    assert _jobs(store) == [last]


def test_as_many_as_go_at_once_are_all_there_are(store: Store, queue: Jobs) -> None:
    for weight in range(8):
        queue.cancel(_enqueue(queue, weight))
    _age(store, WEEK + 60)

    goes_on = purge(store, WEEK, 8 * ROWS)

    assert (goes_on, _jobs(store), _datasets(store)) == (False, [], set())


def test_a_dataset_that_is_larger_than_a_part_goes_alone(
    store: Store, queue: Jobs
) -> None:
    for weight in range(2):
        queue.cancel(_enqueue(queue, weight))
    _age(store, WEEK + 60)

    goes_on = purge(store, WEEK, ROWS - 1)

    assert (goes_on, len(_jobs(store)), len(_datasets(store))) == (True, 1, 1)


def test_a_job_and_its_people_go_together_or_not_at_all(
    store: Store, queue: Jobs
) -> None:
    job_id = _enqueue(queue)
    queue.cancel(job_id)
    _age(store, WEEK + 60)
    with store.write() as connection:
        connection.execute(text(HOLD))
        connection.execute(text("INSERT INTO hold SELECT sha256 FROM datasets"))

    with pytest.raises(IntegrityError):
        purge(store, WEEK)

    left = _jobs(store)
    with store.write() as connection:
        connection.execute(text("DROP TABLE hold"))
    assert left == [job_id]


def test_old_jobs_are_found_without_a_look_at_those_that_are_kept(
    store: Store, engine: str
) -> None:
    explain, by_end = PLANS[engine]
    with store.read() as connection:
        if engine == "postgresql":  # which would rather read the few that are here
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.execute(text(f"SET LOCAL enable_{way} = off"))
        query = old_jobs(WEEK).compile(
            connection, compile_kwargs={"literal_binds": True}
        )
        plan = connection.exec_driver_sql(f"{explain} {query}").all()

    steps = [str(row[-1]).strip() for row in plan]
    assert any(step.startswith(by_end) for step in steps), steps
    assert not any("Sort" in step or "ORDER" in step for step in steps), steps


def test_people_that_an_older_release_left_without_a_job_go_in_parts(
    store: Store, queue: Jobs
) -> None:
    job_id = _enqueue(queue)
    orphans = [ORPHAN | {"sha256": f"f{n:063x}"} for n in range(PURGED_DATASETS + 1)]
    with store.write() as connection:
        connection.execute(insert(datasets), orphans)
    places, left = [""], []

    for _ in "123":
        places.append(sweep(store, places[-1]))
        left.append(len(_datasets(store)))

    assert left == [2, 1, 1]
    assert places == ["", *(orphans[n]["sha256"] for n in (-2, -1)), ""]
    assert _datasets(store) == {queue.get(job_id)["dataset_sha256"]}


def test_a_look_for_such_people_goes_on_where_the_last_one_ended(
    store: Store, queue: Jobs
) -> None:
    queue.cancel(_enqueue(queue))
    needed = [ORPHAN | {"sha256": f"{n:064x}"} for n in range(SWEPT_DATASETS)]
    with store.write() as connection:
        connection.execute(insert(datasets), [*needed, ORPHAN])
    _multiply(store, *({"dataset_sha256": one["sha256"]} for one in needed))

    place = sweep(store, "")
    is_there = ORPHAN["sha256"] in _datasets(store)
    sweep(store, place)

    assert (place, is_there) == (needed[-1]["sha256"], True)
    assert len(_datasets(store)) == SWEPT_DATASETS + 1


def test_after_the_last_it_begins_anew(store: Store, queue: Jobs) -> None:
    last = queue.get(_enqueue(queue))["dataset_sha256"]

    assert [sweep(store, ""), sweep(store, last)] == [last, ""]


@pytest.fixture(scope="module")
def forgetful(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server that keeps jobs for a second and 2 versions, on each engine."""
    environment = {"OFFSETNET_KEEP_JOBS_SECONDS": "1", "OFFSETNET_KEEP_VERSIONS": "2"}
    data_dir = tmp_path_factory.mktemp("purge") / "data"
    with Server(data_dir, environment=environment | databases.new(engine)) as running:
        yield running


def test_a_runner_looks_for_people_without_a_job(forgetful: Server) -> None:
    store = Store(forgetful.settings())
    with store.write() as connection:
        connection.execute(insert(datasets), [ORPHAN])

    wait_for(lambda: ORPHAN["sha256"] not in _datasets(store))

    store.close()


@pytest.mark.parametrize("promote", ["never", "always"])
def test_the_newest_versions_the_active_its_predecessor_and_the_shipped_are_kept(
    forgetful: Server, promote: str
) -> None:
    previous, active = (_new(forgetful, "always") for _ in range(2))

    new = [_new(forgetful, promote) for _ in range(4)]

    serving = [active, previous] if promote == "never" else []
    assert _listed(forgetful) == [*new[:1:-1], *serving, 1]


def test_what_is_active_no_longer_goes_when_it_is_old(forgetful: Server) -> None:
    old = [_new(forgetful, "always") for _ in range(2)]
    new = [_new(forgetful, "never") for _ in range(2)]

    for version in new:
        forgetful.client.put(
            "/models/active", json={"version": version}, headers={"If-Match": "*"}
        ).raise_for_status()

    assert _listed(forgetful) == [*new[::-1], 1]
    for version in old:
        path = f"/models/{version}/weights"
        assert forgetful.client.get(path).status_code == 404


def test_all_that_is_kept_is_whole(forgetful: Server) -> None:
    for promote in ("always", "always", "never"):
        _new(forgetful, promote)

    kept = forgetful.client.get("/models").json()["models"]

    for model in kept:
        answer = forgetful.client.get(f"/models/{model['version']}/weights")
        assert load(answer.content, model["sha256"]).rows == model["rows"]
        assert answer.headers["ETag"] == f'"{model["sha256"]}"'


def _new(server: Server, promote: str) -> int:
    """Train a version; its job may be forgotten as soon as it has ended."""
    request = {"promote": promote, "config": {"epochs": 1}}
    job_id: int = server.client.post("/train", json=request).json()["id"]
    return wait_for(lambda: _version_of(server, job_id))


def _version_of(server: Server, job_id: int) -> int | None:
    listed = server.client.get("/models").json()["models"]
    found = [model["version"] for model in listed if model["job"] == job_id]
    return found[0] if found else None


def _listed(server: Server) -> list[int]:
    listed = server.client.get("/models").json()["models"]
    return [model["version"] for model in listed]


def test_a_server_forgets_finished_jobs_but_not_their_keys_and_versions(
    forgetful: Server,
) -> None:
    client, headers = forgetful.client, {"Idempotency-Key": "remembered"}
    keyed = client.post("/train", json=BRIEF, headers=headers).json()
    other = {"examples": FOUR[::-1], "promote": "never", "config": {"epochs": 1}}
    plain = client.post("/train", json=other).json()

    wait_for(lambda: client.get(plain["links"]["self"]).status_code == 404)

    store = Store(forgetful.settings())
    left = _datasets(store)
    store.close()
    (version, *_) = client.get("/models").json()["models"]
    replay = client.post("/train", json=BRIEF, headers=headers)
    assert left == {keyed["dataset_sha256"]}
    assert (version["job"], version["dataset_sha256"]) == (
        plain["id"],
        plain["dataset_sha256"],
    )
    assert [job["id"] for job in client.get("/train").json()["jobs"]] == [keyed["id"]]
    assert (replay.json()["id"], replay.json()["state"]) == (keyed["id"], "succeeded")
