"""Load of every kind that lasts, and whether the server grows or slows down.

First 100 requests that pass a bound: the server may grow by less than 1 MiB. Then some
clients predict, others send batches of JSON and CSV, train, follow the events and let
each new version serve, and some leave at a random point of a request. The resident
memory of the server, its open descriptors and the 99th percentile of the predictions
are looked at every 5 seconds, and a straight line is fitted to all but the first fifth,
with the 95 % interval of its slope. In less than 5 minutes no slope is told; then
statuses and descriptors are looked at alone.

Usage: python -m tests.faults.soak [--seconds N] [--seed N]
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import httpx
from rich.table import Table

from benchmarks.load import Request, Usage
from benchmarks.slope import Slope
from tests.app.answers import CSV, EMILY
from tests.app.wire import chunk, exchange
from tests.faults.report import report
from tests.server import Server, wait_for

MIB: Final = 1 << 20
LOOK_SECONDS: Final = 5.0
LONG_SECONDS: Final = 300.0
WARM_UP: Final = 0.2  # of the time
ALLOWED_MIB_AN_HOUR: Final = 5.0
ALLOWED_DESCRIPTORS: Final = 3  # which the database's pool may open late
SETTLED_SECONDS: Final = 1.0
ALLOWED_SLOWDOWN: Final = 0.2  # of the 99th percentile, over the whole time
LEAVERS: Final = 0.01  # of the predictions
PEOPLE: Final = [{"weight_offset": n % 50, "height_offset": n % 9} for n in range(200)]
TABLE: Final = "weight_lb,height_in\n" + "128,63\n160,72\n" * 100
BATCH: Final = json.dumps({"instances": PEOPLE}).encode()
WHOLE: Final = [
    Request("/predict", json.dumps(EMILY).encode()).to_bytes(),
    Request("/predict/batch", BATCH).to_bytes(),
    Request("/train", b"weight_lb,height_in\n" * 1000, "text/csv").to_bytes(),
    Request("/train/1/events", b"", method="GET").to_bytes(),
]
HEAD: Final = b"POST /predict/batch HTTP/1.1\r\nHost: localhost\r\n"
TOO_MUCH: Final = [
    HEAD + b"Content-Length: 1000000000\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b" " * 16_384) * 17,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 60_000,
    HEAD + b"X: y\r\n" * 10_000,
    HEAD + b"Connection: close\r\nContent-Length: 262144\r\n\r\n" + b"[" * 262_144,
]


@dataclass(slots=True)
class Seen:
    """What came of it.

    Attributes:
        statuses: How often each came.
        pending: Seconds of predictions since the last look.
        looks: Each with its time, MiB, descriptors, and 99th percentile in ms.
        left: How many clients left.
        grown: MiB, over the requests that pass a bound.
        more_descriptors: Of the server, after all.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    pending: list[float] = field(default_factory=list)
    looks: list[tuple[float, float, int, float]] = field(default_factory=list)
    left: int = 0
    grown: float = 0.0
    more_descriptors: int = 0


class Clients:
    """What the clients do until told to stop."""

    def __init__(self, server: Server, seed: int) -> None:
        """Work on this server."""
        self.seen, self.has_stopped = Seen(), threading.Event()
        self._port, self._choice = server.port, random.Random(seed)  # noqa: S311 - no secret
        self._url = f"http://127.0.0.1:{server.port}"

    def work(self, task: Callable[[httpx.Client], None], rate: float) -> None:
        """Do one thing again and again, so many times a second at most."""
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self.has_stopped.wait(1 / rate):
                task(client)

    def predict(self, client: httpx.Client) -> None:
        """Predict one person, and leave now and then."""
        began = time.perf_counter()
        self._count(client.post("/predict", json=EMILY))
        self.seen.pending.append(time.perf_counter() - began)
        if self._choice.random() < LEAVERS:
            self._leave()

    def predict_many(self, client: httpx.Client) -> None:
        """Predict a batch of either type."""
        self._count(client.post("/predict/batch", content=BATCH))
        self._count(client.post("/predict/batch", content=TABLE, headers=CSV))

    def train(self, client: httpx.Client) -> None:
        """Train, and follow until the new version serves."""
        config = {"epochs": 20, "seed": self._choice.randrange(1000)}
        answer = client.post("/train", json={"promote": "always", "config": config})
        self._count(answer)
        events = client.get(f"{answer.headers['Location']}/events")
        self._count(events)
        assert events.text.count("event: succeeded") == 1

    def _count(self, answer: httpx.Response) -> None:
        self.seen.statuses[answer.status_code] += 1

    def _leave(self) -> None:
        """Send a part of a request, perhaps all, and go."""
        self.seen.left, sent = self.seen.left + 1, self._choice.choice(WHOLE)
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.sendall(sent[: self._choice.randint(0, len(sent))])


