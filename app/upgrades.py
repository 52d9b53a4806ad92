"""Upgrades: the tables of an older release become those of this one at its start.

The database has the number of its schema. All of this happens in one transaction that
writes: once however many programs start at once, and whole or not at all.
"""

import logging
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError

from app.tables import metadata, schema

Step = Callable[[Connection], object]
Steps = tuple[Step, ...]


def _find_jobs_by_end(connection: Connection) -> None:
    """Make an index where nobody has made it before, as one does who has millions."""
    by_end = "CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (finished_at)"
    connection.execute(text(by_end))


# The first leads from schema 1 to 2, the next to 3. A step does not read app/tables.py,
# which goes on changing, and stays as it was released; docs/operations.md says what it
# may do while programs of the release before still run.
STEPS: Final[Steps] = (_find_jobs_by_end,)
SCHEMA_VERSION: Final = 1 + len(STEPS)

logger = logging.getLogger(__name__)


class SchemaError(Exception):
    """The tables are not ours, or cannot become those of this release."""


def bring_up_to_date(connection: Connection, steps: Steps) -> None:
    """Make the tables in an empty database, and upgrade those of an older release.

    Raises:
        SchemaError: They are another program's or a newer release's, or a step failed.
    """
    newest = 1 + len(steps)
    tables = set(inspect(connection).get_table_names())
    found = (
        connection.scalar(select(schema.c.version)) if schema.name in tables else None
    )
    if found is None:
        _create(connection, tables, newest)
    elif not 1 <= found <= newest:
        raise SchemaError(
            f"the database has schema {found}, and this release knows schemas "
            f"up to {newest}: start a newer release"
        )
    elif found < newest:
        _upgrade(connection, found, steps)


def _create(connection: Connection, tables: set[str], newest: int) -> None:
    taken = sorted(tables & metadata.tables.keys())
    if taken and schema.name not in tables:
        raise SchemaError(
            f"the database has tables of another program: {', '.join(taken)}"
        )
    metadata.create_all(connection)
    connection.execute(insert(schema).values(version=newest))


def _upgrade(connection: Connection, found: int, steps: Steps) -> None:
    """Take the steps that are missing, and number what came of each."""
    for number, step in enumerate(steps[found - 1 :], found + 1):
        logger.info("upgrading the database to schema %s", number)
        try:
            step(connection)
        except DBAPIError as error:
            reason = str(error.orig).partition("\n")[0]  # more may quote what is stored
            raise SchemaError(
                f"the upgrade to schema {number} failed, and the database stays as it "
                f"was, at {found}: {reason}"
            ) from error
        connection.execute(update(schema).values(version=number))
