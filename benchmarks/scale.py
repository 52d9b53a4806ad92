"""Compare the throughput of two worker processes with that of one.

The load generator runs on the same cores as the server. So the throughput of each is
shown as measured, and as it would be if the generator took nothing: the processor time
that the server had, over what a request cost it, on as many cores as it has workers.
In each round one and two workers are asked in turn, by four generator processes.

Usage: python -m benchmarks.scale [ROUNDS]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import Usage, tree
from tests.server import Server

ROUNDS: Final = 8
GENERATORS: Final = 4
REQUESTS: Final = 4_000
ASK: Final = """\
import sys
from benchmarks.load import Request, ask
from benchmarks.predict import EMILY
ask(int(sys.argv[1]), Request("/predict", EMILY), int(sys.argv[2]))
"""


class Throughput(NamedTuple):
    """Requests a second, as measured and without the generator's share."""

    measured: float
    alone: float


def measure(server: Server, workers: int) -> Throughput:
    """Ask by several processes at once."""
    processes = tree(server.process.pid)
    before, begin = Usage.of(*processes).cpu_seconds, time.perf_counter()
    generators = [
        subprocess.Popen([sys.executable, "-c", ASK, str(server.port), str(REQUESTS)])
        for _ in range(GENERATORS)
    ]
    if any(generator.wait() for generator in generators):
        raise RuntimeError("a generator failed")
    seconds = time.perf_counter() - begin
    cpu_seconds = Usage.of(*processes).cpu_seconds - before
    requests = GENERATORS * REQUESTS
    return Throughput(requests / seconds, workers * requests / cpu_seconds)


def main() -> None:
    """Print a row for each number of workers."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "one") as one,
        Server(Path(folder) / "two", "--workers", "2") as two,
    ):
        measure(one, 1), measure(two, 2)
        pairs = [(measure(one, 1), measure(two, 2)) for _ in range(rounds)]
    table = Table("workers", "requests a second", "without the generator", "over one")
    for index in range(2):
        ratios = [pair[index].alone / pair[0].alone for pair in pairs]
        table.add_row(
            str(index + 1),
            f"{median(pair[index].measured for pair in pairs):,.0f}",
            f"{median(pair[index].alone for pair in pairs):,.0f}",
            f"{median(ratios):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
