"""Send well and badly formed HTTP, whole, split at each byte, and with damage.

The messages cover all routes and framings: lengths, chunks with trailers, pipelining,
Expect, HEAD, the standard protocols and CSV, and what is no HTTP. Each is sent whole;
then in two parts, split before each of its bytes, which must not change the statuses
of its answers; then with a bit flipped, or with bytes cut, doubled, made up or taken of
another message. No answer may be a 5xx other than 503 or take 6 s, the memory may not
grow, each line of the log must be JSON and short
and none a traceback, and afterwards the service answers as before. One server logs
each request, the other answers on the shortest way.

At last paths, methods and user agents are made up: they may add no series of metrics.

Usage: python -m tests.faults.rawhttp [--requests N] [--warm N] [--names N] [--seed N]
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from rich.table import Table

from tests.faults.damage import Case, Statuses, made_up, random_cases, splits
from tests.faults.messages import changing, harmless
from tests.faults.report import report
from tests.server import Server

ENVIRONMENT: Final = {
    "OFFSETNET_LOG_FORMAT": "json",
    "OFFSETNET_CLIENT_IDLE_SECONDS": "1",  # half messages wait as long
    "OFFSETNET_KEEP_ALIVE_SECONDS": "1",
}
HANG_SECONDS: Final = 6.0
QUIET_SECONDS: Final = 0.1  # after which nothing more is expected
CONNECTIONS: Final = 48
MAX_GROWTH: Final = 8 * 1024  # KiB
MAX_LINE_BYTES: Final = 8 * 1024
NAMES: Final = 500  # made up until the series are counted
PERSON: Final = {"weight_offset": -7, "height_offset": -3}
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Answer(NamedTuple):
    """What came back, and after how long the connection stood still or closed."""

    content: bytes
    seconds: float

    @property
    def statuses(self) -> Statuses:
        """Return the status of each answer, without those on the way."""
        found = (int(status) for status in _STATUS.findall(self.content))
        return tuple(status for status in found if status >= 200)


@dataclass(slots=True)
class Seen:
    """What came of all."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0
    growth: int = 0  # KiB
    lines: int = 0
    wrong: list[str] = field(default_factory=list)


async def exchange(port: int, case: Case) -> Answer:
    """Send the parts, and read until nothing more is expected."""
    began, content = time.perf_counter(), b""
    wanted = max(1, len(case.expected or ()))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in case.parts:
            writer.write(part)
            await asyncio.sleep(0.001 if part is not case.parts[-1] else 0)
        while time.perf_counter() - began < HANG_SECONDS:
            has_all = len(Answer(content, 0).statuses) >= wanted
            async with asyncio.timeout(QUIET_SECONDS if has_all else HANG_SECONDS):
                received = await reader.read(1 << 18)
            if not received:
                break
            content += received
    except (TimeoutError, ConnectionError):
        pass  # quiet, or cut
    writer.close()
    return Answer(content, time.perf_counter() - began)


async def send(port: int, cases: Iterator[Case], seen: Seen) -> None:
    """Send the cases on many connections, and note what is wrong."""

    async def work() -> None:
        for case in cases:
            answer = await exchange(port, case)
            if case.expected not in {None, answer.statuses}:
                answer = await exchange(port, case)  # a busy machine was late
            seen.requests += 1
            seen.statuses.update(answer.statuses)
            seen.longest = max(seen.longest, answer.seconds)
            seen.wrong += [f"{fault}: {case}" for fault in _faults(case, answer)]

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(work())


def _faults(case: Case, answer: Answer) -> Iterator[str]:
    if answer.seconds >= HANG_SECONDS:
        yield "hangs"
    for status in answer.statuses:
        if status >= 500 and status != 503:
            yield f"answered with {status}"
    is_busy = 503 in answer.statuses
    if case.expected not in {None, answer.statuses} and not is_busy:
        yield f"answered {answer.statuses}, not {case.expected}"


async def learn(port: int, messages: list[bytes]) -> dict[bytes, Statuses]:
    """Return the statuses of each message, sent whole."""
    cases = [Case((content,), (0,) * 9) for content in messages]  # until it is closed
    answers = await asyncio.gather(*(exchange(port, case) for case in cases))
    return dict(zip(messages, (one.statuses for one in answers), strict=True))


