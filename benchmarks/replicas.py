"""Compare two replicas and two runners with one of each, on one PostgreSQL.

A replica shares a core with its own load generator and a runner; a second replica has
the second core, with a generator and a runner of its own. So a pair has the same room
alone as beside the other; PostgreSQL, whose share is small, is on both cores. Requests
a second and jobs a minute are as measured, and move with what else the machine does;
answers and jobs by the processor time of the replicas or runners are steadier, and
show whether two of them cost each other anything. One and two take turns, with equal
jobs, of the article's four people or of 10,000, queued while the runners are stopped.

Then the active version is switched, by `PUT /models/active` and by promoted trainings,
while both replicas are asked without pause: how long does the last of them still answer
with the old version, from when the call was sent, or from when the job ended by the
database's clock? More than 2 s is a failure, as is a job that is lost or begun twice.

Usage: python -m benchmarks.replicas [ROUNDS [SWITCHES]]
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.deployment import Deployment, cores, deployment
from benchmarks.load import Request, ask
from benchmarks.predict import EMILY
from benchmarks.switches import ALLOWED_SECONDS, promote, put, switches_table
from benchmarks.turnaround import CSV, PEOPLE
from tests.databases import databases
from tests.faults.record import Record, violations
from tests.server import Server

ROUNDS: Final = 5
SWITCHES: Final = 15  # of each kind
REQUESTS: Final = 8_000
FEW: Final = 4
JOBS: Final = {FEW: 40, 10_000: 12}  # by their people
PREDICTED: Final = (
    "replicas",
    "requests a second",
    "over one",
    "answers a CPU second",
    "over one's",
)
TRAINED: Final = (
    "people a job",
    "runners",
    "jobs a minute",
    "over one",
    "jobs a CPU minute",
    "over one's",
)

Generators = Sequence[ProcessPoolExecutor]


class Rate(NamedTuple):
    """What was done in a second, and in a second of processor time."""

    by_clock: float
    by_cpu: float


Pair = tuple[Rate, Rate]  # of one and two


def predict(deployed: Deployment, generators: Generators) -> Rate:
    """Ask each replica by its generator, all at once."""
    before = deployed.replicas_cpu_seconds()
    asking = [
        generator.submit(_ask, replica.port)
        for generator, replica in zip(generators, deployed.replicas, strict=False)
    ]
    by_clock = sum(REQUESTS / one.result() for one in asking)
    spent = deployed.replicas_cpu_seconds() - before
    return Rate(by_clock, REQUESTS * len(asking) / spent)


def _ask(port: int) -> float:
    begin = time.perf_counter()
    ask(port, Request("/predict", EMILY), REQUESTS)
    return time.perf_counter() - begin


def train(deployed: Deployment, record: Record, people: int, first: int) -> Rate:
    """Queue jobs and let the runners work them off; the first one's seed is given."""
    server, seeds = deployed.replicas[0], range(first, first + JOBS[people])
    with deployed.runners_stopped():
        queued = [_submit(server, record, people, seed) for seed in seeds]
        before = deployed.runners_cpu_seconds()
    done = [server.wait_for_job(number) for number in queued]
    spent = deployed.runners_cpu_seconds() - before
    for job in done:
        record.see(job)
    begun = [datetime.fromisoformat(job["started_at"]).timestamp() for job in done]
    ended = len(done) - len(deployed.runners)  # when the last is taken, and none waits
    return Rate(ended / (max(begun) - min(begun)), len(done) / spent)


def _submit(server: Server, record: Record, people: int, seed: int) -> int:
    if people == FEW:
        few = {"promote": "never", "config": {"seed": seed}}
        answer = server.client.post("/train", json=few)
    else:
        query: dict[str, str | int] = {"promote": "never", "seed": seed}
        answer = server.client.post("/train", content=PEOPLE, headers=CSV, params=query)
    job = answer.raise_for_status().json()
    record.acknowledge(f"job {job['id']}", job)
    number: int = job["id"]
    return number


def compare(
    one: Deployment, two: Deployment, records: Sequence[Record], rounds: int
) -> tuple[list[Pair], dict[int, list[Pair]]]:
    """Return the rates of both, round by round: of predictions, and of jobs."""
    predictions: list[Pair] = []
    jobs: dict[int, list[Pair]] = {people: [] for people in JOBS}
    with _generators() as generators:
        predict(one, generators), predict(two, generators)
        for number in range(rounds):
            predictions.append((predict(one, generators), predict(two, generators)))
            for people, found in jobs.items():
                what = people, number * JOBS[people]
                ones = train(one, records[0], *what)
                found.append((ones, train(two, records[1], *what)))
    return predictions, jobs


@contextmanager
def _generators() -> Iterator[Generators]:
    """Start a process on each core, to ask from."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                ProcessPoolExecutor(
                    1, get_context("spawn"), os.sched_setaffinity, (0, {core})
                )
            )
            for core in cores(2)
        ]


def faults(deployed: Deployment, record: Record) -> list[str]:
    """Return what became of jobs that should not: each is done once."""
    found = violations(deployed.replicas[0].settings(), record)
    tries = deployed.tries()
    for number in sorted(record.acknowledged):
        if tries[number] != 1:
            found.append(f"job {number} was begun {tries[number]} times")
    for number, endings in record.endings.items():
        found += [
            f"job {number} has {one.state}: {one.reason}"
            for one in endings
            if one.state != "succeeded"
        ]
    return found


def rates(index: int, unit: int, pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield the cells of one or two: the rates, and what they are over one's."""
    for field in range(len(Rate._fields)):
        values = [unit * pair[index][field] for pair in pairs]
        over = [pair[index][field] / pair[0][field] for pair in pairs]
        yield from (f"{median(values):,.0f}", f"{median(over):.2f}")


def main() -> None:
    """Print the tables; what is late, lost or done twice is a failure."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    switches = int(sys.argv[2]) if len(sys.argv) > 2 else SWITCHES  # noqa: PLR2004
    records = Record(), Record()
    with (
        tempfile.TemporaryDirectory(prefix="offsetnet-") as folder,
        databases() as made,
        deployment(Path(folder, "one"), made.new("postgresql"), 1) as one,
        deployment(Path(folder, "two"), made.new("postgresql"), 2) as two,
    ):
        predictions, jobs = compare(one, two, records, rounds)
        promoted = [promote(two, records[1], number) for number in range(switches)]
        put_there = [put(two, number) for number in range(switches)]
        wrong = faults(one, records[0]) + faults(two, records[1])
    predicted, trained, console = Table(*PREDICTED), Table(*TRAINED), Console()
    for index, name in enumerate("12"):
        predicted.add_row(name, *rates(index, 1, predictions))
    for people, pairs in jobs.items():
        for index, name in enumerate("12"):
            trained.add_row(f"{people:,}", name, *rates(index, 60, pairs))
    console.print(predicted)
    console.print(trained)
    switched = {"a promoted training": promoted, "PUT /models/active": put_there}
    console.print(switches_table(switched))
    wrong += [
        f"{name}: the old version answered for {seconds:.2f} s"
        for name, times in switched.items()
        for seconds in times
        if seconds > ALLOWED_SECONDS
    ]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
