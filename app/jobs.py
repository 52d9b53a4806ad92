"""The jobs as their submitters see them: enqueued, shown, listed, cancelled."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Update, func, insert, select, update

from app.job_words import Promote
from app.settings import Settings
from app.store import Store
from app.tables import datasets, jobs, now
from model import Dataset, TrainingConfig


class QueueFullError(Exception):
    """As many jobs wait as may."""


class CallerLimitError(Exception):
    """As many jobs of this caller wait as may."""


class KeyReusedError(Exception):
    """The idempotency key came with another request before."""


class UnknownJobError(Exception):
    """There is no such job."""


class FinishedJobError(Exception):
    """The job has ended, and stays as it is."""


class Origin(NamedTuple):
    """Who asks for a job, and the name that the caller gave to the request."""

    caller: str = ""
    idempotency_key: str | None = None


ANYBODY: Final = Origin()


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A validated training request."""

    data: Dataset
    config: TrainingConfig
    promote: Promote
    note: str | None
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Return what makes two requests the same."""
        return {
            "dataset_sha256": self.data.sha256,
            "config": self.config.to_dict(),
            "promote": self.promote,
            "note": self.note,
        }


class Jobs:
    """The jobs of one store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Take the bounds from the settings."""
        self._store = store
        self._queue_limit = settings.queue_limit
        self._caller_limit = settings.caller_limit

    def enqueue(
        self, submission: Submission, origin: Origin = ANYBODY
    ) -> tuple[dict[str, Any], bool]:
        """Store a job and its data; return it, and whether it was there before.

        The same request under the same key of the same caller is the same job.

        Raises:
            KeyReusedError: The key came with another request.
            QueueFullError, CallerLimitError: As many jobs wait as may.
        """
        content, facts = submission.data.to_buffer(), submission.facts()
        with self._store.write() as connection:
            known = _find_by_key(connection, origin)
            if known:
                if any(known[name] != value for name, value in facts.items()):
                    raise KeyReusedError("this key came with another request before")
                return known, True
            self._check_limits(connection, origin.caller)
            _store_dataset(connection, submission.data, content)
            job_id = connection.execute(
                insert(jobs)
                .values(
                    state="queued",
                    rows=len(submission.data),
                    warnings=submission.warnings,
                    created_at=now(),
                    **facts,
                    **origin._asdict(),
                )
                .returning(jobs.c.id)
            ).scalar_one()
            return _read(connection, jobs.c.id == job_id)[0], False

    def get(self, job_id: int) -> dict[str, Any]:
        """Return one job.

        Raises:
            UnknownJobError: There is no such job.
        """
        with self._store.read() as connection:
            return _get(connection, job_id)

    def newer(self, job_id: int, revision: int) -> dict[str, Any] | None:
        """Return a job where it has changed since that revision."""
        with self._store.read() as connection:
            found = _read(connection, jobs.c.id == job_id, jobs.c.revision != revision)
        return found[0] if found else None

    def page(
        self, *, state: str | None, before: int | None, limit: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return jobs, newest first, and where the next page starts."""
        conditions = [jobs.c.state == state] if state else []
        conditions += [jobs.c.id < before] if before else []
        with self._store.read() as connection:
            found = _read(connection, *conditions, limit=limit + 1)
        page = found[:limit]
        return page, page[-1]["id"] if len(found) > limit else None

    def cancel(self, job_id: int) -> tuple[dict[str, Any], bool]:
        """Cancel a job; return it, and whether somebody still works on it.

        From here on its owner cannot store anything, and learns so by its next beat.

        Raises:
            UnknownJobError: There is no such job.
            FinishedJobError: It has succeeded or failed.
        """
        with self._store.write() as connection:
            job = _get(connection, job_id)
            if job["state"] in {"succeeded", "failed"}:
                raise FinishedJobError(f"the job has {job['state']}")
            if job["state"] != "cancelled":
                statement = finish(state="cancelled").where(jobs.c.id == job_id)
                connection.execute(statement)
            return _get(connection, job_id), job["state"] == "running"

    def _check_limits(self, connection: Connection, caller: str) -> None:
        if _count_queued(connection) >= self._queue_limit:
            raise QueueFullError(f"{self._queue_limit} jobs are waiting")
        is_own = jobs.c.caller == caller
        if caller and _count_queued(connection, is_own) >= self._caller_limit:
            raise CallerLimitError(f"{self._caller_limit} jobs of this key are waiting")


def change(**values: Any) -> Update:
    """Return an update of jobs that counts as a change."""
    return update(jobs).values(revision=jobs.c.revision + 1, **values)


def finish(state: str, **values: Any) -> Update:
    """Return an update that ends jobs."""
    return change(
        state=state, finished_at=now(), owner=None, lease_until=None, **values
    )


def _store_dataset(connection: Connection, data: Dataset, content: memoryview) -> None:
    """Store a dataset where it is not there yet."""
    is_same = datasets.c.sha256 == data.sha256
    if connection.scalar(select(datasets.c.sha256).where(is_same)) is None:
        values = {"sha256": data.sha256, "rows": len(data), "content": content}
        connection.execute(insert(datasets).values(values))


def _find_by_key(connection: Connection, origin: Origin) -> dict[str, Any] | None:
    if origin.idempotency_key is None:
        return None
    found = _read(
        connection,
        jobs.c.caller == origin.caller,
        jobs.c.idempotency_key == origin.idempotency_key,
    )
    return found[0] if found else None


def _count_queued(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).where(jobs.c.state == "queued", *conditions)
    return connection.execute(query).scalar_one()


def _get(connection: Connection, job_id: int) -> dict[str, Any]:
    found = _read(connection, jobs.c.id == job_id)
    if not found:
        raise UnknownJobError(f"there is no job {job_id}")
    return found[0]


def _read(
    connection: Connection, *conditions: ColumnElement[bool], limit: int = 1
) -> list[dict[str, Any]]:
    query = select(jobs, now().label("now")).where(*conditions)
    rows = connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]
