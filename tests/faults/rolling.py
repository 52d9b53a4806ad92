"""Replace servers one by one behind nginx, under load: nothing fails, nothing is lost.

Two servers, each with its runner, share a PostgreSQL. Clients predict through nginx,
each time on a new connection, and another submits trainings. Meanwhile a new server is
started, nginx is told of it in place of the oldest, and that one, which is training,
gets SIGTERM; so again and again. Every request must be answered, every prediction be
that of the version it names, every job be done, and every server end with 0.

The servers are processes, or with `--image` containers of that image: read-only,
without rights, on the network of this machine, each run by `podman` or `docker`.

Usage: python -m tests.faults.rolling [--replacements N]
           [--image NAME [--engine "podman OPTIONS"]]
"""

import argparse
import random
import shlex
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
from rich.table import Table

from tests.containers import Container
from tests.databases import Databases, databases
from tests.faults.record import Record, violations
from tests.faults.report import report
from tests.nginx import Nginx, nginx
from tests.server import UNMEASURED, Server, wait_for

SERVERS: Final = 2
CLIENTS: Final = 4
PAUSE_SECONDS: Final = 0.02  # what the proxy lets an address have is not the question
JOB_SECONDS: Final = 1.0
KEY: Final = "rolling"
JOB: Final = {"promote": "always", "config": {"epochs": 10_000, "momentum": 0.5}}


@dataclass(slots=True)
class Seen:
    """What was answered while servers were replaced."""

    record: Record = field(default_factory=Record)
    failures: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    handed_back: int = 0


def play(folder: Path, new: Callable[[Path], Server], replacements: int) -> Seen:
    """Replace servers under load, and wait for all jobs.

    Args:
        folder: Where the servers' folders and logs are, and nginx.
        new: Makes a server with this folder; all of them have one database.
        replacements: How many get another in their place.
    """
    seen, number = Seen(), count()
    with ExitStack() as stack:

        def start() -> Server:
            return stack.enter_context(new(folder / f"data-{next(number)}"))

        serving = deque(start() for _ in range(SERVERS))
        before = nginx(folder, _ports(serving), "localhost", has_master=True)
        proxy = stack.enter_context(before)
        with _load(proxy, seen):
            for _ in range(replacements):
                serving.append(start())
                oldest = serving.popleft()
                wait_for(partial(_is_training, oldest))
                proxy.tell(_ports(serving))
                seen.exits.append(oldest.stop())
                seen.handed_back += oldest.log().count("the job is handed back")
        for job_id in sorted(seen.record.acknowledged):
            seen.record.see(serving[0].wait_for_job(job_id))
        seen.failures += violations(serving[0].settings(), seen.record)
    return seen


def _is_training(server: Server) -> bool:
    """Tell whether its runner is at a job, as it says at the beginning and the end."""
    log = server.log()
    return log.count(": attempt ") > log.count(" succeeded: ")


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
    """Submit where hardly any job waits, so that all runners are busy to the end."""
    number = count()
    while not stop.wait(JOB_SECONDS):
        waiting = _ask(proxy, seen, "/train?state=queued")
        if waiting is None or len(waiting["jobs"]) >= SERVERS:
            continue
        if job := _ask(proxy, seen, "/train", JOB):
            seen.record.acknowledge(str(next(number)), job)


def _ask(
    proxy: Nginx, seen: Seen, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the answer; what fails is not asked again."""
    headers = {"Connection": "close", "Authorization": f"Bearer {KEY}"}
    try:
        method = "GET" if body is None else "POST"
        response = proxy.client.request(method, path, json=body, headers=headers)
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
    parser.add_argument("--image")
    parser.add_argument("--engine", type=shlex.split, default=["podman"])
    options = parser.parse_args()
    with databases() as made, tempfile.TemporaryDirectory(prefix="offsetnet-") as name:
        new = _maker(made, options.image, options.engine)
        seen = play(Path(name), new, options.replacements)
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
    if not seen.handed_back:
        wrong.append("no job was interrupted: nothing is shown about handing over")
    return report(table, seen.failures + wrong)


def _maker(
    made: Databases, image: str | None, engine: list[str]
) -> Callable[[Path], Server]:
    """Return what makes servers of one database, as processes or containers."""
    if image:
        made.postgresql.listen()
    environment = {**made.new("postgresql"), **UNMEASURED, "OFFSETNET_ADMIN_KEY": KEY}
    if image is None:
        return partial(Server, environment=environment)
    return partial(Container, engine=engine, image=image, environment=environment)


if __name__ == "__main__":
    sys.exit(main())
