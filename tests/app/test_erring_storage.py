"""A disk that errs: no room, no writing any more, no reading either."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.app.answers import EMILY, assert_problem
from tests.app.processes import runner_of
from tests.app.training import BRIEF, ENDLESS, start, train
from tests.server import UNMEASURED, Server, serve_in_vain, wait_for

ERRING: Final = {**UNMEASURED, "PYTHONPATH": str(Path(__file__).parent / "erring")}
ERRORS: Final = (errno.ENOSPC, errno.EROFS, errno.EIO)  # the last wins
TOLD: Final = {
    errno.ENOSPC: "database or disk is full",
    errno.EROFS: "disk I/O error",
    errno.EIO: "disk I/O error",
}
by_name: Final = pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)


@pytest.fixture(scope="module")
def erring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a job that does not end, whose disk is to fail."""
    data_dir = tmp_path_factory.mktemp("erring") / "data"
    with Server(data_dir, environment=ERRING) as running:
        start(running, **ENDLESS)
        yield running


@by_name
def test_d7_d8_an_erring_disk_stops_training_alone(erring: Server, error: int) -> None:
    for pid in (erring.process.pid, runner_of(erring.process.pid)):
        os.kill(pid, signal.SIGRTMIN + error)
    wait_for(lambda: erring.log().count(f"{os.strerror(error)} from here on") == 2)

    refused = erring.client.post("/train", json=BRIEF)
    answers = [
        erring.client.post("/predict", json=EMILY),
        erring.client.get("/livez"),
        erring.client.get("/readyz"),
    ]

    assert_problem(refused, 503, "storage")
    assert refused.headers["Retry-After"] == "1"
    assert [answer.status_code for answer in answers] == [200] * 3
    assert "Traceback" not in erring.log()


def test_d7_d8_nothing_is_lost_by_a_disk_that_erred(erring: Server) -> None:
    erring.process.kill()
    erring.process.wait()

    with Server(erring.data_dir) as server:
        jobs = server.client.get("/train").json()["jobs"]
        server.client.delete("/train/1")
        assert train(server, **BRIEF)["state"] == "succeeded"

    assert [job["id"] for job in jobs] == [1]


@by_name
def test_d7_d8_a_server_does_not_start_on_a_disk_that_errs(
    tmp_path: Path, error: int
) -> None:
    ended = serve_in_vain(tmp_path, ERR_AT_CONNECT=str(error), **ERRING)

    path = tmp_path / "offsetnet.sqlite3"
    assert ended.stderr == (
        f"{os.strerror(error)} from here on\ncannot use {path}: {TOLD[error]}\n"
    )
    assert (ended.returncode, ended.stdout) == (1, "")
