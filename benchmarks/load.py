"""Load on loopback, and what it costs the processes that answer it.

The generator is plain sockets on persistent connections. Cost is processor time of a
server's whole process tree, by the kernel's count in nanoseconds: it is steadier than
requests per second on a machine that others use too. Where cost is measured, the
generator looks for answers without ever sleeping: on loopback the kernel charges who
writes with waking who waits, and a faster server would find it awake more often.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from tests.server import Server

CONNECTIONS: Final = 8
TIMEOUT_SECONDS: Final = 30.0
_BUFFER_BYTES: Final = 1 << 16


class LoadError(Exception):
    """An answer was not 200, or the server closed a connection."""


class Request(NamedTuple):
    """One request, as often as asked for."""

    path: str
    body: bytes
    content_type: str = "application/json"
    method: str = "POST"
    headers: Mapping[str, str] = {}

    def to_bytes(self) -> bytes:
        """Return the request as it goes over a persistent connection."""
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Connection:
    """A persistent connection that asks the same thing again and again."""

    def __init__(self, port: int, request: Request) -> None:
        """Connect."""
        self._request, self._is_awake = request.to_bytes(), False
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def stay_awake(self) -> None:
        """Wait for answers without sleeping from now on."""
        self._is_awake = True

    def fileno(self) -> int:
        """Return the socket's descriptor, for select."""
        return self._socket.fileno()

    def send(self) -> None:
        """Send the request."""
        self._socket.sendall(self._request)

    def receive(self) -> bytes:
        """Return the whole answer.

        Raises:
            LoadError: It is not 200, or the connection was closed.
        """
        answer = self._read()
        while (head_end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._read()
        head = answer[:head_end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise LoadError(answer[:200].decode(errors="replace"))
        _, _, length = head.partition(b"content-length:")
        size = head_end + 4 + int(length.split(b"\r\n")[0])
        while len(answer) < size:
            answer += self._read()
        return answer

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _read(self) -> bytes:
        if self._is_awake:
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while not select.select([self], [], [], 0)[0]:
                if time.monotonic() > deadline:
                    raise LoadError("no answer in time")
        content = self._socket.recv(_BUFFER_BYTES)
        if not content:
            raise LoadError("the server closed the connection")
        return content


@contextmanager
def connect(
    port: int, request: Request, connections: int = CONNECTIONS
) -> Iterator[list[Connection]]:
    """Open connections, and close them."""
    opened = [Connection(port, request) for _ in range(connections)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def ask(
    port: int,
    request: Request,
    times: int,
    connections: int = CONNECTIONS,
    *,
    is_awake: bool = False,
) -> None:
    """Ask as often as told, over all connections at once, as fast as answers come.

    `times` is a multiple of the connections.

    Raises:
        LoadError: An answer was not 200.
    """
    with connect(port, request, connections) as opened:
        for connection in opened if is_awake else ():
            connection.stay_awake()
        for _ in range(times // connections):
            for connection in opened:
                connection.send()
            for connection in opened:
                connection.receive()


def measure(
    server: Server, request: Request, times: int, connections: int = CONNECTIONS
) -> float:
    """Return the processor time a request of a server's process tree, in µs."""
    processes = tree(server.process.pid)
    before = Usage.of(*processes).cpu_seconds
    ask(server.port, request, times, connections, is_awake=True)
    return (Usage.of(*processes).cpu_seconds - before) / times * 1e6


def cpu_share(server: Server, seconds: float) -> float:
    """Return the share of a core that a server's process tree uses meanwhile."""
    processes = tree(server.process.pid)
    before = Usage.of(*processes).cpu_seconds
    time.sleep(seconds)
    return (Usage.of(*processes).cpu_seconds - before) / seconds


class Latencies(NamedTuple):
    """What a steady rate of requests met.

    Attributes:
        seconds: From when each was due until it was answered.
        failed: How many were not answered with 200.
    """

    seconds: list[float]
    failed: int


def ask_steadily(port: int, request: Request, rate: float, seconds: float) -> Latencies:
    """Ask at a fixed rate; time counts from when a request was due.

    So a server that stands still is charged with all who would have asked meanwhile.
    A request that finds every connection in use waits, and its time runs.
    """
    taken, failed = [], 0
    with connect(port, request, 4 * CONNECTIONS) as connections:
        idle, due_of = deque(connections), dict[Connection, float]()
        start = time.perf_counter()
        dues = deque(start + number / rate for number in range(int(rate * seconds)))
        while dues or due_of:
            now = time.perf_counter()
            while dues and idle and dues[0] <= now:
                connection = idle.popleft()
                due_of[connection] = dues.popleft()
                connection.send()
            pause = max(dues[0] - time.perf_counter(), 0.0) if dues and idle else 1.0
            for connection in select.select(list(due_of), [], [], pause)[0]:
                try:
                    connection.receive()
                except LoadError:
                    failed += 1
                taken.append(time.perf_counter() - due_of.pop(connection))
                idle.append(connection)
    return Latencies(taken, failed)


class Usage(NamedTuple):
    """What a process and all below it have used.

    Attributes:
        cpu_seconds: Processor time so far.
        rss_bytes: Resident memory now.
        descriptors: Open files and sockets now.
    """

    cpu_seconds: float
    rss_bytes: int
    descriptors: int

    @classmethod
    def of(cls, *processes: int) -> Self:
        """Look at exactly these processes; one that has ended has used nothing."""
        folders = [Path("/proc", str(process)) for process in processes]
        return cls(
            cpu_seconds=sum(map(_cpu_nanoseconds, folders)) / 1e9,
            rss_bytes=sum(map(_rss_bytes, folders)),
            descriptors=sum(len([*folder.glob("fd/*")]) for folder in folders),
        )


def tree(process: int) -> list[int]:
    """Return a process and all below it, itself first; those that have ended apart."""
    below: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path("/proc", str(process), "task").iterdir():
            below += map(int, (task / "children").read_text().split())
    return [process, *(one for child in below for one in tree(child))]


def _cpu_nanoseconds(folder: Path) -> int:
    total = 0
    for schedstat in folder.glob("task/*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            total += int(schedstat.read_text().split()[0])
    return total


def _rss_bytes(folder: Path) -> int:
    lines: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = (folder / "status").read_text().splitlines()
    sizes = (line.split()[1] for line in lines if line.startswith("VmRSS"))
    return 1024 * sum(map(int, sizes))  # none of a process that has just ended
