"""Databases as the first program of each schema left them, and what it said of them.

For each schema and engine there is the database as SQL, and the program's answers.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy import Connection, inspect, text

from tests.app.answers import EMILY
from tests.databases import URL, Databases

FOLDER: Final = Path(__file__).parent
FILE: Final = "offsetnet.sqlite3"
KEY: Final = {"Idempotency-Key": "frozen"}
WAITING: Final = {"note": "waits", "promote": "never", "config": {"epochs": 4}}
FRANK: Final = {"weight_kg": 70.3, "height_cm": 172.7}

_ASKED: Final[dict[str, Any]] = {
    "/models/active": None,
    "/models/1": None,
    "/models/2": None,
    "/models/3": None,
    "/train/1": None,
    "/train/2": None,
    "/train/4": None,
    "/predict": EMILY,
    "/predict?explain=true": FRANK,
    "/predict?model_version=1": EMILY,
    "/predict?model_version=3": EMILY,
}


def ask(client: httpx.Client) -> dict[str, Any]:
    """Return what is answered about all that is in a frozen database."""
    return {
        path: client.request("POST" if body else "GET", path, json=body).json()
        for path, body in _ASKED.items()
    }


def path_of(number: int, engine: str, ending: str) -> Path:
    """Return where a schema's database, or what was said of it, is kept."""
    return FOLDER / f"{number}.{engine}.{ending}"


def answers(number: int, engine: str) -> dict[str, Any]:
    """Return what was answered about a frozen database."""
    said: dict[str, Any] = json.loads(path_of(number, engine, "json").read_text())
    return said


def restore(
    databases: Databases, engine: str, number: int, folder: Path
) -> dict[str, str]:
    """Make a database of a frozen one; return the environment that leads there."""
    content = path_of(number, engine, "sql").read_text()
    environment = databases.new(engine)
    if engine == "sqlite":
        folder.mkdir(exist_ok=True)
        connection = sqlite3.connect(folder / FILE)
        connection.executescript(content)
        connection.close()
    else:
        with psycopg.connect(environment[URL]) as server:
            server.execute(content.encode())
    return environment


def shape(connection: Connection) -> dict[str, Any]:
    """Return all that makes the tables what they are, whatever is in them."""
    look = inspect(connection)
    tables: dict[str, Any] = {
        name: {
            "columns": {
                column["name"]: repr(column) for column in look.get_columns(name)
            },
            "key": look.get_pk_constraint(name),
            "foreign keys": _by_text(look.get_foreign_keys(name)),
            "indexes": _by_text(look.get_indexes(name)),
            "unique": _by_text(look.get_unique_constraints(name)),
            "checks": _by_text(look.get_check_constraints(name)),
        }
        for name in look.get_table_names()
    }
    return tables | {"counters": _counters(connection)}


def _by_text(found: Any) -> list[str]:
    return sorted(map(repr, found))


def _counters(connection: Connection) -> list[str]:
    """Return the tables that never give a number twice, or the sequences."""
    if connection.dialect.name == "postgresql":
        return sorted(inspect(connection).get_sequence_names())
    counting = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
    return sorted(connection.scalars(text(counting)))
