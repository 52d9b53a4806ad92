"""How long the old version still answers after the active one was switched."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Final

from rich.table import Table

from benchmarks.deployment import Deployment
from benchmarks.turnaround import PERSON
from tests.faults.record import Record
from tests.server import Server

ROW: Final = 20  # answers of the new version in a row, from each replica
PAUSE_SECONDS: Final = 0.002
ALLOWED_SECONDS: Final = 2.0
SPREAD: Final = 0.618  # of a second: the moments lie evenly, however many there are
SWITCH: Final = {"promote": "always", "config": {"epochs": 5}}


def put(deployed: Deployment, number: int) -> float:
    """Activate a version by one replica; return how long the last old answer took."""
    server = _in_turn(deployed, number)
    old = server.client.get("/models/active").json()
    begin = time.time()
    server.client.put(
        "/models/active", json={"version": old["previous"]}, headers={"If-Match": "*"}
    ).raise_for_status()
    return max(_last_old_answer(deployed.replicas, old["version"]) - begin, 0.0)


def promote(deployed: Deployment, record: Record, number: int) -> float:
    """Train a version that serves; return how long the last old answer took."""
    server = _in_turn(deployed, number)
    old = server.client.get("/models/active").json()["version"]
    job = server.client.post("/train", json=SWITCH).raise_for_status().json()
    record.acknowledge(f"job {job['id']}", job)
    last = _last_old_answer(deployed.replicas, old)
    done = server.wait_for_job(job["id"])
    record.see(done)
    return max(last - datetime.fromisoformat(done["finished_at"]).timestamp(), 0.0)


def _in_turn(deployed: Deployment, number: int) -> Server:
    """Return a replica at any moment between two of its looks for a new version."""
    time.sleep(number * SPREAD % 1.0)
    return deployed.replicas[number % len(deployed.replicas)]


def _last_old_answer(replicas: Sequence[Server], old: int) -> float:
    """Ask all until none answers with the old version; return when the last one did."""
    last, in_a_row = 0.0, 0
    while in_a_row < ROW:
        time.sleep(PAUSE_SECONDS)
        answers = [replica.client.post("/predict", json=PERSON) for replica in replicas]
        is_old = any(answer.json()["model_version"] == old for answer in answers)
        in_a_row = 0 if is_old else in_a_row + 1
        last = time.time() if is_old else last
    return last


def switches_table(found: Mapping[str, Sequence[float]]) -> Table:
    """Return a table of how long the old version answered after a switch."""
    table = Table("switched by", "times", "median s", "longest s", "allowed s")
    for name, seconds in found.items():
        cells = (
            f"{median(seconds):.2f}",
            f"{max(seconds):.2f}",
            f"{ALLOWED_SECONDS:.2f}",
        )
        table.add_row(name, str(len(seconds)), *cells)
    return table
