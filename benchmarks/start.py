"""Compare the time to the first answer, and the size, with a FastAPI app of one route.

Both run on the same uvicorn. Time is from exec until `/readyz` is answered with 200,
asked for every 5 ms; size is the resident memory then. The runner, a process of its
own, starts meanwhile and is shown apart; so is the processor time of both while nothing
is asked.

Usage: python -m benchmarks.start [ROUNDS]
"""

import http.client
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import Usage, cpu_share, tree
from benchmarks.predict import UVICORN
from tests.server import Server, wait_for

ONE_ROUTE: Final = "benchmarks.apps:one_route"
ROUNDS: Final = 20
IDLE_SECONDS: Final = 20.0
SETTLED_SHARE: Final = 0.3
DEADLINE_SECONDS: Final = 60.0
ASK_SECONDS: Final = 0.005


class Start(NamedTuple):
    """How a server started."""

    seconds: float
    cpu_seconds: float
    rss_bytes: int


def start(folder: Path, command: tuple[str, ...] | None) -> tuple[Server, Start]:
    """Start a server and wait for its first answer."""
    begin = time.perf_counter()
    server = Server(folder, command=command) if command else Server(folder)
    while not is_ready(server.port):
        if time.perf_counter() - begin > DEADLINE_SECONDS:
            server.stop()
            raise TimeoutError(server.log())
        time.sleep(ASK_SECONDS)
    seconds = time.perf_counter() - begin
    usage = Usage.of(server.process.pid)
    return server, Start(seconds, usage.cpu_seconds, usage.rss_bytes)


def is_ready(port: int) -> bool:
    """Ask once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def idle(folder: Path) -> tuple[float, float, int]:
    """Return the shares of a core that both use at once, and our runner's size.

    At once, since what it costs to wake up depends on what else the machine does.
    """
    bare = Server(folder / "bare", command=(*UVICORN, ONE_ROUTE))
    with Server(folder / "ours") as ours, bare:
        (runner,) = wait_for(lambda: tree(ours.process.pid)[1:])
        wait_for(lambda: cpu_share(ours, 1.0) < SETTLED_SHARE)
        with ThreadPoolExecutor() as threads:
            share = threads.submit(cpu_share, ours, IDLE_SECONDS)
            bare_share = cpu_share(bare, IDLE_SECONDS)
        return share.result(), bare_share, Usage.of(runner).rss_bytes


def table_of(starts: Mapping[str, list[Start]]) -> Table:
    """Return a row for each server."""
    table = Table(
        "server", "ready, s", "ratio", "CPU until then, s", "RSS, MiB", "ratio"
    )
    reference = starts["FastAPI, one route"]
    for name, found in starts.items():
        pairs = [*zip(found, reference, strict=True)]
        table.add_row(
            name,
            f"{median(one.seconds for one in found):.2f}",
            f"{median(one.seconds / other.seconds for one, other in pairs):.2f}",
            f"{median(one.cpu_seconds for one in found):.2f}",
            f"{median(one.rss_bytes for one in found) / 2**20:.0f}",
            f"{median(one.rss_bytes / other.rss_bytes for one, other in pairs):.2f}",
        )
    return table


def main() -> None:
    """Print a row for each server, then what ours does while nothing is asked."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    commands = {"FastAPI, one route": (*UVICORN, ONE_ROUTE)}
    starts: dict[str, list[Start]] = {"FastAPI, one route": [], "offsetnet": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for name, found in starts.items():
                data_dir = Path(folder) / f"{number}-{name[:4]}"
                server, one = start(data_dir, commands.get(name))
                server.stop()
                found.append(one)
        share, bare_share, runner_bytes = idle(Path(folder))
    console = Console()
    console.print(table_of(starts))
    console.print(
        f"Idle, server and runner use {100 * share:.2f} % of a core (1.5 allowed), and "
        f"the other {100 * bare_share:.2f} % meanwhile. "
        f"The runner has {runner_bytes / 2**20:.0f} MiB."
    )


if __name__ == "__main__":
    main()
