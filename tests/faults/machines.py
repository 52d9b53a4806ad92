"""Two machines on one PostgreSQL: one dies for good in the middle of a job, or is late.

A machine is a data folder of its own with a server and its runner. In the first part
everything of the one that trains is killed, and the other must end the job within the
lease and 5 seconds. In the second its runner is stopped until the other has ended the
job, and then goes on: whatever it has, nothing of it may be stored.

Usage: python -m tests.faults.machines [--repeats N]
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.app.processes import children, is_alive
from tests.databases import databases
from tests.faults.killpoints import PROGRAM
from tests.faults.record import Record, violations
from tests.faults.report import report
from tests.server import UNMEASURED, Server, wait_for

LEASE_SECONDS: Final = 2.0
ALLOWED_SECONDS: Final = LEASE_SECONDS + 5.0
SETTINGS: Final = {
    **UNMEASURED,
    "OFFSETNET_LEASE_SECONDS": str(LEASE_SECONDS),
    "OFFSETNET_BEAT_SECONDS": "0.3",
}
DYING_EPOCHS: Final = 2500  # some seconds, so that a beat is seen before the death
LATE_EPOCHS: Final = 1500  # done by the other before a frozen runner is ended


@contextmanager
def machine(
    folder: Path, environment: Mapping[str, str], program: Mapping[str, Any]
) -> Iterator[Server]:
    """Run a server and its runner, with a data folder of their own."""
    settings = {**SETTINGS, **environment, **program["environment"]}
    with Server(folder, environment=settings, command=program["command"]) as server:
        yield server


def submit(
    servers: Sequence[Server], record: Record, epochs: int
) -> tuple[Server, Server, int]:
    """Submit job 1; return the machine that takes it, the other one, and the runner."""
    training = {"promote": "always", "config": {"epochs": epochs, "momentum": 0.5}}
    job = servers[0].client.post("/train", json=training).raise_for_status().json()
    record.acknowledge("job", job)
    taker = wait_for(lambda: next(filter(_has_taken, servers), None))
    (other,) = [server for server in servers if server is not taker]
    (runner,) = children(taker.process.pid)
    return taker, other, runner


def _has_taken(server: Server) -> bool:
    return "job 1: attempt 1" in server.log()


def _has_ended(server: Server) -> bool:
    """Tell whether the runner says how job 1 ended for it; a beat may end it sooner."""
    log = server.log()
    return "job 1 succeeded" in log or "job 1 has another owner" in log


def die(folder: Path, environment: Mapping[str, str]) -> tuple[float, list[str]]:
    """Kill a machine for good; return how long the other took, and what is wrong."""
    record = Record()
    with (
        machine(folder / "a", environment, PROGRAM) as one,
        machine(folder / "b", environment, PROGRAM) as two,
    ):
        dying, other, runner = submit((one, two), record, DYING_EPOCHS)
        wait_for(lambda: other.client.get("/train/1").json()["epoch"])
        for pid in (dying.process.pid, runner):
            os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        job = other.wait_for_job(1)
        seconds = time.monotonic() - begin
        record.see(job)
        found = violations(other.settings(), record) + _attempts(job)
    late = [f"it took {seconds:.1f} s"] if seconds > ALLOWED_SECONDS else []
    return seconds, found + late


def be_late(
    folder: Path, environment: Mapping[str, str], program: Mapping[str, Any] = PROGRAM
) -> list[str]:
    """Stop a runner until its job was done by another; return what is wrong."""
    record = Record()
    with (
        machine(folder / "a", environment, program) as one,
        machine(folder / "b", environment, program) as two,
    ):
        late, other, runner = submit((one, two), record, LATE_EPOCHS)
        os.kill(runner, signal.SIGSTOP)
        job = other.wait_for_job(1)
        record.see(job)
        os.kill(runner, signal.SIGCONT)
        wait_for(lambda: not is_alive(runner) or _has_ended(late))
        record.see(other.wait_for_job(1))
        return violations(other.settings(), record) + _attempts(job)


def _attempts(job: dict[str, Any]) -> list[str]:
    """Return what makes this no proof: the job was done by the first machine."""
    return [] if job["attempt"] == 2 else [f"attempt {job['attempt']}, not 2"]


def main() -> int:
    """Play both parts, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    died, found = [], []
    with databases() as made:
        for _ in range(repeats):
            with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
                seconds, wrong = die(Path(folder), made.new("postgresql"))
                died.append(seconds)
                found += wrong
            with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
                found += be_late(Path(folder), made.new("postgresql"))
    table = Table("machines lost", "longest s", "allowed s", "late", "violations")
    longest = f"{max(died):.1f}"
    table.add_row(
        str(repeats), longest, f"{ALLOWED_SECONDS}", str(repeats), str(len(found))
    )
    return report(table, found)


if __name__ == "__main__":
    sys.exit(main())
