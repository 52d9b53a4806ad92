"""Stop and start PostgreSQL while jobs run: none is lost or done twice.

Every second stop is a crash (an immediate shutdown). A client submits jobs with
idempotency keys and repeats what was not acknowledged; another predicts all the time
and must always be answered.

Usage: python -m tests.faults.chaos [--jobs N] [--shortest S] [--longest S] [--seed N]
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from rich.table import Table

from tests.databases import URL, PostgreSQL
from tests.faults.record import Record, violations
from tests.faults.report import report
from tests.server import Server, wait_for

TRAINING: Final = {"promote": "always", "config": {"epochs": 2000, "momentum": 0.5}}
PERSON: Final = {"weight_offset": -7.0, "height_offset": -3.0}
END_SECONDS: Final = 120.0


class Chaos(NamedTuple):
    """What was done and what went wrong."""

    jobs: int
    succeeded: int
    stops: int
    predictions: int
    failures: int
    violations: list[str]


class Client:
    """Submits jobs one after the other, and predicts beside that."""

    def __init__(self, server: Server, jobs: int) -> None:
        """Prepare so many jobs."""
        self.record, self.failures = Record(), 0
        self.has_submitted, self.has_finished = threading.Event(), threading.Event()
        self._url, self._jobs = f"http://127.0.0.1:{server.port}", jobs

    def submit(self) -> None:
        """Submit every job until it is acknowledged."""
        with httpx.Client(base_url=self._url, timeout=30) as client:
            for number in range(self._jobs):
                key = {"Idempotency-Key": f"job-{number}"}
                job = wait_for(lambda: _accepted(client, key), END_SECONDS)  # noqa: B023
                self.record.acknowledge(key["Idempotency-Key"], job)
        self.has_submitted.set()

    def predict(self) -> None:
        """Predict until the end."""
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self.has_finished.is_set():
                answer = client.post("/predict", json=PERSON)
                if answer.is_success:
                    self.record.predict(PERSON, answer.json())
                else:
                    self.failures += 1
                self.has_finished.wait(0.01)


def _accepted(client: httpx.Client, key: dict[str, str]) -> dict[str, Any] | None:
    response = client.post("/train", json=TRAINING, headers=key)
    if response.status_code != 503:
        job: dict[str, Any] = response.raise_for_status().json()
        return job
    return None


def play(folder: Path, jobs: int, shortest: float, longest: float, seed: int) -> Chaos:
    """Run the jobs while the database comes and goes."""
    choice, stops = random.Random(seed), 0  # noqa: S311 - no secret
    database = PostgreSQL(folder / "postgresql")
    environment = {URL: database.new_database(), "OFFSETNET_KEEP_VERSIONS": "1000"}
    with (
        Server(folder / "data", environment=environment) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        client = Client(server, jobs)
        running = [pool.submit(client.submit), pool.submit(client.predict)]
        while not client.has_submitted.is_set() or _has_waiting(server):
            pause = time.monotonic() + choice.uniform(shortest, longest)
            wait_for(lambda: time.monotonic() > pause, longest + 1)  # noqa: B023
            (database.crash if stops % 2 else database.stop)()
            stops += 1
            database.start()
        for job_id in sorted(client.record.acknowledged):
            client.record.see(server.wait_for_job(job_id))
        client.has_finished.set()
        for one in running:
            one.result()
        found = violations(server.settings(), client.record)
    database.remove()
    endings = (next(iter(seen)) for seen in client.record.endings.values())
    succeeded = sum(ending.state == "succeeded" for ending in endings)
    total = client.record.predictions.total()
    return Chaos(jobs, succeeded, stops, total, client.failures, found)


def _has_waiting(server: Server) -> bool:
    """Whether some job has not ended; also where the database does not tell."""
    states = ("queued", "running")
    answers = [server.client.get(f"/train?state={state}") for state in states]
    return any(one.is_error or one.json()["jobs"] for one in answers)


def main() -> int:
    """Print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--shortest", type=float, default=5)
    parser.add_argument("--longest", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
        seen = play(Path(folder), **vars(options))
    table = Table(
        "jobs", "succeeded", "stops", "predictions", "unanswered", "violations", "seed"
    )
    table.add_row(*map(str, seen[:5]), str(len(seen.violations)), str(options.seed))
    unanswered = ["a prediction was not answered"] * seen.failures
    idle = [] if seen.stops else ["the database was never stopped"]
    return report(table, seen.violations + unanswered + idle)


if __name__ == "__main__":
    sys.exit(main())
