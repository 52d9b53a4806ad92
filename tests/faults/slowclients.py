"""A thousand slow clients at once, and honest ones who are answered all the same.

Some say nothing, some half a head or half a body, some let either drip, and some never
read what they have asked for. Each must be cut when its time is over, and told why with
408 where it has begun to ask. Meanwhile others predict and ask /livez at a steady rate,
on connections of their own: all must be answered. How long a client is held is
the time in which Linux shows that the server has its connection.

Usage: python -m tests.faults.slowclients [--clients N] [--request S] [--stall S]
"""

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from rich.table import Table

from benchmarks.load import Latencies, Request, Usage, ask, ask_steadily
from benchmarks.predict import EMILY
from tests.app.processes import allow_descriptors
from tests.faults.report import report
from tests.server import Server, wait_for

IDLE_SECONDS: Final = 5.0  # by default
MARGIN_SECONDS: Final = 1.0
DRIP_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 0.1
LIVE_SECONDS: Final = 0.05
GROWTH_BYTES: Final = 32 << 20
PREDICT: Final = Request("/predict", EMILY)
LIVE: Final = Request("/livez", b"", method="GET")
DOCUMENT: Final = Request("/openapi.json", b"", method="GET")
RATES: Final = {PREDICT.path: 200.0, LIVE.path: 20.0}  # a second
MSS: Final = 536  # as small as a network may have; else Linux takes megabytes
HEAD: Final = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
BODY: Final = HEAD + b"Content-Length: 4000\r\n\r\n{"
MUCH: Final = 2 * DOCUMENT.to_bytes()


class Kind(NamedTuple):
    """What a slow client does.

    Attributes:
        name: For the table.
        sent: What it sends at once.
        drip: What it sends again and again.
        seconds: After how long it must be cut.
        status: What it is told.
        reads: Whether it does.
    """

    name: str
    sent: bytes
    drip: bytes
    seconds: float
    status: bytes = b"408"
    reads: bool = True


@dataclass(slots=True)
class Slow:
    """One slow client."""

    kind: Kind
    connection: socket.socket
    port: int
    began: float = 0.0  # once the server has it
    heard: bytes = b""
    held: float = 0.0  # seconds, once it is cut


@dataclass(slots=True)
class Seen:
    """What came of it."""

    slow: list[Slow]
    most_bytes: int = 0  # of growth
    honest: dict[str, Latencies] = field(default_factory=dict)


def kinds(request_seconds: float, stall_seconds: float) -> list[Kind]:
    """Return every kind, with the time that the settings give it."""
    return [
        Kind("silent", b"", b"", IDLE_SECONDS, status=b""),
        Kind("half a head", HEAD, b"", IDLE_SECONDS),
        Kind("a head drips", HEAD, b"X: y\r\n", IDLE_SECONDS),
        Kind("half a body", BODY, b"", IDLE_SECONDS),
        Kind("a body drips", BODY, b" ", request_seconds),
        Kind("never reads", MUCH, b"", stall_seconds, reads=False),
    ]


def play(server: Server, among: list[Kind], clients: int) -> Seen:
    """Let all come at once, and watch until the last is cut."""
    pid, seconds = server.process.pid, max(kind.seconds for kind in among)
    ask_steadily(server.port, PREDICT, RATES[PREDICT.path], 1)
    ask(server.port, DOCUMENT, times=80, connections=40)  # as many threads as there are
    before = Usage.of(pid)
    with ThreadPoolExecutor() as pool:
        asking = {
            request.path: pool.submit(
                ask_steadily, server.port, request, RATES[request.path], seconds
            )
            for request in (PREDICT, LIVE)
        }
        seen = Seen([_open(server, among[n % len(among)]) for n in range(clients)])
        _watch(seen, server, seconds + 5 * MARGIN_SECONDS, before.rss_bytes)
        seen.honest = {path: one.result() for path, one in asking.items()}
    wait_for(lambda: Usage.of(pid).descriptors <= before.descriptors)
    return seen


def _open(server: Server, kind: Kind) -> Slow:
    connection = socket.socket()
    if not kind.reads:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MSS)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(kind.sent)
    return Slow(kind, connection, connection.getsockname()[1])


