"""Tell a server to stop with 50 requests in flight, a training and open event streams.

The server has taken each request, and told its client to go on with the body (100
Continue), of which it then gets half. SIGTERM comes, and after it the other halves. All
must be answered as ever; /readyz must say 503 at once; the streams must end with
`draining`; the job must be back in the queue, without an attempt spent; and the process
must have closed what its lifespan opened, and have ended with 0 within 20 seconds.

Usage: python -m tests.faults.drain [--stops N] [--requests N]
"""

import argparse
import json
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from httpx_sse import EventSource, ServerSentEvent
from rich.table import Table

from tests.app.processes import is_alive, only_child
from tests.app.training import ENDLESS, start, stored_job
from tests.app.wire import chunk
from tests.databases import ENGINES, databases
from tests.faults.report import report
from tests.server import UNMEASURED, Server

STREAMS: Final = 3
EXIT_SECONDS: Final = 20.0
READY_SECONDS: Final = 0.5
CLOSED: Final = "Application shutdown complete"
PEOPLE: Final = [{"weight_lb": 100 + n, "height_in": 60 + n % 15} for n in range(100)]
ROWS: Final = "".join(f"{100 + n},{60 + n % 15}\n" for n in range(1000))
BODIES: Final = {
    ("/predict", "application/json"): json.dumps(PEOPLE[0]),
    ("/predict/batch", "application/json"): json.dumps({"instances": PEOPLE}),
    ("/predict/batch", "text/csv"): f"weight_lb,height_in\n{ROWS}",
}
READY: Final = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Flight:
    """One request that the server has taken, without the second half of its body."""

    def __init__(self, port: int, path: str, media_type: str) -> None:
        """Send the head, hear that the body may come, and send half of it."""
        body = BODIES[path, media_type].encode()
        self._rest = body[len(body) // 2 :]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
            "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        if not self._socket.recv(1024).startswith(b"HTTP/1.1 100 "):
            raise AssertionError("the server did not take the request")
        self._socket.sendall(chunk(body[: len(body) // 2]))

    def end(self) -> bytes:
        """Send the rest, and return the status; none where nothing came."""
        with self._socket, suppress(ConnectionError):
            self._socket.sendall(chunk(self._rest) + chunk(b""))
            parts = iter(partial(self._socket.recv, 65_536), b"")
            return b"".join(parts)[9:12]
        return b""


class Stop(NamedTuple):
    """How one server stopped.

    Attributes:
        statuses: Of the requests that were in flight.
        streams: The first and the last events.
        job: Its state, attempt and owner in the database.
        unready: What /readyz said then.
        ready_seconds: For how long it had said ready.
        exit_seconds: From the signal to the end.
        exit_status: What it ended with.
        is_closed: Whether the lifespan's shutdown ran, and no runner is left.
    """

    statuses: list[bytes]
    streams: set[tuple[str, str]]
    job: tuple[str, int, str | None]
    unready: bytes
    ready_seconds: float
    exit_seconds: float
    exit_status: int
    is_closed: bool


def play(folder: Path, environment: Mapping[str, str], requests: int) -> Stop:
    """Stop one server in the midst of all that."""
    settings = {**UNMEASURED, **environment}
    with Server(folder / "data", environment=settings) as server, ExitStack() as stack:
        job_id = start(server, **ENDLESS)
        runner = only_child(server.process.pid)
        streams = [_follow(server, job_id, stack) for _ in range(STREAMS)]
        firsts = [next(events).event for events in streams]
        kinds = islice(cycle(BODIES), requests)
        flights = [Flight(server.port, *kind) for kind in kinds]
        began = time.monotonic()
        unready, ready_seconds = _stop(server)
        statuses = [flight.end() for flight in flights]
        lasts = [_last(events) for events in streams]
        exit_status = server.process.wait(60)
        exit_seconds = time.monotonic() - began
    pairs, job = {*zip(firsts, lasts, strict=True)}, stored_job(server, job_id)
    is_closed = CLOSED in server.log() and not is_alive(runner)
    timing = (unready, ready_seconds, exit_seconds)
    return Stop(statuses, pairs, job, *timing, exit_status, is_closed)


def _follow(server: Server, job_id: int, stack: ExitStack) -> Iterator[ServerSentEvent]:
    stream = server.client.stream("GET", f"/train/{job_id}/events")
    return EventSource(stack.enter_context(stream)).iter_sse()


def _last(events: Iterator[ServerSentEvent]) -> str:
    """Return the name of a stream's last event; a stream that is cut has none."""
    with suppress(httpx.TransportError):
        return [*events][-1].event
    return "cut"


def _stop(server: Server) -> tuple[bytes, float]:
    """Send the signal; return what /readyz says when it is not 200, and after how long.

    It is asked on a connection that was open before.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as probe:
        probe.sendall(READY)
        answer = probe.recv(4096)
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        while answer.startswith(b"HTTP/1.1 200 "):
            probe.sendall(READY)
            answer = probe.recv(4096)
    return answer[9:12], time.monotonic() - began


def wrong(stop: Stop) -> list[str]:
    """Return what is not as it should be."""
    checks = {
        f"answers {stop.statuses}": {*stop.statuses} == {b"200"},
        f"streams {stop.streams}": stop.streams == {("progress", "draining")},
        f"the job is {stop.job}": stop.job == ("queued", 0, None),
        f"/readyz says {stop.unready!r}": stop.unready == b"503",
        f"ready for {stop.ready_seconds:.2f} s": stop.ready_seconds < READY_SECONDS,
        f"it took {stop.exit_seconds:.1f} s": stop.exit_seconds < EXIT_SECONDS,
        f"exit status {stop.exit_status}": stop.exit_status == 0,
        "not all was closed": stop.is_closed,
    }
    return [text for text, is_right in checks.items() if not is_right]


def main() -> int:
    """Stop servers of both engines, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--requests", type=int, default=50)
    options = parser.parse_args()
    stops: dict[str, list[Stop]] = {}
    with databases() as made:
        for engine in islice(cycle(ENGINES), options.stops):
            with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
                stop = play(Path(folder), made.new(engine), options.requests)
            stops.setdefault(engine, []).append(stop)
    faults = [
        f"{engine}: {fault}"
        for engine, of_engine in stops.items()
        for stop in of_engine
        for fault in wrong(stop)
    ]
    return report(_table(stops), faults)


def _table(stops: Mapping[str, Sequence[Stop]]) -> Table:
    table = Table("engine", "stops", "in flight", "answered", "job back")
    for name in ("says 503", "ready for", "exit after"):
        table.add_column(name)
    for engine, of_engine in stops.items():
        statuses = [status for stop in of_engine for status in stop.statuses]
        table.add_row(
            engine,
            str(len(of_engine)),
            str(len(statuses)),
            str(statuses.count(b"200")),
            str(sum(stop.job == ("queued", 0, None) for stop in of_engine)),
            str(sum(stop.unready == b"503" for stop in of_engine)),
            f"{1e3 * max(stop.ready_seconds for stop in of_engine):.0f} ms",
            f"{max(stop.exit_seconds for stop in of_engine):.1f} s",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
