"""Swap the active version every 100 ms under load: no request fails, none is mixed.

Clients predict without a pause on two server processes; each answer is recomputed from
the weights of the version that it names, bit for bit.

Usage: python -m tests.faults.hotswap [--seconds N]
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from rich.table import Table

from tests.app.training import train
from tests.databases import ENGINES, databases
from tests.faults.record import Record, violations
from tests.faults.report import report
from tests.server import Server, wait_for

CLIENTS: Final = 4
SWAP_SECONDS: Final = 0.1
VERSIONS: Final = 4
SETTINGS: Final = {"OFFSETNET_POLL_SECONDS": "0.05"}


class Swaps(NamedTuple):
    """What was done and what went wrong."""

    swaps: int
    requests: int
    versions: int
    failures: int
    violations: list[str]


def swap_under_load(server: Server, seconds: float, seed: int) -> Swaps:
    """Make versions that answer differently, swap and predict; return what came of it.

    Args:
        server: Of any number of processes.
        seconds: How long.
        seed: Of the people.
    """
    versions = [1, *(_train(server, number) for number in range(1, VERSIONS))]
    record, failures, stop = Record(), [], threading.Event()
    url = f"http://127.0.0.1:{server.port}"

    def predict(number: int) -> None:
        choice = random.Random(seed + number)  # noqa: S311 - no secret
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stop.is_set():
                person = {
                    "weight_offset": float(choice.randint(-40, 40)),
                    "height_offset": float(choice.randint(-8, 8)),
                }
                response = client.post("/predict", json=person)
                if response.is_success:
                    record.predict(person, response.json())
                else:
                    failures.append(response.status_code)

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(predict, number) for number in range(CLIENTS)]
        swaps = _swap(server, versions, seconds)
        stop.set()
        for one in running:
            one.result()
    seen = {key[0] for key in record.predictions}
    requests = record.predictions.total() + len(failures)
    found = violations(server.settings(), record)
    return Swaps(swaps, requests, len(seen), len(failures), found)


def _train(server: Server, seed: int) -> int:
    job = train(server, config={"seed": seed, "epochs": 300}, promote="never")
    version: int = job["model_version"]
    return version


def _swap(server: Server, versions: list[int], seconds: float) -> int:
    end, swaps = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        begin = time.monotonic()
        server.client.put(
            "/models/active",
            json={"version": versions[swaps % VERSIONS]},
            headers={"If-Match": "*"},
        ).raise_for_status()
        swaps += 1
        wait_for(lambda: time.monotonic() - begin > SWAP_SECONDS)  # noqa: B023
    return swaps


def play(seconds: float, environment: dict[str, str], folder: Path) -> Swaps:
    """Swap on a server of two processes."""
    environment = {**SETTINGS, **environment}
    with Server(folder / "data", "--workers", "2", environment=environment) as server:
        return swap_under_load(server, seconds, seed=0)


def main() -> int:
    """Swap on each engine, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    table = Table("engine", "s", "swaps", "predictions", "versions", "failed", "mixed")
    found, failures = [], 0
    with databases() as made:
        for engine in ENGINES:
            with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
                seen = play(seconds, made.new(engine), Path(folder))
            mixed = [fault for fault in seen.violations if fault.startswith("I5")]
            table.add_row(engine, f"{seconds:g}", *map(str, seen[:4]), str(len(mixed)))
            found += seen.violations
            failures += seen.failures
    return report(table, found + ["a request failed"] * failures)


if __name__ == "__main__":
    sys.exit(main())
