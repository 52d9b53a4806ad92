"""Compare what a prediction costs in other model servers with the same weights.

Each of them runs as its own documentation would have one model served by one worker,
see its file in benchmarks/peers, with the event loop and the HTTP parser that its own
package brings along. What a server does besides, such as metrics or tracing, stays as
it is by default; access logs are off. Each is asked for the same person in its own
format of request. In each round each is asked equally often, one after the other; cost
is processor time of the whole process tree, and a ratio is the median, over the rounds,
of a server's cost over the bare server's in the same round.

Each is installed from PyPI into an environment of its own under .venv-peers, once: 1 GB
altogether. One that cannot be installed or started is a row that says so.

Usage: python -m benchmarks.other_servers [ROUNDS]
"""

import signal
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.load import Request, measure
from benchmarks.peers.environment import InstallError, environment, pinned
from benchmarks.peers.process import AnsweringServer, StartError, end_descendants
from benchmarks.predict import EMILY, UVICORN

ROUNDS: Final = 10
REQUESTS: Final = 400
PERSON: Final = Request("/predict", EMILY)
PEERS: Final = {
    "mlserver": Request(
        "/v2/models/article/infer",
        b'{"inputs": [{"name": "people", "shape": [1, 2], "datatype": "FP64",'
        b' "data": [-7, -3]}]}',
    ),
    "litserve": PERSON,
    "bentoml": PERSON,
    "mlflow": Request("/invocations", b'{"inputs": [[-7, -3]]}'),
}


def start_peer(peer: str, folder: Path, stack: ExitStack) -> AnsweringServer | str:
    """Install and start another model server, or say why there is none."""
    try:
        variables = environment(peer)
    except InstallError as error:
        return f"not installed: {error}"
    folder.mkdir()
    server = AnsweringServer(
        folder,
        PEERS[peer],
        str(folder),
        command=("python", "-m", f"benchmarks.peers.{peer}_app"),
        environment=variables,
    )
    try:
        return stack.enter_context(server)
    except StartError as error:
        return f"not started: {error}"


def print_table(
    started: dict[str, AnsweringServer | str], costs: dict[str, list[float]]
) -> None:
    """Print a row for each server, the first being the bare one."""
    table = Table("server", "µs of CPU a request", "over the bare server")
    least = next(iter(costs.values()))
    for name, server in started.items():
        if isinstance(server, str):
            table.add_row(name, server)
            continue
        ratios = [cost / bare for cost, bare in zip(costs[name], least, strict=True)]
        table.add_row(name, f"{median(costs[name]):.0f}", f"{median(ratios):.1f}")
    Console().print(table)


def main() -> None:
    """Install, start, measure and stop each server."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are stopped
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        stack.enter_context(end_descendants())
        uvicorn = (*UVICORN, "benchmarks.apps:bare")
        bare = AnsweringServer(folder / "bare", PERSON, command=uvicorn)
        ours = AnsweringServer(folder / "ours", PERSON)
        started: dict[str, AnsweringServer | str] = {
            f"bare ASGI, uvicorn {version('uvicorn')}": stack.enter_context(bare),
            f"offsetnet {version('offsetnet')}": stack.enter_context(ours),
        }
        for peer in PEERS:
            started[pinned(peer)] = start_peer(peer, folder / peer, stack)
        servers = {n: s for n, s in started.items() if not isinstance(s, str)}
        costs: dict[str, list[float]] = {name: [] for name in servers}
        for server in servers.values():
            measure(server, server.request, REQUESTS)
        for _ in range(rounds):
            for name, server in servers.items():
                costs[name].append(measure(server, server.request, REQUESTS))
    print_table(started, costs)


if __name__ == "__main__":
    main()
