"""Measure how long a valid request at its bound holds the event loop.

The server runs in this process and its loop also runs a heartbeat, a coroutine that
wants to go on every millisecond; how late it is says for how long it could not, whether
the loop's own code or another thread kept it. Another process sends the request. Each
is sent some times and the smallest of the longest delays is shown: what the program
does comes every time, what else happens on the machine does not.

Usage: python -m benchmarks.stalls [REPEATS]
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import uvicorn
import uvloop
from rich.console import Console
from rich.table import Table

from app.bodies import CSV_TYPE, JSON_TYPE
from app.main import create_app
from app.schemas import MAX_ROWS
from app.settings import Settings
from tests.server import free_port

REPEATS: Final = 5
BEAT_SECONDS: Final = 0.001
ALLOWED_SECONDS: Final = 0.01
COLUMNS: Final = ("weight_offset", "height_offset")
SEND: Final = """\
import sys, httpx
url, content_type, path = sys.argv[1:]
headers = {"Content-Type": content_type}
with open(path, "rb") as body:
    response = httpx.post(url, content=body, headers=headers, timeout=60)
sys.exit(not response.is_success and response.text)
"""


class Case(NamedTuple):
    """A request whose body is as large as it may be."""

    name: str
    path: str
    content_type: str
    body: bytes


def cases() -> list[Case]:
    """Return the requests at their bounds."""
    rng = np.random.default_rng(0)
    X = rng.normal(0.0, [30.0, 4.0], (MAX_ROWS, 2)).tolist()
    labels = rng.choice(["F", "M"], MAX_ROWS).tolist()
    people = [dict(zip(COLUMNS, x, strict=True)) for x in X[:1_000]]
    rounded = [[round(w, 1), round(h, 1)] for w, h in X[:3_600]]
    examples = [
        {**dict(zip(COLUMNS, x, strict=True)), "label": label}
        for x, label in zip(rounded, labels, strict=False)
    ]
    header = (*COLUMNS, "label")
    plain = [f"{w},{h},{one}" for (w, h), one in zip(X, labels, strict=True)]
    quoted = [f'"{w:.9f}",{h:.9f},{one}' for (w, h), one in zip(X, labels, strict=True)]
    padded = [f"{w:.110f},{h:.110f}" for w, h in X[:1_000]]
    dry = "/train?dry_run=true"
    batch = json.dumps({"instances": people}).encode()
    return [
        Case("predict/batch, JSON", "/predict/batch", JSON_TYPE, batch),
        Case("predict/batch, CSV", "/predict/batch", CSV_TYPE, _csv(padded, COLUMNS)),
        Case(
            "train, JSON", dry, JSON_TYPE, json.dumps({"examples": examples}).encode()
        ),
        Case("train, CSV", dry, CSV_TYPE, _csv(plain, header)),
        Case("train, CSV, quoted", dry, CSV_TYPE, _csv(quoted, header)),
        Case(
            "train, CSV, queued", "/train", CSV_TYPE, _csv(plain, (*COLUMNS, "label"))
        ),
    ]


def _csv(rows: list[str], columns: tuple[str, ...]) -> bytes:
    return "\n".join([",".join(columns), *rows]).encode()


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[None]:
    """Run the server in this loop."""
    config = uvicorn.Config(
        create_app(Settings()), port=port, log_level="warning", access_log=False
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 # it tells in no other way
        await asyncio.sleep(0.05)
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def longest_delay(port: int, case: Case, body: Path) -> float:
    """Send the request and return by how much the heartbeat was late at most."""
    url = f"http://127.0.0.1:{port}{case.path}"
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SEND, url, case.content_type, str(body))
    )
    done, longest = asyncio.create_task(sender.wait()), 0.0
    while not done.done():
        start = time.perf_counter()
        await asyncio.sleep(BEAT_SECONDS)
        longest = max(longest, time.perf_counter() - start - BEAT_SECONDS)
    if await done != 0:
        raise RuntimeError(f"{case.name} was refused")
    return longest


async def measure(repeats: int, folder: Path) -> Table:
    """Return a row for each request."""
    table = Table("request", "MB", "loop held, ms", "allowed, ms")
    port, body = free_port(), folder / "body"
    async with serving(port):
        for case in cases():
            body.write_bytes(case.body)
            delays = [await longest_delay(port, case, body) for _ in range(repeats)]
            table.add_row(
                case.name,
                f"{len(case.body) / 1e6:.1f}",
                f"{1e3 * min(delays):.1f}",
                f"{1e3 * ALLOWED_SECONDS:.0f}",
            )
    return table


def main() -> None:
    """Print a row for each request."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OFFSETNET_DATA_DIR"] = str(Path(folder) / "data")
        table = uvloop.run(measure(repeats, Path(folder)))
    Console().print(table)


if __name__ == "__main__":
    main()
