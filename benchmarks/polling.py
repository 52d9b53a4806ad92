"""Measure what those who only look cost PostgreSQL, and the connections that are held.

A server looks for another active version once a second, a runner for a job. One of each
is watched while nothing is asked of it; then stand-ins for many servers, which are
threads with a connection each that ask what a server asks. The processor time is that
of all processes of PostgreSQL, without what it uses when nobody is there.

Last, 32 clients at once read and write by the one server, whose connections are counted
meanwhile: predictions need none.

Usage: python -m benchmarks.polling [SECONDS [STAND-INS]]
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from app.settings import Settings
from app.store import Store
from app.tables import active
from benchmarks.deployment import Deployment, deployment
from benchmarks.load import Usage, tree
from tests.databases import URL, PostgreSQL, databases
from tests.server import Server, wait_for

SECONDS: Final = 15.0
STAND_INS: Final = 80  # PostgreSQL allows 100 connections where nothing is set
CLIENTS: Final = 32
POLL_SECONDS: Final = 1.0
CONNECTED: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'offsetnet'"
)
_ACTIVE: Final = select(active)


class Look(NamedTuple):
    """What was seen of PostgreSQL for a while."""

    share: float
    connections: int


class Watch:
    """Looks at a PostgreSQL from beside."""

    def __init__(self, server: PostgreSQL, url: str) -> None:
        """Connect."""
        self._server = server
        self._connection = psycopg.connect(url, autocommit=True)

    def look(self, seconds: float) -> Look:
        """Return the share of a core that it uses, and who is connected."""
        processes = tree(self._server.pid)
        before, begin = Usage.of(*processes).cpu_seconds, time.monotonic()
        time.sleep(seconds)
        spent = Usage.of(*processes).cpu_seconds - before
        return Look(spent / (time.monotonic() - begin), self.connections())

    def connections(self) -> int:
        """Return how many connections of ours there are."""
        (number,) = self._connection.execute(CONNECTED).fetchone() or (0,)
        return int(number)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


@contextmanager
def stand_ins(url: str, folder: Path, number: int) -> Iterator[None]:
    """Look for a new version as that many servers do, each in its part of a second."""
    settings = Settings.model_validate({"database_url": url, "data_dir": folder})
    stop = threading.Event()
    with ThreadPoolExecutor(number) as threads:
        for one in range(number):
            threads.submit(_poll, Store(settings), stop, one * POLL_SECONDS / number)
        try:
            yield
        finally:
            stop.set()


def _poll(store: Store, stop: threading.Event, delay: float) -> None:
    begin = time.monotonic() + delay
    for number in count():
        if stop.wait(begin + number * POLL_SECONDS - time.monotonic()):
            store.close()
            return
        with store.read() as connection:
            connection.execute(_ACTIVE).first()


def busy(deployed: Deployment, watch: Watch, seconds: float) -> int:
    """Return the most connections while many clients read and write."""
    until = time.monotonic() + seconds
    (server,) = deployed.replicas
    most = 0
    with ThreadPoolExecutor(CLIENTS) as threads:
        asking = [threads.submit(_ask, server, until, n) for n in range(CLIENTS)]
        while time.monotonic() < until:
            most = max(most, watch.connections())
            time.sleep(0.02)
        for one in asking:
            one.result()
    return most


def _ask(server: Server, until: float, number: int) -> None:
    body, any_generation = {"version": 1}, {"If-Match": "*"}
    while time.monotonic() < until:
        if number % 2:
            answer = server.client.get("/models")
        else:
            answer = server.client.put(
                "/models/active", json=body, headers=any_generation
            )
        if answer.status_code not in {200, 503}:
            answer.raise_for_status()


def main() -> None:
    """Print a row for nobody, for one of each, and for many."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    number = int(sys.argv[2]) if len(sys.argv) > 2 else STAND_INS  # noqa: PLR2004
    with tempfile.TemporaryDirectory() as name, databases() as made:
        environment, folder = made.new("postgresql"), Path(name)
        watch = Watch(made.postgresql, environment[URL])
        nobody = watch.look(seconds)
        with deployment(folder / "one", environment, 1) as one:
            wait_for(lambda: watch.connections() > 1)
            idle = watch.look(seconds)
            most = busy(one, watch, seconds / 3)
        with stand_ins(environment[URL], folder, number):
            wait_for(lambda: watch.connections() == number)
            many = watch.look(seconds)
        watch.close()
    table = Table("who looks", "polls a second", "connections", "% of a core")
    table.add_column("ms of its CPU a poll")
    rows = {"a server, a runner": (2, idle), f"{number} servers": (number, many)}
    for who, (polls, look) in rows.items():
        share = look.share - nobody.share
        cells = f"{100 * share:.2f}", f"{1e3 * share * POLL_SECONDS / polls:.2f}"
        table.add_row(who, str(polls), str(look.connections), *cells)
    console = Console()
    console.print(table)
    console.print(f"With {CLIENTS} clients at once the pair held {most} connections.")


if __name__ == "__main__":
    main()
