"""Measure what each transaction on the store costs, and how many bytes rows take.

Each step of a job's life is done for many jobs in a row, on SQLite and on a PostgreSQL
that writes to the disk as one in service does. Processor time is that of this process,
the client, and that of all processes of PostgreSQL; the milliseconds are what the
client waited, the disk included; the log is what PostgreSQL wrote ahead, which is also
what a standby would be sent. Steps in a row find everything in the caches; what the
polling of idle processes costs is the matter of `benchmarks.polling`.

Jobs have the longest history that is kept, 200 epochs, and people of their own. Rows
are counted with their indexes, after `VACUUM FULL`.

Usage: python -m benchmarks.store [TIMES]
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from app.claims import Claim, Claims, Progress, Result
from app.gate import PROMOTED
from app.jobs import Jobs, Submission
from app.progress import MAX_POINTS
from app.settings import Settings
from app.store import Store
from app.tables import active
from app.versions import Versions
from benchmarks.load import Usage, tree
from model import ARTICLE_CONFIG, Dataset, load_shipped
from tests.databases import PostgreSQL, databases

TIMES: Final = 200
FEW: Final = 4
MANY: Final = 10_000
POINTS: Final = tuple((n, 1 / (n + 3), 1 / (n + 7)) for n in range(MAX_POINTS))
PROGRESS: Final = Progress(MAX_POINTS, 1 / 3, 1 / 7, POINTS)
TABLES: Final = {"a job": "jobs", "a version": "models", "4 people": "datasets"}
LOG_BYTES: Final = SQL("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
ROW_BYTES: Final = SQL("SELECT pg_total_relation_size({}) / count(*) FROM {}")
MANY_BYTES: Final = SQL("SELECT max(pg_column_size(content)) FROM datasets")
_ACTIVE: Final = select(active)

Step = tuple[Callable[[Any], object], Sequence[Any]]


class Used(NamedTuple):
    """What was used so far, or by one transaction."""

    seconds: float
    client_seconds: float
    server_seconds: float = 0.0
    log_bytes: float = 0.0


class Meter:
    """Looks at what this process and PostgreSQL, if that is there, have used."""

    def __init__(self, server: PostgreSQL | None = None, url: str = "") -> None:
        """Take a database of the server's."""
        self._server = server
        self._beside = psycopg.connect(url, autocommit=True) if server else None

    def cost(self, step: Callable[[Any], object], things: Sequence[Any]) -> Used:
        """Do the step with each thing and return what one costs."""
        before = self._used()
        for thing in things:
            step(thing)
        spent = (b - a for a, b in zip(before, self._used(), strict=True))
        return Used(*(value / len(things) for value in spent))

    def row_bytes(self, table: str) -> float:
        """Return what a row of a table takes in PostgreSQL."""
        self.ask(SQL("VACUUM FULL"))
        return self.ask(ROW_BYTES.format(Literal(table), Identifier(table)))

    def ask(self, query: SQL | Composed) -> float:
        """Ask PostgreSQL for a number, beside all transactions."""
        if self._beside is None:
            return 0.0
        done = self._beside.execute(query)
        (value,) = (done.fetchone() if done.description else None) or (0.0,)
        return float(value)

    def close(self) -> None:
        """Disconnect."""
        if self._beside:
            self._beside.close()

    def _used(self) -> Used:
        clocks = time.perf_counter(), time.process_time()
        if self._server is None:
            return Used(*clocks)
        server_seconds = Usage.of(*tree(self._server.pid)).cpu_seconds
        return Used(*clocks, server_seconds, self.ask(LOG_BYTES))


