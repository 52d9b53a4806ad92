"""Replace servers one by one behind nginx, under load: nothing fails, nothing is lost.

Two servers, each with its runner, share a PostgreSQL. Clients predict through nginx,
each time on a new connection, and another submits trainings. Meanwhile a new server is
started, nginx is told of it in place of the oldest, and that one gets SIGTERM; so again
and again. Every request must be answered, every prediction be that of the version it
names, every job be done, and every server end with 0.

Usage: python -m tests.faults.rolling [--replacements N]
"""

import argparse
import random
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
from rich.table import Table

from tests.databases import databases
from tests.faults.record import Record, violations
from tests.faults.report import report
from tests.nginx import Nginx, nginx
from tests.server import UNMEASURED, Server

SERVERS: Final = 2
CLIENTS: Final = 4
PAUSE_SECONDS: Final = 0.02  # what the proxy lets an address have is not the question
JOB_SECONDS: Final = 3.0
KEY: Final = "rolling"
JOB: Final = {"promote": "always", "config": {"epochs": 6000, "momentum": 0.5}}


@dataclass(slots=True)
class Seen:
    """What was answered while servers were replaced."""

    record: Record = field(default_factory=Record)
    failures: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    handed_back: int = 0


def play(folder: Path, environment: dict[str, str], replacements: int) -> Seen:
    """Replace servers under load, and wait for all jobs."""
    seen, number = Seen(), count()
    environment = {**UNMEASURED, **environment, "OFFSETNET_ADMIN_KEY": KEY}

    with ExitStack() as stack:

        def start() -> Server:
            data_dir = folder / f"data-{next(number)}"
            return stack.enter_context(Server(data_dir, environment=environment))

        serving = deque(start() for _ in range(SERVERS))
        before = nginx(folder, _ports(serving), "localhost", has_master=True)
        proxy = stack.enter_context(before)
        with _load(proxy, seen):
            for _ in range(replacements):
                serving.append(start())
                oldest = serving.popleft()
                proxy.tell(_ports(serving))
                seen.exits.append(oldest.stop())
                seen.handed_back += oldest.log().count("the job is handed back")
        for job_id in sorted(seen.record.acknowledged):
            seen.record.see(serving[0].wait_for_job(job_id))
        seen.failures += violations(serving[0].settings(), seen.record)
    return seen


def _ports(servers: deque[Server]) -> list[int]:
    return [server.port for server in servers]


@contextmanager
def _load(proxy: Nginx, seen: Seen) -> Iterator[None]:
    """Predict and train all the while."""
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        running = [pool.submit(_predict, proxy, seen, stop, n) for n in range(CLIENTS)]
        running.append(pool.submit(_train, proxy, seen, stop))
        try:
            yield
        finally:
            stop.set()
        for one in running:
            one.result()


def _predict(proxy: Nginx, seen: Seen, stop: threading.Event, seed: int) -> None:
    choice = random.Random(seed)  # noqa: S311 - no secret
    while not stop.wait(PAUSE_SECONDS):
        person = {
            "weight_offset": float(choice.randint(-40, 40)),
            "height_offset": float(choice.randint(-8, 8)),
        }
        if answer := _ask(proxy, seen, "/predict", person):
            seen.record.predict(person, answer)


def _train(proxy: Nginx, seen: Seen, stop: threading.Event) -> None:
    for number in count():
        if job := _ask(proxy, seen, "/train", JOB):
            seen.record.acknowledge(str(number), job)
        if stop.wait(JOB_SECONDS):
            return


def _ask(
    proxy: Nginx, seen: Seen, path: str, body: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the answer; what fails is not asked again."""
    headers = {"Connection": "close", "Authorization": f"Bearer {KEY}"}
    try:
        response = httpx.post(
            f"http://127.0.0.1:{proxy.port}{path}",
            json=body,
            headers={**headers, "Host": "localhost"},
            timeout=30,
        )
    except httpx.TransportError as error:
        seen.failures.append(f"{path}: {type(error).__name__}")
        return None
    if not response.is_success:
        seen.failures.append(f"{path}: {response.status_code}")
        return None
    answer: dict[str, Any] = response.json()
    return answer


def main() -> int:
    """Replace servers, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replacements", type=int, default=20)
    replacements = parser.parse_args().replacements
    with databases() as made, tempfile.TemporaryDirectory(prefix="offsetnet-") as name:
        seen = play(Path(name), made.new("postgresql"), replacements)
    table = Table("replaced", "predictions", "failed", "jobs", "handed back", "exits")
    table.add_row(
        str(len(seen.exits)),
        str(seen.record.predictions.total()),
        str(len(seen.failures)),
        str(len(seen.record.acknowledged)),
        str(seen.handed_back),
        ", ".join(map(str, sorted({*seen.exits}))),
    )
    wrong = [f"a server ended with {status}" for status in seen.exits if status]
    if not seen.handed_back and replacements > SERVERS:
        wrong.append("no job was interrupted: nothing is shown about handing over")
    return report(table, seen.failures + wrong)


if __name__ == "__main__":
    sys.exit(main())
