"""Watch the size of the server under load that lasts, and over many hot swaps.

Under load: predictions at a steady rate; the resident memory of the server process is
looked at every second, and a straight line is fitted to all but the first minute (or
tenth of the time), with the 95 % interval of its slope. Over swaps: two versions are
activated in turn, each swap followed by predictions; after every tenth of the swaps
stand the memory, the open descriptors and the 99th percentile since the last look.

Usage: python -m benchmarks.endurance [SECONDS] [SWAPS]
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.load import Connection, Request, Usage, ask_steadily
from benchmarks.predict import EMILY
from benchmarks.slope import Slope
from tests.app.training import train
from tests.server import Server

SECONDS: Final = 600
SWAPS: Final = 10_000
RATE: Final = 500.0
LOOK_SECONDS: Final = 1.0
WARMUP_SECONDS: Final = 60.0
PREDICTIONS: Final = 5
PREDICT: Final = Request("/predict", EMILY)
ALLOWED_MIB_AN_HOUR: Final = 5.0


def under_load(server: Server, seconds: float) -> Table:
    """Return the slope of the memory under load."""
    times, sizes, stop = [], [], threading.Event()
    begin = time.monotonic()

    def look() -> None:
        while not stop.wait(LOOK_SECONDS):
            times.append(time.monotonic() - begin)
            sizes.append(Usage.of(server.process.pid).rss_bytes / 2**20)

    watcher = threading.Thread(target=look)
    watcher.start()
    latencies = ask_steadily(server.port, PREDICT, RATE, seconds)
    stop.set()
    watcher.join()
    warmup = min(WARMUP_SECONDS, seconds / 10)
    later = np.array(times) > warmup
    hours, mib = np.array(times)[later] / 3600, np.array(sizes)[later]
    table = Table("seconds", "requests", "failed", "MiB at the end", "MiB an hour")
    table.add_column("allowed")
    table.add_row(
        f"{seconds:.0f}",
        f"{len(latencies.seconds):,}",
        str(latencies.failed),
        f"{mib[-1]:.1f}",
        str(Slope.of(hours, mib)),
        f"{ALLOWED_MIB_AN_HOUR:.0f}",
    )
    return table


def over_swaps(server: Server, swaps: int) -> Table:
    """Return size and tail after every tenth of the swaps."""
    versions = [1, train(server, promote="never")["model_version"]]
    table = Table("swaps", "MiB", "descriptors", "p99, µs")
    swappers = [Connection(server.port, activation(version)) for version in versions]
    asker, taken = Connection(server.port, PREDICT), list[float]()
    for number in range(1, swaps + 1):
        swapper = swappers[number % 2]
        swapper.send()
        swapper.receive()
        taken += ask(asker, versions[number % 2])
        if number % (swaps // 10) == 0:
            usage = Usage.of(server.process.pid)
            table.add_row(
                f"{number:,}",
                f"{usage.rss_bytes / 2**20:.1f}",
                str(usage.descriptors),
                f"{1e6 * float(np.percentile(taken, 99)):.0f}",
            )
            taken.clear()
    return table


def activation(version: int) -> Request:
    """Return what makes a version the active one."""
    body = f'{{"version":{version}}}'.encode()
    return Request("/models/active", body, method="PUT", headers={"If-Match": "*"})


def ask(asker: Connection, version: int) -> Iterator[float]:
    """Yield the seconds of some predictions, which that version must answer."""
    wanted = f'"model_version":{version}}}'.encode()
    for _ in range(PREDICTIONS):
        start = time.perf_counter()
        asker.send()
        if not asker.receive().endswith(wanted):
            raise RuntimeError("another version answered")
        yield time.perf_counter() - start


def main() -> None:
    """Print both tables."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    swaps = int(sys.argv[2]) if len(sys.argv) > 2 else SWAPS  # noqa: PLR2004 # the second
    console = Console()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data") as server,
    ):
        console.print(under_load(server, seconds))
        console.print(over_swaps(server, swaps))


if __name__ == "__main__":
    main()
