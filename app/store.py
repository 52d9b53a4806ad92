"""The store: the database, its tables, and the two kinds of transaction.

Nothing else is shared between processes. Time is the database's clock.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    JSON,
    URL,
    CheckConstraint,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

BUSY_SECONDS: Final = 5
_FIXED_WAL: Final = ((3, 51, 3), (3, 50, 7), (3, 44, 6))

metadata = MetaData()

datasets = Table(
    "datasets",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("parent", Integer, ForeignKey("models.version")),
    Column("job", Integer),
    Column("dataset_sha256", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("note", String(200)),
    Column("created_at", Float, nullable=False),
    sqlite_autoincrement=True,  # a version is never given twice
)

active = Table(
    "active",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("version", Integer, ForeignKey("models.version"), nullable=False),
    Column("previous", Integer, ForeignKey("models.version")),
    Column("generation", Integer, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("reason", String(32)),
    Column("attempt", Integer, nullable=False, default=0),
    Column("owner", String(32)),
    Column("lease_until", Float),
    Column("epoch", Integer, nullable=False, default=0),
    Column("train_loss", Float),
    Column("holdout_loss", Float),
    Column("history", JSON, nullable=False, default=list),
    Column("dataset_sha256", ForeignKey("datasets.sha256"), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("config", JSON, nullable=False),
    Column("promote", String(16), nullable=False),
    Column("note", String(200)),
    Column("warnings", JSON, nullable=False),
    Column("metrics", JSON),
    Column("model_version", Integer),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Index("jobs_by_state", "state", "id"),
    sqlite_autoincrement=True,
)


class now(FunctionElement[float]):  # noqa: N801 - written like any SQL function
    """The database's clock, in seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class StoreError(Exception):
    """The database cannot be opened."""


class Store:
    """The open database. `read` and `write` are the only ways in."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating the folder and the tables where they are missing.

        Raises:
            StoreError: The file is not a database, or cannot be read or written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot use {path.parent}: {error.strerror}") from error
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": BUSY_SECONDS},
            hide_parameters=True,
        )
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)
        try:
            with self.write() as connection:
                metadata.create_all(connection)
        except DatabaseError as error:
            raise StoreError(f"cannot use {path}: {error.orig}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is alone, and whole or not at all."""
        engine = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        with engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _configure(connection: sqlite3.Connection, _: Any) -> None:
    """Set a new SQLite connection up.

    Write-ahead logging can corrupt the file under several connections in SQLite
    before 3.51.3 (https://sqlite.org/wal.html#walresetbug), so older ones keep a
    rollback journal.
    """
    connection.isolation_level = None  # transactions are begun by `_begin`
    connection.execute("PRAGMA foreign_keys = ON")
    if _has_safe_wal(sqlite3.sqlite_version_info):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    else:
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = EXTRA")


def _has_safe_wal(version: tuple[int, ...]) -> bool:
    newest, *branches = _FIXED_WAL
    return version >= newest or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in branches
    )


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
