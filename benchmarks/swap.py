"""Measure how long the old version still answers after a training has succeeded.

Two server processes share a port. After each training, fresh connections ask for a
prediction until an unbroken row of answers comes from the new version; the time is
from the job's end, by the database's clock, to the last answer of the old version.
The contract allows 2 s.

Usage: python -m benchmarks.swap [TRAININGS]
"""

import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.server import Server

TRAININGS: Final = 10
ROW: Final = 60  # answers in a row: both processes have answered many times
TRAINING: Final = {"promote": "always", "config": {"epochs": 5}}
PERSON: Final = {"weight_offset": -7, "height_offset": -3}


def last_old_answer(server: Server, version: int) -> float:
    """Return when the last answer of another version came, in seconds since 1970."""
    last, in_a_row = 0.0, 0
    while in_a_row < ROW:
        answer = server.client.post(
            "/predict", json=PERSON, headers={"Connection": "close"}
        ).json()
        in_a_row = in_a_row + 1 if answer["model_version"] == version else 0
        last = last if in_a_row else time.time()
    return last


def measure(server: Server) -> float:
    """Train once and return how long the old version went on answering."""
    job = server.client.post("/train", json=TRAINING).json()
    done = server.wait_for_job(job["id"])
    ended = datetime.fromisoformat(done["finished_at"]).timestamp()
    return max(last_old_answer(server, done["model_version"]) - ended, 0.0)


def main() -> None:
    """Print the median and the longest time."""
    trainings = int(sys.argv[1]) if len(sys.argv) > 1 else TRAININGS
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data", "--workers", "2") as server,
    ):
        seconds = [measure(server) for _ in range(trainings)]
    table = Table("processes", "trainings", "median s", "longest s", "allowed s")
    table.add_row(
        "2", str(trainings), f"{median(seconds):.2f}", f"{max(seconds):.2f}", "2.00"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
