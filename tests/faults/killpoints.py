"""Kill processes at named points of a job's and a version's life; nothing may be lost.

At each point, on each engine, as often as asked: a process that reaches the point is
killed with SIGKILL, every second time with all that runs on its machine. What died is
started again, clients repeat what was not acknowledged, and the record is compared
with the database.

Usage: python -m tests.faults.killpoints [--repeats N] [--workers N] [--points K1 ...]
"""

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from rich.table import Table

from tests.app.processes import children, is_alive
from tests.databases import ENGINES, Databases, databases
from tests.faults.record import Record, violations
from tests.faults.report import report
from tests.server import UNMEASURED, Server, wait_for

ARMED: Final = Path(__file__).parent / "armed"
BRISK: Final = {
    **UNMEASURED,
    "OFFSETNET_LEASE_SECONDS": "1",
    "OFFSETNET_BEAT_SECONDS": "0.2",
    "OFFSETNET_POLL_SECONDS": "0.2",
    "OFFSETNET_KEEP_VERSIONS": "2",
}
PEER_SECONDS: Final = 3.0  # in which the other process must have looked
TRAINING: Final = {"promote": "always", "config": {"epochs": 20}}
PERSON: Final = {"weight_offset": -7.0, "height_offset": -3.0}
SECONDS: Final = 30.0
NOTHING: Final[Mapping[str, str]] = {}
PROGRAM: Final[Mapping[str, Any]] = {
    "command": (sys.executable, "-m", "app", "serve"),
    "environment": NOTHING,
}


class Point(NamedTuple):
    """A place to die at.

    Attributes:
        name: Of the point.
        what: In words.
        place: As `armed/sitecustomize.py` reads it.
        scenario: What is being done.
    """

    name: str
    what: str
    place: str
    scenario: str


POINTS: Final = [
    Point("K1", "before the job is stored", "call app.jobs Jobs.enqueue 1", "train"),
    Point("K2", "stored, not answered", "return app.jobs Jobs.enqueue 1", "train"),
    Point("K3", "answered, not claimed", "call app.claims Claims.take 1", "frozen"),
    Point("K4", "claimed", "call app.trainer Trainer._work 1", "train"),
    Point("K5", "before the first epoch", "call model.training train 1", "train"),
    Point("K6", "in an epoch", "call app.progress History.add 3", "train"),
    Point("K7", "weights made, not stored", "return model.artifact save 1", "train"),
    Point("K8", "decided, not stored", "return app.gate decide 1", "train"),
    Point(
        "K9", "before the last statement", "call app.claims Claims.succeed 1", "train"
    ),
    Point("K10", "before its COMMIT", "return app.version_rows prune 1", "train"),
    Point("K11", "after its COMMIT", "return app.claims Claims.succeed 1", "train"),
    Point(
        "K12",
        "activating, before COMMIT",
        "return app.version_rows prune 1",
        "activate",
    ),
    Point(
        "K13",
        "activated, before the swap",
        "return app.versions Versions.activate 1",
        "activate",
    ),
    Point("K14", "one worker swapped", "call app.registry Registry.load 1", "peer"),
    Point("K15", "in retention", "call app.version_rows prune 1", "train"),
    Point("K16", "in the recovery", "call app.progress History.add 3", "twice"),
]


