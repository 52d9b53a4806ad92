"""Databases that hang: SQLite locked by another process, PostgreSQL frozen.

A lock is an exclusive transaction that is not ended; frozen is SIGSTOP to every process
of PostgreSQL, which takes what is sent and never answers. Meanwhile clients submit and
list jobs: each must be told 503 in time, with Retry-After, and nothing of what was
refused may be stored. Predictions, probes and the pings of an open event stream must
go on, and afterwards everything by itself. At last the server is told to stop while its
database hangs again.

Usage: python -m tests.faults.stuck [--seconds N]
"""

import argparse
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from rich.table import Table

from app.engines import has_safe_wal
from tests.app.answers import EMILY
from tests.app.training import BRIEF, ENDLESS
from tests.databases import ENGINES, URL, PostgreSQL
from tests.faults.report import report
from tests.server import UNMEASURED, Server, wait_for

CLIENTS: Final = 16
BRISK: Final = {**UNMEASURED, "OFFSETNET_PING_SECONDS": "0.3"}

Hang = Callable[[], AbstractContextManager[None]]


class Limits(NamedTuple):
    """What may last how long, in seconds; these machines are busy."""

    answer: float = 6.0  # which should take 5
    prediction: float = 1.0
    degraded: float = 4.0
    recovered: float = 10.0
    ping: float = 2.0
    draining: float = 2.0
    stopped: float = 20.0


class Seen(NamedTuple):
    """What was seen of a server whose database hung.

    Attributes:
        refused: How many answers said 503.
        odd: Other answers, and those without Retry-After.
        predictions: How many were answered.
        lasted: The longest of each kind, in seconds.
        unasked: Jobs that are stored and were never acknowledged.
    """

    refused: int
    odd: list[str]
    predictions: int
    lasted: Limits
    unasked: int

    def wrong(self) -> list[str]:
        """Return what should not be."""
        late = [
            f"{name}: {lasted:.1f} s"
            for name, lasted, limit in zip(
                Limits._fields, self.lasted, Limits(), strict=True
            )
            if lasted > limit
        ]
        stored = [f"{self.unasked} refused jobs are stored"] * bool(self.unasked)
        idle = [] if self.refused and self.predictions else ["nothing was refused"]
        return [*late, *self.odd, *stored, *idle]


class Stream:
    """A job's open event stream, and when it sent something."""

    def __init__(self, server: Server, job_id: int) -> None:
        """Open it."""
        self.times: list[float] = []
        self.drained = 0.0
        path = f"http://127.0.0.1:{server.port}/train/{job_id}/events"
        threading.Thread(target=self._follow, args=(path,), daemon=True).start()
        wait_for(lambda: self.times)

    def longest_silence(self, begin: float, end: float) -> float:
        """Return it, of a time."""
        times = [begin, *(t for t in self.times if begin < t < end), end]
        return max(b - a for a, b in pairwise(times))

    def _follow(self, path: str) -> None:
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", path, timeout=60) as response,
        ):
            for line in response.iter_lines():
                self.times.append(time.monotonic())
                if line == "event: draining":
                    self.drained = time.monotonic()


class Clients:
    """Clients that ask a server for something again and again."""

    def __init__(self, server: Server) -> None:
        """Start with nothing asked."""
        self._url = f"http://127.0.0.1:{server.port}"
        self.answers: list[httpx.Response] = []
        self.lasted: list[float] = []
        self._rest = threading.Event()

    def ask(self, method: str, path: str, body: object, until: float) -> None:
        """Ask until that time."""
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while time.monotonic() < until:
                begin = time.monotonic()
                self.answers.append(client.request(method, path, json=body))
                self.lasted.append(time.monotonic() - begin)
                self._rest.wait(0.02)


def play(server: Server, hang: Hang, seconds: float) -> Seen:
    """Let a server's database hang for so long, then once more while it stops."""
    running = server.client.post("/train", json=ENDLESS).json()["id"]
    stream = Stream(server, running)
    asking, predicting = Clients(server), Clients(server)
    begin, degraded = _hang(server, hang, asking, predicting, seconds)
    released = time.monotonic()
    wait_for(lambda: not _is_degraded(server) and _lists(server))
    recovered = time.monotonic()
    accepted = [a.json()["id"] for a in asking.answers if a.status_code == 202]
    unasked = {*_lists(server)} - {running, *accepted}
    told, stopped = _stop(server, hang)
    return Seen(
        refused=sum(answer.status_code == 503 for answer in asking.answers),
        odd=_odd(asking.answers) + [str(a) for a in predicting.answers if a.is_error],
        predictions=len(predicting.answers),
        lasted=Limits(
            answer=max(asking.lasted),
            prediction=max(predicting.lasted),
            degraded=degraded - begin,
            recovered=recovered - released,
            ping=stream.longest_silence(begin, released),
            draining=stream.drained - told if stream.drained else 60.0,
            stopped=stopped - told,
        ),
        unasked=len(unasked),
    )