def _watch(seen: Seen, server: Server, seconds: float, before: int) -> None:
    """Let them drip and listen until the server holds none, or for this long."""
    waiting, end, drip = seen.slow, time.monotonic() + seconds, 0.0
    while waiting and time.monotonic() < end:
        if time.monotonic() - drip > DRIP_SECONDS:
            drip = time.monotonic()
            grown = Usage.of(server.process.pid).rss_bytes - before
            seen.most_bytes = max(seen.most_bytes, grown)
            _let_drip(waiting)
        time.sleep(LOOK_SECONDS)
        held, now = held_by(server), time.monotonic()
        for slow in waiting:
            if slow.port in held:
                slow.began = slow.began or now
            elif slow.began:
                slow.held = now - slow.began
                _listen(slow)
        waiting = [slow for slow in waiting if not slow.held]
    for slow in seen.slow:
        slow.connection.close()


def held_by(server: Server) -> set[int]:
    """Return the ports of clients whose connection the server has open, says Linux."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split(maxsplit=10)[1:10] for line in lines]
    suffix = f":{server.port:04X}"
    return {
        int(remote.rpartition(":")[2], 16)
        for local, remote, *_, inode in rows
        if local.endswith(suffix) and inode != "0"
    }


def _let_drip(clients: Iterable[Slow]) -> None:
    for slow in clients:
        with suppress(OSError):  # it is cut, as is seen next
            slow.connection.send(slow.kind.drip)


def _listen(slow: Slow) -> None:
    """Take what it was told."""
    slow.connection.settimeout(0)
    with suppress(OSError):
        slow.heard = slow.connection.recv(65_536)


def wrong(seen: Seen) -> list[str]:
    """Return what is not as it should be."""
    checks = {}
    for kind in _kinds(seen):
        shortest, *_, longest = _held(seen, kind)
        told = {slow.heard[9:12] for slow in seen.slow if slow.kind is kind}
        checks[f"{kind.name}: {shortest:.1f} to {longest:.1f} s, {told}"] = (
            shortest > kind.seconds - MARGIN_SECONDS
            and longest < kind.seconds + MARGIN_SECONDS
            and (not kind.reads or told == {kind.status})
        )
    for path, latencies in seen.honest.items():
        checks[f"{latencies.failed} of {path} failed"] = not latencies.failed
    live = median(seen.honest[LIVE.path].seconds)
    checks[f"/livez took {1e3 * live:.0f} ms"] = live < LIVE_SECONDS
    growth = f"it grew by {seen.most_bytes / 2**20:.0f} MiB"
    checks[growth] = seen.most_bytes < GROWTH_BYTES
    return [text for text, is_right in checks.items() if not is_right]


def _kinds(seen: Seen) -> list[Kind]:
    return list(dict.fromkeys(slow.kind for slow in seen.slow))


def _held(seen: Seen, kind: Kind) -> list[float]:
    """Return the times from the shortest on, 0 where one was never cut."""
    return sorted(slow.held for slow in seen.slow if slow.kind is kind)


def main() -> int:
    """Play, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--request", type=float, default=30, help="the settings' total")
    parser.add_argument("--stall", type=float, default=30, help="their write stall")
    options = parser.parse_args()
    environment = {
        "OFFSETNET_CLIENT_REQUEST_SECONDS": str(options.request),
        "OFFSETNET_CLIENT_STALL_SECONDS": str(options.stall),
    }
    among = kinds(options.request, options.stall)
    allow_descriptors(2 * options.clients)
    with (
        tempfile.TemporaryDirectory(prefix="offsetnet-") as folder,
        Server(Path(folder) / "data", environment=environment) as server,
    ):
        seen = play(server, among, options.clients)
    return report(_table(seen), wrong(seen))


def _table(seen: Seen) -> Table:
    table = Table("what", "count", "measured", "allowed")
    for kind in _kinds(seen):
        table.add_row(
            f"{kind.name}: longest hold",
            str(sum(slow.kind is kind for slow in seen.slow)),
            f"{_held(seen, kind)[-1]:.1f} s",
            f"{kind.seconds + MARGIN_SECONDS:.0f} s",
        )
    for path, latencies in seen.honest.items():
        asked = str(len(latencies.seconds))
        table.add_row(f"{path}: failed", asked, str(latencies.failed), "0")
    live = seen.honest[LIVE.path].seconds
    middle, longest = 1e3 * median(live), 1e3 * max(live)
    allowed = f"{1e3 * LIVE_SECONDS:.0f} ms"
    table.add_row(f"{LIVE.path}: median", str(len(live)), f"{middle:.1f} ms", allowed)
    table.add_row(f"{LIVE.path}: longest", str(len(live)), f"{longest:.1f} ms", "")
    mib = seen.most_bytes / 2**20
    table.add_row("growth of the server", "", f"{mib:.1f} MiB", "32 MiB")
    return table


if __name__ == "__main__":
    sys.exit(main())