class Life:
    """Jobs from the queue to their end."""

    def __init__(self, store: Store, settings: Settings, meter: Meter) -> None:
        """Make the tables."""
        self._store, self._meter, self._generation = store, meter, 1
        self._jobs, self._claims = Jobs(store, settings), Claims(store, settings)
        self._versions = Versions(store, settings)
        self._versions.prepare()

    def of_few(self, times: int) -> dict[str, Used]:
        """Take that many jobs of four people through all their steps."""
        nothing, claims = [None] * times, list[Claim]()
        steps: dict[str, Step] = {
            "a server's poll": (self._poll, nothing),
            "a runner's look": (self._claims.take, ["look"] * times),
            f"enqueue {FEW} people": (self._enqueue, _people(FEW, times)),
            "take": (lambda _: claims.append(self._take()), nothing),
            f"read {FEW} people": (self._claims.read, claims),
            "beat": (lambda claim: self._claims.beat(claim, PROGRESS), claims),
            "read the champion": (lambda _: self._versions.champion(), nothing),
            "succeed, promoted": (self._succeed, claims),
        }
        return {name: self._meter.cost(*step) for name, step in steps.items()}

    def of_many(self, times: int) -> dict[str, Used]:
        """Queue and read jobs of ten thousand people."""
        enqueued = self._meter.cost(self._enqueue, _people(MANY, times))
        claims = [self._take() for _ in range(times)]
        read = self._meter.cost(self._claims.read, claims)
        return {f"enqueue {MANY:,} people": enqueued, f"read {MANY:,} people": read}

    def _poll(self, _: None) -> None:
        with self._store.read() as connection:
            connection.execute(_ACTIVE).first()

    def _enqueue(self, data: Dataset) -> None:
        submission = Submission(
            data=data, config=ARTICLE_CONFIG, promote="always", note=None, warnings=()
        )
        self._jobs.enqueue(submission)

    def _take(self) -> Claim:
        claim = self._claims.take("life")
        if claim is None:
            raise RuntimeError("the queue is empty")
        return claim

    def _succeed(self, claim: Claim) -> None:
        result = Result(load_shipped(), None, PROMOTED, self._generation)
        self._claims.succeed(claim, PROGRESS, result)
        self._generation += 1


@contextmanager
def life(data_dir: Path, url: str | None, meter: Meter) -> Iterator[Life]:
    """Open a store."""
    settings = Settings.model_validate(
        {"data_dir": data_dir, "database_url": url, "queue_limit": 10**6}
    )
    store = Store(settings)
    try:
        yield Life(store, settings, meter)
    finally:
        store.close()
        meter.close()


def _people(rows: int, times: int) -> list[Dataset]:
    """Return that many datasets, each another."""
    generator = np.random.default_rng(0)
    return [
        Dataset(
            X=generator.normal(0, 20, (rows, 2)).round(1),
            y=generator.integers(0, 2, (rows, 1)).astype(np.float64),
        )
        for _ in range(times)
    ]


def costs_table(local: dict[str, Used], remote: dict[str, Used]) -> Table:
    """Return a row for each transaction."""
    table = Table("transaction", "SQLite, ms", "PostgreSQL, ms")
    for name in ("client's CPU, ms", "its CPU, ms", "log, kB"):
        table.add_column(name)
    for name, there in remote.items():
        seconds = local[name].seconds, *there[:3]
        cells = (f"{1e3 * one:.2f}" for one in seconds)
        table.add_row(name, *cells, f"{there.log_bytes / 1e3:.1f}")
    return table


def main() -> None:
    """Print a row for each transaction, then the bytes of each kind of row."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    more = max(times // 10, 2)
    with tempfile.TemporaryDirectory() as name, databases() as made:
        with life(Path(name), None, Meter()) as one:
            local = one.of_few(times) | one.of_many(more)
        made.postgresql.sync()
        url = made.postgresql.new_database()
        meter = Meter(made.postgresql, url)
        with life(Path(name), url, meter) as one:
            remote = one.of_few(times)
            taken = {what: meter.row_bytes(table) for what, table in TABLES.items()}
            remote |= one.of_many(more)
            taken[f"{MANY:,} people"] = meter.ask(MANY_BYTES)
    console = Console()
    console.print(costs_table(local, remote))
    console.print("bytes:", ", ".join(f"{k} {v:,.0f}" for k, v in taken.items()))


if __name__ == "__main__":
    main()
