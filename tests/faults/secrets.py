"""Secrets: whether any comes out that was put in.

Each request carries secrets of its own in headers, query and body, under right keys and
wrong ones, to every route and into every kind of refusal. The settings hold secrets
too: the keys, the database's password, a variable of nobody's; and the database's own
errors have one in their text. Then all that came out is searched: answers with their
headers, logs with a line for each request, metrics, documents and spans. A secret names
its place, so that what is found tells where it was put. The control is a request id,
which is told on purpose, and for spans the path: it must be found.

Usage: python -m tests.faults.secrets [--every N]
"""

import argparse
import itertools
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.table import Table

from tests.app.wire import exchange
from tests.collector import Collector
from tests.faults.planted import CONTROL, Secrets, cases, raw_requests, request
from tests.faults.report import report
from tests.server import Server, wait_for

AWAY: Final = "postgresql://offsetnet:%s@127.0.0.1:1/offsetnet"


@dataclass(slots=True)
class Seen:
    """What was sent and what came out.

    Attributes:
        requests: How many were sent.
        statuses: How they were answered.
        hits: The secrets that were found, by where they were.
        controls: How often what is told on purpose was found there.
    """

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    controls: Counter[str] = field(default_factory=Counter)

    def search(self, where: str, content: bytes, control: str = CONTROL) -> None:
        """Look for secrets, and for the control, in what came out at some place."""
        text = content.decode("latin-1")
        for found in Secrets.MARK.findall(text):
            self.hits[f"{found} in {where}"] += 1
        self.controls[where] += text.count(control)


class Setting(NamedTuple):
    """A server to put secrets into."""

    name: str
    flags: tuple[str, ...]
    is_traced: bool = False
    is_away: bool = False  # its database


SERVERS: Final = (
    Setting("text lines", ("--access-log",)),
    Setting(
        "JSON lines, traced", ("--access-log", "--log-format", "json"), is_traced=True
    ),
    Setting("without its database", ("--access-log",), is_away=True),
)


def play(setting: Setting, secrets: Secrets, folder: Path, every: int = 1) -> Seen:
    """Put secrets into a server, and search all that comes out."""
    seen = Seen()
    keys = [secrets.new(f"{scope}key") for scope in ("admin", "predict")]
    environment = {
        "OFFSETNET_ADMIN_KEY": keys[0],
        "OFFSETNET_PREDICT_KEY": keys[1],
        "OFFSETNET_CLIENT_IDLE_SECONDS": "1",
        "AWS_SECRET_ACCESS_KEY": secrets.new("environment"),
    }
    if setting.is_away:
        environment["OFFSETNET_DATABASE_URL"] = secrets.fill("password", AWAY)
    with ExitStack() as stack:
        if setting.is_traced:
            collector = stack.enter_context(Collector())
            environment |= collector.environment
        server = Server(folder / "data", *setting.flags, environment=environment)
        stack.enter_context(closing(server))
        wait_for(server.is_alive)
        _send(server, seen, secrets, keys, every)
        server.stop()
        if setting.is_traced:
            seen.search("spans", b"".join(collector.received), "/predict")
    seen.search("the log", server.log_path.read_bytes())
    return seen


def _send(
    server: Server, seen: Seen, secrets: Secrets, keys: list[str], every: int
) -> None:
    """Send all requests, with a job to ask for, and with a database that fails."""
    right = {"X-API-Key": keys[0]}
    if server.client.post("/train", headers=right).is_success:
        wait_for(lambda: _has_ended(server, right))
        _break_database(server.data_dir, secrets)
    failing = right | {"Idempotency-Key": secrets.new("idempotencykey")}
    _ask(server, seen, method="POST", url="/train", headers=failing)
    for case in itertools.islice(cases(), 0, None, every):
        _ask(server, seen, **request(case, secrets, keys))
    for content in raw_requests(secrets, keys[0]):
        answer = exchange(server.port, content)
        seen.requests += 1
        seen.statuses[int(answer[9:12] or b"0")] += 1
        seen.search("answers", answer)
    for path in ("/metrics", "/openapi.json", "/docs", "/train", "/models"):
        _ask(server, seen, method="GET", url=path, headers=right)


def _has_ended(server: Server, right: Mapping[str, str]) -> bool:
    job = server.client.get("/train/1", headers=right).json()
    return job["state"] in {"succeeded", "failed"}


def _break_database(data_dir: Path, secrets: Secrets) -> None:
    """Let every new job fail in the database, with a secret in what it says."""
    (path,) = data_dir.glob("*.sqlite3")
    error = f"SELECT RAISE(ABORT, '{secrets.new('exception')}')"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"CREATE TRIGGER broken BEFORE INSERT ON jobs BEGIN {error}; END"
        )


def _ask(server: Server, seen: Seen, **request: Any) -> None:
    response = server.client.request(**request)
    head = b"".join(b"%b: %b\n" % pair for pair in response.headers.raw)
    seen.requests += 1
    seen.statuses[response.status_code] += 1
    seen.search("answers", head + response.content)


def wrong(name: str, seen: Seen) -> list[str]:
    """Return what is not as it should be."""
    found = [f"{name}: {hit}, {times} times" for hit, times in seen.hits.items()]
    unseen = [where for where, times in seen.controls.items() if not times]
    found += [f"{name}: the control was not found in {where}" for where in unseen]
    return found


def main() -> int:
    """Play, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    secrets, faults = Secrets(), list[str]()
    table = Table(
        "server", "secrets", "requests", "answered", "found", "controls found"
    )
    for setting in SERVERS:
        before = secrets.made
        with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
            seen = play(setting, secrets, Path(folder), every)
        statuses = " ".join(map(str, sorted(seen.statuses)))
        controls = ", ".join(f"{n} in {where}" for where, n in seen.controls.items())
        numbers = (f"{secrets.made - before:,}", f"{seen.requests:,}", statuses)
        table.add_row(setting.name, *numbers, str(seen.hits.total()), controls)
        faults += wrong(setting.name, seen)
    return report(table, faults)


if __name__ == "__main__":
    sys.exit(main())
