"""Purging: jobs that ended long ago go, and datasets that no job needs any more."""

from typing import Final

from sqlalchemy import Select, and_, delete, select

from app.job_words import FINAL
from app.store import Store
from app.tables import datasets, jobs, now

KEY_SECONDS: Final = 86_400.0
PURGED_JOBS: Final = 1000  # at a time
PURGED_DATASETS: Final = 8  # of 16 MB each

_NEEDED: Final = select(jobs.c.id).where(jobs.c.dataset_sha256 == datasets.c.sha256)
_USELESS: Final = select(datasets.c.sha256).where(~_NEEDED.exists())


def purge(store: Store, keep_seconds: float) -> bool:
    """Remove some jobs that ended longer ago, and some datasets that no job needs.

    Others wait to write meanwhile, so it is never many; tell whether to go on.
    """
    forgotten = _forgotten(keep_seconds).limit(PURGED_JOBS)
    with store.write() as connection:
        gone = connection.execute(delete(jobs).where(jobs.c.id.in_(forgotten)))
    useless = datasets.c.sha256.in_(_USELESS.limit(PURGED_DATASETS))
    with store.write() as connection:
        lost = connection.execute(delete(datasets).where(useless))
    return gone.rowcount == PURGED_JOBS or lost.rowcount == PURGED_DATASETS


def _forgotten(keep_seconds: float) -> Select[int]:
    """Return a query for the jobs that ended so long ago, but for keys that last."""
    is_old = jobs.c.finished_at < now() - keep_seconds
    is_young = jobs.c.created_at > now() - KEY_SECONDS
    is_kept = and_(jobs.c.idempotency_key.is_not(None), is_young)
    is_over = jobs.c.state.in_(FINAL)
    return select(jobs.c.id).where(is_over, is_old, ~is_kept).order_by(jobs.c.id)
