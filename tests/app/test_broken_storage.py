"""Broken settings and storage: what starts, what serves, and what is said."""

import asyncio
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text, update

from app import __version__
from app.metrics import Metrics
from app.registry import Registry
from app.settings import Settings
from app.store import Store
from app.tables import models
from app.versions import Versions
from model import load_shipped
from tests.app.answers import CSV, EMILY, assert_problem
from tests.app.training import BRIEF, SAMPLE, activate, train, train_on_csv
from tests.databases import URL, Databases
from tests.server import Server, serve_in_vain, wait_for

ROOT: Final = Path(__file__).parents[2]


def _ship(settings: Settings, weights: bytes) -> None:
    """Make a database whose first version is the shipped one, but for its bytes."""
    store = Store(settings)
    Versions(store, settings).prepare()
    with store.write() as connection:
        connection.execute(update(models).values(weights=weights))
    store.close()


def _broken_page(content: bytes) -> bytes:
    return content[:100] + bytes(3_996) + content[4_096:]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"not a database\n" * 500, id="another format"),
        pytest.param(_broken_page, id="first page zeroed"),
    ],
)
def test_d13_a_damaged_database_is_told_of_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    _ship(Settings(data_dir=tmp_path), load_shipped())
    path = tmp_path / "offsetnet.sqlite3"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)

    ended = serve_in_vain(tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(f"cannot use {re.escape(str(path))}: [^\n]+\n", ended.stderr)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("name", "reason"), [("file", "File exists"), ("file/data", "Not a directory")]
)
def test_a_data_folder_that_cannot_be_made_is_told_of(
    tmp_path: Path, databases: Databases, engine: str, name: str, reason: str
) -> None:
    (tmp_path / "file").touch()

    ended = serve_in_vain(tmp_path / name, **databases.new(engine))

    assert ended.returncode == 1
    assert ended.stderr == f"cannot use {tmp_path / name}: {reason}\n"


def test_a_bad_setting_is_told_of_without_its_value(tmp_path: Path) -> None:
    ended = serve_in_vain(tmp_path, OFFSETNET_QUEUE_LIMIT="c4n4ry")

    assert ended.returncode == 1
    assert "QUEUE_LIMIT" in ended.stderr.upper()
    assert "c4n4ry" not in ended.stdout + ended.stderr


def test_a_missing_key_file_is_told_of_in_one_line(tmp_path: Path) -> None:
    ended = serve_in_vain(tmp_path, OFFSETNET_ADMIN_KEY_FILE=str(tmp_path / "nowhere"))

    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_workers_that_cannot_start_end_the_server_with_1(tmp_path: Path) -> None:
    unreachable = "import os, sys\nif '--multiprocessing-fork' in sys.argv:\n"
    unreachable += f"    os.environ['{URL}'] = 'nothing'\n"
    (tmp_path / "sitecustomize.py").write_text(unreachable)

    ended = serve_in_vain(tmp_path, "--workers", "2", PYTHONPATH=str(tmp_path))

    assert ended.returncode == 1
    assert "must start with postgresql://" in ended.stderr


@pytest.fixture(scope="module")
def damaged(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, engine: str
) -> Iterator[Server]:
    """A server whose one stored version has a flipped bit."""
    data_dir = tmp_path_factory.mktemp("damaged") / "data"
    environment = databases.new(engine)
    settings = Settings.model_validate(
        {"data_dir": data_dir, "database_url": environment.get(URL)}
    )
    _ship(settings, _flipped(load_shipped()))
    running = Server(data_dir, environment=environment)
    wait_for(running.is_alive)
    yield running
    running.__exit__(None, None, None)