def play(server: Server, seconds: float, seed: int) -> Seen:
    """Send what is too much, then let all work, and look at the server meanwhile."""
    clients, pid = Clients(server, seed), server.process.pid
    clients.seen.grown = _overdo(server)
    tasks = [(clients.predict, 100), (clients.predict_many, 5), (clients.train, 2)]
    for task, _ in tasks:
        task(server.client)
    before = _descriptors(pid)
    with ThreadPoolExecutor() as pool:
        working = [pool.submit(clients.work, task, rate) for task, rate in tasks]
        _look(clients, pid, seconds)
        clients.has_stopped.set()
        for one in working:
            one.result()
    clients.seen.more_descriptors = _descriptors(pid) - before
    return clients.seen


def _descriptors(pid: int) -> int:
    """Return how many are open once that stays the same."""
    count, since = Usage.of(pid).descriptors, time.monotonic()

    def look() -> bool:
        nonlocal count, since
        if (now := Usage.of(pid).descriptors) != count:
            count, since = now, time.monotonic()
        return time.monotonic() - since > SETTLED_SECONDS

    wait_for(look)
    return count


def _overdo(server: Server) -> float:
    """Send 100 requests that pass a bound, after some to warm up; return the growth."""
    sizes = []
    for number in range(150):
        if number in {50, 149}:
            sizes.append(Usage.of(server.process.pid).rss_bytes)
        with suppress(ConnectionError):
            heard = exchange(server.port, TOO_MUCH[number % len(TOO_MUCH)])
            assert heard[9:10] in {b"4", b""}, heard
    return (sizes[1] - sizes[0]) / MIB


def _look(clients: Clients, pid: int, seconds: float) -> None:
    """Look at the server again and again."""
    began, seen = time.monotonic(), clients.seen
    while time.monotonic() - began < seconds:
        clients.has_stopped.wait(LOOK_SECONDS)
        taken, seen.pending = seen.pending, []
        usage, now = Usage.of(pid), time.monotonic() - began
        worst = 1e3 * quantiles(taken, n=100)[-1]
        seen.looks.append((now, usage.rss_bytes / MIB, usage.descriptors, worst))


def slopes(seen: Seen) -> list[Slope]:
    """Return those of memory, descriptors and the percentile, an hour."""
    times, *measured = zip(*seen.looks[int(WARM_UP * len(seen.looks)) :], strict=True)
    hours = [one / 3600 for one in times]
    return [Slope.of(hours, values) for values in measured]


def wrong(seen: Seen, seconds: float) -> list[str]:
    """Return what is not as it should be."""
    checks = {
        f"answers {dict(seen.statuses)}": seen.statuses.keys() == {200, 202},
        f"100 too large requests took {seen.grown:.1f} MiB": seen.grown < 1,
        f"{seen.more_descriptors} more descriptors": seen.more_descriptors
        <= ALLOWED_DESCRIPTORS,
    }
    if seconds >= LONG_SECONDS:
        memory, descriptors, slowest = slopes(seen)
        hours, usual = seconds / 3600, median(look[-1] for look in seen.looks)
        checks |= {
            f"{memory} MiB an hour": memory.least < ALLOWED_MIB_AN_HOUR,
            f"{descriptors} descriptors an hour": descriptors.least * hours < 1,
            f"{slowest} ms an hour": slowest.least * hours < ALLOWED_SLOWDOWN * usual,
        }
    return [text for text, is_right in checks.items() if not is_right]


def main() -> int:
    """Play, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="offsetnet-") as folder,
        Server(Path(folder) / "data") as server,
    ):
        seen = play(server, options.seconds, options.seed)
    return report(_table(seen, options.seconds), wrong(seen, options.seconds))


def _table(seen: Seen, seconds: float) -> Table:
    table = Table("measure", "value", "allowed")
    answers = ", ".join(f"{n} of {s}" for s, n in sorted(seen.statuses.items()))
    table.add_row("100 requests over a bound", f"{seen.grown:.2f} MiB", "1 MiB")
    table.add_row(f"answers in {seconds:g} s", answers, "200, 202")
    table.add_row("clients that left halfway", str(seen.left), "")
    more, allowed = str(seen.more_descriptors), str(ALLOWED_DESCRIPTORS)
    table.add_row("more descriptors", more, allowed)
    if seconds >= LONG_SECONDS:
        memory, descriptors, slowest = slopes(seen)
        table.add_row("memory at the end", f"{seen.looks[-1][1]:.1f} MiB", "")
        table.add_row("memory", f"{memory} MiB an hour", f"{ALLOWED_MIB_AN_HOUR:g}")
        table.add_row("descriptors", f"{descriptors} an hour", "flat")
        table.add_row("99th percentile", f"{slowest} ms an hour", "flat")
    return table


if __name__ == "__main__":
    sys.exit(main())
