"""Compare what a prediction costs with what the bare server costs.

Every server runs on the same uvicorn, with the same event loop and parser, and answers
the same request. In each round each of them is asked equally often, one after the
other, over 1, 8 and 64 connections: a busier server finds several requests each time it
looks, which makes the server under it cheaper and our part of the whole larger. A ratio
is the median, over all rounds, of a server's processor time a request over the bare
server's in the same round. All are started anew some times, since how a process lies in
memory makes a difference of some percent too.

Usage: python -m benchmarks.predict [STARTS]
"""

import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import Request, measure
from tests.server import Server

STARTS: Final = 2
ROUNDS: Final = 8
REQUESTS: Final = 1_024
CONNECTIONS: Final = (1, 8, 64)
SHOWN: Final = 8
EMILY: Final = b'{"weight_offset": -7, "height_offset": -3}'
UVICORN: Final = (
    *(sys.executable, "-m", "uvicorn", "--factory", "--no-access-log"),
    *("--loop", "uvloop", "--http", "httptools", "--log-level", "warning"),
)
BARE: Final = "bare ASGI, a constant"
TRIMMED: Final = ("--no-proxy-headers", "--no-server-header")  # as ours is served

Costs = dict[tuple[str, int], list[float]]


class Subject(NamedTuple):
    """What is measured: a server, and the route that is asked there."""

    name: str
    server: Server
    request: Request


def compare(folder: Path) -> Costs:
    """Start every server; return the µs a request by server and connections."""
    costs: Costs = defaultdict(list)
    with ExitStack() as stack:

        def start(name: str, *command: str) -> Server:
            kind = {"command": command} if command else {}
            return stack.enter_context(Server(folder / name, **kind))  # type: ignore[arg-type] # a command alone

        trimmed = (*UVICORN, *TRIMMED, "benchmarks.apps:bare")
        taught = start("taught", *UVICORN, "benchmarks.apps:taught")
        predict = Request("/predict", EMILY)
        subjects = [
            Subject(BARE, start("bare", *UVICORN, "benchmarks.apps:bare"), predict),
            Subject("bare, with our options", start("trim", *trimmed), predict),
            Subject("offsetnet", start("ours"), predict),
            Subject("FastAPI, async def", taught, predict),
            Subject("FastAPI, def", taught, Request("/threaded", EMILY)),
        ]
        for _, server, request in subjects:
            measure(server, request, REQUESTS)
        for _ in range(ROUNDS):
            for connections in CONNECTIONS:
                for name, server, request in subjects:
                    cost = measure(server, request, REQUESTS, connections)
                    costs[name, connections].append(cost)
    return costs


def main() -> None:
    """Print a row for each server."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else STARTS
    costs: Costs = defaultdict(list)
    for _ in range(starts):
        with tempfile.TemporaryDirectory() as folder:
            for key, found in compare(Path(folder)).items():
                costs[key] += found
    table = Table("server", f"µs of CPU, {SHOWN} connections")
    for connections in CONNECTIONS:
        table.add_column(f"over bare, {connections}")
    for name in dict.fromkeys(name for name, _ in costs):
        ratios = [
            median(
                cost / bare
                for cost, bare in zip(costs[name, n], costs[BARE, n], strict=True)
            )
            for n in CONNECTIONS
        ]
        cells = [f"{ratio:.2f}" for ratio in ratios]
        table.add_row(name, f"{median(costs[name, SHOWN]):.0f}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
