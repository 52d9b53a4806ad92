"""Ask three times as fast as one process can answer: most of what it can do, it does.

The peak is what eight clients get who ask again when they are answered. Then batches
come at three times that rate, answered or not: what is too much gets 503 with
Retry-After, at once; the rest is answered about as fast as at the peak, the process
stays alive to its probes, and afterwards all is as before.

Usage: python -m tests.faults.overload [--seconds N]
"""

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, Self

from rich.table import Table

from tests.faults.report import report
from tests.server import Server

TIMES: Final = 3
CLIENTS: Final = 8
PEAK_SECONDS: Final = 5.0
MAX_CONNECTIONS: Final = 800
PROBE_SECONDS: Final = 0.1
LONG_SECONDS: Final = 30.0
GOODPUT: Final = 0.9  # of the peak
RECOVERY_SECONDS: Final = 2.0
LIVE_SECONDS: Final = 0.05  # of the median; the clients have the processors, too
CUT: Final = 0  # in place of a status
PEOPLE: Final = [{"weight_offset": n % 50, "height_offset": n % 9} for n in range(1000)]


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """Return a request as it goes over a persistent connection."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


BATCH: Final = request(
    "POST", "/predict/batch", json.dumps({"instances": PEOPLE}).encode()
)
LIVE: Final = request("GET", "/livez")


class Connection:
    """A persistent connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take both ends."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed it, as it may one that nobody uses."""
        return self._reader.at_eof()

    async def ask(self, content: bytes) -> tuple[int, bool]:
        """Return the status, and whether the answer says when to try again."""
        self._writer.write(content)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length
        await self._reader.readexactly(int(length[1]))
        return int(head[9:12]), b"\r\nretry-after: " in head.lower()

    async def close(self) -> None:
        """Close it."""
        self._writer.close()
        await self._writer.wait_closed()


@dataclass(slots=True)
class Seen:
    """What came of the flood."""

    peak: float = 0.0  # batches answered a second
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    turned_away: int = 0  # also before the flood and after it
    without_retry: int = 0
    unsent: int = 0  # every connection waited for an answer
    live: list[float] = field(default_factory=list)
    recovery: float = 0.0

    @property
    def goodput(self) -> float:
        """Return how many batches were answered a second, over the peak."""
        return self.statuses[200] / self.seconds / self.peak


async def flood(port: int, seconds: float) -> Seen:
    """Measure the peak, flood, and wait until all is as before."""
    seen = Seen(seconds=seconds)
    seen.peak = await _peak(port, seen)
    probing = asyncio.create_task(_probe(port, seen))
    await _open_loop(port, seen)
    probing.cancel()
    with suppress(asyncio.CancelledError):
        await probing  # fails where a probe was not answered
    began = time.perf_counter()
    connection, answered = await Connection.open(port), 0
    while answered < 10 and seen.recovery < 10 * RECOVERY_SECONDS:
        status, _ = await connection.ask(BATCH)
        seen.turned_away += status == 503
        answered = answered + 1 if status == 200 else 0
        seen.recovery = time.perf_counter() - began
    await connection.close()
    return seen


async def _peak(port: int, seen: Seen) -> float:
    """Return how many batches a second clients get who wait for each answer."""
    end = time.perf_counter() + PEAK_SECONDS
    answered = 0

    async def client() -> None:
        nonlocal answered
        connection = await Connection.open(port)
        while time.perf_counter() < end:
            status, _ = await connection.ask(BATCH)
            answered += status == 200
            seen.turned_away += status == 503
        await connection.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answered / PEAK_SECONDS


async def _open_loop(port: int, seen: Seen) -> None:
    """Ask at a fixed rate, whatever is answered."""
    free, number, running = list[Connection](), 0, set[asyncio.Task[None]]()
    began = time.perf_counter()
    while (now := time.perf_counter() - began) < seen.seconds:
        due = int(now * seen.peak * TIMES)
        for _ in range(due - number):
            if len(running) >= MAX_CONNECTIONS:
                seen.unsent += 1
                continue
            task = asyncio.create_task(_ask(port, free, seen))
            running.add(task)
            task.add_done_callback(running.discard)
        number = due
        await asyncio.sleep(0.002)
    await asyncio.gather(*running)
    for connection in free:
        await connection.close()


async def _ask(port: int, free: list[Connection], seen: Seen) -> None:
    """Ask for a batch, on a connection that is free or new."""
    try:
        while free and free[-1].is_closed:
            await free.pop().close()
        connection = free.pop() if free else await Connection.open(port)
        status, is_told = await connection.ask(BATCH)
    except (OSError, EOFError):
        seen.statuses[CUT] += 1
        return
    seen.statuses[status] += 1
    seen.turned_away += status == 503
    seen.without_retry += status == 503 and not is_told
    free.append(connection)


async def _probe(port: int, seen: Seen) -> None:
    """Ask again and again whether the process lives, on a connection of its own."""
    connection = await Connection.open(port)
    try:
        while True:
            began = time.perf_counter()
            status, _ = await connection.ask(LIVE)
            assert status == 200
            seen.live.append(time.perf_counter() - began)
            await asyncio.sleep(random.uniform(0.5, 1.5) * PROBE_SECONDS)  # noqa: S311 - no secret
    finally:
        await connection.close()


def play(seconds: float, folder: Path) -> Seen:
    """Flood a server of one process."""
    with Server(folder / "data") as server:
        return asyncio.run(flood(server.port, seconds))


def wrong(seen: Seen) -> list[str]:
    """Return what is not as it should be; a few seconds tell nothing of goodput."""
    others = seen.statuses.keys() - {200, 503}
    checks = {
        f"goodput is {seen.goodput:.2f} of the peak": seen.seconds < LONG_SECONDS
        or seen.goodput >= GOODPUT,
        f"answers of {others}": not others,
        "nothing was turned away: no overload": seen.seconds < LONG_SECONDS
        or seen.statuses[503] > 0,
        f"{seen.without_retry} without Retry-After": not seen.without_retry,
        f"recovery took {seen.recovery:.1f} s": seen.recovery <= RECOVERY_SECONDS,
        f"/livez took {median(seen.live):.3f} s": seen.seconds < LONG_SECONDS
        or median(seen.live) < LIVE_SECONDS,
    }
    return [text for text, is_right in checks.items() if not is_right]


def main() -> int:
    """Flood, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
        seen = play(seconds, Path(folder))
    table = Table("measure", "value")
    live = sorted(seen.live)
    for name, value in {
        "peak, batches of 1,000 a second": f"{seen.peak:.0f}",
        f"asked at {TIMES} times that for": f"{seconds:g} s",
        "answered": str(seen.statuses[200]),
        "answered, over the peak": f"{seen.goodput:.2f}",
        "turned away with 503 and Retry-After": str(seen.statuses[503]),
        "not sent, since 800 connections waited": str(seen.unsent),
        "/livez, median, 19 of 20, longest": ", ".join(
            f"{1e3 * live[int(share * (len(live) - 1))]:.0f} ms"
            for share in (0.5, 0.95, 1.0)
        ),
        "until ten in a row were answered": f"{seen.recovery:.2f} s",
    }.items():
        table.add_row(name, value)
    return report(table, wrong(seen))


if __name__ == "__main__":
    sys.exit(main())
