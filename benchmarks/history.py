"""Measure what becomes dearer as finished jobs pile up in PostgreSQL.

Two databases of one PostgreSQL: one with few finished jobs, one with many, each with
people of its own. The same is asked of both, and the processor time of PostgreSQL is
compared. What grows with the jobs sets a bound on how many may be kept; purging holds
up all who write, and a statement may take 5 s. PostgreSQL has no parallel workers here,
whose time would not be seen.

Usage: python -m benchmarks.history [JOBS]
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.sql import SQL, Literal
from rich.console import Console
from rich.table import Table

from app.claims import Claims
from app.job_statistics import JobStatistics
from app.jobs import Jobs
from app.purging import purge
from app.settings import Settings
from app.store import Store
from app.versions import Versions
from benchmarks.store import Meter, Used
from tests.databases import PostgreSQL, databases

FEW: Final = 1_000
MANY: Final = 200_000
TIMES: Final = 20
FILL: Final = (
    SQL("""
    INSERT INTO datasets (sha256, rows, content)
    SELECT md5(n::text) || md5(n::text), 4, sha256(n::text::bytea)
    FROM generate_series(1, {}) n
    """),
    SQL("""
    INSERT INTO jobs (state, outcome, revision, attempt, epoch, history, config, rows,
        dataset_sha256, promote, warnings, caller, created_at, started_at, finished_at)
    SELECT 'succeeded', 'kept', 4, 1, 200, '[]', '{{}}', 4,
        md5(n::text) || md5(n::text), 'never', '[]', '', clock.now, clock.now,
        clock.now + random()
    FROM generate_series(1, {}) n, (SELECT extract(epoch FROM now()) now) clock
    """),
)


def costs(server: PostgreSQL, folder: Path, finished: int) -> dict[str, Used]:
    """Fill a database, and return what it costs to ask it."""
    url = server.new_database()
    settings = Settings.model_validate({"database_url": url, "data_dir": folder})
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER ROLE CURRENT_USER SET max_parallel_workers = 0")
    store, meter = Store(settings), Meter(server, url)
    Versions(store, settings).prepare()
    for statement in FILL:
        meter.ask(statement.format(Literal(finished)))
    meter.ask(SQL("VACUUM ANALYZE"))
    jobs, claims = Jobs(store, settings), Claims(store, settings)
    asked: dict[str, Callable[[Any], object]] = {
        "a runner's look": lambda _: claims.take("look"),
        "GET /train": lambda _: jobs.page(state=None, before=None, limit=20),
        "GET /metrics": lambda _: JobStatistics(store).look(),
        "a runner's purge": lambda _: purge(store, settings.keep_jobs_seconds),
    }
    found = {name: meter.cost(ask, range(TIMES)) for name, ask in asked.items()}
    store.close()
    meter.close()
    return found


def main() -> None:
    """Print a row for each question."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    with tempfile.TemporaryDirectory() as name, databases() as made:
        here, there = (
            costs(made.postgresql, Path(name), number) for number in (FEW, many)
        )
    table = Table("PostgreSQL's CPU, ms", f"{FEW:,} jobs", f"{many:,} jobs")
    table.add_column("of each job more, µs")
    for name, few in here.items():
        slope = (there[name].server_seconds - few.server_seconds) / (many - FEW)
        seconds = few.server_seconds, there[name].server_seconds
        table.add_row(name, *(f"{1e3 * s:.2f}" for s in seconds), f"{1e6 * slope:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
