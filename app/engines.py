"""The engines: how SQLite and PostgreSQL are connected to, and what bounds their waits.

A transaction that writes is marked by the execution option `writes`.
"""

import sqlite3
import time
from collections.abc import Generator
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event

BUSY_SECONDS: Final = 5
SILENCE_SECONDS: Final = 6.0  # of a server that ends each statement before that
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

Exchange = Generator[Any, Any, Any]  # with a server, as psycopg makes it


def local(url: URL) -> Engine:
    """Return an engine for a SQLite file."""
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS},
        pool_timeout=POOL_SECONDS,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin_local)
    return engine


def remote(url: URL) -> Engine:
    """Return an engine for a PostgreSQL server.

    Raises:
        ImportError: Its driver is not installed.
    """
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={k: v for k, v in _POSTGRESQL.items() if k not in url.query},
        pool_pre_ping=True,
        pool_size=POOL_SIZE,
        pool_timeout=POOL_SECONDS,
    )
    event.listen(engine, "connect", _bound_silence)
    event.listen(engine, "begin", _begin_remote)
    return engine


def has_safe_wal(version: tuple[int, ...]) -> bool:
    """Tell whether several connections may keep a write-ahead log in this SQLite."""
    newest, *branches = _FIXED_WAL
    return version >= newest or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in branches
    )


def _configure(connection: sqlite3.Connection, _: Any) -> None:
    """Set a new SQLite connection up.

    Write-ahead logging can corrupt the file under several connections in SQLite
    before 3.51.3 (https://sqlite.org/wal.html#walresetbug), so older ones keep a
    rollback journal.
    """
    connection.isolation_level = None  # transactions are begun by `_begin_local`
    connection.execute("PRAGMA foreign_keys = ON")
    if has_safe_wal(sqlite3.sqlite_version_info):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    else:
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = EXTRA")


def _bound_silence(connection: Any, _: Any) -> None:
    """Let no exchange with PostgreSQL wait for ever.

    The system of a server that is frozen still acknowledges what is sent to it, so
    none of the driver's options notices.
    """
    wait = connection.wait

    def wait_in_time(exchange: Exchange, *arguments: Any, **options: Any) -> Any:
        return wait(_in_time(exchange, connection), *arguments, **options)

    connection.wait = wait_in_time


def _in_time(exchange: Exchange, connection: Any) -> Exchange:
    """Hand on what the exchange waits for and what came, but end a long silence.

    The driver asks back ten times a second where nothing comes.
    """
    ready, heard = None, time.monotonic()
    while True:
        try:
            wanted = exchange.send(ready)
        except StopIteration as end:
            return end.value
        ready = yield wanted
        if ready:
            heard = time.monotonic()
        elif time.monotonic() > heard + SILENCE_SECONDS:
            connection.pgconn.finish()  # so that it is not used again
            raise connection.OperationalError("the server is silent")


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("writes"))


def _begin_local(connection: Connection) -> None:
    immediate = " IMMEDIATE" if _writes(connection) else ""
    connection.exec_driver_sql("BEGIN" + immediate)


def _begin_remote(connection: Connection) -> None:
    if _writes(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")