class Run:
    """One history: a machine, its clients, a kill, and what came of it."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        point: Point,
        *,
        has_all: bool,
        program: Mapping[str, Any] = PROGRAM,
    ) -> None:
        """Prepare it.

        Args:
            folder: For its data.
            environment: What leads to its database.
            point: Where to kill.
            has_all: Whether everything on the machine dies.
            program: What is run, as `Server` takes it.
        """
        self.record = Record()
        self.kills = 0
        self._point, self._has_all = point, has_all
        self._order = folder / "order"
        self._data_dir = folder / "data"
        arms = {"KILL_AT": point.place, "KILL_ORDER": str(self._order)}
        paths = [str(ARMED), *filter(None, [program["environment"].get("PYTHONPATH")])]
        self._environment = {**BRISK, **environment, "PYTHONPATH": ":".join(paths)}
        self._arms = arms
        self._command = program["command"]
        self._stack = ExitStack()

    def play(self) -> list[str]:
        """Do it, and return what is wrong."""
        with self._stack:
            workers = ("--workers", "2") if self._point.scenario == "peer" else ()
            server = self._start(*workers, environment=self._arms)
            done = server.wait_for_job(self._submit(server, "first")["id"])
            self.record.see(done)  # a version to go back from
            server.wait_for_version(done["model_version"])
            scenario = getattr(self, f"_{self._point.scenario}")
            server = scenario(server, done["model_version"])
            for job_id in sorted(self.record.acknowledged):
                self.record.see(server.wait_for_job(job_id))
            self._predict(server)
            settings = server.settings()
        return violations(settings, self.record)

    def _train(self, server: Server, _: int) -> Server:
        self._arm()
        with _cut_off():
            self._submit(server, "second")
        server = self._survive(server)
        self._submit(server, "second")
        return server

    def _frozen(self, server: Server, _: int) -> Server:
        """Submit while the runner stands still, and let it die when it looks."""
        (runner,) = wait_for(lambda: children(server.process.pid))
        os.kill(runner, signal.SIGSTOP)
        self._submit(server, "second")
        self._arm()
        os.kill(runner, signal.SIGCONT)
        return self._survive(server)

    def _activate(self, server: Server, version: int) -> Server:
        self._arm()
        with _cut_off():
            self._put(server, 1)
        server = self._survive(server)
        self._put(server, version)
        return server

    def _peer(self, server: Server, version: int) -> Server:
        """Let one of two processes swap, and the other die before it does.

        The other may have swapped before it can be told to die: then once more.
        """
        chosen = 1
        while not self._is_taken(server, chosen):
            chosen = version if chosen == 1 else 1
        server = self._survive(server)
        wait_for(lambda: _answers_with(server, chosen))
        return server

    def _is_taken(self, server: Server, chosen: int) -> bool:
        """Activate a version, and tell whether the other process obeys in time."""
        self._put(server, chosen)
        self._arm()
        with suppress(AssertionError):
            wait_for(lambda: not self._order.exists(), PEER_SECONDS)
        try:
            self._order.unlink()
        except FileNotFoundError:
            return True
        return False

    def _twice(self, server: Server, _: int) -> Server:
        """Kill at the same point again in what follows the first kill."""
        self._arm()
        with _cut_off():
            self._submit(server, "second")
        server = self._survive(server, environment=self._arms)
        self._arm()
        return self._survive(server)

    def _start(
        self, *arguments: str, environment: Mapping[str, str] = NOTHING
    ) -> Server:
        server = Server(
            self._data_dir,
            *arguments,
            environment={**self._environment, **environment},
            command=self._command,
        )
        return self._stack.enter_context(server)

    def _survive(
        self, server: Server, environment: Mapping[str, str] = NOTHING
    ) -> Server:
        """Wait for the kill, and return a server that lives."""
        everything = [server.process.pid, *children(server.process.pid)]
        wait_for(lambda: not self._order.exists(), SECONDS)
        wait_for(lambda: not is_alive(self._victim()), SECONDS)
        self.kills += 1
        if self._has_all:
            for pid in {*everything, *children(server.process.pid)}:
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
            server.process.wait(SECONDS)
        if self._lives(server):
            return server
        server.process.wait(SECONDS)
        return self._start(environment=environment)

    def _victim(self) -> int:
        """Return which process took the newest order, and is about to die of it."""
        taken = self._order.parent.glob(f"{self._order.name}.*")
        newest = max(taken, key=lambda path: path.stat().st_mtime_ns)
        return int(newest.suffix.removeprefix("."))

    @staticmethod
    def _lives(server: Server) -> bool:
        """Whether the process answers, or could: a dying one has closed its port."""
        try:
            return server.client.get("/livez").is_success
        except httpx.TransportError:
            return False

    def _arm(self) -> None:
        self._order.touch()

    def _submit(self, server: Server, key: str) -> dict[str, Any]:
        headers = {"Idempotency-Key": key}
        response = server.client.post("/train", json=TRAINING, headers=headers)
        job: dict[str, Any] = response.raise_for_status().json()
        self.record.acknowledge(key, job)
        return job

    @staticmethod
    def _put(server: Server, version: int) -> None:
        server.client.put(
            "/models/active", json={"version": version}, headers={"If-Match": "*"}
        ).raise_for_status()
        assert _answers_with(server, version)

    def _predict(self, server: Server) -> None:
        for _ in range(5):
            answer = server.client.post("/predict", json=PERSON).raise_for_status()
            self.record.predict(PERSON, answer.json())


@contextmanager
def _cut_off() -> Iterator[None]:
    """Expect the server to die in the middle of the request, or not."""
    try:
        yield
    except httpx.TransportError:
        return


def _answers_with(server: Server, version: int) -> bool:
    answer = server.client.post("/predict", json=PERSON)
    return bool(answer.json()["model_version"] == version)


def play(
    made: Databases, engine: str, point: Point, repeat: int
) -> tuple[str, str, int, list[str]]:
    """Play one history; return its point, engine, kills, and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
        place = POINTS.index(point) if point in POINTS else 0
        has_all = (repeat + place + ENGINES.index(engine)) % 2 == 1
        run = Run(Path(folder), made.new(engine), point, has_all=has_all)
        try:
            found = run.play()
        except (AssertionError, httpx.HTTPError) as error:
            found = [f"{type(error).__name__}: {error}"]
        return point.name, engine, run.kills, found


def main() -> int:
    """Play every history, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--points", nargs="*", default=[point.name for point in POINTS])
    options = parser.parse_args()
    points = [point for point in POINTS if point.name in options.points]
    kills: Counter[tuple[str, str]] = Counter()
    wrong: dict[tuple[str, str], list[str]] = {}
    with databases() as made, ThreadPoolExecutor(options.workers) as pool:
        made.postgresql.new_database()
        tasks = product(ENGINES, points, range(options.repeats))
        for name, engine, killed, found in pool.map(lambda t: play(made, *t), tasks):
            kills[name, engine] += killed
            wrong.setdefault((name, engine), []).extend(found)
    table = Table("point", "killed", *(f"{e}: kills" for e in ENGINES), "violations")
    for point in points:
        counts = [str(kills[point.name, engine]) for engine in ENGINES]
        faults = sum(len(wrong[point.name, engine]) for engine in ENGINES)
        table.add_row(point.name, point.what, *counts, str(faults))
    each = sum(2 if point.scenario == "twice" else 1 for point in points)
    total = options.repeats * len(ENGINES) * each
    table.add_section()
    table.add_row("", "all", *_sums(kills), str(sum(map(len, wrong.values()))))
    missed = ["not every point was reached"] * (kills.total() != total)
    return report(table, missed + [f"{k}: {f}" for k, fs in wrong.items() for f in fs])


def _sums(kills: Counter[tuple[str, str]]) -> list[str]:
    return [
        str(sum(count for (_, name), count in kills.items() if name == engine))
        for engine in ENGINES
    ]


if __name__ == "__main__":
    sys.exit(main())
