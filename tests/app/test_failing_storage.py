"""Storage that fails under a running server: full, corrupt, read-only, or no way in.

A disk is full here by a limit on the size of files, set from outside on the running
processes: it needs no rights, and holds for their log, too.
"""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.app.answers import EMILY, assert_problem
from tests.app.processes import is_alive, runner_of
from tests.app.training import BRIEF, ENDLESS, activate, cancel_all, show, start, train
from tests.server import Server, serve_in_vain, wait_for

UNLIMITED: Final = resource.RLIM_INFINITY
WRITE_VERSION: Final = 18  # in the file's header; above 2 SQLite only reads the file
CHANGE_COUNTER: Final = 27


@pytest.fixture
def server(trainers: Callable[[str], Server]) -> Iterator[Server]:
    """The server with SQLite that tests train on."""
    shared = trainers("sqlite")
    yield shared
    cancel_all(shared)
    activate(shared, 1)


@contextmanager
def _limited(limit: int, soft: int, *pids: int) -> Iterator[None]:
    """Bound what running processes may use."""
    before = {pid: resource.prlimit(pid, limit) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, limit, (soft, hard))
    try:
        yield
    finally:
        for pid in filter(is_alive, before):
            resource.prlimit(pid, limit, before[pid])


def _full(server: Server) -> AbstractContextManager[None]:
    """Let neither the server nor its runner write to any file."""
    pids = (server.process.pid, runner_of(server.process.pid))
    return _limited(resource.RLIMIT_FSIZE, 0, *pids)


def test_d7_on_a_full_disk_predictions_go_on_and_training_says_so(
    server: Server,
) -> None:
    stored = server.client.get("/train").json()

    with _full(server):
        refused = [
            server.client.post("/train", json=BRIEF),
            server.client.put(
                "/models/active", json={"version": 1}, headers={"If-Match": "*"}
            ),
        ]
        answers = [
            server.client.post("/predict", json=EMILY),
            server.client.get("/livez"),
            server.client.get("/readyz"),
        ]

    for answer in refused:
        assert_problem(answer, 503, "storage")
        assert answer.headers["Retry-After"] == "1"
    assert [answer.status_code for answer in answers] == [200] * 3
    assert server.client.get("/train").json() == stored
    assert train(server, **BRIEF)["state"] == "succeeded"


def test_d7_a_job_outlives_a_disk_that_is_full_for_a_while(server: Server) -> None:
    job_id = start(server, **ENDLESS)
    wait_for(lambda: show(server, job_id)["epoch"] > 0)

    with _full(server):
        epoch = show(server, job_id)["epoch"]
        assert server.client.post("/train", json=BRIEF).status_code == 503
        assert show(server, job_id)["epoch"] == epoch

    wait_for(lambda: show(server, job_id)["epoch"] > epoch)
    assert show(server, job_id)["attempt"] == 1


def test_d7_a_log_that_cannot_be_written_disturbs_nobody(server: Server) -> None:
    train(server, **BRIEF)  # by a runner that does not end for what was cancelled
    runner = runner_of(server.process.pid)

    with _full(server):
        os.kill(runner, signal.SIGKILL)  # of which the log would tell
        wait_for(lambda: not is_alive(runner))
        successor = wait_for(lambda: runner_of(server.process.pid))
        answer = server.client.post("/predict", json=EMILY)

    resource.prlimit(successor, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
    assert answer.status_code == 200
    assert train(server, **BRIEF)["state"] == "succeeded"


def test_d8_out_of_descriptors_a_server_answers_again_when_some_are_free(
    server: Server,
) -> None:
    pid, address = server.process.pid, ("127.0.0.1", server.port)
    limit = _descriptors(pid) + 5

    with _limited(resource.RLIMIT_NOFILE, limit, pid):
        crowd = [socket.create_connection(address, 10) for _ in range(30)]
        wait_for(lambda: _descriptors(pid) >= limit)
        for one in crowd:
            one.close()
        wait_for(lambda: _is_live(server))

    assert train(server, **BRIEF)["state"] == "succeeded"


def _descriptors(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


def _is_live(server: Server) -> bool:
    """Whether a new connection is answered."""
    try:
        url = f"http://127.0.0.1:{server.port}/livez"
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def _as_read_only(content: bytes) -> bytes:
    """Return a database that says of itself that it is only read here."""
    changed = bytearray(content)
    changed[WRITE_VERSION] = 3
    changed[CHANGE_COUNTER] ^= 1  # so that it is looked at again
    return bytes(changed)


def _as_nothing(content: bytes) -> bytes:
    return (b"not a database\n" * len(content))[: len(content)]


DAMAGES: Final = {"read-only": _as_read_only, "no database": _as_nothing}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose database is damaged."""
    with Server(tmp_path_factory.mktemp("failing") / "data") as running:
        train(running, **BRIEF)
        yield running


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_d8_d13_under_a_server_a_damaged_database_stops_training_alone(
    own: Server, damage: Callable[[bytes], bytes]
) -> None:
    path = own.data_dir / "offsetnet.sqlite3"
    whole = path.read_bytes()
    damaged = damage(whole)
    _overwrite(path, damaged)

    refused = own.client.post("/train", json=BRIEF)
    answers = [own.client.post("/predict", json=EMILY), own.client.get("/readyz")]

    assert_problem(refused, 503, "storage")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert path.read_bytes() == damaged
    assert "Traceback" not in own.log()
    _overwrite(path, whole)
    wait_for(lambda: own.client.get("/train").is_success)


def _overwrite(path: Path, content: bytes) -> None:
    """Write into a file as it is, under whoever has it open."""
    with path.open("r+b") as file:
        file.write(content)


def test_d13_a_database_that_is_only_read_is_told_of_and_left_as_it_is(
    own: Server, tmp_path: Path
) -> None:
    content = _as_read_only((own.data_dir / "offsetnet.sqlite3").read_bytes())
    path = tmp_path / "offsetnet.sqlite3"
    path.write_bytes(content)

    ended = serve_in_vain(tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"cannot use {path}: attempt to write a readonly database\n"
    )
    assert path.read_bytes() == content
