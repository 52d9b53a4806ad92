"""The claims: a job as its owner works on it, from claimed to finished.

A job is `queued`, then `running` under one owner's lease, then final. Only the owner
writes to a running job, and every such statement says so in its WHERE; whoever lost
the lease changes nothing. The statements are in the order of a job's life.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Update, and_, or_, select, update

from app import registry
from app.jobs import Promote
from app.settings import Settings
from app.store import Store, datasets, jobs, now
from model import TrainingConfig

Failure = Literal["diverged", "error", "lost", "out-of-memory", "timeout"]
Point = tuple[int, float, float | None]  # epoch, train_loss, holdout_loss


class LostJobError(Exception):
    """The job is no longer this owner's."""


class Claim(NamedTuple):
    """A job that this process owns for as long as it beats."""

    id: int
    owner: str
    attempt: int
    content: bytes  # of its dataset
    config: TrainingConfig
    promote: Promote
    note: str | None


class Progress(NamedTuple):
    """What a running job tells with every beat."""

    epoch: int
    train_loss: float | None
    holdout_loss: float | None
    history: list[Point]


class Claims:
    """The jobs of one store, to a process that trains."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Take the bounds of lease and tries from the settings."""
        self._store = store
        self._lease_seconds = settings.lease_seconds
        self._max_attempts = settings.max_attempts

    def take(self) -> Claim | None:
        """Take the oldest job that waits or whose owner fell silent.

        A job that was taken too often already fails as `lost` instead.
        """
        with self._store.write() as connection:
            connection.execute(
                _finish("failed", reason="lost").where(
                    _is_silent(), jobs.c.attempt >= self._max_attempts
                )
            )
            may_be_retried = and_(_is_silent(), jobs.c.attempt < self._max_attempts)
            is_free = or_(jobs.c.state == "queued", may_be_retried)
            oldest = select(jobs.c.id).where(is_free).order_by(jobs.c.id).limit(1)
            job_id = connection.scalar(oldest)
            if job_id is None:
                return None
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(
                    state="running",
                    attempt=jobs.c.attempt + 1,
                    owner=secrets.token_hex(16),
                    lease_until=now() + self._lease_seconds,
                    started_at=now(),
                    epoch=0,
                    train_loss=None,
                    holdout_loss=None,
                    history=[],
                )
            )
            return _read_claim(connection, job_id)

    def beat(self, claim: Claim, progress: Progress) -> bool:
        """Extend the lease and report; tell whether the job is still this owner's."""
        statement = update(jobs).values(
            lease_until=now() + self._lease_seconds, **progress._asdict()
        )
        with self._store.write() as connection:
            return connection.execute(statement.where(_is_owned(claim))).rowcount == 1

    def succeed(
        self,
        claim: Claim,
        progress: Progress,
        weights: bytes,
        metrics: Mapping[str, Any] | None,
    ) -> None:
        """Store the version, decide, activate and end the job, in one transaction.

        Raises:
            LostJobError: The job is no longer this owner's; nothing is changed.
        """
        is_promoted = claim.promote == "always"
        with self._store.write() as connection:
            version = registry.add_version(
                connection,
                weights,
                parent=registry.active_version(connection),
                job=claim.id,
                note=claim.note,
            )
            if is_promoted:
                registry.activate(connection, version)
            statement = _finish(
                "succeeded",
                **progress._asdict(),
                outcome="promoted" if is_promoted else "kept",
                metrics=metrics,
                model_version=version,
            )
            _change_owned(connection, claim, statement)

    def fail(self, claim: Claim, reason: Failure) -> None:
        """End the job without a result.

        Raises:
            LostJobError: The job is no longer this owner's; nothing is changed.
        """
        with self._store.write() as connection:
            _change_owned(connection, claim, _finish("failed", reason=reason))

    def release(self, claim: Claim) -> None:
        """Hand a running job back to the queue; this try does not count."""
        with self._store.write() as connection:
            connection.execute(
                update(jobs)
                .where(_is_owned(claim))
                .values(
                    state="queued",
                    owner=None,
                    lease_until=None,
                    started_at=None,
                    attempt=jobs.c.attempt - 1,
                )
            )


def _is_silent() -> ColumnElement[bool]:
    return and_(jobs.c.state == "running", jobs.c.lease_until < now())


def _is_owned(claim: Claim) -> ColumnElement[bool]:
    return and_(
        jobs.c.id == claim.id, jobs.c.state == "running", jobs.c.owner == claim.owner
    )


def _finish(state: str, **values: Any) -> Update:
    return update(jobs).values(
        state=state, finished_at=now(), owner=None, lease_until=None, **values
    )


def _change_owned(connection: Connection, claim: Claim, statement: Update) -> None:
    """Run a statement on a job that must still be this owner's."""
    if connection.execute(statement.where(_is_owned(claim))).rowcount != 1:
        raise LostJobError(f"job {claim.id} has another owner")


def _read_claim(connection: Connection, job_id: int) -> Claim:
    row = connection.execute(
        select(jobs, datasets.c.content).join(datasets).where(jobs.c.id == job_id)
    ).one()
    return Claim(
        id=row.id,
        owner=row.owner,
        attempt=row.attempt,
        content=row.content,
        config=TrainingConfig(**row.config),
        promote=row.promote,
        note=row.note,
    )
