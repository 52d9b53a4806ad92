"""Jobs and versions against a small model, step by step, in every order that comes up.

Hypothesis chooses the steps: two runners take, beat, finish, fail and let go; clients
submit, cancel, activate and delete; leases run out. After each step the database must
be in the model's state.

Usage: python -m tests.faults.statemachine [--examples N] [--steps N]
"""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from rich.table import Table
from sqlalchemy import select, update

from app.claims import Claim, Claims, LostJobError, Progress, Result, StaleChampionError
from app.gate import Decision
from app.jobs import (
    FinishedJobError,
    Jobs,
    KeyReusedError,
    Origin,
    QueueFullError,
    Submission,
)
from app.settings import Settings
from app.store import Store
from app.tables import active, jobs, models
from app.versions import (
    StaleGenerationError,
    UnknownVersionError,
    VersionInUseError,
    Versions,
)
from model import ARTICLE_CONFIG, ARTICLE_PEOPLE, load_shipped
from tests.databases import ENGINES, URL, databases
from tests.faults.report import report

ATTEMPTS: Final = 2
KEEP: Final = 3
QUEUE: Final = 4
RUNNERS: Final = ("a", "b")
OUTCOMES: Final = ("promoted", "rejected", "kept")
STEPS: Final = Counter[str]()


@dataclass
class ModelJob:
    """What the model knows of a job."""

    note: str
    state: str = "queued"
    attempt: int = 0
    owner: str | None = None
    is_silent: bool = False

    def end(self, state: str) -> None:
        """Let it end."""
        self.state, self.owner, self.is_silent = state, None, False


@dataclass
class Model:
    """The whole state: jobs by number, keys, versions, and the active one."""

    jobs: dict[int, ModelJob] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    versions: set[int] = field(default_factory=lambda: {1})
    newest: int = 1
    active: int = 1
    previous: int | None = None
    generation: int = 1

    def activate(self, version: int) -> None:
        """Let a version serve."""
        if version != self.active:
            self.previous = self.active
        self.active, self.generation = version, self.generation + 1

    def prune(self) -> None:
        """Keep what the rule keeps."""
        newest = sorted(self.versions)[-KEEP:]
        self.versions &= {1, self.active, self.previous or 1, *newest}

    def oldest_free(self) -> int | None:
        """Return the job to be taken next; jobs that were tried too often end."""
        for job in self.jobs.values():
            if job.is_silent and job.attempt >= ATTEMPTS:
                job.end("failed")
        free = (n for n, j in self.jobs.items() if j.state == "queued" or j.is_silent)
        return min(free, default=None)

    def owned(self, claim: Claim) -> ModelJob | None:
        """Return the job where the claim still holds."""
        job = self.jobs[claim.id]
        return job if job.owner == claim.owner else None