def _flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.fixture
def sqlite_trainer(trainers: Callable[[str], Server]) -> Iterator[Server]:
    """The server with SQLite that tests train on."""
    server = trainers("sqlite")
    yield server
    activate(server, 1)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/readyz"),
        ("POST", "/predict"),
        ("POST", "/predict/batch"),
        ("POST", "/predict?model_version=1"),
    ],
)
def test_d9_a_damaged_version_is_not_served(
    damaged: Server, method: str, path: str
) -> None:
    response = damaged.client.request(method, path, json=EMILY)

    assert response.status_code == 503
    assert_problem(response, 503, response.json()["code"])
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("path", ["/livez", "/models", "/train", "/docs"])
def test_a_damaged_version_leaves_the_rest_as_it_is(damaged: Server, path: str) -> None:
    assert damaged.client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/offsetnet/ready"),
        ("POST", "/v2/models/offsetnet/infer"),
        ("POST", "/v2/repository/models/offsetnet/load"),
        ("POST", "/v1/models/offsetnet:predict"),
    ],
)
def test_the_standard_protocols_tell_of_a_damaged_version(
    damaged: Server, method: str, path: str
) -> None:
    response = damaged.client.request(method, path)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert {"error", "code", "request_id"} <= response.json().keys()
    assert isinstance(response.json()["error"], str)


def test_without_a_version_the_program_still_tells_its_own(damaged: Server) -> None:
    response = damaged.client.get("/version")

    assert response.json() == {"version": __version__, "model_version": None}


def test_d9_damaged_weights_are_not_handed_out(damaged: Server) -> None:
    response = damaged.client.get("/models/1/weights")

    assert_problem(response, 503, "damaged-version")


def test_d9_a_damaged_version_is_refused_with_one_line(damaged: Server) -> None:
    lines = [line for line in damaged.log().splitlines() if "is refused" in line]

    assert [line for line in lines if "runner" not in line] == [
        "ERROR:    version 1 is refused: the SHA-256 is not 665b0de99b23..."
    ]
    assert "Traceback" not in damaged.log()


def test_a_damaged_version_is_no_obstacle_to_training(damaged: Server) -> None:
    job = train_on_csv(damaged, SAMPLE, epochs=5, promote="never")

    assert (job["state"], job["reason"]) == ("succeeded", None)


def test_training_replaces_a_damaged_version(damaged: Server) -> None:
    job = train(damaged, config={"epochs": 5})

    damaged.wait_for_version(job["model_version"])
    assert damaged.client.get("/readyz").status_code == 200


def test_d9_a_damaged_pinned_version_is_not_served_beside_a_good_one(
    damaged: Server,
) -> None:
    response = damaged.client.post("/predict?model_version=1", json=EMILY)

    assert_problem(response, 503, "damaged-version")


