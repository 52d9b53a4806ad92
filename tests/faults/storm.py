"""Kill servers, runners and whole machines at random while clients work.

Clients submit, cancel, activate and predict; what was not acknowledged is repeated
under its key. In the end every acknowledged job has ended, and the number of changes
of the active version is that of the promotions and activations that were told.

Usage: python -m tests.faults.storm [--kills N] [--engine NAME] [--seed N]
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from rich.table import Table

from tests.app.processes import children
from tests.databases import ENGINES, databases
from tests.faults.record import Record, violations
from tests.faults.report import report
from tests.server import Server, free_port, wait_for

SETTINGS: Final = {
    "OFFSETNET_LEASE_SECONDS": "1",
    "OFFSETNET_BEAT_SECONDS": "0.2",
    "OFFSETNET_KEEP_VERSIONS": "1000",
    "OFFSETNET_MAX_ATTEMPTS": "100",
}
PERSON: Final = {"weight_offset": -7.0, "height_offset": -3.0}
VICTIMS: Final = ("server", "runner", "machine")
END_SECONDS: Final = 120.0


class Storm(NamedTuple):
    """What was done and what went wrong."""

    kills: int
    jobs: int
    cancelled: int
    activations: int
    predictions: int
    violations: list[str]


class Clients:
    """What several clients do at random until told to stop."""

    def __init__(self, port: int, seed: int) -> None:
        """Work on this port, whoever serves there."""
        self.record, self.told = Record(), Counter[str]()
        self.has_stopped = threading.Event()
        self._url, self._seed = f"http://127.0.0.1:{port}", seed

    def work(self, number: int) -> None:
        """Be one of the clients."""
        choice = random.Random(self._seed + number)  # noqa: S311 - no secret
        tasks = [self._submit, self._cancel, self._activate, *[self._predict] * 5]
        count = 0
        with httpx.Client(base_url=self._url, timeout=20) as client:
            while not self.has_stopped.is_set():
                count += 1
                choice.choice(tasks)(client, choice, f"{number}-{count}")
                self.has_stopped.wait(0.02)

    def _submit(self, client: httpx.Client, choice: random.Random, key: str) -> None:
        request = {
            "promote": choice.choice(["always", "never", "if_better"]),
            "config": {
                "epochs": choice.randint(1, 400),
                "momentum": 0.5,
                "seed": choice.randint(0, 99),
            },
        }
        headers = {"Idempotency-Key": key}

        def submit() -> httpx.Response | None:
            with suppress(httpx.TransportError):
                response = client.post("/train", json=request, headers=headers)
                return None if response.status_code == 503 else response
            return None

        response = wait_for(submit, END_SECONDS)
        self.record.acknowledge(key, response.raise_for_status().json())

    def _cancel(self, client: httpx.Client, choice: random.Random, _: str) -> None:
        known = sorted(self.record.acknowledged)
        if known:
            with suppress(httpx.TransportError):
                answer = client.delete(f"/train/{choice.choice(known[-5:])}")
                if answer.is_success:
                    self.record.see(answer.json())

    def _activate(self, client: httpx.Client, choice: random.Random, _: str) -> None:
        headers = {"If-Match": "*"}
        body = {"version": choice.choice([1, 1, 2, 3])}
        try:
            answer = client.put("/models/active", json=body, headers=headers)
        except httpx.TransportError:
            self.told["perhaps activated"] += 1
            return
        if answer.is_success:
            self.told["activated"] += 1
        elif answer.status_code >= 500:
            self.told["perhaps activated"] += 1

    def _predict(self, client: httpx.Client, _: random.Random, __: str) -> None:
        with suppress(httpx.TransportError):
            answer = client.post("/predict", json=PERSON)
            if answer.is_success:
                self.record.predict(PERSON, answer.json())


def play(folder: Path, environment: dict[str, str], kills: int, seed: int) -> Storm:
    """Let the clients work and the killer kill, then look what came of it."""
    choice, port = random.Random(seed), free_port()  # noqa: S311 - no secret
    clients = Clients(port, seed)

    def start() -> Server:
        settings = {**SETTINGS, **environment}
        return Server(folder / "data", environment=settings, port=port).__enter__()

    server = start()
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(clients.work, number) for number in range(4)]
        for _ in range(kills):
            pause = time.monotonic() + choice.uniform(0.2, 2)
            wait_for(lambda: time.monotonic() > pause)  # noqa: B023
            server = _kill(server, choice.choice(VICTIMS), start)
        clients.has_stopped.set()
        for one in running:
            one.result()
    with server:
        return _judge(server, clients, kills)


def _judge(server: Server, clients: Clients, kills: int) -> Storm:
    """Wait for every job to end, and compare what is stored with what was told."""
    for job_id in sorted(clients.record.acknowledged):
        clients.record.see(server.wait_for_job(job_id))
    jobs = _all_jobs(server)
    generation = server.client.get("/models").json()["generation"]
    found = violations(server.settings(), clients.record)
    promoted = sum(job["outcome"] == "promoted" for job in jobs)
    activated = clients.told["activated"]
    lowest = 1 + promoted + activated
    if not lowest <= generation <= lowest + clients.told["perhaps activated"]:
        found.append(f"generation {generation}, at least {lowest} were told")
    cancelled = sum(job["state"] == "cancelled" for job in jobs)
    total = clients.record.predictions.total()
    return Storm(kills, len(jobs), cancelled, activated, total, found)


def _kill(server: Server, victim: str, start: Callable[[], Server]) -> Server:
    """Kill, and return the server that serves from here on."""
    runners = children(server.process.pid)
    pids = runners if victim == "runner" else [server.process.pid]
    for pid in [*pids, *(runners if victim == "machine" else [])]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if victim == "runner":
        return server
    server.process.wait()
    server.client.close()
    return start()


def _all_jobs(server: Server) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = []
    query: dict[str, int] = {"limit": 100}
    while True:
        page = server.client.get("/train", params=query).json()
        jobs += page["jobs"]
        if page["next"] is None:
            return jobs
        query["before"] = page["next"]


def main() -> int:
    """Play on each engine, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names = ("kills", "jobs", "cancelled", "activations", "predictions", "violations")
    table = Table("engine", *names, "seed")
    found = []
    with databases() as made:
        for engine in options.engine or ENGINES:
            with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
                environment = made.new(engine)
                seen = play(Path(folder), environment, options.kills, options.seed)
            counts = [*map(str, seen[:5]), str(len(seen.violations))]
            table.add_row(engine, *counts, str(options.seed))
            found += seen.violations
    return report(table, found)


if __name__ == "__main__":
    sys.exit(main())
