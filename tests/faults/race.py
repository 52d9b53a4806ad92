"""Sixteen clients activate a version with the same ETag: exactly one may succeed.

The server has two processes, so the requests meet in the database alone.

Usage: python -m tests.faults.race [--rounds N]
"""

import argparse
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
from rich.table import Table

from tests.databases import ENGINES, databases
from tests.faults.report import report
from tests.server import Server

CLIENTS: Final = 16


RIGHT: Final = (200, *[412] * (CLIENTS - 1), 1)


def race(server: Server, rounds: int) -> Counter[tuple[int, ...]]:
    """Return how often each set came: sorted statuses, and steps of the generation."""
    barrier = threading.Barrier(CLIENTS)
    seen: Counter[tuple[int, ...]] = Counter()
    url = f"http://127.0.0.1:{server.port}"
    with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=url, timeout=30))
            for _ in range(CLIENTS)
        ]

        def activate(client: httpx.Client, etag: str) -> int:
            barrier.wait(30)
            return client.put(
                "/models/active", json={"version": 1}, headers={"If-Match": etag}
            ).status_code

        for _ in range(rounds):
            before = server.client.get("/models/active").headers["ETag"]
            answers = pool.map(activate, clients, [before] * CLIENTS)
            statuses = tuple(sorted(answers))
            after = server.client.get("/models/active").headers["ETag"]
            moved = int(after.strip('"')) - int(before.strip('"'))
            seen[(*statuses, moved)] += 1
    return seen


def play(rounds: int, environment: dict[str, str], folder: Path) -> tuple[int, str]:
    """Return in how many rounds exactly one won, and how all rounds went."""
    with Server(folder / "data", "--workers", "2", environment=environment) as server:
        seen = race(server, rounds)
    return seen[RIGHT], str(dict(seen))


def main() -> int:
    """Race on each engine, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=500)
    rounds = parser.parse_args().rounds
    table = Table("engine", "clients", "rounds", "with exactly one winner")
    wrong = []
    with databases() as made:
        for engine in ENGINES:
            with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
                won, seen = play(rounds, made.new(engine), Path(folder))
            table.add_row(engine, str(CLIENTS), str(rounds), str(won))
            wrong += [f"{engine}: {seen}"] if won != rounds else []
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
