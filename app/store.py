"""The store: the database, and the two kinds of transaction.

Nothing else is shared between processes. One process writes at a time, on SQLite by
its own lock and on PostgreSQL by one of ours, so that whoever reads inside a writing
transaction may act on what was read.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from sqlalchemy import URL, Connection, make_url, update
from sqlalchemy.exc import ArgumentError, DBAPIError

from app.engines import local, remote
from app.settings import Settings
from app.tables import schema
from app.upgrades import STEPS, SchemaError, Steps, bring_up_to_date

_until: Final = ContextVar("until", default=math.inf)  # by the monotonic clock


# Only by writing SQLite tells that a file cannot be written.
_NOTHING: Final = update(schema).values(version=schema.c.version)


class StoreError(Exception):
    """The database cannot be used as it is."""


class BusyError(StoreError):
    """As many wait for the database as may."""


class LateError(StoreError):
    """The database takes longer than anybody waits."""


def reason(error: Exception) -> str:
    """Return what a log may say: the driver's own words may quote what is stored."""
    return str(error) if isinstance(error, StoreError) else type(error).__name__


@contextmanager
def in_time(until: float) -> Iterator[None]:
    """Let no transaction of this thread's begin or commit after that time."""
    token = _until.set(until)
    try:
        yield
    finally:
        _until.reset(token)


class Store:
    """The database. `read` and `write` are the only ways in.

    Attributes:
        is_remote: Whether it is a server, which may be away for a while.
    """

    def __init__(self, settings: Settings, steps: Steps = STEPS) -> None:
        """Keep where it is, and how it is upgraded; it is opened by `prepare`.

        Raises:
            StoreError: The URL names no database that can be used.
        """
        self._steps = steps
        self._data_dir = settings.data_dir
        self._url = _url(settings)
        self._is_prepared = False
        self.is_remote = self._url.get_backend_name() != "sqlite"
        try:
            self._engine = (remote if self.is_remote else local)(self._url)
        except ImportError as error:
            message = "for PostgreSQL, pip install 'offsetnet[postgres]'"
            raise StoreError(message) from error

    def prepare(self) -> None:
        """Create folder and tables where there are none, and upgrade older ones.

        Once is enough.

        Raises:
            StoreError: It is not ours, or cannot be read, written or upgraded.
            DBAPIError: A database server does not answer.
        """
        if self._is_prepared:
            return
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            with self.write() as connection:
                bring_up_to_date(connection, self._steps)
                if not self.is_remote:  # which may be made writable meanwhile
                    connection.execute(_NOTHING)
        except SchemaError as error:
            raise StoreError(str(error)) from error
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
        """Open a transaction that only reads.

        Raises:
            LateError: It is too late for that.
        """
        _check_time()
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is alone, and whole or not at all.

        Raises:
            LateError: It is too late for that; nothing is changed.
        """
        _check_time()
        engine = self._engine.execution_options(writes=True)
        with engine.begin() as connection:
            yield connection
            _check_time()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _check_time() -> None:
    if time.monotonic() > _until.get():
        raise LateError("the database takes too long")


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