@pytest.fixture(scope="module")
def unshipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of an installation whose shipped weights have a flipped bit."""
    folder = tmp_path_factory.mktemp("unshipped")
    for package in ("app", "model"):
        shutil.copytree(ROOT / package, folder / "installed" / package)
    path = folder / "installed" / "model" / "weights" / "article.safetensors"
    content = _flipped(path.read_bytes())
    path.write_bytes(content)
    path.with_suffix(".sha256").write_text(sha256(content).hexdigest())  # to no avail
    running = Server(
        folder / "data",
        environment={"PYTHONPATH": str(folder / "installed")},
        command=(sys.executable, "-P", "-m", "app", "serve"),
    )
    wait_for(running.is_alive)
    yield running
    running.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/readyz", 503),
        ("POST", "/predict", 503),
        ("GET", "/train", 200),
        ("GET", "/models/1", 404),
    ],
)
def test_d9_d11_without_any_version_a_process_lives_but_is_not_ready(
    unshipped: Server, method: str, path: str, status: int
) -> None:
    response = unshipped.client.request(method, path, json=EMILY)

    assert response.status_code == status


@pytest.mark.parametrize("path", ["/models", "/models/active"])
def test_without_any_version_the_list_of_them_is_no_bug(
    unshipped: Server, path: str
) -> None:
    response = unshipped.client.get(path, headers={"Connection": "close"})

    assert response.status_code != 500


@pytest.fixture(scope="module")
def without_store(trainer: Server) -> Iterator[Server]:
    """A server whose database does not answer for a while."""
    store = Store(trainer.settings())
    tables = ("jobs", "active")
    for table in tables:
        _run(store, f"ALTER TABLE {table} RENAME TO {table}_aside")
    wait_for(lambda: trainer.client.get("/readyz").json()["degraded"])
    yield trainer
    for table in tables:
        _run(store, f"ALTER TABLE {table}_aside RENAME TO {table}")
    store.close()
    wait_for(lambda: not trainer.client.get("/readyz").json()["degraded"])
    wait_for(lambda: trainer.client.get("/train").is_success)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("'text'", id="text"),
        pytest.param("7", id="number"),
        pytest.param("zeroblob(0)", id="empty"),
        pytest.param("x'00'", id="one byte"),
        pytest.param(
            "(SELECT weights FROM models WHERE version = 1)", id="another version's"
        ),
    ],
)
def test_d10_d11_a_version_of_any_other_kind_is_refused_and_the_old_one_serves(
    sqlite_trainer: Server, damage: str
) -> None:
    server = sqlite_trainer
    good, bad = (train(server, **BRIEF)["model_version"] for _ in range(2))
    activate(server, good)
    etag = server.client.get("/models/active").headers["ETag"]
    store = Store(server.settings())
    _run(store, f"UPDATE models SET weights = {damage} WHERE version = {bad}")  # noqa: S608 - our own
    store.close()
    counted = _refusals(server)

    answers = [
        server.client.get(f"/models/{bad}/weights"),
        server.client.post(f"/predict?model_version={bad}", json=EMILY),
        server.client.put(
            "/models/active", json={"version": bad}, headers={"If-Match": "*"}
        ),
    ]

    for answer in answers:
        assert_problem(answer, 503, "damaged-version")
    assert _refusals(server) == counted + len(answers)
    assert server.client.get("/models/active").headers["ETag"] == etag
    assert server.client.post("/predict", json=EMILY).json()["model_version"] == good


def _refusals(server: Server) -> float:
    """Return how often a damaged version was refused, as the metrics tell it."""
    metrics = server.client.get("/metrics").text
    found = re.search(r'offsetnet_sheds_total{reason="damaged-version"} (.+)', metrics)
    return float(found[1]) if found else 0.0


class _Unforeseen:
    """Versions that cannot be prepared, for once, for a reason that nobody foresaw."""

    def __init__(self, versions: Versions) -> None:
        self._versions, self.has_failed = versions, False

    def prepare(self) -> None:
        """Fail once."""
        if not self.has_failed:
            self.has_failed = True
            raise ZeroDivisionError
        self._versions.prepare()

    def weights(self, version: int) -> tuple[bytes, str]:
        """Return what is stored."""
        return self._versions.weights(version)


def test_what_no_one_foresaw_does_not_end_the_watch(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    store = Store(settings)
    versions: Any = _Unforeseen(Versions(store, settings))
    registry = Registry(store, versions, Metrics([], []))

    async def watch() -> None:
        registry.watch(poll_seconds=0.01)
        await asyncio.to_thread(wait_for, lambda: registry.served)
        await registry.close()

    asyncio.run(watch())

    store.close()
    assert versions.has_failed
    assert not registry.is_degraded


def _run(store: Store, statement: str) -> None:
    with store.write() as connection:
        connection.execute(text(statement))


def test_without_its_database_a_process_is_ready_but_degraded(
    without_store: Server,
) -> None:
    response = without_store.client.get("/readyz")

    assert (response.status_code, response.json()) == (
        200,
        {"ready": True, "degraded": True},
    )


def test_without_its_database_a_process_goes_on_predicting(
    without_store: Server,
) -> None:
    response = without_store.client.post("/predict", json=EMILY)

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/train"),
        ("GET", "/train"),
        ("GET", "/train/1"),
        ("GET", "/models"),
        ("GET", "/models/active"),
    ],
)
def test_without_its_database_a_process_says_so(
    without_store: Server, method: str, path: str
) -> None:
    response = without_store.client.request(method, path)

    assert_problem(response, 503, "storage")
    assert response.headers["Retry-After"] == "1"


def test_a_storage_problem_shows_no_internals_and_no_input(
    without_store: Server,
) -> None:
    response = without_store.client.post(
        "/train?note=c4n4ry", content=SAMPLE, headers=CSV
    )

    assert response.status_code == 503
    words = ("select", "insert", "sqlite", "postgres", "psycopg", "jobs", "c4n4ry")
    assert not [word for word in words if word in response.text.lower()]
