"""Every order of the steps of runners and clients that finish, cancel and activate.

Each session's steps are in its own order, and every merge of the sessions is played on
the real classes and a real database: a runner takes, decides and finishes; another
takes over a lease that ran out; clients roll back with an ETag and cancel.

Usage: python -m tests.faults.interleavings [--few]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from rich.table import Table
from sqlalchemy import select, update

from app.claims import Claim, Claims, LostJobError, Progress, Result, StaleChampionError
from app.gate import PROMOTED
from app.jobs import FinishedJobError, Jobs, Submission
from app.settings import Settings
from app.store import Store
from app.tables import active, jobs, models
from app.versions import StaleGenerationError, Versions
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, load_shipped
from tests.databases import ENGINES, URL, databases
from tests.faults.report import report
from tests.faults.statemachine import bounds

Step = Callable[[], None]
SESSIONS: Final = {
    "finish, roll back, cancel": ("runner", "client", "canceller"),
    "finish, take over, roll back": ("runner", "successor", "client"),
    "finish, take over, cancel": ("runner", "successor", "canceller"),
    "two roll back, one finishes": ("runner", "client", "client"),
}


class History:
    """One order of steps, from an empty queue with one job."""

    def __init__(self, store_settings: Settings, store: Store) -> None:
        """Start anew."""
        self._store = store
        self._versions = Versions(store, store_settings)
        self._claims = Claims(store, store_settings)
        self._jobs = Jobs(store, store_settings)
        self._versions.prepare()
        self._empty()
        submission = Submission(
            data=ARTICLE_PEOPLE,
            config=ARTICLE_CONFIG,
            promote="always",
            note=None,
            warnings=(),
        )
        self._job_id = self._jobs.enqueue(submission)[0]["id"]
        self._told = {"finished": 0, "rolled back": 0, "cancelled": 0}

    def session(self, name: str) -> list[Step]:
        """Return the steps of one session, in order."""
        seen: dict[str, Any] = {}
        runner: list[Step] = [
            lambda: seen.update(claim=self._claims.take(name)),
            lambda: seen.update(generation=self._versions.champion().generation),
            lambda: self._finish(seen["claim"], seen["generation"]),
        ]
        steps: dict[str, list[Step]] = {
            "runner": runner,
            "successor": [self._fall_silent, *runner],
            "client": [
                lambda: seen.update(generation=self._versions.describe_active()[1]),
                lambda: self._roll_back(seen["generation"]),
            ],
            "canceller": [self._cancel],
        }
        return steps[name]

    def wrong(self) -> Iterator[str]:
        """Yield what may not be in the end."""
        with self._store.read() as connection:
            job = connection.execute(select(jobs)).one()
            made = connection.execute(select(models).where(models.c.version > 1)).all()
            pointer = connection.execute(select(active)).one()
        told = self._told
        if told["finished"] > 1 or len(made) != told["finished"]:
            yield f"{len(made)} versions, {told['finished']} finished"
        if told["cancelled"] and (job.state != "cancelled" or made):
            yield f"cancelled, but {job.state} with {len(made)} versions"
        if told["finished"] and job.state != "succeeded":
            yield f"finished, but {job.state}"
        if pointer.generation != 1 + told["finished"] + told["rolled back"]:
            yield f"generation {pointer.generation} after {told}"
        if job.state == "succeeded" and job.model_version != made[0].version:
            yield "the job names another version"

    def _finish(self, claim: Claim | None, generation: int) -> None:
        """Finish; with a decision made anew where the first was too old."""
        if claim is None:
            return
        try:
            result = Result(load_shipped(), None, PROMOTED, generation)
            self._claims.succeed(claim, Progress(1), result)
        except LostJobError:
            return
        except StaleChampionError:
            self._finish(claim, self._versions.champion().generation)
        else:
            self._told["finished"] += 1

    def _roll_back(self, generation: int) -> None:
        try:
            self._versions.activate(1, frozenset({generation}))
        except StaleGenerationError:
            return
        self._told["rolled back"] += 1

    def _cancel(self) -> None:
        try:
            self._jobs.cancel(self._job_id)
        except FinishedJobError:
            return
        self._told["cancelled"] += 1

    def _fall_silent(self) -> None:
        with self._store.write() as connection:
            is_running = jobs.c.state == "running"
            connection.execute(update(jobs).where(is_running).values(lease_until=0))

    def _empty(self) -> None:
        with self._store.write() as connection:
            connection.execute(active.delete())
            connection.execute(jobs.delete())
            connection.execute(models.delete().where(models.c.version != 1))
            connection.execute(active.insert().values(id=1, version=1, generation=1))


def orders(lengths: Sequence[int]) -> list[tuple[int, ...]]:
    """Return every merge of sessions of these lengths, as session numbers."""
    if not any(lengths):
        return [()]
    merged = []
    for number, length in enumerate(lengths):
        if length:
            rest = [*lengths[:number], length - 1, *lengths[number + 1 :]]
            merged += [(number, *order) for order in orders(rest)]
    return merged


def play(store_settings: Settings, names: Sequence[str]) -> tuple[int, list[str]]:
    """Play every order; return how many there are, and what is wrong in which."""
    store = Store(store_settings)
    lengths = [len(History(store_settings, store).session(name)) for name in names]
    every, wrong = orders(lengths), []
    for order in every:
        history = History(store_settings, store)
        sessions = [iter(history.session(name)) for name in names]
        for number in order:
            next(sessions[number])()
        wrong += [f"{names} {order}: {fault}" for fault in history.wrong()]
    store.close()
    return len(every), wrong


def main() -> int:
    """Print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--few", action="store_true", help="those of the first kind")
    is_few = parser.parse_args().few
    table, wrong = Table("sessions", "engine", "orders", "anomalies"), []
    with databases() as made, tempfile.TemporaryDirectory() as folder:
        for engine in ENGINES:
            url = made.new(engine).get(URL)
            for title, names in [*SESSIONS.items()][: 1 if is_few else None]:
                chosen = bounds(data_dir=folder, database_url=url)
                played, found = play(chosen, names)
                table.add_row(title, engine, str(played), str(len(found)))
                wrong += found
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
