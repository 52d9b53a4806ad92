"""The store: the database, and the two kinds of transaction.

Nothing else is shared between processes. One process writes at a time, on SQLite by
its own lock and on PostgreSQL by one of ours, so that whoever reads inside a writing
transaction may act on what was read.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from app.settings import Settings
from app.tables import SCHEMA_VERSION, metadata, schema

BUSY_SECONDS: Final = 5
POOL_SECONDS: Final = 2
POOL_SIZE: Final = 5

_FIXED_WAL: Final = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
_WRITE_LOCK: Final = 0x6F666673_65746E74  # "offsetnt", of all advisory locks ours
_POSTGRESQL: Final = {
    "connect_timeout": 3,
    "application_name": "offsetnet",
    "options": f"-c statement_timeout={BUSY_SECONDS}s"
    f" -c idle_in_transaction_session_timeout={BUSY_SECONDS}s",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


class StoreError(Exception):
    """The database cannot be used as it is."""


class Store:
    """The database. `read` and `write` are the only ways in.

    Attributes:
        is_remote: Whether it is a server, which may be away for a while.
    """

    def __init__(self, settings: Settings) -> None:
        """Keep where it is; it is opened by `prepare`.

        Raises:
            StoreError: The URL names no database that can be used.
        """
        self._data_dir = settings.data_dir
        self._url = _url(settings)
        self._is_prepared = False
        self.is_remote = self._url.get_backend_name() != "sqlite"
        self._engine = _remote(self._url) if self.is_remote else _local(self._url)

    def prepare(self) -> None:
        """Create the folder and the tables where they are missing; once is enough.

        Raises:
            StoreError: It is not ours, or cannot be read or written.
            DBAPIError: A database server does not answer.
        """
        if self._is_prepared:
            return
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            with self.write() as connection:
                found = set(inspect(connection).get_table_names())
                if not metadata.tables.keys() <= found:
                    self._check_owner(found)
                    metadata.create_all(connection)
                self._check_schema(connection)
        except OSError as error:
            message = f"cannot use {self._data_dir}: {error.strerror}"
            raise StoreError(message) from error
        except DBAPIError as error:
            if self.is_remote:
                raise
            message = f"cannot use {self._url.database}: {error.orig}"
            raise StoreError(message) from error
        self._is_prepared = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is alone, and whole or not at all."""
        engine = self._engine.execution_options(writes=True)
        with engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @staticmethod
    def _check_owner(found: set[str]) -> None:
        taken = sorted(found & metadata.tables.keys())
        if taken and schema.name not in found:
            raise StoreError(
                f"the database has tables of another program: {', '.join(taken)}"
            )

    def _check_schema(self, connection: Connection) -> None:
        found = connection.scalar(select(schema.c.version))
        if found is None:
            connection.execute(insert(schema).values(version=SCHEMA_VERSION))
        elif found != SCHEMA_VERSION:
            raise StoreError(
                f"the tables are those of another release: schema {found}, "
                f"expected {SCHEMA_VERSION}"
            )


def _url(settings: Settings) -> URL:
    address = settings.database()
    if address is None:
        path = settings.data_dir / "offsetnet.sqlite3"
        return URL.create("sqlite", database=str(path))
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        url = URL.create("nothing")
    if url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise StoreError("the database URL must start with postgresql://")
    return url.set(drivername="postgresql+psycopg")


def _local(url: URL) -> Engine:
    arguments = {"timeout": BUSY_SECONDS}
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args=arguments,
        pool_timeout=POOL_SECONDS,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin_local)
    return engine


def _remote(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            connect_args={k: v for k, v in _POSTGRESQL.items() if k not in url.query},
            pool_pre_ping=True,
            pool_size=POOL_SIZE,
            pool_timeout=POOL_SECONDS,
        )
    except ImportError as error:
        message = "for PostgreSQL, pip install 'offsetnet[postgres]'"
        raise StoreError(message) from error
    event.listen(engine, "begin", _begin_remote)
    return engine


def _configure(connection: sqlite3.Connection, _: Any) -> None:
    """Set a new SQLite connection up.

    Write-ahead logging can corrupt the file under several connections in SQLite
    before 3.51.3 (https://sqlite.org/wal.html#walresetbug), so older ones keep a
    rollback journal.
    """
    connection.isolation_level = None  # transactions are begun by `_begin_local`
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


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("writes"))


def _begin_local(connection: Connection) -> None:
    immediate = " IMMEDIATE" if _writes(connection) else ""
    connection.exec_driver_sql("BEGIN" + immediate)


def _begin_remote(connection: Connection) -> None:
    if _writes(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")
