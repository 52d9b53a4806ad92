"""Measure the time from POST /train of 10,000 people to the first new prediction.

Each training has another seed and is promoted whatever comes out. The table says where
the time goes: reading and checking the upload until 202, waiting for the runner,
training and deciding, and the swap until a prediction names the new version.

Usage: python -m benchmarks.turnaround [TRAININGS]
"""

import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import cpu_share
from model import sample_csv
from tests.server import Server, wait_for

TRAININGS: Final = 10
PEOPLE: Final = "".join(sample_csv(10_000, 1)).encode()
CSV: Final = {"Content-Type": "text/csv"}
PERSON: Final = {"weight_offset": -7, "height_offset": -3}
ALLOWED_SECONDS: Final = 1.5
QUIET_SHARE: Final = 0.3


class Turnaround(NamedTuple):
    """Where the seconds of one training went."""

    whole: float
    upload: float
    wait: float
    training: float
    swap: float


def measure(server: Server, seed: int) -> Turnaround:
    """Train once, and ask until the new version answers."""
    begin = time.time()
    query: dict[str, str | int] = {"promote": "always", "seed": seed}
    path = server.client.post(
        "/train", content=PEOPLE, headers=CSV, params=query
    ).headers["Location"]
    accepted = time.time()
    version = server.client.get("/models/active").json()["version"]
    while True:
        answer = server.client.post("/predict", json=PERSON).json()
        if answer["model_version"] != version:
            break
        time.sleep(0.005)
    end = time.time()
    job = server.wait_for_job(int(path.rpartition("/")[2]))
    started, finished = (
        datetime.fromisoformat(job[name]).timestamp()
        for name in ("started_at", "finished_at")
    )
    return Turnaround(
        end - begin,
        accepted - begin,
        started - accepted,
        finished - started,
        end - finished,
    )


def main() -> None:
    """Print the medians and the longest."""
    trainings = int(sys.argv[1]) if len(sys.argv) > 1 else TRAININGS
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data") as server,
    ):
        wait_for(lambda: cpu_share(server, 0.5) < QUIET_SHARE)
        found = [measure(server, seed) for seed in range(trainings)]
    table = Table(f"of {trainings} trainings", *Turnaround._fields, "allowed")
    for name, choose in (("median, s", median), ("longest, s", max)):
        cells = [f"{choose(column):.2f}" for column in zip(*found, strict=True)]
        table.add_row(name, *cells, f"{ALLOWED_SECONDS:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
