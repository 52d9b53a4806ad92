"""The steps from schema to schema: in order, once, and whole or not at all."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any, Final

import pytest
from sqlalchemy import Connection, inspect, select, text

from app.settings import Settings
from app.store import Store, StoreError
from app.tables import metadata, schema
from app.upgrades import STEPS, Step, Steps
from app.version_rows import add_version
from app.versions import Versions
from model import load_shipped
from tests.databases import URL, Databases

AT_ONCE: Final = 4
PREPARED: Final = 6  # of a statement that often psycopg lets the server keep the plan
FOREIGN_ROW: Final = "INSERT INTO active (id, version, generation) VALUES (1, 999, 1)"

Open = Callable[[Steps], Store]


def step(*statements: str) -> Step:
    """Return a step made of statements that both engines know."""

    def take(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    return take


# After those of this release.
ADD_COLUMN: Final = step("ALTER TABLE models ADD COLUMN extra VARCHAR(8)")
FILL_IT: Final = step(
    "UPDATE models SET extra = 'old'", "CREATE INDEX models_by_extra ON models (extra)"
)
FAIL: Final = step("CREATE TABLE half (id INTEGER)", FOREIGN_ROW)


@pytest.fixture
def opened(tmp_path: Path, databases: Databases, engine: str) -> Iterator[Open]:
    """Opens the same database again and again, each time with steps beside ours."""
    url = databases.new(engine).get(URL)
    settings = Settings.model_validate({"data_dir": tmp_path, "database_url": url})
    stores = []

    def open_with(steps: Steps) -> Store:
        stores.append(Store(settings, (*STEPS, *steps)))
        return stores[-1]

    Versions(open_with(()), settings).prepare()
    yield open_with
    for store in stores:
        store.close()


def _number(store: Store) -> int:
    """Return how many steps beside ours its database has taken."""
    with store.read() as connection:
        found: int = connection.scalars(select(schema.c.version)).one()
    return found - 1 - len(STEPS)


def _content(store: Store) -> dict[str, list[Any]]:
    """Return the columns, indexes and rows of every table."""
    with store.read() as connection:
        look = inspect(connection)
        return {
            name: [
                [column["name"] for column in look.get_columns(name)],
                [index["name"] for index in look.get_indexes(name)],
                connection.execute(text(f"SELECT * FROM {name}")).all(),  # noqa: S608 - a table's
            ]
            for name in look.get_table_names()
        }


def _extra(store: Store) -> list[str | None]:
    query = text("SELECT extra FROM models ORDER BY version")
    with store.read() as connection:
        return list(connection.scalars(query))


def test_each_release_takes_the_steps_that_are_new_in_it(opened: Open) -> None:
    second, third = opened((ADD_COLUMN,)), opened((ADD_COLUMN, FILL_IT))

    second.prepare()
    found = _number(second), _extra(second)
    third.prepare()

    assert found == (1, [None])
    assert (_number(third), _extra(third)) == (2, ["old"])


def test_a_release_takes_the_steps_of_those_that_were_left_out(opened: Open) -> None:
    store = opened((ADD_COLUMN, FILL_IT))

    store.prepare()

    assert (_number(store), _extra(store)) == (2, ["old"])
    assert "models_by_extra" in _content(store)["models"][1]


def test_an_empty_database_takes_no_step(
    tmp_path: Path, databases: Databases, engine: str
) -> None:
    url = databases.new(engine).get(URL)
    folder = tmp_path / "empty"
    settings = Settings.model_validate({"data_dir": folder, "database_url": url})
    store = Store(settings, (*STEPS, FAIL))

    store.prepare()

    assert _number(store) == 1
    assert _content(store).keys() == metadata.tables.keys()
    store.close()


def test_a_step_that_fails_leaves_the_database_as_it_was(opened: Open) -> None:
    before = _content(opened(()))
    store = opened((ADD_COLUMN, FILL_IT, FAIL))

    with pytest.raises(
        StoreError, match=r"the upgrade to schema \d+ failed"
    ) as failure:
        store.prepare()

    assert f"stays as it was, at {1 + len(STEPS)}" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert _content(store) == before


def test_a_bug_in_a_step_leaves_the_database_as_it_was(opened: Open) -> None:
    before = _content(opened(()))
    store = opened((ADD_COLUMN, lambda _: 1 / 0))

    with suppress(ZeroDivisionError):
        store.prepare()

    assert _content(store) == before


def test_what_failed_is_tried_again_by_the_next_start(opened: Open) -> None:
    with suppress(StoreError):
        opened((ADD_COLUMN, FAIL)).prepare()
    store = opened((ADD_COLUMN, FILL_IT))

    store.prepare()

    assert (_number(store), _extra(store)) == (2, ["old"])


def test_several_that_start_at_once_upgrade_once(opened: Open) -> None:
    barrier, taken = Barrier(AT_ONCE), []
    steps = (ADD_COLUMN, lambda _: taken.append(1), FILL_IT)
    stores = [opened(steps) for _ in range(AT_ONCE)]

    def start(store: Store) -> None:
        barrier.wait()
        store.prepare()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(start, stores))

    assert taken == [1]
    assert [_number(store) for store in stores] == [3] * AT_ONCE


def test_a_release_refuses_what_a_newer_one_has_upgraded(opened: Open) -> None:
    newer, older = opened((ADD_COLUMN, FILL_IT)), opened((ADD_COLUMN,))
    newer.prepare()
    before = _content(newer)

    with pytest.raises(StoreError, match="start a newer release"):
        older.prepare()

    assert _content(older) == before


def test_a_program_that_runs_goes_on_beside_a_newer_one(opened: Open) -> None:
    running, newer = opened(()), opened((ADD_COLUMN, FILL_IT))
    versions = Versions(running, Settings())
    before = [versions.describe_all() for _ in range(PREPARED)]

    newer.prepare()
    after = versions.describe_all()
    with running.write() as connection:
        version = add_version(connection, load_shipped())

    assert _number(running) == 2
    assert after == before[-1]
    assert version == 2
    assert _extra(running) == ["old", None]
