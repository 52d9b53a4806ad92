"""The jobs as their submitters see them: enqueued, shown, listed."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    func,
    insert,
    select,
)

from app.settings import Settings
from app.store import Store, datasets, jobs, now
from model import Dataset, TrainingConfig

Promote = Literal["always", "never"]


class QueueFullError(Exception):
    """As many jobs wait as may."""


class UnknownJobError(Exception):
    """There is no such job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A validated training request."""

    data: Dataset
    config: TrainingConfig
    promote: Promote
    note: str | None
    warnings: tuple[str, ...]


class Jobs:
    """The jobs of one store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Take the bound of the queue from the settings."""
        self._store = store
        self._queue_limit = settings.queue_limit

    def enqueue(self, submission: Submission) -> dict[str, Any]:
        """Store a job and its data, and return the job.

        Raises:
            QueueFullError: As many jobs wait as may; nothing is stored.
        """
        content, sha256 = submission.data.to_bytes(), submission.data.sha256
        with self._store.write() as connection:
            if _count_queued(connection) >= self._queue_limit:
                raise QueueFullError(f"{self._queue_limit} jobs are waiting")
            is_known = select(datasets.c.sha256).where(datasets.c.sha256 == sha256)
            if connection.scalar(is_known) is None:
                connection.execute(
                    insert(datasets).values(
                        sha256=sha256, rows=len(submission.data), content=content
                    )
                )
            job_id = connection.execute(
                insert(jobs)
                .values(
                    state="queued",
                    dataset_sha256=sha256,
                    rows=len(submission.data),
                    config=submission.config.to_dict(),
                    promote=submission.promote,
                    note=submission.note,
                    warnings=submission.warnings,
                    created_at=now(),
                )
                .returning(jobs.c.id)
            ).scalar_one()
            return _read(connection, jobs.c.id == job_id)[0]

    def get(self, job_id: int) -> dict[str, Any]:
        """Return one job.

        Raises:
            UnknownJobError: There is no such job.
        """
        with self._store.read() as connection:
            found = _read(connection, jobs.c.id == job_id)
        if not found:
            raise UnknownJobError(f"there is no job {job_id}")
        return found[0]

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


def _count_queued(connection: Connection) -> int:
    count = select(func.count()).where(jobs.c.state == "queued")
    return connection.execute(count).scalar_one()


def _read(
    connection: Connection, *conditions: ColumnElement[bool], limit: int = 1
) -> list[dict[str, Any]]:
    query = select(jobs, now().label("now")).where(*conditions)
    rows = connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]
