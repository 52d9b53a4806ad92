"""The claims: a job as its owner works on it, from claimed to finished.

A job is `queued`, then `running` under one owner's lease, then final. Only the owner
writes to a running job, and every such statement says so in its WHERE; whoever lost
the lease changes nothing. The statements are in the order of a job's life.
"""

import secrets
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Update, and_, or_, select

from app.gate import Comparison, Decision
from app.job_words import Promote
from app.jobs import change, finish
from app.settings import Settings
from app.store import Store
from app.tables import active, datasets, jobs, now
from app.version_rows import active_version, add_version, prune, set_active
from model import TrainingConfig

Failure = Literal[
    "diverged", "error", "killed", "lost", "out-of-memory", "stalled", "timeout"
]
Point = tuple[int, float, float | None]  # epoch, train_loss, holdout_loss


class LostJobError(Exception):
    """The job is no longer this owner's."""


class StaleChampionError(Exception):
    """The active version was set since the decision was made."""


class Claim(NamedTuple):
    """A job that this process owns for as long as it beats."""

    id: int
    owner: str
    attempt: int
    promote: Promote
    note: str | None


class Work(NamedTuple):
    """What a job is to be done with."""

    content: bytes  # of its dataset
    config: TrainingConfig


class Progress(NamedTuple):
    """What a running job tells with every beat."""

    epoch: int = 0
    train_loss: float | None = None
    holdout_loss: float | None = None
    history: tuple[Point, ...] = ()


class Result(NamedTuple):
    """What a training made, and what becomes of it."""

    weights: bytes
    comparison: Comparison | None
    decision: Decision
    generation: int  # of the active version that the decision was made against


class Claims:
    """The jobs of one store, to a process that trains."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Take the bounds of lease and tries from the settings."""
        self._store = store
        self._lease_seconds = settings.lease_seconds
        self._max_attempts = settings.max_attempts
        self._keep_versions = settings.keep_versions

    def take(self, runner: str) -> Claim | None:
        """Take the oldest job that waits or whose owner fell silent.

        A job that was taken too often already fails as `lost` instead.

        Args:
            runner: Names the process that takes it; starts the owner's name.
        """
        with self._store.read() as connection:
            if connection.scalar(_ANY) is None:  # mostly, once a second
                return None
        with self._store.write() as connection:
            self._give_up(connection, _IS_SILENT, "lost")
            may_be_retried = and_(_IS_SILENT, jobs.c.attempt < self._max_attempts)
            is_free = or_(jobs.c.state == "queued", may_be_retried)
            oldest = select(jobs.c.id).where(is_free).order_by(jobs.c.id).limit(1)
            job_id = connection.scalar(oldest)
            if job_id is None:
                return None
            statement = change(
                state="running",
                attempt=jobs.c.attempt + 1,
                owner=f"{runner}.{secrets.token_hex(8)}",
                lease_until=now() + self._lease_seconds,
                started_at=now(),
                **Progress()._asdict(),
            )
            connection.execute(statement.where(jobs.c.id == job_id))
            columns = (getattr(jobs.c, name) for name in Claim._fields)
            query = select(*columns).where(jobs.c.id == job_id)
            return Claim(*connection.execute(query).one())

    def read(self, claim: Claim) -> Work:
        """Read what the job is to be done with.

        It is no part of the claim's transaction: what cannot be read costs a try.

        Raises:
            TypeError: The settings are those of another release.
        """
        query = select(datasets.c.content, jobs.c.config).join_from(jobs, datasets)
        with self._store.read() as connection:
            row = connection.execute(query.where(jobs.c.id == claim.id)).one()
        return Work(row.content, TrainingConfig(**row.config))

    def beat(self, claim: Claim, progress: Progress) -> bool:
        """Extend the lease and report; tell whether the job is still this owner's."""
        lease_until = now() + self._lease_seconds
        statement = change(lease_until=lease_until, **progress._asdict())
        with self._store.write() as connection:
            return connection.execute(statement.where(_is_owned(claim))).rowcount == 1

    def succeed(self, claim: Claim, progress: Progress, result: Result) -> None:
        """Store the version, activate it or not, and end the job: one transaction.

        Raises:
            LostJobError: The job is no longer this owner's; nothing is changed.
            StaleChampionError: The decision must be made anew; nothing is changed.
        """
        outcome, reason = result.decision
        with self._store.write() as connection:
            if (_generation(connection) or 0) != result.generation:
                raise StaleChampionError("the active version was set meanwhile")
            version = add_version(
                connection,
                result.weights,
                parent=active_version(connection),
                job=claim.id,
                note=claim.note,
            )
            if outcome == "promoted":
                set_active(connection, version)
            prune(connection, self._keep_versions)
            statement = finish(
                "succeeded",
                **progress._asdict(),
                outcome=outcome,
                reason=reason,
                metrics=result.comparison and result.comparison.to_dict(),
                model_version=version,
            )
            _change_owned(connection, claim, statement)

    def fail(self, claim: Claim, reason: Failure) -> None:
        """End the job without a result.

        Raises:
            LostJobError: The job is no longer this owner's; nothing is changed.
        """
        with self._store.write() as connection:
            _change_owned(connection, claim, finish("failed", reason=reason))

    def release(self, runner: str) -> int:
        """Hand the jobs of a process back to the queue; these tries do not count.

        Returns:
            How many there were.
        """
        statement = _requeue(attempt=jobs.c.attempt - 1)
        with self._store.write() as connection:
            return connection.execute(statement.where(_is_of(runner))).rowcount

    def abandon(self, runner: str, reason: Failure) -> None:
        """Let the jobs of a process that ended be tried again, or fail.

        Args:
            runner: Names the process, which must not work any more.
            reason: Why they fail where this was the last try.
        """
        with self._store.write() as connection:
            self._give_up(connection, _is_of(runner), reason)
            connection.execute(_requeue().where(_is_of(runner)))

    def _give_up(
        self, connection: Connection, jobs_tried: ColumnElement[bool], reason: Failure
    ) -> None:
        """Fail those jobs that were tried often enough."""
        was_last = jobs.c.attempt >= self._max_attempts
        statement = finish("failed", reason=reason)
        connection.execute(statement.where(jobs_tried, was_last))


def _requeue(**values: Any) -> Update:
    return change(
        state="queued",
        owner=None,
        lease_until=None,
        started_at=None,
        **Progress()._asdict(),
        **values,
    )


_IS_SILENT: Final = and_(jobs.c.state == "running", jobs.c.lease_until < now())
_ANY: Final = (
    select(jobs.c.id).where(or_(jobs.c.state == "queued", _IS_SILENT)).limit(1)
)


def _is_of(runner: str) -> ColumnElement[bool]:
    return and_(jobs.c.state == "running", jobs.c.owner.startswith(runner + "."))


def _is_owned(claim: Claim) -> ColumnElement[bool]:
    return and_(
        jobs.c.id == claim.id, jobs.c.state == "running", jobs.c.owner == claim.owner
    )


def _generation(connection: Connection) -> int | None:
    return connection.scalar(select(active.c.generation))


def _change_owned(connection: Connection, claim: Claim, statement: Update) -> None:
    """Run a statement on a job that must still be this owner's."""
    if connection.execute(statement.where(_is_owned(claim))).rowcount != 1:
        raise LostJobError(f"job {claim.id} has another owner")