def _hang(
    server: Server, hang: Hang, asking: Clients, predicting: Clients, seconds: float
) -> tuple[float, float]:
    """Let the database hang while clients ask.

    Returns:
        When it began, and when the server told of it.
    """
    with ThreadPoolExecutor(CLIENTS + 1) as pool, hang():
        begin = time.monotonic()
        until = begin + seconds
        working = [pool.submit(predicting.ask, "POST", "/predict", EMILY, until)]
        for number in range(CLIENTS):
            method = ("POST", "POST", "POST", "GET")[number % 4]
            body = BRIEF if method == "POST" else None
            working.append(pool.submit(asking.ask, method, "/train", body, until))
        wait_for(lambda: _is_degraded(server) or _can_read(server))
        degraded = time.monotonic()
        wait_for(lambda: time.monotonic() > until, seconds + 1)
    for one in working:
        one.result()  # fails where a client was not answered at all
    return begin, degraded


def _stop(server: Server, hang: Hang) -> tuple[float, float]:
    """Stop the server while its database hangs; return the times before and after."""
    with hang():
        told = time.monotonic()
        server.stop()
        return told, time.monotonic()


def _is_degraded(server: Server) -> bool:
    return bool(server.client.get("/readyz").raise_for_status().json()["degraded"])


def _can_read(server: Server) -> bool:
    """Whether a lock holds up no reader: with a write-ahead log it does not."""
    return URL not in server.environment and has_safe_wal(sqlite3.sqlite_version_info)


def _lists(server: Server) -> list[int]:
    """Return the jobs that are stored, where the server can tell."""
    answer = server.client.get("/train?limit=100")
    return [job["id"] for job in answer.json()["jobs"]] if answer.is_success else []


def _odd(answers: list[httpx.Response]) -> list[str]:
    """Return what is neither done nor refused as it should be."""
    refused = [a for a in answers if a.status_code == httpx.codes.SERVICE_UNAVAILABLE]
    others = {a.status_code for a in answers if not a.is_success} - {503}
    bare = [a for a in refused if "Retry-After" not in a.headers]
    codes = {answer.json()["code"] for answer in refused} - {"storage"}
    return [*map(str, others), *codes, *["no Retry-After"] * bool(bare)]


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Hold an exclusive transaction on a server's SQLite file."""
    path = server.data_dir / "offsetnet.sqlite3"
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN EXCLUSIVE")
        yield


def play_sqlite(folder: Path, seconds: float) -> Seen:
    """Let SQLite be locked by another process than the server."""
    with Server(folder / "data", environment=BRISK) as server:
        return play(server, lambda: locked(server), seconds)


def play_postgresql(folder: Path, seconds: float) -> Seen:
    """Let PostgreSQL be frozen."""
    database = PostgreSQL(folder / "postgresql")
    environment = {URL: database.new_database(), **BRISK}
    try:
        with Server(folder / "data", environment=environment) as server:
            return play(server, database.frozen, seconds)
    finally:
        database.remove()


PLAYS: Final = dict(zip(ENGINES, (play_sqlite, play_postgresql), strict=True))


def main() -> int:
    """Play with each engine, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
        found = {}
        for engine in ENGINES:
            (path := Path(folder, engine)).mkdir()
            found[engine] = PLAYS[engine](path, seconds)
    table = Table(f"{seconds:.0f} s long", *ENGINES, "allowed")
    for name in ("refused", "predictions", "unasked"):
        table.add_row(name, *(str(getattr(found[one], name)) for one in ENGINES), "")
    for name, limit in Limits()._asdict().items():
        lasted = (f"{getattr(found[one].lasted, name):.1f} s" for one in ENGINES)
        table.add_row(name, *lasted, f"{limit:.0f} s")
    wrong = [f"{one}: {fault}" for one in ENGINES for fault in found[one].wrong()]
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
