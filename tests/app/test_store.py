"""The database: bad addresses, foreign tables, and a PostgreSQL that comes and goes."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent
from sqlalchemy import inspect, select, text, update

from app.settings import Settings
from app.store import Store, StoreError
from app.tables import schema
from app.upgrades import SCHEMA_VERSION
from app.version_rows import add_version
from app.versions import Versions
from model import load_shipped
from tests.app.answers import EMILY, assert_problem
from tests.app.training import BRIEF, FOUR, train
from tests.databases import URL, Databases, PostgreSQL
from tests.server import DEADLINE_SECONDS, Server, serve_in_vain, wait_for

CANARY: Final = "c4n4ry"
SECONDS_LONG: Final = {
    "examples": FOUR * 50,
    "promote": "never",
    "config": {"epochs": 300, "batch_size": 1, "holdout": 0, "patience": None},
}
BAD_URLS: Final = {
    "another database": f"mysql://user:{CANARY}@localhost/name",
    "another driver": f"postgresql+asyncpg://user:{CANARY}@localhost/name",
    "a file": f"sqlite:///{CANARY}.sqlite3",
    "no URL": CANARY,
    "no number as port": f"postgresql://user:{CANARY}@localhost:port/name",
    "no host": f"postgresql://user:{CANARY}/name",
    "half an IPv6 address": f"postgresql://user:{CANARY}@[::1/name",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_database_url_is_refused_without_its_password(
    tmp_path: Path, url: str
) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "database_url": url})

    with pytest.raises(StoreError) as refusal:
        Store(settings)

    assert CANARY not in str(refusal.value)  # F6


def test_a_server_with_a_bad_database_url_ends_with_one_line(tmp_path: Path) -> None:
    ended = serve_in_vain(tmp_path / "data", **{URL: BAD_URLS["no host"]})

    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert "postgresql://" in ended.stderr
    assert CANARY not in ended.stderr  # F6


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Settings:
    """Settings with a database of their own, on each engine."""
    folder, url = tmp_path_factory.mktemp("store"), databases.new(engine).get(URL)
    return Settings.model_validate({"data_dir": folder, "database_url": url})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store, whose tables are those of this release in the end."""
    opened = Store(settings)
    Versions(opened, settings).prepare()
    yield opened
    _set_schema(opened, SCHEMA_VERSION)
    opened.close()


def _set_schema(store: Store, version: int) -> None:
    with store.write() as connection:
        connection.execute(update(schema).values(version=version))


def _tables(store: Store) -> list[str]:
    with store.read() as connection:
        return inspect(connection).get_table_names()


def test_the_tables_are_made_once(settings: Settings, store: Store) -> None:
    made, again = _tables(store), Store(settings)

    Versions(again, settings).prepare()

    with again.read() as connection:
        assert connection.scalars(select(schema.c.version)).all() == [SCHEMA_VERSION]
    assert _tables(again) == made
    assert len(Versions(again, settings).describe_all()[0]) == 1
    again.close()


def test_the_shipped_version_is_the_first_however_often_that_was_tried(
    tmp_path: Path, databases: Databases, engine: str
) -> None:
    url = databases.new(engine).get(URL)
    settings = Settings.model_validate({"data_dir": tmp_path, "database_url": url})
    store = Store(settings)
    versions = Versions(store, settings)
    store.prepare()
    _fail_to_add(store)

    versions.prepare()

    assert [one["version"] for one in versions.describe_all()[0]] == [1]
    with store.write() as connection:
        assert add_version(connection, load_shipped()) > 1
    store.close()


def _fail_to_add(store: Store) -> None:
    """Add a version in a transaction that is rolled back."""
    with suppress(ZeroDivisionError), store.write() as connection:
        add_version(connection, load_shipped())
        raise ZeroDivisionError


@pytest.mark.parametrize("other", [0, SCHEMA_VERSION + 1])
def test_tables_of_another_release_are_refused(
    settings: Settings, store: Store, other: int
) -> None:
    _set_schema(store, other)
    again = Store(settings)

    with pytest.raises(StoreError, match=f"has schema {other}, .* {SCHEMA_VERSION}:"):
        again.prepare()

    with again.read() as connection:
        assert connection.scalars(select(schema.c.version)).all() == [other]
    again.close()


def test_a_database_of_another_program_is_left_as_it_is(
    tmp_path: Path, databases: Databases, engine: str
) -> None:
    url = databases.new(engine).get(URL)
    store = Store(Settings.model_validate({"data_dir": tmp_path, "database_url": url}))
    with store.write() as connection:
        connection.execute(text("CREATE TABLE jobs (title TEXT)"))

    with pytest.raises(StoreError, match="tables of another program: jobs"):
        store.prepare()

    assert _tables(store) == ["jobs"]
    store.close()


