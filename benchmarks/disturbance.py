"""Compare the tail of predictions while a job trains with the tail while nothing does.

Any busy process disturbs its neighbours on a machine, at low priority too; how much is
told by a bare application beside a plain loop at nice 15. So each server is asked at
the same steady rate, about a third of what ours can do, in turns: ours idle, with one
job running, with one running and others queued; the bare one idle, and beside the loop.
Latency counts from when a request was due. The 99th percentiles are of all rounds
together, and the last column is what training adds to what the loop adds anyway.

Usage: python -m benchmarks.disturbance [ROUNDS]
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.load import Latencies, Request, ask_steadily, cpu_share, measure
from benchmarks.predict import EMILY, UVICORN
from tests.server import Server, wait_for

ROUNDS: Final = 10
SECONDS: Final = 2.0
QUEUED: Final = 5
QUIET_SHARE: Final = 0.3
PREDICT: Final = Request("/predict", EMILY)
ENDLESS: Final = {
    "examples": [
        {"weight_offset": w, "height_offset": w / 5, "label": "FM"[w > 0]}
        for w in range(-1_500, 1_500)
    ],
    "config": {"epochs": 10_000, "patience": None, "batch_size": 64},
    "promote": "never",
}

Found = dict[str, list[Latencies]]  # by state, one of each round


@contextmanager
def training(server: Server, jobs: int) -> Iterator[None]:
    """Let the runner train, with others waiting; see that it still does at the end."""
    ids = [server.client.post("/train", json=ENDLESS).json()["id"] for _ in range(jobs)]
    try:
        wait_for(lambda: is_running(server, ids[0]))
        yield
        if not is_running(server, ids[0]):
            raise RuntimeError("the job had ended before the round")
    finally:
        for job_id in reversed(ids):
            server.client.delete(f"/train/{job_id}")


def is_running(server: Server, job_id: int) -> bool:
    """Tell whether a job is past its first epoch and not at its end."""
    job = server.client.get(f"/train/{job_id}").json()
    return bool(job["state"] == "running" and job["epoch"] > 0)


@contextmanager
def busy_loop() -> Iterator[None]:
    """Run a loop that does nothing, at the runner's priority."""
    loop = subprocess.Popen(
        ["/usr/bin/nice", "-n", "15", sys.executable, "-c", "while 1: 0"]
    )
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def be_quiet(server: Server) -> None:
    """Wait until a server does nothing: a new runner takes a while to start.

    Where a process ended meanwhile, the share is below 0.
    """
    wait_for(lambda: 0.0 <= cpu_share(server, 0.5) < QUIET_SHARE)


def play(ours: Server, bare: Server, rate: float, rounds: int) -> Found:
    """Ask both servers at that rate in each state, in turns."""
    found: Found = {}

    def ask(state: str, server: Server) -> None:
        latencies = ask_steadily(server.port, PREDICT, rate, SECONDS)
        found.setdefault(state, []).append(latencies)

    for _ in range(rounds):
        be_quiet(ours)
        ask("bare, idle", bare)
        with busy_loop():
            ask("bare, a loop at nice 15", bare)
        ask("offsetnet, idle", ours)
        with training(ours, 1):
            ask("offsetnet, a job running", ours)
        be_quiet(ours)
        with training(ours, 1 + QUEUED):
            ask(f"offsetnet, and {QUEUED} queued", ours)
    return found


def table_of(found: Found) -> Table:
    """Return a row for each state."""
    table = Table("server", "requests", "failed", "p50, µs", "p99, µs", "p99 over idle")
    table.add_column("over the loop's")
    p99 = {state: percentile(pooled, 99) for state, pooled in found.items()}
    loop = p99["bare, a loop at nice 15"] / p99["bare, idle"]
    for state, pooled in found.items():
        over_idle = p99[state] / p99[f"{state.partition(',')[0]}, idle"]
        table.add_row(
            state,
            f"{sum(len(one.seconds) for one in pooled)}",
            f"{sum(one.failed for one in pooled)}",
            f"{1e6 * percentile(pooled, 50):.0f}",
            f"{1e6 * p99[state]:.0f}",
            f"{over_idle:.2f}",
            "" if "idle" in state or "loop" in state else f"{over_idle / loop:.2f}",
        )
    return table


def percentile(pooled: list[Latencies], percent: int) -> float:
    """Return a percentile of all rounds together, in seconds."""
    return float(
        np.percentile(np.concatenate([one.seconds for one in pooled]), percent)
    )


def main() -> None:
    """Print a row for each state."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    begin = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "ours") as ours,
        Server(
            Path(folder) / "bare", command=(*UVICORN, "benchmarks.apps:bare")
        ) as bare,
    ):
        measure(ours, PREDICT, 2_000)
        rate = 1e6 / measure(ours, PREDICT, 4_000) / 3
        table = table_of(play(ours, bare, rate, rounds))
    console = Console()
    console.print(table)
    seconds = time.monotonic() - begin
    console.print(f"{rate:.0f} requests a second, {rounds} rounds, {seconds:.0f} s")


if __name__ == "__main__":
    main()
