"""The rows of the versions: added, made active, removed, as a part of a transaction.

Whatever changes the active version, or the one before it, counts as a generation, in
the same transaction.
"""

import hashlib
from typing import Any, Final

from sqlalchemy import Connection, case, delete, insert, select, update

from app.tables import active, models, now
from model import load

SHIPPED_VERSION: Final = 1


def add_version(connection: Connection, weights: bytes, **facts: Any) -> int:
    """Store a version, not yet active, and return its number.

    Args:
        connection: A writing transaction.
        weights: The artifact's bytes.
        facts: `version`, `parent`, `job` and `note`, where they are given.
    """
    artifact = load(weights)
    version: int = connection.execute(
        insert(models)
        .values(
            sha256=hashlib.sha256(weights).hexdigest(),
            weights=weights,
            metrics=artifact.metrics._asdict(),
            config=artifact.config.to_dict(),
            dataset_sha256=artifact.dataset_sha256,
            rows=artifact.rows,
            created_at=now(),
            **facts,
        )
        .returning(models.c.version)
    ).scalar_one()
    return version


def set_active(connection: Connection, version: int) -> None:
    """Make a version the active one, in a writing transaction."""
    is_same = active.c.version == version
    changed = connection.execute(
        update(active).values(
            version=version,
            previous=case((is_same, active.c.previous), else_=active.c.version),
            generation=active.c.generation + 1,
        )
    )
    if changed.rowcount == 0:  # the first of all
        connection.execute(insert(active).values(id=1, version=version, generation=1))


def prune(connection: Connection, keep: int) -> None:
    """Remove all but the newest versions, the active, the previous and the shipped."""
    newest = select(models.c.version).order_by(models.c.version.desc()).limit(keep)
    kept = {SHIPPED_VERSION, *connection.scalars(newest)}
    pointed = connection.execute(select(active.c.version, active.c.previous)).first()
    kept.update(number for number in pointed or () if number is not None)
    connection.execute(delete(models).where(models.c.version.not_in(kept)))


def active_version(connection: Connection) -> int | None:
    """Return the number of the active version, if there is one."""
    return connection.scalar(select(active.c.version))
