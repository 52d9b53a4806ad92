"""What the jobs table tells of the queue and of the trainings that it still knows."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, case, func, select

from app.store import Store
from app.tables import jobs, now

SECONDS: Final = (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

_NAMES: Final = (
    ("queued", ""),
    ("running", ""),
    *(("succeeded", outcome) for outcome in ("promoted", "rejected", "kept")),
    ("failed", ""),
    ("cancelled", ""),
)


class Kind(NamedTuple):
    """The jobs of one state and outcome.

    Attributes:
        state: As the job shows it.
        outcome: As the job shows it, "" where it has none.
        number: How many there are.
        within: How many were trained within each of SECONDS, and how many at all.
        seconds: How long they were trained together.
    """

    state: str
    outcome: str
    number: int
    within: Sequence[int]
    seconds: float


class Look(NamedTuple):
    """What the table tells at once.

    Attributes:
        kinds: Each kind of job.
        oldest_seconds: How long the job that waits longest has waited, 0 without one.
    """

    kinds: Sequence[Kind]
    oldest_seconds: float


class JobStatistics:
    """Counts of one store's jobs."""

    def __init__(self, store: Store) -> None:
        """Take the store."""
        self._store = store

    def look(self) -> Look:
        """Count the jobs by state and outcome, of those that there are none too."""
        with self._store.read() as connection:
            rows = connection.execute(_KINDS).all()
            age: float | None = connection.scalar(_OLDEST)
        found = {}
        for state, outcome, number, seconds, *within in rows:
            name = (state, outcome or "")
            found[name] = Kind(*name, number, within, seconds or 0.0)
        nobody = [0] * (len(SECONDS) + 1)
        kinds = [found.get(name, Kind(*name, 0, nobody, 0.0)) for name in _NAMES]
        return Look(kinds, max(age or 0.0, 0.0))


def _number_of(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


_DURATION: Final = jobs.c.finished_at - jobs.c.started_at
_KINDS: Final = select(
    jobs.c.state,
    jobs.c.outcome,
    func.count(),
    func.sum(_DURATION),
    *(_number_of(bound >= _DURATION) for bound in SECONDS),
    _number_of(_DURATION.is_not(None)),
).group_by(jobs.c.state, jobs.c.outcome)
_OLDEST: Final = select(now() - func.min(jobs.c.created_at)).where(
    jobs.c.state == "queued"
)
