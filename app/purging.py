"""Purging: jobs that ended long ago go, and datasets that no job needs any more."""

from collections.abc import Collection
from itertools import accumulate
from typing import Final

from sqlalchemy import Connection, Select, and_, delete, select

from app.job_words import UNFINISHED
from app.store import Store
from app.tables import datasets, jobs, now

KEY_SECONDS: Final = 86_400.0
PURGED_JOBS: Final = 1000  # at a time
PURGED_ROWS: Final = 8_000_000  # of 17 bytes each
PURGED_DATASETS: Final = 8  # that no job names, however large
SWEPT_DATASETS: Final = 1000

_NEEDED: Final = (
    select(jobs.c.id).where(jobs.c.dataset_sha256 == datasets.c.sha256).exists()
)


def purge(store: Store, keep_seconds: float, max_rows: int = PURGED_ROWS) -> bool:
    """Remove some jobs that ended longer ago, with the datasets that no other needs.

    Others wait to write meanwhile, so it is never many; tell whether to go on.

    Args:
        store: Where they are.
        keep_seconds: For which jobs are kept that have ended.
        max_rows: Of the datasets, beyond the first.
    """
    with store.write() as connection:
        old = connection.execute(old_jobs(keep_seconds).limit(PURGED_JOBS)).all()
        theirs = {dataset: rows for _, dataset, rows in old}  # in this order
        so_far = zip(theirs, accumulate(theirs.values()), strict=True)
        chosen = {dataset for dataset, rows in so_far if rows <= max_rows}
        chosen |= {*list(theirs)[:1]}
        gone = [job_id for job_id, dataset, _ in old if dataset in chosen]
        connection.execute(delete(jobs).where(jobs.c.id.in_(gone)))
        _remove(connection, chosen)
    return len(gone) < len(old) or len(old) == PURGED_JOBS


def sweep(store: Store, after: str) -> str:
    """Look at some datasets, and remove those that no job needs.

    Older releases left such when they ended after removing the jobs. Nobody waits for
    the look.

    Args:
        store: Where they are.
        after: The hash that they follow.

    Returns:
        The hash after which to go on.
    """
    sha256 = datasets.c.sha256
    those = select(sha256).where(sha256 > after).order_by(sha256)
    with store.read() as connection:
        seen = connection.scalars(those.limit(SWEPT_DATASETS)).all()
        if not seen:
            return ""
        useless = those.where(sha256 <= seen[-1], ~_NEEDED).limit(PURGED_DATASETS)
        found = connection.scalars(useless).all()
    if found:
        with store.write() as connection:
            _remove(connection, found)
    last: str = (found if len(found) == PURGED_DATASETS else seen)[-1]
    return last


def old_jobs(keep_seconds: float) -> Select[int, str, int]:
    """Return a query for the jobs that ended so long ago, but for keys that last."""
    long_ago = select(now() - keep_seconds).scalar_subquery()  # a bound for an index
    is_old = jobs.c.finished_at < long_ago
    is_young = jobs.c.created_at > now() - KEY_SECONDS
    is_kept = and_(jobs.c.idempotency_key.is_not(None), is_young)
    is_over = jobs.c.state.not_in(UNFINISHED)  # `in_` would lead SQLite by the state
    query = select(jobs.c.id, jobs.c.dataset_sha256, jobs.c.rows)
    return query.where(is_over, is_old, ~is_kept).order_by(jobs.c.finished_at)


def _remove(connection: Connection, hashes: Collection[str]) -> None:
    """Remove those of some datasets that no job needs."""
    connection.execute(delete(datasets).where(datasets.c.sha256.in_(hashes), ~_NEEDED))