class Machine(RuleBasedStateMachine):
    """The steps, each done to the database and to the model."""

    store_settings: Settings
    claims_made = Bundle("claims_made")

    def __init__(self) -> None:
        """Start with an empty database."""
        super().__init__()
        self._store = Store(self.store_settings)
        self._versions = Versions(self._store, self.store_settings)
        self._versions.prepare()
        self._empty()
        self._jobs = Jobs(self._store, self.store_settings)
        self._claims = Claims(self._store, self.store_settings)
        self._model = Model()

    def _empty(self) -> None:
        """Leave nothing but the shipped version of an earlier history."""
        with self._store.write() as connection:
            connection.execute(active.delete())
            connection.execute(jobs.delete())
            connection.execute(models.delete().where(models.c.version != 1))
            connection.execute(
                active.insert().values(id=1, version=1, previous=None, generation=1)
            )

    @rule(key=st.sampled_from([None, "x", "y"]), note=st.sampled_from(["1", "2"]))
    def submit(self, key: str | None, note: str) -> None:
        """Submit a job."""
        STEPS["submit"] += 1
        submission = Submission(
            data=ARTICLE_PEOPLE,
            config=ARTICLE_CONFIG,
            promote="always",
            note=note,
            warnings=(),
        )
        waiting = [job for job in self._model.jobs.values() if job.state == "queued"]
        known = self._model.keys.get(key) if key else None
        try:
            row, is_known = self._jobs.enqueue(submission, Origin("", key))
        except KeyReusedError:
            assert known is not None
            assert self._model.jobs[known].note != note
        except QueueFullError:
            assert known is None
            assert len(waiting) == QUEUE
        else:
            assert is_known == (known is not None)
            assert known in {None, row["id"]}
            if known is None:
                assert row["id"] not in self._model.jobs
                self._model.jobs[row["id"]] = ModelJob(note)
                self._model.keys |= {key: row["id"]} if key else {}

    @rule(target=claims_made, runner=st.sampled_from(RUNNERS))
    def take(self, runner: str) -> Claim | None:
        """Take a job."""
        STEPS["take"] += 1
        expected = self._model.oldest_free()
        claim = self._claims.take(runner)
        assert (claim and claim.id) == expected
        if claim:
            job = self._model.jobs[claim.id]
            job.state, job.owner, job.is_silent = "running", claim.owner, False
            job.attempt += 1
        return claim

    @rule(claim=claims_made)
    def beat(self, claim: Claim | None) -> None:
        """Beat for a claim, old or new."""
        STEPS["beat"] += 1
        if claim:
            job = self._model.owned(claim)
            assert self._claims.beat(claim, Progress(1)) == (job is not None)
            if job:
                job.is_silent = False

    @rule(
        claim=claims_made,
        outcome=st.sampled_from(OUTCOMES),
        age=st.sampled_from([0, 0, 0, 1]),
    )
    def succeed(self, claim: Claim | None, outcome: Any, age: int) -> None:
        """Finish with a claim, and a decision made now or earlier."""
        STEPS["succeed"] += 1
        if claim is None:
            return
        job, model = self._model.owned(claim), self._model
        generation = model.generation - age
        result = Result(load_shipped(), None, Decision(outcome), generation)
        try:
            self._claims.succeed(claim, Progress(1), result)
        except StaleChampionError:
            assert age
        except LostJobError:
            assert job is None
        else:
            assert job
            assert not age
            job.end("succeeded")
            model.newest = self._newest()
            model.versions.add(model.newest)
            if outcome == "promoted":
                model.activate(model.newest)
            model.prune()

    def _newest(self) -> int:
        newest = max(row["version"] for row in self._versions.describe_all()[0])
        assert newest > self._model.newest
        return int(newest)

    @rule(claim=claims_made)
    def fail(self, claim: Claim | None) -> None:
        """Fail with a claim."""
        STEPS["fail"] += 1
        if claim is None:
            return
        job = self._model.owned(claim)
        try:
            self._claims.fail(claim, "error")
        except LostJobError:
            assert job is None
        else:
            assert job
            job.end("failed")

    @rule(runner=st.sampled_from(RUNNERS), is_dead=st.booleans())
    def let_go(self, runner: str, *, is_dead: bool) -> None:
        """Let a runner hand its jobs back, or die."""
        STEPS["let go"] += 1
        if is_dead:
            self._claims.abandon(runner, "killed")
        else:
            self._claims.release(runner)
        for job in self._model.jobs.values():
            if (job.owner or "").startswith(runner):
                if is_dead and job.attempt >= ATTEMPTS:
                    job.end("failed")
                    continue
                job.attempt -= 0 if is_dead else 1
                job.state, job.owner, job.is_silent = "queued", None, False

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel some job."""
        STEPS["cancel"] += 1
        if not self._model.jobs:
            return
        number = data.draw(st.sampled_from(sorted(self._model.jobs)))
        job = self._model.jobs[number]
        try:
            _, was_running = self._jobs.cancel(number)
        except FinishedJobError:
            assert job.state in {"succeeded", "failed"}
        else:
            assert job.state in {"queued", "running", "cancelled"}
            assert was_running == (job.state == "running")
            job.end("cancelled")

    @rule()
    def fall_silent(self) -> None:
        """Let every lease run out."""
        STEPS["fall silent"] += 1
        with self._store.write() as connection:
            is_running = jobs.c.state == "running"
            connection.execute(update(jobs).where(is_running).values(lease_until=0))
        for job in self._model.jobs.values():
            job.is_silent = job.state == "running"

    @rule(data=st.data(), age=st.sampled_from([0, 0, 1, None]))
    def activate(self, data: st.DataObject, age: int | None) -> None:
        """Activate some version, as a client that saw this or an earlier one."""
        STEPS["activate"] += 1
        model = self._model
        version = data.draw(st.sampled_from([*sorted(model.versions), 10**6]))
        seen = None if age is None else frozenset({model.generation - age})
        try:
            self._versions.activate(version, seen)
        except StaleGenerationError:
            assert age
        except UnknownVersionError:
            assert version not in model.versions
        else:
            assert version in model.versions
            assert not age
            model.activate(version)
            model.prune()

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete some version."""
        STEPS["delete"] += 1
        model = self._model
        version = data.draw(st.sampled_from([*sorted(model.versions), 10**6]))
        try:
            self._versions.delete(version)
        except UnknownVersionError:
            assert version not in model.versions
        except VersionInUseError:
            assert version in {1, model.active}
        else:
            assert version in model.versions - {1, model.active}
            model.versions.remove(version)
            if model.previous == version:
                model.previous, model.generation = None, model.generation + 1

    @invariant()
    def agree(self) -> None:
        """Compare the whole state."""
        with self._store.read() as connection:
            query = select(jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.owner)
            found = {row.id: row[1:] for row in connection.execute(query)}
            versions = set(connection.scalars(select(models.c.version)))
            pointer = connection.execute(
                select(active.c.version, active.c.previous, active.c.generation)
            ).all()
        model = self._model
        assert found == {
            number: (job.state, job.attempt, job.owner)
            for number, job in model.jobs.items()
        }
        assert versions == model.versions
        assert pointer == [(model.active, model.previous, model.generation)]

    def teardown(self) -> None:
        """Close the database."""
        self._store.close()


def play(store_settings: Settings, examples: int, steps: int) -> int:
    """Run so many histories of so many steps; return how many steps were taken.

    Raises:
        AssertionError: The database and the model differ.
    """
    STEPS.clear()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    machine = type("Machine", (Machine,), {"store_settings": store_settings})
    run_state_machine_as_test(machine, settings=chosen)
    return STEPS.total()


def bounds(**values: Any) -> Settings:
    """Return settings with the bounds that the model has."""
    return Settings(
        max_attempts=ATTEMPTS,
        keep_versions=KEEP,
        queue_limit=QUEUE,
        lease_seconds=600,
        **values,
    )


def main() -> int:
    """Print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    table, wrong = Table("engine", "histories", "steps", "differences"), []
    with databases() as made, tempfile.TemporaryDirectory() as folder:
        for engine in ENGINES:
            url = made.new(engine).get(URL)
            try:
                play(bounds(data_dir=folder, database_url=url), **vars(options))
            except AssertionError as error:
                wrong.append(f"{engine}: {error}")
            counts = (options.examples, STEPS.total(), len(wrong))
            table.add_row(engine, *map(str, counts))
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