async def bombard(server: Server, requests: int, seed: int, warm: int) -> Seen:
    """Send so many requests to a server, and look how it fares.

    Args:
        server: Where to.
        requests: How many, besides those that warm it up.
        seed: Of what is sent.
        warm: How many requests of either kind go before the memory is measured.
    """
    seen, choice, port = Seen(), Random(seed), server.port  # noqa: S311 - no secret
    messages = [*harmless(), *changing()]
    server.wait_for_job(server.client.post("/train").json()["id"])
    parted = splits(await learn(port, harmless()))
    spoiled = random_cases(messages, choice)
    choice.shuffle(parted)
    await send(port, islice(spoiled, warm), seen)
    await send(port, iter(parted[:warm]), seen)
    before = resident(server)
    await send(port, iter(parted[warm:][: requests // 2]), seen)
    await send(port, islice(spoiled, requests + 2 * warm - seen.requests), seen)
    seen.growth = resident(server) - before
    seen.wrong += look_after(server, seen)
    return seen


def look_after(server: Server, seen: Seen) -> list[str]:
    """Return what is wrong afterwards in the log and the answers."""
    lines = server.log().splitlines()
    seen.lines = len(lines)
    answer = server.client.post("/predict?model_version=1", json=PERSON).json()
    faults = [] if answer.get("label") == "F" else [f"Emily is answered {answer}"]
    return faults + [f"logged {line[:500]}" for line in lines if not is_good(line)]


def is_good(line: str) -> bool:
    """Whether a line of the log is JSON, short, and no traceback."""
    try:
        fields = json.loads(line)
    except ValueError:
        return False
    return len(line) <= MAX_LINE_BYTES and "exception" not in fields


def resident(server: Server) -> int:
    """Return the server's memory in KiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def name(server: Server, names: int, seed: int) -> tuple[Seen, list[str]]:
    """Send made-up names, and return which series they added."""
    seen, cases = Seen(), made_up(Random(seed))  # noqa: S311 - no secret
    await send(server.port, islice(cases, NAMES), seen)
    before = series(server)
    await send(server.port, islice(cases, names), seen)
    return seen, sorted(series(server) - before)


def series(server: Server) -> set[str]:
    """Return the metrics' series: their names with labels."""
    lines = server.client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def play(
    options: argparse.Namespace, folder: Path, *flags: str
) -> tuple[dict[str, object], list[str]]:
    """Return what was measured at a server with these flags, and what is wrong."""
    began, seed = time.monotonic(), options.seed
    with Server(folder / "data", *flags, environment=ENVIRONMENT) as server:
        seen = asyncio.run(bombard(server, options.requests, seed, options.warm))
        named, added = asyncio.run(name(server, options.names, seed))
        count = len(series(server))
    faults = [f"new series: {one}" for one in added]
    faults += [f"grew by {seen.growth} KiB"] if seen.growth > MAX_GROWTH else []
    return {
        "requests, split or damaged": seen.requests,
        "answers": seen.statuses.total(),
        "of these 503": seen.statuses[503],
        "wrong": len(seen.wrong) + len(named.wrong),
        "longest": f"{seen.longest:.1f} s",
        f"growth of the memory after {2 * options.warm}": f"{seen.growth} KiB",
        "lines of the log": seen.lines,
        "made-up names": named.requests,
        "series of metrics": f"{count}, {len(added)} of them new",
        "seconds": f"{time.monotonic() - began:.0f}",
        "seed": seed,
    }, [*seen.wrong, *named.wrong, *faults]


def main() -> int:
    """Send, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=26_000)
    parser.add_argument("--warm", type=int, default=2_000)
    parser.add_argument("--names", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    columns, wrong = [], list[str]()
    for flags in ((), ("--access-log",)):
        with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
            measured, faults = play(options, Path(folder), *flags)
        columns.append(measured)
        wrong += faults
    table = Table("measure", "on the shortest way", "with --access-log")
    for measure, value in columns[0].items():
        table.add_row(measure, str(value), str(columns[1][measure]))
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
