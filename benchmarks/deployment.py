"""Replicas and runners on one PostgreSQL, each pair on a processor core of its own.

A replica is a server that only serves, a runner a machine that only trains. Everything
that a process starts stays on the core that it was started on.
"""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.load import Usage, tree
from tests.server import DEADLINE_SECONDS, UNMEASURED, Server, wait_for

SETTINGS: Final = {
    **UNMEASURED,
    "OFFSETNET_RUNNER": "false",
    "OFFSETNET_QUEUE_LIMIT": "1000",
}


class Runner(NamedTuple):
    """`offsetnet runner`, and where it says what it does."""

    process: subprocess.Popen[bytes]
    log_path: Path


class Deployment(NamedTuple):
    """Replicas, and as many runners."""

    replicas: list[Server]
    runners: list[Runner]

    def replicas_cpu_seconds(self) -> float:
        """Return the processor time that the replicas had so far."""
        return _cpu_seconds(replica.process.pid for replica in self.replicas)

    def runners_cpu_seconds(self) -> float:
        """Return the processor time that the runners had so far."""
        return _cpu_seconds(runner.process.pid for runner in self.runners)

    def tries(self) -> Counter[int]:
        """Return how often each job was begun, as the runners say."""
        logs = "".join(runner.log_path.read_text() for runner in self.runners)
        return Counter(map(int, re.findall(r"job (\d+): attempt", logs)))

    @contextmanager
    def runners_stopped(self) -> Iterator[None]:
        """Let no runner work while the block runs; they should be idle before."""
        processes = [one for it in self.runners for one in tree(it.process.pid)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)


def cores(number: int) -> list[int]:
    """Return that many processor cores which this process may use.

    Raises:
        SystemExit: There are not that many.
    """
    found = sorted(os.sched_getaffinity(0))[:number]
    if len(found) < number:
        sys.exit(f"{number} processor cores are needed")
    return found


@contextmanager
def deployment(
    folder: Path, environment: Mapping[str, str], pairs: int
) -> Iterator[Deployment]:
    """Run replicas and runners, a pair on each core."""
    settings, made = {**SETTINGS, **environment}, Deployment([], [])
    folder.mkdir()
    with ExitStack() as stack:
        for core in cores(pairs):
            with _on(core):
                replica = Server(folder / f"replica-{core}", environment=settings)
                made.replicas.append(stack.enter_context(replica))
                runner = _runner(folder / f"runner-{core}", settings)
                made.runners.append(stack.enter_context(runner))
        yield made


@contextmanager
def _on(core: int) -> Iterator[None]:
    """Start processes on that core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _runner(data_dir: Path, environment: Mapping[str, str]) -> Iterator[Runner]:
    log_path = data_dir.with_suffix(".log")
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "runner"],
            env={**os.environ, **environment, "OFFSETNET_DATA_DIR": str(data_dir)},
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        wait_for((data_dir / "runner.lock").exists)  # it takes jobs from here on
        yield Runner(process, log_path)
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def _cpu_seconds(processes: Iterable[int]) -> float:
    return Usage.of(
        *(one for process in processes for one in tree(process))
    ).cpu_seconds
