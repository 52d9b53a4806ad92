"""The record: what clients were told, and whether the database agrees with it.

The invariants are numbered as their messages are:

I1 every acknowledged job exists and ends; I2 at most one version comes of a job; I3
exactly one version is active, and its bytes verify; I4 the active version never comes
of a job that did not succeed; I5 a prediction is that of the version it names, bit for
bit; I6 one key is one job; I7 what has ended stays as it is; I8 what succeeded can be
loaded, unless it was removed by rule; I9 the database is sound.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import select, text

from app.settings import Settings
from app.store import Store
from app.tables import active, jobs, models
from model import ArtifactError, load, predict_proba

FINAL: Final = {"succeeded", "failed", "cancelled"}


class Ending(NamedTuple):
    """How a job was seen to have ended."""

    state: str
    outcome: str | None
    reason: str | None
    model_version: int | None


class Record:
    """What the clients of one history were told, from any thread."""

    def __init__(self) -> None:
        """Start without anything."""
        self._lock = threading.Lock()
        self.by_key: defaultdict[str, set[int]] = defaultdict(set)
        self.endings: defaultdict[int, set[Ending]] = defaultdict(set)
        self.predictions: Counter[tuple[int, float, float, float]] = Counter()

    def acknowledge(self, key: str, job: dict[str, Any]) -> None:
        """Remember a 202."""
        with self._lock:
            self.by_key[key].add(job["id"])

    def see(self, job: dict[str, Any]) -> None:
        """Remember a job that has ended."""
        if job["state"] in FINAL:
            ending = Ending(*(job[name] for name in Ending._fields))
            with self._lock:
                self.endings[job["id"]].add(ending)

    def predict(self, person: dict[str, float], answer: dict[str, Any]) -> None:
        """Remember a prediction."""
        one = (*person.values(), answer["probability"])
        with self._lock:
            self.predictions[answer["model_version"], *one] += 1

    @property
    def acknowledged(self) -> set[int]:
        """The ids of the acknowledged jobs."""
        return set().union(*self.by_key.values())


def violations(settings: Settings, record: Record) -> list[str]:
    """Return what is wrong, once every acknowledged job should have ended."""
    store = Store(settings)
    try:
        return list(_violations(store, record))
    finally:
        store.close()


def _violations(store: Store, record: Record) -> Iterator[str]:
    with store.read() as connection:
        found = {row.id: row for row in connection.execute(select(jobs))}
        stored = {row.version: row for row in connection.execute(select(models))}
        pointers = connection.execute(select(active)).all()
        if not store.is_remote:
            verdict = connection.scalar(text("PRAGMA integrity_check"))
            yield from [f"I9: {verdict}"] if verdict != "ok" else []
    yield from _job_violations(record, found)
    yield from _version_violations(found, stored)
    yield from _pointer_violations(pointers, found, stored)
    yield from _prediction_violations(record, stored)


def _job_violations(record: Record, found: dict[int, Any]) -> Iterator[str]:
    for job_id in sorted(record.acknowledged):
        if job_id not in found:
            yield f"I1: job {job_id} is gone"
        elif found[job_id].state not in FINAL:
            yield f"I1: job {job_id} is {found[job_id].state}"
    for key, ids in record.by_key.items():
        if len(ids) > 1:
            yield f"I6: key {key} is jobs {sorted(ids)}"
    for job_id, endings in record.endings.items():
        now = {Ending(*(getattr(found[job_id], name) for name in Ending._fields))}
        if endings | now != now:
            yield f"I7: job {job_id} ended as {endings | now}"


def _version_violations(found: dict[int, Any], stored: dict[int, Any]) -> Iterator[str]:
    made = Counter(row.job for row in stored.values() if row.job is not None)
    yield from (f"I2: job {job} made {n} versions" for job, n in made.items() if n > 1)
    for version, row in stored.items():
        yield from _loading_violations(row, "I8")
        if row.job is None:
            continue
        if found[row.job].model_version != version:
            yield f"I2: job {row.job} does not know its version {version}"
        if found[row.job].state != "succeeded":
            yield f"I4: job {row.job} is {found[row.job].state} and has a version"


def _pointer_violations(
    pointers: Any, found: dict[int, Any], stored: dict[int, Any]
) -> Iterator[str]:
    if len(pointers) != 1 or pointers[0].version not in stored:
        yield f"I3: the active versions are {pointers}"
        return
    version = stored[pointers[0].version]
    yield from _loading_violations(version, "I3")
    if version.job is not None and found[version.job].state != "succeeded":
        yield f"I4: the active version comes of job {version.job}, not succeeded"


def _prediction_violations(record: Record, stored: dict[int, Any]) -> Iterator[str]:
    known = {
        number: load(row.weights, row.sha256).params for number, row in stored.items()
    }
    for version, weight, height, probability in record.predictions:
        if version in known:
            X = np.array([[weight, height]])
            if predict_proba(known[version], X).item() != probability:
                yield f"I5: version {version} did not say {probability}"


def _loading_violations(row: Any, name: str) -> Iterator[str]:
    try:
        load(row.weights, row.sha256)
    except ArtifactError as error:
        yield f"{name}: version {row.version}: {error}"