@pytest.mark.parametrize(
    "command",
    [("serve", "--port", "0"), ("serve", "--port", "0", "--workers", "2"), ("runner",)],
    ids=" ".join,
)
def test_what_meets_tables_of_a_newer_release_ends_with_one_line(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    store = Store(Settings(data_dir=tmp_path))
    store.prepare()
    _set_schema(store, SCHEMA_VERSION + 1)
    store.close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    ended = subprocess.run(
        [sys.executable, "-m", "app", *command, "--data-dir", tmp_path],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"the database has schema {SCHEMA_VERSION + 1}, and this release knows schemas "
        f"up to {SCHEMA_VERSION}: start a newer release\n"
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


REQUESTS: Final[dict[str, tuple[str, str, Any]]] = {
    "livez": ("GET", "/livez", None),
    "readyz": ("GET", "/readyz", None),
    "version": ("GET", "/version", None),
    "predict": ("POST", "/predict", EMILY),
    "predict batch": ("POST", "/predict/batch", {"instances": [EMILY]}),
    "predict pinned": ("POST", "/predict?model_version=1", EMILY),
    "predict another": ("POST", "/predict?model_version=2", EMILY),
    "train": ("POST", "/train", BRIEF),
    "dry run": ("POST", "/train?dry_run=true", BRIEF),
    "list jobs": ("GET", "/train", None),
    "get job": ("GET", "/train/1", None),
    "cancel": ("DELETE", "/train/1", None),
    "follow": ("GET", "/train/1/events", None),
    "list models": ("GET", "/models", None),
    "get active": ("GET", "/models/active", None),
    "activate": ("PUT", "/models/active", {"version": 1}),
    "delete": ("DELETE", "/models/2", None),
}
STORED: Final = [  # what cannot be answered without the database
    "predict another",
    "train",
    "dry run",
    "list jobs",
    "get job",
    "cancel",
    "follow",
    "list models",
    "get active",
    "activate",
    "delete",
]
IN_MEMORY: Final = ["predict", "predict batch", "predict pinned"]


class Story(NamedTuple):
    """A server whose PostgreSQL is away at first, comes, goes, and comes again.

    Attributes:
        away: Its answers while it has never met the database.
        met: Its answers after the database came.
        first: A job then, at its end.
        gone: Its answers while the database is away again.
        interrupted: A job that ran meanwhile, at its end.
        events: What was told of that job on a stream.
        back: Its answers after the database came again.
        following: A job then, at its end.
        log: All that it printed.
    """

    away: dict[str, httpx.Response]
    met: dict[str, httpx.Response]
    first: dict[str, Any]
    gone: dict[str, httpx.Response]
    interrupted: dict[str, Any]
    events: list[ServerSentEvent]
    back: dict[str, httpx.Response]
    following: dict[str, Any]
    log: str


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL that no other test uses, running before and after."""
    started = PostgreSQL(Path(tempfile.mkdtemp(prefix="offsetnet-pg-")))
    yield started
    started.remove()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL) -> Story:
    """What a server said while its database came and went."""
    url = postgresql.new_database().replace(":@", f":{CANARY}@")
    postgresql.stop()
    environment = {URL: url, "OFFSETNET_POLL_SECONDS": "0.2"}
    server = Server(tmp_path_factory.mktemp("story") / "data", environment=environment)
    try:
        wait_for(server.is_alive)
        away = _ask(server)
        postgresql.start()
        wait_for(lambda: server.client.get("/readyz").is_success)
        met, first = _ask(server, *IN_MEMORY, "readyz"), train(server, **BRIEF)
        gone, interrupted, events = _interrupt(server, postgresql)
        return Story(
            away=away,
            met=met,
            first=first,
            gone=gone,
            interrupted=interrupted,
            events=events,
            back=_ask(server, "readyz", "list jobs"),
            following=train(server, **BRIEF),
            log=server.log(),
        )
    finally:
        server.__exit__(None, None, None)


def _interrupt(
    server: Server, postgresql: PostgreSQL
) -> tuple[dict[str, httpx.Response], dict[str, Any], list[ServerSentEvent]]:
    """Stop the database under a job, and start it again.

    Returns:
        The answers meanwhile, and the job and its events in the end.
    """
    with ThreadPoolExecutor(1) as pool:
        job_id = server.client.post("/train", json=SECONDS_LONG).json()["id"]
        stream = pool.submit(_follow, server, job_id)
        wait_for(lambda: _is_running(server, job_id))
        postgresql.stop()
        wait_for(lambda: server.client.get("/readyz").json()["degraded"])
        gone = _ask(server)
        postgresql.start()
        wait_for(lambda: not server.client.get("/readyz").json()["degraded"])
        return gone, server.wait_for_job(job_id), stream.result()


def _is_running(server: Server, job_id: int) -> bool:
    """Whether the job has been read and is trained on."""
    return bool(server.client.get(f"/train/{job_id}").json()["epoch"] > 0)


def _ask(server: Server, *names: str) -> dict[str, httpx.Response]:
    """Send these requests, or all, and return the answers."""
    headers = {"If-Match": "*"}
    return {
        name: server.client.request(
            REQUESTS[name][0],
            REQUESTS[name][1],
            json=REQUESTS[name][2],
            headers=headers,
        )
        for name in names or REQUESTS
    }


def _follow(server: Server, job_id: int) -> list[ServerSentEvent]:
    """Follow a job over a connection of its own."""
    with server.client.stream("GET", f"/train/{job_id}/events") as response:
        return list(EventSource(response).iter_sse())


def test_d14_a_server_lives_before_it_has_met_its_database(story: Story) -> None:
    assert story.away["livez"].status_code == 200
    assert story.away["version"].json()["model_version"] is None


@pytest.mark.parametrize("name", ["readyz", *IN_MEMORY, "predict another"])
def test_d14_a_server_is_not_ready_before_it_has_met_its_database(
    story: Story, name: str
) -> None:
    assert_problem(story.away[name], 503, "not-ready")
    assert story.away[name].headers["Retry-After"] == "1"


@pytest.mark.parametrize("name", sorted({*STORED} - {"predict another"}))
def test_d14_what_needs_the_database_says_so_before_it_has_come(
    story: Story, name: str
) -> None:
    assert_problem(story.away[name], 503, "storage")
    assert story.away[name].headers["Retry-After"] == "1"


def test_d14_a_server_is_ready_by_itself_when_its_database_comes(story: Story) -> None:
    assert story.met["readyz"].json() == {"ready": True, "degraded": False}
    assert {story.met[name].status_code for name in IN_MEMORY} == {200}
    assert story.first["state"] == "succeeded"


def test_without_its_database_a_server_is_ready_but_degraded(story: Story) -> None:
    answer = story.gone["readyz"]

    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "degraded": True}


@pytest.mark.parametrize("name", ["livez", "version", *IN_MEMORY])
def test_d14_without_its_database_a_server_goes_on_predicting(
    story: Story, name: str
) -> None:
    assert story.gone[name].status_code == 200


def test_predictions_are_the_same_without_the_database(story: Story) -> None:
    for name in IN_MEMORY:
        assert story.gone[name].json() == story.met[name].json()


@pytest.mark.parametrize("name", STORED)
def test_d14_without_its_database_a_server_says_what_it_cannot_do(
    story: Story, name: str
) -> None:
    assert_problem(story.gone[name], 503, "storage")
    assert story.gone[name].headers["Retry-After"] == "1"


def test_d14_a_server_recovers_when_its_database_is_back(story: Story) -> None:
    assert story.back["readyz"].json() == {"ready": True, "degraded": False}
    assert story.back["list jobs"].status_code == 200
    assert story.following["state"] == "succeeded"


def test_what_was_refused_is_not_stored(story: Story) -> None:
    ids = [job["id"] for job in story.back["list jobs"].json()["jobs"]]

    assert ids == [story.interrupted["id"], story.first["id"]]


def test_d14_a_job_outlives_a_database_that_is_away_for_a_while(story: Story) -> None:
    job = story.interrupted

    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert job["model_version"] is not None


def test_a_stream_outlives_a_database_that_is_away_for_a_while(story: Story) -> None:
    ids = [int(event.id) for event in story.events]

    assert story.events[-1].event == "succeeded"
    assert story.events[-1].json() == story.interrupted
    assert ids == sorted(set(ids))


def test_the_log_tells_of_the_database_without_its_password(story: Story) -> None:
    assert "does not answer" in story.log
    assert CANARY not in story.log  # F6
    assert "Traceback" not in story.log


def test_no_answer_tells_where_the_database_is(story: Story) -> None:
    words = (CANARY, "psycopg", "sqlalchemy", "/tmp", "socket", "SELECT")  # noqa: S108

    for answer in (*story.away.values(), *story.gone.values()):
        assert not [word for word in words if word in answer.text]
